"""How far a pass over the images has come: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import time

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 30
BATCHES_TO_MEASURE = 5


class Progress:
    """Show how a pass over the images is going, and once how long it will take.

    Parameters
    ----------
    name : str
        What to call the pass.
    size : int
        Images in the pass.
    done : int
        Images of it that are done already.
    foretell : bool
        Whether to say how long the pass will take, after a first batch, which pays for setting
        up, and five more.
    """

    def __init__(self, name, size, done=0, foretell=False):
        self.name, self.size, self.done, self.before = name, size, done, done
        self.foretell, self.batches = foretell, 0
        self.start = self.last_line = time.perf_counter()
        self.bar = tqdm(
            desc=name, total=size, initial=done, unit=" images", leave=False, disable=None
        )

    def update(self, done, **figures):
        """Show how many images are done, and what has been measured so far."""
        if done == self.done:
            return
        now = time.perf_counter()
        self.batches += 1
        if self.batches == 1:
            self.first = now, done
        elif self.foretell and self.batches == 1 + BATCHES_TO_MEASURE:
            self._foretell(now, done)
        shown = "".join(f", {key.replace('_', ' ')} {value:.3f}" for key, value in figures.items())
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

    def _foretell(self, now, done):
        start, images = self.first
        rate = (done - images) / (now - start)
        tqdm.write(
            f"A pass over {self.size:,} images takes about {duration(self.size / rate)} here "
            f"({rate:.0f} images/s in the first batches), testing not included."
        )

    def close(self):
        """Take the bar away."""
        self.bar.close()


class Timed:
    """Pass on what an iterator gives, and add up how long it keeps one waiting.

    Parameters
    ----------
    iterator : iterator
    seconds : float
        What to start from.
    """

    def __init__(self, iterator, seconds=0.0):
        self._iterator, self.seconds = iterator, seconds

    def __iter__(self):
        return self

    def __next__(self):
        start = time.perf_counter()
        try:
            return next(self._iterator)
        finally:
            self.seconds += time.perf_counter() - start


def watched(data_iter, name):
    """Pass on a loader's batches while showing how far it has come."""
    progress, done = Progress(name, data_iter.images), 0
    for X, y in data_iter:
        yield X, y
        done += len(y)
        progress.update(done)
    progress.close()


def duration(seconds):
    """Write a number of seconds as people say it: '40 s', '7 min', '1.6 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
