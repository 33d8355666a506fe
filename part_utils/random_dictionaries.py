"""Exercise 7.4: baselines that never learned anything: a decoder that is random, and a language model that is."""

import copy
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.frontier import train_at_unit_scale
from part_utils.one_layer_model import OneLayerModel, from_bridge
from part_utils.variants.topk import TopKAutoEncoder

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


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


@torch.no_grad()
def shuffle_weights(model: "TransformerBridge", seed: int = 0) -> OneLayerModel:
    """Return a model that has every number of `model`'s weights, each in another place.

    The entries of every weight matrix and of every vector change places at random. Their sizes and their spread are
    those of the trained model, and nothing is left of what it has learned. A baseline after Heap and others (2025),
    *Sparse Autoencoders Can Interpret Randomly Initialized Transformers*.

    Args:
        model: a language model with one block, as `load_language_model` returns it; it stays as it is.
        seed: where the new places come from.
    """
    generator = torch.Generator().manual_seed(seed)
    shuffled = copy.deepcopy(from_bridge(model))
    for parameter in shuffled.parameters():
        places = torch.randperm(parameter.numel(), generator=generator)
        parameter.copy_(parameter.flatten()[places].view_as(parameter))
    return shuffled


def train_on(
    h: Float[Tensor, "tokens d_mlp"],
    frozen: bool,
    seed: int = 0,
    k: int = 8,
    width: int = 512,
    steps: int = 300,
    batch_size: int = 1024,
    lr: float = 3e-3,
) -> AutoEncoder:
    """Train a TopK autoencoder on activations that were collected, with a decoder that learns or one that is frozen.

    Everything else is the same: `b_dec` starts at the mean, the encoder at the decoder's transpose.

    Args:
        h: the activations.
        frozen: whether the decoder stays at random directions (`freeze_decoder`).
        seed: where the weights and the order of the batches come from.
        k: how many latents fire.
        width: how many latents there are.
        steps: steps of Adam.
        batch_size: activations in each step.
        lr: first learning rate; it falls to zero in a straight line.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        autoencoder = TopKAutoEncoder(AutoEncoderConfig(1, h.shape[1], width, 0.0), k)
        if frozen:
            freeze_decoder(autoencoder)

    def draw() -> Tensor:
        return h[torch.randint(len(h), (batch_size,), generator=generator)]

    return train_at_unit_scale(autoencoder, draw, h, steps, lr)
