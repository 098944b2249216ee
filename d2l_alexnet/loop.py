"""The lecture's training loop: one step, one epoch, all epochs.

Nothing is read from a disk, written to one, or printed here. Callbacks do that.
"""

from __future__ import annotations

import contextlib
import functools
import time
from typing import Any, Iterable, Iterator, Mapping

import mxnet as mx
import numpy as np
from mxnet import autograd
from mxnet.contrib import amp

from d2l_alexnet.callbacks.base import Callback, CallbackList
from d2l_alexnet.metrics import evaluate_accuracy, split, sum_over_devices
from d2l_alexnet.schedule import set_learning_rate
from d2l_alexnet.state import MEASURED, State, Training


def fit(
    training: Training,
    train_iter: Any,
    evaluations: Mapping[str, Any],
    callbacks: Iterable[Callback] = (),
) -> list[dict]:
    """Train from where `training.state` stands to the recipe's last epoch; test after each.

    Parameters
    ----------
    training : Training
    train_iter : DataLoader
    evaluations : dict of str to DataLoader
        The images on which accuracy is measured after each epoch, by their key in the history.
    callbacks : iterable of Callback

    Returns
    -------
    list of dict
        The history: a row per epoch, see `d2l_alexnet.history`.

    Raises
    ------
    RunError
        When the loss is not finite.
    """
    listeners = CallbackList(callbacks)
    listeners.on_train_begin(training)
    while training.state.epoch <= training.recipe.num_epochs:
        training.start_epoch()
        set_learning_rate(training.trainer, training.recipe, training.state.history)
        listeners.on_epoch_begin(training, train_iter.images)
        train_epoch(training, train_iter, listeners)
        row = _row(training.state)
        for key, data_iter in evaluations.items():
            row[key] = _evaluate(training, key, data_iter, listeners)
        row["learning_rate"] = training.trainer.learning_rate
        row["seconds"] = training.seconds
        training.finish_epoch(row)
        listeners.on_epoch_end(training, row)
    listeners.on_train_end(training)
    return training.state.history


def train_epoch(training: Training, train_iter: Any, callbacks: Callback) -> None:
    """Learn from every batch of the training images once.

    Loss and accuracy are summed *during the epoch*, while the net changes and dropout is active:
    the running training accuracy is not the accuracy of any one net.
    """
    state = training.state
    batches = Timed(train_iter.from_batch(state.epoch, state.batches), state.seconds_waiting)
    for X, y in batches:
        training.running.add(len(y) * training.group.size, step(training, X, y))
        state.steps, state.batches = state.steps + 1, state.batches + 1
        state.seconds_waiting = batches.seconds
        training.check_finite()
        callbacks.on_batch_end(training)
    training.settle()


def step(training: Training, X: Any, y: Any) -> Any:
    """Learn from one batch: the inside of the lecture's loop.

    Parameters
    ----------
    training : Training
    X, y : mxnet.nd.NDArray
        (N, C, H, W) and (N,): this process's part of the batch.

    Returns
    -------
    mxnet.nd.NDArray
        Sums over the whole batch, with the weights before the step, of what is listed in
        `d2l_alexnet.state.MEASURED`. They may not be computed yet.
    """
    ctx = training.ctx
    seed_dropout(training)
    X, y = split(X, ctx), split(y, ctx)
    with autograd.record():
        y_hat = [training.forward(part) for part in X]  # (N, 10), a part on each device
        l = [training.loss(*parts) for parts in zip(y_hat, y)]  # (N,)
        with scaled(l, training) as scaled_losses:
            autograd.backward(scaled_losses)
    sums = [training.measure(*parts) for parts in zip(l, y_hat, y)]
    training.trainer.step(training.recipe.batch_size)
    return training.group.all_reduce(sum_over_devices(sums))


def seed_dropout(training: Training) -> None:
    """Make dropout a function of the seed and the step, so that a resumed run has the same."""
    rank, steps = training.group.rank, training.state.steps
    seeds = seeds_of_step(training.seed, steps, len(training.ctx), rank)
    for device, seed in zip(training.ctx, seeds):
        mx.random.seed(seed, ctx=device)


def seeds_of_step(seed: int, step: int, devices: int, rank: int = 0) -> list[int]:
    """Derive the seeds of one step's dropout, one for each device of a worker."""
    states = np.random.SeedSequence([seed, step]).generate_state(devices * (rank + 1))
    return (states[-devices:] >> 1).tolist()


def scaled(l: list, training: Training) -> Any:
    """Give a context in which losses are scaled for float16, whose small gradients would be 0."""
    if training.recipe.dtype == "float16":
        return amp.scale_loss(l, training.trainer)
    return contextlib.nullcontext(l)


def _row(state: State) -> dict[str, Any]:
    """Begin an epoch's row of the history with what was measured during the epoch."""
    means = dict(zip(MEASURED, np.array(state.sums) / state.images))
    return dict(
        epoch=state.epoch,
        **{key: float(mean) for key, mean in means.items()},
        images_per_second=state.images / state.seconds,
        seconds_waiting_for_data=state.seconds_waiting,
    )


def _evaluate(training: Training, key: str, data_iter: Any, callbacks: Callback) -> float:
    """Measure the net's accuracy; the first process measures it for all."""
    batches = _announced(training, key, data_iter, callbacks)
    measure = functools.partial(evaluate_accuracy, training.net, batches, training.ctx)
    return training.group.broadcast_object(measure)


def _announced(training: Training, key: str, data_iter: Any, callbacks: Callback) -> Iterator:
    """Pass on the batches of an evaluation, and tell the callbacks of them."""
    callbacks.on_test_begin(training, key, data_iter.images)
    for X, y in data_iter:
        yield X, y
        callbacks.on_test_batch_end(training, len(y))
    callbacks.on_test_end(training)


class Timed:
    """Pass on the items of an iterator, and sum the time spent waiting for them.

    Parameters
    ----------
    iterator : iterator
    seconds : float
        Initial value of the sum.
    """

    def __init__(self, iterator: Iterator, seconds: float = 0.0) -> None:
        self._iterator, self.seconds = iterator, seconds

    def __iter__(self) -> Timed:
        return self

    def __next__(self) -> Any:
        start = time.perf_counter()
        try:
            return next(self._iterator)
        finally:
            self.seconds += time.perf_counter() - start
