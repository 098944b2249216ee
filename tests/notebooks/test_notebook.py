"""The notebooks: run as they are, but for their settings, and looked at as they are committed."""

import base64
import io
import re
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest
from PIL import Image

from d2l_alexnet.history import write_history

pytestmark = pytest.mark.slow

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
PICTURES = {
    "alexnet.ipynb": {
        "lenet-code",
        "shapes-picture-code",
        "data-code",
        "training-code",
        "result-code",
        "gap-lecture-code",
        "gap-code",
        "mistakes-confusion",
        "mistakes-sure-code",
        "filters-code",
        "filters-change-code",
        "own-path-code",
    },
    "alexnet_cifar10.ipynb": {
        "alexnet-picture",
        "data-code",
        "data-seen-code",
        "training-alexnet-code",
        "training-code",
        "training-losses-code",
        "overfitting-code",
        "mistakes-first-code",
        "mistakes-confusion",
        "mistakes-cats-code",
        "descent-code",
    },
}
SMALL = """
(train_images, train_labels), (test_images, test_labels) = DATA_SETS["fashion-mnist"].read(None)
small = (train_images[:128], train_labels[:128]), (test_images[:100], test_labels[:100])
DATA_SETS["fashion-mnist"] = replace(DATA_SETS["fashion-mnist"], read=lambda data_dir: small)
recipe = replace(RECIPES["quick"], resize=67, batch_size=32)
lenet_recipe = RECIPES["lenet"]
ctx = "cpu"
batches = 2
"""
SMALL_CIFAR10 = """
(train_images, train_labels), (test_images, test_labels) = DATA_SETS["cifar10"].read(None)
small = (train_images[:600], train_labels[:600]), (test_images[:200], test_labels[:200])
DATA_SETS["cifar10"] = replace(DATA_SETS["cifar10"], read=lambda data_dir: small)
recipe = replace(RECIPES["cifar10-convnet"], train_size=300, batch_size=64, num_epochs=2)
ctx = "cpu"
results = Path("../results")
"""
each = pytest.mark.parametrize("name", PICTURES)


def code_cells(notebook):
    return {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}


def executed(name):
    """Give the cells of a notebook as it is committed, if it is committed with outputs."""
    cells = code_cells(read(name))
    if not any(cell.outputs for cell in cells.values()):
        pytest.skip(f"{name} is committed without outputs")
    return cells


def text(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


def pictures(cell):
    """Decode a cell's pictures."""
    data = [
        output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})
    ]
    return [Image.open(io.BytesIO(base64.b64decode(picture))) for picture in data]


def read(name):
    return nbformat.read(NOTEBOOKS / name, as_version=4)


def execute(name, settings, folder):
    """Run a notebook from top to bottom with other settings, in a folder that gets its runs."""
    notebook = read(name)
    (cell,) = (c for c in notebook.cells if "parameters" in c.metadata.get("tags", ()))
    cell.source = settings
    resources = dict(metadata=dict(path=str(folder)))
    nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute()
    assert [path.name for path in folder.iterdir()] == ["runs"]
    return notebook


@pytest.fixture(scope="module")
def alexnet(fashion_mnist, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clone")
    (folder / "notebooks").mkdir()
    (folder / "results").symlink_to(NOTEBOOKS / "../results")
    return execute("alexnet.ipynb", SMALL, folder / "notebooks")


@pytest.fixture(scope="module")
def alexnet_cifar10(cifar10, tmp_path_factory):
    """Beside it lie the logs of two runs of AlexNet, and the committed run of the ConvNet."""
    folder = tmp_path_factory.mktemp("clone")
    for run, rates in (("", [0.1, 0.1, 0.01, 0.01]), ("-constant", [0.1] * 4)):
        losses = [1.5, 2.0, 1.25, 1.0] if 0.01 in rates else [1.5, 2.0, 2.25, 3e28]
        accuracies = dict(train_accuracy=0.5, valid_accuracy=0.4, test_accuracy=0.3)
        others = dict(running_train_accuracy=0.4, seconds=48.0, images_per_second=1000.0)
        rows = [
            dict(epoch=n, loss=loss, learning_rate=rate, **accuracies, **others)
            for n, (loss, rate) in enumerate(zip(losses, rates), start=1)
        ]
        (folder / "results" / f"cifar10-alexnet{run}").mkdir(parents=True)
        write_history(folder / "results" / f"cifar10-alexnet{run}" / "history.jsonl", rows)
    (folder / "results" / "cifar10-convnet").symlink_to(NOTEBOOKS / "../results/cifar10-convnet")
    (folder / "notebooks").mkdir()
    return execute("alexnet_cifar10.ipynb", SMALL_CIFAR10, folder / "notebooks")


def assert_everything_is_drawn(executed, expected):
    for name, cell in code_cells(executed).items():
        assert len(pictures(cell)) == (name in expected)
        kinds = {output.get("name", output.output_type) for output in cell.outputs}
        assert kinds <= {"stdout", "display_data", "execute_result"}, (name, text(cell))


def test_the_first_runs_from_top_to_bottom_and_draws_everything(alexnet):
    assert_everything_is_drawn(alexnet, PICTURES["alexnet.ipynb"])
    cells = code_cells(alexnet)
    assert "(1, 256, 1, 1)" in text(cells["shapes-code"])  # at 67 pixels the net is smaller
    assert "64 images, loss " in text(cells["loop-code"])
    assert text(cells["lenet-code"]).count("test acc ") == 5
    assert text(cells["own-path-code"]).endswith(".000\n")
    assert text(cells["training-code"]).count("epoch 1, loss ") == 1
    assert "test accuracy " in text(cells["mistakes-code"])


def test_the_second_runs_from_top_to_bottom_and_draws_everything(alexnet_cifar10):
    assert_everything_is_drawn(alexnet_cifar10, PICTURES["alexnet_cifar10.ipynb"])
    cells = code_cells(alexnet_cifar10)
    assert "the smallest square that fits is (1, 3, 63, 63)" in text(cells["alexnet-small-code"])
    sizes = text(cells["alexnet-adaptive-code"]).splitlines()
    assert [line.split(" parameters")[0].split()[-1] for line in sizes] == ["57,044,810"] * 4
    assert "training: 512 images in 2 batches" in text(cells["data-split-code"])
    assert text(cells["overfitting-table"]).count("difference ") == 4
    assert "/200 = " in text(cells["mistakes-code"])


def test_the_second_reads_the_full_runs(alexnet_cifar10):
    cells = code_cells(alexnet_cifar10)
    *alexnets, convnet = text(cells["overfitting-full"]).splitlines()
    assert convnet.startswith("cifar10-convnet, after epoch 50: training 1.000, ")
    assert alexnets == [
        "cifar10-alexnet, after epoch 4: training 0.500, validation 0.400, test 0.300",
        "cifar10-alexnet-constant, after epoch 4: training 0.500, validation 0.400, test 0.300",
    ]
    assert text(cells["descent-numbers-code"]).splitlines() == [
        "with the cut: loss before epoch 3: lowest 1.5, last 2; in the next 2 epochs: 1 to 1.25",
        "without the cut: loss before epoch 3: lowest 1.5, last 2; in the next 2 epochs: 2.25 to "
        "3e+28",
    ]


def test_a_large_learning_rate_fails_in_one_line(alexnet):
    *_, last = text(code_cells(alexnet)["next-rate"]).splitlines()
    assert "the loss is NaN or infinite" in last
    assert "learning rate 0.9" in last


@each
def test_it_is_committed_with_the_outputs_of_one_run_of_all_cells(name):
    cells = executed(name)
    counts = [cell.execution_count for cell in cells.values()]
    assert counts == list(range(1, len(cells) + 1))
    for cell_name, cell in cells.items():
        assert len(pictures(cell)) == (cell_name in PICTURES[name])
        for picture in pictures(cell):
            assert np.ptp(np.asarray(picture)) == 255
    assert "/10000 = " in text(cells["mistakes-code"])


def test_they_are_committed_with_the_lectures_own_nets():
    assert "46,764,746" in text(executed("alexnet.ipynb")["shapes-picture-code"])
    assert "57,044,810" in text(executed("alexnet_cifar10.ipynb")["alexnet-code"])


@each
def test_it_is_committed_without_traces_of_a_machine(name):
    raw = (NOTEBOOKS / name).read_text()
    assert "iopub" not in raw
    assert "Traceback" not in raw
    for cell in code_cells(read(name)).values():
        assert not re.search(r"(^|[\s'\"(=])/\w+/", cell.source + "\n" + text(cell))  # a path
    assert raw.startswith('{\n "cells": [')
