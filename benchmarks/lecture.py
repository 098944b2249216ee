"""The lecture's own code for the comparison, with the fewest changes that let it run today."""

from __future__ import annotations

import argparse
import itertools
import runpy
import time
from pathlib import Path
from typing import Any

import contestant
import numpy as np

# Run the module as a script: importing the package would also set the number of threads.
ROOT = Path(__file__).parents[1]
runpy.run_path(str(ROOT / "d2l_alexnet" / "runtime" / "old_modules.py"))["install"]()

import mxnet as mx  # noqa: E402
from mxnet import autograd, gluon  # noqa: E402
from mxnet.gluon import nn  # noqa: E402
from mxnet.gluon.data.vision import transforms  # noqa: E402


def build_net(ctx: Any) -> Any:
    """Build the net. It is not hybridized."""
    net = nn.Sequential()
    net.add(
        nn.Conv2D(96, kernel_size=11, strides=4, activation="relu"),
        nn.MaxPool2D(pool_size=3, strides=2),
        nn.Conv2D(256, kernel_size=5, padding=2, activation="relu"),
        nn.MaxPool2D(pool_size=3, strides=2),
        nn.Conv2D(384, kernel_size=3, padding=1, activation="relu"),
        nn.Conv2D(384, kernel_size=3, padding=1, activation="relu"),
        nn.Conv2D(256, kernel_size=3, padding=1, activation="relu"),
        nn.MaxPool2D(pool_size=3, strides=2),
        nn.Dense(4096, activation="relu"),
        nn.Dropout(0.5),
        nn.Dense(4096, activation="relu"),
        nn.Dropout(0.5),
        nn.Dense(10),
    )
    net.initialize(mx.init.Xavier(), ctx=ctx)
    return net


def make_batch(args: argparse.Namespace) -> tuple[Any, Any]:
    """Make a batch of random pixels and labels on the CPU."""
    X, y = contestant.random_batch(args)
    return mx.nd.array(X), mx.nd.array(y, dtype=np.int32)


def context(args: argparse.Namespace) -> Any:
    """Return the context that was asked for."""
    return mx.gpu() if args.ctx == "gpu" else mx.cpu()


def training(args: argparse.Namespace) -> contestant.Measurement:
    """Measure the lecture's loop on a batch that is already in memory, in images/s."""
    ctx, loss = context(args), gluon.loss.SoftmaxCrossEntropyLoss()
    net = build_net(ctx)
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.01})
    batch = make_batch(args)

    def measure() -> float:
        start = time.perf_counter()
        train_l_sum = train_acc_sum = n = 0
        for X, y in itertools.repeat(batch, args.batches):
            X, y = X.as_in_context(ctx), y.as_in_context(ctx)
            with autograd.record():
                y_hat = net(X)
                l = loss(y_hat, y).sum()
            l.backward()
            trainer.step(args.batch_size)
            y = y.astype("float32")
            train_l_sum += l.asscalar()
            train_acc_sum += (y_hat.argmax(axis=1) == y).sum().asscalar()
            n += y.size
        mx.nd.waitall()
        return n / (time.perf_counter() - start)

    return measure, {}


def evaluation(args: argparse.Namespace) -> contestant.Measurement:
    """Measure the lecture's evaluation on a batch that is already in memory, in images/s."""
    ctx, batch = context(args), make_batch(args)
    net = build_net(ctx)

    def measure() -> float:
        start = time.perf_counter()
        acc_sum, n = mx.nd.array([0], ctx=ctx), 0
        for X, y in itertools.repeat(batch, args.batches):
            X, y = X.as_in_context(ctx), y.as_in_context(ctx).astype("float32")
            acc_sum += (net(X).argmax(axis=1) == y).sum()
            n += y.size
            acc_sum.wait_to_read()
        return n / (time.perf_counter() - start)

    return measure, {}


def loading(args: argparse.Namespace) -> contestant.Measurement:
    """Measure the lecture's loader, which transforms one image after the other, in images/s."""
    ctx = context(args)
    transformer = transforms.Compose([transforms.Resize(args.resize), transforms.ToTensor()])
    with np.load(args.images) as file:  # the content of gluon.data.vision.FashionMNIST
        mnist_train = gluon.data.ArrayDataset(
            mx.nd.array(file["images"], dtype=np.uint8), file["labels"]
        )
    train_iter = gluon.data.DataLoader(
        mnist_train.transform_first(transformer),
        args.batch_size,
        shuffle=True,
        num_workers=args.num_workers,
    )

    def measure() -> float:
        start = time.perf_counter()
        for X, _ in train_iter:
            X.as_in_context(ctx).wait_to_read()
        return len(mnist_train) / (time.perf_counter() - start)

    return measure, dict(checksum=contestant.checksum(train_iter))


KINDS: contestant.Kinds = dict(training=training, evaluation=evaluation, loading=loading)

if __name__ == "__main__":
    contestant.main(KINDS, mxnet=mx.__version__, numpy=np.__version__)
