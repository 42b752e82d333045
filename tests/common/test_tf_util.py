"""Variables by scope, flat vectors, compiled functions, and files of variables."""
import io
import os
import pickle
import resource
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from onpolicybaselines import logger
from onpolicybaselines.common import tf_util
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.layers import layer_norm, standardize
from onpolicybaselines.common.variables import (
    VariableStore,
    constant_initializer,
    get_variable,
    to_float,
    uniform_initializer,
    variable_scope,
)


def store_of_three(dtype='float64'):
    """A store with pi/w [3, 2], pi/b [2] and vf/w [3, 1], random."""
    store = VariableStore(dtype, np.random.default_rng(0))
    with store.as_default():
        network(tf.zeros([1, 3], store.dtype))
    return store


def network(x):
    normal = lambda shape, np_random: np_random.standard_normal(shape)
    with variable_scope('pi'):
        h = tf.tanh(x @ get_variable('w', [3, 2], normal) + get_variable('b', [2], normal))
    with variable_scope('vf'):
        return h, x @ get_variable('w', [3, 1], normal)


# ================================================================
# Variables by scope
# ================================================================

def test_variables_are_named_by_scope_in_creation_order():
    store = VariableStore()
    ones = constant_initializer(1.)
    with store.as_default():
        get_variable('z', [], ones)
        with variable_scope('b'):
            get_variable('w', [2], ones)
            with variable_scope('inner'):
                get_variable('a/b', [1, 3], ones)
            get_variable('a', [], ones)
        with variable_scope('a'):
            get_variable('w', [], ones)
        get_variable('y', [], ones)
    assert list(store.variables) == ['z', 'b/w', 'b/inner/a/b', 'b/a', 'a/w', 'y']
    for name, v in store.variables.items():
        assert isinstance(v, tf.Variable) and v.trainable and v.name == name + ':0' and v.dtype == 'float32'
    assert [v.name for v in store.in_scope('b')] == ['b/w:0', 'b/inner/a/b:0', 'b/a:0']
    assert store.in_scope('') == store.in_scope('c') == []


def test_scope_of_a_common_beginning_is_another_scope():
    store = VariableStore()
    with store.as_default():
        for name in ('pi/w', 'pi2/w', 'pi'):
            get_variable(name, [], constant_initializer())
    assert [v.name for v in store.in_scope('pi')] == ['pi/w:0']


def test_same_name_is_the_same_variable():
    store = store_of_three()
    before = dict(store.variables)
    with store.as_default():
        network(tf.zeros([1, 3], tf.float64))
        with variable_scope('pi'):
            assert get_variable('w', [3, 2], None) is before['pi/w']
    assert list(store.variables.items()) == list(before.items())


def test_initialisers_draw_from_the_stores_generator_in_creation_order():
    store = store_of_three()
    np_random = np.random.default_rng(0)
    for v in store.variables.values():
        np.testing.assert_array_equal(v, np_random.standard_normal(v.shape))
    for again in (store_of_three(), store_of_three('float32')):
        for a, b in zip(store.variables.values(), again.variables.values(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)
    assert again.variables['pi/w'].dtype == 'float32'


def test_shape_clash_is_refused():
    store = store_of_three()
    with store.as_default(), pytest.raises(ValueError, match=r"'pi/w' has shape \(3, 2\), not \(2, 3\)"):
        get_variable('pi/w', [2, 3], None)


def test_frozen_store_makes_no_variables():
    store = store_of_three()
    store.frozen = True
    with store.as_default():
        network(tf.zeros([1, 3], tf.float64))
        with pytest.raises(RuntimeError, match="'pi/new'"):
            get_variable('pi/new', [], constant_initializer())
    assert list(store.variables) == ['pi/w', 'pi/b', 'vf/w']


def test_stores_nest_and_scopes_end_with_an_error():
    outer, inner = VariableStore(), VariableStore('float64')
    zero = constant_initializer()
    with outer.as_default():
        with variable_scope('a'):
            with inner.as_default():
                get_variable('x', [], zero)
                assert to_float(tf.constant(1)).dtype == 'float64'
            with pytest.raises(ZeroDivisionError), variable_scope('b'):
                raise ZeroDivisionError
            get_variable('y', [], zero)
        assert to_float(tf.constant(1)).dtype == 'float32'
    assert list(inner.variables) == ['x'] and list(outer.variables) == ['a/y']


def test_created_inside_a_compiled_function_once():
    store = VariableStore()

    @tf.function(autograph=False)
    def f(x):
        with store.as_default():
            return x * get_variable('w', [], constant_initializer(3.))

    assert f(tf.constant(2.)) == 6
    store.variables['w'].assign(5.)
    assert f(tf.constant(2.)) == 10
    assert f(tf.constant([2.])) == 10  # another trace
    assert len(store.variables) == 1


# ================================================================
# A loss as a function of the flat vector
# ================================================================

def loss_of(store, x):
    with store.as_default():
        h, v = network(x)
    return tf.reduce_sum(tf.square(h)) + tf.reduce_sum(tf.sin(v))


def test_substitute_gives_the_loss_and_gradient_of_the_variables():
    store = store_of_three()
    x = tf.constant(np.random.default_rng(1).standard_normal((4, 3)))
    var_list = list(store.variables.values())
    theta = tf.constant(tf_util.GetFlat(var_list)())
    with tf.GradientTape() as tape:
        loss = loss_of(store, x)
    gradient = tf_util.flatgrad(tape.gradient(loss, var_list), var_list)
    assert np.abs(gradient).min() > 0

    @tf.function(autograph=False)
    def value_and_gradient(theta):
        with tf.GradientTape() as tape:
            tape.watch(theta)
            with store.substitute(var_list, theta):
                loss = loss_of(store, x)
        return loss, tape.gradient(loss, theta)

    found = value_and_gradient(theta)
    np.testing.assert_allclose(found[0], loss, rtol=1e-14)
    np.testing.assert_allclose(found[1], gradient, rtol=1e-13)

    # elsewhere it is the loss after the variables are set, and the variables are untouched
    elsewhere = value_and_gradient(theta + 0.1)
    np.testing.assert_array_equal(tf_util.GetFlat(var_list)(), theta)
    tf_util.SetFromFlat(var_list)(theta.numpy() + 0.1)
    np.testing.assert_allclose(elsewhere[0], loss_of(store, x), rtol=1e-14)
    assert abs(elsewhere[0] - found[0]) > 1e-3


def test_substitute_some_variables_in_any_order():
    store = store_of_three()
    x = tf.constant(np.random.default_rng(1).standard_normal((4, 3)))
    w, b, v = store.variables.values()
    theta = tf.range(8, dtype=tf.float64) / 8.
    with tf.GradientTape() as tape:
        tape.watch(theta)
        with store.substitute([b, w], theta):
            substituted = loss_of(store, x)
    assert tape.gradient(substituted, theta).shape == (8,)
    b.assign(theta[:2])
    w.assign(tf.reshape(theta[2:], [3, 2]))
    np.testing.assert_allclose(substituted, loss_of(store, x), rtol=1e-14)


def test_substitute_ends_with_an_error_and_refuses_another_size():
    store = store_of_three()
    x = tf.zeros([1, 3], tf.float64)
    var_list = list(store.variables.values())
    before = loss_of(store, x)
    with pytest.raises(ZeroDivisionError), store.substitute(var_list, tf.ones([11], tf.float64)):
        assert loss_of(store, x) != before
        raise ZeroDivisionError
    assert loss_of(store, x) == before
    for size in (10, 12):
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
            with store.substitute(var_list, tf.ones([size], tf.float64)):
                pass
    assert loss_of(store, x) == before


# ================================================================
# Flat vectors
# ================================================================

@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_get_flat_and_set_from_flat(dtype):
    store = store_of_three(dtype)
    var_list = list(store.variables.values())
    get, set_ = tf_util.GetFlat(var_list), tf_util.SetFromFlat(var_list)
    theta = get()
    assert theta.dtype == dtype and theta.shape == (11,)
    np.testing.assert_array_equal(theta, np.concatenate([v.numpy().ravel() for v in var_list]))
    new = np.arange(11.)
    set_(new)
    np.testing.assert_array_equal(get(), new)
    np.testing.assert_array_equal(var_list[0], [[0, 1], [2, 3], [4, 5]])
    np.testing.assert_array_equal(var_list[1], [6, 7])
    set_(theta)
    np.testing.assert_array_equal(get(), theta)
    theta[:] = 0  # a copy
    assert np.all(get() != 0)


def test_set_from_flat_refuses_another_size_and_leaves_the_variables():
    store = store_of_three()
    var_list = list(store.variables.values())
    before = tf_util.GetFlat(var_list)()
    set_ = tf_util.SetFromFlat(var_list)
    for theta in (np.zeros(10), np.zeros(12), np.zeros((11, 1))):
        with pytest.raises((ValueError, TypeError)):
            set_(theta)
    np.testing.assert_array_equal(tf_util.GetFlat(var_list)(), before)


def test_flatgrad():
    store = store_of_three()
    w, b, v = store.variables.values()
    grads = [tf.fill([3, 2], 3.), None, tf.constant([[0.], [3.], [4.]])]
    var_list = [tf.cast(x, tf.float32) for x in (w, b, v)]
    np.testing.assert_array_equal(tf_util.flatgrad(grads, var_list), [3] * 6 + [0, 0] + [0, 3, 4])
    clipped = tf_util.flatgrad(grads, var_list, clip_norm=1.)
    np.testing.assert_allclose(clipped, [1 / np.sqrt(6)] * 6 + [0, 0] + [0, 0.6, 0.8], rtol=1e-6)
    np.testing.assert_array_equal(tf_util.flatgrad(grads, var_list, clip_norm=100.), tf_util.flatgrad(grads, var_list))
    with pytest.raises(ValueError):
        tf_util.flatgrad(grads[:2], var_list)


def test_flatgrad_of_an_untouched_variable():
    w, b = tf.Variable([[1., 2.]]), tf.Variable([3., 4.])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(b))
    np.testing.assert_array_equal(tf_util.flatgrad(tape.gradient(loss, [w, b]), [w, b]), [0, 0, 6, 8])


def test_sizes():
    v = tf.Variable(tf.zeros([2, 3, 4]))
    assert tf_util.var_shape(v) == [2, 3, 4] and tf_util.numel(v) == 24
    assert tf_util.numel(tf.Variable(1.)) == tf_util.intprod([]) == 1
    assert type(tf_util.intprod([2, 3])) is int
    assert tf_util.flattenallbut0(v).shape == (2, 12)
    assert tf_util.flattenallbut0(tf.zeros([5])).shape == (5, 1)
    assert tf_util.flattenallbut0(tf.zeros([0, 3, 2])).shape == (0, 6)


# ================================================================
# Maths
# ================================================================

def test_huber_loss():
    x = np.array([-3., -1.5, -1., -0.5, 0., 0.3, 2.])
    for delta in (1., 0.4):
        expected = np.where(np.abs(x) < delta, x**2 / 2, delta * (np.abs(x) - delta / 2))
        np.testing.assert_allclose(tf_util.huber_loss(tf.constant(x), delta), expected, rtol=1e-14)
    t = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(t)
        loss = tf_util.huber_loss(t)
    np.testing.assert_allclose(tape.gradient(loss, t), np.clip(x, -1, 1), rtol=1e-14)


def test_lrelu():
    x = tf.constant([-2., 0., 3.])
    np.testing.assert_allclose(tf_util.lrelu(x), [-0.4, 0, 3], rtol=1e-6)
    np.testing.assert_allclose(tf_util.lrelu(x, 0.5), [-1, 0, 3], rtol=1e-6)


@pytest.mark.parametrize('epsilon', [1e-12, 1e-1])
def test_standardize_and_layer_norm(epsilon):
    x = np.random.default_rng(0).standard_normal((4, 5)) * 3 + 1
    expected = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + epsilon)
    np.testing.assert_allclose(standardize(tf.constant(x), epsilon), expected, rtol=1e-12)
    store = VariableStore('float64')
    with store.as_default():
        np.testing.assert_allclose(layer_norm(tf.constant(x), epsilon), expected, rtol=1e-12)
        assert list(store.variables) == ['LayerNorm/beta', 'LayerNorm/gamma']
        store.variables['LayerNorm/beta'].assign(np.arange(5.))
        store.variables['LayerNorm/gamma'].assign(np.full(5, 2.))
        np.testing.assert_allclose(layer_norm(tf.constant(x), epsilon), 2 * expected + np.arange(5), rtol=1e-12)


def test_standardize_has_right_second_derivatives():
    """tf.nn.moments stops the gradient of the mean; finite differences of the gradient know nothing of that."""
    x = tf.constant(np.random.default_rng(0).standard_normal((1, 4)))
    u = tf.constant(np.random.default_rng(1).standard_normal((1, 4)))

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            f = tf.reduce_sum(u * tf.sin(standardize(x, 1e-12)))
        return tape.gradient(f, x)

    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        g = gradient(x)
    hessian = tape.jacobian(g, x, experimental_use_pfor=False)[0, :, 0].numpy()
    differences = [(gradient(x + h) - gradient(x - h)).numpy()[0] / 2e-5 for h in 1e-5 * np.eye(4)[:, None]]
    assert np.abs(hessian).max() > 0.1
    np.testing.assert_allclose(hessian, np.stack(differences, axis=1), atol=1e-8)
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-12)


def test_initializers():
    np_random = np.random.default_rng(0)
    np.testing.assert_array_equal(constant_initializer(2.5)((2, 3), np_random), np.full((2, 3), 2.5))
    x = uniform_initializer(0.3)((1000,), np_random)
    assert -0.3 <= x.min() < -0.29 and 0.29 < x.max() <= 0.3  # fails with probability 2 (59 / 60)^1000 = 1e-7


# ================================================================
# Compiled functions of arrays
# ================================================================

def test_function_is_traced_once_and_takes_and_gives_arrays():
    traces = []

    def f(x, n):
        traces.append(x)
        return {'sum': tf.reduce_sum(x) * tf.cast(n, tf.float32), 'x': x, 'none': None}

    g = tf_util.function(f, tf.TensorSpec([None, 2]), tf.TensorSpec([], tf.int32))
    for x in (np.ones((3, 2)), np.ones((1, 2), 'float32'), [[1, 2]], np.zeros((0, 2)), tf.ones([2, 2])):
        out = g(x, np.int64(2))
        assert type(out['sum']) is np.float32 or isinstance(out['sum'], np.ndarray)
        assert isinstance(out['x'], np.ndarray) and out['x'].dtype == 'float32'
        np.testing.assert_array_equal(out['x'], x)
        assert out['sum'] == 2 * np.sum(x) and out['none'] is None
    assert len(traces) == 1


def test_function_refuses_what_does_not_fit():
    g = tf_util.function(lambda x: x, tf.TensorSpec([None, 2]))
    with pytest.raises((ValueError, TypeError)):
        g(np.ones((3, 3)))
    with pytest.raises(ValueError):
        g(np.ones((3, 2)), 1)
    with pytest.raises(ValueError):
        g()


# ================================================================
# Diagnostics
# ================================================================

def test_display_var_info(tmp_path):
    with logger.scoped_configure(str(tmp_path), ['log']):
        tf_util.display_var_info(list(store_of_three().variables.values()))
    text = (tmp_path / 'log.txt').read_text()
    assert 'pi/w' in text and '6 params [3, 2]' in text and 'vf/w' in text and 'pi/b' not in text
    assert 'Total model parameters: 0.00 million' in text


def test_gpus_are_named_as_tensorflow_names_them():
    assert tf_util.get_available_gpus() == [d.name for d in tf.config.list_physical_devices('GPU')]


# ================================================================
# Files of variables
# ================================================================

ARRAYS = {'pi/w': np.arange(6.).reshape(2, 3), 'vf/b': np.float32([1.5]), 'ob_rms/count': np.array(3),
          'empty': np.zeros((0, 2))}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / 'model.npz')


def assert_holds(path, arrays, meta):
    found, found_meta = tf_util.load_variables(path)
    assert list(found) == list(arrays) and found_meta == meta
    for name, value in arrays.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value)


def test_save_and_load_round_trip(path):
    meta = {'spec': {'network': 'mlp', 'num_layers': 2, 'name': 'Grüße'}}
    tf_util.save_variables(path, ARRAYS, meta)
    assert_holds(path, ARRAYS, meta)
    tf_util.save_variables(path, {'a': np.ones(2)})
    assert_holds(path, {'a': np.ones(2)}, {})
    assert os.listdir(os.path.dirname(path)) == ['model.npz']


def test_save_makes_folders_and_keeps_the_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HOME', str(tmp_path))
    for path in ('a/b/model', 'model', '~/home/model.bin'):
        tf_util.save_variables(path, ARRAYS)
        assert_holds(path, ARRAYS, {})
        assert os.path.isfile(os.path.expanduser(path))


@pytest.mark.parametrize('name', ['args', 'arr_0', '__meta__x', 'ä/ö', 'a.npy', 'a/b/c'])
def test_any_name_can_be_saved(path, name):
    tf_util.save_variables(path, {name: np.ones(2)})
    assert_holds(path, {name: np.ones(2)}, {})


def test_crash_in_the_middle_of_writing_leaves_the_old_file(path):
    """The disk is full: files may grow to 64 kB only."""
    tf_util.save_variables(path, ARRAYS, {'old': True})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, limits[1]))
    try:
        with pytest.raises(OSError):
            tf_util.save_variables(path, {'a': np.zeros(100), 'big': np.ones(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_holds(path, ARRAYS, {'old': True})
    assert os.listdir(os.path.dirname(path)) == ['model.npz']


@pytest.mark.parametrize('arrays, meta', [
    ({'a': np.ones(2), 'b': np.array([lambda: 0])}, {}),  # cannot be pickled either
    ({'a': np.ones(2), 'b': np.array([None, {}])}, {}),
    ({'a': np.ones(2), 'b': None}, {}),
    ({'a': np.ones(2)}, {'not': lambda: 'json'}),
])
def test_only_arrays_and_json_are_saved(path, arrays, meta):
    """Whatever load would refuse is refused when it is saved, and the old file stays."""
    tf_util.save_variables(path, ARRAYS, {'old': True})
    with pytest.raises((TypeError, ValueError, AttributeError, pickle.PicklingError)):
        tf_util.save_variables(path, arrays, meta)
    assert_holds(path, ARRAYS, {'old': True})
    assert os.listdir(os.path.dirname(path)) == ['model.npz']


def test_a_folder_in_the_way_is_an_error_and_leaves_no_scraps(tmp_path):
    (tmp_path / 'model.npz' / 'inside').mkdir(parents=True)
    with pytest.raises(OSError):
        tf_util.save_variables(str(tmp_path / 'model.npz'), ARRAYS)
    assert os.listdir(tmp_path) == ['model.npz']


def refused(path):
    with pytest.raises(UsageError) as error:
        tf_util.load_variables(path)
    message = str(error.value)
    assert repr(path) in message and '\n' not in message
    return message


def test_missing_file_is_refused(tmp_path):
    assert 'no model file' in refused(str(tmp_path / 'none.npz'))
    assert 'no model file' in refused(str(tmp_path))


class Evil:
    """Its pickle makes a folder when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickles_are_refused_and_not_run(tmp_path, path):
    evil, trace = np.array([Evil(tmp_path / 'ran')], dtype=object), tmp_path / 'ran'
    meta = np.array('{}')
    np.savez(path, a=np.ones(2), evil=evil, __meta__=meta)
    refused(path)
    np.savez(path, a=np.ones(2), __meta__=evil)
    refused(path)
    for content in (pickle.dumps(Evil(trace)), pickle.dumps(ARRAYS)):
        with open(path, 'wb') as fh:
            fh.write(content)
        refused(path)
    np.save(path, evil)
    os.replace(path + '.npy', path)
    refused(path)
    assert not trace.exists()
    np.load(path, allow_pickle=True)
    assert trace.exists()  # as it does where it is run


def _zip(path, **members):
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize('content', [
    b'', b'garbage', b'PK\x03\x04', b'\x93NUMPY', _npy(np.ones(3)), b'{"a": 1}', b'\x80\x04.',
    np.random.default_rng(0).bytes(1000)], ids=range(8))
def test_garbage_is_refused(path, content):
    with open(path, 'wb') as fh:
        fh.write(content)
    refused(path)


META = {'__meta__.npy': _npy(np.array('{}'))}


@pytest.mark.parametrize('members', [
    {}, {'a.npy': b'garbage'}, {'a.npy': _npy(np.ones(3))},  # the last has no __meta__
    {'__meta__.npy': _npy(np.array('{not json'))}, {'__meta__.npy': b'{}'},
    {'__meta__.npy': _npy(np.array(1.5))}, {'__meta__.npy': _npy(np.array('[1]'))},  # JSON, but no object
    {'a.npy': _npy(np.ones(3))[:-8], **META},
    {'a.txt': b'plain', **META},
    # a header larger than numpy reads, and one that asks for more memory than there is
    {'a.npy': b'\x93NUMPY\x02\x00' + (20000).to_bytes(4, 'little') + b' ' * 20000, **META},
    {'a.npy': _npy(np.ones(3)).replace(b'(3,), }' + b' ' * 15, b'(1000000000000000,), }'), **META},
])
def test_archives_of_something_else_are_refused(path, members):
    _zip(path, **members)
    refused(path)


def test_truncated_files_are_refused(path):
    tf_util.save_variables(path, ARRAYS, {'a': 1})
    with open(path, 'rb') as fh:
        whole = fh.read()
    for n in range(0, len(whole), 7):
        with open(path, 'wb') as fh:
            fh.write(whole[:n])
        refused(path)


def test_damaged_files_are_refused_or_read_right(path):
    """One byte after the other is changed: never an error that is not a UsageError, never other numbers."""
    tf_util.save_variables(path, {'a': np.arange(4.)}, {'b': 1})
    with open(path, 'rb') as fh:
        whole = fh.read()
    survived = 0
    for i in range(len(whole)):
        with open(path, 'wb') as fh:
            fh.write(whole[:i] + bytes([whole[i] ^ 0xff]) + whole[i + 1:])
        try:
            arrays, meta = tf_util.load_variables(path)
        except UsageError as e:
            assert '\n' not in str(e)
            continue
        survived += 1
        for value in arrays.values():
            np.testing.assert_array_equal(value, np.arange(4.))
        assert meta == {'b': 1}
    assert survived < len(whole) / 2


# ================================================================
# Shape adjustment
# ================================================================

@pytest.mark.parametrize('shape, data_shape, batch', [
    ((3,), (3,), 1), ((3,), (5, 3), 5), ((3,), (2, 5, 3), 10), ((), (), 1), ((), (4,), 4), ((2, 3), (2, 3), 1),
    ((2, 3), (4, 2, 3), 4), ((3,), (0, 3), 0), ((1,), (1,), 1), ((84, 84, 4), (2, 84, 84, 4), 2),
])
def test_adjust_shape(shape, data_shape, batch):
    data = np.arange(np.prod(data_shape)).reshape(data_shape)
    adjusted = tf_util.adjust_shape(shape, data)
    assert adjusted.shape == (batch, *shape) and adjusted.dtype == data.dtype
    np.testing.assert_array_equal(adjusted.ravel(), data.ravel())


def test_adjust_shape_of_numbers_and_lists():
    np.testing.assert_array_equal(tf_util.adjust_shape((), 3), [3])
    np.testing.assert_array_equal(tf_util.adjust_shape((2,), [1, 2]), [[1, 2]])


@pytest.mark.parametrize('shape, data_shape', [
    ((3,), (4,)), ((3,), ()), ((3,), (3, 4)), ((2, 3), (3,)), ((2, 3), (3, 2)), ((2, 3), (6,)), ((3, 3), (3,))])
def test_adjust_shape_refuses_other_sizes(shape, data_shape):
    with pytest.raises(ValueError) as error:
        tf_util.adjust_shape(shape, np.zeros(data_shape))
    assert str(shape) in str(error.value) and str(data_shape) in str(error.value)
