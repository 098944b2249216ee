"""The learning rate of every step: warm-up and decay, or cuts when accuracy no longer rises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Sequence

import mxnet as mx

from d2l_alexnet.options import limited
from d2l_alexnet.recipes import Recipe

SMALLEST_CUT = 1e-8  # of the rate; PyTorch's eps


@dataclass(frozen=True)
class Plateau:
    """When and by which factor the learning rate is cut: the settings in a recipe's `plateau`.

    Parameters
    ----------
    factor : float
        The rate is multiplied by this factor if the best accuracy does not improve for more than
        `patience` consecutive epochs.
    patience : int
        Number of epochs.
    threshold : float
        Accuracy improves if it is more than ``1 + threshold`` times the best one before.
    """

    factor: float = limited(0.1, above=0, below=1)
    patience: int = limited(10, minimum=0)
    threshold: float = limited(1e-4, minimum=0)


def warmup_and_decay(recipe: Recipe, steps: int) -> Any:
    """Make the schedule of a recipe whose learning rate rises to `lr` and falls linearly to 0.

    Parameters
    ----------
    recipe : Recipe
    steps : int
        In the whole run.

    Returns
    -------
    mxnet.lr_scheduler.LRScheduler
        For the optimizer, which calls it with the number of each step.
    """
    return mx.lr_scheduler.PolyScheduler(
        max_update=steps + 1,  # so that the last step still learns
        base_lr=recipe.lr,
        pwr=1,
        warmup_steps=min(recipe.warmup_steps, steps // 10),
    )


def set_learning_rate(trainer: Any, recipe: Recipe, history: Sequence[dict]) -> None:
    """Set the learning rate of the next epoch, if the recipe cuts it on a plateau.

    Parameters
    ----------
    trainer : mxnet.gluon.Trainer
    recipe : Recipe
    history : sequence of dict
        Rows of the finished epochs.
    """
    if recipe.plateau:
        accuracies = [row["valid_accuracy"] for row in history]
        plateau = Plateau(**recipe.plateau)
        rate = reduce_on_plateau(accuracies, recipe.lr, recipe.lr_since, plateau)
        trainer.set_learning_rate(rate)


def reduce_on_plateau(
    accuracies: Sequence[float],
    lr: float,
    since: int = 1,
    plateau: Plateau = Plateau(),
) -> float:
    """Return the learning rate of the next epoch, which is cut when accuracy no longer rises.

    This is PyTorch's ReduceLROnPlateau as the second lecture uses it (mode "max", relative
    threshold). The rate is computed from the history. So a resumed run has the same rates.

    Parameters
    ----------
    accuracies : sequence of float
        The accuracies of the finished epochs.
    lr : float
        The rate of epoch `since`.
    since : int
        An epoch, counted from 1. Cuts before this epoch are already contained in `lr`.
    plateau : Plateau

    Returns
    -------
    float
    """
    best, bad_epochs = float("-inf"), 0
    for epoch, accuracy in enumerate(accuracies, start=1):
        if accuracy > best * (1 + plateau.threshold):
            best, bad_epochs = accuracy, 0
        else:
            bad_epochs += 1
        if bad_epochs > plateau.patience:
            bad_epochs = 0
            if epoch >= since and lr - lr * plateau.factor > SMALLEST_CUT:
                lr *= plateau.factor
    return lr
