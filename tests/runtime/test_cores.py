import math
import subprocess

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


def test_affinity_mask_is_respected(python):
    code = f"import os; os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}}); {THREADS}"
    assert python(code).stdout == "1\n"


def test_own_setting_of_threads_is_obeyed(python):
    assert python(THREADS, OMP_NUM_THREADS="3").stdout == "3\n"


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


def test_quota_below_one_processor_still_computes(monkeypatch):
    monkeypatch.setattr(cores, "cgroup_quota", lambda: 0.5)
    assert cores.usable_cores() == 1
