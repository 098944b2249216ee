import json
from pathlib import Path

import pytest

from d2l_alexnet.errors import InputError
from d2l_alexnet.history import read_history, write_history
from d2l_alexnet.recipes import LECTURE

RESULTS = Path(__file__).parents[1] / "results"
FIRST, SECOND, *_ = (
    dict(row, learning_rate=0.01, images_per_second=3000.0) for row in LECTURE.published
)


def test_rows_come_back_as_they_went_in(tmp_path):
    write_history(tmp_path / "history.jsonl", [FIRST, SECOND])
    assert read_history(tmp_path / "history.jsonl") == [FIRST, SECOND]


def test_every_committed_history_can_be_read():
    paths = sorted(RESULTS.glob("**/history.jsonl"))
    assert len(paths) >= 13
    assert all(read_history(path) for path in paths)


def test_rows_from_before_the_waiting_was_measured_may_come_first(tmp_path):
    rows = [FIRST, dict(SECOND, seconds_waiting_for_data=1.5)]
    write_history(tmp_path / "history.jsonl", rows)
    assert read_history(tmp_path / "history.jsonl") == rows


def without(key):
    return {k: v for k, v in SECOND.items() if k != key}


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("{", "Expecting property name"),
        ("", "Expecting value"),
        ("\x00", "Expecting value"),
        ("[]", ".. is not an object with names and values"),
        ("7", "7 is not an object"),
        ("{}", "epoch is missing"),
        (without("epoch"), "epoch is missing"),
        (without("learning_rate"), "learning_rate is missing"),
        (without("test_accuracy"), "test_accuracy must be in all rows or in none"),
        (dict(SECOND, valid_accuracy=0.5), "valid_accuracy must be in all rows or in none"),
        (dict(SECOND, accuracy=0.5), "'accuracy' is unknown"),
        (dict(SECOND, epoch=3), "epoch is 3, not 2"),
        (dict(SECOND, epoch=2.0), "epoch is 2.0, not a whole number that is at least 1"),
        (dict(SECOND, epoch=True), "epoch is True, not a whole number"),
        (dict(SECOND, loss=-1.0), "loss is -1.0, not a number that is at least 0"),
        (dict(SECOND, loss=None), "loss is None, not a number"),
        (dict(SECOND, loss=[1.0]), "loss is .1.0., not a number"),
        (dict(SECOND, test_accuracy=1.5), "test_accuracy is 1.5, not a number .* at most 1"),
        (dict(SECOND, seconds="long"), "seconds is 'long', not a number"),
        (dict(SECOND, loss=float("nan")), "NaN is not a finite number"),
        (dict(SECOND, loss=float("inf")), "Infinity is not a finite number"),
        (json.dumps(SECOND).replace("0.6477", "1e999"), "loss is inf, not a number"),
        (json.dumps(SECOND).replace("0.6477", "1" + 400 * "0"), "loss is 10+.*0, not a number"),
        (json.dumps(SECOND)[:-1] + ', "loss": 0.6}', "'loss' occurs twice"),
        ("[" * 100_000 + "]" * 100_000, "the JSON is nested too deeply"),
    ],
)
def test_a_bad_row_is_named(tmp_path, row, why):
    path = tmp_path / "history.jsonl"
    second = row if isinstance(row, str) else json.dumps(row)
    path.write_text(f"{json.dumps(FIRST)}\n{second}\n")
    message = f"^{path}, line 2: not a row of a history [(].*{why}"
    with pytest.raises(InputError, match=message) as caught:
        read_history(path)
    assert "\n" not in str(caught.value)


def test_a_missing_history_is_named(tmp_path):
    with pytest.raises(InputError, match="^.*/none: not a history file"):
        read_history(tmp_path / "none")
