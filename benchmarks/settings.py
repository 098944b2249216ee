"""Measure which settings of MXNet, OpenMP and the C library make training faster.

``python benchmarks/settings.py`` measures each setting and the usual settings in turn. NOTES.md has
the predictions and the results.
"""

from __future__ import annotations

from typing import Mapping, Sequence

import harness

VARIANTS: dict[str, dict[str, str]] = {
    "usual": {},
    "operators one by one": dict(MXNET_EXEC_BULK_EXEC_TRAIN="0"),
    "weights updated one by one": dict(MXNET_OPTIMIZER_AGGREGATION_SIZE="0"),
    "weights updated all at once": dict(MXNET_OPTIMIZER_AGGREGATION_SIZE="45"),
    "oneDNN subgraphs": dict(MXNET_SUBGRAPH_BACKEND="MKLDNN"),
    "nothing computed in place": dict(MXNET_EXEC_ENABLE_INPLACE="false"),
    "freed memory kept": dict(
        GLIBC_TUNABLES="glibc.malloc.trim_threshold=17179869184:glibc.malloc.mmap_max=0"
    ),
    "huge pages": dict(GLIBC_TUNABLES="glibc.malloc.hugetlb=1"),
    "threads bound to cores": dict(OMP_PROC_BIND="close", OMP_PLACES="cores"),
    "threads that never sleep": dict(OMP_WAIT_POLICY="ACTIVE"),
}


def measure(kinds: Mapping[str, tuple], rounds: int) -> dict[str, list]:
    """Start this package's code with these arguments and variables, and measure in turn."""
    runs = {
        name: harness.Contestant("ours", *arguments, **variables)
        for name, (arguments, variables) in kinds.items()
    }
    return harness.alternate(runs, rounds)


def print_changes(measured: Mapping[str, Sequence[float]]) -> None:
    """Print the rates, and the ratio of each to the rate with the usual settings."""
    for name, rates in measured.items():
        times = harness.written(harness.ratios(rates, measured["usual"]), 2)
        print(f"{name:27}  {harness.written(rates)} images/s   {times} times as fast as usual")


def main() -> None:
    """Measure, print and write."""
    parser = harness.make_parser(__doc__.splitlines()[0], rounds=5)
    parser.add_argument("--batch-size", type=int, default=128)
    args = parser.parse_args()
    size = ("--batch-size", args.batch_size, "--batches", max(2, 256 // args.batch_size))
    variants = {name: (("training", *size), VARIANTS[name]) for name in VARIANTS}
    training = measure(variants, args.rounds)
    print_changes(training)
    kinds = {"usual": "evaluation", "oneDNN subgraphs": "fused_evaluation"}
    evaluation = measure({name: ((kinds[name], *size), {}) for name in kinds}, args.rounds)
    print("evaluation:")
    print_changes(evaluation)
    figures = dict(variants=VARIANTS, training=training, evaluation=evaluation)
    harness.write(args.out, settings=vars(args), **figures)


if __name__ == "__main__":
    main()
