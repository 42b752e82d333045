"""What float32 does to an exact answer, measured: the reference of every stage that compares floating-point numbers."""
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from exact.arithmetic import off_by_one, one_by_one

WIDER = {'float32': 'float64', 'float64': 'longdouble'}


@dataclass(frozen=True, eq=False)
class Exact:
    """An exact answer, and the others that inputs off by one ulp, or ordinary arithmetic in some order, give."""

    value: np.ndarray
    others: list[np.ndarray]

    def map(self, function: Callable) -> 'Exact':
        """The exact answer to a question about this one: a difference, a selection."""
        return Exact(function(self.value), [function(other) for other in self.others])

    def __getitem__(self, index):
        return self.map(lambda value: value[index])

    def __iter__(self):
        return (self[i] for i in range(len(self.value)))

    @property
    def noise(self) -> float:
        """N: the Euclidean distance of the furthest of the others."""
        return max(distance(other, self.value) for other in self.others)


def pooled(comparisons: Iterable[tuple]) -> tuple:
    """Many (of the port, of the trace, `Exact`) as one, each relative to its own size: of a single small array the
    noise is no better known than the error."""
    ports, traces, exacts = zip(*comparisons, strict=True)
    sizes = [np.linalg.norm(exact.value) or 1. for exact in exacts]

    def joined(arrays):
        return np.concatenate([np.ravel(array) / size for array, size in zip(arrays, sizes, strict=True)])
    others = zip(*(exact.others for exact in exacts), strict=True)
    return joined(ports), joined(traces), Exact(joined([e.value for e in exacts]), list(map(joined, others)))


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Euclidean, in the wider precision of the two; equal infinities and NaNs are 0 apart, others infinitely far."""
    a, b = np.broadcast_arrays(np.asarray(a), np.asarray(b))
    a, b = (x.astype(np.result_type(a, b, 'float64')) for x in (a, b))
    with np.errstate(invalid='ignore'):
        apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0, np.abs(a - b))
    return float(np.linalg.norm(np.where(np.isnan(apart), np.inf, apart).astype('float64').ravel()))


def measured(function: Callable[..., dict], inputs: dict[str, np.ndarray],
             rows: Mapping[str, int] | Collection[str] = (), precision: str = 'float32', draws: int = 6
             ) -> dict[str, Exact]:
    """`function(**inputs) -> {name: array}` without rounding, and how far rounding takes each result.

    precision: what the original computes in; the exact answer is computed in twice that. rows: inputs whose samples may
    come in any order, and the axis they lie on (0 if only names are given); arrays with as many samples are shuffled
    alike.
    The others: the answer off by one ulp; `draws` with every input off by one ulp, up or down, in the first of them
    also what is `kept` on the way; all in `precision`, as it is, and twice with inputs off by one ulp, the rows
    shuffled and sums added one by one; with more than two draws, twice more without the last.
    """
    rng = np.random.default_rng(0)
    rows = rows if isinstance(rows, Mapping) else dict.fromkeys(rows, 0)
    inputs = {name: np.asarray(x) for name, x in inputs.items()}

    def cast(arrays, dtype):
        return {name: x.astype(dtype) if x.dtype.kind == 'f' else x for name, x in arrays.items()}

    def nudged(arrays):
        # the ulp is of `precision`, whatever the array is in
        return {name: x + rng.choice([-1, 1], x.shape) * np.where(x == 0, 0, np.spacing(np.abs(x).astype(precision)))
                if x.dtype.kind == 'f' else x for name, x in arrays.items()}

    def shuffled():
        orders, lengths = {}, {name: x.shape[rows[name]] for name, x in inputs.items() if name in rows}
        return {name: x.take(orders.setdefault(lengths[name], rng.permutation(lengths[name])), rows[name])
                if name in rows else x for name, x in cast(nudged(cast(inputs, precision)), precision).items()}

    def systematic():
        with off_by_one(precision):
            return function(**nudged(cast(inputs, WIDER[precision])))

    exact = {name: np.asarray(x) for name, x in function(**cast(inputs, WIDER[precision])).items()}
    answers = [nudged(exact), systematic(),
               *(function(**nudged(cast(inputs, WIDER[precision]))) for _ in range(draws - 1)),
               function(**cast(inputs, precision))]
    with one_by_one():
        answers += [function(**shuffled()) for _ in range(2)]
    if draws > 2:
        answers += [function(**shuffled()) for _ in range(2)]
    return {name: Exact(value, [np.asarray(answer[name]) for answer in answers]) for name, value in exact.items()}
