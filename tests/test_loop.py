from dataclasses import replace

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon

from d2l_alexnet.callbacks.base import Callback
from d2l_alexnet.data.load import load_data_fashion_mnist
from d2l_alexnet.loop import seeds_of_step, train_epoch
from d2l_alexnet.recipes import LECTURE
from d2l_alexnet.run_folder import checkpoint
from d2l_alexnet.state import LOSS_SCALER, Training
from d2l_alexnet.train import resume, train


def test_one_epoch_is_the_lectures_arithmetic(small_data):
    """Loss, running accuracy and weights against a loop written as the lecture writes it.

    The last batch holds 300 - 2 × 128 = 44 images, and its gradient is still divided by 128.
    """
    results = []
    for ours in (True, False):
        mx.random.seed(1)
        train_iter, _ = load_data_fashion_mnist(128, resize=28, num_workers=0, seed=1)
        net = gluon.nn.HybridSequential()
        net.add(gluon.nn.Dense(32, "relu", in_units=784), gluon.nn.Dense(10, in_units=32))
        net.initialize(mx.init.Xavier())
        trainer = gluon.Trainer(net.collect_params(), "sgd", dict(learning_rate=0.1))
        if ours:
            net.hybridize(static_alloc=True, static_shape=True)
            figures = our_epoch(net, train_iter, trainer)
        else:
            figures = lecture_epoch(net, train_iter, trainer, batch_size=128)
        results.append((figures, [p.data().asnumpy() for p in net.collect_params().values()]))
    (figures, ours), (expected, lectures) = results
    assert np.isclose(figures[0], expected[0], rtol=1e-6)
    assert figures[1] == expected[1]
    for weight, lecture_weight in zip(ours, lectures):
        assert np.allclose(weight, lecture_weight, rtol=1e-5, atol=1e-7)


def our_epoch(net, train_iter, trainer, seed=0):
    training = Training(net, trainer, LECTURE, seed, [mx.cpu()])
    training.start_epoch()
    train_epoch(training, train_iter, Callback())
    state = training.state
    assert (state.batches, state.images) == (len(train_iter), train_iter.images)
    return [total / state.images for total in state.sums]


def lecture_epoch(net, train_iter, trainer, batch_size):
    loss = gluon.loss.SoftmaxCrossEntropyLoss()
    loss_sum = correct = n = 0
    for X, y in train_iter:
        with autograd.record():
            y_hat = net(X)
            l = loss(y_hat, y).sum()
        l.backward()
        trainer.step(batch_size)
        loss_sum += l.asscalar()
        correct += (y_hat.argmax(axis=1).asnumpy() == y.asnumpy()).sum()
        n += len(y)
    return loss_sum / n, correct / n


def test_dropout_is_active_while_training(small_data):
    """At a rate of nearly 0 the same net has another loss on the same batch each time."""
    train_iter, _ = load_data_fashion_mnist(300, resize=28, num_workers=0)
    net = gluon.nn.HybridSequential()
    net.add(gluon.nn.Dropout(0.5), gluon.nn.Dense(10))
    net.initialize()
    trainer = gluon.Trainer(net.collect_params(), "sgd", dict(learning_rate=1e-12))
    losses = [our_epoch(net, train_iter, trainer, seed)[0] for seed in (1, 2, 1)]
    assert abs(losses[0] - losses[1]) > 1e-4
    assert losses[0] == pytest.approx(losses[2])


def test_devices_do_not_share_their_dropout(small_data):
    first, second = seeds_of_step(seed=0, step=3, devices=2)
    assert first != second
    assert seeds_of_step(seed=0, step=3, devices=1) == [first]
    assert seeds_of_step(seed=0, step=4, devices=1) != [first]


MIXED = """
import numpy as np
import d2l_alexnet
import mxnet as mx
from dataclasses import replace
from mxnet.contrib import amp
from d2l_alexnet.build import make_trainer
from d2l_alexnet.loop import train_batch
from d2l_alexnet.recipes import LECTURE
from d2l_alexnet.state import Training

amp.init()
weights = []
for dtype in ("float32", "float16"):
    recipe = replace(LECTURE, dtype=dtype, batch_size=4)
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Embedding(3, 10), mx.gluon.nn.Flatten())  # no layer that AMP changes
    net.initialize(mx.init.One())
    trainer = make_trainer(net, recipe, steps=1)
    training = Training(net, trainer, recipe, 0, [mx.cpu()])
    X, y = mx.nd.array([[0], [1], [2], [1]]), mx.nd.array([1, 2, 3, 4])
    sums = [train_batch(training, X, y).asnumpy() for _ in range(3)]
    print(dtype, *np.stack(sums).ravel().round(4), *net[0].weight.data().asnumpy().ravel())
"""


def test_scaling_the_loss_for_float16_does_not_scale_what_is_learnt(python):
    """On a CPU, where the arithmetic itself stays float32."""
    done = python(MIXED)
    plain, scaled = (line.split()[1:] for line in done.stdout.splitlines())
    assert [float(x) for x in scaled] == pytest.approx([float(x) for x in plain], rel=1e-5)
    assert len(set(plain[6:])) > 3


SKIPPED = """
import sys
import numpy as np
import d2l_alexnet
import mxnet as mx
from dataclasses import replace
from mxnet.contrib import amp
from d2l_alexnet.build import make_trainer
from d2l_alexnet.loop import train_batch
from d2l_alexnet.recipes import LECTURE
from d2l_alexnet.run_folder import checkpoint
from d2l_alexnet.state import Training

amp.init()
recipe = replace(LECTURE, dtype="float16", batch_size=4, optimizer="adam", decay=True)
X, y = mx.nd.array([[0], [1], [2], [1]]), mx.nd.array([1, 2, 3, 4])

def begin():
    with mx.name.NameManager():  # the same names, by which a checkpoint knows the weights
        net = mx.gluon.nn.HybridSequential()
        net.add(mx.gluon.nn.Embedding(3, 10), mx.gluon.nn.Flatten())  # no layer that AMP changes
    net.initialize(mx.init.One())
    training = Training(net, make_trainer(net, recipe, steps=40), recipe, 0, [mx.cpu()])
    training.loss = lambda y_hat, y, loss=training.loss: 64 * loss(y_hat, y)
    training.trainer._amp_loss_scaler._scale_seq_len = 4  # doubles the scale after four steps
    return training

def take(training, steps):
    training.start_epoch()
    for _ in range(steps):
        training.running.add(4, train_batch(training, X, y))
        training.state.steps += 1
        training.state.batches += 1
    training.synchronize()

def show(training):
    weights = training.net[0].weight.data().asnumpy()
    state = training.state
    print(state.skipped, training.trainer.optimizer.num_update, training.trainer.learning_rate,
          *state.loss_scaler.values(), *weights.ravel())

# Gradients times this overflow even float32: steps are skipped until it has been halved enough.
undisturbed = begin()
scaler = undisturbed.trainer._amp_loss_scaler
scaler._loss_scale = scaler._next_loss_scale = 2.0**124
for steps in (2, 4, 6):
    take(undisturbed, steps)
    settings = dict(dtype=recipe.dtype)
    checkpoint.save(sys.argv[1], undisturbed.net, undisturbed.trainer, undisturbed.state, settings)
    resumed = begin()
    resumed.state, _ = checkpoint.load(sys.argv[1], resumed.net, resumed.trainer)
    for training in (undisturbed, resumed):
        show(training)
    if steps == 2:
        from_the_first = resumed
take(from_the_first, 10)
show(from_the_first)
"""


def test_steps_that_float16_skips_are_counted_and_the_scale_is_resumed(python, tmp_path):
    """On a CPU, where the loss scaler is the real one and the arithmetic itself stays float32."""
    done = python(SKIPPED, str(tmp_path))
    assert done.returncode == 0, done.stderr
    lines = [[float(word) for word in line.split()] for line in done.stdout.splitlines()]
    *pairs, resumed_at_2 = lines
    assert pairs[0::2] == pairs[1::2]
    assert resumed_at_2 == pairs[-1]
    skipped, updates, scales = zip(*((line[0], line[1], line[3]) for line in pairs[0::2]))
    assert (skipped[0], updates[0]) == (2, 0)  # saved when every step had been skipped
    assert [a + b for a, b in zip(skipped, updates)] == [2, 6, 12]
    assert updates[-1] > 4
    assert scales[0] > scales[1]


@pytest.mark.skipif(mx.context.num_gpus() == 0, reason="needs a GPU")
def test_a_run_in_float16_can_be_resumed(small_data, tmp_path):
    recipe = replace(LECTURE, resize=67, batch_size=128, num_epochs=2, dtype="float16")
    settings = dict(out=tmp_path, ctx="gpu", num_workers=0)
    train(replace(recipe, num_epochs=1), **settings)
    history = resume(tmp_path, dict(num_epochs=2), ctx="gpu", num_workers=0)
    state, _ = checkpoint.read(checkpoint.find(tmp_path)[0])
    assert len(history) == 2
    assert set(state.loss_scaler) == set(LOSS_SCALER)
