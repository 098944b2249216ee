"""Why the running training accuracy lies below the test accuracy: the lecture's question, measured.

The lecture prints, for every epoch, (A) the running training accuracy, summed while dropout is
active and the net improves, and (T) the test accuracy of the finished net. Between the two lie
(B) the running accuracy in predict mode, of the same batches before the same updates, and (C) the
accuracy on training images after the epoch. Then, exactly,

    T - A  =  (B - A)  +  (C - B)  -  (C - T)
             dropout    the pass    generalisation

A and B are of every image of the pass, T of every test image. C is sampled: it is of the first
10,000 training images, or of all where a recipe has fewer or measures it anyway. On 10,000 images
its standard error is at most 0.005, which moves between the pass and generalisation and leaves
their sum as it is.
"""

from __future__ import annotations

import mxnet as mx
from mxnet.gluon import nn

from d2l_alexnet.accuracy import count_correct, loss_and_correct

SAMPLED = 10_000  # that C is measured on: as many as there are test images
PARTS = dict(
    dropout="dropout",
    improvement="the net's improving during the pass",
    generalisation="generalisation",
)


class Halves:
    """A net cut before the first layer that does something else in training than in prediction.

    What lies before the cut is computed once for both modes; in the lecture's AlexNet that is all
    but a fiftieth of the work.

    Parameters
    ----------
    net : mxnet.gluon.nn.HybridSequential
        Shares its parameters with this.
    """

    def __init__(self, net):
        layers = list(net)
        cut = next(
            (i for i, layer in enumerate(layers) if isinstance(layer, (nn.Dropout, nn.BatchNorm))),
            len(layers) - 1,
        )
        self._body, self._head = net[:cut], net[cut:]
        self._h = {}  # what the body gave last, on each device
        for half in (self._body, self._head):
            half.hybridize(static_alloc=True, static_shape=True)

    def __call__(self, X):
        """Give what the net gives."""
        h = self._h[X.context] = self._body(X)
        return self._head(h)

    def measure(self, l, y_hat, y):
        """Add to a batch's figures how many predictions are correct with dropout off.

        Returns
        -------
        mxnet.nd.NDArray
            (3,): what `loss_and_correct` gives, and correct predictions in predict mode.
        """
        correct = count_correct(self._head(self._h[y.context]), y)
        return mx.nd.concat(loss_and_correct(l, y_hat, y), correct, dim=0)


def measured(history):
    """Whether a history holds what it takes to take the gap apart."""
    return all("running_train_accuracy_in_predict_mode" in row for row in history)


def take_apart(row):
    """Split an epoch's gap between test and running training accuracy into its three parts.

    Parameters
    ----------
    row : dict
        Of the history of a run with ``--explain-gap``.

    Returns
    -------
    dict of str to float
        ``gap``, and what adds up to it: ``dropout``, ``improvement``, ``generalisation`` (less
        than 0 where the net does worse on images that it was not trained on).
    """
    a = row["running_train_accuracy"]
    b = row["running_train_accuracy_in_predict_mode"]
    c = row["train_accuracy"]
    t = row["test_accuracy"]
    return dict(gap=t - a, dropout=b - a, improvement=c - b, generalisation=t - c)


def explain(history):
    """Say in two sentences what the gap was made of, and what dominated.

    Parameters
    ----------
    history : list of dict
        Of a run with ``--explain-gap``.

    Returns
    -------
    str
    """
    parts = {row["epoch"]: take_apart(row) for row in history}
    mean = {key: sum(part[key] for part in parts.values()) / len(parts) for key in parts[1]}
    sums = ", ".join(f"{mean[key]:+.3f} by {name}" for key, name in PARTS.items())
    largest = {}
    for epoch, part in parts.items():
        largest.setdefault(max(PARTS, key=lambda key: abs(part[key])), []).append(str(epoch))
    where = "; ".join(
        f"{PARTS[key]} in epoch {', '.join(epochs)}" for key, epochs in largest.items()
    )
    return (
        f"Test accuracy minus running training accuracy was {mean['gap']:+.3f} on average: {sums}. "
        f"The largest part was {where}."
    )
