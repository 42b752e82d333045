"""What values a parameter admits, in its annotation."""
import math
from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
import pytest

from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.keywords.ranges import Finite, Fraction, NonNegative, Positive, Range, check_ranges
from onpolicybaselines.common.keywords.signatures import keywords_of


def learn(steps: Positive[int], lr: Positive[float] | Callable = 1., coef: NonNegative[float] = 0.,
          gamma: Fraction = .9, limit: Positive[int] | None = None, other: 'NonNegative[int] | None' = None,
          name: str = '',
          angle: Annotated[float, Range('lie within (-pi, pi]', -math.pi, including=False, high=math.pi)] = 0.,
          noted: Annotated[float, 'a note'] = 0., shift: Finite[float] = 0.):
    pass


@pytest.mark.parametrize('values', [
    {'steps': 1}, {'lr': 1e-300}, {'lr': lambda t: -1.}, {'coef': 0}, {'coef': -0.}, {'gamma': 0}, {'gamma': 1.},
    {'limit': None}, {'limit': 5}, {'other': None}, {'other': 0}, {'name': 'x'}, {'angle': math.pi}, {'noted': -5.},
    {'lr': np.float32(.5)}, {'steps': np.int64(3)}, {'lr': 1e300}, {'not a parameter': -1}, {'shift': -1e300}, {},
])
def test_admitted(values):
    check_ranges(learn, {'steps': 1, **values})


@pytest.mark.parametrize('name, value, words', [
    ('steps', 0, 'be positive'), ('steps', -3, 'be positive'), ('lr', 0., 'be positive'),
    ('lr', math.nan, 'be positive'), ('lr', math.inf, 'be positive, and finite'), ('coef', math.inf, 'not be negative'),
    ('coef', -1e-300, 'not be negative'), ('coef', math.nan, 'not be negative'),
    ('gamma', -.1, 'lie between 0 and 1'), ('gamma', 1.1, 'lie between 0 and 1'), ('gamma', math.nan, 'lie between'),
    ('limit', 0, 'be positive'), ('other', -1, 'not be negative'), ('angle', -math.pi, 'lie within'),
    ('angle', 4., 'lie within'), ('shift', math.inf, 'be finite'), ('shift', -math.inf, 'be finite'),
    ('shift', math.nan, 'be finite'),
])
def test_refused_in_one_line(name, value, words):
    with pytest.raises(UsageError) as error:
        check_ranges(learn, {'steps': 1, name: value})
    assert str(error.value).startswith(f'{name}={value} must {words}') and '\n' not in str(error.value)


@pytest.mark.parametrize('value', ['3', [1], {}])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(UsageError, match='must be a number'):
        check_ranges(learn, {'steps': value})


def choose(when: Literal['before', 'after'] = 'before', how: Literal[1, 2] | None = None,
           schedule: Literal['linear'] | Callable = 'linear', other: 'Literal["a"] | None' = None):
    pass


@pytest.mark.parametrize('values', [{}, {'when': 'after'}, {'how': None}, {'how': 2}, {'schedule': abs},
                                    {'other': None}])
def test_choices_admitted(values):
    check_ranges(choose, values)


@pytest.mark.parametrize('values, line', [
    ({'when': 'x'}, "when='x': use 'before' or 'after'"), ({'when': None}, "when=None: use 'before' or 'after'"),
    ({'how': True}, 'how=True: use 1, 2 or None'), ({'how': 'x'}, "how='x': use 1, 2 or None"),
    ({'schedule': None}, "schedule=None: use 'linear'"), ({'other': 'b'}, "other='b': use 'a' or None"),
])
def test_choices_refused_in_one_line(values, line):
    with pytest.raises(UsageError) as error:
        check_ranges(choose, values)
    assert str(error.value) == line


def test_the_first_parameter_is_named():
    with pytest.raises(UsageError, match='^lr=0 '):
        check_ranges(learn, {'steps': 1, 'gamma': 2, 'lr': 0})


def test_the_locals_of_a_function_will_do():
    def f(rate: Positive[float] = 1., **more):
        check_ranges(f, locals())
        return rate
    assert f(2., unknown=-1) == 2.
    with pytest.raises(UsageError, match='rate=-1 must be positive'):
        f(-1)


def test_ranges_do_not_change_what_text_gives():
    found = {name: p.annotation for name, p in keywords_of(learn).items()}
    assert found['steps'] is int and found['gamma'] is float and found['limit'] == int | None
