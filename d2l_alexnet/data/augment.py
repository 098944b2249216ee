"""Training images, each changed in its own way in every pass: the lecture's cure for overfitting.

What is done to an image is a function of a few numbers in 0…1, drawn for it by the sampler, so
that it does not matter which worker does it, nor whether a run was interrupted.
"""

from __future__ import annotations

import mxnet as mx
import numpy as np

RANDOM_NUMBERS = 7  # that each image needs: two to crop, one each to turn, flip, and for three colours
DEGREES = 15  # that an image is turned by at the most, to either side
JITTER = 0.2  # share by which brightness, contrast and saturation rise or fall at the most
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # weights of red, green and blue


def crop(images, side, numbers):
    """Cut a square out of each image.

    Parameters
    ----------
    images : numpy.ndarray
        uint8 (N, H, W, C).
    side : int
        Of the squares, in pixels.
    numbers : numpy.ndarray
        (N, 2): how far down and how far to the right they lie, from 0 up to 1.

    Returns
    -------
    list of numpy.ndarray
        N views, (side, side, C).
    """
    places = np.array(images.shape[1:3]) - side + 1
    corners = (numbers * places).astype(int)
    return [image[y : y + side, x : x + side] for image, (y, x) in zip(images, corners)]


def rotate(X, numbers):
    """Turn each image around its middle, to the right or to the left; what comes in is black.

    Parameters
    ----------
    X : mxnet.nd.NDArray
        uint8 (N, H, W, C).
    numbers : numpy.ndarray
        (N,) in 0…1; one half leaves an image as it is.

    Returns
    -------
    mxnet.nd.NDArray
        uint8 (N, H, W, C).
    """
    degrees = mx.nd.array(DEGREES * (2 * numbers - 1))
    turned = mx.image.imrotate(X.transpose((0, 3, 1, 2)).astype(np.float32), degrees)
    return turned.transpose((0, 2, 3, 1)).round().astype(np.uint8)


def flip_and_jitter_color(image, numbers):
    """Mirror every other image, and change the colours of each a little.

    Parameters
    ----------
    image : numpy.ndarray
        uint8 (H, W, C).
    numbers : numpy.ndarray
        (4,) in 0…1: whether to mirror it, and its brightness, contrast and saturation, each left
        as it is by one half.

    Returns
    -------
    numpy.ndarray
        uint8 (H, W, C).
    """
    image = image[:, ::-1] if numbers[0] < 0.5 else image
    brightness, contrast, saturation = 1 + JITTER * (2 * numbers[1:] - 1)
    X = mx.nd.array(image, dtype=np.uint8)
    # Gluon's operators behind RandomBrightness and RandomContrast, with nothing left to chance.
    X = mx.nd.image.random_brightness(X, min_factor=brightness, max_factor=brightness)
    X = mx.nd.image.random_contrast(X, min_factor=contrast, max_factor=contrast)
    return adjust_saturation(X.asnumpy(), saturation)


def adjust_saturation(image, factor):
    """Move an image's colours towards grey or away from it.

    Gluon's RandomSaturation takes blue alone for grey in MXNet 1.9.1.

    Parameters
    ----------
    image : numpy.ndarray
        uint8 (H, W, 3).
    factor : float
        0 makes it grey, 1 leaves it as it is.

    Returns
    -------
    numpy.ndarray
        uint8 (H, W, 3).
    """
    grey = (image @ GREY)[..., np.newaxis]  # (H, W, 1)
    return (grey + factor * (image - grey)).round().clip(0, 255).astype(np.uint8)
