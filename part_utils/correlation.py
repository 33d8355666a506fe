"""Correlations of the latents of two autoencoders over a text of any length: exercise 5.6, a few tokens at a time."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from part_utils.memory import give_back
from part_utils.model_with_autoencoder import ModelWithAutoencoder

PIECE = 256
"""How many latents of the one group at a time: a product for all at once would be as large as their sums."""


class RunningCorrelation:
    """Pearson's correlation of every latent of one group with every latent of another, over streamed tokens."""

    def __init__(self, n_a: int, n_b: int) -> None:
        self.n_tokens = 0
        self.sum_a, self.squares_a = torch.zeros(2, n_a, dtype=torch.double)
        self.sum_b, self.squares_b = torch.zeros(2, n_b, dtype=torch.double)
        self.products = torch.zeros(n_a, n_b, dtype=torch.double)
        self.fired_b = torch.zeros(n_b, dtype=torch.long)

    def add(self, acts_a: Float[Tensor, "tokens n_a"], acts_b: Float[Tensor, "tokens n_b"]) -> None:
        """Take in some tokens. `acts_b` is used up: a new tensor of its size would cost more than the arithmetic."""
        self.n_tokens += len(acts_a)
        self.sum_a += acts_a.sum(dim=0)
        self.squares_a += acts_a.pow(2).sum(dim=0)
        self.sum_b += acts_b.sum(dim=0)
        for products, acts in zip(self.products.split(PIECE), acts_a.mT.split(PIECE), strict=True):
            products += acts @ acts_b
        self.squares_b += acts_b.square_().sum(dim=0)
        self.fired_b += acts_b.sign_().sum(dim=0).long()

    def correlation(self) -> Float[Tensor, "n_a n_b"]:
        """Return the correlations; 0 for a latent that did not change."""
        result = torch.empty(self.products.shape)
        for some in torch.arange(len(result)).split(PIECE):
            result[some] = self._rows(some)
        return result

    def largest(self) -> Float[Tensor, "n_a"]:
        """Return the largest correlation of every latent of the one group."""
        pieces = torch.arange(len(self.products)).split(PIECE)
        return torch.cat([self._rows(some).amax(dim=1) for some in pieces])

    def _rows(self, some: Int[Tensor, "n"]) -> Float[Tensor, "n n_b"]:
        """Return the correlations of some latents of the one group."""
        n = max(self.n_tokens, 1)
        mean_a, mean_b = self.sum_a[some] / n, self.sum_b / n
        std_a = (self.squares_a[some] / n - mean_a.pow(2)).clamp_min(0).sqrt()
        std_b = (self.squares_b / n - mean_b.pow(2)).clamp_min(0).sqrt()
        covariance = self.products[some] / n - torch.outer(mean_a, mean_b)
        scale = torch.outer(std_a, std_b)
        return torch.where(scale > 1e-12, covariance / scale.clamp_min(1e-12), 0).clamp(-1, 1).float()


@torch.no_grad()
def best_correlations(
    a: ModelWithAutoencoder,
    b: ModelWithAutoencoder,
    h: Float[Tensor, "tokens size"],
    latents: Int[Tensor, "n"],
    order: Int[Tensor, "tokens"] | None = None,
    batch_size: int = 512,
) -> Float[Tensor, "n"]:
    """Return for some latents of A the largest correlation of each with any latent of B.

    It is the `correlation` of `match_between_autoencoders`, without the latents of all tokens in memory.

    Args:
        a, b: the two autoencoders, of the same place.
        h: activations at that place, one row for each token; float16 takes half of the memory.
        latents: which latents of A.
        order: B gets the tokens in this order, such as a random one to see what chance gives.
        batch_size: how many tokens at a time.
    """
    give_back()  # What is left over from reading the activations.
    running = RunningCorrelation(len(latents), b.n_latents)
    order = torch.arange(len(h)) if order is None else order
    for rows, others in zip(h.split(batch_size), order.split(batch_size), strict=True):
        running.add(a.encode(rows[:, None].float(), latents), b.encode(h[others][:, None].float()))
    give_back()
    return running.largest()
