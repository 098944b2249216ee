"""From the data set's files to the two iterators that the training loop runs over."""

from __future__ import annotations

import functools
import sys

import mxnet as mx
import numpy as np
from mxnet import gluon
from mxnet.gluon.data.vision import transforms

from d2l_alexnet import runtime
from d2l_alexnet.datasets import fashion_mnist


def load_data_fashion_mnist(
    batch_size,
    resize=224,
    train_size=None,
    num_workers=4,
    seed=0,
    data_dir=None,
    pin_memory=False,
):
    """Load Fashion-MNIST as the lecture does: enlarged, as tensors, in batches, by many workers.

    Parameters
    ----------
    batch_size : int
        Images in a batch; the last one of a pass holds what is left.
    resize : int
        Side of the square that the 28 × 28 images are enlarged to, in pixels.
    train_size : int, optional
        Take only the first so many training images.
    num_workers : int
        Processes that prepare batches, for each iterator; 0 prepares them in this process. No
        more than there are cores, and none on Windows, are started.
    seed : int
        The order of the training images is a function of the seed and the number of the pass,
        whatever the number of workers.
    data_dir : path, optional
        As for `d2l_alexnet.datasets.fashion_mnist`, which also says what is raised.
    pin_memory : bool
        Whether batches lie in page-locked memory, from where a GPU fetches them faster.

    Returns
    -------
    train_iter, test_iter : DataLoader
        Each gives ``X, y``: float32 (N, 1, resize, resize) in 0…1, and int32 (N,). The training
        images are shuffled anew for every pass. `close` them, or use them in a ``with``.
    """
    (train_images, train_labels), (test_images, test_labels) = fashion_mnist(data_dir)
    train_set = gluon.data.ArrayDataset(train_images[:train_size], train_labels[:train_size])
    test_set = gluon.data.ArrayDataset(test_images, test_labels)
    settings = dict(
        batchify_fn=functools.partial(transform_batch, resize=resize),
        num_workers=0 if sys.platform == "win32" else min(num_workers, runtime.usable_cores()),
        pin_memory=pin_memory,
    )
    shuffled = Shuffle(len(train_set), seed)
    train_iter = DataLoader(train_set, batch_size, sampler=shuffled, **settings)
    test_iter = DataLoader(test_set, batch_size, shuffle=False, **settings)
    return train_iter, test_iter


class DataLoader(gluon.data.DataLoader):
    """Gluon's loader, whose worker processes end when it is closed, not when it is forgotten.

    A notebook keeps the traceback of an interrupted cell, and with it the loader, alive.
    """

    @property
    def dataset(self):
        """The samples that the loader draws from."""
        return self._dataset

    def close(self):
        """End the worker processes; the loader is of no use afterwards."""
        if self._worker_pool:
            self._worker_pool.terminate()
            self._worker_pool.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Shuffle(gluon.data.Sampler):
    """A new order of all samples for every pass, a function of the seed and the pass alone.

    Parameters
    ----------
    length : int
        Number of samples.
    seed : int
        From 0 to 2³² − 1.

    Attributes
    ----------
    epoch : int
        The number of the next pass, counted from 0.
    """

    def __init__(self, length, seed):
        self.length, self.seed, self.epoch = length, seed, 0

    def __iter__(self):
        order = np.random.RandomState([self.seed, self.epoch]).permutation(self.length)
        self.epoch += 1
        return iter(order.tolist())

    def __len__(self):
        return self.length


def transform_batch(samples, resize):
    """Stack samples, enlarge the images and turn them into a tensor, all at once.

    The lecture's transforms give bit for bit the same when they are applied to a whole batch
    instead of to one image after the other, in half the time.

    Parameters
    ----------
    samples : list of (numpy.ndarray, int)
        Images uint8 (H, W, C), and their labels.
    resize : int
        Side of the enlarged square, in pixels.

    Returns
    -------
    X : mxnet.nd.NDArray
        float32 (N, C, resize, resize) in 0…1.
    y : mxnet.nd.NDArray
        int32 (N,).
    """
    images, labels = zip(*samples)
    X = mx.nd.array(np.stack(images), dtype=np.uint8)  # (N, H, W, C)
    return _enlarge(resize)(X), mx.nd.array(labels, dtype=np.int32)


@functools.lru_cache(maxsize=None)
def _enlarge(resize):
    """Compose the lecture's transforms, once in each process."""
    return transforms.Compose([transforms.Resize(resize), transforms.ToTensor()])
