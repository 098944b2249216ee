"""GPUs without a GPU: recorded answers, and a stand-in for NVIDIA's driver built by the test."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from d2l_alexnet.errors import InputError
from d2l_alexnet.runtime import bootstrap, devices, gpus
from d2l_alexnet.runtime.gpus import GPU

STAND_IN = """
#include <string.h>
int cuInit(unsigned flags) { return %(status)d; }
int cuGetErrorString(int status, const char **text) { *text = "no CUDA-capable device"; return 0; }
int cuDriverGetVersion(int *version) { *version = 12040; return 0; }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuDeviceGetName(char *name, int length, int device) {
    strncpy(name, device ? "NVIDIA H200" : "Tesla T4", length);
    return 0;
}
int cuDeviceTotalMem_v2(unsigned long *bytes, int device) { *bytes = 15ul << 30; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? (device ? 9 : 7) : (device ? 0 : 5);
    return 0;
}
"""
needs_compiler = pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")


def build(folder, library, code=""):
    """Build a stand-in for a shared library."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(folder / library)]
    subprocess.run(command, input=code, text=True, check=True)


@pytest.fixture
def stand_in_driver(tmp_path, monkeypatch):
    """Give a function that makes child processes find a driver with two GPUs."""

    def make(status=0):
        build(tmp_path / "driver", gpus.DRIVER, STAND_IN % dict(status=status))
        monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path / "driver"))

    return make


@pytest.mark.parametrize(
    ("name", "capability", "runs"),
    [
        ("Tesla K80", (3, 7), False),
        ("NVIDIA GeForce GTX 1080", (6, 1), True),
        ("Tesla V100-SXM2-16GB", (7, 0), True),
        ("Tesla T4", (7, 5), True),
        ("NVIDIA A100-SXM4-40GB", (8, 0), True),
        ("NVIDIA GeForce RTX 3090", (8, 6), True),
        ("NVIDIA GeForce RTX 4090", (8, 9), True),
        ("NVIDIA H100 80GB HBM3", (9, 0), False),
        ("NVIDIA GeForce RTX 5090", (12, 0), False),
    ],
)
def test_the_wheel_runs_on_maxwell_to_ada(name, capability, runs):
    reason = GPU(name, capability, 16_000, (12, 4)).unsupported_reason()
    if runs:
        assert reason == ""
    else:
        assert reason.startswith(f"the {name} has compute capability {capability[0]}.")
        assert "supports compute capability 5.0 to 8.9 only" in reason


def test_an_old_driver_is_named():
    reason = GPU("Tesla T4", (7, 5), 15_000, (10, 2)).unsupported_reason()
    assert "the driver supports CUDA up to 10.2" in reason
    assert reason.endswith("install a newer driver")


@pytest.mark.skipif(gpus.find()[0] != [], reason="this machine has a GPU")
def test_without_a_driver_the_reason_is_given():
    found, reason = gpus.find()
    assert found == []
    assert reason


@needs_compiler
def test_the_driver_is_asked_in_another_process(stand_in_driver):
    stand_in_driver()
    found, reason = gpus.find()
    assert found == [
        GPU("Tesla T4", (7, 5), 15 * 1024, (12, 4)),
        GPU("NVIDIA H200", (9, 0), 15 * 1024, (12, 4)),
    ]
    assert reason == ""


@needs_compiler
def test_a_driver_that_fails_is_quoted(stand_in_driver):
    stand_in_driver(status=100)
    assert gpus.find() == ([], "no GPU: no CUDA-capable device")


def test_a_driver_that_does_not_answer_and_a_python_that_cannot_start_are_reasons(monkeypatch):
    monkeypatch.setattr(gpus, "SECONDS", 0)
    found, reason = gpus.find()
    assert found == []
    assert re.match("the NVIDIA driver query failed .Command .* timed out after 0 seconds", reason)
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    assert "No such file or directory: '/no/such/python'" in gpus.find()[1]


@needs_compiler
def test_a_gpu_too_new_a_gpu_not_there_and_a_build_without_cuda_are_refused(stand_in_driver):
    stand_in_driver()
    for name, reason in {
        "gpu:1": "the NVIDIA H200 has compute capability 9.0; MXNet 1.9.1 supports compute ",
        "gpu:2": "the last GPU is gpu:1",
    }.items():
        with pytest.raises(InputError, match=f"^--ctx {name}: {reason}.*; use --ctx cpu"):
            devices.choose_context(name)
    if not bootstrap._installed("mxnet-cu112"):
        with pytest.raises(InputError, match="there is a .*, but this MXNet is the CPU build"):
            devices.choose_context("gpu:0")


@needs_compiler
def test_missing_cuda_libraries_are_named_all_at_once_with_their_packages(tmp_path):
    """In a process of its own, as libraries once loaded stay loaded."""
    build(tmp_path / "driver", gpus.DRIVER)
    wheels = tmp_path / "nvidia"
    missing = ("libcublas.so.11", "libnccl.so.2")
    for library in bootstrap.CUDA_LIBRARIES:
        if library not in missing:
            build(wheels / library.split(".")[0] / "lib", library)
    code = (
        "from d2l_alexnet.runtime import bootstrap; "
        f"bootstrap.load_cuda_libraries([{str(wheels)!r}])"
    )
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path / "driver")}

    def load():
        done = subprocess.run(
            [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, env=environment
        )
        return done.stderr.splitlines()[-1:]

    assert load() == [
        "ImportError: mxnet-cu112 needs libcublas.so.11, libnccl.so.2: "
        "pip install 'nvidia-cublas-cu11' 'nvidia-nccl-cu11'"
    ]
    build(wheels / "nccl" / "lib", "libnccl.so.2")
    build(tmp_path / "driver", "libcublas.so.11")  # as if CUDA were installed on the system
    assert load() == []


@pytest.mark.skipif(gpus.find()[0] != [], reason="this machine has a GPU")
def test_cuda_libraries_without_a_driver_point_to_the_cpu_build():
    with pytest.raises(ImportError, match=r"no NVIDIA driver .*pip install 'd2l_alexnet\[cpu\]'"):
        bootstrap.load_cuda_libraries()


def test_both_mxnets_in_one_environment_are_noticed(tmp_path):
    for name in ("mxnet", "mxnet_cu112"):
        info = tmp_path / f"{name}-1.9.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {name}\nVersion: 1.9.1\n")
    done = subprocess.run(
        [sys.executable, "-m", "d2l_alexnet.shapes"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "mxnet and mxnet-cu112 are both installed" in done.stderr


@pytest.mark.skipif(sys.version_info < (3, 10), reason="needs sys.stdlib_module_names")
def test_no_file_beside_the_script_hides_a_standard_module():
    names = {path.stem for path in Path(gpus.__file__).parent.glob("*.py")}
    assert "gpus" in names
    assert not names & sys.stdlib_module_names
