"""The notebook: run as it is, but for its settings, and looked at as it is committed."""

import base64
import io
import re
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest
from PIL import Image

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "alexnet.ipynb"
PICTURES = {
    "shapes-picture-code",
    "data-code",
    "result-code",
    "gap-code",
    "mistakes-confusion",
    "mistakes-sure-code",
    "filters-code",
    "filters-change-code",
}
SMALL = """
from d2l_alexnet import data

(train_images, train_labels), (test_images, test_labels) = fashion_mnist()
small = (train_images[:320], train_labels[:320]), (test_images[:200], test_labels[:200])
data.fashion_mnist = lambda data_dir=None: small
recipe = replace(RECIPES["quick"], resize=67, batch_size=32)
ctx = "cpu"
"""


def code_cells(notebook):
    return {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}


def text(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


def pictures(cell):
    """Decode a cell's pictures."""
    data = [
        output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})
    ]
    return [Image.open(io.BytesIO(base64.b64decode(picture))) for picture in data]


@pytest.fixture(scope="module")
def committed():
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def executed(fashion_mnist, tmp_path_factory):
    """The notebook, run from top to bottom with small data and small images."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (settings,) = (c for c in notebook.cells if "parameters" in c.metadata.get("tags", ()))
    settings.source = SMALL
    folder = tmp_path_factory.mktemp("notebook")
    resources = dict(metadata=dict(path=str(folder)))
    nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute()
    assert [path.name for path in folder.iterdir()] == ["runs"]
    return notebook


def test_it_runs_from_top_to_bottom_and_draws_everything(executed):
    cells = code_cells(executed)
    for name, cell in cells.items():
        assert len(pictures(cell)) == (name in PICTURES)
        kinds = {output.get("name", output.output_type) for output in cell.outputs}
        assert kinds <= {"stdout", "display_data", "execute_result"}
    assert "46,764,746" not in text(cells["shapes-code"])  # at 67 pixels the net is smaller
    assert text(cells["training-code"]).count("epoch 1, loss ") == 1
    assert "test accuracy " in text(cells["mistakes-code"])


def test_its_large_learning_rate_fails_in_one_line(executed):
    *_, last = text(code_cells(executed)["next-rate"]).splitlines()
    assert "the loss is no longer finite" in last
    assert "learning rate 0.9" in last


def test_it_is_committed_with_the_outputs_of_one_run_of_all_cells(committed):
    cells = code_cells(committed)
    counts = [cell.execution_count for cell in cells.values()]
    assert counts == list(range(1, len(cells) + 1))
    for name, cell in cells.items():
        assert len(pictures(cell)) == (name in PICTURES)
        for picture in pictures(cell):
            assert np.ptp(np.asarray(picture)) == 255
    assert "46,764,746" in text(cells["shapes-code"])
    assert "of 10,000" in text(cells["mistakes-code"]) or "/10000 = " in text(
        cells["mistakes-code"]
    )


def test_it_is_committed_without_traces_of_a_machine():
    raw = NOTEBOOK.read_text()
    assert "iopub" not in raw
    assert "Traceback" not in raw
    for cell in code_cells(nbformat.read(NOTEBOOK, as_version=4)).values():
        assert not re.search(r"(^|[\s'\"(=])/\w+/", cell.source + "\n" + text(cell))  # a path
    assert raw.startswith('{\n "cells": [')
