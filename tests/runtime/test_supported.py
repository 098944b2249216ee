import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from d2l_alexnet.runtime import arm, bootstrap, supported

LINUX = dict(version=(3, 11), system="linux", machine="x86_64", bits=64, host="x86_64-linux-gnu")


def test_this_machine_and_arm_are_supported():
    done = subprocess.run([sys.executable, supported.__file__], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert supported.unsupported_reason(**{**LINUX, "machine": "aarch64"}) == ""
    assert supported.unsupported_reason(**{**LINUX, "system": "darwin"}) == ""


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (dict(version=(3, 7, 16)), "not tested on Python 3.7: use Python 3.8 to 3.15"),
        (dict(version=(3, 16)), "not tested on Python 3.16: use Python 3.8 to 3.15"),
        (dict(host="x86_64-alpine-linux-musl"), "uses musl: use Debian or Ubuntu"),
        (dict(bits=32, machine="armv7l"), "needs 64 bits: use a 64-bit Python"),
        (dict(machine="ppc64le"), "does not exist for ppc64le: use x86-64 or 64-bit ARM"),
        (dict(system="win32", machine="AMD64"), "for Windows: use WSL2 or a container"),
        (dict(system="darwin", machine="arm64"), "for Apple silicon: use a container"),
    ],
)
def test_refusals_are_one_line_that_says_what_to_do(found, reason):
    said = supported.unsupported_reason(**{**LINUX, **found})
    assert reason in said
    assert "\n" not in said


def test_setup_names_the_same_pythons():
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[2] / "setup.cfg")
    (_, oldest), (_, newest) = supported.OLDEST, supported.NEWEST
    assert setup["options"]["python_requires"] == f">=3.{oldest},<3.{newest + 1}"


def test_arms_libraries_are_linked_where_they_are_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(arm, "STAND_IN", "libnowhere.so.3")
    assert "apt-get install liblapacke libopenblas0" in arm.link(tmp_path)
    with pytest.raises(ImportError, match=r"needs libarmpl.*apt-get install .* && .*/arm.py$"):
        bootstrap.check_arm_libraries(tmp_path)
    stand_in = tmp_path / "liblapacke.so.3"
    maps = Path("/proc/self/maps").read_text().splitlines()
    shutil.copy(next(line.split()[-1] for line in maps if "libgomp" in line), stand_in)
    monkeypatch.setattr(arm, "STAND_IN", str(stand_in))
    assert arm.link(tmp_path) == ""
    assert (tmp_path / "libamath.so").resolve() == stand_in
    bootstrap.check_arm_libraries(tmp_path)
