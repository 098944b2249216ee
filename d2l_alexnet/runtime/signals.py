"""Ctrl-C and SIGTERM: stop at a safe point, and block the signals in worker processes."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from types import FrameType
from typing import Any, Iterator

from d2l_alexnet.errors import Interrupted


class StopRequest:
    """Record Ctrl-C and SIGTERM until the program reaches a point where it can stop.

    A second signal ends the process at once. In a notebook a second signal interrupts the cell, and
    the kernel lives on. Python handles signals in the main thread only, so in another thread
    nothing is changed.

    Attributes
    ----------
    signum : int or None
        The signal that asked for the stop.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._handlers_before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._handlers_before[signum] = signal.signal(signum, self._record)
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._handlers_before.items():
            signal.signal(signum, handler)

    def _record(self, signum: int, frame: FrameType | None) -> None:
        for each, before in self._handlers_before.items():
            signal.signal(each, before if "ipykernel" in sys.modules else signal.SIG_DFL)
        self.signum = signum

    def raise_if_requested(self, message: str) -> None:
        """Raise `Interrupted` with this message if a signal has come."""
        if self.signum:
            raise Interrupted(self.signum, message)


@contextlib.contextmanager
def blocked_signals() -> Iterator[None]:
    """Block Ctrl-C and SIGTERM in this block; processes started in it never receive them.

    A terminal, `timeout` and a machine that shuts down send them to all processes of a run.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
