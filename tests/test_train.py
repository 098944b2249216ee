import dataclasses
import json
import resource
import types

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon

from d2l_alexnet import data, train
from d2l_alexnet.state import State
from d2l_alexnet.history import read_history
from d2l_alexnet.recipes import LECTURE, QUICK, RECIPES
from d2l_alexnet.errors import InputError

TINY = dataclasses.replace(QUICK, resize=67, train_size=200, batch_size=32, warmup_steps=0)


def weights(folder):
    return {k: v.asnumpy() for k, v in mx.nd.load(str(folder / "net.params")).items()}


def test_the_lectures_recipe_is_as_published():
    assert (LECTURE.net, LECTURE.resize, LECTURE.train_size) == ("alexnet", 224, 60_000)
    assert (LECTURE.batch_size, LECTURE.num_epochs, LECTURE.lr) == (128, 5, 0.01)
    assert (LECTURE.optimizer, LECTURE.optimizer_params) == ("sgd", {})
    assert (LECTURE.initializer, LECTURE.initializer_params) == ("xavier", {})
    assert [row["test_accuracy"] for row in LECTURE.published] == [
        0.745,
        0.815,
        0.831,
        0.855,
        0.867,
    ]


def test_quick_uses_the_same_net_on_images_of_the_same_size_without_dropout():
    assert (QUICK.net, QUICK.resize) == (LECTURE.net, LECTURE.resize)
    assert (QUICK.dropout, LECTURE.dropout) == (0, 0.5)
    assert "p = 0.0" in repr(train.build_net(QUICK))
    assert "p = 0.5" in repr(train.build_net(LECTURE))


def test_learning_rate_warms_up_and_falls_to_nearly_zero():
    net = gluon.nn.Dense(1, in_units=1)
    net.initialize()
    recipe = dataclasses.replace(QUICK, lr=1.0, warmup_steps=10, optimizer_params={})
    trainer = train.make_trainer(net, recipe, steps=100)
    rates = []
    for _ in range(100):
        with autograd.record():
            l = net(mx.nd.ones((1, 1)))
        l.backward()
        trainer.step(1)
        rates.append(trainer.learning_rate)
    assert np.allclose(rates[:10], np.arange(1, 11) / 10)
    assert np.allclose(np.diff(rates[9:]), -1 / 91)
    assert np.isclose(rates[-1], 1 / 91)


def test_without_decay_the_rate_is_constant_and_short_runs_have_a_schedule_too():
    net = gluon.nn.Dense(1, in_units=1)
    net.initialize()
    assert train.make_trainer(net, LECTURE, steps=7).learning_rate == 0.01
    for steps in (1, 2, 19, 20, 21):
        assert train.make_trainer(net, QUICK, steps).learning_rate >= 0


def test_one_epoch_is_the_lectures_arithmetic(small_data):
    """Loss, running accuracy and weights against a loop written as the lecture writes it.

    The last batch holds 300 - 2 × 128 = 44 images, and its gradient is still divided by 128.
    """
    results = []
    for ours in (True, False):
        mx.random.seed(1)
        train_iter, _ = data.load_data_fashion_mnist(128, resize=28, num_workers=0, seed=1)
        net = gluon.nn.HybridSequential()
        net.add(gluon.nn.Dense(32, "relu", in_units=784), gluon.nn.Dense(10, in_units=32))
        net.initialize(mx.init.Xavier())
        trainer = gluon.Trainer(net.collect_params(), "sgd", dict(learning_rate=0.1))
        if ours:
            net.hybridize(static_alloc=True, static_shape=True)
            figures = our_epoch(net, train_iter, trainer)
        else:
            figures = lecture_epoch(net, train_iter, trainer, batch_size=128)
        results.append((figures, [p.data().asnumpy() for p in net.collect_params().values()]))
    (figures, ours), (expected, lectures) = results
    assert np.isclose(figures[0], expected[0], rtol=1e-6)
    assert figures[1] == expected[1]
    for weight, lecture_weight in zip(ours, lectures):
        assert np.allclose(weight, lecture_weight, rtol=1e-5, atol=1e-7)


def our_epoch(net, train_iter, trainer, seed=0):
    state = State()
    keeper = types.SimpleNamespace(due=False)
    learner = train.Learner(net, trainer, LECTURE, seed, [mx.cpu()])
    train.train_epoch(learner, train_iter, state, keeper)
    assert (state.batches, state.images) == (len(train_iter), train_iter.images)
    return [total / state.images for total in state.sums]


def lecture_epoch(net, train_iter, trainer, batch_size):
    loss = gluon.loss.SoftmaxCrossEntropyLoss()
    loss_sum = correct = n = 0
    for X, y in train_iter:
        with autograd.record():
            y_hat = net(X)
            l = loss(y_hat, y).sum()
        l.backward()
        trainer.step(batch_size)
        loss_sum += l.asscalar()
        correct += (y_hat.argmax(axis=1).asnumpy() == y.asnumpy()).sum()
        n += len(y)
    return loss_sum / n, correct / n


def test_dropout_is_active_while_training(small_data):
    """At a rate of nearly 0 the same net has another loss on the same batch each time."""
    train_iter, _ = data.load_data_fashion_mnist(300, resize=28, num_workers=0)
    net = gluon.nn.HybridSequential()
    net.add(gluon.nn.Dropout(0.5), gluon.nn.Dense(10))
    net.initialize()
    trainer = gluon.Trainer(net.collect_params(), "sgd", dict(learning_rate=1e-12))
    losses = [our_epoch(net, train_iter, trainer, seed)[0] for seed in (1, 2, 1)]
    assert abs(losses[0] - losses[1]) > 1e-4
    assert losses[0] == pytest.approx(losses[2])


def test_a_small_net_learns(small_data, tmp_path):
    recipe = dataclasses.replace(TINY, num_epochs=4, lr=0.001)
    history = train.train(recipe, num_workers=0, out=tmp_path / "run")
    assert history[-1]["loss"] < history[0]["loss"] * 0.8
    assert history[-1]["running_train_accuracy"] > 0.25


def test_on_a_cpu_the_same_seed_gives_the_same_net_whatever_the_workers(small_data, tmp_path):
    for name, seed, num_workers in (("a", 3, 0), ("b", 3, 2), ("c", 4, 0)):
        train.train(TINY, ctx="cpu", seed=seed, num_workers=num_workers, out=tmp_path / name)
    a, b, c = (weights(tmp_path / name) for name in "abc")
    assert all((a[key] == b[key]).all() for key in a)
    assert any((a[key] != c[key]).any() for key in a)


def test_the_run_folder(small_data, tmp_path):
    history = train.train(TINY, ctx="cpu", seed=7, out=tmp_path / "new" / "run")
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


def test_the_saved_weights_are_those_that_were_tested(small_data, tmp_path):
    (row,) = train.train(TINY, ctx="cpu", out=tmp_path / "run")
    net = train.build_net(TINY)
    net.load_parameters(str(tmp_path / "run" / "net.params"))
    _, test_iter = data.load_data_fashion_mnist(32, resize=67, num_workers=0)
    accuracy = train.evaluate_accuracy(net, test_iter, [mx.cpu()])
    assert accuracy == row["test_accuracy"]


def test_command_trains_and_tests_on_all_images(run, tmp_path, fashion_mnist):
    out = tmp_path / "run"
    settings = ("--recipe", "quick", "--resize", 67, "--train-size", 640, "--tensorboard")
    done = run("train", *settings, "--out", out)
    assert done.returncode == 0, done.stderr
    assert len(list((out / "tensorboard").iterdir())) == 1
    chosen, foretold, *_, line = done.stdout.splitlines()
    assert chosen.startswith("Recipe quick on ")
    assert foretold.startswith("A pass over 640 images takes about ")
    (row,) = read_history(out / "history.jsonl")
    assert line == train.lecture_line(row)
    correct = row["test_accuracy"] * 10_000
    assert correct == pytest.approx(round(correct))
    assert row["test_accuracy"] > 0.25


@pytest.mark.parametrize(
    ("steps", "accuracy", "warned"), [(469, 0.1, True), (469, 0.2, False), (30, 0.1, False)]
)
def test_a_net_at_chance_level_after_an_epoch_earns_a_warning(capsys, steps, accuracy, warned):
    trainer = types.SimpleNamespace(learning_rate=0.9)
    train.warn_at_chance(dict(test_accuracy=accuracy), State(steps=steps), trainer)
    assert ("a learning rate (0.9) far too high" in capsys.readouterr().out) == warned


def test_lecture_line():
    row = dict(
        epoch=1, loss=1.30517, running_train_accuracy=0.5091, test_accuracy=0.745, seconds=18.93
    )
    assert (
        train.lecture_line(row)
        == "epoch 1, loss 1.3052, train acc 0.509, test acc 0.745, time 18.9 sec"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "slow"], "argument --recipe: invalid choice: 'slow'"),
        (["--dtype", "float16", "--ctx", "cpu"], "--dtype float16: mixed precision is for GPUs"),
        (["--ctx", "cpu:12345"], "--ctx cpu:12345: not a context; choose auto, cpu, gpu, "),
        (["--resume", "a", "--out", "b"], "--out b: a run is resumed in its own folder; leave"),
        (["--out", "long" * 100], "File name too long; name another folder"),
        (["--ctx", "tpu"], "--ctx tpu: not a context; choose auto, cpu, gpu, gpu:N or gpu:N,M"),
        (["--epochs", "0"], "argument --epochs: '0' is not a whole number from 1 up"),
        (["--batch-size", "-3"], "argument --batch-size: '-3' is not a whole number from 1 up"),
        (["--lr", "0"], "argument --lr: '0' is not a number above 0"),
        (["--lr", "nan"], "argument --lr: 'nan' is not a number above 0"),
        (["--train-size", "60001"], "'60001' is not a whole number from 1 to 60000"),
        (["--num-workers", "-1"], "'-1' is not a whole number from 0 up"),
        (["--seed", "x"], "argument --seed: 'x' is not a whole number from 0 to 2147483647"),
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
        train.cli.run(lambda: train.main(arguments))
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
        with pytest.raises(InputError, match=f"^--out {out}: {why}; name a new folder$"):
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


def test_every_recipe_builds_its_net():
    for recipe in RECIPES.values():
        assert train.build_net(recipe)


def test_too_little_memory_is_one_line(run, tmp_path):
    limit = 5 << 30  # bytes of address space: enough to start, too little for this batch
    done = run(
        *("train", "--batch-size", 2000, "--train-size", 2000, "--num-workers", 0),
        *("--ctx", "cpu", "--out", tmp_path / "run"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert done.returncode == 1
    assert done.stderr.startswith(
        "d2l_alexnet: cpu(0) ran out of memory with batches of 2000 images, "
    )
    assert done.stderr.count("\n") == 1


def test_two_devices_learn_what_one_does(small_data, tmp_path):
    """To rounding; the last batch, of 72 - 2 × 32 = 8 images, is split too."""
    recipe = dataclasses.replace(TINY, optimizer="sgd", optimizer_params={}, lr=0.01, train_size=72)
    histories = []
    for name, ctx in (("one", "cpu"), ("two", "cpu:0,1"), ("three", "cpu:0,1,2")):
        histories.append(train.train(recipe, ctx, num_workers=0, out=tmp_path / name))
    assert json.loads((tmp_path / "two/args.json").read_text())["ctx"] == "cpu(0), cpu(1)"
    expected = weights(tmp_path / "one")
    for name, (row,) in zip(("two", "three"), histories[1:]):
        assert row["loss"] == pytest.approx(histories[0][0]["loss"], rel=1e-6)
        assert row["running_train_accuracy"] == histories[0][0]["running_train_accuracy"]
        assert row["test_accuracy"] == histories[0][0]["test_accuracy"]
        for key, weight in weights(tmp_path / name).items():
            assert np.allclose(weight, expected[key], rtol=1e-4, atol=1e-7)


MIXED = """
import numpy as np
import d2l_alexnet
import mxnet as mx
from dataclasses import replace
from mxnet.contrib import amp
from d2l_alexnet import train
from d2l_alexnet.recipes import LECTURE

amp.init()
weights = []
for dtype in ("float32", "float16"):
    recipe = replace(LECTURE, dtype=dtype, batch_size=4)
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Embedding(3, 10), mx.gluon.nn.Flatten())  # no layer that AMP changes
    net.initialize(mx.init.One())
    trainer = train.make_trainer(net, recipe, steps=1)
    learner = train.Learner(net, trainer, recipe, 0, [mx.cpu()])
    X = mx.nd.array([[0], [1], [2], [1]])
    figures = [learner.step(n, X, mx.nd.array([1, 2, 3, 4])).asnumpy() for n in range(3)]
    print(dtype, *np.stack(figures).ravel().round(4), *net[0].weight.data().asnumpy().ravel())
"""


def test_scaling_the_loss_for_float16_does_not_scale_what_is_learnt(python):
    """On a CPU, where the arithmetic itself stays float32."""
    done = python(MIXED)
    plain, scaled = (line.split()[1:] for line in done.stdout.splitlines())
    assert [float(x) for x in scaled] == pytest.approx([float(x) for x in plain], rel=1e-5)
    assert len(set(plain[6:])) > 3


def test_devices_do_not_share_their_dropout(small_data):
    first, second = train.seeds_of_step(seed=0, number=3, devices=2)
    assert first != second
    assert train.seeds_of_step(seed=0, number=3, devices=1) == [first]
    assert train.seeds_of_step(seed=0, number=4, devices=1) != [first]


def test_fewer_images_than_devices_are_refused(small_data, tmp_path):
    recipe = dataclasses.replace(TINY, train_size=65)
    with pytest.raises(InputError, match="^--batch-size 32: leaves 1 images for the last batch, "):
        train.train(recipe, "cpu:0,1", num_workers=0, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
