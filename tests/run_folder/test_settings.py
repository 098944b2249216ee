import dataclasses
import json
import re
from pathlib import Path

import mxnet as mx
import pytest

from d2l_alexnet.errors import InputError
from d2l_alexnet.nets import NETS
from d2l_alexnet.options import RunOptions
from d2l_alexnet.recipes import QUICK, RECIPES, Recipe
from d2l_alexnet.run_folder.settings import (
    ADDED,
    SETTINGS,
    SETTINGS_OF_RUN,
    read_settings,
    write_settings,
)

WHOLE, NAN = "a whole number", float("nan")
RESULTS = Path(__file__).parents[2] / "results"


@pytest.fixture
def settings(tmp_path):
    """The contents of an args.json."""
    write_settings(tmp_path, QUICK, RunOptions(), [mx.cpu()], num_workers=0)
    return json.loads((tmp_path / SETTINGS).read_text())


@pytest.fixture
def refused(tmp_path):
    """Write an args.json that is refused, and give the line that says why."""

    def write_and_read(text):
        (tmp_path / SETTINGS).write_bytes(text.encode(errors="surrogateescape"))
        message = f"^{tmp_path}/{SETTINGS}: not the settings of a run [(].*[)]$"
        with pytest.raises(InputError, match=message) as caught:
            read_settings(tmp_path)
        return str(caught.value)

    return write_and_read


def test_what_was_written_is_read(tmp_path):
    recipe = dataclasses.replace(QUICK, lr=0.25, optimizer_params=dict(beta2=0.9))
    options = RunOptions(seed=7, explain_gap=True)
    write_settings(tmp_path, recipe, options, [mx.cpu(0), mx.cpu(1)], num_workers=2, processes=3)
    assert read_settings(tmp_path) == (recipe, options)
    settings = json.loads((tmp_path / SETTINGS).read_text())
    assert (settings["ctx"], settings["processes"]) == ("cpu(0), cpu(1)", 3)


def test_a_run_has_one_process_if_nothing_else_is_said(settings):
    assert settings["processes"] == 1


def test_a_checkpoint_is_tied_to_every_setting_but_a_recipes_name():
    fields = {each.name for each in dataclasses.fields(Recipe)} | {"seed", "explain_gap"}
    assert {each.name for each in SETTINGS_OF_RUN} == fields - {"name", "published"}


RUNS = [
    str(path.parent.relative_to(RESULTS))
    for path in sorted(RESULTS.glob(f"**/{SETTINGS}"))
    if json.loads(path.read_text())["recipe"]["net"] in NETS  # an experiment may add its own
]


@pytest.mark.parametrize("run", RUNS)
def test_every_committed_run_can_be_read(run):
    """Some were written when a recipe had the number of channels, or fewer fields than now."""
    recipe, options = read_settings(RESULTS / run)
    assert recipe.name in RECIPES
    assert recipe.published == RECIPES[recipe.name].published
    assert options.seed in range(100)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (dict(net="resnet"), "there is no net 'resnet'"),
        (dict(data="mnist"), "there is no data set 'mnist'"),
        (dict(net=[]), "net is .., not a string"),
        (dict(color=1), "'color' is unknown"),
        (dict(published=[]), "'published' is unknown"),
        (dict(name=7), "name is 7, not a string"),
        (dict(batch_size="8"), f"batch_size is '8', not {WHOLE} that is at least 1"),
        (dict(batch_size=0), f"batch_size is 0, not {WHOLE}"),
        (dict(batch_size=-3), f"batch_size is -3, not {WHOLE}"),
        (dict(batch_size=True), f"batch_size is True, not {WHOLE}"),
        (dict(batch_size=8.0), f"batch_size is 8.0, not {WHOLE}"),
        (dict(batch_size=None), f"batch_size is None, not {WHOLE}"),
        (dict(num_epochs=10**400), f"num_epochs is 1000.*000, not {WHOLE}"),
        (dict(dropout=5), "dropout is 5, not a number that is at least 0 and below 1"),
        (dict(dropout=False), "dropout is False, not a number"),
        (dict(resize=0), f"resize is 0, not {WHOLE}"),
        (dict(margin=-1), f"margin is -1, not {WHOLE}"),
        (dict(augment=1), "augment is 1, not true or false"),
        (dict(train_size=70_000), "--train-size 70000: there are 60,000 training images in fash"),
        (dict(channels=0), "channels is 0, but images of fashion-mnist have 1"),
        (dict(channels=True), "channels is True, but images of fashion-mnist have 1"),
        (dict(channels=3), "channels is 3, but images of fashion-mnist have 1"),
        (dict(channels=1, data="cifar10"), "channels is 1, but images of cifar10 have 3"),
        (dict(lr=NAN), "NaN is not a finite number"),
        (dict(lr=-1), "lr is -1, not a number that is at least 1e-30 and at most 1e[+]30"),
        (dict(lr=0), "lr is 0, not a number"),
        (dict(lr=1e39), "lr is 1e[+]39, not a number"),
        (dict(lr=1e308), "lr is 1e[+]308, not a number"),
        (dict(lr_since=0), f"lr_since is 0, not {WHOLE}"),
        (dict(warmup_steps=-1), f"warmup_steps is -1, not {WHOLE}"),
        (dict(decay="yes"), "decay is 'yes', not true or false"),
        (dict(dtype="float8"), "dtype is 'float8', not one of float32, bfloat16, float16"),
        (dict(dtype=[]), "dtype is .., not one of float32, bfloat16, float16"),
        (dict(optimizer="magic"), "MXNet cannot use optimizer 'magic' with {"),
        (dict(optimizer_params=dict(color=1)), "MXNet cannot use optimizer 'adam' with {'color'"),
        (dict(optimizer_params=dict(beta1=1)), "MXNet cannot use optimizer 'adam' with {'beta1'"),
        (dict(optimizer_params=dict(beta2="x")), "MXNet cannot use optimizer 'adam' with {'beta2'"),
        (dict(optimizer_params=dict(wd=1e39)), "MXNet cannot use optimizer 'adam' with"),
        (dict(optimizer_params=dict(wd=[])), "MXNet cannot use optimizer 'adam' with"),
        (dict(optimizer_params=dict(lr_scheduler=1)), "lr_scheduler cannot be in optimizer_params"),
        (dict(optimizer_params=[]), "optimizer_params is .., not an object"),
        (dict(initializer="magic"), "MXNet cannot use initializer 'magic' with {"),
        (dict(initializer='["one"'), "MXNet cannot use initializer"),
        (dict(initializer_params=dict(rnd_type="x")), "MXNet cannot use initializer 'xavier' with"),
        (dict(initializer_params=dict(magnitude=-1)), "MXNet cannot use initializer 'xavier' with"),
        (dict(initializer_params=dict(color=1)), "MXNet cannot use initializer 'xavier' with {'c"),
        (dict(initializer="constant", initializer_params=dict(value=None)), "initializer 'constan"),
        (dict(plateau=dict(factor=0.1)), "plateau: fashion-mnist has no validation images"),
        (dict(plateau=dict(factor=2)), "factor is 2, not a number that is above 0 and below 1"),
        (dict(plateau=dict(patience=1.5)), f"patience is 1.5, not {WHOLE}"),
        (dict(plateau=dict(threshold="x")), "threshold is 'x', not a number that is at least 0"),
        (dict(plateau=dict(color=1)), "'color' is unknown"),
        (dict(plateau=7), "plateau is 7, not an object"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(settings, refused, change, why):
    settings["recipe"].update(change)
    assert re.search(why, refused(json.dumps(settings)))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (dict(recipe=None), "recipe is None, not an object"),
        (dict(seed=-1), f"seed is -1, not {WHOLE} that is at least 0 and at most 2147483647"),
        (dict(seed=2**31), f"seed is 2147483648, not {WHOLE}"),
        (dict(seed=0.5), f"seed is 0.5, not {WHOLE}"),
        (dict(seed=False), f"seed is False, not {WHOLE}"),
        (dict(explain_gap=0), "explain_gap is 0, not true or false"),
        (dict(processes=0), f"processes is 0, not {WHOLE}"),
        (dict(num_workers=-1), f"num_workers is -1, not {WHOLE}"),
        (dict(device=None), "device is None, not a string"),
        (dict(color=1), "'color' is unknown"),
    ],
)
def test_what_is_beside_the_recipe_is_checked_too(settings, refused, change, why):
    assert re.search(why, refused(json.dumps({**settings, **change})))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "Expecting property name"),
        ("[]", ".. is not an object with names and values"),
        ("[" * 100_000 + "]" * 100_000, "the JSON is nested too deeply"),
        ('{"recipe": ' * 100_000, "the JSON is nested too deeply"),
        ('{"seed": 1, "seed": 2}', "'seed' occurs twice"),
        ('{"seed": 1' + "0" * 5_000 + "}", ""),
        ("\udcff", "can't decode byte"),
    ],
)
def test_what_is_not_such_json_is_one_line(refused, text, why):
    assert re.search(why, refused(text))


@pytest.mark.parametrize(
    "name", [f.name for f in dataclasses.fields(QUICK) if f.name != "published"]
)
def test_no_field_of_a_recipe_may_be_missing(settings, refused, name):
    """Its default would be another setting."""
    del settings["recipe"][name]
    assert f"({name} is missing)" in refused(json.dumps(settings))


def test_the_first_runs_of_0_1_0_had_fewer_fields(settings, tmp_path):
    for name in ADDED:
        del settings["recipe"][name]
    del settings["processes"]
    (tmp_path / SETTINGS).write_text(json.dumps(settings))
    assert read_settings(tmp_path)[0] == QUICK


def test_the_path_of_the_file_is_not_that_of_the_folder(tmp_path):
    (tmp_path / "args.json").touch()
    with pytest.raises(InputError, match="args.json: not a folder; give the folder of a run$"):
        read_settings(tmp_path / "args.json")
