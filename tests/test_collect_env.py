import os

import pytest

from d2l_alexnet import collect_env


def test_it_names_everything_once(run):
    done = run("collect_env")
    assert (done.returncode, done.stderr) == (0, "")
    names = [line.split(":")[0] for line in done.stdout.splitlines()]
    assert names == [
        "Python",
        "platform",
        "NumPy",
        "MXNet",
        "threads",
        "bfloat16",
        "shared memory",
        "CUDA libraries",
        "GPUs",
        "Fashion-MNIST",
        "CIFAR-10",
        "disk",
    ]
    assert f"{os.environ['OMP_NUM_THREADS']} (OMP_NUM_THREADS)" in done.stdout


@pytest.mark.parametrize(
    ("system", "machine", "state"),
    [
        ("linux", "x86_64", "tested"),
        ("linux", "aarch64", "tested, under emulation only"),
        ("darwin", "x86_64", "not tested"),
    ],
)
def test_it_says_whether_the_platform_was_tested(monkeypatch, system, machine, state):
    monkeypatch.setattr(collect_env.sys, "platform", system)
    monkeypatch.setattr(collect_env.platform, "machine", lambda: machine)
    assert collect_env._platform() == f"{system} {machine}: {state} (docs/install.md)"


def test_it_names_a_file_that_is_damaged_or_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("MXNET_HOME", str(tmp_path))
    clothes, others = tmp_path / "datasets" / "fashion-mnist", tmp_path / "datasets" / "cifar10"
    others.mkdir(parents=True)
    (others / "data_batch_1.bin").write_bytes(b"x")
    seen = collect_env.collect()
    assert seen["Fashion-MNIST"] == f"train-images-idx3-ubyte.gz is not in {clothes}"
    expected = f"{others}/data_batch_1.bin: expected 30,730,000 bytes, found 1; "
    assert seen["CIFAR-10"].startswith(expected)
