import json
import os
import subprocess
import sys
import time

import pytest

from d2l_alexnet.errors import InputError
from d2l_alexnet.recipes import QUICK
from d2l_alexnet.run_folder import folder, lock
from d2l_alexnet.runtime import process

HOLD = """
import sys
from pathlib import Path
from d2l_alexnet.run_folder import lock
with lock.locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def no_flock(monkeypatch):
    """Let flock do nothing, as between two machines that share a network disk."""
    monkeypatch.setattr(lock.fcntl, "flock", lambda *_: None)


@pytest.fixture
def holder(tmp_path):
    """Another process that has locked a folder."""
    started = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert started.stdout.readline() == b"locked\n"
    yield started
    started.kill()
    started.communicate()


def leave(path, **changes):
    """Write the lock file of another process."""
    (path / lock.NAME).write_text(json.dumps({**process.describe(), **changes}))


def assert_it_can_be_locked(path):
    with lock.locked(path):
        owner = json.loads((path / lock.NAME).read_text())
        assert owner == process.describe()
        assert owner["pid"] == str(os.getpid())
    assert not (path / lock.NAME).exists()


def test_a_locked_folder_is_refused_and_then_free(holder, tmp_path):
    with pytest.raises(InputError, match=f"^{tmp_path}: another run is writing there$"):
        assert_it_can_be_locked(tmp_path)
    holder.communicate()
    assert_it_can_be_locked(tmp_path)


def test_the_file_names_a_living_process_where_flock_does_not_hold(holder, tmp_path, no_flock):
    with pytest.raises(InputError) as caught:
        assert_it_can_be_locked(tmp_path)
    assert str(caught.value) == (f"{tmp_path}: another run, process {holder.pid}, is writing there")
    assert json.loads((tmp_path / lock.NAME).read_text())["pid"] == str(holder.pid)


def test_a_killed_process_s_lock_is_taken_over_also_before_its_parent_asks(
    holder, tmp_path, no_flock
):
    holder.kill()
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # it is now a zombie
    assert (tmp_path / lock.NAME).exists()
    assert_it_can_be_locked(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(dict(started="1"), id="another process has its number now"),
        pytest.param(dict(boot="x"), id="the machine was started again"),
        pytest.param(dict(host="other", started="1"), id="a container of this machine"),
        pytest.param(dict(started="", boot=""), id="no /proc"),
    ],
)
def test_the_lock_of_a_process_that_has_ended_is_taken_over(tmp_path, no_flock, changes):
    leave(tmp_path, **changes)
    assert_it_can_be_locked(tmp_path)


def test_the_lock_of_another_machine_is_refused_with_what_to_do(tmp_path):
    leave(tmp_path, host="other", boot="x", pid="7")
    (tmp_path / "net.partial").touch()
    with pytest.raises(InputError) as caught, folder.locked(tmp_path):
        pass
    path = tmp_path / lock.NAME
    assert str(caught.value) == (
        f"{tmp_path}: a run on other, process 7, is writing there; if it was killed, remove {path}"
    )
    assert (tmp_path / "net.partial").exists()  # the other run is writing it
    path.unlink()
    assert_it_can_be_locked(tmp_path)


def test_of_two_machines_that_begin_at_once_one_is_refused(tmp_path, no_flock, monkeypatch):
    monkeypatch.setattr(lock, "_remove_stale", lambda path: leave(tmp_path, host="other"))
    with pytest.raises(InputError, match="another run is writing there$"):
        assert_it_can_be_locked(tmp_path)
    assert json.loads((tmp_path / lock.NAME).read_text())["host"] == "other"


def test_a_lock_that_was_removed_by_hand_and_made_anew_is_left_alone(tmp_path):
    with lock.locked(tmp_path):
        leave(tmp_path, host="other")
    assert json.loads((tmp_path / lock.NAME).read_text())["host"] == "other"


@pytest.mark.parametrize("content", ["", "\0\0\0"])
def test_a_lock_that_was_being_written_is_taken_over(tmp_path, content):
    (tmp_path / lock.NAME).write_text(content)
    assert_it_can_be_locked(tmp_path)


@pytest.mark.parametrize("content", ["mine", "[]", "{}", "[" * 9_000, "\xff"])
def test_a_file_of_the_users_is_left_alone(tmp_path, content):
    (tmp_path / lock.NAME).write_text(content, "latin-1")
    with pytest.raises(InputError, match=r"run.lock: not the lock of a run; move this file away$"):
        assert_it_can_be_locked(tmp_path)
    assert (tmp_path / lock.NAME).read_text("latin-1") == content


def test_a_pipe_of_this_name_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / lock.NAME)
    with pytest.raises(InputError, match="not the lock of a run"):
        assert_it_can_be_locked(tmp_path)


def test_a_folder_that_is_not_there_and_a_full_disk_are_one_line(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"none: cannot write there .No such file or directory.$"):
        assert_it_can_be_locked(tmp_path / "none")

    def fail(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(lock.json, "dumps", fail)
    with pytest.raises(InputError, match=r"cannot write there .No space left on device.$"):
        assert_it_can_be_locked(tmp_path)
    monkeypatch.undo()
    assert_it_can_be_locked(tmp_path)


def test_a_new_run_may_use_a_folder_with_nothing_but_a_lock(tmp_path):
    leave(tmp_path, started="1")
    with folder.created(QUICK, tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_processes_are_described_by_when_they_were_started():
    here = process.describe()
    assert process.is_running(here)
    assert process.is_here(here)
    ticks = int(here["started"]) / os.sysconf("SC_CLK_TCK")
    assert 0 < ticks <= time.clock_gettime(time.CLOCK_BOOTTIME)
    assert process.started(2**30) == ""
