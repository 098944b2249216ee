"""What a run measures, for TensorBoard: ``python -m d2l_alexnet.train --tensorboard``.

``tensorboard --logdir runs`` then shows it. Both need the package's extra ``tensorboard``, so this
module is imported only where it is asked for.
"""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import mxnet as mx
from PIL import Image
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.graph_pb2 import GraphDef
from tensorboardX.proto.node_def_pb2 import NodeDef
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter

from d2l_alexnet.runs import EVENTS
from d2l_alexnet.runtime import RunError

STEPS_BETWEEN_POINTS = 10
PICTURES = ("curves.png", "gap.png")


class Board:
    """Write a run's events into its folder; a run that is resumed goes on in a file of its own.

    All points stand at the number of steps taken. ``pass/…`` are means over the pass so far,
    ``epoch/…`` the numbers of the history.

    Parameters
    ----------
    run_folder : path
    net : mxnet.gluon.HybridBlock
    steps : int
        Taken so far. What an earlier, killed process has written of later ones is hidden.

    Raises
    ------
    RunError
        As from every method, when the events cannot be written.
    """

    def __init__(self, run_folder, net, steps):
        self.run_folder, self.folder = Path(run_folder), Path(run_folder, EVENTS)
        try:
            self.folder.mkdir(exist_ok=True)
            # TensorBoard knows such files by this name, and reads them in order.
            path = self.folder / f"events.out.tfevents.{time.time_ns()}"
            self._writer = RecordWriter(str(path))
        except OSError as error:
            raise self._cannot_write(error) from error
        self._write(0, file_version="brain.Event:2")
        if steps:
            self._write(steps + 1, session_log=SessionLog(status=SessionLog.START))
        else:
            self._write(0, graph_def=graph(net).SerializeToString())

    def after_batch(self, steps, means):
        """Write the means over the pass so far, at every tenth step."""
        if means and steps % STEPS_BETWEEN_POINTS == 0:
            self._write(steps, summary=_scalars("pass", means))

    def after_epoch(self, steps, row):
        """Write a row of the history, and show the pictures of the run folder."""
        self._write(steps, summary=_scalars("epoch", row))
        for name in PICTURES:
            if (self.run_folder / name).exists():
                self._write(steps, summary=_picture(self.run_folder / name))

    def _write(self, steps, **what):
        """Write an event and wait until it is on the disk."""
        try:
            event = Event(wall_time=time.time(), step=steps, **what)
            self._writer.write(event.SerializeToString())
            self._writer.flush()
        except OSError as error:
            with contextlib.suppress(OSError):
                self._writer.close()  # or Python would complain later of what was not written
            raise self._cannot_write(error) from error

    def _cannot_write(self, error):
        return RunError(f"{self.folder}: cannot write there ({error.strerror or error})")


def _scalars(group, numbers):
    """Make a summary of numbers by name."""
    return Summary(
        value=[
            Summary.Value(tag=f"{group}/{name}", simple_value=number)
            for name, number in numbers.items()
        ]
    )


def _picture(path):
    """Make a summary of a picture's file, as it is."""
    width, height = Image.open(path).size
    image = Summary.Image(
        width=width, height=height, colorspace=4, encoded_image_string=path.read_bytes()
    )
    return Summary(value=[Summary.Value(tag=path.stem, image=image)])


def graph(net):
    """Translate a net's graph for TensorBoard, which groups nodes by what stands before a slash.

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
