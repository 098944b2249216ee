"""Stop signals: who hears them, and when they are obeyed."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading

from d2l_alexnet.errors import Interrupted


class StopRequest:
    """Note Ctrl-C and SIGTERM until the program gets to a point where it can obey.

    A second one ends the process at once, or where a notebook's kernel must live on, interrupts
    it. Signals reach the main thread alone; elsewhere nothing is changed.

    Attributes
    ----------
    signum : int or None
        The signal that asked for a stop.
    """

    signum = None

    def __enter__(self):
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._before[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(self, *_):
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _note(self, signum, frame):
        for each, before in self._before.items():
            signal.signal(each, before if "ipykernel" in sys.modules else signal.SIG_DFL)
        self.signum = signum

    def obey(self, message):
        """Raise `Interrupted` if a stop was asked for."""
        if self.signum:
            raise Interrupted(self.signum, message)


@contextlib.contextmanager
def blocked_signals():
    """Let Ctrl-C and SIGTERM wait; processes that are started in the block never hear them.

    A terminal, `timeout` and a machine that shuts down send them to all processes of a run.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
