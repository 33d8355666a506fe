"""TopK: a chosen number of latents fires."""

import torch
from jaxtyping import Float
from torch import Tensor

from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig


def topk(
    pre_acts: Float[Tensor, "batch n_instances n_hidden_ae"], k: int
) -> Float[Tensor, "batch n_instances n_hidden_ae"]:
    """Let the k largest latents of every input fire, and no others.

    Of equal pre-activations any may be taken, but never more than k in all. A pre-activation below zero gives 0 even
    where it is among the k largest. Gradients flow to the latents that fire, and to no others.

    Args:
        pre_acts: what the encoder computes, of either sign.
        k: how many latents of every input and instance fire at most.

    Returns:
        The latents: the pre-activation itself where a latent fires, 0 elsewhere.
    """
    values, latents = pre_acts.topk(k, dim=-1)
    return torch.zeros_like(pre_acts).scatter(-1, latents, torch.relu(values))


class TopKAutoEncoder(AutoEncoder):
    """Only the k largest latents of every input fire (Gao et al. 2024, "Scaling and evaluating sparse autoencoders").

        pre             = (h - b_dec) W_enc + b_enc
        acts            = ReLU(pre) where rank_scale * pre is among the k largest, 0 elsewhere
        h_reconstructed = acts W_dec + b_dec
        loss            = mean (h - h_reconstructed)^2

    The number of latents that fire is chosen, not bargained for with a penalty, so nothing shrinks them. The
    L1 of the output is measured, but not part of the loss unless `cfg.l1_coeff` is above zero.
    """

    rank_scale: Float[Tensor, "n_instances n_hidden_ae"]
    """1, unless the autoencoder was trained with decoder rows of other lengths: then 1 / length, so that bringing
    the rows to unit length does not change which latents are the largest."""

    def __init__(self, cfg: AutoEncoderConfig, k: int, device: torch.device | str | None = None) -> None:
        """Make the parameters, as in `AutoEncoder`.

        Args:
            cfg: the sizes.
            k: how many latents fire on each input at most.
            device: where the parameters are made.

        Raises:
            ValueError: k is not between 1 and the number of latents.
        """
        if not 1 <= k <= cfg.n_hidden_ae:
            raise ValueError(f"k is {k}, but must be between 1 and the {cfg.n_hidden_ae} latents.")
        super().__init__(cfg, device)
        self.k = k
        self.register_buffer("rank_scale", torch.ones(cfg.n_instances, cfg.n_hidden_ae, device=device))

    def activation(
        self, pre_acts: Float[Tensor, "batch n_instances n_hidden_ae"]
    ) -> Float[Tensor, "batch n_instances n_hidden_ae"]:
        """Return the k largest pre-activations where they are positive, zero elsewhere."""
        return topk(pre_acts * self.rank_scale, self.k) / self.rank_scale
