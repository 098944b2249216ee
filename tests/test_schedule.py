import numpy as np
import pytest
from make_fixtures import FIXTURES, PLATEAU, draw_accuracies

from d2l_alexnet.history import cuts
from d2l_alexnet.schedule import reduce_on_plateau


def rates(accuracies, **settings):
    """The rate after each epoch."""
    settings = {"lr": 0.1, **settings}
    return [
        reduce_on_plateau(accuracies[:epoch], **settings) for epoch in range(1, len(accuracies) + 1)
    ]


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
    assert rates(flat, lr=1, patience=2)[3] == 0.1
    assert reduce_on_plateau(flat[:4], 0.3, since=5, patience=2) == 0.3
    assert reduce_on_plateau(flat[:6], 0.3, since=5, patience=2) == 0.3
    assert reduce_on_plateau(flat[:7], 0.3, since=5, patience=2) == pytest.approx(0.03)


def test_cuts_are_the_first_epochs_of_a_lower_rate():
    rates = [0.1, 0.1, 0.01, 0.01, 0.02, 0.001]
    history = [dict(epoch=epoch, learning_rate=rate) for epoch, rate in enumerate(rates, start=1)]
    assert cuts(history) == [3, 6]
    assert cuts(history[:2]) == cuts([]) == []
