"""Train a net by a recipe, as the lecture does: ``python -m d2l_alexnet.train --ctx gpu``."""

from __future__ import annotations

import contextlib
import reprlib
import shlex
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Callable, Collection, Iterable, Mapping, Sequence

from d2l_alexnet import cli, gap, precision
from d2l_alexnet.build import build_net, check_recipe, initialize, make_trainer
from d2l_alexnet.callbacks.base import Callback
from d2l_alexnet.callbacks.checkpointer import Checkpointer, SavedIfTheyFail
from d2l_alexnet.callbacks.progress import Progress
from d2l_alexnet.callbacks.results_writer import ResultsWriter
from d2l_alexnet.data.load import load_data
from d2l_alexnet.data.loader import DataLoader, closing
from d2l_alexnet.distributed.process_group import SINGLE_PROCESS, SingleProcess, join
from d2l_alexnet.errors import InputError, RunError
from d2l_alexnet.loop import fit
from d2l_alexnet.metrics import SplitNet
from d2l_alexnet.options import RESUMED_WITH, DistributedOptions, RunOptions
from d2l_alexnet.recipes import RECIPES, Recipe
from d2l_alexnet.run_folder import checkpoint, folder
from d2l_alexnet.run_folder.results import write_results
from d2l_alexnet.run_folder.settings import (
    MAY_CHANGE,
    SAVED,
    read_settings,
    settings_of,
    write_settings,
)
from d2l_alexnet.runtime import devices
from d2l_alexnet.runtime.signals import StopRequest
from d2l_alexnet.state import Training
from d2l_alexnet.validation import check_fields

EPILOG = """Recipes: "lecture" trains AlexNet on Fashion-MNIST as in the first lecture, for five
epochs of 60,000 images. An epoch takes 17 s on the lecture's GPU. In float32 it takes about 12
minutes on two cores with AVX-512, and about 40 minutes on two cores without AVX-512. "quick" trains
the same net for one epoch of 4,480 images. It takes one to six minutes on two cores. "lenet" trains
LeNet for five epochs of some seconds each. "cifar10-alexnet" and "cifar10-convnet" train the nets
of the second lecture, for 200 and for 50 epochs. In its first epoch, a run measures some batches,
and then prints how long an epoch takes."""


def train(
    recipe: Recipe,
    options: RunOptions | None = None,
    callbacks: Iterable[Callback] = (),
    group: SingleProcess = SINGLE_PROCESS,
    **keywords: Any,
) -> list[dict]:
    """Train a net by a recipe, and write the results into a run folder.

    Parameters
    ----------
    recipe : Recipe
        The net, the data and the settings, such as ``RECIPES["lecture"]``.
    options : RunOptions, optional
        The device, the folders and the other settings of `RunOptions`.
    callbacks : iterable of Callback
        Called during the run; see `d2l_alexnet.callbacks`.
    group : SingleProcess or ProcessGroup
        The processes that train together; see `d2l_alexnet.distributed.process_group.join`. The
        first one writes the run folder, and only its callbacks are called.
    **keywords
        Fields of `RunOptions`: ``train(recipe, ctx="cpu", seed=1)``.

    Returns
    -------
    list of dict
        The history: a row per epoch, with the keys listed in `d2l_alexnet.history`.

    Raises
    ------
    InputError
        For bad input. Nothing has been written.
    RunError
        When the loss is not finite, a loader's worker dies, a file cannot be written or a callback
        fails.
    Interrupted
        After Ctrl-C or SIGTERM. The run has been saved and can be resumed.
    """
    options = replace(options or RunOptions(), **keywords)
    # Not in `check_recipe`: older run folders with these settings can still be read.
    if recipe.warmup_steps and not recipe.decay:
        raise InputError(
            f"warmup_steps is {recipe.warmup_steps!r}, but the learning rate warms up only with "
            "decay; set warmup_steps to 0, or decay to True"
        )
    if group.is_main:
        folder.new_folder(recipe, options.out)  # refused before any work is done
    return _run(recipe, options, callbacks, group)


def resume(
    run: str | Path,
    changes: Mapping[str, Any] | None = None,
    options: RunOptions | None = None,
    callbacks: Iterable[Callback] = (),
    group: SingleProcess = SINGLE_PROCESS,
    **keywords: Any,
) -> list[dict]:
    """Resume a run from its newest undamaged checkpoint.

    On a CPU the weights at the end are the same, bit for bit, as without the interruption.

    Parameters
    ----------
    run : path
        The run folder.
    changes : dict of str to value, optional
        Fields of the recipe to change: `num_epochs` and `lr`. If the recipe cuts the rate on a
        plateau, `lr` is the rate of the current epoch.
    options : RunOptions, optional
        `seed`, `explain_gap` and `out` are not used, because the run has its own.
    callbacks, group, **keywords
        As for `train`. A group may have more or fewer processes than before.

    Returns
    -------
    list of dict
        The whole history.

    Raises
    ------
    InputError, RunError, Interrupted
        As for `train`, and if `changes` has a setting that may not change.
    """
    recipe, saved = read_settings(run, group)
    kept = {name: getattr(saved, name) for name in SAVED}
    before = dict(vars(recipe), recipe=recipe.name, **kept)
    changes = changes or {}
    for name, value in changes.items():
        if name not in before:
            raise InputError(f"{name}: a run has no such setting; choose {' or '.join(MAY_CHANGE)}")
        if name not in MAY_CHANGE and value != before[name]:
            raise InputError(
                f"--{name.replace('_', '-')} {value}: cannot change when a run is resumed; "
                f"{run} has {before[name]}"
            )
    changes = {name: changes[name] for name in MAY_CHANGE if name in changes}
    recipe = replace(recipe, **changes)
    options = replace(options or RunOptions(), **keywords)
    tensorboard = options.tensorboard or Path(run, folder.EVENTS).exists()
    options = replace(options, out=str(run), tensorboard=tensorboard, **kept)
    return _run(recipe, options, callbacks, group, resumed=True, changed=changes)


def _run(
    recipe: Recipe,
    options: RunOptions,
    callbacks: Iterable[Callback],
    group: SingleProcess,
    resumed: bool = False,
    changed: Collection[str] = (),
) -> list[dict]:
    """Load the data, build the net and train it, for `train` and for `resume`."""
    callbacks = check_callbacks(callbacks)
    ctx, why = prepare(recipe, options, group)
    net = build_net(recipe)
    train_iter, eval_iters = load(recipe, options, ctx, group)
    own_folder = lock_folder(recipe, options, group, resumed)
    enough_memory = devices.explain_out_of_memory(ctx[0], recipe.batch_size)
    loaders = [train_iter, *eval_iters.values()]
    with closing(loaders), own_folder as run, StopRequest() as stop, enough_memory:
        training = start(net, recipe, options, ctx, group, steps=len(train_iter))
        if resumed:
            load_checkpoint(training, run, changed, steps=len(train_iter))
        if training.state.epoch > recipe.num_epochs:
            if group.is_main:  # their last writing may have failed
                state = training.state
                write_results(run, net, recipe, state.history, state.losses)
            print(
                f"{run}: all {recipe.num_epochs} epochs are done; for more, give a larger --epochs"
            )
            return training.state.history
        group.broadcast_weights(training.trainer)
        active: list[Callback] = []
        if group.is_main:
            if changed:  # save first: the settings must match the newest checkpoint
                checkpoint.save_training(run, training)
            workers = len(train_iter.workers)
            write_settings(run, training.recipe, options, ctx, workers, group.size)
            announce(recipe, ctx, why, run)
            active = all_callbacks(run, options, callbacks, stop)
        history = fit(training, train_iter, eval_iters, active)
    if options.explain_gap:
        print(gap.explain(history))
    return history


def prepare(recipe: Recipe, options: RunOptions, group: SingleProcess) -> tuple[list, str]:
    """Check all settings before any work is done, and prepare the process for the number format.

    Returns
    -------
    ctx : list of mxnet.Context
    why : str
        The reason for this choice of devices.

    Raises
    ------
    InputError
        When a setting is wrong, or not the same in all processes of the group.
    """
    check_recipe(recipe)
    check_fields(vars(options), fields(RunOptions))
    kept = {name: getattr(options, name) for name in SAVED}
    group.check_same(dict(vars(recipe), published=None, **kept))
    ctx, why = devices.choose_context(options.ctx)
    if options.tensorboard:
        import_tensorboard()
    precision.prepare(recipe.dtype, ctx)
    return ctx, why


def check_callbacks(callbacks: Iterable[Callback]) -> list[Callback]:
    """List a user's callbacks; raise `InputError` if one is something else."""
    if isinstance(callbacks, Callback):
        raise InputError("callbacks: give a list, also of a single one: callbacks=[...]")
    callbacks = list(callbacks)
    for each in callbacks:
        if not isinstance(each, Callback):
            raise InputError(f"callbacks: {reprlib.repr(each)} is not a Callback; give an instance")
    return callbacks


def lock_folder(
    recipe: Recipe, options: RunOptions, group: SingleProcess, resumed: bool
) -> contextlib.AbstractContextManager[Path]:
    """Return a context manager that locks the run folder. Only the first process locks it."""
    if not group.is_main:
        return contextlib.nullcontext(Path())
    if resumed:
        return folder.locked(Path(str(options.out)))
    return folder.created(recipe, options.out)


def load(
    recipe: Recipe, options: RunOptions, ctx: Sequence, group: SingleProcess
) -> tuple[DataLoader, dict[str, DataLoader]]:
    """Load the data. The training loader yields only this process's part of each batch."""
    train_iter, eval_iters = load_data(recipe, options, ctx[0])
    try:
        check_parts([train_iter], len(ctx) * group.size)
        check_parts(eval_iters.values(), len(ctx))
        return train_iter.shard(group.rank, group.size), eval_iters
    except InputError:
        for loader in (train_iter, *eval_iters.values()):
            loader.close()
        raise


def start(
    net: Any, recipe: Recipe, options: RunOptions, ctx: Sequence, group: SingleProcess, steps: int
) -> Training:
    """Set the initial weights and make the trainer; `steps` is the number of steps per epoch."""
    initialize(net, recipe, ctx, options.seed)
    trainer = make_trainer(net, recipe, recipe.num_epochs * steps, group.kvstore)
    split_net = SplitNet(net) if options.explain_gap else None
    return Training(net, trainer, recipe, options.seed, ctx, group, split_net)


def check_parts(loaders: Iterable[Any], devices: int) -> None:
    """Check that every batch, also the last one, has an image for each device.

    Raises
    ------
    InputError
        If the last batch has too few images.
    """
    for data_iter in loaders:
        last = data_iter.images % data_iter.batch_size or data_iter.batch_size
        if last < devices:
            raise InputError(
                f"--batch-size {data_iter.batch_size}: the last batch has {last} images, fewer "
                f"than there are devices ({devices}); choose another"
            )


def load_checkpoint(training: Training, run: Path, changed: Collection[str], steps: int) -> None:
    """Load the newest undamaged checkpoint, and print which ones are damaged.

    Parameters
    ----------
    training : Training
    run : pathlib.Path
    changed : collection of str
        Fields of the recipe that the user changes.
    steps : int
        Number of steps in an epoch.

    Raises
    ------
    InputError
        When there is no undamaged checkpoint of a run with these settings.
    """
    # If the rate is changed, the old rate and the epoch of its change need not match.
    free = [*changed, *(["lr_since"] if "lr" in changed else [])]
    settings = {k: v for k, v in settings_of(training).items() if k not in free}
    net, trainer, group = training.net, training.trainer, training.group
    training.state, damaged = checkpoint.load(run, net, trainer, group, settings)
    for problem in damaged:
        print(f"{problem}; using an older one")
    state = training.state
    if state.steps_per_epoch > steps or (state.epoch > 1 and state.steps_per_epoch != steps):
        raise InputError(
            f"{run}: the run began with {state.steps_per_epoch} steps in an epoch, but its "
            f"settings now give {steps} steps"
        )
    if "lr" in changed:
        training.recipe = replace(training.recipe, lr_since=training.state.epoch)


def announce(recipe: Recipe, ctx: Sequence, why: str, run: Path) -> None:
    """Print the recipe, the devices, and why these devices are used.

    All lines are written at once. ``| head -1`` closes the pipe after the first line. A second
    write would then end the run before there is anything to save.
    """
    names = ", ".join(map(str, ctx))
    lines = [
        f"Recipe {recipe.name} on {names} in {recipe.dtype}. {why[0].upper()}{why[1:]}. "
        f"{devices.describe(ctx)}. Run folder: {run}"
    ]
    gain = precision.SPEEDUP.get(recipe.name)
    if gain and recipe.dtype == "float32" and not precision.unsupported_reason("bfloat16", ctx):
        lines.append(
            f"--dtype bfloat16 would be faster: on another such CPU a step was {gain} times as fast"
        )
    if ctx[0].device_type == "gpu":
        lines.append("The first batch takes longer: cuDNN tries its algorithms on it")
    print("\n".join(lines), flush=True)


def all_callbacks(
    run: Path, options: RunOptions, callbacks: Iterable[Callback], stop: StopRequest
) -> list[Callback]:
    """List the callbacks of a run. `Progress` prints, which may fail; so it comes after saving.

    Results come before the checkpoint: if the process is killed between the two, the resumed run
    repeats the end of the epoch, and writes them again.
    """
    command = resume_command(run, options)
    checkpointer = Checkpointer(run, options.checkpoint_minutes, stop, command)
    ours = [ResultsWriter(run), *([import_tensorboard()(run)] if options.tensorboard else [])]
    return [
        SavedIfTheyFail(ours, checkpointer, RunError),
        SavedIfTheyFail(callbacks, checkpointer),
        checkpointer,
        SavedIfTheyFail([Progress()], checkpointer, RunError),
    ]


def resume_command(run: Path, options: RunOptions) -> str:
    """Write the command that resumes a run with the same options, quoted for a shell."""
    flags = cli.flags_of(options, *RESUMED_WITH)
    return shlex.join(["python", "-m", "d2l_alexnet.train", "--resume", str(run), *flags])


def import_tensorboard() -> Callable[[Path], Callback]:
    """Import the TensorBoard callback, which needs an optional dependency.

    Raises
    ------
    InputError
        If this dependency is not installed.
    """
    try:
        from d2l_alexnet.callbacks.tensorboard import TensorBoard
    except ImportError as error:
        raise InputError(
            f"--tensorboard: pip install 'd2l_alexnet[tensorboard]' first ({error})"
        ) from error
    return TensorBoard


def parser() -> cli.Parser:
    """Make the parser of the command line."""
    description = (
        "Train a net by a recipe, or resume a run. A recipe is a net, a data set and all settings."
    )
    new = cli.Parser("train", description, EPILOG)
    cli.add_flag(new, "--recipe", choices=RECIPES, help="recipe, see below (default: lecture)")
    cli.add_flag(
        new, "--resume", type=cli.not_empty, metavar="RUN", help="resume the run in the folder RUN"
    )
    cli.add_flags(new, RunOptions)
    cli.add_flags(new, DistributedOptions)
    changes = new.add_argument_group("changes to the recipe")
    cli.add_flags(changes, Recipe, defaults=False)
    return new


def main(argv: Sequence[str] | None = None) -> list[dict]:
    """Read the command line, train, and return the history."""
    given = vars(parser().parse_args(argv))
    with join(cli.pop_options(given, DistributedOptions)) as group:
        return _resume(given, group) if "resume" in given else _train(given, group)


def _train(given: dict[str, Any], group: SingleProcess) -> list[dict]:
    """Train with the settings of the command line."""
    options = cli.pop_options(given, RunOptions)
    recipe = replace(RECIPES[given.pop("recipe", "lecture")], **given)
    return train(recipe, options, group=group)


def _resume(given: dict[str, Any], group: SingleProcess) -> list[dict]:
    """Resume with the settings of the command line."""
    run = given.pop("resume")
    if "out" in given:
        raise InputError(f"--out {given['out']}: a run is resumed in its own folder; omit --out")
    changes = {name: given.pop(name) for name in SAVED if name in given}
    options = cli.pop_options(given, RunOptions)
    return resume(run, {**changes, **given}, options, group=group)


if __name__ == "__main__":
    cli.run(main)
