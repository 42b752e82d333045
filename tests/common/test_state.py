"""States survive a round trip through arrays and JSON."""
import doctest
import json

import numpy as np
import pytest

from onpolicybaselines.common import state
from onpolicybaselines.common.mpi_running_mean_std import RunningMeanStd as MpiRunningMeanStd
from onpolicybaselines.common.running_mean_std import RunningMeanStd
from onpolicybaselines.common.running_stat import RunningStat
from onpolicybaselines.common.state import (
    check_shapes,
    flatten,
    generator_state,
    set_generator_state,
    unflatten,
)


def test_examples():
    assert doctest.testmod(state, extraglobs={'np': np}).failed == 0


@pytest.mark.parametrize('make', [np.random.default_rng, np.random.RandomState, lambda seed: np.random.Generator(
    np.random.MT19937(seed))])
def test_generators_go_on_where_they_were(make):
    np_random = make(3)
    np_random.standard_normal(5)
    arrays, rest = flatten(generator_state(np_random))
    expected = np_random.standard_normal(7)
    other = make(4)
    set_generator_state(other, unflatten(arrays, json.loads(json.dumps(rest))))
    np.testing.assert_array_equal(other.standard_normal(7), expected)


def test_another_kind_of_generator_is_refused():
    with pytest.raises(ValueError):
        set_generator_state(np.random.default_rng(), generator_state(np.random.Generator(np.random.MT19937(0))))


def test_round_trip_through_json():
    given = {'a': {'b/c': np.arange(3), 'n': np.int64(2)}, 'x': [1.5, None], 'empty': {}, 's': 'text'}
    arrays, rest = flatten(given)
    back = unflatten(arrays, json.loads(json.dumps(rest)))
    np.testing.assert_array_equal(back['a'].pop('b/c'), [0, 1, 2])
    assert back == {'a': {'n': 2}, 'x': [1.5, None], 'empty': {}, 's': 'text'}


def test_paths_that_collide_are_refused():
    with pytest.raises(ValueError, match="two parts .* 'a/b'"):
        flatten({'a': {'b': np.zeros(1)}, 'a/b': np.zeros(1)})


def test_states_that_do_not_fit_are_named():
    check_shapes('Adam', {'m': np.zeros(2), 't': 1}, {'m': np.ones(2), 't': 0})
    for wrong in ({'m': np.zeros(3), 't': 1}, {'t': 1}, {'m': np.zeros(2), 't': 1, 'v': 1}):
        with pytest.raises(ValueError, match='the state of Adam does not fit'):
            check_shapes('Adam', wrong, {'m': np.ones(2), 't': 0})


@pytest.mark.parametrize(('stateful', 'name'), [
    *((RunningMeanStd(shape=(2,)), name) for name in ('var', 'count')), *((RunningStat((2,)), name) for name in 'Sn'),
    *((MpiRunningMeanStd(shape=(2,)), name) for name in ('var', 'count'))])
def test_a_filter_does_not_take_what_cannot_be_negative(stateful, name):
    before = stateful.state()
    with pytest.raises(ValueError, match=f"^the state of Running.* is damaged: '{name}' is negative$"):
        stateful.set_state({**before, name: np.asarray(before[name]) - 10})
    np.testing.assert_equal(stateful.state(), before)
