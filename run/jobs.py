"""Training runs as jobs: one folder each, finished ones are skipped, several at a time."""
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from tqdm import tqdm


@dataclass(frozen=True)
class Job:
    """One call of `onpolicybaselines.run` that logs and saves into `folder`."""

    folder: str
    options: tuple[str, ...]

    def finished(self) -> bool:
        """The model is saved last, so it stands for a whole run."""
        return os.path.exists(os.path.join(self.folder, 'model.npz'))

    def run(self) -> None:
        """Train; raises RuntimeError with the end of the output if the run fails."""
        os.makedirs(self.folder, exist_ok=True)
        command = [sys.executable, '-m', 'onpolicybaselines.run', *self.options, f'--log_path={self.folder}',
                   f'--save_path={os.path.join(self.folder, "model.npz")}']
        environment = {**os.environ, 'OPENAI_LOG_FORMAT': 'log,csv'}
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if result.returncode:
            raise RuntimeError(f'{" ".join(command)} failed:\n{result.stderr[-2000:]}')


def run_jobs(jobs: Sequence[Job], workers: int = os.cpu_count() or 1) -> None:
    """Run those jobs that are not finished, `workers` at a time; a failure is raised when the others are done."""
    waiting = [job for job in jobs if not job.finished()]
    failures = []
    done = len(jobs) - len(waiting)
    with ThreadPoolExecutor(workers) as pool, tqdm(total=len(jobs), initial=done, unit='run') as bar:
        for future in as_completed([pool.submit(job.run) for job in waiting]):
            if future.exception():
                failures.append(future.exception())
            bar.update()
    if failures:
        raise RuntimeError(f'{len(failures)} of {len(jobs)} runs failed; the first: {failures[0]}')
