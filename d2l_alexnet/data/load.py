"""From a data set's files to the iterators that the training loop runs over."""

from __future__ import annotations

from typing import Any

import mxnet as mx
from mxnet import gluon

from d2l_alexnet import gap
from d2l_alexnet.data import DATA_SETS
from d2l_alexnet.data.dataset import DataSet
from d2l_alexnet.data.loader import DataLoader, fit_cores, fit_shared_memory
from d2l_alexnet.data.samplers import (
    DatasetWithNumbers,
    ShuffledSampler,
    ShuffledSamplerWithNumbers,
)
from d2l_alexnet.data.transforms import RandomTransform, transform_of
from d2l_alexnet.errors import InputError
from d2l_alexnet.options import RunOptions
from d2l_alexnet.recipes import Recipe

TEST_BATCH_SIZE = 128  # at least: the dense layers' weights are read once per batch


def load_data(
    recipe: Recipe, options: RunOptions | None = None, ctx: Any = None
) -> tuple[DataLoader, dict[str, DataLoader]]:
    """Load the images that a recipe trains on, and those on which accuracy is measured.

    Parameters
    ----------
    recipe : Recipe
    options : RunOptions, optional
        Of which the seed, `num_workers`, `data_dir` and `explain_gap` are used. The order of the
        training images, and what is changed in each, depend on the seed, the epoch and the image
        alone, not on the number of workers.
    ctx : mxnet.Context, optional
        Where batches are delivered; the CPU if not given.

    Returns
    -------
    train_iter : DataLoader
        Gives ``X, y``: float32 (N, C, H, W) and int32 (N,). It is shuffled anew for every epoch.
    evaluations : dict of str to DataLoader
        Such iterators, not shuffled, by the key of their accuracy in the history.

    Raises
    ------
    InputError
        When the recipe asks for something that the data set does not have.
    """
    options = options or RunOptions()
    test_batch_size = max(recipe.batch_size, TEST_BATCH_SIZE)
    train_iter, evaluations = _loaders(recipe, options, ctx or mx.cpu(), test_batch_size)
    measured = DATA_SETS[recipe.data].measured
    if "train_accuracy" in measured:
        seen = train_iter.first(recipe.train_size, test_batch_size)
        evaluations = dict(train_accuracy=seen, **evaluations)
    elif options.explain_gap:
        evaluations["train_accuracy"] = train_iter.first(gap.SAMPLED, test_batch_size)
    return train_iter, evaluations


def load_data_fashion_mnist(
    batch_size: int, resize: int = 224, train_size: int = 60_000, **keywords: Any
) -> tuple[DataLoader, DataLoader]:
    """Load Fashion-MNIST as the lecture does: resized, as tensors in 0…1, in batches.

    Parameters
    ----------
    batch_size : int
        Images in a batch. The last batch of an epoch may be smaller.
    resize : int
        Side of the resized images, in pixels; 28 in the files.
    train_size : int
        Use only the first so many training images.
    **keywords
        Fields of `RunOptions`, such as ``num_workers=0``.

    Returns
    -------
    train_iter, test_iter : DataLoader
        Each gives ``X, y``: float32 (N, 1, resize, resize) in 0…1, and int32 (N,). `close` them,
        or use them in a ``with``.
    """
    recipe = Recipe("", batch_size=batch_size, resize=resize, train_size=train_size)
    train_iter, rest = _loaders(recipe, RunOptions(**keywords), mx.cpu(), batch_size)
    return train_iter, rest["test_accuracy"]


def load_data_cifar10(
    batch_size: int,
    resize: int = 70,
    crop: int = 64,
    augment: bool = False,
    train_size: int = 45_000,
    **keywords: Any,
) -> tuple[DataLoader, DataLoader, DataLoader]:
    """Load CIFAR-10 as its lecture does: resized, cropped, in -1…1, a tenth for validation.

    Parameters
    ----------
    batch_size : int
        Images in a batch. In training, the last batch of an epoch is left out if it is smaller.
    resize : int
        Side of the resized images, in pixels; 32 in the files.
    crop : int
        Side of the squares that are then cropped: at a random place for training, in the middle
        otherwise. With 32 for both sizes images stay whole, as for the lecture's ConvNet.
    augment : bool
        Whether training images are also rotated, flipped and color-jittered.
    train_size : int
        Use only the first so many training images.
    **keywords
        Fields of `RunOptions`, such as ``num_workers=0``.

    Returns
    -------
    train_iter, valid_iter, test_iter : DataLoader
        Each gives ``X, y``: float32 (N, 3, crop, crop) in -1…1, and int32 (N,). The last tenth of
        the files' training images are those of `valid_iter`.

    Raises
    ------
    InputError
        When there are fewer training images than one batch holds.
    """
    recipe = Recipe(
        "",
        data="cifar10",
        batch_size=batch_size,
        resize=resize,
        margin=resize - crop,
        augment=augment,
        train_size=train_size,
    )
    train_iter, rest = _loaders(recipe, RunOptions(**keywords), mx.cpu(), batch_size)
    return train_iter, rest["valid_accuracy"], rest["test_accuracy"]


def _loaders(
    recipe: Recipe, options: RunOptions, ctx: Any, test_batch_size: int
) -> tuple[DataLoader, dict[str, DataLoader]]:
    """Make the loaders of the training, the validation and the test images."""
    dataset = DATA_SETS[recipe.data]
    if (recipe.augment or recipe.margin) and not dataset.random_crop:
        flag = "--augment" if recipe.augment else f"a margin of {recipe.margin}"
        raise InputError(f"{flag}: not with {recipe.data}, whose images are not changed at random")
    train_set, *others = _split(dataset, recipe.train_size, options.data_dir)
    num_workers = fit_cores(options.num_workers)
    train_iter = _train_loader(train_set, recipe, options.seed, num_workers, ctx)
    keys = ("valid_accuracy", "test_accuracy")
    evaluations = {
        key: DataLoader(
            other,
            test_batch_size,
            gluon.data.SequentialSampler(len(other)),
            transform_of(recipe, dataset),
            ctx,
            num_workers=num_workers,
        )
        for key, other in zip(keys, others)
        if len(other)
    }
    return train_iter, evaluations


def _split(dataset: DataSet, train_size: int, data_dir: Any) -> list:
    """Read a data set, and split it into training, validation and test images."""
    (images, labels), test = dataset.read(data_dir)
    seen = len(images) - int(len(images) * dataset.valid_fraction)
    return [
        gluon.data.ArrayDataset(images[:seen][:train_size], labels[:seen][:train_size]),
        gluon.data.ArrayDataset(images[seen:], labels[seen:]),
        gluon.data.ArrayDataset(*test),
    ]


def _train_loader(
    train_set: Any, recipe: Recipe, seed: int, num_workers: int, ctx: Any
) -> DataLoader:
    """Make the shuffled loader of the training images."""
    dataset = DATA_SETS[recipe.data]
    transform = transform_of(recipe, dataset)
    if dataset.drop_last and len(train_set) < recipe.batch_size:
        raise InputError(
            f"--batch-size {recipe.batch_size}: more than the {len(train_set)} training images, "
            "and a batch that is not full is left out"
        )
    sampler, settings = ShuffledSampler(len(train_set), seed), dict(num_workers=num_workers)
    if dataset.random_crop:
        train_set, sampler = DatasetWithNumbers(train_set), ShuffledSamplerWithNumbers(len(train_set), seed)
        transform = RandomTransform(**vars(transform), augment=recipe.augment)
        batch_bytes = max(recipe.batch_size, TEST_BATCH_SIZE) * dataset.channels * recipe.crop**2
        workers, prefetch = fit_shared_memory(num_workers, batch_bytes)
        settings = dict(num_workers=workers, prefetch=prefetch)
    last_batch = "discard" if dataset.drop_last else "keep"
    return DataLoader(
        train_set, recipe.batch_size, sampler, transform, ctx, last_batch=last_batch, **settings
    )
