"""What gymnasium's MuJoCo tasks observe and reward, in a few lines each, for numba.

In all functions sim is a Simulator, p holds numbers by name: the keywords in the annotations of the task's class, those
of its `numbers`, and what `known.numbers_of` adds for all.
"""
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv

from onpolicybaselines.native.arithmetic import (
    all_within,
    clip,
    control_cost,
    distance,
    finite,
    put,
    sum_of_squares,
    within,
)
from onpolicybaselines.native.physics import Simulator, guarded

Range = tuple[float, float]


class Task:
    """The class of an environment: functions that numba compiles, and as annotations the keywords that they use.

    They call each other by name, as if there were one task only. Functions of p are only here: `stepping.compiled`
    says why.
    """

    functions = ('mj_step', 'mj_rnePostConstraint')
    """of MuJoCo, whose addresses are in p"""

    @staticmethod
    def numbers(env: MujocoEnv) -> dict[str, float]:
        """More numbers for p."""
        return {}

    def advance(p: np.record) -> bool:
        """Let time pass; False after an error of MuJoCo."""
        return (guarded(p.mj_step, p.model, p.data, p.frame_skip, p.handler, p.text)
                and guarded(p.mj_rnePostConstraint, p.model, p.data, 1, p.handler, p.text))

    def position(sim: Simulator, p: np.record) -> float:
        """What `velocity` is the velocity of."""
        return sim.qpos[0]

    def observe(sim: Simulator, p: np.record, ob: np.ndarray) -> int:
        """Write the observation; returns its length."""
        return put(ob, put(ob, 0, sim.qpos[p.skipped_qpos:]), sim.qvel)

    def healthy(sim: Simulator, p: np.record) -> bool:
        """Whether the robot is as it should be."""
        return True

    def reward(sim: Simulator, p: np.record, action: np.ndarray, velocity: float) -> tuple[float, bool]:
        """(reward, whether the episode is over)."""
        return 0., False


FUNCTIONS = ('advance', 'position', 'observe', 'healthy', 'reward')
advance, position, observe, healthy, reward = (getattr(Task, name) for name in FUNCTIONS)


class HalfCheetah(Task):
    """Fast and with little force."""

    forward_reward_weight: float
    ctrl_cost_weight: float

    def reward(sim, p, action, velocity):
        return p.forward_reward_weight * velocity - control_cost(p.ctrl_cost_weight, action), False


class Swimmer(HalfCheetah):
    """Fast and with little force."""


class Walker2d(Task):
    """Fast, upright and with little force."""

    forward_reward_weight: float
    ctrl_cost_weight: float
    healthy_reward: float
    terminate_when_unhealthy: bool
    healthy_z_range: Range
    healthy_angle_range: Range

    def observe(sim, p, ob):
        return put(ob, put(ob, 0, sim.qpos[p.skipped_qpos:]), sim.qvel, -10., 10.)

    def healthy(sim, p):
        return within(sim.qpos[1], p.healthy_z_range) and within(sim.qpos[2], p.healthy_angle_range)

    def reward(sim, p, action, velocity):
        well = healthy(sim, p)
        rewards = p.forward_reward_weight * velocity + well * p.healthy_reward
        return rewards - control_cost(p.ctrl_cost_weight, action), not well and p.terminate_when_unhealthy


class Hopper(Walker2d):
    """As Walker2d, and no joint far out."""

    healthy_state_range: Range

    def healthy(sim, p):
        return (within(sim.qpos[1], p.healthy_z_range) and within(sim.qpos[2], p.healthy_angle_range)
                and all_within(sim.qpos[2:], p.healthy_state_range) and all_within(sim.qvel, p.healthy_state_range))


class Ant(Task):
    """Fast, upright, with little force and soft steps."""

    forward_reward_weight: float
    ctrl_cost_weight: float
    contact_cost_weight: float
    healthy_reward: float
    terminate_when_unhealthy: bool
    healthy_z_range: Range
    contact_force_range: Range
    include_cfrc_ext_in_observation: bool

    @staticmethod
    def numbers(env):
        return {'main_body': env.data.body(env._main_body).id}

    def position(sim, p):
        return sim.xpos[p.main_body, 0]

    def observe(sim, p, ob):
        n = put(ob, put(ob, 0, sim.qpos[p.skipped_qpos:]), sim.qvel)
        if p.include_cfrc_ext_in_observation:
            n = put(ob, n, sim.cfrc_ext[6:], p.contact_force_range[0], p.contact_force_range[1])
        return n

    def healthy(sim, p):
        return finite(sim.qpos) and finite(sim.qvel) and p.healthy_z_range[0] <= sim.qpos[2] <= p.healthy_z_range[1]

    def reward(sim, p, action, velocity):
        well = healthy(sim, p)
        rewards = velocity * p.forward_reward_weight + well * p.healthy_reward
        contact_cost = p.contact_cost_weight * sum_of_squares(sim.cfrc_ext, p.contact_force_range[0],
                                                              p.contact_force_range[1])
        costs = control_cost(p.ctrl_cost_weight, action) + contact_cost
        return rewards - costs, not well and p.terminate_when_unhealthy


class AnyHumanoid(Task):
    """What the two humanoids observe."""

    ctrl_cost_weight: float
    include_cinert_in_observation: bool
    include_cvel_in_observation: bool
    include_qfrc_actuator_in_observation: bool
    include_cfrc_ext_in_observation: bool

    def observe(sim, p, ob):
        n = put(ob, put(ob, 0, sim.qpos[p.skipped_qpos:]), sim.qvel)
        if p.include_cinert_in_observation:
            n = put(ob, n, sim.cinert[10:])
        if p.include_cvel_in_observation:
            n = put(ob, n, sim.cvel[6:])
        if p.include_qfrc_actuator_in_observation:
            n = put(ob, n, sim.qfrc_actuator[6:])
        if p.include_cfrc_ext_in_observation:
            n = put(ob, n, sim.cfrc_ext[6:])
        return n


class Humanoid(AnyHumanoid):
    """Fast, upright, with little force and soft steps."""

    forward_reward_weight: float
    contact_cost_weight: float
    contact_cost_range: Range
    healthy_reward: float
    terminate_when_unhealthy: bool
    healthy_z_range: Range

    @staticmethod
    def numbers(env):
        return {'mass': env.model.body_mass.sum()}

    def position(sim, p):
        moment = 0.
        for body in range(len(sim.body_mass)):
            moment += sim.body_mass[body] * sim.xipos[body, 0]
        return moment / p.mass

    def healthy(sim, p):
        return within(sim.qpos[2], p.healthy_z_range)

    def reward(sim, p, action, velocity):
        well = healthy(sim, p)
        rewards = p.forward_reward_weight * velocity + well * p.healthy_reward
        contact_cost = clip(p.contact_cost_weight * sum_of_squares(sim.cfrc_ext, -np.inf, np.inf),
                            p.contact_cost_range[0], p.contact_cost_range[1])
        costs = control_cost(p.ctrl_cost_weight, sim.ctrl) + contact_cost
        return rewards - costs, not well and p.terminate_when_unhealthy


class HumanoidStandup(AnyHumanoid):
    """High, with little force and soft steps."""

    impact_cost_weight: float
    impact_cost_range: Range

    @staticmethod
    def numbers(env):
        return {'timestep': env.model.opt.timestep}

    def reward(sim, p, action, velocity):
        impact_cost = clip(p.impact_cost_weight * sum_of_squares(sim.cfrc_ext, -np.inf, np.inf),
                           p.impact_cost_range[0], p.impact_cost_range[1])
        return sim.qpos[2] / p.timestep - control_cost(p.ctrl_cost_weight, sim.ctrl) - impact_cost + 1, False


class Reacher(Task):
    """The fingertip at the target, with little force."""

    reward_dist_weight: float
    reward_control_weight: float

    @staticmethod
    def numbers(env):
        return {name: env.data.body(name).id for name in ('fingertip', 'target')}

    def observe(sim, p, ob):
        n = put(ob, put(ob, 0, np.cos(sim.qpos[:2])), np.sin(sim.qpos[:2]))
        n = put(ob, put(ob, n, sim.qpos[2:]), sim.qvel[:2])
        return put(ob, n, sim.xpos[p.fingertip, :2] - sim.xpos[p.target, :2])

    def reward(sim, p, action, velocity):
        reward_dist = -distance(sim.xpos[p.fingertip], sim.xpos[p.target], p.ddot) * p.reward_dist_weight
        return reward_dist - control_cost(p.reward_control_weight, action), False


class Pusher(Task):
    """The arm at the object, the object at the goal, with little force."""

    reward_near_weight: float
    reward_dist_weight: float
    reward_control_weight: float

    @staticmethod
    def numbers(env):
        return {name: env.data.body(name).id for name in ('tips_arm', 'object', 'goal')}

    def observe(sim, p, ob):
        n = put(ob, put(ob, 0, sim.qpos[:7]), sim.qvel[:7])
        return put(ob, put(ob, put(ob, n, sim.xpos[p.tips_arm]), sim.xpos[p.object]), sim.xpos[p.goal])

    def reward(sim, p, action, velocity):
        reward_near = -distance(sim.xpos[p.object], sim.xpos[p.tips_arm], p.ddot) * p.reward_near_weight
        reward_dist = -distance(sim.xpos[p.object], sim.xpos[p.goal], p.ddot) * p.reward_dist_weight
        return reward_dist - control_cost(p.reward_control_weight, action) + reward_near, False


class InvertedPendulum(Task):
    """Upright."""

    def healthy(sim, p):
        return finite(sim.qpos) and finite(sim.qvel) and not abs(sim.qpos[1]) > 0.2

    def reward(sim, p, action, velocity):
        well = healthy(sim, p)
        return 1. if well else 0., not well


class InvertedDoublePendulum(Task):
    """Upright, above the middle, slow."""

    healthy_reward: float

    def observe(sim, p, ob):
        n = put(ob, put(ob, put(ob, 0, sim.qpos[:1]), np.sin(sim.qpos[1:])), np.cos(sim.qpos[1:]))
        return put(ob, put(ob, n, sim.qvel, -10., 10.), sim.qfrc_constraint[:1], -10., 10.)

    def reward(sim, p, action, velocity):
        x, y, v = sim.site_xpos[0, 0], sim.site_xpos[0, 2], sim.qvel
        over = y <= 1
        dist_penalty = 0.01 * x ** p.two + (y - 2) ** p.two
        vel_penalty = 1e-3 * v[1] ** p.two + 5e-3 * v[2] ** p.two
        return p.healthy_reward * (not over) - dist_penalty - vel_penalty, over

    @staticmethod
    def numbers(env):
        return {'two': 2.}  # x ** 2 would be x * x, and the C library's pow, which NumPy calls, rounds differently
