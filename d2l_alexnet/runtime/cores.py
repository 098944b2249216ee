"""How many cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

WORKERS_ON_HOST = "D2L_WORKERS_ON_HOST"  # set by the launcher of a distributed run


def default_threads() -> int:
    """Return how many threads MXNet gets if OMP_NUM_THREADS is not set: this worker's cores."""
    return max(1, usable_cores() // int(os.environ.get(WORKERS_ON_HOST, "1")))


def usable_cores() -> int:
    """Count the physical cores that this process may use.

    MXNet itself takes half of the logical processors, because it assumes hyper-threads. It ignores
    the affinity mask and the container's quota.

    Returns
    -------
    int
        At least 1. The hyper-threads of one core count once. A cgroup quota of 2.5 processors
        gives 2.
    """
    if not hasattr(os, "sched_getaffinity"):  # not Linux
        return os.cpu_count() or 1
    cores = {_hyperthreads(cpu) for cpu in os.sched_getaffinity(0)}
    return max(1, math.floor(min(len(cores), cgroup_quota())))


def _hyperthreads(cpu: int) -> str:
    """Return the list of processors that share a core with this one, such as '0,64'."""
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    return path.read_text().strip() if path.exists() else str(cpu)


def cgroup_quota(
    membership: str | Path = "/proc/self/cgroup", root: str | Path = "/sys/fs/cgroup"
) -> float:
    """Read the CPU quota of the process's control groups, in processors.

    Parameters
    ----------
    membership : path
        The file that lists the process's groups, one line ``id:controllers:path`` per group.
    root : path
        Where the cgroup file systems, version 1 or 2, are mounted.

    Returns
    -------
    float
        The smallest quota of the process's groups and their parents; infinity if none is set.
    """
    quota: float = math.inf
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


def _group_quota(folder: Path) -> float:
    """Read the quota of one control group, in processors. Version 1 has two files for it."""
    if (folder / "cpu.max").exists():
        limit, period = (folder / "cpu.max").read_text().split()
    elif (folder / "cpu.cfs_quota_us").exists():
        limit = (folder / "cpu.cfs_quota_us").read_text().strip()
        period = (folder / "cpu.cfs_period_us").read_text()
    else:
        return math.inf
    return math.inf if limit in ("max", "-1") else int(limit) / int(period)
