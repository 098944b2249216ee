"""What helps against overfitting? The ConvNet on CIFAR-10: ``python experiments/overfitting.py``.

Question (statements B6, B11 and B12): the second lecture's nets overfit by about 20 points,
although they use dropout. How much do more dropout, the random crop and augmentation help? How much
time do they take? Each run has 50 epochs. The seeds are 0 and 1.

Overfitting is training accuracy minus validation accuracy. The history has the training accuracy on
the images as the net is trained on them: cropped at random, as in the lecture, or augmented. This
accuracy is too low for a comparison with other runs. So the accuracy on clean training images is
measured too: they are prepared like validation images.

Result so far: training and validation accuracy after 50 epochs, and the time on one core. Other
programs ran at the same time.

- plain, n = 2: 1.000 and 0.750, 1.000 and 0.748, 38 minutes (Intel Xeon) and 55 (AMD EPYC);
- random crop, n = 2: 0.992 and 0.779, 0.998 and 0.785, 74 and 55 minutes (AMD EPYC); clean training
  images: 0.995 and 1.000;
- augmentation, n = 1: 0.972 and 0.806, 87 minutes (AMD EPYC); clean training images: 0.974;
- dropout 0.5, n = 2: 1.000 and 0.760, 0.999 and 0.756, 33 and 67 minutes (AMD EPYC);
- dropout 0.7, n = 2: 0.995 and 0.765, 0.995 and 0.762, 89 and 51 minutes (AMD EPYC);
- dropout 0.5 and augmentation, n = 1: 0.868 and 0.786, 96 minutes (Intel Xeon).

The random crop and augmentation help. More dropout does not help much. Not run: seed 1 of the
two settings with augmentation.

A run takes half an hour to one and a half hours on one core. Finished runs are skipped, and a run
that was stopped is resumed.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import runs

from d2l_alexnet.data import DATA_SETS
from d2l_alexnet.recipes import RECIPES
from d2l_alexnet.run_folder.settings import read_settings

CONVNET = RECIPES["cifar10-convnet"]
CROP = dict(resize=35, margin=3)  # crops of 32 of 35 pixels: the AlexNet recipe's 64 of 70
CHANGES: dict[str, dict] = {
    "plain": dict(dropout=0.0),
    "crop": dict(dropout=0.0, **CROP),
    "augment-only": dict(dropout=0.0, augment=True),
    "dropout-0.5": dict(),  # the lecture's recipe
    "dropout-0.7": dict(dropout=0.7),
    "augment": dict(augment=True),  # and dropout 0.5
}


def main() -> None:
    """Train all that is missing, print a line for each run, and draw the curves."""
    arguments = runs.parse(__doc__, "overfitting")
    changes = runs.SMALL if arguments.quick else {}
    histories, rows = {}, []
    for name, change in CHANGES.items():
        for seed in (0,) if arguments.quick else (0, 1):
            folder = arguments.out / f"{name}-seed{seed}"
            folder = runs.folder_of(replace(CONVNET, **change, **changes), folder, seed)
            histories[f"{name}-seed{seed}"] = runs.read_history(folder / "history.jsonl")
            rows.append(dict(name=name, seed=seed, **last(folder)))
            print("{name}, seed {seed}: {text}".format(text=text(rows[-1]), **rows[-1]))
    runs.write(arguments.out / "overfitting.json", rows)
    runs.plot(histories, ("train_accuracy", "valid_accuracy"), arguments.out / "overfitting.png")


def last(folder: Path) -> dict:
    """Return the accuracies after the last epoch, and the minutes of the run."""
    history = runs.read_history(folder / "history.jsonl")
    names = ("train_accuracy", "valid_accuracy", "test_accuracy")
    accuracies = {name: history[-1][name] for name in names}
    clean = clean_train_accuracy(folder, accuracies["train_accuracy"])
    return dict(accuracies, clean_train_accuracy=clean, minutes=round(runs.minutes(history), 1))


def text(row: dict) -> str:
    """Write the accuracies of a run, its overfitting in points, and its minutes."""
    written = (
        "training {train_accuracy:.3f}, validation {valid_accuracy:.3f}, test {test_accuracy:.3f}, "
        "{minutes:.0f} min".format(**row)
    )
    clean = row["clean_train_accuracy"]
    if clean is None:
        return f"{written}; the weights are missing, so clean images were not tested"
    points = 100 * (clean - row["valid_accuracy"])
    return f"{written}; clean training images {clean:.3f}, overfitting {points:.1f} points"


def clean_train_accuracy(folder: Path, train_accuracy: float) -> float | None:
    """Return the accuracy on training images without augmentation, cropped in the middle.

    It is measured once, and kept in the run folder. It is None if there are no weights to measure
    it with. If the run trains on such images, it is the run's own training accuracy.
    """
    recipe, _ = read_settings(folder)
    if not recipe.augment and not recipe.margin:
        return train_accuracy
    path = folder / "clean.json"
    if not path.exists() and (folder / "net.params").exists():
        path.write_text(json.dumps(dict(clean_train_accuracy=measure(folder))) + "\n")
    return json.loads(path.read_text())["clean_train_accuracy"] if path.exists() else None


def measure(folder: Path) -> float:
    """Measure the accuracy of a run's net on the training images, prepared like test images."""
    recipe, _ = read_settings(folder)
    (images, labels), _ = DATA_SETS[recipe.data].read(None)
    return runs.accuracy(folder, images[: recipe.train_size], labels[: recipe.train_size])


if __name__ == "__main__":
    runs.run(main)
