"""Curves in a notebook's cell that grow while a net trains."""

from __future__ import annotations

import io
import time
from typing import Any

from d2l_alexnet import figures
from d2l_alexnet.callbacks.base import Callback
from d2l_alexnet.callbacks.progress import BATCHES_TO_MEASURE
from d2l_alexnet.state import Training

SECONDS_BETWEEN_PICTURES = 3


class LiveCurves(Callback):
    """Draw loss and accuracy while a net trains. Outside of a notebook it does nothing.

    Examples
    --------
    ``train(RECIPES["quick"], callbacks=[LiveCurves()])`` in a notebook's cell.
    """

    def on_train_begin(self, training: Training) -> None:
        """Open a display in the cell, if this is a notebook."""
        self._points: list[dict[str, float]] = []
        self._handle, self._last = new_display(), 0.0

    def on_epoch_begin(self, training: Training, images: int) -> None:
        """Remember the number of images in the epoch."""
        self._images = images

    def on_batch_end(self, training: Training) -> None:
        """Add a point, and draw again every few seconds.

        The first picture takes a second. It waits until `Progress` has measured the speed.
        """
        if self._handle and training.means:
            epochs = training.state.epoch - 1 + training.running.images / self._images
            self._points.append(dict(training.means, epoch=epochs))
            measured = len(self._points) > 1 + BATCHES_TO_MEASURE
            if measured and time.monotonic() - self._last >= SECONDS_BETWEEN_PICTURES:
                self._draw(training)

    def on_epoch_end(self, training: Training, row: dict[str, Any]) -> None:
        """Draw again, with the test accuracy."""
        if self._handle:
            self._draw(training)

    def _draw(self, training: Training) -> None:
        file = io.BytesIO()
        figures.live(self._points, training.state.history).savefig(file, format="png")
        self._handle.update({"image/png": file.getvalue()}, raw=True)
        self._last = time.monotonic()


def new_display() -> Any:
    """Return the handle of a new display in the running notebook's cell; None elsewhere."""
    try:
        from IPython import display, get_ipython
    except ImportError:
        return None
    shell = get_ipython()
    if shell is None or "IPKernelApp" not in shell.config:
        return None
    return display.display(
        {"text/plain": "waiting for the first batches"}, raw=True, display_id=True
    )
