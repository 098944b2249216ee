"""Kill runs, often while a checkpoint is being written, and resume each after every kill.

The run has to end with the weights and the history of an undisturbed one.
``python tests/kill_and_resume.py --kills 500`` kills 500 times.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

import numpy as np
import preload

from d2l_alexnet.data import DATA_SETS
from d2l_alexnet.history import read_history
from d2l_alexnet.run_folder import checkpoint
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
RUNS = {  # data set, settings, and about the seconds that a run takes
    "lecture": ("fashion-mnist", SETTINGS, 3),
    "cifar10-convnet": ("cifar10", CONVNET, 1),
}
EVERY_STEP = ["--checkpoint-minutes", "0.0001"]
TIMES = ("seconds", "images_per_second", "seconds_waiting_for_data")
INSIDE = 1 / 3  # the least share of the kills that come while a checkpoint is being written


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


def run(code: str, *arguments: object) -> None:
    """Run the code in a new Python, to its end."""
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True)


def result(folder: Path) -> tuple[dict[str, bytes], list[dict]]:
    """Give the weights and the history of a run, without the history's times."""
    weights = {name: array.tobytes() for name, array in read_params(folder / "net.params").items()}
    rows = read_history(folder / "history.jsonl")
    return weights, [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


@dataclass
class Counts:
    """What was done: a kill counts if there was a checkpoint to go on from."""

    runs: int = 0
    kills: int = 0
    inside: int = 0  # of the kills: while a checkpoint was being written
    too_early: int = 0  # kills that do not count
    differences: int = 0

    def add_kill(self, folder: Path, before: dict[Path, int]) -> None:
        """Count the kill of a run, given what was half written before the run was started."""
        if checkpoint.find(folder):
            self.kills += 1
            self.inside += bool(being_written(folder).items() - before.items())
        else:
            self.too_early += 1

    def __str__(self) -> str:
        return (
            f"{self.runs} runs, {self.kills} kills after a checkpoint, {self.inside} of them while "
            f"one was being written ({self.too_early} more before the first), "
            f"{self.differences} differences"
        )


def kill_and_resume(
    code: str,
    folder: Path,
    kills: int,
    expected: tuple,
    start: Callable,
    settings: Sequence[str],
    seconds: float,
    seed: int = 0,
) -> Iterator[Counts]:
    """Kill runs, one after the other, and resume each after every kill, until it ends.

    Parameters
    ----------
    code : str
        As `write_small_run` gives it.
    folder : pathlib.Path
        For the run folders.
    kills : int
        After so many kills that count, the last run is left to end.
    expected : tuple
        The `result` of an undisturbed run.
    start : callable
        Starts Python with arguments; `preload.Server.start`.
    settings : sequence of str
        Arguments of the runs.
    seconds : float
        Kills at any moment come at most so many seconds after the start.
    seed : int
        For the random moments.

    Yields
    ------
    Counts
        After every run.
    """
    counts, moments = Counts(), random.Random(seed)
    while counts.kills < kills:
        out = folder / f"run{counts.runs}"
        arguments, ended = [*settings, "--out", out], False
        while not ended:
            before = being_written(out)
            more = counts.kills < kills
            saving = EVERY_STEP if more else []
            process = start(["-c", code, *arguments, *saving], separate_errors=True)
            if more:
                if counts.inside <= counts.kills / 2:
                    wait_for_writing(process, out, moments)
                else:
                    wait(process, moments.uniform(0, seconds))
                process.kill()
            ended = has_ended(process)
            if not ended:
                counts.add_kill(out, before)
            if (out / SETTINGS_FILE).exists():
                arguments = ["--resume", out]
        counts.runs += 1
        counts.differences += result(out) != expected
        shutil.rmtree(out)
        yield counts


def has_ended(process: Any) -> bool:
    """Say whether a run came to its end, or was killed; raise if it failed."""
    if process.wait() == -signal.SIGKILL:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its loader workers, which may outlive it
        return False
    _, errors = process.communicate()
    if process.returncode:
        raise AssertionError(errors)
    return True


def being_written(folder: Path) -> dict[Path, int]:
    """Give the checkpoints that are being written or were left half written, with their times."""
    times = {}
    for path in folder.glob("checkpoint-*.partial"):
        with contextlib.suppress(FileNotFoundError):  # it has just been renamed
            times[path] = path.stat().st_mtime_ns
    return times


def wait_for_writing(process: Any, folder: Path, moments: random.Random) -> None:
    """Wait for a random moment inside the writing of a checkpoint.

    The first one that is seen shows how long it takes; the moment is in the next one.
    """
    left_over = being_written(folder).items()

    def writing() -> bool:
        return bool(being_written(folder).items() - left_over)

    wait(process, until=writing)
    begun = time.monotonic()
    wait(process, until=lambda: not writing())
    seconds = time.monotonic() - begun
    wait(process, until=writing)
    wait(process, moments.uniform(0, seconds))


def wait(process: Any, seconds: float = 600, until: Callable[[], bool] = lambda: False) -> None:
    """Wait so many seconds, but not longer than until something is the case or a run has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None and not until():
        time.sleep(0.0005)


def assert_enough(counts: Counts) -> None:
    """Assert that the kills came where they can do harm, and that none did."""
    assert counts.inside >= INSIDE * counts.kills > 0, counts
    assert counts.differences == 0, counts


def main() -> None:
    """Kill runs until enough kills were made, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--recipe", choices=RUNS, default="lecture")
    parser.add_argument("--seed", type=int, default=0, help="for the moments of the kills")
    parser.add_argument("--dtype", default="float32", help="as for train")
    args = parser.parse_args()
    data, settings, seconds = RUNS[args.recipe]
    settings = [*settings, "--dtype", args.dtype]
    with tempfile.TemporaryDirectory() as name, contextlib.closing(preload.Server()) as server:
        folder = Path(name)
        code = write_small_run(folder, data)
        run(code, *settings, "--out", folder / "undisturbed")
        expected = result(folder / "undisturbed")
        counts = Counts()
        for counts in kill_and_resume(
            code, folder, args.kills, expected, server.start, settings, seconds, args.seed
        ):
            print(counts, flush=True)
        assert_enough(counts)


if __name__ == "__main__":
    main()
