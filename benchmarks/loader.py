"""Compare three loaders that make the same batches: ours, the lecture's and PyTorch's.

``python benchmarks/loader.py`` also compares our images with the lecture's bit for bit, measures
memory in the first and in the last epoch, and measures our loader of CIFAR-10.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import harness
import numpy as np

from d2l_alexnet.data import DATA_SETS

# Bytes of a CIFAR-10 image, divided by those of a Fashion-MNIST image.
FILE_BYTES = (32 * 32 * 3) / (28 * 28)
TENSOR_BYTES = (64 * 64 * 3) / (224 * 224)


def measure(args: argparse.Namespace) -> tuple[dict[str, list], dict[str, dict]]:
    """Measure all loaders in turn; return the measurements and the descriptions of the loaders."""
    n = args.batch_size * args.batches
    (images, labels), _ = DATA_SETS["fashion-mnist"].read(None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "images.npz")
        np.savez(path, images=images[:n], labels=labels[:n])
        size = ["--batch-size", args.batch_size, "--batches", args.batches]
        size += ["--num-workers", args.num_workers, "--images", path, "--ctx", args.ctx]
        contestants = {
            "ours": harness.Contestant("ours", "loading", *size),
            "lecture's way": harness.Contestant("lecture", "loading", *size, default_threads=True),
            "PyTorch": harness.Contestant("pytorch", "loading", *size),
            "CIFAR-10": harness.Contestant("ours", "loading_cifar10", *size),
        }
        measured = harness.alternate(contestants, args.rounds)
    return measured, {name: contestant.about for name, contestant in contestants.items()}


def print_table(
    rates: dict[str, Any], cifar10: list[float], memory: list[float], same: bool
) -> None:
    """Print the measurements."""
    harness.compare(rates, "images/s")
    print(f"our images and the lecture's are {'' if same else 'NOT '}the same, bit for bit")
    print(
        f"memory of ours, process and workers: {memory[0]:.0f} MiB in the first round, "
        f"{memory[-1]:.0f} MiB in the last"
    )
    ratios = harness.ratios(cifar10, rates["ours"])
    print(
        f"CIFAR-10: {harness.written(cifar10)} images/s. Bytes per second, divided by those of "
        f"Fashion-MNIST: {harness.written([r * FILE_BYTES for r in ratios], 2)} in the files, "
        f"{harness.written([r * TENSOR_BYTES for r in ratios], 2)} in the tensors"
    )


def main() -> None:
    """Measure, print and write."""
    parser = harness.make_parser(__doc__.splitlines()[0], rounds=7)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--batches", type=int, default=60, help="batches in an epoch")
    parser.add_argument("--num-workers", type=int, default=4)
    args = harness.parse_with_ctx(parser)
    measured, about = measure(args)
    memory = [each["mebibytes"] for each in measured["ours"]]
    for name in ("ours", "CIFAR-10"):
        measured[name] = [each["images_per_second"] for each in measured[name]]
    cifar10 = measured.pop("CIFAR-10")
    same = about["ours"]["checksum"] == about["lecture's way"]["checksum"]
    print_table(measured, cifar10, memory, same)
    figures = dict(
        images_per_second=measured, cifar10=cifar10, mebibytes=memory, same_images=same, about=about
    )
    harness.write(args.out, settings=vars(args), **figures)


if __name__ == "__main__":
    main()
