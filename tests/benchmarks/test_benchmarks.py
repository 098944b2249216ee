"""The benchmarks run, and do with the figures what they should; no figure is judged here."""

import importlib
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from d2l_alexnet.build import input_shape
from d2l_alexnet.precision import bfloat16_unsupported_reason
from d2l_alexnet.recipes import LECTURE, RECIPES
from d2l_alexnet.runtime.devices import choose_context

pytestmark = pytest.mark.slow
needs_bfloat16 = pytest.mark.skipif(
    bool(bfloat16_unsupported_reason()), reason="needs a CPU that computes in bfloat16"
)

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SMALL = ["--batch-size", "4", "--resize", "67", "--batches", "2", "--num-workers", "0"]


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    """Let a test import the benchmarks."""
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.fixture
def harness(benchmarks):
    return importlib.import_module("harness")


def prepared(script, kind, *more):
    """Prepare a small measurement in this process: what measures, and what is to be said of it."""
    from contestant import arguments

    kinds = importlib.import_module(script).KINDS
    return kinds[kind](arguments(kinds, [kind, *SMALL, *map(str, more)]))


def check_figures(measured):
    values = measured.values() if isinstance(measured, dict) else [measured]
    assert all(value > 0 for value in values)


@pytest.mark.parametrize(("script", "kind"), [("ours", "training"), ("lecture", "evaluation")])
def test_contestants_are_processes_that_measure_when_they_are_asked_to(harness, script, kind):
    contestant = harness.Contestant(script, kind, *SMALL)
    assert contestant.about["mxnet"] == "1.9.1"
    for _ in range(2):
        check_figures(contestant.measure())
    contestant.close()


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("ours", "evaluation"),
        ("ours", "fused_evaluation"),
        ("ours", "loading"),
        ("ours", "loading_cifar10"),
        ("ours", "whole_run"),
        ("ours", "matmul"),
        ("lecture", "training"),
    ],
)
def test_every_kind_of_measurement_gives_figures(
    small_data, small_cifar10, monkeypatch, script, kind
):
    ours = importlib.import_module("ours")
    monkeypatch.setattr(ours, "MULTIPLY_ADDS", 1)  # multiply once
    monkeypatch.setattr(ours, "MATRICES", ours.MATRICES[::3])  # a square and a convolution
    measure, about = prepared(script, kind)
    assert json.dumps(about)
    for _ in range(2):
        measured = measure()
        check_figures(measured)
        assert json.loads(json.dumps(measured)) == measured


@needs_bfloat16
@pytest.mark.parametrize("kind", ["training", "matmul"])
def test_ours_is_measured_in_bfloat16_too(monkeypatch, kind):
    ours = importlib.import_module("ours")
    monkeypatch.setattr(ours, "MULTIPLY_ADDS", 1)
    monkeypatch.setattr(ours, "MATRICES", ours.MATRICES[:1])
    measure, _ = prepared("ours", kind, "--dtype", "bfloat16", "--recipe", "quick")
    check_figures(measure())


@needs_bfloat16
def test_the_ways_to_use_bfloat16_are_compared(monkeypatch, tmp_path, capsys):
    import bfloat16

    monkeypatch.setattr(bfloat16, "SIZES", {("evaluation", "cifar10-convnet", 4): 1})
    path = tmp_path / "bfloat16.json"
    monkeypatch.setattr(sys, "argv", ["bfloat16.py", "--rounds", "1", "--out", str(path)])
    bfloat16.main()
    (measured,) = json.loads(path.read_text())["images_per_second"].values()
    assert list(measured) == list(bfloat16.WAYS)
    assert all(rate > 0 for (rate,) in measured.values())


def test_both_loaders_give_the_same_images(small_data, tmp_path):
    (images, labels), _ = small_data
    np.savez(tmp_path / "images.npz", images=images[:8], labels=labels[:8])
    _, ours = prepared("ours", "loading")
    _, lecture = prepared("lecture", "loading", "--images", tmp_path / "images.npz")
    assert ours["checksum"] == lecture["checksum"] > 0


class Counter:
    def __init__(self, asked, name):
        self._asked, self._name, self.closed = asked, name, False

    def close(self):
        self.closed = True

    def measure(self):
        self._asked.append(self._name)
        return len(self._asked)


def test_contestants_alternate_and_the_first_round_does_not_count(harness):
    asked = []
    counters = {name: Counter(asked, name) for name in "ab"}
    measured = harness.alternate(counters, rounds=3)
    assert asked == list("abbaabba")
    assert measured == dict(a=[4, 5, 8], b=[3, 6, 7])
    assert all(counter.closed for counter in counters.values())


def test_contestants_are_closed_also_if_one_fails(harness, monkeypatch):
    counters = {name: Counter([], name) for name in "ab"}
    monkeypatch.setattr(counters["a"], "measure", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        harness.alternate(counters, rounds=1)
    assert all(counter.closed for counter in counters.values())


def test_ratios_are_taken_round_by_round(harness):
    assert harness.ratios([2, 9], [1, 3]) == [2, 3]
    assert harness.written([1.0, 5.0, 3.0]) == "3.0 (1.0 to 5.0)"


def test_a_training_step_takes_three_times_the_forward_pass_less_one_input_gradient():
    import step

    assert step.multiply_adds("evaluation", LECTURE) == 938_146_176
    assert step.multiply_adds("training", LECTURE) == 3 * 938_146_176 - 33_872_256
    assert step.fastest([dict(a=1, b=5), dict(a=3, b=1), dict(a=2, b=1)]) == ("a", 2)


@pytest.mark.parametrize("recipe", RECIPES)
def test_contestants_are_given_images_of_the_recipes_shape(recipe):
    import contestant

    args = contestant.arguments(["training"], ["training", "--recipe", recipe])
    X, y = contestant.random_batch(args)
    assert X.shape[1:] == input_shape(RECIPES[recipe])[1:]
    assert y.shape == (128,)


def test_pytorch_has_the_recipes_dropout_and_optimizer():
    import contestant

    for name, (dropout, optimizer, settings) in contestant.PYTORCH.items():
        recipe = RECIPES[name]
        theirs = dict(lr=recipe.lr, **recipe.optimizer_params)
        if recipe.optimizer == "adam":
            theirs["betas"] = theirs.pop("beta1"), theirs.pop("beta2")
        expected = recipe.dropout, recipe.optimizer, theirs
        assert (dropout, optimizer.lower(), settings) == expected


def test_pytorch_takes_part_in_all_its_ways_and_the_lecture_in_its_own_recipe():
    import step

    few = step.contestants("training", "cifar10-convnet", ["float32"])
    assert list(few) == ["ours", *step.PYTORCH, "limit"]
    assert list(step.contestants("training", "lenet", ["float32"])) == ["ours", "limit"]
    all_ = step.contestants("evaluation", "lecture", ["float32", "bfloat16"])
    assert len(all_) == 2 * len(few) + 2
    assert all_["PyTorch, compiled, channels last, bfloat16"] == (
        "pytorch",
        "evaluation",
        "--compile",
        "--channels-last",
        "--dtype",
        "bfloat16",
    )


@pytest.mark.parametrize("script", ["step.py training", "loader.py", "scaling.py"])
def test_without_a_gpu_its_benchmarks_are_not_run(monkeypatch, capsys, script):
    if choose_context("auto")[0][0].device_type == "gpu":
        pytest.skip("there is a GPU that MXNet can use")
    name, *kind = script.split()
    monkeypatch.setattr(sys, "argv", [name, *kind, "--ctx", "gpu"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(Path(name).stem).main()
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "")
    assert printed.err.startswith("not run: --ctx gpu: ")
    assert printed.err.count("\n") == 1


def test_startup_writes_what_it_measured(monkeypatch, tmp_path):
    import startup

    some = dict([*startup.COMMANDS.items()][1:3])  # the two quickest
    monkeypatch.setattr(startup, "COMMANDS", some)
    monkeypatch.setattr(
        sys, "argv", ["startup.py", "--rounds", "1", "--out", str(tmp_path / "startup.json")]
    )
    startup.main()
    written = json.loads((tmp_path / "startup.json").read_text())
    assert written["machine"]["cores"] >= 1
    assert list(written["seconds"]) == list(some)
    assert all(seconds > 0 for (seconds,) in written["seconds"].values())


def test_startup_measures_commands_that_exist():
    import startup

    bare, *ours = startup.COMMANDS.values()
    assert startup.Command(bare).measure() > 0
    for option, *rest in ours:
        if option == "-m":
            spec = find_spec(rest[0])
            assert spec, rest
            assert not spec.submodule_search_locations or find_spec(f"{rest[0]}.__main__"), rest
        elif option != "-c":
            assert (startup.ROOT / option).exists()


def test_a_distributed_step_is_measured(capsys):
    import distributed

    few = dict(recipe="lecture", dtype="float32", batch_size=4, resize=67)
    few.update(steps=1, ctx="cpu", kvstore="device")
    distributed.work(distributed.argparse.Namespace(**few))
    assert json.loads(capsys.readouterr().out)["seconds"] > 0


def test_the_chart_shows_the_medians_and_their_ratios(benchmarks):
    rates = {"ours": [40, 50, 60], "PyTorch": [50, 25, 20], "lecture's way": [10, 10, 30]}
    machine = dict(cpu="CPU", cores=2)
    draw = importlib.import_module("chart").draw
    (axes,) = draw({"training": dict(machine=machine, images_per_second=rates)}).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "lecture's way, float32",
        "PyTorch, float32",
        "ours, float32",
    ]
    assert [bar.get_width() for bar in axes.patches] == [10, 25, 50]
    written = {text.get_text().strip() for text in axes.texts}
    assert written == {"10", "25", "50", "4.00 ×", "2.00 ×"}


@pytest.mark.parametrize("rounds", ["0", "-1", "x"])
def test_there_is_at_least_one_round(harness, rounds, capsys):
    with pytest.raises(SystemExit) as ended:
        harness.make_parser("A benchmark.", rounds=5).parse_args(["--rounds", rounds])
    assert ended.value.code == 2
    assert "is not a whole number that is at least 1" in capsys.readouterr().err
