"""The second lecture's recipes, on a few hundred real images."""

import dataclasses
import json
import shutil

import mxnet as mx
import numpy as np
import pytest
from kill_and_resume import result
from slices import show_slices

from d2l_alexnet import cli, loop, train
from d2l_alexnet.build import build_net, initialize, input_shape
from d2l_alexnet.callbacks.progress import lecture_line
from d2l_alexnet.data.load import load_data_cifar10
from d2l_alexnet.errors import InputError
from d2l_alexnet.evaluate import evaluate
from d2l_alexnet.history import cuts, read_history
from d2l_alexnet.metrics import evaluate_accuracy
from d2l_alexnet.recipes import CIFAR10_ALEXNET, CIFAR10_CONVNET
from d2l_alexnet.schedule import Plateau, reduce_on_plateau

pytestmark = pytest.mark.slow

EVERY_STEP = 1e-9  # minutes between two checkpoints
# Four steps an epoch, crops at random, and a rate that falls when the accuracy rises by less than
# half.
SMALL = dataclasses.replace(
    CIFAR10_CONVNET,
    resize=36,
    margin=4,
    batch_size=64,
    num_epochs=4,
    plateau=dict(factor=0.5, patience=0, threshold=0.5),
)
HERE = dict(ctx="cpu", num_workers=0)


@pytest.fixture(scope="module")
def undisturbed(cifar10, tmp_path_factory):
    """The folder of a run of four epochs that nothing disturbed."""
    out = tmp_path_factory.mktemp("run") / "undisturbed"
    with pytest.MonkeyPatch.context() as patch:
        show_slices(patch, "cifar10", cifar10)
        train.train(SMALL, **HERE, out=out)
    return out


@pytest.fixture
def crash(monkeypatch):
    """Let a run crash at a step."""

    def at(number):
        train_batch = loop.train_batch

        def crashing(training, X, y):
            if training.state.steps == number:
                monkeypatch.setattr(loop, "train_batch", train_batch)
                raise ZeroDivisionError
            return train_batch(training, X, y)

        monkeypatch.setattr(loop, "train_batch", crashing)

    return at


@pytest.mark.parametrize("recipe", [CIFAR10_ALEXNET, CIFAR10_CONVNET])
def test_recipes_are_the_lectures(recipe):
    assert (recipe.train_size, recipe.batch_size, recipe.lr) == (45_000, 256, 0.1)
    assert (recipe.optimizer, recipe.optimizer_params) == ("sgd", dict(momentum=0.9))
    assert recipe.plateau == dict(factor=0.1, patience=10, threshold=1e-4)
    assert recipe.initializer == "pytorchdefault"
    assert recipe.dropout == 0.5
    assert not recipe.augment


def test_what_differs_between_the_two_and_what_was_published():
    assert (CIFAR10_ALEXNET.num_epochs, CIFAR10_CONVNET.num_epochs) == (200, 50)
    assert input_shape(CIFAR10_ALEXNET) == (1, 3, 64, 64)
    assert input_shape(CIFAR10_CONVNET) == (1, 3, 32, 32)
    first, *_, last = CIFAR10_ALEXNET.published
    assert first == pytest.approx(
        dict(epoch=1, learning_rate=0.1, train_accuracy=0.186, valid_accuracy=0.192)
    )
    assert cuts(CIFAR10_ALEXNET.published) == [33, 65]
    assert cuts(CIFAR10_CONVNET.published) == [23, 49]
    assert (last["epoch"], last["valid_accuracy"], last["test_accuracy"]) == (200, 0.757, 0.7516)
    last = CIFAR10_CONVNET.published[-1]
    assert (last["epoch"], last["valid_accuracy"], last["test_accuracy"]) == (50, 0.774, 0.7495)


def test_a_run_measures_training_and_validation_accuracy_after_each_epoch(undisturbed):
    history = read_history(undisturbed / "history.jsonl")
    for row in history:
        for key, images in (("train_accuracy", 270), ("valid_accuracy", 30), ("test_accuracy", 70)):
            assert row[key] * images == pytest.approx(round(row[key] * images))
        assert row["running_train_accuracy"] * 256 == round(row["running_train_accuracy"] * 256)
    recipe = json.loads((undisturbed / "args.json").read_text())["recipe"]
    assert (recipe["data"], recipe["lr"], recipe["lr_since"]) == ("cifar10", 0.1, 1)


def test_training_accuracy_is_that_of_the_finished_net_on_the_epoch(undisturbed, small_cifar10):
    *_, row = read_history(undisturbed / "history.jsonl")
    net = build_net(SMALL)
    net.load_parameters(str(undisturbed / "net.params"))
    train_iter, valid_iter, _ = load_data_cifar10(64, 36, 32, num_workers=0)
    list(train_iter.from_batch(row["epoch"], 4))
    seen = train_iter.first(270, batch_size=128)
    assert evaluate_accuracy(net, seen, [mx.cpu()]) == row["train_accuracy"]
    assert evaluate_accuracy(net, valid_iter, [mx.cpu()]) == row["valid_accuracy"]


def test_the_rate_in_every_row_is_that_of_the_plateau(undisturbed):
    history = read_history(undisturbed / "history.jsonl")
    accuracies = [row["valid_accuracy"] for row in history]
    plateau = Plateau(**SMALL.plateau)
    expected = [reduce_on_plateau(accuracies[:n], 0.1, plateau=plateau) for n in range(4)]
    assert [row["learning_rate"] for row in history] == expected
    assert min(expected) < 0.1


@pytest.mark.parametrize("step", [2, 13])
def test_a_run_that_crashed_goes_on_as_if_it_had_not(
    undisturbed, small_cifar10, crash, tmp_path, step
):
    crash(step)
    with pytest.raises(ZeroDivisionError):
        train.train(SMALL, **HERE, out=tmp_path / "run", checkpoint_minutes=EVERY_STEP)
    train.resume(tmp_path / "run", ctx="cpu", num_workers=2)
    assert result(tmp_path / "run") == result(undisturbed)


def test_more_epochs_go_on_with_the_rate_that_the_plateau_had_come_to(
    undisturbed, small_cifar10, tmp_path
):
    train.train(dataclasses.replace(SMALL, num_epochs=2), **HERE, out=tmp_path / "run")
    train.resume(tmp_path / "run", dict(num_epochs=4), **HERE)
    assert result(tmp_path / "run") == result(undisturbed)


def test_a_new_rate_holds_from_the_epoch_under_way_and_later_cuts_apply_to_it(
    small_cifar10, crash, tmp_path
):
    run = tmp_path / "run"
    recipe = dataclasses.replace(SMALL, plateau=dict(factor=0.5, patience=0, threshold=9.0))
    train.train(dataclasses.replace(recipe, num_epochs=2), **HERE, out=run)
    crash(9)  # in the third epoch, that is
    with pytest.raises(ZeroDivisionError):
        train.resume(run, dict(num_epochs=3, lr=0.02), **HERE, checkpoint_minutes=EVERY_STEP)
    train.resume(run, **HERE)
    history = train.resume(run, dict(num_epochs=5), **HERE)
    rates = [row["learning_rate"] for row in history]
    # Only the first accuracy is ten times as good as the one before it, which is none.
    assert rates == pytest.approx([0.1, 0.1, 0.02, 0.01, 0.005])


@pytest.mark.parametrize("ctx", ["cpu:0,1", "cpu:0,1,2"])
def test_devices_have_one_batch_normalization_which_is_tested_saved_and_resumed(
    small_cifar10, tmp_path, ctx
):
    """Each device has its own part of a batch, and running averages of it."""
    settings = dict(ctx=ctx, num_workers=0)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    recipe = dataclasses.replace(SMALL, num_epochs=2)
    *_, row = train.train(recipe, **settings, out=whole)
    train.train(dataclasses.replace(recipe, num_epochs=1), **settings, out=parts)
    train.resume(parts, dict(num_epochs=2), **settings)
    assert result(parts) == result(whole)
    evaluation = evaluate(whole, **settings)
    assert evaluation.correct / len(evaluation.labels) == row["test_accuracy"]


def edit(run, **changes):
    """Change settings in args.json."""
    settings = json.loads((run / "args.json").read_text())
    for name, value in changes.items():
        (settings["recipe"] if name in settings["recipe"] else settings)[name] = value
    (run / "args.json").write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("batch_size", 32, "with 64; restore it, or begin a new run"),
        ("seed", 1, "with 0; restore it, or begin a new run"),
        ("explain_gap", True, "with False; restore it, or begin a new run"),
        ("lr", 0.2, "with 0.1; restore it, or give --lr"),
        ("lr_since", 2, "with 1; restore it, or begin a new run"),
        ("num_epochs", 5, "with 4; restore it, or give --epochs"),
    ],
)
def test_a_setting_edited_in_args_json_is_noticed(
    undisturbed, small_cifar10, tmp_path, name, value, why
):
    run = shutil.copytree(undisturbed, tmp_path / "run")
    edit(run, **{name: value})
    message = f"^{run}: {name} is {value} in args.json, but the checkpoint was saved {why}$"
    with pytest.raises(InputError, match=message):
        train.resume(run, **HERE)


def test_without_settings_in_the_checkpoint_other_steps_in_an_epoch_are_noticed(
    undisturbed, small_cifar10, tmp_path, monkeypatch
):
    """Version 0.1.0 did not save settings."""
    run = shutil.copytree(undisturbed, tmp_path / "run")
    edit(run, batch_size=32)
    monkeypatch.setattr(train, "settings_of", lambda training: {})
    with pytest.raises(InputError, match="began with 4 steps in an epoch, but .* give 8 steps$"):
        train.resume(run, **HERE)


def test_a_changed_rate_is_in_the_checkpoint_before_it_is_in_args_json(
    undisturbed, small_cifar10, tmp_path, monkeypatch
):
    """So a run that is killed between the two does not go on with a rate that is in neither."""
    run = shutil.copytree(undisturbed, tmp_path / "run")

    def crash(*arguments):
        raise ZeroDivisionError

    changes = dict(num_epochs=5, lr=0.02)
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(train, "write_settings", crash)
        train.resume(run, changes, **HERE)
    with pytest.raises(InputError, match="num_epochs is 4 .* saved with 5; .* give --epochs$"):
        train.resume(run, **HERE)
    assert train.resume(run, changes, **HERE)[-1]["learning_rate"] == 0.02


def test_the_gap_can_be_explained_with_augmented_images_too(small_cifar10, tmp_path, capsys):
    recipe = dataclasses.replace(SMALL, num_epochs=1, augment=True)
    (row,) = train.train(recipe, **HERE, out=tmp_path / "run", explain_gap=True)
    assert row["train_accuracy"] * 270 == pytest.approx(round(row["train_accuracy"] * 270))
    assert 0 <= row["running_train_accuracy_in_predict_mode"] <= 1
    assert "Test accuracy minus running training accuracy was " in capsys.readouterr().out


def test_alexnet_trains_too(small_cifar10, tmp_path):
    recipe = dataclasses.replace(CIFAR10_ALEXNET, num_epochs=1)
    (row,) = train.train(recipe, **HERE, out=tmp_path / "run")
    assert row["loss"] == pytest.approx(np.log(10), abs=0.02)  # nothing learned before one step
    assert row["learning_rate"] == 0.1
    line = lecture_line(row)
    assert line.startswith(f"epoch 1, loss {row['loss']:.4f}, running train acc ")
    assert f"train acc after the epoch {row['train_accuracy']:.3f}, valid acc " in line


def test_initial_weights_depend_on_the_seed_alone():
    nets = []
    for seed in (1, 1, 2):
        net = build_net(CIFAR10_CONVNET)
        initialize(net, CIFAR10_CONVNET, [mx.cpu()], seed)
        nets.append([p.data().asnumpy() for p in net.collect_params().values()])
    first, again, other = nets
    assert all((a == b).all() for a, b in zip(first, again))
    assert any((a != b).any() for a, b in zip(first, other))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--recipe", "cifar10-convnet", "--train-size", "45001"],
            "--train-size 45001: there are 45,000 training images in cifar10",
        ),
        (
            ["--recipe", "cifar10-alexnet", "--resize", "68"],
            "--resize 68: input (1, 3, 62, 62) does not fit the net; the smallest square that fits "
            "is (1, 3, 63, 63)",
        ),
        (["--recipe", "cifar10-alexnet", "--resize", "5"], "--resize 5: input (1, 3, 1, 1) does"),
        (
            ["--augment"],
            "--augment: fashion-mnist has no random augmentation; omit it",
        ),
        (
            ["--recipe", "cifar10-convnet", "--train-size", "100"],
            "--batch-size 256: larger than the 100 training images, and incomplete batches",
        ),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    small_cifar10, tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda: train.main(["--ctx", "cpu", "--num-workers", "0", *arguments]))
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert message in said.err
    assert (said.out, len(said.err.splitlines())) == ("", 1)
    assert not list(tmp_path.iterdir())
