import dataclasses
import json
import resource
import sys

import mxnet as mx
import numpy as np
import pytest

from d2l_alexnet import cli, train
from d2l_alexnet.build import build_net
from d2l_alexnet.callbacks.progress import lecture_line
from d2l_alexnet.data.load import load_data, load_data_fashion_mnist
from d2l_alexnet.errors import InputError
from d2l_alexnet.history import read_history
from d2l_alexnet.metrics import evaluate_accuracy
from d2l_alexnet.options import RunOptions
from d2l_alexnet.recipes import LECTURE, QUICK

TINY = dataclasses.replace(QUICK, resize=67, train_size=200, batch_size=32, warmup_steps=0)
CONVNET = dataclasses.replace(TINY, net="convnet_cifar10", resize=28, lr=0.01)  # ten times as fast


def weights(folder):
    return {k: v.asnumpy() for k, v in mx.nd.load(str(folder / "net.params")).items()}


def test_what_is_announced_is_written_at_once(monkeypatch, capsys, tmp_path):
    """A pipe may be closed after its first line."""
    monkeypatch.setattr(train.precision, "unsupported_reason", lambda *_: "")
    flushed = []
    monkeypatch.setattr(sys.stdout, "flush", lambda: flushed.append(True))
    train.announce(LECTURE, [mx.gpu(0)], "chosen with --ctx", tmp_path)
    assert len(flushed) == 1
    assert capsys.readouterr().out.count("\n") == 3


def test_a_small_net_learns(small_data, tmp_path):
    recipe = dataclasses.replace(CONVNET, num_epochs=4)
    history = train.train(recipe, num_workers=0, out=tmp_path / "run")
    assert history[-1]["loss"] < history[0]["loss"] * 0.8
    assert history[-1]["running_train_accuracy"] > 0.25


def test_on_a_cpu_the_same_seed_gives_the_same_net_whatever_the_workers(small_data, tmp_path):
    for name, seed, num_workers in (("a", 3, 0), ("b", 3, 2), ("c", 4, 0)):
        options = RunOptions("cpu", seed, num_workers, out=tmp_path / name)
        train.train(dataclasses.replace(CONVNET, dropout=0.5), options)
    a, b, c = (weights(tmp_path / name) for name in "abc")
    assert all((a[key] == b[key]).all() for key in a)
    assert any((a[key] != c[key]).any() for key in a)


def test_the_run_folder(small_data, tmp_path):
    history = train.train(CONVNET, ctx="cpu", seed=7, out=tmp_path / "new" / "run")
    folder = tmp_path / "new" / "run"
    assert sorted(path.name for path in folder.iterdir()) == [
        "args.json",
        "checkpoint-000000007.npz",
        "curves.png",
        "history.jsonl",
        "losses.png",
        "losses.txt",
        "net.params",
    ]
    assert len(np.loadtxt(folder / "losses.txt")) == 7
    assert read_history(folder / "history.jsonl") == history
    assert set(history[0]) == {
        "epoch",
        "loss",
        "running_train_accuracy",
        "test_accuracy",
        "learning_rate",
        "seconds",
        "images_per_second",
        "seconds_waiting_for_data",
    }
    assert 0 < history[0]["seconds_waiting_for_data"] < history[0]["seconds"]
    settings = json.loads((folder / "args.json").read_text())
    assert settings["recipe"]["batch_size"] == 32
    assert (settings["seed"], settings["ctx"]) == (7, "cpu(0)")
    assert settings["mxnet"] == mx.__version__
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (dict(batch_size=0), "batch_size is 0, not a whole number"),
        (dict(batch_size=np.int64(8)), "batch_size is .*8.*, not a whole number"),
        (dict(lr=float("nan")), "lr is nan, not a number"),
        (dict(net="resnet"), "there is no net 'resnet'"),
        (dict(optimizer="magic"), "MXNet cannot use optimizer 'magic'"),
        (dict(plateau=dict(factor=0.1), data="cifar10"), "plateau and decay both set the "),
        (dict(warmup_steps=2, decay=False), "warmup_steps is 2, but the learning rate warms up "),
    ],
)
def test_a_recipe_of_a_python_caller_is_checked_too(tmp_path, change, why):
    with pytest.raises(InputError, match=f"^{why}"):
        train.train(dataclasses.replace(TINY, **change), ctx="cpu", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (dict(seed=-1), "seed is -1, not a whole number"),
        (dict(num_workers=True), "num_workers is True, not a whole number"),
        (dict(checkpoint_minutes=0), "checkpoint_minutes is 0, not a number that is above 0"),
        (dict(ctx=None), "ctx is None, not a string"),
    ],
)
def test_options_of_a_python_caller_are_checked_too(tmp_path, options, why):
    with pytest.raises(InputError, match=f"^{why}"):
        train.train(TINY, **options, out=tmp_path / "run")


def test_the_saved_weights_are_those_that_were_tested(small_data, tmp_path):
    (row,) = train.train(CONVNET, ctx="cpu", out=tmp_path / "run")
    net = build_net(CONVNET)
    net.load_parameters(str(tmp_path / "run" / "net.params"))
    _, test_iter = load_data_fashion_mnist(32, resize=28, num_workers=0)
    accuracy = evaluate_accuracy(net, test_iter, [mx.cpu()])
    assert accuracy == row["test_accuracy"]


@pytest.mark.slow
def test_command_trains_and_tests_on_all_images(run, tmp_path, fashion_mnist):
    out = tmp_path / "run"
    settings = ("--recipe", "quick", "--resize", 67, "--train-size", 480, "--tensorboard")
    done = run("train", *settings, "--out", out)
    assert done.returncode == 0, done.stderr
    assert len(list((out / "tensorboard").iterdir())) == 1
    chosen, *_, line = lines = done.stdout.splitlines()
    assert chosen.startswith("Recipe quick on ")
    assert sum(each.startswith("An epoch of 480 images takes about ") for each in lines) == 1
    (row,) = read_history(out / "history.jsonl")
    assert line == lecture_line(row)
    correct = row["test_accuracy"] * 10_000
    assert correct == pytest.approx(round(correct))
    assert row["test_accuracy"] > 0.25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "slow"], "argument --recipe: invalid choice: 'slow'"),
        (
            ["--dtype", "float16", "--ctx", "cpu"],
            "--dtype float16: float16 is for GPUs; use --ctx gpu, or",
        ),
        (["--ctx", "cpu:12345"], "--ctx cpu:12345: not a device; choose auto, cpu, gpu, "),
        (["--resume", "a", "--out", "b"], "--out b: a run is resumed in its own folder; omit"),
        (["--out", "long" * 100], "File name too long; choose another folder"),
        (["--ctx", "tpu"], "--ctx tpu: not a device; choose auto, cpu, gpu, gpu:N or gpu:N,M"),
        (["--epochs", "0"], "argument --epochs: '0' is not a whole number that is at least 1"),
        (
            ["--batch-size", "-3"],
            "--batch-size: '-3' is not a whole number that is at least 1",
        ),
        (["--lr", "0"], "argument --lr: '0' is not a number that is at least 1e-30"),
        (["--lr", "1e39"], "argument --lr: '1e39' is not a number that is at least 1e-30 and at "),
        (["--lr", "nan"], "argument --lr: 'nan' is not a number that is at least 1e-30"),
        (
            ["--train-size", "60001"],
            "--train-size 60001: there are 60,000 training images in fashion-mnist",
        ),
        (["--num-workers", "-1"], "'-1' is not a whole number that is at least 0"),
        (["--seed", "x"], "argument --seed: 'x' is not a whole number that is at least 0 and "),
        (
            ["--resize", "66"],
            "--resize 66: input (1, 1, 66, 66) does not fit the net; the smallest",
        ),
        (["--frobnicate"], "unrecognized arguments: --frobnicate"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda: train.main(arguments))
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert message in said.err
    assert (said.out, len(said.err.splitlines())) == ("", 1)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(mx.context.num_gpus() > 0, reason="this machine has a GPU")
def test_command_refuses_a_gpu_that_is_not_there(run, tmp_path):
    done = run("train", "--ctx", "gpu", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("d2l_alexnet: --ctx gpu: ")
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_run_folder_with_something_in_it_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine").write_text("my own")
    for out, why in ((tmp_path, "not empty"), (tmp_path / "mine", "there is a file of that name")):
        with pytest.raises(InputError, match=f"^--out {out}: {why}; choose a new folder$"):
            train.train(TINY, out=out)
    assert (tmp_path / "mine").read_text() == "my own"


@pytest.mark.parametrize("out", ["/proc/run", "file/run"])
def test_a_run_folder_that_cannot_be_written_is_refused(out, small_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=f"^--out {out}: cannot write "):
        train.train(TINY, num_workers=0, out=out)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_wrong_data_leaves_no_run_folder(tmp_path, run):
    (tmp_path / "data").mkdir()
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (tmp_path / "data" / f"{name}-ubyte.gz").write_bytes(b"")
    done = run("train", "--data-dir", tmp_path / "data", cwd=tmp_path)
    assert done.returncode == 2
    assert "data/train-images-idx3-ubyte.gz: expected 47,040,016 bytes when" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.slow
def test_too_little_memory_is_one_line(run, tmp_path):
    limit = 5 << 30  # bytes of address space: enough to start, too little for this batch
    done = run(
        *("train", "--batch-size", 2000, "--train-size", 2000, "--num-workers", 0),
        *("--ctx", "cpu", "--out", tmp_path / "run"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert done.returncode == 1
    assert done.stderr.startswith(
        "d2l_alexnet: cpu(0) ran out of memory with batches of 2000 images ("
    )
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_two_devices_learn_what_one_does(small_data, tmp_path):
    """To rounding; the last batch, of 72 - 2 × 32 = 8 images, is split too."""
    recipe = dataclasses.replace(TINY, optimizer="sgd", optimizer_params={}, lr=0.01, train_size=72)
    histories = []
    for name, ctx in (("one", "cpu"), ("two", "cpu:0,1"), ("three", "cpu:0,1,2")):
        histories.append(train.train(recipe, ctx=ctx, num_workers=0, out=tmp_path / name))
    assert json.loads((tmp_path / "two/args.json").read_text())["ctx"] == "cpu(0), cpu(1)"
    expected = weights(tmp_path / "one")
    for name, (row,) in zip(("two", "three"), histories[1:]):
        assert row["loss"] == pytest.approx(histories[0][0]["loss"], rel=1e-6)
        assert row["running_train_accuracy"] == histories[0][0]["running_train_accuracy"]
        assert row["test_accuracy"] == histories[0][0]["test_accuracy"]
        for key, weight in weights(tmp_path / name).items():
            assert np.allclose(weight, expected[key], rtol=1e-4, atol=1e-7)


def test_fewer_images_than_devices_are_refused(small_data, tmp_path, monkeypatch):
    loaded = []

    def load(*arguments):
        loaded.append(load_data(*arguments))
        return loaded[0]

    monkeypatch.setattr(train, "load_data", load)
    recipe = dataclasses.replace(TINY, train_size=65)
    with pytest.raises(InputError, match="^--batch-size 32: the last batch has 1 images, "):
        train.train(recipe, ctx="cpu:0,1", num_workers=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    ((train_iter, evaluations),) = loaded
    for loader in (train_iter, *evaluations.values()):
        assert not any(worker.is_alive() for worker in loader.workers)
