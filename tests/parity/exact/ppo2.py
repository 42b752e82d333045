"""PPO's update of one minibatch: standardised advantages, clipped losses, the gradient's norm, Adam.

params has pi.* (tanh layers to the mean, logstd) and vf.* (tanh layers to the value).
"""
import numpy as np

from exact.arithmetic import flat, mean, named
from exact.densities import Gaussian
from exact.networks import Pass, dense_names, mlp, tanh
from exact.returns import adam, deviation


def losses_and_gradient(layers: Pass, obs, actions, advs, returns, old_values, old_neglogp, *, cliprange: float,
                        vf_coef: float, ent_coef: float) -> dict:
    """policy_loss, value_loss, policy_entropy, approxkl, clipfrac, and what they are made of."""
    pi, vf = ([pair for pair in dense_names(layers.params) if pair[0].startswith(which)] for which in ('pi', 'vf'))
    centre, pi_back = mlp(layers, obs, tanh, pi)
    values, vf_back = (x[:, 0] if i == 0 else x for i, x in enumerate(mlp(layers, obs, tanh, vf)))
    logstd = np.broadcast_to(layers.params['pi.logstd'], centre.shape)
    pd = Gaussian(np.concatenate([centre, logstd], axis=1))
    neglogp = pd.neglogp(actions)

    ratio = np.exp(old_neglogp - neglogp)
    free, held = -advs * ratio, -advs * np.clip(ratio, 1 - cliprange, 1 + cliprange)
    moved = np.clip(values - old_values, -cliprange, cliprange)
    errors, held_errors = (values - returns) ** 2, (old_values + moved - returns) ** 2
    stats = [mean(np.maximum(free, held)), 0.5 * mean(np.maximum(errors, held_errors)), mean(pd.entropy()),
             0.5 * mean((neglogp - old_neglogp) ** 2), mean((np.abs(ratio - 1) > cliprange).astype(obs.dtype))]

    n = len(obs)
    d_neglogp = np.where((free > held) | (ratio == np.clip(ratio, 1 - cliprange, 1 + cliprange)), -free, 0) / n
    inside = np.abs(values - old_values) < cliprange
    d_values = vf_coef * np.where(errors >= held_errors, values - returns, inside * (old_values + moved - returns)) / n
    d_mean, d_logstd = np.split(pd.neglogp_grad(actions) * d_neglogp[:, np.newaxis], 2, axis=1)
    pi_back(d_mean)
    vf_back(d_values[:, np.newaxis])
    layers.grads['pi.logstd'] = (d_logstd - ent_coef / n).sum(axis=0, keepdims=True)
    return {'stats': np.array(stats), 'mean': centre, 'neglogp': neglogp, 'vpred': values}


def update(theta, m, v, obs, actions, returns, old_values, old_neglogp, *, names, shapes, t: int, lr: float,
           max_grad_norm: float, adam_eps: float, **coefficients) -> dict:
    """All of one update; t: its number, from 1."""
    advs = returns - old_values
    advs = (advs - mean(advs)) / (deviation(advs) + 1e-8)
    layers = Pass(named(theta, names, shapes))
    found = losses_and_gradient(layers, obs, actions, advs, returns, old_values, old_neglogp, **coefficients)
    grad = flat(layers.grads, names)
    norm = np.sqrt((grad * grad).sum())
    clipped = grad * (max_grad_norm / np.maximum(norm, max_grad_norm))
    after = dict(zip(('theta', 'm', 'v'), adam(theta, m, v, t, clipped, lr, epsilon=adam_eps), strict=True))
    return {**found, **after, 'advs': advs, 'grad': grad, 'norm': norm, 'clipped': clipped}
