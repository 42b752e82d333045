"""What XLA compiles is right, or noticed: on this processor, and on others as far as this one can stand in for them."""
import os
import pathlib
import subprocess
import sys
import threading

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.ops import control_flow_util

import onpolicybaselines.common.tf_util as U
from onpolicybaselines import logger
from onpolicybaselines.a2c.utils import fc
from onpolicybaselines.common.compiled import checked, compiling, concat
from onpolicybaselines.trpo_mpi import trpo_mpi

HERE = pathlib.Path(__file__).parent
CPUINFO = pathlib.Path('/proc/cpuinfo')
HAS = CPUINFO.read_text().split() if CPUINFO.exists() else []
ISAS = [pytest.param(isa, marks=[pytest.mark.skipif(flag not in HAS, reason=f'this processor has no {isa}'), *marks])
        for isa, flag, *marks in [('AVX', 'avx', pytest.mark.slow), ('AVX2', 'avx2'),
                                  ('AVX512', 'avx512f', pytest.mark.slow)]]

# Two heads, then both and a third, side by side; the transpose of their gradient is concatenation itself.
SIDE_BY_SIDE = """
import numpy as np
import tensorflow as tf
from onpolicybaselines.common.compiled import concat

def joined(concat, heads):
    w = tf.ones([40, 12], tf.float64)
    with tf.GradientTape() as outer:
        outer.watch(w)
        with tf.GradientTape() as inner:
            inner.watch(heads)
            y = concat([concat(heads[:2], axis=1), heads[2]], axis=1)
        gradients = inner.gradient(y, heads, output_gradients=w)
        total = tf.add_n([tf.reduce_sum(g * head) for g, head in zip(gradients, heads)])
    return outer.gradient(total, w)

heads = [tf.constant(np.random.default_rng(0).standard_normal([40, n])) for n in (4, 2, 6)]
compiled = tf.function(joined, jit_compile=True, autograph=False)
print(*[np.abs(compiled(f, heads) - np.concatenate(heads, axis=1)).max() for f in (tf.concat, concat)])
"""


# Two operations of a loop's body that need nothing of each other, on two threads: whether they run side by side.
LOOP = """
import sys
import time
import tensorflow as tf
import onpolicybaselines.common.tf_util as U

tf.config.threading.set_inter_op_parallelism_threads(2)
spans = []

def wait(x):
    begin = time.monotonic()
    time.sleep(0.2)
    spans.append((begin, time.monotonic()))
    return x

def body(i, x):
    first, second = (tf.numpy_function(wait, [x + k], x.dtype, stateful=False) for k in (1.0, 2.0))
    return i + 1, tf.ensure_shape(first + second, [])

def f(x):
    return tf.while_loop(lambda i, x: i < 2, body, (0, x))[1]

x = tf.TensorSpec([])
run = U.function(f, x) if sys.argv[1] == 'ours' else tf.function(f, input_signature=[x], autograph=False)
value = run(tf.constant(1.0))
spans.sort()
print(float(value), any(begin < end for (_, end), (begin, _) in zip(spans, spans[1:])))
"""


def in_a_process(isa, *words):
    """Run Python with the instruction set limited to `isa`; returns its stdout."""
    env = dict(os.environ, XLA_FLAGS=f'--xla_cpu_max_isa={isa}', PYTHONPATH=str(HERE.parents[1]))
    result = subprocess.run([sys.executable, *map(str, words)], env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.parametrize('isa', ISAS)
def test_concatenation_differentiated_twice(isa):
    """`concat` is right on every processor; tf.concat, with TensorFlow 2.21 and AVX2, is off by 3.7."""
    theirs, ours = map(float, in_a_process(isa, '-c', SIDE_BY_SIDE).split())
    assert ours == 0
    assert theirs == 0 or isa == 'AVX2'


@pytest.mark.parametrize('isa', ISAS)
def test_sweep_of_policies(isa):
    in_a_process(isa, HERE / 'xla_sweep.py', 'short')


@pytest.mark.slow
@pytest.mark.parametrize('isa', ISAS)
@pytest.mark.parametrize('part', range(8))
def test_long_sweep_of_policies(part, isa):
    in_a_process(isa, HERE / 'xla_sweep.py', 'long', part)


def test_concat_is_concatenation_to_the_second_derivative():
    np_random = np.random.default_rng(0)
    values = [tf.constant(np_random.standard_normal([5, n])) for n in (1, 3, 2)]
    weights = tf.constant(np_random.standard_normal([5, 6]))

    def derivatives(join):
        with tf.GradientTape(persistent=True) as outer:
            outer.watch(values)
            with tf.GradientTape() as inner:
                inner.watch(values)
                y = tf.reduce_sum(weights * join(values, axis=1) ** 3)
            first = inner.gradient(y, values)
            total = tf.add_n([tf.reduce_sum(tf.sin(g)) for g in first])
        return [y, *first, *outer.gradient(total, values)]
    for ours, theirs in zip(derivatives(concat), derivatives(tf.concat), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def cubes(x):
    return tf.reduce_sum(x ** 3), x ** 3


def broken(x):
    total, cubed = cubes(x)
    return total, cubed * tf.where(tf.abs(x) == tf.reduce_max(tf.abs(x)), tf.constant(1.001, x.dtype), 1)


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_what_errs_is_replaced_and_said(dtype, tmp_path):
    """The largest of 1000 elements, off by a thousandth."""
    x = tf.constant(np.random.default_rng(0).standard_normal(1000), dtype)
    for compiled, lines in [(cubes, 0), (broken, 1)]:
        with logger.scoped_configure(str(tmp_path / compiled.__name__), ['log']):
            function = checked(compiled, cubes, instead=cubes)
            for _ in range(2):
                np.testing.assert_array_equal(function(x)[1], x ** 3)
        log = (tmp_path / compiled.__name__ / 'log.txt').read_text()
        assert log.count('Compiling cubes') == 1, log
        assert log.count('XLA compiles cubes wrongly') == log.count('\n') - 2 == lines, log  # after both


def test_each_shape_is_checked_once(tmp_path):
    """XLA compiles anew for each."""
    evaluated = []

    def f(x):
        evaluated.append(tuple(x.shape))
        return x + 1

    def wrong_for_three(x):
        return x + 1 + (x.shape[0] == 3)

    with logger.scoped_configure(str(tmp_path), ['log']):
        function = checked(wrong_for_three, f, instead=f)
        for n in (2, 2, 4, 2):
            function(tf.ones([n]))
        assert evaluated == [(2,), (4,)]
        np.testing.assert_array_equal(function(tf.ones([3])), 2 * np.ones(3))
    assert 'XLA compiles f wrongly' in (tmp_path / 'log.txt').read_text()


def test_rounding_is_no_error(tmp_path):
    """A difference of large numbers: far off in units of the value, but explained by rounding the arguments."""
    def spread(x):
        return tf.reduce_sum(x) - 1e4 * tf.cast(tf.size(x), x.dtype)

    def backwards(x):
        return spread(tf.reverse(x, [0]))

    x = tf.constant(1e4 + 1e-3 * np.random.default_rng(0).standard_normal(1001), 'float32')
    with logger.scoped_configure(str(tmp_path), ['log']):
        function = checked(backwards, spread, instead=spread)
        function(x)
    assert 'wrongly' not in (tmp_path / 'log.txt').read_text()


def test_values_that_are_not_finite_decide_nothing(tmp_path):
    with logger.scoped_configure(str(tmp_path), ['log']):
        function = checked(broken, cubes, instead=cubes)
        assert np.isnan(function(tf.constant([1., np.nan]))[1][1])
        assert 'wrongly' not in (tmp_path / 'log.txt').read_text()
        np.testing.assert_array_equal(function(tf.constant([1., 2.]))[1], [1., 8.])
    assert 'XLA compiles cubes wrongly' in (tmp_path / 'log.txt').read_text()


def skewed_under_xla(x):
    """A network that XLA, and nothing else, gets wrong."""
    h = tf.tanh(fc(U.flattenallbut0(x), 'fc', 8))
    return -h if control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()) else h


def test_a_run_whose_functions_err_goes_on_without_xla(tmp_path):
    """To the same parameters as a run without it; every function says so, and only once."""
    parameters = []
    for xla in (False, True):
        with logger.scoped_configure(str(tmp_path / str(xla)), ['log']):
            pi = trpo_mpi.learn(network=skewed_under_xla, env=gym.make('CartPole-v1'), total_timesteps=384,
                                timesteps_per_batch=128, seed=0, xla=xla)
        parameters.append(U.GetFlat(pi.var_list + pi.vf_var_list)())
    np.testing.assert_array_equal(*parameters)
    log = (tmp_path / 'True' / 'log.txt').read_text()
    assert all(log.count(f'XLA compiles {name} wrongly') == 1
               for name in ('losses', 'lossandgrad', 'hessian_fvp', 'updates')), log


def test_function_is_traced_once_and_takes_and_gives_arrays():
    traces = []

    def f(x, n):
        traces.append(x)
        return {'sum': tf.reduce_sum(x) * tf.cast(n, tf.float32), 'x': x, 'none': None}

    g = U.function(f, tf.TensorSpec([None, 2]), tf.TensorSpec([], tf.int32))
    for x in (np.ones((3, 2)), np.ones((1, 2), 'float32'), [[1, 2]], np.zeros((0, 2)), tf.ones([2, 2])):
        out = g(x, np.int64(2))
        assert type(out['sum']) is np.float32 or isinstance(out['sum'], np.ndarray)
        assert isinstance(out['x'], np.ndarray) and out['x'].dtype == 'float32'
        np.testing.assert_array_equal(out['x'], x)
        assert out['sum'] == 2 * np.sum(x) and out['none'] is None
    assert len(traces) == 1


@pytest.mark.parametrize(('whose', 'side_by_side'), [('ours', 'False'), ("TensorFlow's", 'True')])
def test_operations_run_one_after_the_other(whose, side_by_side):
    """With two threads of TensorFlow's a sum of gradients in a loop, as of an LSTM, is not the same each time."""
    result = subprocess.run([sys.executable, '-c', LOOP, whose], capture_output=True, text=True, check=False)
    assert result.stdout.split() == ['13.0', side_by_side], result.stderr


def test_function_refuses_what_does_not_fit():
    g = U.function(lambda x: x, tf.TensorSpec([None, 2]))
    with pytest.raises((ValueError, TypeError)):
        g(np.ones((3, 3)))
    with pytest.raises(ValueError):
        g(np.ones((3, 2)), 1)
    with pytest.raises(ValueError):
        g()


RANKS = """
import os, sys
os.environ.update({'TF_XLA_FLAGS': f'--tf_xla_persistent_cache_directory={path}' for path in sys.argv[1:]})
os.environ.update(TF_CPP_MIN_LOG_LEVEL='0', TF_CPP_VMODULE='xla_device_compiler_client=2')
from mpi4py import MPI
import numpy as np
import tensorflow as tf
from onpolicybaselines.common.compiled import compiled

f = compiled(lambda x: tf.tanh(x) @ tf.sin(x), tf.TensorSpec([8, 8]), xla=True)
value = f(np.eye(8))
assert all(np.array_equal(value, other) for other in MPI.COMM_WORLD.allgather(value))
"""


def compiled_and_loaded(result):
    """By the compiler's own log: how often it compiled, and how often it took what is kept."""
    assert result.returncode == 0, result.stderr
    return [result.stderr.count(words) for words in ('Compiling to xla', 'Loading xla')]


def test_one_rank_compiles_and_the_others_find_it(mpirun, tmp_path):
    """Without a folder all compile."""
    assert compiled_and_loaded(mpirun(3, RANKS, tmp_path)) == [1, 2]
    assert compiled_and_loaded(mpirun(3, RANKS)) == [3, 0]


def test_waiting_ends_with_the_process_that_compiles(tmp_path, monkeypatch):
    """However it ends: here it is killed."""
    monkeypatch.setenv('TF_XLA_FLAGS', f'--tf_xla_persistent_cache_directory={tmp_path}')
    code = ('import time\nfrom onpolicybaselines.common.compiled import compiling\n'
            'with compiling("f"):\n    print("compiles", flush=True)\n    time.sleep(600)')
    entered = threading.Event()

    def wait():
        with compiling('f'):
            entered.set()
    with subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True,
                          cwd=HERE.parents[1]) as other:
        assert other.stdout.readline() == 'compiles\n'
        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        with compiling('g'):  # others need not wait
            assert not entered.wait(1)
        other.kill()
    assert entered.wait(30)


@pytest.mark.parametrize('folder', ['file/folder', 'missing'])
def test_without_a_folder_no_one_waits(folder, tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    monkeypatch.setenv('TF_XLA_FLAGS', f'--tf_xla_persistent_cache_directory={tmp_path / folder}')
    with compiling('f'), compiling('f'):
        pass
    monkeypatch.delenv('TF_XLA_FLAGS')
    with compiling('f'), compiling('f'):
        pass
