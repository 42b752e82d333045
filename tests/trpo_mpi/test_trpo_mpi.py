"""The parts of TRPO: segments, advantages, losses, Fisher-vector products, line search, whole updates."""
import copy

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf

import onpolicybaselines.common.tf_util as U
from onpolicybaselines import logger
from onpolicybaselines.bench.monitor import Monitor
from onpolicybaselines.common.atari_wrappers import EpisodicLifeEnv
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.policies import build_policy
from onpolicybaselines.common.state import generator_state, set_generator_state
from onpolicybaselines.common.vec_env.dummy_vec_env import DummyVecEnv
from onpolicybaselines.common.vec_env.gym_vec_env import as_vec_env
from onpolicybaselines.trpo_mpi import trpo_mpi
from onpolicybaselines.trpo_mpi.by_hand import GaussianFisher, gaussian_fisher
from onpolicybaselines.trpo_mpi.losses import choose, make_functions
from onpolicybaselines.trpo_mpi.trpo_mpi import add_vtarg_and_adv, traj_segment_generator
from onpolicybaselines.trpo_mpi.trust_region import linesearch, trust_region_step

POLICIES = {
    'gaussian': {},
    'gmm': {'gmm_components': 3},
    'flow': {'flow_layers': 1, 'flow_state_units': 4},
}


# steps of the slope tests: a flow is curved on a small scale, and its rectifiers have kinks
STEPS = {'gaussian': (1e-3, 1e-4), 'gmm': (1e-3, 1e-4), 'flow': (1e-5, 1e-6)}


@pytest.fixture(autouse=True)
def quiet_logger(tmp_path):
    with logger.scoped_configure(str(tmp_path / 'log'), ['log']):
        yield


class Line(gym.Env):
    """A point on a line, to be kept near 0; the clock decides when an episode terminates."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)

    def __init__(self, terminate_at=None, action_dims=1):
        self.terminate_at = terminate_at
        self.action_space = gym.spaces.Box(-1., 1., (action_dims,), np.float32, seed=0)
        super().reset(seed=0)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.x = 0, self.np_random.normal()
        return self._ob(), {}

    def step(self, action):
        self.t += 1
        self.x += 0.3 * float(np.sum(action))
        return self._ob(), -self.x ** 2, self.t == self.terminate_at, False, {}

    def _ob(self):
        return np.array([self.x, 0.1 * self.t])


def small_policy(name, dtype='float64', env=None, seed=0, perturb=0.3):
    """A policy with few parameters, away from its initial values."""
    network = {} if name == 'flow' else {'num_hidden': 4, 'num_layers': 1}
    pi = build_policy(env or Line(action_dims=2), 'mlp', value_network='copy', policy=name, **POLICIES[name],
                      **network)(np.random.default_rng(seed), dtype)
    rng = np.random.default_rng(seed + 1)
    for v in pi.var_list:
        v.assign_add(perturb * rng.standard_normal(v.shape))
    return pi


def batch_of(pi, n, seed=5):
    """(th, ob, ac, atarg, noise) of n on-policy actions."""
    rng = np.random.default_rng(seed)
    ob = rng.standard_normal((n, *pi.ob_space.shape))
    with pi._store.as_default():
        ac = pi.pd(tf.constant(ob, pi.X.dtype)).sample(tf.constant(pi.pdtype.noise(rng, n))).numpy()
    return U.GetFlat(pi.var_list)(), ob, ac, rng.standard_normal(n), pi.pdtype.noise(rng, n)


# ---------------------------------------------------------------- segments and advantages

def plain_gae(rew, vpred, new, nextvpred, gamma, lam, bonus=None):
    """Advantages by their definition: for each step the sum of (gamma lam)^k delta up to its episode's end."""
    T = len(rew)
    adv = np.zeros(T)
    for t in range(T):
        weight = 1.0
        for k in range(t, T):
            ends = k + 1 < T and new[k + 1] or k + 1 == T and nextvpred == 0
            following = 0.0 if ends else (vpred[k + 1] if k + 1 < T else nextvpred)
            adv[t] += weight * (rew[k] + gamma * following + (0 if bonus is None else gamma * bonus[k]) - vpred[k])
            if ends:
                break
            weight *= gamma * lam
    return adv


@pytest.mark.parametrize('ends_done', [False, True])
def test_gae_is_the_plain_sum(ends_done):
    rng = np.random.default_rng(0)
    T = 60
    seg = {'rew': rng.standard_normal(T).astype('f'), 'vpred': rng.standard_normal(T).astype('f'),
           'new': (rng.random(T) < 0.1).astype('int32'), 'nextvpred': np.zeros(1) if ends_done else np.ones(1)}
    seg['new'][0] = 1
    add_vtarg_and_adv(seg, 0.97, 0.9)
    expected = plain_gae(seg['rew'], seg['vpred'], seg['new'], seg['nextvpred'][0], 0.97, 0.9)
    np.testing.assert_allclose(seg['adv'], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(seg['tdlamret'], seg['adv'] + seg['vpred'])


def test_gae_of_several_environments_is_that_of_each():
    rng = np.random.default_rng(1)
    T, N = 20, 3
    seg = {'rew': rng.standard_normal((T, N)), 'vpred': rng.standard_normal((T, N)),
           'new': rng.random((T, N)) < 0.2, 'nextvpred': rng.standard_normal(N),
           'finalvpred': rng.standard_normal((T, N))}
    seg['new'] = seg['new'].astype('int32')
    add_vtarg_and_adv(seg, 0.99, 0.95, bootstrap_truncated=True)
    for n in range(N):
        one = {k: v[:, n] if v.ndim == 2 else v[n:n + 1] for k, v in seg.items()}
        add_vtarg_and_adv(one, 0.99, 0.95, bootstrap_truncated=True)
        np.testing.assert_array_equal(one['adv'], seg['adv'][:, n])


def test_bootstrapping_at_a_time_limit_adds_the_value_beyond_and_still_cuts_the_episode():
    rng = np.random.default_rng(2)
    T = 12
    seg = {'rew': rng.standard_normal(T), 'vpred': rng.standard_normal(T), 'nextvpred': np.zeros(1),
           'new': np.array([1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]), 'finalvpred': np.zeros(T)}
    seg['finalvpred'][[3, 11]] = 7.0, -2.0  # the first and the last episode were cut, the second terminated
    add_vtarg_and_adv(seg, 0.9, 0.8, bootstrap_truncated=True)
    expected = plain_gae(seg['rew'], seg['vpred'], seg['new'], 0, 0.9, 0.8, bonus=seg['finalvpred'])
    np.testing.assert_allclose(seg['adv'], expected, rtol=1e-5)
    add_vtarg_and_adv(seg, 0.9, 0.8)
    np.testing.assert_allclose(seg['adv'], plain_gae(seg['rew'], seg['vpred'], seg['new'], 0, 0.9, 0.8), rtol=1e-5)


def segments(env, horizon, n, policy='gaussian'):
    pi = small_policy(policy, 'float32', env)
    generator = traj_segment_generator(pi, env, horizon, stochastic=True)
    return pi, [next(generator) for _ in range(n)]


def test_segments_join_without_a_gap():
    """On Hopper, whose episodes end at any time: observations follow from the recorded actions."""
    env = as_vec_env(gym.make('Hopper-v5'), seed=3)
    pi, segs = segments(env, 50, 3)
    seg = {k: np.concatenate([s[k] for s in segs]) for k in ('ob', 'ac', 'rew', 'new', 'prevac', 'vpred')}
    assert seg['ob'].shape == (150, 1, 11) and seg['rew'].dtype == 'float32' and seg['new'][0] == 1

    replay = gym.make('Hopper-v5')
    ob, _ = replay.reset(seed=3)
    ob, _ = replay.reset()
    returns, ret = [], 0.
    for t in range(150):
        np.testing.assert_array_equal(seg['ob'][t, 0], ob)
        ob, rew, terminated, truncated, _ = replay.step(np.clip(seg['ac'][t, 0], -1, 1))
        np.testing.assert_allclose(seg['rew'][t, 0], rew, rtol=1e-6)
        ret += rew
        if terminated or truncated:
            returns.append(ret)
            ret = 0.
            ob, _ = replay.reset()
        if t < 149:
            assert seg['new'][t + 1, 0] == (terminated or truncated)
            np.testing.assert_array_equal(seg['prevac'][t + 1], seg['ac'][t])
    np.testing.assert_allclose([r for s in segs for r in s['ep_rets']], returns, rtol=1e-12)
    assert sum(len(s['ep_lens']) for s in segs) == seg['new'].sum() - 1 + (segs[-1]['nextvpred'][0] == 0)
    np.testing.assert_allclose(seg['vpred'][:, 0], pi.value(seg['ob'][:, 0]), rtol=1e-6)


def test_segments_value_the_end_of_time_limits_only():
    def limited(terminate_at):
        return lambda: gym.wrappers.TimeLimit(Line(terminate_at), 4)
    env = DummyVecEnv([limited(None), limited(3), limited(4)])  # cut, terminated, both at once
    pi, (seg,) = segments(env, 24, 1)
    np.testing.assert_array_equal(seg['finalvpred'][:, 1:], 0)
    np.testing.assert_array_equal(seg['finalvpred'][[0, 1, 2, 4, 5, 6], 0], 0)
    final_ob = np.array([seg['ob'][3, 0, 0] + 0.3 * seg['ac'][3, 0, 0], 0.4])
    np.testing.assert_allclose(seg['finalvpred'][3, 0], pi.value(final_ob), rtol=1e-5, atol=1e-6)
    assert sorted(seg['ep_lens']) == [3, 3, 4, 4, 4, 4]
    np.testing.assert_array_equal(seg['nextvpred'][[0, 2]], 0)
    assert seg['nextvpred'][1] != 0


class Game(Line):
    """Four steps of reward 1; the first of two lives is lost at the second step."""

    observation_space = gym.spaces.Box(-9, 9, (2,), np.float64)

    @property
    def ale(self):
        return self

    def lives(self):
        return 2 if self.t < 2 else 1 if self.t < 4 else 0

    def step(self, action):
        ob, *_ = super().step(action)
        return ob, 1., self.t == 4, False, {'lives': self.lives()}


def test_games_are_counted_not_lives():
    """Of three steps of the learner, as one that nobody sees follows a lost life; the Monitor inside counts that."""
    def monitored(env):
        return Monitor(env, None)
    for inside, ret in ((monitored, 4), (gym.Wrapper, 3)):
        _, (seg, other) = segments(DummyVecEnv([lambda inside=inside: EpisodicLifeEnv(inside(Game()))] * 2), 20, 2)
        assert (seg['ep_rets'] + other['ep_rets'], seg['ep_lens'] + other['ep_lens']) == ([ret] * 12, [3] * 12)
        assert seg['new'][:4].tolist() == [[1, 1], [0, 0], [1, 1], [1, 1]]  # for the learner lives are episodes
    _, (seg,) = segments(DummyVecEnv([lambda: gym.wrappers.TimeLimit(Game(), 3)]), 9, 1)  # with a life left
    assert seg['ep_lens'] == [3, 3, 3]

    calls = []
    trpo_mpi.learn(network='mlp', env=EpisodicLifeEnv(Monitor(Game(), None)), total_timesteps=0, max_episodes=4,
                   timesteps_per_batch=9, seed=0, callback=lambda values, _: calls.append(dict(values)))
    assert [call['episodes_so_far'] for call in calls] == [0, 3, 6]
    assert list(calls[-1]['rewbuffer']) == [4] * 6


def test_segments_go_on_from_their_state_and_that_of_environment_and_noise():
    """In fresh objects, bit for bit, in the middle of episodes."""
    def fresh():
        env = DummyVecEnv([lambda: gym.wrappers.TimeLimit(Line(7), 5)] * 2)
        pi = small_policy('gaussian', 'float32', env)
        return pi, env, traj_segment_generator(pi, env, 24, stochastic=True)

    pi, env, segs = fresh()
    assert segs.state() == {}
    next(segs)
    state, noise, envs = (copy.deepcopy(x) for x in (segs.state(), generator_state(pi.np_random), env.envs))
    expected = [next(segs) for _ in range(2)]

    pi, env, segs = fresh()
    env.envs = envs
    segs.set_state(state)
    set_generator_state(pi.np_random, noise)
    for want in expected:
        got = next(segs)
        assert got.keys() == want.keys()
        for name, array in want.items():
            np.testing.assert_array_equal(got[name], array)
    with pytest.raises(ValueError, match="Segments does not fit: 'ob' has shape"):
        segs.set_state({**state, 'ob': state['ob'][:1]})
    segs.set_state({})
    assert next(segs)['new'][0].all()


def test_not_finite_rewards_end_a_run_with_a_line_that_says_where():
    class Broken(Line):
        def step(self, action):
            ob, rew, *rest = super().step(action)
            return ob, np.nan if self.t == 3 else rew, *rest
    with pytest.raises(FloatingPointError, match='rew is not finite at step 2 of the segment, environment 0'):
        trpo_mpi.learn(network='mlp', env=Broken(), total_timesteps=64, timesteps_per_batch=32, seed=0)


# ---------------------------------------------------------------- losses and Fisher-vector products

@pytest.mark.parametrize('name', POLICIES)
def test_losses_at_the_old_policy(name):
    pi = small_policy(name)
    th, ob, ac, atarg, noise = batch_of(pi, 40)
    functions = make_functions(pi, ent_coef=0.3)
    optimgain, meankl, entbonus, surrgain, meanent = functions.compute_losses(th, th, ob, ac, atarg, noise)
    np.testing.assert_allclose(surrgain, atarg.mean(), rtol=1e-12)
    assert meankl == 0
    np.testing.assert_allclose([entbonus, optimgain], [0.3 * meanent, surrgain + 0.3 * meanent], rtol=1e-12)


@pytest.mark.parametrize('name', POLICIES)
def test_losses_between_two_policies(name):
    """Against log-probabilities of each policy, asked for one at a time."""
    pi = small_policy(name)
    thold, ob, ac, atarg, noise = batch_of(pi, 40)
    th = thold + 0.05 * np.random.default_rng(4).standard_normal(thold.size)
    logps = []
    for theta in (thold, th):
        with pi.at(tf.constant(theta)):
            logps.append(pi.pd(tf.constant(ob, pi.X.dtype)).logp(tf.constant(ac.copy())).numpy())
    _, meankl, _, surrgain, _ = make_functions(pi).compute_losses(th, thold, ob, ac, atarg, noise)
    np.testing.assert_allclose(surrgain, np.mean(np.exp(logps[1] - logps[0]) * atarg), rtol=1e-9)
    if name == 'gaussian':  # closed form: not of these actions alone
        assert meankl > 0
    else:
        np.testing.assert_allclose(meankl, np.mean(logps[0] - logps[1]), rtol=1e-9)


@pytest.mark.parametrize('name', POLICIES)
def test_gradient_is_the_slope_of_the_losses(name):
    """Central differences approach the gradient with the square of the step, in float64."""
    pi = small_policy(name)
    th, ob, ac, atarg, noise = batch_of(pi, 40)
    functions = make_functions(pi, ent_coef=0.3)
    g = functions.compute_lossandgrad(th, ob, ac, atarg, noise)[1]
    v = np.random.default_rng(3).standard_normal(th.size)
    errors = []
    for eps in STEPS[name]:
        up, down = (functions.compute_losses(th + s * eps * v, th, ob, ac, atarg, noise)[0] for s in (1, -1))
        errors.append(abs((up - down) / (2 * eps) - g.dot(v)))
    assert errors[1] < 1e-6 * np.linalg.norm(g) * np.linalg.norm(v) and errors[1] < errors[0] / 30


def scores(pi, th, ob, ac):
    """Gradient of log pi(a|s) per sample, [n, parameters], one row at a time."""
    rows = []
    for i in range(len(ob)):
        with tf.GradientTape() as tape:
            theta = tf.constant(th)
            tape.watch(theta)
            with pi.at(theta):
                logp = pi.pd(tf.constant(ob[i:i + 1], pi.X.dtype)).logp(tf.constant(ac[i:i + 1], theta.dtype))
        rows.append(tape.gradient(logp, theta).numpy())
    return np.array(rows)


def dense(functions, th, ob, ac):
    """The matrix behind compute_fvp, column by column."""
    return np.array([functions.compute_fvp(e, th, ob, ac) for e in np.eye(th.size)]).T


@pytest.mark.parametrize('name', POLICIES)
def test_gauss_newton_product_is_the_mean_outer_product_of_scores(name):
    pi = small_policy(name)
    th, ob, ac, _, _ = batch_of(pi, 6)
    F = dense(make_functions(pi, fisher='gauss_newton'), th, ob, ac)
    s = scores(pi, th, ob, ac)
    np.testing.assert_allclose(F, s.T @ s / len(s), rtol=1e-9, atol=1e-11)
    assert np.linalg.eigvalsh(F).min() > -1e-10


def test_hessian_product_of_a_gaussian_is_its_dense_fisher():
    """F = mean over states of J' diag(1/std^2, 2) J with J the Jacobian of (mean, logstd): no sampling in it."""
    pi = small_policy('gaussian')
    th, ob, ac, _, _ = batch_of(pi, 6)
    theta = tf.constant(th)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(theta)
        with pi.at(theta):
            flat = pi.pd(tf.constant(ob, pi.X.dtype)).flatparam()
    J = tape.jacobian(flat, theta, experimental_use_pfor=False).numpy()  # [n, 2A, parameters]
    A = ac.shape[1]
    std = np.exp(flat.numpy()[:, A:])
    metric = np.concatenate([1 / std ** 2, np.full_like(std, 2.)], axis=1)
    F = np.einsum('nap,na,naq->pq', J, metric, J) / len(ob)
    np.testing.assert_allclose(dense(make_functions(pi), th, ob, ac), F, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize('name', POLICIES)
def test_hessian_product_is_the_slope_of_the_gradient_of_kl(name):
    """Central differences of grad KL(old || .) at old approach the product quadratically, in float64."""
    pi = small_policy(name)
    th, ob, ac, _, _ = batch_of(pi, 20)
    v = np.random.default_rng(3).standard_normal(th.size)
    fvp = make_functions(pi).compute_fvp(v, th, ob, ac)

    def kl_gradient(theta):
        theta = tf.constant(theta)
        with tf.GradientTape() as tape:
            tape.watch(theta)
            with pi.at(tf.constant(th)):
                oldpd = pi.pd(tf.constant(ob, pi.X.dtype))
            with pi.at(theta):
                pd = pi.pd(tf.constant(ob, pi.X.dtype))
            kl = oldpd.kl(pd) if pd.has_analytic_kl else oldpd.sampled_kl(pd, tf.constant(ac))
            loss = tf.reduce_mean(kl)
        return tape.gradient(loss, theta).numpy()

    errors = [np.abs((kl_gradient(th + eps * v) - kl_gradient(th - eps * v)) / (2 * eps) - fvp).max()
              for eps in STEPS[name]]
    assert errors[1] < 1e-5 * np.abs(fvp).max() and errors[1] < errors[0] / 30


@pytest.mark.parametrize('dtype, error', [('float64', 1e-12), ('float32', 2e-5)])
@pytest.mark.parametrize('activation', ['tanh', 'relu'])
@pytest.mark.parametrize('layers', [0, 1, 3])
def test_product_by_hand_is_that_of_tensorflow(layers, activation, dtype, error):
    """On several layers, observations filtered; and twice from one `given`."""
    pi = build_policy(Line(action_dims=2), 'mlp', num_layers=layers, num_hidden=5, activation=activation,
                      value_network='copy', normalize_observations=True)(np.random.default_rng(0), dtype)
    rng = np.random.default_rng(1)
    pi.ob_rms.update(3 * rng.standard_normal((50, 2)))
    for v in pi.var_list:
        v.assign_add(0.3 * rng.standard_normal(v.shape))
    th, ob, ac, _, _ = batch_of(pi, 30)
    tangents = rng.standard_normal((2, th.size)).astype(dtype)
    by_hand, other = (make_functions(pi, by_hand=choice).compute_fvp for choice in (True, False))
    assert isinstance(by_hand, GaussianFisher) and not isinstance(other, GaussianFisher)
    product = by_hand.given(th, ob, ac)
    for v in tangents:
        expected = other(v, th, ob, ac)
        assert product(v).dtype == expected.dtype == dtype
        assert np.linalg.norm(product(v) - expected) <= error * np.linalg.norm(expected)


@pytest.mark.parametrize('options', [
    {'policy': 'gmm'}, {'policy': 'gaussian', 'fixed_logstd': True}, {'activation': 'elu'}, {'layer_norm': True}
], ids=str)
def test_other_policies_have_no_product_by_hand(options):
    pi = build_policy(Line(), 'mlp', value_network='copy', num_hidden=4, **options)()
    assert gaussian_fisher(pi) is None


@pytest.mark.parametrize('name', ['gmm', 'flow'])
def test_sampled_hessian_and_gauss_newton_agree_in_expectation(name):
    """Both estimate the Fisher matrix: over 4000 samples v'Fv agrees within 4 standard errors (1 in 16000 fails)."""
    pi = small_policy(name)
    th, ob, ac, _, _ = batch_of(pi, 4000)
    v = np.random.default_rng(3).standard_normal(th.size)
    hessian, gauss_newton = (
        np.array([v.dot(f.compute_fvp(v, th, ob[i::40], ac[i::40])) for i in range(40)])
        for f in (make_functions(pi), make_functions(pi, fisher='gauss_newton')))
    difference = hessian - gauss_newton
    assert abs(difference.mean()) < 4 * difference.std(ddof=1) / np.sqrt(40)


# ---------------------------------------------------------------- line search

@pytest.mark.parametrize('name', ['gaussian', 'gmm'])
def test_xla_computes_the_same_products(name):
    pi = small_policy(name)
    th, ob, ac, _, _ = batch_of(pi, 40)
    v = np.random.default_rng(3).standard_normal(th.size)
    one, other = (make_functions(pi, xla=xla, by_hand=False).compute_fvp(v, th, ob, ac) for xla in ((), ['fvp']))
    np.testing.assert_allclose(other, one, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('updates, xla, compiled', [
    (199, None, []), (200, None, ['fit']), (976, None, ['fit', 'fvp']),
    (2000, None, ['fit', 'fvp', 'losses', 'gradient']),
    (1, True, ['fit', 'fvp', 'losses', 'gradient']), (5000, False, [])])
def test_xla_compiles_what_pays(updates, xla, compiled):
    assert choose(small_policy('gaussian'), None, xla, updates) == ('hessian', compiled)


def test_xla_compiles_nothing_for_images():
    class Images(gym.Env):
        observation_space, action_space = gym.spaces.Box(0, 255, (36, 36, 1), np.uint8), gym.spaces.Discrete(2)

    images = build_policy(Images(), 'cnn_small')()
    assert choose(images, None, None, 5000)[1] == [] and choose(images, None, True, 1)[1]


def test_logged_entropy_of_the_taken_actions():
    """At ent_coef 0; of 20,000 states, against 20 new actions for each. Four standard errors: 1 in 10,000 fails."""
    pi = small_policy('gmm')
    thold, ob, ac, atarg, noise = batch_of(pi, 20_000)
    th = thold + 0.01 * np.random.default_rng(4).standard_normal(thold.size)
    entropy = make_functions(pi).compute_losses(th, thold, ob, ac, atarg, noise)[4]
    with pi.at(tf.constant(th)):
        pd = pi.pd(tf.constant(ob))
        samples = -pd.logp(tf.constant(ac)).numpy()
        expected = tf.reduce_mean(pd.sampled_entropy(20)).numpy()
    assert entropy == pytest.approx(expected, abs=4 * samples.std() * np.sqrt((1 + 1 / 20) / len(ob)) + 0.01)


def search(losses_at, max_kl=0.01, **kwargs):
    lossbefore = np.array([1.0, 0.0, 0.0, 1.0, 0.0])
    th = np.array([1., 2.])
    return th, lossbefore, linesearch(losses_at, th, np.array([8., 0.]), lossbefore, 1.0, max_kl=max_kl, **kwargs)


def losses(surr, kl):
    return np.array([surr, kl, 0., surr, 0.])


def test_linesearch_takes_a_good_full_step():
    th, _, (thnew, stepsize, meanlosses) = search(lambda th: losses(1.5, 0.015))
    assert stepsize == 1.0
    np.testing.assert_array_equal(thnew, [9., 2.])
    np.testing.assert_array_equal(meanlosses, losses(1.5, 0.015))


@pytest.mark.parametrize('bad', [losses(1.5, 0.0151), losses(0.999, 0.), losses(np.nan, 0.), losses(1.5, np.inf)],
                         ids=['kl', 'surrogate', 'nan', 'inf'])
def test_linesearch_halves_the_step_while_a_trial_is_bad(bad):
    tried = []

    def losses_at(th):
        tried.append(th[0])
        return bad if th[0] > 3 else losses(1.1, 0.001)
    _, _, (thnew, stepsize, meanlosses) = search(losses_at)
    assert tried == [9., 5., 3.] and stepsize == 0.25
    np.testing.assert_array_equal(thnew, [3., 2.])
    np.testing.assert_array_equal(meanlosses, losses(1.1, 0.001))


@pytest.mark.parametrize('bad', [losses(1.5, 1.), losses(0., 0.), losses(np.nan, np.nan)],
                         ids=['kl', 'surrogate', 'nan'])
def test_linesearch_failure_restores_parameters_and_losses(bad):
    calls = []
    th, lossbefore, (thnew, stepsize, meanlosses) = search(lambda th: calls.append(1) or bad)
    assert len(calls) == 10 and stepsize == 0
    np.testing.assert_array_equal(thnew, th)
    np.testing.assert_array_equal(meanlosses, lossbefore)


def test_linesearch_keywords():
    _, _, (_, stepsize, _) = search(lambda th: losses(2., 0.02), kl_margin=2.0)
    assert stepsize == 1.0
    _, _, (_, stepsize, _) = search(lambda th: losses(2., th[0]), max_kl=3., backtrack_coeff=0.25, kl_margin=1.0)
    assert stepsize == 0.25
    _, _, (_, stepsize, _) = search(lambda th: losses(2., th[0]), max_kl=3., backtrack_iters=2, kl_margin=1.0)
    assert stepsize == 0


# ---------------------------------------------------------------- whole updates

STEP = dict(max_kl=0.01, cg_iters=10, cg_damping=0.1)


@pytest.mark.parametrize('name', POLICIES)
def test_step_improves_the_surrogate_within_the_trust_region(name):
    pi = small_policy(name)
    th, ob, ac, atarg, noise = batch_of(pi, 200)
    functions = make_functions(pi, fisher='gauss_newton')
    thnew, meanlosses, info = trust_region_step(functions, th, (ob, ac, atarg), noise, **STEP)
    assert info['stepsize'] > 0 and info['neg_curvature'] == 0
    surr, kl = functions.compute_losses(thnew, th, ob, ac, atarg, noise)[:2]
    assert surr > atarg.mean() and kl <= 0.015
    np.testing.assert_allclose(meanlosses[:2], [surr, kl], rtol=1e-9)


def test_step_of_a_gaussian_is_the_natural_gradient():
    """With enough CG iterations: F^-1 g, scaled to a second-order KL of max_kl."""
    pi = small_policy('gaussian')
    th, ob, ac, atarg, noise = batch_of(pi, 50)
    functions = make_functions(pi)
    _, g = functions.compute_lossandgrad(th, ob, ac, atarg, noise)
    F = dense(functions, th, ob, ac) + 0.1 * np.eye(th.size)
    direction = np.linalg.solve(F, g)
    fullstep = direction / np.sqrt(.5 * direction @ F @ direction / 1e-6)
    thnew, _, info = trust_region_step(functions, th, (ob, ac, atarg), noise, max_kl=1e-6, cg_iters=100,
                                       cg_damping=0.1, fvp_subsample=1)
    assert info['stepsize'] == 1.0
    # CG leaves a residual of norm 1e-5 at most, and F >= 0.1; normalising the step can double the error
    scale = np.linalg.norm(fullstep) / np.linalg.norm(direction)
    assert np.linalg.norm(thnew - th - fullstep) < 2 * scale * 1e-5 / 0.1


def test_step_with_negative_curvature_leaves_the_policy_and_says_so():
    pi = small_policy('gaussian')
    th, ob, ac, atarg, noise = batch_of(pi, 50)
    thnew, meanlosses, info = trust_region_step(make_functions(pi), th, (ob, ac, atarg), noise, max_kl=0.01,
                                                cg_iters=10, cg_damping=-1e6)
    assert info['neg_curvature'] == 1 and info['stepsize'] == 0 and thnew is th
    np.testing.assert_allclose(meanlosses[0], atarg.mean(), rtol=1e-6)


def test_step_without_gradient_leaves_the_policy():
    pi = small_policy('gaussian')
    th, ob, ac, atarg, noise = batch_of(pi, 50)
    thnew, _, info = trust_region_step(make_functions(pi), th, (ob, ac, 0 * atarg), noise, **STEP)
    assert thnew is th and info['stepsize'] == 0 and info['neg_curvature'] == 0


# ---------------------------------------------------------------- learning

def parameters(pi):
    return np.concatenate([U.GetFlat(pi.var_list)(), U.GetFlat(pi.vf_var_list)()])


def short_run(env, **kwargs):
    options = {'network': 'mlp', 'env': env, 'total_timesteps': 512, 'timesteps_per_batch': 256, 'seed': 3,
               'num_hidden': 8, 'max_kl': 0.01, 'cg_damping': 0.1, 'normalize_observations': True, **kwargs}
    return trpo_mpi.learn(**options)


@pytest.mark.parametrize('name', POLICIES)
def test_same_seed_same_parameters_twice_in_a_process(name):
    first, second, other = (parameters(short_run(gym.make('Hopper-v5'), policy=name, seed=seed, **POLICIES[name]))
                            for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_without_mpi_the_observation_filter_learns():
    pi = short_run(gym.make('Hopper-v5'))
    assert pi.ob_rms.state()['count'] == pytest.approx(512 + 1e-2)
    assert np.abs(pi.ob_rms.mean.numpy()).max() > 0.1


@pytest.mark.parametrize('name, default, other', [('gaussian', 'hessian', 'gauss_newton'),
                                                  ('gmm', 'gauss_newton', 'hessian')])
def test_the_fisher_matrix_is_the_hessian_of_closed_forms_only(name, default, other):
    first, same, another = (parameters(short_run(gym.make('Hopper-v5'), policy=name, **kwargs))
                            for kwargs in ({}, {'fisher': default}, {'fisher': other}))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, another)


@pytest.mark.parametrize('when, seen', [('before', [256, 512]), ('after', [0, 256])])
def test_the_filter_takes_in_a_batch_before_the_update_or_after(monkeypatch, when, seen):
    counts, policies = [], []
    update = trust_region_step

    def spied(*args, **kwargs):
        counts.append(round(float(policies[-1].ob_rms.state()['count'])))
        return update(*args, **kwargs)

    monkeypatch.setattr(trpo_mpi, 'trust_region_step', spied)
    pi = short_run(gym.make('Hopper-v5'), filter_update=when, callback=lambda l, g: policies.append(l['pi']))
    assert counts == seen
    assert pi.ob_rms.state()['count'] == pytest.approx(512 + 1e-2)


def test_value_function_learns_though_the_policy_is_left_alone():
    """Every trial of every line search is refused: the counters go on, the policy stays, the value function moves."""
    seen = []

    def callback(local_values, _):
        pi = local_values['pi']
        seen.append((local_values['timesteps_so_far'], U.GetFlat(pi.var_list)(), U.GetFlat(pi.vf_var_list)()))
    short_run(Line(20), kl_margin=1e-30, callback=callback)
    assert [steps for steps, _, _ in seen] == [0, 256, 512]
    np.testing.assert_array_equal(seen[0][1], seen[-1][1])
    assert np.abs(seen[0][2] - seen[-1][2]).max() > 1e-4


@pytest.mark.parametrize('env', [
    lambda: gym.make('CartPole-v1'),
    lambda: gym.make_vec('CartPole-v1', 4, vectorization_mode='sync',
                         vector_kwargs={'autoreset_mode': gym.vector.AutoresetMode.SAME_STEP}),
    lambda: DummyVecEnv([lambda: gym.make('Pendulum-v1')] * 2),
], ids=['gymnasium', 'gymnasium vector', 'VecEnv'])
def test_learn_takes_any_environment(env):
    env = env()
    pi = trpo_mpi.learn(network='mlp', env=env, total_timesteps=256, timesteps_per_batch=128, seed=0)
    ob = as_vec_env(env).reset()
    assert len(pi.act(ob)) == len(ob)


def test_time_steps_are_counted_truly_and_only_one_limit_is_taken():
    steps = []
    short_run(gym.make('Pendulum-v1'), total_timesteps=500, callback=lambda l, g: steps.append(l['timesteps_so_far']))
    assert steps == [0, 256, 512]  # no episode of Pendulum ends within 200 steps of a batch's end
    with pytest.raises(UsageError, match='total_timesteps=512 and max_iters=1'):
        short_run(gym.make('Pendulum-v1'), max_iters=1)
    iterations = []
    short_run(Line(20), total_timesteps=0, max_iters=3, callback=lambda l, g: iterations.append(l['iters_so_far']))
    assert iterations == [0, 1, 2, 3]
    episodes = []
    short_run(Line(20), total_timesteps=0, max_episodes=13,
              callback=lambda l, g: episodes.append(l['episodes_so_far']))
    assert episodes[-1] >= 13 > episodes[-2]


def test_nothing_to_do_returns_the_policy():
    pi = short_run(gym.make('Hopper-v5'), total_timesteps=0)
    assert pi.act(np.zeros(11)).shape == (1, 3)


@pytest.mark.parametrize('kwargs, line', [
    (dict(timesteps_per_batch=0), 'timesteps_per_batch=0 must be positive'),
    (dict(max_kl=-1), 'max_kl=-1 must be positive'),
    (dict(gamma=1.5), 'gamma=1.5 must lie between 0 and 1'),
    (dict(fisher='hesian'), "fisher='hesian'"),
    (dict(filter_update='late'), "filter_update='late'"),
    (dict(policy='flo'), "unknown policy 'flo'; did you mean flow?"),
    (dict(network='mpl'), "unknown network 'mpl'; did you mean mlp?"),
    (dict(num_hiden=3), "unknown option 'num_hiden'; did you mean num_hidden?"),
    (dict(network='lstm', num_hidden=None), 'unknown option'),
    (dict(load_path='/no/such/file'), 'no model file'),
])
def test_bad_arguments(kwargs, line):
    with pytest.raises(UsageError, match=line):
        short_run(gym.make('Hopper-v5'), **kwargs)


def test_environments_must_divide_the_batch():
    with pytest.raises(UsageError, match='multiple of the number of environments, 3'):
        short_run(DummyVecEnv([Line] * 3))


def test_load_path_continues_from_a_saved_model(tmp_path):
    path = str(tmp_path / 'model.npz')
    pi = short_run(gym.make('Hopper-v5'))
    pi.save(path)
    loaded = short_run(gym.make('Hopper-v5'), total_timesteps=0, load_path=path, seed=9)
    np.testing.assert_array_equal(parameters(loaded), parameters(pi))
    np.testing.assert_array_equal(loaded.ob_rms.std.numpy(), pi.ob_rms.std.numpy())


@pytest.mark.parametrize('name', POLICIES)
def test_learns_to_stay_near_zero(name):
    """Line pays -x^2 for 20 steps; standing still costs about 20 on average, moving to 0 about 3."""
    returns = []

    def callback(local_values, _):
        returns.append(np.mean(local_values['rewbuffer']) if local_values['rewbuffer'] else np.nan)
    trpo_mpi.learn(network='mlp', env=Line(20), total_timesteps=20000, timesteps_per_batch=1000, seed=1, num_hidden=16,
                   max_kl=0.02, cg_damping=0.1, gamma=0.99, lam=0.95, vf_iters=5, vf_stepsize=1e-3, policy=name,
                   fisher='gauss_newton', callback=callback, **({} if name != 'flow' else {'flow_layers': 1}))
    assert returns[-1] > returns[1] / 2 and returns[-1] > -12
