"""Write a run's history, pictures and weights into its folder after every epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from d2l_alexnet.callbacks.base import Callback
from d2l_alexnet.run_folder.results import write_results
from d2l_alexnet.state import Training


class ResultsWriter(Callback):
    """Write the results of a run after every epoch; see `d2l_alexnet.run_folder.results`.

    Parameters
    ----------
    folder : pathlib.Path
        The run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_epoch_end(self, training: Training, row: dict[str, Any]) -> None:
        """Write all measurements so far."""
        state = training.state
        write_results(self.folder, training.net, training.recipe, state.history, state.losses)
