"""In which order the samples of a data set come, and what is drawn for each."""

from __future__ import annotations

import numpy as np
from mxnet import gluon

from d2l_alexnet.data.augment import RANDOM_NUMBERS


class ShuffledSampler(gluon.data.Sampler):
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
        The number of the next pass, counted from 1.
    skip : int
        Samples to leave out at the beginning of the next pass, as one that is resumed has
        already seen them.
    """

    def __init__(self, length, seed):
        self.length, self.seed, self.epoch, self.skip = length, seed, 1, 0

    def __iter__(self):
        order = np.random.RandomState([self.seed, self.epoch]).permutation(self.length)
        order = order[self.skip :].tolist()
        self.epoch, self.skip = self.epoch + 1, 0
        return iter(order)

    def __len__(self):
        return self.length

    def in_order(self, length):
        """Make a sampler of the first samples, in their own order."""
        return gluon.data.SequentialSampler(length)


class ShuffledSamplerWithNumbers(ShuffledSampler):
    """A `ShuffledSampler` that draws numbers for each sample too: it gives pairs of index and numbers.

    The numbers, `NUMBERS` of them from 0 up to 1, are a function of the seed, the pass
    and the sample.

    Parameters
    ----------
    length, seed
        As for `ShuffledSampler`.
    """

    def __iter__(self):
        numbers = self.numbers(self.epoch)
        return ((index, numbers[index]) for index in super().__iter__())

    def numbers(self, epoch):
        """Draw the numbers of a pass: (length, RANDOM_NUMBERS)."""
        generator = np.random.RandomState([self.seed, epoch, 1])  # another one than the order's
        return generator.random_sample((self.length, RANDOM_NUMBERS))

    def in_order(self, length):
        """Make a sampler of the first samples, in their own order, with the last pass's numbers."""
        return SequentialSamplerWithNumbers(self, length)


class SequentialSamplerWithNumbers(gluon.data.Sampler):
    """The first samples of a `ShuffledSamplerWithNumbers`, in their own order, numbered as in its last pass.

    Parameters
    ----------
    shuffle : ShuffledSamplerWithNumbers
    length : int
        Number of samples.
    """

    def __init__(self, shuffle, length):
        self.shuffle, self.length = shuffle, length

    def __iter__(self):
        return enumerate(self.shuffle.numbers(self.shuffle.epoch - 1)[: self.length])

    def __len__(self):
        return self.length


class ShardedSampler(gluon.data.Sampler):
    """One worker's equal part of each batch of a `ShuffledSampler`; all parts together are the batch.

    What is learnt from in a step is so the same, however many workers there are.

    Parameters
    ----------
    shuffle : ShuffledSampler
    batch_size : int
        Of all workers together.
    rank, size : int
        Which worker, counted from 0, of how many.

    Attributes
    ----------
    epoch, skip : int
        As for `ShuffledSampler`; `skip` counts this worker's samples.
    """

    def __init__(self, shuffle, batch_size, rank, size):
        self.shuffle, self.batch_size, self.rank, self.size = shuffle, batch_size, rank, size
        self.epoch, self.skip = 1, 0

    def __iter__(self):
        self.shuffle.epoch, self.shuffle.skip = self.epoch, 0
        order, skip = list(self.shuffle), self.skip
        self.epoch, self.skip = self.epoch + 1, 0
        mine = []
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            part = len(batch) // self.size
            mine += batch[self.rank * part : (self.rank + 1) * part]
        return iter(mine[skip:])

    def __len__(self):
        return len(self.shuffle) // self.size

    def in_order(self, length):
        """Make a sampler of the first samples of all, in their own order."""
        return self.shuffle.in_order(length)


class DatasetWithNumbers(gluon.data.Dataset):
    """A data set whose samples are asked for with numbers, and come with them.

    Parameters
    ----------
    dataset : gluon.data.Dataset
    """

    def __init__(self, dataset):
        self.dataset = dataset

    def __getitem__(self, key):
        index, numbers = key
        return self.dataset[index], numbers

    def __len__(self):
        return len(self.dataset)
