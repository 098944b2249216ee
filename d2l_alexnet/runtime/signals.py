"""Ctrl-C, SIGTERM and SIGHUP: stop at a safe point, and block the signals in worker processes."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from types import FrameType
from typing import Any, Iterator

from d2l_alexnet.errors import Interrupted

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """Record Ctrl-C, SIGTERM and SIGHUP until the program reaches a point where it can stop.

    A second Ctrl-C or SIGTERM ends the process at once. In a notebook it interrupts the cell, and
    the kernel keeps running. A second SIGHUP is ignored, because a terminal that is closed sends
    several. If the process already ignores SIGHUP, as under `nohup`, it goes on ignoring it. Python
    handles signals in the main thread only. In any other thread this class does nothing.

    Attributes
    ----------
    signum : int or None
        The signal that was received; None if there was none.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._handlers_before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for signum in STOP_SIGNALS:
                if signum != signal.SIGHUP or signal.getsignal(signum) != signal.SIG_IGN:
                    self._handlers_before[signum] = signal.signal(signum, self._record)
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._handlers_before.items():
            signal.signal(signum, handler)

    def _record(self, signum: int, frame: FrameType | None) -> None:
        for each, before in self._handlers_before.items():
            signal.signal(each, before if "ipykernel" in sys.modules else signal.SIG_DFL)
        if signal.SIGHUP in self._handlers_before:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.signum = signum

    def raise_if_requested(self, message: str) -> None:
        """Raise `Interrupted` with this message if a signal was received."""
        if self.signum:
            raise Interrupted(self.signum, message)


@contextlib.contextmanager
def blocked_signals() -> Iterator[None]:
    """Block Ctrl-C, SIGTERM and SIGHUP in a ``with`` block and in processes started in it.

    A terminal, `timeout` and a shutdown send these signals to every process of a run.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
