"""A long run takes no more memory and no more files than a short one."""
import csv
import os
import subprocess
import sys
import time

import pytest

MILLION = 1_000_000


def steps_of(folder):
    """How far the run in the folder is."""
    if not (folder / 'progress.csv').exists():
        return 0
    with open(folder / 'progress.csv', newline='') as fh:
        rows = [row['TimestepsSoFar'] for row in csv.DictReader(fh)]
    return int(float(rows[-1] or 0)) if rows else 0


def memory(pid):
    """MiB that a process has in memory."""
    with open(f'/proc/{pid}/status') as fh:
        return next(int(line.split()[1]) for line in fh if line.startswith('VmRSS:')) / 1024


def open_files(pid):
    return len(os.listdir(f'/proc/{pid}/fd'))


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
def test_ten_million_steps_grow_by_less_than_50_mb(tmp_path):
    """Measured after each million; at the first, all is compiled and the first checkpoint is written."""
    words = ['--env=InvertedPendulum-v5', f'--num_timesteps={10 * MILLION}', '--seed=1', f'--log_path={tmp_path}/run']
    process = subprocess.Popen([sys.executable, '-m', 'onpolicybaselines.run', *words], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, env={**os.environ, 'OPENAI_LOG_FORMAT': 'log,csv'})
    measured = []
    try:
        while process.poll() is None and len(measured) < 9:
            time.sleep(1)
            if steps_of(tmp_path / 'run') >= (len(measured) + 1) * MILLION:
                measured.append((memory(process.pid), open_files(process.pid)))
                print(f'{len(measured)} million steps: {measured[-1][0]:.1f} MiB, {measured[-1][1]} files', flush=True)
        assert process.wait() == 0 and len(measured) == 9
    finally:
        process.kill()
    sizes, files = zip(*measured, strict=True)
    assert max(sizes) - sizes[0] < 50 * 1e6 / 2**20
    assert len(set(files)) == 1
    assert os.listdir(tmp_path / 'run/checkpoints')
