"""Draw the speeds that `step.py` measured, one panel for training and one for evaluation.

``python benchmarks/chart.py`` reads results/benchmarks/training.json and evaluation.json, and
writes step.png beside them.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

RESULTS = Path(__file__).parents[1] / "results" / "benchmarks"
COLORS = {"ours": "#0072B2", "lecture": "#E69F00", "PyTorch": "#999999"}  # by the name's beginning


def main() -> None:
    """Read the figures of both kinds, and draw them."""
    kinds = ("training", "evaluation")
    draw({kind: json.loads((RESULTS / f"{kind}.json").read_text()) for kind in kinds}).savefig(
        RESULTS / "step.png", dpi=150
    )


def draw(benchmarks: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw a panel for each kind, with the median speeds of all contestants as bars.

    Parameters
    ----------
    benchmarks : dict of str to dict
        By kind, the content of a JSON file of `step.py`.
    """
    figure = Figure(figsize=(9, 6), layout="constrained")
    panels = figure.subplots(len(benchmarks), 1, squeeze=False)[:, 0]
    for axes, (kind, benchmark) in zip(panels, benchmarks.items()):
        draw_bars(axes, benchmark["images_per_second"])
        machine = "{cpu}, {cores} cores".format(**benchmark["machine"])
        axes.set_title(f"{kind.capitalize()}, images per second. {machine}", loc="left")
    return figure


def draw_bars(axes: Axes, rates: Mapping[str, Sequence[float]]) -> None:
    """Draw the contestants as bars, the fastest on top, with the speed and the ratio to ours."""
    medians = {name: statistics.median(values) for name, values in rates.items()}
    names = sorted(medians, key=medians.__getitem__)
    best = max((name for name in names if name.startswith("ours")), key=medians.__getitem__)
    column = axes.get_yaxis_transform()  # x is a fraction of the axes, y is a place
    for place, name in enumerate(names):
        (color,) = (color for start, color in COLORS.items() if name.startswith(start))
        axes.barh(place, medians[name], color=color)
        axes.text(medians[name], place, f" {medians[name]:.0f}", va="center", fontsize=8)
        if name != best:
            ratio = statistics.median(a / b for a, b in zip(rates[best], rates[name]))
            axes.text(
                1, place, f"{ratio:.2f} ×", va="center", ha="right", fontsize=8, transform=column
            )
    axes.set_title(f"{label(best)} is\n… times as fast", loc="right", fontsize=8)
    axes.set_yticks(range(len(names)), map(label, names), fontsize=8)
    axes.set_xticks([])  # the speeds are written on the bars
    axes.set_xlim(0, max(medians.values()) * 1.25)
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def label(name: str) -> str:
    """Return the name of a contestant with its number format, which float32 names do not have."""
    return name if "float" in name else f"{name}, float32"


if __name__ == "__main__":
    main()
