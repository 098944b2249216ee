"""The code that runs this package in the comparison."""

from __future__ import annotations

import argparse
import functools
import itertools
import re
import resource
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Iterator

import contestant

import d2l_alexnet  # noqa: F401, so that mxnet imports

# isort: split
import mxnet as mx
import numpy as np
from mxnet import gluon

from d2l_alexnet import precision
from d2l_alexnet.build import build_net, initialize, make_trainer
from d2l_alexnet.callbacks.base import Callback
from d2l_alexnet.data.load import load_data
from d2l_alexnet.distributed.process_group import SINGLE_PROCESS, SingleProcess
from d2l_alexnet.loop import train_epoch
from d2l_alexnet.metrics import evaluate_accuracy
from d2l_alexnet.options import RunOptions
from d2l_alexnet.recipes import CIFAR10_ALEXNET, LECTURE, RECIPES, Recipe
from d2l_alexnet.runtime.devices import choose_context
from d2l_alexnet.state import State, Training

# Sizes (n, k, m) of matrix products: three squares, then conv1 for 16 images and conv3 for 64.
# For a convolution, n is the number of output positions, k is the number of weights of an output
# channel, and m is the number of output channels.
MATRICES = (
    (1024, 1024, 1024),
    (2048, 2048, 2048),
    (4096, 4096, 4096),
    (16 * 26 * 26, 5 * 5 * 96, 256),
    (64 * 12 * 12, 3 * 3 * 384, 384),
)
MULTIPLY_ADDS = 4096**3  # of each size, in one measurement


class Batches:
    """A loader that takes no time: it yields the same batch again and again."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.batch, self.number = make_batch(args), args.batches
        self.images = args.batches * args.batch_size

    def __iter__(self) -> Iterator:
        return itertools.repeat(self.batch, self.number)

    def from_batch(self, epoch: int, batch: int) -> Iterator:
        """Iterate, as the loader's `from_batch` does."""
        return iter(self)


def make_batch(args: argparse.Namespace) -> tuple[Any, Any]:
    """Make a batch of random pixels and labels on the CPU."""
    X, y = contestant.random_batch(args)
    return mx.nd.array(X), mx.nd.array(y, dtype=np.int32)


def prepare(args: argparse.Namespace, group: SingleProcess = SINGLE_PROCESS) -> Training:
    """Build a recipe's net and its trainer, as a run does."""
    settings = {name: getattr(args, name) for name in ("resize", "batch_size", "dtype")}
    recipe = replace(RECIPES[args.recipe], **settings)
    ctx, _ = choose_context(args.ctx)
    if not getattr(args, "return_memory", False):
        precision.prepare(recipe.dtype, ctx)
    if getattr(args, "convolutions_only", False):
        precision.IN_BFLOAT16 = (gluon.nn.Conv2D,)
    net = build_net(recipe)
    initialize(net, recipe, ctx, seed=0)
    trainer = make_trainer(net, recipe, steps=1, kvstore=group.kvstore)
    return Training(net, trainer, recipe, 0, ctx, group)


def train_on(training: Training, batches: Any) -> float:
    """Run the package's training loop over some batches; return the images per second."""
    training.state = State()
    training.start_epoch()
    train_epoch(training, batches, Callback())
    mx.nd.waitall()
    return training.state.images / training.state.seconds


def training(args: argparse.Namespace) -> contestant.Measurement:
    """Measure training on a batch that is already in memory, in images/s."""
    prepared, batches = prepare(args), Batches(args)
    return lambda: train_on(prepared, batches), {}


def evaluation(args: argparse.Namespace) -> contestant.Measurement:
    """Measure evaluation on a batch that is already in memory, in images/s."""
    prepared, batches = prepare(args), Batches(args)
    return lambda: evaluate_on(prepared, batches), {}


def evaluate_on(prepared: Training, batches: Batches) -> float:
    """Run the package's evaluation over some batches; return the images per second."""
    start = time.perf_counter()
    evaluate_accuracy(prepared.net, batches, prepared.ctx)
    return batches.images / (time.perf_counter() - start)


def fused_evaluation(args: argparse.Namespace) -> contestant.Measurement:
    """Measure evaluation by a graph in which oneDNN has fused convolutions with their ReLUs."""
    prepared, batches = prepare(args), Batches(args)
    X, _ = batches.batch
    prepared.net.optimize_for(X, backend="MKLDNN", static_alloc=True, static_shape=True)
    return lambda: evaluate_on(prepared, batches), {}


def make_train_iter(args: argparse.Namespace, recipe: Recipe) -> Any:
    """Make the package's loader of a recipe's training images, with this number of batches."""
    train_size, (ctx, _) = args.batches * args.batch_size, choose_context(args.ctx)
    recipe = replace(recipe, batch_size=args.batch_size, train_size=train_size)
    options = RunOptions(num_workers=args.num_workers)
    train_iter, evaluations = load_data(recipe, options, ctx[0])
    evaluations.pop("train_accuracy", None)  # has the same workers as train_iter
    for data_iter in evaluations.values():
        data_iter.close()
    return train_iter


def loading(args: argparse.Namespace) -> contestant.Measurement:
    """Measure the loader alone, from uint8 images to batches in this process, in images/s."""
    train_iter = make_train_iter(args, replace(LECTURE, resize=args.resize))
    return time_epochs(train_iter), dict(checksum=contestant.checksum(train_iter))


def loading_cifar10(args: argparse.Namespace) -> contestant.Measurement:
    """Measure the second lecture's loader of training images in the same way."""
    return time_epochs(make_train_iter(args, CIFAR10_ALEXNET)), {}


def time_epochs(train_iter: Any) -> Callable[[], dict[str, float]]:
    """Make a function that measures an epoch of a loader."""

    def measure() -> dict[str, float]:
        start = time.perf_counter()
        for X, _ in train_iter:
            X.wait_to_read()
        rate = train_iter.images / (time.perf_counter() - start)
        return dict(images_per_second=rate, mebibytes=memory(train_iter))

    return measure


def memory(train_iter: Any) -> float:
    """Sum the memory of this process and of the loader's workers, in MiB."""
    used = 0
    for pid in ("self", *(worker.pid for worker in train_iter.workers)):
        found = re.search(r"VmRSS:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        used += int(found[1]) if found else 0
    return used / 1024


def whole_run(args: argparse.Namespace) -> contestant.Measurement:
    """Measure training with the loader: images/s, and the process's highest memory use in MiB."""
    prepared = prepare(args)
    train_iter = make_train_iter(args, prepared.recipe)

    def measure() -> dict[str, float]:
        rate = train_on(prepared, train_iter)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return dict(images_per_second=rate, peak_mebibytes=memory)

    return measure, {}


def multiply(x: Any, w: Any, times: int) -> float:
    """Multiply matrices, (n, k) and (m, k), several times; return the multiply-adds/s."""
    start = time.perf_counter()
    for _ in range(times):
        mx.nd.FullyConnected(x, w, num_hidden=len(w), no_bias=True).wait_to_read()
    return times * x.size * len(w) / (time.perf_counter() - start)


def matmul(args: argparse.Namespace) -> contestant.Measurement:
    """Measure the multiplication of matrices of several sizes, in multiply-adds/s.

    `FullyConnected`, which is oneDNN's, is the fastest in MXNet; see NOTES.md for others.
    """
    precision.prepare(args.dtype, [mx.cpu()])
    dtype = precision.BFLOAT16 if args.dtype == "bfloat16" else args.dtype
    random = np.random.default_rng(0).random
    products = {}
    for n, k, m in MATRICES:
        x, w = (mx.nd.array(random((rows, k), np.float32)) for rows in (n, m))
        x, w = (mx.nd.amp_cast(each, dtype=dtype) for each in (x, w))
        times = max(1, MULTIPLY_ADDS // (n * k * m))
        products[f"{n} × {k} × {m}"] = functools.partial(multiply, x, w, times)
    return lambda: {name: product() for name, product in products.items()}, {}


KINDS: contestant.Kinds = dict(
    training=training,
    evaluation=evaluation,
    fused_evaluation=fused_evaluation,
    loading=loading,
    loading_cifar10=loading_cifar10,
    whole_run=whole_run,
    matmul=matmul,
)

if __name__ == "__main__":
    contestant.main(KINDS, mxnet=mx.__version__, numpy=np.__version__)
