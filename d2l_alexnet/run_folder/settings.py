"""args.json: the settings that repeat a run, and its device and versions."""

from __future__ import annotations

import dataclasses
import json
import platform
from pathlib import Path
from typing import Any, Sequence

import mxnet as mx
import numpy as np

import d2l_alexnet
from d2l_alexnet.data import DATA_SETS
from d2l_alexnet.distributed.process_group import SINGLE_PROCESS, SingleProcess
from d2l_alexnet.errors import InputError
from d2l_alexnet.nets import NETS
from d2l_alexnet.options import RunOptions
from d2l_alexnet.recipes import RECIPES, Recipe
from d2l_alexnet.run_folder.folder import writing
from d2l_alexnet.runtime.devices import describe

SETTINGS = "args.json"
MAY_CHANGE = ("num_epochs", "lr")  # fields of a recipe, when a run is resumed


def write_settings(
    folder: Path,
    recipe: Recipe,
    options: RunOptions,
    ctx: Sequence,
    num_workers: int,
    processes: int = 1,
) -> None:
    """Write the settings of a run into its folder.

    Parameters
    ----------
    folder : pathlib.Path
    recipe : Recipe
    options : RunOptions
        The seed and `explain_gap` are written.
    ctx : list of mxnet.Context
    num_workers : int
        Number of loader workers that were started for the training images.
    processes : int
        Number of processes that train together.

    Raises
    ------
    RunError
        When the file cannot be written.
    """
    settings = dict(
        recipe={k: v for k, v in dataclasses.asdict(recipe).items() if k != "published"},
        seed=options.seed,
        explain_gap=options.explain_gap,
        ctx=", ".join(map(str, ctx)),
        num_workers=num_workers,
        processes=processes,
        device=describe(ctx),
        python=platform.python_version(),
        numpy=np.__version__,
        mxnet=mx.__version__,
        d2l_alexnet=d2l_alexnet.__version__,
    )
    with writing(folder / SETTINGS) as partial:
        partial.write_text(json.dumps(settings, indent=2) + "\n")


def read_settings(
    folder: str | Path, group: SingleProcess = SINGLE_PROCESS
) -> tuple[Recipe, RunOptions]:
    """Read the settings of a run.

    Parameters
    ----------
    folder : path
        The run folder.
    group : SingleProcess or ProcessGroup
        The first process reads the file for all processes.

    Returns
    -------
    recipe : Recipe
    options : RunOptions
        With the run's seed and `explain_gap`.

    Raises
    ------
    InputError
        When the folder does not hold the settings of a run.
    """
    path = Path(folder, SETTINGS)
    try:
        settings = group.broadcast_object(lambda: json.loads(path.read_text()))
        settings["recipe"].pop("channels", None)  # version 0.1.0 wrote it
        recipe = Recipe(**settings["recipe"])
        _check(recipe)
        seed, explain_gap = int(settings["seed"]), bool(settings["explain_gap"])
    except FileNotFoundError as error:
        raise InputError(f"{folder}: there is no run; {SETTINGS} is missing") from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path}: not the settings of a run ({error})") from error
    if recipe.name in RECIPES:
        recipe = dataclasses.replace(recipe, published=RECIPES[recipe.name].published)
    return recipe, RunOptions(seed=seed, explain_gap=explain_gap)


def fixed(recipe: Recipe, seed: int) -> dict[str, Any]:
    """Return the settings that a resumed run must keep. A checkpoint holds them."""
    free = ("name", "published", "lr_since", *MAY_CHANGE)
    kept = {k: v for k, v in dataclasses.asdict(recipe).items() if k not in free}
    return dict(kept, seed=seed)


def _check(recipe: Recipe) -> None:
    """Raise if a value does not have the type of its default, or a name is unknown."""
    for name, default in vars(Recipe("")).items():
        value: Any = getattr(recipe, name)
        kind: Any = type(default)
        if not isinstance(value, (int, float) if kind is float else kind):
            raise TypeError(f"{name} is {value!r}")
    if recipe.net not in NETS:
        raise ValueError(f"there is no net {recipe.net!r}")
    if recipe.data not in DATA_SETS:
        raise ValueError(f"there is no data set {recipe.data!r}")
