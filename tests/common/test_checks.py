"""Checks that end in one line."""
import doctest

import numpy as np
import pytest

from onpolicybaselines.common import checks
from onpolicybaselines.common.checks import check_finite


def test_examples():
    assert doctest.testmod(checks, extraglobs={'np': np}).failed == 0


def test_the_first_fault_is_named():
    good, bad = np.zeros((4, 2, 3)), np.zeros((4, 2, 3))
    check_finite('the segment', ob=good, rew=good[..., 0])
    bad[2, 1, 0], bad[3, 0, 0] = np.inf, np.nan
    with pytest.raises(FloatingPointError) as error:
        check_finite('the segment', ob=good, ac=bad)
    assert str(error.value) == f'ac is not finite at step 2 of the segment, environment 1: {bad[2, 1]}'
    with pytest.raises(FloatingPointError) as error:
        check_finite('an episode', environments=False, observation=bad[:, 1])
    assert str(error.value) == f'observation is not finite at step 2 of an episode: {bad[2, 1]}'
