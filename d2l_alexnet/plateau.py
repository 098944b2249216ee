"""Lower the learning rate when an accuracy has stopped rising.

This is PyTorch's ReduceLROnPlateau as the second lecture uses it (mode "max", a relative
threshold). It keeps nothing of its own: all follows from the history, so that a run that is
resumed has the rate that it would have had.
"""

from __future__ import annotations

SMALLEST_CUT = 1e-8  # of the rate; PyTorch's eps


def set_rate(trainer, recipe, history):
    """Set the learning rate of the next epoch, where the recipe has a plateau.

    Parameters
    ----------
    trainer : mxnet.gluon.Trainer
    recipe : Recipe
    history : list of dict
        Rows of the epochs that are over.
    """
    if recipe.plateau:
        accuracies = [row["valid_accuracy"] for row in history]
        rate = next_rate(accuracies, recipe.lr, recipe.lr_since, **recipe.plateau)
        trainer.set_learning_rate(rate)


def next_rate(accuracies, lr, since=1, factor=0.1, patience=10, threshold=1e-4):
    """Give the learning rate of the epoch that comes next.

    Parameters
    ----------
    accuracies : sequence of float
        Of each epoch that is over.
    lr : float
        The rate that epoch `since` has; a cut before it no longer counts.
    since : int
        Counted from 1.
    factor : float
        That the rate is multiplied by when more than `patience` epochs in a row were no better
        than the best one before.
    patience : int
    threshold : float
        How much better is better: by this share of the best.

    Returns
    -------
    float
    """
    best, bad_epochs = float("-inf"), 0
    for epoch, accuracy in enumerate(accuracies, start=1):
        if accuracy > best * (1 + threshold):
            best, bad_epochs = accuracy, 0
        else:
            bad_epochs += 1
        if bad_epochs > patience:
            bad_epochs = 0
            if epoch >= since and lr - lr * factor > SMALLEST_CUT:
                lr *= factor
    return lr


def cuts(history):
    """Find the epochs that had a lower learning rate than the epoch before.

    Parameters
    ----------
    history : sequence of dict
        Rows of a history.

    Returns
    -------
    list of int
    """
    return [
        row["epoch"]
        for before, row in zip(history, history[1:])
        if row["learning_rate"] < before["learning_rate"]
    ]
