"""One step of any number of environments of a task, compiled for it."""
import ctypes
import functools
import pathlib

import numpy as np
from numba import njit
from numba.core.ccallback import CFunc

from onpolicybaselines.common.machine_code import array_at, c_function, digest, renamed
from onpolicybaselines.native.arithmetic import clip
from onpolicybaselines.native.physics import Simulator, error, place, view
from onpolicybaselines.native.tasks import FUNCTIONS, Task, advance, observe, position, reward

NUMBERS, ACTION = None, None
"""dtypes that `compiled` puts in: of p, of actions"""


def simulator(p: np.record) -> Simulator:
    """The Simulator of an environment."""
    return Simulator(view(p.qpos), view(p.qvel), view(p.ctrl), view(p.qfrc_actuator), view(p.qfrc_constraint),
                     view(p.cinert), view(p.cvel), view(p.cfrc_ext), view(p.xpos).reshape(-1, 3),
                     view(p.xipos).reshape(-1, 3), view(p.site_xpos).reshape(-1, 3), view(p.xmat).reshape(-1, 9),
                     view(p.subtree_com).reshape(-1, 3), view(p.subtree_linvel).reshape(-1, 3), view(p.body_mass))


def step(address: int) -> int:
    """One step of every environment: at the address is another, that of as many p as the number after it says.

    Each p says where its environment's arrays are: `action`, which is clipped in place, `ob`, `rew` and `over`, whether
    the episode is. Returns how many could take their step: not all after an error of MuJoCo or where an observation
    does not fill `ob`.
    """
    place, size = array_at(address, (2,), np.int64)
    for e, p in enumerate(array_at(place, (size,), NUMBERS)):
        sim, action, ob = simulator(p), array_at(p.action[0], (p.action[1],), ACTION), view(p.ob)
        before = position(sim, p)
        for j in range(len(action)):
            action[j] = clip(action[j], p.low[j], p.high[j])
            sim.ctrl[j] = action[j]
        if not advance(p) or observe(sim, p, ob) != len(ob):
            return e
        view(p.rew)[0], view(p.over)[0] = reward(sim, p, action, (position(sim, p) - before) / p.dt)
    return size


class Stepper:
    """`step` of environments of one task, with arrays to write actions [N, A] into and to read obs [N, O], rews [N] and
    over [N] from, all numbers.

    numbers: a record p for each; addresses of these arrays are put in.
    """

    def __init__(self, task: type[Task], numbers: np.ndarray, ob_size: int, action: np.dtype) -> None:
        self.actions = np.zeros([len(numbers), numbers['low'].shape[1]], action)
        self.obs = np.zeros([len(numbers), ob_size])
        self.rews, self.over = np.zeros(len(numbers)), np.zeros(len(numbers))
        self.numbers = numbers.copy()
        for e, p in enumerate(self.numbers):
            for name, array in [('ob', self.obs[e]), ('rew', self.rews[e:e + 1]), ('over', self.over[e:e + 1])]:
                p[name] = place(array)
            p['action'] = self.actions[e].ctypes.data, self.actions[e].size
        self.call = np.array([self.numbers.ctypes.data, len(numbers)])
        self.function = compiled(task, numbers.dtype, self.actions.dtype)
        # with the interpreter's lock, see `physics.guarded`
        kind = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
        self.run = functools.partial(kind(self.function.address), self.call.ctypes.data)

    def error(self) -> Exception:
        """Why the last `run` stopped before its end: what Python's bindings would have raised."""
        return error()


@functools.cache
def compiled(task: type[Task], numbers: np.dtype, action: np.dtype) -> CFunc:
    """`step` for a task, by the address of its arguments.

    Machine code from numba's cache knows nothing of the fields of p. So names here change with all that goes into them.
    """
    sources = [path.read_bytes() for path in sorted(pathlib.Path(__file__).parent.glob('*.py'))]
    label = f'{task.__name__}_{digest(*sources, repr((numbers, action)).encode())}'
    own = {'NUMBERS': numbers, 'ACTION': action.type, 'simulator': njit(renamed(simulator, label, {}))}
    own.update((name, njit(renamed(getattr(task, name), label, {}))) for name in FUNCTIONS)
    for name in FUNCTIONS:
        own[name].py_func.__globals__.update(own)
    return c_function(renamed(step, label, own))
