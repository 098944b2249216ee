import dataclasses
import json
from pathlib import Path

import mxnet as mx
import pytest

from d2l_alexnet.errors import InputError
from d2l_alexnet.options import RunOptions
from d2l_alexnet.recipes import QUICK, RECIPES
from d2l_alexnet.run_folder.settings import SETTINGS, read_settings, write_settings

RESULTS = Path(__file__).parents[2] / "results"


def test_what_was_written_is_read(tmp_path):
    recipe = dataclasses.replace(QUICK, lr=0.25, optimizer_params=dict(beta2=0.9))
    options = RunOptions(seed=7, explain_gap=True)
    write_settings(tmp_path, recipe, options, [mx.cpu(0), mx.cpu(1)], num_workers=2, processes=3)
    assert read_settings(tmp_path) == (recipe, options)
    settings = json.loads((tmp_path / SETTINGS).read_text())
    assert (settings["ctx"], settings["processes"]) == ("cpu(0), cpu(1)", 3)


@pytest.mark.parametrize("run", sorted(path.parent.name for path in RESULTS.glob(f"*/{SETTINGS}")))
def test_every_committed_run_can_be_read(run):
    """Some were written when a recipe had the number of channels."""
    recipe, options = read_settings(RESULTS / run)
    assert recipe.name in RECIPES
    assert recipe.published == RECIPES[recipe.name].published
    assert options.seed in (0, 1, 2)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (dict(net="resnet"), "there is no net 'resnet'"),
        (dict(data="mnist"), "there is no data set 'mnist'"),
        (dict(batch_size="8"), "batch_size is '8'"),
        (dict(colour=1), "unexpected keyword argument 'colour'"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(tmp_path, change, why):
    write_settings(tmp_path, QUICK, RunOptions(), [mx.cpu()], num_workers=0)
    settings = json.loads((tmp_path / SETTINGS).read_text())
    settings["recipe"].update(change)
    (tmp_path / SETTINGS).write_text(json.dumps(settings))
    with pytest.raises(InputError, match=f"^{tmp_path}/{SETTINGS}: not the settings of .*{why}"):
        read_settings(tmp_path)
