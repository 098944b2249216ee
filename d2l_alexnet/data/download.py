"""Find the files of a data set or download them. Each is verified, and complete or absent."""

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

GLUON_REPO = "https://apache-mxnet.s3-accelerate.dualstack.amazonaws.com/"


class DataFile(Protocol):
    """The description of one file of a data set."""

    @property
    def name(self) -> str:
        """The file's name."""

    def read(self, path: Path) -> np.ndarray:
        """Read and verify it; raise ValueError or OSError if it is not this file."""


# The name of a place that may have the files, and a function that gets one from there. The
# function takes the file's name and a scratch folder, and gives the path of a copy in that folder.
Source = Tuple[str, Callable[[str, Path], Path]]


def default_data_dir(dataset: str) -> Path:
    """Give MXNet's own folder of a data set, in ``~/.mxnet`` or `MXNET_HOME`."""
    home = os.environ.get("MXNET_HOME") or Path.home() / ".mxnet"
    return Path(home, "datasets", dataset)


def gluon_address(dataset: str) -> str:
    """Give the address of a data set in Gluon's repository, which `MXNET_GLUON_REPO` overrides."""
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
        For any other content.
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
        If it is not the expected file. It is left as it is.
    """
    path = folder / file.name
    try:
        return file.read(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: {error}; move it away and it will be downloaded again, "
            "or name another --data-dir"
        ) from error


def status(dataset: str, files: Sequence[DataFile]) -> str:
    """Say in a clause whether a data set's files are in MXNet's data folder, and verified."""
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
    """Put the files that the data folder lacks there, verified.

    Each file is first written to a scratch folder inside the data folder, and then moved. A move
    is atomic: nobody ever sees half of a file, and two processes can do this at once.

    Parameters
    ----------
    folder : pathlib.Path
        The data folder. It is made if it does not exist.
    files : sequence of DataFile
    sources : sequence of Source
        They are tried in this order.
    description : str
        What a user who places the files by hand should place.

    Raises
    ------
    InputError
        If no source has a file, with a line for each source, or if the folder cannot be written.
    """
    try:
        missing = [file for file in files if not (folder / file.name).exists()]
        if not missing:
            return
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".getting-", dir=folder) as scratch:
            failures = _get(missing, sources, Path(scratch), folder)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot write there ({error.strerror or error}); "
            "name another folder with --data-dir"
        ) from error
    if missing:
        names = ", ".join(file.name for file in missing)
        raise InputError(
            f"could not get {names}. Tried, after {folder}:\n"
            + "\n".join(failures)
            + f"\nTo place them by hand, put {description} into {folder}"
        )


def _get(
    missing: list[DataFile], sources: Sequence[Source], scratch: Path, folder: Path
) -> list[str]:
    """Try each source until no file is missing; list the errors of the sources that failed."""
    failures = []
    for number, (source, get) in enumerate(sources):
        own = scratch / str(number)  # no source sees the files of another
        own.mkdir()
        for file in list(missing):
            try:
                path = get(file.name, own)
                file.read(path)
            except (OSError, ValueError, http.client.HTTPException) as error:
                failures.append(f"  {source}: {file.name}: {error}")
                break  # a source that fails for one file is not asked for the others
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


def run(command: Sequence[str], folder: Path, line: int = -1) -> None:
    """Run another program without showing what it prints.

    Parameters
    ----------
    command : sequence of str
    folder : pathlib.Path
        The folder to run it in.
    line : int
        Which line of its output gives the reason when it fails. For most programs it is the last.

    Raises
    ------
    OSError
        If the program fails, with that line.
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
    if done.returncode:
        output = done.stdout.strip().splitlines() or [f"exit status {done.returncode}"]
        raise OSError(f"{command[0]}: {output[line]}")
