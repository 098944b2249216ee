"""Pictures of what a run has measured."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Colours that the colour-blind can tell apart (Okabe and Ito, 2008), and markers for print.
LOSS = dict(color="#D55E00", marker="o")
RUNNING = dict(color="#0072B2", marker="s")
TEST = dict(color="#009E73", marker="^")
PUBLISHED = dict(fillstyle="none", linestyle=":")


def curves(history, published=()):
    """Draw loss and accuracies by epoch, with the published ones, hollow and dotted, beside them.

    Parameters
    ----------
    history, published : sequence of dict
        Rows of a history.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(9, 3.8))
    left, right = figure.subplots(1, 2)
    for rows, whose, style in ((history, "", {}), (published, ", published", PUBLISHED)):
        _plot(left, rows, "loss", f"running training{whose}", {**LOSS, **style})
        _plot(
            right, rows, "running_train_accuracy", f"running training{whose}", {**RUNNING, **style}
        )
        _plot(right, rows, "test_accuracy", f"test{whose}", {**TEST, **style})
    left.set_ylabel("cross-entropy (nats)")
    right.set_ylabel("accuracy (fraction)")
    last = max(row["epoch"] for row in (*history, *published))
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.set_xlim(0.5, last + 0.5)  # also where there is but one
        axes.margins(y=0.15)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.tight_layout()
    return figure


def _plot(axes, rows, key, label, style):
    if rows:
        axes.plot([row["epoch"] for row in rows], [row[key] for row in rows], label=label, **style)
