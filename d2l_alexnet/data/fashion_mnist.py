"""Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017): images of clothes in 10 classes.

60,000 training and 10,000 test images, 28 × 28, gray.
``python -m d2l_alexnet.data fashion-mnist`` finds or downloads them.
"""

from __future__ import annotations

import functools
import gzip
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from d2l_alexnet.data import download
from d2l_alexnet.data.dataset import Arrays, DataSet
from d2l_alexnet.data.pictures import like_fashion_mnist

CLASSES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


@dataclass(frozen=True)
class IdxFile:
    """One gzipped file in MNIST's format: a header, then one byte per value.

    Parameters
    ----------
    name : str
    shape : tuple of int
        Shape of its array.
    sha256 : str
        Digest of the unpacked bytes. The packed files of different sources differ.
    """

    name: str
    shape: tuple[int, ...]
    sha256: str

    def read(self, path: Path) -> np.ndarray:
        """Read and verify the file.

        Parameters
        ----------
        path : pathlib.Path

        Returns
        -------
        numpy.ndarray
            uint8, of shape `shape`.

        Raises
        ------
        ValueError
            If the file does not have the expected content. A file that is too long is not unpacked
            to its end.
        OSError
            If the file cannot be opened.
        """
        header_size = 4 + 4 * len(self.shape)  # a magic number and a length per axis
        size = header_size + int(np.prod(self.shape))
        try:
            with gzip.open(path) as stream:
                data = stream.read(size + 1)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"a damaged gzip file ({error})") from error
        download.verify(data, size, " when unpacked", sha256=self.sha256)
        return np.frombuffer(data, np.uint8, offset=header_size).reshape(self.shape)


TRAIN_IMAGES = IdxFile(
    "train-images-idx3-ubyte.gz",
    (60_000, 28, 28),
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
)
TRAIN_LABELS = IdxFile(
    "train-labels-idx1-ubyte.gz",
    (60_000,),
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
)
TEST_IMAGES = IdxFile(
    "t10k-images-idx3-ubyte.gz",
    (10_000, 28, 28),
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
)
TEST_LABELS = IdxFile(
    "t10k-labels-idx1-ubyte.gz",
    (10_000,),
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
)
FILES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)

DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = "usr/share/datasets/fashion-mnist"
# When root runs apt, apt downloads as another user, who cannot write to the scratch folder.
APT_GET = ("apt-get", "-q", "-oAPT::Sandbox::User=root")
HOME_PAGE = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"


def fashion_mnist(data_dir: str | Path | None = None) -> Arrays:
    """Find Fashion-MNIST or download it, and read it.

    Parameters
    ----------
    data_dir : path, optional
        The data folder; MXNet's own if not given. Missing files are downloaded into it.

    Returns
    -------
    train, test : tuple of numpy.ndarray
        ``(images, labels)`` each: uint8 (N, 28, 28, 1), and int32 (N,) in 0…9.

    Raises
    ------
    InputError
        If a file in the data folder does not have the expected content (the file is not changed),
        or if a file is missing and no source has it.
    """
    folder = Path(data_dir or download.default_data_dir("fashion-mnist"))
    get_missing(folder)
    train_images, train_labels, test_images, test_labels = (
        download.read_file(folder, file) for file in FILES
    )
    return (
        (train_images[..., np.newaxis], train_labels.astype(np.int32)),
        (test_images[..., np.newaxis], test_labels.astype(np.int32)),
    )


def get_missing(folder: Path) -> None:
    """Download the missing files into the data folder, and verify them."""
    download.get_missing(folder, FILES, sources(), "the four files of Fashion-MNIST (.gz)")


def sources() -> list[download.Source]:
    """List the sources of the files, in the order in which they are tried."""
    return [
        ("Debian's folder", copy_from_debian),
        *(
            (address, functools.partial(download.download, address))
            for address in (download.gluon_address("fashion-mnist"), HOME_PAGE)
        ),
        ("Debian's package", unpack_from_debian),
    ]


def copy_from_debian(name: str, scratch: Path, root: str | Path = "/") -> Path:
    """Copy a file from the folder in which Debian's package is installed."""
    return Path(shutil.copyfile(Path(root, DEBIAN_FOLDER, name), scratch / name))


def unpack_from_debian(name: str, scratch: Path) -> Path:
    """Copy a file from Debian's package, which is downloaded only once and not installed."""
    unpacked = scratch / "unpacked"
    if not unpacked.exists():
        get = ["download", DEBIAN_PACKAGE]
        try:
            package = download.run([*APT_GET, *get], scratch, result="*.deb")
        except OSError:  # no package lists, or old ones: download lists into the scratch folder
            for folder in ("lists/partial", "cache/archives/partial"):
                (scratch / folder).mkdir(parents=True)
            private = [f"-oDir::State::Lists={scratch}/lists", f"-oDir::Cache={scratch}/cache"]
            download.run([*APT_GET, *private, "update"], scratch)
            package = download.run([*APT_GET, *private, *get], scratch, result="*.deb")
        download.run(["dpkg-deb", "-x", package.name, unpacked.name], scratch)
    return copy_from_debian(name, scratch, root=unpacked)


FASHION_MNIST = DataSet(
    name="fashion-mnist",
    title="Fashion-MNIST",
    classes=CLASSES,
    channels=1,
    side=28,
    train_size=60_000,
    read=fashion_mnist,
    from_picture=like_fashion_mnist,
    status=functools.partial(download.status, "fashion-mnist", FILES),
)
