"""The lecture's training loop: one step, one epoch, all epochs.

This module reads no file, writes no file and prints nothing. Callbacks do that.
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
from d2l_alexnet.state import Training


def fit(
    training: Training,
    train_iter: Any,
    eval_iters: Mapping[str, Any],
    callbacks: Iterable[Callback] = (),
) -> list[dict]:
    """Train from the current epoch to the recipe's last one; measure accuracy after each epoch.

    Parameters
    ----------
    training : Training
    train_iter : DataLoader
    eval_iters : dict of str to DataLoader
        The images on which accuracy is measured, by the accuracy's key in the history:
        ``test_accuracy`` and, in some recipes, others.
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
    callback = CallbackList(callbacks)
    callback.on_train_begin(training)
    for _ in range(training.state.epoch, training.recipe.num_epochs + 1):
        training.start_epoch()
        set_learning_rate(training.trainer, training.recipe, training.state.history)
        callback.on_epoch_begin(training, train_iter.images)
        row = train_epoch(training, train_iter, callback)
        for key, data_iter in eval_iters.items():
            row[key] = evaluate(training, key, data_iter, callback)
        row["learning_rate"] = training.trainer.learning_rate
        row["seconds"] = training.seconds
        training.finish_epoch(row)
        callback.on_epoch_end(training, dict(row))  # a copy: callbacks may change it
    callback.on_train_end(training)
    return training.state.history


def train_epoch(training: Training, train_iter: Any, callback: Callback) -> dict[str, Any]:
    """Train on every batch of the training images once.

    Loss and accuracy are summed *during the epoch*, while the net changes and dropout is active.
    So the running training accuracy is not the accuracy of the net at the end of the epoch.

    Returns
    -------
    dict
        The first entries of the epoch's row of the history.
    """
    state = training.state
    # The remaining batches of this epoch: all batches, unless the run was resumed.
    batches = TimedIterator(train_iter.from_batch(state.epoch, state.batches))
    waited = state.seconds_waiting
    for X, y in batches:
        sums = train_batch(training, X, y)
        training.running.add(len(y) * training.group.size, sums)
        state.steps, state.batches = state.steps + 1, state.batches + 1
        state.seconds_waiting = waited + batches.seconds
        training.check_finite()
        callback.on_batch_end(training)
    training.synchronize()
    return dict(
        epoch=state.epoch,
        **training.means,
        images_per_second=state.images / state.seconds,
        seconds_waiting_for_data=state.seconds_waiting,
    )


def train_batch(training: Training, X: Any, y: Any) -> Any:
    """Train one step: the body of the lecture's loop.

    Parameters
    ----------
    training : Training
    X, y : mxnet.nd.NDArray
        (N, C, H, W) and (N,): the images and labels of this process's part of the batch.

    Returns
    -------
    mxnet.nd.NDArray
        The sum of the losses, and the number of correct predictions; see
        `d2l_alexnet.state.MEASURED`. They are for the whole batch of all processes, and for the
        weights before the step. MXNet may still be computing them.
    """
    ctx, trainer = training.ctx, training.trainer
    seed_dropout(training)
    Xs, ys = split(X, ctx), split(y, ctx)  # a part for each device
    with autograd.record():
        y_hats = [training.forward(X) for X in Xs]  # (N, 10)
        ls = [training.loss(y_hat, y) for y_hat, y in zip(y_hats, ys)]  # (N,)
        with scale_loss(ls, training) as scaled:
            autograd.backward(scaled)  # the gradient of the sum of all losses
    sums = [training.measure(l, y_hat, y) for l, y_hat, y in zip(ls, y_hats, ys)]
    trainer.step(training.recipe.batch_size)
    average_statistics(training)
    return training.group.all_reduce(sum_over_devices(sums))


def evaluate(training: Training, key: str, data_iter: Any, callback: Callback) -> float:
    """Measure the net's accuracy in predict mode. The first process sends it to the others."""
    batches = _with_callback(training, key, data_iter, callback)
    measure = functools.partial(evaluate_accuracy, training.net, batches, training.ctx)
    return training.group.broadcast_object(measure)


def _with_callback(training: Training, key: str, data_iter: Any, callback: Callback) -> Iterator:
    """Yield the batches of an evaluation, and call the callback for each batch."""
    callback.on_test_begin(training, key, data_iter.images)
    for X, y in data_iter:
        yield X, y
        callback.on_test_batch_end(training, len(y))
    callback.on_test_end(training)


def average_statistics(training: Training) -> None:
    """Give all devices of all processes the mean of their running averages of batch normalization.

    Each device has updated its running averages from its own part of the batch. With the mean, the
    net is the same on every device, and a checkpoint contains one value. This is done in every
    step, because a checkpoint can be saved after any step.
    """
    for statistic, gamma in training.statistics:
        # MXNet updates a statistic in the backward pass, but its engine has no such dependency. So
        # zeros are added that are made from a gradient of the same layer. Then the engine waits for
        # the backward pass.
        pairs = zip(statistic.list_data(), gamma.list_grad())
        values = [value + gradient.zeros_like() for value, gradient in pairs]
        total = training.group.all_reduce(sum_over_devices(values))
        mean = total / (len(values) * training.group.size)
        for device in statistic.list_data():
            mean.copyto(device)


def seed_dropout(training: Training) -> None:
    """Set the seed of dropout for this step, so that a resumed run has the same dropout masks."""
    rank, steps = training.group.rank, training.state.steps
    seeds = seeds_of_step(training.seed, steps, len(training.ctx), rank)
    for device, seed in zip(training.ctx, seeds):
        mx.random.seed(seed, ctx=device)


def seeds_of_step(seed: int, step: int, devices: int, rank: int = 0) -> list[int]:
    """Compute the seeds for dropout in one step, one for each device of a worker."""
    states = np.random.SeedSequence([seed, step]).generate_state(devices * (rank + 1))
    return (states[-devices:] >> 1).tolist()


def scale_loss(ls: list, training: Training) -> Any:
    """Return a context manager that scales the losses in float16, where small gradients become 0.

    In other formats it changes nothing.
    """
    if training.recipe.dtype == "float16":
        return amp.scale_loss(ls, training.trainer)
    return contextlib.nullcontext(ls)


class TimedIterator:
    """Yield the items of an iterator, and sum the seconds spent waiting for them.

    Parameters
    ----------
    iterator : iterator
    """

    def __init__(self, iterator: Iterator) -> None:
        self._iterator, self.seconds = iterator, 0.0

    def __iter__(self) -> TimedIterator:
        return self

    def __next__(self) -> Any:
        start = time.perf_counter()
        try:
            return next(self._iterator)
        finally:
            self.seconds += time.perf_counter() - start
