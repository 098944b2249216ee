import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from d2l_alexnet.data import cifar10, download
from d2l_alexnet.errors import InputError


def test_a_data_file_that_is_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / cifar10.FILES[0].name)
    with pytest.raises(InputError, match="data_batch_1.bin: not a regular file; move "):
        download.read_file(tmp_path, cifar10.FILES[0])


def test_what_a_killed_download_left_is_removed(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    for name in (f".getting-{ended.pid}-a", f".getting-{os.getpid()}-b", "mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    download._remove_leftovers(tmp_path)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [f".getting-{os.getpid()}-b", "mine"]


def test_a_program_that_ends_well_without_its_file_is_an_error(tmp_path):
    with pytest.raises(OSError, match="^true: exit status 0, and no [*].tgz$"):
        download.run(["true"], tmp_path, result="*.tgz")
    (tmp_path / "a.tgz").touch()
    assert download.run(["true"], tmp_path, result="*.tgz") == tmp_path / "a.tgz"


def test_without_a_home_folder_the_user_is_asked_for_one(monkeypatch):
    def unknown():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("MXNET_HOME", raising=False)
    monkeypatch.setattr(Path, "home", unknown)
    with pytest.raises(InputError, match="^HOME is not set; set it, or MXNET_HOME, or use --data"):
        download.default_data_dir("cifar10")
    monkeypatch.setenv("MXNET_HOME", "/somewhere")
    assert download.default_data_dir("cifar10") == Path("/somewhere/datasets/cifar10")


def test_an_archive_that_holds_far_more_than_the_data_set_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(bytes(300))
    with tarfile.open(tmp_path / "archive.tar.gz", "w:gz") as tar:
        for name in ("a", "b"):
            tar.add(tmp_path / "file", name)
    monkeypatch.setattr(cifar10, "LARGEST_ARCHIVE", 500)
    with pytest.raises(ValueError, match="^archive.tar.gz holds more than 500 bytes$"):
        cifar10.unpack(tmp_path / "archive.tar.gz", tmp_path)
    assert (tmp_path / "a").stat().st_size == 300
    assert not (tmp_path / "b").exists()
