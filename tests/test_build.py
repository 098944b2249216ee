import dataclasses

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

from d2l_alexnet.build import build_net, make_trainer
from d2l_alexnet.recipes import LECTURE, QUICK, RECIPES


def test_quick_uses_the_same_net_on_images_of_the_same_size_without_dropout():
    assert (QUICK.net, QUICK.resize) == (LECTURE.net, LECTURE.resize)
    assert (QUICK.dropout, LECTURE.dropout) == (0, 0.5)
    assert "p = 0.0" in repr(build_net(QUICK))
    assert "p = 0.5" in repr(build_net(LECTURE))


def take_steps(net, trainer, number):
    """Take steps, and list their learning rates."""
    rates = []
    for _ in range(number):
        with autograd.record():
            l = net(mx.nd.ones((1, 1)))
        l.backward()
        trainer.step(1)
        rates.append(trainer.learning_rate)
    return rates


def test_learning_rate_warms_up_and_falls_to_nearly_zero():
    net = gluon.nn.Dense(1, in_units=1)
    net.initialize()
    recipe = dataclasses.replace(QUICK, lr=1.0, warmup_steps=10, optimizer_params={})
    trainer = make_trainer(net, recipe, steps=100)
    rates = take_steps(net, trainer, 100)
    assert np.allclose(rates[:10], np.arange(1, 11) / 10)
    assert np.allclose(np.diff(rates[9:]), -1 / 91)
    assert np.isclose(rates[-1], 1 / 91)


def test_without_decay_the_rate_is_constant_and_short_runs_have_a_schedule_too():
    net = gluon.nn.Dense(1, in_units=1)
    net.initialize()
    trainer = make_trainer(net, LECTURE, steps=7)
    assert take_steps(net, trainer, 7) == [0.01] * 7
    for steps in (1, 2, 19, 20, 21):
        rates = take_steps(net, make_trainer(net, QUICK, steps), steps)
        assert all(0 < rate <= QUICK.lr for rate in rates)
        assert np.argmax(rates) == max(0, steps // 10 - 1)
        assert rates[-1] == min(rates)


def test_every_recipe_builds_its_net():
    for recipe in RECIPES.values():
        assert build_net(recipe)
