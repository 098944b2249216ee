"""The lock of a run folder: only one run writes there at a time.

There are two locks. The system ends the first one (flock) together with the process, but on a
network disk it holds on one machine only. The second one is a file that names the process and its
machine. All machines can read it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from pathlib import Path
from typing import Iterator

from d2l_alexnet.errors import InputError
from d2l_alexnet.runtime import process

NAME = "run.lock"
LONGEST = 2**12  # characters of this file that are read


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder. The lock of a process that was killed on this machine is taken over.

    Raises
    ------
    InputError
        When another process has locked it, or it cannot be written.
    """
    path = folder / NAME
    with contextlib.ExitStack() as stack:
        try:
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove_stale(path)
            with path.open("x") as file:
                file.write(json.dumps(process.describe()) + "\n")
            stack.callback(_remove_own, path)
        except (BlockingIOError, FileExistsError) as error:
            raise InputError(f"{folder}: another run is writing there") from error
        except OSError as error:
            raise InputError(f"{folder}: cannot write there ({error.strerror})") from error
        yield


def _remove_stale(path: Path) -> None:
    """Remove the lock file of a process that has ended; raise `InputError` for any other."""
    if not (path.exists() or path.is_symlink()):
        return
    owner = _read(path)
    if owner and process.is_running(owner):
        raise InputError(f"{path.parent}: another run, process {owner['pid']}, is writing there")
    if owner and not process.is_here(owner):
        raise InputError(
            f"{path.parent}: a run on {owner['host']}, process {owner['pid']}, is writing there; "
            f"if it was killed, remove {path}"
        )
    path.unlink()


def _remove_own(path: Path) -> None:
    """Remove the lock file of this process, if it is still there."""
    with contextlib.suppress(OSError, InputError):
        if _read(path) == process.describe():
            path.unlink()


def _read(path: Path) -> dict[str, str]:
    """Read whose lock file this is: a description of a process, empty if it was being written.

    Raises
    ------
    InputError
        When it is another file.
    """
    text = ""
    if path.is_file():  # a named pipe would be waited for
        with path.open(errors="replace") as file:
            text = file.read(LONGEST)
        if not text.strip("\0"):  # a loss of power can leave zeros
            return {}
    try:
        owner = json.loads(text)
        return {name: str(owner[name]) for name in process.describe()}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"{path}: not the lock of a run; move this file away") from error
