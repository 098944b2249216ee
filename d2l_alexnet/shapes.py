"""What each layer of a net makes of one input: output shape, parameters, multiply-adds.

``python -m d2l_alexnet.shapes`` traces the lecture's AlexNet. Nothing is computed: MXNet infers
the shapes from the graph, so the largest net takes no memory and no time.
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

import mxnet as mx
from mxnet.gluon import nn

from d2l_alexnet import cli
from d2l_alexnet.nets import INPUT_SHAPES, NETS
from d2l_alexnet.errors import InputError

LARGEST_TRIED = 1024  # pixels a side, when looking for an input that fits

TRANSPOSED = (nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose)
WEIGHTED = (nn.Dense, nn.Conv1D, nn.Conv2D, nn.Conv3D, *TRANSPOSED)


@dataclass(frozen=True)
class Layer:
    """One row of the trace.

    Parameters
    ----------
    name : str
    kind : str
        The layer's class.
    output_shape : tuple of int
    parameters : int
        Weights and biases, running averages included.
    multiply_adds : int
        Multiplications with a weight in one forward pass of this input; those of convolutions
        and dense layers, which is nearly all of the work.
    """

    name: str
    kind: str
    output_shape: tuple
    parameters: int
    multiply_adds: int


def trace(net, input_shape):
    """Trace a net layer by layer.

    A layer is a block with parameters of its own, or with no blocks inside it; the activation
    given to a convolution or dense layer is part of that layer.

    Parameters
    ----------
    net : mxnet.gluon.HybridBlock
        Need not be initialised.
    input_shape : tuple of int
        (N, C, H, W).

    Returns
    -------
    list of Layer
        In the order in which they compute. A layer that computes twice stands there twice, its
        parameters counted the first time.

    Raises
    ------
    InputError
        When the net does not take that input; it names the smallest square that fits.
    """
    calls = _call_layers(net)
    graph = mx.sym.Group([symbol for _, *symbols in calls for symbol in symbols])
    try:
        shapes_of_arguments, shapes, shapes_of_states = _infer(graph, input_shape)
    except Exception as error:  # MXNet raises those where a number is too large for it
        raise InputError(_misfit(graph, input_shape, error)) from error
    names = graph.list_arguments() + graph.list_auxiliary_states()
    parameter_shapes = dict(zip(names, shapes_of_arguments + shapes_of_states))
    layers, counted = [], set()
    for (block, *_), given, output_shape in zip(calls, shapes[::2], shapes[1::2]):
        own = {name: parameter_shapes[name] for name in block.params if name in parameter_shapes}
        parameters = sum(math.prod(own[name]) for name in own if name not in counted)
        multiply_adds = _multiply_adds(block, own, given, output_shape)
        counted.update(own)
        kind = type(block).__name__
        layers.append(Layer(block.name, kind, output_shape, parameters, multiply_adds))
    return layers


def _call_layers(net):
    """Call a net with a symbol in place of an image; give each layer with its input and output."""
    calls = []

    def note(block, inputs, output):
        calls.append((block, _first(inputs), _first(output)))

    hooks = [block.register_forward_hook(note) for block in _layers(net)]
    net(mx.sym.var("data"))
    for hook in hooks:
        hook.detach()
    return calls


def _layers(block):
    """List the layers inside a block, each once."""
    if isinstance(block, WEIGHTED) or not block._children:
        return [block]
    inside = [layer for child in block._children.values() for layer in _layers(child)]
    return list(dict.fromkeys(inside + [block] * bool(list(block.params))))


def _first(value):
    """Give the first of a block's inputs or outputs, the only one in nearly all layers."""
    return value[0] if isinstance(value, (list, tuple)) or len(value.list_outputs()) > 1 else value


def _infer(graph, input_shape):
    with contextlib.redirect_stdout(io.StringIO()):  # MXNet prints what it then raises
        return graph.infer_shape(data=input_shape)


def _smallest(graph, batch_and_channels):
    for side in range(1, LARGEST_TRIED + 1):
        with contextlib.suppress(mx.MXNetError):
            _infer(graph, (*batch_and_channels, side, side))
            return side
    return None


def _misfit(graph, input_shape, error):
    """Say why an input does not fit, with the smallest that does."""
    side = _smallest(graph, input_shape[:2])
    if side is None:
        reason = str(error).strip().splitlines()[-1].partition("Check failed: ")
        return f"input {input_shape} does not fit the net: {reason[2] or reason[0]}"
    fits = (*input_shape[:2], side, side)
    return f"input {input_shape} does not fit the net; the smallest square that does is {fits}"


def _multiply_adds(block, own, input_shape, output_shape):
    """Count multiplications: each value of a layer's output is a sum over one slice of its weight.

    A transposed convolution is the other way around: each value of its input is used so often.
    """
    if not isinstance(block, WEIGHTED):
        return 0
    values = input_shape if isinstance(block, TRANSPOSED) else output_shape
    weight, *_ = own.values()
    return math.prod(values) * math.prod(weight[1:])


def as_lecture(layers):
    """Print a trace as the lecture does, the layers' names and output shapes alone."""
    return "\n".join(f"{layer.name} output shape:\t {layer.output_shape}" for layer in layers)


def as_table(layers):
    """Lay a trace out in columns, with totals."""
    rows = _rows(layers)
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(_aligned(row, widths) for row in rows)


def as_markdown(layers):
    """Lay a trace out as a Markdown table, with totals."""
    head, *rows = _rows(layers)
    lines = [head, ["---", "---", "---", "---:", "---:"], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def as_json(layers):
    """Write a trace as JSON: the layers, and the totals of parameters and multiply-adds."""
    return json.dumps(dict(layers=[asdict(layer) for layer in layers], **_totals(layers)), indent=2)


FORMATS = {"table": as_table, "lecture": as_lecture, "json": as_json, "markdown": as_markdown}


def _totals(layers):
    return dict(
        parameters=sum(layer.parameters for layer in layers),
        multiply_adds=sum(layer.multiply_adds for layer in layers),
    )


def _rows(layers):
    """Give the rows of a table as text: a head, the layers, the totals."""
    rows = [["layer", "kind", "output shape", "parameters", "multiply-adds"]]
    for layer in layers:
        counts = [f"{n:,}" if n else "" for n in (layer.parameters, layer.multiply_adds)]
        rows.append([layer.name, layer.kind, str(layer.output_shape), *counts])
    rows.append(["total", "", "", *(f"{n:,}" for n in _totals(layers).values())])
    return rows


def _aligned(row, widths):
    """Put a row's words to the left and its numbers to the right."""
    words = [text.ljust(width) for text, width in zip(row[:3], widths)]
    numbers = [text.rjust(width) for text, width in zip(row[3:], widths[3:])]
    return "  ".join(words + numbers).rstrip()


def net_by_name(name):
    """Build a net of this package by its name, or one of GluonCV's by ``gluoncv:NAME``.

    Returns
    -------
    net : mxnet.gluon.HybridBlock
        Not initialised.
    input_shape : tuple of int
        Of an image that it is meant for: (1, C, H, W).

    Raises
    ------
    InputError
        For an unknown name, and where GluonCV cannot be imported.
    """
    if name.startswith("gluoncv:"):
        return _gluoncv_net(name.partition(":")[2]), (1, 3, 224, 224)
    if name not in NETS:
        raise InputError(f"--net {name}: no such net; choose {', '.join(NETS)} or gluoncv:NAME")
    return NETS[name](), INPUT_SHAPES[name]


def _gluoncv_net(name):
    """Build one of GluonCV's nets; imported here alone, as it refuses to share with PyTorch 2."""
    try:
        model_zoo = importlib.import_module("gluoncv.model_zoo")
    except Exception as error:  # GluonCV raises a bare RuntimeError where it finds PyTorch 2
        raise InputError(f"GluonCV does not import here: {error}") from error
    if name not in model_zoo.get_model_list():
        similar = difflib.get_close_matches(name, model_zoo.get_model_list(), n=3)
        hint = f"; similar: {', '.join(similar)}" if similar else ""
        raise InputError(f"--net gluoncv:{name}: GluonCV has no such net{hint}")
    try:  # nets for detection and the like would download the weights of the net they build on
        return model_zoo.get_model(name, pretrained_base=False)
    except TypeError:  # the others know no such setting
        return model_zoo.get_model(name)


def parse_shape(text):
    """Parse an input shape such as 1,3,224,224, for argparse."""
    with contextlib.suppress(ValueError):
        shape = tuple(map(int, text.split(",")))
        if len(shape) == 4 and min(shape) > 0:
            return shape
    raise argparse.ArgumentTypeError(f"{text!r} is not four whole numbers above 0: N,C,H,W")


def main(argv=None):
    """Trace a net and print it."""
    parser = cli.Parser("shapes", "Show what each layer of a net makes of an input.")
    parser.add_argument("--net", default="alexnet", help=f"{', '.join(NETS)} or gluoncv:NAME")
    parser.add_argument(
        "--input",
        type=parse_shape,
        metavar="N,C,H,W",
        help="the input's shape; the lecture's if not given, 1,3,224,224 for gluoncv:NAME",
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="how to print it")
    args = parser.parse_args(argv)
    net, usual = net_by_name(args.net)
    layers = trace(net, args.input or usual)
    print(FORMATS[args.format](layers))
    return layers


if __name__ == "__main__":
    cli.run(main)
