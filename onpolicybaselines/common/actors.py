"""Actions without TensorFlow, a call of which costs more than a step of most simulators.

A policy is put together here from its arrays by name: networks are lists of `Dense` layers (`network_fn.layers`, see
common/models.py), a family of distributions has a `Head` (`PdType.head`, see common/distributions.py), both written
beside their TensorFlow versions; `Policy.actor` joins them. With numba (the extra `fast`) observations become actions
in one compiled function, without it in NumPy.

N: observations at a time. Numbers have the dtype of the policy's variables.
"""
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from gymnasium import spaces

Arrays = Mapping[str, np.ndarray]


def in_scope(arrays: Arrays, scope: str) -> dict[str, np.ndarray]:
    """The arrays under `scope`, by their names within it."""
    return {name.removeprefix(scope + '/'): array for name, array in arrays.items() if name.startswith(scope + '/')}


def policy(ob_space: spaces.Space, dtype: np.dtype, layers: Sequence['Dense'], head: 'Head',
           mean_std: tuple[np.ndarray, np.ndarray] | None = None) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A function (observations [N, ...], noise) -> actions [N, ...], the deterministic ones if noise is None.

    layers: from encoded observations to the latent; mean_std: filter observations as `Policy` does. The noise may be
    overwritten.
    """
    encode = encoder(ob_space, dtype)
    components = [policy(ob_space, dtype, layers, component, mean_std) for component in head.components]
    layers = [*layers, *head.layers]
    mean_std = mean_std and tuple(np.ravel(p).astype(dtype) for p in mean_std)
    run = _compiled(encode(np.zeros([1, *ob_space.shape], ob_space.dtype)).dtype, dtype)
    if run is None:
        return _in_numpy(encode, layers, head, mean_std, dtype)
    size_in = spaces.flatdim(ob_space)
    size_out = len(layers[-1].b) if layers else size_in
    program = _program(layers, head.couplings, mean_std, size_in, dtype)

    def push(ob, noise):
        y = np.zeros([len(ob), size_out], dtype) if noise is None else noise
        if dtype != np.float32:
            y = y.astype(dtype)
        run(encode(ob), y, *program)
        return y

    def act(ob, noise):
        flat = np.empty([len(ob), size_out], dtype)
        run(encode(ob), flat, *program)
        return head.mode(flat) if noise is None else head.sample(flat, noise)

    def act_by_component(ob, noise):
        if noise is None:
            return act(ob, None)
        return np.concatenate([components[k](ob[n:n + 1], noise[n:n + 1, :-1].copy())
                               for n, k in enumerate(_component(noise, len(components)))])

    if components:
        return act_by_component
    return push if head.couplings else act


def _in_numpy(encode, layers, head, mean_std, dtype):
    def act(ob, noise):
        x = encode(ob).astype(dtype)
        if mean_std is not None:
            x = np.minimum(np.maximum((x - mean_std[0]) / mean_std[1], -5), 5)
        for layer in layers:
            x = layer(x)
        return head.mode(x) if noise is None else head.sample(x, noise)
    return act


def encoder(ob_space: spaces.Space, dtype: np.dtype) -> Callable[[np.ndarray], np.ndarray]:
    """Observations [N, *ob_space.shape] -> [N, n]: rounded to `dtype`, they are as common/input.py gives them."""
    if not isinstance(ob_space, spaces.Box):
        starts = np.atleast_1d(ob_space.start)
        sizes = np.atleast_1d(ob_space.n if isinstance(ob_space, spaces.Discrete) else ob_space.nvec)
        values = np.concatenate([start + np.arange(n) for start, n in zip(starts, sizes, strict=True)])
        part = np.repeat(np.arange(len(sizes)), sizes)
        return lambda ob: (ob.reshape(len(ob), -1)[:, part] == values).astype(dtype)
    size = spaces.flatdim(ob_space)
    if not np.issubdtype(ob_space.dtype, np.floating):
        return lambda ob: ob.astype(dtype).reshape(-1, size)
    if dtype != np.float32 or len(ob_space.shape) != 1 or ob_space.dtype == np.float16:
        return lambda ob: ob.astype(np.float32).reshape(-1, size)
    return lambda ob: ob


# ================================================================
# Networks
# ================================================================

# by name in tf.nn; `_activate` is for numbers and for arrays, so that numba and NumPy share it
ACTIVATIONS = ('linear', 'tanh', 'relu', 'elu', 'sigmoid', 'softplus', 'swish')


def _activate(x, index):
    if index == 1:
        return np.tanh(x)
    if index == 2:
        return np.maximum(x, 0)
    if index == 3:
        return np.maximum(x, 0) + np.expm1(np.minimum(x, 0))
    if index == 4:
        return _sigmoid(x)
    if index == 5:
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
    if index == 6:
        return x * _sigmoid(x)
    return x


def _sigmoid(x):
    return np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))


class Dense(NamedTuple):
    """A layer activation(norm(x @ w + b)), [N, in] -> [N, out]; activation: one of ACTIVATIONS.

    norm: (gamma [out], beta [out], epsilon, groups) of a layer normalisation of each of `groups` equal parts; None: no.
    """

    w: np.ndarray
    b: np.ndarray
    activation: str = 'linear'
    norm: tuple[np.ndarray, np.ndarray, float, int] | None = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The output at x."""
        h = x.dot(self.w)
        h += self.b
        if self.norm is not None:
            gamma, beta, epsilon, groups = self.norm
            part = h.reshape(len(h), groups, -1)
            part -= part.mean(axis=2, keepdims=True)
            part /= np.sqrt(np.square(part).mean(axis=2, keepdims=True) + epsilon)
            h = h * gamma + beta
        return _activate(h, ACTIVATIONS.index(self.activation))


def dense(arrays: Arrays, scope: str, activation: str = 'linear', layer_norm: bool = False) -> Dense:
    """The layer with variables w and b in `scope`, such as `a2c.utils.fc` makes; layer_norm: `tf_util.layer_norm`
    follows, in the same scope."""
    norm = None
    if layer_norm:
        norm = arrays[f'{scope}/LayerNorm/gamma'], arrays[f'{scope}/LayerNorm/beta'], 1e-12, 1
    return Dense(arrays[f'{scope}/w'], arrays[f'{scope}/b'], activation, norm)


def matching_dense(arrays: Arrays, scope: str) -> list[Dense]:
    """The layer in `scope`; none where the latent has its size already, as in `distributions._matching_fc`."""
    return [dense(arrays, scope)] if f'{scope}/w' in arrays else []


def side_by_side(layers: Sequence[Dense]) -> Dense:
    """Linear layers with the same input as one, their outputs one after the other."""
    return Dense(np.concatenate([layer.w for layer in layers], axis=1), np.concatenate([layer.b for layer in layers]))


# ================================================================
# Families of distributions
# ================================================================

class Coupling(NamedTuple):
    """`flows.AffineCoupling`: of an x, `keep` coordinates from keep_from on stay, `move` others, from move_from on,
    become x exp(s) + t; layers: kept coordinates -> [s | t]."""

    keep_from: int
    keep: int
    move_from: int
    move: int
    layers: list[Dense]


class Head(NamedTuple):
    """What a family adds to the network below it.

    layers: from the latent to `flat` [N, n]; sample(flat, noise of `PdType.noise`) and mode(flat): actions [N, ...].
    couplings: the same for numba, which pushes noise, or zeros for the mode, through these and adds `flat` after the
    first; none if the family cannot be written so.
    components: of a mixture, whose noise ends with what `_component` takes, and for the rest is theirs.
    """

    layers: list[Dense]
    sample: Callable[[np.ndarray, np.ndarray], np.ndarray]
    mode: Callable[[np.ndarray], np.ndarray]
    couplings: Sequence[Coupling] = ()
    components: Sequence['Head'] = ()


def categorical(layers: list[Dense]) -> Head:
    """`CategoricalPd`; flat: logits."""
    return Head(layers, lambda logits, u: _argmax(logits + _gumbel(u)), _argmax)


def multicategorical(layers: list[Dense], nvec: Sequence[int]) -> Head:
    """`MultiCategoricalPd`; flat: the logits of all categoricals."""
    ends = np.cumsum(nvec)[:-1]

    def mode(logits):
        return np.stack([_argmax(part) for part in np.split(logits, ends, axis=-1)], axis=-1)
    return Head(layers, lambda logits, u: mode(logits + _gumbel(u)), mode)


def bernoulli(layers: list[Dense]) -> Head:
    """`BernoulliPd`; flat: logits."""
    return Head(layers, lambda logits, u: (u < _sigmoid(logits)).astype('int32'),
                lambda logits: np.round(_sigmoid(logits)).astype('int32'))


def diag_gaussian(layers: list[Dense], logstd: np.ndarray) -> Head:
    """`DiagGaussianPd`; flat: the mean; logstd: [1, A]."""
    std, size = np.exp(logstd), logstd.size
    scale = Dense(np.zeros([0, 2 * size]), np.concatenate([logstd.ravel(), np.zeros(size)]))
    return Head(layers, lambda mean, noise: mean + std * noise, lambda mean: mean, [Coupling(0, 0, 0, size, [scale])])


def gaussian_mixture(layers: list[Dense], logstd: np.ndarray) -> Head:
    """`GaussianMixturePd`; flat: the means of the K components, from a layer each; logstd: [K, A]."""
    std, (components, size) = np.exp(logstd), logstd.shape

    def sample(flat, noise):
        k = _component(noise, components)
        return mean_of(flat, k) + std.take(k, axis=0) * noise[:, :-1]

    def mode(flat):
        mean = flat.reshape(-1, components, size)
        z = (mean[:, :, np.newaxis] - mean[:, np.newaxis]) / std  # of each mean in each component
        logp = -0.5 * np.square(z).sum(axis=-1) - logstd.sum(axis=-1)
        return mean_of(flat, np.logaddexp.reduce(logp, axis=-1).argmax(axis=-1))

    def mean_of(flat, k):
        return flat.reshape(-1, size).take(k + np.arange(0, components * len(k), components), axis=0)
    return Head([side_by_side(layers)], sample, mode,
                components=[diag_gaussian([layer], row[np.newaxis])
                            for layer, row in zip(layers, logstd, strict=True)])


def flow(layers: list[Dense], couplings: Sequence[Coupling]) -> Head:
    """`NormalizingFlowPd`; flat: the state vector."""
    def sample(flat, noise):
        y = noise.astype(flat.dtype)
        for i, (keep_from, keep, move_from, move, layers) in enumerate(couplings):
            h = y[:, keep_from:keep_from + keep]
            for layer in layers:
                h = layer(h)
            y[:, move_from:move_from + move] *= np.exp(h[:, :move])
            y[:, move_from:move_from + move] += h[:, move:2 * move]
            if i == 0:
                y += flat
        return y
    return Head(layers, sample, lambda flat: sample(flat, np.zeros_like(flat)), couplings)


def _component(noise, components):
    """Which component the last column of the noise, uniform on [0, 1], chooses for each row."""
    return np.minimum((noise[:, -1] * components).astype(int), components - 1)  # it may round up to 1


def _argmax(logits):
    return logits.argmax(axis=-1).astype('int32')


def _gumbel(u):
    with np.errstate(divide='ignore'):  # u may be 0
        return -np.log(-np.log(u))


# ================================================================
# The same for numba
# ================================================================

def _program(layers, couplings, mean_std, size_in, dtype):
    """What `_run` takes: all numbers in a row, what they are, and room for the layers' outputs."""
    numbers, code, width = [np.zeros(0), *(mean_std or ())], [int(mean_std is not None)], size_in

    def add(layers):
        nonlocal width
        code.append(len(layers))
        for w, b, activation, norm in layers:
            gamma, beta, epsilon, groups = norm or ((), (), (), 0)
            numbers.extend(map(np.ravel, (np.vstack([w, b]).T, gamma, beta, epsilon)))
            code.extend((*w.shape, groups, ACTIVATIONS.index(activation)))
            width = max(width, len(b))

    add(layers)
    code.append(len(couplings))
    for *slices, inner in couplings:
        code.extend(slices)
        add(inner)
    return np.concatenate(numbers).astype(dtype), np.array(code), np.empty([3, width], dtype)


def _run(ob, y, numbers, code, room):
    """Rows of y: from noise to actions; without couplings, from anything to what the layers make of the rows of ob."""
    size = ob.shape[1]
    for n in range(len(ob)):
        at, pc = 0, 1  # in numbers and in code
        for i in range(size):
            room[0, i] = ob[n, i]
        if code[0]:
            for i in range(size):
                room[0, i] = min(max((room[0, i] - numbers[i]) / numbers[size + i], -5), 5)
            at = 2 * size
        out, at, pc = _layers(room, numbers, at, code, pc)
        for j in range(y.shape[1]):
            room[2, j] = room[out, j]
        couplings, pc = code[pc], pc + 1
        for i in range(couplings):
            keep_from, keep, move_from, move = code[pc], code[pc + 1], code[pc + 2], code[pc + 3]
            for j in range(keep):
                room[0, j] = y[n, keep_from + j]
            out, at, pc = _layers(room, numbers, at, code, pc + 4)
            for j in range(move):
                y[n, move_from + j] = y[n, move_from + j] * np.exp(room[out, j]) + room[out, move + j]
            if i == 0:
                for j in range(y.shape[1]):
                    y[n, j] += room[2, j]
        if couplings == 0:
            for j in range(y.shape[1]):
                y[n, j] = room[2, j]


def _layers(room, numbers, at, code, pc):
    """From the input in room[0] to (the row of room with the output, where the layers end in numbers, and in code)."""
    depth, pc, out = code[pc], pc + 1, 0
    for _ in range(depth):
        n_in, n_out, groups, activation = code[pc], code[pc + 1], code[pc + 2], code[pc + 3]
        x, h, w = room[out], room[1 - out], numbers[at:]
        at, pc, out = at + (n_in + 1) * n_out, pc + 4, 1 - out
        for j in range(n_out):
            h_j = w[n_in]
            for i in range(n_in):
                h_j += x[i] * w[i]
            h[j] = h_j
            w = w[n_in + 1:]
        if groups:
            _normalize(h[:n_out], numbers[at:], groups)
            at += 2 * n_out + 1
        for j in range(n_out):
            h[j] = _activate(h[j], activation)
    return out, at, pc


def _normalize(h, numbers, groups):
    """Layer normalisation of h [n] in place; numbers: gamma, beta, epsilon."""
    size = len(h) // groups
    for start in range(0, len(h), size):
        mean = variance = 0.
        for j in range(start, start + size):
            mean += h[j]
        mean /= size
        for j in range(start, start + size):
            variance += (h[j] - mean) ** 2
        scale = 1 / np.sqrt(variance / size + numbers[2 * len(h)])
        for j in range(start, start + size):
            h[j] = (h[j] - mean) * scale * numbers[j] + numbers[len(h) + j]


@functools.cache
def _compiled(ob_dtype, dtype):
    """`_run`, compiled once on a machine if numba finds a folder for its cache; None without numba."""
    try:
        import numba
    except ImportError:
        return None
    from numba.extending import register_jitable
    for function in (_layers, _normalize, _activate, _sigmoid):
        register_jitable(function)
    options = {'error_model': 'numpy', 'fastmath': {'contract', 'reassoc'}}  # sums in the order that is fastest
    signature = f'({ob_dtype}[:, ::1], {dtype}[:, ::1], {dtype}[::1], int64[::1], {dtype}[:, ::1])'
    try:
        run = numba.njit(cache=True, **options)(_run)
        run.compile(signature)
    except Exception:  # of the cache: no folder, a full disk, a damaged file; of the compiler, it comes again
        run = numba.njit(**options)(_run)
        run.compile(signature)
    return run
