"""How well an autoencoder's latents match the features of a toy model, which are known."""

import einops
import torch
from jaxtyping import Float
from torch import Tensor

from part_utils.tensors import SMALLEST_NORM


@torch.no_grad()
def match_features(
    W_toy: Float[Tensor, "n_instances n_hidden n_features"],
    W_dec: Float[Tensor, "n_instances n_hidden_ae n_input_ae"],
) -> Float[Tensor, "n_instances n_features"]:
    """Say how well each feature of a toy model was found by an autoencoder.

    Pair the features with decoder rows one to one, so that no row serves two features and the sum of
    the cosine similarities is as large as possible (the assignment problem). Every instance is paired
    on its own.

    Args:
        W_toy: the toy model's weights; the direction of feature f is `W_toy[instance, :, f]`.
        W_dec: the decoder; the direction of latent j is `W_dec[instance, j, :]`. Any length, not only unit.

    Returns:
        The cosine similarity of every feature with its own latent, shape `n_instances n_features`.
        It is 0 for a feature without a latent (there are fewer latents than features).
    """
    from scipy.optimize import linear_sum_assignment

    similarity = feature_latent_similarity(W_toy, W_dec)
    matched = torch.zeros_like(similarity[:, :, 0])
    for instance, table in enumerate(similarity):
        features, latents = map(torch.as_tensor, linear_sum_assignment(table.cpu(), maximize=True))
        matched[instance, features] = table[features, latents]
    return matched


def feature_latent_similarity(
    W_toy: Float[Tensor, "n_instances n_hidden n_features"],
    W_dec: Float[Tensor, "n_instances n_hidden_ae n_input_ae"],
) -> Float[Tensor, "n_instances n_features n_hidden_ae"]:
    """Return the cosine similarity of every feature with every decoder row; 0 where one has no length."""
    if W_toy.ndim != 3 or W_dec.ndim != 3 or W_toy.shape[:2] != (W_dec.shape[0], W_dec.shape[2]):
        raise ValueError(
            f"W_toy has shape {tuple(W_toy.shape)} and W_dec {tuple(W_dec.shape)}, but their instances and"
            " hidden sizes must agree; pass W_toy as (n_instances, n_hidden, n_features) and W_dec as"
            " (n_instances, n_latents, n_hidden)."
        )
    features = W_toy / W_toy.norm(dim=1, keepdim=True).clamp_min(SMALLEST_NORM)
    latents = W_dec / W_dec.norm(dim=2, keepdim=True).clamp_min(SMALLEST_NORM)
    return einops.einsum(
        features,
        latents,
        "n_instances n_hidden n_features, n_instances n_latents n_hidden -> n_instances n_features n_latents",
    )


def living_rows(
    W_dec: Float[Tensor, "n_instances n_hidden_ae n_input_ae"],
    firing_rate: Float[Tensor, "n_instances n_hidden_ae"],
    least_rate: float = 1e-3,
) -> Float[Tensor, "n_instances n_hidden_ae n_input_ae"]:
    """Return the decoder with zeros in the rows of latents that hardly ever fire.

    A latent that never fires can still have a decoder row that points along a feature, left over from
    the start or from a time when it fired. It finds nothing. A row of zeros has no direction, so
    `match_features` gives a feature that is paired with it a 0.

    Args:
        W_dec: the decoder.
        firing_rate: the share of the inputs on which each latent fires.
        least_rate: a latent counts when it fires on a larger share of the inputs than this.
    """
    return W_dec * (firing_rate > least_rate).unsqueeze(-1)


def share_recovered(
    W_toy: Float[Tensor, "n_instances n_hidden n_features"],
    W_dec: Float[Tensor, "n_instances n_hidden_ae n_input_ae"],
    firing_rate: Float[Tensor, "n_instances n_hidden_ae"],
    threshold: float = 0.95,
    least_rate: float = 1e-3,
) -> float:
    """Return the share of all toy features that have a living latent of their own above `threshold`.

    Args:
        W_toy: the toy model's weights.
        W_dec: the decoder.
        firing_rate: the share of the inputs on which each latent fires (see `living_rows`).
        threshold: the cosine similarity from which a feature counts as found.
        least_rate: a latent counts when it fires on a larger share of the inputs than this.
    """
    matched = match_features(W_toy, living_rows(W_dec, firing_rate, least_rate))
    return (matched > threshold).float().mean().item()
