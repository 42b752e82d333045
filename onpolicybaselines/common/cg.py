"""Conjugate gradients (upstream: baselines/common/cg.py)."""
from collections.abc import Callable

import numpy as np


def cg(f_Ax: Callable[[np.ndarray], np.ndarray], b: np.ndarray, cg_iters: int = 10,
       callback: Callable[[np.ndarray], None] | None = None, verbose: bool = False,
       residual_tol: float = 1e-10) -> np.ndarray:
    """Solve A x = b for symmetric positive definite A, starting at x = 0.

    Source: J. Demmel, Applied Numerical Linear Algebra (1997), Algorithm 6.11.

    Args:
        f_Ax: returns A p for a vector p of shape [n].
        b: right-hand side [n]; everything is computed in its dtype.
        cg_iters: largest number of products with A.
        callback: called with x before every iteration and at the end; copy x to keep it, it changes in place.
        verbose: print a table of r·r and |x|.
        residual_tol: stop once the SQUARED residual norm r·r is below this.

    Returns:
        x [n]. The curvature is not checked: for an indefinite A the residual may grow.

    >>> A = np.array([[4., 1.], [1., 3.]])
    >>> cg(A.dot, np.array([1., 2.])).round(6)  # (1/11, 7/11), after two iterations
    array([0.090909, 0.636364])
    """
    b = np.asarray(b, np.result_type(b, np.float32))
    if b.ndim != 1:
        raise ValueError(f'cg needs a vector b, got shape {b.shape}')
    p = b.copy()
    r = b.copy()
    x = np.zeros_like(b)
    rdotr = r.dot(r)

    fmtstr = "%10i %10.3g %10.3g"
    titlestr = "%10s %10s %10s"
    if verbose: print(titlestr % ("iter", "r.r", "|x|"))

    i = -1
    for i in range(cg_iters if rdotr else 0):  # r = 0: x is exact, the step would be 0/0
        if callback is not None:
            callback(x)
        if verbose: print(fmtstr % (i, rdotr, np.linalg.norm(x)))
        z = np.asarray(f_Ax(p), b.dtype)
        v = rdotr / p.dot(z)
        x += v*p
        r -= v*z
        newrdotr = r.dot(r)
        mu = newrdotr/rdotr
        p = r + mu*p

        rdotr = newrdotr
        if rdotr < residual_tol or rdotr == 0:
            break

    if callback is not None:
        callback(x)
    if verbose: print(fmtstr % (i+1, rdotr, np.linalg.norm(x)))
    return x
