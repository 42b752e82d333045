"""rllab's tasks: every number of an observation, a reward, an end of an episode found again in another way."""
import gymnasium as gym
import mujoco
import numpy as np
import pytest

import onpolicybaselines.envs  # noqa: F401

TASKS = ('Swimmer', 'Hopper', 'Walker2D', 'HalfCheetah', 'Ant', 'SimpleHumanoid', 'Humanoid')
PLANAR = ('Hopper', 'Walker2D')


def make(task, seed=0):
    env = gym.make(f'rllab/{task}-v0').unwrapped
    env.reset(seed=seed)
    return env


def qpos(env, task):
    """Positions in rllab's order: height, then forward, for planar walkers."""
    return env.data.qpos[[1, 0, *range(2, env.model.nq)]] if task in PLANAR else env.data.qpos.copy()


def qvel(env, task):
    return env.data.qvel[[1, 0, *range(2, env.model.nv)]] if task in PLANAR else env.data.qvel.copy()


def centre_of_mass(env):
    """Position and velocity, body by body."""
    mass, velocity = env.model.body_mass, np.empty((env.model.nbody, 6))
    for body in range(env.model.nbody):
        mujoco.mj_objectVelocity(env.model, env.data, mujoco.mjtObj.mjOBJ_BODY, body, velocity[body], 0)
    return mass @ env.data.xipos / mass.sum(), mass @ velocity[:, 3:] / mass.sum()


def contact_forces(env):
    """cfrc_ext, clipped, from the contacts: torque about the robot's centre of mass, and force, on each body."""
    wrench = np.zeros((env.model.nbody, 6))
    com = centre_of_mass(env)[0]
    for i in range(env.data.ncon):
        contact, local = env.data.contact[i], np.zeros(6)
        mujoco.mj_contactForce(env.model, env.data, i, local)
        frame = np.reshape(contact.frame, (3, 3))
        force, torque = local[:3] @ frame, local[3:] @ frame
        for geom, sign in zip(contact.geom, (-1, 1), strict=True):
            body = env.model.geom_bodyid[geom]
            wrench[body] += sign * np.concatenate([torque + np.cross(contact.pos - com, force), force])
    wrench[0] = 0  # MuJoCo leaves the world's row empty
    return np.clip(wrench, -1, 1)


def observation(env, task):
    com, data = centre_of_mass(env)[0], env.data
    forces = contact_forces(env).ravel() if task in ('Ant', 'SimpleHumanoid', 'Humanoid') else ()
    first, last = qpos(env, task), ()
    if task == 'Hopper':
        first, last = np.delete(first, 1), np.clip(data.qfrc_constraint[[1, 0, 2, 3, 4, 5]], -10, 10)
    elif task == 'HalfCheetah':
        first = first[1:]
    elif task == 'Ant':
        last = data.body('torso').xmat
    velocity = np.clip(qvel(env, task), -10, 10) if task == 'Hopper' else qvel(env, task)
    return np.concatenate([first, velocity, forces, last, com])


def reward_terms(env, task, action):
    velocity, squares = centre_of_mass(env)[1], np.sum(np.square(action))
    terms = {'reward_forward': velocity[0], 'reward_ctrl': -squares * {
        'Swimmer': 0.005, 'Hopper': 0.005, 'Walker2D': 0.005, 'HalfCheetah': 0.05, 'Ant': 0.005,
        'SimpleHumanoid': 0.0005, 'Humanoid': 0.0005}[task]}
    if task == 'Hopper':
        terms['reward_survive'] = 1.
    if task == 'Ant':
        terms |= {'reward_contact': -0.0005 * np.square(contact_forces(env)).sum(), 'reward_survive': 0.05}
    if task in ('SimpleHumanoid', 'Humanoid'):
        terms |= {'reward_survive': 0.2, 'reward_contact': -5e-6 * np.square(contact_forces(env)).sum(),
                  'reward_deviation': -0.005 * (velocity[1] ** 2 + velocity[2] ** 2)}
    return terms


@pytest.mark.parametrize('task', TASKS)
def test_observations_and_reward_terms(task):
    env, rng, touched = make(task), np.random.default_rng(0), False
    np.testing.assert_allclose(env.observe(), observation(env, task), rtol=1e-9, atol=1e-10)
    for _ in range(120):
        action = rng.uniform(-1.5, 1.5, env.model.nu)
        obs, _, terminated, _, info = env.step(action)
        np.testing.assert_allclose(obs, observation(env, task), rtol=1e-7, atol=1e-8)
        expected = reward_terms(env, task, np.clip(action, -1, 1))
        assert list(info) != [] and set(info) == set(expected)
        for name, value in expected.items():
            assert info[name] == pytest.approx(value, rel=1e-8, abs=1e-10), name
        touched |= env.data.ncon > 0
        if terminated:
            env.reset()
    assert touched == (task != 'Swimmer')


@pytest.mark.parametrize(('task', 'torques'), [
    ('Swimmer', dict(motor1_rot=50, motor2_rot=50)),
    ('Hopper', dict(thigh_joint=200, leg_joint=200, foot_joint=200)),
    ('Walker2D', dict(thigh_joint=150, leg_joint=100, foot_joint=100,
                      thigh_left_joint=150, leg_left_joint=100, foot_left_joint=100)),
    ('HalfCheetah', dict(bthigh=120, bshin=90, bfoot=60, fthigh=120, fshin=60, ffoot=30)),
    ('Ant', dict(hip_4=150, ankle_4=150, hip_1=150, ankle_1=150, hip_2=150, ankle_2=150, hip_3=150, ankle_3=150)),
    ('SimpleHumanoid', dict(right_hip1=100, right_hip3=100, right_knee=100, left_hip1=100, left_hip3=100, left_knee=100,
                            right_shoulder1=20, right_shoulder2=20, left_shoulder1=20, left_shoulder2=20)),
    ('Humanoid', dict(abdomen_y=80, abdomen_z=80, abdomen_x=80,
                      right_hip_x=80, right_hip_z=80, right_hip_y=240, right_knee=160, right_ankle_x=40,
                      right_ankle_y=40, left_hip_x=80, left_hip_z=80, left_hip_y=240, left_knee=160, left_ankle_x=40,
                      left_ankle_y=40, right_shoulder1=40, right_shoulder2=40, right_elbow=80,
                      left_shoulder1=40, left_shoulder2=40, left_elbow=80)),
])
def test_torques_by_action(task, torques):
    """rllab's ranges of controls times its gears."""
    env = make(task)
    for i, (joint, torque) in enumerate(torques.items()):
        env.step(np.eye(len(torques))[i] * -0.5)
        force = env.data.qfrc_actuator.copy()
        assert force[env.model.joint(joint).dofadr[0]] == pytest.approx(-torque / 2)
        assert np.count_nonzero(force) == 1


@pytest.mark.parametrize(('task', 'mass', 'timestep', 'steps', 'integrator'), [
    ('Swimmer', 106.814, 0.001, 50, 'EULER'), ('Hopper', 15.820, 0.02, 1, 'RK4'),
    ('Walker2D', 23.677, 0.005, 1, 'EULER'), ('HalfCheetah', 14., 0.01, 1, 'EULER'),
    ('Ant', 0.9109, 0.02, 1, 'RK4'),
    ('SimpleHumanoid', 39.8886, 0.01, 1, 'RK4'), ('Humanoid', 40.844, 0.002, 4, 'RK4'),
])
def test_physics_are_rllabs(task, mass, timestep, steps, integrator):
    env = make(task)
    assert env.model.body_mass.sum() == pytest.approx(mass, rel=4e-5)
    assert env.model.opt.timestep == timestep
    assert env.model.opt.integrator == getattr(mujoco.mjtIntegrator, f'mjINT_{integrator}')
    start = env.data.time
    env.step(np.zeros(env.model.nu))
    assert env.data.time - start == pytest.approx(steps * timestep)


def at(task, **state):
    """A task in its start pose, but for qpos[i] or qvel[i] as in qpos2=0.1."""
    env = make(task)
    env.data.qpos[:], env.data.qvel[:] = env.init_qpos, 0
    for name, value in state.items():
        getattr(env.data, name[:4])[int(name[4:])] = value
    return env


@pytest.mark.parametrize(('task', 'inside', 'outside'), [
    ('Hopper', dict(qpos1=0.7001), dict(qpos1=0.7)), ('Hopper', dict(qpos2=0.1999), dict(qpos2=0.2)),
    ('Hopper', dict(qpos2=-0.1999), dict(qpos2=-0.2)), ('Hopper', dict(qpos4=99.9), dict(qpos4=100.)),
    ('Hopper', dict(qvel0=-99.9), dict(qvel0=-100.)), ('Hopper', dict(qpos0=1e6), dict(qvel5=np.inf)),
    ('Hopper', dict(qpos1=1e3), dict(qpos1=np.nan)),
    ('Walker2D', dict(qpos1=0.8001), dict(qpos1=0.8)), ('Walker2D', dict(qpos1=1.9999), dict(qpos1=2.)),
    ('Walker2D', dict(qpos2=0.9999), dict(qpos2=1.)), ('Walker2D', dict(qpos2=-0.9999), dict(qpos2=-1.)),
    ('Ant', dict(qpos2=0.2), dict(qpos2=0.1999)), ('Ant', dict(qpos2=1.), dict(qpos2=1.0001)),
    ('Ant', dict(qvel9=1e4), dict(qvel9=np.nan)), ('Ant', dict(qpos0=1e4), dict(qpos0=-np.inf)),
    ('SimpleHumanoid', dict(qpos2=0.8), dict(qpos2=0.7999)), ('SimpleHumanoid', dict(qpos2=2.), dict(qpos2=2.0001)),
    ('Humanoid', dict(qpos2=0.8), dict(qpos2=0.7999)), ('Humanoid', dict(qpos2=2.), dict(qpos2=2.0001)),
])
def test_ends_of_episodes(task, inside, outside):
    """At the very bounds, so judged as they are rather than after a step; gymnasium's index 1 is the height."""
    assert at(task, **inside).is_healthy() is True
    assert at(task, **outside).is_healthy() is False


@pytest.mark.parametrize('task', ['Swimmer', 'HalfCheetah'])
def test_some_never_end(task):
    assert at(task, qpos0=-1e3, qpos1=-1e3, qpos2=7., qvel3=1e3).is_healthy()


@pytest.mark.parametrize(('task', 'state'), [('Hopper', dict(qpos2=0.3)), ('Walker2D', dict(qpos1=2.1)),
                                             ('Ant', dict(qpos2=1.1)), ('SimpleHumanoid', dict(qpos2=2.1)),
                                             ('Humanoid', dict(qpos2=2.1))])
def test_steps_tell_of_the_end(task, state):
    assert not at(task).step(np.zeros(make(task).model.nu))[2]
    assert at(task, **state).step(np.zeros(make(task).model.nu))[2]


@pytest.mark.parametrize('task', ['SimpleHumanoid', 'Humanoid'])
def test_a_standing_humanoid_is_paid_for_it(task):
    env = at(task)
    for _ in range(20):
        _, _, terminated, _, info = env.step(np.zeros(env.model.nu))
        assert info['reward_survive'] == 0.2 and not terminated


@pytest.mark.parametrize('task', TASKS)
def test_start_states(task):
    """Means and standard deviations of 400 starts, within 5 standard errors: of the 392 numbers tested over all tasks,
    one is outside with a probability of 2e-4."""
    env = make(task)
    starts = []
    for _ in range(400):
        env.reset()
        starts.append(np.concatenate([env.data.qpos, env.data.qvel]))
        assert env.data.time == 0 and not env.data.ctrl.any()
    nq, start = env.model.nq, np.array([0, 0, .55, 1, 0, 0, 0, 0, 1, 0, -1, 0, -1, 0, 1.]) if task == 'Ant' \
        else env.model.qpos0
    mean, std = np.concatenate([start, np.zeros(env.model.nv)]), np.repeat([0.01, 0.1], [nq, env.model.nv])
    keep = np.ones(len(mean), bool)
    if task in ('Ant', 'SimpleHumanoid', 'Humanoid'):
        keep[3] = False  # normalised away
        np.testing.assert_allclose(np.linalg.norm(np.array(starts)[:, 3:7], axis=1), 1, rtol=1e-12)
    assert (np.abs(np.mean(starts, axis=0) - mean) < 5 * std / 20)[keep].all()
    assert (np.abs(np.std(starts, axis=0) / std - 1) < 5 / np.sqrt(800))[keep].all()


@pytest.mark.parametrize(('task', 'episodes', 'length'), [('Hopper', 300, 7.15), ('Humanoid', 60, 53.6)])
def test_random_policies_fare_as_in_rllabs_models(task, episodes, length):
    """The mean length that rllab's own model files gave for clipped N(0, I) actions, within 10%: 4 standard errors."""
    env, rng, steps = make(task), np.random.default_rng(0), 0
    for _ in range(episodes):
        env.reset()
        while not env.step(np.clip(rng.standard_normal(env.model.nu), -1, 1))[2]:
            steps += 1
        steps += 1
    assert steps / episodes == pytest.approx(length, rel=0.1)
