"""A net in training, and the progress of its run between two batches."""

from __future__ import annotations

import reprlib
import time
from dataclasses import dataclass, field, fields
from typing import Any, Sequence

import numpy as np
from mxnet import gluon

from d2l_alexnet.distributed.process_group import SINGLE_PROCESS, SingleProcess
from d2l_alexnet.errors import InputError, RunError
from d2l_alexnet.history import check_rows
from d2l_alexnet.metrics import RunningSums, SplitNet, loss_and_correct
from d2l_alexnet.options import limited
from d2l_alexnet.recipes import Recipe
from d2l_alexnet.validation import check_fields, check_numbers

# The measurements that are summed over the images of an epoch while the net is trained on them.
MEASURED = ("loss", "running_train_accuracy", "running_train_accuracy_in_predict_mode")

ADDED = {"skipped", "loss_scaler"}  # version 0.1.0 did not save them


@dataclass(frozen=True)
class LossScaler:
    """The state of MXNet's LossScaler, whose attributes have these names after an underscore.

    Parameters
    ----------
    loss_scale, next_loss_scale : float
        The scale of the next step, and of the one after it.
    unskipped : int
        Steps since the scale was changed. MXNet doubles the scale when there are 2,000.
    """

    loss_scale: float = limited(2.0**16, above=0)
    next_loss_scale: float = limited(2.0**16, above=0)
    unskipped: int = limited(0, minimum=0, below=2000)


LOSS_SCALER = tuple(each.name for each in fields(LossScaler))


@dataclass
class State:
    """The progress of a run: epoch, step, sums, history. A checkpoint saves it.

    Parameters
    ----------
    steps : int
        Number of steps since the beginning of the run.
    epoch : int
        The current epoch, counted from 1.
    batches : int
        Number of batches of this epoch that are done.
    images : int
        Number of images of this epoch that are counted in `sums`.
    sums : float or list of float
        Sums of the measurements over these images, see `MEASURED`; 0 at the beginning.
    seconds, seconds_waiting : float
        Time spent on this epoch so far, and the part of it spent waiting for the loader.
    history : list of dict
        Rows of the finished epochs, see `d2l_alexnet.history`.
    losses : list of float
        The mean loss of each batch since the beginning.
    skipped : int
        Steps since the beginning that changed no weight, because a gradient overflowed in float16.
        These steps are not counted as updates by the optimizer. So Adam's bias correction and the
        learning rate schedule do not advance in such a step.
    loss_scaler : dict of str to float
        How losses are scaled for float16, see `LossScaler`; empty unless `dtype` is float16.
    """

    steps: int = limited(0, minimum=0)
    epoch: int = limited(1, minimum=1)
    batches: int = limited(0, minimum=0)
    images: int = limited(0, minimum=0)
    sums: float | list[float] = 0.0
    seconds: float = limited(0.0, minimum=0)
    seconds_waiting: float = limited(0.0, minimum=0)
    history: list[dict] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    skipped: int = limited(0, minimum=0)
    loss_scaler: dict[str, float] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> State:
        """Make a `State` of the values of its fields, as a checkpoint holds them.

        Raises
        ------
        InputError
            When a value is missing, is out of its range, or contradicts another one.
        """
        sums: Any = values.get("sums")
        others = {name: value for name, value in values.items() if name != "sums"}
        required = {each.name for each in fields(cls)} - {"sums"}
        if values.keys().isdisjoint(ADDED):
            required -= ADDED
        check_fields(others, fields(cls), sorted(required))
        state = cls(sums=sums, **others)
        check_rows(state.history)
        check_numbers("losses", state.losses)
        state._check_progress()
        state._check_sums()
        state._check_loss_scaler()
        return state

    def _check_progress(self) -> None:
        in_epoch = self.steps_per_epoch
        right = (
            self.steps == (self.epoch - 1) * in_epoch + self.batches
            and self.batches <= in_epoch
            and len(self.history) == self.epoch - 1
            and len(self.losses) == self.steps
        )
        if not right:
            raise InputError(
                f"steps is {self.steps}, which contradicts epoch {self.epoch}, batches "
                f"{self.batches}, {len(self.history)} rows of history and {len(self.losses)} losses"
            )
        if self.skipped > self.steps:
            raise InputError(f"skipped is {self.skipped}, more than the {self.steps} steps")

    def _check_sums(self) -> None:
        sums = self.sums if isinstance(self.sums, list) else [self.sums]
        check_numbers("sums", sums)
        if self.batches:
            loss_and_counts = len(sums) in (2, len(MEASURED)) and min(sums) >= 0
            right = loss_and_counts and max(sums[1:]) <= self.images >= self.batches
        else:
            right = sums == [0] and self.images == 0
        if not right:
            raise InputError(
                f"sums is {reprlib.repr(sums)}, which contradicts {self.batches} batches and "
                f"{self.images} images"
            )

    def _check_loss_scaler(self) -> None:
        if self.loss_scaler:
            check_fields(self.loss_scaler, fields(LossScaler), LOSS_SCALER)

    def check_dtype(self, dtype: str) -> None:
        """Raise `InputError` if a run in this format cannot have this state."""
        scaled = dtype == "float16" and self.steps > 0
        if bool(self.loss_scaler) != scaled or (self.skipped and not scaled):
            raise InputError(
                f"loss_scaler is {reprlib.repr(self.loss_scaler)} and skipped is {self.skipped}, "
                f"which contradicts {self.steps} steps in {dtype}"
            )

    @property
    def steps_per_epoch(self) -> int:
        """The number of batches in an epoch; those that are done, if it is the first epoch."""
        return (self.steps - self.batches) // (self.epoch - 1) if self.epoch > 1 else self.batches


class Training:
    """A net, its trainer and the progress of its run. Callbacks are given this object.

    Parameters
    ----------
    net : mxnet.gluon.HybridBlock
        Has weights on every device of `ctx`.
    trainer : mxnet.gluon.Trainer
    recipe : Recipe
    seed : int
    ctx : list of mxnet.Context
        Each device gets a part of every batch.
    group : SingleProcess or ProcessGroup
        The processes that train the net together. Each gets a part of every batch.
    split_net : SplitNet, optional
        The same net, split in two parts. It is used in place of `net`. It also measures accuracy in
        predict mode.

    Attributes
    ----------
    state : State
        The progress of the run.
    running : RunningSums
        The measurements of the current epoch.
    explain_gap : bool
        Whether there is a `split_net`.
    forward : callable
        Computes the net's output: it is `net`, or `split_net` if there is one.
    measure : callable
        Measures a batch on the device: `d2l_alexnet.metrics.loss_and_correct`, or more.
    loss : mxnet.gluon.loss.Loss
    statistics : list of tuple
        The result of `running_statistics`; empty for a single device.
    """

    def __init__(
        self,
        net: Any,
        trainer: Any,
        recipe: Recipe,
        seed: int,
        ctx: Sequence,
        group: SingleProcess = SINGLE_PROCESS,
        split_net: SplitNet | None = None,
    ) -> None:
        self.net, self.trainer, self.recipe, self.seed = net, trainer, recipe, seed
        self.ctx, self.group = ctx, group
        self.state, self.running = State(), RunningSums()
        self.explain_gap = split_net is not None
        self.forward = split_net or net
        self.measure = split_net.measure if split_net else loss_and_correct
        self.loss = gluon.loss.SoftmaxCrossEntropyLoss()
        self.loss.hybridize(static_alloc=True, static_shape=True)
        self.statistics = running_statistics(net) if len(ctx) * group.size > 1 else []
        self._epoch_start = 0.0
        self._in_state = 0  # steps whose sums `state` has

    def start_epoch(self) -> None:
        """Start the clock and the sums of an epoch; continue them if the epoch is resumed."""
        self._epoch_start = time.perf_counter() - self.state.seconds
        self.running = RunningSums(self.state.sums, self.state.images)
        self._in_state = self.state.steps

    @property
    def seconds(self) -> float:
        """Seconds since the start of the epoch."""
        return time.perf_counter() - self._epoch_start

    @property
    def means(self) -> dict[str, float]:
        """The measurements of this epoch, per image; empty until a batch has been read."""
        images = self.running.images
        return dict(zip(MEASURED, (self.running.sums / images).tolist())) if images else {}

    def synchronize(self) -> None:
        """Wait for the batches that are still computing, and put all sums into `state`.

        Raises
        ------
        RunError
            When the loss is not finite.
        """
        if self._in_state == self.state.steps:
            return
        self.running.drain()
        self.check_finite()
        self.state.sums, self.state.images = self.running.sums.tolist(), self.running.images
        self.state.losses = self.state.losses + self.running.batch_means
        self.running.batch_means = []
        self.state.skipped = self.state.steps - self.trainer.optimizer.num_update
        self.state.loss_scaler = loss_scaler_of(self.trainer)
        self.state.seconds, self._in_state = self.seconds, self.state.steps

    def finish_epoch(self, row: dict) -> None:
        """Add a row to the history, and go on to the beginning of the next epoch."""
        state = self.state
        self.state = State(
            steps=state.steps,
            epoch=state.epoch + 1,
            history=[*state.history, row],
            losses=state.losses,
            skipped=state.skipped,
            loss_scaler=state.loss_scaler,
        )

    def check_finite(self) -> None:
        """Raise `RunError` when the loss is infinite or not a number."""
        if not np.isfinite(self.running.sums).all():
            step = self.state.steps - self.running.waiting
            raise RunError(
                f"epoch {self.state.epoch}, step {step}: the loss "
                f"is NaN or infinite (learning rate {self.trainer.learning_rate:g}); "
                "start again with a lower --lr"
            )


def running_statistics(net: Any) -> list[tuple[Any, Any]]:
    """List the running means and variances of batch normalization, each with its layer's gamma."""
    parameters = net.collect_params()
    return [
        (parameter, parameters[name.rpartition("_running_")[0] + "_gamma"])
        for name, parameter in parameters.items()
        if "_running_" in name
    ]


def loss_scaler_of(trainer: Any) -> dict[str, float]:
    """Return the state of a trainer's loss scaler; empty if it has none, as in float32."""
    scaler = getattr(trainer, "_amp_loss_scaler", None)
    return {name: getattr(scaler, f"_{name}") for name in LOSS_SCALER} if scaler else {}


def restore_counters(trainer: Any, state: State) -> None:
    """Set a trainer's number of updates, and its loss scaler's scale, from a saved state."""
    trainer.optimizer.begin_num_update = state.steps - state.skipped
    trainer.optimizer.num_update = state.steps - state.skipped
    scaler = getattr(trainer, "_amp_loss_scaler", None)
    if scaler and state.loss_scaler:  # version 0.1.0 did not save it
        vars(scaler).update({f"_{name}": state.loss_scaler[name] for name in LOSS_SCALER})
    state.loss_scaler = loss_scaler_of(trainer)
