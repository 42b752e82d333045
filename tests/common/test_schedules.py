import pytest

from onpolicybaselines.common.schedules import (
    ConstantSchedule,
    LinearSchedule,
    PiecewiseSchedule,
    Schedule,
    linear_interpolation,
)


@pytest.mark.parametrize('t, value', [
    (-10, 500), (-5, 100), (0, 150), (5, 200), (9, 80), (50, 50), (80, 50), (150, 0), (175, -25),
    (200 - 1e-10, -50), (200, 500), (201, 500)])
def test_piecewise_schedule(t, value):
    ps = PiecewiseSchedule([(-5, 100), (5, 200), (10, 50), (100, 50), (200, -50)], outside_value=500)
    assert ps.value(t) == pytest.approx(value)


def test_piecewise_schedule_with_own_interpolation():
    assert PiecewiseSchedule([(0, 1), (10, 2)], interpolation=lambda l, r, alpha: l).value(9) == 1


def test_piecewise_schedule_faults():
    with pytest.raises(ValueError, match='time 3 lies outside'):
        PiecewiseSchedule([(0, 1), (2, 5)]).value(3)
    with pytest.raises(ValueError, match=r'in order of time, got times \[2, 0\]'):
        PiecewiseSchedule([(2, 1), (0, 5)])


def test_constant_schedule():
    cs = ConstantSchedule(5)
    assert all(cs.value(t) == 5 for t in range(-100, 100))


def test_linear_schedule():
    ls = LinearSchedule(schedule_timesteps=10, final_p=0.2)
    assert [ls.value(t) for t in (0, 5, 10, 1000)] == pytest.approx([1.0, 0.6, 0.2, 0.2])
    assert LinearSchedule(4, final_p=0.0, initial_p=8.0).value(1) == 6
    with pytest.raises(ValueError, match='must be positive, got 0'):
        LinearSchedule(0, 0.1)


def test_linear_interpolation():
    assert linear_interpolation(2.0, 4.0, 0.25) == 2.5


def test_schedules_are_schedules():
    assert all(issubclass(cls, Schedule) for cls in (ConstantSchedule, PiecewiseSchedule, LinearSchedule))
    with pytest.raises(TypeError):
        Schedule()
