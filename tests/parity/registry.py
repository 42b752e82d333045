"""Which module compares which trace: to take a new kind of trace, write its stages and add its line here."""

STAGES_OF = {
    'distributions': 'stages_distributions',
    'cg': 'stages_cg',
    'gae': 'stages_gae',
    'math_util': 'stages_math_util',
    'running_mean_std': 'stages_running_mean_std',
    'mpi_adam': 'stages_mpi_adam',
    'trpo_gaussian': 'stages_trpo_gaussian',
    'trpo_flow': 'stages_trpo_flow',
    'ppo2': 'stages_ppo2',
    'gmm': 'stages_gmm',
    'kfac_gated': 'stages_kfac',
    'kfac': 'stages_kfac',
    'acktr_cont_gaussian_gated': 'stages_acktr_cont_gaussian',
    'acktr_cont_gaussian': 'stages_acktr_cont_gaussian',
    'acktr_cont_flow': 'stages_acktr_cont_flow',
}

# the same without gates, so that in the critic's cold phase weights are overwritten while gradients still need them
OPTIONAL = ('kfac', 'acktr_cont_gaussian')
