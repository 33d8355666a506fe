"""Gated: one bias decides whether a latent fires, another one how strongly."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig


class GatedAutoEncoder(AutoEncoder):
    """Two encoders with the same directions (Rajamanoharan et al. 2024, "Improving dictionary
    learning with gated sparse autoencoders").

        projected       = (h - b_dec) W_enc
        gate            = projected + b_enc > 0
        acts            = ReLU(exp(r_mag) * projected + b_mag) where the gate is open, 0 elsewhere
        h_reconstructed = acts W_dec + b_dec

    The gate has no gradient, and the auxiliary loss that trains it is not here: this class is for autoencoders that
    were trained elsewhere.
    """

    r_mag: Float[Tensor, "n_instances n_hidden_ae"]
    b_mag: Float[Tensor, "n_instances n_hidden_ae"]

    def __init__(self, cfg: AutoEncoderConfig, device: torch.device | str | None = None) -> None:
        """Make the parameters, as in `AutoEncoder`. All of them but `W_enc` and `W_dec` start at 0: that is a ReLU."""
        super().__init__(cfg, device)
        self.r_mag = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_hidden_ae, device=device))
        self.b_mag = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_hidden_ae, device=device))

    def activation(
        self, pre_acts: Float[Tensor, "batch n_instances n_hidden_ae"]
    ) -> Float[Tensor, "batch n_instances n_hidden_ae"]:
        """Return how strong each latent is where its gate is open, zero elsewhere."""
        projected = pre_acts - self.b_enc
        magnitude = torch.relu(self.r_mag.exp() * projected + self.b_mag)
        return torch.where(pre_acts > 0, magnitude, 0)
