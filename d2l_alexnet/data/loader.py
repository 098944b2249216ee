"""Gluon's data loader, which also checks its worker processes, and ends them when closed."""

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
from typing import Any, Iterable, Iterator

import mxnet as mx
from mxnet import gluon
from mxnet.gluon.data import dataloader

from d2l_alexnet.data.samplers import ShardedSampler
from d2l_alexnet.data.transforms import Transform, as_nd
from d2l_alexnet.errors import InputError, RunError
from d2l_alexnet.runtime.cores import usable_cores
from d2l_alexnet.runtime.process import children_end_with_this_process
from d2l_alexnet.runtime.signals import blocked_signals

# Added to the niceness of this process, so that loader workers have a lower priority. If a worker
# shares a core with this process, the worker gets about a tenth of the time.
WORKER_NICENESS = 10


@contextlib.contextmanager
def closing(loaders: Iterable[DataLoader]) -> Iterator[None]:
    """End the workers of all loaders when the block ends."""
    try:
        yield
    finally:
        for loader in loaders:
            loader.close()


def fit_cores(num_workers: int) -> int:
    """Limit the number of loader workers to one per core, and to none on Windows."""
    return 0 if sys.platform == "win32" else min(num_workers, usable_cores())


def fit_shared_memory(
    num_workers: int, batch_bytes: int, folder: str | Path = "/dev/shm"
) -> dict[str, int]:
    """Limit the numbers of loader workers and of prepared batches to the free shared memory.

    Parameters
    ----------
    num_workers : int
        The number of workers to start if there is enough shared memory.
    batch_bytes : int
        Size of a batch.
    folder : path
        Where shared memory is mounted. In a container it is often small.

    Returns
    -------
    dict of str to int
        The loader's `num_workers`, and `prefetch`: how many batches are prepared in advance.
    """
    prefetch = 2 * num_workers
    if not num_workers or not Path(folder).exists():
        return dict(num_workers=num_workers, prefetch=prefetch)
    free = shutil.disk_usage(folder).free
    room = free // batch_bytes - 3  # one more batch is being prepared, and two are in use
    if room >= prefetch:
        return dict(num_workers=num_workers, prefetch=prefetch)
    fewer, ahead = (min(num_workers, room + 1), room) if room >= 1 else (0, 0)
    print(
        f"Too little shared memory in {folder} ({free / 2**20:.0f} MiB free, "
        f"{batch_bytes / 2**20:.1f} MiB per batch): {fewer} worker{'s' * (fewer != 1)} and "
        f"{ahead} batch{'es' * (ahead != 1)} ahead instead of {num_workers} and {prefetch}"
    )
    return dict(num_workers=fewer, prefetch=ahead)


class DataLoader(gluon.data.DataLoader):
    """Gluon's data loader, which also notices a dead worker, and ends its workers when closed.

    Gluon's own loader waits two minutes for the batch of a dead worker. It ends its workers when it
    is garbage-collected. In a notebook, the traceback of an interrupted cell prevents that.

    Parameters
    ----------
    dataset : gluon.data.Dataset
    batch_size : int
    sampler : gluon.data.Sampler
        The order of the images.
    transform : Transform
        Its `batchify` runs in a worker. The result is sent through a pipe if it is a NumPy array,
        and in shared memory if it is an MXNet array.
    ctx : mxnet.Context
        The device that batches are copied to. A GPU computes while a batch is copied to it from
        page-locked memory.
    last_batch, **settings
        As for Gluon's loader.

    Attributes
    ----------
    images : int
        Images in an epoch.
    workers : list of multiprocessing.Process
        The worker processes. Loaders made by `first` and `shard` use the same workers.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        sampler: Any,
        transform: Transform,
        ctx: Any,
        last_batch: str = "keep",
        **settings: Any,
    ) -> None:
        settings.update(last_batch=last_batch, batchify_fn=transform.batchify)
        # The workers are forked, also if this is not Python's default: see `runtime.old_modules`.
        # They inherit the blocked signals, so they work until the run is saved.
        with blocked_signals(), children_end_with_this_process():
            super().__init__(dataset, batch_size, sampler=sampler, **settings)
        self.dataset, self.images = dataset, len(dataset)
        if last_batch == "discard":
            self.images = len(self) * batch_size
        self.batch_size, self.sampler, self.last_batch = batch_size, sampler, last_batch
        self.transform, self._ctx = transform, ctx
        self.workers: list[Any] = _take_workers(self._worker_pool) if self._worker_pool else []
        niceness = min(19, os.getpriority(os.PRIO_PROCESS, 0) + WORKER_NICENESS)
        for worker in self.workers:  # the threads of the net have priority
            os.setpriority(os.PRIO_PROCESS, worker.pid, niceness)
        self._end_workers = weakref.finalize(self, _end, self._worker_pool, self.workers)

    def from_batch(self, epoch: int, batch: int) -> Iterator:
        """Iterate over epoch number `epoch`, counted from 1, without its first `batch` batches."""
        self.sampler.epoch, self.sampler.skip = epoch, batch * self.batch_size
        return iter(self)

    def __iter__(self) -> Iterator:
        for X, y in super().__iter__():  # (N, H, W, C), (N,)
            X = self._deliver(self.transform.resize_and_crop(as_nd(X)))
            # Convert to float32 last, because float32 takes four times as many bytes.
            yield self.transform.to_tensor(X), self._deliver(as_nd(y))

    def _deliver(self, array: Any) -> Any:
        if self._ctx.device_type == "gpu":
            array = array.as_in_context(mx.cpu_pinned())
        return array.as_in_context(self._ctx)

    def _prefetch_iter(self) -> Any:
        if not self.workers:
            return super()._prefetch_iter()
        return WatchedIter(
            self._worker_pool,
            self._batchify_fn,
            self._batch_sampler,
            prefetch=self._prefetch,
            data_loader=self,
        )

    def first(self, images: int, batch_size: int) -> DataLoader:
        """Make a loader of the first images, not shuffled, with the same workers.

        If this loader augments images, they are augmented as in its last epoch.
        """
        images = min(images, len(self.dataset))
        return self._with_sampler(self.sampler.in_order(images), batch_size, images)

    def shard(self, rank: int, size: int) -> DataLoader:
        """Make the loader of one process in a distributed run, with the same workers.

        Parameters
        ----------
        rank, size : int
            The number of the process, counted from 0, and the number of processes.

        Returns
        -------
        DataLoader
            It yields an equal part of each batch. Its `images` still counts all processes' images.

        Raises
        ------
        InputError
            If a batch cannot be split into equal parts.
        """
        if size == 1:
            return self
        for images in (self.batch_size, self.images % self.batch_size):
            if images % size:
                raise InputError(
                    f"--batch-size {self.batch_size}: a batch of {images} images cannot be split "
                    f"equally among {size} workers; choose another"
                )
        sampler = ShardedSampler(self.sampler, self.batch_size, rank, size)
        return self._with_sampler(sampler, self.batch_size // size, self.images)

    def _with_sampler(self, sampler: Any, batch_size: int, images: int) -> DataLoader:
        """Make a loader with another sampler, and with the same workers."""
        loader = copy.copy(self)
        loader._source = self  # keep `self` alive: its finalizer ends the workers
        loader.sampler, loader.batch_size, loader.images = sampler, batch_size, images
        last_batch = self.last_batch if isinstance(sampler, ShardedSampler) else "keep"
        loader._batch_sampler = gluon.data.BatchSampler(sampler, batch_size, last_batch)
        return loader

    def check_workers(self, patience: float = 0) -> None:
        """Raise `RunError` if a loader worker has died, or dies within `patience` seconds."""
        for worker in self.workers:
            worker.join(patience)
            if worker.exitcode is not None:
                raise RunError(_cause_of_death(worker.exitcode))

    def __del__(self) -> None:
        """Do nothing. `close` ends the workers, or else the finalizer, which also runs at exit."""

    def close(self) -> None:
        """End the worker processes. The loader cannot be used afterwards."""
        self._end_workers()

    def __enter__(self) -> DataLoader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _take_workers(pool: Any) -> list[Any]:
    """Take the workers out of a pool, so that the pool does not replace a dead worker.

    The pool would fork a new worker in a thread, at any time. MXNet stops its engine before a fork.
    A thread that is waiting for the engine would then wait forever.
    """
    workers = list(pool._pool)
    pool._pool[:] = [types.SimpleNamespace(exitcode=None) for _ in workers]  # always alive
    return workers


def _end(pool: Any, workers: Iterable[Any]) -> None:
    """End a pool's workers at once. Its `terminate` can wait forever for a lock of a worker."""
    if not pool:
        return
    pool._terminate.cancel()
    for part in (pool, pool._worker_handler, pool._task_handler, pool._result_handler):
        part._state = multiprocessing.pool.TERMINATE
    for worker in workers:
        worker.kill()
        worker.join()


class WatchedIter(dataloader._MultiWorkerIter):
    """Gluon's iterator, which checks the workers while it waits for a batch."""

    def __next__(self) -> tuple[Any, Any]:
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
        except (EOFError, OSError):  # the shared memory of a dead worker is gone
            self._data_loader.check_workers(patience=1)
            raise


def _cause_of_death(exitcode: int) -> str:
    """Describe how a worker died, the most likely cause, and what to do."""
    if exitcode >= 0:
        return f"a loader worker ended with exit status {exitcode}; try --num-workers 0"
    name = signal.Signals(-exitcode).name
    cause = {
        "SIGKILL": "most likely the machine ran out of memory; use a smaller --batch-size or",
        "SIGBUS": "shared memory (/dev/shm) is full; make it larger, or use",
    }.get(name, "try")
    return f"a loader worker was killed by {name}: {cause} --num-workers 0"
