"""Save where a run stands, so that it can be killed at any moment and go on as if it had not been.

A checkpoint is one .npz file: NumPy's format, which holds arrays and a checksum (CRC-32) of each,
and no code. It is written to one side, read back to compare the checksums, synced, and then
renamed, so a file of this name is always a whole one. The two newest are kept.
"""

from __future__ import annotations

import json
import time
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import mxnet as mx
import numpy as np

from d2l_alexnet import runs
from d2l_alexnet.params import check_weights
from d2l_alexnet.runs import writing
from d2l_alexnet.runtime import InputError

KEPT = 2
STATE = "state"


@dataclass
class State:
    """Where a run stands, between two batches.

    Parameters
    ----------
    steps : int
        Steps taken since the beginning.
    epoch : int
        The epoch under way, counted from 1.
    batches, images : int
        Of it, done.
    sums : float or list of float
        Of what is measured of those images; 0 at the beginning.
    seconds, seconds_waiting : float
        Spent on the epoch so far, and of these, waiting for the loader.
    history : list of dict
        Rows of the epochs that are over.
    losses : list of float
        The mean loss of each batch since the beginning.
    """

    steps: int = 0
    epoch: int = 1
    batches: int = 0
    images: int = 0
    sums: float | list = 0.0
    seconds: float = 0.0
    seconds_waiting: float = 0.0
    history: list = field(default_factory=list)
    losses: list = field(default_factory=list)


def save(folder, net, trainer, state):
    """Write a checkpoint into a run folder.

    Parameters
    ----------
    folder : path
    net : mxnet.gluon.Block
    trainer : mxnet.gluon.Trainer
    state : State

    Raises
    ------
    RunError
        When it cannot be written, or a weight is not finite; the earlier ones are still there.
    """
    arrays = {name: place.asnumpy() for name, place in _places(net, trainer, 0).items()}
    check_weights(arrays, f"step {state.steps}")
    record = json.dumps(dict(state=asdict(state), arrays=sorted(arrays)))
    arrays[STATE] = np.frombuffer(record.encode(), np.uint8)
    with writing(Path(folder, f"checkpoint-{state.steps:09d}.npz")) as partial:
        with zipfile.ZipFile(partial, "w") as file:  # np.savez complains twice of a full disk
            for name, array in arrays.items():
                with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        with zipfile.ZipFile(partial) as file:
            if file.testzip():
                raise OSError("it reads back differently")
    for old in find(folder)[KEPT:]:
        old.unlink()


def find(folder):
    """List the checkpoints of a run folder, the newest first."""
    return sorted(Path(folder).glob("checkpoint-*.npz"), reverse=True)


def load(folder, net, trainer):
    """Bring a net and its trainer to where the newest sound checkpoint of a run folder stands.

    Parameters
    ----------
    folder : path
    net : mxnet.gluon.Block
        Its parameters have their shapes.
    trainer : mxnet.gluon.Trainer
        Yet to take its first step.

    Returns
    -------
    state : State
        That of the beginning, if the run was stopped before its first checkpoint.
    damaged : list of str
        What is wrong with each newer checkpoint that had to be passed over.

    Raises
    ------
    InputError
        When none of them is sound.
    """
    damaged = []
    for path in find(folder):
        try:
            state, arrays = read(path)
            _restore(path, net, trainer, state, arrays)
        except InputError as error:
            damaged.append(str(error))
        else:
            return state, damaged
    if damaged:
        raise InputError("; ".join(damaged))
    return State(), []


def read(path):
    """Read and verify a checkpoint. No code in it is run, and no more is read than it is long.

    Returns
    -------
    state : State
    arrays : dict of str to numpy.ndarray

    Raises
    ------
    InputError
        When it is damaged.
    """
    try:
        with zipfile.ZipFile(path) as file:
            arrays = dict(_read_array(file, info) for info in file.infolist())
        record = json.loads(bytes(arrays.pop(STATE)))
        state = State(**record["state"])
        if sorted(arrays) != record["arrays"]:  # the checksums do not cover zip's own list of files
            raise ValueError("not all arrays are listed")
    except Exception as error:  # a damaged file can make the readers raise anything
        raise InputError(f"{path}: a damaged checkpoint ({error!r})") from error
    return state, arrays


def _read_array(file, info):
    """Read one array; zipfile compares its checksum when the last byte has been read."""
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > info.compress_size:
        raise ValueError(f"{info.filename} is compressed")
    with file.open(info) as member:
        array = np.lib.format.read_array(member, allow_pickle=False)
        if member.read():
            raise ValueError(f"{info.filename} is longer than its array")
    return info.filename[: -len(".npy")], array


def spread(net, trainer, state, workers):
    """Bring every worker of a distributed run to where the first one stands.

    Parameters
    ----------
    net : mxnet.gluon.Block
    trainer : mxnet.gluon.Trainer
        Yet to take its first step since it was loaded.
    state : State
    workers : Workers

    Returns
    -------
    State
        The first worker's.
    """
    state = State(**workers.from_first(lambda: asdict(state)))
    for device in range(len(trainer._updaters)):
        if state.steps and not workers.first:
            _make_optimizer_states(trainer, device)
        for place in _places(net, trainer, device).values():
            workers.copy_from_first(place)
    _set_steps(trainer, state)
    return state


def _restore(path, net, trainer, state, arrays):
    """Copy a checkpoint's arrays to where they belong, if they are all there and none other."""
    for device in range(len(trainer._updaters)):
        if state.steps:
            _make_optimizer_states(trainer, device)
        places = _places(net, trainer, device)
        shapes = {name: (array.shape, array.dtype) for name, array in arrays.items()}
        if shapes != {name: (place.shape, place.dtype) for name, place in places.items()}:
            raise InputError(f"{path}: a checkpoint of another net or optimizer")
        for name, place in places.items():
            mx.nd.array(arrays[name], dtype=place.dtype).copyto(place)
    _set_steps(trainer, state)


def _set_steps(trainer, state):
    trainer.optimizer.begin_num_update = trainer.optimizer.num_update = state.steps


def _places(net, trainer, device):
    """Name all arrays of a run on one device: the net's and the optimizer's."""
    weights = {name: p.list_data()[device] for name, p in net.collect_params().items()}
    return {**weights, **_optimizer_states(trainer, device)}


def _make_optimizer_states(trainer, device):
    """Make the arrays that the optimizer would make at its first step."""
    updater = trainer._updaters[device]
    for i, p in enumerate(trainer._params):
        if p.grad_req != "null":  # batch normalisation's running averages are not learnt
            weight = p.list_data()[device]
            updater.states[i] = trainer.optimizer.create_state_multi_precision(i, weight)
            updater.states_synced[i] = True


def _optimizer_states(trainer, device):
    """Name the arrays that the optimizer keeps for each parameter, such as its momentum.

    `Trainer.save_states` would pickle the optimizer, and a pickle can hold code.
    """
    named = {}
    for i, parts in trainer._updaters[device].states.items():
        parts = parts if isinstance(parts, (tuple, list)) else [parts]
        for j, part in enumerate(part for part in parts if part is not None):
            named[f"{trainer._params[i].name}.{trainer.optimizer.__class__.__name__}{j}"] = part
    return named


class Keeper:
    """Save a run every few minutes, and before it stops because somebody asked it to.

    Parameters
    ----------
    folder : path
        The run folder.
    net : mxnet.gluon.Block
    trainer : mxnet.gluon.Trainer
    minutes : float
        Between two checkpoints.
    stop : StopRequest
    """

    def __init__(self, folder, net, trainer, minutes, stop):
        self.folder, self.net, self.trainer = folder, net, trainer
        self.minutes, self.stop = minutes, stop
        self._last = time.monotonic()

    @property
    def due(self):
        """Whether to save now."""
        return bool(self.stop.signum) or time.monotonic() - self._last >= 60 * self.minutes

    def unless_stopped(self, batches, state):
        """Pass on an iterator's batches; if somebody wants the run to stop, save it as it is."""
        for batch in batches:
            if self.stop.signum:
                self.save(state)
            yield batch

    def write_results(self, recipe, history, losses):
        """Write what was measured so far and the weights."""
        runs.write_results(self.folder, self.net, recipe, history, losses)

    def save(self, state):
        """Save the run; then raise `Interrupted` if somebody wants it to stop."""
        save(self.folder, self.net, self.trainer, state)
        self._last = time.monotonic()
        self.stop.obey(f"saved; to go on: python -m d2l_alexnet.train --resume {self.folder}")


class Onlooker:
    """The `Keeper` of a worker whose run another one keeps: it never saves, nor stops by itself."""

    due = False

    def unless_stopped(self, batches, state):
        """Pass on an iterator's batches."""
        return batches

    def write_results(self, recipe, history, losses):
        """Leave it to the first worker."""

    def save(self, state):
        """Leave it to the first worker."""
