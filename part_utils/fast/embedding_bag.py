"""Weighted sums of rows, and the quick twin of autograd through `torch.nn.functional.embedding_bag`."""

from functools import cached_property

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


class FiringPairs:
    """Inputs and the latents that fire on them, ordered by input: decoding and its gradients from these alone.

    Everything that is said of each pair is a vector.
    """

    def __init__(
        self,
        directions: Float[Tensor, "n_hidden_ae n_input_ae"],
        inputs: Int[Tensor, "pairs"],
        latents: Int[Tensor, "pairs"],
        n_inputs: int,
    ) -> None:
        self.directions, self.inputs, self.latents = directions, inputs, latents
        self.starts = offsets(inputs, n_inputs)

    def decode(self, values: Float[Tensor, "pairs"]) -> Float[Tensor, "batch n_input_ae"]:
        """Return what the decoder makes of the latents, without `b_dec`."""
        return weighted_sums(self.directions, self.latents, self.starts, values)

    def grad_values(self, slope: Float[Tensor, "batch n_input_ae"]) -> Float[Tensor, "pairs"]:
        """Return the gradients of `decode`'s values from those of its result."""
        return per_sample_weight_gradients(slope, self.directions, self.latents, self.starts, self.inputs)

    def by_latent(self, values: Float[Tensor, "pairs"]) -> Float[Tensor, "n_hidden_ae"]:
        """Add up one number of every pair, for each latent."""
        return values.new_zeros(len(self.directions)).index_add_(0, self.latents, values)

    @cached_property
    def order(self) -> Int[Tensor, "pairs"]:
        """The pairs ordered by latent."""
        return self.latents.to(torch.int32).sort(stable=True).indices

    def rows_by_latent(
        self, rows: Float[Tensor, "batch n_input_ae"], values: Float[Tensor, "pairs"]
    ) -> Float[Tensor, "n_hidden_ae n_input_ae"]:
        """Add up the row of every pair's input, times the pair's value, for each latent."""
        starts = offsets(self.latents, len(self.directions))
        return weighted_sums(rows, self.inputs[self.order], starts, values[self.order])
