"""Install, train, kill and resume with every Python that is found, and write a table.

``make test-pythons`` runs this. A Python is installed for as a user does it, with ``make install``
in a copy of the repository. ``--out`` keeps the rows of Pythons that are not on this machine.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = "Makefile", "README.md", "LICENSE", "constraints.txt", "pyproject.toml", "setup.cfg"
MINORS = range(8, 16)  # of the supported Pythons, 3.8 to 3.15
PYENV = Path.home() / ".pyenv" / "versions"
KILLS = 2

HEADER = """\
Each Python in a new environment: `make install`; `import mxnet`; the shape trace of the lecture's
AlexNet; the lecture's net for two epochs on 72 real images with loader workers, undisturbed, and
killed {kills} times and resumed, which has to give the same weights and history, bit for bit.
Command: make test-pythons.

"""
COLUMNS = (
    "Python",
    "NumPy",
    "OpenCV",
    "machine",
    "install",
    "import",
    "shapes",
    "train, kill and resume",
)
VERSIONS = """
import platform, d2l_alexnet, mxnet, numpy
from importlib.metadata import version
print(platform.python_version(), numpy.__version__, version("opencv-python"), sep=",")
"""


def find_pythons() -> list[str]:
    """Find a Python of each supported version: on the path, or in pyenv's folder."""
    found = []
    for minor in MINORS:
        candidates = [shutil.which(f"python3.{minor}"), *PYENV.glob(f"3.{minor}.*/bin/python")]
        works = (str(each) for each in candidates if each and runs(each))
        found += [path for path in [next(works, None)] if path]
    return found


def runs(python: str | Path) -> bool:
    """Whether this is a Python. A shim of pyenv may stand for a Python that is not there."""
    return not subprocess.run([python, "-c", "import venv"], capture_output=True).returncode


class Failed(Exception):
    """A step has failed; the text is its last line."""


def execute(*command: str | Path, cwd: Path) -> str:
    """Run a command and return its last line."""
    done = subprocess.run(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    *_, last = ["", *done.stdout.strip().splitlines()]
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        raise Failed(last)
    return last


def try_python(python: str) -> list[str]:
    """Install for a Python and try what has to work; return a row of the table."""
    version = execute(python, "-c", "import platform; print(platform.python_version())", cwd=ROOT)
    row = [version, "", "", platform.machine()]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in COPIED:
            shutil.copy(ROOT / name, copy)
        for name in ("d2l_alexnet", "tests"):
            shutil.copytree(ROOT / name, copy / name)
        start = time.monotonic()
        try:
            execute("make", "install", f"PYTHON={python}", "MXNET=cpu", cwd=copy)
            row.append(f"{time.monotonic() - start:.0f} s")
            installed = copy / ".venv" / "bin" / "python"
            row[:3] = execute(installed, "-c", VERSIONS, cwd=copy).split(",")
            row.append("yes")
            *_, parameters, _ = execute(installed, "-m", "d2l_alexnet.shapes", cwd=copy).split()
            row.append(parameters)
            kill_and_resume = (copy / "tests" / "kill_and_resume.py", "--kills", str(KILLS))
            row.append(execute(installed, *kill_and_resume, cwd=copy))
        except Failed as failure:
            row.append(f"failed: {failure}")
    return row


def read_rows(path: Path) -> list[list[str]]:
    """Read the rows of a table that `write_table` has written."""
    if not path.exists():
        return []
    lines = [line for line in path.read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def write_table(path: Path, rows: list[list[str]]) -> None:
    """Write the table, sorted by machine and version."""
    rows = sorted(rows, key=lambda row: (row[3], [int(part) for part in row[0].split(".")]))
    lines = ["| " + " | ".join(row) + " |" for row in (COLUMNS, ["---"] * len(COLUMNS), *rows)]
    path.write_text(HEADER.format(kills=KILLS) + "\n".join(lines) + "\n")


def main() -> None:
    """Try each Python; end with status 1 if one has failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pythons", nargs="*", help="Pythons to try; if none, all that are found")
    parser.add_argument("--out", type=Path, required=True, help="the table")
    args = parser.parse_args()
    failed = False
    for python in args.pythons or find_pythons():
        row = try_python(python)
        failed |= row[-1].startswith("failed")
        print(*row, sep="  ", flush=True)
        others = [each for each in read_rows(args.out) if [each[0], each[3]] != [row[0], row[3]]]
        write_table(args.out, [*others, row])
    sys.exit(failed)


if __name__ == "__main__":
    main()
