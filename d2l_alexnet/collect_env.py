"""All that a bug report needs to say of a machine: ``python -m d2l_alexnet.collect_env``."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

import mxnet as mx
import numpy as np

from d2l_alexnet import cli
from d2l_alexnet.data import DATA_SETS
from d2l_alexnet.runtime import bootstrap, cores, gpus

SHARED_MEMORY = Path("/dev/shm")


def diagnose():
    """Look at everything that decides whether, where and how fast a net trains here.

    Returns
    -------
    dict of str to str
        What was looked at, and what was seen.
    """
    return {
        "Python": f"{platform.python_version()} on {platform.platform()}",
        "NumPy": np.__version__,
        "MXNet": _mxnet(),
        "threads": _threads(),
        "shared memory": _space(SHARED_MEMORY) if SHARED_MEMORY.exists() else "none",
        "CUDA libraries": _cuda_libraries(),
        "GPUs": _gpus(),
        **{dataset.title: dataset.status() for dataset in DATA_SETS.values() if dataset.status},
        "disk": _space(Path.cwd()),
    }


def _mxnet():
    cuda = "for CUDA" if mx.runtime.Features().is_enabled("CUDA") else "for the CPU"
    return f"{mx.__version__}, the build {cuda}, in {Path(mx.__file__).parent}"


def _threads():
    quota = cores.cgroup_quota()
    return (
        f"{os.environ.get('OMP_NUM_THREADS')} (OMP_NUM_THREADS); usable cores: "
        f"{cores.usable_cores()} of {os.cpu_count()} processors, affinity mask of "
        f"{len(os.sched_getaffinity(0))}, control group's quota {quota:g}"
    )


def _space(folder):
    usage = shutil.disk_usage(folder)
    return f"{folder}: {usage.free / 2**30:.1f} of {usage.total / 2**30:.1f} GiB free"


def _cuda_libraries():
    try:
        bootstrap.load_cuda_libraries()
    except ImportError as error:
        return str(error) if mx.runtime.Features().is_enabled("CUDA") else "not needed"
    return f"all {len(bootstrap.CUDA_LIBRARIES)} load"


def _gpus():
    found, trouble = gpus.find()
    return "; ".join(f"{gpu} ({gpu.trouble() or 'usable'})" for gpu in found) or trouble


def main(argv=None):
    """Print it."""
    cli.Parser("collect_env", "Say all that a bug report needs to say of a machine.").parse_args(argv)
    for name, seen in diagnose().items():
        print(f"{name + ':':16}{seen}")


if __name__ == "__main__":
    cli.run(main)
