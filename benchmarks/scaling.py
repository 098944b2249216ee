"""Measure how time and memory depend on the batch size, the image size and the loader workers.

``python benchmarks/scaling.py`` trains on real images, with the package's loader and loop.
"""

from __future__ import annotations

import argparse
from typing import Sequence

import harness

USUAL = dict(batch_size=64, resize=224, num_workers=2)
SWEEPS = dict(
    batch_size=(8, 16, 32, 64, 128, 256),
    resize=(67, 96, 128, 160, 224, 288),
    num_workers=(0, 1, 2, 4),
)
IMAGES = 256  # in one measurement; two batches if these are more images


def start(ctx: str, **changes: int) -> harness.Contestant:
    """Start a run with the usual settings and some changes."""
    settings = {**USUAL, **changes}
    settings["batches"] = max(2, IMAGES // settings["batch_size"])
    options = [(f"--{name.replace('_', '-')}", value) for name, value in settings.items()]
    flat = (part for option in options for part in option)
    return harness.Contestant("ours", "whole_run", "--ctx", ctx, *flat)


def sweep(name: str, values: Sequence[int], args: argparse.Namespace) -> dict[int, dict]:
    """Measure each value of a setting in turn, print a table, and return the results."""
    runs = {value: start(args.ctx, **{name: value}) for value in values}
    measured = harness.alternate(runs, args.rounds)
    print(f"\n{name.replace('_', ' '):>11}  {'ms per image':26}  peak memory, MiB")
    figures = {}
    for value, each in measured.items():
        times = [1000 / one["images_per_second"] for one in each]
        memory = max(one["peak_mebibytes"] for one in each)
        print(f"{value:11}  {harness.written(times, 2):26}  {memory:.0f}", flush=True)
        figures[value] = dict(milliseconds_per_image=times, peak_mebibytes=memory)
    return figures


def main() -> None:
    """Measure, print and write."""
    args = harness.parse_with_ctx(harness.make_parser(__doc__.splitlines()[0], rounds=5))
    figures = {name: sweep(name, values, args) for name, values in SWEEPS.items()}
    harness.write(args.out, settings=vars(args), **figures)


if __name__ == "__main__":
    main()
