"""Roboschool's tasks, against numbers recorded from the released ones and against the rules written out again.

roboschool.npz holds data only, recorded with the wheel roboschool 1.0.49 (its Bullet included) under Python 3.7. For
each robot: `episodes`, three of 12 actions each, uniform in [-1, 1], from the joint positions `joints` (a humanoid
without yaw); `steps`, 60 physics steps along episodes of the published policies with at most one contact: positions and
velocities before, the action, and the joints' speeds after it. For the hopper `passive`, physics steps in the air
without torques, positions and velocities before and after: of 200 random states whose joints turn at up to 20 rad/s,
the 40 in which energy changes most.
"""
import math
import pathlib
import sys

import gymnasium as gym
import mujoco
import numpy as np
import pytest

import onpolicybaselines.envs  # noqa: F401
from onpolicybaselines.envs import bullet

ROBOTS = ('Hopper', 'Walker2d', 'HalfCheetah', 'Ant', 'Humanoid')
TASKS = (*ROBOTS, 'HumanoidFlagrun', 'HumanoidFlagrunHarder')
PLANAR = ('Hopper', 'Walker2d', 'HalfCheetah')
LIMBS = [f'{side}_{joint}' for side in ('right', 'left') for joint in ('hip_x', 'hip_z', 'hip_y', 'knee')]
ARMS = [f'{side}_{joint}' for side in ('right', 'left') for joint in ('shoulder1', 'shoulder2', 'elbow')]


def make(task, seed=0):
    env = gym.make(f'roboschool/{task}-v0').unwrapped
    env.reset(seed=seed)
    return env


@pytest.fixture(scope='module')
def recorded():
    with np.load(pathlib.Path(__file__).with_name('roboschool.npz')) as data:
        return {name: data[name].astype(float) for name in data}


# ================================================================
# Recorded numbers
# ================================================================

def start(env, joints):
    """Let an episode begin at these joint positions, upright."""
    mujoco.mj_resetData(env.model, env.data)
    env.physics.q[:] = joints
    if hasattr(env, 'set_initial_orientation'):
        env.data.qpos[:7] = 0, 0, 1.4, 1, 0, 0, 0
    env.feet_contact = [0.] * len(env.feet)
    env.refresh()
    obs = env.calc_state()
    env.potential = env.calc_potential()
    return obs


@pytest.mark.parametrize('robot', ROBOTS)
def test_episodes_go_as_recorded(robot, recorded):
    """In the air to 2e-4, and to 2e-2 while at most one contact is there; after more, only for a while."""
    env = make(robot)
    episodes = [recorded[f'{robot}/episodes/{name}'] for name in ('joints', 'actions', 'observations', 'rewards')]
    compared = 0
    for joints, actions, observations, rewards in zip(*episodes, strict=True):
        np.testing.assert_allclose(start(env, joints), observations[0], atol=2e-6)
        flown, contacts = True, env.data.ncon
        for action, obs, terms in zip(actions, observations[1:], rewards, strict=True):
            now, _, _, _, info = env.step(action)
            contacts = max(contacts, env.data.ncon, len(env.contacts))
            flown &= contacts == 0
            if contacts > 1 or contacts and env.data.contact.dist.min(initial=0) < -0.005:
                break
            np.testing.assert_allclose(now, obs, atol=2e-4 if flown else 2e-2)
            np.testing.assert_allclose(list(info.values()), terms, atol=1e-3 if flown else 2e-2)
            compared += 1
    assert compared >= 10


@pytest.mark.parametrize('robot', ROBOTS)
def test_steps_end_at_recorded_speeds(robot, recorded):
    env, errors = make(robot), {0: [], 1: []}
    steps = [recorded[f'{robot}/steps/{name}'] for name in ('qpos', 'qvel', 'actions', 'speeds')]
    for qpos, qvel, action, speeds in zip(*steps, strict=True):
        env.data.qpos[:], env.data.qvel[:] = qpos, qvel
        env.data.ctrl[:] = np.clip(action, -1, 1) / env.axis_length
        mujoco.mj_fwdActuation(env.model, env.data)
        mujoco.mj_step1(env.model, env.data)
        contacts = env.data.ncon
        env.physics.step()
        errors[contacts].append(np.abs(env.physics.w / env.axis_length - speeds).max())
    assert len(errors[0]) > 5 and len(errors[1]) > 5
    assert max(errors[0]) < 1e-3
    assert np.median(errors[1]) < 5e-3 and max(errors[1]) < 5e-2


def test_fast_joints_gain_the_energy_that_the_engine_gives_them(recorded):
    """Velocity terms are explicit: up to 27 J more or 15 J less in a step, of some 2000."""
    env = make('Hopper')

    def energy():
        mujoco.mj_step1(env.model, env.data)
        mujoco.mj_energyPos(env.model, env.data)
        mujoco.mj_energyVel(env.model, env.data)
        return env.data.energy.sum()

    gains = []
    states = (recorded[f'Hopper/passive/{name}'] for name in ('qpos', 'qvel', 'next_qpos', 'next_qvel'))
    for qpos, qvel, next_qpos, next_qvel in zip(*states, strict=True):
        env.data.qpos[:], env.data.qvel[:] = qpos, qvel
        before = energy()
        env.physics.step()
        np.testing.assert_allclose(env.data.qpos, next_qpos, atol=1e-6)
        np.testing.assert_allclose(env.data.qvel, next_qvel, atol=1e-4)
        gain = energy() - before
        env.data.qpos[:], env.data.qvel[:] = next_qpos, next_qvel
        assert gain == pytest.approx(energy() - before, abs=5e-3)
        gains.append(gain)
    assert max(gains) > 20 and min(gains) < -10


@pytest.mark.parametrize(('robot', 'expected'), [
    ('Hopper', (0.829, 1.798, -0.705, -0.120, 0)), ('Walker2d', (0.861, 0.916, -0.463, -0.174, 0)),
    ('HalfCheetah', (0.891, 0.021, -0.641, -0.208, 0)), ('Humanoid', (1.847, 0.046, -3.280, -0.453, -0.007)),
])
def test_random_policies_fare_as_recorded(robot, expected):
    """Mean reward terms per step under uniform actions, within 4 standard errors of the recorded means of 20000 steps:
    a false alarm in 1000."""
    env, rng, sums = make(robot), np.random.default_rng(0), []
    for _ in range(300):
        env.reset()
        terms, terminated = [], False
        while not terminated:
            _, _, terminated, _, info = env.step(rng.uniform(-1, 1, env.model.nu))
            terms.append([*info.values(), 1])
        sums.append(np.sum(terms, axis=0))
    sums = np.array(sums)
    steps = sums[:, -1:].sum()
    mean = sums[:, :-1].sum(axis=0) / steps
    error = np.sqrt(np.square(sums[:, :-1] - mean * sums[:, -1:]).sum(axis=0)) / steps * math.sqrt(1 + steps / 20000)
    assert (np.abs(mean - expected) <= 4 * error + 0.0005).all()  # the recorded ones are rounded
    assert (error < [0.004, 0.05, 0.03, 0.01, 0.003]).all()


# ================================================================
# Models
# ================================================================

@pytest.mark.parametrize(('robot', 'mass'), [('Hopper', 15.820), ('Walker2d', 23.677), ('HalfCheetah', 38.188),
                                             ('Ant', 182.18), ('Humanoid', 42.116), ('HumanoidFlagrunHarder', 43.316)])
def test_masses(robot, mass):
    model = make(robot).model
    assert model.body_mass.sum() == pytest.approx(mass, rel=3e-5)
    assert not model.dof_armature.any() and not model.dof_damping.any() and not model.jnt_stiffness.any()


@pytest.mark.parametrize(('task', 'torques'), [
    ('Hopper', dict(thigh_joint=75, leg_joint=75, foot_joint=75)),
    ('Walker2d', dict(thigh_joint=40, leg_joint=40, foot_joint=12,
                      thigh_left_joint=40, leg_left_joint=40, foot_left_joint=12)),
    ('HalfCheetah', dict(bthigh=108, bshin=81, bfoot=54, fthigh=126, fshin=54, ffoot=27)),
    ('Ant', {f'{joint}_{leg}': 250 for leg in (1, 2, 3, 4) for joint in ('hip', 'ankle')}),
    *((task, dict(zip(('abdomen_z', 'abdomen_y', 'abdomen_x', *LIMBS, *ARMS),
                      (41, 41, 41, *2 * (41, 41, 123, 82), *6 * (30.75,)), strict=True)))
      for task in ('Humanoid', 'HumanoidFlagrun', 'HumanoidFlagrunHarder')),
])
def test_torques_by_action(task, torques):
    """On Bullet's axes, which need not have unit length: a longer one turns slower and stronger."""
    length = {'shoulder1': 6, 'shoulder2': 2, 'elbow': 2, 'ankle': 2}
    env = make(task)
    for i, (joint, torque) in enumerate(torques.items()):
        env.simulate(np.eye(len(torques))[i] * 0.5)
        force = env.data.qfrc_actuator.copy()
        axis = math.sqrt(length.get(joint.split('_')[-1], length.get(joint.split('_')[0], 1)))
        assert force[env.model.joint(joint).dofadr[0]] == pytest.approx(torque / 2 / axis)
        assert np.count_nonzero(force) == 1


@pytest.mark.parametrize(('robot', 'ranges'), [
    ('Hopper', dict(thigh_joint=(-150, 0), leg_joint=(-150, 0), foot_joint=(-45, 45))),
    ('HalfCheetah', {joint: np.degrees(limits) for joint, limits in dict(
        bthigh=(-.52, 1.05), bshin=(-.785, .785), bfoot=(-.4, .785), fthigh=(-1.5, .8), fshin=(-1.2, 1.1),
        ffoot=(-3.1, -.3)).items()}),
    ('Ant', dict(hip_1=(-40, 40), hip_4=(-40, 40), ankle_1=(30, 100), ankle_2=(-100, -30), ankle_3=(-100, -30),
                 ankle_4=(30, 100))),
    ('Humanoid', dict(abdomen_z=(-45, 45), abdomen_y=(-75, 30), abdomen_x=(-35, 35), right_hip_x=(-25, 5),
                      left_hip_z=(-60, 35), right_hip_y=(-120, 20), left_hip_y=(-120, 20), left_knee=(-160, -2),
                      right_shoulder1=(-85, 60), left_shoulder2=(-60, 85), right_elbow=(-90, 50))),
])
def test_ranges_of_joints(robot, ranges):
    model = make(robot).model
    for joint, limits in ranges.items():
        np.testing.assert_allclose(np.degrees(model.joint(joint).range), limits, atol=1e-9)


# ================================================================
# Observations, rewards, ends
# ================================================================

def quaternion_to_rpy(w, x, y, z):
    return (math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y)), math.asin(2 * (w * y - z * x)),
            math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))


def note_links(env, task):
    """What is told of links: their mean position, contacts by name, and the torso's pose."""
    data, model = env.data, env.model
    torso = data.body('torso')
    points = [data.xipos[i, :2] for i in range(model.nbody) if model.body_mass[i] and model.body(i).name != 'cube']
    if task in PLANAR:
        base = torso.xpos - torso.xmat.reshape(3, 3)[:, 2] * (0 if task == 'HalfCheetah' else 1.25)
        points += 3 * [base[:2]]
    else:
        del points[0]
    points += [data.xanchor[i, :2] for i in range(model.njnt)
               if model.jnt_type[i] == mujoco.mjtJoint.mjJNT_HINGE and model.joint(i).name != 'rooty']
    contacts = [{model.body(model.geom_bodyid[geom]).name: model.geom_bodyid[geom] for geom in contact.geom}
                for contact in data.contact]
    return np.mean(points, axis=0), contacts, torso.xipos[2], torso.xquat.copy()


def velocity_of_torso(env):
    velocity = np.empty(6)
    mujoco.mj_objectVelocity(env.model, env.data, mujoco.mjtObj.mjOBJ_BODY, env.model.body('torso').id, velocity, 0)
    return velocity[3:]


def act(env, task, action):
    """One action by hand; returns what is told of links, and the torso's velocity as it is reported."""
    env.data.ctrl[:] = np.clip(action, -1, 1) / env.axis_length
    mujoco.mj_fwdActuation(env.model, env.data)
    for _ in range(3):
        env.physics.step()
    mean, contacts, z, quat = note_links(env, task)
    then = env.data.body('torso').xmat.reshape(3, 3).copy()
    env.physics.step()
    velocity = velocity_of_torso(env)
    if task in PLANAR:
        now = env.data.body('torso').xmat.reshape(3, 3)
        velocity = then @ (now.T @ velocity + [env.physics.w[0], 0, 0])
    else:
        z, quat = env.data.body('torso').xipos[2], env.data.body('torso').xquat
    return mean, contacts, z, quat, velocity


COSTS = {'Humanoid': (8.5, 0.425), 'HumanoidFlagrun': (4.25, 0.425)}
FEET = {'Hopper': ['foot'], 'Walker2d': ['foot', 'foot_left'],
        'HalfCheetah': ['ffoot', 'fshin', 'fthigh', 'bfoot', 'bshin', 'bthigh'],
        'Ant': ['front_left_foot', 'front_right_foot', 'left_back_foot', 'right_back_foot']}


@pytest.mark.parametrize('task', TASKS[:-1])
def test_observations_and_reward_terms(task):
    env, twin, rng = make(task), make(task), np.random.default_rng(1)
    feet, start_z = FEET.get(task, ['right_foot', 'left_foot']), {'HalfCheetah': 0.7, 'Ant': 0.75}.get(task, 1.25)
    start_z = 0.8 if 'Humanoid' in task else start_z
    low, high = np.array([env.model.joint(name).range for name in env.torques]).T
    flags, seen, episode_starts = np.zeros(len(feet)), set(), True
    for _ in range(90):
        if episode_starts:
            flags, old_distance = np.zeros(len(feet)), env.walk_target_dist
        target = env.target
        twin.set_state(env.state())
        action = rng.uniform(-1.3, 1.3, env.model.nu)
        mean, contacts, z, quat, velocity = act(twin, task, action)
        obs, _, terminated, _, info = env.step(action)

        roll, pitch, yaw = quaternion_to_rpy(*quat)
        angle = math.atan2(target[1] - mean[1], target[0] - mean[0]) - yaw
        cos, sin = math.cos(-yaw), math.sin(-yaw)
        rotated = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ velocity
        positions = 2 * (twin.physics.q - (low + high) / 2) / (high - low)
        speeds = 0.1 * twin.physics.w / env.axis_length
        if target == env.target:
            expected = [z - start_z, math.sin(angle), math.cos(angle), *0.3 * rotated, roll, pitch,
                        *np.ravel([positions, speeds], 'F'), *flags]
            np.testing.assert_allclose(obs, np.clip(expected, -5, 5), atol=1e-6)
            distance = math.hypot(target[0] - mean[0], target[1] - mean[1])
            assert info['reward_progress'] == pytest.approx((old_distance - distance) / 0.0165, abs=1e-6)
        power, torque = COSTS.get(task, (2., 0.1))
        assert info['reward_electricity'] == pytest.approx(
            -power * np.mean(np.abs(action * speeds)) - torque * np.mean(action ** 2))
        assert info['reward_joints_at_limit'] == pytest.approx(-0.2 * np.sum(np.abs(positions) > 0.99))
        # of two links of one robot, the first is told
        told = {min((i, name) for name, i in pair.items())[1] for pair in contacts if 'world' not in pair}
        assert info['reward_feet_collision'] == -sum(foot in told for foot in feet)
        alive = {'Hopper': z > 0.8 and abs(pitch) < 1, 'Walker2d': z > 0.8 and abs(pitch) < 1,
                 'HalfCheetah': abs(pitch) < 1 and not flags[[1, 2, 4, 5]].any() if len(flags) > 5 else None,
                 'Ant': z > 0.26}.get(task, z > 0.78)
        assert info['reward_alive'] == ((2 if 'Humanoid' in task else 1) if alive else -1)
        assert terminated == (not alive)
        on_floor = set().union(*(pair for pair in contacts if 'world' in pair))
        flags, old_distance = np.array([foot in on_floor for foot in feet]), env.walk_target_dist
        seen |= {flag for flag in flags} | {terminated}
        episode_starts = terminated
        if terminated:
            env.reset()
    assert seen >= {True, False}


@pytest.mark.parametrize(('task', 'state', 'alive'), [
    ('Hopper', dict(z=0.801), 1), ('Hopper', dict(z=0.8), -1), ('Hopper', dict(pitch=0.999), 1),
    ('Hopper', dict(pitch=1.), -1), ('Hopper', dict(pitch=-1.), -1), ('Walker2d', dict(z=0.8), -1),
    ('Walker2d', dict(pitch=-0.999), 1), ('HalfCheetah', dict(pitch=0.999), 1), ('HalfCheetah', dict(pitch=-1.), -1),
    ('HalfCheetah', dict(z=0.1), 1), ('HalfCheetah', dict(feet=[1, 0, 0, 1, 0, 0]), 1),
    *(('HalfCheetah', dict(feet=np.eye(6)[i].tolist()), -1) for i in (1, 2, 4, 5)),
    ('Ant', dict(z=0.261), 1), ('Ant', dict(z=0.26), -1), ('Ant', dict(pitch=1.5), 1),
    ('Humanoid', dict(z=0.781), 2), ('Humanoid', dict(z=0.78), -1), ('HumanoidFlagrun', dict(z=0.781), 2),
    ('HumanoidFlagrun', dict(z=0.78), -1),
])
def test_who_is_alive(task, state, alive):
    env = make(task)
    env.body_xyz = 0., 0., state.get('z', 1.2)
    env.body_rpy = 0., state.get('pitch', 0.), 0.
    env.feet_contact = state.get('feet', env.feet_contact)
    assert env.alive_bonus() == alive


def test_a_standing_humanoid_is_paid_for_it():
    env = make('Humanoid')
    for _ in range(12):
        _, _, terminated, _, info = env.step(np.zeros(17))
        assert info['reward_alive'] == 2 and not terminated


@pytest.mark.parametrize('task', TASKS)
def test_start_states(task):
    """300 starts: within the bounds, and up to 2% of them, or for the yaw (missed by one in 400 such tests), 4%."""
    env, joints, yaws = make(task), [], []
    for _ in range(300):
        env.reset()
        joints.append(env.physics.q.copy())
        assert not env.data.qvel.any() and not any(env.feet_contact) and env.frame == 0
        if 'Humanoid' in task:
            torso, pose = env.data.body('torso'), (1.4, 0.)
            if task == 'HumanoidFlagrunHarder':
                pose = [(1.4, 0.), (0.45, math.pi / 2), (0.22, 1.5 * math.pi - 0.15)][env.task]
            np.testing.assert_allclose(torso.xipos, [0, 0, pose[0]], atol=1e-12)
            rotation = torso.xmat.reshape(3, 3)
            yaws.append(math.atan2(-rotation[0, 1], rotation[1, 1]))
            unturned = np.array([[math.cos(yaws[-1]), math.sin(yaws[-1]), 0],
                                 [-math.sin(yaws[-1]), math.cos(yaws[-1]), 0], [0, 0, 1]]) @ rotation
            np.testing.assert_allclose(unturned[:, 0], [math.cos(pose[1]), 0, -math.sin(pose[1])], atol=1e-12)
        else:
            assert env.data.body('torso').xipos[2] == pytest.approx(env.initial_z)
    assert -0.1 <= np.min(joints) < -0.098 and 0.098 < np.max(joints) <= 0.1
    if yaws:
        assert -math.pi / 16 <= min(yaws) < -0.96 * math.pi / 16 and 0.96 * math.pi / 16 < max(yaws) <= math.pi / 16


# ================================================================
# Flags and cubes
# ================================================================

def test_the_first_flag():
    """Straight ahead in half of 400 starts (+-60: 6 standard deviations), within the field always."""
    env, ahead = make('HumanoidFlagrun'), 0
    for _ in range(400):
        env.reset()
        x, y = env.target
        ahead += y == 0
        assert 13.125 <= x <= 26.25 if y == 0 else abs(x) <= 13.125 and abs(y) <= 6.25
        assert env.flag_timeout == 149 or env.flag_timeout == 150 and y != 0  # if the first was within 1 m
    assert abs(ahead - 200) < 60


@pytest.mark.parametrize('task', ['HumanoidFlagrun', 'HumanoidFlagrunHarder'])
@pytest.mark.parametrize(('distance', 'timeout', 'moves'), [(0.9, 100, True), (1.1, 100, False), (50., 1, True),
                                                            (50., 2, False)])
def test_the_flag_moves_without_a_jump(task, distance, timeout, moves):
    env = make(task)
    env.task = 1 if task.endswith('Harder') else None
    flag = env.body_xyz[0] + distance, env.body_xyz[1]
    env.data.mocap_pos[0, :2], env.flag_timeout = flag, timeout
    obs, _, _, _, info = env.step(np.zeros(17))
    assert (env.target != flag) == moves
    assert env.flag_timeout == (150 if moves else timeout - 1)
    x, y, _ = env.body_xyz
    angle = math.atan2(env.target[1] - y, env.target[0] - x) - env.body_rpy[2]
    np.testing.assert_allclose(obs[1:3], [math.sin(angle), math.cos(angle)], atol=1e-6)  # of the new one
    if moves:
        assert abs(info['reward_progress']) < (1e-9 if task == 'HumanoidFlagrun' else 100)
    assert env.data.geom_xpos[env.model.body('flag').geomadr[0]] == pytest.approx([*env.target, 0.2]) or moves


def lie_down(env):
    env.data.qvel[:] = 0
    env.set_initial_orientation(0.45, math.pi / 2)
    env.refresh()


def harder(task=0, seed=0):
    """A FlagrunHarder episode that starts with a given task."""
    env = make('HumanoidFlagrunHarder', seed)
    env.outcomes[:] = 1.
    env.outcomes[task] = 0.
    while env.task != task:
        env.reset()
    return env


def test_tasks_are_drawn_by_failure():
    """With 0, 5, 10 of 10 lasting, in proportion to 11, 6, 1; 900 draws, within 4 standard deviations."""
    env, counts = make('HumanoidFlagrunHarder'), np.zeros(3)
    for _ in range(900):
        env.outcomes[:] = np.array([np.zeros(10), [0., 1.] * 5, np.ones(10)])
        env.reset()
        counts[env.task] += 1
    p = np.array([11, 6, 1]) / 18
    assert (np.abs(counts - 900 * p) < 4 * np.sqrt(900 * p * (1 - p))).all()


def test_outcomes_are_recorded_and_a_seed_clears_them():
    env = harder(task=0)
    env.outcomes[:] = np.nan
    lie_down(env)  # the end of a walk
    assert env.step(np.zeros(17))[2]
    assert env.outcomes[0, -1] == 0 and np.isnan(env.outcomes[0, :-1]).all() and np.isnan(env.outcomes[1:]).all()
    while env.task == 0:
        env.reset()
    env.frame = 999
    assert not env.step(np.zeros(17))[2]
    assert env.outcomes[env.task, -1] == 1 and np.isfinite(env.outcomes).sum() == 2
    env.reset(seed=1)
    assert np.isnan(env.outcomes).all()


def test_down_for_170_steps_is_the_end_unless_it_was_a_walk():
    env = harder(task=1)
    for step in range(1, 171):
        lie_down(env)
        _, _, terminated, _, info = env.step(np.zeros(17))
        assert env.electricity_cost == -0.4
        assert terminated == (step == 170)
    assert info['reward_alive'] == -1
    env = harder(task=0)
    lie_down(env)
    assert env.step(np.zeros(17))[4]['reward_alive'] == -1


def test_being_up_counts_off_the_time_on_the_ground():
    env = harder(task=1)
    env.on_ground_frame_counter = 5
    env.data.qpos[2] = 1.5
    env.step(np.zeros(17))
    assert env.on_ground_frame_counter == 4 and env.electricity_cost == -1


def test_alive_bonus_is_a_leak_of_height():
    env = harder(task=1)
    for z, pelvis, leak in [(0., 0., 0.5), (1.2, 0.9, 2.), (0.5, 0.2, 0.5 + 1.5 * 0.41 / 0.7), (-1., 0., 0.5)]:
        env.body_xyz, env.pelvis_z = (0., 0., z), pelvis
        assert env.alive_bonus() == pytest.approx(leak)


def test_crawling_earns_nothing():
    """Potentials by hand: up at a distance of 10 m, down 0.1 m on, then 1.9 m on, up again, 1 m on, down 1 m on."""
    env = harder(task=1)

    def potential(z, distance):
        env.body_xyz, env.pelvis_z, env.walk_target_dist = (0., 0., z), z, distance
        return env.calc_potential() - 100 * env.potential_leak()

    assert potential(1.2, 10.) == pytest.approx(-10 / 0.0165)
    for distance in (9.9, 9., 8.):
        assert potential(0.5, distance) == pytest.approx(-9.9 / 0.0165)
    assert potential(1.2, 8.) == pytest.approx(-9.9 / 0.0165)
    assert potential(1.2, 7.) == pytest.approx(-8.9 / 0.0165)
    assert potential(0.5, 6.) == pytest.approx(-7.9 / 0.0165)
    assert potential(0.5, 3.) == pytest.approx(-7.9 / 0.0165)


def test_cubes_are_thrown():
    """At every 30th frame past 100 while on the feet, from 4 m away and 1 m above, at the robot."""
    env, thrown = harder(task=1), []
    for frame in range(95, 190):
        env.frame, env.on_ground_frame_counter = frame, 7 if frame == 150 else 0
        env.body_xyz = 3., 1., 1.2
        before = env.cube_qpos.copy()
        env.alive_bonus()
        if (env.cube_qpos != before).any():
            thrown.append(frame)
            way = np.array([3., 1., 1.2]) + np.array(env.torso_velocity()) * 4 / 25 - env.cube_qpos[:3]
            assert np.hypot(*way[:2]) == pytest.approx(4, abs=0.2) and way[2] == pytest.approx(-1, abs=0.2)
            speed = np.linalg.norm(env.cube_qvel[:3])
            assert 18 < speed < 32
            assert env.cube_qvel[:3] @ way / speed / np.linalg.norm(way) > 0.97
            np.testing.assert_array_equal(env.cube_qpos[3:], [1, 0, 0, 0])
    assert thrown == [120, 180]


def test_a_cube_hits_and_costs_at_feet():
    env = harder(task=1)
    env.data.qpos[2] = 1.5
    env.refresh()
    foot = env.data.geom('right_foot').xpos
    env.cube_qpos[:3], env.cube_qvel[:3] = foot + [0, -0.4, 0], [0, 25, 0]
    mujoco.mj_step1(env.model, env.data)
    info = env.step(np.zeros(17))[4]
    assert info['reward_feet_collision'] == -1 or env.step(np.zeros(17))[4]['reward_feet_collision'] == -1
    assert np.abs(env.cube_qvel[1]) < 20  # it has hit something
    assert np.abs(env.physics.w).max() > 1


def test_a_flying_cube_is_in_the_state():
    env, other = harder(task=1), make('HumanoidFlagrunHarder', 3)
    env.throw_cube()
    env.frame = 119
    other.set_state(env.state())
    assert env.cube_qvel[:3].any()
    for _ in range(30):
        np.testing.assert_array_equal(env.step(np.ones(17) * 0.3)[0], other.step(np.ones(17) * 0.3)[0])
        np.testing.assert_array_equal(env.cube_qpos, other.cube_qpos)


# ================================================================
# Bullet
# ================================================================

def test_order_of_limits():
    """Known from the engine: in a humanoid, hip_y (5) comes last in even sweeps, after hip_x (3) and knee (6)."""
    order = bullet.limit_order(17, 17)
    assert sorted(order) == list(range(17))
    assert order.index(5) < order.index(6) < order.index(3)
    assert bullet.limit_order(3, 6) == [1, 0, 2] and bullet.limit_order(1, 1) == [0]


@pytest.mark.parametrize('task', ['HalfCheetah', 'Ant', 'HumanoidFlagrunHarder'])
def test_same_numbers_without_numba(task, monkeypatch):
    pytest.importorskip('numba')
    with_numba = make(task)
    bullet._fast.cache_clear()
    bullet._numba.cache_clear()
    monkeypatch.setitem(sys.modules, 'numba', None)
    without = make(task)
    monkeypatch.undo()
    bullet._fast.cache_clear()
    bullet._numba.cache_clear()
    rng = np.random.default_rng(0)
    for _ in range(40):
        action = rng.uniform(-1, 1, with_numba.model.nu)
        np.testing.assert_array_equal(with_numba.step(action)[0], without.step(action)[0])
    np.testing.assert_array_equal(with_numba.data.qpos, without.data.qpos)


def push(env, velocity):
    """The robot high up and upright, moving as a whole."""
    start(env, np.clip(np.zeros(env.model.nu), *env.model.jnt_range[env.joints].T))
    env.data.qpos[1 if env.planar else 2] += 5
    env.data.qvel[:3] = velocity
    env.refresh()


def test_air_drag():
    """On each link, 0.04 (1 + speed) of its momentum; a humanoid at 10 m/s is slowed down by 4.4 m/s^2 of it."""
    env = make('Humanoid')
    push(env, [10., 0, 0])
    env.physics.step()
    force = env.data.xfrc_applied.copy()
    np.testing.assert_allclose(force[1:, 0], -4.4 * env.model.body_mass[1:], rtol=1e-12)
    np.testing.assert_allclose(force[:, 1:], 0, atol=1e-9)
    mujoco.mj_subtreeVel(env.model, env.data)
    assert env.data.subtree_linvel[1, 0] == pytest.approx(10 - 4.4 * env.timestep)


def test_drag_on_rotation():
    env = make('Ant')
    push(env, [0, 0, 0])
    env.data.qvel[3:6] = spin = np.array([1., -2., 2.])  # of norm 3, in the frame of the torso, which is upright
    env.refresh()
    axes = env.data.ximat.reshape(-1, 3, 3).copy()
    env.physics.step()
    for body in range(1, env.model.nbody):
        momentum = axes[body] @ np.diag(env.model.body_inertia[body]) @ axes[body].T @ spin
        np.testing.assert_allclose(env.data.xfrc_applied[body, 3:], -0.16 * momentum, rtol=1e-9)


def test_joints_with_longer_axes_move_less():
    env = make('Humanoid')
    push(env, [0, 0, 0])
    joint, before = list(env.torques).index('right_shoulder1'), env.physics.q.copy()
    env.data.ctrl[joint] = 1
    mujoco.mj_fwdActuation(env.model, env.data)
    env.physics.step()
    moved = (env.physics.q - before)[joint]
    assert moved == pytest.approx(env.physics.w[joint] * env.timestep / math.sqrt(6)) and abs(moved) > 1e-4


@pytest.mark.parametrize(('depth', 'speed'), [(0.01, 0.2 * 0.01 / 0.004125), (0.03, 0.2 * 0.03 / 0.004125), (0.05, 0.)])
def test_limits_push_back_but_not_from_the_depth(depth, speed):
    """A hopper's knee that goes further out is stopped, and pushed back if not too far out."""
    env = make('Hopper')
    push(env, [0, 0, 0])
    env.physics.q[:] = -0.5, depth, 0
    env.physics.w[1] = 3.
    mujoco.mj_step1(env.model, env.data)
    env.physics.step()
    assert env.physics.w[1] == pytest.approx(-speed, abs=1e-9)


@pytest.mark.parametrize(('gap', 'fall', 'after'), [
    (0.002, 3., 0.25 * 3 - 0.00201 / 0.004125), (0.002, 0.3, -0.3), (-0.002, 1., 0.25 + 0.9 * 0.00199 / 0.004125),
    (0.0064, 2., 0.5 - 0.00641 / 0.004125), (0.0067, 2., -2.),
])
def test_contacts_slow_down_before_they_touch(gap, fall, after):
    """The velocity along the normal of a tilted hopper's heel, without and with a contact."""
    env = make('Hopper')
    push(env, [0, 0, 0])
    foot = env.model.geom('foot_geom').id
    env.data.qpos[2] = 0.3  # a rotation of the root
    mujoco.mj_step1(env.model, env.data)

    def lowest():
        geom = env.data.geom('foot_geom')
        return geom.xpos[2] - env.model.geom_size[foot, 1] * abs(geom.xmat[8]) - env.model.geom_size[foot, 0]

    env.data.qpos[1] += gap - lowest()
    env.data.qvel[:] = 0
    env.data.qvel[1] = -fall + 9.8 * env.timestep
    mujoco.mj_step1(env.model, env.data)
    assert env.data.ncon == (gap < 0.00654)
    normal = env.data.efc_J.reshape(env.data.nefc, -1)[env.data.nl].copy() if env.data.ncon else np.eye(6)[1]
    assert normal @ env.data.qvel == pytest.approx(-fall + 9.8 * env.timestep)
    env.physics.step()
    assert normal @ env.data.qvel == pytest.approx(after, abs=0.01 + 0.02 * fall)  # drag, and what sweeps leave


def test_nothing_moves_faster_than_100():
    env = make('Humanoid')
    push(env, [0, 0, 0])
    env.physics.w[10] = 99.99
    env.data.ctrl[10] = 1.
    mujoco.mj_fwdActuation(env.model, env.data)
    mujoco.mj_step1(env.model, env.data)
    for _ in range(3):
        env.physics.step()
        assert np.abs(env.data.qvel / np.concatenate([np.ones(6), env.axis_length])).max() <= 100 + 1e-9
