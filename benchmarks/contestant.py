"""A contestant's side of the harness: it measures when it is asked to. Needs Python and NumPy."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import zlib
from typing import Any, Callable, Dict, Iterable, Mapping, Sequence, Tuple

import numpy as np

# What measures once, and what else is to be said of it.
Measurement = Tuple[Callable[[], Any], Dict[str, Any]]
Kinds = Mapping[str, Callable[[argparse.Namespace], Measurement]]

# By recipe: channels of the images, the side they are resized to, and what is cropped from it.
IMAGES = {
    "lecture": (1, 224, 0),
    "lenet": (1, 28, 0),
    "quick": (1, 224, 0),
    "cifar10-alexnet": (3, 70, 6),
    "cifar10-convnet": (3, 32, 0),
}


def arguments(kinds: Iterable[str], argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the kind of measurement, and its settings."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=kinds)
    parser.add_argument("--recipe", choices=IMAGES, default="lecture")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--resize", type=int, help="the recipe's if not given")
    parser.add_argument("--batches", type=int, default=3, help="in one measurement")
    parser.add_argument("--num-workers", type=int, default=4)
    parser.add_argument("--images", help="file with the training images, if they are needed")
    parser.add_argument("--ctx", default="cpu")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--convolutions-only", action="store_true", help="in bfloat16")
    parser.add_argument("--return-memory", action="store_true", help="that is freed")
    args = parser.parse_args(argv)
    args.resize = args.resize or IMAGES[args.recipe][1]
    return args


def random_batch(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Make a batch of random pixels, float32 (N, C, H, W), and labels, int32 (N,)."""
    generator = np.random.default_rng(0)
    channels, _, margin = IMAGES[args.recipe]
    side = args.resize - margin
    X = generator.random((args.batch_size, channels, side, side), np.float32)
    return X, generator.integers(10, size=args.batch_size, dtype=np.int32)


def checksum(batches: Iterable) -> int:
    """Sum the checksums of all images. The order of the images makes no difference."""
    return sum(zlib.crc32(image) for X, _ in batches for image in X.asnumpy())


def main(kinds: Kinds, **about: Any) -> None:
    """Print what this contestant is, then measure once for every line of the standard input."""
    args = arguments(kinds)
    measure, more = kinds[args.kind](args)
    print(json.dumps({**more, **about}), flush=True)
    for _ in sys.stdin:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for figures alone
            figures = measure()
        print(json.dumps(figures), flush=True)
