"""What the checks of chapter 6 share: choosing the largest pre-activations of a group."""

from __future__ import annotations

import torch
from torch import Tensor

ACTS = "batch n_instances n_hidden_ae"


def largest(values: Tensor, count: int, dims: tuple[int, ...]) -> Tensor:
    """Say where the `count` largest values of each group are; a group runs over these axes."""
    others = [axis for axis in range(values.ndim) if axis not in dims]
    order = [*others, *dims]
    moved = values.permute(order)
    flat = moved.reshape(*moved.shape[: len(others)], -1)
    places = flat.topk(count, dim=-1).indices
    chosen = torch.zeros_like(flat, dtype=torch.bool).scatter(-1, places, True)
    back = [order.index(axis) for axis in range(values.ndim)]
    return chosen.reshape(moved.shape).permute(back)


def kept(values: Tensor, chosen: Tensor) -> Tensor:
    """Return the chosen values, and 0 elsewhere."""
    return torch.where(chosen, values, torch.zeros(()))
