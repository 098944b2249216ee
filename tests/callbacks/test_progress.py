import types

import pytest

from d2l_alexnet.callbacks.progress import Bar, Progress, duration, lecture_line, watched
from d2l_alexnet.recipes import LECTURE
from d2l_alexnet.state import State


@pytest.mark.parametrize(
    ("steps", "accuracy", "warned"), [(469, 0.1, True), (469, 0.2, False), (30, 0.1, False)]
)
def test_a_net_at_chance_level_after_an_epoch_earns_a_warning(capsys, steps, accuracy, warned):
    row = dict(LECTURE.published[0], test_accuracy=accuracy)
    trainer = types.SimpleNamespace(learning_rate=0.9)
    training = types.SimpleNamespace(state=State(steps=steps), recipe=LECTURE, trainer=trainer)
    Progress().on_epoch_end(training, row)
    assert ("a learning rate (0.9) far too high" in capsys.readouterr().out) == warned


def test_lecture_line():
    row = dict(
        epoch=1, loss=1.30517, running_train_accuracy=0.5091, test_accuracy=0.745, seconds=18.93
    )
    assert (
        lecture_line(row) == "epoch 1, loss 1.3052, train acc 0.509, test acc 0.745, time 18.9 sec"
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (89, "89 s"),
        (90, "2 min"),
        (420, "7 min"),
        (5_399, "90 min"),
        (5_760, "1.6 h"),
    ],
)
def test_durations_are_in_the_unit_that_people_use(seconds, words):
    assert duration(seconds) == words


def test_where_there_is_no_terminal_a_line_is_printed_now_and_then(capsys, monkeypatch):
    now = iter(range(0, 1000, 10))  # seconds
    monkeypatch.setattr("time.perf_counter", lambda: float(next(now)))
    bar = Bar("epoch 1", 80)
    for done in range(10, 81, 10):
        bar.update(done, loss=2.0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "epoch 1: 30 of 80 images, loss 2.000, 1 images/s, 50 s left"
    assert len(lines) == 2


def test_after_six_batches_the_length_of_the_epoch_is_estimated(capsys, monkeypatch):
    """The first batch, which is slower, does not count."""
    now = iter([0, 100, *range(102, 200, 2)])  # seconds
    monkeypatch.setattr("time.perf_counter", lambda: float(next(now)))
    bar = Bar("epoch 1", 400, estimate=True)
    for done in range(10, 91, 10):
        bar.update(done)
    estimate = "An epoch of 400 images takes about 80 s here (5 images/s in the first batches), "
    assert capsys.readouterr().out.count(estimate) == 1


def test_watching_a_loader_passes_its_batches_on():
    class Loader(list):
        images = 3

    batches = Loader([("X0", [0, 1]), ("X1", [2])])
    assert list(watched(batches, "testing")) == batches
