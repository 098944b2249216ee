from d2l_alexnet.recipes import LECTURE


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
