"""Kill a run at random moments, resume it each time, and compare with one never disturbed.

``python tests/kill_and_resume.py --kills 200`` does so with as many kills as one has patience for.
"""

import argparse
import contextlib
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from d2l_alexnet import datasets
from d2l_alexnet.history import read_history
from d2l_alexnet.run_folder.params import read_params

# The real command and the real net, on so few real images that a run takes seconds; they are in a
# file of their own, as reading all of them would take longer.
SMALL_RUN = """
import numpy as np
import d2l_alexnet
from d2l_alexnet import cli, data, train
with np.load({images!r}) as file:
    small = (file["a"], file["b"]), (file["c"], file["d"])
data.{dataset} = lambda data_dir=None: small
cli.run(train.main)
"""
SETTINGS = ["--resize", "67", "--epochs", "2", "--batch-size", "8", "--ctx", "cpu"]
EVERY_STEP = ["--checkpoint-minutes", "0.0001"]
TIMES = ("seconds", "images_per_second", "seconds_waiting_for_data")


def write_small_run(folder, load=datasets.fashion_mnist):
    """Write the images of a small run into a folder, and give its code."""
    (train_images, train_labels), (test_images, test_labels) = load()
    path = Path(folder, "images.npz")
    np.savez(path, a=train_images[:96], b=train_labels[:96], c=test_images[:70], d=test_labels[:70])
    return SMALL_RUN.format(images=str(path), dataset=load.__name__)


def run(code, *arguments, seconds=None):
    """Run it, for some seconds at the most; give its exit status, None if it was killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    with contextlib.suppress(subprocess.TimeoutExpired):
        said = process.communicate(timeout=seconds)[1]
        if process.returncode:
            raise AssertionError(said.decode())
        return 0
    process.kill()
    process.wait()
    return None


def result(folder):
    """Give the weights and the history of a run, without what depends on the clock."""
    weights = {name: array.tobytes() for name, array in read_params(folder / "net.params").items()}
    rows = read_history(folder / "history.jsonl")
    return weights, [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


def kill_and_resume(code, folder, kills, moments):
    """Run into a folder, with so many kills; the run may come to its end earlier.

    Returns
    -------
    int
        Kills made.
    """
    made = 0
    while True:
        begun = (folder / "args.json").exists()
        where = ["--resume", folder] if begun else [*SETTINGS, "--out", folder]
        seconds = moments.uniform(1, 6) if made < kills else None
        if run(code, *where, *EVERY_STEP, seconds=seconds) == 0:
            return made
        made += 1


def main():
    """Kill runs until enough kills were made, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    kills = parser.parse_args().kills
    moments, made, runs, differences = random.Random(0), 0, 0, 0
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
