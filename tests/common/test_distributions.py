"""Every family against quadrature, formulas written out in numpy, and finite differences.

Parameters are far from their first values, where a flow is close to the identity and a head close to zero.

Seeds are fixed. Were they redrawn, one comparison within 3 standard errors would fail with probability 0.0027, one
goodness-of-fit test with probability ALPHA.
"""
import functools
import itertools
import statistics

import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from onpolicybaselines.common import distributions as D
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.sampling import NoClosedFormError
from onpolicybaselines.common.tf_util import flatgrad
from onpolicybaselines.common.variables import VariableStore

ALPHA = 1e-3
LATENT = 7  # no family below has this many outputs, so none goes without a head
MOVE = 0.5  # standard deviation of what is added to the first parameters
N = 20000  # samples a state

FAMILIES = {
    'gaussian': lambda size: D.DiagGaussianPdType(size),
    'gaussian_frozen': lambda size: D.DiagGaussianPdType(size, fixed_logstd=True),
    'gaussian_narrow': lambda size: D.DiagGaussianPdType(size, init_logstd=-1),
    'gaussian_state_std': lambda size: D.DiagGaussianPdType(size, init_logstd=-0.5, state_dependent_std=True),
    'gmm1': lambda size: D.GaussianMixturePdType(size, 1),
    'gmm2': lambda size: D.GaussianMixturePdType(size, 2),
    'gmm5': lambda size: D.GaussianMixturePdType(size, 5),
    'gmm2_narrow': lambda size: D.GaussianMixturePdType(size, 2, init_logstd=-1),
    'flow': lambda size: D.NormalizingFlowPdType(size, flow_layers=2),
    'flow_narrow': lambda size: D.NormalizingFlowPdType(size, flow_layers=2, flow_base_logstd=-1),
    'categorical': lambda size: D.CategoricalPdType(2 + size),
    'multicategorical': lambda size: D.MultiCategoricalPdType([2, 3, 1][:size]),
    'bernoulli': lambda size: D.BernoulliPdType(size),
    'gmm2_released': lambda size: D.GaussianMixturePdType(size, 2, 'released'),
    'gmm5_released': lambda size: D.GaussianMixturePdType(size, 5, 'released'),
}
GAUSSIAN = ['gaussian', 'gaussian_frozen', 'gaussian_narrow', 'gaussian_state_std']
CONTINUOUS = [*GAUSSIAN, 'gmm1', 'gmm2', 'gmm5', 'gmm2_narrow', 'flow', 'flow_narrow']
DISCRETE = ['categorical', 'multicategorical', 'bernoulli']
CLOSED_FORM = [*GAUSSIAN, *DISCRETE]
SAMPLED_ONLY = ['gmm1', 'gmm2', 'gmm5', 'gmm2_narrow', 'flow', 'flow_narrow']


class Head:
    """A family on fixed latents, its variables moved far from where they start."""

    def __init__(self, pdtype, batch=2, seed=0, dtype='float64'):
        np_random = np.random.default_rng(seed)
        self.pdtype = pdtype
        self.latent = tf.constant(np_random.standard_normal((batch, LATENT)), dtype)
        self.store = VariableStore(dtype, np_random)
        self.pd()
        self.store.frozen = True
        self.var_list = list(self.store.variables.values())
        for v in self.var_list:
            v.assign_add(MOVE * np_random.standard_normal(v.shape))

    def pd(self):
        with self.store.as_default():
            return self.pdtype.pdfromlatent(self.latent)[0]

    def theta(self):
        return tf.concat([tf.reshape(v, [-1]) for v in self.var_list], axis=0)


@functools.cache
def head(name, size=2, seed=0, dtype='float64'):
    return Head(FAMILIES[name](size), seed=seed, dtype=dtype)


def repeated(pd, state, n):
    """`n` times the distribution of one state."""
    return pd.at(tf.tile(pd.flatparam()[state:state + 1], [n, 1]))


@functools.cache
def quadrature(name, size, state):
    """(points [n, A], cell volume, log p, log q [n]) on a box that holds p but for its far tail; q: another head."""
    p, q = head(name, size).pd(), head(name, size, seed=1).pd()
    tf.random.set_seed(0)
    x = repeated(p, state, N).sample().numpy()
    low, high = x.min(axis=0), x.max(axis=0)
    margin = 0.5 * (high - low)
    axes = [np.linspace(lo, hi, {1: 4001, 2: 601}[size]) for lo, hi in zip(low - margin, high + margin, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing='ij'), axis=-1).reshape(-1, size)
    logp, logq = (repeated(pd, state, len(points)).logp(tf.constant(points)).numpy() for pd in (p, q))
    return points, np.prod([a[1] - a[0] for a in axes]), logp, logq


@functools.cache
def enumeration(name, size, state):
    """(all actions [n, ...], log p, log q [n]) of a discrete family."""
    pd, other = head(name, size).pd(), head(name, size, seed=1).pd()
    if name == 'categorical':
        actions = np.arange(2 + size)
    else:
        sizes = [2, 3, 1][:size] if name == 'multicategorical' else [2] * size
        actions = np.array(list(itertools.product(*map(range, sizes))))
    actions = actions.astype('int32')
    return (actions, *(repeated(d, state, len(actions)).logp(tf.constant(actions)).numpy() for d in (pd, other)))


def within_3_standard_errors(samples, truth):
    """Is the mean of independent samples [n, ...] within 3 standard errors of `truth`, everywhere?"""
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    return bool(np.all(np.abs(samples.mean(axis=0) - truth) <= 3 * error))


def chi_square_fits(counts, probabilities):
    """Pearson's test at level ALPHA; cells that expect fewer than 5 are joined."""
    expected = probabilities * counts.sum()
    rare = expected < 5
    counts, expected = (np.append(a[~rare], a[rare].sum()) for a in (counts, expected))
    keep = expected > 0
    assert counts[~keep].sum() == 0
    statistic = np.sum((counts[keep] - expected[keep])**2 / expected[keep])
    return statistic <= chi_square_quantile(keep.sum() - 1)


def chi_square_quantile(k):
    """The 1 - ALPHA quantile with k degrees of freedom (Wilson & Hilferty's approximation)."""
    z = statistics.NormalDist().inv_cdf(1 - ALPHA)
    return k * (1 - 2 / (9 * k) + z * np.sqrt(2 / (9 * k)))**3


def kolmogorov_smirnov_fits(x, grid, cdf):
    """The test at level ALPHA, with the statistic's limiting law."""
    f = np.interp(np.sort(x), grid, cdf)
    steps = np.arange(len(x) + 1) / len(x)
    statistic = max(np.max(steps[1:] - f), np.max(f - steps[:-1]))
    return statistic <= np.sqrt(-0.5 * np.log(ALPHA / 2) / len(x))


@pytest.fixture(autouse=True)
def _seed():
    tf.random.set_seed(0)


@pytest.fixture(autouse=True, scope='module')
def _no_graph_optimizer():
    """It takes longer than running these graphs does."""
    tf.config.optimizer.set_experimental_options({'disable_meta_optimizer': True})
    yield
    tf.config.optimizer.set_experimental_options({'disable_meta_optimizer': False})


# ================================================================
# Densities
# ================================================================

@pytest.mark.parametrize('size', [1, 2])
@pytest.mark.parametrize('name', CONTINUOUS)
def test_density_integrates_to_one(name, size):
    for state in range(2):
        _, volume, logp, _ = quadrature(name, size, state)
        assert np.exp(logp).sum() * volume == pytest.approx(1, abs=1e-3 if 'flow' in name and size == 2 else 1e-6)


@pytest.mark.parametrize('size', [1, 2])
@pytest.mark.parametrize('name', DISCRETE)
def test_probabilities_sum_to_one(name, size):
    for state in range(2):
        _, logp, _ = enumeration(name, size, state)
        assert np.exp(logp).sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize('size', [1, 2])
@pytest.mark.parametrize('name', ['gmm2_released', 'gmm5_released'])
def test_released_mixture_is_not_a_density(name, size):
    for state in range(2):
        _, volume, logp, _ = quadrature(name, size, state)
        assert np.exp(logp).sum() * volume < 0.995


def test_released_mixture_of_distant_means_has_lost_most_of_its_mass():
    """The geometric mean of N(-2, 1) and N(2, 1) integrates to exp(-2)."""
    x = tf.constant(np.linspace(-15, 15, 3001)[:, None])
    for mode, mass in [('released', np.exp(-2)), ('mixture', 1)]:
        pd = D.GaussianMixturePd(tf.constant([[-2., 2., 0., 0.]] * 3001, tf.float64), 2, mode)
        assert np.exp(pd.logp(x)).sum() * 0.01 == pytest.approx(mass, rel=1e-9)


def test_released_mixture_averages_component_log_densities():
    pd = head('gmm5_released', 2).pd()
    mean, logstd = (a.reshape(2, 5, 2) for a in np.split(pd.flatparam().numpy(), 2, axis=1))
    x = np.random.default_rng(0).standard_normal((2, 2))
    z = (x[:, None] - mean) / np.exp(logstd)
    component = (-0.5 * z**2 - logstd - 0.5 * np.log(2 * np.pi)).sum(axis=-1)
    np.testing.assert_allclose(pd.component_logp(tf.constant(x)), component, rtol=1e-12)
    np.testing.assert_allclose(pd.logp(tf.constant(x)), component.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(pd.neglogp(tf.constant(x)), -component.mean(axis=1), rtol=1e-12)


def test_released_mode_is_kept_by_at_and_without_effect_on_one_component():
    pd = head('gmm2_released', 2).pd()
    x = tf.constant(np.random.default_rng(0).standard_normal((2, 2)))
    np.testing.assert_array_equal(pd.at(pd.flatparam()).logp(x), pd.logp(x))
    np.testing.assert_array_equal(pd[:1].logp(x[:1]), pd.logp(x)[:1])
    assert not np.allclose(pd.logp(x), D.GaussianMixturePd(pd.flatparam(), 2).logp(x), atol=1e-3)
    one = head('gmm1', 2).pd()
    np.testing.assert_allclose(D.GaussianMixturePd(one.flatparam(), 1, 'released').logp(x), one.logp(x), rtol=1e-12)


def test_flow_of_these_tests_is_far_from_a_gaussian():
    """Else the tests of this file would say little about the couplings."""
    for size in (1, 2):
        pd = head('flow', size).pd()
        points, volume, logp, _ = quadrature('flow', size, 0)
        gaussian = -0.5 * ((points - pd.flatparam().numpy()[0])**2).sum(axis=1) - 0.5 * size * np.log(2 * np.pi)
        assert np.sum(np.exp(logp) * (logp - gaussian)) * volume > 0.2


# ================================================================
# Formulas written out
# ================================================================

def _gaussian_logp(mean, logstd, x):
    z = (x - mean) / np.exp(logstd)
    return (-0.5 * z**2 - logstd - 0.5 * np.log(2 * np.pi)).sum(axis=-1)


@pytest.mark.parametrize('name', GAUSSIAN)
def test_gaussian_formulas(name):
    p, q = head(name, 3).pd(), head(name, 3, seed=1).pd()
    (m0, s0), (m1, s1) = (np.split(pd.flatparam().numpy(), 2, axis=1) for pd in (p, q))
    x = np.random.default_rng(2).standard_normal((2, 3))
    np.testing.assert_allclose(p.logp(tf.constant(x)), _gaussian_logp(m0, s0, x), rtol=1e-12)
    np.testing.assert_allclose(p.entropy(), (s0 + 0.5 * np.log(2 * np.pi * np.e)).sum(axis=1), rtol=1e-12)
    kl = s1 - s0 + (np.exp(2 * s0) + (m0 - m1)**2) / (2 * np.exp(2 * s1)) - 0.5
    np.testing.assert_allclose(p.kl(q), kl.sum(axis=1), rtol=1e-12)
    np.testing.assert_array_equal(p.mean, m0)
    np.testing.assert_allclose(p.std, np.exp(s0), rtol=1e-15)


def test_fixed_logstd_has_no_variable_and_stays_at_one():
    frozen, trained = head('gaussian_frozen', 2), head('gaussian', 2)
    assert list(frozen.store.variables) == ['pi/w', 'pi/b']
    assert list(trained.store.variables) == ['pi/w', 'pi/b', 'pi/logstd']
    np.testing.assert_array_equal(frozen.pd().std, np.ones((2, 2)))
    assert np.abs(trained.pd().logstd).min() > 1e-3


def test_standard_deviations_start_at_init_logstd():
    """In every state, and with nothing else changed: the first means are the same."""
    latent = tf.constant(np.random.default_rng(0).standard_normal((4, LATENT)), 'float64')

    def first(pdtype):
        store = VariableStore('float64', np.random.default_rng(1))
        with store.as_default():
            pd = pdtype.pdfromlatent(latent)[0]
        return store.variables, pd
    for family, kwargs in [(D.DiagGaussianPdType, {}), (D.DiagGaussianPdType, {'state_dependent_std': True}),
                           (D.DiagGaussianPdType, {'fixed_logstd': True}), (D.GaussianMixturePdType, {})]:
        (_, pd), (_, narrow) = first(family(3, **kwargs)), first(family(3, init_logstd=-1.5, **kwargs))
        np.testing.assert_array_equal(pd.logstd, np.zeros_like(pd.mean))
        np.testing.assert_array_equal(narrow.logstd, np.full_like(pd.mean, -1.5))
        np.testing.assert_array_equal(narrow.mean, pd.mean)
    variables, _ = first(D.DiagGaussianPdType(3, state_dependent_std=True))
    assert list(variables) == ['pi/w', 'pi/b', 'pi/logstd/w', 'pi/logstd/b']


def test_state_dependent_std_is_a_layer_on_the_latent():
    h = head('gaussian_state_std', 3)
    w, b = (h.store.variables[f'pi/logstd/{name}'].numpy() for name in 'wb')
    np.testing.assert_allclose(h.pd().logstd, h.latent.numpy() @ w + b, rtol=1e-12)
    assert np.abs(np.diff(h.pd().logstd, axis=0)).min() > 1e-3  # it differs between states


def test_fresh_flow_has_the_standard_deviation_of_its_noise():
    """The couplings are close to the identity: the samples are the noise and the state vector, to some percent."""
    store = VariableStore('float64', np.random.default_rng(0))
    with store.as_default():
        pdtype = D.NormalizingFlowPdType(2, flow_base_logstd=-1)
        pd, state_vector = pdtype.pdfromlatent(tf.zeros([N, LATENT], 'float64'))
    for noise in (pdtype.noise(np.random.default_rng(0), N), None):
        np.testing.assert_allclose((pd.sample(noise) - state_vector).numpy().std(axis=0), np.exp(-1), rtol=0.05)


@pytest.mark.parametrize('components', [1, 2, 5])
def test_mixture_formula(components):
    pd = head(f'gmm{components}', 3).pd()
    mean, logstd = (a.reshape(2, components, 3) for a in np.split(pd.flatparam().numpy(), 2, axis=1))
    x = np.random.default_rng(2).standard_normal((2, 3))
    each = _gaussian_logp(mean, logstd, x[:, None])
    np.testing.assert_allclose(pd.logp(tf.constant(x)), np.log(np.exp(each).mean(axis=1)), rtol=1e-12)


def test_mixture_far_from_its_components_stays_finite():
    """By log-sum-exp: each component's density underflows there."""
    for dtype in ('float32', 'float64'):
        pd = D.GaussianMixturePd(tf.constant([[-1., 1., 0., 0.]], dtype), 2)
        x = tf.constant([[1000.]], dtype)
        np.testing.assert_allclose(pd.logp(x), [-0.5 * 999.**2 - 0.5 * np.log(2 * np.pi) - np.log(2)], rtol=1e-6)
        with tf.GradientTape() as tape:
            tape.watch(x)
            logp = pd.logp(x)
        np.testing.assert_allclose(tape.gradient(logp, x), [[-999.]], rtol=1e-6)


def test_mixture_of_one_is_the_gaussian():
    mixture = head('gmm1', 3).pd()
    gaussian = D.DiagGaussianPd(mixture.flatparam())
    noise = np.random.default_rng(0).standard_normal((2, 4))
    noise[:, -1] = [0.1, 0.999]
    x = gaussian.sample(noise[:, :-1])
    np.testing.assert_allclose(mixture.sample(noise), x, rtol=1e-14)
    np.testing.assert_allclose(mixture.logp(x), gaussian.logp(x), rtol=1e-12)
    np.testing.assert_allclose(mixture.mode(), gaussian.mode(), rtol=1e-14)


def _log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def test_categorical_formulas():
    p, q = head('categorical', 3).pd(), head('categorical', 3, seed=1).pd()
    logp, logq = _log_softmax(p.flatparam().numpy()), _log_softmax(q.flatparam().numpy())
    x = np.array([4, 1], 'int32')
    expected = logp[[0, 1], x]
    for kind in ('int32', 'int64', 'uint8'):
        np.testing.assert_allclose(p.logp(tf.constant(x.astype(kind))), expected, rtol=1e-12)
    one_hot = np.eye(5)[x]
    for kind in ('float64', 'float32', 'int32'):
        np.testing.assert_allclose(p.neglogp(tf.constant(one_hot.astype(kind))), -expected, rtol=1e-12)
    np.testing.assert_allclose(p.entropy(), -(np.exp(logp) * logp).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(p.kl(q), (np.exp(logp) * (logp - logq)).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(p.mean, np.exp(logp), rtol=1e-12)


def test_multicategorical_formulas():
    p, q = head('multicategorical', 3).pd(), head('multicategorical', 3, seed=1).pd()
    x = np.array([[1, 2, 0], [0, 0, 0]], 'int32')
    logp, entropy, kl = np.zeros(2), np.zeros(2), np.zeros(2)
    for i, (a, b) in enumerate(zip(*(np.split(pd.flatparam().numpy(), [2, 5], axis=1) for pd in (p, q)), strict=True)):
        a, b = _log_softmax(a), _log_softmax(b)
        logp += a[[0, 1], x[:, i]]
        entropy -= (np.exp(a) * a).sum(axis=1)
        kl += (np.exp(a) * (a - b)).sum(axis=1)
    np.testing.assert_allclose(p.logp(tf.constant(x)), logp, rtol=1e-12)
    np.testing.assert_allclose(p.neglogp(tf.constant(x)), -logp, rtol=1e-12)
    np.testing.assert_allclose(p.entropy(), entropy, rtol=1e-12)
    np.testing.assert_allclose(p.kl(q), kl, rtol=1e-12)


def test_bernoulli_formulas():
    p, q = head('bernoulli', 3).pd(), head('bernoulli', 3, seed=1).pd()
    a, b = (1 / (1 + np.exp(-pd.flatparam().numpy())) for pd in (p, q))
    x = np.array([[1, 0, 1], [0, 0, 1]], 'int32')
    np.testing.assert_allclose(p.logp(tf.constant(x)), np.log(np.where(x, a, 1 - a)).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(p.entropy(), -(a * np.log(a) + (1 - a) * np.log(1 - a)).sum(axis=1), rtol=1e-12)
    kl = a * np.log(a / b) + (1 - a) * np.log((1 - a) / (1 - b))
    np.testing.assert_allclose(p.kl(q), kl.sum(axis=1), rtol=1e-11)
    np.testing.assert_allclose(p.mean, a, rtol=1e-12)


# ================================================================
# Entropy and KL: closed form, sampled, by quadrature
# ================================================================

def _truth(name, size, state):
    """(entropy of p, KL(p || q)) by summation over all actions or by quadrature."""
    if name in DISCRETE:
        _, logp, logq = enumeration(name, size, state)
        p = np.exp(logp)
    else:
        _, volume, logp, logq = quadrature(name, size, state)
        p = np.exp(logp) * volume
    return -np.sum(p * logp), np.sum(p * (logp - logq))


@pytest.mark.parametrize('size', [1, 2])
@pytest.mark.parametrize('name', CLOSED_FORM)
def test_closed_forms_against_summation(name, size):
    p, q = head(name, size).pd(), head(name, size, seed=1).pd()
    assert p.has_analytic_kl and p.has_analytic_entropy
    for state in range(2):
        entropy, kl = _truth(name, size, state)
        assert p.entropy()[state].numpy() == pytest.approx(entropy, abs=1e-7)
        assert p.kl(q)[state].numpy() == pytest.approx(kl, abs=1e-7)


@pytest.mark.parametrize('size', [1, 2])
@pytest.mark.parametrize('name', [*CONTINUOUS, *DISCRETE])
def test_sampled_entropy_and_kl_estimate_the_true_ones(name, size):
    """26 families and sizes x 2 states x 2 comparisons within 3 standard errors."""
    for state in range(2):
        p, q = (repeated(head(name, size, seed).pd(), state, N) for seed in (0, 1))
        x = p.sample()
        entropy, kl = _truth(name, size, state)
        assert within_3_standard_errors(p.neglogp(x).numpy(), entropy)
        assert within_3_standard_errors(p.sampled_kl(q, x).numpy(), kl)


@pytest.mark.parametrize('name', [*CONTINUOUS, *DISCRETE, 'gmm2_released'])
def test_sampled_entropy_is_the_mean_over_tiled_states(name):
    h = head(name, 2, dtype='float32')
    pd, noise = h.pd(), h.pdtype.noise(np.random.default_rng(0), 3 * 2)
    expected = np.mean([pd.neglogp(pd.sample(noise[2 * i:2 * i + 2])) for i in range(3)], axis=0)
    estimate = pd.sampled_entropy(3, noise)
    assert estimate.shape == (2,)
    np.testing.assert_allclose(estimate, expected, rtol=1e-4, atol=1e-5)
    assert pd.sampled_entropy().shape == (2,)


@pytest.mark.parametrize('name', [*SAMPLED_ONLY, 'gmm2_released'])
def test_without_closed_form_the_error_names_the_estimator(name):
    pd = head(name, 2).pd()
    assert not pd.has_analytic_kl and not pd.has_analytic_entropy
    with pytest.raises(NoClosedFormError, match=r'sampled_kl\(other, x\)') as kl:
        pd.kl(pd)
    with pytest.raises(NoClosedFormError, match=r'sampled_entropy\(n\)') as entropy:
        pd.entropy()
    for message in (str(kl.value), str(entropy.value)):
        assert type(pd).__name__ in message and '\n' not in message


@pytest.mark.parametrize('name', CLOSED_FORM)
def test_kl_to_itself_is_exactly_zero_and_stationary(name):
    flat = head(name, 3).pd().flatparam()
    pd = head(name, 3).pd()
    other = pd.at(tf.stop_gradient(flat))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(flat)
        forward, backward = pd.at(flat).kl(other), other.kl(pd.at(flat))
    for kl in (forward, backward):
        np.testing.assert_array_equal(kl, [0, 0])
        np.testing.assert_allclose(tape.gradient(kl, flat), np.zeros(flat.shape), atol=1e-15)


@pytest.mark.parametrize('name', [*CONTINUOUS, *DISCRETE])
def test_sampled_kl_to_itself_is_exactly_zero(name):
    pd = head(name, 3).pd()
    flat, x = pd.flatparam(), pd.sample()
    with tf.GradientTape() as tape:
        tape.watch(flat)
        p = pd.at(flat)
        kl = p.sampled_kl(p, x)
    np.testing.assert_array_equal(kl, [0, 0])
    np.testing.assert_allclose(tape.gradient(kl, flat), np.zeros(flat.shape), atol=1e-12)
    np.testing.assert_array_equal(pd.sampled_kl(pd.at(flat), x), [0, 0])


@pytest.mark.parametrize('name', [*CONTINUOUS, *DISCRETE])
def test_score_has_mean_zero(name):
    """As it must if samples follow the density: Hotelling's test at level ALPHA, in the parameters that vary freely."""
    pd = repeated(head(name, 2).pd(), 0, N)
    x, flat = pd.sample(), pd.flatparam()
    with tf.GradientTape() as tape:
        tape.watch(flat)
        logp = pd.at(flat).logp(x)
    score = tape.gradient(logp, flat).numpy()
    values, vectors = np.linalg.eigh(np.cov(score.T, ddof=1))
    free = values > 1e-9 * values.max()  # logits count only up to a constant
    z = np.sqrt(N) * score.mean(axis=0) @ vectors[:, free] / np.sqrt(values[free])
    assert np.square(z).sum() <= chi_square_quantile(free.sum())
    np.testing.assert_allclose(score @ vectors[:, ~free], 0, atol=1e-9)


@pytest.mark.parametrize('name', [*CONTINUOUS])
def test_gradient_of_sampled_entropy_is_that_of_the_entropy(name):
    """Reparameterised: against central differences of the entropy by quadrature, along a direction of all variables."""
    h = Head(FAMILIES[name](1), batch=1)
    theta = h.theta()
    direction = tf.constant(np.random.default_rng(1).standard_normal(theta.shape))
    points, volume, _, _ = quadrature(name, 1, 0)
    wide = tf.constant(points[0] + (points - points[0]) * 1.5 - 0.25 * (points[-1] - points[0]))  # for moved parameters

    def entropy(step):
        with h.store.substitute(h.var_list, theta + step * direction):
            logp = repeated(h.pd(), 0, len(points)).logp(wide).numpy()
        return -np.sum(np.exp(logp) * logp) * volume * 1.5

    with tf.autodiff.ForwardAccumulator(theta, direction) as tangent:
        with h.store.substitute(h.var_list, theta):
            pd = repeated(h.pd(), 0, N)
            samples = pd.neglogp(pd.sample())
    slopes = tangent.jvp(samples).numpy()
    truth = (entropy(1e-4) - entropy(-1e-4)) / 2e-4
    if np.ptp(slopes) < 1e-9:  # an affine map: every sample says the same
        np.testing.assert_allclose(slopes, truth, atol=1e-6)
    else:
        assert within_3_standard_errors(slopes, truth)


# ================================================================
# Samples
# ================================================================

def _samples(name, size, state, source):
    """N actions of one state, float64; of the default precision, float32, for the discrete families."""
    h = head(name, size, dtype='float32' if name in DISCRETE else 'float64')
    noise = h.pdtype.noise(np.random.default_rng(7), N) if source == 'host' else None
    return repeated(h.pd(), state, N).sample(noise).numpy()


@pytest.mark.parametrize('source', ['host', 'tensorflow'])
@pytest.mark.parametrize('name', CONTINUOUS)
def test_samples_follow_the_density_in_1d(name, source):
    for state in range(2):
        points, volume, logp, _ = quadrature(name, 1, state)
        cdf = np.cumsum(np.exp(logp)) * volume - 0.5 * np.exp(logp) * volume
        assert kolmogorov_smirnov_fits(_samples(name, 1, state, source)[:, 0], points[:, 0], cdf)


@pytest.mark.parametrize('source', ['host', 'tensorflow'])
@pytest.mark.parametrize('name', CONTINUOUS)
def test_samples_follow_the_density_in_2d(name, source):
    for state in range(2):
        points, volume, logp, _ = quadrature(name, 2, state)
        n = round(len(points)**0.5)
        axes = points.reshape(n, n, 2)[:, 0, 0], points.reshape(n, n, 2)[0, :, 1]
        edges = [a[0] + (np.arange(0, n + 15, 15) - 0.5) * (a[1] - a[0]) for a in axes]  # 15 x 15 points a cell
        weights, _, _ = np.histogram2d(*points.T, bins=edges, weights=np.exp(logp) * volume)
        counts, _, _ = np.histogram2d(*_samples(name, 2, state, source).T, bins=edges)
        assert chi_square_fits(counts.ravel(), weights.ravel())


@pytest.mark.parametrize('source', ['host', 'tensorflow'])
@pytest.mark.parametrize('name', DISCRETE)
def test_samples_follow_the_probabilities(name, source):
    for state in range(2):
        actions, logp, _ = enumeration(name, 2, state)
        x = _samples(name, 2, state, source)
        counts = np.array([np.sum(np.all(np.atleast_2d(x.T).T == a, axis=1)) for a in actions])
        assert counts.sum() == N
        assert chi_square_fits(counts, np.exp(logp))


def test_goodness_of_fit_tests_can_fail():
    np_random = np.random.default_rng(0)
    grid = np.linspace(-6, 6, 4001)
    cdf = np.array([statistics.NormalDist().cdf(g) for g in grid])
    assert kolmogorov_smirnov_fits(np_random.standard_normal(N), grid, cdf)
    assert not kolmogorov_smirnov_fits(1.05 * np_random.standard_normal(N), grid, cdf)
    counts = np_random.multinomial(N, [0.2, 0.3, 0.5])
    assert chi_square_fits(counts, np.array([0.2, 0.3, 0.5]))
    assert not chi_square_fits(counts, np.array([0.22, 0.3, 0.48]))


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
@pytest.mark.parametrize('name', [*CONTINUOUS, *DISCRETE])
def test_sample_of_noise_is_deterministic(name, dtype):
    h = head(name, 2, dtype=dtype)
    noise = h.pdtype.noise(np.random.default_rng(0), 2)
    pd = h.pd()
    x = pd.sample(noise)
    np.testing.assert_array_equal(x, h.pd().sample(tf.constant(noise)))
    assert x.shape == (2, *h.pdtype.sample_shape())
    assert x.dtype == (dtype if name in CONTINUOUS else 'int32')
    others = [h.pd().sample(h.pdtype.noise(np.random.default_rng(i), 2)).numpy() for i in range(1, 20)]
    assert any(np.any(other != x.numpy()) for other in others)
    assert pd.sample().shape == x.shape and pd.sample().dtype == x.dtype
    np.testing.assert_allclose(pd.logp(x), -pd.neglogp(x), rtol=1e-15)
    assert pd.logp(x).shape == (2,) and pd.logp(x).dtype == dtype


@pytest.mark.parametrize('name', [*CONTINUOUS, *DISCRETE])
def test_noise(name):
    pdtype = FAMILIES[name](2)
    noise = pdtype.noise(np.random.default_rng(3), 4000)
    assert noise.shape == (4000, pdtype.noise_size) and noise.dtype == 'float32'
    np.testing.assert_array_equal(noise, pdtype.noise(np.random.default_rng(3), 4000))
    np_random = np.random.default_rng(3)
    assert np.all(pdtype.noise(np_random, 2) != pdtype.noise(np_random, 2))
    normals = 2 if name in CONTINUOUS else 0
    law = statistics.NormalDist(sigma=np.exp(-1) if name == 'flow_narrow' else 1)
    grid = np.linspace(-6, 6, 2001)
    for i, column in enumerate(noise.T):
        cdf = [law.cdf(g) for g in grid] if i < normals else np.clip(grid, 0, 1)
        assert kolmogorov_smirnov_fits(column, grid, cdf)


def test_noise_draws_the_same_whether_in_one_go_or_several():
    """For families with one kind of noise: a run's actions do not depend on how many environments it steps at once."""
    for name in ('gaussian', 'flow', 'categorical', 'bernoulli'):
        pdtype = FAMILIES[name](3)
        np_random = np.random.default_rng(0)
        pieces = [pdtype.noise(np_random, 1) for _ in range(3)]
        np.testing.assert_array_equal(np.concatenate(pieces), pdtype.noise(np.random.default_rng(0), 3))


@pytest.mark.parametrize('components', [1, 2, 5])
def test_mixture_chooses_components_by_the_last_noise_element(components):
    flat = np.concatenate([10. * np.arange(components), np.full(components, -5.)])
    u = (np.arange(components) + 0.5) / components
    u = np.append(u, np.nextafter(np.float32(1), np.float32(0)))  # the largest uniform
    pd = D.GaussianMixturePd(tf.constant(np.tile(flat, (len(u), 1)), tf.float32), components)
    noise = np.stack([np.ones_like(u), u], axis=1).astype('float32')
    chosen = np.append(np.arange(components), components - 1)
    np.testing.assert_allclose(pd.sample(noise)[:, 0], 10. * chosen + np.exp(-5.), rtol=1e-6)


def test_extreme_logits_are_sampled_surely():
    logits = tf.constant([[0., 200., 0.]] * 1000)
    assert np.all(D.CategoricalPd(logits).sample().numpy() == 1)
    np.testing.assert_array_equal(D.BernoulliPd(logits[:, :2] - 100).sample().numpy(), [[0, 1]] * 1000)


def test_zero_noise_chooses_possible_actions():
    """A uniform may be exactly 0."""
    for name in DISCRETE:
        h = head(name, 2, dtype='float32')
        x = h.pd().sample(np.zeros((2, h.pdtype.noise_size), 'float32'))
        assert np.all(np.isfinite(h.pd().logp(x)))


# ================================================================
# Modes
# ================================================================

def test_modes():
    pd = head('gaussian', 3).pd()
    np.testing.assert_array_equal(pd.mode(), pd.mean)
    for name in DISCRETE:
        for state in range(2):
            actions, logp, _ = enumeration(name, 2, state)
            mode = head(name, 2).pd().mode()
            assert mode.dtype == 'int32'
            np.testing.assert_array_equal(mode[state], actions[np.argmax(logp)])


def test_mode_of_mixture_is_its_densest_mean():
    # the single, sharp component is denser alone; the two broad ones are denser together where they coincide
    sharp = D.GaussianMixturePd(tf.constant([[0., 0., 5., 0., 0., -3.], [0., 0., 5., 0., 0., 0.]]), 3)
    np.testing.assert_array_equal(sharp.mode(), [[5.], [0.]])
    pd = head('gmm5', 2).pd()
    density = np.stack([pd.logp(pd.mean[:, k]) for k in range(5)], axis=1)
    np.testing.assert_array_equal(pd.mode(), pd.mean.numpy()[[0, 1], np.argmax(density, axis=1)])


def test_mode_of_flow_is_the_image_of_zero_noise():
    pd = head('flow', 2).pd()
    np.testing.assert_array_equal(pd.mode(), pd.sample(np.zeros((2, 2))))
    points, _, logp, _ = quadrature('flow', 2, 0)
    assert not np.allclose(pd.mode()[0], points[np.argmax(logp)], atol=0.1)  # as documented: not the density's maximum


# ================================================================
# Slicing and parameters
# ================================================================

@pytest.mark.parametrize('name', [*CONTINUOUS, *DISCRETE])
def test_at_getitem_and_shape(name):
    h = Head(FAMILIES[name](2), batch=4)
    pd = h.pd()
    flat, x = pd.flatparam(), pd.sample()
    assert pd.shape == pd.get_shape() == flat.shape == (4, *h.pdtype.param_shape())
    assert isinstance(pd, h.pdtype.pdclass())
    assert type(pd.at(flat)) is type(pd)
    np.testing.assert_allclose(pd.at(flat).logp(x), pd.logp(x), rtol=1e-12)
    np.testing.assert_allclose(pd.at(flat[::-1]).logp(x[::-1]), pd.logp(x)[::-1], rtol=1e-12)
    for idx in (slice(1, 3), slice(None, None, 2)):
        np.testing.assert_allclose(pd[idx].logp(x[idx]), pd.logp(x)[idx], rtol=1e-12)
        assert pd[idx].shape == flat[idx].shape
    with h.store.as_default():
        again = h.pdtype.pdfromflat(flat)
    np.testing.assert_array_equal(again.flatparam(), flat)
    np.testing.assert_allclose(again.logp(x), pd.logp(x), rtol=1e-12)


@pytest.mark.parametrize('name', [*CONTINUOUS, *DISCRETE])
def test_compiled_for_any_batch_size(name):
    """One trace serves all batch sizes, and gives what eager execution gives."""
    h = head(name, 2, dtype='float32' if name in DISCRETE else 'float64')
    spec = tf.TensorSpec([None, LATENT], h.latent.dtype)

    @tf.function(input_signature=[spec, tf.TensorSpec([None, h.pdtype.noise_size])], autograph=False)
    def compiled(latent, noise):
        with h.store.as_default():
            pd = h.pdtype.pdfromlatent(latent)[0]
        x = pd.sample(noise)
        return x, pd.logp(x), pd.mode(), pd.at(pd.flatparam()).logp(x), pd.sampled_entropy(1, noise), pd[1:].logp(x[1:])

    tolerance = 1e-5 if name in DISCRETE else 1e-10
    for n in (2, 5):
        noise = h.pdtype.noise(np.random.default_rng(0), n)
        latent = np.resize(h.latent.numpy(), (n, LATENT))
        x, logp, mode, again, entropy, tail = compiled(latent, noise)
        with h.store.as_default():
            pd = h.pdtype.pdfromlatent(tf.constant(latent))[0]
        for compiled_value, eager_value in [(x, pd.sample(noise)), (logp, pd.logp(x)), (mode, pd.mode()), (again, logp),
                                            (entropy, -logp), (tail, logp[1:])]:
            np.testing.assert_allclose(compiled_value, eager_value, rtol=tolerance, atol=tolerance)
    assert compiled.experimental_get_tracing_count() == 1


def test_head_is_left_out_where_the_latent_has_its_size():
    """As upstream: a network of as many outputs as the head is the head."""
    latent = tf.constant(np.random.default_rng(0).standard_normal((2, 3)), tf.float32)
    for pdtype, names in [(D.DiagGaussianPdType(3), ['pi/logstd']), (D.CategoricalPdType(3), [])]:
        store = VariableStore()
        with store.as_default():
            pd, head_output = pdtype.pdfromlatent(latent)
        assert list(store.variables) == names
        np.testing.assert_array_equal(head_output, latent)
        np.testing.assert_array_equal(pd.flatparam()[:, :3], latent)


def test_pdtypes_compare_by_value():
    for name, make in FAMILIES.items():
        assert make(2) == make(2), name
        assert make(2) != make(1), name
    assert D.DiagGaussianPdType(2) != D.DiagGaussianPdType(2, fixed_logstd=True)
    assert D.DiagGaussianPdType(2) != D.DiagGaussianPdType(2, init_logstd=-1)
    assert D.DiagGaussianPdType(2) != D.BernoulliPdType(2)
    assert D.NormalizingFlowPdType(2) != D.NormalizingFlowPdType(2, flow_units=4)


# ================================================================
# Derivatives
# ================================================================

EPS = 10**np.linspace(-3, -5, 5)


def remainder_order(values, value, slope):
    """Order in eps of values[i] - value - eps[i] * slope: 2 for the derivative, 1 for anything else; inf if all are 0.

    Of the three smallest eps that rounding leaves."""
    remainder = np.abs(values - value - EPS * slope)
    rounding = 1e-14 * max(1., abs(value), abs(slope))
    if np.all(remainder < 10 * rounding):
        return np.inf
    clear = remainder > 30 * rounding
    assert clear.sum() >= 3, 'not enough points above rounding'
    return np.polyfit(np.log(EPS[clear][-3:]), np.log(remainder[clear][-3:]), 1)[0]


def test_remainder_order_tells_wrong_derivatives():
    f = lambda x: np.exp(np.sin(x))
    slope = np.cos(1.) * f(1.)
    assert remainder_order(f(1. + EPS), f(1.), slope) == pytest.approx(2, abs=0.05)
    assert remainder_order(f(1. + EPS), f(1.), slope * (1 + 1e-4)) < 1.9
    assert remainder_order(2. + 3. * EPS, 2., 3.) == np.inf
    assert remainder_order(2. + 3. * EPS, 2., 3.001) == pytest.approx(1, abs=1e-6)


def check_derivatives(first, second, theta):
    """Gradients of the scalars `first(theta)` and `second(theta)`, dicts, and Hessian-vector products of the latter."""
    u, v = np.random.default_rng(11).standard_normal((2, *theta.shape)) * 3 / np.sqrt(theta.shape[0])
    names = []

    @tf.function(input_signature=[tf.TensorSpec(theta.shape, tf.float64)], autograph=False)
    def evaluate(theta):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(theta)
            f, g = _gradients(second, theta)
            gu = [tf.tensordot(gi, u, 1) for gi in g]
        hu = [tape.gradient(gi, theta, unconnected_gradients=tf.UnconnectedGradients.ZERO) for gi in gu]
        more_f, more_g = _gradients(first, theta)
        names[:] = [*f, *more_f]
        return tf.stack([*f.values(), *more_f.values()]), tf.stack(g + more_g), tf.stack(hu)

    f, g, hu = (out.numpy() for out in evaluate(theta))
    moved_f, moved_g, _ = map(np.array, zip(*(evaluate(theta + eps * v) for eps in EPS), strict=True))
    for i, name in enumerate(names):
        order = remainder_order(moved_f[:, i], f[i], g[i] @ v)
        assert order == np.inf or order == pytest.approx(2, abs=0.1), f'gradient of {name}'
    for i, name in enumerate(names[:len(hu)]):
        order = remainder_order(moved_g[:, i] @ u, g[i] @ u, hu[i] @ v)
        assert order == np.inf or order == pytest.approx(2, abs=0.1), f'Hessian-vector product of {name}'
    return {name: (g[i], hu[i]) for i, name in enumerate(names[:len(hu)])}, u, v


def _gradients(scalars_of, theta):
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(theta)
        scalars = scalars_of(theta)
    return scalars, [tape.gradient(f, theta) for f in scalars.values()]


def check_forward_mode(second, theta, derivatives, u, v):
    """As a Fisher-vector product may use it: the same products as in reverse mode."""
    with tf.autodiff.ForwardAccumulator(theta, tf.constant(v)) as tangent:
        scalars, gradients = _gradients(second, theta)
    for (name, f), gradient in zip(scalars.items(), gradients, strict=True):
        g, hu = derivatives[name]
        np.testing.assert_allclose(tangent.jvp(f), g @ v, rtol=1e-8, atol=1e-10, err_msg=name)
        hv = tangent.jvp(gradient, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        np.testing.assert_allclose(np.dot(hv, u), hu @ v, rtol=1e-8, atol=1e-8, err_msg=name)


def _second_order(q, x, weights):
    """What trust regions take second derivatives of, at a Pd: logp and, in closed form, both KLs; states weighted."""
    def at(p):
        terms = {'logp': p.logp(x)}
        if p.has_analytic_kl:
            terms |= {'kl': p.kl(q), 'backward kl': q.kl(p)}
        return {name: tf.tensordot(weights, term, 1) for name, term in terms.items()}
    return at


def _first_order(pdtype, noise, weights):
    """The entropy, in closed form and sampled with common noise."""
    def at(p):
        terms = {'entropy': p.entropy()} if p.has_analytic_entropy else {}
        if pdtype.sample_dtype().is_floating:  # else samples jump
            terms['sampled_entropy'] = p.sampled_entropy(2, noise)
        return {name: tf.tensordot(weights, term, 1) for name, term in terms.items()}
    return at


@pytest.mark.parametrize('name, size, wrt', [
    *itertools.product(['gaussian', 'gmm2', 'categorical', 'bernoulli'], [2], ['flatparam', 'variables']),
    ('gaussian_state_std', 2, 'variables'), ('flow_narrow', 2, 'variables'),
    ('gmm2_released', 2, 'flatparam'), ('multicategorical', 3, 'flatparam'),
    ('flow', 2, 'flatparam'), ('flow', 1, 'variables'), ('flow', 3, 'variables'),
])
def test_derivatives(name, size, wrt):
    pdtype = FAMILIES[name](size)
    if 'flow' in name:
        pdtype = D.NormalizingFlowPdType(size, 1, flow_state_units=4, flow_base_logstd=pdtype.flow_base_logstd)
    h, other = Head(pdtype), Head(pdtype, seed=1)
    np_random = np.random.default_rng(5)
    x, weights = other.pd().sample(), tf.constant(np_random.uniform(0.5, 2, 2))
    first = _first_order(pdtype, tf.constant(pdtype.noise(np_random, 4), tf.float64), weights)
    second = _second_order(other.pd(), x, weights)

    if wrt == 'flatparam':
        pd = h.pd()
        theta = tf.reshape(pd.flatparam(), [-1])
        pd_at = lambda theta: pd.at(tf.reshape(theta, pd.shape))
    else:
        theta = h.theta()

        def pd_at(theta):
            with h.store.substitute(h.var_list, theta):
                return h.pd()

    second_at = lambda theta: second(pd_at(theta))
    derivatives, u, v = check_derivatives(lambda theta: first(pd_at(theta)), second_at, theta)
    if wrt == 'variables':
        check_forward_mode(second_at, theta, derivatives, u, v)


@pytest.mark.parametrize('name', ['gaussian', 'gaussian_state_std', 'gmm2', 'flow', *DISCRETE])
def test_gradients_reach_every_variable(name):
    """Also through a Pd whose log-density was asked for before, outside the tape."""
    h = head(name, 2)
    pd = h.pd()
    x = pd.sample()
    gradients = []
    for _ in range(2):
        with tf.GradientTape() as tape:
            logp = h.pd().logp(x)
        gradients.append(flatgrad(tape.gradient(logp, h.var_list), h.var_list))
    np.testing.assert_array_equal(*gradients)
    with tf.GradientTape() as tape:
        logp = h.pd().logp(x)
    for v, g in zip(h.var_list, tape.gradient(logp, h.var_list), strict=True):
        assert g is not None and np.all(np.isfinite(g)) and np.any(g != 0), v.name


@pytest.mark.parametrize('name', ['gmm2', 'flow'])
def test_asking_twice_gives_the_same_gradient(name):
    """Nothing computed for the first call may stand in for what the tape has to see in the second."""
    h = head(name, 2)
    with h.store.as_default():
        pdtype, flat = h.pdtype, h.pd().flatparam()
        x = h.pd().sample()
        fresh = pdtype.pdfromflat(flat)
        with tf.GradientTape() as tape:
            tape.watch(flat)
            logp = fresh.at(flat).logp(x)
        expected = tape.gradient(logp, [flat, x, *h.var_list])
        used = pdtype.pdfromflat(flat)
        used.at(flat).logp(x)
        with tf.GradientTape() as tape:
            tape.watch(flat)
            logp = used.at(flat).logp(x)
        found = tape.gradient(logp, [flat, x, *h.var_list])
    for e, f in zip(expected, found, strict=True):
        assert (e is None) == (f is None)
        if e is not None:
            np.testing.assert_allclose(f, e, rtol=1e-12)


def test_logp_follows_its_variables():
    """A Pd kept over an update, or one whose action is scored again, has no stale parts."""
    h = Head(FAMILIES['flow'](2))
    pd = h.pd()
    x = pd.sample()
    pd.logp(x)
    for v in h.var_list:
        if 'Nlayer' in v.name:
            v.assign(v + 0.3)
    np.testing.assert_allclose(pd.logp(x), h.pd().at(pd.flatparam()).logp(x), rtol=1e-12)


# ================================================================
# Families by action space
# ================================================================

BOX = spaces.Box(-1, 1, (3,), 'float32')


@pytest.mark.parametrize('space, policy, kwargs, expected', [
    (BOX, None, {}, D.DiagGaussianPdType(3)),
    (BOX, 'gaussian', {}, D.DiagGaussianPdType(3)),
    (BOX, 'gaussian', {'fixed_logstd': True}, D.DiagGaussianPdType(3, fixed_logstd=True)),
    (BOX, None, {'init_logstd': -1., 'state_dependent_std': True}, D.DiagGaussianPdType(3, False, -1., True)),
    (BOX, 'gmm', {'init_logstd': -1.}, D.GaussianMixturePdType(3, 2, 'mixture', -1.)),
    (BOX, 'flow', {'flow_base_logstd': -1.}, D.NormalizingFlowPdType(3, flow_base_logstd=-1.)),
    (spaces.Box(-1, 1, (1,), 'float64'), None, {}, D.DiagGaussianPdType(1)),
    (BOX, 'gmm', {}, D.GaussianMixturePdType(3, 2)),
    (BOX, 'gmm', {'gmm_components': 5, 'gmm_log_prob': 'released'}, D.GaussianMixturePdType(3, 5, 'released')),
    (BOX, 'flow', {}, D.NormalizingFlowPdType(3)),
    (BOX, 'flow', {'flow_layers': 2, 'flow_units': 8, 'flow_eps': 1e-3, 'flow_state_net': 'network'},
     D.NormalizingFlowPdType(3, 2, 8, 1e-3, 'network')),
    (spaces.Discrete(4), None, {}, D.CategoricalPdType(4)),
    (spaces.MultiDiscrete([2, 3]), None, {}, D.MultiCategoricalPdType([2, 3])),
    (spaces.MultiBinary(5), None, {}, D.BernoulliPdType(5)),
])
def test_make_pdtype(space, policy, kwargs, expected):
    pdtype = D.make_pdtype(space, policy, **kwargs)
    assert pdtype == expected
    assert type(D.make_pdtype(space, policy)) is type(expected)
    assert tuple(pdtype.sample_shape()) == space.shape
    assert pdtype.sample_dtype().is_floating == isinstance(space, spaces.Box)


def test_defaults_are_those_of_the_paper():
    flow = D.make_pdtype(BOX, 'flow')
    assert (flow.flow_layers, flow.flow_units, flow.flow_eps, flow.flow_state_units) == (4, 3, 1e-12, 64)
    assert flow.own_state_network and flow.flow_base_logstd == 0
    mixture = D.make_pdtype(BOX, 'gmm')
    assert (mixture.gmm_components, mixture.gmm_log_prob, mixture.init_logstd) == (2, 'mixture', 0)
    gaussian = D.make_pdtype(BOX)
    assert not gaussian.fixed_logstd and not gaussian.state_dependent_std and gaussian.init_logstd == 0


@pytest.mark.parametrize('space, policy, kwargs, message', [
    (BOX, 'gausian', {}, 'did you mean gaussian?'),
    (BOX, 'flows', {}, 'did you mean flow?'),
    (BOX, 'beta', {}, 'choose from flow, gaussian, gmm'),
    (spaces.Discrete(4), 'flow', {}, 'leave it out'),
    (spaces.MultiBinary(4), 'gaussian', {}, 'leave it out'),
    (spaces.MultiDiscrete([2, 2]), 'gmm', {}, 'leave it out'),
    (spaces.Box(-1, 1, (2, 3)), None, {}, 'flatten'),
    (spaces.Box(-1, 1, ()), None, {}, 'one dimension'),
    (spaces.Discrete(4, start=1), None, {}, 'counted from 0'),
    (spaces.MultiDiscrete([[2, 2], [3, 3]]), None, {}, 'one-dimensional'),
    (spaces.MultiDiscrete([2, 2], start=[0, 1]), None, {}, 'counted from 0'),
    (spaces.MultiBinary([2, 3]), None, {}, 'one-dimensional'),
    (spaces.Dict(a=BOX), None, {}, 'Box, MultiDiscrete or MultiBinary'),
    (spaces.Tuple([BOX]), 'flow', {}, 'leave it out'),
    (spaces.Text(3), None, {}, 'Discrete'),
    (BOX, None, {'fixed_logstd': True, 'state_dependent_std': True}, 'exclude each other'),
    (BOX, None, {'init_logstd': np.nan}, 'init_logstd=nan must lie between -20 and 20'),
    (BOX, 'gmm', {'init_logstd': -np.inf}, 'init_logstd=-inf must lie between -20 and 20'),
    (BOX, 'flow', {'flow_base_logstd': np.inf}, 'flow_base_logstd=inf must lie between -20 and 20'),
    (BOX, 'gmm', {'gmm_components': 0}, 'gmm_components=0 must be positive'),
    (BOX, 'gmm', {'gmm_log_prob': 'wrong'}, "use 'mixture' or 'released'"),
    (BOX, 'flow', {'flow_layers': 0}, 'flow_layers=0 must be positive'),
    (BOX, 'flow', {'flow_units': 0}, 'flow_units=0'),
    (BOX, 'flow', {'flow_state_units': -1}, 'flow_state_units=-1'),
    (BOX, 'flow', {'flow_state_net': 'cnn'}, "use 'mlp' or 'network'"),
])
def test_make_pdtype_refuses_in_one_line(space, policy, kwargs, message):
    with pytest.raises(UsageError) as error:
        D.make_pdtype(space, policy, **kwargs)
    assert message in str(error.value)
    assert '\n' not in str(error.value)
