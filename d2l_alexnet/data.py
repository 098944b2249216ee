"""From the data set's files to the two iterators that the training loop runs over."""

from __future__ import annotations

import functools
import multiprocessing.pool
import shutil
import signal
import sys
import weakref
from pathlib import Path

import mxnet as mx
import numpy as np
from mxnet import gluon
from mxnet.gluon.data import dataloader
from mxnet.gluon.data.vision import transforms

from d2l_alexnet import runtime
from d2l_alexnet.datasets import fashion_mnist
from d2l_alexnet.runtime import RunError


def load_data_fashion_mnist(
    batch_size,
    resize=224,
    train_size=None,
    num_workers=4,
    seed=0,
    data_dir=None,
    test_batch_size=None,
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
    test_batch_size : int, optional
        Images in a batch of the test set; `batch_size` if it is not given.
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
    test_batch_size = test_batch_size or batch_size
    largest = 4 * max(batch_size, test_batch_size) * resize**2  # bytes
    num_workers, prefetch = fit_shared_memory(num_workers, largest)
    settings = dict(
        batchify_fn=functools.partial(transform_batch, resize=resize),
        num_workers=num_workers,
        prefetch=prefetch,
        pin_memory=pin_memory,
    )
    shuffled, in_order = Shuffle(len(train_set), seed), gluon.data.SequentialSampler(len(test_set))
    train_iter = DataLoader(train_set, batch_size, shuffled, **settings)
    test_iter = DataLoader(test_set, test_batch_size, in_order, **settings)
    return train_iter, test_iter


def fit_shared_memory(num_workers, batch_bytes, folder="/dev/shm"):
    """Lower the number of workers to what the machine can bear.

    Parameters
    ----------
    num_workers : int
        As many as are wanted.
    batch_bytes : int
        Size of a batch; workers hand theirs over in shared memory.
    folder : path
        Where shared memory is mounted; in a container it is often small.

    Returns
    -------
    num_workers : int
        At most one a core, and none on Windows.
    prefetch : int
        How many batches to ask for ahead.
    """
    num_workers = 0 if sys.platform == "win32" else min(num_workers, runtime.usable_cores())
    prefetch = 2 * num_workers
    if not num_workers or not Path(folder).exists():
        return num_workers, prefetch
    free = shutil.disk_usage(folder).free
    room = free // batch_bytes - 3  # one more is asked for with each taken, two are in use
    if room >= prefetch:
        return num_workers, prefetch
    fewer = (min(num_workers, room + 1), room) if room >= 1 else (0, 0)
    print(
        f"{folder} has {free / 2**20:.0f} MiB free, a batch takes {batch_bytes / 2**20:.1f} MiB: "
        f"{fewer[0]} workers, {fewer[1]} batches ahead, instead of {num_workers} and {prefetch}"
    )
    return fewer


class DataLoader(gluon.data.DataLoader):
    """Gluon's loader, which notices when a worker dies and ends its workers when it is closed.

    Gluon's own waits two minutes for what a dead worker will never send, and ends the others
    when it is forgotten, while a notebook keeps the traceback of an interrupted cell, and with it
    the loader, alive.

    Parameters
    ----------
    dataset : gluon.data.Dataset
    batch_size : int
    sampler : gluon.data.Sampler
        Gives the order of the samples.
    **settings
        As for Gluon's.
    """

    def __init__(self, dataset, batch_size, sampler, **settings):
        super().__init__(dataset, batch_size, sampler=sampler, **settings)
        self.batch_size, self.sampler, self.images = batch_size, sampler, len(dataset)
        # The pool replaces those that die, so remember the ones it began with.
        self.workers = list(self._worker_pool._pool) if self._worker_pool else []
        self._end_workers = weakref.finalize(self, _end, self._worker_pool)

    def from_batch(self, epoch, batch):
        """Iterate over a pass of a `Shuffle`, counted from 1, without its first batches."""
        self.sampler.epoch, self.sampler.skip = epoch, batch * self.batch_size
        return iter(self)

    def _prefetch_iter(self):
        if not self.workers:
            return super()._prefetch_iter()
        return WatchedIter(
            self._worker_pool,
            self._batchify_fn,
            self._batch_sampler,
            pin_memory=self._pin_memory,
            prefetch=self._prefetch,
            data_loader=self,
        )

    def check_workers(self):
        """Raise `RunError` if a worker has died."""
        for worker in self.workers:
            if worker.exitcode is not None:
                raise RunError(_obituary(worker.exitcode))

    def __del__(self):
        """Leave the workers to `close` and to the finalizer, which also runs at exit."""

    def close(self):
        """End the worker processes; the loader is of no use afterwards."""
        self._end_workers()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _end(pool):
    """End a pool's workers at once; its own `terminate` can wait forever for a lock they hold."""
    if not pool:
        return
    pool._terminate.cancel()
    for thread in (pool._worker_handler, pool._task_handler, pool._result_handler):
        thread._state = multiprocessing.pool.TERMINATE
    for worker in pool._pool:
        worker.kill()
        worker.join()


class WatchedIter(dataloader._MultiWorkerIter):
    """Gluon's iterator, which looks after the workers while it waits for a batch."""

    def __next__(self):
        batch = self._data_buffer.get(self._rcvd_idx)
        self._data_loader.check_workers()
        while batch and not batch.ready():
            batch.wait(1)  # second
            self._data_loader.check_workers()
        return super().__next__()


def _obituary(exitcode):
    """Say how a worker died, of what, most likely, and what helps."""
    if exitcode >= 0:
        return f"a loader's worker ended with status {exitcode}; try --num-workers 0"
    name = signal.Signals(-exitcode).name
    cause = {
        "SIGKILL": "most likely the machine ran out of memory; use a smaller --batch-size or",
        "SIGBUS": "shared memory (/dev/shm) is full; make it larger, or use",
    }.get(name, "try")
    return f"a loader's worker was killed by {name}: {cause} --num-workers 0"


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
