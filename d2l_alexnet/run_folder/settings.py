"""args.json: the settings that repeat a run, and its device and versions."""

from __future__ import annotations

import dataclasses
import json
import platform
import reprlib
from pathlib import Path
from typing import Any, Sequence

import mxnet as mx
import numpy as np

import d2l_alexnet
from d2l_alexnet.build import check_recipe
from d2l_alexnet.data import DATA_SETS
from d2l_alexnet.distributed.process_group import SINGLE_PROCESS, SingleProcess
from d2l_alexnet.errors import InputError
from d2l_alexnet.options import RunOptions, limited
from d2l_alexnet.recipes import RECIPES, Recipe
from d2l_alexnet.run_folder.folder import writing
from d2l_alexnet.runtime.devices import describe
from d2l_alexnet.state import Training
from d2l_alexnet.validation import check_fields, is_valid, parse_json

SETTINGS = "args.json"
MAY_CHANGE = ("num_epochs", "lr")  # fields of a recipe, when a run is resumed
SAVED = ("seed", "explain_gap")  # options of a run that a resumed run keeps
CHANNELS = "channels"  # version 0.1.0 wrote the data set's number of them into a recipe
# Version 0.1.0 got these fields of a recipe later than the others, all at once.
ADDED = {"data", "margin", "augment", "lr_since", "plateau", "dtype"}


@dataclasses.dataclass(frozen=True)
class Contents:
    """The keys of args.json that are not options of the run."""

    recipe: dict = dataclasses.field(default_factory=dict)
    processes: int = limited(1, minimum=1)
    device: str = ""
    python: str = ""
    numpy: str = ""
    mxnet: str = ""
    d2l_alexnet: str = ""


RECIPE = [each for each in dataclasses.fields(Recipe) if each.name != "published"]


def _options(*names: str) -> list[dataclasses.Field]:
    return [each for each in dataclasses.fields(RunOptions) if each.name in names]


CONTENTS = [*_options(*SAVED, "ctx", "num_workers"), *dataclasses.fields(Contents)]
SETTINGS_OF_RUN = [each for each in (*RECIPE, *_options(*SAVED)) if each.name != "name"]


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
        settings = group.broadcast_object(lambda: parse_json(path.read_text()))
        required = [each.name for each in CONTENTS if each.name != "processes"]  # it is newer
        check_fields(settings, CONTENTS, required)
        recipe = _read_recipe(settings["recipe"])
    except FileNotFoundError as error:
        raise InputError(f"{folder}: there is no run; {SETTINGS} is missing") from error
    except NotADirectoryError as error:
        raise InputError(f"{folder}: not a folder; give the folder of a run") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not the settings of a run ({error})") from error
    if recipe.name in RECIPES:
        recipe = dataclasses.replace(recipe, published=RECIPES[recipe.name].published)
    return recipe, RunOptions(**{name: settings[name] for name in SAVED})


def _read_recipe(values: dict[str, Any]) -> Recipe:
    """Make a recipe of its JSON object."""
    required = {each.name for each in RECIPE}
    if values.keys().isdisjoint({*ADDED, CHANNELS}):
        required -= ADDED
    others = {name: value for name, value in values.items() if name != CHANNELS}
    check_fields(others, RECIPE, sorted(required))
    recipe = Recipe(**others)
    check_recipe(recipe)
    expected = DATA_SETS[recipe.data].channels
    channels = values.get(CHANNELS, expected)
    if not is_valid(channels, int, dict(minimum=expected, maximum=expected)):
        raise InputError(
            f"{CHANNELS} is {reprlib.repr(channels)}, but images of {recipe.data} have {expected}"
        )
    return recipe


def settings_of(training: Training) -> dict[str, Any]:
    """Return all settings that decide what a run computes. A checkpoint holds them."""
    values = dict(vars(training.recipe), seed=training.seed, explain_gap=training.explain_gap)
    return {each.name: values[each.name] for each in SETTINGS_OF_RUN}
