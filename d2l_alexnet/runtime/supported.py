"""Say whether MXNet 1.9.1 runs on this Python and this machine.

The Makefile runs this file as a script before it installs anything. So it uses the standard library
only, and any Python 3 can read it.
"""

import platform
import sys
import sysconfig

OLDEST, NEWEST = (3, 8), (3, 15)  # the Pythons that `make test-pythons` has tried; see setup.cfg
MACHINES = "x86_64", "aarch64", "arm64"  # of the wheels for Linux; arm64 is its other name


def unsupported_reason(
    version: tuple = sys.version_info,
    system: str = sys.platform,
    machine: str = platform.machine(),
    bits: int = 64 if sys.maxsize > 2**32 else 32,
    host: str = sysconfig.get_config_var("HOST_GNU_TYPE") or "",
) -> str:
    """Return why MXNet cannot be installed here, and what to do; empty if it can.

    Parameters
    ----------
    version : tuple of int
    system : str
        As `sys.platform`.
    machine : str
        The processor's architecture.
    bits : int
        Of this Python, not of the processor.
    host : str
        What Python was compiled for; on Alpine Linux it names the C library musl.
    """
    if not OLDEST <= version[:2] <= NEWEST:
        found, oldest, newest = ("{}.{}".format(*each) for each in (version, OLDEST, NEWEST))
        return f"MXNet 1.9.1 was not tested on Python {found}: use Python {oldest} to {newest}"
    if system == "win32":
        return "MXNet 1.9.1 does not exist for Windows: use WSL2 or a container (docs/install.md)"
    if bits != 64:
        return "this Python is a 32-bit program, MXNet 1.9.1 needs 64 bits: use a 64-bit Python"
    if "musl" in host:
        return "MXNet 1.9.1 needs the C library glibc, this Python uses musl: use Debian or Ubuntu"
    if system == "darwin" and machine != "x86_64":
        return "MXNet 1.9.1 does not exist for Apple silicon: use a container (docs/install.md)"
    if machine not in MACHINES:
        return f"MXNet 1.9.1 does not exist for {machine}: use x86-64 or 64-bit ARM"
    return ""


if __name__ == "__main__":
    sys.exit(unsupported_reason() or 0)
