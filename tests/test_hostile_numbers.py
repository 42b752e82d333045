"""Environments whose numbers are hostile: what is not finite ends a run with one line, all else does it no harm."""
import functools

import gymnasium as gym
import numpy as np
import pytest

from onpolicybaselines import logger
from onpolicybaselines.a2c import a2c
from onpolicybaselines.acktr import acktr, acktr_cont
from onpolicybaselines.common.checkpoint import checkpointing, found, read_state
from onpolicybaselines.common.state import flatten
from onpolicybaselines.common.vec_env.dummy_vec_env import DummyVecEnv
from onpolicybaselines.common.vec_env.subproc_vec_env import SubprocVecEnv
from onpolicybaselines.common.vec_env.vec_normalize import VecNormalize
from onpolicybaselines.ppo2 import ppo2
from onpolicybaselines.trpo_mpi import trpo_mpi

STEPS = 96  # of two batches
LEARN = {
    'a2c': functools.partial(a2c.learn, network='mlp', num_hidden=8, nsteps=8, log_interval=1),
    'acktr': functools.partial(acktr.learn, network='mlp', num_hidden=8, nsteps=8, log_interval=1),
    'acktr_cont': functools.partial(acktr_cont.learn, timesteps_per_batch=STEPS // 2 - 1, vf_iters=30),
    'trpo_mpi': functools.partial(trpo_mpi.learn, network='mlp', num_hidden=8, timesteps_per_batch=48,
                                  normalize_observations=True),
    'ppo2': functools.partial(ppo2.learn, network='mlp', num_hidden=8, nsteps=8, nminibatches=2, log_interval=1),
}
CASES = [(alg, 'gaussian') for alg in LEARN] + [(alg, None) for alg in LEARN if alg != 'acktr_cont']
CASES += [pytest.param(alg, policy, marks=pytest.mark.slow) for alg in LEARN for policy in ('gmm', 'flow')]


class Hostile(gym.Env):
    """Two numbers, two actions; `kinds` says what is odd about it, of each episode in turn.

    constant: observations; zeros: observations and rewards; offset: observations of 1e4 +- 1; large: rewards of 1e4;
    once: episodes of one step; else they end at step 20, or where `endless` is the last kind, never.
    """

    def __init__(self, kinds=(), dtype='float32', discrete=False, width=1.):
        self.observation_space = gym.spaces.Box(-1e6, 1e6, (2,), dtype)
        if dtype == 'int32':
            self.observation_space = gym.spaces.Box(-2**30, 2**30, (2,), dtype)
        self.action_space = gym.spaces.Discrete(2) if discrete else gym.spaces.Box(
            np.float32([-1, -width]), np.float32([1, width]))
        self.kinds, self.episode = kinds or ('',), -1

    def _ob(self):
        if self.kind in ('constant', 'zeros'):
            ob = np.full(2, 3. * (self.kind == 'constant'))
        else:
            ob = self.np_random.standard_normal(2) + 1e4 * (self.kind == 'offset')
        return ob.astype(self.observation_space.dtype)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.episode = 0, self.episode + 1
        self.kind = self.kinds[min(self.episode, len(self.kinds) - 1)]
        return self._ob(), {}

    def step(self, action):
        self.t += 1
        rew = {'zeros': 0., 'large': 1e4}.get(self.kind, 1.) * float(np.sum(action))
        return self._ob(), rew, self.kind == 'once' or self.t == 20 and self.kind != 'endless', False, {}


def learn(alg, env, policy=None, **kwargs):
    """(the values of the log, the arrays of the model) of a short run."""
    values = []
    with logger.scoped_configure(format_strs=[]):
        dump = logger.get_current().dumpkvs
        logger.get_current().dumpkvs = lambda: values.append(dict(logger.get_current().name2val)) or dump()
        model = LEARN[alg](env=env, policy=policy, seed=0, **{'total_timesteps': STEPS, **kwargs})
    arrays = getattr(model, 'pi', model).arrays()
    return values, arrays


def assert_finite(values, arrays):
    assert arrays and all(np.isfinite(array).all() for array in arrays.values())
    unknown = {'cg_residual', 'eprewmean', 'eplenmean', 'EpRewMean', 'EpLenMean', 'EVBefore', 'EVAfter', # of nothing
               'ev_tdlam_before', 'explained_variance'}
    assert values and all(np.isfinite(value) for row in values for name, value in row.items()
                          if name.rpartition('/')[-1] not in unknown)


@pytest.mark.parametrize('alg, policy', CASES)
def test_odd_episodes_do_no_harm(alg, policy):
    kinds = ('zeros', 'once', 'once', 'constant', 'large', 'offset', 'endless')
    if alg == 'acktr_cont':
        env = Hostile(kinds, 'float64', width=0.)
    else:
        env = DummyVecEnv([lambda i=i: Hostile((kinds[i],), 'float64', policy is None, 0.) for i in (0, 1, 4, 5, 6, 3)])
    kwargs = {'value_network': 'copy'} if policy == 'flow' and alg != 'acktr_cont' else {}
    assert_finite(*learn(alg, env, policy, **kwargs))


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['zeros', 'constant', 'offset', 'large', 'once', 'endless', 'int'])
@pytest.mark.parametrize('alg', LEARN)
def test_odd_environments_do_no_harm(alg, kind):
    env = Hostile((kind,), 'int32' if kind == 'int' else 'float32')
    assert_finite(*learn(alg, env, 'gaussian'))


class Broken(Hostile):
    """In its 61st step or the observation after it is a bad number; fails at actions that are not finite."""

    mended = False

    def __init__(self, what, value):
        super().__init__(dtype='float64')
        self.what, self.value, self.steps = what, value, 0

    def step(self, action):
        assert np.isfinite(action).all()
        self.steps += 1
        ob, rew, *rest = super().step(action)
        if self.steps == 61 and not self.mended:
            ob, rew = (np.full_like(ob, self.value), rew) if self.what == 'ob' else (ob, self.value)
        return ob, rew, *rest


WHERE = {  # of what step: that of two batches of 48, of one of 8 (environment 1), of an episode of 20
    'trpo_mpi': {'rew': 'rew is {} at step 12 of the segment, environment 0: ',
                 'ob': 'ob is {} at step 13 of the (segment|batch), environment 0: '},
    'acktr_cont': {'rew': 'reward is {} at step 0 of an episode: ',
                   'ob': 'observation is {} at step 1 of an episode: '},
    **dict.fromkeys(('a2c', 'acktr', 'ppo2'), {'rew': 'reward is {} at step 4 of the batch, environment 1: ',
                                       'ob': 'observation is {} at step 5 of the batch, environment 1: '})}


@pytest.mark.parametrize('value', [np.nan, *(pytest.param(x, marks=pytest.mark.slow) for x in (np.inf, 1e200))])
@pytest.mark.parametrize('what', ['ob', 'rew'])
@pytest.mark.parametrize('alg', LEARN)
def test_what_is_not_finite_is_said_before_it_does_harm(alg, what, value):
    env = Broken(what, value)
    if alg in ('a2c', 'acktr', 'ppo2'):
        env = DummyVecEnv([functools.partial(Hostile, dtype='float64'), lambda: Broken(what, value)])
    kept = {}

    def keep(values, _):
        model = getattr(values.get('model'), 'pi', values.get('model')) or values['pi']
        kept.update(model=model, arrays=model.arrays())

    fault = 'too large for float32' if value == 1e200 else 'not finite'
    with pytest.raises(FloatingPointError, match=WHERE[alg][what].format(fault)):
        learn(alg, env, callback=keep, total_timesteps=10 * STEPS)
    for name, array in kept['model'].arrays().items():
        assert np.isfinite(array).all()
        if not name.startswith('obfilter'):  # which has learned from the good ones of the batch
            np.testing.assert_array_equal(array, kept['arrays'][name])


@pytest.mark.parametrize('alg', ['a2c', *(pytest.param(alg, marks=pytest.mark.slow) for alg in ('trpo_mpi', 'ppo2'))])
def test_the_last_observation_of_a_batch_counts(alg):
    """It is the first of the next one, and what the value of the last step stands on."""
    env = SubprocVecEnv([functools.partial(Broken, 'ob', np.nan)])
    with pytest.raises(FloatingPointError, match='is not finite at step 61 of the (segment|batch), environment 0: '):
        learn(alg, env, total_timesteps=1000, **{'trpo_mpi': {'timesteps_per_batch': 61}}.get(alg, {'nsteps': 61}),
              **({'nminibatches': 1} if alg == 'ppo2' else {}))
    env.close()


@pytest.mark.slow
def test_native_steps_are_looked_at():
    env = gym.make('HalfCheetah-v5', forward_reward_weight=1e200)
    with pytest.raises(FloatingPointError, match='rew is too large for float32 at step 0 of the segment, '):
        learn('trpo_mpi', env)


@pytest.mark.parametrize('alg, fault', [('a2c', r'update 1: value_loss is not finite \(inf\)'),
                                        ('acktr', r'K-FAC update 1: loss is not finite \(inf\)'),
                                        ('acktr_cont', r'K-FAC update 1: loss is not finite \(inf\)'),
                                        ('trpo_mpi', 'MpiAdam: a gradient of updates'),
                                        ('ppo2', 'updates 1 to 8: the gradient is not finite')])
def test_rewards_too_large_to_learn_from_end_a_run(alg, fault):
    with pytest.raises(FloatingPointError, match=fault):
        learn(alg, gym.wrappers.TransformReward(Hostile(), lambda rew: 1e30 * rew))


@pytest.mark.parametrize('alg', ['a2c', 'acktr', 'acktr_cont', 'ppo2'])
@pytest.mark.filterwarnings('error')
def test_returns_too_large_for_networks_are_named(alg):
    with pytest.raises(FloatingPointError, match='return is (too large for float32|not finite) '):
        learn(alg, gym.wrappers.TransformReward(Hostile(), lambda rew: 1e38))


def test_normalized_environments_say_it_before_their_statistics_have_it():
    for what, name in (('ob', 'observation'), ('rew', 'reward')):
        venv = VecNormalize(DummyVecEnv([functools.partial(Hostile, dtype='float64'),
                                         functools.partial(Broken, what, np.nan)]))
        venv.reset()
        with pytest.raises(FloatingPointError, match=f'{name} is not finite in environment 1: '):
            for _ in range(100):
                venv.step(np.zeros([2, 2]))
        assert all(np.isfinite([*rms.mean.ravel(), *rms.var.ravel()]).all() for rms in (venv.ob_rms, venv.ret_rms))


@pytest.mark.parametrize('value', [np.nan, 1e30], ids=['reward', 'update'])
@pytest.mark.parametrize('alg', ['a2c', 'trpo_mpi', *(pytest.param(alg, marks=pytest.mark.slow)
                                                      for alg in ('acktr', 'acktr_cont', 'ppo2'))])
def test_the_last_checkpoint_stays_whole_and_goes_on(alg, value, tmp_path, monkeypatch):
    """The number is not finite in the environment, or in what an update makes of it."""
    folder = str(tmp_path / 'checkpoints')
    kwargs = {'timesteps_per_batch': 20} if alg in ('acktr_cont', 'trpo_mpi') else {}

    def run(**resume):
        with checkpointing(folder, interval=1, **resume):
            env = DummyVecEnv([functools.partial(Broken, 'rew', value)])
            return learn(alg, env, total_timesteps=200, **kwargs)
    with pytest.raises(FloatingPointError):
        run()
    last = found(folder)[0]
    assert last == {'trpo_mpi': 3, 'acktr_cont': 1}.get(alg, 7)  # the 61st step is of the update after it
    for number in found(folder):
        arrays, _ = flatten(read_state(f'{folder}/{number:08d}.0.npz'))
        assert all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == 'f')
    monkeypatch.setattr(Broken, 'mended', True)
    assert_finite(*run(resume=True))
    assert found(folder)[0] > last
