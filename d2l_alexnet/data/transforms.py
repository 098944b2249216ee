"""Preprocessing: resize, crop, convert to tensors, normalize.

A transform has three methods, because each runs in a different place. `batchify` runs in the loader
workers, `resize_and_crop` in the process that trains, and `to_tensor` on the device of the net.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Sequence

import mxnet as mx
import numpy as np
from mxnet.gluon.data.vision import transforms

from d2l_alexnet.data import augment
from d2l_alexnet.data.dataset import DataSet
from d2l_alexnet.recipes import Recipe


@dataclass(frozen=True)
class Transform:
    """Resize images, crop their middle, convert them to tensors, and normalize.

    The transform is applied to a whole batch. The results are the same, bit for bit, as when the
    lecture's transforms are applied to one image after the other.

    Parameters
    ----------
    resize : int
        Side of the resized images, in pixels.
    crop : int
        Side of the cropped images, in pixels.
    mean, std : float
        Values in 0…1 become ``(value - mean) / std``.
    """

    resize: int
    crop: int
    mean: float = 0.0
    std: float = 1.0

    def batchify(self, samples: Sequence) -> tuple[Any, np.ndarray]:
        """Stack samples to a batch.

        Parameters
        ----------
        samples : sequence of (numpy.ndarray, int)
            Images uint8 (H, W, C), and their labels.

        Returns
        -------
        X : numpy.ndarray
            uint8 (N, H, W, C).
        y : numpy.ndarray
            int32 (N,).
        """
        images, labels = zip(*samples)
        return np.stack(images), np.array(labels, np.int32)

    def resize_and_crop(self, X: Any) -> Any:
        """Resize and crop a batch: uint8 (N, H, W, C) to uint8 (N, crop, crop, C)."""
        X = transforms.Resize(self.resize)(X)
        if self.crop < self.resize:
            edge = (self.resize - self.crop) // 2
            X = transforms.CropResize(edge, edge, self.crop, self.crop)(X)
        return X

    def to_tensor(self, X: Any) -> Any:
        """Convert uint8 (N, H, W, C) to normalized float32 (N, C, H, W)."""
        X = transforms.ToTensor()(X)
        if (self.mean, self.std) != (0, 1):
            X = transforms.Normalize(self.mean, self.std)(X)
        return X


@dataclass(frozen=True)
class RandomTransform(Transform):
    """Resize images, crop them at random places, convert to tensors, normalize, maybe augment.

    Parameters
    ----------
    augment : bool
        Whether to rotate, flip and color-jitter the images too; see `d2l_alexnet.data.augment`.
    """

    augment: bool = False

    def batchify(self, samples: Sequence) -> tuple[Any, np.ndarray]:
        """Stack samples to a batch; resize, augment and crop its images.

        Parameters
        ----------
        samples : sequence of ((numpy.ndarray, int), numpy.ndarray)
            Images uint8 (H, W, C) and their labels, and the random numbers of each image.

        Returns
        -------
        X : mxnet.nd.NDArray
            uint8 (N, crop, crop, C).
        y : numpy.ndarray
            int32 (N,).
        """
        pairs, rows = zip(*samples)
        numbers = np.stack(rows)  # (N, RANDOM_NUMBERS)
        images, y = super().batchify(pairs)
        X = transforms.Resize(self.resize)(as_nd(images))  # (N, resize, resize, C)
        if self.augment:
            X = augment.rotate(X, numbers[:, 2])
        cropped = augment.crop(X.asnumpy(), self.crop, numbers[:, :2])
        if self.augment:
            flipped = augment.flip(cropped, numbers[:, 3])
            cropped = augment.jitter_color(flipped, numbers[:, 4:])
        return as_nd(cropped), y

    def resize_and_crop(self, X: Any) -> Any:
        """Return the batch unchanged: `batchify` has already resized and cropped it."""
        return X


def transform_of(recipe: Recipe, dataset: DataSet, train: bool = False) -> Transform:
    """Make the transform of a recipe's test images, or of its training images."""
    settings = (recipe.resize, recipe.crop, dataset.mean, dataset.std)
    if train and dataset.random_crop:
        return RandomTransform(*settings, augment=recipe.augment)
    return Transform(*settings)


def as_nd(array: Any) -> Any:
    """Convert a NumPy array to an MXNet array without a copy; return an MXNet array unchanged."""
    return array if isinstance(array, mx.nd.NDArray) else mx.nd.from_numpy(array)
