import dataclasses
import gc

import pytest

from d2l_alexnet.data.load import load_data
from d2l_alexnet.data.samplers import ShardedSampler, ShuffledSampler, ShuffledSamplerWithNumbers
from d2l_alexnet.options import RunOptions
from d2l_alexnet.recipes import LECTURE


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


def test_a_shard_keeps_the_workers_of_the_loader_that_it_was_made_from(small_data):
    recipe = dataclasses.replace(LECTURE, resize=28, train_size=24, batch_size=8)
    shard = load_data(recipe, RunOptions(num_workers=1))[0].shard(1, 2)
    gc.collect()
    with shard:
        assert [len(y) for _, y in shard] == [4, 4, 4]
    assert not any(worker.is_alive() for worker in shard.workers)


def indices(sampler):
    return [sample[0] if isinstance(sample, tuple) else sample for sample in sampler]
