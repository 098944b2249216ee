"""Load a data set's files, and make the iterators of the training loop."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import mxnet as mx
from mxnet import gluon

from d2l_alexnet import gap
from d2l_alexnet.data import DATA_SETS, DataSet
from d2l_alexnet.data.loader import DataLoader, fit_cores, fit_shared_memory
from d2l_alexnet.data.samplers import (
    DatasetWithNumbers,
    ShuffledSampler,
    ShuffledSamplerWithNumbers,
)
from d2l_alexnet.data.transforms import transform_of
from d2l_alexnet.errors import InputError
from d2l_alexnet.options import RunOptions
from d2l_alexnet.recipes import CIFAR10_ALEXNET, LECTURE, Recipe
from d2l_alexnet.validation import check_fields

# The smallest batch size for tests. In small batches, reading the weights of the dense layers would
# take most of the time.
TEST_BATCH_SIZE = 128


def load_data(
    recipe: Recipe, options: RunOptions | None = None, ctx: Any = None
) -> tuple[DataLoader, dict[str, DataLoader]]:
    """Load the images that a recipe trains on, and the images on which accuracy is measured.

    Parameters
    ----------
    recipe : Recipe
    options : RunOptions, optional
        `seed`, `num_workers`, `data_dir` and `explain_gap` are used. The order of the training
        images and their augmentation depend on the seed, not on the number of workers.
    ctx : mxnet.Context, optional
        The device that batches are copied to; the CPU if not given.

    Returns
    -------
    train_iter : DataLoader
        Yields ``X, y``: float32 (N, C, H, W) and int32 (N,). The images are shuffled again for
        every epoch.
    evaluations : dict of str to DataLoader
        Loaders that do not shuffle. Each key is the key of an accuracy in the history.

    Raises
    ------
    InputError
        If a setting is out of its range or not supported by the data set, or if the data set cannot
        be read.
    """
    options = options or RunOptions()
    batch_size = max(recipe.batch_size, TEST_BATCH_SIZE)
    train_iter, evaluations = _make_loaders(recipe, options, ctx, batch_size)
    if DATA_SETS[recipe.data].measure_train_accuracy:
        seen = train_iter.first(recipe.train_size, batch_size)
        evaluations = dict(train_accuracy=seen, **evaluations)
    elif options.explain_gap:
        evaluations["train_accuracy"] = train_iter.first(gap.SAMPLED, batch_size)
    return train_iter, evaluations


def load_test_data(recipe: Recipe, options: RunOptions, ctx: Any = None) -> DataLoader:
    """Load the test images of a recipe's data set.

    Parameters
    ----------
    recipe, options, ctx
        As for `load_data`. `num_workers` and `data_dir` are used.

    Returns
    -------
    DataLoader
        As the loader ``test_accuracy`` of `load_data`. Use it in a ``with`` block, or call `close`.

    Raises
    ------
    InputError
        If a setting is out of its range, or the data set cannot be read.
    """
    _check(recipe, options)
    dataset = DATA_SETS[recipe.data]
    *_, test_set = _read(dataset, recipe.train_size, options.data_dir)
    batch_size = max(recipe.batch_size, TEST_BATCH_SIZE)
    return _make_test_loader(test_set, recipe, options, ctx or mx.cpu(), batch_size)


def load_data_fashion_mnist(
    batch_size: int,
    resize: int = 224,
    train_size: int = 60_000,
    ctx: Any = None,
    **options: Any,
) -> tuple[DataLoader, DataLoader]:
    """Load Fashion-MNIST as the lecture does: resized, as tensors in 0…1, in batches.

    Parameters
    ----------
    batch_size : int
        Images in a batch. The last batch of an epoch may be smaller.
    resize : int
        Side of the resized images, in pixels. In the files it is 28.
    train_size : int
        Number of training images to use. They are the first images of the file.
    ctx : mxnet.Context, optional
        The device that batches are copied to; the CPU if not given.
    **options
        `num_workers`, `seed` and `data_dir`, as in `RunOptions`.

    Returns
    -------
    train_iter, test_iter : DataLoader
        Each yields ``X, y``: float32 (N, 1, resize, resize) in 0…1, and int32 (N,). Call `close`
        of both loaders after use, or use them in a ``with`` block.

    Raises
    ------
    InputError
        If a value is out of its range, or the data set cannot be read.
    """
    recipe = replace(LECTURE, batch_size=batch_size, resize=resize, train_size=train_size)
    train_iter, evaluations = _make_loaders(recipe, RunOptions(**options), ctx, batch_size)
    return train_iter, evaluations["test_accuracy"]


def load_data_cifar10(
    batch_size: int,
    resize: int = 70,
    crop: int = 64,
    augment: bool = False,
    train_size: int = 45_000,
    ctx: Any = None,
    **options: Any,
) -> tuple[DataLoader, DataLoader, DataLoader]:
    """Load CIFAR-10 as the second lecture does: resized, cropped, as tensors in -1…1.

    Parameters
    ----------
    batch_size : int
        Images in a batch. Training drops the last batch of an epoch if it is incomplete.
    resize : int
        Side of the resized images, in pixels. In the files it is 32.
    crop : int
        Side of the cropped images, in pixels. Training images are cropped at a random place, other
        images in the middle. If `resize` and `crop` are 32, images are not changed, as for the
        lecture's ConvNet.
    augment : bool
        Whether training images are also rotated, flipped and color-jittered.
    train_size : int
        Number of training images to use. They are the first images of the files.
    ctx, **options
        As for `load_data_fashion_mnist`.

    Returns
    -------
    train_iter, valid_iter, test_iter : DataLoader
        Each yields ``X, y``: float32 (N, 3, crop, crop) in -1…1, and int32 (N,). `valid_iter` has
        the last tenth of the files' training images.

    Raises
    ------
    InputError
        If a value is out of its range, a crop is larger than the resized image, a batch is larger
        than the number of training images, or the data set cannot be read.
    """
    if crop < 1:
        raise InputError(f"crop is {crop}, not a whole number that is at least 1")
    if 1 <= resize < crop:
        raise InputError(f"crop {crop} is larger than resize {resize}; choose {resize} or less")
    recipe = replace(
        CIFAR10_ALEXNET,
        batch_size=batch_size,
        resize=resize,
        margin=resize - crop,
        augment=augment,
        train_size=train_size,
    )
    train_iter, evaluations = _make_loaders(recipe, RunOptions(**options), ctx, batch_size)
    return train_iter, evaluations["valid_accuracy"], evaluations["test_accuracy"]


def _make_loaders(
    recipe: Recipe, options: RunOptions, ctx: Any, test_batch_size: int
) -> tuple[DataLoader, dict[str, DataLoader]]:
    """Make the loaders of all images. A test batch is at least as large as a training batch."""
    _check(recipe, options)
    dataset, ctx = DATA_SETS[recipe.data], ctx or mx.cpu()
    if (recipe.augment or recipe.margin) and not dataset.random_crop:
        setting = "--augment" if recipe.augment else f"a margin of {recipe.margin}"
        raise InputError(f"{setting}: {recipe.data} has no random augmentation; omit it")
    train_set, *others = _read(dataset, recipe.train_size, options.data_dir)
    train_iter = _make_train_loader(train_set, recipe, options, ctx, test_batch_size)
    evaluations = {
        key: _make_test_loader(images, recipe, options, ctx, test_batch_size)
        for key, images in zip(("valid_accuracy", "test_accuracy"), others)
        if len(images)
    }
    return train_iter, evaluations


def _check(recipe: Recipe, options: RunOptions) -> None:
    """Raise `InputError` if a setting is out of its range."""
    check_fields(vars(recipe), fields(Recipe))
    check_fields(vars(options), fields(RunOptions))


def _read(dataset: DataSet, train_size: int, data_dir: str | None) -> list[Any]:
    """Read the training, validation and test images of a data set."""
    (images, labels), test = dataset.read(data_dir)
    end = len(images) - int(len(images) * dataset.valid_fraction)
    return [
        gluon.data.ArrayDataset(images[:end][:train_size], labels[:end][:train_size]),
        gluon.data.ArrayDataset(images[end:], labels[end:]),
        gluon.data.ArrayDataset(*test),
    ]


def _make_test_loader(
    images: Any, recipe: Recipe, options: RunOptions, ctx: Any, batch_size: int
) -> DataLoader:
    """Make the loader of validation or test images, which are not shuffled."""
    return DataLoader(
        images,
        batch_size,
        gluon.data.SequentialSampler(len(images)),
        transform_of(recipe, DATA_SETS[recipe.data]),
        ctx,
        num_workers=fit_cores(options.num_workers),
    )


def _make_train_loader(
    train_set: Any, recipe: Recipe, options: RunOptions, ctx: Any, largest_batch: int
) -> DataLoader:
    """Make the shuffled loader of the training images."""
    dataset, length = DATA_SETS[recipe.data], len(train_set)
    if dataset.drop_last and length < recipe.batch_size:
        raise InputError(
            f"--batch-size {recipe.batch_size}: larger than the {length} training images, "
            f"and incomplete batches are dropped; choose {length} or less"
        )
    sampler = ShuffledSampler(length, options.seed)
    settings = dict(num_workers=fit_cores(options.num_workers))
    if dataset.random_crop:
        train_set = DatasetWithNumbers(train_set)
        sampler = ShuffledSamplerWithNumbers(length, options.seed)
        batch_bytes = largest_batch * dataset.channels * recipe.crop**2
        settings = fit_shared_memory(settings["num_workers"], batch_bytes)
    return DataLoader(
        train_set,
        recipe.batch_size,
        sampler,
        transform_of(recipe, dataset, train=True),
        ctx,
        last_batch="discard" if dataset.drop_last else "keep",
        **settings,
    )
