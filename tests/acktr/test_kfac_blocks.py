"""Curvature blocks against Fisher matrices and Hessians that are computed example by example, in float64."""
import doctest
import itertools

import numpy as np
import pytest
import tensorflow as tf

import onpolicybaselines.common.tf_util as U
from onpolicybaselines.a2c.utils import conv
from onpolicybaselines.acktr import cont_model, kfac, kfac_blocks, kfac_linalg
from onpolicybaselines.acktr.kfac_blocks import BLOCKS, Options
from onpolicybaselines.acktr.kfac_linalg import eigh, second_moment, solve_damped
from onpolicybaselines.common.layers import Layer, record_layer, recording_layers, standardize
from onpolicybaselines.common.variables import VariableStore

EXACT = {'rtol': 1e-10, 'atol': 1e-12}


def variable(rng, *shape):
    return tf.Variable(rng.standard_normal(shape))


def dense(x, w, b):
    return record_layer('dense', (w, b), x, tf.matmul(x, w) + b)


def scale_and_shift(x, beta, gamma):
    return record_layer('scale_and_shift', (beta, gamma), x, x * gamma + beta)


def free(v, batch):
    return record_layer('free', (v,), v, v + tf.zeros([*v.shape[:-2], batch, v.shape[-1]], v.dtype))


def block_of(losses, **options):
    """The block of the only layer in `losses`, a function that gives the sampled losses of a batch, [B]."""
    with tf.GradientTape(persistent=True) as tape, recording_layers() as layers:
        loss = tf.reduce_mean(losses())
    grads = tape.gradient(loss, [layer.h for layer in layers])
    block = BLOCKS[layers[0].kind](layers[0].variables, Options(**{'dtype': 'float64', **options}))
    return with_factors(block, block.factors(layers, grads))


def with_factors(block, factors):
    block.initialize([factor.shape for factor in factors])
    block.update(factors, 0., 1.)
    block.set_eigen(block.eigh())
    return block


@pytest.mark.parametrize('compiled', [False, True])
def test_large_matrices_are_decomposed_as_small_ones(monkeypatch, compiled):
    """By the same signs of eigenvectors at most: what is made of them is the same."""
    rows = np.random.default_rng(0).standard_normal((2, 30, 12)).astype('f')
    matrix, v = second_moment(tf.constant(rows), 30), tf.constant(rows[:, :12, :5])
    right = eigh(second_moment(tf.constant(rows[..., :5]), 30))
    expected = solve_damped(v, eigh(matrix), right, 0.1)
    called = []
    monkeypatch.setattr(kfac_linalg, 'LARGE', 12)
    monkeypatch.setattr(np.linalg, 'eigh', lambda a, eigh=np.linalg.eigh: called.append(a.dtype) or eigh(a))
    decompose = tf.function(eigh) if compiled else eigh
    values, vectors = decompose(matrix)
    assert called == ['float64'] and values.shape == (2, 12) and vectors.shape == (2, 12, 12)
    np.testing.assert_allclose(solve_damped(v, (values, vectors), right, 0.1), expected, rtol=1e-5, atol=1e-6)


def example_gradients(losses, variables):
    """Gradients of each example's loss, one row per example, all variables side by side."""
    with tf.GradientTape(persistent=True) as tape:
        values = losses()
    rows = [tf.reshape(tape.jacobian(values, v), [len(values), -1]) for v in variables]
    return np.concatenate(rows, axis=1)


def fisher(losses, variables):
    g = example_gradients(losses, variables)
    return g.T @ g / len(g)


def signs(n):
    """All vectors of n signs: noise with mean 0 and covariance I, exactly."""
    return np.array(list(itertools.product([-1., 1.], repeat=n)))


def crossed(x, *noises):
    """Every row of x with every row of each of the noises, so that they are independent of each other, exactly."""
    rows = list(itertools.product(x, *noises))
    return [tf.constant(np.array(column)) for column in zip(*rows, strict=True)]


def sampled_error(y, noise):
    """-log p of y + noise under a Gaussian around y, constants left out."""
    return tf.reduce_sum((y - tf.stop_gradient(y + noise))**2, axis=-1) / 2


# ================================================================
# Exactness
# ================================================================

def test_dense_block_is_the_exact_fisher_matrix_of_a_linear_net():
    rng = np.random.default_rng(0)
    w, b = variable(rng, 4, 3), variable(rng, 3)
    x, noise = crossed(rng.standard_normal((5, 4)), signs(3))

    def losses():
        return sampled_error(dense(x, w, b), noise)

    F = block_of(losses).to_dense()[0]
    np.testing.assert_allclose(F, fisher(losses, [w, b]), **EXACT)
    a = np.c_[x, np.ones(len(x))]
    np.testing.assert_allclose(F, np.kron(a.T @ a / len(a), np.eye(3)), **EXACT)


@pytest.mark.parametrize('inputs', [1, 3])
def test_stacked_dense_layers_are_blocks_of_their_own(inputs):
    """With one input for all (inputs 1) or with one each."""
    rng = np.random.default_rng(1)
    w, b = variable(rng, 3, 4, 2), variable(rng, 3, 1, 2)
    xs, noise = zip(*(crossed(rng.standard_normal((5, 4)), signs(2)) for _ in range(inputs)), strict=True)
    x = tf.stack(xs)

    F = block_of(lambda: tf.reduce_sum(sampled_error(dense(x, w, b), noise[0]), axis=0)).to_dense()
    assert F.shape == (3, 10, 10)
    for i, one in enumerate(F):
        w_i, b_i = tf.Variable(w[i]), tf.Variable(b[i, 0])
        want = fisher(lambda w=w_i, b=b_i, x=xs[i % inputs]: sampled_error(dense(x, w, b), noise[0]), [w_i, b_i])
        np.testing.assert_allclose(one, want, **EXACT)


def test_dense_block_is_the_hessian_of_the_last_layer_of_a_piecewise_linear_net():
    rng = np.random.default_rng(2)
    w, b = variable(rng, 3, 4), variable(rng, 4)
    last = tf.Variable(rng.standard_normal(10))  # [5, 2] with the bias as its last row
    x, noise = crossed(rng.standard_normal((6, 3)), signs(2))
    target = rng.standard_normal((len(x), 2))
    hidden = tf.nn.relu(tf.matmul(x, w) + b)

    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            w_last, b_last = tf.reshape(last[:8], [4, 2]), last[8:]
            loss = tf.reduce_mean(tf.reduce_sum((tf.matmul(hidden, w_last) + b_last - target)**2, axis=1)) / 2
        hessian = outer.jacobian(inner.gradient(loss, last), last)

    w_last, b_last = tf.Variable(w_last), tf.Variable(b_last)
    block = block_of(lambda: sampled_error(dense(hidden, w_last, b_last), noise))
    np.testing.assert_allclose(block.to_dense()[0], hessian, **EXACT)


@pytest.mark.parametrize('k', [1, 2])
def test_scale_and_shift_block_is_the_fisher_matrix_of_beta_and_that_of_gamma(k):
    rng = np.random.default_rng(3)
    shape = [k, 1, 4] if k > 1 else [4]
    beta, gamma = variable(rng, *shape), variable(rng, *shape)
    x = standardize(tf.constant(rng.standard_normal([k, 20, 4] if k > 1 else [20, 4])), 1e-12)
    weights = rng.standard_normal((20, 4))

    def losses():
        h = tf.tanh(scale_and_shift(x, beta, gamma)) * weights
        return tf.reduce_sum(tf.reshape(tf.square(h), [k, 20, 4]), axis=[0, 2])

    got = block_of(losses).to_dense().numpy()
    want = fisher(losses, [beta, gamma])
    for i in range(k):
        mine = slice(4 * i, 4 * i + 4), slice(4 * (k + i), 4 * (k + i) + 4)
        np.testing.assert_allclose(got[i, :4, :4], want[mine[0], mine[0]], **EXACT)
        np.testing.assert_allclose(got[i, 4:, 4:], want[mine[1], mine[1]], **EXACT)
        assert not got[i, :4, 4:].any() and not got[i, 4:, :4].any()
        assert np.abs(want[mine[0], mine[1]]).max() > 0.01  # what the block leaves out


def test_log_standard_deviations_from_a_layer_have_its_exact_fisher_matrix():
    """Where they are the same in all states, as a state-dependent one is at the start: there inputs and the samples'
    gradients are independent. The noise has the variance 1, and its squares have the 2 that a normal's have."""
    rng = np.random.default_rng(0)
    w, b = tf.Variable(np.zeros((4, 3))), variable(rng, 3)
    ends = np.sqrt(3.) * np.array([-1, 0, 0, 0, 0, 1])  # fourth moment 3, as a normal's
    x, noise = crossed(rng.standard_normal((5, 4)), list(itertools.product(ends, repeat=3)))

    def losses():
        logstd = dense(x, w, b)
        z = noise * tf.stop_gradient(tf.exp(logstd)) * tf.exp(-logstd)
        return tf.reduce_sum(z**2 / 2 + logstd, axis=-1)

    F = block_of(losses).to_dense()[0]
    np.testing.assert_allclose(F, fisher(losses, [w, b]), **EXACT)
    a = np.c_[x, np.ones(len(x))]
    np.testing.assert_allclose(F, 2 * np.kron(a.T @ a / len(a), np.eye(3)), **EXACT)


def gaussian_losses(logstd, x, batch):
    h = free(logstd, batch)
    return tf.reduce_sum(h + (x * tf.exp(-h))**2 / 2, axis=-1)


def test_free_block_is_the_fisher_matrix_of_a_free_vector():
    rng = np.random.default_rng(4)
    logstd, x = variable(rng, 1, 3), rng.standard_normal((30, 3))

    def losses():
        return gaussian_losses(logstd, x, len(x))

    F = block_of(losses).to_dense()[0]
    np.testing.assert_allclose(F, fisher(losses, [logstd]), **EXACT)
    np.testing.assert_allclose(np.diag(F), (example_gradients(losses, [logstd])**2).mean(axis=0), **EXACT)


def test_free_block_of_a_batch_of_one_is_the_outer_product_of_the_mean_gradient():
    """Upstream's factor of logstd: rank one, and of size 1/B."""
    rng = np.random.default_rng(5)
    logstd, x = variable(rng, 1, 3), rng.standard_normal((30, 3))
    F = block_of(lambda: gaussian_losses(logstd, x, 1)).to_dense()[0]
    g = example_gradients(lambda: gaussian_losses(logstd, x, len(x)), [logstd]).mean(axis=0)
    np.testing.assert_allclose(F, np.outer(g, g), **EXACT)


# ================================================================
# Layers used several times
# ================================================================

def test_two_uses_of_a_dense_layer_are_the_exact_fisher_matrix_if_independent():
    rng = np.random.default_rng(6)
    w, b = variable(rng, 3, 2), variable(rng, 2)
    x, noise1, noise2 = crossed(rng.standard_normal((4, 6)), signs(2), signs(2))

    def losses():
        return sum(sampled_error(dense(x_use, w, b), noise)
                   for x_use, noise in [(x[:, :3], noise1), (x[:, 3:], noise2)])

    exact = fisher(losses, [w, b])
    np.testing.assert_allclose(block_of(losses).to_dense()[0], exact, **EXACT)
    np.testing.assert_allclose(block_of(losses, released_repeats=True).to_dense()[0], 2 * exact, **EXACT)


def test_two_uses_of_scale_and_shift_are_the_exact_fisher_matrix_with_their_product():
    rng = np.random.default_rng(7)
    beta, gamma = variable(rng, 3), variable(rng, 3)
    x1, x2 = tf.constant(rng.standard_normal((2, 20, 3)))

    def losses():
        h1, h2 = (scale_and_shift(x, beta, gamma) for x in (x1, x2))
        return tf.reduce_sum(tf.sin(h1) * tf.cos(h2), axis=1)

    got, want = block_of(losses).to_dense()[0], fisher(losses, [beta, gamma])
    np.testing.assert_allclose(got[:3, :3], want[:3, :3], **EXACT)
    np.testing.assert_allclose(got[3:, 3:], want[3:, 3:], **EXACT)

    # released: twice the sum of both uses' own matrices
    g1, g2 = (tf.Variable(gamma) for _ in range(2))
    own = [example_gradients(lambda: tf.reduce_sum(tf.sin(x1 * g1 + beta) * tf.cos(x2 * g2 + beta), axis=1), [g])
           for g in (g1, g2)]
    released = block_of(losses, released_repeats=True).to_dense()[0]
    np.testing.assert_allclose(released[3:, 3:], 2 * sum(g.T @ g for g in own) / 20, **EXACT)


# ================================================================
# Convolutions
# ================================================================

def conv_losses(padding, stride):
    """(losses through a 3 x 3 convolution from 2 channels to 3, images [3, 6, 5, 2])."""
    rng = np.random.default_rng(8)
    x = tf.constant(rng.standard_normal((3, 6, 5, 2)))
    store = VariableStore('float64', rng)

    def losses():
        with store.as_default():
            h = conv(x, 'c', nf=3, rf=3, stride=stride, pad=padding)
        return tf.reduce_sum(tf.sin(h), axis=[1, 2, 3])

    return losses, x.numpy()


def explicit_rows(losses, x, padding, stride):
    """(patch with a 1, gradient) of each image and position by loops: [B, T, 19], [B, T, 3]."""
    with tf.GradientTape() as tape, recording_layers() as layers:
        loss = tf.reduce_sum(losses())
    grad = tape.gradient(loss, layers[0].h).numpy()
    height, width = grad.shape[1:3]
    if padding == 'SAME':  # TensorFlow puts the odd row or column of zeros at the end
        missing = [max((n - 1) * stride + 3 - size, 0) for n, size in zip((height, width), x.shape[1:3], strict=True)]
        x = np.pad(x, [(0, 0), *((m // 2, m - m // 2) for m in missing), (0, 0)])
    corners = itertools.product(range(0, height * stride, stride), range(0, width * stride, stride))
    patches = np.stack([np.c_[x[:, i:i + 3, j:j + 3].reshape(len(x), -1), np.ones(len(x))] for i, j in corners], axis=1)
    return patches, grad.reshape(len(x), height * width, -1)


@pytest.mark.parametrize('padding, stride', [('VALID', 1), ('VALID', 2), ('SAME', 2)])
def test_conv_block_against_explicit_patches(padding, stride):
    losses, x = conv_losses(padding, stride)
    patches, grad = explicit_rows(losses, x, padding, stride)
    B, T = patches.shape[:2]
    A, G = block_of(losses).stats
    np.testing.assert_allclose(A[0], sum(np.outer(p, p) for p in patches.reshape(B * T, -1)) / B / T**2, **EXACT)
    np.testing.assert_allclose(G[0], sum(np.outer(g, g) for g in grad.reshape(B * T, -1)) / B * T, **EXACT)

    A, G = block_of(losses, approxT2=True).stats
    np.testing.assert_allclose(A[0], sum(np.outer(p, p) for p in patches.mean(axis=1)) / B, **EXACT)
    np.testing.assert_allclose(G[0], sum(np.outer(g, g) for g in grad.sum(axis=1)) / B, **EXACT)


def test_conv_block_of_channels_first_is_that_of_channels_last():
    losses, _ = conv_losses('SAME', 2)
    with tf.GradientTape() as tape, recording_layers() as layers:
        loss = tf.reduce_mean(losses())
    layer, grad = layers[0], tape.gradient(loss, layers[0].h)
    first = Layer('conv2d', layer.variables, tf.transpose(layer.x, [0, 3, 1, 2]), tf.transpose(layer.h, [0, 3, 1, 2]),
                    {'strides': [1, 1, 2, 2], 'padding': 'SAME', 'data_format': 'NCHW'})
    block = BLOCKS['conv2d'](layer.variables, Options('float64'))
    for got, want in zip(block.factors([first], [tf.transpose(grad, [0, 3, 1, 2])]), block.factors([layer], [grad]),
                         strict=True):
        np.testing.assert_allclose(got, want, **EXACT)


def test_conv_block_with_a_filter_as_large_as_the_image_is_a_dense_block():
    rng = np.random.default_rng(9)
    x = tf.constant(rng.standard_normal((10, 3, 3, 2)))
    store = VariableStore('float64', rng)

    def conv_layer():
        with store.as_default():
            return tf.reduce_sum(tf.sin(conv(x, 'c', nf=4, rf=3, stride=1)), axis=[1, 2, 3])

    block = block_of(conv_layer)
    w, b = (tf.Variable(tf.reshape(v, shape)) for v, shape in zip(block.variables, ([18, 4], [4]), strict=True))
    flat = tf.reshape(x, [10, 18])
    want = block_of(lambda: tf.reduce_sum(tf.sin(dense(flat, w, b)), axis=1))
    np.testing.assert_allclose(block.to_dense(), want.to_dense(), **EXACT)
    vectors = [rng.standard_normal(v.shape) for v in block.variables]
    got = block.multiply_inverse(vectors, [0.1, 0.1])
    assert [g.shape for g in got] == [(3, 3, 2, 4), (1, 4, 1, 1)]
    want = want.multiply_inverse([vectors[0].reshape(18, 4), vectors[1].reshape(4)], [0.1, 0.1])
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(np.ravel(g), np.ravel(w), **EXACT)


# ================================================================
# The inverse
# ================================================================

def spd(rng, k, n):
    q = rng.standard_normal((k, n, 2 * n))
    return q @ np.swapaxes(q, 1, 2) / (2 * n)


def random_block(kind, shapes, factors, **options):
    rng = np.random.default_rng(10)
    block = BLOCKS[kind]([variable(rng, *shape) for shape in shapes], Options('float64', **options))
    return with_factors(block, [spd(rng, *size) for size in factors]), rng


def solve(matrix, vectors, k):
    """The solution for arrays whose first axis, if k > 1, is that of the stack."""
    rows = np.concatenate([v.reshape(k, -1) for v in vectors], axis=1)
    pieces = np.split(np.linalg.solve(matrix, rows[..., np.newaxis])[..., 0],
                      np.cumsum([v.size // k for v in vectors])[:-1], axis=1)
    return [piece.reshape(v.shape) for piece, v in zip(pieces, vectors, strict=True)]


INVERSES = {
    'dense': ('dense', [(4, 3), (3,)], [(1, 5), (1, 3)]),
    'stacked dense': ('dense', [(2, 4, 3), (2, 1, 3)], [(2, 5), (2, 3)]),
    'stacked dense, one input': ('dense', [(2, 4, 3), (2, 1, 3)], [(1, 5), (2, 3)]),
    'conv2d': ('conv2d', [(2, 2, 3, 4), (1, 4, 1, 1)], [(1, 13), (1, 4)]),
    'scale_and_shift': ('scale_and_shift', [(4,), (4,)], [(1, 4), (1, 4)]),
    'stacked scale_and_shift': ('scale_and_shift', [(2, 1, 4), (2, 1, 4)], [(2, 4), (2, 4)]),
    'free': ('free', [(1, 4)], [(1, 4)]),
}


@pytest.mark.parametrize('kind, shapes, factors', INVERSES.values(), ids=INVERSES)
def test_multiply_inverse_equals_a_dense_solve(kind, shapes, factors):
    block, rng = random_block(kind, shapes, factors)
    vectors = [rng.standard_normal(shape) for shape in shapes]
    damped = block.to_dense() + 0.03 * np.eye(block.to_dense().shape[-1])
    wants = solve(damped, vectors, len(damped))
    for got, want in zip(block.multiply_inverse(vectors, [0.03] * len(vectors)), wants, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-10)


def test_each_full_matrix_has_the_damping_of_its_variable():
    block, rng = random_block(*INVERSES['scale_and_shift'])
    vectors = [rng.standard_normal(4) for _ in range(2)]
    for got, v, stats, damping in zip(block.multiply_inverse(vectors, [0.1, 0.7]), vectors, block.stats, [0.1, 0.7],
                                      strict=True):
        np.testing.assert_allclose(got, np.linalg.solve(stats[0] + damping * np.eye(4), v), **EXACT)


@pytest.mark.parametrize('scale', [1., 100., 0.])
def test_factored_damping_splits_the_damping_by_the_mean_eigenvalues(scale):
    block, rng = random_block(*INVERSES['dense'], factored_damping=True)
    A, G = block.stats
    with_factors(block, [A * scale, G])
    vectors = [rng.standard_normal(shape) for shape in [(4, 3), (3,)]]
    pi = np.sqrt(scale * np.trace(A[0]) / 5 / (np.trace(G[0]) / 3)) if scale else 1.
    damped = np.kron(scale * A[0] + pi * 0.3 * np.eye(5), G[0] + 0.3 / pi * np.eye(3))
    wants = solve(damped[np.newaxis], vectors, 1)
    for got, want in zip(block.multiply_inverse(vectors, [0.09, 0.09]), wants, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-10)


def test_eigenvalues_up_to_one_in_a_million_count_as_zero():
    block, _ = random_block(*INVERSES['free'])
    with_factors(block, [np.diag([-1e-2, 9e-7, 2e-6, 1.])[np.newaxis]])
    got, = block.multiply_inverse([np.ones((1, 4))], [1e-6])
    np.testing.assert_allclose(got[0], [1e6, 1e6, 1 / 3e-6, 1 / (1 + 1e-6)], rtol=1e-9)


def test_blockdiag_bias_leaves_weights_and_bias_apart():
    rng = np.random.default_rng(11)
    w, b = variable(rng, 3, 2), variable(rng, 2)
    x = tf.constant(rng.standard_normal((30, 3)) + 1)
    noise = rng.standard_normal((30, 2))
    block = block_of(lambda: sampled_error(dense(x, w, b), noise), blockdiag_bias=True)
    A, G = x.numpy().T @ x.numpy() / 30, noise.T @ noise / 30
    vectors = [rng.standard_normal((3, 2)), rng.standard_normal(2)]
    got = block.multiply_inverse(vectors, [0.1, 0.1])
    weights = np.linalg.solve(np.kron(A, G) + 0.1 * np.eye(6), vectors[0].ravel())
    np.testing.assert_allclose(got[0], weights.reshape(3, 2), rtol=1e-8)
    np.testing.assert_allclose(got[1], np.linalg.solve(G + 0.1 * np.eye(2), vectors[1]), rtol=1e-8)


# ================================================================
# Invariance and precision
# ================================================================

def layer_losses(kind, repeat=1, dtype='float64'):
    """Sampled losses through one layer of the kind; repeat: how often each example comes."""
    rng = np.random.default_rng(12)

    def data(*shape):
        return tf.cast(rng.standard_normal(shape), dtype)

    x, image = (tf.repeat(data(*shape), repeat, axis=0) for shape in [(12, 4), (12, 5, 5, 2)])
    v = {name: tf.Variable(data(*shape)) for name, shape in
         [('w', (4, 3)), ('b', (3,)), ('beta', (4,)), ('gamma', (4,)), ('free', (1, 4))]}
    store = VariableStore(dtype, rng)

    def output():
        with store.as_default():
            return {'dense': lambda: dense(x, v['w'], v['b']),
                    'scale_and_shift': lambda: scale_and_shift(x, v['beta'], v['gamma']),
                    'free': lambda: free(v['free'], 12 * repeat) * x,
                    'conv2d': lambda: U.flattenallbut0(conv(image, 'c', nf=2, rf=3, stride=1))}[kind]()

    return lambda: tf.reduce_sum(tf.sin(output()), axis=1)


@pytest.mark.parametrize('kind', BLOCKS)
def test_duplicating_the_batch_changes_nothing(kind):
    once, thrice = (block_of(layer_losses(kind, repeat)) for repeat in (1, 3))
    np.testing.assert_allclose(once.to_dense(), thrice.to_dense(), **EXACT)
    assert np.abs(once.to_dense()).max() > 0.01


@pytest.mark.parametrize('kind', BLOCKS)
def test_float32_is_close_to_float64(kind):
    single, double = (block_of(layer_losses(kind, dtype=dtype), dtype=dtype) for dtype in ('float32', 'float64'))
    np.testing.assert_allclose(single.to_dense(), double.to_dense(), rtol=1e-4, atol=1e-5)
    vectors = [np.ones(v.shape) for v in double.variables]
    for got, want in zip(*(block.multiply_inverse(vectors, [0.01] * len(vectors)) for block in (single, double)),
                         strict=True):
        assert got.dtype == tf.float32
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3)


# ================================================================
# Examples
# ================================================================

@pytest.mark.parametrize('module', [kfac, kfac_blocks, cont_model], ids=lambda module: module.__name__)
def test_examples(module):
    results = doctest.testmod(module)
    assert results.attempted and not results.failed
