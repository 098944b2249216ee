"""Write the measurements of a run for TensorBoard: ``python -m d2l_alexnet.train --tensorboard``.

``tensorboard --logdir runs`` then shows them. Both commands need the package's extra
``tensorboard``. So this module is imported only with ``--tensorboard``.
"""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import mxnet as mx
from PIL import Image
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.graph_pb2 import GraphDef
from tensorboardX.proto.node_def_pb2 import NodeDef
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter

from d2l_alexnet.callbacks.base import Callback
from d2l_alexnet.errors import RunError
from d2l_alexnet.run_folder.folder import EVENTS
from d2l_alexnet.state import Training

STEPS_BETWEEN_POINTS = 10
PICTURES = ("curves.png", "gap.png")


class TensorBoard(Callback):
    """Write a run's events into its folder. A resumed run adds a new file.

    Every point is at the number of steps taken. ``running/…`` are means over the epoch so far,
    ``epoch/…`` the numbers of the history.

    Parameters
    ----------
    folder : path
        The run folder.

    Raises
    ------
    RunError
        From every method, when the events cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.run_folder, self.folder = Path(folder), Path(folder, EVENTS)

    def on_train_begin(self, training: Training) -> None:
        """Open a file; write the net's graph, or hide the points of later steps.

        A process that was killed may have written points after its last checkpoint.
        """
        try:
            self.folder.mkdir(exist_ok=True)
            # TensorBoard knows such files by this name, and reads them in order.
            path = self.folder / f"events.out.tfevents.{time.time_ns()}"
            self._writer = RecordWriter(str(path))
        except OSError as error:
            raise self._cannot_write(error) from error
        self._points = training.state.steps // STEPS_BETWEEN_POINTS
        self._write(0, file_version="brain.Event:2")
        if training.state.steps:
            session = SessionLog(status=SessionLog.START)
            self._write(training.state.steps + 1, session_log=session)
        else:
            self._write(0, graph_def=graph(training.net).SerializeToString())

    def on_batch_end(self, training: Training) -> None:
        """Write the means over the epoch so far, after every ten steps.

        Before a checkpoint, several steps are measured at once.
        """
        steps = training.state.steps - training.running.waiting
        points = steps // STEPS_BETWEEN_POINTS
        if training.means and points > self._points:
            self._points = points
            self._write(steps, summary=_scalars("running", training.means))

    def on_epoch_end(self, training: Training, row: dict[str, Any]) -> None:
        """Write a row of the history, and the pictures in the run folder."""
        steps = training.state.steps
        self._write(steps, summary=_scalars("epoch", row))
        for name in PICTURES:
            if (self.run_folder / name).exists():
                self._write(steps, summary=_picture(self.run_folder / name))

    def _write(self, steps: int, **content: Any) -> None:
        """Write an event and wait until it is on the disk."""
        try:
            event = Event(wall_time=time.time(), step=steps, **content)
            self._writer.write(event.SerializeToString())
            self._writer.flush()
        except OSError as error:
            with contextlib.suppress(OSError):
                self._writer.close()  # or Python would complain later of data not written
            raise self._cannot_write(error) from error

    def _cannot_write(self, error: OSError) -> RunError:
        return RunError(f"{self.folder}: cannot write there ({error.strerror or error})")


def _scalars(group: str, numbers: dict[str, float]) -> Summary:
    """Make a summary of numbers by name."""
    return Summary(
        value=[
            Summary.Value(tag=f"{group}/{name}", simple_value=number)
            for name, number in numbers.items()
        ]
    )


def _picture(path: Path) -> Summary:
    """Make a summary of a picture's file, as it is."""
    width, height = Image.open(path).size
    image = Summary.Image(
        width=width, height=height, colorspace=4, encoded_image_string=path.read_bytes()
    )
    return Summary(value=[Summary.Value(tag=path.stem, image=image)])


def graph(net: Any) -> GraphDef:
    """Translate a net's graph for TensorBoard.

    TensorBoard groups nodes by the part of the name before the slash.

    Parameters
    ----------
    net : mxnet.gluon.HybridBlock

    Returns
    -------
    GraphDef
        A node for each operation and each parameter, ``conv0/weight`` for ``conv0_weight``.
    """
    nodes = json.loads(net(mx.sym.var("data")).tojson())["nodes"]
    names = [node["name"].replace("_", "/", 1) for node in nodes]
    return GraphDef(
        node=[
            NodeDef(
                name=name,
                op="Variable" if node["op"] == "null" else node["op"],
                input=[names[source] for source, *_ in node["inputs"]],
            )
            for name, node in zip(names, nodes)
        ]
    )
