"""BatchTopK: a chosen number of latents fires on average, more where an input needs more."""

import einops
import torch
from jaxtyping import Float
from torch import Tensor

from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.variants.jumprelu import JumpReLUAutoEncoder


def batch_topk(
    pre_acts: Float[Tensor, "batch n_instances n_hidden_ae"], k: float
) -> Float[Tensor, "batch n_instances n_hidden_ae"]:
    """Let the largest latents of a whole batch fire, k for each input on average.

    In every instance the `round(k * batch)` largest pre-activations of all inputs together fire. One input may have
    many of them and another none. A pre-activation below zero gives 0 even where it is among the largest.

    Args:
        pre_acts: what the encoder computes, of either sign.
        k: how many latents fire on an input on average; it need not be a whole number.

    Returns:
        The latents: the pre-activation itself where a latent fires, 0 elsewhere.
    """
    together = einops.rearrange(pre_acts, "batch n_instances n_hidden_ae -> n_instances (batch n_hidden_ae)")
    values, places = together.topk(round(k * len(pre_acts)), dim=-1)
    kept = torch.zeros_like(together).scatter(-1, places, torch.relu(values))
    return einops.rearrange(
        kept, "n_instances (batch n_hidden_ae) -> batch n_instances n_hidden_ae", batch=len(pre_acts)
    )


@torch.no_grad()
def threshold_for_inference(
    pre_acts: Float[Tensor, "batch n_instances n_hidden_ae"], k: float
) -> Float[Tensor, " n_instances"]:
    """Return the smallest latent that fires when a batch goes through `batch_topk`.

    Args:
        pre_acts: what the encoder computes, of either sign.
        k: how many latents fire on an input on average.

    Returns:
        One number for each instance; 0 for an instance in which none fires.
    """
    acts = batch_topk(pre_acts, k)
    smallest = torch.where(acts > 0, acts, torch.inf).amin(dim=(0, 2))
    return torch.where(smallest.isfinite(), smallest, 0)


def above_threshold(
    pre_acts: Float[Tensor, "batch n_instances n_hidden_ae"], threshold: Float[Tensor, " n_instances"]
) -> Float[Tensor, "batch n_instances n_hidden_ae"]:
    """Let every latent fire that is positive and reaches its instance's threshold, whatever other inputs do.

    Args:
        pre_acts: what the encoder computes, of either sign.
        threshold: one number for each instance, 0 or more.

    Returns:
        The latents: the pre-activation itself where a latent fires, 0 elsewhere.
    """
    return torch.where(pre_acts >= threshold.unsqueeze(-1), pre_acts, 0)


class BatchTopKAutoEncoder(AutoEncoder):
    """k latents of every input fire on average (Bussmann, Leask & Nanda 2024, "BatchTopK sparse autoencoders").

        pre             = (h - b_dec) W_enc + b_enc
        acts            = ReLU(pre) where pre is among the k * batch largest of the batch    in training
                          ReLU(pre) where pre >= threshold                                   afterwards
        h_reconstructed = acts W_dec + b_dec
        loss            = mean (h - h_reconstructed)^2

    In training what fires on an input depends on the other inputs of its batch. Afterwards (`eval()`) it must not,
    so a threshold takes the batch's place: the smallest latent that fired in a batch, as a running mean over training.
    An autoencoder that is trained is thereby a JumpReLU one whose latents share one threshold.
    """

    MEMORY = 0.99
    """How much of the running mean of the threshold is kept at every step."""

    threshold: Float[Tensor, " n_instances"]
    """From where on a latent fires, once the autoencoder is trained."""

    def __init__(self, cfg: AutoEncoderConfig, k: float, device: torch.device | str | None = None) -> None:
        """Make the parameters, as in `AutoEncoder`.

        Args:
            cfg: the sizes.
            k: how many latents fire on an input on average; it need not be a whole number.
            device: where the parameters are made.

        Raises:
            ValueError: k is not above 0, or larger than the number of latents.
        """
        if not 0 < k <= cfg.n_hidden_ae:
            raise ValueError(f"k is {k}, but must be above 0 and at most the {cfg.n_hidden_ae} latents.")
        super().__init__(cfg, device)
        self.k = k
        self.register_buffer("threshold", torch.full((cfg.n_instances,), -1.0, device=device))

    def activation(
        self, pre_acts: Float[Tensor, "batch n_instances n_hidden_ae"]
    ) -> Float[Tensor, "batch n_instances n_hidden_ae"]:
        """Return the latents: chosen in the batch while training, by the threshold afterwards."""
        if not self.training:
            return above_threshold(torch.relu(pre_acts), self.threshold)
        self.follow_threshold(threshold_for_inference(pre_acts, self.k))
        return batch_topk(pre_acts, self.k)

    @torch.no_grad()
    def follow_threshold(self, now: Float[Tensor, " n_instances"]) -> None:
        """Take the smallest latent that fired in one more batch into the running mean."""
        mean = torch.lerp(now, self.threshold, self.MEMORY)
        self.threshold.copy_(torch.where(self.threshold < 0, now, mean))  # -1: nothing was seen so far

    @torch.no_grad()
    def as_jumprelu(self) -> JumpReLUAutoEncoder:
        """Return the JumpReLU autoencoder that this one is once it is trained: with one threshold for all latents."""
        jumprelu = JumpReLUAutoEncoder(self.cfg, self.b_enc.device)
        jumprelu.load_state_dict(
            {name: value for name, value in self.state_dict().items() if name != "threshold"}, strict=False
        )
        # This one fires at the threshold, a JumpReLU only above it.
        below = torch.nextafter(self.threshold, torch.full_like(self.threshold, -torch.inf))
        jumprelu.threshold.copy_(below.unsqueeze(-1).expand_as(jumprelu.threshold))
        return jumprelu.eval()
