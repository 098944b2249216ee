"""The three errors that end a command.

The message of each is one line for the user. Any other exception is a bug and keeps its traceback.
"""

from __future__ import annotations


class _OneLine(BaseException):
    """An exception that a notebook shows without a traceback."""

    def _render_traceback_(self) -> list[str]:  # IPython's name for it
        return [f"{type(self).__name__}: {self}"]


class InputError(_OneLine, ValueError):
    """Bad input, in one line: what is wrong, where, and what to do. Commands exit with status 2."""


class RunError(_OneLine, RuntimeError):
    """A run that cannot continue, in one line: what happened, and what to do. Exit status 1."""


class Interrupted(_OneLine, KeyboardInterrupt):
    """A run that Ctrl-C or SIGTERM has stopped, and that has been saved.

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
