"""What runs tell of themselves."""
import pytest

from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.reports import call_back, number_of_updates


def test_number_of_updates():
    assert [number_of_updates(total, 80) for total in (0, 80, 159, 160)] == [0, 1, 1, 2]
    with pytest.raises(UsageError, match='total_timesteps=79 is less than one batch of 80 steps'):
        number_of_updates(79, 80)


def test_callbacks_have_what_all_algorithms_have():
    seen = []
    values = {'nbatch': 80, 'epinfobuf': [{'r': 3., 'l': 2}]}
    for update in ({}, {'update': 5}):
        call_back(lambda values, _: seen.append((values['timesteps_so_far'], values['rewbuffer'])), values | update, {})
    assert seen == [(0, [3.]), (400, [3.])]
    call_back(None, {}, {})
