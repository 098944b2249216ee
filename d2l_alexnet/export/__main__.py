"""Export the net of a run: ``python -m d2l_alexnet.export RUN --to onnx``."""

from __future__ import annotations

from typing import Sequence

from d2l_alexnet import cli
from d2l_alexnet.export.formats import WRITERS, export
from d2l_alexnet.options import RunOptions

EPILOG = """"--to onnx" writes RUN/net.onnx, opset 13. Its input is images as in the data set, uint8
(N, side, side, channels). The graph resizes and normalizes them. Its output is logits, float32
(N, 10). The names of the classes are in its metadata. "--to symbol" writes RUN/net-symbol.json and
RUN/net-0000.params, in MXNet's own format. mxnet.gluon.SymbolBlock.imports reads them. Their input
is the tensors that the loaders of d2l_alexnet.data make."""


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line and export."""
    description = "Export the net of a run, and check that the exported net gives the same outputs."
    parser = cli.Parser("export", description, EPILOG)
    parser.add_argument("run", metavar="RUN", help="folder of a run, with args.json and net.params")
    parser.add_argument("--to", choices=WRITERS, required=True, help="format of the exported net")
    cli.add_flags(parser, RunOptions, "num_workers", "data_dir")
    given = vars(parser.parse_args(argv))
    export(given.pop("run"), given.pop("to"), cli.pop_options(given, RunOptions))


if __name__ == "__main__":
    cli.run(main)
