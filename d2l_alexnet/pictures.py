"""Any picture → an image like those of Fashion-MNIST: 28 × 28, grey, bright on black.

Fashion-MNIST was made from photographs on white paper, inverted, so that the background is black.
A picture is therefore turned to its camera's upright, greyed, inverted if its border is mostly
bright, padded with black to a square with the picture in the middle, and shrunk. Margins stay;
those of Fashion-MNIST had been cut off, so a thing that does not fill its picture looks unusual.
"""

from __future__ import annotations

import io
import sys
import warnings

import numpy as np
from PIL import Image, ImageOps, ImageStat, UnidentifiedImageError

from d2l_alexnet.runtime import InputError

SIDE = 28  # pixels
BRIGHT = 127  # above it a grey value, 0…255, counts as bright
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "WEBP")  # none that runs another program
STANDARD_INPUT = "-"


def read_picture(path):
    """Read a picture and make an image like those of the data set of it.

    Parameters
    ----------
    path : path
        Of a file of any size, grey or in colour; ``-`` for standard input.

    Returns
    -------
    image : numpy.ndarray
        uint8 (28, 28, 1), bright on black.
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
                return like_the_data(_grey(picture))
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: not a picture ({', '.join(FORMATS)})") from error
    except Exception as error:  # a damaged file can make the decoders raise anything
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or repr(error)
        raise InputError(f"{path}: cannot read this picture ({reason})") from error


def _grey(picture):
    """Turn a picture upright and grey; what is transparent becomes what sets off the rest."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):  # 16 bits a pixel, which Pillow would cut off at 255
        picture = Image.fromarray((np.asarray(picture) // 257).astype(np.uint8))
    picture = picture.convert("RGBA")
    grey, alpha = picture.convert("L"), picture.getchannel("A")
    if not alpha.getbbox():
        raise ValueError("all of it is transparent")
    behind = 0 if ImageStat.Stat(grey, alpha).mean[0] > BRIGHT else 255
    return Image.composite(grey, Image.new("L", grey.size, behind), alpha)


def like_the_data(grey):
    """Invert a grey picture if its border is mostly bright, pad it to a square, shrink it.

    Parameters
    ----------
    grey : PIL.Image.Image
        Of mode L.

    Returns
    -------
    image : numpy.ndarray
        uint8 (28, 28, 1). An image of the data set stays as it is.
    inverted : bool

    Raises
    ------
    ValueError
        When it is so narrow that nothing of it would be left.
    """
    if max(grey.size) > SIDE * min(grey.size):
        raise ValueError(f"it is more than {SIDE} times as long as wide")
    pixels = np.asarray(grey)
    border = np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
    inverted = bool((border > BRIGHT).mean() > 0.5)
    if inverted:
        grey = ImageOps.invert(grey)
    square = ImageOps.pad(grey, (SIDE, SIDE), Image.LANCZOS, color=0)
    return np.asarray(square)[..., np.newaxis], inverted
