"""Train a net by a recipe, as the lecture does: ``python -m d2l_alexnet.train --ctx gpu``."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import re
import sys
import time
from pathlib import Path

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

import d2l_alexnet
from d2l_alexnet import cli, figures, runtime, shapes
from d2l_alexnet.data import load_data_fashion_mnist
from d2l_alexnet.evaluate import count_correct, delayed, evaluate_accuracy
from d2l_alexnet.history import append_row
from d2l_alexnet.nets import NETS
from d2l_alexnet.progress import Progress, watched
from d2l_alexnet.recipes import RECIPES
from d2l_alexnet.runtime import InputError

EPILOG = """lecture: five passes over 60,000 images, as published: 17 s a pass on the lecture's GPU,
about 35 min on two CPU cores. quick: one pass over a few thousand of them, some minutes on two
cores. Every run measures its first batches and says how long a pass takes on this machine."""


def train(recipe, ctx="auto", seed=0, num_workers=4, data_dir=None, out=None):
    """Train a net by a recipe and write what came of it into a run folder.

    Parameters
    ----------
    recipe : Recipe
    ctx : str
        ``auto``, ``cpu``, ``gpu`` or ``gpu:N``.
    seed : int
        Of the initial weights, the order of the images, and dropout. On a CPU the same seed gives
        the same net; on a GPU MXNet 1.9.1's dropout does not heed it.
    num_workers : int
        Processes that prepare batches; see `load_data_fashion_mnist`.
    data_dir : path, optional
        Folder of the data set's files.
    out : path, optional
        The run folder, new or empty; ``runs/<recipe>-<time>`` if not given. It gets args.json
        (all settings, versions, device), history.jsonl, curves.png and net.params.

    Returns
    -------
    list of dict
        The history: a row per epoch, with the keys listed in `d2l_alexnet.history`.

    Raises
    ------
    InputError
        For bad input; nothing has then been written.
    """
    ctx, why = runtime.choose_context(ctx)
    net = build_net(recipe)
    out = check_run_folder(out or Path("runs", f"{recipe.name}-{time.strftime('%Y%m%d-%H%M%S')}"))
    train_iter, test_iter = load_data_fashion_mnist(
        recipe.batch_size,
        recipe.resize,
        recipe.train_size,
        num_workers,
        seed,
        data_dir,
        pin_memory=ctx.device_type == "gpu",
    )
    with train_iter, test_iter:
        make_run_folder(out, dict(recipe=dataclasses.asdict(recipe), seed=seed, ctx=str(ctx)))
        print(f"Recipe {recipe.name} on {ctx}: {why}. {describe_device()}. Run folder: {out}")
        initialize(net, recipe, ctx, seed)
        trainer = make_trainer(net, recipe, steps=recipe.num_epochs * len(train_iter))
        return fit(net, train_iter, test_iter, trainer, recipe, ctx, out)


def build_net(recipe):
    """Build the recipe's net and make sure that the recipe's images are large enough for it."""
    net = NETS[recipe.net]()
    try:
        shapes.trace(net, (1, 1, recipe.resize, recipe.resize))
    except InputError as error:
        raise InputError(f"--resize {recipe.resize}: {error}") from error
    return net


def initialize(net, recipe, ctx, seed):
    """Give the net its initial weights, and have it compute as one compiled graph."""
    mx.random.seed(seed)
    np.random.seed(seed)
    initializer = mx.init.create(recipe.initializer, **recipe.initializer_params)
    net.initialize(initializer, ctx=ctx, force_reinit=True)
    net.hybridize(static_alloc=True, static_shape=True)


def make_trainer(net, recipe, steps):
    """Make the trainer with the recipe's optimizer, whose learning rate may follow a schedule."""
    settings = dict(learning_rate=recipe.lr, **recipe.optimizer_params)
    if recipe.decay:
        settings["lr_scheduler"] = mx.lr_scheduler.PolyScheduler(
            max_update=steps + 1,  # so that the last step still learns
            base_lr=recipe.lr,
            pwr=1,
            warmup_steps=min(recipe.warmup_steps, steps // 10),
        )
    return gluon.Trainer(net.collect_params(), recipe.optimizer, settings)


def fit(net, train_iter, test_iter, trainer, recipe, ctx, out):
    """Train for the recipe's epochs; after each, test, and write the run folder's files."""
    history = []
    for epoch in range(1, recipe.num_epochs + 1):
        start = time.perf_counter()
        row = dict(epoch=epoch, **train_epoch(net, train_iter, trainer, recipe, ctx, epoch))
        batches = watched(test_iter, "testing", len(test_iter.dataset))
        row["test_accuracy"] = evaluate_accuracy(net, batches, ctx)
        row["learning_rate"] = trainer.learning_rate
        row["seconds"] = time.perf_counter() - start
        history.append(row)
        append_row(out / "history.jsonl", row)
        figures.curves(history, recipe.published).savefig(out / "curves.png", dpi=150)
        save_parameters(net, out / "net.params")
        print(lecture_line(row), flush=True)
    return history


def train_epoch(net, train_iter, trainer, recipe, ctx, epoch):
    """Go over the training images once, learning from each batch.

    Loss and accuracy are summed *as the pass goes on*, while the net changes and dropout is
    active: the running training accuracy is that of no one net.

    Returns
    -------
    dict
        ``loss``, ``running_train_accuracy`` and ``images_per_second``.
    """
    loss_sum = correct = n = 0
    start = time.perf_counter()
    progress = Progress(f"epoch {epoch}", len(train_iter.dataset), foretell=epoch == 1)
    for size, sums in delayed(steps(net, train_iter, trainer, recipe.batch_size, ctx)):
        batch_loss, batch_correct = sums.asnumpy().tolist()
        loss_sum, correct, n = loss_sum + batch_loss, correct + batch_correct, n + size
        progress.update(size, loss=loss_sum / n, running_accuracy=correct / n)
    progress.close()
    return dict(
        loss=loss_sum / n,
        running_train_accuracy=correct / n,
        images_per_second=n / (time.perf_counter() - start),
    )


def steps(net, train_iter, trainer, batch_size, ctx):
    """Take a step for every batch: the inner loop of the lecture.

    Yields
    ------
    size : int
        Images in the batch.
    sums : mxnet.nd.NDArray
        (2,): the sum of their losses and the number of correct predictions, on the device and
        not waited for.
    """
    loss = gluon.loss.SoftmaxCrossEntropyLoss()
    loss.hybridize(static_alloc=True, static_shape=True)
    for X, y in train_iter:
        X, y = X.as_in_context(ctx), y.as_in_context(ctx)  # (N, 1, 224, 224), (N,)
        with autograd.record():
            y_hat = net(X)  # (N, 10)
            l = loss(y_hat, y)  # (N,)
        l.backward()
        trainer.step(batch_size)
        yield len(y), mx.nd.concat(l.sum(), count_correct(y_hat, y), dim=0)


def lecture_line(row):
    """Write an epoch's row as the lecture prints it."""
    return (
        f"epoch {row['epoch']}, loss {row['loss']:.4f}, "
        f"train acc {row['running_train_accuracy']:.3f}, test acc {row['test_accuracy']:.3f}, "
        f"time {row['seconds']:.1f} sec"
    )


def check_run_folder(out):
    """Refuse a run folder that has something in it or cannot be written, before work is done."""
    out = Path(out)
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"--out {out}: not empty; name a new folder")
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: there is a file of that name; name a new folder")
    nearest = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"--out {out}: cannot write in {nearest}; name another folder")
    return out


def make_run_folder(out, settings):
    """Make the run folder, with all in it that it takes to repeat the run."""
    settings = dict(
        **settings,
        argv=sys.argv,
        device=describe_device(),
        python=platform.python_version(),
        numpy=np.__version__,
        mxnet=mx.__version__,
        d2l_alexnet=d2l_alexnet.__version__,
    )
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "args.json").write_text(json.dumps(settings, indent=2) + "\n")
    except OSError as error:
        raise InputError(f"--out {out}: cannot write there ({error.strerror})") from error


def describe_device():
    """Name the processor and the threads that MXNet has."""
    names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    threads = os.environ.get("OMP_NUM_THREADS", "?")
    return f"{names[0] if names else platform.machine()}, {threads} threads"


def save_parameters(net, path):
    """Write the net's weights to a file, which is always a whole one."""
    partial = path.with_suffix(".partial")
    net.save_parameters(str(partial))
    partial.replace(path)


def main(argv=None):
    """Read the command line, train, and return the history."""
    parser = cli.Parser("train", "Train AlexNet on Fashion-MNIST.")
    parser.epilog = EPILOG
    parser.add_argument("--recipe", choices=RECIPES, default="lecture", help="what to do")
    parser.add_argument(
        "--ctx", default="auto", help="auto (the GPU if there is a usable one), cpu, gpu or gpu:N"
    )
    changes = parser.add_argument_group("changes to the recipe")
    changes.add_argument("--epochs", type=cli.whole(1), dest="num_epochs", metavar="N")
    changes.add_argument("--batch-size", type=cli.whole(1), metavar="N")
    changes.add_argument("--lr", type=cli.positive, help="learning rate")
    changes.add_argument("--resize", type=cli.whole(1), metavar="N", help="pixels a side")
    changes.add_argument(
        "--train-size",
        type=cli.whole(1, 60_000),
        metavar="N",
        help="take only the first N training images",
    )
    parser.add_argument(
        "--num-workers",
        type=cli.whole(0),
        default=4,
        metavar="N",
        help="processes that prepare batches, at most one a core",
    )
    parser.add_argument("--seed", type=cli.whole(0, 2**31 - 1), default=0, metavar="N", help="seed")
    parser.add_argument("--out", help="run folder, new; runs/RECIPE-TIME if not given")
    cli.add_data_dir(parser)
    args = vars(parser.parse_args(argv))
    recipe = RECIPES[args.pop("recipe")]
    fields = [field.name for field in dataclasses.fields(recipe) if field.name in args]
    given = {name: value for name in fields if (value := args.pop(name)) is not None}
    return train(dataclasses.replace(recipe, **given), **args)


if __name__ == "__main__":
    cli.run(main)
