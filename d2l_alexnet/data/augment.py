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


def crop(images: np.ndarray, side: int, numbers: np.ndarray) -> list[np.ndarray]:
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
    list of numpy.ndarray
        N views of the images: uint8 (side, side, C).
    """
    places = np.array(images.shape[1:3]) - side + 1
    corners = (numbers * places).astype(int)
    return [image[y : y + side, x : x + side] for image, (y, x) in zip(images, corners)]


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


def flip_and_jitter_color(image: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Flip an image with probability 1/2, and change its colors slightly.

    Parameters
    ----------
    image : numpy.ndarray
        uint8 (H, W, C).
    numbers : numpy.ndarray
        (4,) in 0…1. If the first number is below 0.5, the image is flipped left to right. The
        others set brightness, contrast and saturation; 0.5 changes nothing.

    Returns
    -------
    numpy.ndarray
        uint8 (H, W, C).
    """
    image = image[:, ::-1] if numbers[0] < 0.5 else image
    brightness, contrast, saturation = 1 + JITTER * (2 * numbers[1:] - 1)
    X = mx.nd.array(image, dtype=np.uint8)
    # The operators of Gluon's RandomBrightness and RandomContrast, with a fixed factor.
    X = mx.nd.image.random_brightness(X, min_factor=brightness, max_factor=brightness)
    X = mx.nd.image.random_contrast(X, min_factor=contrast, max_factor=contrast)
    return adjust_saturation(X.asnumpy(), saturation)


def adjust_saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Change the saturation of an image.

    Gluon's RandomSaturation is wrong in MXNet 1.9.1: it uses the blue channel as gray.

    Parameters
    ----------
    image : numpy.ndarray
        uint8 (H, W, 3).
    factor : float
        0 makes the image gray, 1 does not change it.

    Returns
    -------
    numpy.ndarray
        uint8 (H, W, 3).
    """
    gray = (image @ GRAY)[..., np.newaxis]  # (H, W, 1)
    return (gray + factor * (image - gray)).round().clip(0, 255).astype(np.uint8)
