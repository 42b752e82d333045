"""math_util.npz: explained variance and discounted sums."""
import numpy as np
from harness import Stages

from onpolicybaselines.common.math_util import discount, explained_variance

STAGES = Stages()
# result: (input, discount factor), which only the names tell
DISCOUNTED = {'disc_099': ('disc_x', 0.99), 'disc_099_097': ('disc_x', 0.99 * 0.97),
              'disc_f32_099': ('disc_x_f32', 0.99), 'disc_x2_095': ('disc_x2', 0.95)}


@STAGES.add('explained variance', each=r'(ev(?:_f32|_const)?)', rtol=1e-6, atol=1e-9,
            reason='two variances in the precision of the input; NaN where Var[y] = 0')
def ev(trace, part):
    ending = part.label.removeprefix('ev')
    y, ypred = (trace[f'ev{ending}_{name}' if ending == '_const' else f'ev_{name}{ending}'] for name in ('y', 'ypred'))
    yield explained_variance(ypred, y), trace[part.label]


@STAGES.add('discount', each=f'({"|".join(DISCOUNTED)})', rtol=1e-12, atol=1e-12, reason='float64 recursion')
def discounted(trace, part):
    x, gamma = DISCOUNTED[part.label]
    yield discount(np.asarray(trace[x]), gamma), trace[part.label]
