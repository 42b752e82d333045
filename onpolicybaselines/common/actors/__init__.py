"""Actions without TensorFlow, a call of which costs more than a step of most simulators.

A policy is put together here from its arrays by name: networks are lists of `Dense` layers (`network_fn.layers`, see
common/models.py), a family of distributions has a `Head` (actors/families.py); `Policy.actor` joins them by `policy`.
With numba (the extra `fast`) observations become actions in one compiled function, without it in NumPy.

Nothing here but `families` imports TensorFlow. Numbers have the dtype of the policy's variables.
"""
from onpolicybaselines.common.actors.assembly import Programs, encoder, filtered, policy
from onpolicybaselines.common.actors.heads import (
    Coupling,
    Head,
    bernoulli,
    categorical,
    diag_gaussian,
    flow,
    gaussian_mixture,
    multicategorical,
    state_dependent_gaussian,
)
from onpolicybaselines.common.actors.networks import (
    ACTIVATIONS,
    Arrays,
    Dense,
    dense,
    in_scope,
    matching_dense,
    side_by_side,
)

__all__ = ['ACTIVATIONS', 'Arrays', 'Coupling', 'Dense', 'Head', 'Programs', 'bernoulli', 'categorical', 'dense',
           'diag_gaussian', 'encoder', 'filtered', 'flow', 'gaussian_mixture', 'in_scope', 'matching_dense',
           'multicategorical', 'policy', 'side_by_side', 'state_dependent_gaussian']
