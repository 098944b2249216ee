"""A net as an ONNX graph: from images, uint8 as in the data set, to logits.

MXNet 1.9.1 translates the net. The functions here add the preprocessing of `d2l_alexnet.data`:
resize, crop and normalization. The results are the same, bit for bit. So users need only this file.
"""

from __future__ import annotations

import ast
import tempfile
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import onnx
from mxnet.onnx.mx2onnx._export_onnx import MXNetGraph
from onnx import compose, helper, numpy_helper, parser

from d2l_alexnet import shapes
from d2l_alexnet.build import input_shape
from d2l_alexnet.data import DATA_SETS
from d2l_alexnet.nets import AdaptiveAvgPool2D
from d2l_alexnet.recipes import Recipe

OPSET = 13  # the newest that MXNet's exporter supports
IR_VERSION = 7  # as old as opset 13, so that old runtimes can read the file
SCALE = 2048  # OpenCV resizes bytes with weights that are multiples of 1/2048

# All values up to `pixels` are exact in float64.
PREPROCESSING = """
preprocessing (uint8[N, {side}, {side}, {channels}] images)
=> (float[N, {channels}, {crop}, {crop}] tensors) {{
    bytes = Cast <to = 11> (images)
    planes = Transpose <perm = [0, 3, 1, 2]> (bytes)
    sums_across = MatMul (planes, across)
    wide = Floor (sums_across)
    from_above = MatMul (above, wide)
    from_below = MatMul (below, wide)
    whole_above = Floor (from_above)
    whole_below = Floor (from_below)
    quarters = Add (whole_above, whole_below)
    sums = Mul (quarters, quarter)
    rounded = Add (sums, half)
    pixels = Floor (rounded)
    floats = Cast <to = 1> (pixels)
    shares = Div (floats, brightest)
    centered = Sub (shares, mean)
    tensors = Div (centered, deviation)
}}
"""


def to_onnx(net: Any, recipe: Recipe) -> Any:
    """Convert a net to an ONNX model, and verify the model with ONNX's checker.

    Parameters
    ----------
    net : mxnet.gluon.HybridBlock
        A net on the CPU.
    recipe : Recipe
        The recipe that the net was trained with.

    Returns
    -------
    onnx.ModelProto
        Its input is ``images``, uint8 (N, side, side, channels), and its output ``logits``, float32
        (N, classes), for any N. The names of the classes are in its metadata.
    """
    graph = compose.merge_graphs(
        preprocessing(recipe), translate(net, recipe), io_map=[("tensors", "data")]
    )
    imports = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)
    model.producer_name = "d2l_alexnet"
    classes = ", ".join(DATA_SETS[recipe.data].classes)
    helper.set_model_props(model, dict(recipe=recipe.name, classes=classes))
    onnx.checker.check_model(model, full_check=True)
    return model


def preprocessing(recipe: Recipe) -> Any:
    """Make the graph of the preprocessing in `d2l_alexnet.data`.

    Parameters
    ----------
    recipe : Recipe

    Returns
    -------
    onnx.GraphProto
        Its input is ``images``, its output ``tensors``, float32 (N, channels, crop, crop).
    """
    dataset = DATA_SETS[recipe.data]
    sizes = dict(side=dataset.side, channels=dataset.channels, crop=recipe.crop)
    graph = parser.parse_graph(PREPROCESSING.format(**sizes))
    edge = recipe.margin // 2
    first, second = (
        weights[edge : edge + recipe.crop] for weights in interpolation(dataset.side, recipe.resize)
    )
    constants = dict(
        # OpenCV's steps: interpolate across, round down to 1/128; interpolate down the columns,
        # round down to 1/4; round. The weights are multiples of 1/2048.
        across=(first + second).T / 16,
        above=first / 2**16,
        below=second / 2**16,
        quarter=np.float64(0.25),
        half=np.float64(0.5),
        brightest=np.float32(255),
        mean=np.float32(dataset.mean),
        deviation=np.float32(dataset.std),
    )
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    )
    return graph


def interpolation(side: int, resize: int) -> tuple[np.ndarray, ...]:
    """Compute the weights of linear interpolation along a line of pixels.

    Parameters
    ----------
    side, resize : int
        Number of pixels before and after.

    Returns
    -------
    first, second : numpy.ndarray
        The weights of the two neighbors of each new pixel: float64 (resize, side). They are whole
        numbers up to `SCALE`. At most one value in each row is not 0.
    """
    position = ((np.arange(resize) + 0.5) * side / resize - 0.5).astype(np.float32)
    before = np.floor(position)
    second = position - before  # the weight of the second pixel
    return tuple(
        np.rint(weight * SCALE, dtype=np.float64)[:, None]
        * (np.clip(pixel, 0, side - 1)[:, None] == range(side))
        for weight, pixel in ((1 - second, before), (second, before + 1))
    )


def translate(net: Any, recipe: Recipe) -> Any:
    """Translate a net with MXNet's exporter: an `onnx.GraphProto` from ``data`` to ``logits``."""
    sides = [layer.output_shape[-1] for layer in shapes.trace(net, input_shape(recipe))]
    for before, layer in zip(sides, list(net)[1:]):
        if isinstance(layer, AdaptiveAvgPool2D):
            register_adaptive_pooling(before)
    logits = mx.sym.identity(net(mx.sym.var("data")), name="logits")
    weights = {name: parameter.data() for name, parameter in net.collect_params().items()}
    _, *image_shape = input_shape(recipe)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.onnx")
        mx.onnx.export_model(
            logits,
            weights,
            [input_shape(recipe)],
            np.float32,
            str(path),
            dynamic=True,
            dynamic_input_shapes=[("N", *image_shape)],
        )
        graph = onnx.load(path).graph
    images = [each for each in graph.input if each.name == "data"]
    del graph.input[:]  # MXNet lists the weights as inputs too
    graph.input.extend(images)
    return graph


def register_adaptive_pooling(side: int) -> None:
    """Register a translation of adaptive average pooling of a square input of this side.

    MXNet's exporter supports only one window for the whole input. For several windows, two matrix
    products average along the rows and then along the columns.
    """

    @MXNetGraph.register("_contrib_AdaptiveAvgPooling2D", opset_version=OPSET)
    def convert(
        node: dict[str, Any], initializer: list[Any], outputs_lookup: dict[str, Any], **_: Any
    ) -> list[Any]:
        name, (source, output, *_) = node["name"], node["inputs"][0]
        (size,) = np.unique(ast.literal_eval(node["attrs"]["output_size"]))
        rows = averaging_matrix(side, size)
        initializer.append(numpy_helper.from_array(rows, f"{name}_rows"))
        initializer.append(numpy_helper.from_array(rows.T.copy(), f"{name}_columns"))
        given = outputs_lookup[source][output].name
        return [
            helper.make_node("MatMul", [given, f"{name}_columns"], [f"{name}_narrow"]),
            helper.make_node("MatMul", [f"{name}_rows", f"{name}_narrow"], [name], name=name),
        ]


def averaging_matrix(side: int, size: int) -> np.ndarray:
    """Make the matrix, float32 (size, side), that averages a line over `size` windows."""
    windows = np.arange(size)[:, None]
    begin, end = windows * side // size, -(-(windows + 1) * side // size)
    inside = (begin <= np.arange(side)) & (np.arange(side) < end)
    return (inside / inside.sum(axis=1, keepdims=True)).astype(np.float32)
