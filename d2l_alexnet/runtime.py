"""What must happen before MXNet loads, and which device it then computes on.

MXNet 1.9.1 is the last release. Everything here is what it takes to import it, and to let it use
the whole machine, years later.
"""

from __future__ import annotations

import ctypes
import importlib.util
import math
import os
import re
import sys
import warnings
from importlib import metadata
from pathlib import Path

import numpy as np

CHOOSE_MXNET = (
    "MXNet is not installed: pip install 'd2l_alexnet[cpu]', "
    "or pip install 'd2l_alexnet[cu112]' for an NVIDIA GPU"
)

# libcublas needs libcublasLt, and libcusolver needs libcublas: the order matters.
CUDA_LIBRARIES = (
    "libcudart.so.11.0",
    "libcublasLt.so.11",
    "libcublas.so.11",
    "libcufft.so.10",
    "libcurand.so.10",
    "libcusolver.so.11",
    "libnvrtc.so.11.2",
    "libnccl.so.2",
    "libnvToolsExt.so.1",
    "libcudnn.so.8",
)


class InputError(ValueError):
    """Bad input, in one line: what is wrong, where, and what to do. Commands exit with status 2."""


class RunError(RuntimeError):
    """A run that cannot go on, in one line: what happened, and what to do. Exit status 1."""


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
        raise ImportError(CHOOSE_MXNET, name=__package__)
    restore_numpy_aliases()
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))
    load_system_libraries()
    if _installed("mxnet-cu112"):
        load_cuda_libraries()


def restore_numpy_aliases():
    """Give NumPy back the four names that it dropped in 1.24 and that MXNet reads at import."""
    if int(np.__version__.split(".")[0]) >= 2:
        raise ImportError(
            f"MXNet 1.9.1 needs NumPy 1, this is {np.__version__}: pip install 'numpy<2'",
            name=__package__,
        )
    for name, builtin in dict(bool=bool, int=int, float=float, object=object).items():
        if name not in vars(np):
            setattr(np, name, builtin)


def usable_cores():
    """Count the physical cores that this process may use.

    MXNet would count processors and halve them, assuming hyper-threads, and would see neither an
    affinity mask nor a container's quota.

    Returns
    -------
    int
        At least 1. Hyper-threads of one core count once; a cgroup quota of 2.5 processors is 2.
    """
    if not hasattr(os, "sched_getaffinity"):  # not Linux
        return os.cpu_count() or 1
    cores = {_hyperthreads(cpu) for cpu in os.sched_getaffinity(0)}
    return max(1, math.floor(min(len(cores), cgroup_quota())))


def _hyperthreads(cpu):
    """Name the core that a processor belongs to by the processors which share it: '0,64'."""
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    return path.read_text().strip() if path.exists() else str(cpu)


def cgroup_quota(membership="/proc/self/cgroup", root="/sys/fs/cgroup"):
    """Read how many processors' worth of time the process's control groups allow.

    Parameters
    ----------
    membership : path
        The file that lists the groups of the process, a line ``id:controllers:path`` each.
    root : path
        Where the groups' file systems, version 1 or 2, are mounted.

    Returns
    -------
    float
        The smallest quota on the way up from the process's groups; infinity where none is set.
    """
    quota = math.inf
    if not Path(membership).exists():
        return quota
    for line in Path(membership).read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = Path(root, controllers)
        group = mount / path.lstrip("/")
        for folder in (group, *group.parents):
            quota = min(quota, _group_quota(folder))
            if folder == mount:
                break
    return quota


def _group_quota(folder):
    """Read one control group's quota in processors: version 2's one file or version 1's two."""
    if (folder / "cpu.max").exists():
        limit, period = (folder / "cpu.max").read_text().split()
    elif (folder / "cpu.cfs_quota_us").exists():
        limit = (folder / "cpu.cfs_quota_us").read_text().strip()
        period = (folder / "cpu.cfs_period_us").read_text()
    else:
        return math.inf
    return math.inf if limit in ("max", "-1") else int(limit) / int(period)


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
                f"MXNet needs {library}: apt-get install {package}", name=__package__
            ) from error


def load_cuda_libraries():
    """Load the CUDA 11 libraries of NVIDIA's wheels, where mxnet-cu112 will then find them.

    What the wheels lack is left to the system's loader, so an installed CUDA 11 works too.
    """
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise ImportError(
            "mxnet-cu112 is installed but no NVIDIA driver (libcuda.so.1): "
            "pip uninstall mxnet-cu112, then pip install 'd2l_alexnet[cpu]'",
            name=__package__,
        ) from error
    nvidia = importlib.util.find_spec("nvidia")
    folders = nvidia.submodule_search_locations if nvidia else []
    for library in CUDA_LIBRARIES:
        for folder in folders:
            for path in Path(folder).glob(f"*/lib/{library}"):
                ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)


def _installed(distribution):
    try:
        return bool(metadata.version(distribution))
    except metadata.PackageNotFoundError:
        return False


def choose_context(name="auto"):
    """Turn ``--ctx`` into an MXNet context, and say why.

    Parameters
    ----------
    name : str
        ``auto`` (the GPU if there is a usable one), ``cpu``, ``gpu`` (``gpu:0``) or ``gpu:N``.

    Returns
    -------
    ctx : mxnet.Context
    why : str
        The reason for the choice, to be printed.

    Raises
    ------
    InputError
        For any other name, and for a GPU that is not there or cannot compute: asking for a GPU
        never falls back to the CPU.
    """
    import mxnet as mx

    if not re.fullmatch(r"auto|cpu|gpu(:\d+)?", name):
        raise InputError(f"--ctx {name}: not a context; choose auto, cpu, gpu or gpu:N")
    if name == "cpu":
        return mx.cpu(), "asked for"
    ctx = mx.gpu(int(name.partition(":")[2] or 0))
    trouble = _gpu_trouble(ctx)
    if not trouble:
        return ctx, "the GPU computes" if name == "auto" else "asked for"
    if name == "auto":
        return mx.cpu(), f"no GPU: {trouble}"
    raise InputError(f"--ctx {name}: {trouble}; use --ctx cpu, or auto")


def _gpu_trouble(ctx):
    """Say in a clause why MXNet cannot compute on this GPU; an empty string if it can."""
    import mxnet as mx

    if not mx.runtime.Features().is_enabled("CUDA"):
        return "this MXNet is the CPU build (pip install 'd2l_alexnet[cu112]' for an NVIDIA GPU)"
    try:
        count = mx.context.num_gpus()
        if ctx.device_id >= count:
            return f"MXNet sees {count} GPUs, counted from gpu:0"
        mx.nd.ones((1,), ctx=ctx).asnumpy()  # the first kernel fails on a GPU newer than the wheel
    except mx.MXNetError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        return (
            f"{ctx} cannot run MXNet's kernels, which need compute capability 5.0 to 8.9 ({reason})"
        )
    return ""
