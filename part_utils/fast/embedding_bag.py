"""The quick twin of autograd through `torch.nn.functional.embedding_bag`."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


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
