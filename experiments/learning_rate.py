"""At which learning rates do LeNet and AlexNet learn? ``python experiments/learning_rate.py``.

Question (statement A4): the first lecture trains LeNet with a learning rate of 0.9 and AlexNet with
0.01. The lecturer says that a deeper net needs a smaller rate. At which rates does each net learn,
fail to learn, or diverge? What is the largest rate at which all seeds learn?

Result, n = 3, one core of an AMD EPYC (AVX2), 200 minutes, while other programs ran: LeNet learns
at 0.3 and 0.9, and with two of three seeds at 2.7. It fails to learn at 0.1 or less in five epochs,
and at 8.1. AlexNet learns at 0.03 and 0.1. It fails to learn at 0.3 in 48 steps. At 0.9 one run
diverges and two fail to learn. The log is in results/learning-rate.

LeNet has its own recipe: all 60,000 images, five epochs. AlexNet has the lecture's recipe, with two
epochs of the first 3,000 images, which are 48 steps. 48 steps are too few to show whether AlexNet
learns at rates below 0.03. The run in results/lecture shows that it learns at 0.01. A net fails to
learn ("stands still") if the mean loss of its last epoch is above 2.2. A net that gives all classes
the same probability has a loss of 2.30. A run diverges if its loss becomes infinite, or is above 3
in an epoch. Accuracy is not compared, so only 1,000 images are tested. Finished runs are skipped,
and a run that was stopped is resumed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import runs
from matplotlib.figure import Figure

from d2l_alexnet.errors import RunError
from d2l_alexnet.recipes import RECIPES, Recipe

RATES = (0.03, 0.1, 0.3, 0.9)
NETS: dict[str, tuple[Recipe, tuple[float, ...]]] = {
    "lenet": (RECIPES["lenet"], (0.003, 0.01, *RATES, 2.7, 8.1)),
    "alexnet": (replace(RECIPES["lecture"], train_size=3_000, num_epochs=2), RATES),
}
SEEDS = (0, 1, 2)
OUTCOMES = {"learns": "o", "stands still": "s", "diverges": "x"}  # and their markers


def main() -> None:
    """Train all that is missing, print a line for each run, and draw the losses by rate."""
    arguments = runs.parse(__doc__, "learning_rate")
    if not arguments.quick:
        runs.use_first_images(train=60_000, test=1_000)
    rows = []
    for seed in SEEDS[:1] if arguments.quick else SEEDS:
        for net, (recipe, rates) in NETS.items():
            for lr in rates[-1:] if arguments.quick else rates:
                changed = replace(recipe, lr=lr, **(runs.SMALL_LENET if arguments.quick else {}))
                folder = arguments.out / f"{net}-{lr}-seed{seed}"
                rows.append(dict(net=net, lr=lr, seed=seed, **measure(changed, folder, seed)))
                print(
                    "{net}, rate {lr}, seed {seed}: {outcome}, losses {losses}".format(**rows[-1])
                )
    for net in NETS:
        print(f"{net}: the largest rate at which all seeds learn is {largest(rows, net)}")
    runs.write(arguments.out / "learning_rate.json", rows)
    runs.save(draw(rows), arguments.out / "learning_rate.png")


def measure(recipe: Recipe, folder: Path, seed: int) -> dict:
    """Train a net; return the outcome, and the mean loss of each epoch in which it was finite."""
    finite = True
    try:
        history = runs.train_once(recipe, folder, seed)
    except RunError as error:
        if "NaN or infini" not in str(error):  # of the loss or of a weight
            raise
        path = folder / "history.jsonl"
        history, finite = runs.read_history(path) if path.exists() else [], False
    losses = [round(row["loss"], 4) for row in history]
    if not finite or max(losses) > 3:
        outcome = "diverges"
    else:
        outcome = "learns" if losses[-1] < 2.2 else "stands still"
    return dict(outcome=outcome, losses=losses, minutes=round(runs.minutes(history), 2))


def largest(rows: list[dict], net: str) -> float | None:
    """Find the largest rate at which all seeds of a net learn."""
    outcomes: dict[float, set[str]] = {}
    for row in rows:
        if row["net"] == net:
            outcomes.setdefault(row["lr"], set()).add(row["outcome"])
    return max((lr for lr, found in outcomes.items() if found == {"learns"}), default=None)


def draw(rows: list[dict]) -> Figure:
    """Draw the loss of the last epoch against the learning rate, with a marker for each run."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    for axes, net in zip(figure.subplots(1, len(NETS), sharex=True, sharey=True), NETS):
        for outcome, marker in OUTCOMES.items():
            found = [row for row in rows if (row["net"], row["outcome"]) == (net, outcome)]
            # A run that diverges is drawn above all others, independent of its loss.
            losses = [2.6 if outcome == "diverges" else row["losses"][-1] for row in found]
            axes.plot([row["lr"] for row in found], losses, marker, label=outcome, mfc="none")
        axes.set(title=net, xlabel="learning rate", xscale="log", ylabel="loss of the last epoch")
    axes.legend(fontsize="small")
    return figure


if __name__ == "__main__":
    runs.run(main)
