"""Exercise 7.4: the baseline of an autoencoder whose decoder is random and never trained."""

import torch

from part_utils.autoencoder import AutoEncoder


@torch.no_grad()
def freeze_decoder(autoencoder: AutoEncoder) -> None:
    """Give an untied autoencoder a decoder of random directions that training does not change, in place.

    The rows of `W_dec` are drawn anew, each a random direction of unit length, different for every latent and instance.
    From then on no gradient reaches them and no optimizer moves them. Everything else stays as it is, and can be
    trained.

    Args:
        autoencoder: an autoencoder with a `W_dec`, trained or not.
    """
    autoencoder.W_dec.normal_()
    autoencoder.normalize_decoder()
    autoencoder.W_dec.requires_grad_(False)
    autoencoder.W_dec.grad = None
