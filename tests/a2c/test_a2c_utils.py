"""Returns and schedules of a2c/utils.py; its layers are in tests/common/test_models.py."""
import numpy as np
import pytest

from onpolicybaselines.a2c import utils
from onpolicybaselines.common.errors import UsageError


def plain_returns(rewards, dones, gamma):
    """The sum of gamma^k r from each step up to the end of its episode, or of the data."""
    returns = []
    for t in range(len(rewards)):
        total, weight = 0., 1.
        for reward, done in zip(rewards[t:], dones[t:], strict=True):
            total += weight * reward
            weight *= gamma
            if done:
                break
        returns.append(total)
    return returns


@pytest.mark.parametrize('gamma', [0., 0.9, 1.])
@pytest.mark.parametrize('last_done', [False, True])
def test_discount_with_dones(gamma, last_done):
    rng = np.random.default_rng(0)
    rewards, dones = rng.standard_normal((12, 3)), rng.random((12, 3)) < 0.3
    dones[-1] = last_done
    expected = np.transpose([plain_returns(rewards[:, n], dones[:, n], gamma) for n in range(3)])
    np.testing.assert_allclose(utils.discount_with_dones(rewards, dones, gamma), expected, rtol=1e-12)
    one = utils.discount_with_dones(rewards[:, 0].tolist(), dones[:, 0].tolist(), gamma)
    np.testing.assert_allclose(one, expected[:, 0], rtol=1e-12)


def test_a_reward_long_ago_does_not_count():
    np.testing.assert_array_equal(utils.discount_with_dones([1, 2, 4], [False, True, False], 0.5), [2, 2, 4])


@pytest.mark.parametrize('name, values', [
    ('constant', [1, 1, 1, 1, 1, 1]),
    ('linear', [1, 0.8, 0.6, 0.4, 0.2, 0]),
    ('double_linear_con', [1, 0.6, 0.2, 0.125, 0.125, 0.125]),
    ('middle_drop', [1, 0.8, 0.075, 0.075, 0.075, 0.075]),
    ('double_middle_drop', [1, 0.8, 0.075, 0.075, 0.125, 0.125]),
])
def test_schedules(name, values):
    scheduler = utils.Scheduler(v=3., nvalues=5, schedule=name)
    np.testing.assert_allclose([scheduler.value() for _ in range(6)], 3 * np.array(values), atol=1e-12)
    np.testing.assert_allclose([scheduler.value_steps(n) for n in range(6)], 3 * np.array(values), atol=1e-12)
    np.testing.assert_allclose([utils.schedules[name](p / 5) for p in range(6)], values, atol=1e-12)


def test_schedules_at_their_corners():
    """Where a piece ends, it is still on: 1 - p < eps is the next one."""
    assert utils.middle_drop(0.25) == 0.75 and utils.double_middle_drop(0.25) == 0.75
    assert utils.double_middle_drop(0.75) == pytest.approx(0.075)


def test_schedule_of_ones_own():
    assert utils.Scheduler(2., 10, lambda p: p ** 2).value_steps(5) == 0.5


def test_schedule_goes_on_from_its_state():
    first, other = (utils.Scheduler(2., 10, 'linear') for _ in range(2))
    for _ in range(3):
        first.value()
    other.set_state(first.state())
    assert [first.value() for _ in range(4)] == [other.value() for _ in range(4)] != [2.]
    with pytest.raises(ValueError, match='schedule does not fit'):
        other.set_state({})


def test_unknown_schedule():
    with pytest.raises(UsageError, match="unknown schedule 'linaer'; did you mean linear?"):
        utils.Scheduler(1., 10, 'linaer')


# ================================================================
# Entropies
# ================================================================
