"""Exercise 7.5: how much of what an autoencoder leaves unexplained can be predicted from its input.

After Engels, Riggs and Tegmark 2024, "Decomposing the dark matter of sparse autoencoders".
"""

import torch
from jaxtyping import Float
from torch import Tensor


def error_r2(
    h: Float[Tensor, "tokens d"],
    error: Float[Tensor, "tokens d_error"],
    h_held_out: Float[Tensor, "tokens_held_out d"],
    error_held_out: Float[Tensor, "tokens_held_out d_error"],
) -> float:
    """Return how much of an error a linear map of the input predicts, on text that the map was not fitted on.

    The map has an intercept: `error ≈ h @ A + c`, with the `A` and `c` of least squares on `h` and `error`. With what
    it predicts on the held-out text the result is

        R² = 1 - Σ (error - predicted)² / Σ (error - mean error)²

    where both sums go over all held-out tokens and all dimensions, and the mean error is that of the held-out text.

    Args:
        h: the inputs of an autoencoder, on the text to fit on; many more than there are dimensions.
        error: what it leaves unexplained there, `h - h_reconstructed`, or something that was computed from it.
        h_held_out: the inputs on another text.
        error_held_out: what it leaves unexplained there.
    """
    with_one = torch.cat([h, torch.ones(len(h), 1)], dim=1)
    A = torch.linalg.lstsq(with_one, error).solution
    predicted = h_held_out @ A[:-1] + A[-1]
    left = (error_held_out - predicted).pow(2).sum()
    return 1 - (left / (error_held_out - error_held_out.mean(dim=0)).pow(2).sum()).item()
