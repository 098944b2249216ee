"""The results of a run: its history, its plots, and the weights of the net."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure

from d2l_alexnet import figures, gap
from d2l_alexnet.history import cuts, write_history
from d2l_alexnet.recipes import Recipe
from d2l_alexnet.run_folder.folder import writing
from d2l_alexnet.run_folder.params import check_weights, save_params


def write_results(
    folder: Path, net: Any, recipe: Recipe, history: Sequence[dict], losses: Sequence[float]
) -> None:
    """Write the history, the losses, the plots and the weights of a run, each file atomically.

    Parameters
    ----------
    folder : pathlib.Path
        The run folder.
    net : mxnet.gluon.Block
    recipe : Recipe
    history : sequence of dict
        A row per epoch.
    losses : sequence of float
        The mean loss of each batch.

    Raises
    ------
    RunError
        When a file cannot be written, or a weight is not finite. All other files are written.
    """
    with writing(folder / "history.jsonl") as partial:
        write_history(partial, history)
    with writing(folder / "losses.txt") as partial:
        np.savetxt(partial, losses, "%.6g", header="mean loss of each batch (nats)")
    try:
        weights = {name: p.list_data()[0].asnumpy() for name, p in net.collect_params().items()}
        check_weights(weights, f"epoch {history[-1]['epoch']}")
        with writing(folder / "net.params") as partial:
            save_params(net, partial)
    finally:  # figures are last, because they matter least; also if the weights are not finite
        # With decay, the rate falls in every step.
        cut_epochs = [] if recipe.decay else cuts(history)
        plots = dict(
            losses=lambda: figures.losses(losses, len(losses) / len(history), cut_epochs),
            curves=lambda: figures.curves(history, recipe.published),
        )
        if gap.measured(history):
            plots["gap"] = lambda: figures.gap(history)
        write_figures(folder, plots)


def write_figures(folder: Path, plots: Mapping[str, Callable[[], Figure]]) -> None:
    """Draw figures in matplotlib's own style, and write them as NAME.png, each file atomically.

    In a user's style, both can fail. For instance, ``text.usetex`` needs LaTeX.

    Parameters
    ----------
    folder : pathlib.Path
    plots : dict of str to callable
        Functions that draw the figures.

    Raises
    ------
    RunError
        When a file cannot be written.
    """
    with matplotlib.style.context("default"):
        for name, draw in plots.items():
            with writing(folder / f"{name}.png") as partial:
                draw().savefig(partial, dpi=150, format="png")
