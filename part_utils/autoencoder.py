"""A sparse autoencoder, and what can be asked of it on a toy model whose true features are known."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import einops
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from part_utils.fast import overrides

# Notebooks of release 0.1.0 import these from here.
from part_utils.matching import feature_latent_similarity as feature_latent_similarity
from part_utils.matching import match_features as match_features
from part_utils.matching import share_recovered as share_recovered
from part_utils.tensors import SMALLEST_NORM
from part_utils.toy_model import ToyModel
from part_utils.toy_training import ToyTraining, train_on_toy_model
from part_utils.training import TrainingLog


@dataclass(frozen=True)
class AutoEncoderConfig:
    """The sizes of an autoencoder and how it is trained."""

    n_instances: int
    """How many independent autoencoders are trained side by side."""
    n_input_ae: int
    """Size of one input: the toy model's hidden dimension, or the width of an MLP."""
    n_hidden_ae: int
    """How many latents each autoencoder has."""
    l1_coeff: float = 0.5
    """Weight of the sparsity penalty in the loss."""
    tied_weights: bool = False
    """Whether the decoder is the encoder's transpose (True) or has weights of its own (False)."""

    def __post_init__(self) -> None:
        for name in ("n_instances", "n_input_ae", "n_hidden_ae"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} is {value!r}, but must be a whole number; pass an int.")
            if value < 1:
                raise ValueError(f"{name} is {value}, but there must be at least one; pass 1 or more.")
        if self.l1_coeff < 0:
            raise ValueError(
                f"l1_coeff is {self.l1_coeff}, but a negative penalty rewards dense latents; pass 0 or more."
            )


class AutoEncoderOutput(NamedTuple):
    """What `AutoEncoder.forward` returns. It unpacks like a tuple, and its fields have names."""

    l1_loss: Float[Tensor, "batch n_instances"]
    """Sum of the latents of every input."""
    l2_loss: Float[Tensor, "batch n_instances"]
    """Squared reconstruction error of every input, mean over the input's dimensions."""
    loss: Float[Tensor, ""]
    """`l2_loss + l1_coeff * l1_loss`, mean over the batch, sum over the instances."""
    acts: Float[Tensor, "batch n_instances n_hidden_ae"]
    """The latents: how strongly each of them fires."""
    h_reconstructed: Float[Tensor, "batch n_instances n_input_ae"]
    """The input, rebuilt from the latents."""


class AutoEncoder(nn.Module):
    """Sparse autoencoders, one per instance, after Bricken et al. 2023 ("Towards Monosemanticity").

        acts            = ReLU((h - b_dec) W_enc + b_enc)
        h_reconstructed = acts W_dec + b_dec
        loss            = mean (h - h_reconstructed)^2 + l1_coeff * sum |acts|

    Every row of `W_dec` is used at unit length, so that a latent cannot lower its L1 penalty by becoming
    small while its decoder row becomes long. With tied weights the decoder is the transpose of `W_enc`,
    at unit length, and there is no `W_dec`.
    """

    W_enc: Float[Tensor, "n_instances n_input_ae n_hidden_ae"]
    W_dec: Float[Tensor, "n_instances n_hidden_ae n_input_ae"]
    b_enc: Float[Tensor, "n_instances n_hidden_ae"]
    b_dec: Float[Tensor, "n_instances n_input_ae"]
    hook: str | None = None
    """The place in a language model that it was trained on, such as `"blocks.0.mlp.hook_post"`; None if unknown."""

    def __init__(self, cfg: AutoEncoderConfig, device: torch.device | str | None = None) -> None:
        """Make the parameters: `W_enc`, `b_enc`, `b_dec` and, unless the weights are tied, `W_dec`.

        The weights start as random directions, different in every instance. The biases start at zero.

        Args:
            cfg: the sizes; `cfg.tied_weights` says whether there is a `W_dec`.
            device: where the parameters are made.
        """
        super().__init__()
        self.cfg = cfg
        W_enc = torch.randn(cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae, device=device)
        self.W_enc = nn.Parameter(W_enc / cfg.n_input_ae**0.5)
        if not cfg.tied_weights:
            W_dec = torch.randn(cfg.n_instances, cfg.n_hidden_ae, cfg.n_input_ae, device=device)
            self.W_dec = nn.Parameter(W_dec / W_dec.norm(dim=-1, keepdim=True))
        self.b_enc = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_hidden_ae, device=device))
        self.b_dec = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_input_ae, device=device))

    def normalize_and_return_W_dec(self) -> Float[Tensor, "n_instances n_hidden_ae n_input_ae"]:
        """Return the decoder with every latent's row at unit length.

        Shape `n_instances n_hidden_ae n_input_ae`. Gradients flow through the division, the parameters
        are not changed, and a row of zeros stays a row of zeros. With tied weights the decoder is the
        encoder with its last two axes swapped.
        """
        W_dec = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
        return W_dec / W_dec.norm(dim=-1, keepdim=True).clamp_min(SMALLEST_NORM)

    @torch.no_grad()
    def normalize_decoder(self) -> None:
        """Rescale every row of `W_dec` to unit length, in place.

        Outside the gradient. A row of zeros stays as it is; so does everything when the weights are tied,
        since there is no `W_dec` then.
        """
        if not self.cfg.tied_weights:
            self.W_dec /= self.W_dec.norm(dim=-1, keepdim=True).clamp_min(SMALLEST_NORM)

    def activation(
        self, pre_acts: Float[Tensor, "batch n_instances n_hidden_ae"]
    ) -> Float[Tensor, "batch n_instances n_hidden_ae"]:
        """Decide which latents fire and how strongly: a ReLU here, something else in a class derived from this one.

        Args:
            pre_acts: what the encoder computes, of either sign.

        Returns:
            The latents, never negative, and 0 where they do not fire.
        """
        return torch.relu(pre_acts)

    def encode(
        self, h: Float[Tensor, "batch n_instances n_input_ae"]
    ) -> Float[Tensor, "batch n_instances n_hidden_ae"]:
        """Return the latents of the inputs, shape `batch n_instances n_hidden_ae`.

        Args:
            h: the inputs, shape `batch n_instances n_input_ae`.
        """
        check_inputs(h, self.cfg)
        pre_acts = einops.einsum(
            h - self.b_dec,
            self.W_enc,
            "batch n_instances n_input_ae, n_instances n_input_ae n_hidden_ae"
            " -> batch n_instances n_hidden_ae",
        )
        return self.activation(pre_acts + self.b_enc)

    def decode(
        self, acts: Float[Tensor, "batch n_instances n_hidden_ae"]
    ) -> Float[Tensor, "batch n_instances n_input_ae"]:
        """Return what the latents add up to, shape `batch n_instances n_input_ae`.

        Args:
            acts: the latents, shape `batch n_instances n_hidden_ae`.
        """
        h_reconstructed = einops.einsum(
            acts,
            self.normalize_and_return_W_dec(),
            "batch n_instances n_hidden_ae, n_instances n_hidden_ae n_input_ae"
            " -> batch n_instances n_input_ae",
        )
        return h_reconstructed + self.b_dec

    def forward(self, h: Float[Tensor, "batch n_instances n_input_ae"]) -> AutoEncoderOutput:
        """Encode the inputs, decode them again, and measure the loss.

        Args:
            h: the inputs, shape `batch n_instances n_input_ae`.

        Returns:
            `AutoEncoderOutput(l1_loss, l2_loss, loss, acts, h_reconstructed)`:
            `l1_loss` (`batch n_instances`) sums the absolute latents, `l2_loss` (`batch n_instances`) is
            the mean squared error over the input's dimensions, `loss` is one number: `l2_loss` plus
            `cfg.l1_coeff` times `l1_loss`, mean over the batch and sum over the instances.
        """
        acts = self.encode(h)
        h_reconstructed = self.decode(acts)
        l1_loss = acts.abs().sum(dim=-1)
        l2_loss = (h - h_reconstructed).pow(2).mean(dim=-1)
        loss = (l2_loss + self.cfg.l1_coeff * l1_loss).mean(dim=0).sum()
        return AutoEncoderOutput(l1_loss, l2_loss, loss, acts, h_reconstructed)

    def optimize(self, model: ToyModel, **settings: Any) -> TrainingLog:
        """Train every instance on the hidden states of the same instance of a toy model, which stays fixed.

        The short door to `part_utils.toy_training.train_on_toy_model`.

        Args:
            model: the toy model, with the same `n_instances` and `n_hidden == n_input_ae`.
            settings: those of `part_utils.toy_training.ToyTraining` that are not as they are there: `batch_size`,
                `steps`, `lr`, `lr_schedule`, `resample_method`, `resample_window`, `resample_every`,
                `resample_until`, `neuron_resample_scale`, `reset_adam`, `project_decoder`, `seed`, `progress`,
                `max_records`.

        Returns:
            The log of the run (see `train_on_toy_model`).

        Raises:
            TypeError: there is no such setting.
            ValueError: model and autoencoder do not fit together, or a setting is out of range.
        """
        return train_on_toy_model(self, model, ToyTraining(**settings))

    def restart(self, latents: Bool[Tensor, "n_instances n_hidden_ae"]) -> None:
        """Put back, for latents that were resampled, what they have beside encoder, bias and decoder: nothing here.

        Args:
            latents: True for those that were resampled.
        """

    def is_plain(self) -> bool:
        """Tell whether the autoencoder computes what this class does, with no method of its own for it."""
        own = ("forward", "encode", "decode", "activation", "normalize_and_return_W_dec")
        return not overrides(self, AutoEncoder, *own)


def check_inputs(h: Tensor, cfg: AutoEncoderConfig) -> None:
    """Raise a ValueError unless `h` has the shape `batch n_instances n_input_ae` that `cfg` asks for."""
    if h.ndim != 3 or h.shape[1:] != (cfg.n_instances, cfg.n_input_ae):
        raise ValueError(
            f"The inputs have shape {tuple(h.shape)}, but it must be (batch, n_instances, n_input_ae)"
            f" = (batch, {cfg.n_instances}, {cfg.n_input_ae}); reshape the inputs or change the config."
        )


@torch.no_grad()
def cheat_on_l1(
    autoencoder: AutoEncoder, factor: float
) -> tuple[
    Float[Tensor, "n_instances n_input_ae n_hidden_ae"],
    Float[Tensor, "n_instances n_hidden_ae"],
    Float[Tensor, "n_instances n_hidden_ae n_input_ae"],
]:
    """Find weights that rebuild every input as `autoencoder` does, at an L1 that is `factor` times smaller.

    The cheat is only possible if nothing holds the decoder at unit length: that is why we normalize it.
    The autoencoder itself is not changed.

    Args:
        autoencoder: a tied or untied autoencoder; its decoder is `normalize_and_return_W_dec()`.
        factor: how many times smaller every latent shall be, a number above 0.

    Returns:
        `(W_enc, b_enc, W_dec)` of the cheating autoencoder, with the shapes of the original ones.
        It uses `W_dec` as it is, without normalizing, and the original `b_dec`.
    """
    return (
        autoencoder.W_enc / factor,
        autoencoder.b_enc / factor,
        autoencoder.normalize_and_return_W_dec() * factor,
    )


@torch.no_grad()
def l1_and_l2(
    h: Float[Tensor, "batch n_instances n_input_ae"],
    W_enc: Float[Tensor, "n_instances n_input_ae n_hidden_ae"],
    b_enc: Float[Tensor, "n_instances n_hidden_ae"],
    W_dec: Float[Tensor, "n_instances n_hidden_ae n_input_ae"],
    b_dec: Float[Tensor, "n_instances n_input_ae"],
) -> tuple[Float[Tensor, " n_instances"], Float[Tensor, " n_instances"]]:
    """Measure L1 and L2 of an autoencoder that uses its decoder as it is, at whatever length its rows have.

    Args:
        h: the inputs.
        W_enc, b_enc, W_dec, b_dec: the weights; `W_dec` is not normalized.

    Returns:
        `(l1, l2)`, each with one number for every instance: the latents, summed over the latents, and the squared
        error of the reconstruction, mean over the input's dimensions; both mean over the batch.
    """
    acts = torch.relu(
        einops.einsum(
            h - b_dec, W_enc, "batch n_instances n_input_ae, n_instances n_input_ae n_hidden_ae"
            " -> batch n_instances n_hidden_ae",
        )
        + b_enc
    )  # fmt: skip
    h_reconstructed = b_dec + einops.einsum(
        acts, W_dec, "batch n_instances n_hidden_ae, n_instances n_hidden_ae n_input_ae"
        " -> batch n_instances n_input_ae",
    )  # fmt: skip
    return acts.sum(dim=-1).mean(dim=0), (h - h_reconstructed).pow(2).mean(dim=-1).mean(dim=0)


@torch.no_grad()
def encoder_decoder_similarity(autoencoder: AutoEncoder) -> Float[Tensor, "n_instances n_hidden_ae"]:
    """Return the cosine similarity between every latent's encoder direction and its decoder direction.

    The encoder direction of a latent is what its pre-activation takes the dot product with; the decoder
    direction is what it adds to the reconstruction.

    Returns:
        One number per latent, shape `n_instances n_hidden_ae`; 0 where a direction has no length.
    """
    W_enc = autoencoder.W_enc / autoencoder.W_enc.norm(dim=1, keepdim=True).clamp_min(SMALLEST_NORM)
    return einops.einsum(
        W_enc,
        autoencoder.normalize_and_return_W_dec(),
        "n_instances n_input_ae n_hidden_ae, n_instances n_hidden_ae n_input_ae -> n_instances n_hidden_ae",
    )
