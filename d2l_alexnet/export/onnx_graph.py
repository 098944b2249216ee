"""A net as an ONNX graph that takes images as the data set has them, bytes, and gives logits.

MXNet 1.9.1 translates the net. What its loaders do before, enlarging, cutting out and normalising,
is put in front of it here, bit for bit, so that who uses the file needs nothing else.
"""

from __future__ import annotations

import ast
import tempfile
from pathlib import Path

import mxnet as mx
import numpy as np
import onnx.mapping  # MXNet's exporter needs it, and onnx 1.19 dropped it
from mxnet.onnx.mx2onnx._export_onnx import MXNetGraph
from onnx import compose, helper, numpy_helper, parser

from d2l_alexnet import shapes
from d2l_alexnet.build import input_shape
from d2l_alexnet.data import DATA_SETS
from d2l_alexnet.nets import AdaptiveAvgPool2D
from d2l_alexnet.recipes import Recipe

OPSET = 13  # the newest that MXNet's exporter knows, whatever version of it onnx has
IR_VERSION = 7  # the one that came with it, so that old runtimes read the file too
SCALE = 2048  # OpenCV enlarges bytes with weights that are whole numbers of 2048ths

# In float64 every one of these whole numbers is exact.
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
    centred = Sub (shares, mean)
    tensors = Div (centred, deviation)
}}
"""


def as_onnx(net, recipe):
    """Turn a net into an ONNX model, and have ONNX's own checker look it over.

    Parameters
    ----------
    net : mxnet.gluon.HybridBlock
        Lies on the CPU.
    recipe : Recipe
        That it was trained by.

    Returns
    -------
    onnx.ModelProto
        Takes ``images``, uint8 (N, side, side, channels), and gives ``logits``, float32
        (N, classes), for any N. The names of the classes are in its metadata.
    """
    graph = compose.merge_graphs(
        preprocessing(recipe), translated(net, recipe), io_map=[("tensors", "data")]
    )
    imports = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)
    model.producer_name = "d2l_alexnet"
    classes = ", ".join(DATA_SETS[recipe.data].classes)
    helper.set_model_props(model, dict(recipe=recipe.name, classes=classes))
    onnx.checker.check_model(model, full_check=True)
    return model


def preprocessing(recipe):
    """Make the graph of what `d2l_alexnet.data` does to images before the net gets them.

    Parameters
    ----------
    recipe : Recipe

    Returns
    -------
    onnx.GraphProto
        From ``images`` to ``tensors``, float32 (N, channels, crop, crop).
    """
    dataset = DATA_SETS[recipe.data]
    sizes = dict(side=dataset.side, channels=dataset.channels, crop=recipe.crop)
    graph = parser.parse_graph(PREPROCESSING.format(**sizes))
    edge = recipe.margin // 2
    first, second = (
        weights[edge : edge + recipe.crop] for weights in interpolation(dataset.side, recipe.resize)
    )
    constants = dict(
        # OpenCV's steps: sums of 2048ths, cut to 128ths; times 2048ths, cut to quarters; rounded.
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


def interpolation(side, resize):
    """Compute the weights of the two pixels between which each pixel of an enlarged line lies.

    Parameters
    ----------
    side, resize : int
        Pixels of the line before and after.

    Returns
    -------
    first, second : numpy.ndarray
        float64 (resize, side), whole numbers up to `SCALE`, one in a row that is not 0.
    """
    position = ((np.arange(resize) + 0.5) * side / resize - 0.5).astype(np.float32)
    before = np.floor(position)
    share = position - before  # of the second pixel
    return tuple(
        np.rint(weight * SCALE, dtype=np.float64)[:, None]
        * (np.clip(pixel, 0, side - 1)[:, None] == range(side))
        for weight, pixel in ((1 - share, before), (share, before + 1))
    )


def translated(net, recipe):
    """Have MXNet translate a net into an `onnx.GraphProto` from ``data`` to ``logits``."""
    sides = [layer.output_shape[-1] for layer in shapes.trace(net, input_shape(recipe))]
    for before, layer in zip(sides, list(net)[1:]):
        if isinstance(layer, AdaptiveAvgPool2D):
            teach_adaptive_pooling(before)
    logits = mx.sym.identity(net(mx.sym.var("data")), name="logits")
    weights = {name: parameter.data() for name, parameter in net.collect_params().items()}
    _, *of_one = input_shape(recipe)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.onnx")
        mx.onnx.export_model(
            logits,
            weights,
            [input_shape(recipe)],
            np.float32,
            str(path),
            dynamic=True,
            dynamic_input_shapes=[("N", *of_one)],
        )
        graph = onnx.load(path).graph
    images = [each for each in graph.input if each.name == "data"]
    del graph.input[:]  # the weights stand there too, as if they were to be given each time
    graph.input.extend(images)
    return graph


def teach_adaptive_pooling(side):
    """Teach MXNet's exporter to average over the windows of a square input of this side.

    By itself it knows of one window only. Over several, the averages of all rows and then of all
    columns are two products with a matrix.
    """

    @MXNetGraph.register("_contrib_AdaptiveAvgPooling2D", opset_version=OPSET)
    def convert(node, initializer, outputs_lookup, **_):
        name, (source, output, *_) = node["name"], node["inputs"][0]
        (size,) = np.unique(ast.literal_eval(node["attrs"]["output_size"]))
        rows = averages(side, size)
        initializer.append(numpy_helper.from_array(rows, f"{name}_rows"))
        initializer.append(numpy_helper.from_array(rows.T.copy(), f"{name}_columns"))
        given = outputs_lookup[source][output].name
        return [
            helper.make_node("MatMul", [given, f"{name}_columns"], [f"{name}_narrow"]),
            helper.make_node("MatMul", [f"{name}_rows", f"{name}_narrow"], [name], name=name),
        ]


def averages(side, size):
    """Make the matrix, float32 (size, side), that averages a line over `size` windows."""
    windows = np.arange(size)[:, None]
    begin, end = windows * side // size, -(-(windows + 1) * side // size)
    inside = (begin <= np.arange(side)) & (np.arange(side) < end)
    return (inside / inside.sum(axis=1, keepdims=True)).astype(np.float32)
