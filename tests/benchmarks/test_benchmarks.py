"""The benchmarks run, and do with the figures what they should; no figure is judged here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from d2l_alexnet import gpus

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SMALL = ["--batch-size", "4", "--resize", "67", "--batches", "2", "--num-workers", "0"]


@pytest.fixture
def harness(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import harness

    return harness


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("ours", "training"),
        ("ours", "evaluation"),
        ("ours", "loading"),
        ("ours", "loading_cifar10"),
        ("ours", "whole_run"),
        ("ours", "matmul"),
        ("lecture", "training"),
        ("lecture", "evaluation"),
    ],
)
def test_contestants_measure_when_they_are_asked_to(harness, fashion_mnist, cifar10, script, kind):
    contestant = harness.Contestant(script, kind, *SMALL)
    assert contestant.about["mxnet"] == "1.9.1"
    for _ in range(2):
        measured = contestant.measure()
        values = measured.values() if isinstance(measured, dict) else [measured]
        assert all(value > 0 for value in values)
    contestant.close()


def test_both_loaders_give_the_same_images(harness, fashion_mnist, tmp_path):
    import numpy as np

    (images, labels), _ = fashion_mnist
    np.savez(tmp_path / "images.npz", images=images[:8], labels=labels[:8])
    arguments = [*SMALL, "--images", tmp_path / "images.npz"]
    about = [harness.Contestant(name, "loading", *arguments).about for name in ("ours", "lecture")]
    assert about[0]["checksum"] == about[1]["checksum"] > 0


class Counter:
    def __init__(self, asked, name):
        self._asked, self._name = asked, name

    def measure(self):
        self._asked.append(self._name)
        return len(self._asked)


def test_contestants_alternate_and_the_first_round_does_not_count(harness):
    asked = []
    measured = harness.alternate({name: Counter(asked, name) for name in "ab"}, rounds=3)
    assert asked == list("abbaabba")
    assert measured == dict(a=[4, 5, 8], b=[3, 6, 7])


def test_ratios_are_taken_round_by_round(harness):
    assert harness.ratios([2, 9], [1, 3]) == [2, 3]
    assert harness.written([1.0, 5.0, 3.0]) == "3.0 (1.0 to 5.0)"


def test_a_training_step_takes_three_times_the_forward_pass_less_one_input_gradient(harness):
    import step

    assert step.multiply_adds("evaluation", 224) == 938_146_176
    assert step.multiply_adds("training", 224) == 3 * 938_146_176 - 33_872_256
    assert step.best_rate([[dict(a=1), dict(a=3), dict(a=2)], [dict(b=5)] * 3]) == ("b", 5)


@pytest.mark.parametrize("script", ["step.py training", "loader.py", "scaling.py"])
def test_without_a_gpu_its_benchmarks_are_not_run(script):
    found, reason = gpus.find()
    if found and not found[0].unsupported_reason():
        pytest.skip("there is a GPU that MXNet can use")
    name, *kind = script.split()
    command = [sys.executable, BENCHMARKS / name, *kind, "--ctx", "gpu"]
    asked = subprocess.run(command, capture_output=True, text=True)
    assert (asked.returncode, asked.stdout) == (2, "")
    assert asked.stderr.startswith("not run: --ctx gpu: ")
    assert asked.stderr.count("\n") == 1


def test_startup_writes_what_it_measured(harness, monkeypatch, tmp_path):
    import startup

    some = dict([*startup.COMMANDS.items()][:2])  # all of them would take a while
    monkeypatch.setattr(startup, "COMMANDS", some)
    monkeypatch.setattr(
        sys, "argv", ["startup.py", "--rounds", "1", "--out", str(tmp_path / "startup.json")]
    )
    startup.main()
    written = json.loads((tmp_path / "startup.json").read_text())
    assert written["machine"]["cores"] >= 1
    assert list(written["seconds"]) == list(some)
    assert all(seconds > 0 for (seconds,) in written["seconds"].values())
