"""Why does the loss rise and fall again? ``python experiments/second_descent.py``.

Questions (statements B9, B10 and B16): the loss of the second lecture's AlexNet falls, and rises
from epoch 20 on. It falls again from epoch 33 on, where the learning rate is cut. The lecture calls
this double descent. What happens without the cut? How do the norms of the weights and of the
gradients change? Does the loss also rise if the learning rate is 0.01 from the beginning?

Result: this command has not been run to its end yet. A run of 45 epochs takes about three hours on
two cores. A run without the cut takes 40 minutes. Two committed runs with one seed answer the first
question. In results/cifar10-alexnet the rate is cut in epoch 30, and the loss falls in the same
epoch, from 1.14 to 0.92. results/cifar10-alexnet-constant is the same run without the cut. There
the loss rises further: from 1.14 to 2.53 in epoch 34, and to 3e28 in epoch 35. Then a weight is
infinite or not a number.

The run without the cut starts from a copy. The copy is made just before the cut. Finished runs are
skipped, and a run that was stopped is resumed.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import runs  # MXNet imports only after the package

# isort: split
import mxnet as mx
import numpy as np
from matplotlib.figure import Figure

from d2l_alexnet.callbacks import Callback
from d2l_alexnet.errors import RunError
from d2l_alexnet.recipes import RECIPES
from d2l_alexnet.run_folder import checkpoint
from d2l_alexnet.run_folder.settings import SETTINGS, read_settings
from d2l_alexnet.train import resume

ALEXNET = replace(RECIPES["cifar10-alexnet"], num_epochs=45)
EPOCHS_WITHOUT_CUT = 8  # the committed run had six
# An epoch counts as better only if its accuracy is more than three times the best one before. So
# the rate is cut after almost every epoch.
QUICK = dict(runs.SMALL_CONVNET, num_epochs=3, plateau=dict(patience=0, threshold=2.0))


class Norms(Callback):
    """Write the norms of the weights and of the gradients of every batch into the run folder."""

    def __init__(self, run: Path) -> None:
        self.path = run / "norms.txt"

    def on_batch_end(self, training: Any) -> None:
        """Append a line: the step and both norms."""
        parameters = [p for p in training.net.collect_params().values() if p.grad_req != "null"]
        weights = norm([p.list_data()[0] for p in parameters])
        gradients = norm([p.list_grad()[0] for p in parameters]) / training.recipe.batch_size
        with self.path.open("a") as file:
            file.write(f"{training.state.steps} {weights:.6g} {gradients:.6g}\n")


class CopyBeforeCut(Callback):
    """Copy the run to another folder before the first epoch with a lower learning rate."""

    def __init__(self, run: Path, copy: Path) -> None:
        self.run, self.copy = run, copy

    def on_epoch_begin(self, training: Any, images: int) -> None:
        """Copy the files that `resume` needs, if the rate has just become lower."""
        cut = training.trainer.learning_rate < training.recipe.lr
        if cut and not training.state.batches and not self.copy.exists():
            partial = self.copy.with_name(f"{self.copy.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            for path in (self.run / SETTINGS, checkpoint.find(self.run)[0]):
                shutil.copy2(path, partial)
            for name in ("history.jsonl", "losses.txt", "norms.txt"):
                shutil.copy2(self.run / name, partial)
            partial.rename(self.copy)


def norm(arrays: list) -> float:
    """Compute the norm of several arrays together."""
    squares = mx.nd.multi_sum_sq(*arrays, num_arrays=len(arrays))
    return float(squares.sum().sqrt().asscalar())


def main() -> None:
    """Train all that is missing, and draw the loss and both norms of every batch."""
    arguments = runs.parse(__doc__, "second_descent")
    recipe = replace(ALEXNET, **(QUICK if arguments.quick else {}))
    folders = {}
    for seed in (0,) if arguments.quick else (0, 1):
        run, copy = (arguments.out / f"{name}-seed{seed}" for name in ("cut", "no-cut"))
        folders[run.name] = runs.folder_of(
            recipe, run, seed, "norms.txt", callbacks=[Norms(run), CopyBeforeCut(run, copy)]
        )
        if copy.exists():
            folders[copy.name] = without_cut(copy)
        low = arguments.out / f"low-rate-seed{seed}"
        slow = replace(recipe, lr=recipe.lr / 10, plateau={})
        folders[low.name] = runs.folder_of(slow, low, seed, "norms.txt", callbacks=[Norms(low)])
    for name, folder in folders.items():
        history = runs.read_history(folder / "history.jsonl")
        lowest = min(history, key=lambda row: row["loss"])
        last = history[-1]
        print(
            f"{name}: loss {last['loss']:.3f} in epoch {last['epoch']}, "
            f"lowest {lowest['loss']:.3f} in epoch {lowest['epoch']}"
        )
    runs.save(draw(folders), arguments.out / "second_descent.png")


def without_cut(copy: Path) -> Path:
    """Resume a copy with the old learning rate, for some epochs or until the loss is infinite."""
    recipe, _ = read_settings(copy)
    changes: dict[str, float] = {}
    if recipe.lr_since == 1:  # this run has not started yet
        epochs = len(runs.read_history(copy / "history.jsonl")) + EPOCHS_WITHOUT_CUT
        changes = dict(lr=recipe.lr, num_epochs=epochs)
    try:
        resume(copy, changes, callbacks=[Norms(copy)], ctx="cpu", num_workers=0)
    except RunError as error:
        print(error)
    return copy


def draw(folders: dict[str, Path]) -> Figure:
    """Draw the loss of every batch, and the norms of the weights and of the gradients."""
    figure = Figure(figsize=(8, 9), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True)
    for name, folder in folders.items():
        losses = np.loadtxt(folder / "losses.txt", ndmin=1)
        norms = np.loadtxt(folder / "norms.txt", ndmin=2)
        for axes, x, y in (
            (panels[0], np.arange(1, len(losses) + 1), losses),
            (panels[1], norms[:, 0], norms[:, 1]),
            (panels[2], norms[:, 0], norms[:, 2]),
        ):
            axes.plot(x, y, label=name, linewidth=0.7)
            axes.set_yscale("log")
    for axes, label in zip(panels, ("loss", "norm of the weights", "norm of the gradients")):
        axes.set_ylabel(label)
    panels[0].legend(fontsize="small")
    panels[-1].set_xlabel("step")
    return figure


if __name__ == "__main__":
    runs.run(main)
