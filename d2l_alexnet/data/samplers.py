"""The order of a data set's images, and the random numbers for each image."""

from __future__ import annotations

from typing import Any, Iterator, Tuple

import numpy as np
from mxnet import gluon

from d2l_alexnet.data.augment import RANDOM_NUMBERS

Key = Tuple[int, np.ndarray]  # the index of an image, and its random numbers, (RANDOM_NUMBERS,)


class ShuffledSampler(gluon.data.Sampler):
    """Yields all images in a new order for every epoch, which depends on the seed and the epoch.

    Parameters
    ----------
    length : int
        Number of images.
    seed : int
        From 0 to 2³² − 1.

    Attributes
    ----------
    epoch : int
        The number of the next epoch, counted from 1.
    skip : int
        Number of images to skip at the beginning of the next epoch. A resumed run skips the images
        on which it was already trained in this epoch.
    """

    def __init__(self, length: int, seed: int) -> None:
        self.length, self.seed, self.epoch, self.skip = length, seed, 1, 0

    def __iter__(self) -> Iterator:
        order = np.random.RandomState([self.seed, self.epoch]).permutation(self.length)
        order = order[self.skip :].tolist()
        self.epoch, self.skip = self.epoch + 1, 0
        return iter(order)

    def __len__(self) -> int:
        return self.length

    def in_order(self, length: int) -> Any:
        """Make a sampler of the first images, not shuffled."""
        return gluon.data.SequentialSampler(length)


class ShuffledSamplerWithNumbers(ShuffledSampler):
    """A `ShuffledSampler` that yields pairs of an index and random numbers.

    Each image has `RANDOM_NUMBERS` numbers, from 0 to below 1. They depend only on the seed, the
    epoch and the image.

    Parameters
    ----------
    length, seed
        As for `ShuffledSampler`.
    """

    def __iter__(self) -> Iterator[Key]:
        numbers = self.random_numbers(self.epoch)
        return ((index, numbers[index]) for index in super().__iter__())

    def random_numbers(self, epoch: int) -> np.ndarray:
        """Draw the numbers of an epoch: (length, RANDOM_NUMBERS)."""
        # Another generator than for the order.
        generator = np.random.RandomState([self.seed, epoch, 1])
        return generator.random_sample((self.length, RANDOM_NUMBERS))

    def in_order(self, length: int) -> Any:
        """Make a sampler of the first images, not shuffled, with the numbers of the last epoch."""
        return SequentialSamplerWithNumbers(self, length)


class SequentialSamplerWithNumbers(gluon.data.Sampler):
    """Yields the first images, not shuffled, with the numbers of a sampler's last epoch.

    Parameters
    ----------
    sampler : ShuffledSamplerWithNumbers
    length : int
        Number of images.
    """

    def __init__(self, sampler: ShuffledSamplerWithNumbers, length: int) -> None:
        self.sampler, self.length = sampler, length

    def __iter__(self) -> Iterator[Key]:
        return enumerate(self.sampler.random_numbers(self.sampler.epoch - 1)[: self.length])

    def __len__(self) -> int:
        return self.length


class ShardedSampler(gluon.data.Sampler):
    """Yields the images of one process in a distributed run: an equal part of each batch.

    All parts together are the global batch. It does not depend on the number of processes.

    Parameters
    ----------
    sampler : ShuffledSampler
        The order of all images.
    batch_size : int
        Images in the global batch.
    rank, size : int
        The number of this process, counted from 0, and the number of processes.

    Attributes
    ----------
    epoch, skip : int
        As for `ShuffledSampler`; `skip` counts the images of this process.
    """

    def __init__(self, sampler: ShuffledSampler, batch_size: int, rank: int, size: int) -> None:
        self.sampler, self.batch_size, self.rank, self.size = sampler, batch_size, rank, size
        self.epoch, self.skip = 1, 0

    def __iter__(self) -> Iterator:
        self.sampler.epoch, self.sampler.skip = self.epoch, 0
        order, skip = list(self.sampler), self.skip
        self.epoch, self.skip = self.epoch + 1, 0
        own = []
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            part = len(batch) // self.size
            own += batch[self.rank * part : (self.rank + 1) * part]
        return iter(own[skip:])

    def __len__(self) -> int:
        return len(self.sampler) // self.size

    def in_order(self, length: int) -> Any:
        """Make a sampler of the first images of all processes, not shuffled."""
        return self.sampler.in_order(length)


class DatasetWithNumbers(gluon.data.Dataset):
    """A data set whose keys are pairs of an index and random numbers.

    Its items are ``(image, label), numbers``, the input of `RandomTransform`.

    Parameters
    ----------
    dataset : gluon.data.Dataset
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __getitem__(self, key: Key) -> tuple[Any, np.ndarray]:
        index, numbers = key
        return self.dataset[index], numbers

    def __len__(self) -> int:
        return len(self.dataset)
