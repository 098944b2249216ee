"""Draw the pictures in results/ again, from the logs: ``python results/draw.py``.

The pictures of losses and of images are not drawn again: the losses of single batches and the
weights of the nets are not in results/.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from d2l_alexnet import figures, gap
from d2l_alexnet.data import DATA_SETS
from d2l_alexnet.history import read_history
from d2l_alexnet.recipes import CIFAR10_ALEXNET
from d2l_alexnet.run_folder.settings import SETTINGS, read_settings

RESULTS = Path(__file__).resolve().parent


def pictures(results: Path) -> dict[Path, Figure]:
    """Draw every picture that the logs are enough for."""
    drawn = {}
    for path in results.glob(f"**/{SETTINGS}"):
        recipe, _ = read_settings(path.parent)
        history = read_history(path.with_name("history.jsonl"))
        drawn[path.with_name("curves.png")] = figures.curves(history, recipe.published)
        if gap.measured(history):
            drawn[path.with_name("gap.png")] = figures.gap(history)
        evaluation = path.with_name("evaluate.txt")
        if evaluation.exists():
            matrix = read_confusion(evaluation)
            classes = DATA_SETS[recipe.data].classes
            drawn[path.with_name("confusion.png")] = figures.confusion(matrix, classes)
    drawn[results / "descent.png"] = descent(results)
    return drawn


def descent(results: Path) -> Figure:
    """Draw the second lecture's AlexNet with and without the cut of the learning rate."""
    name = CIFAR10_ALEXNET.name
    runs = {"with the cut": name, "without the cut": f"{name}-constant"}
    histories = {
        title: read_history(results / folder / "history.jsonl") for title, folder in runs.items()
    }
    return figures.compare(histories, CIFAR10_ALEXNET.published)


def read_confusion(path: Path) -> np.ndarray:
    """Read the confusion matrix that ``python -m d2l_alexnet.evaluate`` has printed."""
    lines = [line.split() for line in path.read_text("utf-8").splitlines()]
    (head,) = (i for i, line in enumerate(lines) if line and line == [*map(str, range(len(line)))])
    width = len(lines[head])
    return np.array([line[-width:] for line in lines[head + 1 : head + 1 + width]], int)


def main() -> None:
    """Draw all pictures."""
    for path, figure in pictures(RESULTS).items():
        figure.savefig(path, dpi=150)
        print(path.relative_to(RESULTS))


if __name__ == "__main__":
    main()
