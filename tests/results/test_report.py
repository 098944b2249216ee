"""The tables in README.md and docs/ are what the committed logs say."""

import dataclasses
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import mxnet as mx
import pytest

from d2l_alexnet.errors import InputError, RunError
from d2l_alexnet.history import read_history, write_history
from d2l_alexnet.options import RunOptions
from d2l_alexnet.recipes import CIFAR10_ALEXNET, CIFAR10_CONVNET, LECTURE, LENET, QUICK
from d2l_alexnet.run_folder.settings import write_settings

ROOT = Path(__file__).parents[2]
MACHINE = dict(cpu="A CPU", cores=2, vectors="AVX2 or less")
BAD_RATES = (
    3,
    [],
    {},
    dict(other=[1]),
    dict(ours=3),
    dict(ours=[]),
    dict(ours=[0]),
    dict(ours="x"),
)


def import_script(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    sys.modules[path.stem] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


report = import_script(ROOT / "results/report.py")


def make_run(folder, recipe, accuracies, seed=0, explain_gap=False):
    folder.mkdir(parents=True)
    options = RunOptions(seed=seed, explain_gap=explain_gap)
    write_settings(folder, recipe, options, [mx.cpu()], num_workers=2)
    usual = dict(loss=1.25, running_train_accuracy=0.5, learning_rate=0.01)
    usual.update(seconds=60.0, images_per_second=1000.0)
    rows = [
        dict(usual, epoch=n, test_accuracy=accuracy) for n, accuracy in enumerate(accuracies, 1)
    ]
    write_history(folder / "history.jsonl", rows)


@pytest.mark.parametrize(("path", "write"), report.written(ROOT).items())
def test_committed_tables_are_up_to_date(path, write):
    between = path.read_text().split(report.BEGIN)[1].split(report.END)[0]
    assert between.strip() == write(ROOT / "results").strip()


def test_published_and_measured_stand_side_by_side(tmp_path):
    make_run(tmp_path / "lecture", LECTURE, [0.755, 0.8])
    rows = report.comparison(LECTURE, report.read_runs(tmp_path)).splitlines()
    assert len(rows) == 2 + 5
    cells = [cell.strip() for cell in rows[2].split("|")[1:-1]]
    assert cells == [
        *("1", "1.3052", "1.2500 (-0.0552)", "0.509", "0.500 (-0.009)", "0.745", "0.755 (+0.010)"),
    ]
    assert rows[4].count("not run") == 3


@pytest.mark.parametrize(
    ("cuts", "epochs", "expected"),
    [
        ((), 22, {1: 1, 20: 20, 25: None, 50: 50}),
        ((20, 40), 50, {10: 10, 20: None, 25: 22, 50: 50}),
        ((30, 44), 50, {20: 20, 25: 32, 50: 50}),
    ],
)
def test_epochs_are_compared_that_lie_as_far_from_the_last_cut(cuts, epochs, expected):
    history = [
        dict(epoch=epoch, learning_rate=0.1 / 10 ** sum(cut <= epoch for cut in cuts))
        for epoch in range(1, epochs + 1)
    ]
    published = CIFAR10_CONVNET.published  # cut at 23 and 49
    assert {e: report.comparable(e, published, history) for e in expected} == expected


def test_a_figure_of_another_epoch_says_of_which(tmp_path):
    make_run(tmp_path / "convnet", CIFAR10_CONVNET, [0.7] * 50)
    path = tmp_path / "convnet/history.jsonl"
    rows = [
        dict(row, valid_accuracy=0.72, learning_rate=0.1 if row["epoch"] < 20 else 0.01)
        for row in read_history(path)
    ]
    write_history(path, rows)
    lines = report.comparison(CIFAR10_CONVNET, report.read_runs(tmp_path)).splitlines()
    valid = [line.split(" | ")[4] for line in lines[2:]]
    assert valid[2:] == [
        "0.720 (-0.009)",
        "different learning rate",
        "0.720 (-0.049), epoch 22",
        "0.720 (-0.054)",
    ]


def test_without_a_log_everything_is_not_run(tmp_path):
    assert report.comparison(LECTURE, []).count("not run") == 15
    assert report.summary(tmp_path).count("not run") == len(report.TITLES)
    # The published recipes, the training to reach an accuracy, and the benchmarks.
    assert report.details(tmp_path).count("not run") == 4 + 2 * 4 + len(report.BENCHMARKS)
    assert report.gap_details(tmp_path) == report.descent_details(tmp_path) == "not run."


def test_the_short_table_says_how_far_a_run_is_and_how_far_its_seeds_lie_apart(tmp_path):
    make_run(tmp_path / "cifar10-alexnet", CIFAR10_ALEXNET, [0.7, 0.72])
    for seed, accuracy in enumerate((0.80, 0.83, 0.81)):
        make_run(tmp_path / f"quick{seed}", QUICK, [accuracy], seed)
    said = report.summary(tmp_path)
    assert said.startswith("On ") and "`make train` took 1.0 minutes in float32." in said
    assert "`epoch 1, loss 1.2500, train acc 0.500, test acc 0.800, time 60.0 sec`" in said
    rows = [line.split(" | ") for line in said.splitlines() if line.startswith("| AlexNet")]
    assert [row[2:4] for row in rows] == [
        ["0.867", "not run"],
        ["", "0.810 (0.800 to 0.830, 3 runs)"],
        ["0.752", "0.720 after 2 of 200 epochs"],
    ]


def test_two_formats_of_one_seed_are_no_spread_and_the_cpus_vectors_are_named(tmp_path):
    for dtype, accuracy in (("float32", 0.81), ("bfloat16", 0.82)):
        recipe = dataclasses.replace(QUICK, dtype=dtype)
        make_run(tmp_path / dtype, recipe, [accuracy])
        path = tmp_path / dtype / "args.json"
        settings = dict(json.loads(path.read_text()), device="A CPU, 2 threads")
        path.write_text(json.dumps(settings))
    (tmp_path / "benchmarks").mkdir()
    for recipe, speeds in (("training", [500.0]), ("training-quick", [100.0])):
        machine = dict(cpu="A CPU", cores=2, vectors="AVX-512")
        figures = dict(machine=machine, images_per_second={"ours": speeds})
        (tmp_path / "benchmarks" / f"{recipe}.json").write_text(json.dumps(figures))
    said = report.summary(tmp_path)
    assert said.startswith("On A CPU with AVX-512, 2 threads, the epoch of `make train` took 1.0 ")
    assert (
        " five epochs take about 10 minutes in float32, without measuring test accuracy. " in said
    )
    assert " | 0.820 in bfloat16, 0.810 in float32 | " in said


def test_a_run_is_named_by_what_it_is(tmp_path):
    for name, recipe, accuracies in (
        ("a", QUICK, [0.81]),
        ("b", dataclasses.replace(QUICK, train_size=16_000, resize=96), [0.86]),
        ("c", dataclasses.replace(CIFAR10_ALEXNET, plateau={}), [0.2, 0.1]),
    ):
        make_run(tmp_path / name, recipe, accuracies)
    path = tmp_path / "c/history.jsonl"
    first, last = read_history(path)
    write_history(path, [first, dict(last, loss=3e28)])
    listed = report.run_table(report.read_runs(tmp_path), "").splitlines()[2:]
    assert [line.split(" | ")[:2] for line in listed] == [
        ["| quick, seed 0", "0.8100"],
        ["| quick with 96 × 96 pixels, 16,000 images, seed 0", "0.8600"],
        ["| cifar10-alexnet with a constant learning rate, seed 0", "0.1000: diverged in epoch 2"],
    ]


def test_losses_around_the_cut_are_compared_with_and_without_it(tmp_path):
    for end, losses in (("", [1.5, 1.0, 2.0, 0.75, 0.5]), ("-constant", [1.5, 1.0, 2.0, 2.5, 9])):
        folder = tmp_path / f"cifar10-alexnet{end}"
        make_run(folder, CIFAR10_ALEXNET, [0.5] * 5)
        rates = [0.1] * 5 if end else [0.1, 0.1, 0.1, 0.01, 0.01]
        rows = [
            dict(row, loss=loss, learning_rate=rate)
            for row, loss, rate in zip(read_history(folder / "history.jsonl"), losses, rates)
        ]
        write_history(folder / "history.jsonl", rows)
    with_cut, without = report.descent_details(tmp_path).splitlines()[2:]
    assert with_cut == "| with the cut | 1 | 2 | 0.5 | 0.75 | 2 |"
    assert without == "| without the cut | 1 | 2 | 2.5 | 9 | 2 |"


def test_a_run_is_listed_with_the_command_that_repeats_it(tmp_path):
    recipe = dataclasses.replace(QUICK, train_size=20_000, lr=0.001)
    make_run(tmp_path / "more", recipe, [0.85], seed=3, explain_gap=True)
    (run,) = report.read_runs(tmp_path)
    assert run.command == (
        "python -m d2l_alexnet.train --recipe quick --train-size 20000 --lr 0.001 --seed 3 "
        "--explain-gap"
    )
    line = report.run_table([run], "results/").splitlines()[2]
    assert " 0.8500 " in line
    assert "MXNet 1.9.1" in line
    assert "[more](results/more)" in line


def test_a_run_with_a_setting_that_has_no_option_is_repeated_by_a_call(tmp_path):
    constant = dataclasses.replace(CIFAR10_ALEXNET, plateau={}, num_epochs=60)
    make_run(tmp_path / "constant", constant, [0.7])
    all_runs = report.read_runs(tmp_path)
    assert all_runs[0].command == (
        'train(replace(RECIPES["cifar10-alexnet"], num_epochs=60, plateau={}), seed=0)'
    )
    assert report.comparison(CIFAR10_ALEXNET, all_runs).count("not run") == 14 * 2 + 1


def test_the_gap_is_listed_with_a_positive_sign_for_overfitting(tmp_path):
    make_run(tmp_path / "run", LECTURE, [0.52], explain_gap=True)
    (run,) = report.read_runs(tmp_path)
    assert report.gap_table([run]) == ""
    run.history[0].update(running_train_accuracy_in_predict_mode=0.51, train_accuracy=0.56)
    assert report.gap_table([run]).splitlines()[2] == (
        "| lecture, seed 0 | 1 | +0.020 | +0.010 | +0.050 | +0.040 |"
    )


def test_seeds_of_a_recipe_are_summarized(tmp_path):
    for seed, accuracy in enumerate((0.80, 0.81, 0.82)):
        make_run(tmp_path / str(seed), QUICK, [accuracy], seed)
    said = report.seeds(report.read_runs(tmp_path))
    assert said.startswith("`quick` with 3 seeds: test accuracy 0.810 ± 0.010 ")


def test_seeds_of_other_settings_and_unfinished_runs_do_not_count(tmp_path):
    make_run(tmp_path / "a", QUICK, [0.80])
    make_run(tmp_path / "b", dataclasses.replace(QUICK, train_size=9_600), [0.84])
    make_run(tmp_path / "c", LECTURE, [0.7] * 5)
    make_run(tmp_path / "d", LECTURE, [0.7] * 4, seed=1)
    assert report.seeds(report.read_runs(tmp_path)) == ""


def test_the_published_run_stands_beside_the_spread_of_the_seeds(tmp_path):
    for seed, last in enumerate((0.70, 0.75, 0.78)):
        make_run(tmp_path / str(seed), LENET, [0.1, 0.2, 0.5, 0.7, last], seed)
    make_run(tmp_path / "unfinished", LENET, [0.1], seed=3)
    said = report.spread_table(LENET, report.read_runs(tmp_path))
    assert said.startswith("**lenet**, test accuracy of 3 seeds:")
    assert said.splitlines()[-1] == "| 5 | 0.700 | 0.750 | 0.780 | 0.741 | 1 |"


def test_the_fewest_images_with_which_the_mean_of_the_seeds_reached_an_accuracy(tmp_path):
    make_run(tmp_path / "a", LECTURE, [0.7, 0.75, 0.8])
    tested = ((3_000, 0.76, 0.76), (1_500, 0.75, 0.735), (2_100, 0.74, 0.75))
    for size, *accuracies in tested:
        recipe = dataclasses.replace(QUICK, train_size=size)
        for seed, accuracy in enumerate(accuracies):
            make_run(tmp_path / f"{size}-{seed}", recipe, [accuracy], seed)
    all_runs = report.read_runs(tmp_path)
    row = report.reach_table(all_runs, tmp_path).splitlines()[2]
    assert " | 2,100 images: 0.745 (2 seeds) | not run |" in row
    for recipe, speeds in {"training": [90, 100, 110], "training-quick": [20, 50, 60]}.items():
        figures = json.dumps(dict(machine=MACHINE, images_per_second={"ours": speeds}))
        (tmp_path / f"{recipe}.json").write_text(figures)
    first, last = report.reach_table(all_runs, tmp_path).splitlines()[2:]
    assert first == (
        "| 0.745 | 120,000 images: 0.750 (1 seed), 20.0 min | not run "
        "| 2,100 images: 0.745 (2 seeds), 0.7 min | not run |"
    )
    assert last == "| 0.867 | not reached: 0.800 | not run | not reached: 0.760 | not run |"


def test_both_formats_are_compared_by_seed(tmp_path):
    for seed, (float32, bfloat16) in enumerate([(0.80, 0.81), (0.82, 0.80), (0.81, None)]):
        make_run(tmp_path / f"float32-{seed}", QUICK, [float32], seed)
        if bfloat16:
            recipe = dataclasses.replace(QUICK, dtype="bfloat16")
            make_run(tmp_path / f"bfloat16-{seed}", recipe, [bfloat16], seed)
    assert report.format_table(report.read_runs(tmp_path)).splitlines()[2:] == [
        "| quick | 2 | 0.8100 (0.8000 to 0.8200) | 0.8050 (0.8000 to 0.8100) "
        "| -0.0050 ± 0.0150 (standard error) |"
    ]


def test_the_speed_table_takes_pytorchs_fastest_way_and_has_a_row_for_each_format(tmp_path):
    rates = {
        "ours": [30, 33, 36],
        "ours, bfloat16": [60, 66, 90],
        "lecture's way": [15, 15, 15],
        "lecture's way, one thread per core": [30, 30, 30],
        "PyTorch": [20, 20, 20],
        "PyTorch, channels last": [30, 30, 30],
        "PyTorch, bfloat16": [66, 66, 66],
    }
    roof = dict(multiply_adds_per_second=80.0, limit=100.0)
    figures = dict(machine=MACHINE, images_per_second=rates, rooflines={"ours": roof})
    (tmp_path / "training.json").write_text(json.dumps(figures))
    row, rounded, *others = report.speed_table(tmp_path).splitlines()[2:]
    assert row == (
        "| `python benchmarks/step.py training` | float32 | 33 |  | 2.20 (2.00 to 2.40) "
        "| 1.10 (1.00 to 1.20) | 1.10 (1.00 to 1.20) | 0.50 (0.45 to 0.55) | 0.80 "
        "| A CPU, 2 cores, AVX2 or less; 3 rounds |"
    )
    assert " | bfloat16 | 66 | 2.00 (2.00 to 2.50) | 4.40 (4.00 to 6.00) | " in rounded
    assert all("not run" in other for other in others)


def test_make_benchmark_measures_every_row_of_the_speed_table():
    done = subprocess.run(["make", "-n", "benchmark"], cwd=ROOT, capture_output=True, text=True)
    for name, command in report.BENCHMARKS.items():
        wanted = rf"{command}\b( --batches \d+)? --out results/benchmarks/{name}\.json"
        assert re.search(wanted, done.stdout), name


def test_a_folder_without_the_files_is_refused_in_one_line(tmp_path):
    command = [sys.executable, ROOT / "results/report.py", "--root", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        f"d2l_alexnet: {tmp_path}/README.md: cannot read it (No such file or directory); "
        "use --root\n"
    )


def test_a_file_without_a_place_for_the_report_is_left_alone(tmp_path):
    (tmp_path / "README.md").write_text("nothing\n")
    with pytest.raises(InputError, match=r"README.md: the marks .* are missing"):
        report.put(tmp_path / "README.md", "text")


def test_a_file_that_is_not_utf8_is_one_line(tmp_path):
    (tmp_path / "README.md").write_bytes("vor\xfcber".encode("latin-1"))
    with pytest.raises(InputError, match=r"README.md: not in UTF-8 .invalid start byte.; convert"):
        report.put(tmp_path / "README.md", "text")


@pytest.mark.parametrize(
    "content",
    [
        *("", "[1]", "{", "\xff", "[" * 100_000, "{}", "null"),
        *(json.dumps(dict(machine=MACHINE, images_per_second=rates)) for rates in BAD_RATES),
        json.dumps(dict(machine={}, images_per_second=dict(ours=[1]))),
        json.dumps(dict(images_per_second=dict(ours=[1]))),
    ],
)
def test_a_damaged_benchmark_is_one_line(tmp_path, content):
    (tmp_path / "training.json").write_text(content, "latin-1")
    with pytest.raises(InputError, match="training.json: not the results of a benchmark [^\n]*$"):
        report.speed_table(tmp_path)


def test_a_history_without_an_epoch_is_one_line(tmp_path):
    make_run(tmp_path / "lenet", LENET, [0.8])
    (tmp_path / "lenet" / "history.jsonl").write_text("")
    with pytest.raises(InputError, match="history.jsonl: there is no epoch in it$"):
        report.read_runs(tmp_path)


def make_root(folder):
    for path in report.written(folder):
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"before {report.BEGIN} old {report.END} after\n")
    return ["--root", str(folder)]


def test_no_file_is_changed_if_one_cannot_be_made(tmp_path):
    arguments = make_root(tmp_path)
    (tmp_path / "docs/results.md").write_text("nothing\n")
    with pytest.raises(InputError, match="the marks .* are missing"):
        report.main(arguments)
    assert " old " in (tmp_path / "README.md").read_text()


def test_a_full_disk_leaves_the_old_file(tmp_path, no_room):
    arguments = make_root(tmp_path)
    with no_room(), pytest.raises(RunError, match="README.md: cannot write it .File too large"):
        report.main(arguments)
    assert " old " in (tmp_path / "README.md").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "docs"]


def test_the_command_rewrites_the_files_of_the_folder_that_is_named(tmp_path):
    report.main(make_root(tmp_path))
    text = (tmp_path / "README.md").read_text()
    assert text.startswith(f"before {report.BEGIN}\n\n| run | epochs × training images |")
    assert text.endswith(f"{report.END} after\n")


def test_when_more_machines_pay_is_calculated(tmp_path):
    # Alone 128 / (60,000 / 16.6) = 35 ms; with two, half of that and 187 MB / 1.25 GB/s = 150 ms.
    table = report.machines_details(tmp_path)
    assert "\n| the lecture's GPU | 10 Gbit/s | 0.21 | " in table
    (tmp_path / "benchmarks").mkdir()
    speeds = {"ours": [10], "ours, bfloat16": [20], "PyTorch": [30]}
    figures = json.dumps(dict(machine=dict(MACHINE, cores=4), images_per_second=speeds))
    (tmp_path / "benchmarks" / "training.json").write_text(figures)
    more = report.machines_details(tmp_path)
    assert more.count("\n| 4 CPU cores | ") == more.count("\n| 4 CPU cores, bfloat16 | ") == 3
