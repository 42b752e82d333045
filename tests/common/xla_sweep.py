"""Compiled against uncompiled functions of TRPO, for policies of many shapes; prints those that differ.

    XLA_FLAGS=--xla_cpu_max_isa=AVX2 python tests/common/xla_sweep.py short
    XLA_FLAGS=--xla_cpu_max_isa=AVX2 python tests/common/xla_sweep.py long PART    # of PARTS, from 0

ends with status 1 if any does. A process of its own, since XLA reads its flags once; the long sweep in parts, since one
process can hold some hundreds of compiled programs (each maps memory, and Linux counts the maps).
"""
import itertools
import sys

import gymnasium as gym
import numpy as np

import onpolicybaselines.common.tf_util as U
from onpolicybaselines import logger
from onpolicybaselines.common import compiled
from onpolicybaselines.common.policies import build_policy
from onpolicybaselines.trpo_mpi.losses import XLA_PAYS, make_functions

SHORT = [('gaussian', {}, 3, 'float32', 40, 'hessian'), ('gaussian', {}, 6, 'float64', 40, 'gauss_newton'),
         ('gmm', {'gmm_components': 3}, 2, 'float64', 40, 'gauss_newton'),  # was wrong with AVX2
         ('gmm', {'gmm_components': 6}, 1, 'float64', 40, 'hessian'),       # likewise
         ('gmm', {'gmm_components': 2}, 3, 'float32', 205, 'gauss_newton'),
         ('flow', {'flow_layers': 1}, 2, 'float32', 40, 'gauss_newton')]


PARTS = 8


def long_sweep():
    """Every shape that a task of the paper has, and its neighbours."""
    dtypes, fishers = ('float32', 'float64'), ('gauss_newton', 'hessian')
    sizes = (1, 2, 3, 4, 5, 6, 8, 17)
    for k, size, dtype, n in itertools.product(range(2, 9), sizes, dtypes, (7, 40)):
        yield 'gmm', {'gmm_components': k}, size, dtype, n, 'gauss_newton'
    for k, size, dtype in itertools.product(range(2, 9), sizes, dtypes):
        yield 'gmm', {'gmm_components': k}, size, dtype, 40, 'hessian'
    for size, dtype, n, fisher in itertools.product(sizes, dtypes, (7, 40, 205), fishers):
        yield 'gaussian', {}, size, dtype, n, fisher
    for size, dtype, fisher in itertools.product((1, 2, 3, 6, 17), dtypes, fishers):
        yield 'flow', {'flow_layers': 1}, size, dtype, 40, fisher


class Space(gym.Env):
    """An environment of the given number of actions, never stepped."""

    observation_space = gym.spaces.Box(-9, 9, (3,), np.float64)

    def __init__(self, size):
        self.action_space = gym.spaces.Box(-1, 1, (size,), np.float32)


def differs(policy, options, size, dtype, n, fisher):
    """Whether XLA's Fisher product or gradient differs from the uncompiled one by more than rounding."""
    network = {} if policy == 'flow' else {'num_hidden': 4, 'num_layers': 1}
    pi = build_policy(Space(size), 'mlp', value_network='copy', policy=policy, **options, **network)(
        np.random.default_rng(0), dtype)
    np_random = np.random.default_rng(1)
    th = U.GetFlat(pi.var_list)()
    th = th + 0.3 * np_random.standard_normal(th.size)
    ob, ac, v = (np_random.standard_normal(shape) for shape in ((n, 3), (n, size), th.size))
    with logger.scoped_configure(format_strs=[]):
        warnings = []
        logger.get_current().log = lambda *args, level=logger.INFO: warnings.extend(args * (level == logger.WARN))
        compiled = make_functions(pi, fisher=fisher, xla=XLA_PAYS, by_hand=False)
        compiled.compute_fvp(v, th, ob, ac)
        compiled.compute_lossandgrad(th, ob, ac, np_random.standard_normal(n), pi.pdtype.noise(np_random, 0))
    return bool(warnings)


def main(which, part=None):
    cases = SHORT if which == 'short' else list(long_sweep())[int(part)::PARTS]
    wrong = [case for case in cases if differs(*case)]
    for case in wrong:
        print('differs:', *case)
    print(f'{len(wrong)} of {len(cases)} differ by more than rounding ({compiled.ULPS} units in the last place)')
    return bool(wrong)


if __name__ == '__main__':
    U.single_threaded_session()
    sys.exit(main(*sys.argv[1:]))
