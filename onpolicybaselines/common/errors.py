"""The error of a user's input, as opposed to a fault of the program."""


class UsageError(ValueError):
    """Bad input; the message is one line that names the fault and, where it can, the fix."""
