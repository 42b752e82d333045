"""What MPI ranks do together, mostly with files and logs (upstream: baselines/common/mpi_util.py).

`comm` is an mpi4py communicator. Where it is optional, None stands for `get_comm()`; where not, for this process alone.
"""
from __future__ import annotations

import os
import platform
import shutil
import subprocess
import warnings
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onpolicybaselines.common.mpi_world import get_comm

if TYPE_CHECKING:
    import tensorflow as tf
    from mpi4py import MPI


def sync_from_root(variables: Sequence[tf.Variable], comm: MPI.Intracomm | None = None) -> None:
    """Overwrite the variables of every rank (an optimizer's should be among them) with those of rank 0."""
    if comm is None: comm = get_comm()
    if comm is None: return
    values = comm.bcast([var.numpy() for var in variables])
    for (var, val) in zip(variables, values, strict=True):
        var.assign(val)

def gpu_count() -> int:
    """Number of NVIDIA GPUs on this machine; 0 if nvidia-smi is missing or fails."""
    if shutil.which('nvidia-smi') is None:
        return 0
    output = subprocess.run(['nvidia-smi', '--query-gpu=gpu_name', '--format=csv,noheader'],
                            stdout=subprocess.PIPE, check=False)
    return len(output.stdout.splitlines()) if output.returncode == 0 else 0

def setup_mpi_gpus() -> None:
    """Give each rank of a machine one GPU, in turn, through CUDA_VISIBLE_DEVICES unless that is set already.

    To be called by all ranks before TensorFlow touches the GPUs.
    """
    lrank, _ = get_local_rank_size(get_comm())
    gpus = gpu_count()
    ids = [lrank % gpus] if gpus else []
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", ",".join(map(str, ids)))

def get_local_rank_size(comm: MPI.Intracomm | None) -> tuple[int, int]:
    """Return this process's number among the ranks of its machine, and how many those are."""
    if comm is None: return 0, 1
    this_node = platform.node()
    nodes = comm.allgather(this_node)
    return nodes[:comm.Get_rank()].count(this_node), nodes.count(this_node)

def share_file(comm: MPI.Intracomm | None, path: str) -> None:
    """Copy a file of rank 0 to the same place on every other machine, once per machine."""
    if comm is None: return
    localrank, _ = get_local_rank_size(comm)
    if comm.Get_rank() == 0:
        with open(path, 'rb') as fh:
            data = fh.read()
        comm.bcast(data)
    else:
        data = comm.bcast(None)
        if localrank == 0:
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
            with open(path, 'wb') as fh:
                fh.write(data)
    comm.Barrier()

def dict_gather(comm: MPI.Intracomm | None, d: dict[str, Any], op: str = 'mean',
                assert_all_have_data: bool = True) -> dict[str, Any]:
    """Reduce dicts over the ranks, key by key, with op 'mean' or 'sum'; every rank gets the result.

    A key that some ranks lack raises RuntimeError, or is reduced over those that have it if
    assert_all_have_data is False. Raises ValueError for another op. comm None returns d.
    """
    if op not in ('mean', 'sum'):
        raise ValueError(f"op must be 'mean' or 'sum', got {op!r}")
    if comm is None: return d
    alldicts = comm.allgather(d)
    k2li = defaultdict(list)
    for d in alldicts:
        for (k,v) in d.items():
            k2li[k].append(v)
    result = {}
    for (k,li) in k2li.items():
        if assert_all_have_data and len(li)!=len(alldicts):
            raise RuntimeError(f'only {len(li)} out of {len(alldicts)} MPI ranks have sent {k!r}')
        if op=='mean':
            result[k] = np.mean(li, axis=0)
        elif op=='sum':
            result[k] = np.sum(li, axis=0)
    return result

def mpi_weighted_mean(comm: MPI.Intracomm | None,
                      local_name2valcount: dict[str, tuple[Any, float]]) -> dict[str, float]:
    """Weighted means over ranks of {name: (value, count)}, as {name: mean} on rank 0 and {} elsewhere.

    Values that are no numbers are left out with a warning. comm None: the local means.
    """
    all_name2valcount = [local_name2valcount] if comm is None else comm.gather(local_name2valcount)
    if all_name2valcount is None: # not rank 0
        return {}
    name2sum = defaultdict(float)
    name2count = defaultdict(float)
    for n2vc in all_name2valcount:
        for (name, (val, count)) in n2vc.items():
            try:
                val = float(val)
            except (TypeError, ValueError):
                warnings.warn(f'tried to compute mean on non-float {name}={val}', stacklevel=2)
            else:
                name2sum[name] += val * count
                name2count[name] += count
    return {name : name2sum[name] / name2count[name] for name in name2sum}
