"""Matryoshka: dictionaries nested in one another, each of which has to rebuild the input alone."""

from collections.abc import Sequence

import einops
import torch
from jaxtyping import Float
from torch import Tensor

from part_utils.autoencoder import AutoEncoderConfig, AutoEncoderOutput
from part_utils.variants.batch_topk import BatchTopKAutoEncoder


def matryoshka_loss(
    acts: Float[Tensor, "batch n_instances n_hidden_ae"],
    W_dec: Float[Tensor, "n_instances n_hidden_ae n_input_ae"],
    b_dec: Float[Tensor, "n_instances n_input_ae"],
    h: Float[Tensor, "batch n_instances n_input_ae"],
    prefixes: Sequence[int],
) -> Float[Tensor, "batch n_instances"]:
    """Sum the reconstruction errors of dictionaries that are nested in one another.

    A prefix of m latents rebuilds the input from `acts[..., :m]` and `b_dec` alone. Its error is the squared error,
    mean over the input's dimensions.

    Args:
        acts: the latents, computed once.
        W_dec: the decoder, used as it is.
        b_dec: what every prefix starts from.
        h: the inputs.
        prefixes: how many of the first latents each dictionary has, each more than the one before; the last one need
            not have all of them.

    Returns:
        The errors of all prefixes, added up, for every input and instance.
    """
    errors = []
    for m in prefixes:
        rebuilt = b_dec + einops.einsum(
            acts[..., :m],
            W_dec[:, :m],
            "batch n_instances n_hidden_ae, n_instances n_hidden_ae n_input_ae"
            " -> batch n_instances n_input_ae",
        )
        errors.append((h - rebuilt).pow(2).mean(dim=-1))
    return torch.stack(errors).sum(dim=0)


class MatryoshkaAutoEncoder(BatchTopKAutoEncoder):
    """Nested dictionaries (Bussmann, Nabeshima, Karvonen & Nanda 2025, "Learning multi-level features with Matryoshka
    sparse autoencoders").

        acts            = BatchTopK((h - b_dec) W_enc + b_enc)
        h_reconstructed = acts W_dec + b_dec
        loss            = sum over m in prefixes of mean (h - (acts[:m] W_dec[:m] + b_dec))^2

    The first latents have to do without the later ones. A latent for something general cannot leave a part of its
    cases to a later, more special one, because the small dictionaries do not have that one.
    """

    def __init__(
        self,
        cfg: AutoEncoderConfig,
        k: float,
        prefixes: Sequence[int],
        device: torch.device | str | None = None,
    ) -> None:
        """Make the parameters, as in `BatchTopKAutoEncoder`.

        Args:
            cfg: the sizes.
            k: how many latents fire on an input on average.
            prefixes: the sizes of the nested dictionaries, growing; the last one is `cfg.n_hidden_ae`.
            device: where the parameters are made.

        Raises:
            ValueError: the prefixes do not grow, or the last one is not the whole dictionary.
        """
        if (
            sorted({*prefixes}) != [*prefixes]
            or not prefixes
            or prefixes[0] < 1
            or prefixes[-1] != cfg.n_hidden_ae
        ):
            raise ValueError(
                f"prefixes is {[*prefixes]}, but they must grow from at least 1 to all {cfg.n_hidden_ae} latents."
            )
        super().__init__(cfg, k, device)
        self.prefixes = tuple(prefixes)

    def forward(self, h: Float[Tensor, "batch n_instances n_input_ae"]) -> AutoEncoderOutput:
        """Encode and decode, with the error of every prefix in the loss (see the class).

        Args:
            h: the inputs.

        Returns:
            As `AutoEncoder.forward`. `l2_loss` is the error of the whole dictionary.
        """
        acts = self.encode(h)
        h_reconstructed = self.decode(acts)
        l1_loss = acts.sum(dim=-1)
        l2_loss = (h - h_reconstructed).pow(2).mean(dim=-1)
        nested = matryoshka_loss(acts, self.normalize_and_return_W_dec(), self.b_dec, h, self.prefixes)
        loss = (nested + self.cfg.l1_coeff * l1_loss).mean(dim=0).sum()
        return AutoEncoderOutput(l1_loss, l2_loss, loss, acts, h_reconstructed)
