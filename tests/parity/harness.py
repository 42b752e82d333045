"""Traces, stages and comparisons of the parity tests.

A trace is an npz file of arrays that an original recorded; a stage is a quantity of it that the port computes again.
Sizes, iterations, layers and components are all read from the arrays.
"""
import functools
import importlib
import pathlib
import re
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import gymnasium as gym
import numpy as np
from noise import distance
from registry import OPTIONAL, STAGES_OF

from run.plots.tables import table as markdown_table


class MissingArray(KeyError):
    """A trace lacks an array."""


class Trace:
    """The arrays of one file."""

    def __init__(self, path: pathlib.Path):
        self.name = path.stem
        self._path = path
        with np.load(path, allow_pickle=False) as file:
            self._names = file.files
        self._parts: dict[str, Part] = {}

    @functools.cached_property
    def _arrays(self):
        with np.load(self._path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    def __getitem__(self, name):
        if name not in self:
            raise MissingArray(f'{self.name}.npz has no array {name!r}')
        return self._arrays[name]

    def __contains__(self, name):
        return name in self._names

    def find(self, pattern: str) -> list[str]:
        """What the group of `pattern` matches in names of arrays, each once, in the file's order."""
        matches = (re.fullmatch(pattern, name) for name in self._names)
        return list(dict.fromkeys(m.group(1) for m in matches if m))

    def part(self, label: str) -> 'Part':
        """The arrays whose names start with `label` and an underscore; the same object for the same label."""
        return self._parts.setdefault(label, Part(self, label))

    def variables(self, prefix: str, names: Iterable[str]) -> np.ndarray:
        """The arrays `prefix.name` as one flat vector."""
        return np.concatenate([self[f'{prefix}.{name}'].ravel() for name in names])


@dataclass(frozen=True, eq=False)
class Part:
    """One iteration (or run, family, set of parameters ...) of a trace."""

    trace: Trace
    label: str

    def __getitem__(self, name):
        return self.trace[f'{self.label}_{name}']

    def __contains__(self, name):
        return f'{self.label}_{name}' in self.trace


def iterations(name: str) -> str:
    """The pattern of the iterations, skipped ones included, that recorded the array `name`."""
    return rf'((?:it|skip)\d+)_{name}'


def spaces_of(ob: np.ndarray, ac: np.ndarray) -> types.SimpleNamespace:
    """What `build_policy` needs to know of an environment with such (batches of) observations and actions."""
    return types.SimpleNamespace(observation_space=gym.spaces.Box(-np.inf, np.inf, ob.shape[1:]),
                                 action_space=gym.spaces.Box(-np.inf, np.inf, ac.shape[1:]))


UNEXPLAINED = 300  # of eigenvalues 30 is found, by an algorithm that loses more digits than the one that N is of

_compiled, _results = [], []


def compiled_once(function: Callable) -> Callable:
    """A cache of what the port compiles for a trace; `forget` empties it."""
    _compiled.append(functools.cache(function))
    return _compiled[-1]


def computed_once(function: Callable) -> Callable:
    """A cache of what the port computes; `forget` empties it."""
    _results.append(functools.cache(function))
    return _results[-1]


def forget(compiled: bool) -> None:
    """Have the port compute, and compile, all again: the package is not what it was. Exact answers are kept."""
    for cache in (*_results, *(_compiled if compiled else ())):
        cache.cache_clear()


@dataclass(frozen=True)
class Stage:
    """One row of the table.

    compute(trace, part) yields comparisons: (of the port, of the trace, `Exact`) of floating-point arrays, or (of the
    port, of the trace) of what has to be equal. each: pattern of array names whose group labels the parts to compare;
    None compares the trace as a whole. what: what is compared, in a researcher's words. note: what else a reader has to
    know. information: shown, but never failed; races, and what the port does otherwise on purpose.

    A comparison passes if |port - exact| <= max(3 |trace - exact|, 2 N): the port may be as far from the exact answer
    as the original is, three times, or as rounding alone takes it, twice. Distances are Euclidean. And the exact answer
    has to explain the trace: an original UNEXPLAINED times further from it than rounding takes it computed something
    else, and is no measure.
    """

    name: str
    compute: Callable[[Trace, Part], Iterator[tuple]]
    what: str = ''
    note: str = ''
    each: str | None = None
    information: bool | Callable[[Part], bool] = False

    def parts(self, trace: Trace) -> list[str]:
        """Labels of the parts that the trace holds."""
        return [''] if self.each is None else trace.find(self.each)

    def run(self, trace: Trace, label: str) -> 'Result':
        """Compare one part; the result is that of the comparison with the smallest margin."""
        found = [self._compare(*comparison) for comparison in self.compute(trace, trace.part(label))]
        if not found:
            raise ValueError(f'stage {self.name!r} compared nothing')
        information = self.information(trace.part(label)) if callable(self.information) else self.information
        relative = [[numbers[kind] / numbers['size'] for kind in ('trace_error', 'port_error', 'noise')]
                    for numbers in found if numbers['trace_error'] is not None]
        return Result(trace.name, self.name, label, self.what, self.note, information, len(found),
                      np.max(relative, axis=0).tolist() if relative else None,
                      **min(found, key=lambda numbers: (numbers['explained'], numbers['margin'])))

    def _compare(self, port, trace, exact=None):
        port, trace = np.asarray(port), np.asarray(trace)
        if not port.shape == trace.shape == (trace if exact is None else np.asarray(exact.value)).shape:
            raise ValueError(f'stage {self.name!r}: the port gives shape {port.shape}, the trace has {trace.shape}'
                             + ('' if exact is None else f', the exact answer {np.shape(exact.value)}'))
        if exact is None:
            error = distance(port, trace)
            return {'size': 1., 'trace_error': None, 'port_error': error, 'noise': 0., 'explained': True,
                    'margin': 0. if error else np.inf}
        trace_error, port_error, noise = (distance(trace, exact.value), distance(port, exact.value), exact.noise)
        limit = max(3 * trace_error, 2 * noise)
        size = distance(exact.value, 0) if np.isfinite(np.asarray(exact.value)).all() else 1.
        kept = distance(np.spacing(np.abs(np.asarray(exact.value)).astype(trace.dtype)), 0)  # its own last digit
        return {'size': size or 1., 'trace_error': trace_error, 'port_error': port_error, 'noise': noise,
                'explained': bool(trace_error <= UNEXPLAINED * max(noise, kept)),
                'margin': limit / port_error if port_error and np.isfinite(noise) else np.inf}


@dataclass(frozen=True)
class Result:
    """The comparison of one stage, by name, on one part, that has the smallest margin; `passed` judges it.

    trace_error, port_error: distances from the exact answer, the first None where port and trace have to be equal and
    the second is their distance; noise: N; size: of the exact answer; margin: limit over port_error; largest: of all
    comparisons, the relative errors of trace and port, and N, None where all have to be equal; explained: whether the
    exact answer is that of the original.
    All is text and numbers, as what one process tells another has to be.
    """

    trace: str
    stage: str
    label: str
    what: str
    note: str
    information: bool
    count: int
    largest: list[float] | None
    size: float
    trace_error: float | None
    port_error: float
    noise: float
    explained: bool
    margin: float

    @property
    def passed(self) -> bool:
        return bool(np.isfinite(self.port_error)) if self.information else self.explained and self.margin >= 1

    def __str__(self):
        where = f'{self.trace}, {self.stage}, {self.label or "whole trace"}: '
        if self.trace_error is None:
            return where + ('equal' if self.passed else f'not equal, {self.port_error:.3g} apart')
        return where + (f'relative distance from the exact answer {self.port_error / self.size:.3g}, original '
                        f'{self.trace_error / self.size:.3g}, by rounding {self.noise / self.size:.3g}; '
                        f'margin {self.margin:.3g}' + ('' if self.explained else '; does not explain the original'))


class Stages:
    """The stages of one kind of trace, in order; every module of stages has one, named STAGES."""

    def __init__(self):
        self.stages: list[Stage] = []

    def __iter__(self):
        return iter(self.stages)

    def add(self, name: str, **kwargs) -> Callable:
        """Decorator: the function computes the stage `name`; keywords as in `Stage`."""
        def register(compute):
            self.stages.append(Stage(name, compute, **kwargs))
            return compute
        return register


@dataclass
class Golden:
    """A folder of traces."""

    path: pathlib.Path
    traces: dict[str, Trace] = field(init=False)

    def __post_init__(self):
        found = {p.stem: p for p in sorted(self.path.glob('*.npz'))}
        self.traces = {name: Trace(found[name]) for name in STAGES_OF if name in found}
        self.missing = [name for name in STAGES_OF if name not in found and name not in OPTIONAL]
        self.without_stages = [name for name in found if name not in STAGES_OF]

    def cases(self) -> Iterator[tuple[Trace, Stage, str]]:
        """(trace, stage, label) of every comparison; label None where the trace lacks what the stage compares."""
        for name, trace in self.traces.items():
            for stage in importlib.import_module(STAGES_OF[name]).STAGES:
                for label in stage.parts(trace) or [None]:
                    yield trace, stage, label


@functools.cache
def golden_in(path: pathlib.Path) -> Golden:
    """One `Golden` for each folder, so that exact answers are computed once."""
    return Golden(path)


HEADER = ('trace', 'stage', 'iterations', 'compared', 'original', 'port', 'N', 'margin', 'note')


def grouped(results: Iterable[Result]) -> list[list[Result]]:
    """The results of each trace and stage."""
    groups: dict[tuple, list[Result]] = {}
    for result in results:
        groups.setdefault((result.trace, result.stage), []).append(result)
    return list(groups.values())


def table(results: Iterable[Result]) -> list[tuple[str, ...]]:
    """One row per trace and stage, with the numbers of the part that has the smallest margin."""
    return [_row(group) for group in grouped(results)]


def _row(group):
    worst = min(group, key=lambda result: (result.explained, result.margin))
    labels = ' '.join(r.label.strip('_') or '-' for r in group)
    return (worst.trace, worst.stage, labels, str(sum(r.count for r in group)), *numbers_of(worst),
            worst.note)


def numbers_of(worst: Result) -> tuple[str, ...]:
    """Relative distances of original, port and rounding from the exact answer, and the margin."""
    failed = '' if worst.passed else ' FAILED'
    if worst.trace_error is None:
        return '', 'differs' if worst.port_error else 'equal', '', failed.strip()
    margin = f'{worst.margin:.2g}' + failed + (' (information)' if worst.information else '')
    return (*(f'{x / worst.size:.1e}' for x in (worst.trace_error, worst.port_error, worst.noise)), margin)


SUMMARY = ('compared', 'comparisons', 'original', 'this package', 'rounding alone', 'smallest margin')


def summary(results: Iterable[Result]) -> list[tuple[str, ...]]:
    """One row per quantity in a researcher's words: the largest relative distances from the exact answer."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        if not result.information:
            groups.setdefault(result.what, []).append(result)
    return [_summary_row(what, group) for what, group in groups.items()]


def _summary_row(what, group):
    failed = ' FAILED' if not all(result.passed for result in group) else ''
    rounded = [result for result in group if result.largest is not None]
    largest = np.max([result.largest for result in rounded], axis=0) if rounded else []
    smallest = min(result.margin for result in group)
    margin = f'{smallest:.2g}' if np.isfinite(smallest) else 'equal'
    return (what, str(sum(result.count for result in group)),
            *([f'{x:.1e}' for x in largest] if rounded else ['', '', '']), margin + failed)


NOTE = ('Distances from the exact answer (float64, or wider) relative to its size, of the comparison with the smallest '
        'margin; N: how far one ulp on the inputs, or other orders of float32 sums, take it. Passes if port <= '
        'max(3 original, 2 N); margin: that limit over port.')


def to_text(rows: list[tuple[str, ...]]) -> list[str]:
    """The table as aligned lines."""
    rows = [HEADER, *rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER) - 1)]
    return ['  '.join([*(cell.ljust(w) for cell, w in zip(row[:-1], widths, strict=True)), row[-1]]) for row in rows]


def to_markdown(results: list[Result]) -> str:
    """A report: the summary, and every stage."""
    return (f'# Parity with the TF1 originals\n\n{markdown_table(SUMMARY, summary(results))}\n{NOTE}\n\n'
            f'{markdown_table(HEADER, table(results))}')
