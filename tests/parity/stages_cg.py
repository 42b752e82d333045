"""cg.npz: conjugate gradient on small symmetric positive definite systems.

Rounding grows about tenfold an iteration as conjugacy is lost, so every iterate is compared by itself.
"""
import functools

import numpy as np
from exact.returns import conjugate_gradients
from harness import Stages, computed_once
from noise import measured

from onpolicybaselines.common import cg as package

STAGES = Stages()
RUN = r'(\w+)_n_matvec'
ALLOWED = {'iters10': {}, 'iters100': {'cg_iters': 100}, 'tol': {'cg_iters': 100, 'residual_tol': 1e-2}}


def allowed(run):
    return ALLOWED.get(run.label.split('_')[-1], {})


def matrix(run):
    return run.trace['A3' if run.label.startswith('A3') else 'A'].astype(run['x'].dtype)


def right_side(run):
    return run.trace['b'].astype(run['x'].dtype)


def run_cg(run, f_Ax):
    """(x, iterates, directions) of the port."""
    iterates, directions = [], []

    def product(p):
        directions.append(p.copy())
        return f_Ax(p)

    x = package.cg(product, right_side(run), callback=lambda x: iterates.append(x.copy()), **allowed(run))
    return {'x': x, 'iterates': np.array(iterates), 'directions': np.array(directions)}


@computed_once
def solved(run):
    A = matrix(run)
    return run_cg(run, lambda p: A @ p)


@computed_once
def replayed(run):
    products = iter(run['z'])
    return run_cg(run, lambda p: next(products))


@functools.cache
def exact(run, fed):
    """As many iterations as recorded; fed: with the recorded products."""
    def answers(A, b, z):
        return conjugate_gradients(lambda p, i: z[i] if fed else A @ p, b, int(run['n_matvec']), 0.)
    return measured(answers, {'A': matrix(run), 'b': right_side(run), 'z': run['z']}, precision=run['x'].dtype.name)


@STAGES.add('number of products', each=RUN, what='iterations of conjugate gradients',
            note='stops once r.r, after the update, is below the tolerance')
def number_of_products(trace, run):
    yield len(solved(run)['directions']), run['n_matvec']


@STAGES.add('iterates and solution', each=RUN, what='solutions of linear systems by conjugate gradients')
def solution(trace, run):
    yield solved(run)['x'], run['x'], exact(run, False)['x']
    yield from zip(solved(run)['iterates'], run['iterates'], exact(run, False)['iterates'], strict=True)


@STAGES.add('iterates, products fed in', each=RUN, what='solutions of linear systems by conjugate gradients')
def replayed_iterates(trace, run):
    yield from zip(replayed(run)['iterates'], run['iterates'], exact(run, True)['iterates'], strict=True)


@STAGES.add('directions, products fed in', each=RUN, what='solutions of linear systems by conjugate gradients')
def replayed_directions(trace, run):
    yield from zip(replayed(run)['directions'], run['p'], exact(run, True)['directions'], strict=True)
