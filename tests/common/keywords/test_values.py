"""Values from text by annotation."""
import typing
from collections.abc import Callable, Sequence
from typing import Literal

import pytest

from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.keywords.values import describe, first_difference, parse_value

Mode = Literal['mixture', 'released']


@pytest.mark.parametrize('text, annotation, value', [
    ('3', int, 3),
    ('-3', int, -3),
    ('1e6', int, 1_000_000),
    ('2.0', int, 2),
    ('0', int, 0),
    ('9007199254740993', int, 9007199254740993),  # 2^53 + 1: not to be rounded to a double
    ('3', float, 3.0),
    ('1e-3', float, 1e-3),
    ('-.5', float, -0.5),
    ('True', bool, True),
    ('true', bool, True),
    ('1', bool, True),
    ('False', bool, False),
    ('0', bool, False),
    ('mlp', str, 'mlp'),
    ('', str, ''),
    ('None', str, 'None'),
    ("__import__('os')", str, "__import__('os')"),
    ('None', int | None, None),
    ('none', float | None, None),
    ('3', int | None, 3),
    ('None', str | None, None),
    ('None', typing.Optional[str], None),  # noqa: UP045
    ('flow', str | None, 'flow'),
    ('2', typing.Union[int, None], 2),  # noqa: UP007
    ('0.5', int | float, 0.5),
    ('5', int | float, 5),
    ('relu', str | Callable, 'relu'),
    ('shared', str | Callable | None, 'shared'),
    ('None', str | Callable | None, None),
    ('released', Mode, 'released'),
    ('2', Literal[1, 2], 2),
    ('None', Mode | None, None),
    ('[1, 2]', Sequence[int], [1, 2]),
    ('(1, 2)', Sequence[int], (1, 2)),
    ('[(32, 8, 4), (64, 4, 2)]', Sequence[tuple[int, int, int]], [(32, 8, 4), (64, 4, 2)]),
    ('[]', list, []),
    ("{'a': 1}", dict, {'a': 1}),
])
def test_parse_value(text, annotation, value):
    parsed = parse_value('x', text, annotation)
    assert parsed == value and type(parsed) is type(value)


@pytest.mark.parametrize('text, annotation', [
    ('3.5', int), ('three', int), ('', int), ('inf', int), ('nan', int), ('True', int), ('1e400', int), ('None', int),
    ('1,5', float), ('', float), ('None', float), ('1+1', float),
    ('yes', bool), ('2', bool), ('', bool),
    ('x', int | None), ('', int | None), ('nul', float | None),
    ('Mixture', Mode), ('', Mode), ('3', Literal[1, 2]),
    ('5', Sequence[int]), ('abc', Sequence[int]), ("'abc'", Sequence[int]), ('[1, 2', Sequence[int]),
    ("['a', 'b']", Sequence[int]), ('[1.5]', Sequence[int]), ('[1, 2]', Sequence[tuple[int, int, int]]),
    ('[1]', dict), ('{[]: 1}', dict), ('{{}}', Sequence[int]), ('\0', Sequence[int]), ('[' * 9999, Sequence[int]),
    ('', Sequence[int]), ('1', Callable),
])
def test_parse_value_refuses_in_one_line(text, annotation):
    with pytest.raises(UsageError) as error:
        parse_value('num_env', text, annotation)
    message = str(error.value)
    assert message.startswith('--num_env=') and 'expected ' in message and '\n' not in message
    assert not message.rstrip().endswith('expected')


CODE = ["__import__('os').mkdir({path!r})", "[__import__('os').mkdir({path!r})]", "open({path!r}, 'w')",
        "(lambda: open({path!r}, 'w'))()", "[x for x in [open({path!r}, 'w')]]", "exec('open({path!r})')"]


@pytest.mark.parametrize('annotation', [int, float, bool, Sequence[int], list, dict, Mode, int | None])
@pytest.mark.parametrize('code', CODE)
def test_code_is_never_evaluated(code, annotation, tmp_path):
    path = tmp_path / 'evaluated'
    with pytest.raises(UsageError):
        parse_value('x', code.format(path=str(path)), annotation)
    assert not path.exists()


def test_code_as_text_stays_text(tmp_path):
    path = tmp_path / 'evaluated'
    text = CODE[0].format(path=str(path))
    assert parse_value('x', text, str) == text and parse_value('x', text, str | Callable) == text
    assert not path.exists()


def test_error_names_option_text_and_type():
    with pytest.raises(UsageError) as error:
        parse_value('num_layers', 'two', int | None)
    assert str(error.value) == '--num_layers=two: expected an integer or None'


@pytest.mark.parametrize('annotation, words', [
    (int, 'an integer'), (float, 'a number'), (bool, 'True or False'), (str, 'a name'),
    (int | None, 'an integer or None'), (Mode, 'one of mixture, released'),
    (Literal[1, 2] | None, 'one of 1, 2 or None'), (Sequence[int], 'a literal such as [1, 2]'),
    (str | Callable, 'a name'), (str | Callable[[int], int] | None, 'a name or None'),
])
def test_describe(annotation, words):
    assert describe(annotation) == words


def test_describe_has_words_for_what_text_cannot_express():
    assert describe(Callable)


@pytest.mark.parametrize(('asked', 'there', 'name'), [
    ({'a': 1}, {'a': 1.}, None), ({'a': (1, 2)}, {'a': [1, 2]}, None), ({'a': 'custom'}, {'a': 'mlp'}, None),
    ({'a': None}, {'a': 3}, None), ({'a': 1}, {'b': 2}, None), ({'b': 1, 'a': 2}, {'a': 3, 'b': 3}, 'a')])
def test_descriptions_differ_in_what_is_another_function(asked, there, name):
    assert first_difference(asked, there) == name == first_difference(there, asked)
