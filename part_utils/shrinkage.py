"""What the L1 penalty takes from every latent: the formula, and the measurement on a toy model that checks it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from part_utils.autoencoder import AutoEncoder
from part_utils.hidden_states import hidden_states
from part_utils.matching import feature_latent_similarity
from part_utils.recovery import RECOVERED, repeat_model, train_and_measure
from part_utils.tensors import SMALLEST_NORM
from part_utils.toy_model import ToyModel


@dataclass(frozen=True)
class Shrinkage:
    """How much smaller than their features the latents of some autoencoders are."""

    l1_coeff: float
    """The weight of the penalty they were trained with."""
    predicted: float
    """What the formula says: `predicted_shortfall`."""
    measured: float
    """Length of the feature minus value of its latent, mean over inputs with one feature whose latent fires."""
    silent: float
    """Share of the inputs with one feature on which its latent does not fire at all."""
    kept: float
    """Sum of the latents over sum of the features' lengths, on all inputs with one feature; 1 is no shrinkage."""


def shrinkage(
    acts: Float[Tensor, "batch n_instances n_features"],
    strength: Float[Tensor, "batch n_instances n_features"],
    present: Bool[Tensor, "batch n_instances n_features"],
) -> Float[Tensor, "n_instances n_features"]:
    """Measure how much of every feature's strength its latent gives back.

    Args:
        acts: of every feature's own latent, how strongly it fires.
        strength: how long the feature's part of the input is; it can have any finite value where the feature is absent.
        present: where the feature is there.

    Returns:
        The latent, summed over the inputs in which the feature is present, divided by the strength, summed over the
        same inputs. 1 is no shrinkage. A feature that is present in no input has 0.
    """
    given_back = torch.where(present, acts, 0).sum(dim=0)
    true = torch.where(present, strength, 0).sum(dim=0)
    return given_back / true.clamp_min(SMALLEST_NORM)


def predicted_shortfall(l1_coeff: float, n_input_ae: int) -> float:
    """Say by how much a latent ends below the length of its feature.

    With one feature of length s along a decoder row of length 1, the loss of the latent z is

        (s - z)^2 / n_input_ae + l1_coeff * z

    Args:
        l1_coeff: the weight of the penalty.
        n_input_ae: the size of one input.

    Returns:
        s - z, where z has the smallest loss (and is not negative there).
    """
    return l1_coeff * n_input_ae / 2


def measure_shrinkage(
    model: ToyModel, values: Sequence[float] = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3), **settings: Any
) -> list[Shrinkage]:
    """Train an autoencoder at each `l1_coeff` and compare its latents with the lengths of their features.

    Only features that were recovered count, and only inputs in which they are the only feature present.

    Args:
        model: a toy model with a two-dimensional or larger hidden space.
        values: the weights of the penalty.
        settings: further arguments of `recovery.train_and_measure`.
    """
    settings = {"seeds": 1, "steps": 3_000, "progress": False} | settings
    return [_measure(model, value, settings) for value in values]


def _measure(model: ToyModel, l1_coeff: float, settings: dict[str, Any]) -> Shrinkage:
    _, autoencoder, _ = train_and_measure(model, l1_coeff, l1_coeff=l1_coeff, **settings)
    copies = repeat_model(model, settings["seeds"])
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        features = copies.generate_batch(20_000)
        acts = autoencoder(hidden_states(copies, features)).acts
        best = feature_latent_similarity(copies.W, autoencoder.normalize_and_return_W_dec()).max(dim=-1)
        latent = acts.gather(-1, best.indices.expand(len(acts), -1, -1))
    length = features * copies.W.norm(dim=1)
    alone = (features > 0) & ((features > 0).sum(dim=-1, keepdim=True) == 1) & (best.values > RECOVERED)
    firing = alone & (latent > 0)
    return Shrinkage(
        l1_coeff,
        predicted=predicted_shortfall(l1_coeff, model.cfg.n_hidden),
        measured=(length - latent)[firing].mean().item(),
        silent=1 - firing.sum().item() / max(int(alone.sum()), 1),
        kept=(latent[alone].sum() / length[alone].sum()).item(),
    )


@torch.no_grad()
def shrinkage_on(
    world: ToyModel, autoencoder: AutoEncoder, n_inputs: int = 10_000
) -> tuple[Float[Tensor, "n_instances n_features"], Bool[Tensor, "n_instances n_features"]]:
    """Measure `shrinkage` for every feature of a toy model whose directions are orthogonal.

    A feature's own latent is the one whose decoder row is most like its direction.

    Args:
        world: where inputs come from, drawn from the global generator.
        autoencoder: with as many instances as the world.
        n_inputs: how many.

    Returns:
        The shrinkage, and which features were found: those whose latent is at a cosine similarity above 0.95.
    """
    features = world.generate_batch(n_inputs)
    acts = autoencoder(hidden_states(world, features)).acts
    best = feature_latent_similarity(world.W, autoencoder.normalize_and_return_W_dec()).max(dim=-1)
    matched = acts.gather(-1, best.indices.expand(n_inputs, -1, -1))
    return shrinkage(matched, features * world.W.norm(dim=1), features > 0), best.values > RECOVERED
