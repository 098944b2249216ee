"""The loader: ours, the lecture's way and PyTorch's, all making the same batches.

``python benchmarks/loader.py`` also looks whether ours and the lecture's batches are the same bit
for bit, and whether memory grows from pass to pass, and measures our loader of CIFAR-10 beside it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import harness
import numpy as np

from d2l_alexnet.datasets import fashion_mnist

FILE_BYTES = (32 * 32 * 3) / (28 * 28)  # of an image: CIFAR-10's to Fashion-MNIST's
TENSOR_BYTES = (64 * 64 * 3) / (224 * 224)


def main():
    """Measure, print and write."""
    parser = harness.parser(__doc__.splitlines()[0], rounds=7)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--batches", type=int, default=60, help="in a pass")
    parser.add_argument("--num-workers", type=int, default=4)
    args = harness.parse_with_ctx(parser)
    n = args.batch_size * args.batches
    (images, labels), _ = fashion_mnist()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "images.npz")
        np.savez(path, images=images[:n], labels=labels[:n])
        size = ["--batch-size", args.batch_size, "--batches", args.batches]
        size += ["--num-workers", args.num_workers, "--images", path, "--ctx", args.ctx]
        taking_part = {
            "ours": harness.Contestant("ours", "loading", *size),
            "lecture's way": harness.Contestant("lecture", "loading", *size, default_threads=True),
            "PyTorch": harness.Contestant("pytorch", "loading", *size),
            "CIFAR-10": harness.Contestant("ours", "loading_cifar10", *size),
        }
        measured = harness.alternate(taking_part, args.rounds)
    memory = [each["mebibytes"] for each in measured["ours"]]
    for name in ("ours", "CIFAR-10"):
        measured[name] = [each["images_per_second"] for each in measured[name]]
    cifar10 = measured.pop("CIFAR-10")
    harness.compare(measured, "images/s")
    about = {name: contestant.about for name, contestant in taking_part.items()}
    same = about["ours"]["checksum"] == about["lecture's way"]["checksum"]
    print(f"ours and the lecture's images are {'' if same else 'NOT '}the same, bit for bit")
    print(f"memory of ours, process and workers: {memory[0]:.0f} MiB, at last {memory[-1]:.0f} MiB")
    ratios = harness.ratios(cifar10, measured["ours"])
    print(
        f"CIFAR-10's: {harness.written(cifar10)} images/s; of the bytes of Fashion-MNIST's a "
        f"second, {harness.written([r * FILE_BYTES for r in ratios], 2)} from the files, "
        f"{harness.written([r * TENSOR_BYTES for r in ratios], 2)} as tensors"
    )
    figures = dict(
        images_per_second=measured, cifar10=cifar10, mebibytes=memory, same_images=same, about=about
    )
    harness.write(args.out, settings=vars(args), **figures)


if __name__ == "__main__":
    main()
