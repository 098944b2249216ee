"""Write the tables of results: ``python results/report.py``.

The tables compare the runs and benchmarks whose logs are in results/ with the published results.
They replace the text between two marks in each file: a short table in README.md, all tables in
docs/results.md, and the tables of three explanations.
"""

from __future__ import annotations

import json
import math
import re
import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Iterable, Sequence

from d2l_alexnet import cli, gap
from d2l_alexnet.callbacks.progress import lecture_line
from d2l_alexnet.errors import InputError
from d2l_alexnet.history import cuts, diverged, read_history
from d2l_alexnet.options import RunOptions
from d2l_alexnet.recipes import CIFAR10_ALEXNET, LECTURE, LENET, QUICK, RECIPES, Recipe
from d2l_alexnet.run_folder.folder import writing
from d2l_alexnet.run_folder.settings import SETTINGS, read_settings
from d2l_alexnet.validation import check_numbers, parse_json

ROOT = Path(__file__).resolve().parents[1]
BEGIN = "<!-- written by python results/report.py -->"
END = "<!-- until here -->"
NOT_RUN = "not run"
AFTER_CUT = 15  # epochs that are compared from the first cut of the learning rate on
FORMATS = ("float32", "bfloat16")
OTHER_RATE = "different learning rate"
COMPARISON = (
    "Each table has the name of a recipe; [commands.md](commands.md#train) lists the recipes. "
    "Differences from the published results are in brackets. If our run cuts the learning rate in "
    "another epoch than the published run, our epoch n after the cut is compared with the "
    "published epoch n after the cut. The cell then names our epoch. *Different learning rate* "
    "means: no epoch of our run can be compared with this published epoch."
)
REACHING = (
    "The table shows how many training images were needed to reach the lecture's first and last "
    "test accuracy, and how many minutes the training takes. The minutes are calculated: the "
    "number of images divided by the images/s that `python benchmarks/step.py training` measured "
    "with the recipe's batch size and format. So they do not include the start of the command, "
    "the test and the effect of other programs."
)
SPEED = (
    "The table shows the speed of our code in images/s, and the speed of our code divided by the "
    "speed of other code. All numbers are medians. The ranges of the quotients are in brackets. "
    "The speed of PyTorch in a number format is the speed of its fastest variant: eager or "
    "compiled, in either memory format. The limit is the speed of the fastest matrix product on "
    "the same machine. A convolution can be a little faster than this limit: "
    "[benchmarks/NOTES.md](../benchmarks/NOTES.md#by-layer) explains why."
)
BENCHMARKS = {  # file, and what it measured
    "training": "python benchmarks/step.py training",
    "training-quick": "python benchmarks/step.py training --recipe quick",
    "training-quick-16": "python benchmarks/step.py training --recipe quick --batch-size 16",
    "training-cifar10-alexnet": "python benchmarks/step.py training --recipe cifar10-alexnet",
    "training-cifar10-convnet": "python benchmarks/step.py training --recipe cifar10-convnet",
    "evaluation": "python benchmarks/step.py evaluation",
    "evaluation-cifar10-alexnet": "python benchmarks/step.py evaluation --recipe cifar10-alexnet",
    "evaluation-cifar10-convnet": "python benchmarks/step.py evaluation --recipe cifar10-convnet",
    "loader": "python benchmarks/loader.py",
}
MACHINE = "{cpu}, {cores} cores, {vectors}; {rounds} rounds"
GRADIENTS = 4 * 46_764_746  # bytes of the lecture's net, float32
LINKS = {"1 Gbit/s": 125e6, "10 Gbit/s": 1.25e9, "100 Gbit/s": 12.5e9}  # bytes/s each way
MACHINES = (2, 4, 8)
OPTIONS = dict(
    num_epochs="--epochs {}",
    batch_size="--batch-size {}",
    lr="--lr {}",
    resize="--resize {}",
    train_size="--train-size {}",
    dtype="--dtype {}",
    augment="--augment",
)
TITLES = dict(  # rows of the short table: recipe, and what its runs are
    lecture="AlexNet, the lecture's recipe",
    quick="AlexNet, `make train`",
    lenet="LeNet, the lecture's recipe",
    **{"cifar10-alexnet": "AlexNet on CIFAR-10", "cifar10-convnet": "ConvNet on CIFAR-10"},
)
WORDS = dict(  # settings that differ from the recipe's
    num_epochs="{} epochs",
    batch_size="batches of {}",
    lr="learning rate {}",
    resize="{0} × {0} pixels",
    train_size="{:,} images",
    dtype="{}",
    dropout="dropout {}",
    augment="augmentation",
    optimizer_params="optimizer settings {}",
    plateau="a constant learning rate",
)
DIFFERENCES = dict(dropout="B − A", improvement="C − B", overfitting="C − T")  # parts of the gap
COMPARED = ("loss", "running_train_accuracy", "train_accuracy", "valid_accuracy", "test_accuracy")


@dataclass(frozen=True)
class Run:
    """A run whose log is in results/.

    Parameters
    ----------
    folder : pathlib.Path
    recipe : Recipe
    options : RunOptions
        The seed and `explain_gap` of the run.
    settings : dict
        The contents of args.json. The device and the versions are shown.
    history : list of dict
    """

    folder: Path
    recipe: Recipe
    options: RunOptions
    settings: dict[str, Any]
    history: list[dict]

    @property
    def changes(self) -> dict[str, Any]:
        """The settings that differ from those of the recipe."""
        defaults = vars(RECIPES[self.recipe.name])
        return {k: v for k, v in vars(self.recipe).items() if v != defaults[k]}

    @property
    def name(self) -> str:
        """The recipe, what differs from it, and the seed."""
        words = [WORDS.get(key, f"{key} {{}}").format(v) for key, v in self.changes.items()]
        name = " with ".join([self.recipe.name, *([", ".join(words)] if words else [])])
        return f"{name}, seed {self.options.seed}"

    @property
    def outcome(self) -> str:
        """The last test accuracy, and whether the run diverged or has not all its epochs."""
        last = self.history[-1]
        result = f"{last['test_accuracy']:.4f}"
        if diverged(self.history):
            return f"{result}: diverged in epoch {last['epoch']}"
        return f"{result} after {self.progress}" if self.unfinished else result

    @property
    def unfinished(self) -> bool:
        """Whether the run has fewer epochs than its recipe."""
        return self.history[-1]["epoch"] < self.recipe.num_epochs

    @property
    def progress(self) -> str:
        """How many epochs the run has."""
        return f"{self.history[-1]['epoch']} of {self.recipe.num_epochs} epochs"

    @property
    def command(self) -> str:
        """The command that repeats the run, or a Python call if a setting has no flag."""
        recipe, seed, changes = self.recipe, self.options.seed, self.changes
        if not OPTIONS.keys() >= changes.keys():
            settings = "".join(f", {name}={value!r}" for name, value in changes.items())
            return f'train(replace(RECIPES["{recipe.name}"]{settings}), seed={seed})'
        flags = [] if recipe.name == "lecture" else [f"--recipe {recipe.name}"]
        flags += [OPTIONS[name].format(value) for name, value in changes.items()]
        flags += [f"--seed {seed}"] * bool(seed)
        flags += ["--explain-gap"] * self.options.explain_gap
        return " ".join(["python -m d2l_alexnet.train", *flags])

    @property
    def versions(self) -> str:
        """The device and the versions of MXNet, NumPy and Python."""
        device = re.sub(r"\b1 threads$", "1 thread", self.settings["device"])  # in older logs
        versions = "MXNet {mxnet}, NumPy {numpy}, Python {python}".format(**self.settings)
        return f"{device}; {versions}"


def read_runs(results: str | Path) -> list[Run]:
    """Read all run folders in a folder of results, ordered by their names."""
    found = []
    for path in sorted(Path(results).glob(f"*/{SETTINGS}")):
        recipe, options = read_settings(path.parent)
        history = read_history(path.parent / "history.jsonl")
        if not history:
            raise InputError(f"{path.parent / 'history.jsonl'}: there is no epoch in it")
        found.append(Run(path.parent, recipe, options, json.loads(path.read_text()), history))
    return found


def of_recipe(all_runs: Iterable[Run], recipe: Recipe, *ignored: str) -> list[Run]:
    """Select the runs of a recipe. The settings named in `ignored` may differ."""
    same = {name: getattr(recipe, name) for name in ignored}
    return [run for run in all_runs if replace(run.recipe, **same) == recipe]


def table(head: Sequence, rows: Iterable[Sequence]) -> str:
    """Write a Markdown table."""
    rule = ["---"] * len(head)
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in (head, rule, *rows))


def comparison(recipe: Recipe, all_runs: Iterable[Run]) -> str:
    """Write a table of a recipe's published and measured results by epoch.

    Our run may cut the learning rate in another epoch than the published run. Then our epoch n
    after the cut is compared with the published epoch n after the cut.

    Parameters
    ----------
    recipe : Recipe
    all_runs : iterable of Run
        The runs of this recipe are shown, each in its own columns.
    """
    ours = of_recipe(all_runs, recipe, "num_epochs")
    keys = [key for key in COMPARED if any(key in row for row in recipe.published)]
    head = ["epoch"]
    for key in keys:
        head += [f"{key.replace('_', ' ')}, *published*"]
        head += [f"*measured*, seed {run.options.seed}" for run in ours] or ["*measured*"]
    rows = [
        [row["epoch"], *(cell for key in keys for cell in _compared(row, key, ours))]
        for row in recipe.published
        if row.keys() & keys
    ]
    return table(head, rows)


def _compared(published: dict, key: str, ours: Sequence[Run]) -> list[str]:
    """Write the cells of one key in a row: the published result, and the result of each run."""
    if key not in published:
        return [""] * (1 + max(1, len(ours)))
    digits = 4 if key == "loss" else 3
    results = [_measured(run, published, key, digits) for run in ours]
    return [f"{published[key]:.{digits}f}", *(results or [NOT_RUN])]


def _measured(run: Run, published: dict, key: str, digits: int) -> str:
    """Write our result, and its difference from the published result."""
    epoch = comparable(published["epoch"], run.recipe.published, run.history)
    for row in run.history:
        if row["epoch"] == epoch and key in row:
            other = f", epoch {epoch}" * (epoch != published["epoch"])
            return f"{row[key]:.{digits}f} ({row[key] - published[key]:+.{digits}f}){other}"
    return NOT_RUN if run.history[-1]["epoch"] < published["epoch"] else OTHER_RATE


def comparable(epoch: int, published: Sequence[dict], history: Sequence[dict]) -> int | None:
    """Find our epoch to compare with a published one: as many epochs after the cut as that one.

    Returns
    -------
    int or None
        The same epoch before the first cut of the learning rate, and for the last published epoch.
        None if our learning rate was different.
    """
    if epoch == published[-1]["epoch"] or "learning_rate" not in published[0]:
        return epoch
    theirs, ours = ([1, *cuts(rows), math.inf] for rows in (published, history))
    past = sum(cut <= epoch for cut in theirs) - 1
    if past > len(ours) - 2:
        return None
    found = int(ours[past]) + epoch - int(theirs[past])
    return found if found < ours[past + 1] else None


def gap_table(all_runs: Iterable[Run]) -> str:
    """Write a table of the parts of the gap, for all epochs of the runs that measured them."""
    rows = [
        [run.name, row["epoch"], *(f"{part:+.3f}" for part in gap.parts(row).values())]
        for run in all_runs
        if gap.measured(run.history)
        for row in run.history
    ]
    names = (f"{name} ({DIFFERENCES[key]})" for key, name in gap.PARTS.items())
    head = ["run", "epoch", "gap (T − A)", *names]
    return table(head, rows) if rows else ""


def run_table(all_runs: Iterable[Run], link: str) -> str:
    """Write a table of the runs: test accuracy, device and versions, command, log."""
    rows = []
    for run in all_runs:
        log = f"[{run.folder.name}]({link}{run.folder.name})"
        rows.append([run.name, run.outcome, run.versions, f"`{run.command}`", log])
    head = ["run", "test accuracy, *measured*", "device and versions", "command", "log"]
    return table(head, rows)


def seeds(all_runs: Sequence[Run]) -> str:
    """Write mean and standard deviation for each recipe that was run with several seeds."""
    lines = []
    for name, recipe in RECIPES.items():
        rows = [run.history[-1] for run in of_recipe(all_runs, recipe)]
        last = [row["test_accuracy"] for row in rows if row["epoch"] == recipe.num_epochs]
        if len(last) > 1:
            lines.append(
                f"`{name}` with {len(last)} seeds: test accuracy {statistics.mean(last):.3f} ± "
                f"{statistics.stdev(last):.3f} (mean and standard deviation of the seeds)."
            )
    return "\n".join(lines)


def spread_table(recipe: Recipe, all_runs: Iterable[Run]) -> str:
    """Write a table of a recipe's test accuracy by epoch, over the seeds, beside the published one.

    Parameters
    ----------
    recipe : Recipe
    all_runs : iterable of Run
        All finished runs of this recipe are used.
    """
    ours = [run for run in of_recipe(all_runs, recipe) if len(run.history) == recipe.num_epochs]
    if len(ours) < 2:
        return ""
    rows = []
    for row, *measured in zip(recipe.published, *(run.history for run in ours)):
        values = [result["test_accuracy"] for result in measured]
        limits = (min(values), statistics.median(values), max(values))
        below = sum(value < row["test_accuracy"] for value in values)
        published = f"{row['test_accuracy']:.3f}"
        rows.append([row["epoch"], *(f"{x:.3f}" for x in limits), published, below])
    head = ["epoch", "lowest", "median", "highest", "*published*", "seeds below the published run"]
    return f"**{recipe.name}**, test accuracy of {len(ours)} seeds:\n\n{table(head, rows)}"


def reach_table(all_runs: Sequence[Run], benchmarks: str | Path) -> str:
    """Write a table: training until the lecture's first and last test accuracy is reached.

    Numbers of images come from the runs' logs. Minutes are calculated from the speeds that
    benchmarks/step.py measured, because other programs ran at the same time as some of the runs.
    """
    ways = [replace(recipe, dtype=dtype) for recipe in (LECTURE, QUICK) for dtype in FORMATS]
    rows = []
    for target in (LECTURE.published[0], LECTURE.published[-1]):
        accuracy = target["test_accuracy"]
        cells = [_reached(all_runs, way, accuracy, benchmarks) for way in ways]
        rows.append([f"{accuracy:.3f}", *cells])
    return table(["test accuracy", *(f"`{way.name}`, {way.dtype}" for way in ways)], rows)


def training_speed(benchmarks: str | Path, recipe: Recipe) -> float | None:
    """Read a recipe's training speed from a benchmark, in images/s; None if it was not run."""
    name = "training" if recipe.name == LECTURE.name else f"training-{recipe.name}"
    path = Path(benchmarks, f"{name}.json")
    rates = read_benchmark(path)["images_per_second"] if path.exists() else {}
    ours = "ours" if recipe.dtype == "float32" else f"ours, {recipe.dtype}"
    return statistics.median(rates[ours]) if ours in rates else None


def _reached(
    all_runs: Sequence[Run], recipe: Recipe, accuracy: float, benchmarks: str | Path
) -> str:
    """Write the fewest images with which the mean of the seeds reached an accuracy, and minutes."""
    tested: dict[int, list[float]] = {}
    for run in of_recipe(all_runs, recipe, "train_size", "num_epochs"):
        for row in run.history:
            images = row["epoch"] * run.recipe.train_size
            tested.setdefault(images, []).append(row["test_accuracy"])
    means = {images: statistics.mean(values) for images, values in tested.items()}
    enough = [images for images, mean in means.items() if mean >= accuracy]
    if not enough:
        return f"not reached: {max(means.values()):.3f}" if means else NOT_RUN
    images = min(enough)
    text = f"{images:,} images: {means[images]:.3f} ({_seeds(len(tested[images]))})"
    speed = training_speed(benchmarks, recipe)
    return f"{text}, {images / speed / 60:.1f} min" if speed else text


def _seeds(number: int) -> str:
    """Write a number of seeds."""
    return f"{number} seed{'s' * (number > 1)}"


def format_table(all_runs: Sequence[Run]) -> str:
    """Write a table: test accuracy in float32 and in bfloat16, with the same seeds.

    The standard error is of the mean of the differences, one for each seed.
    """
    pairs: dict[str, list[tuple[float, float]]] = {}
    for float32_run in all_runs:
        name = float32_run.name.rpartition(", seed")[0]
        for bfloat16_run in of_recipe(all_runs, replace(float32_run.recipe, dtype="bfloat16")):
            same_seed = bfloat16_run.options.seed == float32_run.options.seed
            if same_seed and bfloat16_run is not float32_run:
                last = [run.history[-1]["test_accuracy"] for run in (float32_run, bfloat16_run)]
                pairs.setdefault(name, []).append((last[0], last[1]))
    rows = [[name, len(both), *_differences(*zip(*both))] for name, both in pairs.items()]
    return table(["recipe", "seeds", *FORMATS, "bfloat16 minus float32"], rows) if rows else ""


def _differences(float32: Sequence[float], bfloat16: Sequence[float]) -> list[str]:
    """Write the means in both formats with their ranges, and the mean difference."""
    differences = [b - a for a, b in zip(float32, bfloat16)]
    text = f"{statistics.mean(differences):+.4f}"
    if len(differences) > 1:
        error = statistics.stdev(differences) / math.sqrt(len(differences))
        text += f" ± {error:.4f} (standard error)"
    cells = []
    for values in (float32, bfloat16):
        limits = f" ({min(values):.4f} to {max(values):.4f})" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.4f}{limits}")
    return [*cells, text]


def read_benchmark(path: Path) -> dict[str, Any]:
    """Read the JSON file of a benchmark.

    Raises
    ------
    InputError
        When it is damaged.
    """
    try:
        benchmark = parse_json(path.read_text("utf-8"))
        # Raises if the tables would lack something.
        MACHINE.format(**benchmark["machine"], rounds=len(benchmark["images_per_second"]["ours"]))
        for name, rates in benchmark["images_per_second"].items():
            check_numbers(name, rates)
            if min(rates, default=0) <= 0:
                raise InputError(f"{name} is {rates}, not rates above 0")
    except KeyError as error:
        raise InputError(f"{path}: not the results of a benchmark ({error} is missing)") from error
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not the results of a benchmark ({error})") from error
    return dict(benchmark)


def speed_table(benchmarks: str | Path) -> str:
    """Write a table of the benchmarks: medians of speeds and of ratios.

    Parameters
    ----------
    benchmarks : path
        Folder of the benchmarks' JSON files. If a file is missing, its benchmark was not run.
    """
    head = ["command", "format", "images/s", "÷ ours in float32", "÷ lecture's code"]
    head += ["÷ lecture's code, one thread per core", *(f"÷ PyTorch, {each}" for each in FORMATS)]
    head += ["÷ limit", "machine"]
    rows = []
    for name, command in BENCHMARKS.items():
        path = Path(benchmarks, f"{name}.json")
        benchmark = read_benchmark(path) if path.exists() else None
        if benchmark is None:
            rows.append([f"`{command}`", NOT_RUN, *[""] * (len(head) - 2)])
            continue
        for ours in benchmark["images_per_second"]:
            if ours.startswith("ours"):
                rows.append([f"`{command}`", *_speed(benchmark, ours)])
    return table(head, rows)


def _speed(benchmark: dict[str, Any], ours: str) -> list[str]:
    """Write the cells of ours in one format: speed, ratios, fraction of the limit, machine."""
    rates = benchmark["images_per_second"]
    ratios = {name: [a / b for a, b in zip(rates[ours], rates[name])] for name in rates}
    roof = benchmark.get("rooflines", {}).get(ours)
    return [
        _format(ours),
        f"{statistics.median(rates[ours]):,.0f}",
        _spread(ratios["ours"]) if ours != "ours" else "",
        _spread(ratios.get("lecture's way", ())),
        _spread(ratios.get("lecture's way, one thread per core", ())),
        *(_spread(_smallest(ratios, "PyTorch", dtype)) for dtype in FORMATS),
        f"{roof['multiply_adds_per_second'] / roof['limit']:.2f}" if roof else "",
        MACHINE.format(**benchmark["machine"], rounds=len(rates[ours])),
    ]


def _format(contestant: str) -> str:
    """Return the number format of a contestant. Names of float32 contestants do not have it."""
    return "bfloat16" if contestant.endswith("bfloat16") else "float32"


def _smallest(ratios: dict[str, list[float]], start: str, dtype: str) -> Sequence[float]:
    """Return the ratios to the fastest contestant of this kind and format; empty if none ran."""
    of_kind = [ratios[name] for name in ratios if name.startswith(start) and _format(name) == dtype]
    return min(of_kind, key=statistics.median, default=())


def _spread(values: Sequence[float] = ()) -> str:
    """Write the median of ratios and their range."""
    if not values:
        return ""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def summary(results: str | Path) -> str:
    """Write what README.md shows: what to expect of ``make train``, and a row per recipe."""
    all_runs = [*read_runs(results), *read_runs(Path(results, LENET.name))]
    rows = []
    for name, title in TITLES.items():
        ours = of_recipe(all_runs, RECIPES[name], "dtype")
        rows.append([title, *_headline(RECIPES[name], ours), _log(ours)])
    head = ["run", "epochs × training images", "test accuracy, *published*", "ours", "log"]
    parts = [expectation(all_runs, Path(results, "benchmarks")), table(head, rows)]
    return "\n\n".join(part for part in parts if part)


def expectation(all_runs: Sequence[Run], benchmarks: str | Path) -> str:
    """Say how long ``make train`` and the lecture's recipe take, and the line to expect."""
    took, lecture, runs = [], [], []
    for dtype in reversed(FORMATS):
        for run in of_recipe(all_runs, replace(QUICK, dtype=dtype))[:1]:
            took.append(f"{run.history[-1]['seconds'] / 60:.1f} minutes in {dtype}")
            runs.append(run)
        speed = training_speed(benchmarks, replace(LECTURE, dtype=dtype))
        if speed:
            minutes = LECTURE.train_size * LECTURE.num_epochs / speed / 60
            lecture.append(f"{minutes:.0f} minutes in {dtype}")
    if not runs:
        return ""
    first = runs[0]
    said = f"On {_device(first, benchmarks)}, the epoch of `make train` took {' and '.join(took)}. "
    said += "The installation and the start of the command take additional time."
    if lecture:
        said += f" The lecture's own five epochs take about {' and '.join(lecture)}, "
        said += "without measuring test accuracy."
    line = lecture_line(first.history[-1])
    return f"{said} In {first.recipe.dtype} `make train` prints:\n`{line}`"


def _device(run: Run, benchmarks: str | Path) -> str:
    """Name a run's device, with its vector instructions if a benchmark of this CPU knows them."""
    device, path = run.settings["device"], Path(benchmarks, f"training-{run.recipe.name}.json")
    machine = read_benchmark(path)["machine"] if path.exists() else {}
    cpu, comma, threads = device.partition(", ")
    known = f" with {machine['vectors']}" if machine.get("cpu") == cpu else ""
    return f"{cpu}{known}{comma}{threads}"


def _headline(recipe: Recipe, ours: Sequence[Run]) -> list[str]:
    """Write three cells of the short table: training images, published accuracy, ours."""
    published = [row["test_accuracy"] for row in recipe.published if "test_accuracy" in row]
    images = f"{recipe.num_epochs} × {recipe.train_size:,}"
    return [images, f"{published[-1]:.3f}" if published else "", _accuracy(ours)]


def _accuracy(ours: Sequence[Run]) -> str:
    """Write our last test accuracy: of each format if the seed is the same, or over the seeds."""
    finished = [run for run in ours if not run.unfinished]
    last = [run.history[-1]["test_accuracy"] for run in finished]
    if not ours:
        return NOT_RUN
    if not finished:
        return f"{ours[0].history[-1]['test_accuracy']:.3f} after {ours[0].progress}"
    if len(last) == 1:
        return f"{last[0]:.3f}"
    if len({run.options.seed for run in finished}) == 1:
        return ", ".join(f"{x:.3f} in {run.recipe.dtype}" for x, run in zip(last, finished))
    limits = f"{min(last):.3f} to {max(last):.3f}"
    return f"{statistics.median(last):.3f} ({limits}, {len(last)} runs)"


def _log(ours: Sequence[Run]) -> str:
    """Link the log of the first run."""
    return f"[log](results/{ours[0].folder.name})" if ours else ""


def details(results: str | Path) -> str:
    """Write all tables, for docs/results.md."""
    all_runs = read_runs(results)
    parts = ["## Published and measured", COMPARISON]
    for recipe in RECIPES.values():
        if of_recipe(all_runs, recipe, "num_epochs") and recipe.published:
            parts += [f"**{recipe.name}**, published and measured:", comparison(recipe, all_runs)]
        elif recipe.published:
            parts.append(f"**{recipe.name}**: {NOT_RUN}.")
    parts.append(spread_table(LENET, [*all_runs, *read_runs(Path(results, LENET.name))]))
    parts += ["## All runs", run_table(all_runs, "../results/"), seeds(all_runs)]
    parts += ["## Does bfloat16 learn the same?", format_table(all_runs)]
    benchmarks = Path(results, "benchmarks")
    parts += ["## Training until an accuracy is reached", REACHING]
    parts.append(reach_table(all_runs, benchmarks))
    parts += ["## Speed", SPEED, speed_table(benchmarks)]
    return "\n\n".join(part for part in parts if part)


def gap_details(results: str | Path) -> str:
    """Write the table of docs/training-gap.md."""
    return gap_table(read_runs(results)) or f"{NOT_RUN}."


def descent_details(results: str | Path) -> str:
    """Write the table of docs/double-descent.md: the losses around the first cut, in both runs."""
    runs = {run.folder.name: run.history for run in read_runs(results)}
    name = CIFAR10_ALEXNET.name
    if name not in runs or not cuts(runs[name]):
        return f"{NOT_RUN}."
    cut, rows = cuts(runs[name])[0], []
    for title, folder in (("with the cut", name), ("without the cut", f"{name}-constant")):
        history = runs.get(folder, [])
        before = [row["loss"] for row in history if row["epoch"] < cut]
        after = [row["loss"] for row in history if cut <= row["epoch"] < cut + AFTER_CUT]
        if before and after:
            losses = [min(before), before[-1], min(after), max(after)]
            rows.append([title, *(f"{loss:.3g}" for loss in losses), len(after)])
        else:
            rows.append([title, *[NOT_RUN] * 5])
    head = ["run", f"lowest loss before epoch {cut}", f"loss in epoch {cut - 1}"]
    compared = f"epochs {cut} to {cut + AFTER_CUT - 1}"
    head += [f"lowest loss in {compared}", f"highest loss in {compared}"]
    head += [f"epochs run, of {AFTER_CUT}"]
    return table(head, rows)


def machines_details(results: str | Path) -> str:
    """Write the table of docs/distributed.md: when several machines are faster, calculated.

    Of n machines, each with a worker and a server, each sends its gradients to the other servers,
    and the sums on its own server to the other workers: 2 (n - 1) / n times the size of all
    gradients in each direction. The calculation assumes that computing and sending do not overlap,
    and that only the link limits the speed of sending.
    """
    path, rates = Path(results, "benchmarks", "training.json"), {}
    if path.exists():
        benchmark = read_benchmark(path)
        cores = f"{benchmark['machine']['cores']} CPU cores"
        for name, rounds in benchmark["images_per_second"].items():
            if name.startswith("ours"):
                rates[name.replace("ours", cores)] = statistics.median(rounds)
    seconds = min(row["seconds"] for row in LECTURE.published)
    rates["the lecture's GPU"] = LECTURE.train_size / seconds
    head = ["one machine", "link", *(f"{n} machines" for n in MACHINES)]
    head += ["smallest batch for which several machines are faster"]
    rows = []
    for device, rate in rates.items():
        for link, speed in LINKS.items():
            cells = [f"{speed_up(n, rate, speed):.2f}" for n in MACHINES]
            rows.append([device, link, *cells, f"{2 * GRADIENTS * rate / speed:,.0f}"])
    return table(head, rows)


def speed_up(machines: int, rate: float, link: float) -> float:
    """Calculate how many times as fast as one machine several machines are.

    Parameters
    ----------
    machines : int
    rate : float
        Images/s of one machine.
    link : float
        Bytes/s of one machine's link, in each direction.
    """
    alone = LECTURE.batch_size / rate  # seconds
    sending = 2 * (machines - 1) / machines * GRADIENTS / link
    return alone / (alone / machines + sending)


def put(path: Path, text: str) -> str:
    """Return the contents of a file with another text between its two marks.

    Raises
    ------
    InputError
        When the file cannot be read, or a mark is missing.
    """
    try:
        old = path.read_text("utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot read it ({error.strerror}); use --root") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not in UTF-8 ({error.reason}); convert it") from error
    between = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    if not between.search(old):
        raise InputError(f"{path}: the marks {BEGIN} and {END} are missing")
    return between.sub(lambda _: f"{BEGIN}\n\n{text}\n\n{END}", old)


def written(root: Path) -> dict[Path, Callable[[Path], str]]:
    """List the files with tables, and the functions that write them."""
    return {
        root / "README.md": summary,
        root / "docs/results.md": details,
        root / "docs/training-gap.md": gap_details,
        root / "docs/double-descent.md": descent_details,
        root / "docs/distributed.md": machines_details,
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Rewrite the files."""
    parser = cli.Parser("report", "Write the tables of README.md and docs/.")
    parser.prog = "python results/report.py"
    parser.add_argument(
        "--root", type=Path, default=ROOT, metavar="DIR", help="folder of the repository"
    )
    root = parser.parse_args(argv).root
    texts = {path: put(path, write(root / "results")) for path, write in written(root).items()}
    for path, text in texts.items():  # only after all could be made
        with writing(path) as partial:
            partial.write_text(text, "utf-8")


if __name__ == "__main__":
    cli.run(main)
