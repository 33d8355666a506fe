"""Groups of equal size over the tokens on which a latent fires."""

from itertools import pairwise

import pytest
import torch

from part_utils.interpretation import quantile_groups


def test_groups_cover_every_firing_token_once_from_strong_to_weak():
    acts = torch.relu(torch.randn(7, 11, generator=torch.Generator().manual_seed(3)))
    groups = quantile_groups(acts, n_groups=4, seed=1)
    places = torch.cat([group.indices for group in groups])
    assert sorted(map(tuple, places.tolist())) == sorted(map(tuple, (acts > 0).nonzero().tolist()))
    sizes = [len(group.values) for group in groups]
    assert max(sizes) - min(sizes) <= 1
    for group in groups:
        assert torch.equal(acts[group.indices[:, 0], group.indices[:, 1]], group.values)
        assert (group.low, group.high) == (float(group.values.min()), float(group.values.max()))
    for stronger, weaker in pairwise(groups):
        assert stronger.low >= weaker.high


def test_the_order_within_a_group_is_random_and_repeatable():
    acts = torch.arange(1.0, 101.0).view(10, 10)
    first, again, other = (quantile_groups(acts, seed=seed)[0].values for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, first.sort(descending=True).values)


def test_too_few_tokens():
    with pytest.raises(ValueError, match="fires on 2 tokens"):
        quantile_groups(torch.tensor([[0.0, 1.0, 2.0]]), n_groups=3)
