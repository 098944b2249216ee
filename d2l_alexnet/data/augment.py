"""Random augmentation of training images: crop, rotate, flip, color jitter.

Each function takes images and a few random numbers in 0…1. The sampler draws these numbers. So the
result is the same in every loader worker, and in a run that was interrupted and resumed.
"""

from __future__ import annotations

from typing import Any

import mxnet as mx
import numpy as np

RANDOM_NUMBERS = 7  # for each image: 2 to crop, 1 to rotate, 1 to flip, 3 for the color jitter
DEGREES = 15  # largest rotation, in both directions
JITTER = 0.2  # largest relative change of brightness, contrast and saturation
GRAY = np.array([0.299, 0.587, 0.114], np.float32)  # weights of red, green and blue


def crop(images: np.ndarray, side: int, numbers: np.ndarray) -> np.ndarray:
    """Crop each image to a square.

    Parameters
    ----------
    images : numpy.ndarray
        uint8 (N, H, W, C).
    side : int
        Side of the squares, in pixels.
    numbers : numpy.ndarray
        (N, 2), from 0 to below 1: vertical and horizontal positions; (0, 0) is the top left.

    Returns
    -------
    numpy.ndarray
        uint8 (N, side, side, C).
    """
    places = np.array(images.shape[1:3]) - side + 1
    corners = (numbers * places).astype(int)
    return np.stack([image[y : y + side, x : x + side] for image, (y, x) in zip(images, corners)])


def rotate(X: Any, numbers: np.ndarray) -> Any:
    """Rotate each image around its center. The corners become black.

    Parameters
    ----------
    X : mxnet.nd.NDArray
        uint8 (N, H, W, C).
    numbers : numpy.ndarray
        (N,) in 0…1; with 0.5 an image is not rotated.

    Returns
    -------
    mxnet.nd.NDArray
        uint8 (N, H, W, C).
    """
    degrees = mx.nd.array(DEGREES * (2 * numbers - 1))
    rotated = mx.image.imrotate(X.transpose((0, 3, 1, 2)).astype(np.float32), degrees)
    return rotated.transpose((0, 2, 3, 1)).round().astype(np.uint8)


def flip(images: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Flip each image left to right if its number is below 0.5.

    Parameters
    ----------
    images : numpy.ndarray
        (N, H, W, C).
    numbers : numpy.ndarray
        (N,) in 0…1.

    Returns
    -------
    numpy.ndarray
        (N, H, W, C).
    """
    return np.where(numbers.reshape(-1, 1, 1, 1) < 0.5, images[:, :, ::-1], images)


def jitter_color(images: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Change brightness, then contrast, then saturation of each image slightly.

    Gluon's RandomBrightness and RandomContrast give the same values, bit for bit. But they take one
    image at a time, which is several times as slow. Gluon's RandomSaturation is wrong in MXNet
    1.9.1: it uses the blue channel as gray.

    Parameters
    ----------
    images : numpy.ndarray
        uint8 (N, H, W, 3).
    numbers : numpy.ndarray
        (N, 3) in 0…1; 0.5 changes nothing.

    Returns
    -------
    numpy.ndarray
        uint8 (N, H, W, 3).
    """
    factors = (1 + JITTER * (2 * numbers - 1)).astype(np.float32)
    brightness, contrast, saturation = factors.T.reshape(3, -1, 1, 1, 1)
    images = adjust_contrast(np.minimum(images * brightness, 255).astype(np.uint8), contrast)
    return adjust_saturation(images, saturation)


def adjust_contrast(images: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Move the pixels of each image away from its mean gray, or closer to it.

    Parameters
    ----------
    images : numpy.ndarray
        uint8 (N, H, W, 3).
    factors : numpy.ndarray
        float32 (N, 1, 1, 1). With 0, all pixels get the mean gray; with 1, nothing changes.

    Returns
    -------
    numpy.ndarray
        uint8 (N, H, W, 3).
    """
    # cumsum adds one value after the other, as Gluon does; sum would round differently.
    sums = np.cumsum((images * GRAY).reshape(len(images), -1), axis=1)[:, -1]
    height, width = images.shape[1:3]
    means = (sums / (height * width)).reshape(-1, 1, 1, 1)
    return (images * factors + (1 - factors) * means).clip(0, 255).astype(np.uint8)


def adjust_saturation(images: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Move the color of each pixel away from its gray, or closer to it.

    Parameters
    ----------
    images : numpy.ndarray
        uint8 (N, H, W, 3).
    factors : numpy.ndarray
        float32 (N, 1, 1, 1). 0 makes an image gray, 1 does not change it.

    Returns
    -------
    numpy.ndarray
        uint8 (N, H, W, 3).
    """
    gray = (images @ GRAY)[..., np.newaxis]  # (N, H, W, 1)
    return (gray + factors * (images - gray)).round().clip(0, 255).astype(np.uint8)
