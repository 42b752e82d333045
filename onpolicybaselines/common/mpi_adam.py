"""Adam on a flat parameter vector that MPI ranks share (upstream: baselines/common/mpi_adam.py)."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

import onpolicybaselines.common.tf_util as U
from onpolicybaselines.common import mpi_world
from onpolicybaselines.common.checks import check_values
from onpolicybaselines.common.state import State, check_shapes

if TYPE_CHECKING:
    from mpi4py import MPI


class MpiAdam(object):
    """Adam (Kingma & Ba 2015) in numpy, with gradients summed or averaged over ranks.

    epsilon is added to sqrt(v) and the bias correction sits in the step size, as in TF1 and at the end of the
    paper's section 2.

    Args:
        var_list: variables to train; their concatenation is the parameter vector [n].
        beta1, beta2: decay of the first and second moment.
        epsilon: added to sqrt(v).
        scale_grad_by_procs: average the gradients over ranks; False sums them.
        comm: MPI communicator; None is COMM_WORLD, or this process alone without MPI.
    """

    def __init__(self, var_list: Sequence[tf.Variable], *, beta1: float = 0.9, beta2: float = 0.999,
                 epsilon: float = 1e-08, scale_grad_by_procs: bool = True, comm: MPI.Intracomm | None = None):
        self.var_list = var_list
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.scale_grad_by_procs = scale_grad_by_procs
        size = sum(U.numel(v) for v in var_list)
        self.m = np.zeros(size, 'float32')
        self.v = np.zeros(size, 'float32')
        self.t = 0
        self.setfromflat = U.SetFromFlat(var_list)
        self.getflat = U.GetFlat(var_list)
        self.comm = mpi_world.get_comm() if comm is None else comm

    def update(self, localg: np.ndarray, stepsize: float) -> None:
        """Descend along this rank's gradient `localg` [n] combined with the others'.

        Every 100th time it checks first that the ranks have the same parameters. Raises ValueError for a
        gradient of the wrong shape, and FloatingPointError if the combined one, its square or the
        step is not finite: on all ranks, with nothing changed.
        """
        if self.t % 100 == 0:
            self.check_synced()
        localg = np.asarray(localg, 'float32')
        if localg.shape != self.m.shape:
            raise ValueError(f'MpiAdam needs a gradient of shape {self.m.shape}, got {localg.shape}')
        globalg = mpi_world.allsum(localg, self.comm)
        if self.comm is not None and self.scale_grad_by_procs:
            globalg /= self.comm.Get_size()
        if not np.isfinite(globalg).all():
            raise FloatingPointError(f'MpiAdam: the gradient of update {self.t + 1} is not finite; '
                                     'parameters unchanged')

        t = self.t + 1
        # a Python float: a float64 scalar would turn the float32 arrays below into float64
        a = float(stepsize * np.sqrt(1 - self.beta2**t)/(1 - self.beta1**t))
        with np.errstate(over='ignore'):
            m = self.beta1 * self.m + (1 - self.beta1) * globalg
            v = self.beta2 * self.v + (1 - self.beta2) * (globalg * globalg)
            step = (- a) * m / (np.sqrt(v) + self.epsilon)
            theta = self.getflat() + step
        check_values(f'MpiAdam, update {t}', **{'the mean square of gradients': v, 'the step': theta})
        self.t, self.m, self.v = t, m, v
        self.setfromflat(theta)

    def sync(self) -> None:
        """Overwrite the parameters of all ranks with those of rank 0."""
        if self.comm is None:
            return
        theta = self.getflat()
        self.comm.Bcast(theta, root=0)
        self.setfromflat(theta)

    def check_synced(self) -> None:
        """Raise RuntimeError, on all ranks, if the parameters of any rank differ from those of rank 0."""
        mpi_world.check_synced(self.getflat(), f'MpiAdam, update {self.t + 1}', self.comm)

    def state(self) -> State:
        """Moments m and v, float32 [n], and the number t of updates so far."""
        return {'m': self.m.copy(), 'v': self.v.copy(), 't': self.t}

    def set_state(self, state: Mapping[str, np.ndarray | int]) -> None:
        """Go back to what `state` gave. Raises ValueError if it does not fit."""
        check_shapes('MpiAdam', state, self.state())
        self.m, self.v = (np.array(state[name], 'float32') for name in ('m', 'v'))
        self.t = int(state['t'])
