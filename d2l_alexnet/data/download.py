"""How the files of a data set get into the data folder: each verified, and whole or not at all."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import tempfile
import urllib.request
from pathlib import Path
from typing import Any, Callable, Sequence

from tqdm import tqdm

from d2l_alexnet.errors import InputError

GLUON_REPO = "https://apache-mxnet.s3-accelerate.dualstack.amazonaws.com/"


def default_data_dir(dataset):
    """Give the folder that Gluon's own class uses: ~/.mxnet, or `MXNET_HOME`, and down from there.

    Parameters
    ----------
    dataset : str
        Gluon's name of the data set.

    Returns
    -------
    pathlib.Path
    """
    home = os.environ.get("MXNET_HOME") or Path.home() / ".mxnet"
    return Path(home, "datasets", dataset)


def gluon_address(dataset):
    """Give the address of a data set in Gluon's repository, which `MXNET_GLUON_REPO` overrides."""
    repository = os.environ.get("MXNET_GLUON_REPO") or GLUON_REPO
    return f"{repository.rstrip('/')}/gluon/dataset/{dataset}/"


def read_own(path, file, read):
    """Read a file of the data folder by a function that raises when it is not what it should be.

    Raises
    ------
    InputError
        In its place; the file is left as it is.
    """
    try:
        return read(path, file)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: {error}; move it away and it will be got anew, or name another --data-dir"
        ) from error


def status(dataset: str, files: Sequence[Any], read: Callable) -> str:
    """Say in a clause whether a data set's files are in their usual folder, and sound."""
    folder = default_data_dir(dataset)
    try:
        for file in files:
            if not (folder / file.name).exists():
                return f"{file.name} is not in {folder}"
            read_own(folder / file.name, file, read)
    except InputError as error:
        return str(error)
    return f"verified, in {folder}"


def get_missing(folder, files, read, sources, what):
    """Put those of a data set's files that the data folder lacks there, verified.

    Each is first written to a scratch folder of this process inside the data folder, then moved,
    which is atomic: no half-written file is ever seen, and two processes can do this at once.

    Parameters
    ----------
    folder : pathlib.Path
        The data folder, made if need be.
    files : sequence
        Descriptions of the files, with a `name` each.
    read : callable
        Takes a path and a description; raises ValueError or OSError for anything else.
    sources : callable
        Gives a list of (str, callable): what to call a place that may have the files, and a
        function of a file's name and a scratch folder that returns the path of a copy in that
        folder. They are asked in this order.
    what : str
        What somebody who places the files by hand should place.

    Raises
    ------
    InputError
        When a file is nowhere to be had, with a line for every place, and when the folder cannot
        be written.
    """
    try:
        missing = [file for file in files if not (folder / file.name).exists()]
        if not missing:
            return
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".getting-", dir=folder) as scratch:
            failures = _get(missing, read, sources(), Path(scratch), folder)
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
            + f"\nTo place them by hand, put {what} into {folder}"
        )


def _get(missing, read, sources, scratch, folder):
    """Go from source to source until nothing is missing any more; list what each failed with."""
    failures = []
    for number, (source, get) in enumerate(sources):
        own = scratch / str(number)  # what one source leaves behind is not another's
        own.mkdir()
        for file in list(missing):
            try:
                path = get(file.name, own)
                read(path, file)
            except (OSError, ValueError, http.client.HTTPException) as error:
                failures.append(f"  {source}: {file.name}: {error}")
                break  # a source that fails for one file is not asked for the others
            path.replace(folder / file.name)
            missing.remove(file)
        if not missing:
            break
    return failures


def download(address, name, scratch):
    """Download a file, with a progress bar on a terminal."""
    with urllib.request.urlopen(address + name, timeout=20) as response:
        size = int(response.headers.get("Content-Length", 0)) or None
        bar = tqdm.wrapattr(response, "read", total=size, desc=name, disable=None)
        with bar as stream, (scratch / name).open("wb") as out:
            shutil.copyfileobj(stream, out)
    return scratch / name


def run(command, folder, line=-1):
    """Run a command without showing what it prints; if it fails, raise why.

    Parameters
    ----------
    command : list of str
    folder : path
        To run it in.
    line : int
        Which line of what it prints says why: for most the last one.
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
        said = done.stdout.strip().splitlines() or [f"exit status {done.returncode}"]
        raise OSError(f"{command[0]}: {said[line]}")
