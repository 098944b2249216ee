import contextlib
import dataclasses
import os
import time

import pytest

from d2l_alexnet.errors import InputError, RunError
from d2l_alexnet.recipes import QUICK
from d2l_alexnet.run_folder import folder


def test_two_runs_of_the_same_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda _: "20261125-120000")
    recipe = dataclasses.replace(QUICK, name="my_own")
    with contextlib.ExitStack() as stack:
        names = [stack.enter_context(folder.created(recipe)).name for _ in range(3)]
    assert names == [f"my_own-20261125-120000{end}" for end in ("", "_2", "_3")]


def test_a_run_that_begins_meanwhile_is_left_alone(tmp_path):
    """Both runs were started when the folder was still empty."""
    out = tmp_path / "run"
    for _ in range(2):
        folder.new_folder(QUICK, out)
    with folder.created(QUICK, out):
        with pytest.raises(InputError, match="another run is writing there"), folder.locked(out):
            pass
        (out / "net.params").write_text("the first run's")
    with pytest.raises(InputError, match="not empty"), folder.created(QUICK, out):
        pass
    assert (out / "net.params").read_text() == "the first run's"


def test_a_folder_that_cannot_be_used_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "net.params").touch()
    for name, why in (
        ("long" * 100, "File name too long; choose another folder"),
        ("used", "not empty; choose a new folder"),
        ("file", "there is a file of that name; choose a new folder"),
    ):
        with pytest.raises(InputError) as caught:
            folder.new_folder(QUICK, tmp_path / name)
        assert str(caught.value) == f"--out {tmp_path / name}: {why}"
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK | os.X_OK)
    for out in (tmp_path / "new", tmp_path / "new" / "deeper"):
        with pytest.raises(InputError) as caught:
            folder.new_folder(QUICK, out)
        assert str(caught.value).endswith(f": cannot write in {tmp_path}; choose another folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "used"]


def test_a_folder_that_cannot_be_listed_is_refused(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    with pytest.raises(InputError, match=f"^--out {tmp_path}: Permission denied; choose another"):
        folder.new_folder(QUICK, tmp_path)


def test_a_current_folder_that_is_gone_is_one_line(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(InputError, match="^--out runs/quick-.*: No such file or directory; choose"):
        folder.new_folder(QUICK)


@pytest.mark.parametrize("begin", [folder.locked, lambda out: folder.created(QUICK, out)])
def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, begin):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "run"
    with pytest.raises(InputError) as caught, begin(out):
        pass
    assert str(caught.value) == f"--out {out}: cannot write there (Not a directory)"


def test_folders_above_are_made_too(tmp_path):
    with folder.created(QUICK, tmp_path / "new" / "run") as out:
        assert out.is_dir()


def test_a_name_of_our_own_that_cannot_be_made_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "runs").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^--out runs/quick-.*: .*cannot write"):
        folder._new_name(folder.Path("runs/quick-1"))
    with pytest.raises(InputError, match=r"^--out runs/quick-"), folder.created(QUICK):
        pass


def test_only_our_own_temporary_files_are_removed(tmp_path):
    for name in ("net.partial", "checkpoint-000000003.partial", "mine.partial", "net.params"):
        (tmp_path / name).touch()
    (tmp_path / "losses.partial").mkdir()
    with folder.locked(tmp_path):
        left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["losses.partial", "mine.partial", "net.params", "run.lock"]


def test_a_folder_with_what_a_killed_run_left_is_as_good_as_empty(tmp_path):
    (tmp_path / "args.partial").touch()
    assert folder.new_folder(QUICK, tmp_path) == tmp_path
    (tmp_path / "mine.partial").touch()
    with pytest.raises(InputError, match="not empty"):
        folder.new_folder(QUICK, tmp_path)


def test_a_temporary_file_that_cannot_be_removed_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "net.partial").touch()

    def fail(self):
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr("pathlib.Path.unlink", fail)
    with pytest.raises(InputError, match="cannot write there .Read-only"), folder.locked(tmp_path):
        pass


def test_a_file_is_synced_before_it_has_its_name_and_its_folder_after(tmp_path, monkeypatch):
    synced, fsync = [], os.fsync

    def note(descriptor):
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        synced.append((name, sorted(path.name for path in tmp_path.iterdir())))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    with folder.writing(tmp_path / "file.txt") as partial:
        partial.write_text("text")
    assert synced == [
        (str(tmp_path / "file.partial"), ["file.partial"]),
        (str(tmp_path), ["file.txt"]),
    ]


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    (tmp_path / "file.txt").write_text("old")
    writing = folder.writing(tmp_path / "file.txt")
    with pytest.raises(RunError, match="file.txt: cannot write it"), writing as partial:
        partial.write_text("half")
        raise OSError(28, os.strerror(28))
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]
    assert (tmp_path / "file.txt").read_text() == "old"


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    (tmp_path / "file.txt").write_text("old")
    with pytest.raises(KeyboardInterrupt), folder.writing(tmp_path / "file.txt") as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]
    assert (tmp_path / "file.txt").read_text() == "old"
