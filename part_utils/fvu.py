"""How much of the activations a reconstruction leaves unexplained."""

from jaxtyping import Float
from torch import Tensor


def fvu(
    h: Float[Tensor, "batch *n_instances size"], h_reconstructed: Float[Tensor, "batch *n_instances size"]
) -> Float[Tensor, "*n_instances"]:
    """Return the fraction of variance unexplained, Σ‖h − ĥ‖² / Σ‖h − h̄‖², for each instance.

    Args:
        h: activations.
        h_reconstructed: what an autoencoder made of them.
    """
    error, variance = (h - h_reconstructed).pow(2), (h - h.mean(dim=0)).pow(2)
    return error.sum(dim=(0, -1)) / variance.sum(dim=(0, -1))
