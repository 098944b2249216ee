"""Compare the speed of this package, of the lecture's code and of PyTorch, and a matrix product.

``python benchmarks/step.py training`` and ``python benchmarks/step.py evaluation`` take some
minutes each. No other program should run at the same time.
"""

from __future__ import annotations

import statistics
from typing import Any, Sequence

import contestant
import harness

from d2l_alexnet.build import build_net, input_shape
from d2l_alexnet.precision import bfloat16_unsupported_reason
from d2l_alexnet.recipes import RECIPES, Recipe
from d2l_alexnet.shapes import trace

PYTORCH = {  # the variants of PyTorch, and their arguments
    "PyTorch": (),
    "PyTorch, channels last": ("--channels-last",),
    "PyTorch, compiled": ("--compile",),
    "PyTorch, compiled, channels last": ("--compile", "--channels-last"),
}


def contestants(kind: str, recipe: str, dtypes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """List the contestants, and the script and the arguments of each.

    The first lecture was written in MXNet, the second one in PyTorch: plain, in float32.
    """
    listed: dict[str, tuple[str, ...]] = {}
    for dtype in dtypes:
        listed[name_of("ours", dtype)] = ("ours", kind, "--dtype", dtype)
    if recipe == "lecture":
        listed["lecture's way"] = ("lecture", kind)
        listed["lecture's way, one thread per core"] = ("lecture", kind)
    ways = PYTORCH if recipe in contestant.PYTORCH else {}
    for dtype in dtypes:
        for way, arguments in ways.items():
            listed[name_of(way, dtype)] = ("pytorch", kind, *arguments, "--dtype", dtype)
    for dtype in dtypes:
        listed[name_of("limit", dtype)] = ("ours", "matmul", "--dtype", dtype)
    return listed


def name_of(name: str, dtype: str) -> str:
    """Return the name of a contestant that computes in a format."""
    return name if dtype == "float32" else f"{name}, {dtype}"


def multiply_adds(kind: str, recipe: Recipe) -> int:
    """Count the multiply-adds per image in the layers that have weights.

    The backward pass takes twice as many as the forward pass: for the gradients of the weights and
    of the inputs. The input of the first layer needs no gradient.
    """
    layers = [layer.multiply_adds for layer in trace(build_net(recipe), input_shape(recipe))]
    return sum(layers) if kind == "evaluation" else 3 * sum(layers) - layers[0]


def fastest(rounds: Sequence[dict[str, float]]) -> tuple[str, float]:
    """Return the size with the highest median rate of a matrix product, and the rate."""
    rates = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    best = max(rates, key=rates.__getitem__)
    return best, rates[best]


def roofline(work: int, images_per_second: Sequence[float], limit: Sequence) -> dict[str, Any]:
    """Compare our median rate with the fastest matrix product; print and return the result.

    Parameters
    ----------
    work : int
        Multiply-adds per image.
    images_per_second : sequence of float
    limit : sequence of dict
        The rates of the matrix products, in multiply-adds/s, by size.
    """
    size, rate = fastest(limit)
    used = statistics.median(images_per_second) * work
    print(
        f"Roofline: {used / 1e9:.0f} G multiply-adds/s, {used / rate:.2f} of the "
        f"{rate / 1e9:.0f} that the fastest matrix product ({size}) reaches"
    )
    return dict(multiply_adds_per_second=used, limit=rate, limit_reached_by=size)


def main() -> None:
    """Measure, print and write."""
    parser = harness.make_parser(__doc__.splitlines()[0], rounds=7)
    parser.add_argument("kind", choices=("training", "evaluation"), help="what to measure")
    parser.add_argument("--recipe", choices=RECIPES, default="lecture")
    parser.add_argument("--batch-size", type=int, help="if not given, the recipe's")
    parser.add_argument("--batches", type=int, default=3, help="batches in one measurement")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="measure only these contestants")
    args = harness.parse_with_ctx(parser)
    recipe = RECIPES[args.recipe]
    args.batch_size = args.batch_size or recipe.batch_size
    size = ("--recipe", args.recipe, "--batch-size", args.batch_size, "--batches", args.batches)
    on_gpu = args.ctx == "gpu"
    dtypes = ("float32",) if on_gpu or bfloat16_unsupported_reason() else ("float32", "bfloat16")
    runs = {
        name: harness.Contestant(
            *command, *size, "--ctx", args.ctx, default_threads=name == "lecture's way"
        )
        for name, command in contestants(args.kind, args.recipe, dtypes).items()
        if not args.only or name in args.only
    }
    about = {name: run.about for name, run in runs.items()}
    measured = harness.alternate(runs, args.rounds)
    limits = {name: measured.pop(name) for name in list(measured) if name.startswith("limit")}
    figures: dict[str, Any] = dict(images_per_second=measured, about=about, rooflines={})
    for ours in [name for name in measured if name.startswith("ours")]:
        harness.compare(measured, "images/s", ours)
        limit = limits.get(ours.replace("ours", "limit"))
        if limit and not on_gpu:
            work = multiply_adds(args.kind, recipe)
            figures["rooflines"][ours] = roofline(work, measured[ours], limit)
    harness.write(args.out, settings=vars(args), **figures)


if __name__ == "__main__":
    main()
