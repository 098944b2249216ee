"""From the data set's files to the two iterators that the training loop runs over."""

from __future__ import annotations

import functools

import mxnet as mx
import numpy as np
from mxnet import gluon
from mxnet.gluon.data.vision import transforms

from d2l_alexnet import augment
from d2l_alexnet.cifar10 import cifar10
from d2l_alexnet.datasets import fashion_mnist
from d2l_alexnet.loader import DataLoader, as_nd, fit_cores, fit_shared_memory
from d2l_alexnet.runtime import InputError
from d2l_alexnet.samplers import Numbered, NumberedShuffle, Shuffle


def load_data(recipe, test_batch_size, num_workers, seed, data_dir, ctx):
    """Load what a recipe trains a net on, and what it measures the net on after each epoch.

    Parameters
    ----------
    recipe : Recipe
    test_batch_size, num_workers, seed, data_dir, ctx
        As for the two functions below.

    Returns
    -------
    train_iter : DataLoader
    evaluations : dict of str to DataLoader
        By the key of the history.

    Raises
    ------
    InputError
        When the recipe asks for what the data set does not have.
    """
    where = (num_workers, seed, data_dir, test_batch_size, ctx)
    if recipe.data == "cifar10":
        train_iter, valid_iter, test_iter = load_data_cifar10(
            recipe.batch_size,
            recipe.resize,
            recipe.crop,
            recipe.augment,
            recipe.train_size,
            *where,
        )
        seen = train_iter.first(recipe.train_size, test_batch_size)
        return train_iter, dict(
            train_accuracy=seen, valid_accuracy=valid_iter, test_accuracy=test_iter
        )
    if recipe.augment:
        raise InputError(f"--augment: not with {recipe.data}, whose lecture changes no images")
    train_iter, test_iter = load_data_fashion_mnist(
        recipe.batch_size, recipe.resize, recipe.train_size, *where
    )
    return train_iter, dict(test_accuracy=test_iter)


def load_data_fashion_mnist(
    batch_size,
    resize=224,
    train_size=None,
    num_workers=4,
    seed=0,
    data_dir=None,
    test_batch_size=None,
    ctx=None,
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
    test_batch_size : int, optional
        Images in a batch of the test set; `batch_size` if it is not given.
    ctx : mxnet.Context, optional
        Where batches are delivered; the CPU if it is not given.

    Returns
    -------
    train_iter, test_iter : DataLoader
        Each gives ``X, y``: float32 (N, 1, resize, resize) in 0…1, and int32 (N,). The training
        images are shuffled anew for every pass. `close` them, or use them in a ``with``.
    """
    (train_images, train_labels), (test_images, test_labels) = fashion_mnist(data_dir)
    train_set = gluon.data.ArrayDataset(train_images[:train_size], train_labels[:train_size])
    test_set = gluon.data.ArrayDataset(test_images, test_labels)
    test_batch_size = test_batch_size or batch_size
    settings = dict(
        batchify_fn=stack,
        enlarge=functools.partial(enlarge, resize=resize),
        to_tensor=to_tensor,
        num_workers=fit_cores(num_workers),
        ctx=ctx or mx.cpu(),
    )
    shuffled, in_order = Shuffle(len(train_set), seed), gluon.data.SequentialSampler(len(test_set))
    train_iter = DataLoader(train_set, batch_size, shuffled, **settings)
    test_iter = DataLoader(test_set, test_batch_size or batch_size, in_order, **settings)
    return train_iter, test_iter


def load_data_cifar10(
    batch_size,
    resize=70,
    crop=64,
    augmented=False,
    train_size=None,
    num_workers=4,
    seed=0,
    data_dir=None,
    test_batch_size=None,
    ctx=None,
):
    """Load CIFAR-10 as its lecture does: enlarged, cropped, normalised, a tenth set apart.

    Parameters
    ----------
    batch_size : int
        Images in a batch; in training, those that are left at the end of a pass are left out.
    resize : int
        Side of the square that the 32 × 32 images are enlarged to, in pixels.
    crop : int
        Side of the square that is then cut out: anywhere for training, in the middle otherwise.
        With 32 for both sizes images stay whole, as for the lecture's ConvNet.
    augmented : bool
        Whether training images are also turned, mirrored and recoloured; see
        `d2l_alexnet.augment`.
    train_size : int, optional
        Take only the first so many training images.
    num_workers : int
        As for `load_data_fashion_mnist`.
    seed : int
        The order of the training images, and what is changed in each, are a function of the seed,
        the number of the pass and the image, whatever the number of workers.
    data_dir : path, optional
        As for `d2l_alexnet.cifar10.cifar10`, which also says what is raised.
    test_batch_size : int, optional
        Images in a batch of the other two sets; `batch_size` if it is not given.
    ctx : mxnet.Context, optional
        Where batches are delivered; the CPU if it is not given.

    Returns
    -------
    train_iter, valid_iter, test_iter : DataLoader
        Each gives ``X, y``: float32 (N, 3, crop, crop) in -1…1, and int32 (N,). The last tenth of
        the files' training images are those of `valid_iter`.

    Raises
    ------
    InputError
        When there are not enough training images for a batch.
    """
    train_set, valid_set, test_set = _cifar10_sets(data_dir, train_size)
    if len(train_set) < batch_size:
        raise InputError(
            f"--batch-size {batch_size}: more than the {len(train_set)} training images, and what "
            "does not fill a batch is left out"
        )
    num_workers, ctx = fit_cores(num_workers), ctx or mx.cpu()
    size = dict(resize=resize, crop=crop)
    test_batch_size = test_batch_size or batch_size
    largest = max(batch_size, test_batch_size) * 3 * crop**2  # bytes
    workers, prefetch = fit_shared_memory(num_workers, largest)
    train_iter = DataLoader(
        Numbered(train_set),
        batch_size,
        NumberedShuffle(len(train_set), seed),
        last_batch="discard",
        batchify_fn=functools.partial(enlarge_and_vary, augmented=augmented, **size),
        to_tensor=to_normalised_tensor,
        num_workers=workers,
        prefetch=prefetch,
        ctx=ctx,
    )
    valid_iter, test_iter = (
        DataLoader(
            dataset,
            test_batch_size,
            gluon.data.SequentialSampler(len(dataset)),
            batchify_fn=stack,
            enlarge=functools.partial(enlarge, **size),
            to_tensor=to_normalised_tensor,
            num_workers=num_workers,
            ctx=ctx,
        )
        for dataset in (valid_set, test_set)
    )
    return train_iter, valid_iter, test_iter


def _cifar10_sets(data_dir, train_size):
    """Set the last tenth of CIFAR-10's training images apart, and take the first of the others."""
    (images, labels), (test_images, test_labels) = cifar10(data_dir)
    tenth = len(images) // 10
    return (
        gluon.data.ArrayDataset(images[:-tenth][:train_size], labels[:-tenth][:train_size]),
        gluon.data.ArrayDataset(images[-tenth:], labels[-tenth:]),
        gluon.data.ArrayDataset(test_images, test_labels),
    )


def stack(samples):
    """Make a batch of samples as they are.

    Parameters
    ----------
    samples : list of (numpy.ndarray, int)
        Images uint8 (H, W, C), and their labels.

    Returns
    -------
    X : numpy.ndarray
        uint8 (N, H, W, C).
    y : numpy.ndarray
        int32 (N,).
    """
    images, labels = zip(*samples)
    return np.stack(images), np.array(labels, np.int32)


def enlarge(X, resize, crop=None):
    """Enlarge a batch's images, all at once.

    The lecture's transforms, Resize and ToTensor, give bit for bit the same when they are applied
    to a whole batch instead of to one image after the other.

    Parameters
    ----------
    X : mxnet.nd.NDArray
        uint8 (N, H, W, C).
    resize : int
        Side of the enlarged square, in pixels.
    crop : int, optional
        Side of the square in its middle to be kept; all of it, if it is not given.

    Returns
    -------
    mxnet.nd.NDArray
        uint8 (N, crop, crop, C).
    """
    X = transforms.Resize(resize)(X)
    if crop:
        edge = (resize - crop) // 2
        X = transforms.CropResize(edge, edge, crop, crop)(X)
    return X


def enlarge_and_vary(samples, resize, crop, augmented):
    """Stack samples, enlarge their images, and change each as its numbers say.

    Parameters
    ----------
    samples : list of ((numpy.ndarray, int), numpy.ndarray)
        Images uint8 (H, W, C) and their labels, and their numbers, (NUMBERS,).
    resize, crop : int
        Sides of the enlarged square and of that cut out of it, in pixels.
    augmented : bool
        Whether to do more than cut it out.

    Returns
    -------
    X : mxnet.nd.NDArray
        uint8 (N, crop, crop, C).
    y : numpy.ndarray
        int32 (N,).
    """
    pairs, numbers = zip(*samples)
    numbers = np.stack(numbers)  # (N, NUMBERS)
    X, y = stack(pairs)
    X = enlarge(as_nd(X), resize)  # (N, resize, resize, C)
    if augmented:
        X = augment.turn(X, numbers[:, 2])
    images = augment.cut_out(X.asnumpy(), crop, numbers[:, :2])
    if augmented:
        images = map(augment.flip_and_recolour, images, numbers[:, 3:])
    return as_nd(np.stack(list(images))), y


def to_tensor(X):
    """Turn uint8 (N, H, W, C) into float32 (N, C, H, W) in 0…1."""
    return transforms.ToTensor()(X)


def to_normalised_tensor(X):
    """Turn uint8 (N, H, W, C) into float32 (N, C, H, W) in -1…1."""
    return transforms.Normalize(0.5, 0.5)(to_tensor(X))


TO_TENSOR = {"fashion-mnist": to_tensor, "cifar10": to_normalised_tensor}  # by data set
