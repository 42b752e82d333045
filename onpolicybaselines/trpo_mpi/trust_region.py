"""The policy update of TRPO: conjugate gradients, then a line search."""
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onpolicybaselines import logger
from onpolicybaselines.common.cg import cg
from onpolicybaselines.common.checks import check_values
from onpolicybaselines.common.mpi_world import allmean
from onpolicybaselines.common.timing import timed
from onpolicybaselines.trpo_mpi.losses import Functions, loss_names


def trust_region_step(functions: Functions, thbefore: np.ndarray, args: Sequence[np.ndarray], noise: np.ndarray, *,
                      max_kl: float, cg_iters: int, cg_damping: float, fvp_subsample: int = 5, **linesearch_kwargs
                      ) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """One policy update from the batch args = (ob, ac, atarg), all averages taken over the ranks.

    Returns (th, losses at th, diagnostics): "stepsize" accepted by the line search, 0 if th is thbefore;
    "neg_curvature": 1 if the step was given up because the (sampled) curvature along it is not positive;
    "cg_residual": squared norm of what conjugate gradient left of the gradient.
    """
    compute_losses, compute_lossandgrad, *_ = functions
    info = {"stepsize": 0.0, "neg_curvature": 0, "cg_residual": np.nan}

    compute_fvp = functions.compute_fvp.given(thbefore, *(arr[::fvp_subsample] for arr in args[:2]))
    def fisher_vector_product(p):
        with timed("fvp"):
            return allmean(compute_fvp(p)) + cg_damping * p

    def losses_at(th):
        with timed("losses"):
            return allmean(np.array(compute_losses(th, thbefore, *args, noise)))

    with timed("computegrad"):
        lossbefore, g = compute_lossandgrad(thbefore, *args, noise)
    lossbefore = allmean(np.array(lossbefore))
    g = allmean(g)
    check_values("policy update", gradient=g, **dict(zip(loss_names, lossbefore, strict=True)))
    if np.allclose(g, 0):
        logger.log("Got zero gradient. not updating")
        return thbefore, lossbefore, info
    with timed("cg"):
        stepdir = cg(fisher_vector_product, g, cg_iters=cg_iters)
    fvp = fisher_vector_product(stepdir)
    info["cg_residual"] = float(np.square(g - fvp).sum())
    shs = .5*stepdir.dot(fvp)
    if not (np.isfinite(shs) and shs > 0):
        logger.log(f"Got non-positive curvature (shs = {shs:.3g}). not updating")
        info["neg_curvature"] = 1
        return thbefore, lossbefore, info
    lm = float(np.sqrt(shs / max_kl))
    fullstep = stepdir / lm
    expectedimprove = g.dot(fullstep)
    thnew, info["stepsize"], meanlosses = linesearch(losses_at, thbefore, fullstep, lossbefore, expectedimprove,
                                                     max_kl=max_kl, **linesearch_kwargs)
    return thnew, meanlosses, info


def linesearch(losses_at: Callable, thbefore: np.ndarray, fullstep: np.ndarray, lossbefore: np.ndarray,
               expectedimprove: float, *, max_kl: float, kl_margin: float = 1.5, backtrack_iters: int = 10,
               backtrack_coeff: float = 0.5) -> tuple[np.ndarray, float, np.ndarray]:
    """Shorten `fullstep` until the surrogate does not fall and the KL divergence is at most `kl_margin * max_kl`.

    losses_at(th): the values of `loss_names` there; lossbefore: at thbefore. Returns (th, step size, losses at th);
    where no trial is acceptable these are (thbefore, 0, lossbefore).
    """
    surrbefore = lossbefore[0]
    stepsize = 1.0
    for _ in range(backtrack_iters):
        thnew = thbefore + fullstep * stepsize
        meanlosses = surr, kl, *_ = losses_at(thnew)
        improve = surr - surrbefore
        logger.log(f"Expected: {expectedimprove:.3f} Actual: {improve:.3f}")
        if not np.isfinite(meanlosses).all():
            logger.log("Got non-finite value of losses -- bad!")
        elif kl > max_kl * kl_margin:
            logger.log("violated KL constraint. shrinking step.")
        elif improve < 0:
            logger.log("surrogate didn't improve. shrinking step.")
        else:
            logger.log("Stepsize OK!")
            return thnew, stepsize, meanlosses
        stepsize *= backtrack_coeff
    logger.log("couldn't compute a good step")
    return thbefore, 0.0, lossbefore
