"""The history of a run: one row per epoch, in a file with one JSON object per line."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Iterable, Sequence

from d2l_alexnet.errors import InputError
from d2l_alexnet.options import limited
from d2l_alexnet.validation import check_fields, parse_json


@dataclass(frozen=True)
class Row:
    """The keys and ranges of a row of a history. A row itself is a dict.

    Parameters
    ----------
    epoch : int
        Counted from 1.
    loss : float
        The mean loss over the images of the epoch. The loss of an image is measured in its training
        step.
    running_train_accuracy : float
        Accuracy summed during the epoch, in training mode. All accuracies are fractions.
    running_train_accuracy_in_predict_mode : float
        Accuracy on the same batches, without dropout. Only with ``--explain-gap``.
    train_accuracy, valid_accuracy, test_accuracy : float
        Accuracies measured after the epoch. The data set decides which of them are measured.
    learning_rate : float
        The learning rate at the end of the epoch.
    seconds : float
        The time of the whole epoch, with the measurements after it.
    images_per_second : float
        The speed of training, without the measurements after it.
    seconds_waiting_for_data : float
        The time in which the loop waited for the loader. During this time, the device may still
        compute up to two batches.
    """

    epoch: int = limited(1, minimum=1)
    loss: float = limited(0.0, minimum=0)
    running_train_accuracy: float = limited(0.0, minimum=0, maximum=1)
    running_train_accuracy_in_predict_mode: float = limited(0.0, minimum=0, maximum=1)
    train_accuracy: float = limited(0.0, minimum=0, maximum=1)
    valid_accuracy: float = limited(0.0, minimum=0, maximum=1)
    test_accuracy: float = limited(0.0, minimum=0, maximum=1)
    learning_rate: float = limited(0.0, minimum=0)
    seconds: float = limited(0.0, minimum=0)
    images_per_second: float = limited(0.0, minimum=0)
    seconds_waiting_for_data: float = limited(0.0, minimum=0)


ALWAYS = (
    "epoch", "loss", "running_train_accuracy", "learning_rate", "seconds", "images_per_second",
)  # fmt: skip
ADDED = {"seconds_waiting_for_data"}  # the first runs of version 0.1.0 did not measure it

DIVERGED = 2  # a run has diverged if its loss is above this many times its first loss


def write_history(path: str | Path, rows: Iterable[dict]) -> None:
    """Write a history file: one line per row."""
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))


def read_history(path: str | Path) -> list[dict]:
    """Read a history file.

    Returns
    -------
    list of dict
        In the order of the epochs; see `Row`.

    Raises
    ------
    InputError
        If the file cannot be read, or if a line is not the next row of a history.
    """
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a history file ({error})") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(parse_json(line))
            _check_row(rows[-1], rows[0], number)
        except ValueError as error:
            raise InputError(f"{path}, line {number}: not a row of a history ({error})") from error
    return rows


def check_rows(rows: Sequence[Any]) -> None:
    """Check the rows of a history; raise `InputError` if one is wrong."""
    for number, row in enumerate(rows, start=1):
        try:
            _check_row(row, rows[0], number)
        except InputError as error:
            raise InputError(f"row {number} of the history: {error}") from error


def _check_row(row: Any, first: dict, number: int) -> None:
    """Check a row. `first` is the first row, which was checked before."""
    check_fields(row, fields(Row), ALWAYS)
    if row["epoch"] != number:
        raise InputError(f"epoch is {row['epoch']}, not {number}")
    different = (row.keys() ^ first.keys()) - ADDED
    if different:
        raise InputError(f"{min(different)} must be in all rows or in none")


def cuts(history: Sequence[dict]) -> list[int]:
    """Find the epochs that have a lower learning rate than the epoch before.

    Parameters
    ----------
    history : sequence of dict
        Rows of a history.

    Returns
    -------
    list of int
    """
    return [
        row["epoch"]
        for before, row in zip(history, history[1:])
        if row["learning_rate"] < before["learning_rate"]
    ]


def diverged(history: Sequence[dict]) -> bool:
    """Return whether the last loss is above `DIVERGED` times the first one, or not finite."""
    last, limit = history[-1]["loss"], DIVERGED * history[0]["loss"]
    return not math.isfinite(last) or last > limit
