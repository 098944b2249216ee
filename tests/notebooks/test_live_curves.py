import base64

import nbclient
import nbformat
import pytest
from kill_and_resume import write_small_run

pytestmark = pytest.mark.slow

CELL = """
from d2l_alexnet.callbacks import live_curves
live_curves.SECONDS_BETWEEN_PICTURES = 0
drawn = []
figures = live_curves.figures.live
live_curves.figures.live = lambda *given: drawn.append(figures(*given)) or drawn[-1]
train.train(
    dataclasses.replace(train.RECIPES["cifar10-convnet"], num_epochs=1, batch_size=4),
    callbacks=[live_curves.LiveCurves()], ctx="cpu", num_workers=0, out={out!r},
)
print(len(drawn), "figures")
"""


def test_a_picture_grows_in_the_cell_while_a_net_trains(cifar10, tmp_path):
    setup = write_small_run(tmp_path, "cifar10").replace("cli.run(train.main)", "")
    cell = setup + CELL.format(out=str(tmp_path / "run"))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs = notebook.cells[0].outputs
    (picture,) = [out for out in outputs if out.output_type == "display_data"]  # one, updated
    assert base64.b64decode(picture.data["image/png"]).startswith(b"\x89PNG")
    said = "".join(out.text for out in outputs if out.output_type == "stream")
    assert int(said.splitlines()[-1].split()[0]) > 5
