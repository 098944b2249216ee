import functools
import gzip
import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from d2l_alexnet.data import download
from d2l_alexnet.data import fashion_mnist as fashion
from d2l_alexnet.data.fashion_mnist import IdxFile
from d2l_alexnet.errors import InputError

VALUES = np.arange(12, dtype=np.uint8).reshape(3, 4)
RAW = bytes([0, 0, 8, 2, 0, 0, 0, 3, 0, 0, 0, 4]) + VALUES.tobytes()
SMALL = IdxFile("small.gz", (3, 4), hashlib.sha256(RAW).hexdigest())
OTHER_RAW = bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9])
OTHER = IdxFile("other.gz", (2,), hashlib.sha256(OTHER_RAW).hexdigest())


@pytest.fixture
def small(monkeypatch):
    """Let two small files be the data set, and let nothing but the test's own places have it."""
    monkeypatch.setattr(fashion, "FILES", (SMALL, OTHER))
    monkeypatch.setattr(fashion, "sources", list)


def place(folder, **changed):
    """Put the two small files into a folder, with other contents where they are given."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {"small": gzip.compress(RAW), "other": gzip.compress(OTHER_RAW), **changed}
    for name, content in contents.items():
        (folder / f"{name}.gz").write_bytes(content)


def test_the_real_data(fashion_mnist):
    (train_images, train_labels), (test_images, test_labels) = fashion_mnist
    assert train_images.shape == (60_000, 28, 28, 1)
    assert test_images.shape == (10_000, 28, 28, 1)
    assert {a.dtype for a in (train_images, test_images)} == {np.dtype(np.uint8)}
    assert {a.dtype for a in (train_labels, test_labels)} == {np.dtype(np.int32)}
    assert np.bincount(train_labels).tolist() == [6_000] * 10
    assert np.bincount(test_labels).tolist() == [1_000] * 10
    assert fashion.CLASSES[train_labels[0]] == "ankle boot"


def test_a_file_is_read_whatever_it_was_compressed_with(tmp_path):
    for level in (0, 1, 9):
        (tmp_path / "file").write_bytes(gzip.compress(RAW, level))
        assert (SMALL.read(tmp_path / "file") == VALUES).all()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "expected 24 bytes when unpacked, found 0"),
        (RAW, "a damaged gzip file"),
        (gzip.compress(RAW)[:-9], "a damaged gzip file"),
        (gzip.compress(RAW)[:15] + b"\xff\xff" + gzip.compress(RAW)[17:], "a damaged gzip file"),
        (gzip.compress(RAW[:-1]), "expected 24 bytes when unpacked, found 23"),
        (gzip.compress(RAW + b"x"), "expected 24 bytes when unpacked, found more"),
        (gzip.compress(bytes(50_000_000)), "expected 24 bytes when unpacked, found more"),
        (gzip.compress(RAW[:-1] + b"x"), f"expected SHA-256 {SMALL.sha256} when unpacked, found"),
    ],
    # gzip notes the time, so contents are no names: each process would have its own
    ids=["empty", "plain", "cut", "damaged", "short", "long", "bomb", "other"],
)
def test_any_other_content_is_refused(tmp_path, content, complaint):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=complaint):
        SMALL.read(tmp_path / "file")


def test_a_wrong_file_of_the_users_is_named_and_left_alone(small, tmp_path):
    place(tmp_path, other=b"my own")
    with pytest.raises(InputError, match=rf"^{tmp_path}/other.gz: .*; move this file away"):
        fashion.fashion_mnist(tmp_path)
    assert (tmp_path / "other.gz").read_bytes() == b"my own"


def test_only_missing_files_are_looked_for(small, tmp_path, monkeypatch):
    place(tmp_path / "source")
    place(tmp_path / "data")
    (tmp_path / "data" / "other.gz").unlink()
    asked = []

    def get(name, scratch):
        asked.append(name)
        return Path(shutil.copy(tmp_path / "source" / name, scratch))

    monkeypatch.setattr(fashion, "sources", lambda: [("here", get)])
    fashion.get_missing(tmp_path / "data")
    fashion.get_missing(tmp_path / "data")
    assert asked == ["other.gz"]
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == ["other.gz", "small.gz"]


def test_order_of_the_sources(monkeypatch):
    monkeypatch.delenv("MXNET_GLUON_REPO", raising=False)
    assert [name for name, _ in fashion.sources()] == [
        "Debian's folder",
        download.GLUON_REPO + "gluon/dataset/fashion-mnist/",
        fashion.HOME_PAGE,
        "Debian's package",
    ]


def test_the_environment_can_name_gluons_repository(server, tmp_path, monkeypatch):
    served, address = server
    place(served / "gluon" / "dataset" / "fashion-mnist")
    monkeypatch.setenv("MXNET_GLUON_REPO", address)
    name, get = fashion.sources()[1]
    assert name == address + "gluon/dataset/fashion-mnist/"
    assert (SMALL.read(get("small.gz", tmp_path)) == VALUES).all()


def test_a_damaged_download_is_not_kept(small, server, tmp_path, monkeypatch):
    served, address = server
    place(served, other=gzip.compress(OTHER_RAW)[:-4])
    source = (address, functools.partial(download.download, address))
    monkeypatch.setattr(fashion, "sources", lambda: [source])
    with pytest.raises(InputError, match="other.gz: a damaged gzip file"):
        fashion.get_missing(tmp_path / "data")
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["small.gz"]


def test_when_nothing_works_one_message_lists_what_was_tried(
    tmp_path, server, unused_address, monkeypatch
):
    """The real sources, each made to fail in its own way."""
    served, address = server
    monkeypatch.setattr(fashion, "FILES", (SMALL, OTHER))
    monkeypatch.setattr(fashion, "DEBIAN_FOLDER", "no/such/folder")
    monkeypatch.setattr(fashion, "HOME_PAGE", unused_address)
    monkeypatch.setenv("MXNET_GLUON_REPO", address)
    monkeypatch.setenv("PATH", str(tmp_path))  # no apt-get
    with pytest.raises(InputError) as caught:
        fashion.get_missing(tmp_path / "data")
    message = str(caught.value)
    assert message.startswith("could not get small.gz, other.gz. Sources tried, after ")
    for source, why in {
        "Debian's folder": "No such file or directory",
        address + "gluon/dataset/fashion-mnist/": "HTTP Error 404",
        unused_address: "Connection refused",
        "Debian's package": "No such file or directory: 'apt-get'",
    }.items():
        assert any(
            line.startswith(f"  {source}: small.gz: ") and why in line
            for line in message.splitlines()
        ), source
    assert message.endswith(f"put the four files of Fashion-MNIST (.gz) into {tmp_path}/data")
    assert not list((tmp_path / "data").iterdir())


def test_a_folder_that_cannot_be_written_is_named(small, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=f"^{tmp_path}/file/data: cannot write there .*--data-dir"):
        fashion.get_missing(tmp_path / "file" / "data")


@pytest.mark.skipif(not shutil.which("apt-get"), reason="needs apt-get")
def test_debians_package_is_fetched_and_unpacked_without_being_installed(tmp_path):
    path = fashion.unpack_from_debian(fashion.TEST_LABELS.name, tmp_path)
    assert fashion.TEST_LABELS.read(path).shape == (10_000,)


def test_two_processes_at_once_both_end_with_whole_files(server, tmp_path, command, fashion_mnist):
    served, address = server
    folder = served / "gluon" / "dataset"
    folder.mkdir(parents=True)
    (folder / "fashion-mnist").symlink_to(download.default_data_dir("fashion-mnist"))
    code = (
        "from d2l_alexnet.data import __main__, fashion_mnist\n"
        "fashion_mnist.DEBIAN_FOLDER = 'no/such/folder'\n"
        f"__main__.main(['fashion-mnist', '--data-dir', {str(tmp_path / 'data')!r}])"
    )
    environment = {**os.environ, "MXNET_GLUON_REPO": address}
    processes = [command("-c", code, env=environment) for _ in range(2)]
    for process in processes:
        assert "60,000 training and 10,000 test images, verified" in process.communicate()[0]
        assert process.returncode == 0
    names = sorted(path.name for path in (tmp_path / "data").iterdir())
    assert names == sorted(file.name for file in fashion.FILES)


def test_command(run, fashion_mnist):
    done = run("data", "fashion-mnist")
    assert done.returncode == 0
    assert done.stdout == (
        "fashion-mnist: 60,000 training and 10,000 test images, verified, "
        f"in {download.default_data_dir('fashion-mnist')}\n"
    )


def test_command_with_bad_input(run, tmp_path):
    place(
        tmp_path,
        **{
            "t10k-labels-idx1-ubyte": b"",
            "t10k-images-idx3-ubyte": b"",
            "train-labels-idx1-ubyte": b"",
            "train-images-idx3-ubyte": b"",
        },
    )
    for arguments, message in (
        (["fashion-mnist", "--data-dir", tmp_path], f"{tmp_path}/train-images-idx3-ubyte.gz: "),
        (["mnist"], "invalid choice: 'mnist'"),
        ([], "arguments are required: dataset"),
    ):
        done = run("data", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
