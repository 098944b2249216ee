"""Save a run every few minutes, after every epoch, and before it stops."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Iterable

from d2l_alexnet.callbacks.base import Callback, CallbackList
from d2l_alexnet.errors import InputError, RunError
from d2l_alexnet.run_folder import checkpoint
from d2l_alexnet.runtime.signals import StopRequest
from d2l_alexnet.state import Training


class Checkpointer(Callback):
    """Save a run, and end it when Ctrl-C or SIGTERM has asked for that.

    Parameters
    ----------
    folder : pathlib.Path
        The run folder.
    minutes : float
        Time between two checkpoints inside an epoch.
    stop : StopRequest

    Raises
    ------
    RunError
        From every method, when the checkpoint cannot be written.
    Interrupted
        From every method, after saving, when a stop was asked for.
    """

    def __init__(self, folder: Path, minutes: float, stop: StopRequest) -> None:
        self.folder, self.minutes, self.stop = folder, minutes, stop
        self._last = time.monotonic()

    @property
    def how_to_resume(self) -> str:
        """Half a sentence for the user."""
        return f"saved; to resume: python -m d2l_alexnet.train --resume {self.folder}"

    def on_batch_end(self, training: Training) -> None:
        """Save if it is time, or if a stop was asked for."""
        if self.stop.signum or time.monotonic() - self._last >= 60 * self.minutes:
            self.save(training)
            self.stop.raise_if_requested(self.how_to_resume)

    def on_test_batch_end(self, training: Training, images: int) -> None:
        """Save if a stop was asked for. The resumed run measures this accuracy from the start."""
        if self.stop.signum:
            self.save(training)
            self.stop.raise_if_requested(self.how_to_resume)

    def on_epoch_end(self, training: Training, row: dict[str, Any]) -> None:
        """Save."""
        self.save(training)
        self.stop.raise_if_requested(self.how_to_resume)

    def save(self, training: Training) -> None:
        """Save now, after waiting for the batches that are still computing."""
        training.synchronize()
        checkpoint.save(self.folder, training.net, training.trainer, training.state)
        self._last = time.monotonic()


class UserCallbacks(CallbackList):
    """The callbacks of a user. When one fails, the run is saved and ends in one line.

    Parameters
    ----------
    callbacks : iterable of Callback
    checkpointer : Checkpointer
        Saves the run.
    """

    def __init__(self, callbacks: Iterable[Callback], checkpointer: Checkpointer) -> None:
        super().__init__(callbacks)
        self._checkpointer = checkpointer

    def _call(self, method: str, *details: Any) -> None:
        for callback in self.callbacks:
            try:
                getattr(callback, method)(*details)
            except (InputError, RunError):
                raise
            except Exception as error:
                training = details[0]
                self._checkpointer.save(training)
                raise RunError(
                    f"{type(callback).__name__}.{method}: {error!r}; "
                    f"{self._checkpointer.how_to_resume}"
                ) from error
