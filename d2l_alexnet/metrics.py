"""Accuracy of a net, and running sums while it is trained."""

from __future__ import annotations

from collections import deque
from typing import Any, Iterable, Sequence

import mxnet as mx
import numpy as np
from mxnet import gluon
from mxnet.gluon import nn

BATCHES_AHEAD = 2  # enough to keep the device busy while the host prepares the next batch


def evaluate_accuracy(net: Any, data_iter: Iterable, ctx: Sequence) -> float:
    """Measure accuracy in predict mode (without dropout) over all images of an iterator.

    Parameters
    ----------
    net : mxnet.gluon.Block
    data_iter : iterable of (X, y)
        The last batch may be smaller than the others.
    ctx : list of mxnet.Context
        The devices that hold the net. Each gets a part of every batch.

    Returns
    -------
    float
        Correct predictions divided by the number of images; NaN if there are no images.
    """
    running = RunningSums()
    for X, y in data_iter:
        parts = zip(split(X, ctx), split(y, ctx))
        running.add(len(y), sum_over_devices([count_correct(net(X), y) for X, y in parts]))
    running.drain()
    return running.sums.item() / running.images if running.images else float("nan")


def split(batch: Any, ctx: Sequence) -> list:
    """Split a batch over the devices, in parts that are as equal as possible.

    Parameters
    ----------
    batch : mxnet.nd.NDArray
        (N, …), with N at least the number of devices.
    ctx : list of mxnet.Context

    Returns
    -------
    list of mxnet.nd.NDArray
        In the order of `ctx`.
    """
    return gluon.utils.split_and_load(batch, ctx, even_split=False)


def sum_over_devices(arrays: Sequence) -> Any:
    """Sum arrays of the same shape that are on several devices; the sum is on the first device."""
    return mx.nd.add_n(*(array.as_in_context(arrays[0].context) for array in arrays))


def count_correct(y_hat: Any, y: Any) -> Any:
    """Count correct predictions. A prediction is the class with the largest output.

    Parameters
    ----------
    y_hat : mxnet.nd.NDArray
        (N, classes).
    y : mxnet.nd.NDArray
        (N,).

    Returns
    -------
    mxnet.nd.NDArray
        (1,), on the same device. It may not be computed yet.
    """
    return (y_hat.argmax(axis=1) == y.astype(y_hat.dtype)).sum()


def loss_and_correct(l: Any, y_hat: Any, y: Any) -> Any:
    """Sum a batch's losses, and count its correct predictions.

    Parameters
    ----------
    l : mxnet.nd.NDArray
        (N,).
    y_hat : mxnet.nd.NDArray
        (N, classes).
    y : mxnet.nd.NDArray
        (N,).

    Returns
    -------
    mxnet.nd.NDArray
        (2,), on the same device. It may not be computed yet.
    """
    return mx.nd.concat(l.sum(), count_correct(y_hat, y), dim=0)


class RunningSums:
    """Sum the measurements of all batches. They are read from the device two batches late.

    MXNet computes asynchronously. Reading a batch's values at once would leave the device idle
    while the next batch is prepared. Never reading them would fill the memory.

    Parameters
    ----------
    sums : float or list of float
        Initial values; 0 if all of them are 0.
    images : int
        Number of images in the initial sums.

    Attributes
    ----------
    sums : numpy.ndarray
        float64, over the batches that have been read.
    images : int
        Number of images in these batches.
    batch_means : list of float
        For each batch that has been read: its first value divided by its number of images.
    """

    def __init__(self, sums: float | list[float] = 0.0, images: int = 0) -> None:
        self.sums, self.images = np.array(sums, np.float64), images
        self.batch_means: list[float] = []
        self._waiting: deque = deque()

    @property
    def waiting(self) -> int:
        """The number of batches that have been added but not read."""
        return len(self._waiting)

    def add(self, size: int, values: Any) -> None:
        """Add a batch: its number of images, and its array of measurements."""
        self._waiting.append((size, values))
        if len(self._waiting) > BATCHES_AHEAD:
            self._read()

    def drain(self) -> None:
        """Read the waiting batches, up to the first value that is not finite."""
        while self._waiting and np.isfinite(self.sums).all():
            self._read()

    def _read(self) -> None:
        size, values = self._waiting.popleft()
        values = values.asnumpy().astype(np.float64)
        self.sums, self.images = self.sums + values, self.images + size
        self.batch_means.append(values[0] / size)


class SplitNet:
    """A net in two parts, split before the first layer that behaves differently in training mode.

    The outputs of the first part are the same in training mode and in predict mode, so it is
    computed only once for both modes. In the lecture's AlexNet, the first part is 98 % of the work.
    The second part begins with the first Dropout or BatchNorm layer.

    Parameters
    ----------
    net : mxnet.gluon.nn.HybridSequential
        Both parts share its parameters.
    """

    def __init__(self, net: Any) -> None:
        layers = list(net)
        first = next(
            (i for i, layer in enumerate(layers) if isinstance(layer, (nn.Dropout, nn.BatchNorm))),
            len(layers) - 1,
        )
        self._body, self._head = net[:first], net[first:]
        self._features: dict = {}  # the body's last output, on each device
        for part in (self._body, self._head):
            part.hybridize(static_alloc=True, static_shape=True)

    def __call__(self, X: Any) -> Any:
        """Compute the net's output."""
        features = self._features[X.context] = self._body(X)
        return self._head(features)

    def measure(self, l: Any, y_hat: Any, y: Any) -> Any:
        """Do the same as `loss_and_correct`, and count correct predictions in predict mode too.

        Returns
        -------
        mxnet.nd.NDArray
            (3,).
        """
        correct = count_correct(self._head(self._features[y.context]), y)
        return mx.nd.concat(loss_and_correct(l, y_hat, y), correct, dim=0)
