"""All figures: the curves of a run, images and predictions, the weights of a net."""

from __future__ import annotations

import math
from typing import Any, Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from d2l_alexnet.gap import PARTS, contributions
from d2l_alexnet.history import DIVERGED, cuts

# Colours that colour-blind people can tell apart (Okabe and Ito, 2008), and markers for print.
LOSS = dict(color="#D55E00", marker="o")
RATE = dict(color="black", marker="d")
ACCURACIES: dict[str, tuple[str, dict[str, Any]]] = dict(
    running_train_accuracy=("running training", dict(color="#0072B2", marker="s")),
    running_train_accuracy_in_predict_mode=(
        "running training, predict mode",
        dict(color="#56B4E9", marker="D", markersize=10, zorder=1),  # visible behind an equal line
    ),
    train_accuracy=("training, after the epoch", dict(color="#CC79A7", marker="v")),
    valid_accuracy=("validation", dict(color="#E69F00", marker="P")),
    test_accuracy=("test", dict(color="#009E73", marker="^")),
)
AVERAGED = 200  # batches, as in the second lecture
MARKERS = 20  # about so many on a line, so that they do not hide the line
LIVE_POINTS = 500  # at most so many on a line
RUN_STYLES = (
    dict(color="#0072B2", marker="s"),
    dict(color="#D55E00", marker="o"),
    dict(color="#009E73", marker="^"),
)
COMPARED = dict(
    loss="running training loss (nats)",
    valid_accuracy="validation accuracy (fraction)",
    learning_rate="learning rate",
)
PUBLISHED = dict(fillstyle="none", linestyle=":")
PART_COLOURS = dict(dropout="#CC79A7", improvement="#56B4E9", overfitting="#E69F00")


def curves(history: Sequence[dict], published: Sequence[dict] = ()) -> Figure:
    """Draw loss, accuracies and learning rate by epoch. Published values are hollow and dotted.

    Parameters
    ----------
    history, published : sequence of dict
        Rows of a history. All accuracies in them are drawn.

    Returns
    -------
    matplotlib.figure.Figure
    """
    # Padding in inches: room for long legends and for tick labels at the edge.
    figure = Figure(layout=ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.1))
    left, middle, right = figure.subplots(1, 3, width_ratios=(3, 3, 2))
    for rows, source, style in ((history, "", {}), (published, ", published", PUBLISHED)):
        _plot(left, rows, "loss", f"running training{source}", {**LOSS, **style})
        for key, (label, its_style) in ACCURACIES.items():
            _plot(middle, rows, key, label + source, {**its_style, **style})
        _plot(right, rows, "learning_rate", f"at the epoch's end{source}", {**RATE, **style})
    left.set_ylabel("cross-entropy (nats)")
    middle.set_ylabel("accuracy (fraction)")
    right.set_ylabel("learning rate")
    last = max(row["epoch"] for row in (*history, *published))
    for axes in (left, middle, right):
        axes.margins(y=0.15)
        _set_epoch_axis(axes, 1, last)
        axes.grid(alpha=0.3)
        if axes.get_lines():
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), frameon=False)
    _clip_diverged(left)
    _set_log_axis(right)
    legend_lines = max(len(axes.get_lines()) for axes in figure.axes)
    figure.set_size_inches(10.5, 3.5 + 0.25 * legend_lines)
    return figure


def compare(histories: Mapping[str, Sequence[dict]], published: Sequence[dict]) -> Figure:
    """Draw loss, validation accuracy and learning rate of several runs, in three panels.

    A vertical line shows where the learning rate of a run was cut. Published values are hollow and
    dotted; they are shown up to the last epoch of the longest run.

    Parameters
    ----------
    histories : dict of str to sequence of dict
        The histories of the runs by their names; at most as many as `RUN_STYLES`.
    published : sequence of dict
        Published rows of a history. Some keys may be missing.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(9, 8), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 2))
    runs = [*zip(histories, histories.values(), RUN_STYLES)]
    for name, rows, style in (*runs, ("published", published, {**RATE, **PUBLISHED})):
        for axes, key in zip(panels, COMPARED):
            _plot(axes, rows, key, name, style)
    last = max(rows[-1]["epoch"] for rows in histories.values() or [published])
    _set_epoch_axis(panels[-1], 1, last)
    _clip_diverged(panels[0])
    _set_log_axis(panels[-1])
    for axes, label in zip(panels, COMPARED.values()):
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        for _, rows, style in runs:
            for epoch in cuts(rows):
                axes.axvline(epoch - 0.5, color=style["color"], linewidth=1)
    figure.legend(*panels[1].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def _plot(axes: Axes, rows: Sequence[dict], key: str, label: str, style: dict[str, Any]) -> None:
    """Draw one key of a history by epoch; draw nothing if no row has the key."""
    rows = [row for row in rows if key in row]
    if rows:
        axes.plot(
            [row["epoch"] for row in rows],
            [row[key] for row in rows],
            label=label,
            markevery=math.ceil(len(rows) / MARKERS),
            drawstyle="steps-post" if key == "learning_rate" else "default",
            **style,
        )


def _values(line: Line2D) -> np.ndarray:
    return np.asarray(line.get_ydata())


def _set_epoch_axis(axes: Axes, first: int, last: int) -> None:
    """Label the x axis with epochs, and leave room for markers at both ends."""
    room = max(0.5, 0.03 * (last - first))
    axes.set_xlabel("epoch")
    axes.set_xlim(first - room, last + room)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))


def _set_log_axis(axes: Axes) -> None:
    """Make the y axis logarithmic, and long enough to have a tick label for constant values."""
    values = [value for line in axes.get_lines() for value in _values(line)]
    if values and min(values) > 0:
        axes.set_ylim(min(values) / 4, max(values) * 4)  # before the scale: avoids a warning
        axes.set_yscale("log")


def _clip_diverged(axes: Axes) -> None:
    """End the y axis at `DIVERGED` times the first loss, if a loss is above that."""
    lines = [_values(line) for line in axes.get_lines()]
    limit = DIVERGED * max((values[0] for values in lines), default=0)
    if any(max(values) > limit for values in lines):
        axes.set_ylim(0, limit)


def live(points: Sequence[dict], history: Sequence[dict]) -> Figure:
    """Draw loss and accuracy by epoch for a net that is being trained.

    Parameters
    ----------
    points : sequence of dict
        One for each training step, with the keys ``epoch`` (a fraction: 0.5 in the middle of the
        first epoch), ``loss`` and ``running_train_accuracy`` (means over the epoch so far). May be
        empty.
    history : sequence of dict
        Rows of the finished epochs: their validation and test accuracies are drawn. May be empty.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    chosen = np.linspace(0, len(points) - 1, min(len(points), LIVE_POINTS)).astype(int)
    thinned = [points[i] for i in chosen]
    _plot(left, thinned, "loss", "running loss", dict(LOSS, marker=""))
    for key, rows in (
        ("running_train_accuracy", thinned),
        ("valid_accuracy", history),
        ("test_accuracy", history),
    ):
        label, style = ACCURACIES[key]
        _plot(right, rows, key, label, dict(style, marker="") if rows is thinned else style)
    last = max((row["epoch"] for row in (*points[-1:], *history[-1:])), default=0)
    for axes, name in ((left, "loss (nats)"), (right, "accuracy (fraction)")):
        axes.set_xlim(0, max(1, last))
        axes.set_xlabel("epoch")
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
    left.set_ylim(bottom=0)
    right.set_ylim(0, 1)
    for axes in (left, right):
        _label_ends(axes)
    return figure


def _label_ends(axes: Axes) -> None:
    """Write the label of each line to the right of the axes, at the height of the line's end."""
    low, high = axes.get_ylim()
    lines = sorted(axes.get_lines(), key=lambda line: _values(line)[-1])
    ends = [_values(line)[-1] for line in lines]
    heights: list[float] = []
    for end in ends:  # the labels must not touch
        lowest = heights[-1] + 0.07 * (high - low) if heights else end
        heights.append(max(end, lowest))
    lift = (sum(heights) - sum(ends)) / max(1, len(lines))
    for line, height in zip(lines, heights):
        place = axes.get_yaxis_transform()  # x in widths of the axes, y in data values
        text, color = f" {line.get_label()}", line.get_color()
        axes.text(1, height - lift, text, transform=place, color=color, va="center")


def losses(losses: Sequence[float], batches: float) -> Figure:
    """Draw the loss of every batch and its running average, by step and by epoch.

    Parameters
    ----------
    losses : sequence of float
        The loss of each batch since the beginning.
    batches : float
        Number of batches in an epoch.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    steps = np.arange(1, len(losses) + 1)
    window = min(AVERAGED, 1 + len(losses) // 20)
    average = np.convolve(losses, np.full(window, 1 / window), mode="valid")
    axes.plot(steps, losses, color="#BBBBBB", linewidth=0.5, label="loss of each batch")
    label = f"mean of the last {window} batches"
    axes.plot(steps[window - 1 :], average, color=LOSS["color"], label=label)
    axes.set_xlabel("batch")
    axes.set_ylabel("cross-entropy (nats)")
    axes.set_xlim(0, len(losses) + 1)
    axes.set_ylim(bottom=0)
    _clip_diverged(axes)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper center", frameon=False)
    to_epochs, to_steps = (lambda step: step / batches), (lambda epoch: epoch * batches)
    epochs = axes.secondary_xaxis("top", functions=(to_epochs, to_steps))
    epochs.set_xlabel("epoch")
    return figure


def gap(history: Sequence[dict]) -> Figure:
    """Draw the parts of the gap between test and running training accuracy, stacked by epoch.

    Parts that make the gap larger are above zero, and parts that make it smaller are below. A
    diamond shows the gap, which is their sum.

    Parameters
    ----------
    history : sequence of dict
        The history of a run with ``--explain-gap``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    epochs, parts = [row["epoch"] for row in history], [contributions(row) for row in history]
    above, below = [0.0] * len(parts), [0.0] * len(parts)
    for key, name in PARTS.items():
        heights = [part[key] for part in parts]
        bottoms = [high if h > 0 else low for h, high, low in zip(heights, above, below)]
        axes.bar(epochs, heights, 0.6, bottoms, color=PART_COLOURS[key], label=name)
        above = [high + max(h, 0) for h, high in zip(heights, above)]
        below = [low + min(h, 0) for h, low in zip(heights, below)]
    gaps = [sum(part.values()) for part in parts]
    axes.plot(epochs, gaps, "kD", label="test minus running training")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_ylabel("accuracy (fraction)")
    _set_epoch_axis(axes, min(epochs), max(epochs))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2, frameon=False)
    return figure


def samples(
    images: Iterable[np.ndarray],
    labels: Iterable[int],
    classes: Sequence[str],
    predicted: Iterable[int] | None = None,
    confidences: Iterable[float] = (),
    columns: int = 5,
) -> Figure:
    """Draw images in a grid, with their true classes and, if given, a net's predictions.

    Parameters
    ----------
    images : iterable of numpy.ndarray
        uint8 (H, W, 1) for grey, (H, W, 3) for colour.
    labels : iterable of int
        Their classes.
    classes : sequence of str
        The names of all classes.
    predicted : iterable of int, optional
        The classes that a net predicts.
    confidences : iterable of float, optional
        The probabilities of the predicted classes, 0…1.
    columns : int
        Number of images in a row.

    Returns
    -------
    matplotlib.figure.Figure
    """
    titles = [classes[label] for label in labels]
    if predicted is not None:
        titles = [
            f"true: {title}\nnet: {classes[guess]}, {confidence:.3f}"
            for title, guess, confidence in zip(titles, predicted, confidences)
        ]
    rows = max(1, math.ceil(len(titles) / columns))
    figure = Figure(figsize=(2 * columns, 2.6 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, image, title in zip(grid, images, titles):
        axes.imshow(np.broadcast_to(image, (*image.shape[:2], 3)))
        axes.set_title(title, fontsize=10)
    for axes in grid:
        axes.set_axis_off()
    return figure


def confusion(matrix: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draw a confusion matrix: counts as numbers, fractions of the true class as shades.

    Parameters
    ----------
    matrix : numpy.ndarray
        (classes, classes): the number of images of the row's class that were predicted as the
        column's class.
    classes : sequence of str
        The names of the classes.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(7.5, 6.5), layout="constrained")
    axes = figure.subplots()
    fraction = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    shades = axes.imshow(fraction, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        colour = "white" if fraction[row, column] > 0.5 else "black"
        axes.text(column, row, count or "·", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    figure.colorbar(shades, label="fraction of the true class")
    return figure


def filters(weight: np.ndarray, columns: int = 12) -> Figure:
    """Draw the filters of a convolution in a grid, with one colour scale for all.

    Parameters
    ----------
    weight : numpy.ndarray
        (filters, C, H, W). The mean over the input channels is drawn.
    columns : int
        Number of filters in a row.

    Returns
    -------
    matplotlib.figure.Figure
    """
    height, width = weight.shape[2:]
    rows = math.ceil(len(weight) / columns)
    mosaic = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for i, kernel in enumerate(weight.mean(axis=1)):
        top, left = (height + 1) * (i // columns), (width + 1) * (i % columns)
        mosaic[top : top + height, left : left + width] = kernel
    figure = Figure(figsize=(9, 0.62 * rows + 0.4), layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor("gray")  # between the filters
    limit = np.nanmax(np.abs(mosaic))
    shades = axes.imshow(mosaic, cmap="PuOr", vmin=-limit, vmax=limit)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(f"{len(weight)} filters of {height} × {width} pixels")
    figure.colorbar(shades, label="weight")
    return figure


def layers(trace: Sequence[Any]) -> Figure:
    """Draw the number of output values and of parameters of each layer.

    Parameters
    ----------
    trace : list of Layer
        The layers of a net for one image, as `d2l_alexnet.shapes.trace` lists them.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(9, 0.3 * len(trace) + 1.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    names = [layer.name for layer in trace]
    outputs = [math.prod(layer.output_shape) for layer in trace]
    shapes = [" × ".join(map(str, layer.output_shape[1:])) for layer in trace]
    parameters = [layer.parameters for layer in trace]
    _bars(left, names, outputs, shapes, "output values", LOSS["color"])
    counts = [f"{n:,}" if n else "none" for n in parameters]
    _bars(right, names, parameters, counts, "parameters", "#0072B2")
    left.invert_yaxis()  # the first layer on top
    return figure


def _bars(
    axes: Axes,
    names: Sequence[str],
    values: Sequence[int],
    texts: Sequence[str],
    label: str,
    color: str,
) -> None:
    """Draw a bar from 1 to each value, on a logarithmic axis with room for the texts."""
    axes.barh(names, values, color=color)
    axes.set_xscale("log")
    axes.set_xlim(1, max(values) ** 1.5)
    for row, (value, text) in enumerate(zip(values, texts)):
        axes.text(1.3 * max(1, value), row, text, va="center")
    axes.set_xlabel(label)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
