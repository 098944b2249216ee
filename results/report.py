"""Set the committed results beside the published ones: ``python -m d2l_alexnet.report``.

It rewrites what stands between two marks in README.md and in results/README.md, from the logs in
results/ alone.
"""

from __future__ import annotations

import json
import math
import re
import statistics
from dataclasses import dataclass, replace
from pathlib import Path

from d2l_alexnet import cli, gap, runs
from d2l_alexnet.history import read_history
from d2l_alexnet.plateau import cuts
from d2l_alexnet.recipes import LECTURE, RECIPES, Recipe
from d2l_alexnet.runtime import InputError

BEGIN = "<!-- written by python -m d2l_alexnet.report -->"
END = "<!-- until here -->"
NOT_RUN = "not run"
OTHER_RATE = "at another rate"
REACHING = (
    "**Training to reach the lecture's first and last test accuracy**, in images and minutes, the "
    "latter by what `python benchmarks/scaling.py` measured for an image in such batches:"
)
SPEED = (
    "**Speed**: medians, and the ratios' ranges; PyTorch is eager, in the better of its two memory "
    "formats:"
)
BENCHMARKS = {
    "training": "python benchmarks/step.py training",
    "evaluation": "python benchmarks/step.py evaluation",
    "loader": "python benchmarks/loader.py",
}
OPTIONS = dict(
    num_epochs="--epochs {}",
    batch_size="--batch-size {}",
    lr="--lr {}",
    resize="--resize {}",
    train_size="--train-size {}",
    dtype="--dtype {}",
    augment="--augment",
)
COMPARED = ("loss", "running_train_accuracy", "train_accuracy", "valid_accuracy", "test_accuracy")


@dataclass(frozen=True)
class Run:
    """A run whose log is in results/.

    Parameters
    ----------
    folder : pathlib.Path
    recipe : Recipe
    seed : int
    explain_gap : bool
    settings : dict
        What args.json says, of which versions and device are shown.
    history : list of dict
    """

    folder: Path
    recipe: Recipe
    seed: int
    explain_gap: bool
    settings: dict
    history: list

    @property
    def command(self):
        """The command that repeats it, or the call where there is no option for a setting."""
        usual = vars(RECIPES[self.recipe.name])
        changes = {k: v for k, v in vars(self.recipe).items() if v != usual[k]}
        if not OPTIONS.keys() >= changes.keys():
            settings = "".join(f", {name}={value!r}" for name, value in changes.items())
            return f'train(replace(RECIPES["{self.recipe.name}"]{settings}), seed={self.seed})'
        options = [] if self.recipe.name == "lecture" else [f"--recipe {self.recipe.name}"]
        options += [OPTIONS[name].format(value) for name, value in changes.items()]
        options += [f"--seed {self.seed}"] * bool(self.seed)
        options += ["--explain-gap"] * self.explain_gap
        return " ".join(["python -m d2l_alexnet.train", *options])

    @property
    def versions(self):
        """What it ran on and with."""
        return "{device}; MXNet {mxnet}, NumPy {numpy}, Python {python}".format(**self.settings)


def read_runs(results):
    """Read every run folder in a folder of results.

    Returns
    -------
    list of Run
        By the name of the folder.
    """
    found = []
    for path in sorted(Path(results).glob(f"*/{runs.SETTINGS}")):
        recipe, seed, explain_gap = runs.read_settings(path.parent)
        history = read_history(path.parent / "history.jsonl")
        settings = json.loads(path.read_text())
        found.append(Run(path.parent, recipe, seed, explain_gap, settings, history))
    return found


def of_recipe(all_runs, recipe, *free):
    """Pick the runs of a recipe; the settings named in `free` may be others."""
    its = {name: getattr(recipe, name) for name in free}
    return [run for run in all_runs if replace(run.recipe, **its) == recipe]


def table(head, rows):
    """Write a Markdown table."""
    rule = ["---"] * len(head)
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in (head, rule, *rows))


def comparison(recipe, all_runs):
    """Set a recipe's published figures and ours side by side, epoch by epoch.

    Where the learning rate was cut, an epoch is set beside the one of ours that lies as far from
    our own cut.

    Parameters
    ----------
    recipe : Recipe
    all_runs : list of Run
        Of which those of this recipe are shown, each in columns of its own.
    """
    ours = of_recipe(all_runs, recipe, "num_epochs")
    keys = [key for key in COMPARED if any(key in row for row in recipe.published)]
    head = ["epoch"]
    for key in keys:
        head += [f"{key.replace('_', ' ')}, *published*"]
        head += [f"*measured*, seed {run.seed}" for run in ours] or ["*measured*"]
    rows = []
    for published in recipe.published:
        if not published.keys() & keys:
            continue
        row = [published["epoch"]]
        for key in keys:
            digits = 4 if key == "loss" else 3
            if key not in published:
                row += [""] * (1 + max(1, len(ours)))
                continue
            row.append(f"{published[key]:.{digits}f}")
            row += [_beside(run, published, key, digits) for run in ours] or [NOT_RUN]
        rows.append(row)
    return table(head, rows)


def _beside(run, published, key, digits):
    """Write a figure of ours and how far it is from the published one."""
    epoch = comparable(published["epoch"], run.recipe.published, run.history)
    for row in run.history:
        if row["epoch"] == epoch and key in row:
            other = f", epoch {epoch}" * (epoch != published["epoch"])
            return f"{row[key]:.{digits}f} ({row[key] - published[key]:+.{digits}f}){other}"
    return NOT_RUN if run.history[-1]["epoch"] < published["epoch"] else OTHER_RATE


def comparable(epoch, published, history):
    """Find our epoch that is as long after our last cut of the learning rate as a published one.

    Returns
    -------
    int
        The same epoch before the first cut, and at the end. None where we had another rate.
    """
    if epoch == published[-1]["epoch"] or "learning_rate" not in published[0]:
        return epoch
    theirs, ours = ([1, *cuts(rows), math.inf] for rows in (published, history))
    past = sum(cut <= epoch for cut in theirs) - 1
    if past > len(ours) - 2:
        return None
    found = ours[past] + epoch - theirs[past]
    return found if found < ours[past + 1] else None


def gap_table(all_runs):
    """List what the gap between test and running training accuracy was made of, where measured."""
    rows = []
    for run in all_runs:
        if gap.measured(run.history):
            for row in run.history:
                parts = [f"{part:+.3f}" for part in gap.take_apart(row).values()]
                rows.append([f"{run.recipe.name}, seed {run.seed}", row["epoch"], *parts])
    head = ["run", "epoch", "test minus running training accuracy", *gap.PARTS.values()]
    return table(head, rows) if rows else ""


def run_table(all_runs, link):
    """List the runs: what each came to, on what, how long it took, its command and its log."""
    rows = []
    for run in all_runs:
        last = run.history[-1]
        seconds = statistics.median(row["seconds"] for row in run.history)
        rows.append([
            f"{run.recipe.name}, seed {run.seed}",
            f"{last['test_accuracy']:.4f} after epoch {last['epoch']}",
            f"{seconds:.0f} s",
            run.versions,
            f"`{run.command}`",
            f"[{run.folder.name}]({link}{run.folder.name})",
        ])  # fmt: skip
    head = ["run", "test accuracy, *measured*", "an epoch, with testing", "on", "command", "log"]
    return table(head, rows)


def seeds(all_runs):
    """Say of each recipe that was run with several seeds how far they lie apart."""
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


def reach_table(all_runs, benchmarks):
    """List what it took to reach the lecture's first and last test accuracy, by either recipe.

    Images are counted in the runs' logs. Minutes of training follow from them by what
    benchmarks/scaling.py measured for the recipe's batch size: the runs had the machine for
    themselves to different degrees.
    """
    path = Path(benchmarks, "scaling.json")
    times = json.loads(path.read_text())["batch_size"] if path.exists() else {}
    rows = []
    for target in (LECTURE.published[0], LECTURE.published[-1]):
        accuracy = target["test_accuracy"]
        cells = [_reached(all_runs, name, accuracy, times) for name in ("lecture", "quick")]
        rows.append([f"{accuracy:.3f}", *cells])
    return table(["test accuracy", "by the lecture's recipe", "by `quick`"], rows)


def _reached(all_runs, name, accuracy, times):
    """Say how few images, in how many minutes, took a recipe to an accuracy."""
    tested = [
        (row["epoch"] * run.recipe.train_size, row["test_accuracy"])
        for run in of_recipe(all_runs, RECIPES[name], "train_size", "num_epochs")
        for row in run.history
    ]
    enough = [(images, reached) for images, reached in tested if reached >= accuracy]
    if not enough:
        return f"not reached: {max(r for _, r in tested):.3f}" if tested else NOT_RUN
    images, reached = min(enough)
    said = f"{images:,} images: {reached:.3f}"
    measured = times.get(str(RECIPES[name].batch_size))
    if measured:
        minutes = images * statistics.median(measured["milliseconds_per_image"]) / 60_000
        said += f", {minutes:.1f} min"
    return said


def speed_table(benchmarks):
    """List what the benchmarks measured: medians, and medians of the ratios of every round.

    Parameters
    ----------
    benchmarks : path
        Folder of their JSON files; one that is not there was not run.
    """
    head = ["", "ours, images/s", "÷ the lecture's way", "÷ the same, a thread a core"]
    head += ["÷ PyTorch", "of the fastest matrix product", "on", "command"]
    rows = []
    for name, command in BENCHMARKS.items():
        path = Path(benchmarks, f"{name}.json")
        cells = _speed(json.loads(path.read_text())) if path.exists() else [NOT_RUN] * 6
        rows.append([name, *cells, f"`{command}`"])
    return table(head, rows)


def _speed(figures):
    """Give a benchmark's rate, its ratios, its share of a matrix product's, and the machine."""
    rates = figures["images_per_second"]
    ratios = {name: [ours / its for ours, its in zip(rates["ours"], rates[name])] for name in rates}
    pytorch = [ratios[name] for name in ratios if name.startswith("PyTorch")]
    limit = figures.get("limit")
    on = "{cpu}, {cores} cores, {vectors}; {rounds} rounds"
    return [
        f"{statistics.median(rates['ours']):,.0f}",
        _spread(ratios["lecture's way"]),
        _spread(ratios.get("lecture's way, a thread a core")),
        _spread(min(pytorch, key=statistics.median)),
        f"{figures['multiply_adds_per_second'] / limit:.2f}" if limit else "",
        on.format(**figures["machine"], rounds=len(rates["ours"])),
    ]


def _spread(values):
    if not values:
        return ""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def summary(results):
    """Write what belongs on the README's first screen."""
    all_runs = read_runs(results)
    parts = []
    for recipe in RECIPES.values():
        if of_recipe(all_runs, recipe, "num_epochs") and recipe.published:
            parts += [f"**{recipe.name}**, published and measured:", comparison(recipe, all_runs)]
        elif recipe.published:
            parts.append(f"**{recipe.name}**: {NOT_RUN}.")
    parts += [run_table(all_runs, "results/"), seeds(all_runs)]
    benchmarks = Path(results, "benchmarks")
    parts += [REACHING, reach_table(all_runs, benchmarks)]
    parts += [SPEED, speed_table(benchmarks)]
    return "\n\n".join(part for part in parts if part)


def details(results):
    """Write what the summary leaves out: where the gap comes from, and what is still to be run."""
    all_runs = read_runs(results)
    parts = ["**The gap**, by `--explain-gap`:", gap_table(all_runs)]
    for recipe in RECIPES.values():
        if recipe.published:
            parts += [f"**{recipe.name}**, published and measured:", comparison(recipe, all_runs)]
    return "\n\n".join(part for part in parts if part)


def put(path, text):
    """Replace what stands between the two marks of a file.

    Raises
    ------
    InputError
        When there is no such file, or the marks are not there.
    """
    try:
        old = Path(path).read_text()
    except OSError as error:
        raise InputError(f"{path}: cannot read it ({error.strerror}); use --root") from error
    between = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    if not between.search(old):
        raise InputError(f"{path}: no place for the report, between {BEGIN} and {END}")
    Path(path).write_text(between.sub(lambda _: f"{BEGIN}\n\n{text}\n\n{END}", old))


def main(argv=None):
    """Rewrite both files."""
    parser = cli.Parser("report", "Write the tables of README.md and results/README.md.")
    parser.add_argument("--root", default=".", metavar="DIR", help="folder of the repository")
    root = Path(parser.parse_args(argv).root)
    put(root / "README.md", summary(root / "results"))
    put(root / "results/README.md", details(root / "results"))


if __name__ == "__main__":
    cli.run(main)
