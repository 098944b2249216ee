"""The run folder: only one run writes there at a time, and every file in it is complete."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Iterator

from d2l_alexnet.errors import InputError, RunError
from d2l_alexnet.recipes import Recipe

EVENTS = "tensorboard"  # folder
PARTIAL = ".partial"  # files that are being written


def new_folder(recipe: Recipe, out: str | Path | None = None) -> Path:
    """Choose the folder of a new run. A folder that cannot be used is refused before any work.

    Parameters
    ----------
    recipe : Recipe
    out : path, optional
        ``runs/<recipe>-<time>`` if not given.

    Returns
    -------
    pathlib.Path
        It has not been created yet.

    Raises
    ------
    InputError
        When the folder is not empty, or cannot be written.
    """
    out = Path(out or f"runs/{recipe.name}-{time.strftime('%Y%m%d-%H%M%S')}")
    try:
        out.exists()
    except OSError as error:
        raise InputError(f"--out {out}: {error.strerror}; choose another folder") from error
    if out.is_dir() and any(path.suffix != PARTIAL for path in out.iterdir()):
        raise InputError(f"--out {out}: not empty; choose a new folder")
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: there is a file of that name; choose a new folder")
    nearest = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"--out {out}: cannot write in {nearest}; choose another folder")
    return out


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create a run folder if needed, and lock it. A killed process leaves no lock behind.

    Raises
    ------
    InputError
        When the folder cannot be created, or another process has locked it.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"--out {folder}: cannot write there ({error.strerror})") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"{folder}: another run is writing there") from error
        for left_by_a_killed_run in Path(folder).glob(f"*{PARTIAL}"):
            left_by_a_killed_run.unlink()
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Write a file atomically: write a temporary file, then rename it.

    Yields
    ------
    pathlib.Path
        The temporary file. After the block it is synced to the disk and renamed to `path`.

    Raises
    ------
    RunError
        When the file cannot be written. The temporary file is removed, and `path` is not changed.
    """
    partial = path.with_suffix(PARTIAL)
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise RunError(f"{path}: cannot write it ({error.strerror or error})") from error
