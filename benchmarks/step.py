"""Training or evaluation: ours, the lecture's way and PyTorch, beside the machine's limit.

``python benchmarks/step.py training`` and ``python benchmarks/step.py evaluation`` take some
minutes each, in which nothing else should run.
"""

from __future__ import annotations

import statistics

import harness

from d2l_alexnet.nets import alexnet
from d2l_alexnet.shapes import trace


def contestants(kind, size):
    """Start everyone who takes part; `size` are the arguments that say how much to do."""
    return {
        "ours": harness.Contestant("ours", kind, *size),
        "lecture's way": harness.Contestant("lecture", kind, *size, default_threads=True),
        "lecture's way, a thread a core": harness.Contestant("lecture", kind, *size),
        "PyTorch": harness.Contestant("pytorch", kind, *size),
        "PyTorch, channels last": harness.Contestant("pytorch", kind, *size, "--channels-last"),
    }


def multiply_adds(kind, resize):
    """Count the multiply-adds of an image in the layers that have weights.

    Backward takes twice as many as forward, for the weights and for the inputs, but for the first
    layer, whose input needs no gradient.
    """
    layers = [layer.multiply_adds for layer in trace(alexnet(), (1, 1, resize, resize))]
    return sum(layers) if kind == "evaluation" else 3 * sum(layers) - layers[0]


def best_rate(measured):
    """Give the product of matrices that is fastest, and its median rate in multiply-adds/s."""
    rates = {}
    for rounds in measured:
        for name in rounds[0]:
            rates[name] = statistics.median(each[name] for each in rounds)
    best = max(rates, key=rates.get)
    return best, rates[best]


def main():
    """Measure, print and write."""
    parser = harness.parser(__doc__.splitlines()[0], rounds=7)
    parser.add_argument("kind", choices=("training", "evaluation"))
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--resize", type=int, default=224, help="pixels a side")
    parser.add_argument("--batches", type=int, default=3, help="in one measurement")
    args = harness.parse_with_ctx(parser)
    size = ("--batch-size", args.batch_size, "--resize", args.resize, "--batches", args.batches)
    taking_part = contestants(args.kind, (*size, "--ctx", args.ctx))
    limits = {name: harness.Contestant(name, "matmul") for name in ("ours", "pytorch")}
    measured = harness.alternate(
        {**taking_part, **{f"limit, {name}": limit for name, limit in limits.items()}}, args.rounds
    )
    rates = [measured.pop(f"limit, {name}") for name in limits]
    harness.compare(measured, "images/s")
    figures = dict(images_per_second=measured, about={k: c.about for k, c in taking_part.items()})
    if args.ctx == "cpu":
        way, limit = best_rate(rates)
        used = statistics.median(measured["ours"]) * multiply_adds(args.kind, args.resize)
        print(
            f"Roofline: {used / 1e9:.0f} of {limit / 1e9:.0f} G multiply-adds/s that a product of "
            f"matrices reaches, {way}: {used / limit:.2f}"
        )
        figures.update(multiply_adds_per_second=used, limit=limit, limit_reached_by=way)
    harness.write(args.out, settings=vars(args), **figures)


if __name__ == "__main__":
    main()
