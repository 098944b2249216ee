"""How long each command takes until it has something to say, beside a bare ``import mxnet``.

``python benchmarks/startup.py`` runs every command in turn, so many rounds, as whole processes.
"""

from __future__ import annotations

import subprocess
import sys
import time

import harness

BARE = "import numpy as np; np.bool = np.int = np.float = np.object = object; import mxnet"
COMMANDS = {
    "python -c 'import mxnet' (aliases mended)": ["-c", BARE],
    "python -c 'import d2l_alexnet'": ["-c", "import d2l_alexnet"],
    "python -m d2l_alexnet.datasets --help": ["-m", "d2l_alexnet.datasets", "--help"],
    "python -m d2l_alexnet.datasets fashion-mnist": ["-m", "d2l_alexnet.datasets", "fashion-mnist"],
    "python -m d2l_alexnet.shapes": ["-m", "d2l_alexnet.shapes"],
    "python -m d2l_alexnet.train --help": ["-m", "d2l_alexnet.train", "--help"],
    "python -m d2l_alexnet.evaluate --help": ["-m", "d2l_alexnet.evaluate", "--help"],
    "python -m d2l_alexnet.export --help": ["-m", "d2l_alexnet.export", "--help"],
    "python -m d2l_alexnet.distributed.launch --help": ["-m", "d2l_alexnet.distributed.launch", "--help"],
    "python -m d2l_alexnet.report --help": ["-m", "d2l_alexnet.report", "--help"],
    "python -m d2l_alexnet.runtime": ["-m", "d2l_alexnet.runtime"],
}


class Command:
    """A contestant that runs a command to its end and says how many seconds it took."""

    def __init__(self, arguments):
        self._arguments = [sys.executable, *arguments]

    def measure(self):
        """Run it."""
        start = time.perf_counter()
        subprocess.run(self._arguments, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start


def main():
    """Measure, print and write."""
    args = harness.parser(__doc__.splitlines()[0], rounds=7).parse_args()
    commands = {name: Command(arguments) for name, arguments in COMMANDS.items()}
    measured = harness.alternate(commands, args.rounds)
    for name, seconds in measured.items():
        print(f"{name:46}  {harness.written(seconds, 2)} s")
    harness.write(args.out, settings=vars(args), seconds=measured)


if __name__ == "__main__":
    main()
