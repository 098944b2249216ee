"""From an image as it is in the file to the tensor that the net takes."""

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
    """Resize, crop in the middle, to tensor, normalize: the same for every epoch.

    A whole batch at a time. The lecture's Resize and ToTensor give bit for bit the same when they
    are applied to one image after the other.

    Parameters
    ----------
    resize : int
        Side of the resized images, in pixels.
    crop : int
        Side of the squares that are then cropped out of their middle, in pixels.
    mean, std : float
        Values in 0…1 become ``(value - mean) / std``.
    """

    resize: int
    crop: int
    mean: float = 0.0
    std: float = 1.0

    def batchify(self, samples: Sequence) -> tuple[Any, np.ndarray]:
        """Stack samples to a batch; a loader does this in its workers.

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
        return stack(samples)

    def on_cpu(self, X: Any) -> Any:
        """Resize and crop a batch, uint8 (N, H, W, C), in the process that trains."""
        X = transforms.Resize(self.resize)(X)
        if self.crop < self.resize:
            edge = (self.resize - self.crop) // 2
            X = transforms.CropResize(edge, edge, self.crop, self.crop)(X)
        return X

    def to_tensor(self, X: Any) -> Any:
        """Turn uint8 (N, H, W, C) into normalized float32 (N, C, H, W), where the net computes."""
        X = transforms.ToTensor()(X)
        if (self.mean, self.std) == (0, 1):
            return X
        return transforms.Normalize(self.mean, self.std)(X)


@dataclass(frozen=True)
class RandomTransform(Transform):
    """Resize, crop at a random place, to tensor, normalize; and more, if wanted.

    Parameters
    ----------
    augment : bool
        Whether to rotate, flip and color-jitter the images too.
    """

    augment: bool = False

    def batchify(self, samples: Sequence) -> tuple[Any, np.ndarray]:
        """Stack samples to a batch, and resize, change and crop its images.

        Parameters
        ----------
        samples : sequence of ((numpy.ndarray, int), numpy.ndarray)
            Images uint8 (H, W, C) and their labels, and each image's random numbers; see
            `d2l_alexnet.data.augment`.

        Returns
        -------
        X : mxnet.nd.NDArray
            uint8 (N, crop, crop, C).
        y : numpy.ndarray
            int32 (N,).
        """
        pairs, rows = zip(*samples)
        numbers = np.stack(rows)  # (N, RANDOM_NUMBERS)
        images, y = stack(pairs)
        X = transforms.Resize(self.resize)(as_nd(images))  # (N, resize, resize, C)
        if self.augment:
            X = augment.rotate(X, numbers[:, 2])
        cropped = augment.crop(X.asnumpy(), self.crop, numbers[:, :2])
        if self.augment:
            cropped = [*map(augment.flip_and_jitter_color, cropped, numbers[:, 3:])]
        return as_nd(np.stack(cropped)), y

    def on_cpu(self, X: Any) -> Any:
        """Do nothing: the workers have done it."""
        return X


def transform_of(recipe: Recipe, dataset: DataSet) -> Transform:
    """Give the transform of the images on which a recipe's net is tested."""
    return Transform(recipe.resize, recipe.crop, dataset.mean, dataset.std)


def stack(samples: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """Stack images, uint8 (H, W, C), and labels; see `Transform.batchify`."""
    images, labels = zip(*samples)
    return np.stack(images), np.array(labels, np.int32)


def as_nd(array: Any) -> Any:
    """Give a NumPy array as MXNet's array on the same memory; give back one of MXNet's."""
    return array if isinstance(array, mx.nd.NDArray) else mx.nd.from_numpy(array)
