import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon
from mxnet.gluon import nn

from d2l_alexnet.metrics import (
    RunningSums,
    SplitNet,
    count_correct,
    evaluate_accuracy,
    loss_and_correct,
    split,
    sum_over_devices,
)


def test_count_correct_by_hand():
    y_hat = mx.nd.array([[0.1, 0.9], [0.8, 0.2], [-1.0, -2.0], [0.0, 5.0]])
    assert count_correct(y_hat, mx.nd.array([1, 1, 0, 0], dtype=np.int32)).asscalar() == 2


@pytest.mark.parametrize("size", [1, 4, 9, 10])
def test_accuracy_counts_every_image_also_in_a_ragged_last_batch(size):
    """A net that gives its input back is right where the largest value is the label's."""
    X = np.eye(10, dtype=np.float32)
    y = np.arange(10, dtype=np.int32)
    y[-3:] = 0  # three wrong, all in the last batch of 4
    data_iter = gluon.data.DataLoader(gluon.data.ArrayDataset(X, y), batch_size=size)
    assert evaluate_accuracy(gluon.nn.Lambda(lambda X: X), data_iter, [mx.cpu()]) == 0.7


def test_dropout_is_off():
    net = gluon.nn.Dropout(0.999)
    data = [(mx.nd.eye(10), mx.nd.arange(10, dtype=np.int32))]
    assert evaluate_accuracy(net, data, [mx.cpu()]) == 1


def test_no_images_have_no_accuracy():
    assert np.isnan(evaluate_accuracy(None, [], [mx.cpu()]))


def test_evaluation_moves_the_data_to_the_nets_context():
    net = gluon.nn.Dense(10)
    net.initialize(ctx=mx.cpu(1))
    data = [(mx.nd.ones((3, 4)), mx.nd.zeros((3,), dtype=np.int32))]
    assert 0 <= evaluate_accuracy(net, data, [mx.cpu(1)]) <= 1


def test_sums_are_read_two_batches_late_and_none_is_lost():
    running = RunningSums([100, 0], images=7)
    for n in range(1, 6):
        running.add(10, mx.nd.array([n, 1]))
        assert running.waiting == min(n, 2)
        assert running.images == 7 + 10 * max(0, n - 2)
    running.drain()
    assert (running.sums.tolist(), running.images, running.waiting) == ([115, 5], 57, 0)
    assert running.batch_means == [0.1, 0.2, 0.3, 0.4, 0.5]


def test_reading_stops_at_the_first_batch_that_is_not_finite():
    running = RunningSums()
    for value in (1, float("nan"), 3):
        running.add(1, mx.nd.array([value]))
    running.drain()
    assert np.isnan(running.sums).all()
    assert running.waiting == 1


def test_sums_are_as_exact_from_the_beginning_as_from_the_middle_of_an_epoch():
    for start in (0.0, [0.0]):
        running = RunningSums(start)
        for value in (2**24, 1):  # whose sum float32 cannot hold
            running.add(1, mx.nd.array([value]))
        running.drain()
        assert running.sums.tolist() == [2**24 + 1]


def test_losses_and_correct_predictions_are_summed_by_hand():
    y_hat = mx.nd.array([[0.1, 0.9], [0.8, 0.2], [3.0, 4.0]])
    sums = loss_and_correct(mx.nd.array([0.5, 2, 4]), y_hat, mx.nd.array([1, 1, 1]))
    assert sums.asnumpy().tolist() == [6.5, 2]


def test_a_batch_is_split_over_the_devices_and_their_values_are_summed_on_the_first():
    ctx = [mx.cpu(1), mx.cpu(0)]
    parts = split(mx.nd.arange(5), ctx)
    assert [part.asnumpy().tolist() for part in parts] == [[0, 1, 2], [3, 4]]
    assert [part.context for part in parts] == ctx
    total = sum_over_devices([part.sum() for part in parts])
    assert (total.asscalar(), total.context) == (10, mx.cpu(1))


@pytest.mark.parametrize(
    ("layers", "body"),
    [
        ([nn.Flatten(), nn.Flatten(), nn.Dropout(0.999), nn.Flatten()], 2),
        ([nn.Flatten(), nn.BatchNorm(), nn.Dropout(0.999)], 1),
        ([nn.Flatten(), nn.Flatten(), nn.Flatten(), nn.Flatten()], 3),
    ],
)
def test_a_net_is_split_before_its_first_layer_that_training_changes(layers, body):
    net = nn.HybridSequential()
    net.add(*layers)
    net.initialize()
    net = SplitNet(net)
    assert (len(net._body), len(net._head)) == (body, len(layers) - body)
    X, y = mx.nd.eye(10), mx.nd.arange(10)
    with autograd.record():
        y_hat = net(X)
    l = (y_hat - X).abs().sum(axis=1)
    loss, correct, correct_without_dropout = net.measure(l, y_hat, y).asnumpy()
    assert loss == pytest.approx(l.sum().asscalar())
    assert correct == count_correct(y_hat, y).asscalar()
    assert correct_without_dropout == 10
