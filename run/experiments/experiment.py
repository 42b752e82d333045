"""Experiments: grids of tasks, methods and seeds."""
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from onpolicybaselines.bench.benchmarks import get_benchmark
from run.experiments.jobs import PROGRAM, Job


class Method(NamedTuple):
    """A policy: its name in legends, the options that make it, and its line; the program that they are options of."""

    label: str
    options: tuple[str, ...]
    color: str
    dashed: bool = False
    program: str = PROGRAM

    def plus(self, option: str, label: str) -> 'Method':
        """The same with one more option, its line dashed."""
        return self._replace(label=self.label + label, options=(*self.options, option), dashed=True)


GAUSSIAN = Method('Gaussian', ('--policy=gaussian',), '#1f77b4')
FROZEN = Method('Gaussian, frozen std', ('--policy=gaussian', '--fixed_logstd=True'), '#8fa3b5')
NARROW = GAUSSIAN.plus('--init_logstd=-1', ', std 0.37')
STATE = Method('Gaussian, std by state', ('--policy=gaussian', '--state_dependent_std=True'), '#9467bd')
GMM2 = Method('GMM, K=2', ('--policy=gmm', '--gmm_components=2'), '#f5a30a')
GMM5 = Method('GMM, K=5', ('--policy=gmm', '--gmm_components=5'), '#2ca02c')
FLOW = Method('flow', ('--policy=flow',), '#d62728')

# Time steps by task; onpolicybaselines/bench/benchmarks.py says where they come from. Swimmer has Reacher's.
_STEPS = {task['env_id']: task['num_timesteps'] for task in get_benchmark('TangAgrawal2018')['tasks']}
GYM = {'Reacher-v5': _STEPS['Reacher-v5'], 'Swimmer-v5': _STEPS['Reacher-v5'], **_STEPS}


def with_both_fishers(methods: dict[str, Method]) -> dict[str, Method]:
    """Each of the methods with --fisher=hessian, and with --fisher=gauss_newton, its name ending in -gn."""
    both = {}
    for name, method in methods.items():
        both[name] = method._replace(options=(*method.options, '--fisher=hessian'))
        both[f'{name}-gn'] = method.plus('--fisher=gauss_newton', ', Gauss–Newton')
    return both


@dataclass(frozen=True)
class Experiment:
    """The runs of one figure of the paper: tasks × methods × seeds.

    tasks: time steps of a run by environment. seeds: runs of each curve. Both as in the paper.
    nth: name and options of the n-th run of a curve. panels: methods by subtitle, a row of panels each.
    plot: curves of means, curves of single runs, or final performance by quantile.
    comparisons: pairs (one, other) of methods: how probable is it that a run of one ends above one of the other?
    interquartile: a table of interquartile means by task, too.
    needs: packages without which its runs cannot be, of the extra `bench`.
    published: a file of others' curves of the same methods, with columns task, method, step, mean, low, high.
    """

    name: str
    title: str
    tasks: dict[str, int]
    methods: dict[str, Method]
    seeds: int
    options: tuple[str, ...] = ('--alg=trpo_mpi', '--num_hidden=64')
    nth: Callable[[int], tuple[str, tuple[str, ...]]] = lambda n: (f'seed_{n}', (f'--seed={n}',))
    panels: dict[str, tuple[str, ...]] | None = None
    plot: Literal['means', 'runs', 'quantiles'] = 'means'
    comparisons: tuple[tuple[str, str], ...] = (('flow', 'gaussian'),)
    published: str | None = None
    interquartile: bool = False
    needs: tuple[str, ...] = ()
    smoke_steps: int = 4096
    smoke_seeds: int = 1

    def folder(self, root: str, task: str, method: str, n: int) -> str:
        """That of the n-th run."""
        return os.path.join(root, task.replace('/', '-'), method, self.nth(n)[0])

    def jobs(self, root: str, tasks: dict[str, int], methods: Sequence[str], seeds: int) -> list[Job]:
        """The runs below the folder `root`, first those of the first seed."""
        return [Job(self.folder(root, task, method, n), steps,
                    (*self.options, f'--env={task}', *self.nth(n)[1], *self.methods[method].options),
                    self.methods[method].program)
                for n in range(seeds) for task, steps in tasks.items() for method in methods]

    def steps(self, task: str, scale: str) -> int:
        """Time steps of a run at that scale, never fewer than those of 'smoke', a few batches."""
        return self.smoke_steps if scale == 'smoke' else max(round(self.tasks[task] * float(scale)), self.smoke_steps)
