"""Measure the run time of each command, and of ``import mxnet`` for comparison.

``python benchmarks/startup.py`` starts each command as a new process, in turn, in several rounds.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Sequence

import harness

ROOT = Path(__file__).parents[1]
OLD_MODULES = ROOT / "d2l_alexnet" / "runtime" / "old_modules.py"
BARE = f"import runpy; runpy.run_path({str(OLD_MODULES)!r})['install'](); import mxnet"
LINES = (
    "python -c 'import d2l_alexnet'",
    "python -m d2l_alexnet",
    "python -m d2l_alexnet.data --help",
    "python -m d2l_alexnet.data fashion-mnist",
    "python -m d2l_alexnet.shapes",
    "python -m d2l_alexnet.train --help",
    "python -m d2l_alexnet.evaluate --help",
    "python -m d2l_alexnet.export --help",
    "python -m d2l_alexnet.distributed.launch --help",
    "python -m d2l_alexnet.collect_env",
    "python results/report.py --help",
)
COMMANDS = {
    "python -c 'import mxnet' (with the modules it was written for)": ["-c", BARE],
    **{line: shlex.split(line)[1:] for line in LINES},
}


class Command:
    """A contestant that runs a command to its end and measures the time in seconds."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = [sys.executable, *arguments]

    def measure(self) -> float:
        """Run it."""
        start = time.perf_counter()
        subprocess.run(self._arguments, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        return time.perf_counter() - start

    def close(self) -> None:
        """Do nothing: each measurement ends its process."""


def main() -> None:
    """Measure, print and write."""
    args = harness.make_parser(__doc__.splitlines()[0], rounds=7).parse_args()
    commands = {name: Command(arguments) for name, arguments in COMMANDS.items()}
    measured = harness.alternate(commands, args.rounds)
    width = max(map(len, measured))
    for name, seconds in measured.items():
        print(f"{name:{width}}  {harness.written(seconds, 2)} s")
    harness.write(args.out, settings=vars(args), seconds=measured)


if __name__ == "__main__":
    main()
