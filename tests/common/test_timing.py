"""Where the time goes."""
import doctest

import pytest

from onpolicybaselines.common import timing as module
from onpolicybaselines.common.timing import timed, timing


def test_example():
    assert doctest.testmod(module).failed == 0


def test_blocks_add_up_and_end_with_an_error():
    with timing() as seconds:
        for _ in range(2):
            with timed('outer'), timed('inner'):
                pass
        with pytest.raises(KeyError), timed('failing'):
            raise KeyError
    with timed('unwatched'):
        pass
    assert seconds.keys() == {'outer', 'inner', 'failing'}
    assert seconds['outer'] >= seconds['inner'] > 0
