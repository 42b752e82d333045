"""The locomotion tasks of Roboschool (github.com/openai/roboschool @ d32bcb2), `roboschool/Hopper-v0` and so on.

Models, observations, rewards, starts and ends of episodes are Roboschool's, with the quirks that policies see: poses
and contacts of links are those of one physics step ago (of 4 per action), the feet's flags in the observation are one
action older, and the velocity of a planar torso contains that of its first joint. The physics are in `bullet.py`,
with what is known to differ. Beyond that:

- all: no stadium around the floor; random numbers come from the environment's own generator, and a seed decides all of
  them; observations are declared to lie within +-5, where they are clipped. Costs are of actions as given, torques of
  clipped ones; the command line clips all actions before.
- Hopper, Walker2d: a foot that lies flat touches with both ends at once, where Bullet needs a step for each.
- Ant: Bullet's five sweeps are not enough for its many contacts, and their order is not reproduced.
- HumanoidFlagrunHarder: the moment of inertia of the cube (0.002 kg m^2) is a guess; the draw of tasks, which was from
  NumPy's global generator, is from the environment's, and a seed clears its record of failures.
"""
import abc
import itertools
import math
from collections.abc import Sequence

import mujoco
import numpy as np

from onpolicybaselines.envs import bullet
from onpolicybaselines.envs.bullet import Bullet, Link
from onpolicybaselines.envs.locomotion_env import LocomotionEnv, ids, set_joint


class RoboschoolEnv(LocomotionEnv):
    """A task of Roboschool: numbers by class, mechanics in common (`gym_forward_walker.py`)."""

    observation_bound = 5.
    observation_dtype = np.float32
    timestep, frame_skip = 0.0165 / 4, 4
    task_state = ('frame', 'potential', 'feet_contact')

    links: dict[str, Link]
    friction = 0.8 * 0.8
    """of the robot and the floor: Bullet multiplies"""
    limits: dict[str, tuple[float, float]] = {}
    """ranges of joints that are not gymnasium's, in the unit of the model file"""
    foot_list: tuple[str, ...]
    initial_z: float
    target = (1000., 0.)
    planar = False
    electricity_cost = -2.
    stall_torque_cost = -0.1
    joints_at_limit_cost = -0.2
    foot_collision_cost = -1.

    @classmethod
    def edit(cls, spec: mujoco.MjSpec) -> None:
        """See LocomotionEnv.edit."""
        spec.option.gravity = (0, 0, -9.8)
        spec.add_numeric(name='axis_length', size=len(cls.torques),
                         data=[np.linalg.norm(spec.joint(name).axis) for name in cls.torques])
        for geom in spec.geoms:
            geom.contype, geom.conaffinity = 1, geom.name == 'floor'
        cls.edit_robot(spec)
        for joint in spec.joints:
            set_joint(joint, stiffness=0, damping=0, armature=0)
            joint.margin = 1e-9  # a joint at its limit is stopped there
            joint.range = cls.limits.get(joint.name, joint.range)
        bullet.prepare(spec, cls.links, cls.friction)

    @classmethod
    def edit_robot(cls, spec: mujoco.MjSpec) -> None:
        """Change bodies, joints, geoms."""

    def __init__(self, render_mode: str | None = None, width: int = 480, height: int = 480) -> None:
        super().__init__(render_mode, width, height)
        self.joints = ids(self.model.joint, list(self.torques))
        self.axis_length = self.model.numeric('axis_length').data.copy()
        self.physics = Bullet(self.model, self.data, self.joints.tolist(), self.axis_length)
        low, high = self.model.jnt_range[self.joints].T
        self.middle, self.half_range = (low + high) / 2, (high - low) / 2
        self.feet = ids(self.model.body, self.foot_list).tolist()
        # to Bullet, a base that floats is no link, and each hinge and what moves a planar root is one without mass
        self.parts = (self.model.body_rootid == self.torso).astype(float)
        self.anchors = np.isin(np.arange(self.model.njnt), self.joints).astype(float)
        if self.planar:
            self.anchors[self.model.joint('rooty').id] = 3
        else:
            self.parts[self.torso] = 0
        count = self.parts.sum() + self.anchors.sum()
        self.parts, self.anchors = self.parts / count, self.anchors / count
        self.feet_contact = [0.] * len(self.feet)
        self.frame, self.potential = 0, 0.

    def reset_task(self) -> np.ndarray:
        """Joints within 0.1 rad around zero, wherever their limits are; everything at rest."""
        self.physics.q[:] = self.np_random.uniform(-0.1, 0.1, len(self.joints))
        self.feet_contact = [0.] * len(self.feet)
        self.frame = 0
        self.place_robot()
        self.refresh()
        obs = self.calc_state()
        self.potential = self.calc_potential()
        return obs

    def place_robot(self) -> None:
        """Set the pose of the root, if not that of the model."""

    def refresh(self) -> None:
        """See LocomotionEnv.refresh."""
        mujoco.mj_step1(self.model, self.data)
        self.read_links()

    def simulate(self, action: np.ndarray) -> None:
        """Apply torques for the time of an action."""
        self.data.ctrl[:] = np.minimum(np.maximum(action, -1), 1) / self.axis_length
        mujoco.mj_fwdActuation(self.model, self.data)
        for _ in range(self.frame_skip - 1):
            self.physics.step()
        self.read_links()  # Bullet tells where links and contacts were at the beginning of its last step
        self.physics.step()

    def read_links(self) -> None:
        """Take note of poses and contacts of the links."""
        self.body_xy = self.parts @ self.data.xipos[:, :2] + self.anchors @ self.data.xanchor[:, :2]
        self.contacts = self.model.geom_bodyid[self.data.contact.geom].tolist() if self.data.ncon else []

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """See gymnasium.Env.step; the info is the reward's terms."""
        action = self.checked(action)
        self.simulate(action)
        obs = self.calc_state()
        alive = self.alive_bonus()
        old_potential, self.potential = self.potential, self.calc_potential()
        rewards = {'reward_alive': float(alive), 'reward_progress': float(self.potential - old_potential),
                   'reward_electricity': self.reward_electricity(action),
                   'reward_joints_at_limit': self.joints_at_limit_cost * self.joints_at_limit,
                   'reward_feet_collision': self.reward_feet_collision()}
        self.frame += 1
        return self.transition(obs, rewards, bool(alive < 0 or not np.isfinite(obs).all()))

    def calc_state(self) -> np.ndarray:
        """The observation; also notes body_xyz, body_rpy, walk_target_dist, joint_speeds, joints_at_limit."""
        z, rotation = self.torso_pose()
        x, y = self.body_xy.tolist()
        self.body_xyz = x, y, z
        roll, pitch = math.atan2(rotation[7], rotation[8]), math.asin(max(-1., min(1., -rotation[6])))
        yaw = math.atan2(rotation[3], rotation[0])
        self.body_rpy = roll, pitch, yaw
        dx, dy = self.target[0] - x, self.target[1] - y
        self.walk_target_dist = math.hypot(dx, dy)
        angle = math.atan2(dy, dx) - yaw
        vx, vy, vz = self.torso_velocity()
        cos, sin = math.cos(yaw), math.sin(yaw)
        positions = (self.physics.q - self.middle) / self.half_range
        self.joint_speeds = 0.1 * self.physics.w / self.axis_length
        self.joints_at_limit = int(np.count_nonzero(np.abs(positions) > 0.99))
        obs = np.empty(self.observation_size, np.float32)
        obs[:8] = (z - self.initial_z, math.sin(angle), math.cos(angle),
                   0.3 * (cos * vx + sin * vy), 0.3 * (cos * vy - sin * vx), 0.3 * vz, roll, pitch)
        obs[8:-len(self.feet):2], obs[9:-len(self.feet):2] = positions, self.joint_speeds
        obs[-len(self.feet):] = self.feet_contact
        return np.minimum(np.maximum(obs, -5), 5)

    def torso_pose(self) -> tuple[float, Sequence[float]]:
        """Height of the torso's inertial origin, and its rotation matrix [9]."""
        return float(self.data.xipos[self.torso, 2]), self.data.xmat[self.torso].tolist()

    def torso_velocity(self) -> Sequence[float]:
        """Velocity of that origin."""
        return self.physics.velocity[0, 0].tolist()

    def calc_potential(self) -> float:
        """Its gain is the progress towards the target, in about m/s."""
        return -self.walk_target_dist / self.dt

    @abc.abstractmethod
    def alive_bonus(self) -> float:
        """For every step; negative at the end of the episode."""

    def reward_electricity(self, action: np.ndarray) -> float:
        """Cost of power and of torque (of actions beyond [-1, 1], too)."""
        power = np.abs(action) @ np.abs(self.joint_speeds)
        return float(self.electricity_cost * power + self.stall_torque_cost * (action @ action)) / len(action)

    def reward_feet_collision(self) -> float:
        """Cost of feet that touch anything but the floor; also notes which touch the floor.

        When two links of the robot touch, Bullet tells the first one only.
        """
        on_floor = {max(bodies) for bodies in self.contacts if not all(bodies)}
        colliding = {min(bodies) for bodies in self.contacts}
        self.feet_contact = [float(foot in on_floor) for foot in self.feet]
        return float(sum(self.foot_collision_cost for foot in self.feet if foot in colliding))


class PlanarEnv(RoboschoolEnv):
    """Robots in the x-z plane, whose root slides and turns; its joints make the torso a link, too."""

    planar = True

    def read_links(self) -> None:
        """See RoboschoolEnv.read_links."""
        super().read_links()
        self.pose = super().torso_pose()

    def torso_pose(self) -> tuple[float, Sequence[float]]:
        """See RoboschoolEnv.torso_pose."""
        return self.pose

    def torso_velocity(self) -> tuple[float, float, float]:
        """What Bullet reports: with 1 m/rad times the speed of the first joint added along the torso's x axis."""
        (vx, _, vz), now, then = super().torso_velocity(), self.data.xmat[self.torso].tolist(), self.pose[1]
        forward, up = now[0] * vx + now[6] * vz + self.physics.w[0].item(), now[2] * vx + now[8] * vz
        return then[0] * forward + then[2] * up, 0., then[6] * forward + then[8] * up


class HopperEnv(PlanarEnv):
    """One leg (RoboschoolHopper)."""

    asset = 'hopper.xml'
    observation_size = 15
    torques = {f'{part}_joint': 0.75 * 100 for part in ('thigh', 'leg', 'foot')}
    links = {'torso': Link(3.6652, (0, 0, 0), (0.11264, 0.11264, 0.01979), 0.00633),
             'thigh': Link(4.0579, (0, 0, -0.225), (0.14517, 0.14517, 0.02191), 0.00679),
             'leg': Link(2.7814, (0, 0, 0), (0.10690, 0.10690, 0.01187), 0.00698),
             'foot': Link(5.3156, (-0.065, 0, 0.1), (0.03544, 0.17191, 0.17191), 0.00654)}
    foot_list = ('foot',)
    initial_z = 1.25

    @classmethod
    def edit_robot(cls, spec: mujoco.MjSpec) -> None:
        """The root turns about a point on the ground, which slides."""
        spec.joint('rooty').pos = (0, 0, -1.25)

    def alive_bonus(self) -> float:
        """See RoboschoolEnv.alive_bonus."""
        return 1 if self.body_xyz[2] > 0.8 and abs(self.body_rpy[1]) < 1 else -1


def _walker_leg():
    return {'thigh': HopperEnv.links['thigh'], 'leg': HopperEnv.links['leg'],
            'foot': Link(3.1667, (-0.1, 0, 0.1), (0.02111, 0.05278, 0.05278), 0.00490)}


class Walker2dEnv(HopperEnv):
    """Two legs (RoboschoolWalker2d)."""

    asset = 'walker2d.xml'
    observation_size = 22
    torques = {f'{part}{side}_joint': 0.4 * strength for side in ('', '_left')
               for part, strength in [('thigh', 100), ('leg', 100), ('foot', 30)]}
    links = {'torso': HopperEnv.links['torso'],
             **{f'{part}{side}': link for side in ('', '_left') for part, link in _walker_leg().items()}}
    foot_list = ('foot', 'foot_left')


class HalfCheetahEnv(PlanarEnv):
    """Two legs and a long back (RoboschoolHalfCheetah). Of its moments of inertia, only the second ones matter."""

    asset = 'half_cheetah.xml'
    observation_size = 26
    torques = {'bthigh': 0.9 * 120, 'bshin': 0.9 * 90, 'bfoot': 0.9 * 60,
               'fthigh': 0.9 * 140, 'fshin': 0.9 * 60, 'ffoot': 0.9 * 30}
    limits = {'fthigh': (-1.5, 0.8), 'fshin': (-1.2, 1.1), 'ffoot': (-3.1, -0.3)}
    links = {'torso': Link(9.4573, (0, 0, 0), (0.11851, 1.56463, 1.49276), 0.01681),
             'bthigh': Link(2.3355, (0, 0, 0), 3 * (0.04329,), 0.00809),
             'bshin': Link(2.4020, (0, 0, 0), 3 * (0.04393,), 0.00790),
             'bfoot': Link(10., (0, 0, 0), 3 * (0.09446,), 0.00552),
             'fthigh': Link(2.1760, (0, 0, 0), 3 * (0.03508,), 0.00727),
             'fshin': Link(1.8170, (0, 0, 0), 3 * (0.02317,), 0.00624),
             'ffoot': Link(10., (0, 0, 0), 3 * (0.08506,), 0.00499)}
    foot_list = ('ffoot', 'fshin', 'fthigh', 'bfoot', 'bshin', 'bthigh')
    initial_z = 0.7

    def alive_bonus(self) -> float:
        """See RoboschoolEnv.alive_bonus; shins and thighs must not have touched the floor (a step ago)."""
        return 1 if abs(self.body_rpy[1]) < 1 and not any(self.feet_contact[i] for i in (1, 2, 4, 5)) else -1


def _ant_leg(leg, aux, foot, x, y):
    bone = Link(7.8316, (0.1 * x, 0.1 * y, 0), (0.16394, 0.16394, 0.25270), 0.00667)
    return {leg: bone, aux: bone,
            foot: Link(13.5184, (0.2 * x, 0.2 * y, 0), (0.52632, 0.52632, 0.92286), 0.00936)}


class AntEnv(RoboschoolEnv):
    """Four legs (RoboschoolAnt)."""

    asset = 'ant.xml'
    observation_size = 28
    torques = {f'{joint}_{leg}': 2.5 * 100 for leg in (1, 2, 3, 4) for joint in ('hip', 'ankle')}
    limits = {**{f'hip_{leg}': (-40, 40) for leg in (1, 2, 3, 4)}, 'ankle_1': (30, 100), 'ankle_2': (-100, -30),
              'ankle_3': (-100, -30), 'ankle_4': (30, 100)}
    friction = 1.5 * 0.8
    foot_list = ('front_left_foot', 'front_right_foot', 'left_back_foot', 'right_back_foot')
    links = {'torso': Link(65.4498, (0, 0, 0), 3 * (1.63625,), 0.00866),
             **_ant_leg('front_left_leg', 'aux_1', 'front_left_foot', 1, 1),
             **_ant_leg('front_right_leg', 'aux_2', 'front_right_foot', -1, 1),
             **_ant_leg('back_leg', 'aux_3', 'left_back_foot', -1, -1),
             **_ant_leg('right_back_leg', 'aux_4', 'right_back_foot', 1, -1)}
    initial_z = 0.75

    @classmethod
    def edit_robot(cls, spec: mujoco.MjSpec) -> None:
        """See RoboschoolEnv.edit_robot."""
        for leg, foot in enumerate(cls.foot_list, start=1):
            spec.body(f'aux_{leg}').bodies[0].name = foot

    def alive_bonus(self) -> float:
        """See RoboschoolEnv.alive_bonus; the torso is a ball of 0.25 m."""
        return 1 if self.body_xyz[2] > 0.26 else -1


def _limbs(side, sign):
    return {f'{side}_thigh': Link(4.7518, (0, -0.005 * sign, -0.17), (0.13293, 0.13131, 0.03330), 0.00613),
            f'{side}_shin': Link(2.7557, (0, 0, -0.15), (0.05975, 0.05975, 0.01455), 0.00540),
            f'{side}_foot': Link(1.7671, (0, 0, 0), 3 * (0.00663,), 0.00460),
            f'{side}_upper_arm': Link(1.6611, (0.08, 0.08 * sign, -0.08), 3 * (0.02835,), 0.00554),
            f'{side}_lower_arm': Link(1.2295, (0, 0, 0), 3 * (0.01869,), 0.00835)}


class HumanoidEnv(RoboschoolEnv):
    """Walk straight on (RoboschoolHumanoid)."""

    asset = 'humanoid.xml'
    observation_size = 44
    torques = {**{f'abdomen_{axis}': 0.41 * 100 for axis in 'zyx'},
               **{f'{side}_{joint}': 0.41 * strength for side in ('right', 'left') for joint, strength in
                  dict(hip_x=100, hip_z=100, hip_y=300, knee=200).items()},
               **{f'{side}_{joint}': 0.41 * 75 for side in ('right', 'left')
                  for joint in ('shoulder1', 'shoulder2', 'elbow')}}
    limits = {'right_hip_y': (-120, 20), 'left_hip_y': (-120, 20)}
    links = {'torso': Link(8.9075, (0, 0, 0), (0.28177, 0.22150, 0.13213), 0.00955),
             'lwaist': Link(2.2619, (0, 0, 0), (0.01357, 0.00543, 0.01357), 0.00427),
             'pelvis': Link(6.6162, (-0.02, 0, 0), (0.12549, 0.07454, 0.12549), 0.00543),
             **_limbs('right', -1), **_limbs('left', 1)}
    foot_list = ('right_foot', 'left_foot')
    initial_z = 0.8
    electricity_cost = 4.25 * RoboschoolEnv.electricity_cost
    stall_torque_cost = 4.25 * RoboschoolEnv.stall_torque_cost

    @classmethod
    def edit_robot(cls, spec: mujoco.MjSpec) -> None:
        """To Bullet, the base is where its inertial origin is, and this is what the velocity of the root is of."""
        torso, origin = spec.body('torso'), np.array([-0.01, 0, -0.12])
        for part in (*torso.bodies, *torso.geoms):
            if np.isfinite(getattr(part, 'fromto', np.nan)).all():
                part.fromto -= np.tile(origin, 2)
            else:
                part.pos -= origin

    @classmethod
    def edit(cls, spec: mujoco.MjSpec) -> None:
        """See LocomotionEnv.edit; links collide unless one is an ancestor of the other."""
        super().edit(spec)
        for body, other in itertools.combinations(map(spec.body, HumanoidEnv.links), 2):
            if other not in body.find_all('body'):
                bullet.add_pairs(spec, body, other, cls.friction)

    def place_robot(self) -> None:
        """See RoboschoolEnv.place_robot."""
        self.set_initial_orientation(z=1.4, pitch=0.)

    def set_initial_orientation(self, z: float, pitch: float) -> None:
        """Put the torso's inertial origin to height z, turned by `pitch` and a random yaw."""
        yaw = self.np_random.uniform(-math.pi / 16, math.pi / 16)
        sin_p, cos_p, sin_y, cos_y = math.sin(pitch / 2), math.cos(pitch / 2), math.sin(yaw / 2), math.cos(yaw / 2)
        self.data.qpos[:7] = 0, 0, z, cos_y * cos_p, -sin_y * sin_p, cos_y * sin_p, sin_y * cos_p

    def alive_bonus(self) -> float:
        """See RoboschoolEnv.alive_bonus."""
        return 2 if self.body_xyz[2] > 0.78 else -1


class HumanoidFlagrunEnv(HumanoidEnv):
    """Run to a flag, which then moves (RoboschoolHumanoidFlagrun). The flag is a mocap body of the model."""

    task_state = (*HumanoidEnv.task_state, 'flag_timeout')
    electricity_cost = HumanoidEnv.electricity_cost / 2
    stadium_halflen, stadium_halfwidth = 105 * 0.25, 50 * 0.25
    flag_timeout = 0

    @classmethod
    def edit_robot(cls, spec: mujoco.MjSpec) -> None:
        """See RoboschoolEnv.edit_robot."""
        super().edit_robot(spec)
        flag = spec.worldbody.add_body(name='flag', mocap=True, pos=(cls.stadium_halflen, 0, 0.2))
        flag.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=(0.2, 0, 0), rgba=(1, 0.5, 0.5, 1),
                      contype=0, conaffinity=0)

    @property
    def target(self) -> tuple[float, float]:  # type: ignore[override]
        """Where the flag is."""
        return self.data.mocap_pos[0, 0].item(), self.data.mocap_pos[0, 1].item()

    def place_robot(self) -> None:
        """See RoboschoolEnv.place_robot."""
        super().place_robot()
        self.flag_reposition(first=True)

    def flag_reposition(self, first: bool) -> None:
        """Move the flag; half of the time, the first one is straight ahead."""
        if first and self.np_random.integers(2) == 0:
            x, y = self.np_random.uniform(self.stadium_halflen / 2, self.stadium_halflen), 0.
        else:
            x = 0.5 * self.np_random.uniform(-self.stadium_halflen, self.stadium_halflen)
            y = 0.5 * self.np_random.uniform(-self.stadium_halfwidth, self.stadium_halfwidth)
        self.data.mocap_pos[0, :2] = x, y
        self.flag_timeout = 600 // self.frame_skip

    def calc_state(self) -> np.ndarray:
        """See RoboschoolEnv.calc_state; moves the flag when it is reached or time is up, without a jump in reward."""
        self.flag_timeout -= 1
        obs = super().calc_state()
        if self.walk_target_dist < 1 or self.flag_timeout <= 0:
            self.flag_reposition(first=False)
            obs = super().calc_state()
            self.potential = self.calc_potential()
        return obs


class HumanoidFlagrunHarderEnv(HumanoidFlagrunEnv):
    """The same under fire of cubes, and with starts on the ground (RoboschoolHumanoidFlagrunHarder)."""

    task_state = (*HumanoidFlagrunEnv.task_state, 'task', 'on_ground_frame_counter', 'crawl_start_potential',
                  'crawl_ignored_potential', 'outcomes')
    tasks = ((1.4, 0.), (0.45, math.pi / 2), (0.22, 1.5 * math.pi - 0.15))
    """height and pitch at the start of walking, standing up, rolling over"""
    horizon = 1000
    links = HumanoidFlagrunEnv.links | {'cube': Link(1.2, (0, 0, 0), 3 * (0.002,), 0.00173)}

    @classmethod
    def edit_robot(cls, spec: mujoco.MjSpec) -> None:
        """See RoboschoolEnv.edit_robot."""
        super().edit_robot(spec)
        cube = spec.worldbody.add_body(name='cube', pos=(-1.5, 0, 0.05))
        cube.add_freejoint(name='cube')
        cube.add_geom(name='cube', type=mujoco.mjtGeom.mjGEOM_BOX, size=(0.05, 0.05, 0.05), rgba=(1, 1, 1, 1),
                      contype=1, conaffinity=0)

    @classmethod
    def edit(cls, spec: mujoco.MjSpec) -> None:
        """See LocomotionEnv.edit."""
        super().edit(spec)
        for name in HumanoidEnv.links:
            bullet.add_pairs(spec, spec.body(name), spec.body('cube'), cls.friction)

    def __init__(self, render_mode: str | None = None, width: int = 480, height: int = 480) -> None:
        super().__init__(render_mode, width, height)
        self.pelvis = self.model.body('pelvis').id
        cube = self.model.joint('cube')
        self.cube_qpos = self.data.qpos[cube.qposadr[0]:][:7]
        self.cube_qvel = self.data.qvel[cube.dofadr[0]:][:6]
        self.outcomes = np.full((len(self.tasks), 10), np.nan)
        """of the last ten episodes that started with each task: 1 if it lasted to the horizon, else 0"""
        self.task = self.on_ground_frame_counter = 0
        self.crawl_start_potential, self.crawl_ignored_potential = math.nan, 0.

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """See LocomotionEnv.reset; a seed also clears the record of tasks."""
        if seed is not None:
            self.outcomes[:] = np.nan
        return super().reset(seed=seed, options=options)

    def place_robot(self) -> None:
        """See RoboschoolEnv.place_robot; tasks are drawn in proportion to how often they failed."""
        failures = 1 - np.nansum(self.outcomes, axis=1) / (1 + np.isfinite(self.outcomes).sum(axis=1))
        self.task = int(self.np_random.choice(len(self.tasks), p=failures / failures.sum()))
        self.set_initial_orientation(*self.tasks[self.task])
        self.flag_reposition(first=True)
        self.on_ground_frame_counter = 0
        self.crawl_start_potential, self.crawl_ignored_potential = math.nan, 0.

    def read_links(self) -> None:
        """See RoboschoolEnv.read_links."""
        super().read_links()
        self.pelvis_z = float(self.data.xipos[self.pelvis, 2])

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """See RoboschoolEnv.step."""
        transition = super().step(action)
        lasted = self.frame == (self.spec and self.spec.max_episode_steps or self.horizon)
        if transition[2] or lasted:
            self.outcomes[self.task] = [*self.outcomes[self.task, 1:], lasted]
        return transition

    def alive_bonus(self) -> float:
        """See RoboschoolEnv.alive_bonus; up to 170 steps on the ground, none of them after a walk."""
        if self.frame % 30 == 0 and self.frame > 100 and self.on_ground_frame_counter == 0:
            self.throw_cube()
        self.electricity_cost = RoboschoolEnv.electricity_cost / 2
        if self.body_xyz[2] < 0.8:
            if self.task == 0:
                self.on_ground_frame_counter = 10000
            self.on_ground_frame_counter += 1
            self.electricity_cost = RoboschoolEnv.electricity_cost / 5
        elif self.on_ground_frame_counter > 0:
            self.on_ground_frame_counter -= 1
        return self.potential_leak() if self.on_ground_frame_counter < 170 else -1

    def throw_cube(self) -> None:
        """Throw the cube from 4 m away to where the robot will be."""
        angle, speed = self.np_random.uniform(-3.14, 3.14), self.np_random.uniform(20., 30.)
        target = self.body_xyz + np.array(self.torso_velocity()) * 4. / speed
        way = np.array([-4. * math.cos(angle), -4. * math.sin(angle), -1.])
        self.cube_qpos[:] = *(target - way), 1, 0, 0, 0
        self.cube_qvel[:3] = way * speed / np.linalg.norm(way) + self.np_random.uniform(-1., 1., 3)
        mujoco.mj_step1(self.model, self.data)

    def potential_leak(self) -> float:
        """0.5 on the ground to 2 upright."""
        height = 0.7 * self.body_xyz[2] + 0.3 * self.pelvis_z
        return 0.5 + 1.5 * min(max(height, 0.), 0.7) / 0.7

    def calc_potential(self) -> float:
        """See RoboschoolEnv.calc_potential; standing up counts, moving on the ground does not."""
        progress = super().calc_potential()
        if self.body_xyz[2] < 0.8:
            if math.isnan(self.crawl_start_potential):
                self.crawl_start_potential = progress - self.crawl_ignored_potential
            self.crawl_ignored_potential = progress - self.crawl_start_potential
            progress = self.crawl_start_potential
        else:
            progress -= self.crawl_ignored_potential
            self.crawl_start_potential = math.nan
        return progress + 100 * self.potential_leak()
