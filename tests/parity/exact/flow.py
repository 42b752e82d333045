"""The released flow policy on the released layout of its parameters (tests/golden/README.md, section 4).

A: action dimensions; a coupling keeps the coordinates where its mask is 1: y = m x + (1 - m) (x exp(s(m x)) + t(m x)).
"""
import numpy as np

from exact.densities import LOG_2PI
from exact.networks import Pass, chain, relu


def network(layers: Pass, prefix: str, x: np.ndarray) -> tuple:
    """Dense, layer norm, relu, twice, and a dense layer."""
    steps = []
    for ending in ('', '_1'):
        steps += [layers.dense(f'{prefix}.dense{ending}.kernel', f'{prefix}.dense{ending}.bias'),
                  layers.layer_norm(f'{prefix}.LayerNorm{ending}.beta', f'{prefix}.LayerNorm{ending}.gamma'), relu]
    return chain(x, [*steps, layers.dense(f'{prefix}.dense_2.kernel', f'{prefix}.dense_2.bias')])


def prefix_of(params) -> str:
    return next(name for name in params if 'Nlayer_' in name).split('Nlayer_')[0]


def state_vector(params: dict, obz: np.ndarray) -> np.ndarray:
    return network(Pass(params), prefix_of(params) + 'statelayer', obz)[0]


def forward_coupling(params, mask, i, x):
    s, t = (network(Pass(params), f'{prefix_of(params)}Nlayer_{i}.{net}', x * mask)[0] for net in 'st')
    return x * mask + (1 - mask) * (x * np.exp(s) + t)


def forward(params: dict, masks: np.ndarray, obz: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Noise [B, A] -> actions."""
    for i, mask in enumerate(masks):
        x = forward_coupling(params, mask, i, x)
        if i == 0:
            x = x + state_vector(params, obz)
    return x


def inverse_coupling(layers: Pass, mask, i, y) -> tuple:
    """(x, log-determinant of x -> y [B], back), back(d x, d log-determinant) -> d y.

    s is evaluated for the point and again, at the same kept coordinates, for the volume.
    """
    prefix = f'{prefix_of(layers.params)}Nlayer_{i}.'
    moving = 1 - mask
    (s, s_back), (t, t_back) = (network(layers, prefix + net, y * mask) for net in 'st')
    shrink = moving * np.exp(-s)
    moved = shrink * (y - t)
    x = y * mask + moved
    volume, volume_back = network(layers, prefix + 's', x * mask)

    def back(d_x, d_logdet):
        d_x = d_x + mask * volume_back(moving * d_logdet[:, np.newaxis])
        d_kept = s_back(-d_x * moved) + t_back(-d_x * shrink)
        return mask * (d_x + d_kept) + d_x * shrink
    return x, (moving * volume).sum(axis=1), back


def inverse(layers: Pass, masks: np.ndarray, obz: np.ndarray, y: np.ndarray) -> tuple:
    """Actions [B, A] -> (noise, sum of log-determinants, back)."""
    backs, logdet = [], 0
    for i in reversed(range(len(masks))):
        if i == 0:
            state, state_back = network(layers, prefix_of(layers.params) + 'statelayer', obz)
            y = y - state
        y, one, back = inverse_coupling(layers, masks[i], i, y)
        logdet = logdet + one
        backs.append(back)

    def back(d_x, d_logdet):
        for i, coupling_back in enumerate(reversed(backs)):
            d_x = coupling_back(d_x, d_logdet)
            if i == 0:
                state_back(-d_x)
    return y, logdet, back


def log_prior(x: np.ndarray) -> np.ndarray:
    """Of a standard normal."""
    return -(x * x).sum(axis=1) / 2 - 0.5 * LOG_2PI * x.shape[1]


def log_prob(layers: Pass, masks: np.ndarray, obz: np.ndarray, y: np.ndarray) -> tuple:
    """(log-density [B], back), back(d log-density) fills the gradients of `layers`."""
    x, logdet, back = inverse(layers, masks, obz, y)
    return log_prior(x) - logdet, lambda d: back(-x * d[:, np.newaxis], -d)
