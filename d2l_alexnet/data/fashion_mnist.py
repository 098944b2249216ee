"""Where the data comes from, and proof that it is the right data.

``python -m d2l_alexnet.data fashion-mnist`` finds or gets Fashion-MNIST (Xiao, Rasul and
Vollgraf, 2017): 60,000 training and 10,000 test images of clothes, 28 × 28, grey, in 10 classes.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
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
    """One gzipped file in the format of MNIST: a header, then one byte a value.

    Parameters
    ----------
    name : str
    shape : tuple of int
        Shape of its array.
    sha256 : str
        Of the uncompressed bytes: the same data is in circulation compressed in several ways.
    """

    name: str
    shape: tuple
    sha256: str

    @property
    def header_size(self):
        """Bytes before the data: a magic number and a length per axis, 4 bytes each."""
        return 4 + 4 * len(self.shape)

    @property
    def size(self):
        """Bytes of the file when it is unpacked."""
        return self.header_size + int(np.prod(self.shape))


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
# As root, apt would become a user who may not enter the scratch folder.
APT_GET = ("apt-get", "-q", "-oAPT::Sandbox::User=root")
HOME_PAGE = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"


def fashion_mnist(data_dir=None):
    """Find Fashion-MNIST, or get it, and read it.

    Its four files are looked for in the data folder, in the folder of Debian's package, in
    Gluon's repository (`MXNET_GLUON_REPO` overrides its address), on the data set's home page,
    and last in Debian's package fetched and unpacked without being installed. What the data
    folder lacked is put there.

    Parameters
    ----------
    data_dir : path, optional
        The data folder; `default_data_dir()` if it is not given.

    Returns
    -------
    train, test : tuple of numpy.ndarray
        ``(images, labels)`` each: uint8 (N, 28, 28, 1), and int32 (N,) in 0…9.

    Raises
    ------
    InputError
        For a file in the data folder that is not what it should be (it is left as it is), and
        for one that is nowhere to be had.
    """
    folder = Path(data_dir or default_data_dir())
    get_missing(folder)
    train_images, train_labels, test_images, test_labels = (
        download.read_own(folder / file.name, file, read_idx) for file in FILES
    )
    return (
        (train_images[..., np.newaxis], train_labels.astype(np.int32)),
        (test_images[..., np.newaxis], test_labels.astype(np.int32)),
    )


def default_data_dir():
    """Give the folder that Gluon's own class uses; see `d2l_alexnet.data.download`."""
    return download.default_data_dir("fashion-mnist")


def read_idx(path, file):
    """Read and verify one file.

    Parameters
    ----------
    path : path
    file : IdxFile
        What it should hold.

    Returns
    -------
    numpy.ndarray
        uint8, of shape ``file.shape``.

    Raises
    ------
    ValueError
        When it holds anything else; no more than the expected size is ever unpacked.
    OSError
        When it cannot be opened.
    """
    try:
        with gzip.open(path) as stream:
            data = stream.read(file.size + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"not a whole gzip file ({error})") from error
    if len(data) != file.size:
        found = f"{len(data):,}" if len(data) < file.size else "more"
        raise ValueError(f"expected {file.size:,} bytes when unpacked, found {found}")
    digest = hashlib.sha256(data).hexdigest()
    if digest != file.sha256:
        raise ValueError(f"expected SHA-256 {file.sha256} when unpacked, found {digest}")
    return np.frombuffer(data, np.uint8, offset=file.header_size).reshape(file.shape)


def get_missing(folder):
    """Put those of the four files that the data folder lacks there; see `d2l_alexnet.data.download`."""
    what = "the four files of Fashion-MNIST (.gz)"
    download.get_missing(folder, FILES, read_idx, sources, what)


def sources():
    """List the places that may have the files, in the order in which they are asked."""
    return [
        ("Debian's folder", copy_from_debian),
        *(
            (address, functools.partial(download.download, address))
            for address in (download.gluon_address("fashion-mnist"), HOME_PAGE)
        ),
        ("Debian's package", unpack_from_debian),
    ]


def copy_from_debian(name, scratch, root="/"):
    """Copy a file from where Debian's package puts it."""
    return Path(shutil.copyfile(Path(root, DEBIAN_FOLDER, name), scratch / name))


def unpack_from_debian(name, scratch):
    """Fetch Debian's package the first time, without root and without installing it."""
    unpacked = scratch / "unpacked"
    if not unpacked.exists():
        try:
            download.run([*APT_GET, "download", DEBIAN_PACKAGE], scratch)
        except OSError:  # no package lists on this machine, or too old ones: fetch private ones
            for folder in ("lists/partial", "cache/archives/partial"):
                (scratch / folder).mkdir(parents=True)
            private = [f"-oDir::State::Lists={scratch}/lists", f"-oDir::Cache={scratch}/cache"]
            download.run([*APT_GET, *private, "update"], scratch)
            download.run([*APT_GET, *private, "download", DEBIAN_PACKAGE], scratch)
        package = next(scratch.glob("*.deb"))
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
    status=functools.partial(download.status, "fashion-mnist", FILES, read_idx),
)
