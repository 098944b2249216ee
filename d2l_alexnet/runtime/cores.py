"""How many cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path


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
