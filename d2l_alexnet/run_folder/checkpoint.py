"""Save the state of a run, so that a killed run can be resumed and gives the same net.

A checkpoint is one .npz file. This is NumPy's format: it holds arrays, a checksum (CRC-32) of each
array, and no code. The file is written under a temporary name, read back to verify the checksums,
synced to the disk, and renamed. So a file with the final name is always complete. The two newest
checkpoints are kept.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np

from d2l_alexnet.distributed.process_group import SINGLE_PROCESS, SingleProcess
from d2l_alexnet.errors import InputError, RunError
from d2l_alexnet.run_folder.folder import writing
from d2l_alexnet.run_folder.params import check_arrays, check_values, check_weights
from d2l_alexnet.run_folder.settings import SETTINGS_OF_RUN, settings_of
from d2l_alexnet.state import MEASURED, State, Training, restore_counters
from d2l_alexnet.validation import check_fields, parse_json

KEPT = 2
STATE = "state"
CHANGED_WITH = {"num_epochs": "give --epochs", "lr": "give --lr"}
NAME = re.compile(r"checkpoint-\d{9}\.npz")


@dataclasses.dataclass(frozen=True)
class Record:
    """The JSON part of a checkpoint.

    Parameters
    ----------
    state : dict
        The fields of `State`.
    arrays : list of str
        The names of all arrays.
    settings : dict
        See `d2l_alexnet.run_folder.settings.settings_of`. Checkpoints of version 0.1.0 have none.
    """

    state: dict = dataclasses.field(default_factory=dict)
    arrays: list = dataclasses.field(default_factory=list)
    settings: dict = dataclasses.field(default_factory=dict)


def save(
    folder: str | Path, net: Any, trainer: Any, state: State, settings: dict | None = None
) -> None:
    """Write a checkpoint into a run folder, and remove all but the newest two.

    Parameters
    ----------
    folder : path
    net : mxnet.gluon.Block
    trainer : mxnet.gluon.Trainer
    state : State
    settings : dict, optional
        The settings of the run; see `d2l_alexnet.run_folder.settings.settings_of`.

    Raises
    ------
    RunError
        When it cannot be written, a weight is not finite, or `load` would refuse the state. Earlier
        checkpoints are kept.
    """
    arrays = {name: array.asnumpy() for name, array in _named_arrays(net, trainer, 0).items()}
    check_weights(arrays, f"step {state.steps}")
    record = vars(Record(dataclasses.asdict(state), sorted(arrays), settings or {}))
    try:
        _check_record(record)
    except InputError as error:
        raise RunError(
            f"step {state.steps}: not saved, because {error}; has a callback changed it? "
            "Earlier checkpoints are kept"
        ) from error
    arrays[STATE] = np.frombuffer(json.dumps(record).encode(), np.uint8)
    path = Path(folder, f"checkpoint-{state.steps:09d}.npz")
    with writing(path) as partial:
        with zipfile.ZipFile(partial, "w") as file:  # np.savez raises twice on a full disk
            for name, array in arrays.items():
                with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        with zipfile.ZipFile(partial) as file:
            if file.testzip():
                raise OSError("the written file fails its checksum")
    others = [other for other in find(folder) if other != path]
    for other in others[KEPT - 1 :]:
        other.unlink()


def save_training(folder: str | Path, training: Training) -> None:
    """Write a checkpoint of a training, with the settings of its run; see `save`."""
    net, trainer, state = training.net, training.trainer, training.state
    save(folder, net, trainer, state, settings_of(training))


def find(folder: str | Path) -> list[Path]:
    """List the checkpoints of a run folder, the newest first. A user's own files are not listed."""
    paths = [path for path in Path(folder).glob("checkpoint-*.npz") if NAME.fullmatch(path.name)]
    return sorted(paths, reverse=True)


def load(
    folder: str | Path,
    net: Any,
    trainer: Any,
    group: SingleProcess = SINGLE_PROCESS,
    settings: dict | None = None,
) -> tuple[State, list[str]]:
    """Load the newest undamaged checkpoint into a net and its trainer.

    Parameters
    ----------
    folder : path
        The run folder. Only the first process of a group needs it.
    net : mxnet.gluon.Block
        The shapes of its parameters are known.
    trainer : mxnet.gluon.Trainer
        Has not taken a step yet.
    group : SingleProcess or ProcessGroup
        The first process loads the checkpoint and sends it to all others.
    settings : dict, optional
        The settings of the run, without those that the user changes now. They must be those with
        which the checkpoint was saved.

    Returns
    -------
    state : State
        The initial state, if the run was stopped before its first checkpoint.
    damaged : list of str
        The errors of the newer checkpoints. They were skipped, and renamed to ``.damaged``.

    Raises
    ------
    InputError
        When all checkpoints are damaged, or a setting is another one.
    RunError
        When a checkpoint cannot be read. It may be undamaged, so none is skipped.
    """
    if group.is_main:
        state, damaged = _load_newest(Path(folder), net, trainer, settings or {})
    else:
        state, damaged = State(), []
    if group.size > 1:
        state = _broadcast(net, trainer, state, group)
    return state, damaged


def _load_newest(folder: Path, net: Any, trainer: Any, settings: dict) -> tuple[State, list[str]]:
    damaged: dict[Path, str] = {}
    for path in find(folder):
        try:
            record, arrays = _read(path)
        except InputError as error:
            damaged[path] = str(error)
            continue
        _compare(path, record, settings)
        state = record["state"]
        # In float16 all steps may have been skipped; the optimizer has then made no arrays yet.
        may_lack_arrays = state.steps == state.skipped or settings.get("dtype") == "float16"
        if not may_lack_arrays or arrays.keys() - net.collect_params().keys():
            for device in range(len(trainer._updaters)):
                _make_optimizer_states(trainer, device)
        _restore(path, net, trainer, state, arrays)
        for each in damaged:  # so that they do not count as kept
            with contextlib.suppress(OSError):
                each.rename(each.with_suffix(".damaged"))
        return state, [*damaged.values()]
    if damaged:
        raise InputError(f"{'; '.join(damaged.values())}; no other one is left, begin a new run")
    return State(), []


def _compare(path: Path, record: dict, settings: dict) -> None:
    """Raise where a setting is not the one with which the checkpoint was saved."""
    state, saved = record["state"], record["settings"]
    if isinstance(state.sums, list) and "explain_gap" not in saved:  # version 0.1.0
        saved = dict(saved, explain_gap=len(state.sums) == len(MEASURED))
    for name, value in saved.items():
        if name in settings and settings[name] != value:
            or_else = CHANGED_WITH.get(name, "begin a new run")
            raise InputError(
                f"{path.parent}: {name} is {settings[name]!r} in args.json, but the checkpoint was "
                f"saved with {value!r}; restore it, or {or_else}"
            )
    if settings.get("plateau") and not all("valid_accuracy" in row for row in state.history):
        raise InputError(f"{path}: its history has no valid_accuracy, which plateau needs")


def read(path: Path) -> tuple[State, dict[str, np.ndarray]]:
    """Read and verify a checkpoint. Its content cannot run code or expand in memory.

    Returns
    -------
    state : State
    arrays : dict of str to numpy.ndarray

    Raises
    ------
    InputError
        When it is damaged.
    RunError
        When it cannot be read.
    """
    record, arrays = _read(path)
    return record["state"], arrays


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read and verify a checkpoint; return its state and settings, and its arrays."""
    try:
        with zipfile.ZipFile(path) as file:
            members = [_read_array(file, info) for info in file.infolist()]
        arrays = dict(members)
        if len(arrays) < len(members):
            raise ValueError("two arrays have the same name")
        record = parse_json(bytes(arrays.pop(STATE)).decode())
        checked = _check_record(record)
        if sorted(arrays) != record["arrays"]:  # the checksums do not cover zip's own list of files
            raise ValueError("arrays are missing or unexpected")
        check_values(arrays)
        return checked, arrays
    except Exception as error:  # a damaged file can make the readers raise anything
        # EINVAL: the file names a place before its beginning. Other errors say nothing about it.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise RunError(f"{path}: cannot read it ({error.strerror})") from error
        why = error if isinstance(error, InputError) else repr(error)
        raise InputError(f"{path}: a damaged checkpoint ({why})") from error


def _check_record(record: Any) -> dict[str, Any]:
    """Check the JSON part of a checkpoint; return its state and settings."""
    check_fields(record, dataclasses.fields(Record), ("state", "arrays"))
    settings = record.get("settings", {})  # runs of 0.1.0 have none
    check_fields(settings, SETTINGS_OF_RUN)
    state = State.from_dict(record["state"])
    if "dtype" in settings:
        state.check_dtype(settings["dtype"])
    return dict(state=state, settings=settings)


def _read_array(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[str, np.ndarray]:
    """Read one array; zipfile compares its checksum when the last byte has been read."""
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > info.compress_size:
        raise ValueError(f"{info.filename} is compressed")
    with file.open(info) as member:
        array = np.lib.format.read_array(member, allow_pickle=False)
        if member.read():
            raise ValueError(f"{info.filename} is longer than its array")
    name, _, suffix = info.filename.rpartition(".")
    if suffix != "npy":
        raise ValueError(f"{info.filename!r} is not an array")
    return name, array


def _broadcast(net: Any, trainer: Any, state: State, group: SingleProcess) -> State:
    """Send the first process's state and arrays to all processes of a group."""
    state = State(**group.broadcast_object(lambda: dataclasses.asdict(state)))
    has_arrays = group.broadcast_object(lambda: bool(_optimizer_states(trainer, 0)))
    for device in range(len(trainer._updaters)):
        if has_arrays and not group.is_main:
            _make_optimizer_states(trainer, device)
        for array in _named_arrays(net, trainer, device).values():
            group.broadcast(array)
    restore_counters(trainer, state)
    return state


def _restore(
    path: Path, net: Any, trainer: Any, state: State, arrays: dict[str, np.ndarray]
) -> None:
    """Copy a checkpoint's arrays into the net and the trainer, if names and shapes match."""
    for device in range(len(trainer._updaters)):
        targets = _named_arrays(net, trainer, device)
        try:
            check_arrays(arrays, targets)
        except InputError as error:
            why = f"a checkpoint of another net or optimizer ({error})"
            raise InputError(f"{path}: {why}") from error
        for name, target in targets.items():
            mx.nd.array(arrays[name], dtype=target.dtype).copyto(target)
    restore_counters(trainer, state)


def _named_arrays(net: Any, trainer: Any, device: int) -> dict[str, Any]:
    """Return all arrays of a run on one device, by name: the net's and the optimizer's."""
    weights = {name: p.list_data()[device] for name, p in net.collect_params().items()}
    return {**weights, **_optimizer_states(trainer, device)}


def _make_optimizer_states(trainer: Any, device: int) -> None:
    """Make the arrays that the optimizer would make in its first step."""
    updater = trainer._updaters[device]
    for i, p in enumerate(trainer._params):
        if p.grad_req != "null":  # running means and variances have no such arrays
            weight = p.list_data()[device]
            updater.states[i] = trainer.optimizer.create_state_multi_precision(i, weight)
            updater.states_synced[i] = True


def _optimizer_states(trainer: Any, device: int) -> dict[str, Any]:
    """Return the optimizer's arrays for each parameter, such as momentum, by name.

    `Trainer.save_states` would pickle the optimizer, and a pickle can hold code.
    """
    named = {}
    for i, parts in trainer._updaters[device].states.items():
        parts = parts if isinstance(parts, (tuple, list)) else [parts]
        for j, part in enumerate(part for part in parts if part is not None):
            named[f"{trainer._params[i].name}.{trainer.optimizer.__class__.__name__}{j}"] = part
    return named
