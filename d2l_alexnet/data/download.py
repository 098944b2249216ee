"""Find or download the files of a data set, and verify each file."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import IO, Callable, Protocol, Sequence, Tuple

import numpy as np
from tqdm import tqdm

from d2l_alexnet.errors import InputError
from d2l_alexnet.runtime import process

SCRATCH = ".getting-"  # prefix of the name of a scratch folder, before the host and the process
LARGEST = 2**28  # limit in bytes for a file or an unpacked archive; the largest has 186 million
LONGEST = 3600  # limit in seconds for a file or a program; then the next source is tried
STALE = 24 * LONGEST  # seconds; an older scratch folder is not in use any more
GLUON_REPO = "https://apache-mxnet.s3-accelerate.dualstack.amazonaws.com/"


class DataFile(Protocol):
    """The description of one file of a data set."""

    @property
    def name(self) -> str:
        """The file's name."""

    def read(self, path: Path) -> np.ndarray:
        """Read and verify the file; raise ValueError or OSError if that fails."""


# The name of a source, and a function that gets a file from this source. The function takes the
# name of the file and a scratch folder. It returns the path of a copy in this folder.
Source = Tuple[str, Callable[[str, Path], Path]]


def default_data_dir(dataset: str) -> Path:
    """Return MXNet's own folder of a data set, in ``~/.mxnet`` or `MXNET_HOME`.

    Raises
    ------
    InputError
        If the home folder of the user is not known.
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
        If the file does not have the expected content. The file is not changed.
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
    """Describe whether the files of a data set are in MXNet's data folder and verified."""
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

    Each file is first written to a scratch folder inside the data folder, and then moved. A move is
    atomic. So no program ever sees an incomplete file, and two processes can download at once.

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
        _remove_leftovers(folder)
        missing = [file for file in files if not (folder / file.name).exists()]
        if not missing:
            return
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=_scratch(os.getpid()), dir=folder) as scratch:
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


def _scratch(pid: int | str) -> str:
    """Return how the names of the scratch folders of a process of this host begin."""
    return f"{SCRATCH}{process.describe()['host']}-{pid}-"


def _remove_leftovers(folder: Path) -> None:
    """Remove the scratch folders of downloads that were killed, on this host or another one."""
    for scratch in folder.glob(f"{SCRATCH}*"):
        with contextlib.suppress(OSError):  # another process may have removed it
            if _has_ended(scratch.name) or time.time() - scratch.stat().st_mtime > STALE:
                shutil.rmtree(scratch, ignore_errors=True)


def _has_ended(name: str) -> bool:
    """Say whether the process of a scratch folder is known to have ended."""
    pid = "".join(name.split("-")[-2:-1])
    known = bool(process.describe()["started"]) and name.startswith(_scratch(pid))
    return known and not process.started(pid)


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
    """Download a file, with a progress bar on a terminal.

    Raises
    ------
    OSError
        If it cannot be downloaded, is larger than `LARGEST` or takes longer than `LONGEST`.
    """
    begin, path = time.monotonic(), scratch / name
    with urllib.request.urlopen(address + name, timeout=20) as response, path.open("wb") as out:
        size = int(response.headers.get("Content-Length", 0)) or None
        with tqdm(desc=name, total=size, unit="B", unit_scale=True, disable=None) as bar:
            for block in iter(lambda: response.read1(2**16), b""):  # the bytes that have arrived
                out.write(block)
                bar.update(len(block))
                if out.tell() > LARGEST:
                    raise OSError(f"larger than {LARGEST:,} bytes")
                if time.monotonic() - begin > LONGEST:
                    raise OSError(f"not finished after {LONGEST:,} s")
    return path


def run(command: Sequence[str], folder: Path, line: int = -1, result: str = "") -> Path:
    """Run another program without showing its output.

    Parameters
    ----------
    command : sequence of str
    folder : pathlib.Path
        The folder to run it in.
    line : int
        The line of the output that has the reason if the program fails. For most programs it is
        the last line.
    result : str
        A pattern for the file that the program writes to the folder.

    Returns
    -------
    pathlib.Path
        This file, or the folder if there is no pattern.

    Raises
    ------
    OSError
        If the program fails or writes no such file; the message then has the line with the reason.
        Also if it takes longer than `LONGEST`, or writes more than `LARGEST` bytes.
    """
    with tempfile.TemporaryFile("w+", dir=folder, errors="replace") as output:
        status = _run(command, folder, output)
        output.seek(0)
        lines = output.read().strip().splitlines()
    if status == -signal.SIGXFSZ:
        raise OSError(f"{command[0]}: has written more than {LARGEST:,} bytes")
    found = list(folder.glob(result)) if result else [folder]
    if status or not found:
        lines = lines or [f"exit status {status}, and no {result or 'error message'}"]
        raise OSError(f"{command[0]}: {lines[line]}")
    return found[0]


def _run(command: Sequence[str], folder: Path, output: IO[str]) -> int:
    """Run another program within the limits, and return its exit status."""
    started = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
    )
    try:
        if hasattr(resource, "prlimit"):  # Linux
            resource.prlimit(started.pid, resource.RLIMIT_FSIZE, (LARGEST, LARGEST))
        return started.wait(LONGEST)
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{command[0]}: not finished after {LONGEST:,} s") from error
    finally:
        started.kill()  # if it has not ended, also after Ctrl-C
        started.wait()
