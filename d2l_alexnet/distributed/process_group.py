"""The group of processes that train one net together.

The training loop is the same for one process and for many. It asks a `SingleProcess` or a
`ProcessGroup` for its rank and for sums over all processes. Start several processes with
``python -m d2l_alexnet.distributed.launch``.

Every worker computes the gradients of its part of each batch. The server sums them. Every worker
takes the same step with the sum. The first worker writes the run folder and evaluates the net.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping

import mxnet as mx
import numpy as np

import d2l_alexnet
from d2l_alexnet import cli
from d2l_alexnet.distributed import rendezvous
from d2l_alexnet.distributed.watchdog import Watchdog
from d2l_alexnet.errors import InputError
from d2l_alexnet.options import DistributedOptions
from d2l_alexnet.runtime import cpu

FIRST_KEY = 1_000_000  # in the parameter server; the trainer's own keys start at 0
CHUNK = 2**16  # values sent at once
STEP = "the other workers did not finish this step"
SECONDS_TO_START = 60  # minimum patience at the start, when every process loads MXNet


class SingleProcess:
    """A group of one process. It has the interface of `ProcessGroup`, and sends nothing.

    Attributes
    ----------
    rank : int
        Number of this process, counted from 0.
    size : int
        Number of processes.
    kvstore : str or mxnet.kv.KVStore
        For the trainer.
    """

    rank, size = 0, 1
    kvstore: Any = "device"

    @property
    def is_main(self) -> bool:
        """Whether this process writes the run folder: the first one does."""
        return self.rank == 0

    def all_reduce(self, array: Any) -> Any:
        """Sum an array over all processes."""
        return array

    def broadcast(self, array: Any) -> None:
        """Overwrite an array with the array of the first process."""

    def broadcast_object(self, make: Callable[[], Any], reason: str | None = None) -> Any:
        """Call `make` in the first process, and return its result in all processes."""
        return make()

    def check_same(self, facts: Mapping[str, Any]) -> None:
        """Raise `InputError` if a fact differs from the same fact in the first process."""

    def broadcast_weights(self, trainer: Any) -> None:
        """Copy the weights of the first device of the first process to all devices, now.

        By default the trainer does this in its first step. The first forward pass has then changed
        the running averages of batch normalization, on each device in another way.
        """
        trainer._init_kvstore()
        trainer._init_params()


SINGLE_PROCESS = SingleProcess()


@contextlib.contextmanager
def join(options: DistributedOptions) -> Iterator[SingleProcess]:
    """Join the group of processes that train together, or make a group of one process.

    Parameters
    ----------
    options : DistributedOptions

    Yields
    ------
    SingleProcess or ProcessGroup

    Raises
    ------
    InputError
        When the environment does not say where the other processes are, or is wrong.
    """
    if options.kvstore == "device":
        yield SINGLE_PROCESS
        return
    if rendezvous.ROLE not in os.environ:
        raise InputError(
            f"--kvstore {options.kvstore}: {rendezvous.ROLE} is not set; "
            "python -m d2l_alexnet.distributed.launch starts all processes of a run"
        )
    rendezvous.prepare("worker")
    try:
        group = ProcessGroup(options)
        with contextlib.ExitStack() as stack:
            if not group.is_main:  # all processes print the same
                silence = stack.enter_context(Path(os.devnull).open("w"))
                stack.enter_context(contextlib.redirect_stdout(silence))
            yield group
        group.watchdog.stop()
    except BaseException as error:
        # MXNet would wait at exit for the other workers, which wait for this one.
        atexit.register(os._exit, cli.status_of(error))
        raise


class ProcessGroup(SingleProcess):
    """The workers of a distributed run.

    Parameters
    ----------
    options : DistributedOptions
    """

    def __init__(self, options: DistributedOptions) -> None:
        self.watchdog = Watchdog(max(options.patience, SECONDS_TO_START))
        scheduler = os.environ[rendezvous.HOST], os.environ[rendezvous.PORT]
        self.watchdog.reset("some processes did not connect to {}:{}".format(*scheduler))
        self.watchdog.start()
        self.kvstore = mx.kv.create(options.kvstore)
        self._buffers: dict[tuple, tuple] = {}
        self.watchdog.watch_scheduler(self.kvstore, options.patience)
        self.size = self.kvstore.num_workers
        self.rank = int(os.environ.get(rendezvous.RANK, self.kvstore.rank))
        self._check_ranks()
        self._check_hosts()

    def _check_ranks(self) -> None:
        present = self.all_reduce(mx.nd.one_hot(mx.nd.array([self.rank]), self.size)).asnumpy()
        if (present != 1).any():
            raise InputError(
                f"{rendezvous.RANK}: set a different one for every worker, or none at all"
            )

    def _check_hosts(self) -> None:
        """Compare the versions on all hosts, and print which CPUs differ."""
        self.check_same({"d2l_alexnet": d2l_alexnet.__version__, "mxnet": mx.__version__})
        mine = cpu.instruction_sets()
        first = self.broadcast_object(lambda: [platform.node(), mine], STEP)
        different = sorted(set(mine).symmetric_difference(first[1]))
        if different:
            print(
                f"d2l_alexnet: the CPUs of {platform.node()} (worker {self.rank}) and {first[0]} "
                f"(worker 0) differ in {', '.join(different)}, so their results may be "
                "rounded differently; the run repeats bit for bit only with the same CPUs in the "
                "same order",
                file=sys.stderr,
                flush=True,
            )

    def check_same(self, facts: Mapping[str, Any]) -> None:
        """Wait for all workers, and check that they have the same settings.

        Parameters
        ----------
        facts : mapping of str to object
            By name; objects that JSON can store.

        Raises
        ------
        InputError
            In a worker with a fact that differs from the first worker's. It names both hosts.
        """
        here = json.loads(json.dumps(dict(facts)))
        host, first = self.broadcast_object(lambda: [platform.node(), here], STEP)
        for name, value in here.items():
            if value != first.get(name):
                raise InputError(
                    f"{name} is {value!r} on {platform.node()} (worker {self.rank}), but "
                    f"{first.get(name)!r} on {host} (worker 0); all workers need the same"
                )
        self.all_reduce(mx.nd.ones(1)).wait_to_read()  # none writes a file before all agree
        self.watchdog.reset(None)

    def all_reduce(self, array: Any) -> Any:
        """Sum an array of the same shape over all workers.

        Parameters
        ----------
        array : mxnet.nd.NDArray
            float32 or float64.

        Returns
        -------
        mxnet.nd.NDArray
            The sum, on the same device. It may not be computed yet.
        """
        self.watchdog.reset(STEP)
        return self._sum(array)

    def _sum(self, array: Any) -> Any:
        kind = array.shape, array.dtype
        if kind not in self._buffers:
            self._buffers[kind] = FIRST_KEY + len(self._buffers), mx.nd.zeros_like(array)
            self.kvstore.init(*self._buffers[kind])
        # One buffer per key: the engine keeps the order of pushes only if they share a buffer.
        key, buffer = self._buffers[kind]
        buffer[:] = array
        self.kvstore.pushpull(key, buffer, out=buffer)
        return buffer.copy()

    def broadcast(self, array: Any) -> None:
        """Overwrite an array, float32 or float64, with the array of the first worker."""
        array[:] = self.all_reduce(array if self.is_main else mx.nd.zeros_like(array))

    def broadcast_object(self, make: Callable[[], Any], reason: str | None = None) -> Any:
        """Call `make` in the first worker, and return its result in all workers.

        Parameters
        ----------
        make : callable
            Returns an object that JSON can store. Floats are not rounded.
        reason : str, optional
            What to report if the first worker takes too long. If it is not given, the others wait
            for `make` without a time limit, as long as the scheduler sends heartbeats.
        """
        self.watchdog.reset(reason)
        data = b""
        if self.is_main:
            data = json.dumps(make()).encode()
            self.watchdog.reset(STEP)  # the others only have to receive it
        (length,) = self._broadcast_bytes(np.array([len(data)]), 1)
        numbers = self._broadcast_bytes(np.frombuffer(data, np.uint8), length)
        self.watchdog.reset(None)
        return json.loads(numbers.astype(np.uint8).tobytes())

    def _broadcast_bytes(self, numbers: np.ndarray, length: int) -> np.ndarray:
        """Send whole numbers in pieces, as floats: the server sums only floats."""
        received = []
        for start in range(0, length, CHUNK):
            piece = np.zeros(CHUNK, np.float64)
            if self.is_main:
                sent = numbers[start : start + CHUNK]
                piece[: len(sent)] = sent
            received.append(self._sum(mx.nd.array(piece, dtype=np.float64)).asnumpy())
        return np.concatenate(received)[:length].astype(int)

    def broadcast_weights(self, trainer: Any) -> None:
        """Copy the weights of the first worker to all workers, and wait until they have them.

        By default the trainer broadcasts the weights lazily and asynchronously, in its first step.
        Then a worker could receive gradients from the server instead of weights.
        """
        self.watchdog.reset(STEP)
        super().broadcast_weights(trainer)
        mx.nd.waitall()
