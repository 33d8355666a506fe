"""The quick twin of `all_hidden_states`: inputs in which no feature is present are computed once, not one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from part_utils.toy_model import ToyModel

# How many numbers are drawn at once while training: enough to be fast, few enough to stay in the cache.
MAX_DRAW = 2**18


def draw_present_features(
    feature_probability: Float[Tensor, "n_instances n_features"], batch_size: int
) -> tuple[Float[Tensor, "n_instances n_features inputs"], Float[Tensor, "n_instances 1 inputs"]]:
    """Draw a batch of a plain toy model, leaving out the inputs in which no feature is present.

    At a feature probability of 1 % and 5 features, 95 % of all inputs are empty, and one of them tells as
    much as all. So first draw how many inputs of the batch have feature 0, how many of the others have
    feature 1, and so on; the rest are empty. The order of the inputs does not matter, so those with feature 0
    come first, then those without it but with feature 1, and so on, and the last input is the empty one. In
    the row of feature f, then, the inputs on the left already have an earlier feature, and f is present by
    chance; after them come those that have f for sure; and on the right f is absent.

    The weights say which share of the batch an input stands for: 1 / batch_size if it has a feature (0 if it
    only fills up the tensor), and whatever is left for the empty one.
    """
    p = feature_probability
    left = torch.full_like(p[:, 0], batch_size)
    ends = [torch.zeros_like(left)]
    for feature in range(p.shape[1]):
        present = torch.binomial(left, p[:, feature])
        left = left - present
        ends.append(ends[-1] + present)
    edges = torch.stack(ends, dim=1).unsqueeze(-1)
    n_inputs = int(ends[-1].max()) + 1

    # One draw serves for presence and value: present if it is below p, and then 1 - draw / p is uniform.
    draw = torch.rand(*p.shape, n_inputs, device=p.device)
    by_chance = draw.mul(-1 / p.clamp_min(1e-12).unsqueeze(-1)).add_(1).relu_()
    position = torch.arange(n_inputs, device=p.device, dtype=p.dtype)
    for_sure = draw.where(position < edges[:, 1:], 0.0)
    features = by_chance.where(position < edges[:, :-1], for_sure)
    weight = (position < edges[:, -1]) / batch_size
    weight[:, -1] = left / batch_size
    return features, weight.unsqueeze(1)


def present_hidden_states(
    model: ToyModel, batch_size: int
) -> Iterator[tuple[Float[Tensor, "n_instances n_hidden inputs"], Float[Tensor, "n_instances 1 inputs"]]]:
    """Yield batch after batch of a toy model's hidden states, without the empty inputs, and their weights.

    Small batches are drawn several at a time, since each draw costs the same few calls however small it is.
    """
    p = model.feature_probability
    inputs = batch_size * (1 - (1 - p).prod(dim=-1)).max().item() + 1
    at_once = int(min(max(MAX_DRAW / (inputs * p.numel()), 1), 16))
    while True:
        features, weight = draw_present_features(p.repeat(at_once, 1), batch_size)
        h = torch.bmm(model.W.detach().repeat(at_once, 1, 1), features)
        yield from zip(h.chunk(at_once), weight.chunk(at_once), strict=True)
