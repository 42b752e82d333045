"""What a hundred thousand steps must reach (slow)."""
import numpy as np
import pandas as pd
import pytest

from run.jobs import run_jobs
from run.learning import jobs_of


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize('policy', ['gaussian', 'flow'])
def test_hopper(policy, tmp_path):
    """The mean return of the last 40 episodes, over seeds 1 to 3; a policy that falls at once gets about 20."""
    jobs = jobs_of('Hopper-v5', 100_000, 3, str(tmp_path))[policy]
    run_jobs(jobs)
    final = [pd.read_csv(f'{job.folder}/progress.csv').EpRewMean.iloc[-1] for job in jobs]
    assert np.mean(final) >= 350, final
