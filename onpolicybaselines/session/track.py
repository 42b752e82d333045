"""What a run tells others of itself while it trains: hyper-parameters to TensorBoard, all to Weights & Biases."""
import argparse
import contextlib
import hashlib
import os
import os.path as osp
from collections.abc import Iterator, Mapping
from typing import Any

from onpolicybaselines import logger
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.log_files import STEPS, logged, plain
from onpolicybaselines.common.mpi_world import rank
from onpolicybaselines.session.record import read_config


@contextlib.contextmanager
def tracking(args: argparse.Namespace) -> Iterator[None]:
    """While a run is in its folder, where `config.json` is: its parameters are written for TensorBoard, if that is
    among the log's formats, and with args.track a Weights & Biases run gets them and the log. Rank 0 does all."""
    outputs = logger.get_current().output_formats
    boards = [output for output in outputs if isinstance(output, logger.TensorBoardOutputFormat)]
    with contextlib.ExitStack() as stack:
        if rank() == 0 and (boards or args.track):
            config = read_config(logger.get_dir())
            for board in boards:
                write_hparams(board, hyperparameters(config))
            if args.track:
                outputs.append(stack.enter_context(WandbOutput(logger.get_dir(), config)))
                stack.callback(outputs.pop)
        yield


def hyperparameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """Of a record: the arguments that decide on the numbers, and the keywords of the algorithm."""
    args = {name: config['args'][name] for name in ('alg', 'env', 'seed', 'num_timesteps', 'num_env', 'reward_scale')}
    return {**args, 'ranks': config['ranks'], **config.get('alg_kwargs', {})}


def write_hparams(board: logger.TensorBoardOutputFormat, values: Mapping[str, Any]) -> None:
    """As TensorBoard's table of hyper-parameters (what is no number, switch or text in words), and as a text."""
    from tensorboard.plugins.hparams import api
    table = '\n'.join(['| parameter | value |', '| --- | --- |', *(f'| {n} | {v} |' for n, v in values.items())])
    simple = {name: v if isinstance(v, (bool, int, float, str)) else str(v) for name, v in values.items()}
    with board.writer.as_default(step=0):
        api.hparams(simple, trial_id=osp.basename(osp.dirname(board.dir)))
        board.tf.summary.text('parameters', table)


class WandbOutput(logger.KVWriter):
    """A run of Weights & Biases that gets what the log gets, by time steps; WANDB_PROJECT, WANDB_MODE=offline and the
    like count. A run that goes on in the folder goes on there, too. Raises UsageError where none can be begun."""

    def __init__(self, folder: str, config: Mapping[str, Any]) -> None:
        import wandb
        folder = osp.realpath(folder)
        name = hashlib.sha256(f'{folder} {config.get("started")}'.encode()).hexdigest()[:12]
        try:
            self.run = wandb.init(project=os.environ.get('WANDB_PROJECT', 'onpolicybaselines'), dir=folder, id=name,
                                  name=os.environ.get('WANDB_NAME', osp.basename(folder)), resume='allow',
                                  config={**hyperparameters(config), 'versions': config['versions']})
        except (wandb.Error, OSError) as e:
            raise UsageError(f'--track: {e}; WANDB_MODE=offline keeps the record in {folder}') from None

    def writekvs(self, kvs: Mapping[str, Any]) -> None:
        """Tell the numbers of a row of the log."""
        numbers = {name: value for name, v in kvs.items() if isinstance(value := plain(v), (int, float))}
        steps = logged(kvs, STEPS)
        self.run.log(numbers, step=None if steps != steps else int(steps))

    def __enter__(self):
        return self

    def __exit__(self, exc_type: type | None, *_: Any):
        self.run.finish(exit_code=0 if exc_type is None else 1)
