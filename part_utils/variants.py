"""Autoencoders that choose differently which latents fire."""

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig, AutoEncoderOutput


class TopKAutoEncoder(AutoEncoder):
    """Only the k largest latents of every input fire (Gao et al. 2024, "Scaling and evaluating sparse autoencoders").

        acts            = TopK(ReLU((h - b_dec) W_enc + b_enc))
        h_reconstructed = acts W_dec + b_dec
        loss            = mean (h - h_reconstructed)^2

    The number of latents that fire is chosen, not bargained for with a penalty, so nothing shrinks them. The
    L1 of the output is measured, but not part of the loss unless `cfg.l1_coeff` is above zero.
    """

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

    def encode(
        self, h: Float[Tensor, "batch n_instances n_input_ae"]
    ) -> Float[Tensor, "batch n_instances n_hidden_ae"]:
        """The latents: the k largest pre-activations where they are positive, zero elsewhere."""
        pre = (
            einsum(
                h - self.b_dec,
                self.W_enc,
                "batch n_instances n_input_ae, n_instances n_input_ae n_hidden_ae"
                " -> batch n_instances n_hidden_ae",
            )
            + self.b_enc
        )
        values, latents = pre.topk(self.k, dim=-1)
        return torch.zeros_like(pre).scatter(-1, latents, torch.relu(values))

    def forward(self, h: Float[Tensor, "batch n_instances n_input_ae"]) -> AutoEncoderOutput:
        """Encode with the k largest latents, decode, and measure the loss; see `AutoEncoder.forward`."""
        acts = self.encode(h)
        h_reconstructed = (
            einsum(
                acts,
                self.normalize_and_return_W_dec(),
                "batch n_instances n_hidden_ae, n_instances n_hidden_ae n_input_ae"
                " -> batch n_instances n_input_ae",
            )
            + self.b_dec
        )
        l1_loss = acts.sum(dim=-1)
        l2_loss = (h - h_reconstructed).pow(2).mean(dim=-1)
        loss = (l2_loss + self.cfg.l1_coeff * l1_loss).mean(dim=0).sum()
        return AutoEncoderOutput(l1_loss, l2_loss, loss, acts, h_reconstructed)
