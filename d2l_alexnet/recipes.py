"""The settings of each training run, all in one place.

A recipe is a frozen dataclass; ``dataclasses.replace(RECIPES["lecture"], lr=0.1)`` is another one.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a net learns, the seed aside.

    Parameters
    ----------
    name : str
        The recipe's name on the command line.
    net : str
        The net's name in `d2l_alexnet.nets.NETS`.
    dropout : float
        Share of the dense layers' outputs that is left out while training.
    resize : int
        Side of the square that images are enlarged to, in pixels.
    train_size : int
        How many training images a pass goes over: the first ones of the file, shuffled.
    batch_size : int
        Images per step; a gradient is the sum over a batch divided by this number, even for a
        last batch with fewer images.
    num_epochs : int
        Passes over the training images.
    initializer, initializer_params : str, dict
        One of MXNet's initializers by name, and its settings.
    optimizer, optimizer_params : str, dict
        One of MXNet's optimizers by name, and its settings other than the learning rate.
    lr : float
        Learning rate; with warm-up and decay, the highest one.
    warmup_steps : int
        Steps over which the rate climbs from 0 to `lr`, a tenth of the run at the most.
    decay : bool
        Whether the rate then falls linearly to 0 at the end of the run.
    published : tuple of dict
        The lecture's own figures, a row per epoch with the keys of a history.
    """

    name: str
    net: str = "alexnet"
    dropout: float = 0.5
    resize: int = 224
    train_size: int = 60_000
    batch_size: int = 128
    num_epochs: int = 5
    initializer: str = "xavier"
    initializer_params: dict = field(default_factory=dict)
    optimizer: str = "sgd"
    optimizer_params: dict = field(default_factory=dict)
    lr: float = 0.01
    warmup_steps: int = 0
    decay: bool = False
    published: tuple = ()


def _row(epoch, loss, running_train_accuracy, test_accuracy, seconds):
    return dict(
        epoch=epoch,
        loss=loss,
        running_train_accuracy=running_train_accuracy,
        test_accuracy=test_accuracy,
        seconds=seconds,
    )


# Berkeley STAT-157, L12.4 "AlexNet in Python", as published: one run on a GPU.
LECTURE = Recipe(
    name="lecture",
    published=(
        _row(1, 1.3052, 0.509, 0.745, 18.9),
        _row(2, 0.6477, 0.756, 0.815, 22.5),
        _row(3, 0.5331, 0.803, 0.831, 16.6),
        _row(4, 0.4651, 0.829, 0.855, 16.6),
        _row(5, 0.4276, 0.844, 0.867, 16.6),
    ),
)

# The same layers and images in some minutes on two CPU cores: one pass over a part of the images,
# and what makes a short run learn. Initial weights for ReLUs (He et al., 2015), small batches, Adam
# with a memory of 50 steps for the squared gradients, as there are only 300, and no dropout: in one
# pass nothing is seen twice, so nothing can be learnt by heart.
QUICK = Recipe(
    name="quick",
    dropout=0.0,
    train_size=4_800,
    batch_size=16,
    num_epochs=1,
    initializer_params=dict(rnd_type="gaussian", factor_type="in", magnitude=2),
    optimizer="adam",
    optimizer_params=dict(beta2=0.98),
    lr=0.0005,
    warmup_steps=20,
    decay=True,
)

RECIPES = {recipe.name: recipe for recipe in (LECTURE, QUICK)}
