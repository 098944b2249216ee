"""The interface of a callback, in Keras's words."""

from __future__ import annotations

from typing import Any, Iterable

from d2l_alexnet.state import Training


class Callback:
    """Is called during a run. A subclass overrides the methods that it needs.

    Every method is given the `d2l_alexnet.state.Training`: its `net`, `trainer`, `recipe`, `state`
    (steps, epoch, history) and `means` (loss and accuracy in the epoch so far).
    """

    def on_train_begin(self, training: Training) -> None:
        """Do something before the first batch of a new or resumed run."""

    def on_epoch_begin(self, training: Training, images: int) -> None:
        """Do something before an epoch of that many images begins, or is resumed."""

    def on_batch_end(self, training: Training) -> None:
        """Do something after a training step. Its loss may not be computed yet."""

    def on_test_begin(self, training: Training, key: str, images: int) -> None:
        """Do something before accuracy is measured: its key in the history, number of images."""

    def on_test_batch_end(self, training: Training, images: int) -> None:
        """Do something after a batch of that many images in which accuracy is measured."""

    def on_test_end(self, training: Training) -> None:
        """Do something after accuracy has been measured."""

    def on_epoch_end(self, training: Training, row: dict[str, Any]) -> None:
        """Do something after an epoch: its row of the history. `state` is at the next epoch."""

    def on_train_end(self, training: Training) -> None:
        """Do something after the last epoch."""


class CallbackList(Callback):
    """Several callbacks as one; they are called in their order.

    Parameters
    ----------
    callbacks : iterable of Callback
    """

    def __init__(self, callbacks: Iterable[Callback]) -> None:
        self.callbacks = list(callbacks)

    def _call(self, method: str, *details: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, method)(*details)

    def on_train_begin(self, training: Training) -> None:
        """Call this method of every callback."""
        self._call("on_train_begin", training)

    def on_epoch_begin(self, training: Training, images: int) -> None:
        """Call this method of every callback."""
        self._call("on_epoch_begin", training, images)

    def on_batch_end(self, training: Training) -> None:
        """Call this method of every callback."""
        self._call("on_batch_end", training)

    def on_test_begin(self, training: Training, key: str, images: int) -> None:
        """Call this method of every callback."""
        self._call("on_test_begin", training, key, images)

    def on_test_batch_end(self, training: Training, images: int) -> None:
        """Call this method of every callback."""
        self._call("on_test_batch_end", training, images)

    def on_test_end(self, training: Training) -> None:
        """Call this method of every callback."""
        self._call("on_test_end", training)

    def on_epoch_end(self, training: Training, row: dict[str, Any]) -> None:
        """Call this method of every callback."""
        self._call("on_epoch_end", training, row)

    def on_train_end(self, training: Training) -> None:
        """Call this method of every callback."""
        self._call("on_train_end", training)
