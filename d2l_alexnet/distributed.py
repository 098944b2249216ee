"""What a run knows of the other processes that take part in it, over MXNet's parameter server.

The training loop is the same for one process and for many: it asks one of two objects, `ALONE` or
a `Workers`, what to add up and who it is. Start many with ``python -m d2l_alexnet.launch``.

Every worker takes its part of each batch, the server adds up the gradients, and every worker makes
the same step with the sum. The first worker keeps the run: its folder, its checkpoints, its tests.
"""

from __future__ import annotations

import atexit
import contextlib
import copy
import ctypes
import json
import multiprocessing
import os
import sys
import threading
import time
from pathlib import Path

import mxnet as mx
import numpy as np
from mxnet import gluon
from mxnet.base import _LIB, check_call

from d2l_alexnet import checkpoint, cli, rendezvous
from d2l_alexnet.checkpoint import State
from d2l_alexnet.runtime import InputError
from d2l_alexnet.samplers import Share

KVSTORES = ("device", "dist_sync")
FIRST_KEY = 1_000_000  # of ours in the parameter server; the trainer numbers its own from 0
CHUNK = 2**16  # values sent at once
STEP = "the other workers have not made this step"
SCHEDULER = 1  # ps-lite's number for it
SECONDS_TO_START = 60  # that others may take at the least: each has to load MXNet first
SECONDS_OF_SILENCE = 10  # between heartbeats, at the least


class Alone:
    """A run of one process: what `Workers` is with others, without them."""

    rank, size, first, kvstore = 0, 1, True, "device"

    def share(self, train_iter):
        """Give all of a training set's loader."""
        return train_iter

    def even_out(self, trainer):
        """Leave the weights of the only process as they are."""

    def add_up(self, figures):
        """Give the figures of the only process."""
        return figures

    def from_first(self, make):
        """Give what `make` gives."""
        return make()

    def load(self, folder, net, trainer):
        """Load the newest checkpoint, as `d2l_alexnet.checkpoint.load`."""
        return checkpoint.load(folder, net, trainer)


ALONE = Alone()


@contextlib.contextmanager
def join(kvstore="device", patience=300):
    """Take part in a run, whose other processes are started too if it has any.

    Parameters
    ----------
    kvstore : str
        ``device`` for a run of one process, ``dist_sync`` for one of many.
    patience : float
        Seconds to wait for the others in a step before giving up; at the start it is a minute at
        the least.

    Yields
    ------
    Alone or Workers

    Raises
    ------
    InputError
        When the environment does not say who the others are.
    """
    if kvstore == "device":
        yield ALONE
        return
    if rendezvous.ROLE not in os.environ:
        raise InputError(
            f"--kvstore {kvstore}: {rendezvous.ROLE} is not set; "
            "python -m d2l_alexnet.launch starts all processes of a run"
        )
    try:
        workers = Workers(kvstore, patience)
        with contextlib.ExitStack() as stack:
            if not workers.first:  # all would say the same
                silence = stack.enter_context(Path(os.devnull).open("w"))
                stack.enter_context(contextlib.redirect_stdout(silence))
            yield workers
        workers.watchdog.stop()
    except BaseException as error:
        # MXNet would wait at exit for the other workers, who wait for this one.
        atexit.register(os._exit, cli.status_of(error))
        raise


class Workers:
    """The workers of a distributed run, as one of them sees them.

    Parameters
    ----------
    kvstore : str
        The name of one of MXNet's.
    patience : float
        Seconds to wait for the others before giving up.

    Attributes
    ----------
    rank, size : int
        Which worker this is, counted from 0, of how many.
    first : bool
        Whether it is the one that keeps the run.
    kvstore : mxnet.kv.KVStore
        For the trainer.
    """

    def __init__(self, kvstore, patience):
        self.watchdog = Watchdog(max(patience, SECONDS_TO_START))
        where = os.environ[rendezvous.HOST], os.environ[rendezvous.PORT]
        self.watchdog.expect("not all of the other processes have come to {}:{}".format(*where))
        self.watchdog.start()
        self.kvstore, self._buffers = mx.kv.create(kvstore), {}
        self.watchdog.listen(self.kvstore, patience)
        self.size = self.kvstore.num_workers
        self.rank = int(os.environ.get(rendezvous.RANK, self.kvstore.rank))
        self.first = self.rank == 0
        self._check_ranks()

    def _check_ranks(self):
        present = self.add_up(mx.nd.one_hot(mx.nd.array([self.rank]), self.size)).asnumpy()
        if (present != 1).any():
            raise InputError(f"{rendezvous.RANK}: each worker needs one of its own, or none any")

    def share(self, train_iter):
        """Make a loader of this worker's part of each batch.

        Parameters
        ----------
        train_iter : DataLoader
            Of whole batches, shuffled.

        Returns
        -------
        DataLoader
            With the same worker processes. Its `images` are still those of all.

        Raises
        ------
        InputError
            When a batch, or what is left for the last one, has not as many images for each.
        """
        whole = train_iter.batch_size
        for images in (whole, train_iter.images % whole):
            if images % self.size:
                raise InputError(
                    f"--batch-size {whole}: a batch of {images} images cannot be shared equally "
                    f"by {self.size} workers; choose another"
                )
        loader = copy.copy(train_iter)
        loader.batch_size = whole // self.size
        loader.sampler = Share(train_iter.sampler, whole, self.rank, self.size)
        last_batch = train_iter._batch_sampler._last_batch
        loader._batch_sampler = gluon.data.BatchSampler(
            loader.sampler, loader.batch_size, last_batch
        )
        return loader

    def even_out(self, trainer):
        """Have a trainer give all workers the same weights, and wait until they have them.

        By itself it does so in its first step and does not wait: the server may then answer with
        the first gradients instead.
        """
        self.watchdog.expect(STEP)
        trainer._init_kvstore()
        trainer._init_params()
        mx.nd.waitall()

    def add_up(self, figures):
        """Add up what each worker gives, an array of the same shape.

        Parameters
        ----------
        figures : mxnet.nd.NDArray
            float32 or float64.

        Returns
        -------
        mxnet.nd.NDArray
            The sum, on the same device and not waited for.
        """
        self.watchdog.expect(STEP)
        return self._add_up(figures)

    def _add_up(self, figures):
        kind = figures.shape, figures.dtype
        if kind not in self._buffers:
            self._buffers[kind] = FIRST_KEY + len(self._buffers), mx.nd.zeros_like(figures)
            self.kvstore.init(*self._buffers[kind])
        # One array a key: it alone makes the engine send what belongs together in the same order.
        key, buffer = self._buffers[kind]
        buffer[:] = figures
        self.kvstore.pushpull(key, buffer, out=buffer)
        return buffer.copy()

    def copy_from_first(self, array):
        """Overwrite an array, float32 or float64, with the first worker's."""
        array[:] = self.add_up(array if self.first else mx.nd.zeros_like(array))

    def from_first(self, make):
        """Have the first worker make a value, and give it to all.

        Parameters
        ----------
        make : callable
            Gives what JSON can hold; floats arrive as they are, to the last bit. The others wait
            for it as long as it takes, while the scheduler can be heard.
        """
        self.watchdog.expect(None)
        data = b""
        if self.first:
            data = json.dumps(make()).encode()
            self.watchdog.expect(STEP)  # the others only have to take it
        (length,) = self._bytes_from_first(np.array([len(data)]), 1)
        numbers = self._bytes_from_first(np.frombuffer(data, np.uint8), length)
        self.watchdog.expect(None)
        return json.loads(numbers.astype(np.uint8).tobytes())

    def _bytes_from_first(self, numbers, length):
        """Send whole numbers in pieces, as floats: the server adds up nothing else."""
        received = []
        for start in range(0, length, CHUNK):
            piece = np.zeros(CHUNK, np.float64)
            if self.first:
                sent = numbers[start : start + CHUNK]
                piece[: len(sent)] = sent
            received.append(self._add_up(mx.nd.array(piece, dtype=np.float64)).asnumpy())
        return np.concatenate(received)[:length].astype(int)

    def load(self, folder, net, trainer):
        """Have the first worker load the newest checkpoint, and bring all to where it stands.

        Parameters and what is given back are those of `d2l_alexnet.checkpoint.load`.
        """
        state, damaged = State(), []
        if self.first:
            state, damaged = checkpoint.load(folder, net, trainer)
        return checkpoint.spread(net, trainer, state, self), damaged


class Watchdog(threading.Thread):
    """End this process, in one line, when it has waited too long for the others.

    ps-lite itself waits for ever for a process that has died or cannot be reached.

    Parameters
    ----------
    patience : float
        Seconds.
    """

    def __init__(self, patience):
        super().__init__(daemon=True)
        self.patience, self._kvstore = patience, None
        self._expected, self._since = None, time.monotonic()
        self._stopped = threading.Event()

    def expect(self, trouble):
        """Note a sign of life, and what it means if there is not another one in time.

        None is for what may take as long as it likes.
        """
        self._expected, self._since = trouble, time.monotonic()

    def listen(self, kvstore, patience):
        """From now on have another patience, and listen for the scheduler's heartbeat too."""
        self.patience, self._kvstore = patience, kvstore

    def stop(self):
        """Stop watching."""
        self._stopped.set()
        self.join()

    def run(self):
        """Watch."""
        while not self._stopped.wait(1):
            trouble = self._trouble()
            if trouble:
                self._give_up(trouble)

    def _trouble(self):
        expected, waited = self._expected, time.monotonic() - self._since
        if expected and waited > self.patience:
            return expected
        if self._kvstore and self._scheduler_is_silent():
            return "the scheduler cannot be heard"
        return ""

    def _scheduler_is_silent(self):
        dead = ctypes.c_int()
        patience = ctypes.c_int(int(max(self.patience, SECONDS_OF_SILENCE)))
        check_call(
            _LIB.MXKVStoreGetNumDeadNode(
                self._kvstore.handle, ctypes.c_int(SCHEDULER), ctypes.byref(dead), patience
            )
        )
        return dead.value > 0

    def _give_up(self, trouble):
        message = (
            f"gave up: {trouble} for {self.patience:g} s (--patience); is a host or link down?"
        )
        print(f"d2l_alexnet: {message}", file=sys.stderr, flush=True)
        for child in multiprocessing.active_children():
            child.kill()
        os._exit(1)
