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
    """Save a run, and end it after a signal such as Ctrl-C.

    Parameters
    ----------
    folder : pathlib.Path
        The run folder.
    minutes : float
        Time between two checkpoints inside an epoch.
    stop : StopRequest
    resume_command : str
        The command that resumes the run.

    Raises
    ------
    RunError
        From every method, when the checkpoint cannot be written.
    Interrupted
        From every method, after saving, when a stop was asked for.
    """

    def __init__(
        self, folder: Path, minutes: float, stop: StopRequest, resume_command: str
    ) -> None:
        self.folder, self.minutes, self.stop = folder, minutes, stop
        self.how_to_resume = f"saved; to resume: {resume_command}"
        self._last = time.monotonic()

    def on_epoch_begin(self, training: Training, images: int) -> None:
        """Save and end the run if a stop was asked for."""
        self._stop_if_requested(training)

    def on_batch_end(self, training: Training) -> None:
        """Save if it is time; save and end the run if a stop was asked for."""
        self._stop_if_requested(training)
        if time.monotonic() - self._last >= 60 * self.minutes:
            self.save(training)

    def on_test_batch_end(self, training: Training, images: int) -> None:
        """Save and end the run if a stop was asked for. The resumed run repeats this test."""
        self._stop_if_requested(training)

    def on_epoch_end(self, training: Training, row: dict[str, Any]) -> None:
        """Save. A stop has to wait until the epoch's line is printed."""
        self.save(training)

    def on_train_end(self, training: Training) -> None:
        """Save and end the run if a stop was asked for."""
        self._stop_if_requested(training)

    def _stop_if_requested(self, training: Training) -> None:
        if self.stop.signum:
            self.save(training)
            self.stop.raise_if_requested(self.how_to_resume)

    def save(self, training: Training) -> None:
        """Save now, after waiting for the batches that are still computing."""
        training.synchronize()
        checkpoint.save_training(self.folder, training)
        self._last = time.monotonic()


class SavedIfTheyFail(CallbackList):
    """Callbacks that may fail, such as a user's. If one fails, the run is saved and ends.

    A failure becomes a `RunError` that says how to resume. Other exceptions stay as they are, also
    a stop that a callback asks for itself: `InputError`, Ctrl-C, `sys.exit`.

    Parameters
    ----------
    callbacks : iterable of Callback
    checkpointer : Checkpointer
        Saves the run.
    errors : type
        The exceptions that become a `RunError`.
    """

    def __init__(
        self,
        callbacks: Iterable[Callback],
        checkpointer: Checkpointer,
        errors: type[Exception] = Exception,
    ) -> None:
        super().__init__(callbacks)
        self._checkpointer, self._errors = checkpointer, errors

    def _call(self, method: str, *details: Any) -> None:
        for callback in self.callbacks:
            try:
                getattr(callback, method)(*details)
            except BaseException as error:
                training = details[0]
                self._checkpointer.save(training)
                if isinstance(error, InputError) or not isinstance(error, self._errors):
                    raise
                ours = isinstance(error, RunError)
                reason = error if ours else f"{type(callback).__name__}.{method}: {error!r}"
                raise RunError(f"{reason}; {self._checkpointer.how_to_resume}") from error
