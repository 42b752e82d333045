"""Traces, stages and comparisons of the parity tests.

A trace is an npz file of arrays that an original recorded; a stage is a quantity of it that the port computes again.
Sizes, iterations, layers and components are all read from the arrays.
"""
import functools
import importlib
import math
import pathlib
import re
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import gymnasium as gym
import numpy as np
from registry import STAGES_OF

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


@dataclass(frozen=True)
class Stage:
    """One row of the table.

    compute(trace, part) yields pairs (of the port, of the trace). each: pattern of array names whose group labels the
    parts to compare; None compares the trace as a whole.
    Every element must fulfil |difference| <= max(atol, rtol |trace|); with `norm`, every vector (last axis) must fulfil
    |difference| <= rtol |trace| in the Euclidean norm. rtol may be a function of the part; rtol 0 and atol 0 ask for
    equality, rtol None records without a bound. reason: why the tolerance is what it is.
    """

    name: str
    compute: Callable[[Trace, Part], Iterator[tuple]]
    reason: str
    rtol: float | None | Callable[[Part], float] = 1e-4
    atol: float = 1e-6
    norm: bool = False
    each: str | None = None

    def parts(self, trace: Trace) -> list[str]:
        """Labels of the parts that the trace holds."""
        return [''] if self.each is None else trace.find(self.each)

    def run(self, trace: Trace, label: str) -> 'Result':
        """Compare one part."""
        part = trace.part(label)
        rtol = self.rtol(part) if callable(self.rtol) else self.rtol  # None: no bound
        rtol = None if rtol is None else float(rtol)
        errors = [self._error(np.asarray(got), np.asarray(want), rtol)
                  for got, want in self.compute(trace, part)]
        if not errors:
            raise ValueError(f'stage {self.name!r} compared nothing')
        max_abs, max_rel = np.max(errors, axis=0)
        return Result(trace.name, self.name, label, float(max_abs), float(max_rel), rtol, self.norm, self.atol,
                      self.reason)

    def _error(self, got, want, rtol):
        """(largest absolute error, largest relative error) of one array."""
        if got.shape != want.shape:
            raise ValueError(f'stage {self.name!r}: the port gives shape {got.shape}, the trace has {want.shape}')
        got, want = got.astype('float64'), want.astype('float64')
        absolute = np.where(np.isnan(got) & np.isnan(want), 0, np.abs(got - want))
        absolute = np.where(np.isnan(absolute), np.inf, absolute)
        if self.norm:
            error, size = np.linalg.norm(absolute, axis=-1), np.linalg.norm(want, axis=-1)
        else:
            error, size = absolute, np.maximum(np.abs(want), self.atol / rtol if rtol else 0)
        with np.errstate(divide='ignore', invalid='ignore'):
            relative = np.where(error == 0, 0, error / size)
        return absolute.max(initial=0), relative.max(initial=0)


@dataclass(frozen=True)
class Result:
    """The largest errors of one stage, by name, on one part, and its tolerance; `passed` judges them.

    All is text and numbers, as what one process tells another has to be.
    """

    trace: str
    stage: str
    label: str
    max_abs: float
    max_rel: float
    rtol: float | None
    norm: bool
    atol: float
    reason: str

    @property
    def passed(self) -> bool:
        return math.isfinite(self.max_abs) if self.rtol is None else self.max_rel <= self.rtol

    def __str__(self):
        return (f'{self.trace}, {self.stage}, {self.label or "whole trace"}: largest absolute error '
                f'{self.max_abs:.3g}, relative {self.max_rel:.3g}, tolerance {tolerance_of([self])}')


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
        self.missing = [name for name in STAGES_OF if name not in found]
        self.without_stages = [name for name in found if name not in STAGES_OF]

    def cases(self) -> Iterator[tuple[Trace, Stage, str]]:
        """(trace, stage, label) of every comparison; label None where the trace lacks what the stage compares."""
        for name, trace in self.traces.items():
            for stage in importlib.import_module(STAGES_OF[name]).STAGES:
                for label in stage.parts(trace) or [None]:
                    yield trace, stage, label


HEADER = ('trace', 'stage', 'iterations', 'max abs', 'max rel', 'tolerance (rel)', 'reason')


def table(results: Iterable[Result]) -> list[tuple[str, ...]]:
    """One row per trace and stage, with the largest errors of all its parts."""
    groups: dict[tuple, list[Result]] = {}
    for result in results:
        groups.setdefault((result.trace, result.stage), []).append(result)
    return [_row(group) for group in groups.values()]


def _row(group):
    failed = ' FAILED' if not all(r.passed for r in group) else ''
    return (group[0].trace, group[0].stage, ' '.join(r.label.strip('_') or '-' for r in group),
            f'{max(r.max_abs for r in group):.1e}', f'{max(r.max_rel for r in group):.1e}',
            tolerance_of(group) + failed, group[0].reason)


def tolerance_of(group: list[Result]) -> str:
    """The tolerance of one stage in words; smallest to largest where it depends on the part."""
    first, rtols = group[0], sorted({r.rtol for r in group if r.rtol is not None})
    unbounded = [r.label for r in group if r.rtol is None]
    if not rtols:
        return 'none'
    if rtols == [0]:
        return 'equal'
    span = ' to '.join(f'{rtol:.2g}' for rtol in dict.fromkeys([rtols[0], rtols[-1]]))
    span = f'norm {span}' if first.norm else f'{span}, abs {first.atol:.2g}'
    return f'{span}; none for {" ".join(unbounded)}' if unbounded else span


NOTE = ('Relative error: |difference| / |trace|, where values of the trace smaller than abs/rel tolerance count as '
        'that size; "norm": of whole vectors in the Euclidean norm.')


def to_text(rows: list[tuple[str, ...]]) -> list[str]:
    """The table as aligned lines."""
    rows = [HEADER, *rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER) - 1)]
    return ['  '.join([*(cell.ljust(w) for cell, w in zip(row[:-1], widths, strict=True)), row[-1]]) for row in rows]


def to_markdown(rows: list[tuple[str, ...]]) -> str:
    """The table in Markdown."""
    return markdown_table(HEADER, rows)
