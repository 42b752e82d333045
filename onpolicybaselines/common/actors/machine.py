"""An actor as one function that numba compiles once for all of them: layers and couplings are a program of numbers."""
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

# by name in tf.nn; `activate` is for numbers and for arrays, so that numba and NumPy share it
ACTIVATIONS = ('linear', 'tanh', 'relu', 'elu', 'sigmoid', 'softplus', 'swish')


def activate(x: np.ndarray | float, index: int) -> np.ndarray | float:
    """The function number `index` of ACTIVATIONS at x."""
    if index == 1:
        return np.tanh(x)
    if index == 2:
        return np.maximum(x, 0)
    if index == 3:
        return np.maximum(x, 0) + np.expm1(np.minimum(x, 0))
    if index == 4:
        return sigmoid(x)
    if index == 5:
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
    if index == 6:
        return x * sigmoid(x)
    return x


def sigmoid(x: np.ndarray | float) -> np.ndarray | float:
    """1 / (1 + exp(-x)), without overflow."""
    return np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))


class Program(NamedTuple):
    """What `run` takes: all numbers in a row, what they are, and room for the layers' outputs."""

    numbers: np.ndarray
    code: np.ndarray
    room: np.ndarray


def program(layers: Sequence[Any], couplings: Sequence[Any], mean_std: tuple[np.ndarray, np.ndarray] | None,
            size_in: int, context: int, dtype: np.dtype) -> Program:
    """The Program of a policy.

    layers: `Dense`; couplings: `Coupling`; mean_std: filters observations, of size_in numbers, before; context: how
    many of the layers' last outputs are for the couplings' layers to read, and are no part of an action.
    """
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
    code.extend((context, len(couplings)))
    for *slices, inner in couplings:
        code.extend(slices)
        add(inner)
    return Program(np.concatenate(numbers).astype(dtype), np.array(code), np.empty([3, width], dtype))


def run(ob: np.ndarray, y: np.ndarray, numbers: np.ndarray, code: np.ndarray, room: np.ndarray) -> None:
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
        out, at, pc = layers_at(room, numbers, at, code, pc)
        context, couplings, pc = code[pc], code[pc + 1], pc + 2
        for j in range(y.shape[1] + context):
            room[2, j] = room[out, j]
        for i in range(couplings):
            keep_from, keep, move_from, move = code[pc], code[pc + 1], code[pc + 2], code[pc + 3]
            for j in range(keep):
                room[0, j] = y[n, keep_from + j]
            for j in range(context):
                room[0, keep + j] = room[2, y.shape[1] + j]
            out, at, pc = layers_at(room, numbers, at, code, pc + 4)
            for j in range(move):
                y[n, move_from + j] = y[n, move_from + j] * np.exp(room[out, j]) + room[out, move + j]
            if i == 0:
                for j in range(y.shape[1]):
                    y[n, j] += room[2, j]
        if couplings == 0:
            for j in range(y.shape[1]):
                y[n, j] = room[2, j]


def layers_at(room: np.ndarray, numbers: np.ndarray, at: int, code: np.ndarray, pc: int) -> tuple[int, int, int]:
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
            normalize(h[:n_out], numbers[at:], groups)
            at += 2 * n_out + 1
        for j in range(n_out):
            h[j] = activate(h[j], activation)
    return out, at, pc


def normalize(h: np.ndarray, numbers: np.ndarray, groups: int) -> None:
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
