"""What a run has measured: one row per epoch, in a file of one JSON object per line.

Keys, where they apply: ``epoch``, ``loss`` (mean over the pass), ``running_train_accuracy``
(summed during the pass), ``running_train_accuracy_in_predict_mode``, ``train_accuracy`` (after the
epoch), ``valid_accuracy``, ``test_accuracy``, ``learning_rate``, ``seconds`` (with testing),
``images_per_second`` (of the pass alone), ``seconds_waiting_for_data`` (that the loop waited for
the loader; the device has work for up to two more batches meanwhile). Accuracies are fractions.
"""

from __future__ import annotations

import json
from pathlib import Path

from d2l_alexnet.errors import InputError


def write_history(path, rows):
    """Write a history file, a line a row."""
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))


def read_history(path):
    """Read a history file.

    Returns
    -------
    list of dict
        In the order of the epochs.

    Raises
    ------
    InputError
        When the file cannot be read, or a line of it is not a row.
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


def cuts(history):
    """Find the epochs that had a lower learning rate than the epoch before.

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
