"""math_util.npz: explained variance and discounted sums."""
import numpy as np
from exact import returns
from harness import Stages
from noise import measured

from onpolicybaselines.common import math_util

STAGES = Stages()
# result: (input, discount factor), which only the names tell
DISCOUNTED = {'disc_099': ('disc_x', 0.99), 'disc_099_097': ('disc_x', 0.99 * 0.97),
              'disc_f32_099': ('disc_x_f32', 0.99), 'disc_x2_095': ('disc_x2', 0.95)}


@STAGES.add('explained variance', each=r'(ev(?:_f32|_const)?)', what='explained variances')
def ev(trace, part):
    ending = part.label.removeprefix('ev')
    y, ypred = (trace[f'ev{ending}_{name}' if ending == '_const' else f'ev_{name}{ending}'] for name in ('y', 'ypred'))
    comparison = math_util.explained_variance(ypred, y), trace[part.label]
    if ending == '_const':  # Var[y] = 0: NaN
        yield comparison
    else:
        exact = measured(lambda y, ypred: {'ev': returns.explained_variance(ypred, y)}, {'y': y, 'ypred': ypred},
                         rows=('y', 'ypred'), precision=np.result_type(y, ypred).name)
        yield *comparison, exact['ev']


@STAGES.add('discount', each=f'({"|".join(DISCOUNTED)})', what='advantages and returns')
def discounted(trace, part):
    name, gamma = DISCOUNTED[part.label]
    x = np.asarray(trace[name])
    exact = measured(lambda x: {'y': returns.discount(x, gamma)}, {'x': x.astype('float64')}, precision='float64')
    yield math_util.discount(x, gamma), trace[part.label], exact['y']
