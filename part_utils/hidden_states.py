"""The hidden states of a toy model, which an autoencoder is trained on."""

from collections.abc import Iterator

import einops
import torch
from jaxtyping import Float
from torch import Tensor

from part_utils.toy_model import NeuronModel, ToyModel


def all_hidden_states(
    model: ToyModel, batch_size: int
) -> Iterator[tuple[Float[Tensor, "n_instances n_hidden inputs"], Float[Tensor, "n_instances 1 inputs"]]]:
    """Yield batch after batch of a toy model's hidden states, every input with the same weight."""
    while True:
        h = hidden_states(model, model.training_batch(batch_size)).detach()
        h = einops.rearrange(h, "batch n_instances n_hidden -> n_instances n_hidden batch").contiguous()
        yield h, h.new_full((len(h), 1, batch_size), 1 / batch_size)


@torch.no_grad()
def hidden_states(
    model: ToyModel, features: Float[Tensor, "batch n_instances n_features"]
) -> Float[Tensor, "batch n_instances n_hidden"]:
    """Return a toy model's hidden layer for these features: W x, and its ReLU if it is a NeuronModel."""
    h = einops.einsum(
        features,
        model.W,
        "batch n_instances n_features, n_instances n_hidden n_features -> batch n_instances n_hidden",
    )
    return torch.relu(h) if isinstance(model, NeuronModel) else h
