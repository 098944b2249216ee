"""Write the net of a run in another format: ``python -m d2l_alexnet.export RUN --to onnx``."""

from __future__ import annotations

from typing import Sequence

from d2l_alexnet import cli
from d2l_alexnet.export.formats import WRITERS, export
from d2l_alexnet.options import RunOptions

EPILOG = """onnx: RUN/net.onnx, opset 13. It takes images as the data set has them, uint8 (N, side,
side, channels): enlarging and normalising are inside. It gives logits, float32 (N, 10), and the
names of the classes are in its metadata. symbol: RUN/net-symbol.json and RUN/net-0000.params,
MXNet's own format, for mxnet.gluon.SymbolBlock.imports. That takes what d2l_alexnet.data makes of
images."""


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line and export."""
    description = "Write the net of a run in a format that others read."
    parser = cli.Parser("export", description, EPILOG)
    parser.add_argument("run", metavar="RUN", help="run folder: args.json and net.params")
    parser.add_argument("--to", choices=WRITERS, required=True, help="format")
    cli.add_flags(parser, RunOptions, "num_workers", "data_dir")
    given = vars(parser.parse_args(argv))
    export(given.pop("run"), given.pop("to"), cli.take(given, RunOptions))


if __name__ == "__main__":
    cli.run(main)
