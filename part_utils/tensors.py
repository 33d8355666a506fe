"""Exercises 0.1 to 0.3: which axis is the row, which is the column, and what einsum does about it."""

import einops
from jaxtyping import Float
from torch import Tensor

from part_utils.shapes import check_shapes

# A vector shorter than this has no direction: it is returned as it is (zero), never divided by zero.
SMALLEST_NORM = 1e-8


@check_shapes
def project_features(
    features: Float[Tensor, "batch instances features"],
    W: Float[Tensor, "instances hidden features"],
) -> Float[Tensor, "batch instances hidden"]:
    """Send every feature vector through the W of its own instance.

    In the notation of a textbook this is `h = W x`, once for each element of the batch and each instance.

    Args:
        features: the vectors x, one for each element of the batch and each instance.
        W: one matrix for each instance.

    Returns:
        The vectors h. Instance i of the result depends on instance i of `features` and of `W` only.
    """
    return einops.einsum(
        features, W, "batch instances features, instances hidden features -> batch instances hidden"
    )


@check_shapes
def reconstruct(
    acts: Float[Tensor, "batch n_instances n_hidden_ae"],
    W_dec: Float[Tensor, "n_instances n_hidden_ae n_input_ae"],
) -> Float[Tensor, "batch n_instances n_input_ae"]:
    """Decode: add up the direction of every latent, each as often as the latent is active.

    `W_dec[instance, latent]` is the direction of one latent, a vector of length n_input_ae.

    Args:
        acts: how active every latent is.
        W_dec: one direction for each instance and latent.

    Returns:
        The sum over latents of activation times direction.
    """
    return einops.einsum(
        acts,
        W_dec,
        "batch n_instances n_hidden_ae, n_instances n_hidden_ae n_input_ae -> batch n_instances n_input_ae",
    )


@check_shapes
def decoder_as_matrix(
    W_dec: Float[Tensor, "n_instances n_hidden_ae n_input_ae"],
    instance: int,
) -> Float[Tensor, "n_input_ae n_hidden_ae"]:
    """The matrix M of the papers, for one instance: `M @ z` is the reconstruction from the latents z.

    Papers multiply from the left by a matrix whose columns are the directions. The result must agree with
    `reconstruct`: for any vector z of latents, `decoder_as_matrix(W_dec, i) @ z` is what `reconstruct` gives
    for instance i.

    Args:
        W_dec: one direction for each instance and latent.
        instance: which instance to take.

    Returns:
        The matrix M. Column f of M is the direction of latent f.
    """
    return W_dec[instance].mT
