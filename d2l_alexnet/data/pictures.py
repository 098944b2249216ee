"""Convert any picture to an image like the images of a data set.

Fashion-MNIST was made from photographs with a white background. They were inverted, so the
background in the data set is black. A picture is converted in these steps:

- It is rotated upright by its EXIF data.
- It is converted to gray.
- If most of its border is bright, it is inverted.
- It is padded with black to a square. The picture is in the middle of the square.
- It is resized to 28 × 28 pixels.

In Fashion-MNIST, the margins around an object were cropped. Here they are not cropped. So an object
should fill its picture.

CIFAR-10 has photographs in color without padding. A picture is rotated upright by its EXIF data,
cropped to the largest square in its middle, and resized to 32 × 32 pixels.
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

BRIGHT = 127  # gray values above this count as bright; 255 is white
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "WEBP")  # Pillow runs no other program for these
STANDARD_INPUT = "-"


def read_picture(
    path: str | Path, from_picture: Callable[[Image.Image], tuple[np.ndarray, bool]]
) -> tuple[np.ndarray, bool]:
    """Read a picture, and convert it to an image like the images of a data set.

    Parameters
    ----------
    path : path
        The file of a picture of any size, gray or in color; ``-`` for standard input.
    from_picture : callable
        The data set's `DataSet.from_picture`.

    Returns
    -------
    image : numpy.ndarray
        uint8 (side, side, channels).
    inverted : bool
        Whether the picture was inverted.

    Raises
    ------
    InputError
        If the file does not exist or is a named pipe, if the picture is damaged or fully
        transparent, or if it has more pixels than Pillow allows (about 89 million).
    """
    source = io.BytesIO(sys.stdin.buffer.read()) if str(path) == STANDARD_INPUT else Path(path)
    try:
        if isinstance(source, Path) and (source.is_fifo() or source.is_char_device()):
            raise ValueError("not a regular file; - is standard input")  # `open` would wait
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


def _upright(picture: Image.Image) -> Image.Image:
    """Rotate a picture upright by its EXIF data, and convert it to mode RGBA."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode == "F":  # `convert` would round values from 0 to 1 to black
        picture = Image.fromarray(_eight_bits(np.asarray(picture)))
    if picture.mode.startswith("I"):  # 16 bits per pixel; `convert` would clip them at 255
        picture = Image.fromarray((np.asarray(picture) // 257).astype(np.uint8))
    picture = picture.convert("RGBA")
    if not picture.getchannel("A").getbbox():
        raise ValueError("it is fully transparent")
    return picture


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """Convert gray values from 0 to 1 to values from 0 to 255."""
    if not (values.min() >= 0 and values.max() <= 1):  # NaN is refused too
        raise ValueError(f"its values should be from 0 to 1, not {values.min()} to {values.max()}")
    return (values * 255).round().astype(np.uint8)


def like_fashion_mnist(picture: Image.Image, side: int = 28) -> tuple[np.ndarray, bool]:
    """Convert a picture to gray, invert it if its border is mostly bright, pad and resize it.

    Parameters
    ----------
    picture : PIL.Image.Image
        In mode RGBA. Transparent pixels become black if the others are bright, and white if the
        others are dark.
    side : int
        Side of the image, in pixels.

    Returns
    -------
    image : numpy.ndarray
        uint8 (side, side, 1). An image of the data set itself is not changed.
    inverted : bool
        Whether the picture was inverted, because more than half of its border was bright.

    Raises
    ------
    ValueError
        If the picture is so narrow that no pixel of its width would be left.
    """
    if max(picture.size) > side * min(picture.size):
        raise ValueError(f"it is more than {side} times as long as wide")
    gray, alpha = picture.convert("L"), picture.getchannel("A")
    background = 0 if ImageStat.Stat(gray, alpha).mean[0] > BRIGHT else 255
    gray = Image.composite(gray, Image.new("L", gray.size, background), alpha)
    pixels = np.asarray(gray)
    border = np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
    inverted = bool((border > BRIGHT).mean() > 0.5)
    if inverted:
        gray = ImageOps.invert(gray)
    square = ImageOps.pad(gray, (side, side), Image.Resampling.LANCZOS, color=0)
    return np.asarray(square)[..., np.newaxis], inverted


def like_cifar10(picture: Image.Image, side: int = 32) -> tuple[np.ndarray, bool]:
    """Crop a picture to the largest square in its middle, and resize it.

    Parameters
    ----------
    picture : PIL.Image.Image
        In mode RGBA. Transparent pixels become white.
    side : int
        Side of the image, in pixels.

    Returns
    -------
    image : numpy.ndarray
        uint8 (side, side, 3). An image of the data set itself is not changed.
    inverted : bool
        Always False.
    """
    square = ImageOps.fit(picture, (side, side), Image.Resampling.LANCZOS)
    white = Image.new("RGBA", square.size, "white")
    return np.asarray(Image.alpha_composite(white, square).convert("RGB")), False
