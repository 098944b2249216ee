"""Gluon's loader and its workers: how many there are, what they hand over, how they end."""

from __future__ import annotations

import contextlib
import copy
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
from mxnet import gluon
from mxnet.gluon.data import dataloader

from d2l_alexnet import runtime
from d2l_alexnet.runtime import RunError

WORKER_NICENESS = 10  # more than ours: a tenth of its weight, where they compete


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
        with deaf_to_signals():  # the workers stay so: who stops us may still save what it has
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


@contextlib.contextmanager
def deaf_to_signals():
    """Let Ctrl-C and SIGTERM wait; processes that are started in the block never hear them.

    A terminal, `timeout` and a machine that shuts down send them to all processes of a run.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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


def as_nd(array):
    """Give an array as MXNet's; NumPy's memory is shared, not copied."""
    return array if isinstance(array, mx.nd.NDArray) else mx.nd.from_numpy(array)


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
