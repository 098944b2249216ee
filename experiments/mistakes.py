"""Which classes are confused most often? ``python experiments/mistakes.py``.

Question (statement B13): the second lecture says that cats and dogs are confused most often, then
ships and airplanes, and frogs and cats. Which pairs of classes are confused most often, over
several nets and all 10,000 test images?

Result so far, n = 1 net of each data set, one core of an AMD EPYC, half a minute: of CIFAR-10
cat/dog 331 ± 18 images, automobile/truck 165 ± 13, bird/deer 151 ± 12, bird/cat 132 ± 11; cat/frog
is eighth with 114 ± 11, and airplane/ship is twelfth with 94 ± 10. Of Fashion-MNIST pullover/coat
409 ± 20, pullover/shirt 380 ± 19. The spread of several seeds: not run. The log is in
results/mistakes.

For a pair, the images of one class that are predicted as the other are counted, in both directions.
The number is the mean over the nets. The standard error says how much the number would vary with
other test images. It does not say how much the nets vary. The nets are those whose weights are in
results/: the lecture's ConvNet and LeNet. If their weights are missing, they are trained. Finished
runs are skipped, and a run that was stopped is resumed.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import runs
from matplotlib.figure import Figure

from d2l_alexnet.data import DATA_SETS
from d2l_alexnet.data.load import load_test_data
from d2l_alexnet.evaluate import Evaluation, load_net, predict
from d2l_alexnet.options import RunOptions
from d2l_alexnet.recipes import RECIPES

SEEDS = {"cifar10-convnet": (0,), "lenet": (0,)}
SHOWN = 8
QUICK = {"cifar10-convnet": runs.SMALL_CONVNET, "lenet": runs.SMALL_LENET}


def main() -> None:
    """Train all that is missing, print the most confused pairs, and draw them."""
    arguments = runs.parse(__doc__, "mistakes")
    rows = []
    for name, seeds in SEEDS.items():
        recipe = replace(RECIPES[name], **(QUICK[name] if arguments.quick else {}))
        evaluations = []
        for seed in seeds[:1] if arguments.quick else seeds:
            folder = arguments.out / f"{name}-seed{seed}"
            folder = runs.folder_of(recipe, folder, seed, needs="net.params")
            evaluations.append(evaluate(folder))
            accuracy = evaluations[-1].correct / len(evaluations[-1].labels)
            print(f"{name}, {recipe.num_epochs} epochs, seed {seed}: accuracy {accuracy:.3f}")
        about = dict(data=recipe.data, epochs=recipe.num_epochs, nets=len(evaluations))
        found = [dict(about, **pair) for pair in pairs(evaluations)]
        for row in found[:SHOWN]:
            print("{data}: {pair} {count:.0f} ± {error:.0f}".format(**row))
        rows += found
    runs.write(arguments.out / "mistakes.json", rows)
    runs.save(draw(rows), arguments.out / "mistakes.png")


def evaluate(folder: Path) -> Evaluation:
    """Compute the outputs of a run's net for all test images."""
    net, recipe, ctx = load_net(folder, "cpu")
    with load_test_data(recipe, RunOptions(num_workers=0), ctx[0]) as test_iter:
        return predict(net, test_iter, ctx, DATA_SETS[recipe.data].classes)


def pairs(evaluations: list[Evaluation]) -> list[dict]:
    """Count the confusions of each pair of classes, with standard errors; sort the most first."""
    labels, classes = evaluations[0].labels, evaluations[0].classes
    predicted = np.stack([evaluation.predicted for evaluation in evaluations])  # (nets, N)
    rows = []
    for a, b in itertools.combinations(range(len(classes)), 2):
        confused = (labels == a) & (predicted == b) | (labels == b) & (predicted == a)
        each = confused.mean(axis=0)  # for each image, the fraction of the nets that confuse it
        rows.append(
            dict(
                pair=f"{classes[a]}/{classes[b]}",
                count=round(float(each.sum()), 2),
                error=round(float(each.std() * len(each) ** 0.5), 2),
                of_each_net=confused.sum(axis=1).tolist(),
            )
        )
    return sorted(rows, key=lambda row: -row["count"])


def draw(rows: list[dict]) -> Figure:
    """Draw the pairs that are confused most often, with standard errors."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    data_sets = dict.fromkeys(row["data"] for row in rows)
    for axes, data in zip(figure.subplots(1, len(data_sets)), data_sets):
        most = [row for row in rows if row["data"] == data][:SHOWN][::-1]
        names, counts = [row["pair"] for row in most], [row["count"] for row in most]
        axes.barh(names, counts, xerr=[row["error"] for row in most], color="C0")
        images = len(DATA_SETS[data].read(None)[1][1])
        axes.set(title=data, xlabel=f"images of {images:,} that are confused, mean over the nets")
    return figure


if __name__ == "__main__":
    runs.run(main)
