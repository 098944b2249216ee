"""Write a trained net in ONNX or in MXNet's own format, and compare it with the net.

The exported net and the net are compared on every test image. Then the new files are moved to the
run folder.
"""

from __future__ import annotations

import dataclasses
import tempfile
import warnings
from pathlib import Path
from typing import Any, Callable

import mxnet as mx
import numpy as np
from mxnet import gluon

from d2l_alexnet.callbacks.progress import watched
from d2l_alexnet.data.load import load_test_data
from d2l_alexnet.errors import InputError, RunError
from d2l_alexnet.evaluate import load_net
from d2l_alexnet.options import RunOptions
from d2l_alexnet.recipes import Recipe
from d2l_alexnet.run_folder.params import write_params

TOLERANCE = 1e-4  # largest allowed difference of a logit; logits are around 10

# Predicts with the exported files. Takes images, uint8 (N, H, W, C), and the tensors that were made
# from them, (N, C, H, W), and uses one of the two. Returns logits, (N, classes).
Predict = Callable[[np.ndarray, Any], np.ndarray]


def export(run: str | Path, to: str, options: RunOptions | None = None, **keywords: Any) -> None:
    """Write the net of a run in another format, after a comparison on all test images.

    Parameters
    ----------
    run : path
        The run folder. The new files are written there too.
    to : str
        ``onnx`` or ``symbol``.
    options : RunOptions, optional
        `num_workers` and `data_dir` are used.
    **keywords
        Fields of `RunOptions`.

    Raises
    ------
    InputError
        For bad input, and when a package that ONNX needs is not installed.
    RunError
        When the exported net's outputs differ, or the files cannot be written.
    """
    if to not in WRITERS:
        raise InputError(f"--to {to}: not a format; choose {' or '.join(WRITERS)}")
    net, recipe, ctx = load_net(run, "cpu", dtype="float32")
    options = dataclasses.replace(options or RunOptions(), **keywords)
    with load_test_data(recipe, options, ctx[0]) as test_iter:
        try:
            with tempfile.TemporaryDirectory(prefix="export-", dir=run) as folder:
                predict = WRITERS[to](net, recipe, Path(folder))
                compare(net, predict, test_iter)
                for path in sorted(Path(folder).iterdir()):
                    print(path.replace(Path(run, path.name)))
        except OSError as error:
            raise RunError(f"{run}: cannot write there ({error.strerror})") from error


def write_onnx(net: Any, recipe: Recipe, folder: Path) -> Predict:
    """Write net.onnx into a folder; return a function that predicts with it."""
    try:
        import onnx
        import onnxruntime

        from d2l_alexnet.export.onnx_graph import to_onnx
    except ImportError as error:
        raise InputError(f"--to onnx: pip install 'd2l_alexnet[export]' first ({error})") from error
    model = to_onnx(net, recipe)
    opset, content = model.opset_import[0].version, model.SerializeToString()
    (folder / "net.onnx").write_bytes(content)
    print(f"ONNX opset {opset}, accepted by the checker of onnx {onnx.__version__}")
    print(f"Comparing MXNet {mx.__version__} and onnxruntime {onnxruntime.__version__}", flush=True)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda images, X: session.run(["logits"], {"images": images})[0]


def write_symbol(net: Any, recipe: Recipe, folder: Path) -> Predict:
    """Write net-symbol.json and net-0000.params; return a function that predicts with them.

    The files are those of `net.export`. MXNet cannot write into a folder whose name is not in
    UTF-8, and has no error of its own for a full disk.
    """
    data = mx.sym.var("data")
    graph, symbol, weights = net(data), folder / "net-symbol.json", folder / "net-0000.params"
    others = graph.list_auxiliary_states()
    parameters = net.collect_params().items()
    kinds = {name: "aux" if name in others else "arg" for name, _ in parameters}
    symbol.write_text(graph.tojson())
    write_params(weights, {f"{kinds[name]}:{name}": p.data().asnumpy() for name, p in parameters})
    with warnings.catch_warnings():  # the type of the input is not known yet
        warnings.filterwarnings("ignore", "Cannot decide type", UserWarning)
        block = gluon.SymbolBlock(mx.sym.load_json(symbol.read_text()), data)
    saved = mx.nd.load_frombuffer(weights.read_bytes())
    block.collect_params().load_dict(saved, cast_dtype=True, dtype_source="saved")
    return lambda images, X: block(X).asnumpy()


WRITERS: dict[str, Callable[[Any, Recipe, Path], Predict]] = dict(
    onnx=write_onnx, symbol=write_symbol
)


def compare(net: Any, predict: Predict, test_iter: Any) -> None:
    """Compare the exported net with the net itself on all test images, and print the result.

    Parameters
    ----------
    net : mxnet.gluon.Block
    predict : callable
        The function that `write_onnx` or `write_symbol` has returned.
    test_iter : DataLoader
        Not shuffled.

    Raises
    ------
    RunError
        When an output is not finite, a class differs, or a logit differs by more than `TOLERANCE`.
    """
    images = np.stack([image for image, _ in test_iter.dataset])  # (N, H, W, C)
    same, largest, done = 0, 0.0, 0
    for X, y in watched(test_iter, "comparing"):
        expected, given = net(X).asnumpy(), predict(images[done : done + len(y)], X)
        if not np.isfinite([expected, given]).all():
            raise RunError("not exported: the outputs for some test images are NaN or infinite")
        same += (expected.argmax(axis=1) == given.argmax(axis=1)).sum()
        largest = max(largest, np.abs(expected - given).max())
        done += len(y)
    result = (
        f"the same class for {same:,} of {done:,} test images, "
        f"largest difference of a logit {largest:.1e}"
    )
    if same < done or largest > TOLERANCE:
        raise RunError(f"not exported: {result}, allowed {TOLERANCE:g}")
    print(result, flush=True)
