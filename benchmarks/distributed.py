"""Measure the bytes and the time of a training step with several workers, and with one process.

``python benchmarks/distributed.py`` trains the lecture's net over this machine's loopback interface
and counts all bytes there. So no other program may use this interface. As root, you can give the
benchmark its own interface:
``unshare --net sh -c 'ip link set lo up && python benchmarks/distributed.py'``.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
import unittest.mock
from pathlib import Path
from typing import Any

import harness
import ours

import d2l_alexnet  # noqa: F401, so that mxnet imports

# isort: split
import mxnet as mx

from d2l_alexnet.distributed.process_group import join
from d2l_alexnet.loop import train_batch
from d2l_alexnet.options import DistributedOptions
from d2l_alexnet.state import Training

SHAPES = ((1, 1), (2, 1), (2, 2), (4, 2))  # workers and servers
WARM_UP = 3  # steps
LAUNCH = """
from d2l_alexnet.distributed import launch
launch.TRAIN = {train}
launch.main({arguments})
"""


def work(args: argparse.Namespace) -> None:
    """Train some steps, as a worker or as the only process; the first worker prints the results."""
    with join(DistributedOptions(kvstore=args.kvstore)) as group:
        training = ours.prepare(args, group)
        args.batch_size //= group.size
        batch = ours.make_batch(args)
        take_steps(training, batch, WARM_UP)
        before, start = loopback_bytes(), time.perf_counter()
        take_steps(training, batch, args.steps)
        seconds, sent = time.perf_counter() - start, loopback_bytes() - before
        early = [sent_while_computing(training, batch) for _ in range(args.steps)]
        figures = dict(seconds=seconds / args.steps, bytes=sent / args.steps)
        if group.is_main:
            print(json.dumps(dict(figures, bytes_while_computing=statistics.mean(early))))


def take_steps(training: Training, batch: tuple[Any, Any], number: int) -> None:
    """Train several steps, and wait until every worker has finished them."""
    for _ in range(number):
        train_batch(training, *batch)
        training.state.steps += 1
    mx.nd.waitall()
    training.group.all_reduce(mx.nd.zeros(1)).wait_to_read()


def sent_while_computing(training: Training, batch: tuple[Any, Any]) -> int:
    """Train a step, and count the bytes that are sent before its last gradient is computed.

    The backward pass ends with the first layer. MXNet sends the gradients of a layer as soon as
    they are computed and the network is free.
    """
    trainer, weight = training.trainer, next(iter(training.net.collect_params().values()))
    counts = []

    def step(size: int, step: Any = trainer.step) -> None:
        before = loopback_bytes()
        computed = weight.grad().reshape(-1)[:1].copy()  # copied before the sum overwrites it
        step(size)
        computed.wait_to_read()
        counts.append(loopback_bytes() - before)

    with unittest.mock.patch.object(trainer, "step", step):
        take_steps(training, batch, 1)
    return counts[0]


def loopback_bytes() -> int:
    """Read how many bytes the loopback interface has received."""
    found = re.search(r"lo:\s*(\d+)", Path("/proc/net/dev").read_text())
    return int(found[1]) if found else 0


def measure(args: argparse.Namespace, shape: tuple[int, int] | None) -> dict[str, float]:
    """Measure with these numbers of workers and servers, or one process; return the results."""
    settings = [
        f"--{name}={vars(args)[name]}" for name in ("batch_size", "resize", "steps", "dtype")
    ]
    arguments = ["--work", *(setting.replace("_", "-") for setting in settings)]
    command = [sys.executable, __file__]
    if shape:
        workers, servers = map(str, shape)
        arguments = ["--workers", workers, "--servers", servers, "--", *arguments]
        code = LAUNCH.format(train=command, arguments=arguments)
        command, arguments = [sys.executable, "-c", code], []
    done = subprocess.run([*command, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(re.findall(r"\{.*\}", done.stdout)[0])


def name_of(shape: tuple[int, int] | None) -> str:
    """Return a contestant's name."""
    return "{} workers, {} servers".format(*shape) if shape else "one process"


def compare(args: argparse.Namespace) -> dict[str, list]:
    """Measure all variants in turn, print a table, and return the results."""
    shapes = [None, *SHAPES]
    measured: dict[str, list] = {name_of(shape): [] for shape in shapes}
    for number in range(args.rounds):
        for shape in shapes:
            measured[name_of(shape)].append(measure(args, shape))
        print(f"round {number + 1} of {args.rounds}", file=sys.stderr, flush=True)
    for name, rounds in measured.items():
        megabytes = statistics.median(each["bytes"] for each in rounds) / 1e6
        early = statistics.median(each["bytes_while_computing"] for each in rounds) / 1e6
        seconds = harness.written([each["seconds"] for each in rounds], 2)
        print(
            f"{name:20}  {megabytes:6.0f} MB per step, {early:4.0f} of them while computing  "
            f"{seconds} s per step",
            flush=True,
        )
    return measured


def main() -> None:
    """Measure, print and write; or run as one of the workers."""
    parser = harness.make_parser(__doc__.splitlines()[0], rounds=5)
    parser.add_argument(
        "--batch-size", type=int, default=128, help="images of all workers together"
    )
    parser.add_argument("--resize", type=int, default=224)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--steps", type=int, default=5, help="steps in one measurement")
    parser.add_argument(
        "--work", action="store_true", help="run as a worker; only this script uses this"
    )
    parser.add_argument("--kvstore", default="device", help="only this script uses this")
    parser.set_defaults(ctx="cpu", recipe="lecture")
    args = parser.parse_args()
    if args.work:
        work(args)
    else:
        harness.write(args.out, settings=vars(args), measured=compare(args))


if __name__ == "__main__":
    main()
