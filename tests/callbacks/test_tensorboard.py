import dataclasses
import io
import sys
import types

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from d2l_alexnet import train
from d2l_alexnet.callbacks.tensorboard import TensorBoard
from d2l_alexnet.errors import InputError, RunError
from d2l_alexnet.history import read_history
from d2l_alexnet.nets import alexnet
from d2l_alexnet.options import RunOptions
from d2l_alexnet.recipes import QUICK
from d2l_alexnet.state import State

pytestmark = pytest.mark.slow

TINY = dataclasses.replace(QUICK, resize=67, train_size=192, batch_size=16, num_epochs=2)
STEPS = 12  # in an epoch


def read(folder):
    """Read the events of a run as TensorBoard does."""
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return events


def points(events, tag):
    return [(event.step, event.value) for event in events.Scalars(tag)]


def at(steps, **means):
    """Give what a callback is told of a step."""
    running = types.SimpleNamespace(waiting=0)
    state = State(steps=steps)
    return types.SimpleNamespace(net=alexnet(), state=state, running=running, means=means)


def open_board(folder, steps=0):
    """Open a run's events."""
    board = TensorBoard(folder)
    board.on_train_begin(at(steps))
    return board


def test_events_hold_the_history_the_running_means_the_pictures_and_the_graph(small_data, tmp_path):
    options = RunOptions("cpu", num_workers=0, out=tmp_path / "run", explain_gap=True)
    history = train.train(TINY, options, tensorboard=True)
    events = read(tmp_path / "run")
    assert set(events.Tags()["scalars"]) == {
        "running/loss",
        "running/running_train_accuracy",
        "running/running_train_accuracy_in_predict_mode",
        *(f"epoch/{key}" for key in history[0]),
    }
    for key in history[0]:
        assert points(events, f"epoch/{key}") == [
            (STEPS * row["epoch"], pytest.approx(row[key])) for row in history
        ]
    assert [step for step, _ in points(events, "running/loss")] == [10, 20]
    for tag in ("curves", "gap"):
        first, last = events.Images(tag)
        assert (first.step, last.step) == (STEPS, 2 * STEPS)
        picture = Image.open(io.BytesIO(last.encoded_image_string))
        assert (last.width, last.height) == picture.size
        assert picture == Image.open(tmp_path / "run" / f"{tag}.png")
    inputs = {node.name: list(node.input) for node in events.Graph().node}
    assert inputs["conv0/fwd"] == ["data", "conv0/weight", "conv0/bias"]
    assert inputs["conv1/fwd"] == ["pool0/fwd", "conv1/weight", "conv1/bias"]
    assert len(inputs) == 1 + 8 * 3 + 7 + 3 + 2  # data, weighted layers, ReLUs, pools, dropouts


def test_a_resumed_run_hides_the_points_after_its_checkpoint(small_data, tmp_path):
    """A killed process may have written of steps after its last checkpoint."""
    recipe = dataclasses.replace(TINY, num_epochs=1)
    train.train(recipe, ctx="cpu", num_workers=0, out=tmp_path / "run", tensorboard=True)
    board = open_board(tmp_path / "run", STEPS)
    for steps in (20, 30):
        board.on_batch_end(at(steps, loss=9.0))
    train.resume(tmp_path / "run", dict(num_epochs=2), ctx="cpu", num_workers=0)
    events = read(tmp_path / "run")
    losses = points(events, "running/loss")
    assert [step for step, _ in losses] == [10, 20]
    assert losses[1][1] < 9
    assert points(events, "epoch/test_accuracy") == [
        (STEPS * row["epoch"], pytest.approx(row["test_accuracy"]))
        for row in read_history(tmp_path / "run" / "history.jsonl")
    ]
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 3


def test_points_are_ten_steps_apart_also_after_a_checkpoint(tmp_path):
    """A checkpoint waits for the steps that are computing, so some step numbers are not seen."""
    board = open_board(tmp_path, 15)
    for steps in (16, 19, 21, 22, 29, 30, 31):
        board.on_batch_end(at(steps, loss=1.0))
    assert [step for step, _ in points(read(tmp_path), "running/loss")] == [21, 30]


def test_training_without_it_does_not_import_it(python):
    done = python("import sys, d2l_alexnet.train; print('tensorboardX' in sys.modules)")
    assert done.stdout == "False\n"


def test_without_the_extra_it_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)  # as if it were not installed
    for name in [name for name in sys.modules if name.startswith("tensorboardX.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "d2l_alexnet.callbacks.tensorboard")
    with pytest.raises(InputError, match="^--tensorboard: pip install 'd2l_alexnet.tensorboard.' "):
        train.main(["--tensorboard", "--out", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


def test_events_that_cannot_be_written_are_one_line(tmp_path, no_room):
    (tmp_path / "tensorboard").touch()
    with pytest.raises(RunError, match=f"^{tmp_path}/tensorboard: cannot write there .File exists"):
        open_board(tmp_path)
    (tmp_path / "tensorboard").unlink()
    board = open_board(tmp_path)
    with no_room(), pytest.raises(RunError, match=f"^{tmp_path}/tensorboard: .*File too large"):
        board.on_batch_end(at(10, loss=1.0))


def test_what_a_killed_process_left_half_written_is_passed_over(tmp_path):
    open_board(tmp_path).on_batch_end(at(10, loss=1.0))
    (path,) = (tmp_path / "tensorboard").iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    open_board(tmp_path, steps=5).on_batch_end(at(10, loss=2.0))
    assert points(read(tmp_path), "running/loss") == [(10, 2.0)]
