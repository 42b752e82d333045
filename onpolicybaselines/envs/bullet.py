"""The physics of Roboschool: the multibody step of its Bullet 2.87, on MuJoCo's kinematics, inertia and collisions.

MuJoCo finds positions, mass matrix M, contacts and the Jacobian J of all constraints; the constraint forces are
Bullet's. A step of h seconds takes velocities v to v + h a + M^-1 J^T f, where a is the acceleration without
constraints and f are impulses: five sweeps of projected Gauss-Seidel, from zero, over the rows of J in Bullet's order:
limits of joints, normals of contacts, friction. A sweep gives each row in turn the impulse that makes it move at

    limit of a joint, d beyond it: 0.2 d / h, but 0 where d > 0.04 rad;               impulse >= 0
    normal of a contact:           max(-u, 0) / 4 - c (gap + 1e-5) / h, where u is the row's velocity without
                                   constraints, c = 1 if gap > 0, else 0.9;           impulse >= 0
    friction, along y, along x:    0;                                                 |impulse| <= mu normal impulse

A contact exists where the gap is less than `Link.near`: what comes fast is slowed down to end at the surface.
Joints move by h w / |axis|: in the model files, axes have not unit length, and Bullet takes them as they are.
Each link feels a drag of (0.04 + 0.04 speed) times its momentum, and likewise for rotation. No velocity passes 100.
The quarter is a restitution of 0.5 of either collider, as Roboschool's fork of Bullet sets it (URDF2Bullet.cpp).
Velocity terms are explicit, as Bullet's: joints that turn at 20 rad/s gain or lose up to 2 % of their energy in a step.

All of this is known from velocities that the released engine gives (wheel roboschool 1.0.49). Started from states along
its own episodes, one step here ends at its joint speeds to 2e-4 rad/s without a contact, mostly to 1e-2 rad/s
with one; fast passive joints change their energy as there, to 1 mJ of some kJ. Known differences: both ends of a
capsule touch at once, where Bullet finds one point a step and remembers others; the order of contacts; forces of
contact act in the middle of the gap; doubles, not floats.

With numba (the extra `fast`), the same numbers come several times faster.
"""
import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import mujoco
import numpy as np

SWEEPS = 5
LIMIT_ERP, DEEPEST_LIMIT = 0.2, 0.04
CONTACT_ERP, SLOP, RESTITUTION = 0.9, 1e-5, 0.25
DRAG = 0.04
FASTEST = 100.


class Link(NamedTuple):
    """What Bullet makes of a body."""

    mass: float
    """kg"""
    ipos: tuple[float, float, float]
    """inertial origin in the body's frame, m"""
    inertia: tuple[float, float, float]
    """moments about the body's axes, kg m^2: those of the box around the geoms"""
    near: float
    """gap at which contacts begin, m: 0.02 (half that box's diagonal + distance of its centre from ipos)"""


def prepare(spec: mujoco.MjSpec, links: dict[str, Link], friction: float) -> None:
    """Give a model the numbers of Bullet: those of the links by name of the body, and one coefficient of friction.

    Geoms must collide with the floor only; what else is to collide, by `add_pairs`.
    """
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_EULER
    spec.option.cone, spec.option.jacobian = mujoco.mjtCone.mjCONE_ELLIPTIC, mujoco.mjtJacobian.mjJAC_DENSE
    spec.compiler.inertiafromgeom = mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_FALSE
    spec.compiler.settotalmass = -1
    for geom in spec.geoms:
        geom.condim, geom.friction[0], geom.margin = 3, friction, 0
    for name, link in links.items():
        body = spec.body(name)
        body.mass, body.ipos, body.inertia, body.explicitinertial = link.mass, link.ipos, link.inertia, True
        body.iquat = (1, 0, 0, 0)
        for geom in body.geoms:
            geom.margin = link.near
        for quantity in (mujoco.mjtSensor.mjSENS_FRAMELINVEL, mujoco.mjtSensor.mjSENS_FRAMEANGVEL):
            spec.add_sensor(type=quantity, objtype=mujoco.mjtObj.mjOBJ_BODY, objname=name)


def add_pairs(spec: mujoco.MjSpec, first: mujoco.MjsBody, second: mujoco.MjsBody, friction: float) -> None:
    """Let the geoms of two bodies collide. Bullet sees no two spheres before they touch."""
    sphere = mujoco.mjtGeom.mjGEOM_SPHERE
    for a in first.geoms:
        for b in second.geoms:
            near = 0 if a.type == b.type == sphere else min(a.margin, b.margin)
            spec.add_pair(geomname1=a.name, geomname2=b.name, condim=3, margin=near,
                          friction=(friction, friction, 0, 0, 0))


def limit_order(joints: int, motors: int) -> list[int]:
    """The order in which Bullet visits the limits of `joints` joints; each sweep turns it round.

    It sorts the constraints of limits and of (idle) motors by island, with a quicksort that swaps what is equal.
    """
    order = list(range(joints + motors))

    def sort(low, high):
        i, j = low, high
        while i <= j:
            order[i], order[j] = order[j], order[i]
            i, j = i + 1, j - 1
        if low < j:
            sort(low, j)
        if i < high:
            sort(i, high)

    sort(0, len(order) - 1)
    return [i for i in order if i < joints]


# Written for numba, as loops; without it they run on lists of lists, see `_fast`

def constrain(acceleration: np.ndarray, smooth: np.ndarray, velocity: np.ndarray, fastest: np.ndarray, dt: float,
              friction: float, jacobian: np.ndarray, response: np.ndarray, gap: np.ndarray, axis_length: np.ndarray,
              order: np.ndarray, frame: np.ndarray, room: np.ndarray) -> None:
    """Set `acceleration` [nv] to `smooth` [nv], that without constraints, and what they do by the rules at the top.

    The rows of constraints are those of limits, then three for each contact. velocity: [nv]; fastest: see `clamp`;
    jacobian: [rows, nv]; response, of velocities to impulses: [rows, nv]; gap: [rows]; axis_length, order (see
    `limit_order`): of the limits; frame: as MuJoCo has it for contacts; room: [2 + rows, rows].
    """
    clamp(acceleration, smooth, velocity, fastest, dt)
    lack, impulse, coupling = room[0], room[1], room[2:]
    rows, limits = len(gap), len(order)
    _turn_friction(jacobian, limits, frame)
    _turn_friction(response, limits, frame)
    for i in range(rows):
        free = _dot(jacobian[i], velocity) + dt * _dot(jacobian[i], acceleration)
        if i < limits:
            depth = -gap[i]
            target = LIMIT_ERP * depth / dt * axis_length[i] if depth < DEEPEST_LIMIT else 0.
        elif (i - limits) % 3:
            target = 0.
        else:
            height = gap[i] + SLOP
            target = RESTITUTION * max(-free, 0.) - (height if height > 0 else CONTACT_ERP * height) / dt
        lack[i], impulse[i] = target - free, 0.
        for j in range(i + 1):
            coupling[i][j] = coupling[j][i] = _dot(jacobian[i], response[j])
    _sweep(impulse, coupling, lack, order, friction)
    for k in range(len(acceleration)):
        for i in range(rows):
            acceleration[k] += response[i][k] * impulse[i] / dt
    clamp(acceleration, acceleration, velocity, fastest, dt)


def clamp(acceleration: np.ndarray, wanted: np.ndarray, velocity: np.ndarray, fastest: np.ndarray, dt: float) -> None:
    """Set `acceleration` to the `wanted` one, but for velocities within +-`fastest` after the step; all are [nv]."""
    for k in range(len(acceleration)):
        acceleration[k] = (min(max(velocity[k] + dt * wanted[k], -fastest[k]), fastest[k]) - velocity[k]) / dt


def _sweep(impulse, coupling, lack, order, friction):
    """Find the impulses [rows], zeros before, that make up for what velocities lack, as far as they may."""
    limits = len(order)
    for sweep in range(SWEEPS):
        for place in range(limits):
            i = order[place if sweep % 2 else limits - 1 - place]
            impulse[i] = max(_wanted(i, impulse, coupling[i], lack), 0.)
        for i in range(limits, len(impulse), 3):
            impulse[i] = max(_wanted(i, impulse, coupling[i], lack), 0.)
        for contact in range((len(impulse) - limits) // 3):
            normal = limits + 3 * contact
            bound = friction * impulse[normal]
            for i in range(normal + 1, normal + 3):
                impulse[i] = min(max(_wanted(i, impulse, coupling[i], lack), -bound), bound)


def _wanted(i, impulse, coupling, lack):
    """The impulse that gives row i its target velocity, while the others stay."""
    if coupling[i] < 1e-12:  # friction across the plane of a planar robot
        return 0.
    return impulse[i] + (lack[i] - _dot(coupling, impulse)) / coupling[i]


def _dot(x, y):
    total = 0.
    for i in range(len(x)):
        total += x[i] * y[i]
    return total


def _turn_friction(rows, limits, frame):
    """Turn friction from MuJoCo's axes to Bullet's: p across the normal n and x, or z if n is flat, and n x p."""
    for contact in range(len(frame)):
        axes = frame[contact]
        nx, ny, nz = axes[0], axes[1], axes[2]
        if abs(nz) > math.sqrt(0.5):
            px, py, pz = 0., -nz / math.hypot(ny, nz), ny / math.hypot(ny, nz)
        else:
            px, py, pz = -ny / math.hypot(nx, ny), nx / math.hypot(nx, ny), 0.
        cos = px * axes[3] + py * axes[4] + pz * axes[5]
        sin = px * axes[6] + py * axes[7] + pz * axes[8]
        first, second = rows[limits + 3 * contact + 1], rows[limits + 3 * contact + 2]
        for k in range(len(first)):
            first[k], second[k] = cos * first[k] + sin * second[k], cos * second[k] - sin * first[k]


def air_drag(wrench: np.ndarray, velocity: np.ndarray, links: np.ndarray, axes: np.ndarray, mass: np.ndarray,
             inertia: np.ndarray) -> None:
    """Set force and torque, wrench [bodies, 6], on the links to the drag at `velocity` [links, 2 (linear, angular), 3].

    axes: rotation matrices of the principal axes, [bodies, 9]; mass: [bodies]; inertia: [bodies, 3].
    """
    for place in range(len(links)):
        link, linear, angular = links[place], velocity[place][0], velocity[place][1]
        friction = -DRAG * (1 + math.sqrt(_dot(linear, linear))) * mass[link]
        twist = -DRAG * (1 + math.sqrt(_dot(angular, angular)))
        for i in range(3):
            wrench[link][i] = friction * linear[i]
            wrench[link][3 + i] = 0.
        for j in range(3):
            spin = 0.
            for i in range(3):
                spin += axes[link][3 * i + j] * angular[i]
            for i in range(3):
                wrench[link][3 + i] += twist * inertia[link][j] * spin * axes[link][3 * i + j]


_SIGNATURES = {constrain: '(f8[::1], f8[::1], f8[::1], f8[::1], f8, f8, f8[:, ::1], f8[:, ::1], f8[::1], f8[::1], '
                          'i8[::1], f8[:, :], f8[:, ::1])',
               clamp: '(f8[::1], f8[::1], f8[::1], f8[::1], f8)',
               air_drag: '(f8[:, ::1], f8[:, :, ::1], i4[::1], f8[:, ::1], f8[::1], f8[:, ::1])'}


@functools.cache
def _fast(function):
    """`function`, whose first argument is its result, in machine code; on lists, not arrays, if there is no numba."""
    numba = _numba()
    if numba is None:
        def on_lists(result, *arguments):
            out = result.tolist()
            function(out, *(a.tolist() if isinstance(a, np.ndarray) else a for a in arguments))
            result[:] = out
        return on_lists
    from onpolicybaselines.common.machine_code import cached
    return cached(function, lambda **cache: numba.njit(_SIGNATURES[function], **cache)(function))


@functools.cache
def _numba():
    """numba, told what its functions may call; None without it."""
    try:
        import numba
        from numba.extending import register_jitable
    except ImportError:
        return None
    for helper in (clamp, _sweep, _wanted, _dot, _turn_friction):
        register_jitable(helper)
    return numba


def _limits(axis_length, rank, joints):
    """Lengths of axes, and order, of the limits of joints whose ids are in these bytes."""
    joints = np.frombuffer(joints, np.int32)
    return axis_length[joints], rank[joints].argsort()


class Bullet:
    """Steps `data` of a prepared model. `joints`: ids of the hinges with motors, in a row; `axis_length`: one for each.

    mujoco.mj_step1 must have been called for the present state, and is after each step.
    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, joints: Sequence[int],
                 axis_length: np.ndarray) -> None:
        self.model, self.data, dt = model, data, model.opt.timestep
        self.q = data.qpos[model.jnt_qposadr[joints[0]]:][:len(joints)]
        self.w = data.qvel[model.jnt_dofadr[joints[0]]:][:len(joints)]
        self.slip = (1 - 1 / axis_length) * dt if np.ptp(axis_length) else None
        one_dof = (mujoco.mjtJoint.mjJNT_SLIDE, mujoco.mjtJoint.mjJNT_HINGE)
        order = limit_order(len(joints), np.isin(model.jnt_type, one_dof).sum())
        rank, length = np.zeros(model.njnt, int), np.ones(model.njnt)
        rank[np.take(joints, order)], length[joints] = range(len(joints)), axis_length
        self._limits = functools.lru_cache(1024)(functools.partial(_limits, length, rank))
        links = model.sensor_objid[::2].copy()
        self.velocity = data.sensordata.reshape(len(links), 2, 3)
        """of each link's inertial origin, and of its rotation; [links, 2, 3], in the order given to `prepare`"""
        self._set_air_drag = functools.partial(_fast(air_drag), data.xfrc_applied, self.velocity, links, data.ximat,
                                               model.body_mass, model.body_inertia)
        fastest = np.full(model.nv, FASTEST)
        fastest[model.jnt_dofadr[joints]] *= axis_length
        motion = data.qacc, data.qacc_smooth, data.qvel, fastest, dt
        self._clamp = functools.partial(_fast(clamp), *motion)
        self._constrain = functools.partial(_fast(constrain), *motion, model.geom_friction[0, 0].item())
        self._no_contacts = np.empty((0, 9))

    def step(self) -> None:
        """One step of the physics, under the actuators' forces of the last mujoco.mj_fwdActuation."""
        model, data = self.model, self.data
        self._set_air_drag()
        mujoco.mj_fwdAcceleration(model, data)
        rows = data.nefc
        if rows:
            jacobian = data.efc_J.reshape(rows, -1)
            response = np.empty_like(jacobian)
            mujoco.mj_solveM(model, data, response, jacobian)
            self._constrain(jacobian, response, data.efc_pos, *self._limits(data.efc_id[:data.nl].tobytes()),
                            data.contact.frame if data.ncon else self._no_contacts, np.empty((rows + 2, rows)))
        else:
            self._clamp()
        mujoco.mj_Euler(model, data)
        if self.slip is not None:
            self.q -= self.slip * self.w
        mujoco.mj_step1(model, data)
