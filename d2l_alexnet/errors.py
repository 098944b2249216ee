"""The three ways in which a command ends without having done what it was asked to do.

Each carries one line for the user. Any other exception is a bug and keeps its traceback.
"""

from __future__ import annotations


class InputError(ValueError):
    """Bad input, in one line: what is wrong, where, and what to do. Commands exit with status 2."""


class RunError(RuntimeError):
    """A run that cannot go on, in one line: what happened, and what to do. Exit status 1."""


class Interrupted(KeyboardInterrupt):
    """A run that was asked to stop, by Ctrl-C or SIGTERM, and has saved itself.

    Parameters
    ----------
    signum : int
        The signal; the exit status is 128 more.
    message : str
        One line: how to resume the run.
    """

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.signum = signum
