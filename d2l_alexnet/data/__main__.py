"""Find a data set, or download it: ``python -m d2l_alexnet.data fashion-mnist``."""

from __future__ import annotations

from typing import Sequence

from d2l_alexnet import cli
from d2l_alexnet.data import DATA_SETS
from d2l_alexnet.data.dataset import Arrays
from d2l_alexnet.data.download import default_data_dir
from d2l_alexnet.options import RunOptions


def main(argv: Sequence[str] | None = None) -> Arrays:
    """Find a data set or download it, print its folder, and return it."""
    parser = cli.Parser("data", "Find a data set or download it, and verify its files.")
    parser.add_argument("dataset", choices=DATA_SETS, help="name of the data set")
    cli.add_flags(parser, RunOptions, "data_dir")
    args = vars(parser.parse_args(argv))
    name, data_dir = args["dataset"], args.get("data_dir")
    train, test = DATA_SETS[name].read(data_dir)
    print(
        f"{name}: {len(train[1]):,} training and {len(test[1]):,} test images, verified, in "
        f"{data_dir or default_data_dir(name)}"
    )
    return train, test


if __name__ == "__main__":
    cli.run(main)
