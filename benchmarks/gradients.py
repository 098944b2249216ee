"""Measure what gradients would lose in float16, and test which formats MXNet's server can sum.

``python benchmarks/gradients.py`` trains `quick`'s net for some steps with batches of 32 images,
and compares its gradients with the same gradients in float16. Then two workers send 16-bit numbers
to a server.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import Any

import d2l_alexnet  # noqa: F401, so that mxnet imports

# isort: split
import mxnet as mx
import numpy as np

from d2l_alexnet import train
from d2l_alexnet.build import build_net
from d2l_alexnet.data.load import load_data
from d2l_alexnet.distributed.process_group import SINGLE_PROCESS, join
from d2l_alexnet.loop import train_batch
from d2l_alexnet.options import DistributedOptions, RunOptions
from d2l_alexnet.precision import BFLOAT16
from d2l_alexnet.recipes import QUICK

SHOWN = (1, 10, 30)  # steps
FLOAT16 = np.finfo(np.float16)
LAUNCH = """
from d2l_alexnet import cli
from d2l_alexnet.distributed import launch
launch.TRAIN = {train}
cli.run(launch.main)
"""


def look_at_gradients() -> None:
    """Train, and print how float16 would change the gradients."""
    options = RunOptions(ctx="cpu", num_workers=0)
    ctx = [mx.cpu()]
    train_iter, _ = load_data(QUICK, options, ctx[0])
    net = build_net(QUICK)
    training = train.start(net, QUICK, options, ctx, SINGLE_PROCESS, len(train_iter))
    for step, (X, y) in enumerate(train_iter, start=1):
        train_batch(training, X, y)
        training.state.steps += 1
        if step in SHOWN:
            print(f"step {step:3}: {describe(net)}", flush=True)
        if step == max(SHOWN):
            break


def describe(net: Any) -> str:
    """Describe which part of the gradients that are not 0 float16 would change much."""
    params = [param for param in net.collect_params().values() if param.grad_req != "null"]
    values = np.concatenate([np.abs(param.grad().asnumpy()).ravel() for param in params])
    values = values[values > 0]
    zero, small = np.mean(values.astype(np.float16) == 0), np.mean(values < FLOAT16.tiny)
    return (
        f"{zero:.4%} become 0, {small:.2%} lose bits, largest {values.max():.3g} of the "
        f"{FLOAT16.max:,.0f} that float16 can hold"
    )


def exchange(dtype: str) -> None:
    """As a worker, send numbers to the server; the first worker prints their sums."""
    with join(DistributedOptions(kvstore="dist_sync")) as group:
        kind = BFLOAT16 if dtype == "bfloat16" else dtype
        numbers = mx.nd.amp_cast(mx.nd.array([1, 40_000]), dtype=kind)
        group.kvstore.init(0, numbers)
        group.kvstore.pushpull(0, numbers, out=numbers)
        sums = mx.nd.amp_cast(numbers, dtype="float32").asnumpy().tolist()
        if group.is_main:
            print(f"{dtype}: 1 + 1 and 40,000 + 40,000 are {sums}", flush=True)


def main() -> None:
    """Compare gradients and send numbers; or run as one of the workers that send."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--exchange", metavar="DTYPE", help="only this script uses this")
    parser.add_argument("--kvstore", help="only this script uses this")
    args = parser.parse_args()
    if args.exchange:
        exchange(args.exchange)
        return
    look_at_gradients()
    for dtype in ("float16", "bfloat16"):
        code = LAUNCH.format(train=[sys.executable, __file__, "--exchange", dtype])
        subprocess.run([sys.executable, "-c", code, "--workers", "2"], stderr=subprocess.STDOUT)


if __name__ == "__main__":
    main()
