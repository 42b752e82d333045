"""The errors of a user's input and environment, as opposed to faults of the program, and the end that a user asks for
by a signal."""
import signal


class UsageError(ValueError):
    """Bad input; the message is one line that names the fault and, where it can, the fix."""

    def __init__(self, message: str):
        super().__init__(' '.join(line.strip() for line in str(message).splitlines()))


class EnvironmentFault(RuntimeError):
    """What an environment does against the rules of gymnasium, in one line."""


class Interrupted(SystemExit):
    """The end that a signal asks for: of status 128 + its number, as shells have it.

    together: all MPI ranks end so, at the same point; else the others do not know of it.
    """

    code: int

    def __init__(self, signum: int, together: bool = False):
        super().__init__(128 + signum)
        self.signum, self.together = signal.Signals(signum), together
