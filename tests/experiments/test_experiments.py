"""Every experiment runs with --quick, and skips what is finished."""

import itertools
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from d2l_alexnet import figures, nets
from d2l_alexnet.data.load import load_data
from d2l_alexnet.errors import InputError, RunError
from d2l_alexnet.history import read_history
from d2l_alexnet.options import RunOptions

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def load(monkeypatch):
    """Import an experiment as its command does."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    yield __import__
    for path in EXPERIMENTS.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture
def quick(load, monkeypatch, small_data, small_cifar10, tmp_path):
    """Run an experiment as its command does, with --quick; give its module."""
    monkeypatch.setitem(nets.NETS, "alexnet_cifar10_pool1", None)  # so that it is removed again
    del nets.NETS["alexnet_cifar10_pool1"]
    for picture in ("curves", "losses", "gap"):  # of each run; they take most of the time
        monkeypatch.setattr(figures, picture, lambda *_, **__: Figure(figsize=(0.1, 0.1)))

    def run(name, **changes):
        module = load(name)
        for attribute, value in changes.items():
            monkeypatch.setattr(module, attribute, value)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", "--quick", "--out", str(tmp_path)])
        module.main()
        return module

    return run


def rows(path):
    return json.loads(path.read_text())["rows"]


def test_overfitting_skips_what_is_finished(quick, tmp_path, monkeypatch, capsys):
    few = dict(crop=dict(dropout=0.0, resize=35, margin=3))
    overfitting = quick("overfitting", CHANGES=few)
    first = capsys.readouterr().out.splitlines()
    assert (tmp_path / "overfitting.png").exists()
    monkeypatch.setattr(overfitting.runs, "train", None)  # nothing may be trained again
    monkeypatch.setattr(overfitting.runs, "resume", None)
    monkeypatch.setattr(overfitting, "measure", None)  # nor tested
    overfitting.main()
    again = capsys.readouterr().out.splitlines()
    assert again == first[-3:]
    assert "overfitting" in again[0]


def test_overfitting_compares_clean_training_images(quick, tmp_path):
    changes = dict(plain=dict(dropout=0.0), augment=dict(augment=True))
    overfitting = quick("overfitting", CHANGES=changes)
    plain, augmented = rows(tmp_path / "overfitting.json")
    assert plain["clean_train_accuracy"] == plain["train_accuracy"]
    run = tmp_path / "augment-seed0"
    net, recipe, ctx = overfitting.runs.load_net(run, "cpu")
    recipe = overfitting.replace(recipe, augment=False)
    train_iter, _ = load_data(recipe, RunOptions(num_workers=0))
    right = sum(int((net(X).asnumpy().argmax(axis=1) == y.asnumpy()).sum()) for X, y in train_iter)
    assert augmented["clean_train_accuracy"] == right / train_iter.images
    (run / "clean.json").unlink()
    (run / "net.params").unlink()
    assert overfitting.last(run)["clean_train_accuracy"] is None


def test_a_folder_with_another_run_is_refused(quick, tmp_path, monkeypatch):
    overfitting = quick("overfitting", CHANGES=dict(crop=dict(dropout=0.0)))
    monkeypatch.setattr(overfitting, "CHANGES", dict(crop=dict(dropout=0.25)))
    with pytest.raises(InputError, match="crop-seed0: has a run with other settings"):
        overfitting.main()


def test_learning_rate_tells_what_learns_from_what_diverges(quick, tmp_path, monkeypatch):
    learning_rate = quick("learning_rate")
    found = rows(tmp_path / "learning_rate.json")
    assert {row["net"] for row in found} == {"lenet", "alexnet"}
    assert all(len(row["losses"]) == 1 for row in found)
    outcomes = {(2.3, 1.9): "learns", (1.9, 2.3): "stands still", (9, 2.3): "diverges"}
    for losses, outcome in outcomes.items():
        history = [dict(loss=loss, seconds=60) for loss in losses]
        monkeypatch.setattr(learning_rate.runs, "train_once", lambda *_, h=history: h)
        assert learning_rate.measure(None, tmp_path, 0)["outcome"] == outcome


def test_a_loss_that_is_not_finite_has_diverged(load, small_data, tmp_path):
    learning_rate = load("learning_rate")
    small = dict(learning_rate.runs.SMALL_LENET, num_epochs=4)
    recipe = learning_rate.replace(
        learning_rate.NETS["lenet"][0], **small, lr=1e30, optimizer_params=dict(momentum=1e5)
    )
    found = learning_rate.measure(recipe, tmp_path / "high", 0)
    assert found["outcome"] == "diverges"
    assert len(found["losses"]) < recipe.num_epochs  # it has ended early


def test_a_weight_that_is_not_finite_has_diverged(load, monkeypatch, tmp_path):
    learning_rate = load("learning_rate")

    def diverge(*_):
        raise RunError("epoch 2: conv0_weight contains NaN or infinity and was not saved")

    monkeypatch.setattr(learning_rate.runs, "train_once", diverge)
    assert learning_rate.measure(None, tmp_path, 0)["outcome"] == "diverges"


def test_the_largest_rate_is_one_at_which_all_seeds_learn(load):
    learning_rate = load("learning_rate")
    found = [(0.1, "learns"), (0.3, "learns"), (0.9, "learns"), (0.1, "learns"), (0.9, "diverges")]
    found = [dict(net="lenet", lr=lr, outcome=outcome) for lr, outcome in found]
    assert learning_rate.largest(found, "lenet") == 0.3
    assert learning_rate.largest(found, "alexnet") is None


def test_training_gap_adds_up(quick, tmp_path):
    quick("training_gap")
    for row in rows(tmp_path / "training_gap.json"):
        parts = row["dropout"] + row["improvement"] - row["overfitting"]
        assert row["gap"] == pytest.approx(parts, abs=2e-4)
    assert (tmp_path / "training_gap.png").exists()


def test_second_descent_branches_just_before_the_cut(quick, tmp_path):
    quick("second_descent", EPOCHS_WITHOUT_CUT=1)
    cut, no_cut = (
        read_history(tmp_path / f"{name}-seed0/history.jsonl") for name in ("cut", "no-cut")
    )
    assert [row["learning_rate"] for row in cut] == pytest.approx([0.1, 0.1, 0.01])
    assert [row["learning_rate"] for row in no_cut] == pytest.approx([0.1, 0.1, 0.1])
    assert cut[:2] == no_cut[:2]
    norms = (tmp_path / "no-cut-seed0/norms.txt").read_text().splitlines()
    assert [int(line.split()[0]) for line in norms] == [1, 2, 3, 4, 5, 6]
    assert (tmp_path / "second_descent.png").exists()


def test_adaptive_pooling_compares_parameters_and_sizes(quick, tmp_path):
    quick("adaptive_pooling")
    found = rows(tmp_path / "adaptive_pooling.json")
    maps = {row["side"]: row.get("feature_map") for row in found if "side" in row}
    assert maps == {32: None, 62: None, 63: 1, 64: 1, 70: 1, 150: 3, 224: 6}
    copies, no_copies = (row["parameters"] for row in found if "net" in row)
    assert copies - no_copies == 35 * 256 * 4096


def test_mistakes_counts_pairs_with_standard_errors(quick, tmp_path):
    mistakes = quick("mistakes")
    found = [row for row in rows(tmp_path / "mistakes.json") if row["data"] == "cifar10"]
    assert len(found) == 45
    assert [row["count"] for row in found] == sorted((row["count"] for row in found), reverse=True)
    labels = mistakes.np.array([0, 0, 1, 2])
    evaluations = [
        mistakes.Evaluation(labels, labels, mistakes.np.eye(3)[predicted], ("a", "b", "c"))
        for predicted in ([1, 0, 0, 2], [1, 1, 1, 2])
    ]
    first = mistakes.pairs(evaluations)[0]
    assert first["pair"] == "a/b" and first["count"] == 2.0 and first["of_each_net"] == [2, 2]
    assert first["error"] == pytest.approx(4**0.5 * mistakes.np.std([1, 0.5, 0.5, 0]), abs=0.01)


def test_first_epochs_compares_means_with_standard_errors(quick, load, tmp_path):
    first_epochs = load("first_epochs")
    train_once = first_epochs.runs.train_once
    quick("first_epochs", train_pytorch=lambda recipe, out, seed: train_once(recipe, out, seed))
    found = rows(tmp_path / "first_epochs.json")
    runs = [(row["framework"], row["seed"], row["epoch"]) for row in found]
    assert runs == list(itertools.product(("MXNet", "PyTorch"), (0, 1), (1, 2)))
    assert (tmp_path / "first_epochs.png").exists()
    values = dict(MXNet=(0.1, 0.2), PyTorch=(0.3, 0.4))
    found = [dict(framework=f, epoch=1, x=x) for f, each in values.items() for x in each]
    assert first_epochs.compare(found, 1, "x") == (
        "MXNet 0.150 (0.100 to 0.200), PyTorch 0.350 (0.300 to 0.400), difference -0.200 ± 0.071"
    )


def test_pytorchs_run_goes_on_where_it_was_stopped(load, small_cifar10, tmp_path):
    first_epochs = load("first_epochs")
    if not (first_epochs.harness.PYTORCH_VENV / "ready").exists():
        pytest.skip("PyTorch is not installed in benchmarks/.venv-pytorch")
    recipe = first_epochs.replace(first_epochs.RECIPE, **first_epochs.QUICK)
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    first_epochs.train_pytorch(first_epochs.replace(recipe, num_epochs=1), stopped, 0)
    first_epochs.train_pytorch(recipe, stopped, 0)
    first_epochs.train_pytorch(recipe, whole, 0)
    losses = [
        [row["loss"] for row in read_history(run / "history.jsonl")] for run in (stopped, whole)
    ]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 2


def test_images_are_shifted_and_tested(quick, tmp_path):
    shifted_images = quick("shifted_images", PIXELS=(0, 2))
    found = rows(tmp_path / "shifted_images.json")
    assert [(row["name"], row["pixels"]) for row in found] == list(
        itertools.product(("plain", "crop"), (0, 2))
    )
    history = read_history(tmp_path / "plain-seed1/history.jsonl")
    assert found[0]["test_accuracy"] == round(history[-1]["test_accuracy"], 4)
    assert (tmp_path / "shifted_images.png").exists()
    image = np.arange(6).reshape(1, 2, 3, 1)
    assert shifted_images.shift(image, 0, 2).reshape(2, 3).tolist() == [[0, 0, 0], [3, 3, 3]]
    assert shifted_images.shift(image, -1, -1).reshape(2, 3).tolist() == [[4, 5, 5], [4, 5, 5]]


def test_lenet_is_measured_beside_alexnet(load, quick, tmp_path, monkeypatch):
    class Contestant:  # real ones are in tests/benchmarks
        def __init__(self, *arguments, **_):
            self.speed = 6_000 if "lenet" in arguments else 60

        def measure(self):
            return self.speed

        def close(self):
            pass

    monkeypatch.setattr(load("lenet_against_alexnet").harness, "Contestant", Contestant)
    quick("lenet_against_alexnet")
    lenet, alexnet, lectures = rows(tmp_path / "lenet_against_alexnet.json")
    assert (lenet["seconds"], alexnet["seconds"]) == ([10], [1000])
    assert alexnet["over_lenet"] == lectures["over_lenet"] == [100, 100, 100]
    assert (lenet["parameters"], alexnet["parameters"]) == (61_706, 46_764_746)
    assert alexnet["multiply_adds"] == lectures["multiply_adds"] > 2000 * lenet["multiply_adds"]


def test_committed_runs_are_found(load):
    overfitting = load("overfitting")
    changes = dict(plain=dict(dropout=0.0), augment=dict(augment=True), lecture=dict())
    for change in changes.values():
        recipe = overfitting.replace(overfitting.CONVNET, **change)
        history = overfitting.runs.train_once(recipe, Path("not-there"), seed=0)
        assert len(history) == 50


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.py")), ids=lambda path: path.stem)
def test_mxnet_is_imported_after_the_package(path):
    imports = re.findall(r"^(?:import|from) (mxnet|d2l_alexnet|runs)\b", path.read_text(), re.M)
    assert imports[:1] != ["mxnet"]


def test_a_folder_that_cannot_be_made_is_one_line(load, monkeypatch, tmp_path, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setattr(sys, "argv", ["mistakes.py", "--out", str(tmp_path / "file")])
    with pytest.raises(SystemExit) as ended:
        load("runs").parse("About.", "mistakes")
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--out {tmp_path}/file: cannot write there (File exists)" in line
