"""What so many steps must reach (slow)."""
import numpy as np
import pandas as pd
import pytest

from run.jobs import run_jobs
from run.learning import jobs_of, kl_as_desired


def logs_of(policy, *task, folder):
    """progress.csv of the runs of `run.learning`."""
    jobs = jobs_of(*task, str(folder))[policy]
    run_jobs(jobs)
    return [pd.read_csv(f'{job.folder}/progress.csv') for job in jobs]


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize('policy', ['gaussian', 'flow'])
def test_trpo_on_hopper(policy, tmp_path):
    """The mean return of the last 40 episodes, over seeds 1 to 3; a policy that falls at once gets about 20."""
    logs = logs_of(policy, 'trpo_mpi', 'Hopper-v5', 100_000, 3, folder=tmp_path)
    final = [log.EpRewMean.iloc[-1] for log in logs]
    assert np.mean(final) >= 350, final


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize('env, threshold', [('Reacher-v5', -15), ('InvertedPendulum-v5', 1000), ('Hopper-v5', 300)])
def test_acktr_cont(env, threshold, tmp_path):
    """The mean return of the last batch, of each of seeds 1 to 3; the pendulum's is the highest there is."""
    logs = logs_of('gaussian', 'acktr_cont', env, 200_000, 3, folder=tmp_path)
    final = [log.EpRewMean.iloc[-1] for log in logs]
    assert min(final) >= threshold, final


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize('env', ['Reacher-v5', 'Hopper-v5'])
def test_acktr_cont_keeps_a_flow_at_the_desired_kl(env, tmp_path):
    log, = logs_of('flow', 'acktr_cont', env, 300_000, 1, folder=tmp_path)
    assert np.isfinite(log).all(axis=None) and kl_as_desired(log) >= 0.8
