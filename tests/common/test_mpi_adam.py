import json

import numpy as np
import pytest
import tensorflow as tf

from onpolicybaselines.common.mpi_adam import MpiAdam
from onpolicybaselines.common.mpi_fit import minimize


def make_variables():
    np_random = np.random.default_rng(0)
    return [tf.Variable(np_random.standard_normal(shape), dtype='float32') for shape in ((3,), (2, 5), ())]


def make_gradients(rank, n=5):
    return np.random.default_rng(rank).standard_normal((n, 14)).astype('float32')


def test_equals_tensorflows_adam():
    """TF1's Adam is the same variant: epsilon outside the bias correction. The order of roundings differs."""
    ours, theirs = make_variables(), make_variables()
    adam = MpiAdam(ours, beta1=0.8, beta2=0.99, epsilon=1e-3)
    reference = tf.compat.v1.train.AdamOptimizer(0.02, beta1=0.8, beta2=0.99, epsilon=1e-3)
    for g in make_gradients(0, 20):
        adam.update(g, 0.02)
        pieces = zip(tf.split(g, [3, 10, 1]), theirs, strict=True)
        reference.apply_gradients([(tf.reshape(piece, v.shape), v) for piece, v in pieces])
        for v, w in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(v.numpy(), w.numpy(), rtol=0, atol=1e-6)
    assert adam.t == 20


def test_first_step_has_the_size_of_stepsize():
    """m / sqrt(v) is then the gradient's sign, whatever its scale."""
    variables = [tf.Variable(np.zeros(3, 'float32'))]
    MpiAdam(variables).update(np.array([1e-3, -1.0, 1e3]), 0.1)
    np.testing.assert_allclose(variables[0].numpy(), [-0.1, 0.1, -0.1], rtol=1e-3)


def test_numpy_stepsize_does_not_change_the_arithmetic():
    states = []
    for stepsize in (1e-3, np.float64(1e-3)):
        adam = MpiAdam(make_variables())
        for g in make_gradients(0, 100):
            adam.update(g, stepsize)
        assert adam.m.dtype == adam.v.dtype == 'float32'
        states.append(adam.getflat())
    np.testing.assert_array_equal(*states)


def test_resumes_from_its_state():
    whole, first, second = (MpiAdam(make_variables()) for _ in range(3))
    g = make_gradients(0)
    for i in range(5):
        whole.update(g[i], 0.1)
    for i in range(2):
        first.update(g[i], 0.1)
    second.setfromflat(first.getflat())
    state = first.state()
    first.update(g[4], 0.1)  # which does not show in it
    second.set_state(state)
    for i in range(2, 5):
        second.update(g[i], 0.1)
    np.testing.assert_array_equal(second.getflat(), whole.getflat())
    with pytest.raises(ValueError, match="MpiAdam does not fit: 'm' has shape"):
        second.set_state({**state, 'm': np.zeros(13)})


def quadratic(theta, centre, weight):
    """Gradient of the mean of weight * |theta - centre|^2 / 2."""
    return tf.reduce_mean(weight[:, tf.newaxis] * (theta - centre), axis=0)


def quadratic_data():
    np_random = np.random.default_rng(1)
    minibatches = [np_random.permutation(20)[:4] for _ in range(7)]
    return (make_gradients(2, 20), np_random.uniform(0., 2., 20).astype('float32')), minibatches


SPECS = tf.TensorSpec([None, 14]), tf.TensorSpec([None])


@pytest.mark.parametrize('xla', [False, True])
def test_updates_in_one_call(xla):
    """They are those of `update`, one after the other, and begin where earlier ones ended."""
    arrays, minibatches = quadratic_data()
    one, other = MpiAdam(make_variables()), MpiAdam(make_variables())
    fit = minimize(one, quadratic, *SPECS, xla=xla)
    fit(arrays, minibatches[:3], 0.1)
    fit(arrays, minibatches[3:], 0.05)
    for i, rows in enumerate(minibatches):
        g = quadratic(other.getflat(), *(tf.constant(array[rows]) for array in arrays))
        other.update(g.numpy(), 0.1 if i < 3 else 0.05)
    assert one.t == other.t == 7
    for got, want in [(one.getflat(), other.getflat()), (one.m, other.m), (one.v, other.v)]:
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_no_updates_in_one_call():
    adam = MpiAdam(make_variables())
    before = adam.getflat()
    minimize(adam, quadratic, *SPECS)(quadratic_data()[0], [], 0.1)
    np.testing.assert_array_equal(adam.getflat(), before)
    assert adam.t == 0


def test_not_finite_gradient_in_one_call_changes_nothing():
    (centre, weight), minibatches = quadratic_data()
    weight[minibatches[4][0]] = np.nan
    adam = MpiAdam(make_variables())
    before = adam.getflat()
    with pytest.raises(FloatingPointError, match='a gradient of updates 1 to 7 is not finite'):
        minimize(adam, quadratic, *SPECS)((centre, weight), minibatches, 0.1)
    np.testing.assert_array_equal(adam.getflat(), before)
    assert adam.t == 0 and not adam.m.any() and not adam.v.any()


@pytest.mark.parametrize('g, error, fault', [
    (np.zeros(13), ValueError, r'shape \(14,\), got \(13,\)'),
    (np.full(14, np.nan), FloatingPointError, 'gradient of update 1 is not finite'),
    (np.full(14, np.inf), FloatingPointError, 'gradient of update 1 is not finite')])
def test_bad_gradient_changes_nothing(g, error, fault):
    adam = MpiAdam(make_variables())
    before = adam.getflat()
    with pytest.raises(error, match=fault):
        adam.update(g, 0.1)
    np.testing.assert_array_equal(adam.getflat(), before)
    assert adam.t == 0 and not adam.m.any() and not adam.v.any()


RANKS = """
    import json
    import numpy as np
    import tensorflow as tf
    from onpolicybaselines.common.mpi_adam import MpiAdam
    from onpolicybaselines.common.mpi_fit import minimize
    from onpolicybaselines.common.mpi_util import sync_from_root
    from onpolicybaselines.common.mpi_world import get_comm

    comm = get_comm()

    def gathered_error(function, *args):
        try:
            function(*args)
        except Exception as e:
            return comm.gather(f'{type(e).__name__}: {e}')
        return comm.gather(None)

    def parameters(adam):
        return comm.gather(adam.getflat().tolist())

    def make_variables(offset):  # as in the test module
        np_random = np.random.default_rng(0)
        return [tf.Variable(np_random.standard_normal(shape) + offset, dtype='float32')
                for shape in ((3,), (2, 5), ())]

    gradients = np.random.default_rng(comm.rank).standard_normal((5, 14)).astype('float32')
    out = {}
    for name, scale in (('mean', True), ('sum', False)):
        adam = MpiAdam(make_variables(offset=comm.rank), scale_grad_by_procs=scale)
        out['never synced'] = gathered_error(adam.update, gradients[0], 0.1)
        adam.sync()
        for g in gradients:
            adam.update(g, 0.1)
        out[name] = parameters(adam)

    bad = np.where(comm.rank, np.nan, gradients[0])
    out['not finite'] = gathered_error(adam.update, bad, 0.1)
    out['after not finite'] = parameters(adam)

    adam.t = 100
    theta = adam.getflat()
    if comm.rank == 1:
        theta[4] += 0.5
        adam.setfromflat(theta)
    out['desynced'] = gathered_error(adam.update, gradients[0], 0.1)
    if comm.rank == 0:
        theta[4] = np.inf
        adam.setfromflat(theta)
    out['infinite'] = gathered_error(adam.check_synced)

    def quadratic(theta, centre, weight):
        return tf.reduce_mean(weight[:, tf.newaxis] * (theta - centre), axis=0)

    specs = tf.TensorSpec([None, 14]), tf.TensorSpec([None])
    for group in (8, 1):
        for name, scale in (('mean', True), ('sum', False)):
            adam = MpiAdam(make_variables(offset=comm.rank), scale_grad_by_procs=scale)
            fit = minimize(adam, quadratic, *specs, group=group)
            fit((gradients, gradients[:, 0]), [np.array([0, 1]), np.array([2, 4 - comm.rank])], 0.1)
            out[f'fit {name}, {group}'] = parameters(adam)
        out[f'fit not finite, {group}'] = gathered_error(fit, (np.tile(bad, (3, 1)), gradients[:3, 0]), [np.arange(3)],
                                                         0.1)
        out[f'after fit, {group}'], out[f'updates, {group}'] = parameters(adam), comm.gather(adam.t)
        out[f'moments, {group}'] = comm.gather([adam.m.tolist(), adam.v.tolist()])

    sync_from_root(adam.var_list)
    out['from root'] = gathered_error(adam.check_synced)
    if comm.rank == 0:
        print(json.dumps(out))
"""


@pytest.fixture(scope='module')
def two_ranks(mpirun):
    result = mpirun(2, RANKS)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize('name, scale', [('mean', 0.5), ('sum', 1.0)])
def test_two_ranks_equal_one_with_the_combined_gradient(two_ranks, name, scale):
    adam = MpiAdam(make_variables())
    for g0, g1 in zip(make_gradients(0), make_gradients(1), strict=True):
        adam.update((g0 + g1) * np.float32(scale), 0.1)
    for theta in two_ranks[name]:
        np.testing.assert_array_equal(np.array(theta, 'float32'), adam.getflat())


@pytest.mark.parametrize('group', [8, 1])
@pytest.mark.parametrize('name, scale', [('mean', 1), ('sum', 2)])
def test_two_ranks_fit_like_one_with_the_rows_of_both(two_ranks, name, scale, group):
    data = np.concatenate([make_gradients(0), make_gradients(1)])
    adam = MpiAdam(make_variables())
    minimize(adam, lambda *args: scale * quadratic(*args), *SPECS)(
        (data, data[:, 0]), [np.array([0, 1, 5, 6]), np.array([2, 4, 7, 8])], 0.1)
    for theta in two_ranks[f'fit {name}, {group}']:
        np.testing.assert_allclose(np.array(theta, 'float32'), adam.getflat(), rtol=1e-6)


@pytest.mark.parametrize('group', [8, 1])
def test_not_finite_rows_of_one_rank_stop_the_fit_of_all(two_ranks, group):
    def of(name):
        return two_ranks[f'{name}, {group}']

    assert len(of('fit not finite')) == 2
    for message in of('fit not finite'):
        assert message.startswith('FloatingPointError: MpiAdam: a gradient of updates 3 to 3 is not finite')
    assert of('after fit') == of('fit sum') and of('updates') == [2, 2]
    assert of('moments')[0] == of('moments')[1]


GROUPS = """
    import json
    import numpy as np
    import tensorflow as tf
    from onpolicybaselines.common.mpi_adam import MpiAdam
    from onpolicybaselines.common.mpi_fit import minimize
    from onpolicybaselines.common.mpi_world import get_comm

    comm = get_comm()
    np_random = np.random.default_rng(comm.rank)
    w1, w2 = (np.random.default_rng(0).standard_normal(shape).astype('float32') for shape in ((6, 16), (16,)))

    def gradient(theta, ob, ret):  # of the squared error of a small network
        with tf.GradientTape() as tape:
            tape.watch(theta)
            hidden = tf.tanh(ob @ tf.reshape(theta[:96], [6, 16]))
            error = tf.reduce_mean(tf.square(tf.linalg.matvec(hidden, theta[96:]) - ret))
        return tape.gradient(error, theta)

    ob, ret = np_random.standard_normal((64, 6)), np_random.standard_normal(64)
    minibatches = [rows for _ in range(5) for rows in np.split(np_random.permutation(64), 4)]
    out = {}
    for group in (5, 3, 2, 1):
        for xla in (False, True):
            adam = MpiAdam([tf.Variable(w1), tf.Variable(w2)])
            fit = minimize(adam, gradient, tf.TensorSpec([None, 6]), tf.TensorSpec([None]), xla=xla, group=group)
            fit((ob, ret), minibatches[:8], 1e-2)
            fit((ob, ret), minibatches[8:], 1e-2)
            out[f'{group}, {xla}'] = comm.gather(adam.getflat().tolist())
    if comm.rank == 0:
        print(json.dumps(out))
"""


@pytest.mark.slow
def test_groups_of_any_size_make_the_same_updates(mpirun):
    """Five ranks: one group; groups of three and two, of two, two and one; each rank alone."""
    result = mpirun(5, GROUPS)
    assert result.returncode == 0, result.stderr
    out = json.loads(result.stdout.splitlines()[-1])  # after lines of the log
    expected = np.array(out['5, False'][0])
    for group in (5, 3, 2, 1):
        for xla in (False, True):
            one, *others = out[f'{group}, {xla}']
            assert len(others) == 4 and all(theta == one for theta in others)  # to the bit
            np.testing.assert_allclose(one, expected, rtol=0, atol=1e-6)


def test_different_parameters_are_named_on_all_ranks(two_ranks):
    for name, t, diff in (('never synced', 1, '1'), ('desynced', 101, '0.5'), ('infinite', 101, 'inf')):
        assert len(two_ranks[name]) == 2
        for message in two_ranks[name]:
            assert message.startswith(f'RuntimeError: MpiAdam, update {t}: the parameters are not those of '
                                      f'rank 0 on rank 1 (largest difference {diff}); ranks must all start')


def test_gradient_of_one_rank_not_finite_stops_both(two_ranks):
    assert len(two_ranks['not finite']) == 2
    for message in two_ranks['not finite']:
        assert message.startswith('FloatingPointError: MpiAdam: the gradient of update 6 is not finite')
    assert two_ranks['after not finite'] == two_ranks['sum']


def test_sync_from_root(two_ranks):
    assert two_ranks['from root'] == [None, None]
