"""The data sets. Each has its own module and an entry in `DATA_SETS`."""

from d2l_alexnet.data.cifar10 import CIFAR10
from d2l_alexnet.data.dataset import DataSet
from d2l_alexnet.data.fashion_mnist import FASHION_MNIST

DATA_SETS = {dataset.name: dataset for dataset in (FASHION_MNIST, CIFAR10)}

__all__ = ["DATA_SETS", "DataSet"]
