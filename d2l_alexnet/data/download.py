"""Find or download the files of a data set, and verify each file."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import subprocess
import tempfile
import urllib.request
from pathlib import Path
from typing import Callable, Protocol, Sequence, Tuple

import numpy as np
from tqdm import tqdm

from d2l_alexnet.errors import InputError

SCRATCH = ".getting-"  # begins the name of a scratch folder; the process id follows
GLUON_REPO = "https://apache-mxnet.s3-accelerate.dualstack.amazonaws.com/"


class DataFile(Protocol):
    """The description of one file of a data set."""

    @property
    def name(self) -> str:
        """The file's name."""

    def read(self, path: Path) -> np.ndarray:
        """Read and verify the file; raise ValueError or OSError if it has other content."""


# The name of a place that may have the files, and a function that gets a file from this place. The
# function takes the file's name and a scratch folder. It returns the path of a copy in this folder.
Source = Tuple[str, Callable[[str, Path], Path]]


def default_data_dir(dataset: str) -> Path:
    """Return MXNet's own folder of a data set, in ``~/.mxnet`` or `MXNET_HOME`.

    Raises
    ------
    InputError
        When neither a variable nor the system says which home folder this user has.
    """
    try:
        home = os.environ.get("MXNET_HOME") or Path.home() / ".mxnet"
    except RuntimeError as error:
        raise InputError("HOME is not set; set it, or MXNET_HOME, or use --data-dir") from error
    return Path(home, "datasets", dataset)


def gluon_address(dataset: str) -> str:
    """Return the address of a data set in Gluon's repository, or in `MXNET_GLUON_REPO`."""
    repository = os.environ.get("MXNET_GLUON_REPO") or GLUON_REPO
    return f"{repository.rstrip('/')}/gluon/dataset/{dataset}/"


def verify(data: bytes, size: int, note: str = "", **digests: str) -> None:
    """Verify the content of a file.

    Parameters
    ----------
    data : bytes
        The first ``size + 1`` bytes of the content, or all of it if there are fewer.
    size : int
        The expected number of bytes.
    note : str
        Added to the message, such as `` when unpacked``.
    **digests : str
        The expected digests, by the names of their algorithms in `hashlib`.

    Raises
    ------
    ValueError
        If the content differs.
    """
    if len(data) != size:
        found = f"{len(data):,}" if len(data) < size else "more"
        raise ValueError(f"expected {size:,} bytes{note}, found {found}")
    for name, expected in digests.items():
        found = hashlib.new(name, data).hexdigest()
        if found != expected:
            label = name.upper().replace("SHA", "SHA-")
            raise ValueError(f"expected {label} {expected}{note}, found {found}")


def read_file(folder: Path, file: DataFile) -> np.ndarray:
    """Read a file of the data folder.

    Raises
    ------
    InputError
        If the file has other content. The file is not changed.
    """
    path = folder / file.name
    try:
        if path.exists() and not path.is_file():
            raise ValueError("not a regular file")
        return file.read(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: {error}; move this file away to download it again, "
            "or choose another --data-dir"
        ) from error


def status(dataset: str, files: Sequence[DataFile]) -> str:
    """Return, in a clause, whether a data set's files are in MXNet's data folder and verified."""
    folder = default_data_dir(dataset)
    try:
        for file in files:
            if not (folder / file.name).exists():
                return f"{file.name} is not in {folder}"
            read_file(folder, file)
    except InputError as error:
        return str(error)
    return f"verified, in {folder}"


def get_missing(
    folder: Path, files: Sequence[DataFile], sources: Sequence[Source], description: str
) -> None:
    """Download the missing files into the data folder, and verify them.

    Each file is first written to a scratch folder inside the data folder, and then moved. A move
    is atomic: no program ever sees an incomplete file, and two processes can do this at once.

    Parameters
    ----------
    folder : pathlib.Path
        The data folder. It is made if it does not exist.
    files : sequence of DataFile
    sources : sequence of Source
        They are tried in this order.
    description : str
        The files in words, for a user who has to add them by hand.

    Raises
    ------
    InputError
        If no source has a missing file (the message has a line for each source), or if the folder
        cannot be written.
    """
    try:
        missing = [file for file in files if not (folder / file.name).exists()]
        if not missing:
            return
        folder.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder)
        with tempfile.TemporaryDirectory(prefix=f"{SCRATCH}{os.getpid()}-", dir=folder) as scratch:
            failures = _get(missing, sources, Path(scratch), folder)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot write there ({error.strerror or error}); "
            "choose another folder with --data-dir"
        ) from error
    if missing:
        names = ", ".join(file.name for file in missing)
        raise InputError(
            f"could not get {names}. Sources tried, after {folder}:\n"
            + "\n".join(failures)
            + f"\nTo add them by hand, put {description} into {folder}"
        )


def _remove_leftovers(folder: Path) -> None:
    """Remove the scratch folders of downloads that were killed: their processes have ended."""
    for scratch in folder.glob(f"{SCRATCH}*"):
        pid = scratch.name[len(SCRATCH) :].partition("-")[0]
        if not Path("/proc", pid).exists():
            shutil.rmtree(scratch, ignore_errors=True)


def _get(
    missing: list[DataFile], sources: Sequence[Source], scratch: Path, folder: Path
) -> list[str]:
    """Try each source until no file is missing; return the errors of the sources that failed."""
    failures = []
    for number, (source, get) in enumerate(sources):
        own = scratch / str(number)  # each source has its own scratch folder
        own.mkdir()
        for file in list(missing):
            try:
                path = get(file.name, own)
                file.read(path)
            except (OSError, ValueError, http.client.HTTPException) as error:
                failures.append(f"  {source}: {file.name}: {error}")
                break  # if a source fails for one file, do not try it for others
            path.replace(folder / file.name)
            missing.remove(file)
        if not missing:
            break
    return failures


def download(address: str, name: str, scratch: Path) -> Path:
    """Download a file, with a progress bar on a terminal."""
    with urllib.request.urlopen(address + name, timeout=20) as response:
        size = int(response.headers.get("Content-Length", 0)) or None
        bar = tqdm.wrapattr(response, "read", total=size, desc=name, disable=None)
        with bar as stream, (scratch / name).open("wb") as out:
            shutil.copyfileobj(stream, out)
    return scratch / name


def run(command: Sequence[str], folder: Path, line: int = -1, result: str = "") -> Path:
    """Run another program without showing its output.

    Parameters
    ----------
    command : sequence of str
    folder : pathlib.Path
        The folder to run it in.
    line : int
        The line of its output that has the reason when it fails: for most programs the last.
    result : str
        A pattern for the file that it leaves in the folder.

    Returns
    -------
    pathlib.Path
        This file, or the folder if there is no pattern.

    Raises
    ------
    OSError
        If the program fails, or leaves no such file. The message has this line.
    """
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    found = list(folder.glob(result)) if result else [folder]
    if done.returncode or not found:
        status = f"exit status {done.returncode}, and no {result or 'error message'}"
        output = done.stdout.strip().splitlines() or [status]
        raise OSError(f"{command[0]}: {output[line]}")
    return found[0]
