"""Show the progress of a run: a bar on a terminal, or a line every half minute elsewhere."""

from __future__ import annotations

import time
from typing import Any, Iterator

from tqdm import tqdm

from d2l_alexnet.callbacks.base import Callback
from d2l_alexnet.data import DATA_SETS
from d2l_alexnet.state import Training

SECONDS_BETWEEN_LINES = 30
BATCHES_TO_MEASURE = 5
STEPS_TO_LEARN = 400  # an epoch of the lecture's recipe has 469


class Progress(Callback):
    """Show every epoch and every test while they run, and print an epoch's line at its end."""

    def on_epoch_begin(self, training: Training, images: int) -> None:
        """Show a new bar for the epoch."""
        state = training.state
        self.bar = Bar(f"epoch {state.epoch}", images, state.images, estimate=not state.history)

    def on_batch_end(self, training: Training) -> None:
        """Show the images, the loss and the accuracy so far."""
        self.bar.update(training.running.images, **_shown(training.means))

    def on_test_begin(self, training: Training, key: str, images: int) -> None:
        """Show a new bar for the test."""
        self.bar.close()
        self.bar, self.tested = Bar(key.replace("_", " "), images), 0

    def on_test_batch_end(self, training: Training, images: int) -> None:
        """Show the images so far."""
        self.tested += images
        self.bar.update(self.tested)

    def on_test_end(self, training: Training) -> None:
        """Remove the bar."""
        self.bar.close()

    def on_epoch_end(self, training: Training, row: dict[str, Any]) -> None:
        """Print the epoch's line, and a warning if the net has learned nothing."""
        print(lecture_line(row), flush=True)
        chance = 1 / len(DATA_SETS[training.recipe.data].classes)
        if training.state.steps >= STEPS_TO_LEARN and row["test_accuracy"] < 1.5 * chance:
            print(
                f"Warning: after {training.state.steps} steps test accuracy is still at chance "
                f"level. Usual causes: a learning rate ({training.trainer.learning_rate:g}) far "
                "too high or too low, weights that are all equal, labels in another order than "
                "the images, pixels outside 0…1 or -1…1."
            )


def _shown(means: dict[str, float]) -> dict[str, float]:
    """Choose the means over an epoch's images that the bar shows."""
    names = dict(loss="loss", running_train_accuracy="running accuracy")
    return {names[key]: mean for key, mean in means.items() if key in names}


def lecture_line(row: dict[str, Any]) -> str:
    """Write an epoch's row as the lecture prints it, with the other accuracies that it has."""
    names = dict(
        running_train_accuracy="running train acc" if "train_accuracy" in row else "train acc",
        train_accuracy="train acc after the epoch",
        valid_accuracy="valid acc",
        test_accuracy="test acc",
    )
    accuracies = ", ".join(f"{names[key]} {row[key]:.3f}" for key in names if key in row)
    return (
        f"epoch {row['epoch']}, loss {row['loss']:.4f}, {accuracies}, time {row['seconds']:.1f} sec"
    )


class Bar:
    """Show how many images are done: a bar on a terminal, a line every half minute elsewhere.

    Parameters
    ----------
    name : str
        The task whose progress is shown.
    size : int
        Number of images.
    done : int
        Images that are done already.
    estimate : bool
        Whether to print how long all images will take. The time is measured on five batches. The
        first batch is not measured, because it is slower.
    """

    def __init__(self, name: str, size: int, done: int = 0, estimate: bool = False) -> None:
        self.name, self.size, self.done, self.before = name, size, done, done
        self.estimate, self.batches = estimate, 0
        self.start = self.last_line = time.perf_counter()
        self.bar = tqdm(
            desc=name, total=size, initial=done, unit=" images", leave=False, disable=None
        )

    def update(self, done: int, **means: float) -> None:
        """Show how many images are done, and the measurements so far."""
        if done == self.done:
            return
        now = time.perf_counter()
        self.batches += 1
        if self.batches == 1:
            self.first = now, done
        elif self.estimate and self.batches == 1 + BATCHES_TO_MEASURE:
            self._print_estimate(now, done)
        shown = "".join(f", {name} {mean:.3f}" for name, mean in means.items())
        self.bar.set_postfix_str(shown[2:], refresh=False)
        self.bar.update(done - self.done)
        self.done = done
        if self.bar.disable and now - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = now
            rate = (done - self.before) / (now - self.start)
            print(
                f"{self.name}: {done:,} of {self.size:,} images{shown}, "
                f"{rate:.0f} images/s, {duration((self.size - done) / rate)} left",
                flush=True,
            )

    def _print_estimate(self, now: float, done: int) -> None:
        start, images = self.first
        rate = (done - images) / (now - start)
        tqdm.write(
            f"An epoch of {self.size:,} images takes about {duration(self.size / rate)} here "
            f"({rate:.0f} images/s in the first batches), testing not included."
        )

    def close(self) -> None:
        """Remove the bar."""
        self.bar.close()


def watched(data_iter: Any, name: str) -> Iterator:
    """Yield the batches of a loader, and show how many images are done."""
    bar, done = Bar(name, data_iter.images), 0
    for X, y in data_iter:
        yield X, y
        done += len(y)
        bar.update(done)
    bar.close()


def duration(seconds: float) -> str:
    """Write a number of seconds in the best unit: '40 s', '7 min', '1.6 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
