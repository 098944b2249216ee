"""Prepare the process for ``import mxnet``.

MXNet 1.9.1 is the last release. The functions here let it be imported with current libraries, and
let it use all cores. `d2l_alexnet.collect_env` prints what they find.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import re
import signal
import sys
import types
import warnings
from importlib import metadata
from pathlib import Path
from typing import Iterable

from d2l_alexnet.runtime import arm, gpus, old_modules
from d2l_alexnet.runtime.cores import default_threads

PACKAGE = "d2l_alexnet"  # the name in each ImportError; see `prepare`

SERVER_MODULE = "mxnet.kvstore.kvstore_server"

# The compiler's libraries, and the Debian package of each. ARM has no libquadmath.
SYSTEM_LIBRARIES = {"libgomp.so.1": "libgomp1", "libquadmath.so.0": "libquadmath0"}

# The libraries that mxnet-cu112 links to, and the PyPI package of each. The order matters:
# libcublas needs libcublasLt, and libcusolver needs libcublas.
CUDA_LIBRARIES = {
    "libcudart.so.11.0": "nvidia-cuda-runtime-cu11",
    "libcublasLt.so.11": "nvidia-cublas-cu11",
    "libcublas.so.11": "nvidia-cublas-cu11",
    "libcufft.so.10": "nvidia-cufft-cu11",
    "libcurand.so.10": "nvidia-curand-cu11",
    "libcusolver.so.11": "nvidia-cusolver-cu11",
    "libnvrtc.so.11.2": "nvidia-cuda-nvrtc-cu11",
    "libnccl.so.2": "nvidia-nccl-cu11",
    "libnvToolsExt.so.1": "nvidia-nvtx-cu11",
    "libcudnn.so.8": "nvidia-cudnn-cu11<9",
}


def how_to_install(build: str) -> str:
    """Return the command that installs an MXNet: the build ``cpu`` or ``cu112``.

    MXNet's metadata require NumPy 1, which does not exist for Python 3.13. So from there on it is
    installed without its dependencies.
    """
    extra = f"pip install 'd2l_alexnet[{build}]'"
    if sys.version_info < (3, 13):
        return extra
    return f"{extra} && pip install --no-deps {'mxnet' if build == 'cpu' else 'mxnet-cu112'}==1.9.1"


def prepare() -> None:
    """Make ``import mxnet`` work, with one thread per core. Importing the package calls this.

    Raises
    ------
    ImportError
        When MXNet is not installed, or a library that it needs is missing. The ``name`` of the
        error is this package. So ``python -m`` prints one line instead of a traceback.
    """
    if "mxnet" in sys.modules:
        warnings.warn(
            "mxnet was imported before d2l_alexnet, so its number of threads cannot be changed; "
            "import d2l_alexnet first",
            stacklevel=3,
        )
        return
    spec = importlib.util.find_spec("mxnet")
    if spec is None:
        raise ImportError(
            f"MXNet is not installed: {how_to_install('cpu')}, "
            f"or for an NVIDIA GPU {how_to_install('cu112')}",
            name=PACKAGE,
        )
    old_modules.install()
    disable_server_on_import()
    if not _are_threads(os.environ.get("OMP_NUM_THREADS", "")):  # OpenMP would take all processors
        os.environ["OMP_NUM_THREADS"] = str(default_threads())
    load_system_libraries()
    if platform.machine() == "aarch64":
        check_arm_libraries(Path(str(spec.origin)).parent)
    check_avx()
    if _installed("mxnet-cu112"):
        if _installed("mxnet"):
            raise ImportError(
                "mxnet and mxnet-cu112 are both installed, and each has overwritten files of the "
                f"other: pip uninstall mxnet mxnet-cu112, then {how_to_install('cpu')}, "
                f"or for an NVIDIA GPU {how_to_install('cu112')}",
                name=PACKAGE,
            )
        load_cuda_libraries()


def _are_threads(text: str) -> bool:
    """Say whether this is a number of threads, or a list with one for each level of nesting."""
    return all(part.strip().isdecimal() and int(part) > 0 for part in text.split(","))


def disable_server_on_import() -> None:
    """Let ``import mxnet`` return where `DMLC_ROLE` names a server or a scheduler.

    When MXNet's module of the server is imported, it runs the server until the distributed run is
    over. An empty module replaces it. ``python -m d2l_alexnet.distributed.server`` runs a server.
    """
    if os.environ.get("DMLC_ROLE", "worker") != "worker":
        sys.modules[SERVER_MODULE] = types.ModuleType(SERVER_MODULE)


def load_system_libraries(machine: str = platform.machine()) -> None:
    """Load the compiler's runtime libraries, which MXNet's wheel needs and does not contain.

    Raises
    ------
    ImportError
        When a library is missing. The error names the library's Debian package.
    """
    if sys.platform != "linux":
        return
    for library, package in SYSTEM_LIBRARIES.items():
        if library == "libquadmath.so.0" and machine != "x86_64":
            continue
        try:
            ctypes.CDLL(library)
        except OSError as error:
            raise ImportError(
                f"MXNet needs {library}: apt-get install {package}", name=PACKAGE
            ) from error


def check_arm_libraries(mxnet: Path) -> None:
    """Check that MXNet's build for 64-bit ARM finds its libraries.

    Raises
    ------
    ImportError
        When one is missing. The error has the command that makes links to OpenBLAS in its place.
    """
    missing = arm.missing_libraries(mxnet)
    if missing:
        raise ImportError(
            f"MXNet for ARM needs {', '.join(missing)}; to use OpenBLAS in their place: "
            f"apt-get install {arm.PACKAGES} && {sys.executable} {arm.__file__}",
            name=PACKAGE,
        )


def check_avx(cpuinfo: str | Path = "/proc/cpuinfo") -> None:
    """Check that MXNet can train on an x86 processor without AVX.

    MXNet imports there, and `mx.nd.dot` ends the process with the signal SIGILL. So another process
    tries what training needs.

    Raises
    ------
    ImportError
        If SIGILL killed that process.
    """
    text = Path(cpuinfo).read_text() if Path(cpuinfo).exists() else ""
    flags = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    if not flags or "avx" in flags[1].split():
        return
    pid = os.fork()
    if not pid:
        try:
            _train_a_step()
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGILL:
        raise ImportError(
            "this processor has no AVX, and MXNet 1.9.1 cannot train on it (SIGILL): use a newer "
            "one; if this is a virtual machine, give it the host's processor (QEMU: -cpu host)",
            name=PACKAGE,
        )


def _train_a_step() -> None:
    from mxnet import autograd, gluon, nd

    net = gluon.nn.HybridSequential()
    net.add(gluon.nn.Conv2D(4, 3), gluon.nn.MaxPool2D(), gluon.nn.BatchNorm(), gluon.nn.Dense(2))
    net.initialize()
    trainer = gluon.Trainer(net.collect_params(), "adam")
    with autograd.record():
        l = net(nd.ones((2, 1, 8, 8))).sum()
    l.backward()
    trainer.step(2)
    nd.waitall()


def load_cuda_libraries(folders: Iterable[str | Path] | None = None) -> None:
    """Load the CUDA 11 libraries from NVIDIA's wheels, so that mxnet-cu112 finds them.

    If no wheel contains a library, the system's loader searches for it. So an installed CUDA 11
    works too.

    Parameters
    ----------
    folders : iterable of path, optional
        Folders of the wheels, each with ``<name>/lib``; if not given, the folders of the installed
        package ``nvidia``.

    Raises
    ------
    ImportError
        When there is no driver, or a library is missing. The error names every missing library
        and its package.
    """
    if not _load(gpus.DRIVER):
        raise ImportError(
            f"mxnet-cu112 is installed, but no NVIDIA driver ({gpus.DRIVER}): "
            f"pip uninstall mxnet-cu112, then {how_to_install('cpu')}",
            name=PACKAGE,
        )
    if folders is None:
        nvidia = importlib.util.find_spec("nvidia")
        folders = (nvidia and nvidia.submodule_search_locations) or []
    missing = {}
    for library, package in CUDA_LIBRARIES.items():
        paths = [str(path) for folder in folders for path in Path(folder).glob(f"*/lib/{library}")]
        if not any(map(_load, [*paths, library])):
            missing[library] = package
    if missing:
        packages = " ".join(f"'{package}'" for package in dict.fromkeys(missing.values()))
        raise ImportError(
            f"mxnet-cu112 needs {', '.join(missing)}: pip install {packages}", name=PACKAGE
        )


def _load(library: str) -> bool:
    """Load a shared library with global symbols; return whether this worked."""
    try:
        ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True


def _installed(distribution: str) -> bool:
    try:
        return bool(metadata.version(distribution))
    except metadata.PackageNotFoundError:
        return False
