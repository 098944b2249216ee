import dataclasses

import numpy as np
import pytest
from kill_and_resume import result
from slices import show_slices

from d2l_alexnet.callbacks import Callback, live_curves
from d2l_alexnet.callbacks.base import CallbackList
from d2l_alexnet.callbacks.live_curves import LiveCurves
from d2l_alexnet.callbacks.progress import BATCHES_TO_MEASURE
from d2l_alexnet.errors import InputError, RunError
from d2l_alexnet.recipes import CIFAR10_CONVNET
from d2l_alexnet.run_folder import checkpoint, results
from d2l_alexnet.train import resume, train

# Four steps in an epoch of 256 images; 30 images for validation, 70 for the test.
SMALL = dataclasses.replace(CIFAR10_CONVNET, batch_size=64, num_epochs=2)
HERE = dict(ctx="cpu", num_workers=0)
METHODS = [name for name in vars(Callback) if name.startswith("on_")]


class Recorder(Callback):
    """Note every call, with what it says."""

    def __init__(self):
        self.calls = []

    def __getattribute__(self, name):
        if name not in METHODS:
            return super().__getattribute__(name)

        def note(training, *details):
            self.calls.append((name, training.state.epoch, training.state.steps, *details))

        return note


class Failing(Callback):
    """Fail in one method, at one step."""

    def __init__(self, method, steps):
        def fail(training, *_):
            if training.state.steps == steps:
                raise ZeroDivisionError("mine")

        setattr(self, method, fail)


def test_a_callback_is_told_of_every_batch_test_and_epoch(small_cifar10, tmp_path):
    recorder = Recorder()
    history = train(SMALL, callbacks=[recorder], **HERE, out=tmp_path / "run")
    tests = [("train_accuracy", 270), ("valid_accuracy", 30), ("test_accuracy", 70)]
    expected = [("on_train_begin", 1, 0)]
    for epoch, row in enumerate(history, start=1):
        steps = 4 * epoch
        expected.append(("on_epoch_begin", epoch, steps - 4, 256))
        expected += [("on_batch_end", epoch, steps - 3 + n) for n in range(4)]
        for key, images in tests:
            batches = [min(128, images - first) for first in range(0, images, 128)]
            expected.append(("on_test_begin", epoch, steps, key, images))
            expected += [("on_test_batch_end", epoch, steps, size) for size in batches]
            expected.append(("on_test_end", epoch, steps))
        expected.append(("on_epoch_end", epoch + 1, steps, row))
    assert recorder.calls == [*expected, ("on_train_end", 3, 8)]


def test_a_list_of_callbacks_passes_on_every_method():
    class Training:
        class state:
            epoch, steps = 1, 2

    recorders = Recorder(), Recorder()
    for method in METHODS:
        arguments = dict(on_epoch_begin=(9,), on_test_begin=("key", 9), on_test_batch_end=(9,))
        arguments["on_epoch_end"] = ({},)
        getattr(CallbackList(recorders), method)(Training, *arguments.get(method, ()))
    assert [call[0] for call in recorders[0].calls] == METHODS
    assert recorders[0].calls == recorders[1].calls


@pytest.fixture(scope="module")
def undisturbed(cifar10, tmp_path_factory):
    """The folder of a run that nothing disturbed."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    with pytest.MonkeyPatch.context() as patch:
        show_slices(patch, "cifar10", cifar10)
        train(SMALL, **HERE, out=out)
    return out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "steps", "saved"),
    [
        ("on_train_begin", 0, 0),
        ("on_batch_end", 3, 3),
        ("on_test_batch_end", 4, 4),
        ("on_epoch_end", 4, 4),
        ("on_train_end", 8, 8),
    ],
)
def test_a_callback_that_fails_ends_the_run_in_one_line_and_saved(
    undisturbed, small_cifar10, tmp_path, method, steps, saved
):
    run = tmp_path / "run"
    with pytest.raises(RunError) as caught:
        train(SMALL, callbacks=[Failing(method, steps)], **HERE, out=run)
    assert str(caught.value) == (
        f"Failing.{method}: ZeroDivisionError('mine'); "
        f"saved; to resume: python -m d2l_alexnet.train --resume {run} --ctx cpu --num-workers 0"
    )
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    state, _ = checkpoint.read(checkpoint.find(run)[0])
    assert state.steps == saved
    resume(run, **HERE)
    assert result(run) == result(undisturbed)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, InputError])
def test_a_callback_that_ends_the_run_by_itself_ends_it_saved(small_cifar10, tmp_path, kind):
    class Ending(Callback):
        def on_batch_end(self, training):
            if training.state.steps == 3:
                raise kind("mine")

    with pytest.raises(kind) as caught:
        train(SMALL, callbacks=[Ending()], **HERE, out=tmp_path / "run")
    assert caught.value.args == ("mine",)
    assert checkpoint.read(checkpoint.find(tmp_path / "run")[0])[0].steps == 3


def test_a_row_that_a_callback_has_changed_is_not_that_of_the_history(small_cifar10, tmp_path):
    class Changing(Callback):
        def on_epoch_end(self, training, row):
            row.update(mine=np.float32(1), test_accuracy=float("nan"))

    run = tmp_path / "run"
    history = train(SMALL, callbacks=[Changing()], **HERE, out=run)
    assert checkpoint.read(checkpoint.find(run)[0])[0].history == history
    assert all("mine" not in row for row in history)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda history: history.clear(), "steps is 8, which contradicts epoch 3"),
        (lambda history: history[0].update(mine=1), "row 1 of the history: 'mine' is unknown"),
        (
            lambda history: history[0].update(loss=np.float32(1)),
            "row 1 of the history: loss is .*1.0.*, not a number",
        ),
    ],
)
def test_a_history_that_a_callback_has_changed_is_not_saved(small_cifar10, tmp_path, change, why):
    class Changing(Callback):
        def on_epoch_end(self, training, row):
            if row["epoch"] == 2:
                change(training.state.history)

    run = tmp_path / "run"
    with pytest.raises(RunError, match=f"^step 8: not saved, because {why}.* are kept$"):
        train(SMALL, callbacks=[Changing()], **HERE, out=run)
    assert len(resume(run, **HERE)) == 2


def test_a_figure_that_fails_loses_nothing(undisturbed, small_cifar10, tmp_path, monkeypatch):
    run = tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(results.figures, "curves", lambda *_: 1 / 0)
        train(dataclasses.replace(SMALL, num_epochs=1), callbacks=[], **HERE, out=run)
    assert (run / "net.params").exists()
    assert len(resume(run, **HERE)) == 1  # all epochs are done, but not all files are written
    assert (run / "curves.png").exists()
    resume(run, dict(num_epochs=2), **HERE)
    assert result(run) == result(undisturbed)


@pytest.mark.parametrize(
    ("callbacks", "error", "why"),
    [
        (Callback(), InputError, r"give a list, also of a single one: callbacks=\[...\]$"),
        ([Callback], InputError, "<class .*Callback'> is not a Callback; give an instance$"),
        (object(), TypeError, "not iterable"),
    ],
)
def test_what_is_no_callback_is_refused_before_any_work(tmp_path, callbacks, error, why):
    with pytest.raises(error, match=why):
        train(SMALL, callbacks=callbacks, **HERE, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_callback_may_refuse_a_run_in_its_own_words(small_cifar10, tmp_path):
    class Refusing(Callback):
        def on_train_begin(self, training):
            raise InputError("not like this")

    with pytest.raises(InputError, match="^not like this$"):
        train(SMALL, callbacks=[Refusing()], **HERE, out=tmp_path / "run")


def test_live_curves_grow_as_soon_as_the_speed_is_measured(small_cifar10, tmp_path, monkeypatch):
    drawn, shown, live = [], [], live_curves.figures.live

    class Handle:
        def update(self, data, raw):
            shown.append(data["image/png"])

    def draw(points, history):
        drawn.append(([*points], [*history]))
        return live(points, history)

    monkeypatch.setattr(live_curves, "new_display", Handle)
    monkeypatch.setattr(live_curves, "SECONDS_BETWEEN_PICTURES", 0)
    monkeypatch.setattr(live_curves.figures, "live", draw)
    recipe = dataclasses.replace(SMALL, batch_size=16)
    train(recipe, callbacks=[LiveCurves()], **HERE, out=tmp_path / "run")
    assert all(each.startswith(b"\x89PNG") for each in shown)
    assert len(shown) == len(drawn) > 4
    assert len(drawn[0][0]) == 1 + BATCHES_TO_MEASURE + 1
    points, history = drawn[-1]
    assert [row["epoch"] for row in history] == [1, 2]
    epochs = [point["epoch"] for point in points]
    assert epochs == sorted(epochs)
    assert 1 < epochs[-1] <= 2


def test_outside_of_a_notebook_live_curves_do_nothing(small_cifar10, tmp_path, monkeypatch):
    def draw(*_):
        raise AssertionError("nobody sees this picture")

    monkeypatch.setattr(live_curves, "SECONDS_BETWEEN_PICTURES", 0)
    monkeypatch.setattr(live_curves.figures, "live", draw)
    recipe = dataclasses.replace(SMALL, batch_size=16)
    assert len(train(recipe, callbacks=[LiveCurves()], **HERE, out=tmp_path / "run")) == 2
