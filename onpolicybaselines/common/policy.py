"""What a policy is, as functions of observations and of its variables: below `policies.PolicyWithValue`."""
import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import tensorflow as tf

from onpolicybaselines.a2c.utils import fc
from onpolicybaselines.common import actors, models, saved_model, tf_util
from onpolicybaselines.common.actors.families import head as head_of
from onpolicybaselines.common.distributions import FAMILY_SIZES, POLICIES, Pd, PdType, make_pdtype
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.input import encode_observation, observation_placeholder
from onpolicybaselines.common.keywords import check_choice, check_ranges, first_difference, keywords_of, split_keywords
from onpolicybaselines.common.models import get_network_builder
from onpolicybaselines.common.moments import moments_of_sums
from onpolicybaselines.common.prediction import batched, in_bounds, unbatched
from onpolicybaselines.common.spaces import space_to_json
from onpolicybaselines.common.state import State, check_shapes, generator_state, set_generator_state
from onpolicybaselines.common.tf_util import adjust_shape, flattenallbut0
from onpolicybaselines.common.variables import VariableStore, changes, variable_scope
from onpolicybaselines.common.vec_env import statistics
from onpolicybaselines.common.vec_env.normalizing import normalize
from onpolicybaselines.common.vec_env.vec_normalize import VecNormalize
from onpolicybaselines.version import __version__


class Policy:
    """Action distribution as a function of observations, with its variables.

    B: batch. Observations are given as the space has them, single or batched. `recurrent`: whether the distribution
    also depends on what was seen before, through a state S [nenv, n]; a batch is then of B = nenv * nsteps steps, one
    environment after the other, S the states before the first ones (None: zeros), and M [B] is 1 where an episode
    starts: the state is 0 there (None: nowhere). Without recurrence, S and M have no effect.
    """

    init_scale = 0.01  # of the layer that gives the distribution's parameters
    normalizer: VecNormalize | None = None  # what observations come from; its statistics go with the variables

    def __init__(self, ob_space: gym.Space, policy_network: Callable, pdtype: PdType,
                 normalize_observations: bool = False, np_random: np.random.Generator | None = None,
                 dtype: str = 'float32', spec: dict | None = None):
        """Make the variables, from `np_random`, which also draws the noise of every action.

        policy_network: encoded observations [B, ...] -> latent [B, n], or a recurrent one, see common/models.py;
        normalize_observations: filter them by their running mean and standard deviation, clipped to [-5, 5]; spec: how
        the policy was asked for, saved with it.
        """
        self.ob_space = ob_space
        self.X = observation_placeholder(self.ob_space)
        self.pdtype = pdtype
        self.np_random = np.random.default_rng() if np_random is None else np_random
        self.spec = spec or {}
        self._actors, self._actors_of = {}, 0  # of `present_actor`, and the `changes` after which they were made
        self._policy_network = policy_network
        self.recurrent = getattr(policy_network, 'recurrent', False)
        self.state_inputs = self._state_inputs()
        self._normalize = lambda ob: ob
        if normalize_observations and self.X.dtype.is_floating:
            self._normalize, self.ob_rms = models._normalize_clip_observation(self.X)
        self._store = VariableStore(dtype, self.np_random)
        self._create_variables(tf.zeros([1, *self.ob_space.shape], self.X.dtype))
        self._store.frozen = True
        self.var_list = self._store.in_scope('pi')
        self._noise = tf.TensorSpec([None, self.pdtype.noise_size], tf.float32)
        self._sample = tf_util.function(lambda ob, noise: self.pd(ob).sample(noise), self.X, self._noise)
        self._mode = tf_util.function(lambda ob: self.pd(ob).mode(), self.X)
        self._neglogp = tf_util.function(lambda ob, ac: self.pd(ob).neglogp(ac), self.X, batch_placeholders(self)[0])
        self._policy_arrays = tf_util.function(lambda: {name: v.read_value() for name, v in
                                                        self._store.variables.items() if name.startswith('pi/')})

    def _create_variables(self, ob):
        self.pd(ob)

    def initial_state(self, nenv: int) -> np.ndarray | None:
        """The state S of environments that nothing was seen of, [nenv, n]; None without recurrence."""
        return self._policy_network.initial_state(nenv) if self.recurrent else None

    def _state_inputs(self):
        """What compiled functions take besides observations: S and M, or nothing."""
        if not self.recurrent:
            return []
        return [tf.TensorSpec([None, self.initial_state(1).shape[1]]), tf.TensorSpec([None])]

    def pd(self, ob: tf.Tensor, S: tf.Tensor | None = None, M: tf.Tensor | None = None, nsteps: int = 1) -> Pd:
        """The action distributions at observations [B, ...]."""
        with self._store.as_default():
            return self._head(self._policy_latent(self._encode(ob), S, M, nsteps)[0])

    def _head(self, latent):
        return self.pdtype.pdfromlatent(latent, init_scale=self.init_scale)[0]

    def _policy_latent(self, x, S=None, M=None, nsteps=1):
        """(what the distribution stands on, [B, n], and the state after the last steps)."""
        if self.pdtype.own_state_network:
            return x, None
        if not self.recurrent:
            return self._latent(self._policy_network, x, 'pi'), None
        S = tf.zeros([tf.shape(x)[0] // nsteps, self.state_inputs[0].shape[1]]) if S is None else S
        M = tf.zeros(tf.shape(x)[:1]) if M is None else M
        with variable_scope('pi'):
            return self._policy_network(x, S, M, nsteps)

    def _encode(self, ob):
        return encode_observation(self.ob_space, self._normalize(ob))

    @staticmethod
    def _latent(network, x, scope):
        with variable_scope(scope):
            return flattenallbut0(network(x))

    @contextlib.contextmanager
    def at(self, theta: tf.Tensor, var_list: Sequence[tf.Variable] | None = None) -> Iterator[None]:
        """Within, `var_list` (None: the policy's) is read from the flat vector theta: losses become functions of it."""
        with self._store.substitute(self.var_list if var_list is None else var_list, theta):
            yield

    def noise(self, n: int) -> np.ndarray:
        """The noise of n actions, [n, pdtype.noise_size]."""
        return self.pdtype.noise(self.np_random, n)

    def act(self, observation: np.ndarray, stochastic: bool = True, noise: np.ndarray | None = None) -> np.ndarray:
        """Actions [B, ...]: sampled, or the distribution's deterministic action if not `stochastic`.

        noise: of `noise(B)`, drawn here if None; it may be overwritten.
        Raises UsageError for a recurrent policy, which would forget: `PolicyWithValue.step` hands on its state.
        """
        if self.recurrent:
            raise UsageError('act has no state to give a recurrent policy: use step(observation, S=state, M=dones)')
        ob = self._batch(observation)
        if not stochastic:
            return self._mode(ob)
        return self._sample(ob, self.noise(len(ob)) if noise is None else noise)

    def neglogp(self, observation: np.ndarray, ac: np.ndarray) -> np.ndarray:
        """-log p of actions at as many observations, flat: [B]; for policies that are not recurrent."""
        ob = self._batch(observation)
        return self._neglogp(ob, np.reshape(ac, (len(ob), *self.pdtype.sample_shape())))

    def actor(self, stochastic: bool = True) -> Callable[..., np.ndarray]:
        """`act` at the present parameters and observation filter, ten times as fast: ask for it again after an update.

        (Observations, noise=None) -> actions [B, ...], those of `act` up to rounding. It is put together by
        common/actors, from `network.layers` and the family's `actors.families.head`; where one is missing, it is `act`.
        """
        arrays = self._policy_arrays()
        layers, head = self.latent_layers(arrays), head_of(self.pdtype, arrays)
        if layers is None or head is None:
            return functools.partial(self.act, stochastic=stochastic)
        act, programs = actors.policy(self.ob_space, self._dtype, layers, head, self._mean_std())
        return Actor(self, stochastic, act, programs if stochastic else None)  # type: ignore[return-value]

    def present_actor(self, stochastic: bool = True) -> Callable[..., np.ndarray]:
        """`actor`, kept until variables change (`variables.changes`): for single actions."""
        if self._actors_of != changes():
            self._actors, self._actors_of = {}, changes()
        if stochastic not in self._actors:
            self._actors[stochastic] = self.actor(stochastic)
        return self._actors[stochastic]

    def latent_layers(self, arrays: actors.Arrays) -> list[actors.Dense] | None:
        """`_policy_latent` as layers of common/actors, from its variables by name; None if it is no such layers."""
        if self.pdtype.own_state_network:
            return []
        layers = getattr(self._policy_network, 'layers', None)
        return layers and layers(actors.in_scope(arrays, 'pi'))

    def encoded(self, observation: np.ndarray) -> np.ndarray:
        """Observations [B, ...] as the networks get them, [B, n]: encoded and filtered."""
        x = actors.encoder(self.ob_space, self._dtype)(self._batch(observation)).astype(self._dtype)
        return actors.filtered(x, self._mean_std())

    @property
    def _dtype(self):
        return np.dtype(self._store.dtype.as_numpy_dtype)

    def _mean_std(self):
        if not hasattr(self, 'ob_rms'):
            return None
        return tuple(np.ravel(p.numpy()).astype(self._dtype) for p in (self.ob_rms.mean, self.ob_rms.std))

    def _batch(self, observation):
        return adjust_shape(self.ob_space.shape, observation)

    def arrays(self) -> dict[str, np.ndarray]:
        """Variables, observation filter and statistics of `normalizer` by name, flat: what a model file holds."""
        arrays = {name: v.numpy() for name, v in self._store.variables.items()}
        if hasattr(self, 'ob_rms'):
            arrays.update({f'ob_rms/{name}': value for name, value in self.ob_rms.state().items()})
        return {**arrays, **statistics.arrays(self.normalizer)}

    def set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over what a model file holds."""
        for name, v in self._store.variables.items():
            v.assign(arrays[name])
        if hasattr(self, 'ob_rms'):
            self.ob_rms.set_state({name.removeprefix('ob_rms/'): value for name, value in arrays.items()
                                   if name.startswith('ob_rms/')})
        statistics.set_arrays(self.normalizer, arrays)

    def state(self) -> State:
        """`arrays`, and the generator of the noise."""
        return {'arrays': self.arrays(), 'np_random': generator_state(self.np_random)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` gave. Raises ValueError if it is of another policy."""
        arrays = moments_of_sums(state['arrays'], 'ob_rms/')
        check_shapes('the policy', arrays, self.arrays())
        self.set_arrays(arrays)
        set_generator_state(self.np_random, state['np_random'])


class Actor(NamedTuple):
    """What `Policy.actor` makes: (observations, noise=None) -> actions. programs: for machine code to do the same."""

    pi: Policy
    stochastic: bool
    act: Callable[[np.ndarray, np.ndarray | None], np.ndarray]
    programs: actors.Programs | None

    def __call__(self, observation: np.ndarray, noise: np.ndarray | None = None) -> np.ndarray:
        """See `Policy.actor`."""
        ob = adjust_shape(self.pi.ob_space.shape, observation)
        if not self.stochastic:
            return self.act(ob, None)
        return self.act(ob, self.pi.noise(len(ob)) if noise is None else noise)


class PolicyAndValues(Policy):
    """Action distribution and value function, with the variables of both, as functions of tensors.

    ac_space: of the environment; `predict` keeps to its bounds.
    """

    ac_space: gym.Space

    def __init__(self, ob_space: gym.Space, policy_network: Callable, pdtype: PdType,
                 value_network: Callable | None = None, normalize_observations: bool = False,
                 np_random: np.random.Generator | None = None, dtype: str = 'float32', spec: dict | None = None):
        """As `Policy`; value_network: encoded observations [B, ...] -> latent [B, n], None shares the policy's."""
        self._value_network = value_network
        super().__init__(ob_space, policy_network, pdtype, normalize_observations, np_random, dtype, spec)
        self.vf_var_list = self._store.in_scope('vf')

    def _create_variables(self, ob):
        self.pd_and_vf(ob)

    def vf(self, ob: tf.Tensor, S: tf.Tensor | None = None, M: tf.Tensor | None = None, nsteps: int = 1) -> tf.Tensor:
        """The values at observations [B, ...], [B]."""
        with self._store.as_default():
            x = self._encode(ob)
            return self._vf(x, self._policy_latent(x, S, M, nsteps)[0] if self._value_network is None else None)

    def _vf(self, x, policy_latent):
        shared = self._value_network is None
        return fc(policy_latent if shared else self._latent(self._value_network, x, 'vf'), 'vf', 1)[:, 0]

    def pd_and_vf(self, ob: tf.Tensor, S: tf.Tensor | None = None, M: tf.Tensor | None = None,
                  nsteps: int = 1) -> tuple[Pd, tf.Tensor, tf.Tensor | None]:
        """(`pd`, `vf`, states after the last steps [nenv, n] or None); a shared network is evaluated once for both."""
        with self._store.as_default():
            x = self._encode(ob)
            latent, state = self._policy_latent(x, S, M, nsteps)
            return self._head(latent), self._vf(x, latent), state

    def predict(self, observation: np.ndarray, state: np.ndarray | None = None,
                episode_start: np.ndarray | None = None, deterministic: bool = False
                ) -> tuple[np.ndarray, np.ndarray | None]:
        """(action for the environment, next state) at one observation, or (actions, states) at several, as
        Stable-Baselines3's `predict`.

        observation: as the environment gives it, before any VecNormalize, whose statistics are applied here, and stay;
        `act`, `step` and `value` take what that gives. state: what the last call gave, None to begin with, [B, n], of
        recurrent networks; other policies hand it on. episode_start [B]: where an episode starts, None: nowhere.
        Actions are within the bounds of the space. Without TensorFlow where `actor` is.
        Raises UsageError for observations of other shapes.
        """
        ob, is_batch = batched(self.observation_space, observation)
        if self._normalizes:
            ob = normalize(self.normalizer, ob)
        if self.recurrent:
            actions, _, state, _ = self.step(ob, S=state, M=episode_start, stochastic=not deterministic)
        else:
            actions = self.present_actor(not deterministic)(ob)
        return unbatched(in_bounds(self.ac_space, actions), is_batch), state

    @property
    def _normalizes(self):
        return self.normalizer is not None and self.normalizer.ob_rms is not None

    @functools.cached_property
    def observation_space(self) -> gym.Space:
        """The space of what `predict` takes: that of the environment inside of a VecNormalize. Raises UsageError where
        another wrapper stands outside of that and changes observations."""
        if not self._normalizes:
            return self.ob_space
        if self.normalizer.observation_space != self.ob_space:
            raise UsageError('observations of a VecNormalize are changed by a wrapper outside of it, which predict and '
                             'files would lack: put VecNormalize outermost')
        return self.normalizer.venv.observation_space

    def export(self, path: str | os.PathLike) -> None:
        """Write a TensorFlow SavedModel that acts as `predict` does, into a folder; see common/saved_model.py."""
        def act(observation, noise, *state):
            ob = saved_model.normalized(observation, self.normalizer) if self._normalizes else observation
            pd, _, state = self.pd_and_vf(tf.cast(ob, self.X.dtype), *state)
            return saved_model.in_bounds(self.ac_space, pd.mode() if noise is None else pd.sample(noise)), state

        filters = [self.ob_rms.mean, self.ob_rms.std] if hasattr(self, 'ob_rms') else []
        saved_model.write_saved_model(path, act, self.observation_space, self.pdtype,
                                      self.initial_state(1).shape[1] if self.recurrent else None,
                                      [*self._store.variables.values(), *filters])

    def description(self) -> dict[str, Any]:
        """What a model file says beside `arrays`, as JSON: all that `onpolicybaselines.load` needs."""
        return {'kind': 'policy', 'spec': self.spec, 'version': __version__,
                'observation_space': space_to_json(self.ob_space), 'action_space': space_to_json(self.ac_space),
                'normalizer': statistics.description(self.normalizer)}

    def _state(self, S, M, nenv):
        """Values for `state_inputs`, one step long."""
        if not self.recurrent:
            return []
        return [self.initial_state(nenv) if S is None else S, np.zeros(nenv) if M is None else np.asarray(M, 'float32')]


def batch_placeholders(pi: Policy) -> list[tf.TensorSpec]:
    """The TensorSpecs of a batch of actions, of numbers such as advantages, and of `sampling.entropy_noise`."""
    dtype = tf.as_dtype(pi._dtype)
    ac = pi.pdtype.sample_placeholder([None])
    return [tf.TensorSpec(ac.shape, dtype if ac.dtype.is_floating else ac.dtype),
            tf.TensorSpec([None], dtype), tf.TensorSpec([None, pi.pdtype.noise_size])]


def describe(**arguments) -> dict[str, Any]:
    """The arguments of `build_policy` as JSON for model files: 'custom' for a function."""
    def jsonable(value):
        if callable(value):
            return 'custom'
        return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
    return {name: jsonable(value) for name, value in arguments.items()}


def spec_of(path: str | os.PathLike, meta: Mapping[str, Any]) -> Mapping[str, Any]:
    """How the policy in a file was asked for. Raises UsageError for a file that does not say."""
    spec = meta.get('spec')
    if not isinstance(spec, Mapping):
        raise UsageError(f'{os.fspath(path)!r} does not say which policy it is of')
    return spec


def check_spec(path: str | os.PathLike, meta: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
    """Raise UsageError if the model in a file was asked for otherwise than by `spec`, so that the same variables would
    be another function, by another activation, say. Functions of a user's cannot be told apart."""
    path, there = os.fspath(path), spec_of(path, meta)
    here, there = ({**_defaults(spec), **{name: value for name, value in spec.items() if value is not None}}
                   for spec in (spec, there))
    name = first_difference(here, there)
    if name is not None:
        raise UsageError(f'{path!r} does not fit: {name} is {there[name]!r} in the file and {here[name]!r} here')


def _defaults(spec):
    """What the keywords of network and policy are where a description does not have them."""
    builders = [models.mapping.get(spec.get('network')), POLICIES.get(spec.get('policy') or 'gaussian')]
    defaults = {name: p.default for builder in builders if builder for name, p in keywords_of(builder).items()
                if not (p.default is p.empty or callable(p.default))}
    return {'policy': 'gaussian', 'value_network': 'shared', **defaults}


def share_keywords(policy_kwargs: Mapping[str, Any], policy_network: str | Callable, ac_space: gym.Space,
                   policy: str | None) -> tuple[PdType, dict[str, Any]]:
    """(the family of distributions with its part of the keywords, the network's part).

    Raises UsageError for keywords that neither knows.
    """
    builder = get_network_builder(policy_network) if isinstance(policy_network, str) else lambda: policy_network
    family = type(make_pdtype(ac_space, policy))
    family_kwargs, network_kwargs = split_keywords(policy_kwargs, family, builder, skip=FAMILY_SIZES)
    check_ranges(builder, network_kwargs)
    return make_pdtype(ac_space, policy, **family_kwargs), network_kwargs


def check_networks(policy_network: Callable, value_network: str | Callable | None, pdtype: PdType, spec: dict) -> None:
    """Raise UsageError, one line, where policy network, value network and family do not go together."""
    shared = value_network is None or value_network == 'shared'
    if not shared and any(getattr(n, 'recurrent', False) for n in (policy_network, value_network)):
        raise UsageError(f'recurrent network {spec["network"]!r}: a value network of its own (value_network='
                         f"{spec['value_network']!r}) is supported for feed-forward ones only, such as mlp or cnn; a2c "
                         "and ppo2 take recurrent ones with value_network='shared'")
    if not callable(value_network):
        check_choice('value_network', value_network, ('copy', 'shared', None))
    if shared and pdtype.own_state_network:
        raise UsageError("a shared value network needs a policy that stands on it: use value_network='copy' or "
                         "flow_state_net='network'")
