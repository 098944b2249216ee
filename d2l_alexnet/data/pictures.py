"""Any picture → an image like those of a data set.

Fashion-MNIST was made from photographs on white paper, inverted, so that the background is black.
A picture is therefore turned to its camera's upright, greyed, inverted if its border is mostly
bright, padded with black to a square with the picture in the middle, and shrunk to 28 × 28 pixels.
Margins stay; those of Fashion-MNIST had been cut off, so a thing that does not fill its picture
looks unusual.

CIFAR-10 holds photographs in colour, without any padding. Of a picture, turned upright, the largest
square in its middle is cut out and shrunk to 32 × 32 pixels.
"""

from __future__ import annotations

import io
import sys
import warnings
from pathlib import Path
from typing import Callable

import numpy as np
from PIL import Image, ImageOps, ImageStat, UnidentifiedImageError

from d2l_alexnet.errors import InputError

BRIGHT = 127  # above it a grey value, 0…255, counts as bright
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "WEBP")  # none that runs another program
STANDARD_INPUT = "-"


def read_picture(path: str | Path, from_picture: Callable) -> tuple[np.ndarray, bool]:
    """Read a picture and make an image like those of the data set of it.

    Parameters
    ----------
    path : path
        Of a file of any size, grey or in colour; ``-`` for standard input.
    from_picture : callable
        The data set's `DataSet.from_picture`.

    Returns
    -------
    image : numpy.ndarray
        uint8 (28, 28, 1), bright on black, or (32, 32, 3), in colour.
    inverted : bool
        Whether the picture was inverted, as more than half of its border was bright.

    Raises
    ------
    InputError
        When there is no such file, or it is not a whole picture with something on it, or one of
        more pixels than Pillow believes to be meant well (about 89 million).
    """
    source = io.BytesIO(sys.stdin.buffer.read()) if str(path) == STANDARD_INPUT else path
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source, formats=FORMATS) as picture:
                return from_picture(_upright(picture))
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: not a picture ({', '.join(FORMATS)})") from error
    except Exception as error:  # a damaged file can make the decoders raise anything
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or repr(error)
        raise InputError(f"{path}: cannot read this picture ({reason})") from error


def _upright(picture):
    """Turn a picture upright, and give it eight bits a channel: red, green, blue and alpha."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):  # 16 bits a pixel, which Pillow would cut off at 255
        picture = Image.fromarray((np.asarray(picture) // 257).astype(np.uint8))
    picture = picture.convert("RGBA")
    if not picture.getchannel("A").getbbox():
        raise ValueError("all of it is transparent")
    return picture


def like_fashion_mnist(picture, side=28):
    """Grey a picture, invert it if its border is mostly bright, pad it to a square, shrink it.

    Parameters
    ----------
    picture : PIL.Image.Image
        Of mode RGBA; what is transparent becomes what sets off the rest.
    side : int
        In pixels.

    Returns
    -------
    image : numpy.ndarray
        uint8 (side, side, 1). An image of the data set stays as it is.
    inverted : bool

    Raises
    ------
    ValueError
        When it is so narrow that nothing of it would be left.
    """
    if max(picture.size) > side * min(picture.size):
        raise ValueError(f"it is more than {side} times as long as wide")
    grey, alpha = picture.convert("L"), picture.getchannel("A")
    behind = 0 if ImageStat.Stat(grey, alpha).mean[0] > BRIGHT else 255
    grey = Image.composite(grey, Image.new("L", grey.size, behind), alpha)
    pixels = np.asarray(grey)
    border = np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
    inverted = bool((border > BRIGHT).mean() > 0.5)
    if inverted:
        grey = ImageOps.invert(grey)
    square = ImageOps.pad(grey, (side, side), Image.LANCZOS, color=0)
    return np.asarray(square)[..., np.newaxis], inverted


def like_cifar10(picture, side=32):
    """Cut the largest square out of the middle of a picture, and shrink it.

    Parameters
    ----------
    picture : PIL.Image.Image
        Of mode RGBA; what is transparent becomes white.
    side : int
        In pixels.

    Returns
    -------
    image : numpy.ndarray
        uint8 (side, side, 3). An image of the data set stays as it is.
    inverted : bool
        Never.
    """
    square = ImageOps.fit(picture, (side, side), Image.LANCZOS)
    white = Image.new("RGBA", square.size, "white")
    return np.asarray(Image.alpha_composite(white, square).convert("RGB")), False
