"""How often a net is right."""

from __future__ import annotations

from collections import deque

BATCHES_AHEAD = 2  # enough to keep the device busy while the host prepares the next batch


def evaluate_accuracy(net, data_iter, ctx):
    """Measure accuracy in predict mode, dropout off, over all that an iterator gives.

    Parameters
    ----------
    net : mxnet.gluon.Block
    data_iter : iterable of (X, y)
        The last batch may be smaller than the others.
    ctx : mxnet.Context
        Where the net lies.

    Returns
    -------
    float
        Correct predictions divided by the number of images; NaN if there are none.
    """
    correct = total = 0
    for size, right in delayed(_count(net, data_iter, ctx)):
        correct, total = correct + int(right.asscalar()), total + size
    return correct / total if total else float("nan")


def _count(net, data_iter, ctx):
    for X, y in data_iter:
        yield len(y), count_correct(net(X.as_in_context(ctx)), y.as_in_context(ctx))


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


def delayed(items, delay=BATCHES_AHEAD):
    """Pass items on, each `delay` items later.

    MXNet computes behind the program's back. Reading a result at once would leave the device idle
    while the next batch is prepared; never reading one would pile up the whole pass in memory.
    """
    waiting = deque()
    for item in items:
        waiting.append(item)
        if len(waiting) > delay:
            yield waiting.popleft()
    yield from waiting
