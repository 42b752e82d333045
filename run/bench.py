"""What training costs (`python -m run.bench`): speed against the simulator's own, start-up, ranks, cost against work.

Every measurement is a process of its own. Things to be compared are measured in turn, several times, and compared by
their medians. Results are JSON lines in results/bench, tables in Markdown beside them.

speed    steps per second of stepping the environment alone with random actions, drawn beforehand (raw), of TRPO with
         each policy at the defaults for MuJoCo, without its first three updates, and of sb3-contrib's TRPO set to the
         same work (if it is installed: the extra `bench`); one process, one core
startup  seconds to the end of the first iteration, as multiples of those to import TensorFlow and its probability
         library; memory
profile  where the time of an iteration goes
ranks    steps per second under mpirun
acktr    where the time of a batch of continuous ACKTR goes: collecting 2500 steps, 25 updates of the critic, the rest
cost     time of an update and memory against batch, action size, flow, network
"""
import argparse
import contextlib
import importlib.util
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable

import gymnasium as gym
import numpy as np
from tqdm import tqdm

from onpolicybaselines.common.mpi_world import rank
from onpolicybaselines.common.timing import timing
from run import figure

POLICIES = {'Gaussian': {'policy': 'gaussian'}, 'GMM K=5': {'policy': 'gmm', 'gmm_components': 5},
            'flow': {'policy': 'flow'}}
ENVS = ('Hopper-v5', 'HalfCheetah-v5', 'Reacher-v5', 'Humanoid-v5')
SKIP = 3  # updates before the measured ones
CACHE = os.path.join(tempfile.gettempdir(), 'onpolicybaselines-bench-xla')  # TensorFlow reads what is there
# the `timed` blocks of TRPO by the names they have in reports
PHASES = {'computegrad': 'gradient', 'fvp': 'Fisher products', 'losses': 'line search', 'vf': 'value fit'}


# ================================================================
# Measurements, each in a process of its own
# ================================================================

def raw(env: str, steps: int = 5000) -> dict:
    """Steps per second of the environment alone, with random actions drawn beforehand."""
    env = gym.make(env)
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(steps)]
    start = time.perf_counter()
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    return {'steps_per_second': steps / (time.perf_counter() - start)}


class Stopwatch:
    """Seconds spent in wrapped functions, by name."""

    def __init__(self):
        self.seconds = defaultdict(float)

    def wrap(self, name: str, function: Callable) -> Callable:
        """`function`, timed."""
        def timed(*args, **kwargs):
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[name] += time.perf_counter() - start
        return timed


class _Timed(gym.Wrapper):
    """Times the environment's steps and resets."""

    def __init__(self, env, watch):
        super().__init__(env)
        self.step = watch.wrap('physics', env.step)
        self.reset = watch.wrap('physics', env.reset)


def trained(env: str, updates: int = 10, profile: bool = False, **options) -> dict:
    """TRPO's steps per second over `updates` updates after the first three; seconds to the end of the first iteration;
    MiB of memory at most; with `profile`, seconds per iteration by part."""
    start = time.perf_counter()
    import tensorflow  # noqa: F401
    import tensorflow_probability  # noqa: F401
    imported = time.perf_counter()
    from onpolicybaselines import logger
    from onpolicybaselines.common.mpi_world import size
    from onpolicybaselines.trpo_mpi import defaults, trpo_mpi
    watch, times = Stopwatch(), []

    def callback(*_):
        times.append(time.perf_counter())
        if len(times) == SKIP + 1:
            watch.seconds.clear()

    options = {**defaults.mujoco(), 'xla': True, **options}
    env = gym.make(env)
    with logger.scoped_configure(format_strs=[]), _profiled(watch) if profile else contextlib.nullcontext():
        trpo_mpi.learn(env=_Timed(env, watch) if profile else env, total_timesteps=0, max_iters=SKIP + updates, seed=0,
                       callback=callback, **options)
    seconds = (times[-1] - times[SKIP]) / updates
    return {'steps_per_second': options['timesteps_per_batch'] * size() / seconds,
            'import': imported - start, 'first_iteration': times[1] - start,
            'memory_mib': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            'iteration': seconds, **{f'phase {PHASES.get(name, name)}': total / updates
                                     for name, total in watch.seconds.items() if name != 'cg'}}


@contextlib.contextmanager
def _profiled(watch):
    """Within, TRPO tells `watch` of its parts."""
    from onpolicybaselines.common.policies import PolicyWithValue
    actor = PolicyWithValue.actor
    PolicyWithValue.actor = lambda *args: watch.wrap('actor', actor(*args))
    try:
        with timing() as watch.seconds:
            yield
    finally:
        PolicyWithValue.actor = actor


def acktr(env: str, updates: int = 8, **options) -> dict:
    """Seconds per batch of continuous ACKTR by part, after its first three."""
    from onpolicybaselines import logger
    from onpolicybaselines.acktr import acktr_cont
    watch, marks = Stopwatch(), []

    class Done(Exception):
        pass

    def callback(values, _):
        marks.append((time.perf_counter(), values['timesteps_so_far']))
        if len(marks) == SKIP + 1:
            watch.seconds.clear()
        if len(marks) == SKIP + updates + 1:
            raise Done

    acktr_cont.rollout = watch.wrap('collect', acktr_cont.rollout)
    acktr_cont.NeuralNetValueFunction.fit = watch.wrap('critic', acktr_cont.NeuralNetValueFunction.fit)
    with logger.scoped_configure(format_strs=[]), contextlib.suppress(Done):
        acktr_cont.learn(env=gym.make(env), total_timesteps=10**9, seed=0, callback=callback, **options)
    (start, first), (end, last) = marks[SKIP], marks[-1]
    return {'steps_per_second': (last - first) / (end - start), 'iteration': (end - start) / updates,
            **{f'phase {name}': seconds / updates for name, seconds in watch.seconds.items()}}


def sb3(env: str, updates: int = 10) -> dict:
    """Steps per second of sb3-contrib's TRPO: the same batch, networks, conjugate gradients and fit."""
    sys.modules['tensorflow'] = None  # tensorboard would load it, and its LLVM and torch's cannot be in one process
    import torch
    from sb3_contrib import TRPO
    from stable_baselines3.common.callbacks import BaseCallback
    torch.set_num_threads(1)
    times = []

    class Times(BaseCallback):
        def _on_rollout_start(self):
            times.append(time.perf_counter())

        def _on_step(self):
            return True

    model = TRPO('MlpPolicy', gym.make(env), n_steps=1024, gamma=0.99, gae_lambda=0.98, target_kl=0.01, cg_max_steps=10,
                 cg_damping=0.1, sub_sampling_factor=5, n_critic_updates=5, batch_size=64, learning_rate=1e-3, seed=0,
                 policy_kwargs={'net_arch': [32, 32]}, device='cpu')
    model.learn(1024 * (SKIP + updates + 1), callback=Times())
    return {'steps_per_second': 1024 * updates / (times[SKIP + updates] - times[SKIP])}


MEASUREMENTS = {'raw': raw, 'trained': trained, 'sb3': sb3, 'acktr': acktr}


def measure(what: str, ranks: int = 0, cache: str = CACHE, **options) -> dict:
    """One of MEASUREMENTS in a fresh process: pinned to one core, or as so many MPI ranks; cache: folder of XLA's, if
    any."""
    command = [sys.executable, '-m', 'run.bench', '--measure', json.dumps({'what': what, 'pin': not ranks, **options})]
    if ranks:
        command = [shutil.which('mpirun', path=os.path.dirname(sys.executable)), '-np', str(ranks), *command]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'TF_CPP_MIN_LOG_LEVEL': '3'}
    if cache:
        environment['TF_XLA_FLAGS'] = f'--tf_xla_persistent_cache_directory={cache}'
    result = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    lines = [line for line in result.stdout.splitlines() if line.startswith('{"steps')]
    if result.returncode or not lines:
        raise RuntimeError(f'{" ".join(command)} failed:\n{result.stderr[-2000:]}')
    return json.loads(lines[0])


def _measure_here(what, pin, **options):
    if pin:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    result = MEASUREMENTS[what](**options)
    if rank() == 0:
        print(json.dumps(result), flush=True)


# ================================================================
# Reports
# ================================================================

class Record:
    """JSON lines of one report: {"case": ..., "repeat": ..., results}."""

    def __init__(self, folder: str, name: str):
        os.makedirs(folder, exist_ok=True)
        self._base = os.path.join(folder, name)
        self.rows: list[dict] = []

    def measure_in_turn(self, cases: dict[str, dict], repeats: int) -> dict[str, dict[str, float]]:
        """Measure each case `repeats` times in turn; returns the median of each result by case."""
        for repeat, (case, options) in tqdm(list(itertools.product(range(repeats), cases.items())), desc=self._base):
            self.rows.append({'case': case, 'repeat': repeat, **measure(**options)})
            with open(self._base + '.jsonl', 'w', encoding='utf-8') as fh:
                fh.writelines(json.dumps(row) + '\n' for row in self.rows)
        return {case: {key: float(np.median([row[key] for row in self._of(case)]))
                       for key in self._of(case)[0] if key not in ('case', 'repeat')} for case in cases}

    def spread(self, case: str, key: str = 'steps_per_second') -> float:
        """(largest - smallest) / median over the repeats."""
        values = [row[key] for row in self._of(case)]
        return (max(values) - min(values)) / float(np.median(values))

    def _of(self, case):
        return [row for row in self.rows if row['case'] == case]

    def table(self, *rows: tuple) -> None:
        """Write and print the table; the first row is its head."""
        head, *rows = [[*map(str, row)] for row in rows]
        text = figure.table(head, rows)
        with open(self._base + '.md', 'w', encoding='utf-8') as fh:
            fh.write(text)
        print(text, flush=True)


def speed(args: argparse.Namespace) -> None:
    """Steps per second against the simulator's and sb3-contrib's."""
    record = Record(args.folder, 'speed')
    cases = {}
    for env in args.envs:
        cases[f'{env} raw'] = {'what': 'raw', 'env': env}
        cases |= {f'{env} {name}': {'what': 'trained', 'env': env, **options} for name, options in POLICIES.items()}
        if importlib.util.find_spec('sb3_contrib'):
            cases[f'{env} sb3'] = {'what': 'sb3', 'env': env}
    medians = record.measure_in_turn(cases, args.repeats)
    rates = {case: result['steps_per_second'] for case, result in medians.items()}
    rows = [('task', 'raw, steps/s', *(f'{name} / raw' for name in POLICIES), 'Gaussian / sb3-contrib', 'spread')]
    for env in args.envs:
        base, other = rates[f'{env} raw'], rates.get(f'{env} sb3')
        rows.append((env, f'{base:.0f}', *(f'{rates[f"{env} {name}"] / base:.2f}' for name in POLICIES),
                     f'{rates[f"{env} Gaussian"] / other:.1f}' if other else '-',
                     f'{max(record.spread(case) for case in cases if case.startswith(env)):.0%}'))
    record.table(*rows)


def startup(args: argparse.Namespace) -> None:
    """First iteration against imports, on a first start and on later ones; memory."""
    record = Record(args.folder, 'startup')
    cases = {f'{name}, {xla}': {'what': 'trained', 'env': 'Hopper-v5', 'updates': 1, 'xla': xla != 'plain', **options,
                                **({} if xla == 'XLA, later' else {'cache': ''})}
             for name, options in POLICIES.items() for xla in ('plain', 'XLA, first', 'XLA, later')}
    for options in cases.values():  # fill the cache
        if 'cache' not in options:
            measure(**options)
    medians = record.measure_in_turn(cases, args.repeats)
    record.table(('policy', 'imports, s', 'first iteration / imports', 'memory, MiB'),
                 *((case, f'{r["import"]:.1f}', f'{r["first_iteration"] / r["import"]:.1f}', f'{r["memory_mib"]:.0f}')
                   for case, r in medians.items()))


def profile(args: argparse.Namespace) -> None:
    """Milliseconds of one iteration by part."""
    record = Record(args.folder, 'profile')
    cases = {f'{env} {name}': {'what': 'trained', 'env': env, 'profile': True, **options}
             for env in args.envs for name, options in POLICIES.items()}
    medians = record.measure_in_turn(cases, args.repeats)
    parts = ('physics', 'actor', 'other sampling', *PHASES.values(), 'rest')
    rows = [('task', *parts, 'sum, ms')]
    for case, result in medians.items():
        ms = {key.removeprefix('phase '): 1000 * value for key, value in result.items() if key.startswith('phase ')}
        sampling, whole = ms.pop('sampling'), 1000 * result['iteration']
        ms['other sampling'] = sampling - ms['physics'] - ms['actor']
        ms['rest'] = whole - sum(ms.values())
        rows.append((case, *(f'{ms.get(part, 0.):.1f}' for part in parts), f'{whole:.0f}'))
    record.table(*rows)


def acktr_profile(args: argparse.Namespace) -> None:
    """Milliseconds of one batch of continuous ACKTR by part."""
    record = Record(args.folder, 'acktr')
    cases = {name: {'what': 'acktr', 'env': 'Hopper-v5', **options} for name, options in POLICIES.items()}
    rows = [('policy', 'collecting, ms', 'critic', 'rest', 'updates / collecting')]
    for case, result in record.measure_in_turn(cases, args.repeats).items():
        collect, critic = result['phase collect'], result['phase critic']
        rest = result['iteration'] - collect - critic
        rows.append((case, *(f'{1000 * seconds:.0f}' for seconds in (collect, critic, rest)),
                     f'{(critic + rest) / collect:.2f}'))
    record.table(*rows)


def ranks(args: argparse.Namespace) -> None:
    """Steps per second of 1, 2 and 8 ranks on this machine's cores."""
    record = Record(args.folder, 'ranks')
    cases = {f'{name}, np={n}': {'what': 'trained', 'env': 'Hopper-v5', 'ranks': n, **POLICIES[name]}
             for name in ('Gaussian', 'flow') for n in (1, 2, 8)}
    medians = record.measure_in_turn(cases, args.repeats)
    rates = {case: result['steps_per_second'] for case, result in medians.items()}
    record.table(('policy', 'np=1, steps/s', 'np=2 / np=1', 'np=8 / np=2', 'cores'),
                 *((name, f'{rates[f"{name}, np=1"]:.0f}', f'{rates[f"{name}, np=2"] / rates[f"{name}, np=1"]:.2f}',
                    f'{rates[f"{name}, np=8"] / rates[f"{name}, np=2"]:.2f}', os.cpu_count())
                   for name in ('Gaussian', 'flow')))


WORK = {  # option: (values, policy, task)
    'timesteps_per_batch': ((1024, 4096, 16384, 65536), 'flow', 'Hopper-v5'),
    'flow_layers': ((1, 2, 4, 8, 16), 'flow', 'Hopper-v5'),
    'flow_units': ((3, 8, 16, 32, 64), 'flow', 'Hopper-v5'),
    'num_hidden': ((32, 64, 128, 256, 512), 'Gaussian', 'Hopper-v5'),
    'action size': (('InvertedPendulum-v5', 'Reacher-v5', 'Hopper-v5', 'HalfCheetah-v5', 'Humanoid-v5'), 'flow', None),
}
ACTION_SIZES = {'InvertedPendulum-v5': 1, 'Reacher-v5': 2, 'Hopper-v5': 3, 'HalfCheetah-v5': 6, 'Humanoid-v5': 17}


def cost(args: argparse.Namespace) -> None:
    """Update time and memory against work: a table, and a plot in logarithms."""
    record = Record(args.folder, 'cost')
    cases = {}
    for option, (values, name, env) in WORK.items():
        for value in values:
            work = {'env': env, option: value} if env else {'env': value}
            cases[f'{option}={value}'] = {'what': 'trained', 'updates': 2, 'profile': True, **POLICIES[name], **work}
    medians = record.measure_in_turn(cases, args.repeats)
    rows = [('work', 'update, ms', 'steps/s', 'memory, MiB')]
    for case, result in medians.items():
        update = 1000 * (result['iteration'] - result['phase sampling'])
        rows.append((case, f'{update:.0f}', f'{result["steps_per_second"]:.0f}', f'{result["memory_mib"]:.0f}'))
    record.table(*rows)
    _plot_cost(medians, os.path.join(args.folder, 'cost.png'))


def _plot_cost(medians, path):
    import matplotlib
    matplotlib.use('agg')
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(1, len(WORK), figsize=(3 * len(WORK), 3), sharey=True, layout='constrained')
    for ax, (option, (values, name, _)) in zip(axes, WORK.items(), strict=True):
        x = np.array([ACTION_SIZES.get(value, value) for value in values], float)
        results = [medians[f'{option}={value}'] for value in values]
        y = [1000 * (result['iteration'] - result['phase sampling']) for result in results]
        ax.loglog(x, y, 'o-', label='update')
        ax.loglog(x, y[0] * x / x[0], ':', color='grey', label='in proportion')
        ax.set(xlabel=option, title=name)
        ax.set_xticks(x, [f'{value:.0f}' for value in x])
        ax.minorticks_off()
    axes[0].set_ylabel('update, ms')
    axes[0].legend()
    figure.savefig(path, dpi=110)


REPORTS = {'speed': speed, 'startup': startup, 'profile': profile, 'acktr': acktr_profile, 'ranks': ranks, 'cost': cost}


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--what', nargs='+', choices=list(REPORTS), default=list(REPORTS))
    parser.add_argument('--envs', nargs='+', default=ENVS)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--folder', default='results/bench')
    parser.add_argument('--measure', type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        _measure_here(**args.measure)
        return
    for name in args.what:
        REPORTS[name](args)


if __name__ == '__main__':
    main()
