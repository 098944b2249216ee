"""Train a net by a recipe, as the lecture does: ``python -m d2l_alexnet.train --ctx gpu``."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

from d2l_alexnet import checkpoint, cli, runs, runtime, shapes
from d2l_alexnet.checkpoint import State
from d2l_alexnet.data import load_data_fashion_mnist
from d2l_alexnet.evaluate import RunningSums, count_correct, evaluate_accuracy
from d2l_alexnet.nets import NETS
from d2l_alexnet.progress import Progress, watched
from d2l_alexnet.recipes import RECIPES
from d2l_alexnet.runtime import InputError, RunError

MAY_CHANGE = ("num_epochs", "lr")  # when a run is resumed, besides where and by whom it is computed
TEST_BATCH_SIZE = 128  # at the least: the dense layers' weights are read once a batch
CHANCE = 0.1  # accuracy of guessing one of ten classes
STEPS_TO_LEARN = 400  # an epoch of the lecture's recipe has 469
EPILOG = """lecture: five passes over 60,000 images, as published: 17 s a pass on the lecture's GPU,
most of an hour on two CPU cores. quick: one pass over a few thousand of them, some minutes on two
cores. Every run measures its first batches and says how long a pass takes on this machine."""


def train(
    recipe,
    ctx="auto",
    seed=0,
    num_workers=4,
    data_dir=None,
    out=None,
    checkpoint_minutes=5,
):
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
        (all settings, versions, device), history.jsonl, curves.png, net.params and checkpoints.
    checkpoint_minutes : float
        Minutes between two checkpoints inside an epoch.

    Returns
    -------
    list of dict
        The history: a row per epoch, with the keys listed in `d2l_alexnet.history`.

    Raises
    ------
    InputError
        For bad input; nothing has then been written.
    RunError
        When the loss is not finite any more, a worker dies, or a file cannot be written.
    Interrupted
        After Ctrl-C or SIGTERM; the run can be resumed.
    """
    return _run(
        recipe, ctx, seed, num_workers, data_dir, runs.new_folder(recipe, out), checkpoint_minutes
    )


def resume(folder, changes=None, ctx="auto", num_workers=4, data_dir=None, checkpoint_minutes=5):
    """Go on with a run from its newest sound checkpoint.

    On a CPU it ends with the same weights, bit for bit, as if it had never been interrupted.

    Parameters
    ----------
    folder : path
        The run folder.
    changes : dict of str to value, optional
        Settings to change; only `num_epochs` and `lr` may differ from what they were.
    ctx, num_workers, data_dir, checkpoint_minutes
        As for `train`; any of them may differ.

    Returns
    -------
    list of dict
        The whole history.

    Raises
    ------
    InputError, RunError, Interrupted
        As for `train`, and for a setting that may not change.
    """
    recipe, seed = runs.read_settings(folder)
    before = dict(vars(recipe), seed=seed, recipe=recipe.name)
    for name, value in (changes or {}).items():
        if name not in MAY_CHANGE and value != before[name]:
            raise InputError(
                f"--{name.replace('_', '-')} {value}: cannot change when a run is resumed; "
                f"{folder} has {before[name]}"
            )
    recipe = dataclasses.replace(
        recipe, **{name: value for name, value in (changes or {}).items() if name in MAY_CHANGE}
    )
    return _run(
        recipe, ctx, seed, num_workers, data_dir, Path(folder), checkpoint_minutes, resumed=True
    )


def _run(recipe, ctx, seed, num_workers, data_dir, out, checkpoint_minutes, resumed=False):
    """Load the data, build the net, train it: what `train` and `resume` have in common."""
    ctx, why = runtime.choose_context(ctx)
    net = build_net(recipe)
    train_iter, test_iter = load_data_fashion_mnist(
        recipe.batch_size,
        recipe.resize,
        recipe.train_size,
        num_workers,
        seed,
        data_dir,
        test_batch_size=max(recipe.batch_size, TEST_BATCH_SIZE),
        pin_memory=ctx.device_type == "gpu",
    )
    with train_iter, test_iter, runs.locked(out), cli.StopRequest() as stop:
        initialize(net, recipe, ctx, seed)
        trainer = make_trainer(net, recipe, steps=recipe.num_epochs * len(train_iter))
        state = State()
        if resumed:
            state, damaged = checkpoint.load(out, net, trainer)
            for problem in damaged:
                print(f"{problem}; taking an older one")
        if state.epoch > recipe.num_epochs:
            print(f"{out} is finished, {recipe.num_epochs} epochs; --epochs would add some")
            return state.history
        runs.write_settings(out, recipe, seed, ctx, len(train_iter.workers))
        print(f"Recipe {recipe.name} on {ctx}: {why}. {runs.describe_device()}. Run folder: {out}")
        keeper = checkpoint.Keeper(out, net, trainer, checkpoint_minutes, stop)
        return fit(net, train_iter, test_iter, trainer, recipe, seed, ctx, state, keeper)


def build_net(recipe):
    """Build the recipe's net and make sure that the recipe's images are large enough for it."""
    net = NETS[recipe.net](dropout=recipe.dropout)
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
    net(mx.nd.zeros((1, 1, recipe.resize, recipe.resize), ctx=ctx))  # now weights have shapes
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


def fit(net, train_iter, test_iter, trainer, recipe, seed, ctx, state, keeper):
    """Train from where `state` stands to the recipe's last epoch, testing after each.

    Returns
    -------
    list of dict
        The history, which is also in the run folder.
    """
    while state.epoch <= recipe.num_epochs:
        start = time.perf_counter() - state.seconds
        train_epoch(net, train_iter, trainer, recipe, seed, ctx, state, keeper)
        row = dict(
            epoch=state.epoch,
            loss=state.loss_sum / state.images,
            running_train_accuracy=state.correct / state.images,
            images_per_second=state.images / state.seconds,
        )
        batches = keeper.unless_stopped(watched(test_iter, "testing", test_iter.images), state)
        row["test_accuracy"] = evaluate_accuracy(net, batches, ctx)
        row["learning_rate"] = trainer.learning_rate
        row["seconds"] = time.perf_counter() - start
        print(lecture_line(row), flush=True)
        warn_at_chance(row, state, trainer)
        state = State(state.steps, state.epoch + 1, history=[*state.history, row])
        runs.write_results(keeper.folder, net, recipe, state.history)
        keeper.save(state)
    return state.history


def train_epoch(net, train_iter, trainer, recipe, seed, ctx, state, keeper):
    """Go over the training images once, learning from each batch; `state` tells of them.

    Loss and accuracy are summed *as the pass goes on*, while the net changes and dropout is
    active: the running training accuracy is that of no one net.
    """
    running = RunningSums(state.loss_sum, state.correct, images=state.images)
    progress = Progress(f"epoch {state.epoch}", train_iter.images, state.images, not state.history)
    loss = gluon.loss.SoftmaxCrossEntropyLoss()
    loss.hybridize(static_alloc=True, static_shape=True)
    start = time.perf_counter() - state.seconds
    for X, y in train_iter.from_batch(state.epoch, state.batches):
        mx.random.seed(seed_of_step(seed, state.steps), ctx=ctx)
        running.add(len(y), step(net, loss, trainer, X, y, recipe.batch_size, ctx))
        state.steps, state.batches = state.steps + 1, state.batches + 1
        check_finite(running, state, trainer)
        progress.update(running.images, **means(running))
        if keeper.due:
            settle(running, state, trainer, start)
            keeper.save(state)
    settle(running, state, trainer, start)
    progress.close()


def step(net, loss, trainer, X, y, batch_size, ctx):
    """Learn from one batch: the inside of the lecture's loop.

    Returns
    -------
    mxnet.nd.NDArray
        (2,): the sum of the batch's losses and the number of correct predictions, on the device
        and not waited for.
    """
    X, y = X.as_in_context(ctx), y.as_in_context(ctx)  # (N, 1, 224, 224), (N,)
    with autograd.record():
        y_hat = net(X)  # (N, 10)
        l = loss(y_hat, y)  # (N,)
    l.backward()
    trainer.step(batch_size)
    return mx.nd.concat(l.sum(), count_correct(y_hat, y), dim=0)


def settle(running, state, trainer, start):
    """Wait for the batches under way, and note in `state` what all of the pass so far gave."""
    running.drain()
    check_finite(running, state, trainer)
    state.loss_sum, state.correct = running.sums.tolist()
    state.images, state.seconds = running.images, time.perf_counter() - start


def means(running):
    """Give loss and accuracy per image; nothing before the first batch has been read."""
    if not running.images:
        return {}
    loss_sum, correct = running.sums.tolist()
    return dict(loss=loss_sum / running.images, running_accuracy=correct / running.images)


def check_finite(running, state, trainer):
    """Stop the run where its loss has become infinite or not a number."""
    if not np.isfinite(running.sums).all():
        raise RunError(
            f"epoch {state.epoch}: the loss is no longer finite, at step "
            f"{state.steps - running.waiting} and learning rate {trainer.learning_rate:g}; "
            "start anew with a lower --lr"
        )


def warn_at_chance(row, state, trainer):
    """Say what the usual causes are when a net has been trained for long and has learnt nothing."""
    if state.steps >= STEPS_TO_LEARN and row["test_accuracy"] < 1.5 * CHANCE:
        print(
            f"Warning: after {state.steps} steps test accuracy is still at chance level. Usual "
            f"causes: a learning rate ({trainer.learning_rate:g}) far too high or too low, weights "
            "all alike, labels that are not their images', pixels that are not in 0…1."
        )


def seed_of_step(seed, steps):
    """Derive the seed of one step's dropout, so that it does not matter where a run resumed."""
    return int(np.random.SeedSequence([seed, steps]).generate_state(1)[0] >> 1)


def lecture_line(row):
    """Write an epoch's row as the lecture prints it."""
    return (
        f"epoch {row['epoch']}, loss {row['loss']:.4f}, "
        f"train acc {row['running_train_accuracy']:.3f}, test acc {row['test_accuracy']:.3f}, "
        f"time {row['seconds']:.1f} sec"
    )


def main(argv=None):
    """Read the command line, train, and return the history."""
    parser = cli.Parser("train", "Train AlexNet on Fashion-MNIST.")
    parser.epilog = EPILOG
    parser.add_argument("--recipe", choices=RECIPES, help="what to do; lecture if not given")
    parser.add_argument(
        "--ctx", default="auto", help="auto (the GPU if there is a usable one), cpu, gpu or gpu:N"
    )
    parser.add_argument(
        "--num-workers",
        type=cli.whole(0),
        default=4,
        metavar="N",
        help="processes that prepare batches, at most one a core",
    )
    parser.add_argument("--seed", type=cli.whole(0, 2**31 - 1), metavar="N", help="0 if not given")
    parser.add_argument(
        "--out", metavar="DIR", help="new run folder; runs/RECIPE-TIME if not given"
    )
    parser.add_argument("--resume", metavar="DIR", help="go on with the run of this folder")
    parser.add_argument(
        "--checkpoint-minutes",
        type=cli.positive,
        default=5,
        metavar="X",
        help="minutes between two checkpoints",
    )
    cli.add_data_dir(parser)
    changes = parser.add_argument_group("changes to the recipe")
    changes.add_argument("--epochs", type=cli.whole(1), dest="num_epochs", metavar="N")
    changes.add_argument("--batch-size", type=cli.whole(1), metavar="N")
    changes.add_argument("--lr", type=cli.positive, metavar="X", help="learning rate")
    changes.add_argument("--resize", type=cli.whole(1), metavar="N", help="pixels a side")
    changes.add_argument(
        "--train-size",
        type=cli.whole(1, 60_000),
        metavar="N",
        help="take only the first N training images",
    )
    args = vars(parser.parse_args(argv))
    where = {
        name: args.pop(name) for name in ("ctx", "num_workers", "data_dir", "checkpoint_minutes")
    }
    folder, out = args.pop("resume"), args.pop("out")
    given = {name: value for name, value in args.items() if value is not None}
    if folder:
        return resume(folder, given, **where)
    recipe = RECIPES[given.pop("recipe", "lecture")]
    seed = given.pop("seed", 0)
    return train(dataclasses.replace(recipe, **given), seed=seed, out=out, **where)


if __name__ == "__main__":
    cli.run(main)
