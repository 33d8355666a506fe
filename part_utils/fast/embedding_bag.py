"""Weighted sums of rows, and the quick twin of autograd through `torch.nn.functional.embedding_bag`."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def offsets(bag_of: Int[Tensor, "n"], bags: int) -> Int[Tensor, "bags"]:
    """Return where each bag begins among elements that are ordered by bag."""
    sizes = torch.bincount(bag_of, minlength=bags)
    return sizes.cumsum(0) - sizes


def weighted_sums(
    rows: Float[Tensor, "rows size"],
    which: Int[Tensor, "active"],
    starts: Int[Tensor, "sums"],
    weights: Float[Tensor, "active"],
) -> Float[Tensor, "sums size"]:
    """For every sum: its part of `which`, from its start to the next one's, picks rows that are added up."""
    return F.embedding_bag(which, rows, starts, mode="sum", per_sample_weights=weights)


def per_sample_weight_gradients(
    grad_output: Float[Tensor, "bags width"],
    table: Float[Tensor, "rows width"],
    indices: Int[Tensor, "n"],
    offsets: Int[Tensor, "bags"],
    bag_of: Int[Tensor, "n"],
) -> Float[Tensor, "n"]:
    """Return the gradient of the weights with which `embedding_bag(mode="sum")` adds up rows of a table.

    Args:
        grad_output: the gradient of what it returned.
        table: the table.
        indices: which row each weight belongs to.
        offsets: where in `indices` each bag begins.
        bag_of: which bag each weight is in.
    """
    mode_sum = 0
    return torch.ops.aten._embedding_bag_per_sample_weights_backward(
        grad_output, table, indices, offsets, bag_of, mode_sum
    )
