"""Values that change with the time step, such as learning rates (upstream: baselines/common/schedules.py).

A schedule's `value(t)` is its value at time step t.
"""
import abc
from collections.abc import Callable, Sequence


class Schedule(abc.ABC):
    """Anything with a value at each time step."""

    @abc.abstractmethod
    def value(self, t: float) -> float:
        """Value at time t."""


class ConstantSchedule(Schedule):
    """The same value at all times."""

    def __init__(self, value: float):
        self._v = value

    def value(self, t: float) -> float:
        """See Schedule.value"""
        return self._v


def linear_interpolation(l: float, r: float, alpha: float) -> float:
    """The point a fraction alpha of the way from l to r."""
    return l + alpha * (r - l)


class PiecewiseSchedule(Schedule):
    """Interpolation between given points.

    Args:
        endpoints: (time, value) pairs in order of time.
        interpolation: (value left, value right, alpha) -> value; alpha in [0, 1) is the fraction of the piece
            that has passed.
        outside_value: value before the first point and from the last one on; None makes those times an error.

    Raises:
        ValueError: endpoints out of order; in `value`, a time outside them without an outside_value.
    """

    def __init__(self, endpoints: Sequence[tuple[float, float]],
                 interpolation: Callable[[float, float, float], float] = linear_interpolation,
                 outside_value: float | None = None):
        idxes = [e[0] for e in endpoints]
        if idxes != sorted(idxes):
            raise ValueError(f'endpoints must be in order of time, got times {idxes}')
        self._interpolation = interpolation
        self._outside_value = outside_value
        self._endpoints = endpoints

    def value(self, t: float) -> float:
        """See Schedule.value"""
        for (l_t, l), (r_t, r) in zip(self._endpoints[:-1], self._endpoints[1:], strict=True):
            if l_t <= t < r_t:
                alpha = float(t - l_t) / (r_t - l_t)
                return self._interpolation(l, r, alpha)

        if self._outside_value is None:
            raise ValueError(f'time {t} lies outside the endpoints and there is no outside_value')
        return self._outside_value


class LinearSchedule(Schedule):
    """From initial_p at time 0 linearly to final_p at schedule_timesteps, then constant.

    Raises ValueError unless schedule_timesteps is positive.
    """

    def __init__(self, schedule_timesteps: int, final_p: float, initial_p: float = 1.0):
        if schedule_timesteps <= 0:
            raise ValueError(f'schedule_timesteps must be positive, got {schedule_timesteps}')
        self.schedule_timesteps = schedule_timesteps
        self.final_p = final_p
        self.initial_p = initial_p

    def value(self, t: float) -> float:
        """See Schedule.value"""
        fraction = min(float(t) / self.schedule_timesteps, 1.0)
        return self.initial_p + fraction * (self.final_p - self.initial_p)
