import matplotlib
import mxnet as mx
import numpy as np
import pytest
from mxnet import gluon
from PIL import Image

from d2l_alexnet.errors import RunError
from d2l_alexnet.history import read_history
from d2l_alexnet.recipes import LECTURE, QUICK
from d2l_alexnet.run_folder import results
from d2l_alexnet.run_folder.params import read_params

MEASURED = dict(
    running_train_accuracy_in_predict_mode=0.5,
    train_accuracy=0.6,
    learning_rate=0.01,
    images_per_second=100.0,
)
ROWS = [dict(row, **MEASURED) for row in LECTURE.published[:2]]


@pytest.fixture
def net():
    net = gluon.nn.Dense(2, in_units=3)
    net.initialize()
    return net


def test_a_run_leaves_history_losses_pictures_and_weights(tmp_path, net):
    results.write_results(tmp_path, net, LECTURE, ROWS, [2.5, 2.25, 2, 1])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "curves.png",
        "gap.png",
        "history.jsonl",
        "losses.png",
        "losses.txt",
        "net.params",
    ]
    assert read_history(tmp_path / "history.jsonl") == ROWS
    assert np.loadtxt(tmp_path / "losses.txt").tolist() == [2.5, 2.25, 2, 1]
    assert (read_params(tmp_path / "net.params")["weight"] == net.weight.data().asnumpy()).all()


def test_the_gap_is_drawn_only_if_it_was_measured(tmp_path, net):
    rows = [{k: v for k, v in row.items() if "in_predict_mode" not in k} for row in ROWS]
    results.write_results(tmp_path, net, LECTURE, rows, [2.5, 2.25, 2, 1])
    assert not (tmp_path / "gap.png").exists()


def test_losses_are_drawn_by_epoch(tmp_path, net, monkeypatch):
    drawn, draw = [], results.figures.losses

    def losses(*arguments):
        drawn.append(arguments)
        return draw(*arguments)

    monkeypatch.setattr(results.figures, "losses", losses)
    rows = [ROWS[0], dict(ROWS[1], learning_rate=0.001)]
    results.write_results(tmp_path, net, LECTURE, rows, [2.5, 2.25, 2, 1, 1, 1])
    assert drawn == [([2.5, 2.25, 2, 1, 1, 1], 3, [2])]


def test_a_rate_that_decays_is_not_drawn_as_cut(tmp_path, net, monkeypatch):
    drawn = []
    monkeypatch.setattr(results, "write_figures", lambda folder, plots: plots["losses"]())
    monkeypatch.setattr(results.figures, "losses", lambda *arguments: drawn.append(arguments))
    rows = [ROWS[0], dict(ROWS[1], learning_rate=0.001)]
    results.write_results(tmp_path, net, QUICK, rows, [2.5, 2.25])
    assert drawn == [([2.5, 2.25], 1, [])]


def test_the_figures_do_not_depend_on_the_users_style(tmp_path, net):
    with matplotlib.rc_context({"text.usetex": True, "savefig.facecolor": "red"}):
        results.write_results(tmp_path, net, LECTURE, ROWS, [2.5, 2.25])
    for path in tmp_path.glob("*.png"):
        assert Image.open(path).convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_only_weights_that_are_not_finite_are_not_written(tmp_path, net):
    net.bias.set_data(mx.nd.array([1, np.inf]))
    with pytest.raises(RunError, match=r"^epoch 2: .*bias contains NaN or infinity"):
        results.write_results(tmp_path, net, LECTURE, ROWS, [2.5, 2.25])
    assert (tmp_path / "curves.png").exists()
    assert not (tmp_path / "net.params").exists()
