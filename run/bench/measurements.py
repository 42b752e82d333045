"""What is measured, each in a process of its own: `python -m run.bench --measure` calls MEASUREMENTS."""
import contextlib
import functools
import json
import os
import resource
import signal
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable

import gymnasium as gym

import onpolicybaselines.envs  # noqa: F401 (registers tasks)
from onpolicybaselines.common.mpi_world import rank
from onpolicybaselines.common.timing import timing
from run.bench.messages import Messages
from run.experiments.sb3 import ppo

SKIP = 3  # updates before the measured ones
WARM = {'a2c': 5, 'acktr': 13, 'ppo2': 1, 'trpo_mpi': 1}  # the same for games; K-FAC begins after 11
# the `timed` blocks of TRPO by the names they have in reports
PHASES = {'computegrad': 'gradient', 'fvp': 'Fisher products', 'losses': 'line search', 'vf': 'value fit'}


def raw(env: str, steps: int = 5000) -> dict:
    """Steps per second of the environment alone, with random actions drawn beforehand, and of MuJoCo's `mj_step` alone
    in the same steps (not for tasks that do not call it)."""
    import mujoco
    env = gym.make(env)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(steps)]
    rate = steps / _seconds(env, actions)
    watch = Stopwatch()
    mujoco.mj_step = watch.wrap('physics', mujoco.mj_step)
    _seconds(env, actions)
    physics = watch.seconds['physics']
    return {'steps_per_second': rate, 'physics_per_second': steps / physics if physics else float('nan')}


def _seconds(env, actions):
    """That it takes to step, and to reset where an episode ends."""
    env.reset(seed=0)
    start = time.perf_counter()
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    return time.perf_counter() - start


class Done(Exception):
    """Ends a `learn` from its callback."""


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


def trained(env: str, updates: int = 10, profile: bool = False, begin: Callable | None = None, **options) -> dict:
    """TRPO's steps per second over `updates` updates after the first three; seconds to the end of the first iteration;
    MiB of memory at most; with `profile`, seconds per iteration by part. begin() is called after the first three."""
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
            if begin:
                begin()

    options = {**defaults.mujoco(), 'xla': True, **options}
    with logger.scoped_configure(format_strs=[]), timing() if profile else contextlib.nullcontext({}) as watch.seconds:
        trpo_mpi.learn(env=gym.make(env), total_timesteps=0, max_iters=SKIP + updates, seed=0, callback=callback,
                       **options)
    seconds = (times[-1] - times[SKIP]) / updates
    return {'steps_per_second': options['timesteps_per_batch'] * size() / seconds,
            'import': imported - start, 'first_iteration': times[1] - start,
            'memory_mib': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            'iteration': seconds, **{f'phase {PHASES.get(name, name)}': total / updates
                                     for name, total in watch.seconds.items() if name != 'cg'}}


def mpi(env: str, updates: int = 20, **options) -> dict:
    """As `trained`; and what the first and the last rank tell the others, per update."""
    from onpolicybaselines.common.mpi_world import get_comm
    get_comm()
    messages = Messages()
    messages.install()
    result = trained(env, updates, True, messages.clear, **options)
    first, *_, last = 2 * get_comm().allgather(messages.table(updates))
    return {**result, 'first': first, 'last': last}


def acktr(env: str, updates: int = 8, **options) -> dict:
    """Seconds per batch of continuous ACKTR by part, after its first three."""
    from onpolicybaselines import logger
    from onpolicybaselines.acktr import acktr_cont
    watch, marks = Stopwatch(), []

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


def a2c(env: str, seconds: float = 4) -> dict:
    """Steps per second of A2C at its defaults, in one environment, after its first hundred updates."""
    from onpolicybaselines import logger
    from onpolicybaselines.a2c import a2c
    marks = []

    def callback(values, _):
        marks.append((time.perf_counter(), values['timesteps_so_far']))
        if len(marks) > 101 and marks[-1][0] > marks[100][0] + seconds:
            raise Done

    with logger.scoped_configure(format_strs=[]), contextlib.suppress(Done):
        a2c.learn(network='mlp', env=gym.make(env), total_timesteps=10**9, seed=0, callback=callback)
    (start, first), (end, last) = marks[100], marks[-1]
    return {'steps_per_second': (last - first) / (end - start)}


def ppo2(env: str, updates: int = 10) -> dict:
    """Steps per second of PPO2 at its defaults for MuJoCo, in one environment, after its first three updates."""
    from onpolicybaselines import logger
    from onpolicybaselines.common.cmd_util import make_vec_env
    from onpolicybaselines.common.vec_env import VecNormalize
    from onpolicybaselines.ppo2 import defaults, ppo2
    times, options = [], defaults.mujoco()
    with logger.scoped_configure(format_strs=[]):
        ppo2.learn(network='mlp', env=VecNormalize(make_vec_env(env, 'mujoco', 1, 0)), seed=0,
                   total_timesteps=options['nsteps'] * (SKIP + updates),
                   xla=True, callback=lambda *_: times.append(time.perf_counter()), **options)
    return {'steps_per_second': options['nsteps'] * updates / (times[-1] - times[SKIP])}


def sb3(env: str, updates: int = 10) -> dict:
    """Steps per second of sb3-contrib's TRPO: the same batch, networks, conjugate gradients and fit."""
    return _sb3(1024, updates, lambda: _sb3_trpo(env))


def sb3_ppo(env: str, updates: int = 10) -> dict:
    """Steps per second of SB3's PPO: batch, minibatches, epochs, networks, losses, normalisation as `ppo2`."""
    return _sb3(2048, updates, lambda: ppo(functools.partial(gym.make, env), seed=0))


def predict(env: str, numba: bool = True) -> dict:
    """Microseconds of `predict` for one observation: two layers of 64, a Gaussian. numba: or NumPy alone."""
    if not numba:
        sys.modules['numba'] = None
    from onpolicybaselines.common.policies import build_policy
    made = gym.make(env)
    return _one_by_one(build_policy(made, 'mlp', value_network='copy')(), made)


def sb3_predict(env: str) -> dict:
    """The same of SB3's PPO."""
    sys.modules['tensorflow'] = None  # as in `_sb3`
    import torch
    from stable_baselines3 import PPO
    torch.set_num_threads(1)
    made = gym.make(env)
    return _one_by_one(PPO('MlpPolicy', made, device='cpu'), made)


def _one_by_one(model, env, steps=2000):
    obs = [env.observation_space.sample() for _ in range(steps)]
    for ob in obs[:100]:
        model.predict(ob)
    start = time.perf_counter()
    for ob in obs:
        model.predict(ob)
    return {'microseconds': 1e6 * (time.perf_counter() - start) / steps}


def _sb3_trpo(env):
    from sb3_contrib import TRPO
    return TRPO('MlpPolicy', gym.make(env), n_steps=1024, gamma=0.99, gae_lambda=0.98, target_kl=0.01, cg_max_steps=10,
                cg_damping=0.1, sub_sampling_factor=5, n_critic_updates=5, batch_size=64, learning_rate=1e-3, seed=0,
                policy_kwargs={'net_arch': [32, 32]}, device='cpu')


def _sb3(batch, updates, make):
    sys.modules['tensorflow'] = None  # tensorboard would load it, and its LLVM and torch's cannot be in one process
    import torch
    from stable_baselines3.common.callbacks import BaseCallback
    torch.set_num_threads(1)
    times = []

    class Times(BaseCallback):
        def _on_rollout_start(self):
            times.append(time.perf_counter())

        def _on_step(self):
            return True

    make().learn(batch * (SKIP + updates + 1), callback=Times())
    return {'steps_per_second': batch * updates / (times[SKIP + updates] - times[SKIP])}


def _command_line(alg, num_env, env='PongNoFrameskip-v4'):
    """(arguments, environments) of the command line with the algorithm's defaults."""
    from onpolicybaselines import run
    from onpolicybaselines.common.cmd_util import common_arg_parser
    args = common_arg_parser().parse_args([f'--alg={alg}', f'--env={env}', f'--num_env={num_env}', '--seed=0'])
    run.get_env_type(args)
    return args, run.build_env(args)


def atari_raw(alg: str, num_env: int, seconds: float = 4, one_process: bool = False) -> dict:
    """Environment steps per second of `num_env` games, as the command line makes them for `alg`, with random actions
    drawn beforehand; one_process: one after the other, whatever the command line does."""
    import numpy as np

    from onpolicybaselines import logger
    from onpolicybaselines.common import cmd_util
    if one_process:
        cmd_util.SubprocVecEnv = cmd_util.DummyVecEnv
    with logger.scoped_configure(format_strs=[]):
        _, env = _command_line(alg, num_env)
    env.reset()
    actions = np.random.default_rng(0).integers(0, env.action_space.n, (1000, num_env))
    for action in actions[:20]:
        env.step(action)
    start, steps = time.perf_counter(), 0
    while time.perf_counter() < start + seconds:
        env.step(actions[steps % len(actions)])
        steps += 1
    rate = steps * num_env / (time.perf_counter() - start)
    env.close()
    return {'steps_per_second': rate}


def atari(alg: str, num_env: int, seconds: float = 8, threads: int | None = None, **options) -> dict:
    """The algorithm's steps per second as on the command line, its defaults for games, after the first updates; seconds
    per update spent in stepping the games and in acting; TensorFlow's threads."""
    from onpolicybaselines import logger, run
    from onpolicybaselines.session import start as session
    session.start_tensorflow(images=threads != 1)
    import tensorflow as tf

    from onpolicybaselines.common.policies import PolicyWithValue
    watch, times = Stopwatch(), []
    learn = run.get_learn_function(alg)
    with logger.scoped_configure(format_strs=[]):
        args, env = _command_line(alg, num_env)
        options = {**run.get_learn_function_defaults(alg, 'atari'), **options}
        network = options.pop('network', run.get_default_network('atari'))
        batch = num_env * options.get('nsteps', {'a2c': 5, 'acktr': 20}.get(alg, 0)) or options['timesteps_per_batch']
        env.step_wait = watch.wrap('environment', env.step_wait)
        env.step_async = watch.wrap('environment', env.step_async)
        for name in ('step', 'value', 'act'):
            setattr(PolicyWithValue, name, watch.wrap('acting', getattr(PolicyWithValue, name)))

        def callback(*_):
            times.append(time.perf_counter())
            if len(times) == WARM[alg] + 1:
                watch.seconds.clear()
            if len(times) > WARM[alg] + 2 and times[-1] > times[WARM[alg]] + seconds:
                raise Done

        with contextlib.suppress(Done):
            learn(network=network, env=env, seed=0, total_timesteps=10**9, callback=callback, **options)
    env.close()
    updates = len(times) - WARM[alg] - 1
    iteration = (times[-1] - times[WARM[alg]]) / updates
    return {'steps_per_second': batch / iteration, 'iteration': iteration, 'batch': batch,
            'threads': tf.config.threading.get_intra_op_parallelism_threads(),
            **{f'phase {name}': total / updates for name, total in watch.seconds.items()}}


def checkpoints(number: int = 5, **options) -> dict:
    """Of the command line with these options, in a long run: seconds of a checkpoint, the median of `number` that come
    one after each update; its bytes; and what part of the time they take by default, from the end of the first one,
    which is written sooner than later ones, to the end of the second, `every` seconds."""
    from onpolicybaselines import run
    from onpolicybaselines.common.checkpoint import Keeper
    write, spans, size = Keeper.write, [], 0

    def timed(keeper, *args):
        nonlocal size
        begin = time.perf_counter()
        written = write(keeper, *args)
        spans.append((begin, time.perf_counter()))
        size = keeper.bytes
        if len(spans) == 2:
            keeper.interval = 1
        if len(spans) == 2 + number:
            os.kill(os.getpid(), signal.SIGTERM)
        return written

    Keeper.write = timed
    os.environ['OPENAI_LOG_FORMAT'] = 'log,csv'
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(SystemExit):
        run.main(['run', *(f'--{name}={value}' for name, value in options.items()), '--seed=0',
                  '--num_timesteps=1000000000', f'--log_path={folder}'])
    every = spans[1][1] - spans[0][1]
    return {'seconds': statistics.median(end - begin for begin, end in spans[2:]), 'bytes': size, 'every': every,
            'share': (spans[1][1] - spans[1][0]) / every}


MEASUREMENTS = {'raw': raw, 'trained': trained, 'sb3': sb3, 'sb3_ppo': sb3_ppo, 'acktr': acktr, 'a2c': a2c,
                'ppo2': ppo2, 'mpi': mpi, 'atari_raw': atari_raw, 'atari': atari,
                'checkpoints': checkpoints, 'predict': predict, 'sb3_predict': sb3_predict}


def measure_here(what: str, pin: bool, **options) -> None:
    """Print the results of one of MEASUREMENTS as JSON; pin: on one core."""
    if pin:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    result = MEASUREMENTS[what](**options)
    if rank() == 0:
        print(json.dumps(result), flush=True)
