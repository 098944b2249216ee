"""Find out whether a process is still running, and let child processes end with their parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import sys
import threading
from pathlib import Path
from typing import Iterator

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # another one after each start of the machine
PR_SET_PDEATHSIG = 1  # from Linux's prctl.h

_parent = 0  # the process whose new children end with it; 0: none


def describe() -> dict[str, str]:
    """Describe this process: its host, its number, when both were started.

    Returns
    -------
    dict of str to str
        ``host``, ``pid``, ``started`` and ``boot``. The last two are empty where Linux's ``/proc``
        is missing.
    """
    boot = BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""
    return dict(host=platform.node(), pid=str(os.getpid()), started=started(os.getpid()), boot=boot)


def started(pid: int | str) -> str:
    """Return when a process was started, in clock ticks since the boot; empty if it has ended."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else fields[18]  # Z: its parent has not asked for its exit status


def is_here(process: dict[str, str]) -> bool:
    """Say whether a process ran on this machine, now or before its last start."""
    here = describe()
    return process["host"] == here["host"] or bool(here["boot"]) and process["boot"] == here["boot"]


def is_running(process: dict[str, str]) -> bool:
    """Say whether a process of this machine is running; False where ``/proc`` is missing."""
    same_boot = process["boot"] == describe()["boot"]
    return same_boot and bool(process["started"]) and started(process["pid"]) == process["started"]


@contextlib.contextmanager
def children_end_with_this_process() -> Iterator[None]:
    """Let Linux kill the processes that are forked in a ``with`` block when this process ends.

    A worker that waits for a lock does not notice the end of its parent, for instance by SIGKILL.
    Linux kills the children of a thread when that thread ends, so only the main thread asks for it.
    """
    global _parent
    if sys.platform == "linux" and threading.current_thread() is threading.main_thread():
        _parent = os.getpid()
    try:
        yield
    finally:
        _parent = 0


def _end_with_parent() -> None:
    if _parent:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != _parent:  # the parent ended before the call
            os._exit(1)


os.register_at_fork(after_in_child=_end_with_parent)
