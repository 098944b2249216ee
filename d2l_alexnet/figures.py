"""All figures: the curves of a run, images and predictions, the weights of a net."""

from __future__ import annotations

import itertools
import math
import textwrap
from typing import Any, Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

from d2l_alexnet.gap import PARTS, contributions, largest_parts
from d2l_alexnet.history import DIVERGED, cuts, diverged

# Colors that color-blind people can tell apart (Okabe and Ito, 2008), and markers for print.
LOSS = dict(color="#D55E00", marker="o")
RATE = dict(color="black", marker="d")
ACCURACIES: dict[str, tuple[str, dict[str, Any]]] = dict(
    running_train_accuracy=("running training", dict(color="#0072B2", marker="s")),
    running_train_accuracy_in_predict_mode=(
        "running, predict mode",
        dict(color="#56B4E9", marker="D", zorder=1),
    ),
    train_accuracy=("training, after the epoch", dict(color="#CC79A7", marker="v")),
    valid_accuracy=("validation", dict(color="#E69F00", marker="P")),
    test_accuracy=("test", dict(color="#009E73", marker="^")),
)
AVERAGED = 200  # batches, as in the second lecture
MARKED = 10  # with more points on a line, markers would hide it
LIVE_POINTS = 500  # at most so many on a line
LABEL_HEIGHT = 0.075  # of the axes: labels that are closer would touch
LATE = 0.85  # of the axes: labels of lines that end after it stand beside the axes
RUN_STYLES = (
    dict(color="#0072B2", marker="s"),
    dict(color="#D55E00", marker="o"),
    dict(color="#009E73", marker="^"),
)
COMPARED = dict(
    loss="running training loss (nats)",
    valid_accuracy="validation accuracy",
    learning_rate="learning rate",
)
PUBLISHED = dict(fillstyle="none", linestyle=":")
PART_COLORS = dict(dropout="#CC79A7", improvement="#56B4E9", overfitting="#E69F00")
RIGHT, WRONG = "#0072B2", "#D55E00"


def curves(history: Sequence[dict], published: Sequence[dict] = ()) -> Figure:
    """Draw loss and accuracies by epoch, and the learning rate if it changes.

    Published values are hollow and dotted. They are shown up to our last epoch. For a run of one
    epoch, bars take the place of curves.

    Parameters
    ----------
    history, published : sequence of dict
        Rows of a history. All accuracies in them are drawn.

    Returns
    -------
    matplotlib.figure.Figure
    """
    last = max(row["epoch"] for row in history or published)
    published = [row for row in published if row["epoch"] <= last]
    if last == 1 and history:
        return _bars_of_one_epoch(history[0], published)
    rates = {row["learning_rate"] for row in history if "learning_rate" in row}
    # Padding in inches: room for tick labels at the edge.
    figure = Figure(figsize=(10.5, 4), layout=ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.1))
    panels = figure.subplots(1, 2 + (len(rates) > 1))
    for rows, source, style in ((history, "", {}), (published, ", published", PUBLISHED)):
        for key, axes, base in zip(("loss", "learning_rate"), panels[::2], (LOSS, RATE)):
            _plot(axes, rows, key, "", {**base, **style})
        for key, (label, base) in ACCURACIES.items():
            _plot(panels[1], rows, key, _label(label, source, key, history), {**base, **style})
    for axes, name in zip(panels, ("Training loss (nats)", "Accuracy", "Learning rate")):
        axes.set_title(name)
        axes.margins(y=0.1)
        _set_epoch_axis(axes, 1, last)
        axes.grid(alpha=0.3)
    _set_percent_axis(panels[1])
    _clip_diverged(panels[0])
    for axes in panels[2:]:
        _set_log_axis(axes)
    _label_ends(panels[1])
    figure.suptitle(_result(history or published, published if history else ()))
    return figure


def _label(label: str, source: str, key: str, history: Sequence[dict]) -> str:
    """Return the label of a line; none for a published line beside ours, which is explained."""
    hidden = source and any(key in row for row in history)
    return "_published" if hidden else label + source


def _result(history: Sequence[dict], published: Sequence[dict]) -> str:
    """Say what came out: the last test accuracy, and the published one of the same epoch."""
    row = history[-1]
    text = f"Epoch {row['epoch']}"
    if "test_accuracy" in row:
        text += f": test accuracy {row['test_accuracy']:.1%}"
    if "loss" in row and diverged(history):
        text += ", diverged"
    same = [other for other in published if other["epoch"] == row["epoch"]]
    if same and "test_accuracy" in same[0]:
        text += f", published {same[0]['test_accuracy']:.1%}"
    return text + (" (dotted: published)" if published else "")


def _bars_of_one_epoch(row: dict, published: Sequence[dict]) -> Figure:
    """Draw the accuracies of a single epoch as bars, with the loss in the title."""
    known = [(key, label) for key, (label, _) in ACCURACIES.items() if key in row]
    figure = Figure(figsize=(7, 1.2 + 0.45 * len(known)), layout="constrained")
    axes = figure.subplots()
    labels = [label for _, label in known]
    colors = [ACCURACIES[key][1]["color"] for key, _ in known]
    _percent_bars(axes, labels, [row[key] for key, _ in known], colors)
    for place, (key, _) in enumerate(known):
        for other in published:
            if key in other:
                axes.plot(other[key], place, "kd", fillstyle="none", label=f"published {key}")
    axes.set_xlabel("accuracy" + (" (diamond: published)" if axes.get_lines() else ""))
    axes.set_title(f"One epoch: training loss {row['loss']:.3f}")
    return figure


def _percent_bars(
    axes: Axes, labels: Sequence[str], values: Sequence[float], colors: Sequence[str]
) -> None:
    """Draw fractions as bars with their percentages, the first one on top."""
    axes.barh(labels, values, color=colors)
    for place, value in enumerate(values):
        axes.text(value, place, f" {value:.1%}", va="center")
    axes.set_xlim(0, 1.15)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.invert_yaxis()


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
    last = max(rows[-1]["epoch"] for rows in histories.values() or [published])
    shown = [row for row in published if row["epoch"] <= last]
    runs = [*zip(histories, histories.values(), RUN_STYLES)]
    for name, rows, style in (*runs, ("published", shown, {**RATE, **PUBLISHED})):
        for axes, key in zip(panels, COMPARED):
            _plot(axes, rows, key, name, style)
    _set_epoch_axis(panels[-1], 1, last)
    _clip_diverged(panels[0])
    _set_log_axis(panels[-1])
    _set_percent_axis(panels[1])
    for axes, title in zip(panels, COMPARED.values()):
        axes.set_title(title, loc="left")
        axes.grid(alpha=0.3)
        _label_ends(axes)
    for _, rows, style in runs:
        for epoch in cuts(rows):
            for axes in panels:
                axes.axvline(epoch - 0.5, color=style["color"], linewidth=1)
            place = panels[-1].get_xaxis_transform()  # x in data values, y in heights of the axes
            text, color = f"cut in epoch {epoch} ", style["color"]
            panels[-1].text(epoch - 0.5, 0.06, text, color=color, ha="right", transform=place)
    return figure


def _plot(axes: Axes, rows: Sequence[dict], key: str, label: str, style: dict[str, Any]) -> None:
    """Draw one key of a history by epoch; draw nothing if no row has the key."""
    rows = [row for row in rows if key in row]
    if not rows:
        return
    if len(rows) > MARKED and not style.get("fillstyle"):
        style = dict(style, marker="")
    axes.plot(
        [row["epoch"] for row in rows],
        [row[key] for row in rows],
        label=label,
        drawstyle="steps-post" if key == "learning_rate" else "default",
        **style,
    )


def _values(line: Line2D) -> np.ndarray:
    return np.asarray(line.get_ydata())


def _set_epoch_axis(axes: Axes, first: int, last: int) -> None:
    """Label the x axis with epochs, and end it with the data, with room for markers."""
    room = max(0.2, 0.01 * (last - first))
    axes.set_xlabel("epoch")
    axes.set_xlim(first - room, last + room)
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))


def _set_percent_axis(axes: Axes) -> None:
    """Write the fractions of the y axis as percentages."""
    axes.yaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%")


def _set_log_axis(axes: Axes) -> None:
    """Make the y axis logarithmic, and long enough to have a tick label for constant values."""
    values = [value for line in axes.get_lines() for value in _values(line)]
    if values and min(values) > 0:
        axes.set_ylim(min(values) / 4, max(values) * 4)  # before the scale: avoids a warning
        axes.set_yscale("log")


def _clip_diverged(axes: Axes) -> None:
    """End the y axis at `DIVERGED` times the first loss, with an arrow, if a loss is above that."""
    lines = [line for line in axes.get_lines() if len(_values(line))]
    limit = DIVERGED * max((_values(line)[0] for line in lines), default=0)
    for line in lines:
        above = _values(line) > limit
        if above.any():
            axes.set_ylim(0, limit)
            first, largest = np.asarray(line.get_xdata())[above][0], _values(line).max()
            axes.annotate(
                f"up to {largest:.1e} ",
                (first, limit),
                (-22, -26),
                textcoords="offset points",
                ha="right",
                color=line.get_color(),
                bbox=dict(facecolor="white", edgecolor="none", pad=1),
                arrowprops=dict(arrowstyle="->", color=line.get_color()),
            )


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
    for axes, name in ((left, "Training loss (nats)"), (right, "Accuracy")):
        axes.set_xlim(0, max(1, last))
        axes.set_xlabel("epoch")
        axes.set_title(name)
        axes.grid(alpha=0.3)
    left.set_ylim(bottom=0)
    right.set_ylim(0, 1)
    _set_percent_axis(right)
    for axes in (left, right):
        _label_ends(axes)
    return figure


def _label_ends(axes: Axes) -> None:
    """Write the label of each line to the right of the line's end. The limits are final."""
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = []
    for line in axes.get_lines():
        if not str(line.get_label()).startswith("_"):
            x, y = to_axes.transform((np.asarray(line.get_xdata())[-1], _values(line)[-1]))
            x = 1.0 if x > LATE else round(x, 3)
            room = LABEL_HEIGHT / 2 if x < 1 else 0  # a label inside must not touch the frame
            ends.append((x, min(max(y, room), 1 - room), line))
    ends.sort(key=lambda end: end[:2])
    for x, group in itertools.groupby(ends, key=lambda end: end[0]):
        heights: list[float] = []
        for _, y, _ in (lines := [*group]):  # the labels must not touch
            heights.append(max(y, heights[-1] + LABEL_HEIGHT) if heights else y)
        lift = (sum(heights) - sum(y for _, y, _ in lines)) / len(lines)
        for height, (_, _, line) in zip(heights, lines):
            text, color = f"  {line.get_label()}", line.get_color()
            place = axes.transAxes
            axes.text(x, height - lift, text, transform=place, color=color, va="center")


def losses(losses: Sequence[float], batches: float, cut_epochs: Sequence[int] = ()) -> Figure:
    """Draw the loss of every batch and its centered running mean, by step and by epoch.

    Parameters
    ----------
    losses : sequence of float
        The loss of each batch since the beginning.
    batches : float
        Number of batches in an epoch.
    cut_epochs : sequence of int
        Epochs before which the learning rate was cut. A vertical line marks each.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    steps = np.arange(1, len(losses) + 1)
    window = min(AVERAGED, 1 + len(losses) // 20)
    mean = np.convolve(losses, np.full(window, 1 / window), mode="valid")
    axes.plot(steps, losses, color="#BBBBBB", linewidth=0.5, label="loss of each batch")
    centers = np.arange(len(mean)) + (window + 1) / 2
    axes.plot(centers, mean, color=LOSS["color"], label=f"mean over {window} batches")
    axes.set_xlabel("batch")
    axes.set_ylabel("training loss (nats)")
    axes.set_xlim(0, len(losses) + 1)
    axes.set_ylim(bottom=0)
    _clip_diverged(axes)
    for epoch in cut_epochs:
        x = (epoch - 1) * batches
        axes.axvline(x, color="black", linewidth=1)
        text, place = f"learning rate cut in epoch {epoch} ", axes.get_xaxis_transform()
        axes.text(x, 0.97, text, transform=place, va="top", ha="right", rotation=90)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right", frameon=False)
    to_epochs, to_steps = (lambda step: step / batches), (lambda epoch: epoch * batches)
    epochs = axes.secondary_xaxis("top", functions=(to_epochs, to_steps))
    epochs.set_xlabel("epoch")
    return figure


def gap(history: Sequence[dict]) -> Figure:
    """Draw the parts of the gap between test and running training accuracy, by epoch.

    A run of one epoch gets the four accuracies with the steps between them. Otherwise the first
    epoch has an axis of its own, because its parts are far larger.

    Parameters
    ----------
    history : sequence of dict
        The history of a run with ``--explain-gap``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if len(history) == 1:
        return _waterfall(history[0])
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.3, len(history) - 1))
    for axes, rows in ((left, history[:1]), (right, history[1:])):
        _bars_of_parts(axes, rows)
    left.set_ylabel("percentage points")
    right.set_ylabel("percentage points, on another scale")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(f"Largest part of the gap: {largest_parts(history)}", fontsize=11)
    return figure


def _bars_of_parts(axes: Axes, rows: Sequence[dict]) -> None:
    """Draw the parts of each row side by side, with their values."""
    width = 0.27
    for place, (key, name) in enumerate(PARTS.items()):
        points = [100 * contributions(row)[key] for row in rows]
        centers = [row["epoch"] + (place - 1) * width for row in rows]
        label = f"{name} (makes the gap smaller)" if key == "overfitting" else name
        bars = axes.bar(centers, points, 0.9 * width, color=PART_COLORS[key], label=label)
        axes.bar_label(bars, fmt="%+.1f", fontsize=8, padding=2)
    gaps = [100 * sum(contributions(row).values()) for row in rows]
    names = [f"epoch {row['epoch']}\ngap {points:+.1f}" for row, points in zip(rows, gaps)]
    axes.set_xticks([row["epoch"] for row in rows], names)
    axes.margins(y=0.12)
    axes.axhline(0, color="black", linewidth=0.8)


def _waterfall(row: dict) -> Figure:
    """Draw the steps from running training accuracy to test accuracy in one epoch."""
    parts = contributions(row)
    start, end = row["running_train_accuracy"], row["test_accuracy"]
    names = [textwrap.fill(name, 12) for name in ("running training", *PARTS.values(), "test")]
    levels = np.cumsum([start, *parts.values()])
    bottoms = [0, *np.minimum(levels[:-1], levels[1:]), 0]
    heights = [start, *np.abs(np.diff(levels)), end]
    first, last = (ACCURACIES[f"{key}_accuracy"][1]["color"] for key in ("running_train", "test"))
    colors = [first, *PART_COLORS.values(), last]
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.bar(names, heights, 0.6, bottoms, color=colors)
    points = [f"{start:.1%}", *(f"{100 * part:+.1f} points" for part in parts.values())]
    for place, (top, text) in enumerate(zip(np.add(bottoms, heights), [*points, f"{end:.1%}"])):
        axes.text(place, top, text, ha="center", va="bottom")
    axes.set_ylim(0.8 * min(start, end), 1.05 * max(levels))
    _set_percent_axis(axes)
    axes.set_ylabel("accuracy")
    difference = f"{100 * (end - start):+.1f} percentage points"
    axes.set_title(f"From running training accuracy to test accuracy: {difference}")
    return figure


def one_of_each(labels: Sequence[int] | np.ndarray) -> np.ndarray:
    """Find the first image of each class: the indices, in the order of the classes."""
    return np.unique(labels, return_index=True)[1]


def samples(
    images: Iterable[np.ndarray],
    labels: Iterable[int],
    classes: Sequence[str],
    probabilities: np.ndarray | None = None,
    columns: int = 5,
) -> Figure:
    """Draw images in a grid, with their true classes and, if given, a net's predictions.

    A wrong prediction has a cross and an orange frame, a right one a tick and a blue frame.

    Parameters
    ----------
    images : iterable of numpy.ndarray
        uint8 (H, W, 1) for gray, (H, W, 3) for color.
    labels : iterable of int
        Their classes.
    classes : sequence of str
        The names of all classes.
    probabilities : numpy.ndarray, optional
        (N, classes), 0…1: the outputs of a net.
    columns : int
        Number of images in a row.

    Returns
    -------
    matplotlib.figure.Figure
    """
    labels = list(labels)
    rows = max(1, math.ceil(len(labels) / columns))
    height = 2.3 if probabilities is None else 2.8
    figure = Figure(figsize=(2 * columns, height * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for i, (axes, image, label) in enumerate(zip(grid, images, labels)):
        axes.imshow(np.broadcast_to(image, (*image.shape[:2], 3)))
        if probabilities is None:
            axes.set_title(classes[label], fontsize=10)
        else:
            _write_prediction(axes, probabilities[i], label, classes)
    return figure


def _write_prediction(
    axes: Axes, probabilities: np.ndarray, label: int, classes: Sequence[str]
) -> None:
    """Frame an image by whether its prediction is right, and write the two best guesses."""
    first, second = np.argsort(-probabilities, kind="stable")[:2]
    right = first == label
    color = RIGHT if right else WRONG
    text = f"{'✓' if right else '✗'} {classes[first]} {probabilities[first]:.1%}\n"
    text += f"then {classes[second]} {probabilities[second]:.1%}\ntrue: {classes[label]}"
    axes.set_title(text, fontsize=9, color=color)
    height, width = axes.images[0].get_size()
    _frame(axes, 0, 0, height, width, color)


def _frame(axes: Axes, left: int, top: int, height: int, width: int, color: str) -> None:
    """Draw a frame around pixels of an image."""
    corner = left - 0.5, top - 0.5
    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=color, linewidth=3))


def crops(image: np.ndarray, side: int, places: Sequence[tuple[int, int]]) -> Figure:
    """Draw an image with the frames of several crops, and the crops.

    Parameters
    ----------
    image : numpy.ndarray
        uint8 (H, W, 3), as resized.
    side : int
        Side of each square crop, in pixels.
    places : sequence of (int, int)
        Top and left of each crop.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(2.6 * (1 + len(places)), 3), layout="constrained")
    first, *others = figure.subplots(1, 1 + len(places))
    first.imshow(image)
    first.set_title(f"resized: {image.shape[0]} × {image.shape[1]}")
    for axes, (top, left), style in zip(others, places, RUN_STYLES):
        color = style["color"]
        _frame(first, left, top, side, side, color)
        axes.imshow(image[top : top + side, left : left + side])
        axes.set_title(f"crop from row {top}, column {left}", color=color, fontsize=10)
    for axes in (first, *others):
        axes.set_axis_off()
    return figure


def confusion(matrix: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draw a confusion matrix: counts as numbers, and the mistakes in color.

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
    mistakes: Any = np.ma.masked_array(matrix, np.eye(len(matrix), dtype=bool))
    most = max(1, mistakes.max() or 0)
    axes.imshow(mistakes, cmap="Oranges", vmin=0, vmax=most)
    for (row, column), count in np.ndenumerate(matrix):
        dark = row != column and count > 0.6 * most
        color, weight = "white" if dark else "black", "bold" if row == column else "normal"
        text = str(count or "·")
        axes.text(column, row, text, color=color, fontweight=weight, ha="center", va="center")
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    right, total = int(np.trace(matrix)), int(matrix.sum())
    axes.set_title(f"{right / max(1, total):.1%} right; {total - right:,} mistakes in color")
    return figure


def filters(weight: np.ndarray, columns: int = 12) -> Figure:
    """Draw the filters of a convolution in a grid, each on its own scale, by contrast.

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
    kernels = weight.mean(axis=1)
    order = np.argsort(-kernels.std(axis=(1, 2)), kind="stable")
    for i, kernel in enumerate(kernels[order]):
        top, left = (height + 1) * (i // columns), (width + 1) * (i % columns)
        mosaic[top : top + height, left : left + width] = kernel / (np.abs(kernel).max() or 1)
    figure = Figure(figsize=(9, 0.7 * rows + 0.6), layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor("gray")  # between the filters
    axes.imshow(mosaic, cmap="PuOr", vmin=-1, vmax=1)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(
        f"{len(weight)} filters of {height} × {width} pixels, the highest contrast first"
    )
    axes.set_xlabel("purple: positive weights, orange: negative; each filter on its own scale")
    return figure


def layers(trace: Sequence[Any]) -> Figure:
    """Draw the number of output values, parameters and multiply-adds of each layer.

    Parameters
    ----------
    trace : list of Layer
        The layers of a net for one image, as `d2l_alexnet.shapes.trace` lists them.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(11, 0.3 * len(trace) + 1.4), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    names = [layer.name for layer in trace]
    shapes = [" × ".join(f"{n:,}" for n in layer.output_shape[1:]) for layer in trace]
    outputs = [math.prod(layer.output_shape) for layer in trace]
    _bars(panels[0], names, outputs, shapes, "output values", LOSS["color"])
    for axes, key, color in zip(panels[1:], ("parameters", "multiply_adds"), (RIGHT, "#009E73")):
        values = [getattr(layer, key) for layer in trace]
        texts = [f"{value:,}" if value else "" for value in values]
        _bars(axes, names, values, texts, key.replace("_", "-"), color)
    panels[0].invert_yaxis()  # the first layer on top
    return figure


def _bars(
    axes: Axes,
    names: Sequence[str],
    values: Sequence[int],
    texts: Sequence[str],
    label: str,
    color: str,
) -> None:
    """Draw a bar for each value, with room for the texts behind the bars."""
    axes.barh(names, values, color=color)
    largest = max(1, *values)
    axes.set_xlim(0, 1.7 * largest)
    for row, (value, text) in enumerate(zip(values, texts)):
        axes.text(value + 0.03 * largest, row, text, va="center", fontsize=9)
    axes.set_title(label)
    axes.set_xticks([])
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)


def probabilities(values: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draw the probabilities of all classes as bars, the most likely class on top.

    Parameters
    ----------
    values : numpy.ndarray
        (classes,), 0…1.
    classes : sequence of str
        The names of the classes.

    Returns
    -------
    matplotlib.figure.Figure
    """
    order = np.argsort(-values, kind="stable")
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    colors = [RIGHT] + ["#BBBBBB"] * (len(order) - 1)
    _percent_bars(axes, [classes[i] for i in order], values[order].tolist(), colors)
    axes.set_title(f"{classes[order[0]]}: {values[order[0]]:.1%}")
    return figure
