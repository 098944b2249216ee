"""Train a net by a recipe, as the lecture does: ``python -m d2l_alexnet.train --ctx gpu``."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from pathlib import Path

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon
from mxnet.contrib import amp

from d2l_alexnet import checkpoint, cli, gap, plateau, runs, runtime, shapes
from d2l_alexnet.accuracy import RunningSums, add_up, evaluate_accuracy, loss_and_correct, split
from d2l_alexnet.checkpoint import State
from d2l_alexnet.data import load_data
from d2l_alexnet.distributed import ALONE, KVSTORES, join
from d2l_alexnet.loader import closing
from d2l_alexnet.nets import NETS
from d2l_alexnet.progress import Progress, Timed, watched
from d2l_alexnet.recipes import LARGEST_TRAIN_SIZE, RECIPES
from d2l_alexnet.runtime import InputError, RunError

MAY_CHANGE = ("num_epochs", "lr")  # when a run is resumed, besides these options
WHERE = ("ctx", "num_workers", "data_dir", "checkpoint_minutes", "tensorboard")
TOGETHER = ("kvstore", "patience")
MEASURED = ("loss", "running_train_accuracy", "running_train_accuracy_in_predict_mode")
TEST_BATCH_SIZE = 128  # at the least: the dense layers' weights are read once a batch
CHANCE = 0.1  # accuracy of guessing one of ten classes
STEPS_TO_LEARN = 400  # an epoch of the lecture's recipe has 469
EPILOG = """lecture: five passes over 60,000 images, as published: 17 s a pass on the lecture's GPU,
a quarter of an hour or more on two CPU cores. quick: one pass over a few thousand of them, some
minutes on two cores. cifar10-alexnet, cifar10-convnet: the second lecture's two nets, 200 and 50
passes. Every run measures its first batches and says how long a pass takes on this machine."""


def train(
    recipe,
    ctx="auto",
    seed=0,
    num_workers=4,
    data_dir=None,
    out=None,
    checkpoint_minutes=5,
    explain_gap=False,
    tensorboard=False,
    workers=ALONE,
):
    """Train a net by a recipe and write what came of it into a run folder.

    Parameters
    ----------
    recipe : Recipe
    ctx : str
        ``auto``, ``cpu``, ``gpu``, ``gpu:N`` or several, ``gpu:0,1``.
    seed : int
        Of the initial weights, the order of the images, and dropout. On a CPU the same seed gives
        the same net; on a GPU MXNet 1.9.1's dropout does not heed it.
    num_workers : int
        Processes that prepare batches; see `d2l_alexnet.data`.
    data_dir : path, optional
        Folder of the data set's files.
    out : path, optional
        The run folder, new or empty; ``runs/<recipe>-<time>`` if not given. It gets args.json
        (all settings, versions, device), history.jsonl, losses.txt, pictures of both, net.params
        and checkpoints.
    checkpoint_minutes : float
        Minutes between two checkpoints inside an epoch.
    explain_gap : bool
        Whether to measure why the running training accuracy lies below the test accuracy; see
        `d2l_alexnet.gap`. What the net learns stays the same.
    tensorboard : bool
        Whether to write events too; see `d2l_alexnet.tensorboard`.
    workers : Alone or Workers
        What `d2l_alexnet.distributed.join` gives. The first of several keeps the run folder.

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
    out = runs.new_folder(recipe, out) if workers.first else None
    where = ctx, num_workers, data_dir, checkpoint_minutes, tensorboard, workers
    return _run(recipe, seed, explain_gap, out, *where)


def resume(
    folder,
    changes=None,
    ctx="auto",
    num_workers=4,
    data_dir=None,
    checkpoint_minutes=5,
    tensorboard=False,
    workers=ALONE,
):
    """Go on with a run from its newest sound checkpoint.

    On a CPU it ends with the same weights, bit for bit, as if it had never been interrupted.

    Parameters
    ----------
    folder : path
        The run folder.
    changes : dict of str to value, optional
        Settings to change; only `num_epochs` and `lr` may differ from what they were. With a
        plateau, `lr` is the rate of the epoch under way.
    ctx, num_workers, data_dir, checkpoint_minutes
        As for `train`; any of them may differ.
    tensorboard : bool
        As for `train`; a run that has written events goes on doing so.
    workers : Alone or Workers
        As for `train`. There may be more or fewer than before; only the first needs the folder.

    Returns
    -------
    list of dict
        The whole history.

    Raises
    ------
    InputError, RunError, Interrupted
        As for `train`, and for a setting that may not change.
    """
    recipe, seed, explain_gap = runs.read_settings(folder, workers.from_first)
    before = dict(vars(recipe), seed=seed, recipe=recipe.name, explain_gap=explain_gap)
    for name, value in (changes or {}).items():
        if name not in MAY_CHANGE and value != before[name]:
            raise InputError(
                f"--{name.replace('_', '-')} {value}: cannot change when a run is resumed; "
                f"{folder} has {before[name]}"
            )
    recipe = dataclasses.replace(
        recipe, **{name: value for name, value in (changes or {}).items() if name in MAY_CHANGE}
    )
    tensorboard = tensorboard or Path(folder, runs.EVENTS).exists()
    where = ctx, num_workers, data_dir, checkpoint_minutes, tensorboard, workers
    new_lr = "lr" in (changes or {})
    return _run(recipe, seed, explain_gap, Path(folder), *where, resumed=True, new_lr=new_lr)


def _run(
    recipe,
    seed,
    explain_gap,
    out,
    ctx,
    num_workers,
    data_dir,
    checkpoint_minutes,
    tensorboard,
    workers,
    resumed=False,
    new_lr=False,
):
    """Load the data, build the net, train it: what `train` and `resume` have in common."""
    ctx, why = runtime.choose_context(ctx)
    Board = _import_board() if tensorboard else None
    if recipe.dtype == "float16":
        use_mixed_precision(ctx)
    net = build_net(recipe)
    test_batch_size = max(recipe.batch_size, TEST_BATCH_SIZE)
    where = num_workers, seed, data_dir, ctx[0]
    train_iter, evaluations = load_data(recipe, test_batch_size, *where)
    loaders = train_iter, *evaluations.values()
    check_parts(train_iter, len(ctx) * workers.size)
    for data_iter in evaluations.values():
        check_parts(data_iter, len(ctx))
    train_iter = workers.share(train_iter)
    enough_memory = runtime.naming_lack_of_memory(ctx[0], recipe.batch_size)
    own = runs.locked(out) if workers.first else contextlib.nullcontext()
    with closing(loaders), own, cli.StopRequest() as stop, enough_memory:
        initialize(net, recipe, ctx, seed)
        steps = recipe.num_epochs * len(train_iter)
        trainer = make_trainer(net, recipe, steps, workers.kvstore)
        state = State()
        if resumed:
            state, damaged = workers.load(out, net, trainer)
            for problem in damaged:
                print(f"{problem}; taking an older one")
        if new_lr:
            recipe = dataclasses.replace(recipe, lr_since=state.epoch)
        if state.epoch > recipe.num_epochs:
            print(f"{out} is finished, {recipe.num_epochs} epochs; --epochs would add some")
            return state.history
        keeper, boards = checkpoint.Onlooker(), []
        if workers.first:
            how = seed, explain_gap, ctx, len(train_iter.workers), workers.size
            runs.write_settings(out, recipe, *how)
            announce(recipe, ctx, why, out)
            keeper = checkpoint.Keeper(out, net, trainer, checkpoint_minutes, stop)
            boards = [Board(out, net, state.steps)] if tensorboard else []
        learner = Learner(net, trainer, recipe, seed, ctx, workers)
        if explain_gap:
            learner.observe(gap.Halves(net))
            sample = train_iter.first(gap.SAMPLED, test_batch_size)
            evaluations.setdefault("train_accuracy", sample)  # some recipes measure it on all
        history = fit(learner, train_iter, evaluations, state, keeper, boards)
    if explain_gap:
        print(gap.explain(history))
    return history


def check_parts(data_iter, devices):
    """Make sure that even the last batch has an image for each device."""
    last = data_iter.images % data_iter.batch_size or data_iter.batch_size
    if last < devices:
        raise InputError(
            f"--batch-size {data_iter.batch_size}: leaves {last} images for the last batch, fewer "
            f"than there are devices, {devices}; choose another"
        )


def announce(recipe, ctx, why, out):
    """Say what is about to be done, where and why there."""
    devices = ", ".join(map(str, ctx))
    print(
        f"Recipe {recipe.name} on {devices}: {why}. {runs.describe_device(ctx)}. Run folder: {out}",
        flush=True,
    )
    if ctx[0].device_type == "gpu":
        print("The first batch takes longer: cuDNN tries its algorithms on it", flush=True)


def _import_board():
    """Import what writes for TensorBoard; here alone, as it needs an extra."""
    try:
        from d2l_alexnet.tensorboard import Board
    except ImportError as error:
        raise InputError(
            f"--tensorboard: pip install 'd2l_alexnet[tensorboard]' first ({error})"
        ) from error
    return Board


def use_mixed_precision(ctx):
    """Have MXNet compute in float16 where that is safe: for the whole process, and from now on."""
    if ctx[0].device_type != "gpu":
        raise InputError("--dtype float16: mixed precision is for GPUs; use --ctx gpu, or float32")
    amp.init()


def build_net(recipe):
    """Build the recipe's net and make sure that the recipe's images are large enough for it."""
    net = NETS[recipe.net](dropout=recipe.dropout)
    try:
        shapes.trace(net, recipe.input_shape)
    except InputError as error:
        raise InputError(f"--resize {recipe.resize}: {error}") from error
    return net


def initialize(net, recipe, ctx, seed):
    """Give the net its initial weights, and have it compute as one compiled graph."""
    mx.random.seed(seed)
    np.random.seed(seed)
    initializer = mx.init.create(recipe.initializer, **recipe.initializer_params)
    net.infer_shape(mx.nd.zeros(recipe.input_shape))
    net.initialize(initializer, ctx=ctx, force_reinit=True)
    net.hybridize(static_alloc=True, static_shape=True)


def make_trainer(net, recipe, steps, kvstore=ALONE.kvstore):
    """Make the trainer with the recipe's optimizer, whose learning rate may follow a schedule."""
    settings = dict(learning_rate=recipe.lr, **recipe.optimizer_params)
    if recipe.decay:
        settings["lr_scheduler"] = mx.lr_scheduler.PolyScheduler(
            max_update=steps + 1,  # so that the last step still learns
            base_lr=recipe.lr,
            pwr=1,
            warmup_steps=min(recipe.warmup_steps, steps // 10),
        )
    # Devices and workers add up their gradients, and each updates its own copy of the weights.
    trainer = gluon.Trainer(
        net.collect_params(), recipe.optimizer, settings, kvstore, update_on_kvstore=False
    )
    if recipe.dtype == "float16":
        amp.init_trainer(trainer)
    return trainer


class Learner:
    """A net and what it takes to learn from one batch.

    Parameters
    ----------
    net : mxnet.gluon.HybridBlock
        Lies on every device of `ctx`.
    trainer : mxnet.gluon.Trainer
    recipe : Recipe
    seed : int
    ctx : list of mxnet.Context
        Each takes its part of a batch.
    workers : Alone or Workers
        Each has its part of a batch.
    """

    def __init__(self, net, trainer, recipe, seed, ctx, workers=ALONE):
        self.net, self.trainer, self.recipe, self.ctx = net, trainer, recipe, ctx
        self.workers = workers
        workers.even_out(trainer)
        self._forward, self._measure, self._seed = net, loss_and_correct, seed
        self._scaled = contextlib.nullcontext
        if recipe.dtype == "float16":  # which has no numbers small enough for some gradients
            self._scaled = functools.partial(amp.scale_loss, optimizer_or_trainer=trainer)
        self._loss = gluon.loss.SoftmaxCrossEntropyLoss()
        self._loss.hybridize(static_alloc=True, static_shape=True)

    def observe(self, halves):
        """Let `halves`, which share the net's parameters, learn in its place, and measure more."""
        self._forward, self._measure = halves, halves.measure

    def step(self, number, X, y):
        """Learn from one batch: the inside of the lecture's loop.

        Parameters
        ----------
        number : int
            Steps taken before; with the seed, it decides on dropout.
        X, y : mxnet.nd.NDArray
            (N, C, H, W) and (N,). With Fashion-MNIST N is smaller for the last batch of a pass. Of
            several workers, each has its part.

        Returns
        -------
        mxnet.nd.NDArray
            The batch's figures, before the weights change; on the device and not waited for.
        """
        seeds = seeds_of_step(self._seed, number, len(self.ctx), self.workers.rank)
        for device, seed in zip(self.ctx, seeds):
            mx.random.seed(seed, ctx=device)
        X, y = split(X, self.ctx), split(y, self.ctx)
        with autograd.record():
            y_hat = [self._forward(part) for part in X]  # (N, 10), a part on each device
            l = [self._loss(*parts) for parts in zip(y_hat, y)]  # (N,)
            with self._scaled(l) as scaled:
                autograd.backward(scaled)
        figures = [self._measure(*parts) for parts in zip(l, y_hat, y)]
        self.trainer.step(self.recipe.batch_size)
        return self.workers.add_up(add_up(figures))


def seeds_of_step(seed, number, devices, rank=0):
    """Derive the seeds of one step's dropout, so that it does not matter where a run resumed."""
    states = np.random.SeedSequence([seed, number]).generate_state(devices * (rank + 1))
    return (states[-devices:] >> 1).tolist()


def fit(learner, train_iter, evaluations, state, keeper, boards=()):
    """Train from where `state` stands to the recipe's last epoch, testing after each.

    Parameters
    ----------
    learner : Learner
    train_iter : DataLoader
    evaluations : dict of str to DataLoader
        What to measure the net's accuracy on after each epoch, by the key in the history.
    state : State
    keeper : Keeper
    boards : sequence of Board
        Are told what is measured, during the pass and after it.

    Returns
    -------
    list of dict
        The history, which is also in the run folder.
    """
    net, recipe = learner.net, learner.recipe
    while state.epoch <= recipe.num_epochs:
        start = time.perf_counter() - state.seconds
        plateau.set_rate(learner.trainer, recipe, state.history)
        train_epoch(learner, train_iter, state, keeper, boards)
        row = row_of_pass(state)
        for key, data_iter in evaluations.items():
            batches = watched(data_iter, key.replace("_", " "))
            batches = keeper.unless_stopped(batches, state)
            measure = functools.partial(evaluate_accuracy, net, batches, learner.ctx)
            row[key] = learner.workers.from_first(measure)
        row["learning_rate"] = learner.trainer.learning_rate
        row["seconds"] = time.perf_counter() - start
        print(lecture_line(row), flush=True)
        warn_at_chance(row, state, learner.trainer)
        history = [*state.history, row]
        state = State(state.steps, state.epoch + 1, history=history, losses=state.losses)
        keeper.write_results(recipe, history, state.losses)
        for board in boards:
            board.after_epoch(state.steps, row)
        keeper.save(state)
    return state.history


def train_epoch(learner, train_iter, state, keeper, boards=()):
    """Go over the training images once, learning from each batch; `state` tells of them.

    Loss and accuracy are summed *as the pass goes on*, while the net changes and dropout is
    active: the running training accuracy is that of no one net.
    """
    running = RunningSums(state.sums, state.images)
    progress = Progress(f"epoch {state.epoch}", train_iter.images, state.images, not state.history)
    start = time.perf_counter() - state.seconds
    batches = Timed(train_iter.from_batch(state.epoch, state.batches), state.seconds_waiting)
    for X, y in batches:
        running.add(len(y) * learner.workers.size, learner.step(state.steps, X, y))
        state.steps, state.batches = state.steps + 1, state.batches + 1
        state.seconds_waiting = batches.seconds
        check_finite(running, state, learner.trainer)
        progress.update(running.images, **means(running))
        for board in boards:
            board.after_batch(state.steps - running.waiting, means(running))
        if keeper.due:
            settle(running, state, learner.trainer, start)
            keeper.save(state)
    settle(running, state, learner.trainer, start)
    progress.close()


def row_of_pass(state):
    """Begin an epoch's row with what was measured during the pass."""
    means = {key: total / state.images for key, total in zip(MEASURED, state.sums)}
    return dict(
        epoch=state.epoch,
        **means,
        images_per_second=state.images / state.seconds,
        seconds_waiting_for_data=state.seconds_waiting,
    )


def settle(running, state, trainer, start):
    """Wait for the batches under way, and note in `state` what all of the pass so far gave."""
    running.drain()
    check_finite(running, state, trainer)
    state.sums, state.losses = running.sums.tolist(), state.losses + running.batch_means
    running.batch_means = []
    state.images, state.seconds = running.images, time.perf_counter() - start


def means(running):
    """Give loss and accuracy per image; nothing before the first batch has been read."""
    if not running.images:
        return {}
    loss, accuracy = running.sums[:2] / running.images
    return dict(loss=loss, running_accuracy=accuracy)


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
            "all alike, labels that are not their images', pixels that are not in 0…1 or -1…1."
        )


def lecture_line(row):
    """Write an epoch's row as the lecture prints it, with what other accuracies it has."""
    names = dict(
        running_train_accuracy="running train acc" if "train_accuracy" in row else "train acc",
        train_accuracy="train acc after the epoch",
        valid_accuracy="valid acc",
        test_accuracy="test acc",
    )
    accuracies = ", ".join(f"{names[key]} {row[key]:.3f}" for key in names if key in row)
    return (
        f"epoch {row['epoch']}, loss {row['loss']:.4f}, {accuracies}, time {row['seconds']:.1f} sec"
    )


def main(argv=None):
    """Read the command line, train, and return the history."""
    parser = cli.Parser(
        "train", "Train a net by a recipe: the lecture's AlexNet, if none is named."
    )
    parser.epilog = EPILOG
    parser.add_argument("--recipe", choices=RECIPES, help="what to do; lecture if not given")
    cli.add_ctx(parser)
    cli.add_num_workers(parser)
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
    parser.add_argument(
        "--explain-gap",
        action="store_const",
        const=True,
        help="measure why the running training accuracy lies below the test accuracy",
    )
    parser.add_argument(
        "--tensorboard",
        action="store_true",
        help="write events for TensorBoard too; a run that is resumed goes on with it",
    )
    parser.add_argument(
        "--kvstore",
        choices=KVSTORES,
        default="device",
        help="dist_sync: be a worker of a run that python -m d2l_alexnet.launch has started",
    )
    parser.add_argument(
        "--patience",
        type=cli.positive,
        default=300,
        metavar="X",
        help="seconds to wait for other workers before giving up",
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
    changes.add_argument(
        "--dtype", choices=("float32", "float16"), help="float16 is mixed precision, on a GPU"
    )
    changes.add_argument(
        "--augment",
        action="store_const",
        const=True,
        help="turn, mirror and recolour training images too, with CIFAR-10",
    )
    args = vars(parser.parse_args(argv))
    where = {name: args.pop(name) for name in WHERE}
    together = {name: args.pop(name) for name in TOGETHER}
    folder, out = args.pop("resume"), args.pop("out")
    given = {name: value for name, value in args.items() if value is not None}
    if folder and out:
        raise InputError(f"--out {out}: a run is resumed in its own folder; leave --out away")
    if folder:
        with join(**together) as workers:
            return resume(folder, given, **where, workers=workers)
    recipe = RECIPES[given.pop("recipe", "lecture")]
    largest = LARGEST_TRAIN_SIZE[recipe.data]
    if given.get("train_size", 0) > largest:
        raise InputError(
            f"--train-size {given['train_size']}: there are {largest:,} training images in "
            f"{recipe.data}"
        )
    how = dict(seed=given.pop("seed", 0), explain_gap=given.pop("explain_gap", False), out=out)
    with join(**together) as workers:
        return train(dataclasses.replace(recipe, **given), **how, **where, workers=workers)


if __name__ == "__main__":
    cli.run(main)
