import dataclasses
import json
import os
import re
import shutil
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from mxnet import gluon
from PIL import Image
from slices import show_slices

from d2l_alexnet import evaluate, train
from d2l_alexnet.build import input_shape
from d2l_alexnet.data import DATA_SETS
from d2l_alexnet.data.load import load_data
from d2l_alexnet.data.transforms import transform_of
from d2l_alexnet.errors import InputError, RunError
from d2l_alexnet.evaluate import load_net
from d2l_alexnet.export import formats
from d2l_alexnet.nets import AdaptiveAvgPool2D
from d2l_alexnet.options import RunOptions
from d2l_alexnet.recipes import CIFAR10_ALEXNET, CIFAR10_CONVNET, LECTURE, LENET, QUICK

pytestmark = pytest.mark.slow

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
onnx_graph = pytest.importorskip("d2l_alexnet.export.onnx_graph")

COMMANDS = Path(__file__).parents[2] / "docs/commands.md"


def session(model):
    return onnxruntime.InferenceSession(model.SerializeToString())


def as_model(graph):
    imports = [onnx.helper.make_opsetid("", onnx_graph.OPSET)]
    settings = dict(opset_imports=imports, ir_version=onnx_graph.IR_VERSION)
    return onnx.helper.make_model(graph, **settings)


@pytest.fixture(scope="module")
def small_run(fashion_mnist, tmp_path_factory):
    """Train a small run; give its folder."""
    folder = tmp_path_factory.mktemp("small") / "run"
    recipe = dataclasses.replace(QUICK, resize=67, train_size=64, batch_size=32)
    with pytest.MonkeyPatch.context() as patch:
        show_slices(patch, "fashion-mnist", fashion_mnist)
        train.train(recipe, ctx="cpu", num_workers=0, out=str(folder))
    return folder


@pytest.mark.parametrize(
    ("recipe", "resize"),
    [
        (LECTURE, 224),
        (LECTURE, 67),
        (LECTURE, 28),
        (CIFAR10_ALEXNET, 70),
        (CIFAR10_ALEXNET, 75),
        (CIFAR10_CONVNET, 32),
    ],
)
def test_preprocessing_gives_the_loaders_tensors_bit_for_bit(recipe, resize, small_data, request):
    if recipe.data == "cifar10":
        request.getfixturevalue("small_cifar10")
    recipe = dataclasses.replace(recipe, resize=resize)
    _, evaluations = load_data(recipe, RunOptions(num_workers=0))
    test_iter = evaluations["test_accuracy"]
    ((X, _),) = test_iter
    images = np.stack([image for image, _ in test_iter.dataset])
    (tensors,) = session(as_model(onnx_graph.preprocessing(recipe))).run(None, dict(images=images))
    assert tensors.dtype == np.float32
    assert (tensors == X.asnumpy()).all()


@pytest.mark.parametrize("side", [1, 4, 6, 13])
def test_averaging_over_windows_is_translated(side):
    net = gluon.nn.HybridSequential()
    net.add(gluon.nn.Conv2D(2, kernel_size=1), AdaptiveAvgPool2D(6), gluon.nn.Dense(3))
    net.initialize()
    recipe = dataclasses.replace(CIFAR10_ALEXNET, resize=side, margin=0)
    X = np.random.RandomState(0).rand(5, 3, side, side).astype(np.float32)
    expected = net(mx.nd.array(X)).asnumpy()
    (given,) = session(as_model(onnx_graph.translate(net, recipe))).run(None, dict(data=X))
    assert np.allclose(given, expected, atol=1e-6)


def test_a_net_of_the_second_lecture(small_cifar10, tmp_path, capsys):
    """With batch normalization, whose running averages are no longer those of the beginning."""
    recipe = dataclasses.replace(CIFAR10_CONVNET, batch_size=64, num_epochs=1)
    train.train(recipe, ctx="cpu", num_workers=0, out=str(tmp_path / "run"))
    formats.export(tmp_path / "run", "onnx", num_workers=0)
    assert "\nthe same class for 70 of 70 test images, " in capsys.readouterr().out


def test_lenet(small_data, tmp_path, capsys):
    """It is trained, evaluated and exported as the other nets are."""
    recipe = dataclasses.replace(LENET, train_size=256, num_epochs=1)
    train.train(recipe, ctx="cpu", num_workers=0, out=str(tmp_path / "run"))
    evaluation = evaluate.main([str(tmp_path / "run"), "--num-workers", "0"])
    assert len(evaluation.labels) == 70
    formats.export(tmp_path / "run", "onnx", num_workers=0)
    assert "\nthe same class for 70 of 70 test images, " in capsys.readouterr().out


def test_onnx_file_predicts_the_same_without_mxnet(small_run, small_data, python, capsys):
    """As docs/commands.md shows it."""
    capsys.readouterr()
    formats.export(small_run, "onnx", num_workers=0)
    checked, compared, same, path = capsys.readouterr().out.splitlines()
    assert checked == f"ONNX opset 13, accepted by the checker of onnx {onnx.__version__}"
    assert compared == f"Comparing MXNet 1.9.1 and onnxruntime {onnxruntime.__version__}"
    assert same.startswith(
        "the same class for 70 of 70 test images, largest difference of a logit "
    )
    assert path == str(small_run / "net.onnx")
    assert not list(small_run.glob("export-*"))

    _, (images, _) = small_data
    Image.fromarray(images[0, :, :, 0]).save(small_run / "boot.png")
    (example,) = re.findall(r"```python\n([^`]*onnxruntime[^`]*)```", COMMANDS.read_text())
    done = python(f"import os; os.chdir({str(small_run)!r})\n{example}")
    assert done.returncode == 0, done.stderr
    net, recipe, _ = load_net(small_run, "cpu")
    dataset = DATA_SETS["fashion-mnist"]
    transform = transform_of(recipe, dataset)
    X = transform.to_tensor(transform.resize_and_crop(mx.nd.array(images[:1], dtype=np.uint8)))
    (predicted,) = net(X).argmax(axis=1).asnumpy().astype(int)
    assert done.stdout == f"{dataset.classes[predicted]}\n"


def test_symbol_is_mxnets_own_pair_of_files(small_run, small_data, tmp_path, capsys):
    capsys.readouterr()
    formats.export(small_run, "symbol", num_workers=0)
    same, *paths = capsys.readouterr().out.splitlines()
    assert same == "the same class for 70 of 70 test images, largest difference of a logit 0.0e+00"
    assert paths == [str(small_run / name) for name in ("net-0000.params", "net-symbol.json")]
    assert all(Path(path).exists() for path in paths)
    net, recipe, _ = load_net(small_run, "cpu")
    net(mx.nd.zeros(input_shape(recipe)))
    net.export(str(tmp_path / "net"))
    theirs, ours = (
        [(folder / name).read_bytes() for name in ("net-symbol.json", "net-0000.params")]
        for folder in (tmp_path, small_run)
    )
    assert json.loads(theirs[0]) == json.loads(ours[0])
    assert theirs[1][16:] == ours[1][16:]  # without the checksum, which MXNet does not write


@pytest.mark.parametrize("to", list(formats.WRITERS))
def test_a_folder_whose_name_is_not_in_utf8_is_a_run(small_run, small_data, tmp_path, to):
    run = shutil.copytree(small_run, os.fsdecode(bytes(tmp_path / "run") + b"\xff"))
    for path in Path(run).glob("net[.-][!p]*"):
        path.unlink()
    formats.export(run, to, num_workers=0)
    assert list(Path(run).glob("net[.-][!p]*"))


@pytest.mark.parametrize("to", list(formats.WRITERS))
def test_a_full_disk_is_one_line(small_run, small_data, tmp_path, no_room, to):
    before = sorted(small_run.iterdir())
    with pytest.raises(RunError, match="cannot write there .File too large.$"), no_room():
        formats.export(small_run, to, num_workers=0)
    assert sorted(small_run.iterdir()) == before


def test_an_unknown_format_is_refused(small_run):
    with pytest.raises(InputError, match="^--to pickle: not a format; choose onnx or symbol$"):
        formats.export(small_run, "pickle")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda logits: logits + 1e-3, "the same class for 70 of 70 test images, "),
        (lambda logits: logits * np.nan, "the outputs for some test images are NaN or infinite"),
        (lambda logits: logits[:, ::-1] * 1e-9, "the same class for "),
    ],
)
def test_an_export_that_predicts_something_else_is_not_kept(
    small_run, small_data, monkeypatch, change, why
):
    def write_wrongly(net, recipe, folder):
        predict = formats.write_symbol(net, recipe, folder)
        return lambda images, X: change(predict(images, X))

    before = sorted(small_run.iterdir())
    monkeypatch.setitem(formats.WRITERS, "symbol", write_wrongly)
    with pytest.raises(RunError, match=f"^not exported: {why}"):
        formats.export(small_run, "symbol", num_workers=0)
    assert sorted(small_run.iterdir()) == before


def test_a_net_whose_outputs_are_all_nan_is_not_exported(small_data, monkeypatch):
    """The difference of NaN and NaN is not more than any number."""
    _, evaluations = load_data(LECTURE, RunOptions(num_workers=0))

    def nan(X):
        return mx.nd.ones((len(X), 10)) * np.nan

    with pytest.raises(RunError, match="are NaN or infinite"):
        formats.compare(nan, lambda images, X: nan(X).asnumpy(), evaluations["test_accuracy"])


def test_onnx_without_its_packages_names_the_extra(small_run, small_data, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"^--to onnx: pip install 'd2l_alexnet\[export\]' first"):
        formats.export(small_run, "onnx", num_workers=0)


def test_a_folder_that_is_no_run_is_one_line_and_status_2(run, tmp_path):
    done = run("export", tmp_path, "--to", "onnx")
    assert done.returncode == 2
    assert done.stderr == f"d2l_alexnet: {tmp_path}: there is no run; args.json is missing\n"
