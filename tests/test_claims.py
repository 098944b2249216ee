"""docs/claims.md has every statement, and its numbers are those of the logs."""

import json
import math
import re
import statistics
from pathlib import Path

import pytest

from d2l_alexnet import gap, nets, shapes
from d2l_alexnet.history import read_history
from d2l_alexnet.recipes import CIFAR10_ALEXNET, CIFAR10_CONVNET, LECTURE, LENET
from d2l_alexnet.run_folder.settings import read_settings

ROOT = Path(__file__).parents[1]
VERDICTS = {"holds", "holds in part", "does not hold", "outside what can be run here"}
NAMES = [f"A{n}" for n in range(1, 10)] + [f"B{n}" for n in range(1, 17)]
OVERFITTING = ROOT / "results/overfitting"
# What is in the lecturers' logs besides `Recipe.published`: minutes of 200 and of 50 epochs.
MINUTES = dict(alexnet=158.9, convnet=31)


def page():
    return (ROOT / "docs/claims.md").read_text()


def claims():
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in page().splitlines()
        if line[:1] == "|"
    ]
    return {number: cells for number, *cells in rows[2:]}


def paragraphs():
    return dict(re.findall(r"^\*\*([AB]\d+)\.\*\* (.*)$", page(), re.MULTILINE))


def run(name):
    return read_history(ROOT / "results" / name / "history.jsonl")


def about(name):
    """An experiment's file in results/."""
    path = ROOT / "results" / name.replace("_", "-") / f"{name}.json"
    return json.loads(path.read_text())


def result(name):
    """The rows of an experiment's file in results/."""
    return about(name)["rows"]


def listed(values):
    """0.3, 0.9 and 2.7."""
    *most, last = map(str, values)
    return f"{', '.join(most)} and {last}"


def rates(net, *expected):
    """The learning rates at which all runs of a net had one of these outcomes, and the seeds."""
    rows = [row for row in result("learning_rate") if row["net"] == net]
    found = {
        lr: {row["outcome"] for row in rows if row["lr"] == lr} for lr in {r["lr"] for r in rows}
    }
    return sorted(lr for lr in found if found[lr] <= set(expected)), {row["seed"] for row in rows}


def points(row):
    """Overfitting in points."""
    return f"{100 * (row['train_accuracy'] - row['valid_accuracy']):.1f}"


def instead(key, rows, others):
    """The accuracies of two runs and of two other runs."""
    ours, theirs = (
        "{:.3f} and {:.3f}".format(*(row[key] for row in each)) for each in (rows, others)
    )
    return f"{ours} instead of {theirs}"


def end_of(folder):
    """The last row of a run against overfitting, with the training accuracy on clean images."""
    row = read_history(folder / "history.jsonl")[-1]
    if (folder / "clean.json").exists():
        clean = json.loads((folder / "clean.json").read_text())
        row["train_accuracy"] = clean["clean_train_accuracy"]
    return row


def three(value):
    return f"{value:.3f}"


def layers(name, side):
    return shapes.trace(nets.NETS[name](), (1, *nets.INPUT_SHAPES[name][1:2], side, side))


def channels(name):
    side = nets.INPUT_SHAPES[name][-1]
    return [layer.output_shape[1] for layer in layers(name, side) if layer.kind == "Conv2D"]


def feature_map(side):
    trace = layers("alexnet_cifar10", side)
    pooled = next(n for n, layer in enumerate(trace) if layer.kind == "AdaptiveAvgPool2D")
    return trace[pooled - 1].output_shape[-1], trace[pooled].output_shape[-1]


def total(trace):
    return sum(layer.parameters for layer in trace)


def the_fashion_mnist_lecture():
    """Fragments of the page with all its numbers, by statement."""
    ours, published = run("lecture"), LECTURE.published
    trace = layers("alexnet", 224)
    sides = list(dict.fromkeys(layer.output_shape[2] for layer in trace[:8]))
    dense = total(layer for layer in trace if layer.kind == "Dense")
    below = [
        sum(row["running_train_accuracy"] < row["test_accuracy"] for row in history)
        for history in (ours, published)
    ]
    assert below == [len(ours), len(published)]
    improvement, dropout = (
        [gap.parts(row)[part] for row in ours] for part in ("improvement", "dropout")
    )
    larger = [a > b for a, b in zip(improvement, dropout)]
    assert larger == [True, True, False, False, False]
    overfitting = [gap.parts(row)["overfitting"] for row in ours]
    errors = [100 * (1 - history[-1]["test_accuracy"]) for history in (published, ours)]
    (quick,) = run("quick-19200")
    images = LECTURE.num_epochs * LECTURE.train_size
    last = three(published[-1]["test_accuracy"])
    lenet, alexnet, lectures = result("lenet_against_alexnet")
    times = {row["name"]: statistics.median(row["seconds"]) for row in (lenet, alexnet)}
    benchmark = json.loads((ROOT / "results" / "benchmarks" / "training.json").read_text())
    alone = statistics.median(benchmark["images_per_second"]["ours"])
    minutes = [seconds / 60 for seconds in lectures["seconds"]]
    assert about("lenet_against_alexnet")["machine"]["vectors"] == "AVX2 or less"
    on_gpu, on_cpu = (
        statistics.mean(row["seconds"] for row in recipe.published) for recipe in (LECTURE, LENET)
    )
    work = alexnet["multiply_adds"] / lenet["multiply_adds"]
    steps = LENET.num_epochs * math.ceil(LENET.train_size / LENET.batch_size)
    lenet_learns, lenet_seeds = rates("lenet", "learns")
    alexnet_learns, alexnet_seeds = rates("alexnet", "learns")
    alexnet_fails, _ = rates("alexnet", "stands still", "diverges")
    lenet_stands, _ = rates("lenet", "stands still")
    assert lenet_seeds == alexnet_seeds == {0, 1, 2}  # "three seeds each"
    outcomes = [row["outcome"] for row in result("learning_rate") if row["lr"] == 2.7]
    assert outcomes.count("learns") == 2 and len(outcomes) == 3
    diverged = [row["outcome"] for row in result("learning_rate") if row["lr"] == 0.9]
    assert diverged.count("diverges") == 1
    return dict(
        A1=[
            "sides of {}, {}, {} and {}".format(*sides),
            f"{dense:,} of {total(trace):,} parameters ({100 * dense / total(trace):.0f} %)",
        ],
        A2=[
            f"published log has {on_gpu:.1f} s on average",
            f"LeNet takes {times['LeNet']:.1f} s and AlexNet {times['AlexNet']:,.0f} s",
            "{:.0f} times as long ({:.0f} to {:.0f})".format(*alexnet["over_lenet"]),
            f"with {on_cpu:.1f} s on average",
            f"{work:,.0f} times the multiply-adds",
            f"Our CPU has AVX2. On a CPU with {benchmark['machine']['vectors']} "
            f"an epoch of AlexNet takes {60_000 / alone:.0f} s",
        ],
        A3=[
            f"would take {statistics.median(minutes):.0f} min "
            f"({min(minutes):.0f} to {max(minutes):.0f})",
            f"takes {statistics.median(minutes):.0f} minutes on two cores with AVX2",
            f"takes {times['AlexNet'] / 60:.0f} minutes",
        ],
        A4=[
            f"LeNet learns at {listed(lenet_learns)} and not at "
            f"{max(lr for lr in lenet_stands if lr < min(lenet_learns))} or less",
            f"AlexNet learns at {listed(alexnet_learns)} and not at {listed(alexnet_fails)}, "
            "in 48 steps",
            f"at {LECTURE.lr} too",
            f"LeNet had {steps:,}, AlexNet 48",
            "at 0.3 in more steps",
            "At 0.9",
            "At 2.7",
        ],
        A5=[f"in {below[0]} of {len(ours)} epochs"],
        A6=[
            f"in epoch 1 this explains {improvement[0]:.3f} "
            f"of the gap of {gap.parts(ours[0])['gap']:.3f}",
            f"in epoch 5 it explains {improvement[4]:.3f}, and dropout explains {dropout[4]:.3f}",
            f"in epochs 1 and 2 ({improvement[0]:.3f} and {improvement[1]:.3f})",
            "in epochs 3, 4 and 5 ({:.3f}, {:.3f} and {:.3f})".format(*dropout[2:]),
            f"by {min(overfitting):.3f} to {max(overfitting):.3f}",
        ],
        A7=[
            "{:.1f} % in the published log, {:.1f} %".format(*errors),
            f"a test accuracy of {last}, and its first epoch with "
            f"{published[0]['test_accuracy']:.3f}",
        ],
        A8=[
            f"{quick['test_accuracy']:.3f} after 19,200 images",
            f"published {last} after {images:,}",
            "falls to 0",
        ],
        A9=["workers to 0"],
    )


def the_cifar10_lecture():
    """Fragments of the page with all its numbers, by statement."""
    ours, constant = run("cifar10-alexnet"), run("cifar10-alexnet-constant")
    convnets = [run("cifar10-convnet"), run("cifar10-convnet-seed1")]
    ends = [history[-1] for history in convnets]
    alexnet, convnet = CIFAR10_ALEXNET.published, CIFAR10_CONVNET.published
    plain, crop, dropout = (
        [end_of(OVERFITTING / f"{name}-seed{seed}") for seed in (0, 1)]
        for name in ("plain", "crop", "dropout-0.7")
    )
    augmented = [end_of(OVERFITTING / name) for name in ("augment-seed0", "augment-only-seed0")]
    cut = run("overfitting/augment-only-seed0")
    lost = {}
    for row in result("shifted_images"):
        lost.setdefault(row["name"], []).append(100 * row["test_accuracy"])
    valid_error = math.sqrt(0.76 * 0.24 / 5_000)
    changed = [pair for pair in zip(channels("alexnet"), channels("alexnet_cifar10"))]
    changed = [f"{a} became {b}" for a, b in changed if a != b]
    losses = [row["loss"] for row in ours]
    lowest = losses.index(min(losses[:30]))
    highest = losses.index(max(losses[lowest:]))
    assert [row["loss"] for row in constant][: highest + 1] == losses[: highest + 1]
    turns = f"{losses[lowest]:.3f}, {losses[highest]:.3f}, "
    rises = [b["loss"] - a["loss"] for each in convnets for a, b in zip(each, each[1:])]
    pooled: dict[str, list] = {}
    for row in result("adaptive_pooling"):
        if "net" in row:
            pooled.setdefault(row["net"], []).append(row["valid_accuracy"])
    lenets = [row for row in result("learning_rate") if row["net"] == "lenet"]
    stopped = [row for row in lenets if row["losses"][3] > 2.29]
    assert [row["outcome"] for row in stopped].count("learns") == 1
    slow = sum(row["lr"] <= 0.1 for row in stopped)
    pairs = [row for row in result("mistakes") if row["data"] == "cifar10"]
    confused = {row["pair"]: f"{row['count']:.0f} ± {row['error']:.0f}" for row in pairs}
    places = [list(confused).index(pair) + 1 for pair in ("cat/dog", "airplane/ship", "cat/frog")]
    return dict(
        B1=["Krizhevsky et al. 2012, section 3.5"],
        B2=[f"{changed[0]}; {changed[1]}, and the fourth layer's {changed[2]}", "4,096 outputs"],
        B3=["the smallest image that fits has 63 × 63 pixels"],
        B4=[
            "64 × 64 pixels give a feature map of {0} × {0}".format(feature_map(64)[0]),
            f"copies {feature_map(64)[1] ** 2} times",
            "At 64 × 64 pixels",
            "its input is 1 × 1",
            "An image of 32 × 32 pixels",
            "is {:.3f} and {:.3f} without them".format(*pooled["alexnet_cifar10_pool1"]),
            "{:.3f} and {:.3f} with them".format(*pooled["alexnet_cifar10"]),
            f"standard error is {math.sqrt(0.55 * 0.45 / 1_000):.3f}",
        ],
        B5=[
            "feature map {0} × {0}, pooled to {1} × {1}".format(*feature_map(150)),
            f"the same {total(layers('alexnet_cifar10', 150)):,} parameters",
        ],
        B6=[
            f"validation accuracy {instead('valid_accuracy', crop, plain)}",
            f"test accuracy {instead('test_accuracy', crop, plain)}",
            f"{points(crop[0])} and {points(crop[1])} points of overfitting instead of "
            f"{points(plain[0])} and {points(plain[1])}",
            "shifted by 4 pixels",
            f"{lost['crop'][0] - lost['crop'][4]:.1f} points instead of "
            f"{lost['plain'][0] - lost['plain'][4]:.1f}",
        ],
        B7=["Krizhevsky et al. 2012, section 4.2", "dropout of 0.5"],
        B8=[f"{MINUTES['alexnet']} min"],
        B9=[
            f"in {len(stopped)} of {len(lenets)} runs of LeNet, the loss was still above 2.29 "
            "after epoch 4",
            "learned in epoch 5",
            f"rose for {highest - lowest} epochs",
            f"from epoch {lowest + 1} to epoch {highest + 1}",
            f"The {len(lenets)} runs have",
            "a loss of 2.30",
            f"stopped {len(stopped)} runs",
            f"{slow} of the {len(stopped)} runs had a rate of 0.1 or less",
            "see B10",
        ],
        B10=[f"{turns}{losses[-1]:.3f};", f"{turns}then {constant[-1]['loss']:.0e}"],
        B11=[
            f"{points(alexnet[-1])} points published, {points(ours[-1])} ",
            f"after epoch {ours[-1]['epoch']}",
        ],
        B12=[
            f"validation accuracy {instead('valid_accuracy', augmented, (ends[0], plain[0]))}",
            f"test accuracy {instead('test_accuracy', augmented, (ends[0], plain[0]))}",
            f"dropout 0.7 instead of 0.5: {instead('valid_accuracy', dropout, ends)}",
            f"test accuracy {instead('test_accuracy', dropout, ends)}",
            f"{points(augmented[1])} points of overfitting instead of {points(plain[0])}",
            f"was {points(dropout[0])} and {points(dropout[1])} points instead of "
            f"{points(ends[0])} and {points(ends[1])}",
            f"cut in epoch {next(row['epoch'] for row in cut if row['learning_rate'] < 0.1)}",
            f"a standard error of {valid_error:.3f} each",
        ],
        B13=[
            f"{confused['cat/dog']} of 10,000 test images",
            f"airplane/ship {confused['airplane/ship']}, cat/frog {confused['cat/frog']}",
            f"places {places[0]}, {places[1]} and {places[2]} of {len(confused)} pairs",
            f"after {pairs[0]['epochs']} epochs",
        ],
        B14=[
            f"validation accuracy {convnet[-1]['valid_accuracy']:.3f} against "
            f"{alexnet[-1]['valid_accuracy']:.3f}",
            f"test accuracy {convnet[-1]['test_accuracy']} against {alexnet[-1]['test_accuracy']}",
            *(
                "{} accuracy {:.3f} and {:.3f} against {:.3f}".format(
                    name, *(row[key] for row in (*ends, ours[-1]))
                )
                for name, key in (("validation", "valid_accuracy"), ("test", "test_accuracy"))
            ),
            f"after epoch {ours[-1]['epoch']} of {CIFAR10_ALEXNET.num_epochs}",
        ],
        B15=[
            f"{MINUTES['convnet']} min for {CIFAR10_CONVNET.num_epochs} epochs against "
            f"{MINUTES['alexnet']} min for {CIFAR10_ALEXNET.num_epochs}"
        ],
        B16=[
            f"{convnet[-1]['train_accuracy']:.4f} published, ",
            "{:.4f} and {:.4f} ours".format(*(row["train_accuracy"] for row in ends)),
            f"by more than {math.ceil(max(rises) * 10**4) / 10**4}",
        ],
    )


def test_every_statement_has_a_short_wording_and_a_verdict():
    assert list(claims()) == NAMES
    for said, verdict, evidence, _ in claims().values():
        assert len(said.split()) <= 15
        assert verdict in VERDICTS
        assert evidence


def test_what_does_not_simply_hold_has_a_paragraph():
    needed = [name for name, cells in claims().items() if cells[1] != "holds"]
    assert list(paragraphs()) == needed


@pytest.mark.parametrize(
    ("letter", "lecture"), [("A", the_fashion_mnist_lecture), ("B", the_cifar10_lecture)]
)
def test_every_number_is_what_the_logs_say(letter, lecture):
    fragments = lecture()
    for name in filter(lambda name: name[0] == letter, NAMES):
        evidence = claims()[name][2]
        text = re.sub(r"\]\([^)]*\)", "", f"{evidence} {paragraphs().get(name, '')}")
        text = text.replace("[", "")
        for fragment in fragments.get(name, []):
            assert fragment in text, name
            text = text.replace(fragment, "", 1)
        assert not re.search(r"\d", text), (name, text)


def test_the_table_about_overfitting_is_what_the_logs_say():
    lines = (OVERFITTING / "README.md").read_text().splitlines()
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "| `" in line]
    assert len(table) == 10
    for name, _, *cells in table:
        folder = OVERFITTING / name.strip("`")
        if not folder.exists():
            folder = ROOT / "results" / name.strip("`")
        recipe, _ = read_settings(folder)
        history, row = read_history(folder / "history.jsonl"), end_of(folder)
        written = three(history[-1]["train_accuracy"])
        known = (folder / "clean.json").exists() or not (recipe.augment or recipe.margin)
        unknown = ["not measured"] * 2
        first, last = [three(row["train_accuracy"]), points(row)] if known else unknown
        rates = {row["learning_rate"]: row["epoch"] for row in reversed(history)}
        cuts = " and ".join(str(epoch) for epoch in sorted(rates.values()) if epoch > 1) or "never"
        valid, test = three(row["valid_accuracy"]), three(row["test_accuracy"])
        assert cells == [written, first, valid, last, test, cuts]
