"""The settings of each training run, all in one place.

A recipe is a frozen dataclass; ``dataclasses.replace(RECIPES["lecture"], lr=0.1)`` is another one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a net learns, the seed aside.

    Parameters
    ----------
    name : str
        The recipe's name on the command line.
    data : str
        The data set: fashion-mnist or cifar10.
    channels : int
        Of its images: 1 for grey, 3 for red, green and blue.
    net : str
        The net's name in `d2l_alexnet.nets.NETS`.
    dropout : float
        Share of the dense layers' outputs that is left out while training.
    resize : int
        Side of the square that images are enlarged to, in pixels.
    margin : int
        How many pixels less the square has that is then cut out of it, with CIFAR-10: anywhere
        for training, in the middle otherwise.
    augment : bool
        Whether training images are also turned, mirrored and recoloured, with CIFAR-10.
    train_size : int
        How many training images a pass goes over: the first ones of the file, shuffled.
    batch_size : int
        Images per step; a gradient is the sum over a batch divided by this number, even for a
        last batch with fewer images. With CIFAR-10 such a batch is left out.
    num_epochs : int
        Passes over the training images.
    initializer, initializer_params : str, dict
        One of MXNet's initializers by name, and its settings.
    optimizer, optimizer_params : str, dict
        One of MXNet's optimizers by name, and its settings other than the learning rate.
    lr : float
        Learning rate; with warm-up and decay, the highest one.
    lr_since : int
        The epoch that `lr` is the rate of: the first, or where a resumed run was given another.
    warmup_steps : int
        Steps over which the rate climbs from 0 to `lr`, a tenth of the run at the most.
    decay : bool
        Whether the rate then falls linearly to 0 at the end of the run.
    plateau : dict
        Settings of `d2l_alexnet.plateau.next_rate`, which lowers the rate when validation accuracy
        has stopped rising; none if it is empty.
    dtype : str
        ``float32``, or ``float16`` for mixed precision on a GPU: float16 where that is safe.
    published : tuple of dict
        The lecture's own figures, a row per epoch with those keys of a history that are known.
    """

    name: str
    data: str = "fashion-mnist"
    channels: int = 1
    net: str = "alexnet"
    dropout: float = 0.5
    resize: int = 224
    margin: int = 0
    augment: bool = False
    train_size: int = 60_000
    batch_size: int = 128
    num_epochs: int = 5
    initializer: str = "xavier"
    initializer_params: dict = field(default_factory=dict)
    optimizer: str = "sgd"
    optimizer_params: dict = field(default_factory=dict)
    lr: float = 0.01
    lr_since: int = 1
    warmup_steps: int = 0
    decay: bool = False
    plateau: dict = field(default_factory=dict)
    dtype: str = "float32"
    published: tuple = ()

    @property
    def crop(self):
        """Side of the images that the net is given, in pixels."""
        return max(1, self.resize - self.margin)

    @property
    def input_shape(self):
        """What the net is given of one image: (1, C, H, W)."""
        return (1, self.channels, self.crop, self.crop)


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


def _row_cifar10(epoch, learning_rate, train_percent, valid_percent, **others):
    row = dict(epoch=epoch, learning_rate=learning_rate)
    return dict(
        row, train_accuracy=train_percent / 100, valid_accuracy=valid_percent / 100, **others
    )


# STAT 453, L13.9.3, which runs in PyTorch: AlexNet on CIFAR-10, as published. One run on a GPU,
# 48 s an epoch. Of the epochs that the rate was cut at nothing else is known.
CIFAR10_ALEXNET = Recipe(
    name="cifar10-alexnet",
    data="cifar10",
    channels=3,
    net="alexnet_cifar10",
    resize=70,
    margin=6,
    train_size=45_000,
    batch_size=256,
    num_epochs=200,
    initializer="pytorchdefault",
    optimizer_params=dict(momentum=0.9),
    lr=0.1,
    plateau=dict(factor=0.1, patience=10, threshold=1e-4),
    published=(
        _row_cifar10(1, 0.1, 18.6, 19.2),
        _row_cifar10(5, 0.1, 51.7, 52.4),
        _row_cifar10(10, 0.1, 68.7, 66.7),
        _row_cifar10(15, 0.1, 71.4, 68.2),
        _row_cifar10(20, 0.1, 76.4, 71.0),
        _row_cifar10(25, 0.1, 72.6, 68.6),
        _row_cifar10(30, 0.1, 67.6, 64.7),
        dict(epoch=33, learning_rate=0.01),
        _row_cifar10(35, 0.01, 77.1, 71.6),
        _row_cifar10(40, 0.01, 81.1, 73.9),
        _row_cifar10(50, 0.01, 86.7, 75.3),
        _row_cifar10(60, 0.01, 91.0, 76.1),
        dict(epoch=65, learning_rate=0.001),
        _row_cifar10(75, 0.001, 94.4, 75.6),
        _row_cifar10(100, 0.001, 94.6, 75.7),
        _row_cifar10(200, 0.001, 94.6, 75.7, test_accuracy=0.7516),
    ),
)

# The same lecture's second net, as published.
CIFAR10_CONVNET = replace(
    CIFAR10_ALEXNET,
    name="cifar10-convnet",
    net="convnet_cifar10",
    resize=32,
    margin=0,
    num_epochs=50,
    published=(
        _row_cifar10(1, 0.1, 53.4, 53.8),
        _row_cifar10(5, 0.1, 76.1, 70.5),
        _row_cifar10(10, 0.1, 84.8, 72.9),
        _row_cifar10(20, 0.1, 95.1, 74.1),
        dict(epoch=23, learning_rate=0.01),
        _row_cifar10(25, 0.01, 99.4, 76.9),
        dict(epoch=49, learning_rate=0.001),
        _row_cifar10(50, 0.001, 99.95, 77.4, test_accuracy=0.7495),
    ),
)

RECIPES = {recipe.name: recipe for recipe in (LECTURE, QUICK, CIFAR10_ALEXNET, CIFAR10_CONVNET)}
LARGEST_TRAIN_SIZE = {"fashion-mnist": 60_000, "cifar10": 45_000}
