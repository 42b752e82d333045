"""MPI ranks that do not wait for ever: one that fails ends all, and one that waits for long says for whom.

A thread of each rank looks every second whether the rank is in a collective call, and writes it into memory that the
ranks of a machine share. Those that wait read there who is in none, or writes no more. The calls only count.
"""
from __future__ import annotations

import atexit
import functools
import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

if TYPE_CHECKING:
    from mpi4py import MPI

COLLECTIVE = ('Allgather', 'Allgatherv', 'Allreduce', 'Alltoall', 'Alltoallv', 'Barrier', 'Bcast', 'Gather', 'Gatherv',
              'Reduce', 'Scatter', 'Scatterv', 'allgather', 'allreduce', 'alltoall', 'barrier', 'bcast', 'gather',
              'reduce', 'scatter')
PATIENCE = 60.  # seconds until a rank says that it waits; it does again after twice and four times as many, and so on
TICK = 1.  # seconds between two looks
SILENT = 5  # ticks without a sign of life: stopped, or busy with what lets no other thread run

_timeout: float | None = None
_worlds: dict[int, MPI.Intracomm] = {}  # by identity: who counts messages puts another in the place of COMM_WORLD


def set_rank_timeout(seconds: float | None) -> None:
    """From now on a rank that has waited `seconds` for others ends all ranks, with status 1; None: never.

    It says that it waits after half of them, or after PATIENCE if that is sooner.
    """
    global _timeout
    _timeout = seconds


def watched(world: MPI.Intracomm) -> MPI.Intracomm:
    """`world` with its collective calls watched, and those of what it is split into; a world of one as it is.

    From now on an exception that nothing catches ends all ranks, and so does `os._exit(0)`. Within the first collective
    call of what this returns there are others, so all ranks must make it on that.
    """
    if id(world) not in _worlds:
        _worlds[id(world)] = _Watch(world).comm if world.Get_size() > 1 else world
    return _worlds[id(world)]


def end_all(comm: MPI.Intracomm, status: int, message: str) -> NoReturn:
    """End ALL ranks with `status` after `message` is written to stderr."""
    _say(message)
    # mpirun may drop output that it has not forwarded before an Abort: without a pause some was lost
    # in 17 of 200 runs (mpich 5)
    time.sleep(0.5)
    comm.Abort(status)
    time.sleep(5)  # it returns before mpirun has ended this process
    os._exit(status)


def _say(message):
    """Without Python's buffers: their locks may be held by a thread that will not go on."""
    os.write(2, f'{message}\n'.encode(errors='replace'))


class _Watch:
    """What the thread of a rank knows and says. `comm` is the world, watched."""

    def __init__(self, world: MPI.Intracomm):
        self.world, self.rank, self.size = world, world.Get_rank(), world.Get_size()
        self.entered = self.left = self.calls = 0  # collective calls; calls: those of the world alone
        self.machine: _Machine | None = None
        self.comm = _watched_class(self, type(world))(world)
        self.comm.is_world = True
        self._due = None  # seconds of waiting until it is said (again)
        self._process, self._excepthook, sys.excepthook = os.getpid(), sys.excepthook, self._fail
        self._exit, os._exit = os._exit, self._leave  # of status 0 it would end all ranks as if all were well
        atexit.register(self._finish)
        threading.Thread(target=self._run, daemon=True).start()

    def enter(self, comm: MPI.Intracomm) -> None:
        """Before a collective call."""
        self.entered += 1
        if comm.is_world:
            if self.machine is None:
                self.machine = _Machine(self.world)
            self.calls += 1

    def leave(self) -> None:
        """After one."""
        self.left += 1

    def _fail(self, kind, error, trace):
        self._excepthook(kind, error, trace)
        if os.getpid() == self._process and not hasattr(sys, 'ps1'):  # neither a fork nor a prompt
            sys.stdout.flush()
            end_all(self.world, 1, f'rank {self.rank} failed: ending all {self.size} ranks')

    def _leave(self, status):
        if os.getpid() == self._process and not status:
            end_all(self.world, 1, f'rank {self.rank} was ended by os._exit(0): ending all {self.size} ranks')
        self._exit(status)

    def _finish(self):
        if os.getpid() == self._process and self.machine is not None:
            self.machine.finish(self.calls)

    def _run(self):
        seen, waited, last = 0, 0., time.monotonic()
        while True:
            time.sleep(TICK)
            now = time.monotonic()
            lived, last = min(now - last, 2 * TICK), now  # a job that was suspended has not waited
            entered, waits = self.entered, self.entered > self.left
            before, waited = waited, waited + lived if waits and entered == seen else 0.
            seen = entered
            if self.machine is not None:
                self.machine.show(waits)
            if waited:
                self._judge(waited)
            elif self._due is not None:
                self._due = None
                _say(f'rank {self.rank} goes on after {before:.0f} s')

    def _judge(self, waited):
        if self.machine is not None and not self.machine.speaks(self.rank):
            return
        ended = self.machine.ended(self.calls) if self.machine else ''
        if ended and waited > 2 * TICK:
            end_all(self.world, 1, f'rank {self.rank} waits for {ended}: ending all {self.size} ranks')
        missing = self.machine.missing() if self.machine else ''
        text = f'rank {self.rank} has waited {waited:.0f} s for {missing or "a rank that it cannot see"}'
        # who sees the rank that is missing is the first to end all
        if _timeout is not None and waited >= _timeout + (0 if missing else 5 * TICK):
            end_all(self.world, 1, f'{text}: ending all {self.size} ranks after the time of --rank_timeout')
        patience = PATIENCE if _timeout is None else min(PATIENCE, _timeout / 2)
        if waited >= (self._due or patience):
            self._due = 2 * (self._due or patience)
            _say(text)


class _Machine:
    """The ranks of this machine, as they show themselves in memory that they share. To be made by all ranks."""

    RANK, PROCESS, SIGNS, WAITS, CALLS, ENDED = range(6)

    def __init__(self, world: MPI.Intracomm):
        from mpi4py import MPI

        node = world.Split_type(MPI.COMM_TYPE_SHARED)
        nbytes = 0 if node.Get_rank() else 6 * 8 * node.Get_size()
        memory, _ = MPI.Win.Allocate_shared(nbytes, 8, comm=node).Shared_query(0)
        self.rows = np.frombuffer(memoryview(memory), 'int64').reshape(-1, 6)
        self.mine = self.rows[node.Get_rank()]
        self.mine[:] = world.Get_rank(), os.getpid(), 0, 0, 0, 0
        node.Barrier()
        self._signs, self._silence = self.rows[:, self.SIGNS].copy(), np.zeros(len(self.rows))

    def show(self, waits: bool) -> None:
        """Say that this rank lives, and whether it waits; look who else does."""
        self.mine[self.SIGNS] += 1
        self.mine[self.WAITS] = waits
        signs = self.rows[:, self.SIGNS].copy()
        self._silence = np.where(signs == self._signs, self._silence + 1, 0)
        self._signs = signs

    def finish(self, calls: int) -> None:
        """This rank has ended after so many calls of the world."""
        self.mine[self.CALLS] = calls
        self.mine[self.ENDED] = 1

    def speaks(self, rank: int) -> bool:
        """Whether `rank`, which waits, is the first of those here that do."""
        return rank == self.rows[self._waits(), self.RANK].min(initial=rank)

    def ended(self, calls: int) -> str:
        """Who has ended without the last of so many calls, and will never make it."""
        rows = self.rows[(self.rows[:, self.ENDED] > 0) & (self.rows[:, self.CALLS] < calls)]
        return _enumerate(f'rank {row[self.RANK]}, which has ended' for row in rows)

    def missing(self) -> str:
        """Who does not wait, and has not ended."""
        here = f'on {platform.node()}'
        return _enumerate(f'rank {row[self.RANK]} (process {row[self.PROCESS]} {here}'
                          f'{", no sign of life" if silence >= SILENT else ""})'
                          for row, silence, waits in zip(self.rows, self._silence, self._waits(), strict=True)
                          if not waits and not row[self.ENDED])

    def _waits(self):
        return (self.rows[:, self.WAITS] > 0) & (self._silence < SILENT)


def _enumerate(ranks, most=8):
    ranks = list(ranks)
    more = [f'{len(ranks) - most} more'] if len(ranks) > most else []
    return ' and '.join(ranks[:most] + more)


def _watched_class(watch: _Watch, kind: type) -> type:
    """`kind`, a class of communicators, with collective calls that `watch` sees."""
    def noting(name: str) -> Callable:
        call = getattr(kind, name)

        @functools.wraps(call)
        def noted(comm: MPI.Intracomm, *args: Any, **kwargs: Any) -> Any:
            watch.enter(comm)
            try:
                return call(comm, *args, **kwargs)
            finally:
                watch.leave()
        return noted

    class Watched(kind):
        is_world = False

    for name in COLLECTIVE:
        setattr(Watched, name, noting(name))
    split = noting('Split')
    Watched.Split = lambda *args, **kwargs: Watched(split(*args, **kwargs))
    return Watched
