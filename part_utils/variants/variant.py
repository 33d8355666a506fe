"""What all architectures share that differ from `AutoEncoder` in which latents fire."""

from einops import einsum
from jaxtyping import Float
from torch import Tensor

from part_utils.autoencoder import AutoEncoder, AutoEncoderOutput, check_inputs


class Variant(AutoEncoder):
    """An autoencoder whose latents `encode` works out; decoder and loss are those of `AutoEncoder`.

    acts            = encode(h)
    h_reconstructed = acts W_dec + b_dec
    loss            = mean (h - h_reconstructed)^2 + l1_coeff * sum |acts|
    """

    def pre_activations(
        self, h: Float[Tensor, "batch n_instances n_input_ae"]
    ) -> Float[Tensor, "batch n_instances n_hidden_ae"]:
        """Return `(h - b_dec) W_enc + b_enc`, shape `batch n_instances n_hidden_ae`."""
        return self.project(h) + self.b_enc

    def project(
        self, h: Float[Tensor, "batch n_instances n_input_ae"]
    ) -> Float[Tensor, "batch n_instances n_hidden_ae"]:
        """Return `(h - b_dec) W_enc`, shape `batch n_instances n_hidden_ae`."""
        check_inputs(h, self.cfg)
        return einsum(
            h - self.b_dec,
            self.W_enc,
            "batch n_instances n_input_ae, n_instances n_input_ae n_hidden_ae"
            " -> batch n_instances n_hidden_ae",
        )

    def encode(
        self, h: Float[Tensor, "batch n_instances n_input_ae"]
    ) -> Float[Tensor, "batch n_instances n_hidden_ae"]:
        """Return the latents, shape `batch n_instances n_hidden_ae`: never negative, zero where they do not fire."""
        raise NotImplementedError(f"{type(self).__name__} does not say which of its latents fire.")

    def forward(self, h: Float[Tensor, "batch n_instances n_input_ae"]) -> AutoEncoderOutput:
        """Encode, decode, and measure the loss; see `AutoEncoder.forward`."""
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
