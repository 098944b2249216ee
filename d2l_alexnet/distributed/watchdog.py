"""End a process that has waited too long for the others of a distributed run."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import sys
import threading
import time

from mxnet.base import _LIB, check_call


SCHEDULER = 1  # ps-lite's number for it
SECONDS_OF_SILENCE = 10  # between heartbeats, at least


class Watchdog(threading.Thread):
    """End this process, in one line, when it has waited too long for the others.

    ps-lite itself waits for ever for a process that has died or cannot be reached.

    Parameters
    ----------
    patience : float
        Seconds.
    """

    def __init__(self, patience):
        super().__init__(daemon=True)
        self.patience, self._kvstore = patience, None
        self._expected, self._since = None, time.monotonic()
        self._stopped = threading.Event()

    def expect(self, trouble):
        """Note a sign of life, and what it means if there is not another one in time.

        None is for what may take as long as it likes.
        """
        self._expected, self._since = trouble, time.monotonic()

    def listen(self, kvstore, patience):
        """From now on have another patience, and listen for the scheduler's heartbeat too."""
        self.patience, self._kvstore = patience, kvstore

    def stop(self):
        """Stop watching."""
        self._stopped.set()
        self.join()

    def run(self):
        """Watch."""
        while not self._stopped.wait(1):
            trouble = self._trouble()
            if trouble:
                self._give_up(trouble)

    def _trouble(self):
        expected, waited = self._expected, time.monotonic() - self._since
        if expected and waited > self.patience:
            return expected
        if self._kvstore and self._scheduler_is_silent():
            return "the scheduler cannot be heard"
        return ""

    def _scheduler_is_silent(self):
        dead = ctypes.c_int()
        patience = ctypes.c_int(int(max(self.patience, SECONDS_OF_SILENCE)))
        check_call(
            _LIB.MXKVStoreGetNumDeadNode(
                self._kvstore.handle, ctypes.c_int(SCHEDULER), ctypes.byref(dead), patience
            )
        )
        return dead.value > 0

    def _give_up(self, trouble):
        message = (
            f"gave up: {trouble} for {self.patience:g} s (--patience); is a host or link down?"
        )
        print(f"d2l_alexnet: {message}", file=sys.stderr, flush=True)
        for child in multiprocessing.active_children():
            child.kill()
        os._exit(1)
