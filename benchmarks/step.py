"""Training or evaluation: ours, the lecture's way and PyTorch, and the machine's limit.

``python benchmarks/step.py training`` and ``python benchmarks/step.py evaluation`` take some
minutes each. Nothing else should run meanwhile.
"""

from __future__ import annotations

import statistics
from typing import Any, Sequence

import harness

from d2l_alexnet.nets import alexnet
from d2l_alexnet.shapes import trace


def contestants(kind: str, size: Sequence[object]) -> dict[str, harness.Contestant]:
    """Start all contestants; `size` are the arguments that say how much to do."""
    return {
        "ours": harness.Contestant("ours", kind, *size),
        "lecture's way": harness.Contestant("lecture", kind, *size, default_threads=True),
        "lecture's way, one thread per core": harness.Contestant("lecture", kind, *size),
        "PyTorch": harness.Contestant("pytorch", kind, *size),
        "PyTorch, channels last": harness.Contestant("pytorch", kind, *size, "--channels-last"),
    }


def multiply_adds(kind: str, resize: int) -> int:
    """Count the multiply-adds per image in the layers that have weights.

    The backward pass takes twice as many as the forward pass: for the gradients of the weights and
    of the inputs. The input of the first layer needs no gradient.
    """
    layers = [layer.multiply_adds for layer in trace(alexnet(), (1, 1, resize, resize))]
    return sum(layers) if kind == "evaluation" else 3 * sum(layers) - layers[0]


def best_rate(measured: Sequence[Sequence[dict[str, float]]]) -> tuple[str, float]:
    """Return the fastest matrix product, and its median rate in multiply-adds/s."""
    rates: dict[str, float] = {}
    for rounds in measured:
        for name in rounds[0]:
            rates[name] = statistics.median(each[name] for each in rounds)
    best = max(rates, key=rates.__getitem__)
    return best, rates[best]


def roofline(kind: str, resize: int, rates: Sequence[float], limits: Sequence) -> dict[str, Any]:
    """Compare our median rate with the fastest matrix product; print and give the figures."""
    way, limit = best_rate(limits)
    used = statistics.median(rates) * multiply_adds(kind, resize)
    print(
        f"Roofline: {used / 1e9:.0f} G multiply-adds/s, {used / limit:.2f} of the "
        f"{limit / 1e9:.0f} that the fastest matrix product ({way}) reaches"
    )
    return dict(multiply_adds_per_second=used, limit=limit, limit_reached_by=way)


def main() -> None:
    """Measure, print and write."""
    parser = harness.make_parser(__doc__.splitlines()[0], rounds=7)
    parser.add_argument("kind", choices=("training", "evaluation"))
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--resize", type=int, default=224, help="side of the images, in pixels")
    parser.add_argument("--batches", type=int, default=3, help="in one measurement")
    args = harness.parse_with_ctx(parser)
    size = ("--batch-size", args.batch_size, "--resize", args.resize, "--batches", args.batches)
    runs = contestants(args.kind, (*size, "--ctx", args.ctx))
    limits = {f"limit, {name}": harness.Contestant(name, "matmul") for name in ("ours", "pytorch")}
    measured = harness.alternate({**runs, **limits}, args.rounds)
    limit_rates = [measured.pop(name) for name in limits]
    harness.compare(measured, "images/s")
    figures = dict(images_per_second=measured, about={name: runs[name].about for name in runs})
    if args.ctx == "cpu":
        figures.update(roofline(args.kind, args.resize, measured["ours"], limit_rates))
    harness.write(args.out, settings=vars(args), **figures)


if __name__ == "__main__":
    main()
