"""Describe a process, so that other processes can find out whether it is still running."""

from __future__ import annotations

import os
import platform
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # another one after each start of the machine


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
