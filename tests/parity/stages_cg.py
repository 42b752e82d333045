"""cg.npz: conjugate gradient on small symmetric positive definite systems.

Rounding grows about tenfold an iteration as conjugacy is lost, until late directions of two correct programs differ
freely. So the directions are compared with the recorded products fed in; the solution also with the port's own.
"""
import functools

import numpy as np
from harness import Stages

from onpolicybaselines.common.cg import cg

STAGES = Stages()
RUN = r'(\w+)_n_matvec'
ALLOWED = {'iters10': {}, 'iters100': {'cg_iters': 100}, 'tol': {'cg_iters': 100, 'residual_tol': 1e-2}}
FED = 'rounding of one recursion: the recorded products are fed in'


def run_cg(run, f_Ax):
    """(x, iterates, directions) of the port."""
    iterates, directions = [], []

    def product(p):
        directions.append(p.copy())
        return f_Ax(p)

    x = cg(product, run.trace['b'].astype(run['x'].dtype), callback=lambda x: iterates.append(x.copy()),
           **ALLOWED.get(run.label.split('_')[-1], {}))
    return x, np.array(iterates), np.array(directions)


@functools.cache
def solved(run):
    A = run.trace['A3' if run.label.startswith('A3') else 'A'].astype(run['x'].dtype)
    return run_cg(run, lambda p: A @ p)


@functools.cache
def replayed(run):
    products = iter(run['z'])
    return run_cg(run, lambda p: next(products))


def rounding(float32, float64):
    return lambda run: float32 if run['x'].dtype == np.float32 else float64


@STAGES.add('number of products', each=RUN, rtol=0, atol=0,
            reason='a count: stops once r.r, after the update, is below the tolerance')
def number_of_products(trace, run):
    yield len(solved(run)[2]), run['n_matvec']


@STAGES.add('iterates and solution', each=RUN, rtol=rounding(1e-4, 1e-6), norm=True,
            reason='float32 1e-4; float64 1e-6: rounding grows tenfold an iteration, 21 of them in f64_iters100')
def solution(trace, run):
    x, iterates, _ = solved(run)
    yield x, run['x']
    yield iterates, run['iterates']


@STAGES.add('iterates, products fed in', each=RUN, rtol=rounding(1e-5, 1e-9), norm=True, reason=FED)
def replayed_iterates(trace, run):
    yield replayed(run)[1], run['iterates']


@STAGES.add('directions, products fed in', each=RUN, rtol=rounding(1e-4, 1e-9), norm=True,
            reason=f'{FED}; the residual falls to 1/60 of b')
def replayed_directions(trace, run):
    yield replayed(run)[2], run['p']
