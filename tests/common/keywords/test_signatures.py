"""Keywords by signature, and their sentences."""
from collections.abc import Sequence

import pytest

from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.keywords.signatures import keywords_of, sentences, split_keywords


def _network(num_layers: int = 2, activation: 'str | None' = None, *, gamma: float = 0.99):
    pass


def _open_ended(convs: Sequence[int] = (), **conv_kwargs):
    pass


class _Family:
    def __init__(self, size: int, gamma: float = 1., flow_units: int = 3):
        pass


def test_keywords_of():
    found = keywords_of(_network)
    assert list(found) == ['num_layers', 'activation', 'gamma']
    assert [p.annotation for p in found.values()] == [int, str | None, float]
    assert [p.default for p in found.values()] == [2, None, 0.99]
    assert list(keywords_of(_open_ended)) == ['convs']
    assert list(keywords_of(_Family)) == ['size', 'gamma', 'flow_units']
    assert list(keywords_of(_Family, skip=['size'])) == ['gamma', 'flow_units']
    assert list(keywords_of(lambda x, /, y, *args: None)) == ['y']


def test_split_keywords():
    assert split_keywords({}, _network, _Family) == [{}, {}]
    assert split_keywords({'num_layers': 3, 'size': 5}, _network, _Family) == [{'num_layers': 3}, {'size': 5}]
    assert split_keywords({'gamma': 0.9}, _network, _Family) == [{'gamma': 0.9}, {'gamma': 0.9}]
    assert split_keywords({'pad': 'SAME', 'convs': []}, _network, _open_ended) == [{}, {'pad': 'SAME', 'convs': []}]
    assert split_keywords({'num_layers': 1}, _network, _open_ended) == [{'num_layers': 1}, {}]


@pytest.mark.parametrize('name, message', [
    ('num_layer', "unknown option 'num_layer'; did you mean num_layers?"),
    ('flow_unit', "unknown option 'flow_unit'; did you mean flow_units?"),
    ('zzz', "unknown option 'zzz'; choose from activation, flow_units, gamma, num_layers"),
    ('size', "unknown option 'size'"),
])
def test_split_keywords_refuses_what_no_function_takes(name, message):
    with pytest.raises(UsageError) as error:
        split_keywords({'gamma': 0.9, name: 1}, _network, _Family, skip=['size'])
    assert str(error.value).startswith(message) and '\n' not in str(error.value)


def _documented(lr, gamma=.99, *, sizes=(), env=None, **network_kwargs):
    """Learns something.

    env: an environment, in another manner of writing.

    lr      the step size, as the optimizer
            has it
    gamma            of the discount;  two spaces in it
    sizes   one
      and two

    unknown   is no parameter
    **network_kwargs   those of the network

    Source: somewhere   else.
    """


def test_sentences():
    assert sentences(_documented) == {
        'lr': 'the step size, as the optimizer has it', 'gamma': 'of the discount;  two spaces in it',
        'sizes': 'one and two', 'network_kwargs': 'those of the network'}


class _Told:
    """A class tells of its constructor.

    size    how large
    """

    def __init__(self, size, other=1):
        """other   is not looked for here"""


def test_sentences_of_classes_and_of_nothing():
    assert sentences(_Told) == {'size': 'how large'}
    assert sentences(_network) == {} and sentences(lambda x: x) == {}
