import math

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.text import Text

from d2l_alexnet import figures, shapes
from d2l_alexnet.data import DATA_SETS
from d2l_alexnet.nets import alexnet
from d2l_alexnet.recipes import CIFAR10_ALEXNET, LECTURE

CIFAR10_CLASSES = DATA_SETS["cifar10"].classes

EVERY_ACCURACY = dict(
    running_train_accuracy_in_predict_mode=0.3,
    train_accuracy=0.999,
    valid_accuracy=0.5,
    learning_rate=0.01,
)


def texts_inside(figure):
    """Draw a figure, make sure that nothing leaves the picture, and give what it says."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    box, (width, height) = figure.get_tightbbox(canvas.get_renderer()), figure.get_size_inches()
    assert 0 <= box.x0 <= box.x1 <= width
    assert 0 <= box.y0 <= box.y1 <= height
    return [text.get_text() for text in figure.findobj(Text)]


def titles(figure):
    texts_inside(figure)
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def points_inside(axes):
    """Count the points of the lines in some axes, after making sure that none is clipped."""
    drawn = 0
    low, high = axes.get_ylim()
    for line in axes.get_lines():
        drawn += len(line.get_ydata())
        assert low <= min(line.get_ydata()) <= max(line.get_ydata()) <= high
    return drawn


def labels(axes):
    """Give the labels at the ends of the lines."""
    return [text.get_text().strip() for text in axes.texts]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "more",
    [{}, EVERY_ACCURACY, dict(learning_rate=0.0), dict(learning_rate=9.999999999999998e-05)],
)
@pytest.mark.parametrize("epochs", [2, 5])
def test_curves_show_every_point_of_every_key_inside_the_axes(more, epochs):
    rows = [dict(row, loss=row["loss"] * 9, **more) for row in LECTURE.published[:epochs]]
    drawn = 3 + len(more) - ("learning_rate" in more)  # the rate is constant: it has no panel
    for published in ((), LECTURE.published):
        figure = figures.curves(rows, published)
        texts_inside(figure)
        assert [axes.get_title() for axes in figure.axes] == ["Training loss (nats)", "Accuracy"]
        assert {axes.get_xlabel() for axes in figure.axes} == {"epoch"}
        shown = drawn + (3 if published else 0)  # of the published run, as many epochs as of ours
        assert sum(map(points_inside, figure.axes)) == shown * epochs


def test_curves_label_their_lines_at_the_ends_and_say_what_came_out():
    rows = [dict(row, **EVERY_ACCURACY) for row in LECTURE.published]
    figure = figures.curves(rows, LECTURE.published)
    texts = texts_inside(figure)
    expected = {label for label, _ in figures.ACCURACIES.values()}
    assert set(labels(figure.axes[1])) == expected
    assert "Epoch 5: test accuracy 86.7%, published 86.7% (dotted: published)" in texts
    assert "80%" in [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert not figure.legends


def test_curves_have_a_panel_for_a_learning_rate_that_changes():
    loss, _, rate = figures.curves(long_run(40, cut=33), ()).axes
    assert rate.get_yscale() == "log"
    assert set(rate.get_lines()[0].get_ydata()) == {0.1, 0.01}
    assert loss.get_lines()[0].get_drawstyle() == "default"


def test_a_run_of_one_epoch_has_bars_with_their_values():
    row = dict(LECTURE.published[0], **EVERY_ACCURACY)
    figure = figures.curves([row], LECTURE.published)
    texts = texts_inside(figure)
    (axes,) = figure.axes
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == [row[key] for key in figures.ACCURACIES]
    assert {"50.9%", "74.5%", "test"} <= {text.strip() for text in texts}
    assert [line.get_xdata()[0] for line in axes.get_lines()] == [0.509, 0.745]  # published


def long_run(epochs, cut):
    """Rows of a run whose loss rises for a while and falls again when its rate is cut."""
    return [
        dict(
            EVERY_ACCURACY,
            epoch=epoch,
            loss=2 / epoch if epoch < cut - 9 or epoch >= cut else 1 + epoch / 99,
            learning_rate=0.1 if epoch < cut else 0.01,
        )
        for epoch in range(1, epochs + 1)
    ]


def assert_ticks_do_not_touch(axes):
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert len(boxes) > 2
    assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:]))


def test_curves_of_many_epochs_end_with_our_data_and_have_no_markers():
    figure = figures.curves(long_run(67, cut=33), CIFAR10_ALEXNET.published)
    texts_inside(figure)
    rows = [row for row in CIFAR10_ALEXNET.published if row["epoch"] <= 67]
    assert sum(map(points_inside, figure.axes)) == 67 * 5 + sum(len(row) - 1 for row in rows)
    for axes in figure.axes:
        assert_ticks_do_not_touch(axes)
        assert 67 < axes.get_xlim()[1] < 68.5
        markers = {line.get_marker() for line in axes.get_lines() if len(line.get_xdata()) == 67}
        assert markers == {""}


@pytest.mark.parametrize("epochs", [5, 50, 150])
def test_the_labels_of_curves_ticks_are_not_cut_off(epochs):
    figure = figures.curves(long_run(epochs, cut=epochs // 2))
    texts_inside(figure)
    for axes in figure.axes:
        low, high = axes.get_xlim()
        for at, label in zip(axes.get_xticks(), axes.get_xticklabels()):
            if low <= at <= high:  # others are not drawn
                assert label.get_window_extent().x0 >= 0
                assert label.get_window_extent().x1 <= figure.bbox.width


def test_runs_are_compared_with_their_rates_beside_them():
    histories = dict(cut=long_run(60, cut=33), constant=long_run(40, cut=99))
    figure = figures.compare(histories, CIFAR10_ALEXNET.published)
    texts = texts_inside(figure)
    assert {"cut", "constant", "published"} <= {text.strip() for text in texts}
    losses, accuracies, rates = figure.axes
    cut, constant, upright = losses.get_lines()  # no loss is published
    assert list(cut.get_ydata()) == [row["loss"] for row in histories["cut"]]
    assert list(constant.get_ydata()) == [row["loss"] for row in histories["constant"]]
    assert list(upright.get_xdata()) == [32.5, 32.5]
    assert upright.get_color() == cut.get_color() != constant.get_color()
    published = next(line for line in accuracies.get_lines() if line.get_label() == "published")
    known = [row["epoch"] for row in CIFAR10_ALEXNET.published if "valid_accuracy" in row]
    assert list(published.get_xdata()) == [epoch for epoch in known if epoch <= 60]
    assert labels(accuracies) == ["constant", "cut", "published"]
    assert "cut in epoch 33" in labels(rates)
    assert 60 < accuracies.get_xlim()[1] < 65  # as far as ours go, not to the published 200
    assert rates.get_yscale() == "log"
    assert list(rates.get_lines()[0].get_ydata()) == [0.1] * 32 + [0.01] * 28


def test_a_loss_that_diverges_leaves_the_picture_and_the_rest_is_seen():
    rows = long_run(40, cut=33)
    diverged = [*rows[:-1], dict(rows[-1], loss=3e28)]
    compared = figures.compare(dict(sound=rows, diverged=diverged), ())
    of_batches = figures.losses([row["loss"] for row in diverged], batches=1)
    for figure in (figures.curves(diverged), compared, of_batches):
        texts_inside(figure)
        assert figure.axes[0].get_ylim() == (0, 2 * rows[0]["loss"])
        assert "up to 3.0e+28" in labels(figure.axes[0])
    assert "diverged" in figures.curves(diverged).get_suptitle()


def test_the_label_of_a_line_that_leaves_the_picture_does_not_cross_its_frame():
    rows = long_run(40, cut=33)
    diverged = [*rows[:19], dict(rows[19], loss=3e28)]
    figure = figures.compare(dict(sound=rows, diverged=diverged), ())
    texts_inside(figure)
    losses = figure.axes[0]
    (label,) = (text for text in losses.texts if text.get_text().strip() == "diverged")
    assert label.get_window_extent().y1 < losses.bbox.y1


def test_without_any_run_what_is_published_is_drawn_alone():
    texts = [text.strip() for text in texts_inside(figures.compare({}, CIFAR10_ALEXNET.published))]
    assert "published" in texts
    assert "200" in texts


def test_the_loss_of_a_single_batch_is_drawn():
    texts_inside(figures.losses([2.3], 1))


@pytest.mark.parametrize(("batches", "window"), [(100, 6), (5000, 200)])
def test_losses_of_batches_have_their_running_mean_and_an_axis_of_epochs(batches, window):
    values = np.arange(batches, dtype=float) ** 1.5
    figure = figures.losses(values.tolist(), 50, cut_epochs=[2])
    texts = texts_inside(figure)
    assert f"mean over {window} batches" in texts
    assert "learning rate cut in epoch 2 " in texts
    axes = figure.axes[0]
    each, mean, cut = axes.get_lines()
    assert (each.get_ydata() == values).all()
    first = mean.get_xdata() - (window + 1) / 2  # of the window around each point, from 0
    expected = [values[int(start) : int(start) + window].mean() for start in first]
    assert np.allclose(mean.get_ydata(), expected)
    assert mean.get_xdata()[0] - 1 == batches - mean.get_xdata()[-1]  # centered
    assert list(cut.get_xdata()) == [50, 50]
    (epochs,) = axes.child_axes
    assert epochs.get_xlabel() == "epoch"
    assert np.allclose(np.multiply(epochs.get_xlim(), 50), axes.get_xlim())


def test_a_grid_tells_right_from_wrong_and_names_the_second_guess(fashion_mnist):
    _, (images, labels) = fashion_mnist
    names = DATA_SETS["fashion-mnist"].classes
    plain = figures.samples(images[:7], labels[:7], names)
    assert titles(plain) == [names[label] for label in labels[:7]]
    probabilities = np.zeros((2, 10))
    probabilities[0, [9, 7]], probabilities[1, [3, 2]] = (0.75, 0.25), (0.5, 0.4)
    figure = figures.samples(images[:2], labels[:2], names, probabilities)
    assert titles(figure) == [
        "✓ ankle boot 75.0%\nthen sneaker 25.0%\ntrue: ankle boot",
        "✗ dress 50.0%\nthen pullover 40.0%\ntrue: pullover",
    ]
    frames = [axes.patches[0].get_edgecolor() for axes in figure.axes[:2]]
    assert frames == [to_rgba(figures.RIGHT), to_rgba(figures.WRONG)]
    assert titles(figures.samples([], [], names, np.zeros((0, 10)))) == []


def test_the_first_image_of_each_class_is_found(fashion_mnist):
    _, (_, labels) = fashion_mnist
    assert labels[figures.one_of_each(labels)].tolist() == list(range(10))


def test_crops_are_cut_where_their_frames_are(cifar10):
    image = np.arange(70 * 70 * 3, dtype=np.uint8).reshape(70, 70, 3)
    figure = figures.crops(image, 64, [(0, 0), (3, 5)])
    texts_inside(figure)
    whole, first, second = figure.axes
    assert [patch.get_xy() for patch in whole.patches] == [(-0.5, -0.5), (4.5, 2.5)]
    assert (first.images[0].get_array() == image[:64, :64]).all()
    assert (second.images[0].get_array() == image[3:67, 5:69]).all()


def test_a_grid_shows_images_grey_or_in_color_as_they_are(fashion_mnist, cifar10):
    for _, (images, labels) in (fashion_mnist, cifar10):
        figure = figures.samples(images[:15], labels[:15], CIFAR10_CLASSES)
        shown = [axes.images[0].get_array() for axes in figure.axes]
        assert len(shown) == 3 * 5
        assert all((there == image).all() for there, image in zip(shown, images))
        assert {there.shape[2] for there in shown} == {3}


def test_the_longest_names_do_not_touch(cifar10):
    _, (images, _) = cifar10
    figure = figures.samples(images[:5], [1] * 5, CIFAR10_CLASSES, np.eye(10)[[1] * 5])
    texts_inside(figure)
    boxes = [axes.title.get_window_extent() for axes in figure.axes]
    assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:]))


def test_a_confusion_matrix_shows_counts_in_their_places():
    matrix = np.arange(100).reshape(10, 10)
    figure = figures.confusion(matrix, CIFAR10_CLASSES)
    axes = figure.axes[0]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells[(3, 2)] == "23"  # the third class, predicted as the fourth
    assert cells[(0, 0)] == "·"
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [label.get_text() for label in axes.get_xticklabels()] == list(CIFAR10_CLASSES)
    texts = texts_inside(figure)
    assert {"true class", "predicted class"} <= set(texts)
    assert "10.0% right; 4,455 mistakes in color" in texts
    colored = axes.images[0].get_array()
    assert colored.mask.diagonal().all()  # only mistakes have a color
    assert colored.max() == 98


def test_filters_lie_by_contrast_each_on_its_own_scale():
    weight = np.random.RandomState(0).normal(size=(96, 1, 11, 11))
    weight *= np.linspace(2, 1, 96).reshape(96, 1, 1, 1)
    order = np.argsort(-weight.std(axis=(1, 2, 3)))
    figure = figures.filters(weight)
    image = figure.axes[0].images[0]
    mosaic = image.get_array()
    assert mosaic.shape == (8 * 12 - 1, 12 * 12 - 1)
    kernel = weight[order[12 + 2], 0]
    assert np.allclose(mosaic[12:23, 24:35], kernel / abs(kernel).max())
    assert np.isnan(np.asarray(mosaic)[11]).all()
    assert image.get_clim() == (-1, 1)
    assert "96 filters of 11 × 11 pixels, the highest contrast first" in texts_inside(figure)


def test_a_part_filled_last_row_and_many_channels_are_drawn_too():
    mosaic = figures.filters(np.ones((5, 3, 2, 2)), columns=4).axes[0].images[0].get_array()
    assert (~np.isnan(np.asarray(mosaic))).sum() == 5 * 2 * 2


def test_a_filter_of_zeros_is_drawn_too():
    mosaic = figures.filters(np.zeros((1, 1, 2, 2))).axes[0].images[0].get_array()
    assert (np.asarray(mosaic)[:, :2] == 0).all()


def test_bars_are_the_traces_numbers():
    trace = shapes.trace(alexnet(), (1, 1, 224, 224))
    figure = figures.layers(trace)
    outputs, parameters, multiply_adds = figure.axes
    expected = [math.prod(row.output_shape) for row in trace]
    assert [bar.get_width() for bar in outputs.patches] == expected
    assert [bar.get_width() for bar in parameters.patches] == [row.parameters for row in trace]
    widths = [bar.get_width() for bar in multiply_adds.patches]
    assert widths == [row.multiply_adds for row in trace]
    texts = texts_inside(figure)
    for expected in ("conv0", "96 × 54 × 54", "26,218,496", "415,334,400"):
        assert expected in texts
    for axes in figure.axes:
        assert axes.get_xscale() == "linear"
        for text in axes.texts:
            assert text.get_window_extent().x1 <= axes.bbox.x1


def test_the_gaps_parts_add_up_in_the_picture():
    rows = [dict(row, **EVERY_ACCURACY) for row in LECTURE.published]
    figure = figures.gap(rows)
    texts = texts_inside(figure)
    first, others = figure.axes  # epoch 1 has an axis of its own
    gaps = [100 * (row["test_accuracy"] - row["running_train_accuracy"]) for row in rows]
    assert sum(bars[0].get_height() for bars in first.containers) == pytest.approx(gaps[0])
    for i, expected in enumerate(gaps[1:]):
        heights = [bars[i].get_height() for bars in others.containers]
        assert sum(heights) == pytest.approx(expected)
        assert f"epoch {i + 2}\ngap {expected:+.1f}" in texts
    assert "percentage points" in texts
    assert "Largest part of the gap: " in figure.get_suptitle()


def test_the_gap_of_one_epoch_is_a_way_from_the_first_accuracy_to_the_last():
    row = dict(LECTURE.published[0], **EVERY_ACCURACY)
    figure = figures.gap([row])
    texts = texts_inside(figure)
    (axes,) = figure.axes
    start, *steps, end = axes.patches
    assert (start.get_height(), end.get_height()) == (0.509, 0.745)
    assert sum(step.get_height() for step in steps) == pytest.approx(0.209 + 0.699 + 0.254)
    assert {"50.9%", "-20.9 points", "+69.9 points", "-25.4 points", "74.5%"} <= set(texts)
    assert "From running training accuracy to test accuracy: +23.6 percentage points" in texts


def running(epochs, steps):
    """What a step's callback notes: means over the epoch so far, at so many steps an epoch."""
    return [
        dict(epoch=step / steps, loss=2 / (1 + step), running_train_accuracy=step / (1 + step))
        for step in range(1, epochs * steps + 1)
    ]


def lines(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def test_live_curves_show_every_step_and_every_finished_epoch():
    points, rows = (
        running(epochs=3, steps=10)[:25],
        [dict(row, test_accuracy=0.4) for row in long_run(2, cut=99)],
    )
    figure = figures.live(points, rows)
    texts = [text.strip() for text in texts_inside(figure)]
    left, right = figure.axes
    (loss,) = left.get_lines()
    assert list(loss.get_xdata()) == [point["epoch"] for point in points]
    assert list(loss.get_ydata()) == [point["loss"] for point in points]
    accuracies = lines(right)
    assert list(accuracies) == ["running training", "validation", "test"]
    running_train_accuracy = [point["running_train_accuracy"] for point in points]
    assert list(accuracies["running training"].get_ydata()) == running_train_accuracy
    assert list(accuracies["validation"].get_xdata()) == [1, 2]
    assert list(accuracies["validation"].get_ydata()) == [0.5, 0.5]
    assert {"running loss", *accuracies} <= set(texts)
    for axes in figure.axes:
        assert axes.get_xlabel() == "epoch"
        assert axes.get_xlim() == (0, 2.5)
        points_inside(axes)


def test_live_curves_of_many_steps_are_thinned_to_the_last_one():
    points = running(epochs=5, steps=469)
    for line in (figures.live(points, []).axes[i].get_lines()[0] for i in (0, 1)):
        assert len(line.get_xdata()) == 500
        assert (line.get_xdata()[0], line.get_xdata()[-1]) == (1 / 469, 5)


def test_live_curves_are_drawn_before_the_first_step_and_before_the_first_test():
    empty = figures.live([], [])
    texts_inside(empty)
    assert [axes.get_lines() for axes in empty.axes] == [[], []]
    assert [axes.get_xlim() for axes in empty.axes] == [(0, 1), (0, 1)]
    assert list(lines(figures.live(running(1, 3), []).axes[1])) == ["running training"]
    resumed = figures.live([], list(LECTURE.published)).axes[1]
    assert list(lines(resumed)) == ["test"]
    assert resumed.get_xlim() == (0, 5)


def test_labels_of_live_curves_do_not_touch():
    rows = [dict(LECTURE.published[0], valid_accuracy=0.745, test_accuracy=0.745)]
    figure = figures.live(running(1, 3), rows)
    texts_inside(figure)
    boxes = [text.get_window_extent() for text in figure.axes[1].texts]
    assert len(boxes) == 3
    assert all(low.y1 <= high.y0 for low, high in zip(boxes, boxes[1:]))
    assert all(
        text.get_color() == lines(figure.axes[1])[text.get_text().strip()].get_color()
        for text in figure.axes[1].texts
    )


def test_probabilities_are_bars_the_most_likely_class_on_top():
    values = np.array([0.1, 0.0, 0.7, 0.2])
    figure = figures.probabilities(values, ["a", "b", "c", "d"])
    texts_inside(figure)
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == [0.7, 0.2, 0.1, 0.0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["c", "d", "a", "b"]
    assert axes.yaxis_inverted()
    assert axes.get_title() == "c: 70.0%"
