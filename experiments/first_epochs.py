"""Do MXNet and PyTorch learn equally fast at first? ``python experiments/first_epochs.py``.

Question: our run of the second lecture's AlexNet lies above the published run in every row that is
compared, from the first epoch on. The lecture used PyTorch. Do the first five epochs differ between
the frameworks by more than from seed to seed?

Result: this command has not been run to its end yet. A run takes 20 minutes to an hour on two
cores. Only our seed 0 is there, in results/cifar10-alexnet: validation accuracy 0.240 and 0.607
after epochs 1 and 5. Published: 0.192 and 0.524.

Both frameworks train the same net on the same 45,000 images with the same settings. Only the random
numbers differ: initial weights, order of the images, crops and dropout. PyTorch has a virtual
environment of its own, which this command makes if it is missing; see benchmarks/harness.py.
Finished runs are skipped, and a run that was stopped is resumed.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import runs
from matplotlib.figure import Figure

from d2l_alexnet.data import DATA_SETS
from d2l_alexnet.recipes import RECIPES, Recipe

sys.path.append(str(runs.RESULTS.parent / "benchmarks"))
import harness  # noqa: E402

RECIPE = replace(RECIPES["cifar10-alexnet"], num_epochs=5)
FRAMEWORKS = ("MXNet", "PyTorch")
SEEDS = (0, 1, 2, 3)
RESULTS = runs.RESULTS / "first-epochs"
LONGER = {("MXNet", 0): runs.RESULTS / "cifar10-alexnet"}  # has 67 epochs
KEYS = ("train_accuracy", "valid_accuracy")
QUICK = dict(runs.SMALL_CONVNET, num_epochs=2)


def main() -> None:
    """Train all that is missing, print accuracies by epoch and their differences, and draw them."""
    arguments = runs.parse(__doc__, "first_epochs")
    rows = []
    for framework in FRAMEWORKS:
        for seed in SEEDS[:2] if arguments.quick else SEEDS:
            history = train(framework, seed, arguments.out, arguments.quick)
            for row in history:
                each = {key: round(row[key], 4) for key in KEYS}
                rows.append(dict(framework=framework, seed=seed, epoch=row["epoch"], **each))
            print(f"{framework}, seed {seed}: " + ", ".join(map(accuracies, history)))
    for epoch in sorted({row["epoch"] for row in rows}):
        for key in KEYS:
            print(f"epoch {epoch}, {key.replace('_', ' ')}: {compare(rows, epoch, key)}")
    runs.write(arguments.out / "first_epochs.json", rows)
    runs.save(draw(rows), arguments.out / "first_epochs.png")


def train(framework: str, seed: int, out: Path, quick: bool) -> list[dict]:
    """Return the history of a run: from results/, or after training or resuming it."""
    recipe = replace(RECIPE, **(QUICK if quick else {}))
    name = f"{framework.lower()}-seed{seed}"
    committed = LONGER.get((framework, seed), RESULTS / name) / "history.jsonl"
    if committed.exists() and not quick:
        return runs.read_history(committed)[: recipe.num_epochs]
    if framework == "MXNet":
        return runs.train_once(recipe, out / name, seed)
    return train_pytorch(recipe, out / name, seed)


def train_pytorch(recipe: Recipe, folder: Path, seed: int) -> list[dict]:
    """Train in PyTorch, in a process of its own. Return the history."""
    images = folder.parent / "cifar10.npz"
    write_images(images, recipe.train_size)
    flags = dict(images=images, out=folder, seed=seed)
    flags.update(epochs=recipe.num_epochs, batch_size=recipe.batch_size)
    script = Path(__file__).with_name("first_epochs_pytorch.py")
    command = [str(harness.pytorch_python()), str(script)]
    for name, value in flags.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    subprocess.run(command, check=True)
    return runs.read_history(folder / "history.jsonl")


def write_images(path: Path, train_size: int) -> None:
    """Write the training and validation images and labels into a file for PyTorch."""
    dataset = DATA_SETS[RECIPE.data]
    (images, labels), _ = dataset.read(None)
    end = len(images) - int(len(images) * dataset.valid_fraction)
    arrays = dict(train_images=images[:end][:train_size], train_labels=labels[:end][:train_size])
    np.savez(path, **arrays, valid_images=images[end:], valid_labels=labels[end:])


def accuracies(row: dict) -> str:
    """Write training and validation accuracy of an epoch: '.239/.240'."""
    return "/".join(f"{row[key]:.3f}".lstrip("0") for key in KEYS)


def compare(rows: list[dict], epoch: int, key: str) -> str:
    """Write mean and spread of both frameworks, and their difference with its standard error."""
    found = {
        framework: [r[key] for r in rows if (r["framework"], r["epoch"]) == (framework, epoch)]
        for framework in FRAMEWORKS
    }
    ours, theirs = found.values()
    difference = statistics.mean(ours) - statistics.mean(theirs)
    error = sum(statistics.variance(values) / len(values) for values in found.values()) ** 0.5
    each = ", ".join(
        f"{framework} {statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"
        for framework, values in found.items()
    )
    return f"{each}, difference {difference:+.3f} ± {error:.3f}"


def draw(rows: list[dict]) -> Figure:
    """Draw both accuracies by epoch: a line for each run, and the published values."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, key in zip(figure.subplots(1, 2, sharey=True), KEYS):
        for framework, color in zip(FRAMEWORKS, ("C0", "C1")):
            for seed in sorted({row["seed"] for row in rows}):
                run = [r for r in rows if (r["framework"], r["seed"]) == (framework, seed)]
                points = [r["epoch"] for r in run], [100 * r[key] for r in run]
                axes.plot(*points, color, label=None if seed else framework)
        published = [r for r in RECIPE.published if r["epoch"] <= RECIPE.num_epochs]
        points = [r["epoch"] for r in published], [100 * r[key] for r in published]
        axes.plot(*points, "kx", label="published")
        axes.set(title=key.replace("_", " "), xlabel="epoch", ylabel="percent")
    axes.legend()
    return figure


if __name__ == "__main__":
    runs.run(main)
