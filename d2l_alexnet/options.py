"""Where and how a run is done. `d2l_alexnet.recipes` says what a net is trained on, and how.

A field that is declared with `option` is also a flag of the commands. `d2l_alexnet.cli.add_flags`
makes the flags from the dataclasses here and from `Recipe`. `d2l_alexnet.validation` checks flags
and files by the ranges that the fields declare.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def option(default: Any, help: str, flag: str = "", **limits: Any) -> Any:
    """Declare a field of a dataclass that users can set on the command line.

    Parameters
    ----------
    default : bool, int, float, str or None
        Its type is the type of the option. None is the default of an optional string.
    help : str
        The text in ``--help``.
    flag : str, optional
        The flag, if it is not ``--`` and the field's name.
    **limits
        ``minimum`` and ``maximum``, both allowed values; ``above`` and ``below``, both not
        allowed; ``choices``, a tuple of all allowed values; ``metavar``.

    Returns
    -------
    dataclasses.Field
    """
    return field(default=default, metadata=dict(limits, help=help, flag=flag))


def limited(default: Any, **limits: Any) -> Any:
    """Declare a field that has a range but no flag. The limits are those of `option`."""
    return field(default=default, metadata=limits)


# Fields of `RunOptions` that are not saved with a run: the command that resumes it repeats them.
RESUMED_WITH = ("ctx", "num_workers", "data_dir", "checkpoint_minutes")


@dataclass(frozen=True)
class RunOptions:
    """Where and how a run is done.

    Parameters
    ----------
    ctx : str
        ``auto`` (the GPU if there is a usable one), ``cpu``, ``gpu``, ``gpu:N``, or several
        devices, ``gpu:0,1``.
    seed : int
        Seed of the initial weights, the order of the images, and dropout. On a CPU the same seed
        gives the same net. On a GPU the dropout of MXNet 1.9.1 ignores the seed.
    num_workers : int
        Processes that prepare batches, for each loader. At most one per core is started.
    data_dir : path, optional
        Folder of the data set's files; MXNet's own data folder if not given.
    out : path, optional
        The run folder, new or empty; ``runs/<recipe>-<time>`` if not given.
    checkpoint_minutes : float
        Minutes between two checkpoints inside an epoch.
    explain_gap : bool
        Whether to measure why the running training accuracy is below the test accuracy; see
        `d2l_alexnet.gap`. The trained net is the same.
    tensorboard : bool
        Whether to write TensorBoard logs too.
    """

    ctx: str = option(
        "auto", "auto (the GPU if there is a usable one), cpu, gpu, gpu:N, or several: gpu:0,1"
    )
    seed: int = option(
        0,
        "seed of the initial weights, the order of the images, and dropout",
        minimum=0,
        maximum=2**31 - 1,
    )
    num_workers: int = option(4, "processes that prepare batches, at most one per core", minimum=0)
    data_dir: str | None = option(
        None,
        "folder of the data set's files; MXNet's own data folder if not given",
        metavar="DIR",
    )
    out: str | None = option(None, "new run folder; runs/RECIPE-TIME if not given", metavar="DIR")
    checkpoint_minutes: float = option(
        5.0, "minutes between two checkpoints inside an epoch", above=0
    )
    explain_gap: bool = option(
        False, "measure why the running training accuracy is below the test accuracy"
    )
    tensorboard: bool = option(False, "also write TensorBoard logs; a resumed run continues them")


@dataclass(frozen=True)
class DistributedOptions:
    """How a process takes part in a distributed run.

    Parameters
    ----------
    kvstore : str
        ``device`` for a run of one process. ``dist_sync`` for a worker that
        ``python -m d2l_alexnet.distributed.launch`` has started.
    patience : float
        Seconds to wait for the other processes in a step. At the start it is at least a minute.
    """

    kvstore: str = option(
        "device",
        "dist_sync: this process is a worker (set by distributed.launch)",
        choices=("device", "dist_sync"),
    )
    patience: float = option(
        300.0, "seconds to wait for other workers before giving up", above=0, maximum=1_000_000
    )
