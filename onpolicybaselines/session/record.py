"""config.json of the run folder: what it takes to repeat a run."""
import argparse
import datetime
import importlib.metadata
import json
import os.path as osp
import sys
from collections.abc import Callable, Mapping
from typing import Any

from onpolicybaselines import logger
from onpolicybaselines.common.files import git_revision, replacing
from onpolicybaselines.common.mpi_world import rank, size
from onpolicybaselines.session import options

PACKAGES = ('onpolicybaselines', 'tensorflow', 'tensorflow-probability', 'gymnasium', 'mujoco', 'numpy', 'mpi4py')


def write_config(args: argparse.Namespace, env_type: str, learn: Callable, alg_kwargs: Mapping[str, Any]) -> None:
    """Rank 0 writes every parameter (null: for `learn` to decide, which it logs), the command, versions."""
    if rank() > 0:
        return
    resolved = {name: p.default for name, p in options.known(learn, alg_kwargs).items() if p.default is not p.empty}
    config = {
        'command': ['python', '-m', 'onpolicybaselines.run', *sys.argv[1:]],
        'args': vars(args),
        'env_type': env_type,
        'alg_kwargs': {**resolved, **alg_kwargs},
        'ranks': size(),
        'versions': {'python': sys.version.split()[0], **{p: _version(p) for p in PACKAGES}},
        'git': git_revision(osp.dirname(__file__)),
        'started': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
    }
    with replacing(osp.join(logger.get_dir(), 'config.json'), encoding='utf-8') as fh:
        json.dump(config, fh, indent=2, default=str)
        fh.write('\n')


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
