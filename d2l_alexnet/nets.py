"""The lectures' nets, and PyTorch's initial weights, which the second lecture's nets need."""

from __future__ import annotations

import math
from typing import Any

import mxnet as mx
from mxnet.gluon import nn

from d2l_alexnet.errors import InputError


def lenet(num_classes: int = 10, dropout: float = 0.0) -> Any:
    """Build the LeNet with which both lectures compare AlexNet.

    Parameters
    ----------
    num_classes : int
        Number of outputs.
    dropout : float
        Must be 0: LeNet has no dropout layers.

    Returns
    -------
    mxnet.gluon.nn.HybridSequential
        Not initialized. Its input is (N, C, H, W) with any number of channels; its output is
        (N, num_classes) logits. It has 61,706 parameters for (N, 1, 28, 28) and 10 classes.

    Raises
    ------
    InputError
        For a dropout other than 0.
    """
    if dropout:
        raise InputError(f"--dropout {dropout}: LeNet has no dropout layers; use 0")
    with mx.name.NameManager():  # so that the layers of every net are named conv0, pool0, …
        net = nn.HybridSequential()
        net.add(  # comments: output shapes for a (1, 1, 28, 28) image
            nn.Conv2D(6, kernel_size=5, padding=2, activation="sigmoid"),  # (1, 6, 28, 28)
            nn.AvgPool2D(pool_size=2, strides=2),  # (1, 6, 14, 14)
            nn.Conv2D(16, kernel_size=5, activation="sigmoid"),  # (1, 16, 10, 10)
            nn.AvgPool2D(pool_size=2, strides=2),  # (1, 16, 5, 5)
            nn.Dense(120, activation="sigmoid"),  # (1, 120)
            nn.Dense(84, activation="sigmoid"),  # (1, 84)
            nn.Dense(num_classes),  # (1, 10)
        )
    return net


def alexnet(num_classes: int = 10, dropout: float = 0.5) -> Any:
    """Build the AlexNet of the Berkeley lecture (STAT-157, L12.4).

    It is the net of Krizhevsky, Sutskever and Hinton (2012) with three changes: it is not split
    over two GPUs, it has no local response normalization, and it has `num_classes` outputs instead
    of ImageNet's 1,000.

    Parameters
    ----------
    num_classes : int
        Number of outputs.
    dropout : float
        Dropout probability of the outputs of the two large dense layers: at least 0, below 1. A
        run uses the dropout of its recipe.

    Returns
    -------
    mxnet.gluon.nn.HybridSequential
        Not initialized. Its input is (N, C, H, W) with any number of channels and at least
        67 × 67 pixels; its output is (N, num_classes) logits. It has 46,764,746 parameters for
        (N, 1, 224, 224) and 10 classes.
    """
    with mx.name.NameManager():
        net = nn.HybridSequential()
        net.add(  # comments: output shapes for a (1, 1, 224, 224) image
            # A large kernel and a large stride reduce height and width strongly.
            nn.Conv2D(96, kernel_size=11, strides=4, activation="relu"),  # (1, 96, 54, 54)
            nn.MaxPool2D(pool_size=3, strides=2),  # (1, 96, 26, 26)
            nn.Conv2D(256, kernel_size=5, padding=2, activation="relu"),  # (1, 256, 26, 26)
            nn.MaxPool2D(pool_size=3, strides=2),  # (1, 256, 12, 12)
            # Three consecutive convolutions that do not change height and width.
            nn.Conv2D(384, kernel_size=3, padding=1, activation="relu"),  # (1, 384, 12, 12)
            nn.Conv2D(384, kernel_size=3, padding=1, activation="relu"),  # (1, 384, 12, 12)
            nn.Conv2D(256, kernel_size=3, padding=1, activation="relu"),  # (1, 256, 12, 12)
            nn.MaxPool2D(pool_size=3, strides=2),  # (1, 256, 5, 5)
            # The next two dense layers have nine tenths of all parameters of the net.
            nn.Dense(4096, activation="relu"),  # (1, 4096)
            nn.Dropout(dropout),
            nn.Dense(4096, activation="relu"),  # (1, 4096)
            nn.Dropout(dropout),
            nn.Dense(num_classes),  # (1, 10)
        )
    return net


def alexnet_cifar10(num_classes: int = 10, dropout: float = 0.5, pool: int = 6) -> Any:
    """Build the AlexNet that STAT 453 (L13.9.3) trains on CIFAR-10.

    Parameters
    ----------
    num_classes : int
        Number of outputs.
    dropout : float
        Dropout probability of the inputs of the two large dense layers: at least 0, below 1. A
        run uses the dropout of its recipe.
    pool : int
        Side of the feature map after the last pooling, in pixels. It does not depend on the image
        size.

    Returns
    -------
    mxnet.gluon.nn.HybridSequential
        Not initialized. Its input is (N, C, H, W) with any number of channels and at least
        63 × 63 pixels; its output is (N, num_classes) logits. It has 57,044,810 parameters for
        3 channels and 10 classes, for every image size.
    """
    with mx.name.NameManager():
        net = nn.HybridSequential()
        net.add(  # comments: output shapes for a (1, 3, 64, 64) image
            # (1, 64, 15, 15)
            nn.Conv2D(64, kernel_size=11, strides=4, padding=2, activation="relu"),
            nn.MaxPool2D(pool_size=3, strides=2),  # (1, 64, 7, 7)
            nn.Conv2D(192, kernel_size=5, padding=2, activation="relu"),  # (1, 192, 7, 7)
            nn.MaxPool2D(pool_size=3, strides=2),  # (1, 192, 3, 3)
            nn.Conv2D(384, kernel_size=3, padding=1, activation="relu"),  # (1, 384, 3, 3)
            nn.Conv2D(256, kernel_size=3, padding=1, activation="relu"),  # (1, 256, 3, 3)
            nn.Conv2D(256, kernel_size=3, padding=1, activation="relu"),  # (1, 256, 3, 3)
            nn.MaxPool2D(pool_size=3, strides=2),  # (1, 256, 1, 1)
            # The dense layers' input has the same shape for every image size.
            AdaptiveAvgPool2D(pool),  # (1, 256, 6, 6)
            nn.Dropout(dropout),
            nn.Dense(4096, activation="relu"),  # (1, 4096)
            nn.Dropout(dropout),
            nn.Dense(4096, activation="relu"),  # (1, 4096)
            nn.Dense(num_classes),  # (1, 10)
        )
    return net


def convnet_cifar10(num_classes: int = 10, dropout: float = 0.5) -> Any:
    """Build the small ConvNet that STAT 453 (L13.9.3) compares with its AlexNet.

    Parameters
    ----------
    num_classes : int
        Number of outputs.
    dropout : float
        Dropout probability of the inputs of the last layer: at least 0, below 1. A run uses
        the dropout of its recipe.

    Returns
    -------
    mxnet.gluon.nn.HybridSequential
        Not initialized. Its input is (N, C, H, W); its output is (N, num_classes) logits. It has
        583,178 parameters for (N, 3, 32, 32) and 10 classes; these include the running means and
        variances.
    """
    with mx.name.NameManager():
        net = nn.HybridSequential()
        net.add(  # comments: output shapes for a (1, 3, 32, 32) image
            nn.Conv2D(32, kernel_size=3, strides=2, padding=1),  # (1, 32, 16, 16)
            nn.BatchNorm(),
            nn.LeakyReLU(0.1),
            nn.Conv2D(64, kernel_size=3, padding=1),  # (1, 64, 16, 16)
            nn.BatchNorm(),
            nn.LeakyReLU(0.1),
            nn.Conv2D(64, kernel_size=3, strides=2, padding=1),  # (1, 64, 8, 8)
            nn.BatchNorm(),
            nn.LeakyReLU(0.1),
            nn.Dense(128),  # (1, 128)
            nn.BatchNorm(),
            nn.LeakyReLU(0.1),
            nn.Dropout(dropout),
            nn.Dense(num_classes),  # (1, 10)
        )
    return net


class AdaptiveAvgPool2D(nn.HybridBlock):
    """Average over windows of nearly equal size, so that the output has a given size.

    Parameters
    ----------
    side : int
        Side of the square output. Values of a smaller input are repeated.
    **kwargs
        Arguments of `HybridBlock`.
    """

    def __init__(self, side: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._side = side

    def _alias(self) -> str:
        return "pool"  # Gluon's name for pooling layers

    def hybrid_forward(self, F: Any, X: Any) -> Any:
        """Compute (N, C, side, side) from (N, C, H, W)."""
        return F.contrib.AdaptiveAvgPooling2D(X, output_size=self._side)


@mx.init.register
class PyTorchDefault(mx.init.Initializer):
    """PyTorch's initial weights and biases: uniform between -1/√fan_in and 1/√fan_in.

    The fan-in is the number of inputs of each output. MXNet's other initializers set biases to 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self._bounds: dict[str, float] = {}  # by the layer's name

    def __call__(self, desc: Any, arr: Any) -> None:
        """Fill a weight or bias; fill other arrays with the default of their layer.

        Raises
        ------
        ValueError
            If a bias is filled before its weight. This happens if the shapes of the net are not
            known yet: MXNet then initializes biases first.
        """
        layer, _, kind = desc.rpartition("_")
        if kind == "weight":
            self._bounds[layer] = math.prod(arr.shape[1:]) ** -0.5
        elif kind != "bias":
            super().__call__(desc, arr)
            return
        if layer not in self._bounds:
            raise ValueError(f"{desc} comes before its weight; call net.infer_shape(X) first")
        mx.random.uniform(-self._bounds[layer], self._bounds[layer], out=arr)


NETS = {
    "lenet": lenet,
    "alexnet": alexnet,
    "alexnet_cifar10": alexnet_cifar10,
    "convnet_cifar10": convnet_cifar10,
}
INPUT_SHAPES = {  # one image, as in the lecture
    "lenet": (1, 1, 28, 28),
    "alexnet": (1, 1, 224, 224),
    "alexnet_cifar10": (1, 3, 64, 64),
    "convnet_cifar10": (1, 3, 32, 32),
}
