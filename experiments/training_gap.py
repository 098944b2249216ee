"""Why is training accuracy below test accuracy? ``python experiments/training_gap.py``.

Question (statements A5 and A6): in the first lecture's log, training accuracy is below test
accuracy in every epoch. The lecturer's reason is that training accuracy is averaged over the epoch,
while the net improves. Another reason may be that dropout is active while training accuracy is
measured. How large is each part of the gap in each epoch?

Result, n = 1 in each format, AMD EPYC. The log is in results/training-gap.

- float32, 93 minutes on two cores, results/lecture:

  - gap 0.233, 0.041, 0.029, 0.014 and 0.010 in epochs 1 to 5;
  - improvement during the epoch is the larger part in epochs 1 and 2, 0.199 and 0.026;
  - dropout is the larger part in epochs 3 to 5, 0.020, 0.016 and 0.013;
  - overfitting makes the gap smaller by 0.006 to 0.012.

- bfloat16, 103 minutes on one core, results/lecture-bfloat16:

  - gap 0.230, 0.043, 0.034, 0.017 and 0.005 in epochs 1 to 5;
  - improvement during the epoch 0.196, 0.027, 0.021, 0.007 and 0.001;
  - dropout 0.043, 0.022, 0.021, 0.017 and 0.015.

Both runs have the lecture's recipe with ``--explain-gap`` and seed 0. So they have the same initial
weights and the same order of the images, and are not independent. If a run is not in results/, it
is trained, which takes 75 minutes or more on two cores. A run that was stopped is resumed.
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
    for dtype in DTYPES[:1] if arguments.quick else DTYPES:
        recipe = replace(RECIPES["lecture"], dtype=dtype, **(QUICK if arguments.quick else {}))
        history = runs.train_once(recipe, arguments.out / dtype, seed=0, explain_gap=True)
        print(f"{dtype}: {gap.explain(history)}")
        for row in history:
            about, parts = dict(run=dtype, epoch=row["epoch"]), gap.parts(row)
            print(LINE.format(**about, **parts))
            rows.append({**about, **{name: round(part, 4) for name, part in parts.items()}})
    runs.write(arguments.out / "training_gap.json", rows)
    runs.save(draw(rows), arguments.out / "training_gap.png")


def draw(rows: list[dict]) -> Figure:
    """Draw each part by epoch, a line for each run."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for dtype, style in zip(DTYPES, ("-", "--")):
        of_run = [row for row in rows if row["run"] == dtype]
        for color, part in enumerate(("gap", *gap.PARTS)):
            points = [row["epoch"] for row in of_run], [100 * row[part] for row in of_run]
            axes.plot(*points, f"C{color}{style}", marker="o", label=f"{part}, {dtype}")
    axes.set(title="Parts of the gap by epoch", xlabel="epoch", ylabel="points")
    axes.legend(fontsize="small")
    return figure


if __name__ == "__main__":
    runs.run(main)
