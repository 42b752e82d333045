"""What the tasks of `envs/rllab.py` observe and reward, for numba; see `native.tasks`."""
import sys

import numpy as np
from numba import njit

from onpolicybaselines.envs.locomotion_env import LocomotionEnv
from onpolicybaselines.native.arithmetic import all_within, clip, finite, put
from onpolicybaselines.native.physics import dot, guarded
from onpolicybaselines.native.tasks import Task, healthy

COMPENSATES = sys.version_info >= (3, 12)
"""whether Python's sum of floats carries the rounding errors along"""


@njit
def python_sum(numbers: tuple[float, ...], compensates: bool) -> float:
    """Python's sum of floats."""
    total = carry = 0.
    for x in numbers:
        new = total + x
        carry += (total - new) + x if abs(total) >= abs(x) else (x - new) + total
        total = new
    return total + carry if compensates and np.isfinite(carry) else total


@njit
def swapped(x: np.ndarray) -> np.ndarray:
    """x with the first two numbers in rllab's order."""
    y = x.copy()
    y[0], y[1] = x[1], x[0]
    return y


@njit
def clipped(x: np.ndarray) -> np.ndarray:
    """x between -1 and 1."""
    y = x.copy()
    for i in range(len(x)):
        y[i] = clip(x[i], -1., 1.)
    return y


@njit
def cost(weight: float, x: np.ndarray, ddot: int) -> float:
    """Half of the weighted x @ x, as a reward."""
    return -0.5 * weight * dot(ddot, x)


class Rllab(Task):
    """`RllabEnv`: fast and with little force."""

    functions = ('mj_step', 'mj_forward', 'mj_rnePostConstraint', 'mj_subtreeVel')

    @staticmethod
    def numbers(env: LocomotionEnv) -> dict[str, float]:
        """Class attributes of `envs.rllab`, those that a task has."""
        names = [name for name in ('ctrl_cost', 'alive_bonus', 'contact_cost', 'deviation_cost') if hasattr(env, name)]
        return {'torso': env.torso, 'compensates': COMPENSATES, **{name: getattr(env, name) for name in names}}

    def advance(p):
        return (guarded(p.mj_step, p.model, p.data, p.frame_skip, p.handler, p.text)
                and guarded(p.mj_forward, p.model, p.data, 1, p.handler, p.text)
                and guarded(p.mj_rnePostConstraint, p.model, p.data, 1, p.handler, p.text)
                and guarded(p.mj_subtreeVel, p.model, p.data, 1, p.handler, p.text))

    def observe(sim, p, ob):
        return put(ob, put(ob, put(ob, 0, sim.qpos), sim.qvel), sim.subtree_com[p.torso])

    def reward(sim, p, action, velocity):
        terms = sim.subtree_linvel[p.torso, 0], cost(p.ctrl_cost, sim.ctrl, p.ddot)
        return python_sum(terms, p.compensates), not healthy(sim, p)


class Swimmer(Rllab):
    """`SwimmerEnv`."""


class HalfCheetah(Rllab):
    """`HalfCheetahEnv`."""

    def observe(sim, p, ob):
        return put(ob, put(ob, put(ob, 0, sim.qpos[1:]), sim.qvel), sim.subtree_com[p.torso])


class Walker2D(Rllab):
    """`Walker2DEnv`."""

    def observe(sim, p, ob):
        return put(ob, put(ob, put(ob, 0, swapped(sim.qpos)), swapped(sim.qvel)), sim.subtree_com[p.torso])

    def healthy(sim, p):
        return 0.8 < sim.qpos[1] < 2. and -1. < sim.qpos[2] < 1.


class Hopper(Rllab):
    """`HopperEnv`."""

    def observe(sim, p, ob):
        n = put(ob, put(ob, put(ob, 0, sim.qpos[1:2]), sim.qpos[2:]), swapped(sim.qvel), -10., 10.)
        return put(ob, put(ob, n, swapped(sim.qfrc_constraint), -10., 10.), sim.subtree_com[p.torso])

    def healthy(sim, p):
        limits = (-100., 100.)
        return (sim.qpos[1] > 0.7 and abs(sim.qpos[2]) < 0.2 and finite(sim.qpos) and finite(sim.qvel)
                and all_within(sim.qpos[3:], limits) and all_within(sim.qvel, limits))

    def reward(sim, p, action, velocity):
        terms = sim.subtree_linvel[p.torso, 0], cost(p.ctrl_cost, sim.ctrl, p.ddot), p.alive_bonus
        return python_sum(terms, p.compensates), not healthy(sim, p)


class Ant(Rllab):
    """`AntEnv`."""

    def observe(sim, p, ob):
        n = put(ob, put(ob, put(ob, 0, sim.qpos), sim.qvel), sim.cfrc_ext, -1., 1.)
        return put(ob, put(ob, n, sim.xmat[p.torso]), sim.subtree_com[p.torso])

    def healthy(sim, p):
        return 0.2 <= sim.qpos[2] <= 1. and finite(sim.qpos) and finite(sim.qvel)

    def reward(sim, p, action, velocity):
        terms = (sim.subtree_linvel[p.torso, 0], cost(p.ctrl_cost, sim.ctrl, p.ddot),
                 cost(p.contact_cost, clipped(sim.cfrc_ext), p.ddot), p.alive_bonus)
        return python_sum(terms, p.compensates), not healthy(sim, p)


class Humanoid(Rllab):
    """`HumanoidEnv` and `SimpleHumanoidEnv`."""

    def observe(sim, p, ob):
        n = put(ob, put(ob, put(ob, 0, sim.qpos), sim.qvel), sim.cfrc_ext, -1., 1.)
        return put(ob, n, sim.subtree_com[p.torso])

    def healthy(sim, p):
        return not (sim.qpos[2] < 0.8 or sim.qpos[2] > 2.)

    def reward(sim, p, action, velocity):
        terms = (sim.subtree_linvel[p.torso, 0], p.alive_bonus, cost(p.ctrl_cost, sim.ctrl, p.ddot),
                 cost(p.contact_cost, clipped(sim.cfrc_ext), p.ddot),
                 cost(p.deviation_cost, sim.subtree_linvel[p.torso, 1:], p.ddot))
        return python_sum(terms, p.compensates), not healthy(sim, p)


SimpleHumanoid = Humanoid
