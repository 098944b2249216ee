"""Measure why the running training accuracy is below the test accuracy.

The lecture prints two accuracies for every epoch: (A) the running training accuracy, summed while
dropout is active and the net improves, and (T) the test accuracy of the net after the epoch. Two
more are between them: (B) the running training accuracy in predict mode, measured on the same
batches with the same weights as A, and (C) the training accuracy after the epoch. Then, exactly,

    T - A  =  (B - A)  +  (C - B)  -  (C - T)
              dropout   improvement   overfitting

A and B are measured on every image of the epoch, T on every test image. C is measured on the first
10,000 training images. It is measured on all of them if there are fewer, or if the data set's
`measure_train_accuracy` is set. On 10,000 images, the standard error of C is at most
0.005. An error of C changes improvement and overfitting by the same amount. It does not change
their difference.
"""

from __future__ import annotations

from typing import Sequence

SAMPLED = 10_000  # training images for C: as many as there are test images
PARTS = dict(
    dropout="dropout",
    improvement="improvement during the epoch",
    overfitting="overfitting",
)


def measured(history: Sequence[dict]) -> bool:
    """Return whether a history has all accuracies that the parts of the gap need."""
    return all("running_train_accuracy_in_predict_mode" in row for row in history)


def parts(row: dict) -> dict[str, float]:
    """Split an epoch's gap between test and running training accuracy into its three parts.

    Parameters
    ----------
    row : dict
        A row of the history of a run with ``--explain-gap``.

    Returns
    -------
    dict of str to float
        ``gap``, ``dropout``, ``improvement`` and ``overfitting``, as fractions. The gap is dropout
        plus improvement minus overfitting.
    """
    a = row["running_train_accuracy"]
    b = row["running_train_accuracy_in_predict_mode"]
    c = row["train_accuracy"]
    t = row["test_accuracy"]
    return dict(gap=t - a, dropout=b - a, improvement=c - b, overfitting=c - t)


def contributions(row: dict) -> dict[str, float]:
    """Return how much each part adds to an epoch's gap; overfitting makes the gap smaller."""
    of_row = parts(row)
    return {key: -of_row[key] if key == "overfitting" else of_row[key] for key in PARTS}


def explain(history: Sequence[dict]) -> str:
    """Say in two sentences what the gap consists of, and which part is the largest.

    Parameters
    ----------
    history : list of dict
        The history of a run with ``--explain-gap``.

    Returns
    -------
    str
    """
    added = [contributions(row) for row in history]
    mean = {key: sum(each[key] for each in added) / len(added) for key in PARTS}
    sums = ", ".join(f"{mean[key]:+.3f} from {name}" for key, name in PARTS.items())
    return (
        f"Test accuracy minus running training accuracy was {sum(mean.values()):+.3f} on average: "
        f"{sums}. The largest part was {largest_parts(history)}."
    )


def largest_parts(history: Sequence[dict]) -> str:
    """Say which part of the gap is the largest, and in which epochs."""
    largest: dict[str, list[str]] = {}
    for row in history:
        added = contributions(row)
        part = max(PARTS, key=lambda key: abs(added[key]))
        largest.setdefault(part, []).append(str(row["epoch"]))
    return "; ".join(f"{PARTS[key]} in {_epochs(rows)}" for key, rows in largest.items())


def _epochs(numbers: Sequence[str]) -> str:
    """Write numbers of epochs."""
    *first, last = numbers
    return f"epochs {', '.join(first)} and {last}" if first else f"epoch {last}"
