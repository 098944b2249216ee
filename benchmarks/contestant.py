"""What every program of a comparison (a contestant) uses. It needs only Python and NumPy."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import zlib
from typing import Any, Callable, Dict, Iterable, Mapping, Sequence, Tuple

import numpy as np

# A function that measures once, and a description of what it measures.
Measurement = Tuple[Callable[[], Any], Dict[str, Any]]
Kinds = Mapping[str, Callable[[argparse.Namespace], Measurement]]

# For each recipe: the channels of the images, the side of the resized images, and the number of
# pixels that cropping removes from it.
IMAGES = {
    "lecture": (1, 224, 0),
    "lenet": (1, 28, 0),
    "quick": (1, 224, 0),
    "cifar10-alexnet": (3, 70, 6),
    "cifar10-convnet": (3, 32, 0),
}

# For each recipe that pytorch.py has the net of: the dropout probability, PyTorch's name of the
# optimizer, and its settings.
PYTORCH = {
    "lecture": (0.5, "SGD", dict(lr=0.01)),
    "quick": (0.0, "Adam", dict(lr=0.0003, betas=(0.8, 0.98))),
    "cifar10-alexnet": (0.5, "SGD", dict(lr=0.1, momentum=0.9)),
    "cifar10-convnet": (0.5, "SGD", dict(lr=0.1, momentum=0.9)),
}


def arguments(kinds: Iterable[str], argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the kind of measurement and its settings."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=kinds, help="what to measure")
    parser.add_argument("--recipe", choices=IMAGES, default="lecture", help="the recipe")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--resize", type=int, help="image size; if not given, the recipe's")
    parser.add_argument("--batches", type=int, default=3, help="batches in one measurement")
    parser.add_argument("--num-workers", type=int, default=4)
    parser.add_argument("--images", help="file with the training images, for a loader")
    parser.add_argument("--ctx", default="cpu")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument(
        "--convolutions-only", action="store_true", help="only convolutions in bfloat16"
    )
    parser.add_argument(
        "--return-memory", action="store_true", help="return freed memory to the system"
    )
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
    """Print a description of this program; then measure once for every line of standard input."""
    args = arguments(kinds)
    measure, more = kinds[args.kind](args)
    print(json.dumps({**more, **about}), flush=True)
    for _ in sys.stdin:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is only for the results
            figures = measure()
        print(json.dumps(figures), flush=True)
