import dataclasses
import gc

import pytest

from d2l_alexnet.data.augment import RANDOM_NUMBERS
from d2l_alexnet.data.load import load_data
from d2l_alexnet.data.samplers import (
    DatasetWithNumbers,
    ShardedSampler,
    ShuffledSampler,
    ShuffledSamplerWithNumbers,
)
from d2l_alexnet.options import RunOptions
from d2l_alexnet.recipes import LECTURE


@pytest.mark.parametrize("kind", [ShuffledSampler, ShuffledSamplerWithNumbers])
def test_an_order_depends_on_seed_and_epoch_alone(kind):
    sampler, other = kind(22, seed=3), kind(22, seed=3)
    assert (len(sampler), sampler.epoch, sampler.skip) == (22, 1, 0)
    first, second = indices(sampler), indices(sampler)
    assert sorted(first) == sorted(second) == list(range(22))
    assert first != second
    assert indices(kind(22, seed=4)) != first
    other.epoch, other.skip = 2, 5
    assert indices(other) == second[5:]
    assert (other.epoch, other.skip) == (3, 0)


def test_orders_and_numbers_are_those_of_earlier_versions():
    """Or a run that an earlier version has begun would not go on as it was."""
    sampler = ShuffledSamplerWithNumbers(5, seed=3)
    assert indices(sampler) + indices(sampler) == [1, 0, 3, 2, 4, 3, 0, 1, 4, 2]
    assert sampler.random_numbers(2)[4, :2].tolist() == [0.7188239240658031, 0.8788128002554817]


def test_an_image_keeps_its_numbers_wherever_it_comes_in_the_order():
    sampler = ShuffledSamplerWithNumbers(6, seed=3)
    for _ in range(2):
        shuffled = {index: numbers.tolist() for index, numbers in sampler}
        in_order = sampler.in_order(4)
        assert len(in_order) == 4
        assert [(i, numbers.tolist()) for i, numbers in in_order] == sorted(shuffled.items())[:4]
        assert {len(numbers) for numbers in shuffled.values()} == {RANDOM_NUMBERS}
        assert len({tuple(numbers) for numbers in shuffled.values()}) == 6


def test_without_numbers_the_first_images_come_in_order_too():
    assert list(ShuffledSampler(22, seed=3).in_order(4)) == [0, 1, 2, 3]
    assert list(ShardedSampler(ShuffledSampler(22, seed=3), 8, 1, 2).in_order(4)) == [0, 1, 2, 3]


def test_an_item_is_an_image_with_the_numbers_of_its_key():
    dataset = DatasetWithNumbers(["first", "second"])
    assert len(dataset) == 2
    assert dataset[1, "numbers"] == ("second", "numbers")


@pytest.mark.parametrize("kind", [ShuffledSampler, ShuffledSamplerWithNumbers])
def test_shards_of_a_batch_are_equal_and_together_the_batch(kind):
    whole = kind(22, seed=3)
    parts = [ShardedSampler(kind(22, seed=3), 8, rank, 2) for rank in range(2)]
    for _ in range(2):
        order, (first, second) = indices(whole), map(indices, parts)
        assert order == [
            *(first[:4] + second[:4]),
            *(first[4:8] + second[4:8]),
            *(first[8:] + second[8:]),
        ]
    assert len(parts[0]) == len(first) == len(second) == 11
    parts[0].epoch, parts[0].skip = 2, 4
    assert indices(parts[0]) == first[4:]
    assert (parts[0].epoch, parts[0].skip) == (3, 0)


def test_a_shard_keeps_the_workers_of_the_loader_that_it_was_made_from(small_data):
    recipe = dataclasses.replace(LECTURE, resize=28, train_size=24, batch_size=8)
    shard = load_data(recipe, RunOptions(num_workers=1))[0].shard(1, 2)
    gc.collect()
    with shard:
        assert [len(y) for _, y in shard] == [4, 4, 4]
    assert not any(worker.is_alive() for worker in shard.workers)


def indices(sampler):
    return [sample[0] if isinstance(sample, tuple) else sample for sample in sampler]
