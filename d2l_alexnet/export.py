"""Take a trained net out of MXNet: ``python -m d2l_alexnet.export RUN --to onnx``.

What was exported is compared with the net on every test image before it gets its name.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import mxnet as mx
import numpy as np
from mxnet import gluon

from d2l_alexnet import cli
from d2l_alexnet.data import load_data
from d2l_alexnet.evaluate import load_net
from d2l_alexnet.loader import closing
from d2l_alexnet.params import read_params
from d2l_alexnet.progress import watched
from d2l_alexnet.runtime import InputError, RunError
from d2l_alexnet.train import TEST_BATCH_SIZE

TOLERANCE = 1e-4  # between logits, which are of the order of 10
EPILOG = """onnx: RUN/net.onnx, opset 13. It takes images as the data set has them, uint8 (N, side,
side, channels): enlarging and normalising are inside. It gives logits, float32 (N, 10), and the
names of the classes are in its metadata. symbol: RUN/net-symbol.json and RUN/net-0000.params,
MXNet's own format, for mxnet.gluon.SymbolBlock.imports. That takes what d2l_alexnet.data makes of
images."""


def export(run, to, num_workers=4, data_dir=None):
    """Write the net of a run in another format, once that has given the same on all test images.

    Parameters
    ----------
    run : path
        The run folder, where the new files go too.
    to : str
        ``onnx`` or ``symbol``.
    num_workers, data_dir
        As for `d2l_alexnet.train.train`.

    Raises
    ------
    InputError
        For bad input, and where what ONNX needs is not installed.
    RunError
        When what was exported gives something else, or cannot be written.
    """
    net, recipe, ctx = load_net(run, "cpu")
    where = num_workers, 0, data_dir, ctx[0]
    train_iter, evaluations = load_data(recipe, TEST_BATCH_SIZE, *where)
    with closing([train_iter, *evaluations.values()]):
        try:
            with tempfile.TemporaryDirectory(prefix="export-", dir=run) as folder:
                predict = WRITERS[to](net, recipe, Path(folder))
                compare(net, predict, evaluations["test_accuracy"])
                for path in sorted(Path(folder).iterdir()):
                    print(path.replace(Path(run, path.name)))
        except OSError as error:
            raise RunError(f"{run}: cannot write there ({error.strerror})") from error


def write_onnx(net, recipe, folder):
    """Write net.onnx into a folder.

    Returns
    -------
    callable
        Has the file's own runtime predict: it takes images, uint8 (N, H, W, C), and what the net
        gets of them, and gives logits, (N, classes).
    """
    try:
        import onnx
        import onnxruntime

        from d2l_alexnet.onnx_graph import as_onnx
    except ImportError as error:
        raise InputError(f"--to onnx: pip install 'd2l_alexnet[export]' first ({error})") from error
    model = as_onnx(net, recipe)
    opset, path = model.opset_import[0].version, folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    print(f"ONNX opset {opset}, accepted by the checker of onnx {onnx.__version__}")
    print(f"Comparing MXNet {mx.__version__} and onnxruntime {onnxruntime.__version__}", flush=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images, X: session.run(["logits"], {"images": images})[0]


def write_symbol(net, recipe, folder):
    """Write net-symbol.json and net-0000.params into a folder; otherwise as `write_onnx`."""
    net(mx.nd.zeros(recipe.input_shape))  # there is no graph before the first call
    net.export(str(folder / "net"))
    symbol, weights = folder / "net-symbol.json", folder / "net-0000.params"
    read_params(weights)  # a disk may be full
    with warnings.catch_warnings():  # that it does not know the type of an image, yet
        warnings.filterwarnings("ignore", "Cannot decide type", UserWarning)
        block = gluon.SymbolBlock.imports(str(symbol), ["data"], str(weights))
    return lambda images, X: block(X).asnumpy()


WRITERS = dict(onnx=write_onnx, symbol=write_symbol)


def compare(net, predict, test_iter):
    """Compare what was exported with the net itself on all test images, and print the figures.

    Parameters
    ----------
    net : mxnet.gluon.Block
    predict : callable
        As `write_onnx` gives it.
    test_iter : DataLoader
        Not shuffled.

    Raises
    ------
    RunError
        When a logit differs by more than `TOLERANCE`.
    """
    images = np.stack([image for image, _ in test_iter.dataset])  # (N, H, W, C)
    same = largest = done = 0
    for X, y in watched(test_iter, "comparing"):
        expected, given = net(X).asnumpy(), predict(images[done : done + len(y)], X)
        same += (expected.argmax(axis=1) == given.argmax(axis=1)).sum()
        largest = max(largest, np.abs(expected - given).max())
        done += len(y)
    figures = (
        f"the same class for {same:,} of {done:,} test images, "
        f"logits differ by {largest:.1e} at the most"
    )
    if not largest <= TOLERANCE:
        raise RunError(f"not exported: {figures}, more than {TOLERANCE:g}")
    print(figures, flush=True)


def main(argv=None):
    """Read the command line and export."""
    parser = cli.Parser("export", "Write the net of a run in a format that others read.")
    parser.epilog = EPILOG
    parser.add_argument("run", metavar="RUN", help="run folder: args.json and net.params")
    parser.add_argument("--to", choices=WRITERS, required=True, help="format")
    cli.add_num_workers(parser)
    cli.add_data_dir(parser)
    args = parser.parse_args(argv)
    export(args.run, args.to, args.num_workers, args.data_dir)


if __name__ == "__main__":
    cli.run(main)
