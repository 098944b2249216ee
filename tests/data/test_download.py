import os
import resource
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from d2l_alexnet.data import cifar10, download
from d2l_alexnet.errors import InputError


def test_a_data_file_that_is_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / cifar10.FILES[0].name)
    with pytest.raises(InputError, match="data_batch_1.bin: not a regular file; move "):
        download.read_file(tmp_path, cifar10.FILES[0])


def test_what_a_killed_download_left_is_removed_also_if_no_file_is_missing(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    kept = {
        "of this process": f"{download._scratch(os.getpid())}a",
        "of another host": f".getting-an-other-{ended.pid}-b",
        "of the first version": f".getting-{ended.pid}-c",
        "of the user": "mine",
    }
    old = {".getting-other-1-d", ".getting-1-e"}
    for name in (*kept.values(), *old, f"{download._scratch(ended.pid)}f"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    for name in old:
        long_ago = time.time() - download.STALE - 60
        os.utime(tmp_path / name, (long_ago, long_ago))
    download.get_missing(tmp_path, [], [], "no files")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept.values())


def test_a_program_that_does_not_end_is_killed(tmp_path, monkeypatch):
    started, popen = [], subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda *a, **b: started.append(popen(*a, **b)) or started[0]
    )
    monkeypatch.setattr(download, "LONGEST", 0)
    with pytest.raises(OSError, match="^sleep: not finished after 0 s$"):
        download.run(["sleep", "1000"], tmp_path)
    assert started[0].returncode == -signal.SIGKILL


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux")
@pytest.mark.parametrize("command", [["yes"], ["dd", "if=/dev/zero", "of=file"]], ids=" ".join)
def test_a_program_that_writes_without_end_is_killed(tmp_path, monkeypatch, command):
    monkeypatch.setattr(download, "LARGEST", 100_000)
    with pytest.raises(OSError, match=f"^{command[0]}: has written more than 100,000 bytes$"):
        download.run(command, tmp_path)


def test_output_that_is_not_text_is_no_trouble(tmp_path):
    with pytest.raises(OSError, match="^sh: a\ufffdb$"):
        download.run(["sh", "-c", r"printf 'a\377b'; exit 1"], tmp_path)


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        (dict(LARGEST=1_000), "larger than 1,000 bytes"),
        (dict(LONGEST=-1), "not finished after -1 s"),
    ],
)
def test_a_download_that_is_too_large_or_too_slow_is_given_up(
    server, tmp_path, monkeypatch, limit, reason
):
    served, address = server
    (served / "file").write_bytes(bytes(2**20))
    for name, value in limit.items():
        monkeypatch.setattr(download, name, value)
    with pytest.raises(OSError, match=f"^{reason}$"):
        download.download(address, "file", tmp_path)
    assert (tmp_path / "file").stat().st_size <= 2**16


def test_a_download_is_the_same_file(server, tmp_path):
    served, address = server
    (served / "file").write_bytes(os.urandom(2**20))
    path = download.download(address, "file", tmp_path)
    assert path.read_bytes() == (served / "file").read_bytes()


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
    monkeypatch.setattr(download, "LARGEST", 500)
    with pytest.raises(ValueError, match="^archive.tar.gz holds more than 500 bytes$"):
        cifar10.unpack(tmp_path / "archive.tar.gz", tmp_path)
    assert (tmp_path / "a").stat().st_size == 300
    assert not (tmp_path / "b").exists()
