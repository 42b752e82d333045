"""trpo_gaussian.npz: whole iterations of upstream's TRPO with a Gaussian policy."""
import stages_trpo as trpo
from harness import Stages, iterations
from stages_running_mean_std import sums

from onpolicybaselines.common.mpi_running_mean_std import RunningMeanStd

STAGES = Stages()


def stage(name, array, compute, **kwargs):
    STAGES.add(name, each=iterations(array), **kwargs)(compute)


def filter_sums(trace, part):
    """Upstream's loop looks for the filter under a wrong name, so it stays as it was made."""
    initial = RunningMeanStd(shape=part['ob'].shape[1:])
    for which in ('pi', 'oldpi'):
        for name, value in sums(initial.state()).items():
            yield value, part[f'{which}_rms_{name}']


stage('filter: sums and count', 'pi_rms_sum', filter_sums, rtol=0, atol=0,
      reason='upstream never updates its filter (fixed in the port): all below at the initial one')
stage('filter: mean and std', r'(?:\w+_)?pi_rms_sum', trpo.filter_state, rtol=1e-6, reason='one float32 difference')
stage('value predictions', 'vpred', trpo.vpred, rtol=1e-5, norm=True, reason='float32')
stage('advantages and returns', 'adv', trpo.advantages, rtol=1e-5, norm=True,
      reason='float32 recursion; in the norm, as elements near 0 are differences of large ones')
stage('losses before', 'lossbefore', trpo.lossbefore, rtol=1e-5,
      reason="float32; the port's means are float64")
stage('gradient', 'g', trpo.gradient, rtol=1e-5, norm=True, reason='float32')
stage('Fisher-vector products: probes', 'probe_fvp', trpo.probe_fvp, rtol=1e-5, norm=True, reason='float32')
stage('Fisher-vector products: CG', 'cg_Ap', trpo.cg_products, rtol=1e-5, norm=True,
      reason='float32, damping included; at the recorded directions')
stage('CG, recorded products fed in', 'cg_Ap', trpo.cg_replayed, rtol=trpo.summation_order, norm=True,
      reason='1e-4, or 10 x the change when float32 sums are taken in other orders')
stage('CG direction', 'stepdir', trpo.stepdir, rtol=trpo.recorded_sensitivity, norm=True,
      reason='1e-4, or 10 x the recorded change for a change of b by 1e-6')
stage('shs', 'shs', trpo.shs, rtol=1e-5, reason='float32; from the recorded direction')
stage('lm and expected improvement', 'lm', trpo.step_scale, rtol=1e-4, reason='float32; recorded products fed in')
stage('full step', 'fullstep', trpo.full_step, rtol=trpo.summation_order, norm=True,
      reason='as CG, recorded products fed in')
stage('line search: losses of trials', 'linesearch_losses', trpo.trial_losses, rtol=1e-4,
      reason='float32; along the recorded full step')
stage('line search: step size', 'accepted_stepsize', trpo.accepted_stepsize, rtol=0, atol=0,
      reason='a power of 1/2, and the number of trials; along the recorded full step')
stage('policy parameters after', 'pi_flat_after', trpo.policy_after, rtol=1e-6, atol=1e-7,
      reason='two float32 operations; along the recorded full step')
stage('policy change', 'pi_flat_after', trpo.whole_update, rtol=trpo.summation_order, norm=True,
      reason='whole update, recorded products fed in to CG')
stage('policy change, all by the port', 'pi_flat_after', trpo.unaided_update, rtol=trpo.recorded_sensitivity, norm=True,
      reason='whole update, nothing fed in: as the CG direction')
stage('value fit: first gradient', 'vf_grad_first', trpo.value_gradient_first, rtol=1e-5, norm=True, reason='float32')
stage('value fit: last gradient', 'vf_grad_last', trpo.value_gradient_last, rtol=1e-5, norm=True,
      reason='float32, after all other minibatches')
stage('value parameters, change', 'vf_flat_after', trpo.value_change, rtol=1e-5, norm=True,
      reason='float32, all minibatches in the recorded order')
stage('Adam moments after', 'adam_m_after', trpo.adam_moments, rtol=1e-5, norm=True,
      reason='float32, all minibatches in the recorded order')
stage('Adam time after', 'adam_t_after', trpo.adam_time, rtol=0, atol=0, reason='a counter')
