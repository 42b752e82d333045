"""Policy and steps in one loop of machine code, beside Python's."""
import mujoco
import numpy as np
import pytest
from conftest import same, same_counters

from onpolicybaselines.common.policies import build_policy
from onpolicybaselines.common.rollouts import collect

pytest.importorskip('numba')


def actor_for(venv, policy, scale=0.3, **kwargs):
    """That of a policy with random parameters, after a filter that has seen something."""
    pi = build_policy(venv, 'mlp', normalize_observations=True, value_network='copy', policy=policy,
                      num_hidden=16, **kwargs)(np.random.default_rng(0))
    np_random = np.random.default_rng(1)
    for v in pi.var_list:
        v.assign(v + scale * np_random.standard_normal(v.shape))
    pi.ob_rms.update(np_random.standard_normal([50, *venv.observation_space.shape]))
    return pi


def collected(venv, actor, noise, ob):
    """The arrays that `collect` fills, and what it returns, without times."""
    T, N, _ = noise.shape
    obs, news = np.zeros([T + 1, *ob.shape]), np.zeros([T + 1, N], 'int32')
    acs, rews = np.zeros([T, N, *venv.action_space.shape], 'float32'), np.zeros([T, N])
    obs[0] = ob
    ended = collect(venv, actor, noise.copy(), obs, news, acs, rews)
    for info in ended.values():
        info.get('episode', {}).pop('t', None)
    return (obs, news, acs, rews), ended


@pytest.mark.parametrize('env_id, num_env, policy, kwargs', [
    ('Hopper-v5', 1, 'gaussian', {}), ('Hopper-v5', 3, 'flow', {}), ('HalfCheetah-v5', 1, 'gmm', {}),
    ('Reacher-v5', 2, 'gaussian', {}), ('InvertedPendulum-v5', 3, 'gmm', {}), ('rllab/Hopper-v0', 1, 'flow', {}),
    ('HalfCheetah-v5', 2, 'gaussian', {'state_dependent_std': True, 'init_logstd': -1.})])
def test_same_as_step_by_step(env_id, num_env, policy, kwargs, pair, tmp_path):
    """2000 steps each: what is collected, the counters of wrappers, and monitor files."""
    envs = pair(env_id, num_env, tmp_path, reward_scale=.5)
    pi = actor_for(envs.theirs, policy, **kwargs)
    theirs, ours = envs.theirs.reset(), envs.ours.reset()
    for T in (2, 1, 97, 900, 1000):
        noise = pi.noise(T * num_env).reshape(T, num_env, -1)
        their, their_ended = collected(envs.theirs, pi.actor(), noise, theirs)
        our, our_ended = collected(envs.ours, pi.actor(), noise, ours)
        for x, y in zip(their, our, strict=True):
            same(x, y)
        assert their_ended.keys() == our_ended.keys()
        for at, info in our_ended.items():
            np.testing.assert_equal(info, {name: their_ended[at][name] for name in info})
        same_counters(envs.theirs, envs.ours)
        theirs, ours = their[0][-1], our[0][-1]
    assert envs.ours.native.last_rollout is not None
    for path in (tmp_path / 'theirs').iterdir():
        their, our = ([line.split(',')[:2] for line in (tmp_path / side / path.name).read_text().splitlines()[1:]]
                      for side in ('theirs', 'ours'))
        assert their == our and len(our) > 1


def test_a_unit_in_the_last_place_of_a_parameter_is_noticed(pair):
    envs = pair('Hopper-v5')
    pi = actor_for(envs.theirs, 'gaussian')
    noise = pi.noise(200).reshape(200, 1, -1)
    their, _ = collected(envs.theirs, pi.actor(), noise, envs.theirs.reset())
    w = next(v for v in pi.var_list if v.name.endswith('w:0') or v.name.endswith('/w'))
    value = w.numpy()
    value[0, 0] = np.nextafter(value[0, 0], np.float32(np.inf))
    w.assign(value)
    our, _ = collected(envs.ours, pi.actor(), noise, envs.ours.reset())
    assert their[2].tobytes() != our[2].tobytes()


def test_actors_that_are_no_machine_code_go_step_by_step(pair):
    envs = pair('Hopper-v5')
    pi = actor_for(envs.theirs, 'gaussian')
    ob = envs.ours.reset()
    for actor in (pi.actor(stochastic=False), lambda ob, noise: pi.act(ob, noise=noise)):
        (obs, *_), _ = collected(envs.ours, actor, pi.noise(30).reshape(30, 1, -1), ob)
        ob = obs[-1]
    assert envs.ours.native.last_rollout is None


def test_an_error_of_mujoco_ends_it(pair):
    envs = pair('Hopper-v5')
    pi = actor_for(envs.theirs, 'gaussian')
    actor, ob = pi.actor(), envs.ours.reset()
    (obs, *_), _ = collected(envs.ours, actor, pi.noise(3).reshape(3, 1, -1), ob)
    envs.ours.envs[0].unwrapped.model.opt.integrator = 77
    with pytest.raises(mujoco.FatalError):
        collected(envs.ours, actor, pi.noise(3).reshape(3, 1, -1), obs[-1])


def test_wrappers_are_not_passed_over(pair):
    """A VecEnvWrapper hands on attributes of what is inside; `advance` is none of them."""
    from onpolicybaselines.common.vec_env import VecNormalize
    envs = pair('Hopper-v5')
    venv = VecNormalize(envs.ours)
    pi = actor_for(envs.theirs, 'gaussian')
    (obs, _, _, rews), _ = collected(venv, pi.actor(), pi.noise(50).reshape(50, 1, -1), venv.reset())
    assert np.abs(obs).max() <= 10 and venv.ob_rms.count > 50
    assert np.isfinite(rews).all()
