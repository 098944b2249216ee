"""Measure which layers should compute in bfloat16, and whether to keep freed memory.

``python benchmarks/bfloat16.py`` measures each variant and float32 in turn, for several recipes.
NOTES.md has the predictions and the results.
"""

from __future__ import annotations

import harness

WAYS = {
    "float32": (),
    "convolutions": ("--dtype", "bfloat16", "--convolutions-only", "--return-memory"),
    "and dense layers": ("--dtype", "bfloat16", "--return-memory"),
    "and freed memory kept": ("--dtype", "bfloat16"),
}
SIZES = {  # (kind, recipe, batch size): number of batches in one measurement
    ("training", "lecture", 128): 2,
    ("training", "quick", 16): 8,
    ("training", "quick", 32): 5,
    ("training", "cifar10-alexnet", 256): 5,
    ("training", "cifar10-convnet", 256): 20,
    ("evaluation", "lecture", 128): 4,
    ("evaluation", "cifar10-alexnet", 256): 10,
    ("evaluation", "cifar10-convnet", 256): 40,
}


def measure(kind: str, recipe: str, batch_size: int, batches: int, rounds: int) -> dict[str, list]:
    """Measure all variants in turn, print a table, and return the results."""
    size = ("--recipe", recipe, "--batch-size", batch_size, "--batches", batches)
    runs = {name: harness.Contestant("ours", kind, *size, *way) for name, way in WAYS.items()}
    measured = harness.alternate(runs, rounds)
    print(f"{kind}, {recipe}, batches of {batch_size}")
    for name, rates in measured.items():
        times = harness.written(harness.ratios(rates, measured["float32"]), 2)
        print(f"  {name:21}  {harness.written(rates)} images/s   {times} times as fast", flush=True)
    return measured


def main() -> None:
    """Measure, print and write."""
    args = harness.make_parser(__doc__.splitlines()[0], rounds=5).parse_args()
    figures = {
        ", ".join(map(str, size)): measure(*size, batches, args.rounds)
        for size, batches in SIZES.items()
    }
    harness.write(args.out, settings=vars(args), images_per_second=figures)


if __name__ == "__main__":
    main()
