import pytest

from d2l_alexnet.errors import InputError
from d2l_alexnet.history import read_history, write_history
from d2l_alexnet.recipes import LECTURE


def test_rows_come_back_as_they_went_in(tmp_path):
    write_history(tmp_path / "history.jsonl", LECTURE.published)
    assert read_history(tmp_path / "history.jsonl") == list(LECTURE.published)


@pytest.mark.parametrize("line", ["{", "[]", "7", '{"loss": 1.0}', "\x00"])
def test_a_bad_row_is_named(tmp_path, line):
    path = tmp_path / "history.jsonl"
    path.write_text('{"epoch": 1}\n' + line)
    with pytest.raises(InputError, match=f"^{path}, line 2: not a row of a history$"):
        read_history(path)


def test_a_missing_history_is_named(tmp_path):
    with pytest.raises(InputError, match="^.*/none: not a history file"):
        read_history(tmp_path / "none")
