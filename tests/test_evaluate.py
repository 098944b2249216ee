import dataclasses
import json
import os
import shutil
import subprocess
import sys

import mxnet as mx
import numpy as np
import pytest
from PIL import Image, ImageOps

from d2l_alexnet import build, evaluate, train
from d2l_alexnet.data import DATA_SETS
from d2l_alexnet.errors import InputError
from d2l_alexnet.evaluate import Evaluation
from d2l_alexnet.options import RunOptions
from d2l_alexnet.recipes import CIFAR10_CONVNET, LECTURE, QUICK
from d2l_alexnet.run_folder.params import save_params
from d2l_alexnet.run_folder.settings import read_settings, write_settings

pytestmark = pytest.mark.slow

CLASSES = DATA_SETS["fashion-mnist"].classes
TINY = dataclasses.replace(LECTURE, resize=67, train_size=64, batch_size=32, num_epochs=1)
TINIER = dataclasses.replace(TINY, net="convnet_cifar10", resize=32)  # 10,000 images in seconds
TINY_IN_COLOR = dataclasses.replace(
    CIFAR10_CONVNET, resize=40, margin=4, train_size=200, batch_size=64, num_epochs=1
)


def without_training(folder, recipe):
    """Make a run folder with a net as it is before its first step."""
    net = build.build_net(recipe)
    build.initialize(net, recipe, [mx.cpu()], seed=0)
    write_settings(folder, recipe, RunOptions(), [mx.cpu()], num_workers=0)
    save_params(net, folder / "net.params")
    return folder


@pytest.fixture(scope="session")
def untrained(tmp_path_factory):
    return without_training(tmp_path_factory.mktemp("untrained"), TINIER)


@pytest.fixture(scope="session")
def untrained_in_color(tmp_path_factory):
    return without_training(tmp_path_factory.mktemp("untrained"), TINY_IN_COLOR)


@pytest.fixture
def damaged(untrained, tmp_path):
    """A copy of a run folder, to be damaged."""
    return shutil.copytree(untrained, tmp_path / "run")


def by_hand():
    """Five images of three classes. The last two predictions are wrong; the fourth is confident."""
    y_hat = np.zeros((5, 10), np.float32)
    y_hat[[0, 1, 2, 3, 4], [0, 1, 1, 2, 2]] = 1, 2, 3, 4, 0.5
    images = np.zeros((5, 28, 28, 1), np.uint8)
    return Evaluation(images, np.array([0, 1, 1, 0, 1]), y_hat, CLASSES)


def test_counts_by_hand():
    evaluation = by_hand()
    assert evaluation.predicted.tolist() == [0, 1, 1, 2, 2]
    assert evaluation.correct == 3
    expected = np.zeros((10, 10), int)
    expected[0, 0], expected[1, 1], expected[0, 2], expected[1, 2] = 1, 2, 1, 1
    assert (evaluation.confusion == expected).all()
    assert evaluation.confidence.argmax() == 3
    assert evaluation.mistakes().tolist() == [3, 4]
    assert evaluation.mistakes(1).tolist() == [3]


def test_mistakes_that_are_alike_are_limited():
    y_hat = np.zeros((6, 10), np.float32)
    y_hat[range(6), [7, 7, 7, 7, 3, 7]] = 1, 2, 3, 4, 0.5, 0.25
    labels = np.array([5, 5, 5, 5, 5, 9])
    evaluation = Evaluation(np.zeros((6, 28, 28, 1), np.uint8), labels, y_hat, CLASSES)
    assert evaluation.mistakes().tolist() == [3, 2, 4, 5]
    assert evaluation.mistakes(alike=6).tolist() == [3, 2, 1, 0, 4, 5]


def test_probabilities_are_those_of_mxnet_also_for_large_outputs():
    y_hat = np.random.RandomState(0).normal(size=(7, 10)).astype(np.float32) * 9
    expected = mx.nd.softmax(mx.nd.array(y_hat)).asnumpy()
    assert np.allclose(evaluate.softmax(y_hat), expected, atol=1e-6)
    assert np.allclose(evaluate.softmax(y_hat * 1e4).sum(axis=1), 1)


def test_text_by_hand():
    lines = evaluate.as_text(by_hand()).splitlines()
    assert lines[0] == "test accuracy 3/5 = 0.6000"
    assert lines[3].split() == ["t-shirt", "2", "1", "0.500", "pullover", "(1)"]
    assert lines[4].split() == ["trouser", "3", "2", "0.667", "pullover", "(1)"]
    assert lines[5].split() == ["pullover", "0", "0"]
    assert lines[-10].split() == ["0", "t-shirt", *"1010000000"]
    assert lines[-9].split() == ["1", "trouser", *"0210000000"]
    assert len(lines) == 1 + 2 + 10 + 3 + 10
    assert max(map(len, lines)) < 80


@pytest.mark.parametrize(
    ("recipe", "data"), [(TINY, "small_data"), (TINY_IN_COLOR, "small_cifar10")]
)
def test_a_trained_net_scores_as_it_did_in_its_run(recipe, data, request, tmp_path, capsys):
    small_data = request.getfixturevalue(data)
    (row,) = train.train(recipe, ctx="cpu", num_workers=0, out=tmp_path / "run")
    capsys.readouterr()
    evaluation = evaluate.main([str(tmp_path / "run"), "--num-workers", "0", "--ctx", "cpu"])
    assert evaluation.correct / 70 == row["test_accuracy"]
    images, labels = small_data[1]
    assert (evaluation.images == images).all()
    assert (evaluation.labels == labels).all()
    said = capsys.readouterr().out
    assert said == evaluate.as_text(evaluation) + "\n"
    for i, name in enumerate(DATA_SETS[recipe.data].classes):
        assert f"\n{name:12} {(labels == i).sum():6} " in said
    for name in ("confusion.png", "mistakes.png"):
        assert Image.open(tmp_path / "run" / name).width > 500
    assert not list((tmp_path / "run").glob("*.partial"))


def test_command_evaluates_on_all_images_into_another_folder(untrained, run, tmp_path):
    before = sorted(path.name for path in untrained.iterdir())
    done = run("evaluate", untrained, "--out", tmp_path / "new" / "out")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    table = next(i for i, line in enumerate(lines) if line.startswith("class "))
    correct, images = lines[table - 2].split()[2].split("/")
    rows = [[int(count) for count in line.split()[-10:]] for line in lines[-10:]]
    assert int(images) == 10_000
    assert np.sum(rows, axis=1).tolist() == [1000] * 10
    assert np.trace(rows) == int(correct)
    assert sorted(path.name for path in untrained.iterdir()) == before
    made = sorted(path.name for path in (tmp_path / "new" / "out").iterdir())
    assert made == ["confusion.png", "mistakes.png"]


def test_a_picture_of_an_image_gets_the_prediction_of_the_image(
    untrained, small_data, tmp_path, capsys
):
    _, (images, _) = small_data
    names = [str(tmp_path / f"{i}.png") for i in range(3)]
    for image, name in zip(images, names):
        Image.fromarray(image[..., 0]).save(name)
    inverted = str(tmp_path / "inverted.png")
    ImageOps.invert(Image.fromarray(images[0, ..., 0])).save(inverted)
    predictions = evaluate.classify(untrained, [*names, inverted], "cpu")
    evaluation = evaluate.evaluate(untrained, ctx="cpu", num_workers=0, out=tmp_path)
    expected = evaluate.softmax(evaluation.y_hat[:3])
    assert np.allclose(
        [prediction.probabilities for prediction in predictions[:3]], expected, atol=1e-5
    )
    assert (predictions[3].probabilities == predictions[0].probabilities).all()
    assert [prediction.inverted for prediction in predictions] == [False, False, False, True]
    said = capsys.readouterr().out.splitlines()[:4]
    assert said == [str(prediction) for prediction in predictions]
    assert said[3].startswith(f"{inverted} (inverted): {CLASSES[evaluation.predicted[0]]} 0.")


def test_a_picture_in_color_gets_the_prediction_of_the_image(
    untrained_in_color, small_cifar10, tmp_path
):
    _, (images, _) = small_cifar10
    names = [str(tmp_path / f"{i}.png") for i in range(3)]
    for image, name in zip(images, names):
        Image.fromarray(image).save(name)
    predictions = evaluate.classify(untrained_in_color, names, "cpu")
    evaluation = evaluate.evaluate(untrained_in_color, ctx="cpu", num_workers=0, out=tmp_path)
    expected = evaluate.softmax(evaluation.y_hat[:3])
    assert np.ptp(expected, axis=0).max() > 1e-3
    assert np.allclose(
        [prediction.probabilities for prediction in predictions], expected, atol=1e-5
    )


def test_the_command_takes_pictures_in_color(untrained_in_color, run, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    photograph, missing = tmp_path / "photograph.jpg", tmp_path / "missing.jpg"
    Image.new("RGB", (90, 60), "green").save(photograph)
    pictures = tmp_path / "text.png", photograph, missing
    done = run("evaluate", untrained_in_color, "--images", *pictures)
    assert done.returncode == 2
    (said,) = done.stdout.splitlines()
    assert said.startswith(f"{photograph}: ")
    assert sorted(part.split()[-2] for part in said.split(", ")) == sorted(
        DATA_SETS["cifar10"].classes
    )
    assert done.stderr.splitlines() == [
        f"d2l_alexnet: {tmp_path}/text.png: not a picture (BMP, GIF, JPEG, PNG, PPM, WEBP)",
        f"d2l_alexnet: {missing}: cannot read this picture (No such file or directory)",
    ]


def test_a_prediction_names_every_class_the_most_probable_first():
    probabilities = np.array([0.05, 0.5, 0.3, 0.05, 0.02, 0.02, 0.02, 0.02, 0.01, 0.01])
    said = str(evaluate.Prediction("x.png", False, probabilities, CLASSES))
    assert said.startswith("x.png: trouser 0.500, pullover 0.300, t-shirt 0.050, dress 0.050, ")
    assert said.count(",") == 9


def test_a_single_path_is_one_picture(untrained, tmp_path):
    Image.new("L", (28, 28), 90).save(tmp_path / "x.png")
    for path in (tmp_path / "x.png", str(tmp_path / "x.png")):
        (prediction,) = evaluate.classify(untrained, path, "cpu")
        assert prediction.path == str(path)


def test_a_folder_whose_name_is_not_in_utf8_is_a_run(untrained, tmp_path):
    run = shutil.copytree(untrained, os.fsdecode(bytes(tmp_path / "run") + b"\xff"))
    Image.new("L", (28, 28), 90).save(tmp_path / "x.png")
    both = [evaluate.classify(each, tmp_path / "x.png", "cpu")[0] for each in (run, untrained)]
    assert (both[0].probabilities == both[1].probabilities).all()


def test_a_name_that_is_not_in_utf8_can_be_printed(untrained, tmp_path, capsys):
    path = os.fsdecode(bytes(tmp_path / "boot") + b"\xff.png")
    Image.new("L", (28, 28), 90).save(path)
    (prediction,) = evaluate.classify(untrained, [path], "cpu")
    assert prediction.path == path
    assert capsys.readouterr().out.startswith(f"{tmp_path}/boot\\xff.png: ")


def test_bad_pictures_are_named_and_the_others_are_done(untrained, fashion_mnist, tmp_path):
    Image.fromarray(fashion_mnist[1][0][0, ..., 0]).save(tmp_path / "boot.png")
    (tmp_path / "empty.png").touch()
    done = subprocess.run(
        [sys.executable, "-m", "d2l_alexnet.evaluate", untrained, "--images"]
        + [tmp_path / name for name in ("none.png", "boot.png", "empty.png")]
        + ["-", "-"],
        input=(tmp_path / "boot.png").read_bytes(),
        capture_output=True,
    )
    assert done.returncode == 2
    boot, stdin = done.stdout.decode().splitlines()
    assert boot.replace(f"{tmp_path}/boot.png", "-") == stdin
    assert done.stderr.decode().splitlines() == [
        f"d2l_alexnet: {tmp_path}/none.png: cannot read this picture (No such file or directory)",
        f"d2l_alexnet: {tmp_path}/empty.png: not a picture (BMP, GIF, JPEG, PNG, PPM, WEBP)",
        "d2l_alexnet: -: not a picture (BMP, GIF, JPEG, PNG, PPM, WEBP)",  # read to its end before
    ]


def settings_with(**changes):
    def damage(folder):
        settings = json.loads((folder / "args.json").read_text())
        settings["recipe"].update(changes)
        (folder / "args.json").write_text(json.dumps(settings))

    return damage


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (shutil.rmtree, "there is no run; args.json is missing$"),
        (lambda folder: (folder / "args.json").unlink(), "there is no run; args.json is "),
        (lambda folder: (folder / "args.json").write_text("{"), "args.json: not the settings of"),
        (lambda folder: (folder / "args.json").write_text("[]"), "args.json: not the settings of"),
        (settings_with(net="resnet"), "args.json: not the settings of a run .there is no net 'res"),
        (settings_with(resize="67"), "args.json: not the settings of a run .resize is '67', "),
        (
            settings_with(net="alexnet", resize=20),
            "does not fit the net; the smallest square that fits is",
        ),
        (settings_with(resize=64), "net.params: 9.weight should be of shape .128, 16384., found"),
        (lambda folder: (folder / "net.params").unlink(), "net.params: not a valid .params file"),
        (lambda folder: (folder / "net.params").write_bytes(b"x" * 99), "net.params: not a valid"),
    ],
)
def test_a_folder_that_is_no_run_is_refused(damaged, small_data, damage, why):
    damage(damaged)
    for use in (evaluate.evaluate, lambda run: evaluate.classify(run, ["none.png"])):
        with pytest.raises(InputError, match=why) as caught:
            use(damaged)
        assert "\n" not in str(caught.value)
        assert not list(damaged.glob("*.png"))


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(untrained, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=f"^{tmp_path}/file: cannot write there .File exists.$"):
        evaluate.evaluate(untrained, out=tmp_path / "file")


def test_command_says_what_it_wants(run):
    done = run("evaluate")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "the following arguments are required: RUN" in done.stderr
    said = " ".join(run("evaluate", "--help").stdout.split())
    assert "half of the border of the picture is bright, the picture is inverted" in said
    assert "CIFAR-10: the largest square in the middle is cropped" in said


def test_a_recipe_of_the_package_passes_its_own_check(tmp_path):
    for recipe in (LECTURE, QUICK, dataclasses.replace(QUICK, lr=1)):
        write_settings(tmp_path, recipe, RunOptions(seed=3), [mx.cpu()], num_workers=0)
        assert read_settings(tmp_path) == (recipe, RunOptions(seed=3))
