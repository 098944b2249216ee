"""Print hardware and versions for a bug report: ``python -m d2l_alexnet.collect_env``."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Sequence

import mxnet as mx
import numpy as np

from d2l_alexnet import cli, precision
from d2l_alexnet.data import DATA_SETS
from d2l_alexnet.runtime import bootstrap, cores, gpus

SHARED_MEMORY = Path("/dev/shm")
TESTED = {"linux x86_64": "tested", "linux aarch64": "tested, under emulation only"}


def collect() -> dict[str, str]:
    """Collect the hardware and versions that training on this machine depends on.

    Returns
    -------
    dict of str to str
        Descriptions by name.
    """
    return {
        "Python": f"{platform.python_version()} on {platform.platform()}",
        "platform": _platform(),
        "NumPy": np.__version__,
        "MXNet": _mxnet(),
        "threads": _threads(),
        "bfloat16": precision.bfloat16_unsupported_reason() or "this CPU computes in it",
        "shared memory": _space(SHARED_MEMORY) if SHARED_MEMORY.exists() else "none",
        "CUDA libraries": _cuda_libraries(),
        "GPUs": _gpus(),
        **{dataset.title: dataset.status() for dataset in DATA_SETS.values() if dataset.status},
        "disk": _space(Path.cwd()),
    }


def _platform() -> str:
    name = f"{sys.platform} {platform.machine()}"
    return f"{name}: {TESTED.get(name, 'not tested')} (docs/install.md)"


def _mxnet() -> str:
    cuda = "for CUDA" if mx.runtime.Features().is_enabled("CUDA") else "for the CPU"
    return f"{mx.__version__}, the build {cuda}, in {Path(mx.__file__).parent}"


def _threads() -> str:
    quota = cores.cgroup_quota()
    return (
        f"{os.environ.get('OMP_NUM_THREADS')} (OMP_NUM_THREADS); usable cores: "
        f"{cores.usable_cores()} of {os.cpu_count()} processors, affinity mask "
        f"{len(os.sched_getaffinity(0))}, cgroup quota {quota:g}"
    )


def _space(folder: Path) -> str:
    usage = shutil.disk_usage(folder)
    return f"{folder}: {usage.free / 2**30:.1f} of {usage.total / 2**30:.1f} GiB free"


def _cuda_libraries() -> str:
    try:
        bootstrap.load_cuda_libraries()
    except ImportError as error:
        return str(error) if mx.runtime.Features().is_enabled("CUDA") else "not needed"
    return f"all {len(bootstrap.CUDA_LIBRARIES)} can be loaded"


def _gpus() -> str:
    found, reason = gpus.find()
    return "; ".join(f"{gpu} ({gpu.unsupported_reason() or 'usable'})" for gpu in found) or reason


def main(argv: Sequence[str] | None = None) -> None:
    """Print what `collect` returns, one line each."""
    description = "Print the hardware and versions that a bug report needs."
    cli.Parser("collect_env", description).parse_args(argv)
    for name, text in collect().items():
        print(f"{name + ':':16}{text}")


if __name__ == "__main__":
    cli.run(main)
