import math
import os
import subprocess
import sys

import mxnet as mx
import numpy as np
import pytest

from d2l_alexnet import runtime

THREADS = "import d2l_alexnet, os; print(os.environ['OMP_NUM_THREADS'])"


def test_plain_mxnet_import_works_after_the_package(python):
    done = python("import d2l_alexnet, mxnet; print(mxnet.nd.ones((2,)).sum().asscalar())")
    assert (done.returncode, done.stdout, done.stderr) == (0, "2.0\n", "")


def test_aliases_that_numpy_dropped_are_back(monkeypatch):
    for name in ("bool", "int", "float", "object"):
        monkeypatch.delitem(vars(np), name)
    runtime.restore_numpy_aliases()
    assert (np.bool, np.int, np.float, np.object) == (bool, int, float, object)


def test_numpy_2_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(np, "__version__", "2.1.0")
    with pytest.raises(ImportError, match=r"^MXNet 1.9.1 needs NumPy 1, .*pip install 'numpy<2'$"):
        runtime.restore_numpy_aliases()


def test_mxnet_gets_all_physical_cores(python):
    assert int(python(THREADS).stdout) == runtime.usable_cores()
    done = subprocess.run(
        ["lscpu", "-p=CORE,SOCKET"], stdout=subprocess.PIPE, text=True, check=True
    )
    cores = {line for line in done.stdout.splitlines() if not line.startswith("#")}
    assert runtime.usable_cores() <= len(cores)


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
    assert runtime.cgroup_quota(tmp_path / "cgroup", tmp_path / "fs") == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", math.inf), ("300000", 3.0)])
def test_quota_of_control_groups_version_1(tmp_path, quota, expected):
    group = tmp_path / "fs" / "cpu,cpuacct"  # in a container its own group is mounted at the top
    group.mkdir(parents=True)
    (group / "cpu.cfs_quota_us").write_text(quota + "\n")
    (group / "cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "cgroup").write_text("5:memory:/host/path\n4:cpu,cpuacct:/host/path\n")
    assert runtime.cgroup_quota(tmp_path / "cgroup", tmp_path / "fs") == expected


def test_quota_below_one_processor_still_computes(monkeypatch):
    monkeypatch.setattr(runtime, "cgroup_quota", lambda: 0.5)
    assert runtime.usable_cores() == 1


def test_mxnet_imported_first_is_said_once(python):
    restore = "import numpy as np; np.bool, np.int, np.float, np.object = bool, int, float, object"
    done = python(f"{restore}; import mxnet; import d2l_alexnet, d2l_alexnet.nets")
    assert done.returncode == 0
    assert done.stderr.count("mxnet was imported before d2l_alexnet") == 1


def test_without_mxnet_one_line_names_both_commands(tmp_path):
    hide = "import importlib.util as u; f = u.find_spec"
    (tmp_path / "sitecustomize.py").write_text(
        f"{hide}; u.find_spec = lambda name, *rest: None if name == 'mxnet' else f(name, *rest)"
    )
    done = subprocess.run(
        [sys.executable, "-m", "d2l_alexnet.train"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "d2l_alexnet[cpu]" in done.stderr
    assert "d2l_alexnet[cu112]" in done.stderr


def test_missing_system_library_is_named_with_its_package(monkeypatch):
    def not_there(library):
        raise OSError(library)

    monkeypatch.setattr(runtime.ctypes, "CDLL", not_there)
    with pytest.raises(ImportError, match="needs libgomp.so.1: apt-get install libgomp1"):
        runtime.load_system_libraries()


def test_cpu_context():
    assert runtime.choose_context("cpu") == ([mx.cpu()], "asked for")


def test_several_contexts():
    assert runtime.choose_context("cpu:1")[0] == [mx.cpu(1)]
    assert runtime.choose_context("cpu:0,2")[0] == [mx.cpu(0), mx.cpu(2)]
    with pytest.raises(runtime.InputError, match="^--ctx cpu:0,1,0: names a device twice$"):
        runtime.choose_context("cpu:0,1,0")


@pytest.mark.parametrize("name", ["tpu", "gpu:", "gpu:x", "cpu:1,", "cpu:,1", "gpu:0;1", "GPU", ""])
def test_unknown_context_is_refused(name):
    with pytest.raises(runtime.InputError, match="not a context; choose auto, cpu, gpu"):
        runtime.choose_context(name)


@pytest.mark.skipif(mx.context.num_gpus() > 0, reason="this machine has a GPU")
@pytest.mark.parametrize("name", ["gpu", "gpu:0", "gpu:7"])
def test_gpu_without_one_is_refused_not_replaced(name):
    with pytest.raises(runtime.InputError, match=f"^--ctx {name}: .*; use --ctx cpu, or auto$"):
        runtime.choose_context(name)


@pytest.mark.skipif(mx.context.num_gpus() > 0, reason="this machine has a GPU")
def test_auto_without_a_gpu_is_the_cpu_and_says_why():
    ctx, why = runtime.choose_context("auto")
    assert ctx == [mx.cpu()]
    assert why.startswith("no GPU: ")


@pytest.mark.skipif(mx.context.num_gpus() == 0, reason="needs a GPU")
def test_auto_takes_the_gpu():
    assert runtime.choose_context("auto")[0] == [mx.gpu(0)]
