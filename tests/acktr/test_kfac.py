"""The K-FAC optimizer: updates against plain numpy, its phases, state and errors, flows, and several ranks."""
import functools
import itertools
import json
import types

import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

import onpolicybaselines.common.tf_util as U
from onpolicybaselines.a2c.utils import fc
from onpolicybaselines.acktr.kfac import KfacOptimizer
from onpolicybaselines.acktr.kfac_tape import taped
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.files import read_arrays, write_arrays
from onpolicybaselines.common.layers import layer_norm, record_layer
from onpolicybaselines.common.policies import build_policy
from onpolicybaselines.common.state import flatten, unflatten
from onpolicybaselines.common.variables import VariableStore, constant_initializer, get_variable

SIZES = 3, 4, 2  # inputs, hidden units, outputs


def squared_errors(h, *targets):
    return tuple(tf.reduce_mean(tf.reduce_sum((h - target)**2, axis=1)) / 2 for target in targets)


class Model:
    """A Gaussian around two dense layers with tanh; `rich` adds layer normalisation and a free vector."""

    def __init__(self, rich=False, dtype='float64', activation=tf.tanh):
        self.store = VariableStore(dtype, np.random.default_rng(0))
        self.rich = rich
        self.activation = activation
        self.specs = [tf.TensorSpec([None, n], dtype) for n in (SIZES[0], SIZES[2], SIZES[2])]
        self.losses(*(tf.zeros([1, spec.shape[1]], dtype) for spec in self.specs))
        self.var_list = list(self.store.variables.values())
        self.theta, self.set_theta = U.GetFlat(self.var_list), U.SetFromFlat(self.var_list)

    def losses(self, x, target, noise):
        with self.store.as_default():
            h = fc(x, 'h1', SIZES[1])
            h = fc(self.activation(layer_norm(h) if self.rich else h), 'out', SIZES[2])
            if self.rich:
                shift = get_variable('shift', [1, SIZES[2]], constant_initializer(0.1))
                h += record_layer('free', (shift,), shift, shift + tf.zeros_like(h))
        return squared_errors(h, target, tf.stop_gradient(h) + noise)

    def minimize(self, losses=None, **kwargs):
        """(optimizer, its update function)."""
        optimizer = KfacOptimizer(**kwargs)
        return optimizer, optimizer.minimize(losses or self.losses, self.var_list, *self.specs)


def batches(n, size=40):
    rng = np.random.default_rng(1)
    return [tuple(rng.standard_normal((size, m)) for m in (SIZES[0], SIZES[2], SIZES[2])) for _ in range(n)]


def train(n, model=None, data=None, **kwargs):
    """(model, optimizer) after n updates with cold_iter 2 unless told otherwise."""
    model = model or Model(rich=True)
    optimizer, update = model.minimize(**{'cold_iter': 2, **kwargs})
    for batch in data or batches(n):
        update(*batch)
    return model, optimizer


# ================================================================
# Steps
# ================================================================

class NumpyAcktr:
    """The update of that plain model by the formulas: explicit matrices, one layer after the other."""

    def __init__(self, theta, **hyper):
        w1, b1, w2, b2 = np.split(theta, np.cumsum([SIZES[0] * SIZES[1], SIZES[1], SIZES[1] * SIZES[2]]))
        self.layers = [np.vstack([w1.reshape(SIZES[:2]), b1]), np.vstack([w2.reshape(SIZES[1:]), b2])]
        self.A, self.G, self.inverses, self.kfac_acc, self.cold_acc = ([0., 0.] for _ in range(5))
        self.t = 0
        self.hyper = types.SimpleNamespace(**hyper)

    def theta(self):
        return np.concatenate([array.ravel() for layer in self.layers for array in (layer[:-1], layer[-1])])

    def forward(self, x):
        """Inputs of both layers, each with a 1."""
        a1 = np.c_[x, np.ones(len(x))]
        return a1, np.c_[np.tanh(a1 @ self.layers[0]), np.ones(len(x))]

    def backward(self, a2, error):
        """Each sample's gradients by the pre-activations of both layers."""
        return error @ self.layers[1][:-1].T * (1 - a2[:, :-1]**2), error

    def update(self, x, target, noise):
        p, B = self.hyper, len(x)
        self.t += 1
        inputs = self.forward(x)
        true, sampled = (self.backward(inputs[1], e) for e in (inputs[1] @ self.layers[1] - target, -noise))
        grads = [a.T @ d / B for a, d in zip(inputs, true, strict=True)]
        old, new = (1, 1 / p.cold_iter) if self.t <= p.cold_iter else (p.stats_decay, 1 - p.stats_decay)
        self.A = [old * A + new * a.T @ a / B for A, a in zip(self.A, inputs, strict=True)]
        self.G = [old * G + new * d.T @ d / B for G, d in zip(self.G, sampled, strict=True)]
        if self.t >= p.cold_iter and self.t % p.kfac_update == 0:
            self.inverses = [np.linalg.inv(np.kron(A, G) + (p.epsilon + decay) * np.eye(len(A) * len(G)))
                             for A, G, decay in zip(self.A, self.G, p.weight_decay, strict=True)]
        steps = [np.zeros_like(g) for g in grads]
        if self.t <= p.cold_iter + 1:
            norm = np.sqrt(sum((g**2).sum() for g in grads))
            clipped = [g * min(1, p.max_grad_norm / norm) for g in grads]
            self.cold_acc = [p.momentum * acc + g for acc, g in zip(self.cold_acc, clipped, strict=True)]
            steps = [p.cold_lr * acc for acc in self.cold_acc]
        if self.t >= p.cold_iter:
            updates = self.precondition(grads)
            self.kfac_acc = [p.momentum * acc + u for acc, u in zip(self.kfac_acc, updates, strict=True)]
            steps = [step + p.learning_rate * (1 - p.momentum) * acc
                     for step, acc in zip(steps, self.kfac_acc, strict=True)]
        self.layers = [layer - step for layer, step in zip(self.layers, steps, strict=True)]

    def precondition(self, grads):
        if not isinstance(self.inverses[0], np.ndarray):
            return grads
        updates = [(inverse @ g.ravel()).reshape(g.shape) for inverse, g in zip(self.inverses, grads, strict=True)]
        self.vFv = self.hyper.learning_rate**2 * sum((u * g).sum() for u, g in zip(updates, grads, strict=True))
        return [u * min(1, np.sqrt(self.hyper.clip_kl / self.vFv)) for u in updates]


@pytest.mark.parametrize('cold_iter, clip_kl', [(3, 1e-3), (2, 10.), (4, 1e-3)])
def test_updates_are_those_written_in_numpy(cold_iter, clip_kl):
    """Through the cold phase, its two updates with both steps and the first ten after; the KL clip acts or not."""
    hyper = {'learning_rate': 0.1, 'cold_lr': 0.05, 'momentum': 0.8, 'clip_kl': clip_kl, 'kfac_update': 2,
             'cold_iter': cold_iter, 'epsilon': 0.05, 'stats_decay': 0.7, 'max_grad_norm': 1.}
    model = Model()
    optimizer, update = model.minimize(**hyper, weight_decay_dict={'h1/w': 0.3, 'out/w': 0.1})
    reference = NumpyAcktr(model.theta(), **hyper, weight_decay=[0.3, 0.1])
    clipped = []
    for batch in batches(cold_iter + 12):
        update(*batch)
        reference.update(*batch)
        np.testing.assert_allclose(model.theta(), reference.theta(), rtol=1e-9, atol=1e-12)
        clipped.append(optimizer.vFv > clip_kl)
    assert optimizer.vFv == pytest.approx(reference.vFv)
    assert any(clipped) == (clip_kl < 1)


def test_a_step_solves_a_linear_regression_at_once():
    """The Fisher matrix is the Hessian if inputs and noise are independent: a step of size 1 is Newton's."""
    store = VariableStore('float64', np.random.default_rng(0))
    signs = itertools.product([-1., 1.], repeat=2)
    rows = zip(*((*xy, sign) for xy, sign in itertools.product(zip(*batches(1, 10)[0][:2], strict=True), signs)),
               strict=True)
    x, target, noise = map(np.array, rows)

    def losses(x, target, noise):
        with store.as_default():
            h = fc(x, 'linear', 2)
        return squared_errors(h, target, tf.stop_gradient(h) + noise)

    losses(x, target, noise)
    weights = list(store.variables.values())
    optimizer = KfacOptimizer(1., momentum=0., cold_iter=1, cold_lr=0., kfac_update=1, epsilon=1e-10, clip_kl=1e9)
    optimizer.minimize(losses, weights, *(tf.TensorSpec(array.shape, 'float64') for array in (x, target, noise)))(
        x, target, noise)
    solution = np.linalg.lstsq(np.c_[x, np.ones(len(x))], target, rcond=None)[0]
    np.testing.assert_allclose(np.vstack([v.numpy() for v in weights]), solution, rtol=1e-7)


def dense_fisher(optimizer):
    """The whole damped Fisher matrix in the order of `var_list`, which is that of the blocks here."""
    blocks = [block.to_dense()[0].numpy() for block in optimizer.fisher.blocks]
    F = np.zeros([sum(map(len, blocks))] * 2)
    for block, end in zip(blocks, np.cumsum(list(map(len, blocks))), strict=True):
        F[end - len(block):end, end - len(block):end] = block
    return F + optimizer._epsilon * np.eye(len(F))


@pytest.mark.parametrize('clip_kl', [1e-4, 1e4])
def test_no_update_passes_the_kl_bound(clip_kl):
    _, optimizer = train(5, clip_kl=clip_kl, learning_rate=0.5, kfac_update=1)
    grads = np.random.default_rng(2).standard_normal(len(optimizer.kfac_momentum))
    update = optimizer.getKfacPrecondUpdates(grads)
    F = dense_fisher(optimizer)
    kl = 0.5**2 * update @ F @ update
    unclipped = 0.5**2 * grads @ np.linalg.solve(F, grads)
    assert optimizer.vFv == pytest.approx(unclipped, rel=1e-6)
    assert kl == pytest.approx(min(clip_kl, unclipped), rel=1e-6)
    np.testing.assert_allclose(update / np.linalg.norm(update),
                               (direction := np.linalg.solve(F, grads)) / np.linalg.norm(direction), rtol=1e-6)


def test_a_zero_gradient_is_no_fault():
    _, optimizer = train(4)
    assert not optimizer.getKfacPrecondUpdates(np.zeros_like(optimizer.kfac_momentum)).any()
    assert optimizer.vFv == 0


# ================================================================
# Phases
# ================================================================

def counters(optimizer):
    return {name: value for name, value in optimizer.state().items() if name.endswith('_step')}


def test_cold_phase():
    """cold_iter + 1 cold steps, the last two of them with a preconditioned one besides."""
    steps = []

    class Watched(KfacOptimizer):
        def is_cold(self):
            steps.append([super().is_cold()])
            return steps[-1][0]

        def is_warm(self):
            steps[-1].append(super().is_warm())
            return steps[-1][1]

    model = Model()
    optimizer = Watched(cold_iter=4)
    update = optimizer.minimize(model.losses, model.var_list, *model.specs)
    for batch in batches(7):
        update(*batch)
    assert steps == [[True, False]] * 3 + [[True, True]] * 2 + [[False, True]] * 2
    assert counters(optimizer) == {'sgd_step': 5, 'global_step': 7, 'cold_step': 5, 'factor_step': 2, 'stats_step': 7}


def test_cold_step_is_clipped_momentum():
    model = Model()
    optimizer, update = model.minimize(cold_iter=5, cold_lr=0.1, momentum=0.5, max_grad_norm=0.01)
    accumulator = 0.
    for batch in batches(3):
        before = model.theta()
        with tf.GradientTape() as tape:
            loss = model.losses(*batch)[0]
        grad = U.flatgrad(tape.gradient(loss, model.var_list), model.var_list).numpy()
        accumulator = 0.5 * accumulator + 0.01 * grad / np.linalg.norm(grad)
        values = update(*batch)
        assert values == pytest.approx(tuple(float(v) for v in [loss, (batch[2]**2).sum(axis=1).mean() / 2]))
        np.testing.assert_allclose(before - model.theta(), 0.1 * accumulator, rtol=1e-9)
    np.testing.assert_array_equal(optimizer.kfac_momentum, 0)


def test_factors_are_averaged_first_and_then_decay():
    model = Model()
    optimizer, update = model.minimize(cold_iter=2, stats_decay=0.9, learning_rate=0., cold_lr=0.)
    moments = []
    for x, target, noise in batches(4):
        update(x, target, noise)
        a = np.c_[x, np.ones(len(x))]
        moments.append(a.T @ a / len(a))
    want = 0.9 * (0.9 * (moments[0] + moments[1]) / 2 + 0.1 * moments[2]) + 0.1 * moments[3]
    np.testing.assert_allclose(optimizer.fisher.blocks[0].stats[0][0], want, rtol=1e-10)


def test_full_stats_init_takes_no_step_until_factors_are_gathered():
    model = Model()
    optimizer, update = model.minimize(full_stats_init=True, cold_iter=1, stats_accum_iter=4, kfac_update=2)
    moved, warm = [], []
    for batch in batches(9):
        before = model.theta()
        update(*batch)
        moved.append(not np.array_equal(before, model.theta()))
        warm.append(optimizer.kfac_momentum.any())
    # two cold steps, factors gathered in the next four, of which the last is decomposed and steps
    assert moved == [True, True, False, False, False, True, True, True, True]
    assert warm == [False] * 5 + [True] * 4
    assert counters(optimizer) == {'sgd_step': 2, 'global_step': 9, 'cold_step': 7, 'factor_step': 2, 'stats_step': 7}


@pytest.mark.parametrize('period', [1, 3])
def test_eigen_decompositions_come_every_kfac_update(period):
    model = Model()
    optimizer, update = model.minimize(cold_iter=2, kfac_update=period)
    changed = []
    for batch in batches(9):
        before = optimizer.fisher.blocks[0].eigen[0][0].numpy()
        update(*batch)
        changed.append(not np.array_equal(before, optimizer.fisher.blocks[0].eigen[0][0]))
    assert changed == [n >= 2 and n % period == 0 for n in range(1, 10)]


@pytest.mark.parametrize('change', [lambda optimizer, rate: setattr(optimizer, 'learning_rate', rate['now']),
                                    lambda optimizer, rate: None], ids=['attribute', 'function'])
def test_learning_rate_may_change(change):
    rate = {'now': 0.1}
    model = Model()
    optimizer, update = model.minimize(cold_iter=1, learning_rate=lambda: rate['now'], momentum=0.)
    steps = []
    for now, batch in zip([0.1, 0.1, 0.1, 0.02, 0.], batches(5), strict=True):
        rate['now'] = now
        change(optimizer, rate)
        before = model.theta()
        update(*batch)
        steps.append(np.abs(model.theta() - before).max() / now if now else model.theta() - before)
        np.testing.assert_allclose(before - model.theta(), now * optimizer.kfac_momentum
                                   + (now * optimizer.cold_momentum if optimizer.global_step < 3 else 0), atol=1e-14)
    assert not np.any(steps[-1])


# ================================================================
# State
# ================================================================

def test_resumes_to_the_bit_from_its_state(tmp_path):
    data = batches(9)
    whole, _ = train(0, data=data)
    first, optimizer = train(0, data=data[:4])
    write_arrays(tmp_path / 'state.npz', *flatten(optimizer.state()))
    resumed = Model(rich=True)
    resumed.set_theta(first.theta())
    optimizer, update = resumed.minimize(cold_iter=2)
    optimizer.set_state(unflatten(*read_arrays(tmp_path / 'state.npz')))
    for batch in data[4:]:
        update(*batch)
    np.testing.assert_array_equal(resumed.theta(), whole.theta())


def same_state(one, other):
    one, other = flatten(one), flatten(other)
    return one[1] == other[1] and all(np.array_equal(value, other[0][name]) for name, value in one[0].items())


def test_state_of_other_variables_is_refused():
    _, optimizer = train(3)
    before = optimizer.state()
    other, _ = Model().minimize()
    for state, fault in [(other.state(), r"'kfac_momentum' has shape \(26,\)"), ({}, "'sgd_step' has shape missing")]:
        with pytest.raises(ValueError, match=fault):
            optimizer.set_state(state)
    with pytest.raises(ValueError, match='kfac_momentum'):
        KfacOptimizer().set_state(before)
    assert same_state(optimizer.state(), before)


def test_learning_rates_that_are_numbers_are_in_the_state():
    first, other = (KfacOptimizer(learning_rate=0.1, cold_lr=0.01) for _ in range(2))
    first.learning_rate, first.cold_lr = 0.3, 0.03
    other.set_state(first.state())
    assert (other.learning_rate, other.cold_lr) == (0.3, 0.03)
    functions = KfacOptimizer(learning_rate=lambda: 0.1, cold_lr=lambda: 0.1)
    assert not functions.state().keys() & {'learning_rate', 'cold_lr'}


def test_same_data_same_bits_and_async_has_no_effect():
    thetas = [train(8, **kwargs)[0].theta() for kwargs in ({}, {}, {'is_async': True, 'async_stats': True})]
    np.testing.assert_array_equal(thetas[0], thetas[1])
    np.testing.assert_array_equal(thetas[0], thetas[2])


def test_duplicating_the_batch_changes_nothing():
    data = batches(8)
    once, _ = train(0, data=data)
    twice, _ = train(0, data=[tuple(np.tile(array, [2, 1]) for array in batch) for batch in data])
    np.testing.assert_allclose(twice.theta(), once.theta(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize('use_float64', [False, True])
def test_float32_is_close_to_float64(use_float64):
    single, optimizer = train(8, Model(rich=True, dtype='float32'), use_float64=use_float64)
    double, _ = train(8)
    assert optimizer.fisher.blocks[0].stats[0].dtype == (tf.float64 if use_float64 else tf.float32)
    assert single.theta().dtype == 'float32'
    np.testing.assert_allclose(single.theta(), double.theta(), atol=2e-5)


@pytest.mark.parametrize('option', ['blockdiag_bias', 'factored_damping', 'released_repeats'])
def test_options_reach_the_blocks(option):
    """The model uses each layer once, so that the last one has no effect on it."""
    plain, _ = train(6)
    other, _ = train(6, **{option: True})
    assert np.array_equal(plain.theta(), other.theta()) == (option == 'released_repeats')


# ================================================================
# Flows
# ================================================================

def flow_policy(num_actions, **kwargs):
    env = types.SimpleNamespace(observation_space=spaces.Box(-np.inf, np.inf, (5,)),
                                action_space=spaces.Box(-1, 1, (num_actions,)))
    build = build_policy(env, 'mlp', value_network='copy', policy='flow', flow_layers=1, flow_state_units=8, **kwargs)
    return functools.partial(build, np.random.default_rng(3))


@functools.cache
def flow():
    """Two couplings. flow_eps 1 bounds the gradients of its layer normalisations: with the released 1e-12 the Fisher
    matrix of the dense layers before them is the mean of a variable with heavy tails, which hardly settles."""
    pi = flow_policy(3, flow_eps=1.)(dtype='float64')
    rng = np.random.default_rng(4)
    for v in pi.var_list:  # away from the start, where the last layers are nearly 0
        v.assign_add(0.2 * rng.standard_normal(v.shape))
    return pi


def sampled_flow(n, seed):
    """n observations and the flow's own actions there."""
    rng = np.random.default_rng(seed)
    ob = rng.standard_normal((n, 5))
    pd = flow().pd(tf.constant(ob))
    return tf.constant(ob), tf.stop_gradient(pd.sample(tf.constant(rng.standard_normal((n, 3)))))


def flow_blocks(n, seed):
    """{name: block} with the factors of one batch."""
    ob, ac = sampled_flow(n, seed)
    optimizer = KfacOptimizer()
    with taped(lambda: [-tf.reduce_mean(flow().pd(ob).logp(ac))]) as (loss,):
        optimizer._apply_stats(optimizer.compute_stats(loss, flow().var_list), accumulate=True, accumulateCoeff=1.)
    return {block.variables[0].name: block for block in optimizer.fisher.blocks}


def test_all_variables_of_a_flow_have_a_block():
    blocks = flow_blocks(10, 0)
    assert {v.name for block in blocks.values() for v in block.variables} == {v.name for v in flow().var_list}
    assert len(blocks) == 3 * 3 + 3 * 2  # of L(s) and two couplings: dense layers, layer normalisations


def test_blocks_of_layer_normalisations_in_a_flow_are_exact():
    """Mean outer products of the gradients of -log p, example by example: s-networks act in two ways at once."""
    ob, ac = sampled_flow(40, 1)
    found = [(v, stats) for name, block in flow_blocks(40, 1).items() if 'LayerNorm' in name
             for v, stats in zip(block.variables, block.stats, strict=True)]
    assert len(found) == 12
    with tf.GradientTape(persistent=True) as tape:
        logp = flow().pd(ob).logp(ac)
    gradients = tape.jacobian(logp, [v for v, _ in found], experimental_use_pfor=False)
    for (_, stats), g in zip(found, gradients, strict=True):
        g = tf.reshape(g, [40, *stats.shape[:2]]).numpy()
        np.testing.assert_allclose(stats, np.einsum('bki,bkj->kij', g, g) / 40, rtol=1e-9, atol=1e-12)


def test_blocks_of_a_flow_approach_the_fisher_matrix_as_samples_grow():
    """The error of n samples falls as n**-0.5: eightfold from 100 to 6400, but heavy tails slow it down a little. In 20
    runs with other seeds the ratio was between 4.5 and 10.6; the seeds here are fixed."""
    exact = {name: block.to_dense() for name, block in flow_blocks(100_000, 2).items()}

    def error(n):
        return np.mean([np.linalg.norm(block.to_dense() - exact[name]) / np.linalg.norm(exact[name])
                        for seed in range(10, 15) for name, block in flow_blocks(n, seed).items()])

    few, many = error(100), error(6400)
    assert 3 < few / many < 16
    assert many < 0.1


def test_flow_policy_learns():
    """Towards actions that were drawn from another policy: the loss falls, and every update keeps the KL bound."""
    pi = flow_policy(2)()
    rng = np.random.default_rng(6)
    ob = rng.standard_normal((200, 5))
    target = ob[:, :2] + 0.3 * rng.standard_normal((200, 2))

    def losses(ob, ac, own):
        pd = pi.pd(ob)
        return -tf.reduce_mean(pd.logp(ac)), -tf.reduce_mean(pd.logp(own))

    update = KfacOptimizer(0.3, cold_iter=1, cold_lr=0.01, clip_kl=0.05, stats_decay=0.9).minimize(
        losses, pi.var_list, pi.X, *[tf.TensorSpec([None, 2])] * 2)
    values = [update(ob, target, pi.act(ob))[0] for _ in range(60)]
    assert values[-1] < values[0] - 0.5


# ================================================================
# Images
# ================================================================

def test_convolutional_policy_and_value_function_on_one_network():
    """Layers of the shared network are used twice in a pass. The loss falls on the batch it is given."""
    env = types.SimpleNamespace(observation_space=spaces.Box(0, 255, (20, 20, 2), 'uint8'),
                                action_space=spaces.Discrete(3))
    pi = build_policy(env, 'cnn_small', value_network='shared')(np.random.default_rng(7))
    rng = np.random.default_rng(8)
    ob, ac, noise = rng.integers(0, 256, (60, 20, 20, 2)), rng.integers(0, 3, 60), rng.standard_normal(60)

    def losses(ob, ac, own, noise):
        pd, vpred = pi.pd(ob), pi.vf(ob)
        return (tf.reduce_mean(pd.neglogp(ac)) + tf.reduce_mean((vpred - 1)**2),
                tf.reduce_mean(pd.neglogp(own)) + tf.reduce_mean((vpred - tf.stop_gradient(vpred + noise))**2))

    optimizer = KfacOptimizer(0.2, cold_iter=1, cold_lr=0.01, clip_kl=0.05)
    index = tf.TensorSpec([None], 'int32')
    update = optimizer.minimize(losses, pi.var_list + pi.vf_var_list, pi.X, index, index, tf.TensorSpec([None]))
    values = [update(ob, ac, pi.act(ob), noise)[0] for _ in range(20)]
    assert [type(block).__name__ for block in optimizer.fisher.blocks] == ['Conv2DBlock'] * 2 + ['DenseBlock'] * 3
    assert values[-1] < values[0] - 0.5


# ================================================================
# Errors
# ================================================================

@pytest.mark.parametrize('kwargs, fault', [
    ({'kfac_update': 0}, 'kfac_update=0 must be positive'),
    ({'cold_iter': 0}, 'cold_iter=0 must be positive'),
    ({'full_stats_init': True, 'stats_accum_iter': 0}, 'stats_accum_iter=0 must be positive'),
    ({'epsilon': 0.}, 'epsilon=0.0 must be positive'),
    ({'clip_kl': float('nan')}, 'clip_kl=nan must be positive'),
    ({'channel_fac': True}, 'channel_fac is not supported'),
    ({'weight_decay_dict': {'h1/v': 1e-3}}, "weight_decay_dict: no variable 'h1/v'; did you mean h1/b?|h1/w?")])
def test_bad_arguments(kwargs, fault):
    with pytest.raises(UsageError, match=fault):
        Model().minimize(**kwargs)


def test_batch_of_one_is_refused():
    model = Model()
    _, update = model.minimize()
    before = model.theta()
    with pytest.raises(UsageError, match='at least two samples'):
        update(*(array[:1] for array in batches(1)[0]))
    np.testing.assert_array_equal(model.theta(), before)


def faulty(kind):
    """A model with one more layer, which lacks something, and its losses."""
    extra, bias = tf.Variable(np.ones([2, 2]), name='extra'), tf.Variable(np.zeros([2]), name='extra_bias')
    model = Model()
    model.var_list += [extra, bias] if kind == 'unsampled' else [extra]

    def losses(x, target, noise):
        _, sampled = model.losses(x, target, noise)
        h = tf.matmul(target, extra)
        if kind == 'unknown':
            h = record_layer('lstm', (extra,), target, h)
        if kind in ('apart', 'partly', 'unsampled'):
            h = record_layer('dense', (extra, bias), target, h + bias)
        if kind == 'apart':
            h = record_layer('free', (extra,), extra, h + 1)
        return tf.reduce_mean(h**2), sampled + (0. if kind == 'unsampled' else tf.reduce_mean(h**2))

    return model, losses


@pytest.mark.parametrize('kind, fault', [
    ('unknown', "no curvature block for 'extra', which is in a layer of kind 'lstm': it knows dense, conv2d"),
    ('unrecorded', "variable 'extra' is used by no layer on record"),
    ('apart', "variable 'extra' is used by 2 different layers"),
    ('partly', "variable 'extra_bias' is not to be optimized"),
    ('unsampled', "in the sampled loss, variable 'extra' is used by no layer on record")])
def test_every_variable_needs_a_block(kind, fault):
    model, losses = faulty(kind)
    with pytest.raises(UsageError, match=fault):
        model.minimize(losses)


def test_one_optimizer_minimises_one_thing():
    model = Model()
    optimizer, _ = model.minimize()
    with pytest.raises(RuntimeError, match='make another one'):
        optimizer.minimize(model.losses, model.var_list, *model.specs)


@pytest.mark.parametrize('index, fault', [(0, "gradients of 'h1/w'"), (1, "gradients of 'h1/w'"),
                                          (2, "factors of 'h1/w'")])
@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_what_is_not_finite_stops_with_nothing_changed(index, fault, value):
    """In the inputs, in the loss alone, and in the sampled loss alone."""
    model = Model()
    optimizer, update = model.minimize(cold_iter=1)
    good, bad = batches(2)
    update(*good)
    theta, state = model.theta(), optimizer.state()
    bad[index][0, 0] = value
    with pytest.raises(FloatingPointError, match=f'K-FAC update 2: the {fault} are not finite'):
        update(*bad)
    np.testing.assert_array_equal(model.theta(), theta)
    assert same_state(optimizer.state(), state)


# ================================================================
# MPI
# ================================================================

RANKS = """
    import json, sys
    import numpy as np
    sys.path.insert(0, sys.argv[1])
    from test_kfac import batches, Model
    from onpolicybaselines.common import mpi_world

    model = Model(rich=True)
    optimizer, update = model.minimize(cold_iter=2)
    rank, size = mpi_world.rank(), mpi_world.size()
    rows = slice(0, 15) if rank == 0 else slice(15, 40)   # batches of different sizes
    values = [update(*(array[rows] if size == 2 else array for array in batch)) for batch in batches(6)]
    thetas = mpi_world.allgather(model.theta().tolist())
    if rank == 0:
        print(json.dumps({'values': values, 'thetas': thetas}), flush=True)
    """


@pytest.mark.slow
def test_two_ranks_make_the_updates_of_one_with_both_batches(mpirun, request):
    """Gradients, factors and losses are means over samples; the parameters agree to the bit."""
    job = mpirun(2, RANKS, request.path.parent)
    assert job.returncode == 0, job.stderr
    got = json.loads(job.stdout)
    model = Model(rich=True)
    _, update = model.minimize(cold_iter=2)
    values = [update(*batch) for batch in batches(6)]
    np.testing.assert_allclose(got['values'], values, rtol=1e-9)
    assert got['thetas'][0] == got['thetas'][1]
    np.testing.assert_allclose(got['thetas'][0], model.theta(), rtol=1e-9, atol=1e-11)


FAULT = """
    import sys
    import numpy as np
    sys.path.insert(0, sys.argv[1])
    from test_kfac import batches, Model
    from onpolicybaselines.common import mpi_world

    model = Model()
    optimizer, update = model.minimize(cold_iter=2)
    x, target, noise = batches(1)[0]
    if mpi_world.rank() == 1:
        noise[0, 0] = np.nan
    try:
        update(x, target, noise)
    except FloatingPointError as e:
        print(mpi_world.rank(), e, flush=True)
    """


@pytest.mark.slow
def test_what_is_not_finite_on_one_rank_stops_all(mpirun, request):
    job = mpirun(2, FAULT, request.path.parent)
    assert job.returncode == 0, job.stderr
    assert job.stdout.count("the factors of 'h1/w' are not finite") == 2
