"""Observations to actions: encoding, filter, network and head in one function."""
import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from gymnasium import spaces

from onpolicybaselines.common.actors import machine
from onpolicybaselines.common.actors.heads import Head, component
from onpolicybaselines.common.actors.networks import Dense


class Programs(NamedTuple):
    """What machine code needs to act without Python: where `calls.run_at` is and, of each component of a mixture,
    `machine.Program`s that differ in their numbers only."""

    run_at: int
    programs: list[machine.Program]


def policy(ob_space: spaces.Space, dtype: np.dtype, layers: Sequence[Dense], head: Head,
           mean_std: tuple[np.ndarray, np.ndarray] | None = None
           ) -> tuple[Callable[[np.ndarray, np.ndarray | None], np.ndarray], Programs | None]:
    """A function (observations [N, ...], noise) -> actions [N, ...], the deterministic ones if noise is None; and the
    Programs for the others, if there are, and observations need no encoding.

    layers: from encoded observations to the latent; mean_std [n] of `dtype`: as for `filtered`. The noise may be
    overwritten.
    """
    encode = encoder(ob_space, dtype)
    components = [policy(ob_space, dtype, layers, component, mean_std) for component in head.components]
    layers = [*layers, *head.layers]
    functions = compiled(encode(np.zeros([1, *ob_space.shape], ob_space.dtype)).dtype, dtype)
    if functions is None:
        return _in_numpy(encode, layers, head, mean_std, dtype), None
    run, run_at = functions
    size_in = spaces.flatdim(ob_space)
    size_out = len(layers[-1].b) if layers else size_in
    size_ac = head.couplings[0].keep + head.couplings[0].move if head.couplings else size_out
    program = machine.program(layers, head.couplings, mean_std, size_in, size_out - size_ac, dtype)

    def push(ob, noise):
        y = np.zeros([len(ob), size_ac], dtype) if noise is None else np.ascontiguousarray(noise, dtype)
        run(encode(ob), y, *program)
        return y

    def act(ob, noise):
        flat = np.empty([len(ob), size_out], dtype)
        run(encode(ob), flat, *program)
        return head.mode(flat) if noise is None else head.sample(flat, noise)

    def act_by_component(ob, noise):
        if noise is None:
            return act(ob, None)
        return np.concatenate([components[k][0](ob[n:n + 1], noise[n:n + 1, :-1].copy())
                               for n, k in enumerate(component(noise, len(components)))])

    if components:
        return act_by_component, _together([programs for _, programs in components])
    if not head.couplings:
        return act, None
    return push, Programs(run_at, [program]) if _is_encoded(ob_space, dtype) else None


@functools.cache
def compiled(ob_dtype: np.dtype, dtype: np.dtype) -> tuple[Callable, int] | None:
    """`calls.compiled`; None without numba."""
    try:
        import numba  # noqa: F401

        from onpolicybaselines.common.actors import calls
    except ImportError:
        return None
    return calls.compiled(ob_dtype, dtype)


def _together(parts):
    """The Programs of a mixture."""
    return None if None in parts else Programs(parts[0].run_at, [part.programs[0] for part in parts])


def _in_numpy(encode, layers, head, mean_std, dtype):
    def act(ob, noise):
        x = filtered(encode(ob).astype(dtype), mean_std)
        for layer in layers:
            x = layer(x)
        return head.mode(x) if noise is None else head.sample(x, noise)
    return act


def filtered(x: np.ndarray, mean_std: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
    """Encoded observations [N, n] as `Policy` filters them."""
    return x if mean_std is None else np.minimum(np.maximum((x - mean_std[0]) / mean_std[1], -5), 5)


def encoder(ob_space: spaces.Space, dtype: np.dtype) -> Callable[[np.ndarray], np.ndarray]:
    """Observations [N, *ob_space.shape] -> [N, n]: rounded to `dtype`, they are as common/input.py gives them."""
    if not isinstance(ob_space, spaces.Box):
        starts = np.atleast_1d(ob_space.start)
        sizes = np.atleast_1d(ob_space.n if isinstance(ob_space, spaces.Discrete) else ob_space.nvec)
        values = np.concatenate([start + np.arange(n) for start, n in zip(starts, sizes, strict=True)])
        part = np.repeat(np.arange(len(sizes)), sizes)
        return lambda ob: np.ascontiguousarray(ob.reshape(len(ob), -1)[:, part] == values, dtype)
    size = spaces.flatdim(ob_space)
    if not np.issubdtype(ob_space.dtype, np.floating):
        return lambda ob: np.ascontiguousarray(ob, dtype).reshape(-1, size)
    if _is_encoded(ob_space, dtype):
        return lambda ob: np.array(ob, ob_space.dtype, order='C')
    return lambda ob: np.ascontiguousarray(ob, np.float32).reshape(-1, size)


def _is_encoded(ob_space, dtype):
    return (isinstance(ob_space, spaces.Box) and dtype == np.float32 and len(ob_space.shape) == 1
            and ob_space.dtype in (np.float32, np.float64))
