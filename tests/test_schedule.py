from dataclasses import replace

import numpy as np
import pytest
from make_fixtures import FIXTURES, PLATEAU, draw_accuracies
from mxnet import gluon

from d2l_alexnet.history import cuts
from d2l_alexnet.recipes import LECTURE
from d2l_alexnet.schedule import Plateau, reduce_on_plateau, set_learning_rate, warmup_and_decay


def rates(accuracies, lr=0.1, **plateau):
    """The rate after each epoch."""
    epochs = range(1, len(accuracies) + 1)
    plateau = Plateau(**plateau)
    return [reduce_on_plateau(accuracies[:epoch], lr, plateau=plateau) for epoch in epochs]


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        # The third epoch that is no better is one more than the patience of 2.
        ([0.5, 0.5, 0.5, 0.5], [1, 1, 1, 0.1]),
        # After a cut the patience begins anew, and the best is still the best.
        ([0.5, 0.4, 0.4, 0.4, 0.45, 0.45, 0.45], [1, 1, 1, 0.1, 0.1, 0.1, 0.01]),
        # A better epoch in between forgives those before it.
        ([0.5, 0.4, 0.4, 0.6, 0.4, 0.4, 0.4], [1, 1, 1, 1, 1, 1, 0.1]),
        # Better is better by more than a ten-thousandth of the best.
        ([0.5, 0.50005, 0.50005, 0.50005], [1, 1, 1, 0.1]),
        ([0.5, 0.50006, 0.50006, 0.50006], [1, 1, 1, 1]),
        ([], []),
    ],
)
def test_by_hand(accuracies, expected):
    assert np.allclose(rates(accuracies, lr=1, patience=2), expected, rtol=1e-12, atol=0)


def test_before_the_first_epoch_the_rate_is_the_recipes():
    assert reduce_on_plateau([], 0.1) == 0.1


def test_every_rate_is_exactly_pytorchs():
    with np.load(FIXTURES) as file:
        expected = file["plateau.rates"]
    found = [rates(sequence.tolist(), **PLATEAU) for sequence in draw_accuracies()]
    assert (np.array(found) == expected).all()
    assert expected.min() == pytest.approx(1e-8)  # as low as it goes
    assert len({tuple(row) for row in expected}) > 10


def test_a_rate_given_later_holds_from_its_epoch_on_and_is_cut_like_the_other():
    flat = [0.5] * 8  # due after epochs 4 and 7
    patient = Plateau(patience=2)
    assert rates(flat, lr=1, patience=2)[3] == 0.1
    assert reduce_on_plateau(flat[:4], 0.3, 5, patient) == 0.3
    assert reduce_on_plateau(flat[:6], 0.3, 5, patient) == 0.3
    assert reduce_on_plateau(flat[:7], 0.3, 5, patient) == pytest.approx(0.03)


def test_cuts_are_the_first_epochs_of_a_lower_rate():
    rates = [0.1, 0.1, 0.01, 0.01, 0.02, 0.001]
    history = [dict(epoch=epoch, learning_rate=rate) for epoch, rate in enumerate(rates, start=1)]
    assert cuts(history) == [3, 6]
    assert cuts(history[:2]) == cuts([]) == []


@pytest.mark.parametrize(("steps", "warmup"), [(100, 4), (29, 2), (9, 0)])
def test_the_rate_rises_and_then_falls_by_the_same_amount_every_step(steps, warmup):
    """The rise is as long as the recipe says, but at most a tenth of the run."""
    schedule = warmup_and_decay(replace(LECTURE, lr=2.0, warmup_steps=4), steps)
    found = [schedule(step) for step in range(1, steps + 1)]  # as the optimizer calls it
    rise = [2 * step / warmup for step in range(1, warmup)]
    fall = [2 * left / (steps + 1 - warmup) for left in range(steps + 1 - max(1, warmup), 0, -1)]
    assert np.allclose(found, rise + fall, rtol=1e-12, atol=0)
    assert schedule(steps + 1) == 0


def test_the_trainers_rate_is_cut_only_if_the_recipe_has_a_plateau():
    parameter = gluon.Parameter("weight", shape=(1,))
    parameter.initialize()
    trainer = gluon.Trainer([parameter], "sgd", dict(learning_rate=0.7))
    history = [dict(valid_accuracy=0.5)] * 5
    set_learning_rate(trainer, replace(LECTURE, lr=0.4), history)
    assert trainer.learning_rate == 0.7
    plateau = replace(LECTURE, lr=0.4, plateau=dict(patience=1, factor=0.5))
    for since, rate in ((1, 0.1), (3, 0.1), (4, 0.2), (6, 0.4)):  # due after epochs 3 and 5
        set_learning_rate(trainer, replace(plateau, lr_since=since), history)
        assert trainer.learning_rate == rate
