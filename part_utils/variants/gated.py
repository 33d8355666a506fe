"""Gated: one bias decides whether a latent fires, another one how strongly."""

import einops
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig, AutoEncoderOutput


class GatedAutoEncoder(AutoEncoder):
    """Two encoders with the same directions (Rajamanoharan et al. 2024, "Improving dictionary
    learning with gated sparse autoencoders").

        projected       = (h - b_dec) W_enc
        gate            = projected + b_enc > 0
        acts            = ReLU(exp(r_mag) * projected + b_mag) where the gate is open, 0 elsewhere
        h_reconstructed = acts W_dec + b_dec

        loss            = mean (h - h_reconstructed)^2
                          + l1_coeff * sum ReLU(projected + b_enc)
                          + mean (h - (ReLU(projected + b_enc) frozen_W_dec + frozen_b_dec))^2

    Only the gate pays the penalty, so the magnitudes are not shrunk by it. The gate jumps and so has no gradient; the
    last term trains it: an autoencoder made of the gate alone, with the decoder frozen (no gradient reaches it from
    there), so that what the penalty shrinks cannot spoil the directions.
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

    def forward(self, h: Float[Tensor, "batch n_instances n_input_ae"]) -> AutoEncoderOutput:
        """Encode the inputs, decode them again, and measure the loss with its three terms (see the class).

        Args:
            h: the inputs.

        Returns:
            `AutoEncoderOutput(l1_loss, l2_loss, loss, acts, h_reconstructed)`: `l1_loss` (`batch n_instances`) sums
            the positive pre-activations of the gates, `l2_loss` (`batch n_instances`) is the mean squared error of
            `h_reconstructed` over the input's dimensions. `loss` is one number: `l2_loss`, plus `cfg.l1_coeff` times
            `l1_loss`, plus the mean squared error of the gates alone through the frozen decoder; mean over the batch
            and sum over the instances.
        """
        projected = einops.einsum(
            h - self.b_dec,
            self.W_enc,
            "batch n_instances n_input_ae, n_instances n_input_ae n_hidden_ae"
            " -> batch n_instances n_hidden_ae",
        )
        gate = torch.relu(projected + self.b_enc)
        magnitude = torch.relu(self.r_mag.exp() * projected + self.b_mag)
        acts = torch.where(gate > 0, magnitude, 0)
        h_reconstructed = self.decode(acts)
        by_gates_alone = self.b_dec.detach() + einops.einsum(
            gate,
            self.normalize_and_return_W_dec().detach(),
            "batch n_instances n_hidden_ae, n_instances n_hidden_ae n_input_ae"
            " -> batch n_instances n_input_ae",
        )
        l1_loss = gate.sum(dim=-1)
        l2_loss = (h - h_reconstructed).pow(2).mean(dim=-1)
        auxiliary_loss = (h - by_gates_alone).pow(2).mean(dim=-1)
        loss = (l2_loss + self.cfg.l1_coeff * l1_loss + auxiliary_loss).mean(dim=0).sum()
        return AutoEncoderOutput(l1_loss, l2_loss, loss, acts, h_reconstructed)

    @torch.no_grad()
    def restart(self, latents: Bool[Tensor, "n_instances n_hidden_ae"]) -> None:
        """Give the latents that were resampled the magnitude of the start: that of the gate."""
        self.r_mag[latents] = 0.0
        self.b_mag[latents] = 0.0
