"""The run folder: what was asked for, and what came of it."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import platform
import re
import time
from pathlib import Path

import mxnet as mx
import numpy as np

import d2l_alexnet
from d2l_alexnet import figures, gap, gpus
from d2l_alexnet.history import write_history
from d2l_alexnet.nets import NETS
from d2l_alexnet.params import check_weights, save_params
from d2l_alexnet.recipes import LARGEST_TRAIN_SIZE, RECIPES, Recipe
from d2l_alexnet.runtime import InputError, RunError

SETTINGS = "args.json"
EVENTS = "tensorboard"  # folder
PARTIAL = ".partial"  # files under way


def new_folder(recipe, out=None):
    """Choose the folder of a new run; it is refused before any work is done if it cannot be had.

    Parameters
    ----------
    recipe : Recipe
    out : path, optional
        ``runs/<recipe>-<time>`` if it is not given.

    Returns
    -------
    pathlib.Path
        Not made yet.

    Raises
    ------
    InputError
        When there is something in it, or it cannot be written.
    """
    out = Path(out or f"runs/{recipe.name}-{time.strftime('%Y%m%d-%H%M%S')}")
    try:
        out.exists()
    except OSError as error:
        raise InputError(f"--out {out}: {error.strerror}; name another folder") from error
    if out.is_dir() and any(path.suffix != PARTIAL for path in out.iterdir()):
        raise InputError(f"--out {out}: not empty; name a new folder")
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: there is a file of that name; name a new folder")
    nearest = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"--out {out}: cannot write in {nearest}; name another folder")
    return out


def write_settings(out, recipe, seed, explain_gap, ctx, num_workers, processes=1):
    """Write down all that it takes to repeat the run, and what it ran on."""
    settings = dict(
        recipe={k: v for k, v in dataclasses.asdict(recipe).items() if k != "published"},
        seed=seed,
        explain_gap=explain_gap,
        ctx=", ".join(map(str, ctx)),
        num_workers=num_workers,
        processes=processes,
        device=describe_device(ctx),
        python=platform.python_version(),
        numpy=np.__version__,
        mxnet=mx.__version__,
        d2l_alexnet=d2l_alexnet.__version__,
    )
    with writing(out / SETTINGS) as partial:
        partial.write_text(json.dumps(settings, indent=2) + "\n")


def read_settings(out, from_first=lambda read: read()):
    """Read what a run was asked to do.

    Parameters
    ----------
    out : path
    from_first : callable
        Has the file read where it lies; see `d2l_alexnet.distributed.Workers.from_first`.

    Returns
    -------
    recipe : Recipe
    seed : int
    explain_gap : bool

    Raises
    ------
    InputError
        When the folder is not that of a run.
    """
    path = Path(out, SETTINGS)
    try:
        settings = from_first(lambda: json.loads(path.read_text()))
        recipe = Recipe(**settings["recipe"])
        _check(recipe)
        seed, explain_gap = int(settings["seed"]), bool(settings["explain_gap"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: not the settings of a run ({error})") from error
    published = RECIPES[recipe.name].published if recipe.name in RECIPES else ()
    return dataclasses.replace(recipe, published=published), seed, explain_gap


def _check(recipe):
    """Raise where a value is of another kind than its default, or there is no such net."""
    for name, default in vars(Recipe("")).items():
        value, kind = vars(recipe)[name], type(default)
        if not isinstance(value, (int, float) if kind is float else kind):
            raise TypeError(f"{name} is {value!r}")
    if recipe.net not in NETS:
        raise ValueError(f"there is no net {recipe.net!r}")
    if recipe.data not in LARGEST_TRAIN_SIZE:
        raise ValueError(f"there is no data set {recipe.data!r}")


def write_results(out, net, recipe, history, losses):
    """Write what was measured, pictures of it and the weights, each file whole or not at all.

    Raises
    ------
    RunError
        When one cannot be written, or a weight is not finite; those are written last.
    """
    with writing(out / "history.jsonl") as partial:
        write_history(partial, history)
    with writing(out / "losses.txt") as partial:
        np.savetxt(partial, losses, "%.6g", header="mean loss of each batch (nats)")
    with writing(out / "losses.png") as partial:
        batches = len(losses) / len(history)  # an epoch
        figures.losses(losses, batches).savefig(partial, dpi=150, format="png")
    with writing(out / "curves.png") as partial:
        figures.curves(history, recipe.published).savefig(partial, dpi=150, format="png")
    if gap.measured(history):
        with writing(out / "gap.png") as partial:
            figures.gap(history).savefig(partial, dpi=150, format="png")
    weights = {name: p.list_data()[0].asnumpy() for name, p in net.collect_params().items()}
    check_weights(weights, f"epoch {history[-1]['epoch']}")
    with writing(out / "net.params") as partial:
        save_params(net, partial)


def describe_device(ctx):
    """Name the GPUs, if it is these that compute, the processor, and the threads that MXNet has."""
    found, _ = gpus.find() if ctx[0].device_type == "gpu" else ([], "")
    names = [found[device.device_id].name for device in ctx] if found else []
    processors = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    threads = os.environ.get("OMP_NUM_THREADS", "?")
    return ", ".join([*names, *processors[:1], f"{threads} thread{'s' * (threads != '1')}"])


@contextlib.contextmanager
def locked(folder):
    """Keep a run folder, made if need be, to oneself until the process ends, however it ends.

    Raises
    ------
    InputError
        When it cannot be made, or another process has it.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"--out {folder}: cannot write there ({error.strerror})") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"{folder}: another run is writing there") from error
        for left_by_a_killed_run in Path(folder).glob(f"*{PARTIAL}"):
            left_by_a_killed_run.unlink()
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def writing(path):
    """Give the name of a file to write, which then takes the place of `path`, whole or not at all.

    Raises
    ------
    RunError
        When that fails; the partial file is removed and `path` is as it was.
    """
    partial = path.with_suffix(PARTIAL)
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise RunError(f"{path}: cannot write it ({error.strerror or error})") from error
