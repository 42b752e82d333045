"""The heads of the families of common/distributions.py, from the values of their variables.

A family of your own gets one by `head.register`; one without has none, and its policies act by TensorFlow:

    @head.register
    def _(pdtype: MyPdType, arrays):
        return heads.diag_gaussian([dense(arrays, 'pi')], arrays['pi/logstd'])
"""
import functools

import numpy as np

from onpolicybaselines.common import distributions as D, flows
from onpolicybaselines.common.actors import heads
from onpolicybaselines.common.actors.heads import Coupling, Head
from onpolicybaselines.common.actors.networks import Arrays, Dense, dense, in_scope, matching_dense, side_by_side


@functools.singledispatch
def head(pdtype: D.PdType, arrays: Arrays) -> Head | None:
    """What `pdfromlatent`, `Pd.sample` and `Pd.mode` do, without TensorFlow, given the variables' values by name.

    None if the family has no such version.
    """
    return None


@head.register
def _(pdtype: D.CategoricalPdType, arrays):
    return heads.categorical(matching_dense(arrays, 'pi'))


@head.register
def _(pdtype: D.MultiCategoricalPdType, arrays):
    return heads.multicategorical(matching_dense(arrays, 'pi'), pdtype.ncats)


@head.register
def _(pdtype: D.BernoulliPdType, arrays):
    return heads.bernoulli(matching_dense(arrays, 'pi'))


@head.register
def _(pdtype: D.DiagGaussianPdType, arrays):
    mean = matching_dense(arrays, 'pi')
    if pdtype.state_dependent_std:
        logstd = dense(arrays, 'pi/logstd')
        mean = mean or [Dense(np.eye(pdtype.size, dtype=logstd.w.dtype), np.zeros_like(logstd.b))]
        return heads.state_dependent_gaussian([side_by_side([*mean, logstd])])
    if pdtype.fixed_logstd:
        dtype = np.result_type(np.float32, *arrays.values())
        return heads.diag_gaussian(mean, np.full([1, pdtype.size], pdtype.init_logstd, dtype))
    return heads.diag_gaussian(mean, arrays['pi/logstd'])


@head.register
def _(pdtype: D.GaussianMixturePdType, arrays):
    components = [f'pi/{k}' for k in range(pdtype.gmm_components)]
    return heads.gaussian_mixture([dense(arrays, name) for name in components],
                                  np.concatenate([arrays[f'{name}/logstd'] for name in components]))


@head.register
def _(pdtype: D.NormalizingFlowPdType, arrays):
    arrays = in_scope(arrays, 'pi')
    if pdtype.own_state_network:
        layers = state_layers(arrays, epsilon=pdtype.flow_eps)
    else:
        layers = [dense(arrays, 'statelayer')]
    return heads.flow(layers, [coupling(arrays, name, pdtype.size, swap=swap, epsilon=pdtype.flow_eps)
                               for name, swap in flows.places(pdtype.flow_layers)])


# ================================================================
# What flows.py is made of
# ================================================================

def coupling(arrays: Arrays, name: str, size: int, *, swap: bool, epsilon: float = 1e-12) -> Coupling:
    """`AffineCoupling`, its variables under `name`."""
    arrays = in_scope(arrays, name)
    first = (size + 1) // 2
    halves = (0, first), (first, size - first)
    (keep_from, keep), (move_from, move) = halves[::-1] if swap else halves
    if move == 0:
        layers = []
    elif keep == 0:
        layers = [Dense(np.zeros([0, 2 * move], arrays['free'].dtype), arrays['free'].ravel())]
    else:
        layers = _layers(arrays, epsilon)
    return Coupling(keep_from, keep, move_from, move, layers)


def state_layers(arrays: Arrays, *, epsilon: float = 1e-12) -> list[Dense]:
    """`state_network`."""
    return _layers(in_scope(arrays, 'statelayer'), epsilon)


def _layers(arrays, epsilon):
    """A `_Network`; the networks of a stack side by side in each layer, all reading the same input."""
    layers = []
    for i, (name, norm) in enumerate((*flows.HIDDEN, (flows.LAST, None))):
        kernel, bias = arrays[f'{name}/kernel'], arrays[f'{name}/bias'].ravel()
        stack = kernel.reshape(-1, *kernel.shape[-2:])
        w = np.concatenate(stack, axis=1) if i == 0 else _block_diagonal(stack)
        if norm is None:
            layers.append(Dense(w, bias))
        else:
            gamma, beta = (arrays[f'{norm}/{p}'].ravel() for p in ('gamma', 'beta'))
            layers.append(Dense(w, bias, 'relu', (gamma, beta, epsilon, len(stack))))
    return layers


def _block_diagonal(stack):
    """[stack, in, out] as one matrix [stack * in, stack * out]."""
    n, rows, columns = stack.shape
    blocks = np.zeros([n, rows, n, columns], stack.dtype)
    blocks[range(n), :, range(n)] = stack
    return blocks.reshape(n * rows, n * columns)
