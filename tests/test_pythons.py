import sys

import pytest
import pythons


def test_the_table_is_sorted_and_keeps_the_rows_of_other_machines(tmp_path):
    rows = [
        [f"3.{minor}.1", "2.0", "5.0", "x86_64", "9 s", "yes", "46", "1 run"] for minor in (14, 8)
    ]
    pythons.write_table(tmp_path / "table", rows)
    assert pythons.read_rows(tmp_path / "table") == rows[::-1]
    assert pythons.read_rows(tmp_path / "none") == []


def test_a_step_that_fails_gives_its_last_line(tmp_path):
    with pytest.raises(pythons.Failed, match="^no$"):
        pythons.execute(
            sys.executable,
            "-c",
            "import sys; print('yes', flush=True); sys.exit('no')",
            cwd=tmp_path,
        )
