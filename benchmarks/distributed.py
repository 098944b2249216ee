"""What a step costs with several workers: bytes moved, and time, against one process.

``python benchmarks/distributed.py`` trains the lecture's net over this machine's loopback, whose
bytes it counts, so nothing else may talk over that: as root, ``unshare --net sh -c 'ip link set lo
up && python benchmarks/distributed.py'`` sees to it. ``--table`` calculates instead when more
machines pay, from the net's size and the speed of one process in results/benchmarks/training.json.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import harness

import d2l_alexnet  # noqa: F401, so that mxnet imports

# isort: split
import mxnet as mx
import numpy as np

from d2l_alexnet import train
from d2l_alexnet.distributed import KVSTORES, join
from d2l_alexnet.recipes import LECTURE

SHAPES = ((1, 1), (2, 1), (2, 2), (4, 2))  # workers and servers
WARM_UP = 3  # steps
PARAMETERS = 46_764_746
BYTES = 4 * PARAMETERS  # of all gradients, float32
LINKS = {"1 Gbit/s": 125e6, "10 Gbit/s": 1.25e9, "100 Gbit/s": 12.5e9}  # bytes/s each way
MACHINES = (2, 4, 8)
LAUNCH = "from d2l_alexnet import launch; launch.TRAIN = {train}; launch.main({arguments})"


def work(args):
    """Take the steps as one of the workers, or as the only one; the first prints the figures."""
    with join(args.kvstore) as workers:
        recipe = replace(LECTURE, resize=args.resize, batch_size=args.batch_size)
        net = train.build_net(recipe)
        train.initialize(net, recipe, [mx.cpu()], seed=0)
        trainer = train.make_trainer(net, recipe, args.steps, workers.kvstore)
        learner = train.Learner(net, trainer, recipe, 0, [mx.cpu()], workers)
        part = args.batch_size // workers.size
        X = mx.nd.random.uniform(shape=(part, 1, args.resize, args.resize))
        y = mx.nd.array(np.arange(part) % 10, dtype=np.int32)
        take_steps(learner, X, y, WARM_UP)
        before, start = loopback_bytes(), time.perf_counter()
        take_steps(learner, X, y, args.steps)
        seconds, moved = time.perf_counter() - start, loopback_bytes() - before
        if workers.first:
            print(json.dumps(dict(seconds=seconds / args.steps, bytes=moved / args.steps)))


def take_steps(learner, X, y, number):
    """Take some steps, and wait until every worker has taken them."""
    for step in range(number):
        learner.step(step, X, y)
    mx.nd.waitall()
    learner.workers.add_up(mx.nd.zeros(1)).wait_to_read()


def loopback_bytes():
    """Read how many bytes have been received over the loopback."""
    return int(re.search(r"lo:\s*(\d+)", Path("/proc/net/dev").read_text())[1])


def measure(args, shape):
    """Measure so many workers and servers, or one process without any; give its figures."""
    settings = [f"--{name}={vars(args)[name]}" for name in ("batch_size", "resize", "steps")]
    arguments = ["--work", *(setting.replace("_", "-") for setting in settings)]
    command = [sys.executable, __file__]
    if shape:
        workers, servers = map(str, shape)
        arguments = ["--workers", workers, "--servers", servers, "--", *arguments]
        code = LAUNCH.format(train=command, arguments=arguments)
        command, arguments = [sys.executable, "-c", code], []
    done = subprocess.run([*command, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(re.search(r"\{.*\}", done.stdout)[0])


def name_of(shape):
    """Name a contestant."""
    return "{} workers, {} servers".format(*shape) if shape else "one process"


def compare(args):
    """Measure all in turn, print a table, and give the figures."""
    shapes = [None, *SHAPES]
    measured = {name_of(shape): [] for shape in shapes}
    for number in range(args.rounds):
        for shape in shapes:
            measured[name_of(shape)].append(measure(args, shape))
        print(f"round {number + 1} of {args.rounds}", file=sys.stderr, flush=True)
    for name, rounds in measured.items():
        megabytes = statistics.median(each["bytes"] for each in rounds) / 1e6
        seconds = harness.written([each["seconds"] for each in rounds], 2)
        print(f"{name:20}  {megabytes:6.0f} MB a step  {seconds} s a step", flush=True)
    return measured


def table():
    """Calculate when more machines pay, each with a worker and a server, and print it.

    Of the gradients, BYTES, each machine sends all but its own server's part, and sends the sum of
    its part to all others: 2 (n - 1) / n × BYTES each way with n machines. Computing and sending
    are taken not to overlap, and nothing but the link to limit it.
    """
    path = Path(__file__).parents[1] / "results/benchmarks/training.json"
    ours = json.loads(path.read_text())["images_per_second"]["ours"]
    published = min(row["seconds"] for row in LECTURE.published)
    rates = {
        "2 CPU cores": statistics.median(ours),
        "the lecture's GPU": LECTURE.train_size / published,
    }
    head = ["one machine", "link", *(f"{n} machines" for n in MACHINES), "pays above a batch of"]
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for device, rate in rates.items():
        for link, speed in LINKS.items():
            cells = [f"{speed_up(n, rate, speed):.2f}" for n in MACHINES]
            print(f"| {device} | {link} | {' | '.join(cells)} | {2 * BYTES * rate / speed:,.0f} |")


def speed_up(machines, rate, link, batch_size=LECTURE.batch_size):
    """Calculate how many times as fast as one several machines are.

    Parameters
    ----------
    machines : int
    rate : float
        Images/s of one.
    link : float
        Bytes/s of each, each way.
    batch_size : int
        Of all together.
    """
    alone = batch_size / rate  # seconds
    sending = 2 * (machines - 1) / machines * BYTES / link
    return alone / (alone / machines + sending)


def main():
    """Measure, print and write; or calculate and print; or be one of the workers."""
    parser = harness.parser(__doc__.splitlines()[0], rounds=5)
    parser.add_argument("--batch-size", type=int, default=128, help="of all workers together")
    parser.add_argument("--resize", type=int, default=224)
    parser.add_argument("--steps", type=int, default=5, help="in one measurement")
    parser.add_argument("--table", action="store_true", help="calculate when more machines pay")
    parser.add_argument(
        "--work", action="store_true", help="be a worker; for this script's own use"
    )
    parser.add_argument("--kvstore", choices=KVSTORES, default="device", help="the same")
    args = parser.parse_args()
    if args.work:
        work(args)
    elif args.table:
        table()
    else:
        harness.write(args.out, settings=vars(args), measured=compare(args))


if __name__ == "__main__":
    main()
