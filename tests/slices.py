"""Small parts of the real data sets, for the tests."""

import dataclasses

from d2l_alexnet.data import DATA_SETS


def first_images(sets):
    """Give the first 300 training images and the first 70 test images, with their labels."""
    (train_images, train_labels), (test_images, test_labels) = sets
    return (train_images[:300], train_labels[:300]), (test_images[:70], test_labels[:70])


def show_slices(monkeypatch, name, sets):
    """Let a data set have its first images alone, and give them."""
    slices = first_images(sets)
    dataset = dataclasses.replace(DATA_SETS[name], read=lambda data_dir: slices)
    monkeypatch.setitem(DATA_SETS, name, dataset)
    return slices
