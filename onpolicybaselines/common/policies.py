"""Policy and value function of one environment's spaces (upstream common/policies.py).

Where upstream builds a graph from placeholders, there are functions of observations here: common/policy.py has them.
"""
import os
from collections.abc import Callable

import gymnasium as gym
import numpy as np

from onpolicybaselines.common import tf_util
from onpolicybaselines.common.distributions import PdType
from onpolicybaselines.common.files import check_fits
from onpolicybaselines.common.models import get_network_builder
from onpolicybaselines.common.moments import moments_of_sums
from onpolicybaselines.common.policy import PolicyAndValues, check_networks, check_spec, describe, share_keywords
from onpolicybaselines.common.tf_util import adjust_shape
from onpolicybaselines.common.vec_env.statistics import complete, normalizer_of
from onpolicybaselines.common.vec_env.vec_env import VecEnv


class PolicyWithValue(PolicyAndValues):
    """Action distribution and value function, with the variables of both."""

    def __init__(self, env: gym.Env, policy_network: Callable, pdtype: PdType, value_network: Callable | None = None,
                 normalize_observations: bool = False, np_random: np.random.Generator | None = None,
                 dtype: str = 'float32', spec: dict | None = None):
        """As `Policy`; value_network: encoded observations [B, ...] -> latent [B, n], None shares the policy's."""
        super().__init__(env.observation_space, policy_network, pdtype, value_network, normalize_observations,
                         np_random, dtype, spec)

        self.normalizer = normalizer_of(env)
        self.ac_space = env.action_space

        def tensors(ob, noise, *state):
            pd, vf, state = self.pd_and_vf(ob, *state)
            action = pd.mode() if noise is None else pd.sample(noise)
            neglogp = pd.neglogp(action)
            return action, vf, state, neglogp

        self._step = tf_util.function(tensors, self.X, self._noise, *self.state_inputs)
        self._step_mode = tf_util.function(lambda ob, *state: tensors(ob, None, *state), self.X, *self.state_inputs)
        self._value = tf_util.function(self.vf, self.X, *self.state_inputs)

    def _evaluate(self, variables, observation, S=None, M=None, stochastic=False):
        observation = adjust_shape(self.ob_space.shape, observation)
        noise = [self.noise(len(observation))] if stochastic else []
        return variables(observation, *noise, *self._state(S, M, len(observation)))

    def step(self, observation: np.ndarray, S: np.ndarray | None = None, M: np.ndarray | None = None,
             stochastic: bool = True) -> tuple:
        """(actions, values, new states or None, -log p(actions)) of one observation, or of one per environment.

        S: the states that the last step gave, None for the first; M: whether that step ended an episode. Actions are
        the deterministic ones if not `stochastic`.
        """
        a, v, state, neglogp = self._evaluate(self._step if stochastic else self._step_mode, observation, S, M,
                                              stochastic)
        return a, v, state, neglogp

    def value(self, ob: np.ndarray, S: np.ndarray | None = None, M: np.ndarray | None = None) -> np.ndarray:
        """Value estimates [B] of one observation or a batch; S and M as in `step`."""
        return self._evaluate(self._value, ob, S, M)

    def save(self, save_path: str | os.PathLike) -> None:
        """Write variables, observation filter, the statistics of a VecNormalize around the environments, the spaces,
        and how the policy was asked for, to one npz file."""
        tf_util.save_variables(save_path, self.arrays(), self.description())

    def load(self, load_path: str | os.PathLike) -> None:
        """Read what `save` wrote. Raises UsageError, changing nothing, if the file is not of this policy."""
        arrays, meta = tf_util.load_variables(load_path)
        arrays = moments_of_sums(complete(self.normalizer, arrays), 'ob_rms/')
        check_fits(load_path, meta, arrays, self.arrays())
        check_spec(load_path, meta, self.spec)
        self.set_arrays(arrays)

def build_policy(env: gym.Env | VecEnv, policy_network: str | Callable, value_network: str | Callable | None = None,
                 normalize_observations: bool = False, policy: str | None = None, **policy_kwargs) -> Callable:
    """A function `policy_fn(np_random=None, dtype='float32')` that makes `PolicyWithValue`s for the spaces of `env`.

    policy_network: a registered name, or a function of the encoded observation; value_network: 'copy' (the same, with
    variables of its own), 'shared' or None (the policy's latent, the only one for recurrent networks), or a function;
    policy: see `make_pdtype`; policy_kwargs: keywords of the named network and of the policy. Raises UsageError for
    keywords neither knows.
    """
    spec = describe(network=policy_network, value_network='shared' if value_network is None else value_network,
                    policy=policy, normalize_observations=normalize_observations, **policy_kwargs)
    pdtype, policy_kwargs = share_keywords(policy_kwargs, policy_network, env.action_space, policy)
    if isinstance(policy_network, str):
        network_type = policy_network
        policy_network = get_network_builder(network_type)(**policy_kwargs)
    check_networks(policy_network, value_network, pdtype, spec)

    def policy_fn(np_random=None, dtype='float32'):
        _v_net = value_network

        if _v_net is None or _v_net == 'shared':
            _v_net = None
        else:
            if _v_net == 'copy':
                _v_net = policy_network

        policy = PolicyWithValue(
            env=env,
            policy_network=policy_network,
            pdtype=pdtype,
            value_network=_v_net,
            normalize_observations=normalize_observations,
            np_random=np_random,
            dtype=dtype,
            spec=spec
        )
        return policy

    return policy_fn
