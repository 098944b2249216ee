"""From the data set's files to the two iterators that the training loop runs over."""

from __future__ import annotations

import contextlib
import copy
import functools
import multiprocessing.pool
import os
import pickle
import shutil
import signal
import sys
import types
import weakref
from pathlib import Path

import mxnet as mx
import numpy as np
from mxnet import gluon
from mxnet.gluon.data import dataloader
from mxnet.gluon.data.vision import transforms

from d2l_alexnet import augment, runtime
from d2l_alexnet.cifar10 import cifar10
from d2l_alexnet.datasets import fashion_mnist
from d2l_alexnet.runtime import InputError, RunError
from d2l_alexnet.samplers import Numbered, NumberedShuffle, Shuffle

WORKER_NICENESS = 10  # more than ours: a tenth of its weight, where they compete


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


@contextlib.contextmanager
def closing(loaders):
    """End the workers of all loaders when the block ends."""
    try:
        yield
    finally:
        for loader in loaders:
            loader.close()


def fit_cores(num_workers):
    """Lower a number of workers to one a core at the most, and none on Windows."""
    return 0 if sys.platform == "win32" else min(num_workers, runtime.usable_cores())


def fit_shared_memory(num_workers, batch_bytes, folder="/dev/shm"):
    """Lower the number of workers that hand over batches in shared memory to what it has room for.

    Parameters
    ----------
    num_workers : int
        As many as are wanted.
    batch_bytes : int
        Size of a batch.
    folder : path
        Where shared memory is mounted; in a container it is often small.

    Returns
    -------
    num_workers : int
    prefetch : int
        How many batches to ask for ahead.
    """
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
    batchify_fn : callable
        Makes a batch of samples, in the workers: images uint8 (N, H, W, C), and labels (N,). What
        is a NumPy array comes from there through a pipe, what is MXNet's in shared memory.
    to_tensor : callable
        Turns a batch of images, uint8 (N, H, W, C), into the net's input, where the net computes.
    ctx : mxnet.Context
        Where batches are delivered. To a GPU they travel from page-locked memory, while it
        computes.
    enlarge : callable, optional
        What to do with a batch's images before that, in this process.
    last_batch, **settings
        As for Gluon's.
    """

    def __init__(
        self,
        dataset,
        batch_size,
        sampler,
        batchify_fn,
        to_tensor,
        ctx,
        enlarge=lambda X: X,
        last_batch="keep",
        **settings,
    ):
        settings.update(last_batch=last_batch, batchify_fn=batchify_fn)
        super().__init__(dataset, batch_size, sampler=sampler, **settings)
        self.dataset, self.images = dataset, len(dataset)
        if last_batch == "discard":
            self.images = len(self) * batch_size
        self.batch_size, self.sampler = batch_size, sampler
        self._enlarge, self._to_tensor, self._ctx = enlarge, to_tensor, ctx
        self.workers = _take_workers(self._worker_pool) if self._worker_pool else []
        niceness = min(19, os.getpriority(os.PRIO_PROCESS, 0) + WORKER_NICENESS)
        for worker in self.workers:  # computing comes first: a batch may take them a whole step
            os.setpriority(os.PRIO_PROCESS, worker.pid, niceness)
        self._end_workers = weakref.finalize(self, _end, self._worker_pool, self.workers)

    def from_batch(self, epoch, batch):
        """Iterate over a pass of a `Shuffle`, counted from 1, without its first batches."""
        self.sampler.epoch, self.sampler.skip = epoch, batch * self.batch_size
        return iter(self)

    def __iter__(self):
        for X, y in super().__iter__():  # (N, H, W, C), (N,)
            # ToTensor makes four bytes of one, so it comes last.
            yield self._to_tensor(self._deliver(self._enlarge(as_nd(X)))), self._deliver(as_nd(y))

    def _deliver(self, array):
        if self._ctx.device_type == "gpu":
            array = array.as_in_context(mx.cpu_pinned())
        return array.as_in_context(self._ctx)

    def _prefetch_iter(self):
        if not self.workers:
            return super()._prefetch_iter()
        return WatchedIter(
            self._worker_pool,
            self._batchify_fn,
            self._batch_sampler,
            prefetch=self._prefetch,
            data_loader=self,
        )

    def first(self, images, batch_size):
        """Make a loader of the first images, in their own order, by the same workers.

        Images that are changed at random are changed as in the last pass of this loader.
        """
        loader = copy.copy(self)
        loader.images, loader.batch_size = min(images, len(self.dataset)), batch_size
        loader.sampler = self.sampler.in_order(loader.images)
        loader._batch_sampler = gluon.data.BatchSampler(loader.sampler, batch_size)
        return loader

    def check_workers(self, patience=0):
        """Raise `RunError` if a worker has died, or dies within some seconds."""
        for worker in self.workers:
            worker.join(patience)
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


def _take_workers(pool):
    """Take the workers out of a pool's own care, in which it would replace those that die.

    Its thread forks for that at any moment, MXNet stops its engine before a fork, and whoever is
    waiting for the engine then waits forever.
    """
    workers = list(pool._pool)
    pool._pool[:] = [types.SimpleNamespace(exitcode=None) for _ in workers]  # look alive
    return workers


def _end(pool, workers):
    """End a pool's workers at once; its own `terminate` can wait forever for a lock they hold."""
    if not pool:
        return
    pool._terminate.cancel()
    for part in (pool, pool._worker_handler, pool._task_handler, pool._result_handler):
        part._state = multiprocessing.pool.TERMINATE
    for worker in workers:
        worker.kill()
        worker.join()


class WatchedIter(dataloader._MultiWorkerIter):
    """Gluon's iterator, which looks after the workers while it waits for a batch."""

    def __next__(self):
        self._push_next()
        if not self._data_buffer:
            raise StopIteration
        answer = self._data_buffer.pop(self._rcvd_idx)
        self._rcvd_idx += 1
        self._data_loader.check_workers()
        while not answer.ready():
            answer.wait(1)  # second
            self._data_loader.check_workers()
        try:
            return pickle.loads(answer.get())
        except (EOFError, OSError):  # shared memory is asked for from the worker that filled it
            self._data_loader.check_workers(patience=1)
            raise


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


def as_nd(array):
    """Give an array as MXNet's; NumPy's memory is shared, not copied."""
    return array if isinstance(array, mx.nd.NDArray) else mx.nd.from_numpy(array)


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
