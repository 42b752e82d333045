"""Native steps are gymnasium's, to the last bit."""
import copy
import csv

import numpy as np
import pytest

from onpolicybaselines.common.env_state import env_state, set_env_state
from onpolicybaselines.envs import RLLAB

TASKS = ('Ant', 'HalfCheetah', 'Hopper', 'Humanoid', 'HumanoidStandup', 'InvertedDoublePendulum', 'InvertedPendulum',
         'Pusher', 'Reacher', 'Swimmer', 'Walker2d')
IDS = (*(f'{task}-v5' for task in TASKS), *(f'rllab/{task}-v0' for task in RLLAB))


def steps(pair, number):
    """That many steps; returns the infos of the episodes that ended."""
    pair.reset()
    return [info for _ in range(number) for info in pair.step(pair.actions())]


@pytest.mark.parametrize('num_env', [1, 3])
@pytest.mark.parametrize('env_id', IDS)
def test_identity(pair, env_id, num_env, tmp_path):
    """3000 steps: observations, rewards, ends of episodes, what is then said and written of them, counters."""
    both = pair(env_id, num_env, tmp_path)
    infos = steps(both, 3000 // num_env)
    assert len(infos) >= num_env
    both.close()
    for e in range(num_env):
        name = '0.%d.monitor.csv' % e if num_env > 1 else '0.monitor.csv'
        theirs, ours = (episodes(tmp_path / folder / name) for folder in ('theirs', 'ours'))
        assert theirs == ours


def episodes(path):
    """Of a monitor file, but the times."""
    with open(path, newline='') as fh:
        assert fh.readline().startswith('#')
        return [(row['r'], row['l']) for row in csv.DictReader(fh)]


@pytest.mark.slow
@pytest.mark.parametrize('env_id', IDS)
def test_identity_for_long(pair, env_id):
    steps(pair(env_id), 20_000)


@pytest.mark.parametrize('env_id, keywords', [
    ('Hopper-v5', {'forward_reward_weight': 2, 'ctrl_cost_weight': 0.3, 'healthy_reward': 3, 'frame_skip': 2,
                   'healthy_state_range': (-4, 4), 'healthy_z_range': (0.9, 1.3), 'healthy_angle_range': (-.1, .3),
                   'exclude_current_positions_from_observation': False, 'reset_noise_scale': 0.1}),
    ('Walker2d-v5', {'terminate_when_unhealthy': False, 'healthy_reward': -1., 'max_episode_steps': 100}),
    ('HalfCheetah-v5', {'ctrl_cost_weight': 1, 'exclude_current_positions_from_observation': False}),
    ('Swimmer-v5', {'forward_reward_weight': 0.7, 'exclude_current_positions_from_observation': False}),
    ('Ant-v5', {'main_body': 'torso', 'contact_force_range': (-.1, .05), 'contact_cost_weight': 0.1}),
    ('Ant-v5', {'main_body': 2, 'include_cfrc_ext_in_observation': False, 'healthy_z_range': [0.3, 0.9],
                'terminate_when_unhealthy': False, 'exclude_current_positions_from_observation': False}),
    ('Humanoid-v5', {'contact_cost_weight': 1e-3, 'contact_cost_range': (0.5, 1), 'healthy_z_range': (1.2, 2)}),
    ('HumanoidStandup-v5', {'uph_cost_weight': 2, 'impact_cost_weight': 1e-3, 'impact_cost_range': (0.5, 1)}),
    *((f'{task}-v5', {f'include_{part}_in_observation': False}) for task in ('Humanoid', 'HumanoidStandup')
      for part in ('cinert', 'cvel', 'qfrc_actuator', 'cfrc_ext')),
    ('Reacher-v5', {'reward_dist_weight': 0.3, 'reward_control_weight': 0.1}),
    ('Pusher-v5', {'reward_near_weight': 2, 'reward_dist_weight': 0.3, 'reward_control_weight': 1}),
    ('InvertedPendulum-v5', {'frame_skip': 1, 'reset_noise_scale': 0.1}),
    ('InvertedDoublePendulum-v5', {'healthy_reward': 3}),
])
def test_keywords(pair, env_id, keywords):
    """All of the constructors that change a number."""
    steps(pair(env_id, **keywords), 300)


def test_wrappers(pair):
    """Scaled rewards; no checker, no time limit."""
    steps(pair('Hopper-v5', 2, reward_scale=0.3, disable_env_checker=True, max_episode_steps=-1), 100)


@pytest.mark.parametrize('dtype', [np.float64, np.float16, np.int64])
def test_actions_of_other_types(pair, dtype):
    """Clipping to the float32 bounds decides on the type in which costs are added."""
    both = pair('Ant-v5', 2)
    both.reset()
    for _ in range(100):
        both.step(both.actions(dtype))


def test_actions_as_they_may_come(pair):
    """Without the leading axis, as a list, read-only, in another order of memory."""
    both = pair('Hopper-v5')
    both.reset()
    for _ in range(4):
        both.step(both.actions()[0])
    both.step(list(both.actions()))
    frozen = both.actions()
    frozen.flags.writeable = False
    both.step(frozen)
    two = pair('Hopper-v5', 2)
    two.reset()
    for _ in range(4):
        actions = np.asfortranarray(two.actions())
        before = actions.copy()
        two.step(actions)
        assert np.array_equal(actions, before)


def test_actions_that_are_not_finite(pair, capfd):
    """A NaN or an infinity: MuJoCo warns, and the reward shows it."""
    for task in ('Hopper', 'Humanoid', 'Reacher'):
        both = pair(f'{task}-v5')
        both.reset()
        for value in (0., 0., np.nan, np.inf, -np.inf, 0.):
            actions = both.actions()
            actions[0, 1] = value
            both.step(actions)
    assert 'Nan, Inf or huge value in CTRL' in ''.join(capfd.readouterr())


@pytest.mark.parametrize('value', [np.nan, 1e12])
def test_unstable_simulation(pair, value, capfd):
    """MuJoCo starts anew from the first pose, and warns; the episode goes on."""
    both = pair('HalfCheetah-v5')
    steps(both, 3)
    for venv in (both.theirs, both.ours):
        venv.envs[0].unwrapped.data.qvel[2] = value
    for _ in range(3):
        both.step(both.actions())
    assert all(venv.envs[0].unwrapped.data.warning[4].number for venv in (both.theirs, both.ours))
    assert 'The simulation is unstable' in ''.join(capfd.readouterr())


@pytest.mark.parametrize('env_id', IDS)
def test_simulators(pair, env_id):
    """All that Python can look at in them, but what is in memory that MuJoCo does not write to for each model."""
    both = pair(env_id)
    steps(both, 20)
    theirs, ours = (venv.envs[0].unwrapped.data for venv in (both.theirs, both.ours))
    names = [name for name in dir(ours) if not name.startswith(('_', 'efc_'))
             and isinstance(getattr(ours, name), np.ndarray)]
    assert len(names) > 50
    for name in names:
        np.testing.assert_array_equal(getattr(theirs, name), getattr(ours, name), name)


def test_hand_over(pair):
    """Python may take a step, or reset, between native ones."""
    both = pair('Ant-v5')
    steps(both, 10)
    for venv in (both.theirs, both.ours):
        venv.envs[0].step(np.zeros(8, 'float32'))
    both.step(both.actions())
    for venv in (both.theirs, both.ours):
        venv.envs[0].reset(seed=5)
    for _ in range(100):
        both.step(both.actions())


def test_copies(pair):
    """Have simulators of their own."""
    both = pair('rllab/Hopper-v0')
    steps(both, 5)
    copied = copy.deepcopy(both.ours)
    before = both.ours.envs[0].unwrapped.data.qpos.copy()
    for _ in range(5):
        copied.step(both.actions())
    np.testing.assert_array_equal(both.ours.envs[0].unwrapped.data.qpos, before)
    assert not np.array_equal(copied.envs[0].unwrapped.data.qpos, before)
    both.step(both.actions())


@pytest.mark.parametrize('env_id', ['Ant-v5', 'rllab/Hopper-v0'])
def test_state(pair, env_id):
    """Fresh environments go on from it to the bit, also in the midst of an episode and in one process."""
    both, others = pair(env_id, 2), pair(env_id, 2)
    steps(both, 30)
    others.ours.reset()
    set_env_state(others.ours, env_state(both.ours))
    for _ in range(100):
        actions = both.actions()
        for ours, others_ in zip(both.ours.step(actions)[:3], others.ours.step(actions)[:3], strict=True):
            np.testing.assert_array_equal(ours, others_)
    assert [env.get_wrapper_attr('rewards') for env in both.ours.envs] == [
        env.get_wrapper_attr('rewards') for env in others.ours.envs]
