"""The lectures' networks."""

from __future__ import annotations

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


NETS = {"alexnet": alexnet}
