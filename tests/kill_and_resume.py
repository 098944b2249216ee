"""Kill a run at random moments, resume it after each, and compare it with an undisturbed run.

``python tests/kill_and_resume.py --kills 200`` kills 200 times.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Callable, Sequence

import numpy as np

from d2l_alexnet.data import DATA_SETS
from d2l_alexnet.history import read_history
from d2l_alexnet.run_folder.params import read_params
from d2l_alexnet.run_folder.settings import SETTINGS as SETTINGS_FILE

# The real command and the real net, on so few real images that a run takes seconds. The images are
# in a file of their own, because reading the whole data set would take longer.
SMALL_RUN = """
import dataclasses
import numpy as np
from d2l_alexnet import cli, train
from d2l_alexnet.data import DATA_SETS
with np.load({images!r}) as file:
    small = (file["a"], file["b"]), (file["c"], file["d"])
DATA_SETS[{name!r}] = dataclasses.replace(DATA_SETS[{name!r}], read=lambda data_dir: small)
cli.run(train.main)
"""
SETTINGS = ["--resize", "67", "--epochs", "2", "--batch-size", "8", "--ctx", "cpu"]
CONVNET = ["--recipe", "cifar10-convnet", "--epochs", "4", "--batch-size", "8", "--ctx", "cpu"]
EVERY_STEP = ["--checkpoint-minutes", "0.0001"]
TIMES = ("seconds", "images_per_second", "seconds_waiting_for_data")


def write_small_run(folder: str | Path, name: str = "fashion-mnist") -> str:
    """Write the images of a small run into a folder, and give the code of the run.

    Parameters
    ----------
    folder : path
    name : str
        The data set's name in `d2l_alexnet.data.DATA_SETS`.
    """
    (train_images, train_labels), (test_images, test_labels) = DATA_SETS[name].read(None)
    path = Path(folder, "images.npz")
    np.savez(path, a=train_images[:72], b=train_labels[:72], c=test_images[:70], d=test_labels[:70])
    return SMALL_RUN.format(images=str(path), name=name)


def start_python(arguments: list) -> subprocess.Popen:
    """Start a new Python."""
    command = [sys.executable, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)


def run(
    code: str, *arguments: object, seconds: float | None = None, start: Callable = start_python
) -> bool:
    """Run the code, and kill it after some seconds if given; say whether it came to its end.

    `start` starts Python with arguments: a `subprocess.Popen`, or one from `preload.Server`.
    """
    process = start(["-c", code, *arguments])
    with contextlib.suppress(subprocess.TimeoutExpired):
        _, errors = process.communicate(timeout=seconds)
        if process.returncode:
            raise AssertionError(errors)
        return True
    process.kill()
    process.wait()
    return False


def result(folder: Path) -> tuple[dict[str, bytes], list[dict]]:
    """Give the weights and the history of a run, without the history's times."""
    weights = {name: array.tobytes() for name, array in read_params(folder / "net.params").items()}
    rows = read_history(folder / "history.jsonl")
    return weights, [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


def kill_and_resume(
    code: str,
    folder: Path,
    kills: int,
    moments: Callable,
    start: Callable = start_python,
    settings: Sequence[str] = SETTINGS,
) -> int:
    """Run into a folder, with at most so many kills, and resume after each until the run ends.

    Parameters
    ----------
    code : str
        As `write_small_run` gives it.
    folder : pathlib.Path
    kills : int
    moments : callable
        Gives the seconds after which to kill.
    start : callable
        As for `run`.
    settings : sequence of str
        Arguments of the run.

    Returns
    -------
    int
        Kills made. The run may end before all are made.
    """
    made = 0
    while True:
        begun = (folder / SETTINGS_FILE).exists()
        arguments = ["--resume", folder] if begun else [*settings, "--out", folder]
        seconds = moments() if made < kills else None
        if run(code, *arguments, *EVERY_STEP, seconds=seconds, start=start):
            return made
        made += 1


def main() -> None:
    """Kill runs until enough kills were made, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    kills = parser.parse_args().kills
    made, runs, differences = 0, 0, 0
    moments = functools.partial(random.Random(0).uniform, 1, 6)
    with tempfile.TemporaryDirectory() as folder:
        code = write_small_run(folder)
        run(code, *SETTINGS, "--out", Path(folder, "undisturbed"))
        expected = result(Path(folder, "undisturbed"))
        while made < kills:
            out = Path(folder, f"run{runs}")
            made += kill_and_resume(code, out, kills - made, moments)
            runs += 1
            differences += result(out) != expected
            print(f"{runs} runs, {made} kills and resumes, {differences} differences", flush=True)


if __name__ == "__main__":
    main()
