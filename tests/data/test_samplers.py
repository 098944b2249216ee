import pytest

from d2l_alexnet.data.samplers import ShardedSampler, ShuffledSampler, ShuffledSamplerWithNumbers


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


def indices(sampler):
    return [sample[0] if isinstance(sample, tuple) else sample for sample in sampler]
