"""Give MXNet's build for 64-bit ARM the libraries that its wheel needs and does not contain.

The wheel is linked to Arm Performance Libraries, which no package of Python or Debian contains.
OpenBLAS and LAPACKE have the same functions. The script makes links to them, with the names of the
missing libraries, in the folder of the installed MXNet. ``make install`` runs it; elsewhere than on
ARM it does nothing. It must not import the package: that fails until the links exist.
"""

from __future__ import annotations

import ctypes
import importlib.util
import platform
import sys
from pathlib import Path

LIBRARIES = "libarmpl_lp64_mp.so", "libamath.so", "libastring.so"
STAND_IN = "liblapacke.so.3"  # it loads BLAS and LAPACK, which Debian lets OpenBLAS provide
PACKAGES = "liblapacke libopenblas0"


def missing_libraries(mxnet: Path) -> list[str]:
    """List the libraries that are neither in MXNet's folder nor where the system searches."""
    return [name for name in LIBRARIES if not (mxnet / name).exists() and not _loads(name)]


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def link(mxnet: Path) -> str:
    """Make the links in MXNet's folder; return why this is not possible, empty if it is."""
    names = missing_libraries(mxnet)
    if not names:
        return ""
    if not _loads(STAND_IN):
        return f"MXNet for ARM needs {STAND_IN}: apt-get install {PACKAGES}"
    paths = (line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines())
    library = next(path for path in paths if Path(path).name.startswith("liblapacke.so"))
    for name in names:
        (mxnet / name).unlink(missing_ok=True)  # a link to a library that was removed
        (mxnet / name).symlink_to(library)
    return ""


def main() -> None:
    """Make the links if this is an ARM machine; end with one line if this is not possible."""
    if platform.machine() not in ("aarch64", "arm64") or sys.platform != "linux":
        return
    spec = importlib.util.find_spec("mxnet")
    if not spec or not spec.origin:
        sys.exit("MXNet is not installed")
    sys.exit(link(Path(spec.origin).parent) or 0)


if __name__ == "__main__":
    main()
