"""A watchdog timer that ends a process of a distributed run when the others do not answer."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import sys
import threading
import time
from typing import Any

from mxnet.base import _LIB, check_call

SCHEDULER = 1  # the scheduler's node number in ps-lite
MIN_SECONDS_WITHOUT_HEARTBEAT = 10


class Watchdog(threading.Thread):
    """A thread that ends this process, with one line, if the others do not answer for too long.

    ps-lite itself waits forever for a process that has died or cannot be reached.

    Parameters
    ----------
    patience : float
        Seconds without `reset` after which the process ends.
    """

    def __init__(self, patience: float) -> None:
        super().__init__(daemon=True)
        self.patience = patience
        self._kvstore: Any = None
        self._reason: str | None = None
        self._since = time.monotonic()
        self._stopped = threading.Event()

    def reset(self, reason: str | None) -> None:
        """Restart the timer.

        Parameters
        ----------
        reason : str or None
            What to report if the timer runs out, in a clause. None switches the timer off.
        """
        self._reason, self._since = reason, time.monotonic()

    def watch_scheduler(self, kvstore: Any, patience: float) -> None:
        """Change the patience, and check the scheduler's heartbeat too."""
        self.patience, self._kvstore = patience, kvstore

    def stop(self) -> None:
        """Stop watching."""
        self._stopped.set()
        self.join()

    def run(self) -> None:
        """Check the timer and the scheduler once per second."""
        while not self._stopped.wait(1):
            reason = self._timed_out()
            if reason:
                self._end_process(reason)

    def _timed_out(self) -> str:
        reason, waited = self._reason, time.monotonic() - self._since
        if reason and waited > self.patience:
            return reason
        if self._kvstore and self._scheduler_is_silent():
            return "no heartbeat from the scheduler"
        return ""

    def _scheduler_is_silent(self) -> bool:
        dead = ctypes.c_int()
        seconds = ctypes.c_int(int(max(self.patience, MIN_SECONDS_WITHOUT_HEARTBEAT)))
        check_call(
            _LIB.MXKVStoreGetNumDeadNode(
                self._kvstore.handle, ctypes.c_int(SCHEDULER), ctypes.byref(dead), seconds
            )
        )
        return dead.value > 0

    def _end_process(self, reason: str) -> None:
        message = f"timed out after {self.patience:g} s (--patience): {reason}"
        advice = "check the hosts and the network"
        print(f"d2l_alexnet: {message}; {advice}", file=sys.stderr, flush=True)
        for child in multiprocessing.active_children():
            child.kill()
        os._exit(1)
