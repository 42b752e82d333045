"""Training runs as jobs: worker processes that train one run after another.

A run is `python -m onpolicybaselines.run ...` into FOLDER/TASK/METHOD/seed_N; a worker calls the same function, so that
TensorFlow is started once for many runs. Another program may take its place, with workers of its own. Finished runs are
skipped, interrupted ones begin again.
"""
import contextlib
import gc
import gzip
import importlib
import json
import multiprocessing
import os
import shlex
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from dataclasses import dataclass

from tqdm import tqdm

from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.files import replacing

PROGRAM = 'onpolicybaselines.run'
ENVIRONMENT = {'OPENAI_LOG_FORMAT': 'csv', 'OMP_NUM_THREADS': '1'}
LOGS = ('progress.csv', '0.monitor.csv')  # the last one, once compressed, marks a finished run
STEPS = ('TimestepsSoFar', 'total_timesteps', 'misc/total_timesteps', 'time/total_timesteps')  # names in logs
ERRORS = 'error.txt'
OLD = '.old'  # ends the name of a folder whose run is being replaced by a longer one
RUNS_PER_WORKER = 10  # TensorFlow keeps about 100 MB of each run of a flow, 5 MB of a Gaussian's


@dataclass(frozen=True)
class Job:
    """One run of `program` with `options`, for `steps` time steps, in a folder of its own.

    The program is a module with a function `main` of its command line that leaves LOGS and config.json.
    """

    folder: str
    steps: int
    options: tuple[str, ...]
    program: str = PROGRAM

    @property
    def arguments(self) -> list[str]:
        """The command line's words after `python -m PROGRAM`."""
        return [*self.options, '--overwrite', f'--num_timesteps={self.steps}', f'--log_path={self.folder}']

    @property
    def command(self) -> str:
        """The line of shell that makes the same run by itself."""
        settings = ' '.join(f'{name}={value}' for name, value in ENVIRONMENT.items())
        logs = [self.path(name) for name in LOGS]
        remove, run, compress = map(shlex.join, (
            ['rm', '-f', *(f'{log}.gz' for log in logs)],
            [sys.executable, '-m', self.program, *self.arguments], ['gzip', '-n', *logs]))
        return f'{remove}; {settings} {run} && {compress}'

    def path(self, name: str) -> str:
        """A file of the run."""
        return os.path.join(self.folder, name)

    def finished_steps(self) -> int:
        """Time steps of the finished run in the folder, 0 without one."""
        return self.recorded_steps() if os.path.exists(self.path(LOGS[-1] + '.gz')) else 0

    def recorded_steps(self) -> int:
        """Time steps that the run in the folder was told to take, 0 without one."""
        try:
            with open(self.path('config.json'), encoding='utf-8') as fh:
                return int(float(json.load(fh)['args']['num_timesteps']))
        except (OSError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError):  # of others, or damaged
            return 0

    def finished(self) -> bool:
        """The folder holds a whole run of so many steps, or more."""
        return self.finished_steps() >= self.steps

    def steps_so_far(self) -> int:
        """Steps in the log of a run under way, 0 without one."""
        try:
            with open(self.path(LOGS[0]), encoding='utf-8') as fh:
                names, *_, last = (line.rstrip('\n').split(',') for line in fh)
            logged = dict(zip(names, last, strict=True))
            return min(int(float(next(logged[name] for name in STEPS if name in logged))), self.steps)
        except (OSError, ValueError, LookupError, ArithmeticError, StopIteration):  # not there yet, or being written
            return 0

    def error(self) -> str:
        """The last line of what a failed run said."""
        with open(self.path(ERRORS), encoding='utf-8', errors='replace') as fh:
            return ([line.strip() for line in fh if line.strip()] or ['no message'])[-1]


def train(job: Job) -> bool:
    """Train in this process, from nothing; returns success.

    What the run printed is in its ERRORS if it failed; else its logs are compressed, and its checkpoints and the model,
    unless it was asked for, removed. A finished run of fewer steps is kept in FOLDER.old until the new one is finished.
    """
    if job.finished_steps():
        shutil.rmtree(job.folder + OLD, ignore_errors=True)
        os.replace(job.folder, job.folder + OLD)
    shutil.rmtree(job.folder, ignore_errors=True)
    os.makedirs(job.folder)
    with _output_to(job.path(ERRORS)):
        succeeded = _train(job)
    if succeeded:
        os.remove(job.path(ERRORS))
        shutil.rmtree(job.folder + OLD, ignore_errors=True)
    return succeeded


def _train(job):
    from onpolicybaselines import logger
    sys.argv = [job.program, *job.arguments]  # what config.json records
    try:
        try:
            importlib.import_module(job.program).main(sys.argv)
        finally:
            logger.reset()
        for name in LOGS:
            _compress(job.path(name))
        if job.program == PROGRAM:
            shutil.rmtree(job.path('checkpoints'))
            if not any(option.startswith('--save_path') for option in job.options):
                os.remove(job.path('model.npz'))
    except SystemExit:  # has said why
        return False
    except Exception:
        traceback.print_exc()
        return False
    finally:
        gc.collect()
    return True


@contextlib.contextmanager
def _output_to(path: str) -> Iterator[None]:
    """The output of this process, that of its C++ libraries too, goes to a file."""
    streams = {1: sys.stdout, 2: sys.stderr}
    saved = {fd: os.dup(fd) for fd in streams}
    with open(path, 'wb') as fh:
        for fd, stream in streams.items():
            stream.flush()
            os.dup2(fh.fileno(), fd)
        try:
            yield
        finally:
            for fd, stream in streams.items():
                stream.flush()
                os.dup2(saved[fd], fd)
                os.close(saved[fd])


def write_compressed(path: str, content: bytes) -> None:
    """Replace the file by this content, compressed; the bytes depend on nothing else."""
    with replacing(path, 'wb') as target, gzip.GzipFile(filename='', mode='wb', fileobj=target, mtime=0) as packed:
        packed.write(content)


def _compress(path: str) -> None:
    """Replace a file by path.gz."""
    with open(path, 'rb') as source:
        write_compressed(path + '.gz', source.read())
    os.remove(path)


class Worker:
    """A process that trains run after run of one program; another takes its place if it dies, for a run of another
    program, whose libraries need not agree with the first one's, and every RUNS_PER_WORKER runs.

    An executor of its own, so that a death is the failure of one run.
    """

    def __init__(self) -> None:
        self._executor: ProcessPoolExecutor | None = None
        self._runs = 0
        self._program: str | None = None

    def train(self, job: Job) -> bool:
        """`train` in the process; to die counts as to fail."""
        if self._runs == RUNS_PER_WORKER or job.program != self._program or not self._is_alive():
            self._renew()
        self._runs += 1
        self._program = job.program
        try:
            return self._executor.submit(train, job).result()
        except BrokenExecutor:
            self._renew()
            os.makedirs(job.folder, exist_ok=True)
            with open(job.path(ERRORS), 'a', encoding='utf-8') as fh:
                fh.write('the worker process died: killed, perhaps for want of memory, or crashed\n')
            return False

    def _is_alive(self):
        """It may have died since its last run, which is not the next one's fault."""
        try:
            return self._executor is not None and self._executor.submit(os.getpid).result() > 0
        except BrokenExecutor:
            return False

    def _renew(self):
        if self._executor is not None:
            self._executor.shutdown(wait=False)
        self._executor = ProcessPoolExecutor(1, multiprocessing.get_context('spawn'), initializer=_end_with_parent)
        self._runs = 0


def _end_with_parent():
    """A process whose parent is killed would wait for work for ever."""
    def watch():
        multiprocessing.parent_process().join()
        os._exit(1)
    threading.Thread(target=watch, daemon=True).start()


_this_thread = threading.local()


def train_apart(job: Job) -> bool:
    """`train` in a process that belongs to this thread, or to this MPI rank, and is no MPI rank itself."""
    from onpolicybaselines.common.vec_env.vec_env import clear_mpi_env_vars
    if not hasattr(_this_thread, 'worker'):
        _this_thread.worker = Worker()
    os.environ.update(ENVIRONMENT)
    with clear_mpi_env_vars():
        return _this_thread.worker.train(job)


def make_pool(workers: int) -> Executor:
    """Threads, or under mpi4py.futures the other ranks, for `train_apart`.

    Raises UsageError for an MPI launcher without mpi4py.futures: every rank would run the whole grid.
    """
    from onpolicybaselines.common import mpi_world
    if mpi_world.launched_size() <= 1:
        return ThreadPoolExecutor(workers)
    if 'mpi4py.futures' not in sys.modules:
        raise UsageError('under an MPI launcher, start with: mpiexec -n N python -m mpi4py.futures -m run.figN ...')
    return sys.modules['mpi4py.futures'].MPIPoolExecutor()


def run_jobs(jobs: Sequence[Job], workers: int = 1) -> list[Job]:
    """Train what is not finished, `workers` runs at a time; returns the jobs that failed, see their `error`.

    An interrupt (Ctrl-C), or an error that is not a run's own, such as a full disk, ends the runs under way and is
    raised again.
    """
    waiting = [job for job in jobs if not job.finished()]
    steps, left = (sum(job.steps for job in some) for some in (jobs, waiting))
    job_of = {}
    with _environment_kept(), make_pool(workers) as pool, tqdm(total=steps, initial=steps - left, unit='step',
                                                               unit_scale=True, smoothing=0) as bar:
        try:
            with _interrupts_for_this_process_only():
                job_of.update((pool.submit(train_apart, job), job) for job in waiting)
            _wait(job_of, bar)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            while not all(future.done() for future in job_of):
                for process in multiprocessing.active_children():
                    process.terminate()
                time.sleep(0.1)
            raise
    return [job for future, job in job_of.items() if not future.result()]


@contextlib.contextmanager
def _environment_kept():
    """Processes begun in this context inherit what it sets; it ends as it began."""
    saved = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


def _wait(job_of, bar):
    """Until all are done, with a bar of time steps."""
    before, left = bar.n, set(job_of)
    while left:
        left = wait(left, timeout=5, return_when=FIRST_COMPLETED).not_done
        failed = sum(not future.result() for future in job_of if future.done())
        bar.set_postfix_str(f'{len(left)} runs to go, {failed} failed', refresh=False)
        steps = sum(job.steps if future.done() else job.steps_so_far() if future.running() else 0
                    for future, job in job_of.items())
        bar.update(before + steps - bar.n)


@contextlib.contextmanager
def _interrupts_for_this_process_only():
    """Ctrl-C goes to all processes of a terminal; threads begun in this context, and their processes, do not get it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def report_failed(jobs: Sequence[Job]) -> int:
    """Print a line for each of the failed jobs; returns the exit status, 1 if there are some."""
    for job in jobs:
        print(f'failed: {job.folder}: {job.error()}', file=sys.stderr)
    return 1 if jobs else 0
