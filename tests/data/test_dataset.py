import inspect
from dataclasses import replace

import numpy as np
import pytest

from d2l_alexnet.data import DATA_SETS, DataSet
from d2l_alexnet.errors import InputError
from d2l_alexnet.evaluate import classify, evaluate, load_net
from d2l_alexnet.recipes import RECIPES
from d2l_alexnet.train import train

pytestmark = pytest.mark.slow


def stripes():
    """Make a data set: images in color with horizontal or vertical stripes."""

    def read(data_dir):
        labels = np.arange(300, dtype=np.int32) % 2
        images = np.random.RandomState(0).randint(0, 100, (300, 20, 20, 3), np.uint8)
        images[labels == 0, ::4] += 150
        images[labels == 1, :, ::4] += 150
        return (images[:240], labels[:240]), (images[240:], labels[240:])

    classes = ("horizontal", "vertical")
    return DataSet("stripes", "Stripes", classes, channels=3, side=20, train_size=240, read=read)


RECIPE = replace(RECIPES["quick"], data="stripes", resize=67, train_size=240, batch_size=8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Register the data set, and train a net on it; give the run folder and the history."""
    out = tmp_path_factory.mktemp("stripes") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATA_SETS, "stripes", stripes())
        yield out, train(RECIPE, num_workers=0, ctx="cpu", out=out)


def test_a_data_set_takes_less_than_twenty_lines():
    assert len(inspect.getsource(stripes).splitlines()) < 20


def test_a_net_learns_it(trained):
    (row,) = trained[1]
    assert (row["epoch"], row["test_accuracy"] > 0.9) == (1, True)
    assert {"valid_accuracy", "train_accuracy"}.isdisjoint(row)


def test_the_net_has_an_output_for_each_class_and_takes_its_channels(trained):
    net, recipe, _ = load_net(trained[0], "cpu")
    assert recipe == RECIPE
    assert net[0].weight.shape[1] == 3
    assert net[-1].weight.shape[0] == 2


def test_the_net_is_evaluated(trained, tmp_path, capsys):
    out, history = trained
    evaluation = evaluate(out, num_workers=0, ctx="cpu", out=tmp_path)
    assert evaluation.y_hat.shape == (60, 2)
    assert evaluation.correct / 60 == history[-1]["test_accuracy"]
    assert "vertical" in capsys.readouterr().out


def test_without_from_picture_no_pictures_are_classified(trained):
    with pytest.raises(InputError, match="^[^\n]*Stripes[^\n]*$"):
        classify(trained[0], ["picture.png"], ctx="cpu")


def test_random_changes_are_refused_where_images_are_not_cropped_at_random(trained, tmp_path):
    for change, message in ((dict(augment=True), "--augment"), (dict(margin=1), "a margin of 1")):
        recipe = replace(RECIPE, resize=68, **change)
        with pytest.raises(InputError, match=f"^{message}: stripes has no random augmentation; "):
            train(recipe, num_workers=0, ctx="cpu", out=tmp_path / "run")


@pytest.mark.parametrize("name", ["fashion-mnist", "cifar10"])
def test_the_classes_of_a_data_set_have_names_of_their_own(name):
    assert len(set(DATA_SETS[name].classes)) == 10
