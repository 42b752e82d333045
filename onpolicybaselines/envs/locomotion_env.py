"""What the locomotion tasks share: models made by program, exact states, rendering."""
import abc
import copy
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import mujoco
import numpy as np

from onpolicybaselines.common.state import State, generator_state, set_generator_state

ASSETS = pathlib.Path(gymnasium.__file__).parent / 'envs' / 'mujoco' / 'assets'


def _margins_add() -> bool:
    """Whether MuJoCo sees a contact of a plane and a ball 0.15 above it, both with a margin of 0.1."""
    spec = mujoco.MjSpec()
    ball = spec.worldbody.add_body(pos=(0, 0, 0.25))
    ball.add_freejoint()
    ball.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=(0.1, 0, 0), margin=0.1)
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=(1, 1, 1), margin=0.1)
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return data.ncon == 1


MARGINS_ADD = _margins_add()
"""inside MuJoCo 3.x, the margin of a contact became the sum of its geoms' margins; it was the larger one before"""


class LocomotionEnv(gymnasium.Env, abc.ABC):
    """A robot that is to move forward. Actions in [-1, 1] are the share of each joint's largest torque.

    A task states its numbers in class attributes and changes gymnasium's model of the same body in `edit`. The model is
    compiled once per process; every environment has a copy.

    render_mode: None, 'human', 'rgb_array', 'depth_array' or 'rgbd_tuple'; width, height: of the picture, in pixels.
    """

    metadata = {'render_modes': ['human', 'rgb_array', 'depth_array', 'rgbd_tuple']}
    asset: str
    """file of gymnasium's model"""
    timestep: float
    """of the physics, in seconds"""
    frame_skip: int
    """steps of the physics per action"""
    torques: dict[str, float]
    """largest torque (N m) by joint, in the order of the action"""
    observation_size: int
    observation_bound: float
    observation_dtype: type
    task_state: tuple[str, ...] = ()
    """attributes, beside those of the simulator, that the future depends on: numbers, booleans, arrays"""

    def __init__(self, render_mode: str | None = None, width: int = 480, height: int = 480) -> None:
        self.model = copy.copy(self.compiled_model())
        self.data = mujoco.MjData(self.model)
        self.dt = self.timestep * self.frame_skip
        self.metadata = {**self.metadata, 'render_fps': round(1 / self.dt)}
        self.action_space = gymnasium.spaces.Box(-1., 1., (self.model.nu,), np.float32)
        self.observation_space = gymnasium.spaces.Box(-self.observation_bound, self.observation_bound,
                                                      (self.observation_size,), self.observation_dtype)
        self.render_mode = render_mode
        self.width, self.height = width, height
        self.torso = self.model.body('torso').id

    @classmethod
    @functools.cache
    def compiled_model(cls) -> mujoco.MjModel:
        """The model of this task, the same object at each call."""
        spec = mujoco.MjSpec.from_file(str(ASSETS / cls.asset))
        spec.option.timestep = cls.timestep
        for element in (*spec.tendons, *spec.actuators):
            spec.delete(element)
        cls.edit(spec)
        floor = spec.geom('floor')  # in pictures, robots would run off it
        floor.size[:2] *= 10
        spec.material(floor.material).texrepeat *= 10
        spec.stat.extent = 4  # m, what the camera takes for the size of the scene
        for joint, torque in cls.torques.items():
            spec.add_actuator(name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT, gear=_vector(torque, 6),
                              ctrllimited=True, ctrlrange=(-1, 1))
        total_mass, spec.compiler.settotalmass = spec.compiler.settotalmass, -1  # deprecated, with a warning
        model = spec.compile()
        if total_mass > 0:
            mujoco.mj_setTotalmass(model, total_mass)
            mujoco.mj_setConst(model, mujoco.MjData(model))
        return model

    @classmethod
    @abc.abstractmethod
    def edit(cls, spec: mujoco.MjSpec) -> None:
        """Turn gymnasium's model, without its actuators, into that of the task."""

    @abc.abstractmethod
    def reset_task(self) -> np.ndarray:
        """Draw a start state; returns the observation."""

    @abc.abstractmethod
    def refresh(self) -> None:
        """Compute what the simulator derives from positions and velocities."""

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """See gymnasium.Env.reset; there are no options."""
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        obs = self.reset_task()
        if self.render_mode == 'human':
            self.render()
        return obs, {}

    def checked(self, action: np.ndarray) -> np.ndarray:
        """The action in float64. ValueError for another shape than the action space's."""
        action = np.asarray(action, np.float64)
        if action.shape != self.action_space.shape:
            raise ValueError('%s takes actions of shape %s, got %s' % (type(self).__name__, self.action_space.shape,
                                                                       action.shape))
        return action

    def transition(self, obs: np.ndarray, rewards: dict[str, float],
                   terminated: bool) -> tuple[np.ndarray, float, bool, bool, dict[str, float]]:
        """What `step` returns: the reward is the sum of `rewards`, which are the info."""
        if self.render_mode == 'human':
            self.render()
        return obs, sum(rewards.values()), terminated, False, rewards

    def state(self) -> State:
        """Everything that the future depends on, the random number generator included. What wrappers count themselves
        is in `env_state` (`common/env_state.py`) of the outermost."""
        physics = np.empty(mujoco.mj_stateSize(self.model, mujoco.mjtState.mjSTATE_INTEGRATION))
        mujoco.mj_getState(self.model, self.data, physics, mujoco.mjtState.mjSTATE_INTEGRATION)
        return {'physics': physics, 'random': generator_state(self.np_random),
                **{name: np.array(getattr(self, name)) for name in self.task_state}}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue, to the bit, from a `state` of the same task; its arrays may have been lists of a JSON file.
        ValueError for a state of another task.
        """
        arrays = {name: np.array(value) for name, value in state.items() if name != 'random'}
        expected = {name: value.shape for name, value in self.state().items() if name != 'random'}
        if {name: value.shape for name, value in arrays.items()} != expected or 'random' not in state:
            raise ValueError('not a state of %s: its arrays must have the shapes %s' % (type(self).__name__, expected))
        for name in self.task_state:
            setattr(self, name, arrays[name] if arrays[name].shape else arrays[name].item())
        set_generator_state(self.np_random, state['random'])
        mujoco.mj_setState(self.model, self.data, arrays['physics'], mujoco.mjtState.mjSTATE_INTEGRATION)
        self.refresh()
        # again, since refreshing moves the point that the solver starts from
        mujoco.mj_setState(self.model, self.data, arrays['physics'], mujoco.mjtState.mjSTATE_INTEGRATION)

    def __reduce__(self) -> tuple:
        """Copies are made anew and set to the state: a robot's parts are views of its own simulator's memory."""
        return _copy, (type(self), self.render_mode, self.width, self.height, self.spec, self.state())

    @functools.cached_property
    def mujoco_renderer(self) -> Any:
        """gymnasium's renderer, made when the first frame is drawn."""
        from gymnasium.envs.mujoco.mujoco_rendering import MujocoRenderer
        frame = self.model.vis.global_
        frame.offwidth, frame.offheight = max(frame.offwidth, self.width), max(frame.offheight, self.height)
        follow = {'type': mujoco.mjtCamera.mjCAMERA_TRACKING, 'trackbodyid': self.torso, 'distance': 4.}
        return MujocoRenderer(self.model, self.data, follow, self.width, self.height, camera_name='track')

    def render(self) -> np.ndarray | tuple[np.ndarray, np.ndarray] | None:
        """A frame as render_mode says: an array [height, width, 3] of bytes for 'rgb_array', None for 'human'."""
        return self.mujoco_renderer.render(self.render_mode)

    def close(self) -> None:
        """Close windows and OpenGL contexts."""
        if 'mujoco_renderer' in self.__dict__:
            self.mujoco_renderer.close()


def _copy(task, render_mode, width, height, spec, state):
    env = task(render_mode, width, height)
    env.spec = spec
    env.set_state(state)
    return env


def _vector(value, size):
    return np.eye(1, size)[0] * value


def set_joint(joint: Any, stiffness: float, damping: float, armature: float) -> None:
    """Set a joint of a mujoco.MjSpec; MuJoCo 3.x came to take polynomials, whose first coefficients these are."""
    joint.armature = armature
    for name, value in [('stiffness', stiffness), ('damping', damping)]:
        setattr(joint, name, _vector(value, np.size(getattr(joint, name))) if np.ndim(getattr(joint, name)) else value)


def ids(named: Any, names: Sequence[str]) -> np.ndarray:
    """Indices of model elements by name; `named` is model.body, model.joint, ..."""
    return np.array([named(name).id for name in names])
