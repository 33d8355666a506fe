"""Choosing which tokens of a latent to look at: not only the strongest."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class QuantileGroup(NamedTuple):
    """Some of the tokens on which a latent fires: those of one range of strength."""

    low: float
    """The weakest activation of the group."""
    high: float
    """The strongest."""
    indices: Int[Tensor, "n 2"]
    """The (batch, seq) position of every token of the group, in random order."""
    values: Float[Tensor, "n"]
    """The activation there."""


def quantile_groups(
    acts: Float[Tensor, "batch seq"], n_groups: int = 4, seed: int = 0
) -> list[QuantileGroup]:
    """Divide the tokens on which a latent fires into groups of equal size, the strongest first.

    Args:
        acts: the latent's activations on a text.
        n_groups: how many groups.
        seed: where the random order within the groups comes from.

    Raises:
        ValueError: the latent fires on fewer tokens than there are groups.
    """
    indices = (acts > 0).nonzero()
    if len(indices) < n_groups:
        raise ValueError(
            f"The latent fires on {len(indices)} tokens of this text, too few for {n_groups} groups; take more text."
        )
    order = acts[acts > 0].argsort(descending=True)
    generator = torch.Generator().manual_seed(seed)
    groups = []
    for part in order.tensor_split(n_groups):
        part = part[torch.randperm(len(part), generator=generator).to(part.device)]
        values = acts[acts > 0][part]
        groups.append(QuantileGroup(float(values.min()), float(values.max()), indices[part], values))
    return groups
