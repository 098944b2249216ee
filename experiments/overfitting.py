"""What helps against overfitting? The ConvNet on CIFAR-10: ``python experiments/overfitting.py``.

Question (statements B6, B11 and B12): the second lecture's nets overfit by about 20 points,
although they use dropout. How much do more dropout, the random crop and augmentation help? How much
time do they take? Each run has 50 epochs. The seeds are 0 and 1.

Result so far: training and validation accuracy after 50 epochs, and the time on one core. Other
programs ran at the same time.

- plain, n = 1: 1.000 and 0.750, 38 minutes (Intel Xeon);
- random crop, n = 1: 0.992 and 0.779, 74 minutes (AMD EPYC);
- dropout 0.5, n = 2: 1.000 and 0.760, 0.999 and 0.756, 33 to 55 minutes (AMD EPYC);
- dropout 0.5 and augmentation, n = 1: 0.868 and 0.786, 96 minutes (Intel Xeon).

Not run: augmentation alone, dropout 0.7, and seed 1 of three others; this command runs them.

A run takes about half an hour on one core. Finished runs are skipped, and a run that was stopped is
resumed.
"""

from __future__ import annotations

from dataclasses import replace

import runs

from d2l_alexnet.recipes import RECIPES

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
    seeds = (0,) if arguments.quick else (0, 1)
    histories = {
        f"{name}-seed{seed}": runs.train_once(
            replace(CONVNET, **change, **changes), arguments.out / f"{name}-seed{seed}", seed
        )
        for name, change in CHANGES.items()
        for seed in seeds
    }
    for name, history in histories.items():
        last = history[-1]
        points = 100 * (last["train_accuracy"] - last["valid_accuracy"])
        print(
            f"{name}: training {last['train_accuracy']:.3f}, "
            f"validation {last['valid_accuracy']:.3f}, overfitting {points:.1f} points, "
            f"{runs.minutes(history):.1f} min"
        )
    runs.plot(histories, ("train_accuracy", "valid_accuracy"), arguments.out / "overfitting.png")


if __name__ == "__main__":
    runs.run(main)
