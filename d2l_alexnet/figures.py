"""Pictures of what a run has measured, and of what its net sees and says."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from d2l_alexnet.gap import PARTS, contributions
from d2l_alexnet.history import cuts

# Colours that the colour-blind can tell apart (Okabe and Ito, 2008), and markers for print.
LOSS = dict(color="#D55E00", marker="o")
RATE = dict(color="black", marker="d")
ACCURACIES = dict(
    running_train_accuracy=("running training", dict(color="#0072B2", marker="s")),
    running_train_accuracy_in_predict_mode=(
        "running training, predict mode",
        dict(color="#56B4E9", marker="D", markersize=10, zorder=1),  # seen behind an equal one
    ),
    train_accuracy=("training, after the epoch", dict(color="#CC79A7", marker="v")),
    valid_accuracy=("validation", dict(color="#E69F00", marker="P")),
    test_accuracy=("test", dict(color="#009E73", marker="^")),
)
AVERAGED = 200  # batches, as in the second lecture
MARKERS = 20  # on a line, about, so that those of many epochs do not hide it
RUNS = (
    dict(color="#0072B2", marker="s"),
    dict(color="#D55E00", marker="o"),
    dict(color="#009E73", marker="^"),
)
DIVERGED = 2  # times what it was at first: from there on a loss leaves the picture
COMPARED = dict(
    loss="running training loss (nats)",
    valid_accuracy="validation accuracy (fraction)",
    learning_rate="learning rate",
)
PUBLISHED = dict(fillstyle="none", linestyle=":")
PART_COLOURS = dict(dropout="#CC79A7", improvement="#56B4E9", overfitting="#E69F00")


def curves(history, published=()):
    """Draw loss, accuracies and learning rate by epoch; published ones hollow and dotted.

    Parameters
    ----------
    history, published : sequence of dict
        Rows of a history; all accuracies that they hold are drawn.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(layout="constrained")
    # Inches; long legends hang lower than it believes, and a tick's label may stand at the edge.
    figure.get_layout_engine().set(h_pad=0.1, w_pad=0.1)
    left, middle, right = figure.subplots(1, 3, width_ratios=(3, 3, 2))
    for rows, whose, style in ((history, "", {}), (published, ", published", PUBLISHED)):
        _plot(left, rows, "loss", f"running training{whose}", {**LOSS, **style})
        for key, (label, colour) in ACCURACIES.items():
            _plot(middle, rows, key, label + whose, {**colour, **style})
        _plot(right, rows, "learning_rate", f"at the epoch's end{whose}", {**RATE, **style})
    left.set_ylabel("cross-entropy (nats)")
    middle.set_ylabel("accuracy (fraction)")
    right.set_ylabel("learning rate")
    last = max(row["epoch"] for row in (*history, *published))
    for axes in (left, middle, right):
        axes.margins(y=0.15)
        _epochs(axes, 1, last)
        axes.grid(alpha=0.3)
        if axes.get_lines():
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), frameon=False)
    _leave_out_what_diverged(left)
    _span_a_decade(right)
    legend = max(len(axes.get_lines()) for axes in figure.axes)  # lines
    figure.set_size_inches(10.5, 3.5 + 0.25 * legend)
    return figure


def compare(histories, published):
    """Draw loss, validation accuracy and learning rate of several runs, one above the other.

    An upright line stands where a run's rate was cut; what is published is hollow and dotted, and
    shown as far as the longest run goes.

    Parameters
    ----------
    histories : dict of str to sequence of dict
        Rows of a history, by the run's name. As many as `RUNS`, at the most.
    published : sequence of dict
        Such rows too; what they lack is left out.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(9, 8), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 2))
    runs = [*zip(histories, histories.values(), RUNS)]
    for name, rows, style in (*runs, ("published", published, {**RATE, **PUBLISHED})):
        for axes, key in zip(panels, COMPARED):
            _plot(axes, rows, key, name, style)
    _epochs(panels[-1], 1, max(rows[-1]["epoch"] for rows in histories.values() or [published]))
    _leave_out_what_diverged(panels[0])
    _span_a_decade(panels[-1])
    for axes, label in zip(panels, COMPARED.values()):
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        for _, rows, style in runs:
            for epoch in cuts(rows):
                axes.axvline(epoch - 0.5, color=style["color"], linewidth=1)
    figure.legend(*panels[1].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def _plot(axes, rows, key, label, style):
    rows = [row for row in rows if key in row]
    if rows:
        axes.plot(
            [row["epoch"] for row in rows],
            [row[key] for row in rows],
            label=label,
            markevery=math.ceil(len(rows) / MARKERS),
            drawstyle="steps-post" if key == "learning_rate" else "default",  # it holds until cut
            **style,
        )


def _epochs(axes, first, last):
    """Label an axis of epochs, with room on both sides for a marker, and where there is but one."""
    room = max(0.5, 0.03 * (last - first))
    axes.set_xlabel("epoch")
    axes.set_xlim(first - room, last + room)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))


def _span_a_decade(axes):
    """Make the y axis logarithmic, and long enough for a labelled tick where all is constant."""
    values = [value for line in axes.get_lines() for value in line.get_ydata()]
    if values and min(values) > 0:
        axes.set_yscale("log")
        axes.set_ylim(min(values) / 4, max(values) * 4)


def _leave_out_what_diverged(axes):
    """Let a loss that grows beyond all measure run out of the picture, and the rest be seen."""
    lines = [line.get_ydata() for line in axes.get_lines()]
    limit = DIVERGED * max((values[0] for values in lines), default=0)
    if any(max(values) > limit for values in lines):
        axes.set_ylim(0, limit)


def losses(losses, batches):
    """Draw the loss of every batch and its running average, by step and by epoch.

    Parameters
    ----------
    losses : sequence of float
        Of each batch since the beginning.
    batches : float
        In an epoch.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    steps = np.arange(1, len(losses) + 1)
    window = min(AVERAGED, 1 + len(losses) // 20)  # a mean lags by half of it
    average = np.convolve(losses, np.full(window, 1 / window), mode="valid")
    axes.plot(steps, losses, color="#BBBBBB", linewidth=0.5, label="of a batch")
    label = f"mean of the last {window} batches"
    axes.plot(steps[window - 1 :], average, color=LOSS["color"], label=label)
    axes.set_xlabel("batch")
    axes.set_ylabel("cross-entropy (nats)")
    axes.set_xlim(0, len(losses) + 1)
    axes.set_ylim(bottom=0)
    _leave_out_what_diverged(axes)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper center", frameon=False)
    to_epochs, to_steps = (lambda step: step / batches), (lambda epoch: epoch * batches)
    epochs = axes.secondary_xaxis("top", functions=(to_epochs, to_steps))
    epochs.set_xlabel("epoch")
    return figure


def gap(history):
    """Draw what test accuracy minus running training accuracy is made of, a stack per epoch.

    Parts that widen the gap stand on zero, parts that narrow it hang from zero, and a diamond
    marks what they come to.

    Parameters
    ----------
    history : sequence of dict
        Rows of a run with ``--explain-gap``.

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
    axes.plot(epochs, [sum(part.values()) for part in parts], "kD", label="test minus running training")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_ylabel("accuracy (fraction)")
    _epochs(axes, min(epochs), max(epochs))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2, frameon=False)
    return figure


def samples(images, labels, classes, predicted=None, probabilities=None, columns=5):
    """Draw images in a grid, each with the name of its class and of what a net took it for.

    Parameters
    ----------
    images : sequence of numpy.ndarray
        uint8 (H, W, 1), grey, or (H, W, 3), in colour.
    labels : sequence of int
        Their classes.
    classes : sequence of str
        The names of all classes.
    predicted : sequence of int, optional
        The classes that a net gave them.
    probabilities : sequence of float, optional
        How sure it was of those, 0…1.
    columns : int

    Returns
    -------
    matplotlib.figure.Figure
    """
    titles = [classes[label] for label in labels]
    if predicted is not None:
        titles = [
            f"true: {title}\nnet: {classes[guess]}, {probability:.3f}"
            for title, guess, probability in zip(titles, predicted, probabilities)
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


def confusion(matrix, classes):
    """Draw a confusion matrix: the counts in numbers, the share of the true class in shade.

    Parameters
    ----------
    matrix : numpy.ndarray
        (classes, classes), images of the row's class that were taken for the column's.
    classes : sequence of str
        Their names.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(7.5, 6.5), layout="constrained")
    axes = figure.subplots()
    share = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    shades = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        colour = "white" if share[row, column] > 0.5 else "black"
        axes.text(column, row, count or "·", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("taken for")
    axes.set_ylabel("true class")
    figure.colorbar(shades, label="share of the true class (fraction)")
    return figure


def filters(weight, columns=12):
    """Draw the filters of a convolution side by side, all on one scale.

    Parameters
    ----------
    weight : numpy.ndarray
        (filters, C, H, W); the mean over the input channels is drawn.
    columns : int

    Returns
    -------
    matplotlib.figure.Figure
    """
    height, width = weight.shape[2:]
    rows = math.ceil(len(weight) / columns)
    mosaic = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for i, one in enumerate(weight.mean(axis=1)):
        top, left = (height + 1) * (i // columns), (width + 1) * (i % columns)
        mosaic[top : top + height, left : left + width] = one
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


def layers(trace):
    """Draw how many values each layer gives and how many parameters it has.

    Parameters
    ----------
    trace : list of Layer
        What `d2l_alexnet.shapes.trace` gives, of one image.

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
    _bars(left, names, outputs, shapes, "values that it gives", LOSS["color"])
    counts = [f"{n:,}" if n else "none" for n in parameters]
    _bars(right, names, parameters, counts, "parameters", "#0072B2")
    left.invert_yaxis()  # the first layer on top
    return figure


def _bars(axes, names, values, texts, label, colour):
    """Draw a bar from 1 to each value, on a logarithmic axis with room for the texts."""
    axes.barh(names, values, color=colour)
    axes.set_xscale("log")
    axes.set_xlim(1, max(values) ** 1.5)
    for row, (value, text) in enumerate(zip(values, texts)):
        axes.text(1.3 * max(1, value), row, text, va="center")
    axes.set_xlabel(label)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
