"""What the experiments share: flags, runs that are skipped if they are finished, one figure."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any, Mapping, Sequence

from matplotlib.figure import Figure

from d2l_alexnet import cli
from d2l_alexnet.history import read_history
from d2l_alexnet.recipes import Recipe
from d2l_alexnet.run_folder.settings import SETTINGS, read_settings
from d2l_alexnet.train import resume, train

RESULTS = Path(__file__).resolve().parents[1] / "results"


def parse(description: str, name: str) -> argparse.Namespace:
    """Parse the flags of an experiment."""
    parser = cli.Parser(name, description.splitlines()[0])
    parser.prog = f"python experiments/{name}.py"
    parser.add_argument("--quick", action="store_true", help="one small epoch of each run")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the runs (default: runs/NAME)"
    )
    arguments = parser.parse_args()
    quick = "-quick" * arguments.quick
    arguments.out = arguments.out or Path("runs", f"{name}{quick}")
    return arguments


def train_once(recipe: Recipe, folder: Path, seed: int) -> list[dict]:
    """Return a run's history: from results/ or its folder, else train or resume the run.

    A run in results/ counts if its recipe and seed are the same and it has all epochs.
    """
    for settings in sorted(RESULTS.rglob(SETTINGS)):
        if _is_run(settings.parent, recipe, seed):
            history = read_history(settings.parent / "history.jsonl")
            if len(history) == recipe.num_epochs:
                return history
    if not folder.exists():
        return train(recipe, ctx="cpu", num_workers=0, seed=seed, out=folder)
    history = read_history(folder / "history.jsonl")
    if _is_run(folder, recipe, seed) and len(history) == recipe.num_epochs:
        return history
    return resume(folder, ctx="cpu", num_workers=0)


def _is_run(folder: Path, recipe: Recipe, seed: int) -> bool:
    """Whether a run folder has this recipe and seed."""
    found, options = read_settings(folder)
    return (replace(found, name=recipe.name), options.seed) == (recipe, seed)


def plot(histories: Mapping[str, Sequence[dict]], keys: Sequence[str], path: Path) -> None:
    """Draw one column for each key, and one curve for each run by epoch."""
    figure = Figure(figsize=(5.5 * len(keys), 4), layout="constrained")
    for axes, key in zip(figure.subplots(1, len(keys), squeeze=False, sharey=True)[0], keys):
        for name, history in histories.items():
            rows: list[Any] = [row for row in history if key in row]
            axes.plot([r["epoch"] for r in rows], [100 * r[key] for r in rows], label=name)
        axes.set(title=key.replace("_", " "), xlabel="epoch", ylabel="percent")
    axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    print(path)


run = cli.run
