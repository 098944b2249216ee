"""What must happen before MXNet loads, and which device it then computes on.

``python -m d2l_alexnet.runtime`` prints all of it, for a bug report.

MXNet 1.9.1 is the last release. Everything here is what it takes to import it, and to let it use
the whole machine, years later.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
import warnings
from importlib import metadata
from pathlib import Path

import numpy as np

from d2l_alexnet.runtime import gpus
from d2l_alexnet.runtime.cores import usable_cores

PACKAGE = "d2l_alexnet"  # in an ImportError: tells runpy that the package refuses to load

CHOOSE_MXNET = (
    "MXNet is not installed: pip install 'd2l_alexnet[cpu]', "
    "or pip install 'd2l_alexnet[cu112]' for an NVIDIA GPU"
)
BOTH_MXNETS = (
    "mxnet and mxnet-cu112 are both installed, and each has overwritten files of the other: "
    "pip uninstall mxnet mxnet-cu112, then pip install 'd2l_alexnet[cpu]' or 'd2l_alexnet[cu112]'"
)

# What mxnet-cu112 links to, and the package of PyPI that has it. The order matters: libcublas needs
# libcublasLt, and libcusolver needs libcublas.
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


def prepare():
    """Make ``import mxnet`` work, on all the cores there are; the package calls it when imported.

    Raises
    ------
    ImportError
        When no MXNet is installed, or something it cannot load without is missing. Under
        ``python -m`` that is one line: the error carries this package's name, which is how
        runpy tells a package that refuses to load from one that is broken.
    """
    if "mxnet" in sys.modules:
        warnings.warn(
            "mxnet was imported before d2l_alexnet, so it keeps the threads it chose for itself; "
            "import d2l_alexnet first",
            stacklevel=3,
        )
        return
    if importlib.util.find_spec("mxnet") is None:
        raise ImportError(CHOOSE_MXNET, name=PACKAGE)
    restore_numpy_aliases()
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))
    load_system_libraries()
    if _installed("mxnet-cu112"):
        if _installed("mxnet"):
            raise ImportError(BOTH_MXNETS, name=PACKAGE)
        load_cuda_libraries()


def restore_numpy_aliases():
    """Give NumPy back the four names that it dropped in 1.24 and that MXNet reads at import."""
    if int(np.__version__.split(".")[0]) >= 2:
        raise ImportError(
            f"MXNet 1.9.1 needs NumPy 1, this is {np.__version__}: pip install 'numpy<2'",
            name=PACKAGE,
        )
    for name, builtin in dict(bool=bool, int=int, float=float, object=object).items():
        if name not in vars(np):
            setattr(np, name, builtin)


def load_system_libraries():
    """Name the Debian package of a compiler runtime that MXNet's wheel does not bring."""
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


def load_cuda_libraries(folders=None):
    """Load the CUDA 11 libraries of NVIDIA's wheels, where mxnet-cu112 will then find them.

    What the wheels lack is looked for by the system's loader, so an installed CUDA 11 works too.

    Parameters
    ----------
    folders : list of path, optional
        Where the wheels were unpacked, ``<folder>/<name>/lib``; the package ``nvidia`` as it is
        installed if not given.

    Raises
    ------
    ImportError
        When there is no driver, or libraries are missing: all of them, each with its package.
    """
    if not _loads(gpus.DRIVER):
        raise ImportError(
            f"mxnet-cu112 is installed but no NVIDIA driver ({gpus.DRIVER}): "
            "pip uninstall mxnet-cu112, then pip install 'd2l_alexnet[cpu]'",
            name=PACKAGE,
        )
    if folders is None:
        nvidia = importlib.util.find_spec("nvidia")
        folders = nvidia.submodule_search_locations if nvidia else []
    missing = {}
    for library, package in CUDA_LIBRARIES.items():
        ours = [path for folder in folders for path in Path(folder).glob(f"*/lib/{library}")]
        if not any(_loads(path) for path in [*ours, library]):
            missing[library] = package
    if missing:
        packages = " ".join(f"'{package}'" for package in dict.fromkeys(missing.values()))
        raise ImportError(
            f"mxnet-cu112 needs {', '.join(missing)}: pip install {packages}", name=PACKAGE
        )


def _loads(library):
    """Load a shared library for everybody, if it can be loaded."""
    try:
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True


def _installed(distribution):
    try:
        return bool(metadata.version(distribution))
    except metadata.PackageNotFoundError:
        return False


