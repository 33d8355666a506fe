"""JumpReLU: a latent fires above a threshold of its own."""

import torch
from jaxtyping import Float
from torch import Tensor

from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig


class JumpReLUAutoEncoder(AutoEncoder):
    """A latent fires where it is above its threshold (Rajamanoharan et al. 2024, "Jumping ahead").

        pre             = (h - b_dec) W_enc + b_enc
        acts            = ReLU(pre) where pre > threshold, 0 elsewhere
        h_reconstructed = acts W_dec + b_dec

    A BatchTopK autoencoder (Bussmann et al. 2024) that is trained is one of these: with one threshold for all
    latents, at which k of them fire on average. The thresholds get no gradient here: this class is for autoencoders
    that were trained elsewhere.
    """

    threshold: Float[Tensor, "n_instances n_hidden_ae"]

    def __init__(self, cfg: AutoEncoderConfig, device: torch.device | str | None = None) -> None:
        """Make the parameters, as in `AutoEncoder`; all thresholds are 0, which makes it a ReLU."""
        super().__init__(cfg, device)
        self.register_buffer("threshold", torch.zeros(cfg.n_instances, cfg.n_hidden_ae, device=device))

    def activation(
        self, pre_acts: Float[Tensor, "batch n_instances n_hidden_ae"]
    ) -> Float[Tensor, "batch n_instances n_hidden_ae"]:
        """Return the pre-activations that are positive and above their threshold, zero elsewhere."""
        return torch.where(pre_acts > self.threshold, torch.relu(pre_acts), 0)
