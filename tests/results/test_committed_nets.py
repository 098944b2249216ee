"""The committed nets are those of their logs, and need no training."""

from pathlib import Path

import pytest
from PIL import Image

from d2l_alexnet.data import DATA_SETS
from d2l_alexnet.data.load import load_data
from d2l_alexnet.data.loader import closing
from d2l_alexnet.evaluate import load_net
from d2l_alexnet.history import read_history
from d2l_alexnet.metrics import evaluate_accuracy
from d2l_alexnet.options import RunOptions

RESULTS = Path(__file__).parents[2] / "results"


@pytest.mark.parametrize("name", ["lenet", "cifar10-convnet"])
def test_a_committed_net_has_the_test_accuracy_of_its_log(name, request):
    net, recipe, ctx = load_net(RESULTS / name, "cpu")
    request.getfixturevalue(recipe.data.replace("-", "_"))  # the real data
    loaders = load_data(recipe, RunOptions(num_workers=0))
    test_iter = loaders[1]["test_accuracy"]
    with closing([loaders[0], *loaders[1].values()]):
        accuracy = evaluate_accuracy(net, test_iter, ctx)
    logged = read_history(RESULTS / name / "history.jsonl")[-1]["test_accuracy"]
    assert accuracy == pytest.approx(logged, abs=0.001)  # another CPU rounds otherwise


def test_the_committed_convnet_knows_most_photographs(run, cifar10, tmp_path):
    """The pictures are JPEG files of another size than the training images."""
    _, (images, labels) = DATA_SETS["cifar10"].read(None)
    pictures = [tmp_path / f"{number}.jpg" for number in range(20)]
    for picture, image in zip(pictures, images):
        Image.fromarray(image).resize((300, 300)).save(picture)
    printed = run("evaluate", RESULTS / "cifar10-convnet", "--images", *pictures).stdout
    first = [line.split(": ")[1].split(" ")[0] for line in printed.splitlines()]
    right = sum(a == DATA_SETS["cifar10"].classes[b] for a, b in zip(first, labels))
    assert right >= 12  # of 20, by a net with a test accuracy of 0.74
