"""The settings of every run, and the lectures' published results.

A recipe is a frozen dataclass. ``dataclasses.replace(RECIPES["lecture"], lr=0.1)`` makes a changed
copy.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from d2l_alexnet.options import limited, option

MAX_COUNT = 10**9  # largest number of images, steps or epochs
DTYPES = ("float32", "bfloat16", "float16")  # the formats that nets compute in


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a net learns, except the seed.

    Parameters
    ----------
    name : str
        The recipe's name on the command line.
    data : str
        The data set's name in `d2l_alexnet.data.DATA_SETS`.
    net : str
        The net's name in `d2l_alexnet.nets.NETS`.
    dropout : float
        Dropout probability of the dense layers.
    resize : int
        Side of the square that images are resized to, in pixels.
    margin : int
        Images are then cropped to squares with a side of ``resize - margin`` pixels: at a random
        place for training, in the middle otherwise.
    augment : bool
        Whether training images are also rotated, flipped and color-jittered at random.
    train_size : int
        Number of training images in an epoch. They are the first images of the file. Their order is
        shuffled in each epoch.
    batch_size : int
        Images per step. The gradient of a batch is the sum over its images, divided by this number.
        The last batch may have fewer images; its sum is divided by the same number.
    num_epochs : int
        Number of epochs.
    initializer, initializer_params : str, dict
        The name of one of MXNet's initializers, and its settings.
    optimizer, optimizer_params : str, dict
        The name of one of MXNet's optimizers, and its settings other than the learning rate.
    lr : float
        Learning rate. With warm-up and decay, this is the highest rate.
    lr_since : int
        The first epoch with the rate `lr`. It is 1, or, if the user has changed the rate of a
        resumed run, the epoch of this change.
    warmup_steps : int
        Number of steps in which the rate rises from 0 to `lr`, at most a tenth of all steps.
    decay : bool
        Whether the rate then falls linearly to 0 at the end of the run.
    plateau : dict
        Settings of `d2l_alexnet.schedule.reduce_on_plateau`, which reduces the rate when validation
        accuracy no longer rises. If empty, the rate is not reduced.
    dtype : str
        The number format of the computation: ``float32``, ``bfloat16`` on a CPU, or ``float16`` on
        a GPU. See `d2l_alexnet.precision`.
    published : tuple of dict
        The lecture's own results: a row per epoch, as in a history. Unknown values are left out.
    """

    name: str
    data: str = "fashion-mnist"
    net: str = "alexnet"
    dropout: float = option(0.5, "dropout probability of the dense layers", minimum=0, below=1)
    resize: int = option(224, "side of the resized images, in pixels", minimum=1, maximum=10_000)
    margin: int = limited(0, minimum=0, maximum=10_000)
    augment: bool = option(
        False, "augment training images: rotation, flip, color jitter (CIFAR-10 only)"
    )
    train_size: int = option(
        60_000, "use only the first N training images", minimum=1, maximum=MAX_COUNT
    )
    batch_size: int = option(128, "images per step", minimum=1, maximum=MAX_COUNT)
    num_epochs: int = option(5, "number of epochs", flag="--epochs", minimum=1, maximum=MAX_COUNT)
    initializer: str = "xavier"
    initializer_params: dict = field(default_factory=dict)
    optimizer: str = "sgd"
    optimizer_params: dict = field(default_factory=dict)
    # MXNet stores the rate as float32.
    lr: float = option(0.01, "learning rate", minimum=1e-30, maximum=1e30)
    lr_since: int = limited(1, minimum=1, maximum=MAX_COUNT)
    warmup_steps: int = limited(0, minimum=0, maximum=MAX_COUNT)
    decay: bool = False
    plateau: dict = field(default_factory=dict)
    dtype: str = option(
        "float32",
        "number format of the computation: bfloat16 for CPUs that support it, float16 for GPUs",
        choices=DTYPES,
    )
    published: tuple = ()

    @property
    def crop(self) -> int:
        """Side of the images that the net is given, in pixels."""
        return max(1, self.resize - self.margin)


def _row(
    epoch: int, loss: float, running_train_accuracy: float, test_accuracy: float, seconds: float
) -> dict[str, float]:
    return dict(
        epoch=epoch,
        loss=loss,
        running_train_accuracy=running_train_accuracy,
        test_accuracy=test_accuracy,
        seconds=seconds,
    )


# Berkeley STAT-157, L12.4 "AlexNet in Python", as published: one run on a GPU. These values are
# also the defaults of `Recipe`.
LECTURE = Recipe(
    name="lecture",
    data="fashion-mnist",
    net="alexnet",
    dropout=0.5,
    resize=224,
    train_size=60_000,
    batch_size=128,
    num_epochs=5,
    initializer="xavier",
    optimizer="sgd",
    lr=0.01,
    published=(
        _row(1, 1.3052, 0.509, 0.745, 18.9),
        _row(2, 0.6477, 0.756, 0.815, 22.5),
        _row(3, 0.5331, 0.803, 0.831, 16.6),
        _row(4, 0.4651, 0.829, 0.855, 16.6),
        _row(5, 0.4276, 0.844, 0.867, 16.6),
    ),
)

# The same layers and image size, in a minute or two on two cores with AVX-512. The differences:
# - one epoch of 4,480 images, in batches of 32: 140 steps;
# - no dropout;
# - initial weights for ReLUs (He et al., 2015), so that the net learns from the first steps on;
# - Adam, with averages over the last 5 gradients and 50 squared gradients, as the steps are few;
# - a learning rate that rises for a tenth of the steps, then falls to 0.
QUICK = Recipe(
    name="quick",
    dropout=0.0,
    train_size=4_480,
    batch_size=32,
    num_epochs=1,
    initializer_params=dict(rnd_type="gaussian", factor_type="in", magnitude=2),
    optimizer="adam",
    optimizer_params=dict(beta1=0.8, beta2=0.98),
    lr=0.0003,
    warmup_steps=20,
    decay=True,
)


# LeNet on Fashion-MNIST, as published in the same course: one run on a CPU.
LENET = Recipe(
    name="lenet",
    net="lenet",
    dropout=0.0,
    resize=28,
    batch_size=256,
    lr=0.9,
    published=(
        _row(1, 2.3210, 0.100, 0.100, 20.2),
        _row(2, 2.3002, 0.111, 0.179, 20.7),
        _row(3, 1.3393, 0.469, 0.664, 19.4),
        _row(4, 0.8431, 0.664, 0.731, 18.2),
        _row(5, 0.6986, 0.725, 0.741, 18.6),
    ),
)


def _row_cifar10(
    epoch: int, learning_rate: float, train_percent: float, valid_percent: float, **others: float
) -> dict[str, float]:
    return dict(
        epoch=epoch,
        learning_rate=learning_rate,
        train_accuracy=train_percent / 100,
        valid_accuracy=valid_percent / 100,
        **others,
    )


# STAT 453, L13.9.3, which runs in PyTorch: AlexNet on CIFAR-10, as published. One run on a GPU,
# 48 s per epoch. For the epochs in which the rate was reduced, only the rate is known.
CIFAR10_ALEXNET = Recipe(
    name="cifar10-alexnet",
    data="cifar10",
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

RECIPES = {
    recipe.name: recipe for recipe in (LECTURE, QUICK, LENET, CIFAR10_ALEXNET, CIFAR10_CONVNET)
}
