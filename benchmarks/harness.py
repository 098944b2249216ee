"""Compare programs fairly: each has its own process, they measure in turn, and the others wait."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Mapping, Sequence

from d2l_alexnet import cli
from d2l_alexnet.errors import InputError
from d2l_alexnet.runtime.cores import usable_cores
from d2l_alexnet.runtime.devices import choose_context

HERE = Path(__file__).parent
PYTORCH = "torch==2.13.0"  # the version with which the committed results were measured
PYTORCH_VENV = HERE / ".venv-pytorch"


class Contestant:
    """A program of a comparison: a process that measures once when asked to, and then waits.

    Parameters
    ----------
    script : str
        ``ours``, ``lecture`` or ``pytorch``: a script of this folder.
    *arguments : str or int
        What to measure.
    default_threads : bool
        Whether the library chooses its number of threads, as it does when a user sets nothing.
        Otherwise it gets one thread per core.
    **variables : str
        More environment variables.
    """

    def __init__(
        self, script: str, *arguments: object, default_threads: bool = False, **variables: str
    ) -> None:
        python = pytorch_python() if script == "pytorch" else sys.executable
        environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
        if not default_threads:
            environment["OMP_NUM_THREADS"] = str(usable_cores())
        environment.update(variables)
        self._process = subprocess.Popen(
            [str(python), str(HERE / f"{script}.py"), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.about = json.loads(self._answer())

    def measure(self) -> Any:
        """Let the program measure once, and return the measurement."""
        assert self._process.stdin
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return json.loads(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self._process.args!r} ended with status {self._process.wait()}")
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def pytorch_python() -> Path:
    """Return the Python of a virtual environment with PyTorch; make the environment if necessary.

    PyTorch 2 cannot be installed beside the package, because GluonCV then refuses to be imported.
    """
    python = PYTORCH_VENV / "bin/python"
    ready = PYTORCH_VENV / "ready"
    if not ready.exists():
        print(f"Installing {PYTORCH} into {PYTORCH_VENV}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", PYTORCH_VENV], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, PYTORCH, "numpy"], check=True)
        ready.touch()
    return python


def alternate(contestants: Mapping[Any, Any], rounds: int) -> dict[Any, list]:
    """Let the contestants measure in turn, in several rounds; close them at the end.

    There is one more round at the beginning, which is not counted. Every second round is in the
    opposite order. So it gives no contestant an advantage if the machine becomes faster or slower.

    Parameters
    ----------
    contestants : dict of str to Contestant
    rounds : int

    Returns
    -------
    dict of str to list
        The measurements of each contestant: one value per round.
    """
    measured: dict[Any, list] = {name: [] for name in contestants}
    try:
        for number in range(rounds + 1):
            for name in list(contestants)[:: -1 if number % 2 else 1]:
                value = contestants[name].measure()
                if number:
                    measured[name].append(value)
            print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
    finally:
        for each in contestants.values():
            each.close()
    return measured


def ratios(ours: Sequence[float], other: Sequence[float]) -> list[float]:
    """Divide ours by other in each round, so that changes of the machine's speed cancel."""
    return [a / b for a, b in zip(ours, other)]


def written(values: Sequence[float], digits: int = 1) -> str:
    """Write median, minimum and maximum: '26.7 (25.9 to 27.1)'."""
    numbers = statistics.median(values), min(values), max(values)
    return "{} ({} to {})".format(*(f"{number:.{digits}f}" for number in numbers))


def compare(measured: Mapping[str, Sequence[float]], unit: str, ours: str = "ours") -> None:
    """Print a table of the contestants, with the ratio of ours to each.

    Parameters
    ----------
    measured : dict of str to list of float
        Rates; higher is better.
    unit : str
    ours : str
        The name of the contestant that is compared with the others.
    """
    width = max(map(len, measured))
    for name, values in measured.items():
        line = f"{name:{width}}  {written(values)} {unit}"
        if name != ours:
            ratio = written(ratios(measured[ours], values), 2)
            line += f"   {ours} is {ratio} times as fast"
        print(line)


def machine() -> dict[str, Any]:
    """Describe the machine on which the benchmark runs."""
    names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    flags = re.search(r"flags\s*: (.*)", Path("/proc/cpuinfo").read_text())
    widest = "AVX-512" if flags and "avx512f" in flags[1].split() else "AVX2 or less"
    return dict(
        cpu=names[0] if names else platform.machine(),
        vectors=widest,
        cores=usable_cores(),
        python=platform.python_version(),
        date=time.strftime("%Y-%m-%d"),
    )


def make_parser(description: str, rounds: int) -> argparse.ArgumentParser:
    """Make the argument parser of a benchmark, with the options that all benchmarks have."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    whole = cli.number(int, minimum=1)
    parser.add_argument("--rounds", type=whole, default=rounds, help="number of rounds")
    parser.add_argument("--out", metavar="FILE", help="JSON file to write")
    return parser


def parse_with_ctx(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Add ``--ctx``, and read the arguments. End with one line if the GPU cannot be used."""
    parser.add_argument("--ctx", choices=("cpu", "gpu"), default="cpu", help="device")
    args = parser.parse_args()
    try:
        choose_context(args.ctx)
    except InputError as error:
        print(f"not run: {error}", file=sys.stderr)
        sys.exit(2)
    return args


def write(path: str | None, **figures: Any) -> None:
    """Write the results of a benchmark and a description of the machine, if a file was given."""
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(dict(machine=machine(), **figures), indent=1) + "\n")
