"""The record that describes a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Tuple

import numpy as np
from PIL import Image

# (images, labels) of the training set, then of the test set: uint8 (N, H, W, C) and int32 (N,).
Arrays = Tuple[Tuple[np.ndarray, np.ndarray], Tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class DataSet:
    """The description of a data set.

    To add a data set, write a module with a `DataSet` record. Then add the record to `DATA_SETS` in
    ``d2l_alexnet/data/__init__.py``.

    Parameters
    ----------
    name : str
        Its name on the command line, in a recipe, and in MXNet's data folder.
    title : str
        The name that its authors use.
    classes : tuple of str
        The names of the classes, by label.
    channels : int
        Channels of an image: 1 for gray, 3 for red, green and blue.
    side : int
        Side of an image in the files, in pixels.
    train_size : int
        Number of training images, without the validation images.
    read : callable
        A function that finds or downloads the files, reads them, and returns `Arrays`. Its
        argument is the data folder, or None for MXNet's own data folder.
    valid_fraction : float
        The fraction of the training images in the files that is used for validation. The last
        images of the files are used. If the fraction is above 0, validation accuracy is measured
        after each epoch.
    measure_train_accuracy : bool
        Whether training accuracy is also measured after each epoch.
    mean, std : float
        A pixel value becomes ``(value / 255 - mean) / std``, in all channels.
    drop_last : bool
        Whether training drops the last batch of an epoch if it is incomplete.
    random_crop : bool
        Whether training images are cropped at random places. `Recipe.margin` and `Recipe.augment`
        need it.
    from_picture : callable, optional
        A function that converts any picture, in mode RGBA, to an image like those of the data set.
        It also returns whether it inverted the picture. See `d2l_alexnet.data.pictures`.
    status : callable, optional
        A function that describes in a few words whether the files are in MXNet's data folder and
        verified.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    channels: int
    side: int
    train_size: int
    read: Callable[[str | Path | None], Arrays]
    valid_fraction: float = 0.0
    measure_train_accuracy: bool = False
    mean: float = 0.0
    std: float = 1.0
    drop_last: bool = False
    random_crop: bool = False
    from_picture: Callable[[Image.Image], tuple[np.ndarray, bool]] | None = None
    status: Callable[[], str] | None = None
