"""The lectures' networks, and the initial weights that the second one relies on."""

from __future__ import annotations

import math

import mxnet as mx
from mxnet.gluon import nn


def alexnet(num_classes=10, dropout=0.5):
    """Build the AlexNet of the Berkeley lecture (STAT-157, L12.4).

    It is the net of Krizhevsky, Sutskever and Hinton (2012) without the split over two GPUs and
    without local response normalisation, and with `num_classes` outputs for ImageNet's 1,000.

    Parameters
    ----------
    num_classes : int
        Number of outputs.
    dropout : float
        Share of each large dense layer's outputs that is left out while training, from 0 up to 1.

    Returns
    -------
    mxnet.gluon.nn.HybridSequential
        Not yet initialised. Takes (N, C, H, W), any number of channels, at least 67 × 67 pixels;
        gives (N, num_classes) logits. 46,764,746 parameters for (N, 1, 224, 224) and 10 classes.
    """
    with mx.name.NameManager():  # counts from conv0, pool0, … anew for every net
        net = nn.HybridSequential()
        net.add(  # shapes are those of a (1, 1, 224, 224) image
            # A large window and a large stride: both sides shrink at once.
            nn.Conv2D(96, kernel_size=11, strides=4, activation="relu"),  # (1, 96, 54, 54)
            nn.MaxPool2D(pool_size=3, strides=2),  # (1, 96, 26, 26)
            nn.Conv2D(256, kernel_size=5, padding=2, activation="relu"),  # (1, 256, 26, 26)
            nn.MaxPool2D(pool_size=3, strides=2),  # (1, 256, 12, 12)
            # Three convolutions in a row that keep the size.
            nn.Conv2D(384, kernel_size=3, padding=1, activation="relu"),  # (1, 384, 12, 12)
            nn.Conv2D(384, kernel_size=3, padding=1, activation="relu"),  # (1, 384, 12, 12)
            nn.Conv2D(256, kernel_size=3, padding=1, activation="relu"),  # (1, 256, 12, 12)
            nn.MaxPool2D(pool_size=3, strides=2),  # (1, 256, 5, 5)
            # The two dense layers that hold nine tenths of all parameters.
            nn.Dense(4096, activation="relu"),  # (1, 4096)
            nn.Dropout(dropout),
            nn.Dense(4096, activation="relu"),  # (1, 4096)
            nn.Dropout(dropout),
            nn.Dense(num_classes),  # (1, 10)
        )
    return net


def alexnet_cifar10(num_classes=10, dropout=0.5):
    """Build the AlexNet that STAT 453 (L13.9.3) trains on CIFAR-10.

    Parameters
    ----------
    num_classes : int
        Number of outputs.
    dropout : float
        Share of what goes into each large dense layer that is left out while training, from 0 up
        to 1.

    Returns
    -------
    mxnet.gluon.nn.HybridSequential
        Not yet initialised. Takes (N, C, H, W), any number of channels, at least 63 × 63 pixels;
        gives (N, num_classes) logits. 57,044,810 parameters for 3 channels and 10 classes,
        whatever the size.
    """
    with mx.name.NameManager():
        net = nn.HybridSequential()
        net.add(  # shapes are those of a (1, 3, 64, 64) image
            # (1, 64, 15, 15)
            nn.Conv2D(64, kernel_size=11, strides=4, padding=2, activation="relu"),
            nn.MaxPool2D(pool_size=3, strides=2),  # (1, 64, 7, 7)
            nn.Conv2D(192, kernel_size=5, padding=2, activation="relu"),  # (1, 192, 7, 7)
            nn.MaxPool2D(pool_size=3, strides=2),  # (1, 192, 3, 3)
            nn.Conv2D(384, kernel_size=3, padding=1, activation="relu"),  # (1, 384, 3, 3)
            nn.Conv2D(256, kernel_size=3, padding=1, activation="relu"),  # (1, 256, 3, 3)
            nn.Conv2D(256, kernel_size=3, padding=1, activation="relu"),  # (1, 256, 3, 3)
            nn.MaxPool2D(pool_size=3, strides=2),  # (1, 256, 1, 1)
            # Whatever the size of the image, the dense layers get so many values.
            AdaptiveAvgPool2D(6),  # (1, 256, 6, 6)
            nn.Dropout(dropout),
            nn.Dense(4096, activation="relu"),  # (1, 4096)
            nn.Dropout(dropout),
            nn.Dense(4096, activation="relu"),  # (1, 4096)
            nn.Dense(num_classes),  # (1, 10)
        )
    return net


def convnet_cifar10(num_classes=10, dropout=0.5):
    """Build the small ConvNet that STAT 453 (L13.9.3) sets beside its AlexNet.

    Parameters
    ----------
    num_classes : int
        Number of outputs.
    dropout : float
        Share of what goes into the last layer that is left out while training, from 0 up to 1.

    Returns
    -------
    mxnet.gluon.nn.HybridSequential
        Not yet initialised. Takes (N, C, H, W); gives (N, num_classes) logits. 583,178 parameters
        for (N, 3, 32, 32) and 10 classes, running means and variances included.
    """
    with mx.name.NameManager():
        net = nn.HybridSequential()
        net.add(  # shapes are those of a (1, 3, 32, 32) image
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
    """Average over as many windows, of much the same size, as outputs are wanted.

    Parameters
    ----------
    side : int
        Of the square output. An input that is smaller has its values repeated.
    """

    def __init__(self, side, **kwargs):
        super().__init__(**kwargs)
        self._side = side

    def _alias(self):
        return "pool"  # what Gluon calls the other pooling layers

    def hybrid_forward(self, F, X):
        """Turn (N, C, H, W) into (N, C, side, side)."""
        return F.contrib.AdaptiveAvgPooling2D(X, output_size=self._side)


@mx.init.register
class PyTorchDefault(mx.init.Initializer):
    """PyTorch's initial weights and biases: uniform, within one over the root of the fan-in.

    The fan-in is how many values each output is summed over. MXNet's other initializers leave
    biases at 0.
    """

    def __init__(self):
        super().__init__()
        self._bounds = {}

    def __call__(self, desc, arr):
        """Fill an array by its name; what is neither a weight nor a bias gets its layer's own.

        Raises
        ------
        ValueError
            For a bias before its weight: biases come first where a net's shapes are unknown.
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
    "alexnet": alexnet,
    "alexnet_cifar10": alexnet_cifar10,
    "convnet_cifar10": convnet_cifar10,
}
INPUT_SHAPES = {  # of one image in the lecture
    "alexnet": (1, 1, 224, 224),
    "alexnet_cifar10": (1, 3, 64, 64),
    "convnet_cifar10": (1, 3, 32, 32),
}
