import math
import os
import subprocess
from pathlib import Path

import pytest

from d2l_alexnet.runtime import cores

THREADS = "import d2l_alexnet, os; print(os.environ['OMP_NUM_THREADS'])"


def test_mxnet_gets_all_physical_cores(python):
    assert int(python(THREADS).stdout) == cores.usable_cores()
    done = subprocess.run(
        ["lscpu", "-p=CORE,SOCKET"], stdout=subprocess.PIPE, text=True, check=True
    )
    physical = {line for line in done.stdout.splitlines() if not line.startswith("#")}
    assert cores.usable_cores() <= len(physical)


@pytest.fixture
def four_cores(tmp_path, monkeypatch):
    """Let this machine have four cores with two hyper-threads each: 0 and 4, 1 and 5, and so on."""
    for cpu in range(8):
        topology = tmp_path / f"sys/devices/system/cpu/cpu{cpu}/topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
    monkeypatch.setattr(cores, "Path", lambda path: tmp_path / Path(path).relative_to("/"))
    monkeypatch.setattr(cores, "cgroup_quota", lambda: math.inf)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8))


@pytest.mark.parametrize(
    ("processors", "expected"), [(range(8), 4), ([0, 1, 2], 3), ([1, 5], 1), ([0, 900, 901], 3)]
)
def test_hyperthreads_of_a_core_count_once(four_cores, monkeypatch, processors, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: processors if pid == 0 else [])
    assert cores.usable_cores() == expected  # Linux does not know the siblings of 900 and 901


@pytest.mark.parametrize(("quota", "expected"), [(0.5, 1), (1.9, 1), (2.5, 2), (9, 4)])
def test_a_quota_is_rounded_down_to_whole_cores(four_cores, monkeypatch, quota, expected):
    monkeypatch.setattr(cores, "cgroup_quota", lambda: quota)
    assert cores.usable_cores() == expected


@pytest.mark.parametrize(("workers", "expected"), [(None, 4), ("1", 4), ("3", 1), ("9", 1)])
def test_workers_on_one_host_share_its_cores(four_cores, monkeypatch, workers, expected):
    monkeypatch.delenv(cores.WORKERS_ON_HOST, raising=False)
    if workers:
        monkeypatch.setenv(cores.WORKERS_ON_HOST, workers)
    assert cores.default_threads() == expected


@pytest.mark.parametrize(("counted", "expected"), [(6, 6), (None, 1)])
def test_where_there_is_no_affinity_mask_all_processors_count(monkeypatch, counted, expected):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: counted)
    assert cores.usable_cores() == expected


def test_affinity_mask_is_respected(python):
    code = f"import os; os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}}); {THREADS}"
    assert python(code).stdout == "1\n"


def test_own_setting_of_threads_is_obeyed(python):
    assert python(THREADS, OMP_NUM_THREADS="3").stdout == "3\n"


@pytest.mark.parametrize("setting", ["", "0", "-1", "abc", "2,"])
def test_a_setting_that_is_no_number_of_threads_is_none(python, setting):
    assert int(python(THREADS, OMP_NUM_THREADS=setting).stdout) >= 1


def test_a_list_of_threads_is_obeyed(python):
    assert python(THREADS, OMP_NUM_THREADS="3, 2").stdout == "3, 2\n"


@pytest.mark.parametrize(
    ("own", "above", "expected"),
    [
        ("max 100000", None, math.inf),
        ("250000 100000", None, 2.5),
        ("max 100000", "150000 100000", 1.5),
        ("50000 100000", "400000 100000", 0.5),
    ],
)
def test_quota_of_control_groups_version_2(tmp_path, own, above, expected):
    group = tmp_path / "fs" / "slice" / "job"
    group.mkdir(parents=True)
    (group / "cpu.max").write_text(own + "\n")
    if above:
        (group.parent / "cpu.max").write_text(above + "\n")
    (tmp_path / "cgroup").write_text("0::/slice/job\n")
    assert cores.cgroup_quota(tmp_path / "cgroup", tmp_path / "fs") == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", math.inf), ("300000", 3.0)])
def test_quota_of_control_groups_version_1(tmp_path, quota, expected):
    group = tmp_path / "fs" / "cpu,cpuacct"  # in a container its own group is mounted at the top
    group.mkdir(parents=True)
    (group / "cpu.cfs_quota_us").write_text(quota + "\n")
    (group / "cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "cgroup").write_text("5:memory:/host/path\n4:cpu,cpuacct:/host/path\n")
    assert cores.cgroup_quota(tmp_path / "cgroup", tmp_path / "fs") == expected


def test_the_smallest_quota_of_all_groups_counts(tmp_path):
    """Also if it is not the last, and what is above the mount is nobody's group."""
    for folder, quota in (("fs/a:b", "300000"), ("fs", "200000"), (".", "100000")):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "cpu.max").write_text(f"{quota} 100000\n")
    (tmp_path / "cgroup").write_text("1:name=systemd:/a:b\n0::/a:b\n")
    assert cores.cgroup_quota(tmp_path / "cgroup", tmp_path / "fs") == 2


def test_a_group_of_another_controller_has_no_quota(tmp_path):
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "cpu.max").write_text("100000 100000\n")
    (tmp_path / "cgroup").write_text("2:memory:/\n")
    assert cores.cgroup_quota(tmp_path / "cgroup", tmp_path) == math.inf


def test_without_control_groups_there_is_no_quota(tmp_path):
    assert cores.cgroup_quota(tmp_path / "none", tmp_path) == math.inf
