"""List the commands, or run one: ``python -m d2l_alexnet train`` or ``d2l-alexnet train``."""

from __future__ import annotations

import runpy
import sys

from d2l_alexnet import cli
from d2l_alexnet.errors import InputError

COMMANDS = {
    "train": "train a net by a recipe, or resume a run",
    "evaluate": "measure the accuracy of a trained net, or classify your own pictures",
    "shapes": "print the output shape and the parameters of each layer of a net",
    "export": "write a trained net as ONNX or as MXNet's own files",
    "data": "find a data set, or download it",
    "collect_env": "print hardware and versions, for a bug report",
    "distributed.launch": "train with several processes, on one or more machines (short: launch)",
}
SHORT = {"launch": "distributed.launch"}


def main() -> None:
    """Read the command line; list the commands or run one as ``python -m d2l_alexnet.COMMAND``."""
    name, *arguments = sys.argv[1:] or [""]
    if name in ("", "-h", "--help"):
        print("Usage: python -m d2l_alexnet COMMAND ..., or d2l-alexnet COMMAND ...\n")
        print(*(f"  {command:20}{text}" for command, text in COMMANDS.items()), sep="\n")
        print("\nCOMMAND --help lists the options of a command.")
        return
    name = SHORT.get(name, name)
    if name not in COMMANDS:
        raise InputError(f"{name}: not a command; choose {', '.join(COMMANDS)}")
    sys.argv[1:] = arguments
    runpy.run_module(f"d2l_alexnet.{name}", run_name="__main__", alter_sys=True)


def run() -> None:
    """Run `main` and end the process: the entry point of the command ``d2l-alexnet``."""
    cli.run(main)


if __name__ == "__main__":
    run()
