"""The folder of a run: whose it is, what of an earlier run is in it, and what that one was asked for."""
import argparse
import contextlib
import datetime
import fcntl
import glob
import os
import os.path as osp
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

import numpy as np

from onpolicybaselines import logger
from onpolicybaselines.common.checkpoint import FOLDER, checkpointing, from_first, has_checkpoint
from onpolicybaselines.common.cmd_util import common_arg_parser
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.extras import need
from onpolicybaselines.common.files import check_writable
from onpolicybaselines.common.log_files import log_folder
from onpolicybaselines.common.mpi_world import rank, size
from onpolicybaselines.session.evaluation import BEST, EVALUATION
from onpolicybaselines.session.play import check_shown
from onpolicybaselines.session.record import CONFIG, as_json, begin_config, read_config, resume_config, words_of

MODEL = 'model.npz'
LOCK = '.lock'
# what a run writes into its folder
OF_A_RUN = (CONFIG, MODEL, 'progress*.csv', 'progress*.csv.gz', 'progress*.json', 'log*.txt', '*.monitor.csv',
            '*.monitor.csv.gz', 'tb*', FOLDER, 'checkpoint[0-9]*.npz', 'videos', 'play', 'wandb', EVALUATION, BEST)
# what may be another when a run goes on
FREE = ('num_timesteps', 'save_path', 'load_path', 'log_path', 'resume', 'overwrite', 'checkpoint_interval', 'play',
        'play_episodes', 'deterministic', 'config', 'progress', 'track', 'eval_interval', 'eval_episodes', 'save_best')


def words_of_run(words: Sequence[str]) -> list[str]:
    """The words of the command line, after those of the run that --resume goes on with, if it is asked for. All ranks
    must ask. Raises UsageError where there is no such run."""
    words = list(words)
    if '--resume' not in words:
        return words
    return from_first(_with_earlier_words, words)


def _with_earlier_words(words):
    args, _ = common_arg_parser().parse_known_args(words)
    folder = _chosen_folder(args)
    if folder is None:
        raise UsageError('--resume needs to know the folder of the run: --log_path=FOLDER')
    if not osp.exists(osp.join(folder, CONFIG)):
        others = [word for word in words if word not in ('--resume', args.log_path)
                  and word.partition('=')[0] != '--log_path']
        if others and not _entries(folder):  # the command of a run that has not begun
            return [word for word in words if word != '--resume']
        raise UsageError(f'no run to resume in {folder}')
    return [*words_of(read_config(folder)), *words, f'--log_path={folder}']


def _chosen_folder(args):
    folder = args.log_path or os.getenv('OPENAI_LOGDIR')
    return folder and osp.expanduser(folder)


def _entries(folder):
    """What is in a folder, but for hidden files, such as the lock."""
    return [name for name in os.listdir(folder) if not name.startswith('.')] if osp.isdir(folder) else []


@contextlib.contextmanager
def run_folder(args: argparse.Namespace, options: Mapping[str, Any], words: Sequence[str]) -> Iterator[None]:
    """While a run has its folder, args.log_path from now on: it is nobody else's, holds nothing of an earlier run but
    what --resume goes on with, and gets the checkpoints. All ranks must call it.

    args, options: of the command line, whose words these are; args.seed is drawn if it is None, args.resume becomes
    whether there is a checkpoint to go on from. Raises UsageError, one line, if the folder is in use, or not empty, or
    if what may not change is not as before.
    """
    with contextlib.ExitStack() as stack:
        taken = from_first(_take_folder, args, options, words, stack)
        args.log_path, args.seed, args.resume = taken
        with checkpointing(osp.join(args.log_path, FOLDER), args.checkpoint_interval, args.resume):
            yield


def _take_folder(args, options, words, stack):
    """On the first rank: (folder, seed, whether to go on from a checkpoint)."""
    if args.save_path is not None:
        check_writable(args.save_path)
    if args.track:
        need('wandb')
    check_shown(args)
    if args.resume and args.overwrite:
        raise UsageError('give only one of --resume and --overwrite')
    folder = args.log_path = _chosen_folder(args) or _new_folder()
    if args.seed is None:
        args.seed = int(np.random.SeedSequence().generate_state(1)[0] >> 1)
    stack.enter_context(locked(folder))
    if args.resume:
        check_unchanged(read_config(folder), args, options, folder)
        if has_checkpoint(osp.join(folder, FOLDER), size()):
            resume_config(folder, args)
            return folder, args.seed, True
        print(f'No checkpoint in {folder} to go on from: the run begins anew', flush=True)
    elif _entries(folder) and not args.overwrite:
        raise UsageError(f'{folder} is not empty: --resume goes on with the run in it, --overwrite removes its files; '
                         'or choose another --log_path')
    remove_run(folder, args.load_path)
    begin_config(folder, args, options, words)
    return folder, args.seed, False


def _new_folder():
    """As `logger.configure` names it."""
    return osp.join(tempfile.gettempdir(), datetime.datetime.now().strftime('openai-%Y-%m-%d-%H-%M-%S-%f'))


@contextlib.contextmanager
def locked(folder: str) -> Iterator[None]:
    """Make a folder, and have it alone. The lock is the operating system's, which frees it if its owner dies. Raises
    UsageError if another process has it."""
    path = osp.join(folder, LOCK)
    with log_folder(folder):
        file = _lock(folder, path)
        file.truncate(0)
        file.write(f'process {os.getpid()} on {os.uname().nodename}\n')
        file.flush()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # moved, with its folder
            os.remove(path)
        file.close()


def _lock(folder, path):
    while True:
        file = open(path, 'a+', encoding='utf-8')
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with file:
                raise UsageError(f'{folder} is in use by another run{_owner(file)}') from None
        except OSError:  # a file system without locks
            return file
        with contextlib.suppress(FileNotFoundError):
            if osp.samestat(os.stat(path), os.fstat(file.fileno())):
                return file
        file.close()  # its owner has just removed it


def _owner(file: TextIO):
    file.seek(0)
    owner = file.read(100).strip()
    return owner and f', {owner}'


def remove_run(folder: str, load_path: str | None = None) -> None:
    """Remove what an earlier run has written. Raises UsageError where the model that is to be loaded is of that."""
    names = [name for pattern in OF_A_RUN for name in glob.glob(osp.join(glob.escape(folder), pattern))]
    if load_path is not None:
        loaded = osp.realpath(osp.expanduser(load_path))
        if any(osp.commonpath([loaded, osp.realpath(name)]) == osp.realpath(name) for name in names):
            raise UsageError(f'{load_path!r} would be removed from {folder} before it is loaded: move it, or choose '
                             'another --log_path')
    with log_folder(folder):
        for name in names:
            if osp.isdir(name) and not osp.islink(name):
                shutil.rmtree(name)
            else:
                os.remove(name)


def check_unchanged(config: Mapping[str, Any], args: argparse.Namespace, options: Mapping[str, Any],
                    folder: str) -> None:
    """Raise UsageError, naming the first fault, unless a run that goes on is what `config` says it was."""
    if config['ranks'] != size():
        raise UsageError(f'the run in {folder} is of {config["ranks"]} MPI ranks, and goes on with as many, '
                         f'not {size()}')
    then = {**config.get('alg_kwargs', {}), **config['options'], **config['args']}
    for name, value in as_json({**options, **vars(args)}).items():
        if name not in FREE and (name not in then or then[name] != value):
            raise UsageError(f'--{name}={value}: the run in {folder} has {name}={then.get(name)}, which stays when it '
                             'goes on')
    if args.num_timesteps < then['num_timesteps']:
        raise UsageError(f'--num_timesteps={args.num_timesteps}: the run in {folder} has {then["num_timesteps"]}, '
                         'which may only be raised')


def save_model(model: Any, save_path: str | None) -> None:
    """Write the model where it is asked for, or into the folder of the run; the log says where. Raises UsageError, one
    line, if it cannot be."""
    save_path = osp.join(logger.get_dir(), MODEL) if save_path is None else osp.expanduser(save_path)
    if rank() == 0:
        try:
            model.save(save_path)
        except OSError as e:
            raise UsageError(f'cannot save the model to {save_path} ({e.strerror}): {_rescue(model)}') from None
        logger.log(f'Saved the model to {save_path}')


def _rescue(model):
    """Where else it is."""
    with contextlib.suppress(OSError):
        path = osp.join(tempfile.mkdtemp(prefix='openai-'), MODEL)
        model.save(path)
        return f'it is in {path}'
    if has_checkpoint(osp.join(logger.get_dir(), FOLDER), size()):
        return f'make room, and --resume with --log_path={logger.get_dir()} goes on from the last checkpoint'
    return 'it is lost, and there is no checkpoint'
