"""Counts what MPI ranks tell each other."""
from collections import defaultdict
from typing import Any

import numpy as np


def _nbytes(buffer):
    """Of an array, of (array, counts), of none."""
    buffer = buffer[0] if isinstance(buffer, tuple) else buffer
    return buffer.nbytes if isinstance(buffer, np.ndarray) else 0


class Messages:
    """Collective calls of this rank and the bytes that it hands in and gets, by call.

    They are those of the arguments; what travels between two ranks is MPI's affair: a sum over all of them comes and
    goes about log2(ranks) times.
    """

    def __init__(self):
        self.calls, self.sent, self.received = (defaultdict(int) for _ in range(3))

    def clear(self) -> None:
        """Begin again."""
        for counts in (self.calls, self.sent, self.received):
            counts.clear()

    def note(self, call: str, sent: int, received: int) -> None:
        """Take in one call."""
        self.calls[call] += 1
        self.sent[call] += sent
        self.received[call] += received

    def install(self) -> None:
        """From now on count the calls of COMM_WORLD, and of what it is split into."""
        from mpi4py import MPI

        messages = self

        class Counted(MPI.Intracomm):
            def Allreduce(self, send, receive):
                messages.note('Allreduce', _nbytes(receive), _nbytes(receive))
                super().Allreduce(send, receive)

            def Bcast(self, x, root):
                mine = self.Get_rank() == root
                messages.note('Bcast', mine * _nbytes(x), (not mine) * _nbytes(x))
                super().Bcast(x, root)

            def Gather(self, send, receive, root):
                messages.note('Gather', _nbytes(send), _nbytes(receive))
                super().Gather(send, receive, root)

            def Allgather(self, send, receive):
                messages.note('Allgather', _nbytes(send), _nbytes(receive))
                super().Allgather(send, receive)

            def Allgatherv(self, send, receive):
                messages.note('Allgatherv', _nbytes(send), _nbytes(receive))
                super().Allgatherv(send, receive)

            def allgather(self, x):
                everyone = super().allgather(x)
                size = len(MPI.pickle.dumps(x))
                messages.note('allgather', size, size * len(everyone))
                return everyone

            def Split(self, *args):
                return Counted(super().Split(*args))

        MPI.COMM_WORLD = Counted(MPI.COMM_WORLD)

    def table(self, updates: int) -> dict[str, Any]:
        """{call: [calls, bytes handed in, bytes got]} per update."""
        return {call: [count / updates for count in (self.calls[call], self.sent[call], self.received[call])]
                for call in sorted(self.calls)}
