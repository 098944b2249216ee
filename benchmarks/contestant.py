"""The contestant's side of the harness: measure when asked to. Needs nothing but Python."""

import argparse
import contextlib
import json
import sys
import zlib


def arguments(kinds):
    """Read which of the `kinds` of measurement to make, and of what."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=kinds)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--resize", type=int, default=224)
    parser.add_argument("--batches", type=int, default=3, help="in one measurement")
    parser.add_argument("--num-workers", type=int, default=4)
    parser.add_argument("--images", help="file with the training images, where it is needed")
    parser.add_argument("--ctx", default="cpu")
    parser.add_argument("--channels-last", action="store_true")
    return parser.parse_args()


def checksum(batches):
    """Sum up the checksums of all images, in whatever order they come."""
    return sum(zlib.crc32(image) for X, _ in batches for image in X.asnumpy())


def serve(measure, **about):
    """Say what this is, then measure once for every line that comes in, until no more come."""
    print(json.dumps(about), flush=True)
    for _ in sys.stdin:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for figures alone
            figures = measure()
        print(json.dumps(figures), flush=True)
