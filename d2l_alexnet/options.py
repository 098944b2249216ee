"""The settings of a run that do not depend on the recipe: device, folders, seed.

`d2l_alexnet.recipes` has the other settings, such as the net, the data set and the learning rate.

A field that is declared with `option` is also a flag of the commands. `d2l_alexnet.cli.add_flags`
makes the flags from the dataclasses here and from `Recipe`. `d2l_alexnet.validation` checks flags
and files with the ranges that the fields declare.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def option(default: Any, help: str, flag: str = "", **limits: Any) -> Any:
    """Declare a field of a dataclass that users can set on the command line.

    Parameters
    ----------
    default : bool, int, float, str or None
        The default value. The option has the same type; None stands for an optional string.
    help : str
        The text in ``--help``.
    flag : str, optional
        The flag, if it is not ``--`` and the field's name.
    **limits
        ``minimum`` and ``maximum``: the smallest and the largest allowed value. ``above`` and
        ``below``: all allowed values are above or below this number. ``choices``: a tuple of all
        allowed values. ``metavar``: the name of the value in ``--help``.

    Returns
    -------
    dataclasses.Field
    """
    return field(default=default, metadata=dict(limits, help=help, flag=flag))


def limited(default: Any, **limits: Any) -> Any:
    """Declare a field that has a range but no flag. The limits are those of `option`."""
    return field(default=default, metadata=limits)


# Fields of `RunOptions` that a resumed run does not take from args.json; the command that resumes
# it repeats them.
RESUMED_WITH = ("ctx", "num_workers", "data_dir", "checkpoint_minutes")


@dataclass(frozen=True)
class RunOptions:
    """The settings of a run that do not depend on the recipe: device, folders, seed.

    Parameters
    ----------
    ctx : str
        The device: ``auto`` (the GPU if MXNet can use one, else the CPU), ``cpu``, ``gpu``,
        ``gpu:N``, or several GPUs, ``gpu:0,1``.
    seed : int
        Seed of the initial weights, the order of the images, and dropout. On a CPU the same seed
        gives the same net. On a GPU the dropout of MXNet 1.9.1 ignores the seed.
    num_workers : int
        Number of processes that prepare batches, for each loader. At most one per core is started.
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
        "auto",
        "device: auto (the GPU if MXNet can use one, else the CPU), cpu, gpu, gpu:N, or several "
        "GPUs: gpu:0,1",
    )
    seed: int = option(
        0,
        "seed of the initial weights, the order of the images, and dropout",
        minimum=0,
        maximum=2**31 - 1,
    )
    num_workers: int = option(
        4, "number of processes that prepare batches; at most one per core is started", minimum=0
    )
    data_dir: str | None = option(
        None,
        "folder of the data set; if not given, MXNet's own data folder (in ~/.mxnet/datasets)",
        metavar="DIR",
    )
    out: str | None = option(
        None, "new folder for the run; if not given, runs/RECIPE-TIME", metavar="DIR"
    )
    checkpoint_minutes: float = option(
        5.0, "minutes between two checkpoints inside an epoch", above=0
    )
    explain_gap: bool = option(
        False,
        "measure two more accuracies per epoch, to explain why training accuracy is below test "
        "accuracy",
    )
    tensorboard: bool = option(False, "also write logs for TensorBoard")


@dataclass(frozen=True)
class DistributedOptions:
    """How a process takes part in a distributed run.

    Parameters
    ----------
    kvstore : str
        ``device`` for a run of one process. ``dist_sync`` for a worker that
        ``python -m d2l_alexnet.distributed.launch`` has started.
    patience : float
        Seconds that a process waits for the others in a step before it ends. At the start it
        waits at least a minute.
    """

    kvstore: str = option(
        "device",
        "dist_sync makes this process a worker; distributed.launch sets it",
        choices=("device", "dist_sync"),
    )
    patience: float = option(
        300.0,
        "seconds that a worker waits for the others before it ends",
        above=0,
        maximum=1_000_000,
    )
