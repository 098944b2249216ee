"""An experiment runs, and skips what is finished."""

import sys
from pathlib import Path

import pytest

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def experiment(monkeypatch):
    """Import an experiment as its command does."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    yield lambda name: __import__(name)
    for path in EXPERIMENTS.glob("*.py"):
        sys.modules.pop(path.stem, None)


def test_overfitting_runs_and_skips_what_is_finished(
    experiment, small_cifar10, tmp_path, monkeypatch, capsys
):
    overfitting = experiment("overfitting")
    # The small data set has 270 training images.
    monkeypatch.setattr(overfitting, "QUICK", dict(train_size=256, num_epochs=1))
    few = {name: overfitting.CHANGES[name] for name in ("crop", "augment-only")}
    monkeypatch.setattr(overfitting, "CHANGES", few)
    monkeypatch.setattr(sys, "argv", ["overfitting.py", "--quick", "--out", str(tmp_path)])
    overfitting.main()
    first = capsys.readouterr().out.splitlines()
    assert (tmp_path / "overfitting.png").exists()
    monkeypatch.setattr(overfitting.runs, "train", None)  # nothing may be trained again
    monkeypatch.setattr(overfitting.runs, "resume", None)
    overfitting.main()
    assert capsys.readouterr().out.splitlines() == first[-3:]


def test_committed_runs_are_found(experiment):
    overfitting = experiment("overfitting")
    for name in ("plain", "augment", "dropout-0.5"):
        recipe = overfitting.replace(overfitting.CONVNET, **overfitting.CHANGES[name])
        history = overfitting.runs.train_once(recipe, Path("not-there"), seed=0)
        assert len(history) == 50
