"""The run folder: only one run writes there at a time, and every file in it is complete."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import time
from pathlib import Path
from typing import Iterator

from d2l_alexnet.errors import InputError, RunError
from d2l_alexnet.recipes import Recipe
from d2l_alexnet.run_folder import lock

EVENTS = "tensorboard"  # folder
PARTIAL = ".partial"  # files that are being written
PARTIAL_NAME = re.compile(
    r"(args|history|losses|curves|gap|net|confusion|mistakes|checkpoint-\d{9})\.partial"
)


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
        _check_free(out)
    except OSError as error:
        raise InputError(f"--out {out}: {error.strerror}; choose another folder") from error
    return out


def _check_free(out: Path) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        out.stat()  # from Python 3.14 on, `exists` raises no error
    if out.is_dir() and not all(map(_is_left_over, out.iterdir())):
        raise InputError(f"--out {out}: not empty; choose a new folder")
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: there is a file of that name; choose a new folder")
    nearest = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"--out {out}: cannot write in {nearest}; choose another folder")


@contextlib.contextmanager
def created(recipe: Recipe, out: str | Path | None = None) -> Iterator[Path]:
    """Create the folder of a new run, and lock it.

    Yields
    ------
    pathlib.Path
        ``out``, or ``runs/<recipe>-<time>`` with a number if another run has that name.

    Raises
    ------
    InputError
        When the folder cannot be created, or another run has begun there.
    """
    folder = Path(out) if out else _new_name(new_folder(recipe))
    with locked(folder):
        new_folder(recipe, folder)  # another run may have written there since the first check
        yield folder


def _new_name(folder: Path) -> Path:
    """Create a folder, with a number after its name if another run has that name."""
    new = folder
    for number in itertools.count(2):
        try:
            new.mkdir(parents=True)
        except FileExistsError:
            new = folder.with_name(f"{folder.name}_{number}")
        except OSError as error:
            raise InputError(f"--out {new}: cannot write there ({error.strerror})") from error
        else:
            break
    return new


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[Path]:
    """Create a run folder if needed, and lock it.

    Temporary files of a killed process are removed.

    Raises
    ------
    InputError
        When the folder cannot be written, or another process has locked it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {folder}: cannot write there ({error.strerror})") from error
    with lock.locked(folder):
        _remove_partial(folder)
        yield folder


def _remove_partial(folder: Path) -> None:
    try:
        for path in filter(_is_partial, folder.iterdir()):
            path.unlink()
    except OSError as error:
        raise InputError(f"{folder}: cannot write there ({error.strerror})") from error


def _is_partial(path: Path) -> bool:
    """Say whether this is a file that a run has not written to its end, by its name."""
    return bool(PARTIAL_NAME.fullmatch(path.name)) and path.is_file()


def _is_left_over(path: Path) -> bool:
    """Say whether a run that was killed before its first result has left this file."""
    return path.name == lock.NAME or _is_partial(path)


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
        When the file cannot be written. After this and any other error, also Ctrl-C, the temporary
        file is removed, and `path` is not changed.
    """
    partial = path.with_suffix(PARTIAL)
    try:
        yield partial
        _sync(partial)
        partial.replace(path)
        _sync(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError):
            raise RunError(f"{path}: cannot write it ({error.strerror or error})") from error
        raise


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
