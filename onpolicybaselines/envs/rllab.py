"""The locomotion tasks of rllab (github.com/rll/rllab @ ba78e4c), `rllab/Hopper-v0` and so on.

Models, observations, rewards and ends of episodes are those of rllab, with its `NormalizedEnv` around them: actions in
[-1, 1]. What differs:

- all: MuJoCo 3.x or 4.x in place of 1.31, whose solver and default softness of contacts were others. A reset clears
  time and the solver's starting point, too, so that a seed decides everything. There is no option for noise on
  actions. rllab's batch samplers cut paths after 500 steps, here the registered time limit does.
- HalfCheetah: nothing else.
- Swimmer: contacts are off, as rllab's have no pairs to collide; not its 1000 solver iterations from a cold start.
- Hopper, Walker2D: the model keeps gymnasium's order of the root's joints; observations have rllab's (height first).
- Ant, SimpleHumanoid, Humanoid: forces of contacts are MuJoCo's `cfrc_ext` of the state after the step; the six numbers
  of the world are 0 in it today, which cannot be verified for 1.31.
- Humanoid: without its two tendons, which carry no force.
"""
import mujoco
import numpy as np

from onpolicybaselines.envs.locomotion_env import MARGINS_ADD, LocomotionEnv, set_joint

RIGHT_AND_LEFT = (('right', -1), ('left', 1))
CAPSULE, SPHERE = mujoco.mjtGeom.mjGEOM_CAPSULE, mujoco.mjtGeom.mjGEOM_SPHERE


class RllabEnv(LocomotionEnv):
    """A task of rllab: numbers and reward terms by class, mechanics in common."""

    observation_bound = 1e6
    observation_dtype = np.float64
    frame_skip = 1
    integrator = mujoco.mjtIntegrator.mjINT_RK4
    reward_terms: tuple[str, ...] = ('reward_forward', 'reward_ctrl')
    """methods, whose names are also those of the info"""
    ctrl_cost: float
    alive_bonus: float
    contact_cost: float
    deviation_cost: float

    @classmethod
    def edit(cls, spec: mujoco.MjSpec) -> None:
        """See LocomotionEnv.edit."""
        spec.option.integrator = cls.integrator
        cls.edit_robot(spec)
        for geom in spec.geoms:  # as wide apart as when contacts had the larger of two margins
            geom.margin /= 2 if MARGINS_ADD else 1

    @classmethod
    def edit_robot(cls, spec: mujoco.MjSpec) -> None:
        """Change bodies, joints, geoms."""

    def __init__(self, render_mode: str | None = None, width: int = 480, height: int = 480) -> None:
        super().__init__(render_mode, width, height)
        self.init_qpos = self.model.qpos0.copy()

    def reset_task(self) -> np.ndarray:
        """Positions 0.01 N(0, 1) around the start pose, velocities 0.1 N(0, 1); the root's quaternion likewise."""
        self.data.qpos[:] = self.init_qpos + 0.01 * self.np_random.standard_normal(self.model.nq)
        self.data.qvel[:] = 0.1 * self.np_random.standard_normal(self.model.nv)
        mujoco.mj_normalizeQuat(self.model, self.data.qpos)
        self.refresh()
        return self.observe()

    def refresh(self) -> None:
        """See LocomotionEnv.refresh: contact forces and velocities of the present state, not of the last one."""
        mujoco.mj_forward(self.model, self.data)
        mujoco.mj_rnePostConstraint(self.model, self.data)
        mujoco.mj_subtreeVel(self.model, self.data)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """See gymnasium.Env.step; the info is the reward's terms."""
        action = np.minimum(np.maximum(self.checked(action), -1.), 1.)
        self.data.ctrl[:] = action
        mujoco.mj_step(self.model, self.data, nstep=self.frame_skip)
        self.refresh()
        rewards = {term: float(getattr(self, term)(action)) for term in self.reward_terms}
        return self.transition(self.observe(), rewards, not self.is_healthy())

    def observe(self) -> np.ndarray:
        """Positions, velocities, centre of mass."""
        return np.concatenate([self.data.qpos, self.data.qvel, self.com])

    def is_healthy(self) -> bool:
        """Whether the episode goes on."""
        return True

    @property
    def com(self) -> np.ndarray:
        """The robot's centre of mass."""
        return self.data.subtree_com[self.torso]

    @property
    def com_velocity(self) -> np.ndarray:
        """Its velocity."""
        return self.data.subtree_linvel[self.torso]

    @property
    def contact_forces(self) -> np.ndarray:
        """Torques and forces of contacts on each body, the world included, clipped to [-1, 1]; [6 nbody]."""
        return np.clip(self.data.cfrc_ext, -1, 1).ravel()

    def reward_forward(self, action: np.ndarray) -> float:
        """Forward velocity of the centre of mass."""
        return self.com_velocity[0]

    def reward_ctrl(self, action: np.ndarray) -> float:
        """Cost of torques."""
        return -0.5 * self.ctrl_cost * (action @ action)

    def reward_survive(self, action: np.ndarray) -> float:
        """For every step."""
        return self.alive_bonus

    def reward_contact(self, action: np.ndarray) -> float:
        """Cost of contact forces."""
        return -0.5 * self.contact_cost * (self.contact_forces @ self.contact_forces)

    def reward_deviation(self, action: np.ndarray) -> float:
        """Cost of moving sideways and up or down."""
        return -0.5 * self.deviation_cost * (self.com_velocity[1:] @ self.com_velocity[1:])


class SwimmerEnv(RllabEnv):
    """Three links in a viscous fluid. Source: rllab `envs/mujoco/swimmer_env.py`."""

    asset = 'swimmer.xml'
    timestep, frame_skip, integrator = 0.001, 50, mujoco.mjtIntegrator.mjINT_EULER
    torques = {'motor1_rot': 50, 'motor2_rot': 50}
    observation_size = 13
    ctrl_cost = 1e-2

    @classmethod
    def edit_robot(cls, spec: mujoco.MjSpec) -> None:
        """See RllabEnv.edit_robot."""
        spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONTACT
        for joint in spec.joints:
            joint.armature = 0


class PlanarWalkerEnv(RllabEnv):
    """Shared by Hopper and Walker2D: height, forward position, pitch is rllab's order of the root's joints."""

    @property
    def qpos(self) -> np.ndarray:
        """Positions in rllab's order."""
        return np.concatenate([self.data.qpos[[1, 0]], self.data.qpos[2:]])

    @property
    def qvel(self) -> np.ndarray:
        """Velocities in rllab's order."""
        return np.concatenate([self.data.qvel[[1, 0]], self.data.qvel[2:]])


class HopperEnv(PlanarWalkerEnv):
    """One leg. Source: rllab `envs/mujoco/hopper_env.py`."""

    asset = 'hopper.xml'
    timestep = 0.02
    torques = {'thigh_joint': 200, 'leg_joint': 200, 'foot_joint': 200}
    observation_size = 20
    reward_terms = ('reward_forward', 'reward_ctrl', 'reward_survive')
    ctrl_cost, alive_bonus = 0.01, 1.

    def observe(self) -> np.ndarray:
        """Positions but the forward one, velocities, forces of contacts and joint limits, centre of mass."""
        qpos, force = self.qpos, self.data.qfrc_constraint
        return np.concatenate([qpos[:1], qpos[2:], np.clip(self.qvel, -10, 10),
                               np.clip([force[1], force[0], *force[2:]], -10, 10), self.com])

    def is_healthy(self) -> bool:
        """High, upright, and no joint far out."""
        state = np.concatenate([self.qpos, self.qvel])
        return bool(state[0] > 0.7 and abs(state[2]) < 0.2 and np.all(np.abs(state[3:]) < 100)
                    and np.isfinite(state).all())


class Walker2DEnv(PlanarWalkerEnv):
    """Two legs. Source: rllab `envs/mujoco/walker2d_env.py`."""

    asset = 'walker2d.xml'
    timestep, integrator = 0.005, mujoco.mjtIntegrator.mjINT_EULER
    torques = {'thigh_joint': 150, 'leg_joint': 100, 'foot_joint': 100,
               'thigh_left_joint': 150, 'leg_left_joint': 100, 'foot_left_joint': 100}
    observation_size = 21
    ctrl_cost = 1e-2

    def observe(self) -> np.ndarray:
        """Positions, velocities, centre of mass."""
        return np.concatenate([self.qpos, self.qvel, self.com])

    def is_healthy(self) -> bool:
        """High, but not in the air, and upright."""
        _, height, pitch = self.data.qpos[:3]
        return bool(0.8 < height < 2. and -1. < pitch < 1.)


class HalfCheetahEnv(RllabEnv):
    """Two legs and a long back. Source: rllab `envs/mujoco/half_cheetah_env.py`."""

    asset = 'half_cheetah.xml'
    timestep, integrator = 0.01, mujoco.mjtIntegrator.mjINT_EULER
    torques = {'bthigh': 120, 'bshin': 90, 'bfoot': 60, 'fthigh': 120, 'fshin': 60, 'ffoot': 30}
    observation_size = 20
    ctrl_cost = 1e-1

    def observe(self) -> np.ndarray:
        """Positions but the forward one, velocities, centre of mass."""
        return np.concatenate([self.data.qpos[1:], self.data.qvel, self.com])


class AntEnv(RllabEnv):
    """Four legs. Source: rllab `envs/mujoco/ant_env.py`."""

    asset = 'ant.xml'
    timestep = 0.02
    torques = {f'{joint}_{leg}': 150 for leg in (4, 1, 2, 3) for joint in ('hip', 'ankle')}
    observation_size = 125
    reward_terms = ('reward_forward', 'reward_ctrl', 'reward_contact', 'reward_survive')
    ctrl_cost, contact_cost, alive_bonus = 1e-2, 1e-3, 0.05

    @classmethod
    def edit_robot(cls, spec: mujoco.MjSpec) -> None:
        """See RllabEnv.edit_robot."""
        _soften_contacts(spec)

    def __init__(self, render_mode: str | None = None, width: int = 480, height: int = 480) -> None:
        super().__init__(render_mode, width, height)
        self.init_qpos = self.model.numeric('init_qpos').data.copy()

    def observe(self) -> np.ndarray:
        """Positions, velocities, contact forces, rotation matrix of the torso, centre of mass."""
        return np.concatenate([self.data.qpos, self.data.qvel, self.contact_forces, self.data.xmat[self.torso],
                               self.com])

    def is_healthy(self) -> bool:
        """Neither down nor in the air."""
        return bool(0.2 <= self.data.qpos[2] <= 1. and np.isfinite(self.data.qpos).all()
                    and np.isfinite(self.data.qvel).all())


class SimpleHumanoidEnv(RllabEnv):
    """A humanoid of ten motors, without waist, ankles, lower arms. Source: rllab `envs/mujoco/simple_humanoid_env.py`.

    Numbers: `vendor/mujoco_models/simple_humanoid.xml`; those of the right side, the left one's are mirrored.
    """

    asset = 'humanoid.xml'
    timestep = 0.01
    torques = {**{f'{side}_{joint}': 100 for side, _ in RIGHT_AND_LEFT for joint in ('hip1', 'hip3', 'knee')},
               **{f'{side}_{joint}': 20 for side, _ in RIGHT_AND_LEFT for joint in ('shoulder1', 'shoulder2')}}
    observation_size = 102
    reward_terms = ('reward_forward', 'reward_survive', 'reward_ctrl', 'reward_contact', 'reward_deviation')
    ctrl_cost, alive_bonus, contact_cost, deviation_cost = 1e-3, 0.2, 1e-5, 1e-2

    def observe(self) -> np.ndarray:
        """Positions, velocities, contact forces, centre of mass."""
        return np.concatenate([self.data.qpos, self.data.qvel, self.contact_forces, self.com])

    def is_healthy(self) -> bool:
        """Neither down nor in the air."""
        return not (self.data.qpos[2] < 0.8 or self.data.qpos[2] > 2.)

    @classmethod
    def edit_robot(cls, spec: mujoco.MjSpec) -> None:
        """See RllabEnv.edit_robot."""
        spec.delete(spec.body('torso'))
        spec.option.solver, spec.option.iterations = mujoco.mjtSolver.mjSOL_NEWTON, 100
        spec.compiler.degree = False
        spec.compiler.inertiafromgeom = mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_AUTO
        torso = cls._add_trunk(spec)
        for side, sign in RIGHT_AND_LEFT:
            cls._add_leg(spec.body('pelvis'), side, sign)
        for side, sign in RIGHT_AND_LEFT:
            cls._add_arm(torso, side, sign)
        for joint in spec.joints:
            joint.margin = 0.01
        for geom in spec.geoms:
            geom.condim, geom.friction, geom.margin, geom.contype = 3, (1, 0.5, 0.5), 0.1, 1
            geom.conaffinity = int(geom.name == 'floor')

    @classmethod
    def _add_trunk(cls, spec):
        across = (1, 1, 0, 0)
        torso = spec.worldbody.add_body(name='torso', pos=(0, 0, 1.4), **_inertial(
            8.32208, (0, 0, 0.0403624), (1, 0, 0, 0), (0.159056, 0.147471, 0.0330627)))
        torso.add_camera(name='track', mode=mujoco.mjtCamLight.mjCAMLIGHT_TRACKCOM, pos=(0, -4, 0), quat=across)
        torso.add_freejoint(name='root')
        torso.add_geom(name='torso1', type=CAPSULE, size=(0.07, 0.07, 0), quat=across)
        torso.add_geom(name='head', type=SPHERE, size=(0.09, 0, 0), pos=(0, 0, 0.19))
        torso.add_geom(name='uwaist', type=CAPSULE, size=(0.06, 0.06, 0), pos=(0, 0, -0.12), quat=across)
        pelvis = torso.add_body(name='pelvis', pos=(0, 0, -0.425), quat=(0.999998, 0, -0.002, 0), **_inertial(
            7.88854, (-0.0148387, 0, 0.0387097), (0.997805, 0, 0.0662273, 0), (0.0795697, 0.0619562, 0.0449816)))
        pelvis.add_geom(name='lwaist', type=CAPSULE, size=(0.06, 0.06, 0), pos=(0, 0, 0.15), quat=across)
        pelvis.add_geom(name='butt', type=CAPSULE, size=(0.09, 0.07, 0), pos=(-0.02, 0, 0), quat=across)
        return torso

    @classmethod
    def _add_leg(cls, pelvis, side, sign):
        pose = dict(pos=(0, -0.005 * sign, -0.17), quat=(0.999892, -0.0147011 * sign, 0, 0))
        thigh = pelvis.add_body(name=f'{side}_thigh', pos=(0, 0.1 * sign, -0.04), **_inertial(
            5.37761, *pose.values(), (0.0792387, 0.0792387, 0.0113602)))
        _add_hinge(thigh, f'{side}_hip1', (-sign, 0, 0), (-0.15, 0.0872665), 10)
        _add_hinge(thigh, f'{side}_hip3', (0, 1, 0), (-1.91986, 0.174533), 20)
        thigh.add_geom(name=f'{side}_thigh1', type=CAPSULE, size=(0.065, 0.170074, 0), **pose)
        shin = thigh.add_body(name=f'{side}_shin', pos=(0, -0.01 * sign, -0.403), **_inertial(
            3.10016, (0, 0, -0.181), (1, 0, 0, 0), (0.045501, 0.045501, 0.00372174)))
        _add_hinge(shin, f'{side}_knee', (0, -1, 0), (-1.3, -0.0349066), 0, pos=(0, 0, 0.05))
        shin.add_geom(name=f'{side}_shin1', type=CAPSULE, size=(0.049, 0.181, 0), pos=(0, 0, -0.181))
        foot = shin.add_body(name=f'{side}_foot', pos=(0, 0, -0.45))
        foot.add_geom(name=f'{side}_foot', type=SPHERE, size=(0.075, 0, 0), pos=(0, 0, 0.1))

    @classmethod
    def _add_arm(cls, torso, side, sign):
        pose = dict(pos=(0.08, 0.08 * sign, -0.08), quat=(0.888074, 0.325058 * sign, -0.325058, 0))
        arm = torso.add_body(name=f'{side}_upper_arm', pos=(0, 0.17 * sign, 0.06), **_inertial(
            1.59406, *pose.values(), (0.0139972, 0.0139972, 0.00127525)))
        _add_hinge(arm, f'{side}_shoulder1', (0, 0.707107 * sign, 0.707107), (-1.0472, 0.785398), 1)
        _add_hinge(arm, f'{side}_shoulder2', (0.816497, -0.408248 * sign, 0.408248), (-0.785398, 0.785398), 1)
        arm.add_geom(name=f'{side}_uarm1', type=CAPSULE, size=(0.04, 0.2, 0), **pose)


class HumanoidEnv(SimpleHumanoidEnv):
    """A humanoid of 21 motors, with ankles. Source: rllab `envs/mujoco/humanoid_env.py`."""

    timestep, frame_skip = 0.002, 4
    torques = {**{f'abdomen_{axis}': 80 for axis in 'yzx'},
               **{f'{side}_{joint}': torque for side, _ in RIGHT_AND_LEFT for joint, torque in
                  dict(hip_x=80, hip_z=80, hip_y=240, knee=160, ankle_x=40, ankle_y=40).items()},
               **{f'{side}_{joint}': torque for side, _ in RIGHT_AND_LEFT for joint, torque in
                  dict(shoulder1=40, shoulder2=40, elbow=80).items()}}
    observation_size = 142

    @classmethod
    def edit_robot(cls, spec: mujoco.MjSpec) -> None:
        """See RllabEnv.edit_robot."""
        spec.geom('floor').friction = (1, 0.005, 0.0001)
        spec.joint('left_hip_y').range = (-120, 20)
        for side, sign in RIGHT_AND_LEFT:
            cls._replace_foot(spec, side, sign)
        _soften_contacts(spec)

    @classmethod
    def _replace_foot(cls, spec, side, sign):
        foot = spec.body(f'{side}_foot')
        spec.delete(foot.geoms[0])
        foot.pos = (0, 0, -0.39)
        for name, pos, axis, stiffness, armature in [('ankle_y', (0, 0, 0.08), (0, 1, 0), 4, 0.0008),
                                                     ('ankle_x', (0, 0, 0.04), (1, 0, 0.5), 1, 0.0006)]:
            joint = _add_hinge(foot, f'{side}_{name}', axis, (-50, 50), stiffness, pos=pos)
            joint.armature = armature
        for name, start, end in [('outer', 0.02, 0.04), ('inner', 0, -0.02)]:
            foot.add_geom(name=f'{side}_foot_{name}', type=CAPSULE, size=(0.027, 0, 0),
                          fromto=(-0.07, start * sign, 0, 0.14, end * sign, 0))


def _soften_contacts(spec):
    for geom in spec.geoms:
        geom.solref, geom.solimp[:3] = (0.02, 1), (0.8, 0.8, 0.01)


def _inertial(mass, ipos, iquat, inertia):
    return dict(mass=mass, ipos=ipos, iquat=iquat, inertia=inertia, explicitinertial=True)


def _add_hinge(body, name, axis, limits, stiffness, pos=(0, 0, 0)):
    joint = body.add_joint(name=name, type=mujoco.mjtJoint.mjJNT_HINGE, axis=axis, range=limits, limited=True, pos=pos)
    set_joint(joint, stiffness=stiffness, damping=1, armature=1)
    return joint
