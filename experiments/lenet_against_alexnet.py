"""How long is an epoch of LeNet and of AlexNet? ``python experiments/lenet_against_alexnet.py``.

Question (statements A2 and A3): the first lecture says that on its GPU an epoch takes 2.5 s for
LeNet and 18 s for AlexNet, and on a laptop about an hour for AlexNet. What is the ratio of the two
times on one machine? Is it the ratio of the multiply-adds? How long does the lecture's own code
take on this machine?

Result, n = 5, two cores of an AMD EPYC (AVX2), five minutes: LeNet 10.2 s (7.7 to 12.0), AlexNet
2,295 s (2,216 to 2,525), the lecture's own code 5,306 s (5,113 to 5,680). AlexNet takes 240 times
as long as LeNet (197 to 288) and has 2,252 times its multiply-adds. The log is in
results/lenet-against-alexnet.

Each program measures some training steps on a batch that is in memory. The programs measure in
turn; see benchmarks/harness.py. The time of an epoch is the time of 60,000 images at the measured
speed. It does not include the loader and the test after the epoch. If this command is stopped, it
starts from the beginning.
"""

from __future__ import annotations

import statistics
import sys

import runs
from matplotlib.figure import Figure

from d2l_alexnet.recipes import RECIPES

sys.path.append(str(runs.RESULTS.parent / "benchmarks"))
import harness  # noqa: E402

LENET, ALEXNET = RECIPES["lenet"], RECIPES["lecture"]
LECTURES = "AlexNet, the lecture's code"
ROUNDS = 5
# A measurement lasts some seconds. Small images and batches make it short for --quick.
STEPS = dict(lenet=["--batches", 40], alexnet=["--batches", 2])
SMALL = ["--batches", 1, "--batch-size", 2]
QUICK = [*SMALL, "--resize", 67]


def main() -> None:
    """Measure all in turn, print what an epoch takes, and draw it."""
    arguments = runs.parse(__doc__, "lenet_against_alexnet")
    seconds = measure(arguments.quick)
    rows = []
    for name, recipe in {"LeNet": LENET, "AlexNet": ALEXNET, LECTURES: ALEXNET}.items():
        ratios = harness.ratios(seconds[name], seconds["LeNet"])
        each = [round(value, 2) for value in seconds[name]]
        rows.append(dict(name=name, **runs.totals(recipe), seconds=each, over_lenet=middle(ratios)))
        print(
            f"{name}: {harness.written(each)} s for an epoch, "
            f"{harness.written(ratios)} times as long as LeNet"
        )
        print("  {parameters:,} parameters, {multiply_adds:,} multiply-adds".format(**rows[-1]))
    runs.write(arguments.out / "lenet_against_alexnet.json", rows, machine=harness.machine())
    runs.save(draw(rows), arguments.out / "lenet_against_alexnet.png")


def measure(quick: bool) -> dict[str, list[float]]:
    """Measure the seconds of an epoch, several times."""
    lenet = SMALL if quick else [*STEPS["lenet"], "--batch-size", LENET.batch_size]
    alexnet = QUICK if quick else [*STEPS["alexnet"], "--batch-size", ALEXNET.batch_size]
    contestants = {
        "LeNet": harness.Contestant("ours", "training", "--recipe", "lenet", *lenet),
        "AlexNet": harness.Contestant("ours", "training", "--recipe", "lecture", *alexnet),
        LECTURES: harness.Contestant("lecture", "training", *alexnet, default_threads=True),
    }
    try:
        speeds = harness.alternate(contestants, rounds=1 if quick else ROUNDS)
    finally:
        for contestant in contestants.values():
            contestant.close()
    images = ALEXNET.train_size
    return {name: [images / speed for speed in speeds[name]] for name in speeds}


def middle(values: list[float]) -> list[float]:
    """Return median, smallest and largest."""
    return [round(value, 2) for value in (statistics.median(values), min(values), max(values))]


def draw(rows: list[dict]) -> Figure:
    """Draw the seconds of an epoch, with a marker for each measurement."""
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    for row in rows[::-1]:
        axes.plot(row["seconds"], [row["name"]] * len(row["seconds"]), "o", mfc="none")
    axes.set(title="An epoch of 60,000 images", xlabel="seconds", xscale="log")
    return figure


if __name__ == "__main__":
    runs.run(main)
