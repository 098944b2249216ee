"""What the package knows of a data set: one record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Tuple

import numpy as np

# Images uint8 (N, H, W, C) and their labels int32 (N,); of the training set, then of the test set.
Arrays = Tuple[Tuple[np.ndarray, np.ndarray], Tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class DataSet:
    """A data set. A new one is a module that makes such a record, and a line in `DATA_SETS`.

    Parameters
    ----------
    name : str
        On the command line and in a recipe.
    title : str
        The name that its authors gave it.
    classes : tuple of str
        The names of the classes, by label.
    channels : int
        Channels of an image: 1 for grey, 3 for red, green and blue.
    side : int
        Side of an image in the files, in pixels.
    train_size : int
        Number of images that a net can be trained on. Validation images are not among them.
    read : callable
        Finds or downloads the files, given the data folder (None for the usual one), and reads
        them; gives `Arrays`.
    valid_fraction : float
        The fraction of the training images, at the end of the files, that are for validation.
    mean, std : float
        Pixels become ``(value / 255 - mean) / std``, in all channels.
    drop_last : bool
        Whether training leaves out a last batch that is not full.
    random_crop : bool
        Whether training images are cropped at random places, so that `Recipe.margin` and
        `Recipe.augment` can be used.
    measured : tuple of str
        Accuracies that are measured after each epoch, by their keys in the history.
    from_picture : callable, optional
        Makes an image like those of the data set out of any picture; see
        `d2l_alexnet.data.pictures`.
    status : callable, optional
        Says in a clause whether the files are in the usual folder, and sound.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    channels: int
    side: int
    train_size: int
    read: Callable[[str | Path | None], Arrays]
    valid_fraction: float = 0.0
    mean: float = 0.0
    std: float = 1.0
    drop_last: bool = False
    random_crop: bool = False
    measured: tuple[str, ...] = ("test_accuracy",)
    from_picture: Callable[[Any], tuple[np.ndarray, bool]] | None = None
    status: Callable[[], str] | None = None
