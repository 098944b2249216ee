"""Measure contestants fairly: each in a process of its own, in turn, while the others sleep."""

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

from d2l_alexnet import runtime

HERE = Path(__file__).parent
PYTORCH = "torch==2.13.0"  # the version that the committed figures are of
PYTORCH_VENV = HERE / ".venv-pytorch"


class Contestant:
    """A process that measures one thing whenever it is asked to, and otherwise sleeps.

    Parameters
    ----------
    script : str
        ``ours``, ``lecture`` or ``pytorch``: a script of this folder.
    *arguments : str or int
        What to measure.
    default_threads : bool
        Whether the library chooses its number of threads, as it does for who sets nothing; else
        it gets a thread per core.
    **variables : str
        Environment variables to set besides.
    """

    def __init__(self, script, *arguments, default_threads=False, **variables):
        python = pytorch_python() if script == "pytorch" else sys.executable
        environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
        if not default_threads:
            environment["OMP_NUM_THREADS"] = str(runtime.usable_cores())
        environment.update(variables)
        self._process = subprocess.Popen(
            [python, HERE / f"{script}.py", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.about = json.loads(self._answer())

    def measure(self):
        """Have it measure once; give what it measured."""
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return json.loads(self._answer())

    def _answer(self):
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self._process.args} ended with status {self._process.wait()}")
        return answer

    def close(self):
        """End the process."""
        self._process.stdin.close()
        self._process.wait()


def pytorch_python():
    """Give the Python of an environment with PyTorch in it, which is made the first time.

    GluonCV refuses to be imported where PyTorch 2 is installed, so it cannot be ours.
    """
    python = PYTORCH_VENV / "bin/python"
    ready = PYTORCH_VENV / "ready"
    if not ready.exists():
        print(f"Installing {PYTORCH} into {PYTORCH_VENV}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", PYTORCH_VENV], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, PYTORCH, "numpy"], check=True)
        ready.touch()
    return python


def alternate(contestants, rounds):
    """Let the contestants measure in turn, in so many rounds after one that is not counted.

    Every other round goes backwards, so that a machine that becomes faster or slower during the
    rounds favours nobody.

    Parameters
    ----------
    contestants : dict of str to Contestant

    Returns
    -------
    dict of str to list of float
        What each of them measured, a value per round.
    """
    measured = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name in list(contestants)[:: -1 if number % 2 else 1]:
            value = contestants[name].measure()
            if number:
                measured[name].append(value)
        print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
    return measured


def ratios(ours, other):
    """Compare round by round, so that a drift of the machine's speed cancels: ours ÷ other."""
    return [a / b for a, b in zip(ours, other)]


def spread(values):
    """Summarise: median, lowest and highest."""
    return dict(median=statistics.median(values), lowest=min(values), highest=max(values))


def written(values, digits=1):
    """Write a summary as one reads it: '26.7 (25.9 to 27.1)'."""
    s = spread(values)
    return f"{s['median']:.{digits}f} ({s['lowest']:.{digits}f} to {s['highest']:.{digits}f})"


def compare(measured, unit):
    """Print a table of the contestants, with the ratio of ours to each.

    Parameters
    ----------
    measured : dict of str to list of float
        The more the better.
    """
    width = max(map(len, measured))
    for name, values in measured.items():
        line = f"{name:{width}}  {written(values)} {unit}"
        if name != "ours":
            ratio = written(ratios(measured["ours"], values), 2)
            line += f"   ours is {ratio} times that"
        print(line)


def machine():
    """Describe what the figures were taken on."""
    names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    flags = re.search(r"flags\s*: (.*)", Path("/proc/cpuinfo").read_text())
    widest = "AVX-512" if flags and "avx512f" in flags[1].split() else "AVX2 or less"
    return dict(
        cpu=names[0] if names else platform.machine(),
        vectors=widest,
        cores=runtime.usable_cores(),
        python=platform.python_version(),
        date=time.strftime("%Y-%m-%d"),
    )


def parser(description, rounds):
    """Make a benchmark's argument parser, with what they all take."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=rounds, help="measurements of each")
    parser.add_argument("--out", metavar="FILE", help="JSON file to write")
    return parser


def parse_with_ctx(parser):
    """Let a benchmark take ``--ctx`` too, and read its arguments; without a GPU it says so."""
    parser.add_argument("--ctx", choices=("cpu", "gpu"), default="cpu", help="what computes")
    args = parser.parse_args()
    try:
        runtime.choose_context(args.ctx)
    except runtime.InputError as error:
        print(f"not run: {error}", file=sys.stderr)
        sys.exit(2)
    return args


def write(path, **figures):
    """Write a benchmark's figures and what they were taken on, if a file was named."""
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(dict(machine=machine(), **figures), indent=1) + "\n")
