"""Export the net of a run: ``python -m d2l_alexnet.export RUN --to onnx``."""

from __future__ import annotations

from typing import Sequence

from d2l_alexnet import cli
from d2l_alexnet.export.formats import WRITERS, export
from d2l_alexnet.options import RunOptions

EPILOG = """onnx: RUN/net.onnx, opset 13. Input: images as in the data set, uint8 (N, side, side,
channels); the graph resizes and normalizes them. Output: logits, float32 (N, 10). The names of the
classes are in its metadata. symbol: RUN/net-symbol.json and RUN/net-0000.params, MXNet's own
format, for mxnet.gluon.SymbolBlock.imports. Input: the tensors that d2l_alexnet.data makes from
images."""


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line and export."""
    description = "Export the net of a run, and check that the exported net gives the same outputs."
    parser = cli.Parser("export", description, EPILOG)
    parser.add_argument("run", metavar="RUN", help="run folder: args.json and net.params")
    parser.add_argument("--to", choices=WRITERS, required=True, help="format")
    cli.add_flags(parser, RunOptions, "num_workers", "data_dir")
    given = vars(parser.parse_args(argv))
    export(given.pop("run"), given.pop("to"), cli.pop_options(given, RunOptions))


if __name__ == "__main__":
    cli.run(main)
