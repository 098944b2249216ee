from d2l_alexnet.recipes import LECTURE, LENET


def test_the_lectures_recipe_is_as_published():
    assert (LECTURE.net, LECTURE.resize, LECTURE.train_size) == ("alexnet", 224, 60_000)
    assert (LECTURE.batch_size, LECTURE.num_epochs, LECTURE.lr) == (128, 5, 0.01)
    assert (LECTURE.optimizer, LECTURE.optimizer_params) == ("sgd", {})
    assert (LECTURE.initializer, LECTURE.initializer_params) == ("xavier", {})
    assert [row["test_accuracy"] for row in LECTURE.published] == [
        0.745,
        0.815,
        0.831,
        0.855,
        0.867,
    ]


def test_lenets_recipe_is_as_published():
    assert (LENET.data, LENET.net, LENET.resize, LENET.train_size) == (
        *("fashion-mnist", "lenet", 28, 60_000),
    )
    assert (LENET.batch_size, LENET.num_epochs, LENET.lr) == (256, 5, 0.9)
    assert (LENET.optimizer, LENET.initializer, LENET.dropout) == ("sgd", "xavier", 0)
    losses = [row["loss"] for row in LENET.published]
    assert losses == [2.3210, 2.3002, 1.3393, 0.8431, 0.6986]
