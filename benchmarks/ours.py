"""What the package does, measured for the harness."""

import dataclasses
import functools
import itertools
import re
import resource
import time
import types
from pathlib import Path

import d2l_alexnet  # noqa: F401, so that mxnet imports

# isort: split
import mxnet as mx
import numpy as np
from contestant import arguments, checksum, serve

from d2l_alexnet import accuracy, data, train
from d2l_alexnet.state import State
from d2l_alexnet.recipes import LECTURE
from d2l_alexnet.runtime import choose_context

# Squares, and what conv1 and conv3 come to for 16 and 64 images: places, weights of one, channels.
MATRICES = (
    (1024, 1024, 1024),
    (2048, 2048, 2048),
    (4096, 4096, 4096),
    (16 * 26 * 26, 5 * 5 * 96, 256),
    (64 * 12 * 12, 3 * 3 * 384, 384),
)


class Batches:
    """The same batch again and again, as from a loader that takes no time."""

    def __init__(self, args):
        generator = np.random.default_rng(0)
        X = generator.random((args.batch_size, 1, args.resize, args.resize), np.float32)
        y = generator.integers(10, size=args.batch_size, dtype=np.int32)
        self.batch, self.number = (mx.nd.array(X), mx.nd.array(y, dtype=np.int32)), args.batches
        self.images = args.batches * args.batch_size

    def __iter__(self):
        return itertools.repeat(self.batch, self.number)

    def from_batch(self, epoch, batch):
        """Begin, as the loader's `from_batch` does."""
        return iter(self)


def prepare(args):
    """Make the lecture's net and what it takes to learn, as a run does."""
    recipe, (ctx, _) = dataclasses.replace(LECTURE, resize=args.resize), choose_context(args.ctx)
    net = train.build_net(recipe)
    train.initialize(net, recipe, ctx, seed=0)
    return train.Learner(net, train.make_trainer(net, recipe, steps=1), recipe, 0, ctx)


def train_on(learner, batches):
    """Run the package's own loop over some batches; give the images per second."""
    state = State(history=[{}])  # not the first epoch, so that nothing is foretold
    keeper = types.SimpleNamespace(due=False)
    train.train_epoch(learner, batches, state, keeper)
    mx.nd.waitall()
    return state.images / state.seconds


def training(args):
    """Measure training on a batch that is already there, in images/s."""
    learner, batches = prepare(args), Batches(args)
    return lambda: train_on(learner, batches), {}


def evaluation(args):
    """Measure evaluation on a batch that is already there, in images/s."""
    learner, batches = prepare(args), Batches(args)
    return lambda: evaluate_on(learner, batches), {}


def evaluate_on(learner, batches):
    """Run the package's own evaluation over some batches; give the images per second."""
    start = time.perf_counter()
    accuracy.evaluate_accuracy(learner.net, batches, learner.ctx)
    return batches.images / (time.perf_counter() - start)


def fused_evaluation(args):
    """Measure evaluation by a graph in which oneDNN has fused convolutions with what follows."""
    learner, batches = prepare(args), Batches(args)
    X, _ = batches.batch
    learner.net.optimize_for(X, backend="MKLDNN", static_alloc=True, static_shape=True)
    return lambda: evaluate_on(learner, batches), {}


def make_train_iter(args):
    """Make the package's loader of so many batches of the real training images."""
    train_size, (ctx, _) = args.batches * args.batch_size, choose_context(args.ctx)
    train_iter, test_iter = data.load_data_fashion_mnist(
        args.batch_size, args.resize, train_size, args.num_workers, ctx=ctx[0]
    )
    test_iter.close()
    return train_iter


def loading(args):
    """Measure the loader alone, from uint8 images to batches in this process, in images/s."""
    train_iter = make_train_iter(args)
    return time_passes(train_iter), dict(checksum=checksum(train_iter))


def loading_cifar10(args):
    """Measure the second lecture's loader of training images in the same way."""
    train_size, (ctx, _) = args.batches * args.batch_size, choose_context(args.ctx)
    train_iter, *others = data.load_data_cifar10(
        args.batch_size, train_size=train_size, num_workers=args.num_workers, ctx=ctx[0]
    )
    for data_iter in others:
        data_iter.close()
    return time_passes(train_iter), {}


def time_passes(train_iter):
    """Make what measures a pass over a loader."""

    def measure():
        start = time.perf_counter()
        for X, _ in train_iter:
            X.wait_to_read()
        rate = train_iter.images / (time.perf_counter() - start)
        return dict(images_per_second=rate, mebibytes=memory(train_iter))

    return measure


def memory(train_iter):
    """Add up the memory of this process and of the loader's, in MiB."""
    used = 0
    for pid in ("self", *(worker.pid for worker in train_iter.workers)):
        status = Path(f"/proc/{pid}/status").read_text()
        used += int(re.search(r"VmRSS:\s*(\d+) kB", status)[1])
    return used / 1024


def whole_run(args):
    """Measure training with its loader: images/s, and the process's highest memory in MiB."""
    learner, train_iter = prepare(args), make_train_iter(args)

    def measure():
        rate = train_on(learner, train_iter)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return dict(images_per_second=rate, peak_mebibytes=memory)

    return measure, {}


def multiply(x, w, times):
    """Multiply float32 matrices, (n, k) and (m, k), so many times; give the multiply-adds/s."""
    start = time.perf_counter()
    for _ in range(times):
        mx.nd.FullyConnected(x, w, num_hidden=len(w), no_bias=True).wait_to_read()
    return times * x.size * len(w) / (time.perf_counter() - start)


def matmul(args):
    """Measure the multiplication of float32 matrices of several sizes, in multiply-adds/s.

    oneDNN's, by way of `FullyConnected`, is the fastest of MXNet's; NOTES.md has the others.
    """
    random = np.random.default_rng(0).random
    products = {}
    for n, k, m in MATRICES:
        x, w = (mx.nd.array(random((rows, k), np.float32)) for rows in (n, m))
        times = max(1, 4096**3 // (n * k * m))
        products[f"{n} × {k} × {m}"] = functools.partial(multiply, x, w, times)
    return lambda: {name: product() for name, product in products.items()}, {}


KINDS = dict(
    training=training,
    evaluation=evaluation,
    fused_evaluation=fused_evaluation,
    loading=loading,
    loading_cifar10=loading_cifar10,
    whole_run=whole_run,
    matmul=matmul,
)

if __name__ == "__main__":
    args = arguments(KINDS)
    measure, about = KINDS[args.kind](args)
    serve(measure, **about, mxnet=mx.__version__, numpy=np.__version__)
