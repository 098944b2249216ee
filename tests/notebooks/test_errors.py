"""An error that is meant for the user, as a notebook shows it."""

import subprocess
import sys

import pytest

RAISE = "from d2l_alexnet.errors import *; raise {error}"


@pytest.mark.parametrize(
    "error, shown",
    [
        ("InputError('no such file')", "InputError: no such file"),
        ("RunError('the loss is NaN')", "RunError: the loss is NaN"),
        ("Interrupted(2, 'saved')", "Interrupted: saved"),
    ],
)
def test_an_error_for_the_user_is_one_line(error, shown):
    command = [sys.executable, "-m", "IPython", "-c", RAISE.format(error=error)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 1
    assert (ended.stdout + ended.stderr).splitlines() == [shown]
