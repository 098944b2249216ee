"""The history of a run: one row per epoch, in a file with one JSON object per line.

A row has those of these keys that apply to the run; accuracies are fractions:

- ``epoch``, counted from 1;
- ``loss``: the mean over the epoch's images, each measured in its training step;
- ``running_train_accuracy``: summed during the epoch, in training mode;
- ``running_train_accuracy_in_predict_mode``: the same batches, without dropout;
- ``train_accuracy``, ``valid_accuracy``, ``test_accuracy``: measured after the epoch;
- ``learning_rate``: at the end of the epoch;
- ``seconds``: of the whole epoch, with the measurements after it;
- ``images_per_second``: of training alone;
- ``seconds_waiting_for_data``: how long the loop waited for the loader. Meanwhile the device may
  still compute up to two batches.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Iterable, Sequence

from d2l_alexnet.errors import InputError

DIVERGED = 2  # a run has diverged if its loss is above this many times its first loss


def write_history(path: str | Path, rows: Iterable[dict]) -> None:
    """Write a history file: one line per row."""
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))


def read_history(path: str | Path) -> list[dict]:
    """Read a history file.

    Returns
    -------
    list of dict
        In the order of the epochs.

    Raises
    ------
    InputError
        When the file cannot be read, or a line is not a row of a history.
    """
    rows = []
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a history file ({error})") from error
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            row["epoch"]
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{path}, line {number}: not a row of a history") from error
        rows.append(row)
    return rows


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
