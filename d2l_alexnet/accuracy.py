"""How often a net is right."""

from __future__ import annotations

from collections import deque

import mxnet as mx
import numpy as np
from mxnet import gluon

BATCHES_AHEAD = 2  # enough to keep the device busy while the host prepares the next batch


def evaluate_accuracy(net, data_iter, ctx):
    """Measure accuracy in predict mode, dropout off, over all that an iterator gives.

    Parameters
    ----------
    net : mxnet.gluon.Block
    data_iter : iterable of (X, y)
        The last batch may be smaller than the others.
    ctx : list of mxnet.Context
        Where the net lies; each device takes its part of a batch.

    Returns
    -------
    float
        Correct predictions divided by the number of images; NaN if there are none.
    """
    running = RunningSums()
    for X, y in data_iter:
        parts = zip(split(X, ctx), split(y, ctx))
        running.add(len(y), add_up([count_correct(net(X), y) for X, y in parts]))
    running.drain()
    return running.sums.item() / running.images if running.images else float("nan")


def split(batch, ctx):
    """Give each device its part of a batch, as equal as can be.

    Parameters
    ----------
    batch : mxnet.nd.NDArray
        (N, …), with N no less than the number of devices.
    ctx : list of mxnet.Context

    Returns
    -------
    list of mxnet.nd.NDArray
        In the order of `ctx`.
    """
    return gluon.utils.split_and_load(batch, ctx, even_split=False)


def add_up(parts):
    """Add arrays of one shape that lie on several devices, on the first of these."""
    return mx.nd.add_n(*(part.as_in_context(parts[0].context) for part in parts))


def count_correct(y_hat, y):
    """Count the images whose largest output is that of their class.

    Parameters
    ----------
    y_hat : mxnet.nd.NDArray
        (N, classes).
    y : mxnet.nd.NDArray
        (N,).

    Returns
    -------
    mxnet.nd.NDArray
        (1,), on the same device and not waited for.
    """
    return (y_hat.argmax(axis=1) == y.astype(y_hat.dtype)).sum()


def loss_and_correct(l, y_hat, y):
    """Give a batch's figures: the sum of its losses, and how many predictions are correct.

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
        (2,), on the same device and not waited for.
    """
    return mx.nd.concat(l.sum(), count_correct(y_hat, y), dim=0)


class RunningSums:
    """Add up what each batch gives, read from the device two batches late.

    MXNet computes behind the program's back. Reading a batch's figures at once would leave the
    device idle while the next batch is prepared; never reading them would pile up the whole pass
    in memory.

    Parameters
    ----------
    sums : float or list of float
        What to start from; a 0 stands for as many as there are.
    images : int
        Images that these sums are of.

    Attributes
    ----------
    sums : numpy.ndarray
        float64, of the batches read so far.
    images : int
        How many images those are.
    batch_means : list of float
        The first figure of each batch read here, divided by its images.
    """

    def __init__(self, sums=0.0, images=0):
        self.sums, self.images, self.batch_means = np.array(sums, np.float64), images, []
        self._waiting = deque()

    @property
    def waiting(self):
        """How many batches have been added and not yet read."""
        return len(self._waiting)

    def add(self, size, values):
        """Take a batch's images and its figures, an array on the device that is not waited for."""
        self._waiting.append((size, values))
        if len(self._waiting) > BATCHES_AHEAD:
            self._read()

    def drain(self):
        """Wait for the batches that have not been read yet, up to the first that is not finite."""
        while self._waiting and np.isfinite(self.sums).all():
            self._read()

    def _read(self):
        size, values = self._waiting.popleft()
        values = values.asnumpy().astype(np.float64)
        self.sums, self.images = self.sums + values, self.images + size
        self.batch_means.append(values[0] / size)
