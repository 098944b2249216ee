"""Why is training accuracy below test accuracy? ``python experiments/training_gap.py``.

Asked: in the first lecture's log training accuracy is below test accuracy in every epoch, and the
reason given is that it is averaged over the epoch while the net improves. (Statements A5 and A6.)
Dropout is active meanwhile, too. How large is each part, epoch by epoch?

Result in float32, n = 1, two cores of an AMD EPYC, 93 minutes (results/lecture): the gap is 0.233,
0.041, 0.029, 0.014 and 0.010 in epochs 1 to 5. Improvement during the epoch is the larger part in
epochs 1 and 2 (0.199 and 0.026), dropout in epochs 3 to 5 (0.020, 0.016 and 0.013). Overfitting
makes the gap smaller by 0.006 to 0.012. In bfloat16, n = 1, 103 minutes (results/lecture-bfloat16):
the gap is 0.230, 0.043, 0.034, 0.017 and 0.005, improvement 0.196, 0.027, 0.021, 0.007 and 0.001,
dropout 0.043, 0.022, 0.021, 0.017 and 0.015. The log is in results/training-gap.

The lecture's recipe with ``--explain-gap``, seed 0, in float32 and in bfloat16. The initial weights
and the order of the images are those of the same seed, so the two runs are not independent. A run
that is not in results/ takes 75 minutes or more on two cores; a run that was stopped is resumed.
"""

from __future__ import annotations

from dataclasses import replace

import runs
from matplotlib.figure import Figure

from d2l_alexnet import gap
from d2l_alexnet.recipes import RECIPES

DTYPES = ("float32", "bfloat16")
LINE = (
    "{run}, epoch {epoch}: gap {gap:+.3f}, dropout {dropout:+.3f}, "
    "improvement {improvement:+.3f}, overfitting {overfitting:+.3f}"
)
QUICK = dict(runs.SMALL_LENET, num_epochs=2)


def main() -> None:
    """Print the parts of the gap by epoch for all runs, and draw them."""
    arguments = runs.parse(__doc__, "training_gap")
    rows = []
    for dtype in DTYPES[: 1 if arguments.quick else None]:
        recipe = replace(RECIPES["lecture"], dtype=dtype, **(QUICK if arguments.quick else {}))
        history = runs.train_once(recipe, arguments.out / dtype, seed=0, explain_gap=True)
        print(f"{dtype}: {gap.explain(history)}")
        for row in history:
            parts = {name: round(part, 4) for name, part in gap.parts(row).items()}
            rows.append(dict(run=dtype, epoch=row["epoch"], **parts))
            print(LINE.format(**rows[-1]))
    runs.write(arguments.out / "training_gap.json", rows)
    runs.save(draw(rows), arguments.out / "training_gap.png")


def draw(rows: list[dict]) -> Figure:
    """Draw each part by epoch, a line for each run."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for dtype, style in zip(DTYPES, ("-", "--")):
        of_run = [row for row in rows if row["run"] == dtype]
        for colour, part in enumerate(("gap", *gap.PARTS)):
            points = [row["epoch"] for row in of_run], [100 * row[part] for row in of_run]
            axes.plot(*points, f"C{colour}{style}", marker="o", label=f"{part}, {dtype}")
    axes.set(
        title="Dropout becomes the larger part in epoch 3 or 4", xlabel="epoch", ylabel="points"
    )
    axes.legend(fontsize="small")
    return figure


if __name__ == "__main__":
    runs.run(main)
