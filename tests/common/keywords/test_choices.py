"""Names to choose from."""
import pytest

from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.keywords.choices import check_choice, nearest


@pytest.mark.parametrize('name, choices, ending', [
    ('num_layer', ['num_layers', 'num_hidden'], '; did you mean num_layers?'),
    ('gausian', {'flow': 0, 'gaussian': 0}, '; did you mean gaussian?'),
    ('zzz', ['b', 'a'], '; choose from a, b'),
    ('zzz', [], ''),
    ('zzz', iter(['a']), '; choose from a'),
])
def test_nearest(name, choices, ending):
    assert nearest(name, choices) == ending


@pytest.mark.parametrize('value, choices', [('b', ['a', 'b']), (None, ['a', None]), (len, [len]), (1, [2, 1])])
def test_one_of_the_choices(value, choices):
    check_choice('x', value, choices)


@pytest.mark.parametrize('value, choices, line', [
    ('hesse', ['hessian', 'gauss_newton'], "fisher='hesse': use 'hessian' or 'gauss_newton'"),
    ('x', ['a', 'b', 'c'], "fisher='x': use 'a', 'b' or 'c'"),
    ('x', iter(['a']), "fisher='x': use 'a'"),
    (None, ['a', 'b'], "fisher=None: use 'a' or 'b'"),
    (True, [1, 2], 'fisher=True: use 1 or 2'),
    ([1], ['a', 'b'], "fisher=[1]: use 'a' or 'b'"),
])
def test_none_of_the_choices(value, choices, line):
    with pytest.raises(UsageError) as error:
        check_choice('fisher', value, choices)
    assert str(error.value) == line
