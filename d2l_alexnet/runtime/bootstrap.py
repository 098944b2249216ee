"""Prepare the process for ``import mxnet``.

MXNet 1.9.1 is the last release. The functions here let it be imported with current libraries, and
let it use all cores. `d2l_alexnet.collect_env` prints what they find.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
import warnings
from importlib import metadata
from pathlib import Path
from typing import Iterable

from d2l_alexnet.runtime import gpus, old_modules
from d2l_alexnet.runtime.cores import usable_cores

PACKAGE = "d2l_alexnet"  # the name in each ImportError; see `prepare`

CHOOSE_MXNET = (
    "MXNet is not installed: pip install 'd2l_alexnet[cpu]', "
    "or pip install 'd2l_alexnet[cu112]' for an NVIDIA GPU"
)
BOTH_MXNETS = (
    "mxnet and mxnet-cu112 are both installed, and each has overwritten files of the other: "
    "pip uninstall mxnet mxnet-cu112, then pip install 'd2l_alexnet[cpu]' or 'd2l_alexnet[cu112]'"
)

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
    if importlib.util.find_spec("mxnet") is None:
        raise ImportError(CHOOSE_MXNET, name=PACKAGE)
    old_modules.install()
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))
    load_system_libraries()
    if _installed("mxnet-cu112"):
        if _installed("mxnet"):
            raise ImportError(BOTH_MXNETS, name=PACKAGE)
        load_cuda_libraries()


def load_system_libraries() -> None:
    """Load the compiler's runtime libraries, which MXNet's wheel needs and does not contain.

    Raises
    ------
    ImportError
        When a library is missing. The error names the library's Debian package.
    """
    for library, package in {
        "libgomp.so.1": "libgomp1",
        "libquadmath.so.0": "libquadmath0",
    }.items():
        try:
            ctypes.CDLL(library)
        except OSError as error:
            raise ImportError(
                f"MXNet needs {library}: apt-get install {package}", name=PACKAGE
            ) from error


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
            "pip uninstall mxnet-cu112, then pip install 'd2l_alexnet[cpu]'",
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
