"""The interface of a callback. Its methods have the same names as in Keras."""

from __future__ import annotations

from typing import Any, Iterable

from d2l_alexnet.state import Training


class Callback:
    """An object whose methods are called during a run. A subclass overrides the methods it needs.

    Every method is given the `d2l_alexnet.state.Training`: its `net`, `trainer`, `recipe`, `state`
    (steps, epoch, history) and `means` (loss and accuracy in the epoch so far).
    """

    def on_train_begin(self, training: Training) -> None:
        """Do something before the first batch of a new or resumed run."""

    def on_epoch_begin(self, training: Training, images: int) -> None:
        """Do something before an epoch begins or is resumed. `images` is its number of images."""

    def on_batch_end(self, training: Training) -> None:
        """Do something after a training step. MXNet may still be computing its loss."""

    def on_test_begin(self, training: Training, key: str, images: int) -> None:
        """Do something before an accuracy is measured. `key` is its key in the history."""

    def on_test_batch_end(self, training: Training, images: int) -> None:
        """Do something after accuracy was measured on a batch of `images` images."""

    def on_test_end(self, training: Training) -> None:
        """Do something after accuracy has been measured."""

    def on_epoch_end(self, training: Training, row: dict[str, Any]) -> None:
        """Do something after an epoch. `row` is its history row; `state.epoch` is the next one."""

    def on_train_end(self, training: Training) -> None:
        """Do something after the last epoch."""


class CallbackList(Callback):
    """A callback that calls several callbacks in their order.

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
