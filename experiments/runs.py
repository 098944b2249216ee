"""Functions that all experiments use: flags, training a run only once, and writing files."""

from __future__ import annotations

import argparse
import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from d2l_alexnet import cli, shapes  # MXNet imports only after the package

# isort: split
from mxnet import gluon

from d2l_alexnet.build import build_net, input_shape
from d2l_alexnet.data import DATA_SETS
from d2l_alexnet.data.loader import DataLoader
from d2l_alexnet.data.transforms import transform_of
from d2l_alexnet.errors import InputError
from d2l_alexnet.evaluate import load_net, predict
from d2l_alexnet.history import read_history
from d2l_alexnet.recipes import Recipe
from d2l_alexnet.run_folder.settings import SETTINGS, read_settings
from d2l_alexnet.runtime.devices import choose_context, describe
from d2l_alexnet.train import resume, train

RESULTS = Path(__file__).resolve().parents[1] / "results"
# What --quick changes in a recipe, so that a run takes a second.
SMALL = dict(train_size=128, batch_size=64, num_epochs=1)
SMALL_LENET = dict(SMALL, net="lenet", dropout=0.0, resize=28)
SMALL_CONVNET = dict(SMALL, net="convnet_cifar10", resize=32, margin=0)

run = cli.run


def parse(description: str, name: str) -> argparse.Namespace:
    """Parse the flags of an experiment. With ``--quick``, the data sets become small."""
    parser = cli.Parser(name, description.splitlines()[0])
    parser.prog = f"python experiments/{name}.py"
    parser.add_argument(
        "--quick", action="store_true", help="small nets and few images; takes seconds"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the runs (default: runs/NAME)"
    )
    arguments = parser.parse_args()
    quick = "-quick" * arguments.quick
    arguments.out = arguments.out or Path("runs", f"{name}{quick}")
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out {arguments.out}: cannot write there ({error.strerror})")
    if arguments.quick:
        use_first_images(train=160, test=64)
    return arguments


def use_first_images(train: int, test: int) -> None:
    """Reduce every data set to its first images."""
    for name, dataset in DATA_SETS.items():

        @functools.lru_cache(maxsize=1)
        def read(data_dir: Any, read_all: Any = dataset.read) -> Any:
            (images, labels), (test_images, test_labels) = read_all(data_dir)
            return (images[:train], labels[:train]), (test_images[:test], test_labels[:test])

        DATA_SETS[name] = replace(dataset, read=read)


def train_once(recipe: Recipe, folder: Path, seed: int, **keywords: Any) -> list[dict]:
    """Train a run if no finished run is found, and return its history; see `folder_of`."""
    return read_history(folder_of(recipe, folder, seed, **keywords) / "history.jsonl")


def folder_of(
    recipe: Recipe, folder: Path, seed: int, needs: str = "history.jsonl", **keywords: Any
) -> Path:
    """Return the folder of a finished run: from results/, or after training or resuming it.

    Parameters
    ----------
    recipe : Recipe
    folder : pathlib.Path
        The run is trained in this folder if no committed run has this recipe and seed and all its
        epochs.
    seed : int
    needs : str
        A file that a committed run must have.
    **keywords
        Keyword arguments of `d2l_alexnet.train.train`.

    Raises
    ------
    InputError
        If the folder has a run with other settings.
    """
    explain_gap = keywords.get("explain_gap", False)
    for settings in sorted(RESULTS.rglob(SETTINGS)):
        found = settings.parent
        if (found / needs).exists() and is_finished(found, recipe, seed, explain_gap):
            return found
    if not (folder / SETTINGS).exists():
        train(recipe, ctx="cpu", num_workers=0, seed=seed, out=folder, **keywords)
    elif not _is_run(folder, recipe, seed, explain_gap):
        raise InputError(f"{folder}: has a run with other settings; choose another --out")
    elif not is_finished(folder, recipe, seed, explain_gap):
        resume(folder, ctx="cpu", num_workers=0, **keywords)
    return folder


def is_finished(folder: Path, recipe: Recipe, seed: int, explain_gap: bool = False) -> bool:
    """Say whether a folder has all epochs of a run with this recipe and seed."""
    history = folder / "history.jsonl"
    return (
        _is_run(folder, recipe, seed, explain_gap)
        and history.exists()
        and len(read_history(history)) == recipe.num_epochs
    )


def _is_run(folder: Path, recipe: Recipe, seed: int, explain_gap: bool) -> bool:
    try:
        found, options = read_settings(folder)
    except InputError:  # the run has a net that another experiment defines
        return False
    same = (replace(found, name=recipe.name), options.seed) == (recipe, seed)
    return same and options.explain_gap >= explain_gap


def accuracy(folder: Path, images: np.ndarray, labels: np.ndarray) -> float:
    """Measure the accuracy of a run's net on images, which are prepared like test images."""
    net, recipe, ctx = load_net(folder, "cpu")
    dataset = DATA_SETS[recipe.data]
    data_iter = DataLoader(
        gluon.data.ArrayDataset(images, labels),
        recipe.batch_size,
        gluon.data.SequentialSampler(len(images)),
        transform_of(recipe, dataset),
        ctx[0],
    )
    return predict(net, data_iter, ctx, dataset.classes).correct / len(images)


def totals(recipe: Recipe) -> dict[str, int]:
    """Sum the parameters and the multiply-adds for one image of a recipe's net."""
    net = build_net(replace(recipe, dtype="float32"))  # in float32 the layers can be counted
    layers = shapes.trace(net, input_shape(recipe))
    names = ("parameters", "multiply_adds")
    return {name: sum(getattr(layer, name) for layer in layers) for name in names}


def minutes(history: Iterable[dict]) -> float:
    """Sum the minutes of a run's epochs."""
    return sum(row["seconds"] for row in history) / 60


def write(path: Path, rows: Sequence[dict], **more: Any) -> None:
    """Write the results of an experiment, with the device on which they were measured."""
    about = dict(device=describe(choose_context("cpu")[0]), **more)
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    path.write_text(json.dumps(about)[:-1] + f',\n "rows": [\n{lines}\n]}}\n')
    print(path)


def save(figure: Figure, path: Path) -> None:
    """Write the figure of an experiment."""
    figure.savefig(path, dpi=100)
    print(path)


def plot(histories: Mapping[str, Sequence[dict]], keys: Sequence[str], path: Path) -> None:
    """Draw a panel for each key, with a curve over the epochs for each run."""
    figure = Figure(figsize=(5.5 * len(keys), 4), layout="constrained")
    for axes, key in zip(figure.subplots(1, len(keys), squeeze=False, sharey=True)[0], keys):
        for name, history in histories.items():
            rows: list[Any] = [row for row in history if key in row]
            axes.plot([r["epoch"] for r in rows], [100 * r[key] for r in rows], label=name)
        axes.set(title=key.replace("_", " "), xlabel="epoch", ylabel="percent")
    axes.legend(fontsize="small")
    save(figure, path)
