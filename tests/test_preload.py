import os

import pytest


@pytest.mark.parametrize("settings", [{}, dict(env=os.environ)], ids=["forked", "a new Python"])
def test_what_was_read_ahead_is_not_lost(command, settings):
    process = command("-c", "print('one'); print('two')", **settings)
    process.wait()
    assert process.stdout.readline() == "one\n"
    assert process.communicate() == ("two\n", "")
    assert process.returncode == 0
