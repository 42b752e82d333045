"""Environments go on from a state as if nothing had happened, in a fresh object, through JSON and arrays."""
import collections
import enum
import io
import json
import random
import threading

import gymnasium as gym
import numpy as np
import pytest

import onpolicybaselines.envs  # noqa: F401, registers them
from onpolicybaselines.bench.monitor import Monitor
from onpolicybaselines.common.cmd_util import make_env
from onpolicybaselines.common.env_state import NoStateError, env_state, set_env_state
from onpolicybaselines.common.state import flatten, unflatten
from onpolicybaselines.common.vec_env import (
    DummyVecEnv,
    ShmemVecEnv,
    SubprocVecEnv,
    VecEnvWrapper,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    as_vec_env,
)

STEPS = 200


def through_a_file(state):
    """What is left of a state that was written to a file."""
    arrays, rest = flatten(state)
    assert all(value.dtype.kind in 'biufc' for value in arrays.values())
    return unflatten(arrays, json.loads(json.dumps(rest)))


def run(env, actions):
    """What is seen in so many steps, across resets."""
    seen = []
    for action in actions:
        obs, reward, terminated, truncated, info = env.step(action)
        seen += [obs, reward, terminated, truncated, info.get('episode', {}).get('r')]
        if terminated or truncated:
            seen.append(env.reset()[0])
    return seen


def same(one, other):
    return len(one) == len(other) and all(
        np.array_equal(a, b, equal_nan=True) if isinstance(a, np.ndarray) else a == b
        for a, b in zip(one, other, strict=True))


def actions_of(env, number=STEPS):
    env.action_space.seed(3)
    return [env.action_space.sample() for _ in range(number)]


ENVS = ['Hopper-v5', 'Ant-v5', 'Humanoid-v5', 'HalfCheetah-v5', 'Reacher-v5', 'Pusher-v5', 'InvertedDoublePendulum-v5',
        'Pendulum-v1', 'CartPole-v1', 'Acrobot-v1', 'MountainCar-v0', 'FrozenLake-v1', 'Blackjack-v1',
        'rllab/Hopper-v0', 'rllab/Ant-v0', 'roboschool/Hopper-v0', 'roboschool/HumanoidFlagrunHarder-v0']


@pytest.mark.parametrize('before', [0, 130])
@pytest.mark.parametrize('env_id', ENVS)
def test_goes_on_as_if_nothing_had_happened(env_id, before):
    env, other = (make_env(env_id, None, seed=seed) for seed in (1, 2))
    actions = actions_of(env, before + STEPS)
    env.reset()
    run(env, actions[:before])
    state = through_a_file(env_state(env))
    other.reset()
    run(other, actions_of(other, 7))
    set_env_state(other, state)
    expected = run(env, actions[before:])
    assert same(run(other, actions[before:]), expected)
    assert len(expected) > 5 * STEPS or env_id in ('Pendulum-v1', 'HalfCheetah-v5', 'Acrobot-v1', 'MountainCar-v0',
                                                   'Ant-v5', 'rllab/Ant-v0', 'Pusher-v5')


def test_a_state_is_a_copy():
    env = make_env('Hopper-v5', None, seed=1)
    env.reset()
    actions = actions_of(env)
    run(env, actions[:20])
    state = env_state(env)
    first = run(env, actions)
    set_env_state(env, state)
    second = run(env, actions)
    set_env_state(env, state)
    assert same(first, second) and same(run(env, actions), first)


def test_before_the_first_reset():
    env, other = make_env('CartPole-v1', None, seed=1), make_env('CartPole-v1', None, seed=2)
    set_env_state(other, through_a_file(env_state(env)))
    assert np.array_equal(env.reset()[0], other.reset()[0])


def test_gymnasiums_wrappers():
    def make():
        env = gym.wrappers.RecordEpisodeStatistics(gym.make('CartPole-v1', max_episode_steps=30))
        env = gym.wrappers.NormalizeReward(gym.wrappers.NormalizeObservation(env))
        return gym.wrappers.TimeAwareObservation(gym.wrappers.FrameStackObservation(env, 3), flatten=True)

    env, other = make(), make()
    env.reset(seed=1)
    other.reset(seed=2)
    actions = actions_of(env)
    run(env, actions[:50])
    set_env_state(other, through_a_file(env_state(env)))
    assert same(run(other, actions), run(env, actions))


def test_atari():
    pytest.importorskip('ale_py')
    pytest.importorskip('cv2')

    def make(seed):
        return make_env('BreakoutNoFrameskip-v4', 'atari', seed=seed, wrapper_kwargs={'frame_stack': True})

    env, other = make(1), make(2)
    env.reset()
    other.reset()
    actions = actions_of(env, 500)
    run(env, actions[:100])
    set_env_state(other, through_a_file(env_state(env)))
    seen = run(env, actions[100:])
    assert same(run(other, actions[100:]), seen) and len(seen) > 5 * 400  # lives were lost


# ---------------------------------------------------------------- what people write

class Light(enum.Enum):
    RED = 1
    GREEN = 2


class Ball:
    def __init__(self, x=0):
        self.x = x

    def move(self):
        self.x += 1
        return self.x


class Slots:
    __slots__ = ('x', '__dict__')


class Written(gym.Env):
    """An environment that begins, moves and is read by functions of itself."""

    def __init__(self, begin, move, read):
        self.begin, self.move, self.read = begin, move, read
        begin(self)


def put(**attributes):
    return lambda env: vars(env).update({name: make() for name, make in attributes.items()})


def begin_shared(env):
    env.state = np.zeros(4)
    env.position, env.other = env.state[::-2], env.state
    env.parts = {'velocity': env.state[1:].reshape(3, 1)}


def move_shared(env):
    env.state += 1
    env.position += 2


def choose_next(env):
    env.turn = (env.turn + 1) % 3
    env.chosen = env.balls[env.turn]
    env.chosen.move()


def begin_balls(env):
    env.balls, env.turn = [Ball(), Ball(), Ball()], 0
    env.chosen = env.balls[0]


def begin_ring(env):
    env.ring = Ball(Ball())
    env.ring.x.x = env.ring


WRITTEN = {
    'random': (put(dice=lambda: random.Random(0)), lambda env: env.dice.gauss(0, 1), lambda env: env.dice.random()),
    'enum': (put(light=lambda: None), lambda env: vars(env).update(
        light=Light.GREEN if env.light is Light.RED else Light.RED), lambda env: env.light),
    'bytes': (put(tape=bytes), lambda env: vars(env).update(tape=env.tape + b'1'), lambda env: env.tape),
    'complex': (put(z=complex), lambda env: vars(env).update(z=env.z + 1j), lambda env: env.z),
    'range': (put(left=lambda: range(20)), lambda env: vars(env).update(left=env.left[1:]), lambda env: env.left),
    'memory in two places': (begin_shared, move_shared, lambda env: (
        env.state.tolist(), env.position.tolist(), env.other.tolist(), env.parts['velocity'].tolist())),
    'one of several': (begin_balls, choose_next, lambda env: ([ball.x for ball in env.balls], env.chosen.x)),
    'come later': (put(balls=list, ball=lambda: None), lambda env: (
        env.balls.append(Ball(1)), env.balls[0].move(), vars(env).update(ball=Ball(len(env.balls)))),
        lambda env: ([ball.x for ball in env.balls], env.ball.x)),
    'in itself': (begin_ring, lambda env: None, lambda env: env.ring.x.x is env.ring),
    'method': (put(opponent=lambda: Ball().move), lambda env: env.opponent(), lambda env: env.opponent()),
    'memory in columns': (put(a=lambda: np.zeros((2, 3), order='F')), lambda env: vars(env).update(
        a=np.asfortranarray(env.a + 1)), lambda env: (env.a.strides, env.a.tolist())),
}


@pytest.mark.parametrize('name', WRITTEN)
def test_what_people_write_goes_on(name):
    begin, move, read = WRITTEN[name]
    env, other = Written(begin, move, read), Written(begin, move, read)
    for _ in range(5):
        move(env)
    set_env_state(other, through_a_file(env_state(env)))
    for _ in range(5):
        assert read(other) == read(env)
        move(env)
        move(other)


def test_a_constant_that_has_become_another_is_noticed():
    env, other = (Written(put(f=lambda: max), *[None] * 2) for _ in range(2))
    env.f = min
    with pytest.raises(ValueError, match='f was min and is max'):
        set_env_state(other, env_state(env))


class Closing(Ball):
    def __del__(self):
        pass


@pytest.mark.parametrize('name', ['os.system', 'no.such.thing', 'gymnasium.core.Env', f'{__name__}.Closing'])
def test_a_file_makes_plain_objects_only(name):
    env, other = (Written(put(ball=lambda: None), *[None] * 2) for _ in range(2))
    env.ball = Ball()
    state = env_state(env)
    state['attributes']['ball']['type'] = name
    with pytest.raises(ValueError, match='does not fit'):
        set_env_state(other, state)


# ---------------------------------------------------------------- vectorized

def thunk(env_id, seed, steps=60):
    def make():
        env = Monitor(gym.make(env_id, max_episode_steps=steps), None, allow_early_resets=True)
        env.reset(seed=seed)
        return env
    return make


class Once(VecEnvWrapper):
    """Something of a user's own that has a state."""

    def __init__(self, venv):
        super().__init__(venv)
        self.counts = collections.deque([0], maxlen=3)

    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        obs, rews, news, infos = self.venv.step_wait()
        self.counts.append(self.counts[-1] + 1)
        return obs, rews + np.sum(self.counts), news, infos


def vector(seed):
    return gym.vector.SyncVectorEnv([thunk('CartPole-v1', seed + i) for i in range(3)],
                                    autoreset_mode=gym.vector.AutoresetMode.SAME_STEP)


VEC_ENVS = {
    'DummyVecEnv': lambda seed: DummyVecEnv([thunk('Hopper-v5', seed + i) for i in range(3)]),
    'SubprocVecEnv': lambda seed: SubprocVecEnv([thunk('Hopper-v5', seed + i) for i in range(2)]),
    'ShmemVecEnv': lambda seed: ShmemVecEnv([thunk('CartPole-v1', seed + i) for i in range(2)]),
    'GymVecEnv': lambda seed: as_vec_env(vector(seed)),
    'native': lambda seed: as_vec_env(gym.make_vec('CartPole-v1', 2, vectorization_mode='sync', vector_kwargs={
        'autoreset_mode': gym.vector.AutoresetMode.SAME_STEP})),
    'VecNormalize': lambda seed: VecNormalize(DummyVecEnv([thunk('Pendulum-v1', seed + i) for i in range(2)])),
    'VecFrameStack': lambda seed: VecFrameStack(DummyVecEnv([thunk('Reacher-v5', seed + i) for i in range(2)]), 4),
    'VecMonitor': lambda seed: VecMonitor(DummyVecEnv([thunk('CartPole-v1', seed)]), keep_buf=3),
    'all': lambda seed: Once(VecMonitor(VecNormalize(VecFrameStack(
        SubprocVecEnv([thunk('CartPole-v1', seed + i) for i in range(2)]), 2)))),
}


def vec_run(venv, actions):
    seen = []
    for action in actions:
        obs, rews, news, infos = venv.step(action)
        seen += [obs.copy(), rews, news, *(info.get('episode', {}).get('r') for info in infos),
                 *(info.get('terminal_observation', np.zeros(0)) for info in infos)]
    return seen


@pytest.mark.parametrize('name', VEC_ENVS)
def test_vec_envs_go_on(name):
    venv, other = VEC_ENVS[name](10), VEC_ENVS[name](20)
    rng = np.random.default_rng(0)
    try:
        sample = np.stack([venv.action_space.sample() for _ in range(venv.num_envs)])
        actions = [rng.integers(2, size=sample.shape) if sample.dtype.kind == 'i' else rng.normal(size=sample.shape)
                   for _ in range(90 + STEPS)]
        venv.reset()
        other.reset()
        vec_run(venv, actions[:90])
        state = through_a_file(venv.state())
        vec_run(other, actions[:13])
        other.set_state(state)
        expected = vec_run(venv, actions[90:])
        assert same(vec_run(other, actions[90:]), expected)
        assert any(np.any(news) for news in expected[2::3 + 2 * venv.num_envs])
    finally:
        venv.close()
        other.close()


def test_of_another_kind():
    cartpole, pendulum = make_env('CartPole-v1', None), make_env('Pendulum-v1', None)
    with pytest.raises(ValueError, match='does not fit'):
        set_env_state(pendulum, env_state(cartpole))
    with pytest.raises(ValueError, match='another model'):
        set_env_state(gym.make('Ant-v5').unwrapped, {**env_state(gym.make('Hopper-v5').unwrapped),
                                                     'type': env_state(gym.make('Ant-v5').unwrapped)['type']})
    with pytest.raises(ValueError, match='environments'):
        DummyVecEnv([thunk('CartPole-v1', 1)]).set_state(DummyVecEnv([thunk('CartPole-v1', i) for i in (1, 2)]).state())
    with pytest.raises(ValueError, match='does not fit'):
        VecNormalize(DummyVecEnv([thunk('Pendulum-v1', 1)])).set_state(DummyVecEnv([thunk('Pendulum-v1', 1)]).state())


# ---------------------------------------------------------------- what cannot be taken

class Hidden(gym.Env):
    """An environment that hides its state in something that is not data."""

    observation_space = action_space = gym.spaces.Discrete(2)

    def __init__(self, part):
        self.part = part()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        return 0, 0., False, False, {}


class Grown(list):
    """A list with more in it than its items."""


@pytest.mark.parametrize('part', [threading.Lock, lambda: io.StringIO(), Grown, lambda: iter([1]), lambda: {(1, 2): 3},
                                  lambda: np.array([{}]), lambda: [[threading.Lock()]], Slots])
def test_what_hides_its_state_is_named(part):
    env = gym.Wrapper(Hidden(part))
    with pytest.raises(NoStateError, match=r'the state of Wrapper\.env\.part(\[0\]\[0\])? cannot be taken'):
        env_state(env)


def test_the_error_comes_out_of_processes():
    venv = SubprocVecEnv([lambda: Hidden(threading.Lock)])
    try:
        with pytest.raises(NoStateError, match='part cannot be taken'):
            venv.state()
        venv.reset()  # and they live on
    finally:
        venv.close()


def test_a_step_under_way_has_no_state():
    venv = SubprocVecEnv([thunk('CartPole-v1', i) for i in range(2)])
    try:
        venv.reset()
        venv.step_async(np.zeros(2, int))
        with pytest.raises(NoStateError, match='step_wait'):
            venv.state()
        venv.step_wait()
    finally:
        venv.close()
