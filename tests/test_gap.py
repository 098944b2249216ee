import pytest

from d2l_alexnet import gap

ROW = dict(
    epoch=1,
    running_train_accuracy=0.50,
    running_train_accuracy_in_predict_mode=0.55,
    train_accuracy=0.75,
    test_accuracy=0.72,
)


def test_parts_of_a_gap_by_hand():
    expected = dict(gap=0.22, dropout=0.05, improvement=0.20, overfitting=0.03)
    assert gap.parts(ROW) == pytest.approx(expected)


def test_overfitting_is_positive_if_training_images_are_classified_better():
    assert gap.parts(dict(ROW, train_accuracy=0.9))["overfitting"] > 0
    assert gap.parts(dict(ROW, train_accuracy=0.7))["overfitting"] < 0


def test_contributions_add_up_to_the_gap_and_overfitting_makes_it_smaller():
    added = gap.contributions(ROW)
    assert list(added) == list(gap.PARTS)
    assert sum(added.values()) == pytest.approx(0.22)
    assert added["overfitting"] == pytest.approx(-0.03)


def test_a_history_has_measured_the_gap_if_all_its_rows_have():
    unmeasured = {key: ROW[key] for key in ROW if key != "running_train_accuracy_in_predict_mode"}
    assert gap.measured([ROW, ROW])
    assert not gap.measured([ROW, unmeasured])


def test_the_explanation_has_the_mean_of_each_part_and_the_largest_one_of_each_epoch():
    second = dict(ROW, epoch=2, running_train_accuracy_in_predict_mode=0.70)
    third = dict(second, epoch=3, train_accuracy=0.75)
    assert gap.explain([ROW, second, third]) == (
        "Test accuracy minus running training accuracy was +0.220 on average: +0.150 from dropout, "
        "+0.100 from improvement during the epoch, -0.030 from overfitting. The largest part was "
        "improvement during the epoch in epoch 1; dropout in epochs 2 and 3."
    )
