"""The layers of a net for one input: output shapes, parameters, multiply-adds.

``python -m d2l_alexnet.shapes`` shows the lecture's AlexNet. MXNet infers the shapes from the
graph and computes nothing. So even a large net needs little memory and time.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import io
import json
import math
from dataclasses import asdict, dataclass
from typing import Any, Callable, Iterator, NamedTuple, NoReturn, Sequence, Tuple
from unittest import mock

import mxnet as mx
from mxnet.gluon import nn

from d2l_alexnet import cli
from d2l_alexnet.errors import InputError
from d2l_alexnet.nets import INPUT_SHAPES, NETS

LARGEST_SIDE = 1024  # pixels; the search for an input that fits stops at this side
LARGEST_ARRAY = 2**31 - 1  # values; MXNet's wheels cannot count more
Shape = Tuple[int, ...]

TRANSPOSED = (nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose)
WEIGHTED = (nn.Dense, nn.Conv1D, nn.Conv2D, nn.Conv3D, *TRANSPOSED)


@dataclass(frozen=True)
class Layer:
    """One layer of a trace.

    Parameters
    ----------
    name : str
    kind : str
        The layer's class.
    output_shape : tuple of int
    parameters : int
        Number of weights and biases, and of running means and variances.
    multiply_adds : int
        Number of multiplications with a weight in one forward pass of the input. Only convolutions
        and dense layers are counted; they do nearly all of the work.
    """

    name: str
    kind: str
    output_shape: Shape
    parameters: int
    multiply_adds: int


class Call(NamedTuple):
    """One computation of a layer: the block, and the symbols of its input and its output."""

    block: Any
    input: Any
    output: Any


def trace(net: Any, input_shape: Shape) -> list[Layer]:
    """List the layers of a net, with the shapes and counts of each.

    A layer is a block that has parameters of its own or contains no other block. The activation
    of a convolution or a dense layer is part of the layer.

    Parameters
    ----------
    net : mxnet.gluon.HybridBlock
        It does not need weights.
    input_shape : tuple of int
        (N, C, H, W).

    Returns
    -------
    list of Layer
        In the order of computation. A layer that is used twice is listed twice; its parameters are
        counted only the first time.

    Raises
    ------
    InputError
        If the input does not fit the net (the message names the smallest square that fits, if there
        is one), or if MXNet cannot compute the net symbolically.
    """
    if min(input_shape, default=0) < 1:
        raise InputError(f"input {input_shape} is not a shape: whole numbers above 0")
    try:
        calls = _call_layers(net)
    except Exception as error:  # a net of GluonCV may compute with values, or need more inputs
        raise InputError(f"the layers of this net cannot be listed ({_line(error)})") from error
    graph = mx.sym.Group([symbol for call in calls for symbol in (call.input, call.output)])
    try:
        shapes_of_arguments, shapes, shapes_of_states = _infer(graph, input_shape)
    except Exception as error:  # MXNet raises several types, also for too large numbers
        raise InputError(_misfit(graph, input_shape, error)) from error
    names = graph.list_arguments() + graph.list_auxiliary_states()
    parameter_shapes = dict(zip(names, shapes_of_arguments + shapes_of_states))
    layers: list[Layer] = []
    counted: set[str] = set()
    for (block, *_), its_input, output in zip(calls, shapes[::2], shapes[1::2]):
        own = {name: parameter_shapes[name] for name in block.params if name in parameter_shapes}
        parameters = sum(math.prod(own[name]) for name in own if name not in counted)
        multiply_adds = _multiply_adds(block, own, its_input, output)
        counted.update(own)
        kind = type(block).__name__
        layers.append(Layer(block.name, kind, output, parameters, multiply_adds))
    return layers


def _call_layers(net: Any) -> list[Call]:
    """Call a net with a symbol instead of an image, and list the calls of its layers."""
    calls = []

    def note(block: Any, inputs: Any, output: Any) -> None:
        calls.append(Call(block, _first(inputs), _first(output)))

    hooks = [block.register_forward_hook(note) for block in _layers(net)]
    try:
        net(mx.sym.var("data"))
    finally:
        for hook in hooks:
            hook.detach()
    return calls


def _layers(block: Any) -> list:
    """List the layers inside a block, each once."""
    if isinstance(block, WEIGHTED) or not block._children:
        return [block]
    inside = [layer for child in block._children.values() for layer in _layers(child)]
    return list(dict.fromkeys(inside + [block] * bool(list(block.params))))


def _first(value: Any) -> Any:
    """Return the first of a block's inputs or outputs. Nearly all layers have only one."""
    return value[0] if isinstance(value, (list, tuple)) or len(value.list_outputs()) > 1 else value


def _infer(graph: Any, input_shape: Shape) -> tuple[list[Shape], list[Shape], list[Shape]]:
    """Infer the shapes of a graph's arguments, outputs and auxiliary states."""
    with contextlib.redirect_stdout(io.StringIO()):  # MXNet prints an error before it raises it
        return graph.infer_shape(data=input_shape)


def _smallest_side(graph: Any, batch_and_channels: Shape) -> int | None:
    if math.prod(batch_and_channels) > LARGEST_ARRAY:
        return None
    for side in range(1, LARGEST_SIDE + 1):
        with contextlib.suppress(mx.MXNetError):
            _infer(graph, (*batch_and_channels, side, side))
            return side
    return None


def _misfit(graph: Any, input_shape: Shape, error: Exception) -> str:
    """Write the error message for an input that does not fit: which one fits, or why none does."""
    side = _smallest_side(graph, input_shape[:2])
    if math.prod(input_shape) > LARGEST_ARRAY and side is None:
        return f"input {input_shape} has more than {LARGEST_ARRAY:,} values; choose a smaller one"
    if side is None:
        return f"input {input_shape} does not fit the net: {_line(error)}"
    fits = (*input_shape[:2], side, side)
    return f"input {input_shape} does not fit the net; the smallest square that fits is {fits}"


def _line(error: Exception) -> str:
    """Return the line of MXNet's message that says what was wrong."""
    *_, last = str(error).strip().splitlines() or [repr(error)]
    return last.partition("Check failed: ")[2] or last


def _multiply_adds(
    block: Any, parameters: dict[str, Shape], input_shape: Shape, output_shape: Shape
) -> int:
    """Count multiplications: output values, times the weights that each output value needs.

    For a transposed convolution: input values, times the weights that each input value needs.
    """
    if not isinstance(block, WEIGHTED):
        return 0
    values = input_shape if isinstance(block, TRANSPOSED) else output_shape
    weight, *_ = parameters.values()
    return math.prod(values) * math.prod(weight[1:])


def as_lecture(layers: Sequence[Layer]) -> str:
    """Write a trace as the lecture prints it: the layers' names and output shapes."""
    return "\n".join(f"{layer.name} output shape:\t {layer.output_shape}" for layer in layers)


def as_table(layers: Sequence[Layer]) -> str:
    """Write a trace in columns, with totals."""
    rows = _rows(layers)
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(_aligned(row, widths) for row in rows)


def as_markdown(layers: Sequence[Layer]) -> str:
    """Write a trace as a Markdown table, with totals."""
    head, *rows = _rows(layers)
    lines = [head, ["---", "---", "---", "---:", "---:"], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def as_json(layers: Sequence[Layer]) -> str:
    """Write a trace as JSON: the layers, and the total parameters and multiply-adds."""
    return json.dumps(dict(layers=[asdict(layer) for layer in layers], **_totals(layers)), indent=2)


FORMATS: dict[str, Callable[[list[Layer]], str]] = {
    "table": as_table,
    "lecture": as_lecture,
    "json": as_json,
    "markdown": as_markdown,
}


def _totals(layers: Sequence[Layer]) -> dict[str, int]:
    return dict(
        parameters=sum(layer.parameters for layer in layers),
        multiply_adds=sum(layer.multiply_adds for layer in layers),
    )


def _rows(layers: Sequence[Layer]) -> list[list[str]]:
    """Write the cells of a table: a row of headings, the layers, the totals."""
    rows = [["layer", "kind", "output shape", "parameters", "multiply-adds"]]
    for layer in layers:
        counts = [f"{n:,}" if n else "" for n in (layer.parameters, layer.multiply_adds)]
        rows.append([layer.name, layer.kind, str(layer.output_shape), *counts])
    rows.append(["total", "", "", *(f"{n:,}" for n in _totals(layers).values())])
    return rows


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    """Join a row's cells: words are aligned left, numbers right."""
    words = [text.ljust(width) for text, width in zip(row[:3], widths)]
    numbers = [text.rjust(width) for text, width in zip(row[3:], widths[3:])]
    return "  ".join(words + numbers).rstrip()


def net_by_name(name: str) -> tuple[Any, Shape]:
    """Build a net of this package by its name, or a net of GluonCV by ``gluoncv:NAME``.

    Returns
    -------
    net : mxnet.gluon.HybridBlock
        Without weights.
    input_shape : tuple of int
        (1, C, H, W): one image of the size that the net is made for.

    Raises
    ------
    InputError
        For an unknown name, when GluonCV cannot be imported, or when it cannot build the net
        without weights.
    """
    if name.startswith("gluoncv:"):
        return _gluoncv_net(name.partition(":")[2]), (1, 3, 224, 224)
    if name not in NETS:
        raise InputError(f"--net {name}: no such net; choose {', '.join(NETS)} or gluoncv:NAME")
    return NETS[name](), INPUT_SHAPES[name]


def _gluoncv_net(name: str) -> Any:
    """Build a net of GluonCV, which is imported only here: with PyTorch 2 the import fails."""
    try:
        model_zoo = importlib.import_module("gluoncv.model_zoo")
    except Exception as error:  # a RuntimeError if PyTorch 2 is installed
        raise InputError(f"cannot import GluonCV: {error}") from error
    if name not in model_zoo.get_model_list():
        similar = difflib.get_close_matches(name, model_zoo.get_model_list(), n=3)
        hint = f"; similar: {', '.join(similar)}" if similar else ""
        raise InputError(f"--net gluoncv:{name}: GluonCV has no such net{hint}")
    reason = ""
    # With the setting, most nets do without the weights of their base net. Others do not have it.
    for settings in (dict(pretrained_base=False), {}):
        try:
            with _without_weights():
                return model_zoo.get_model(name, **settings)
        except Exception as error:
            reason = _line(error)
    raise InputError(f"--net gluoncv:{name}: GluonCV cannot build it ({reason})")


@contextlib.contextmanager
def _without_weights() -> Iterator[None]:
    """Let GluonCV and MXNet find and download no weights: a trace needs none."""

    def refuse(name: str, *_: Any, **__: Any) -> NoReturn:
        raise InputError(f"it needs the weights of {name}")

    with contextlib.ExitStack() as stack:
        for package in ("gluoncv", "mxnet.gluon"):
            store = importlib.import_module(f"{package}.model_zoo.model_store")
            stack.enter_context(mock.patch.object(store, "get_model_file", refuse))
        yield


def parse_shape(text: str) -> Shape:
    """Parse an input shape such as 1,3,224,224, for argparse."""
    with contextlib.suppress(ValueError):
        shape = tuple(map(int, text.split(",")))
        if len(shape) == 4 and min(shape) > 0:
            return shape
    raise argparse.ArgumentTypeError(f"{text!r} is not four whole numbers above 0: N,C,H,W")


def main(argv: Sequence[str] | None = None) -> list[Layer]:
    """Trace a net, print the trace and return it."""
    parser = cli.Parser(
        "shapes", "Print the output shape, parameters and multiply-adds of each layer of a net."
    )
    parser.add_argument(
        "--net", default="alexnet", help=f"the net: {', '.join(NETS)} or gluoncv:NAME"
    )
    parser.add_argument(
        "--input",
        type=parse_shape,
        metavar="N,C,H,W",
        help="input shape; if not given, one image of the lecture, or 1,3,224,224 for GluonCV",
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="format of the output")
    args = parser.parse_args(argv)
    net, default_shape = net_by_name(args.net)
    layers = trace(net, args.input or default_shape)
    print(FORMATS[args.format](layers))
    return layers


if __name__ == "__main__":
    cli.run(main)
