"""JumpReLU: a latent fires above a threshold of its own, which is learned."""

import einops
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig, AutoEncoderOutput, check_inputs


def near_threshold(
    pre_acts: Float[Tensor, "batch n_instances n_hidden_ae"],
    threshold: Float[Tensor, "n_instances n_hidden_ae"],
    bandwidth: float,
) -> Float[Tensor, "batch n_instances n_hidden_ae"]:
    """Return the kernel of the straight-through gradients: a rectangle of area 1 around the threshold.

    1 / bandwidth where a pre-activation is less than half of the bandwidth away from its threshold, 0 elsewhere.
    """
    return ((pre_acts - threshold).abs() < bandwidth / 2) / bandwidth


def jumprelu(
    pre_acts: Float[Tensor, "batch n_instances n_hidden_ae"],
    threshold: Float[Tensor, "n_instances n_hidden_ae"],
    bandwidth: float,
) -> Float[Tensor, "batch n_instances n_hidden_ae"]:
    """Let every latent fire that is above its threshold, with a gradient for the threshold.

    The gradient with respect to `pre_acts` is the true one: 1 where a latent fires, 0 elsewhere. With respect to a
    threshold it is the straight-through one: `-threshold * near_threshold(pre_acts, threshold, bandwidth)`, summed over
    the batch.

    Args:
        pre_acts: what the encoder computes.
        threshold: above what each latent fires, 0 or more.
        bandwidth: how wide the kernel of the gradient is.

    Returns:
        The latents: the pre-activation itself where it is above the threshold, 0 elsewhere.
    """
    # threshold - threshold.detach() is 0 and adds nothing but a gradient.
    slope = (threshold * near_threshold(pre_acts, threshold, bandwidth)).detach()
    return torch.where(pre_acts > threshold, pre_acts, 0) - slope * (threshold - threshold.detach())


def l0_with_gradient(
    pre_acts: Float[Tensor, "batch n_instances n_hidden_ae"],
    threshold: Float[Tensor, "n_instances n_hidden_ae"],
    bandwidth: float,
) -> Float[Tensor, "batch n_instances"]:
    """Count the latents that fire, with a gradient for the threshold.

    Its gradient with respect to a threshold is `-near_threshold(pre_acts, threshold, bandwidth)`, summed over the
    batch; with respect to `pre_acts` it has none.

    Args:
        pre_acts: what the encoder computes.
        threshold: above what each latent fires, 0 or more.
        bandwidth: how wide the kernel of the gradient is.

    Returns:
        How many latents of every input and instance are above their threshold.
    """
    slope = near_threshold(pre_acts, threshold, bandwidth).detach()
    fires = (pre_acts > threshold).to(pre_acts.dtype) - slope * (threshold - threshold.detach())
    return fires.sum(dim=-1)


class JumpReLUAutoEncoder(AutoEncoder):
    """A latent fires where it is above its threshold (Rajamanoharan et al. 2024, "Jumping ahead").

        pre             = (h - b_dec) W_enc + b_enc
        acts            = ReLU(pre) where pre > threshold, 0 elsewhere
        h_reconstructed = acts W_dec + b_dec
        loss            = mean (h - h_reconstructed)^2 + l1_coeff * (number of latents that fire)

    The penalty counts, so it does not matter how strongly a latent fires, and nothing shrinks it. Thresholds are
    learned with the straight-through gradients of `jumprelu` and `l0_with_gradient`. A BatchTopK autoencoder (Bussmann
    et al. 2024) that is trained is one of these: with one threshold for all latents, at which k fire on average.
    """

    threshold: Float[Tensor, "n_instances n_hidden_ae"]

    def __init__(
        self,
        cfg: AutoEncoderConfig,
        device: torch.device | str | None = None,
        *,
        bandwidth: float = 0.1,
        first_threshold: float = 0.0,
    ) -> None:
        """Make the parameters, as in `AutoEncoder`.

        Args:
            cfg: the sizes; `l1_coeff` is the weight of the number of latents that fire.
            device: where the parameters are made.
            bandwidth: how wide the kernel of the gradient is, in the units of the pre-activations.
            first_threshold: where all thresholds start. At 0 it is a ReLU.
        """
        super().__init__(cfg, device)
        self.bandwidth = bandwidth
        self.first_threshold = first_threshold
        shape = (cfg.n_instances, cfg.n_hidden_ae)
        self.threshold = nn.Parameter(torch.full(shape, first_threshold, device=device))

    def activation(
        self, pre_acts: Float[Tensor, "batch n_instances n_hidden_ae"]
    ) -> Float[Tensor, "batch n_instances n_hidden_ae"]:
        """Return the pre-activations that are positive and above their threshold, zero elsewhere."""
        # A ReLU around it would have no gradient at 0, and so cut off the half of the kernel below the threshold.
        return jumprelu(pre_acts, self.threshold, self.bandwidth) * (pre_acts > 0)

    def forward(self, h: Float[Tensor, "batch n_instances n_input_ae"]) -> AutoEncoderOutput:
        """Encode and decode, with the count of the latents that fire as the penalty (see the class).

        Args:
            h: the inputs.

        Returns:
            As `AutoEncoder.forward`. `l1_loss` is measured, but not part of the loss.
        """
        check_inputs(h, self.cfg)
        projected = einops.einsum(
            h - self.b_dec,
            self.W_enc,
            "batch n_instances n_input_ae, n_instances n_input_ae n_hidden_ae"
            " -> batch n_instances n_hidden_ae",
        )
        pre_acts = projected + self.b_enc
        acts = self.activation(pre_acts)
        h_reconstructed = self.decode(acts)
        l2_loss = (h - h_reconstructed).pow(2).mean(dim=-1)
        l0 = l0_with_gradient(pre_acts, self.threshold, self.bandwidth)
        loss = (l2_loss + self.cfg.l1_coeff * l0).mean(dim=0).sum()
        return AutoEncoderOutput(acts.sum(dim=-1), l2_loss, loss, acts, h_reconstructed)

    @torch.no_grad()
    def restart(self, latents: Bool[Tensor, "n_instances n_hidden_ae"]) -> None:
        """Give the latents that were resampled the threshold of the start."""
        self.threshold[latents] = self.first_threshold
