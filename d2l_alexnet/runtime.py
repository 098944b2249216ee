"""What must happen before MXNet loads, and which device it then computes on.

``python -m d2l_alexnet.runtime`` prints all of it, for a bug report.

MXNet 1.9.1 is the last release. Everything here is what it takes to import it, and to let it use
the whole machine, years later.
"""

from __future__ import annotations

import contextlib
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

from d2l_alexnet import gpus

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
    if "DMLC_ROLE" in os.environ:  # one of the processes of a distributed run
        from d2l_alexnet import rendezvous

        rendezvous.prepare()
    if importlib.util.find_spec("mxnet") is None:
        raise ImportError(CHOOSE_MXNET, name=__package__)
    restore_numpy_aliases()
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))
    load_system_libraries()
    if _installed("mxnet-cu112"):
        if _installed("mxnet"):
            raise ImportError(BOTH_MXNETS, name=__package__)
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
            name=__package__,
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
            f"mxnet-cu112 needs {', '.join(missing)}: pip install {packages}", name=__package__
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


def choose_context(name="auto"):
    """Turn ``--ctx`` into an MXNet context, and say why.

    Parameters
    ----------
    name : str
        ``auto`` (the GPU if there is a usable one), ``cpu``, ``gpu`` (``gpu:0``), ``gpu:N``, or
        several, ``gpu:0,1``. ``cpu:0,1`` is for trying that out: the same cores twice.

    Returns
    -------
    ctx : list of mxnet.Context
    why : str
        The reason for the choice, to be printed.

    Raises
    ------
    InputError
        For any other name, and for a GPU that is not there or cannot compute: asking for a GPU
        never falls back to the CPU.
    """
    import mxnet as mx

    if not re.fullmatch(r"auto|(cpu|gpu)(:\d{1,3}(,\d{1,3})*)?", name):
        raise InputError(f"--ctx {name}: not a context; choose auto, cpu, gpu, gpu:N or gpu:N,M")
    if name == "auto":
        trouble = _gpu_trouble(mx.gpu())
        return ([mx.cpu()], f"no GPU: {trouble}") if trouble else ([mx.gpu()], "the GPU computes")
    kind, _, numbers = name.partition(":")
    ctx = [mx.Context(kind, int(number)) for number in (numbers or "0").split(",")]
    if len(set(ctx)) < len(ctx):
        raise InputError(f"--ctx {name}: names a device twice")
    for each in ctx:
        trouble = _gpu_trouble(each) if kind == "gpu" else ""
        if trouble:
            raise InputError(f"--ctx {name}: {trouble}; use --ctx cpu, or auto")
    return ctx, "asked for"


def _gpu_trouble(ctx):
    """Say in a clause why MXNet cannot compute on this GPU; an empty string if it can."""
    import mxnet as mx

    found, trouble = gpus.find()
    if trouble:
        return trouble
    if ctx.device_id >= len(found):
        return f"there are {len(found)} GPUs, counted from gpu:0"
    trouble = found[ctx.device_id].trouble()
    if trouble:
        return trouble
    if not mx.runtime.Features().is_enabled("CUDA"):
        return (
            f"this MXNet is the CPU build, and there is a {found[ctx.device_id].name}: "
            "pip uninstall mxnet, then pip install 'd2l_alexnet[cu112]'"
        )
    try:
        mx.nd.ones((1,), ctx=ctx).asnumpy()
    except mx.MXNetError as error:
        return str(error).strip().splitlines()[-1].strip()
    return ""


@contextlib.contextmanager
def naming_lack_of_memory(ctx, batch_size):
    """Turn MXNet's pages about memory that ran out into one line.

    Raises
    ------
    RunError
        When memory has run out; other errors pass.
    """
    import mxnet as mx

    try:
        yield
    except mx.MXNetError as error:
        if not re.search(r"out of memory|[Aa]llocat|ALLOC_FAILED", str(error)):
            raise
        raise RunError(
            f"{ctx} ran out of memory with batches of {batch_size} images, "
            f"{_free_memory(ctx) / 2**30:.1f} GiB are free; use a smaller --batch-size or --resize"
        ) from error


def _free_memory(ctx):
    """Ask how many bytes a device has left."""
    if ctx.device_type == "gpu":
        import mxnet as mx

        return mx.context.gpu_memory_info(ctx.device_id)[0]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    from d2l_alexnet import cli, diagnosis

    cli.run(diagnosis.main)
