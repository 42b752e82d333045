"""The reports: cases to measure in turn, and a table of what they gave."""
import argparse
import importlib.util
import math
import os

import numpy as np

from run.bench.measurements import PHASES
from run.bench.record import Record, measure

POLICIES = {'Gaussian': {'policy': 'gaussian'}, 'GMM K=5': {'policy': 'gmm', 'gmm_components': 5},
            'flow': {'policy': 'flow'}}
ENVS = ('Hopper-v5', 'HalfCheetah-v5', 'Reacher-v5', 'Walker2d-v5', 'Ant-v5', 'Humanoid-v5')
ROBOSCHOOL = ('roboschool/Hopper-v0', 'roboschool/Humanoid-v0')


def speed(args: argparse.Namespace) -> None:
    """Steps per second against the simulator's, and against sb3-contrib's TRPO and SB3's PPO."""
    record = Record(args, 'speed')
    cases, envs = {}, [*args.envs, *(ROBOSCHOOL if args.envs == ENVS else ())]
    for env in envs:
        cases[f'{env} raw'] = {'what': 'raw', 'env': env}
        cases |= {f'{env} {name}': {'what': 'trained', 'env': env, **options} for name, options in POLICIES.items()}
        cases |= {f'{env} {name}': {'what': what, 'env': env}
                  for name, what in [('acktr_cont', 'acktr'), ('a2c', 'a2c'), ('ppo2', 'ppo2')]}
        if importlib.util.find_spec('sb3_contrib'):
            cases |= {f'{env} {name}': {'what': name, 'env': env} for name in ('sb3', 'sb3_ppo')}
    medians = record.measure_in_turn(cases, args.repeats)
    rates = {case: result['steps_per_second'] for case, result in medians.items()}
    ours = (*POLICIES, 'acktr_cont', 'a2c', 'ppo2')
    rows = [('task', 'raw, steps/s', 'physics / raw', *(f'{name} / raw' for name in ours), 'Gaussian / physics',
             'flow / physics', 'Gaussian / sb3-contrib', 'ppo2 / SB3', 'spread')]
    for env in envs:
        base, trpo, ppo = rates[f'{env} raw'], *(rates.get(f'{env} {name}', math.nan) for name in ('sb3', 'sb3_ppo'))
        physics = medians[f'{env} raw']['physics_per_second']
        ratios = (physics / base, *(rates[f'{env} {name}'] / base for name in ours),
                  *(rates[f'{env} {name}'] / physics for name in ('Gaussian', 'flow')))
        rows.append((env, f'{base:.0f}', *map(_ratio, ratios), _ratio(rates[f'{env} Gaussian'] / trpo, 1),
                     _ratio(rates[f'{env} ppo2'] / ppo, 1),
                     f'{max(record.spread(case) for case in cases if case.startswith(env)):.0%}'))
    record.table(*rows)


def _ratio(value, digits=2):
    return '-' if math.isnan(value) else f'{value:.{digits}f}'


def startup(args: argparse.Namespace) -> None:
    """First iteration against imports, on a first start and on later ones; memory."""
    record = Record(args, 'startup')
    cases = {f'{name}, {xla}': {'what': 'trained', 'env': 'Hopper-v5', 'updates': 1, 'xla': xla != 'plain', **options,
                                **({} if xla == 'XLA, later' else {'cache': ''})}
             for name, options in POLICIES.items() for xla in ('plain', 'XLA, first', 'XLA, later')}
    for options in cases.values():  # fill the cache
        if 'cache' not in options and not args.again:
            measure(**options)
    medians = record.measure_in_turn(cases, args.repeats)
    record.table(('policy', 'imports, s', 'first iteration / imports', 'memory, MiB'),
                 *((case, f'{r["import"]:.1f}', f'{r["first_iteration"] / r["import"]:.1f}', f'{r["memory_mib"]:.0f}')
                   for case, r in medians.items()))


def profile(args: argparse.Namespace) -> None:
    """Milliseconds of one iteration of 1024 steps by part, and of `mj_step` alone in as many steps."""
    record = Record(args, 'profile')
    cases = {env: {'what': 'raw', 'env': env} for env in args.envs}
    cases |= {f'{env} {name}': {'what': 'trained', 'env': env, 'profile': True, **options}
              for env in args.envs for name, options in POLICIES.items()}
    medians = record.measure_in_turn(cases, args.repeats)
    parts = ('sampling', *PHASES.values(), 'rest')
    rows = [('task', 'physics alone', *parts, 'sum, ms')]
    for case, result in medians.items():
        if case not in args.envs:
            ms = {key.removeprefix('phase '): 1000 * value for key, value in result.items() if key.startswith('phase ')}
            whole, physics = 1000 * result['iteration'], medians[case.split()[0]]['physics_per_second']
            ms['rest'] = whole - sum(ms.values())
            rows.append((case, f'{1024e3 / physics:.1f}', *(f'{ms[part]:.1f}' for part in parts), f'{whole:.0f}'))
    record.table(*rows)


def acktr_profile(args: argparse.Namespace) -> None:
    """Milliseconds of one batch of continuous ACKTR by part."""
    record = Record(args, 'acktr')
    cases = {name: {'what': 'acktr', 'env': 'Hopper-v5', **options} for name, options in POLICIES.items()}
    rows = [('policy', 'collecting, ms', 'critic', 'rest', 'updates / collecting')]
    for case, result in record.measure_in_turn(cases, args.repeats).items():
        collect, critic = result['phase collect'], result['phase critic']
        rest = result['iteration'] - collect - critic
        rows.append((case, *(f'{1000 * seconds:.0f}' for seconds in (collect, critic, rest)),
                     f'{(critic + rest) / collect:.2f}'))
    record.table(*rows)


GAMES = {  # case: of `measurements.atari` against `atari_raw`
    'a2c, 16 games': {'alg': 'a2c', 'num_env': 16}, 'a2c, 1 game': {'alg': 'a2c', 'num_env': 1},
    'acktr, 16 games': {'alg': 'acktr', 'num_env': 16}, 'trpo_mpi, 1 game': {'alg': 'trpo_mpi', 'num_env': 1},
}


def atari(args: argparse.Namespace) -> None:
    """Steps per second of games from pixels, against the emulator with its wrappers, and where an update's time goes.

    The emulator steps as many games as the algorithm, by turns in one process, and as on the command line.
    """
    record = Record(args, 'atari')
    raw = {f'raw, {n} games, {name}': {'what': 'atari_raw', 'alg': 'a2c', 'num_env': n, 'one_process': name == 'one'}
           for n in (1, 16) for name in ('one', 'command line')}
    cases = {case: {**options, 'pin': False} for case, options in (
        raw | {case: {'what': 'atari', **options} for case, options in GAMES.items()}).items()}
    medians = record.measure_in_turn(cases, args.repeats)
    rows = [('algorithm', 'emulator in one process, steps/s', 'as on the command line', 'training, steps/s',
             '/ one process', '/ command line', 'games, ms', 'acting', 'update', 'threads', 'spread')]
    for case, options in GAMES.items():
        result = medians[case]
        one, line = (medians[f'raw, {options["num_env"]} games, {name}']['steps_per_second']
                     for name in ('one', 'command line'))
        rate, parts = result['steps_per_second'], [result['phase environment'], result['phase acting']]
        parts.append(result['iteration'] - sum(parts))
        rows.append((case, f'{one:.0f}', f'{line:.0f}', f'{rate:.0f}', f'{rate / one:.2f}', f'{rate / line:.2f}',
                     *(f'{1000 * part:.0f}' for part in parts), f'{result["threads"]:.0f}',
                     f'{record.spread(case):.0%}'))
    record.table(*rows)


def ranks(args: argparse.Namespace) -> None:
    """Steps per second of 1, 2 and 8 ranks on this machine's cores."""
    record = Record(args, 'ranks')
    cases = {f'{name}, np={n}': {'what': 'trained', 'env': 'Hopper-v5', 'ranks': n, **POLICIES[name]}
             for name in ('Gaussian', 'flow') for n in (1, 2, 8)}
    medians = record.measure_in_turn(cases, args.repeats)
    rates = {case: result['steps_per_second'] for case, result in medians.items()}
    record.table(('policy', 'np=1, steps/s', 'np=2 / np=1', 'np=8 / np=2', 'cores'),
                 *((name, f'{rates[f"{name}, np=1"]:.0f}', f'{rates[f"{name}, np=2"] / rates[f"{name}, np=1"]:.2f}',
                    f'{rates[f"{name}, np=8"] / rates[f"{name}, np=2"]:.2f}', os.cpu_count())
                   for name in ('Gaussian', 'flow')))


def mpi(args: argparse.Namespace) -> None:
    """Calls and bytes of MPI per update and rank against the number of ranks, and what follows for a thousand."""
    record = Record(args, 'mpi')
    cases = {str(n): {'what': 'mpi', 'env': 'Hopper-v5', 'ranks': n, **POLICIES['Gaussian']} for n in (1, 2, 4, 8, 16)}
    medians = record.measure_in_turn(cases, args.repeats)
    rows = [('ranks', *CALLS, *(f'{rank} rank: {what}' for rank in ('first', 'last') for what in (
        'calls', 'KiB handed in', 'KiB got')), 'iteration, ms', 'value fit, ms')]
    for case, result in medians.items():
        rows.append((case, *_messages(record.last(case)),
                     *(f'{1000 * result[part]:.0f}' for part in ('iteration', 'phase value fit'))))
    rows.append(('1000 (reckoned)', *_messages(_reckoned(record.last('16'), 16, 1000)), '-', '-'))
    record.table(*rows)


CALLS = ('Allreduce', 'Gather', 'Bcast', 'Allgather')  # in order of bytes


def _messages(result):
    first, last = ([*np.sum(list(result[rank].values()), axis=0)] for rank in ('first', 'last'))
    by_call = (sum(n for name, (n, *_) in result['first'].items() if name.lower().startswith(call.lower()))
               for call in CALLS)
    return (*(f'{n:.1f}' for n in by_call),
            *(f'{value:.1f}' for calls, *sizes in (first, last) for value in (calls, *(x / 1024 for x in sizes))))


def _reckoned(result, measured, size):
    """The messages of `size` ranks from those of some fewer: bytes got from all grow in proportion, all else stays."""
    return {rank: {call: (n, sent, got * size / measured if call.lower().startswith('allgather') else got)
                   for call, (n, sent, got) in result[rank].items()} for rank in ('first', 'last')}


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
    record = Record(args, 'cost')
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


CHECKPOINTS = {  # case: options of the command line, and whether TensorFlow has one core
    'trpo_mpi, Gaussian, Hopper-v5': ({'env': 'Hopper-v5'}, True),
    'trpo_mpi, flow, Hopper-v5': ({'env': 'Hopper-v5', 'policy': 'flow'}, True),
    'acktr_cont, Gaussian, Hopper-v5': ({'alg': 'acktr_cont', 'env': 'Hopper-v5'}, True),
    'acktr, 16 x CartPole-v1': ({'alg': 'acktr', 'env': 'CartPole-v1', 'num_env': 16}, True),
    'a2c, 16 x CartPole-v1': ({'alg': 'a2c', 'env': 'CartPole-v1', 'num_env': 16}, True),
    'ppo2, Gaussian, Hopper-v5': ({'alg': 'ppo2', 'env': 'Hopper-v5'}, True),
    'trpo_mpi, Pong': ({'env': 'PongNoFrameskip-v4'}, False),
    'a2c, 16 x Pong': ({'alg': 'a2c', 'env': 'PongNoFrameskip-v4', 'num_env': 16}, False),
    'acktr, 16 x Pong': ({'alg': 'acktr', 'env': 'PongNoFrameskip-v4', 'num_env': 16}, False),
}


def checkpoints(args: argparse.Namespace) -> None:
    """Milliseconds and KiB of a checkpoint, and the part of the time that they take by default."""
    record = Record(args, 'checkpoints')
    medians = record.measure_in_turn({case: {'what': 'checkpoints', 'pin': pin, **options}
                                      for case, (options, pin) in CHECKPOINTS.items()}, args.repeats)
    record.table(('run', 'KiB', 'ms', 'one each, s', 'share of the time'),
                 *((case, f'{r["bytes"] / 1024:.0f}', f'{1000 * r["seconds"]:.0f}', f'{r["every"]:.1f}',
                    f'{r["share"]:.2%}') for case, r in medians.items()))


def predict(args: argparse.Namespace) -> None:
    """Microseconds of `predict` for one observation, of ours and of SB3's."""
    record = Record(args, 'predict')
    cases = {'with numba': {'what': 'predict'}, 'without numba': {'what': 'predict', 'numba': False},
             "SB3's PPO": {'what': 'sb3_predict'}}
    medians = record.measure_in_turn({case: {**options, 'env': 'Hopper-v5'} for case, options in cases.items()},
                                     args.repeats)
    slowest = medians["SB3's PPO"]['microseconds']
    record.table(('predict of', 'µs', "times as fast as SB3's"),
                 *((case, f'{r["microseconds"]:.0f}', f'{slowest / r["microseconds"]:.1f}')
                   for case, r in medians.items()))


REPORTS = {'speed': speed, 'startup': startup, 'profile': profile, 'acktr': acktr_profile, 'ranks': ranks, 'mpi': mpi,
           'cost': cost, 'atari': atari, 'checkpoints': checkpoints, 'predict': predict}
NEEDED = {'ranks': ('mpi4py',), 'mpi': ('mpi4py',), 'cost': ('matplotlib',), 'atari': ('ale_py', 'cv2'),
          'checkpoints': ('ale_py', 'cv2'), 'predict': ('stable_baselines3',)}  # packages
