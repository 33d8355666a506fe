"""Absorption: a latent is silent where its feature is present, because a more special latent says it along the way.

After Chanin et al. 2024, "A is for absorption: studying feature splitting and absorption in sparse autoencoders".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.fvu import fvu
from part_utils.hidden_states import hidden_states
from part_utils.matching import feature_latent_similarity
from part_utils.toy_hierarchy import PARENT, ToyHierarchy
from part_utils.training import TrainingLog, linear_lr

# What finds every feature of a world without hierarchy. Found by experiment.
RECIPE: dict[str, Any] = {
    "batch_size": 512,
    "steps": 1_500,
    "lr": 1e-2,
    "lr_schedule": linear_lr,
    "resample_method": "advanced",
    "resample_window": 100,
    "resample_until": 0.8,
    "neuron_resample_scale": 1.0,
    "progress": False,
}


def absorption(
    acts: Float[Tensor, "batch n_instances n_hidden_ae"],
    features: Float[Tensor, "batch n_instances n_features"],
    similarity: Float[Tensor, "n_instances n_features n_hidden_ae"],
    matches: Int[Tensor, "n_instances n_features"],
    parent: int,
    children: Sequence[int],
) -> Float[Tensor, " n_instances"]:
    """Measure how often other latents take the place of a parent's latent where a child is present.

    An input counts where the parent and at least one of the children are present. It is absorbed where the parent's own
    latent is silent (0), and the other latents together add at least half of the parent's strength along the parent's
    direction. A latent adds its activation times its cosine similarity with that direction.

    Args:
        acts: the latents.
        features: the strengths of the features, which are the lengths of their parts of the input.
        similarity: the cosine of every feature's direction with every decoder row (`feature_latent_similarity`).
        matches: which latent is each feature's own.
        parent: the number of the parent.
        children: the numbers of its children.

    Returns:
        For every instance the share of the inputs that count which are absorbed; 0 where no input counts.
    """
    counts = (features[..., parent] > 0) & (features[..., list(children)] > 0).any(dim=-1)
    own = matches[:, parent].expand(len(acts), -1).unsqueeze(-1)
    silent = acts.gather(-1, own).squeeze(-1) == 0
    # Where the own latent is silent, all that is added comes from others.
    along = (acts * similarity[:, parent]).sum(dim=-1)
    absorbed = counts & silent & (along >= features[..., parent] / 2)
    return absorbed.sum(dim=0) / counts.sum(dim=0).clamp_min(1)


@dataclass(frozen=True)
class Absorption:
    """What became of the parent in some autoencoders of one kind, with numbers for each of them."""

    name: str
    """What was trained."""
    absorbed: Float[Tensor, " n_instances"]
    """The share that `absorption` measures."""
    recall_alone: Float[Tensor, " n_instances"]
    """How often the parent's latent fires where the parent is present without a child."""
    recall_with_child: Float[Tensor, " n_instances"]
    """How often it fires where the parent is present with a child."""
    child_row: Float[Tensor, "n_instances 2"]
    """The decoder row of the first child's latent: how far it points along the parent, and along the child."""
    parent_row: Float[Tensor, "n_instances 2"]
    """The same of the parent's latent."""
    fvu: Float[Tensor, " n_instances"]
    """The fraction of variance unexplained."""
    l0: float
    """Latents that fire, mean over inputs and autoencoders."""


def train_on_hierarchy(
    name: str,
    world: ToyHierarchy,
    make: Callable[[AutoEncoderConfig], AutoEncoder] = AutoEncoder,
    *,
    l1_coeff: float = 0.0,
    n_hidden_ae: int | None = None,
    tied_weights: bool = False,
    seed: int = 0,
    **settings: Any,
) -> tuple[Absorption, AutoEncoder, TrainingLog]:
    """Train one autoencoder on each instance of a hierarchy and measure what became of the parent.

    Args:
        name: what to call the result.
        world: where the inputs come from.
        make: makes the autoencoder from its configuration.
        l1_coeff: the weight of the penalty.
        n_hidden_ae: latents; as many as there are features when left out.
        tied_weights: whether the decoder is the encoder's transpose.
        seed: where starts and inputs come from.
        settings: those of `ToyTraining` that shall differ from `RECIPE`.

    Returns:
        The result, the autoencoder, and its training log.
    """
    cfg = AutoEncoderConfig(
        world.cfg.n_instances, world.cfg.n_hidden, n_hidden_ae or world.cfg.n_features, l1_coeff, tied_weights
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        autoencoder = start_alike(make(cfg))
        log = autoencoder.optimize(world, seed=seed, **(RECIPE | settings))
        torch.manual_seed(seed + 1)
        return measure_absorption(name, world, autoencoder), autoencoder, log


@torch.no_grad()
def start_alike(autoencoder: AutoEncoder) -> AutoEncoder:
    """Let the encoder start as the decoder's transpose, in place, so that fewer runs end with a feature missing."""
    if not autoencoder.cfg.tied_weights:
        autoencoder.W_enc.copy_(autoencoder.W_dec.mT)
    return autoencoder


@torch.no_grad()
def measure_absorption(name: str, world: ToyHierarchy, autoencoder: AutoEncoder) -> Absorption:
    """Measure what became of the parent, on 10,000 inputs drawn from the global generator."""
    features = world.generate_batch(10_000)
    h = hidden_states(world, features)
    out = autoencoder(h)
    similarity = feature_latent_similarity(world.W, autoencoder.normalize_and_return_W_dec())
    matches = own_latents(out.acts, features, world, similarity)
    parent, child = features[..., PARENT] > 0, (features[..., list(world.child_features)] > 0).any(dim=-1)
    fires = out.acts.gather(-1, matches[:, PARENT].expand(len(h), -1).unsqueeze(-1)).squeeze(-1) > 0

    def share(of: Tensor) -> Tensor:
        return (fires & of).sum(dim=0) / of.sum(dim=0).clamp_min(1)

    def row_of(feature: int) -> Tensor:
        plane = similarity[:, PARENT : PARENT + 2]
        return plane.gather(-1, matches[:, feature, None, None].expand(-1, 2, 1)).squeeze(-1)

    return Absorption(
        name,
        absorption(out.acts, features, similarity, matches, PARENT, world.child_features),
        share(parent & ~child),
        share(parent & child),
        row_of(PARENT + 1),
        row_of(PARENT),
        fvu(h, out.h_reconstructed),
        (out.acts > 0).sum(dim=-1).float().mean().item(),
    )


def own_latents(
    acts: Float[Tensor, "batch n_instances n_hidden_ae"],
    features: Float[Tensor, "batch n_instances n_features"],
    world: ToyHierarchy,
    similarity: Float[Tensor, "n_instances n_features n_hidden_ae"],
) -> Int[Tensor, "n_instances n_features"]:
    """Return which latent is each feature's own.

    For the parent and the loners the one that answers most where nothing else is present. For a child, which is never
    alone, the one whose decoder row is most like it.
    """
    alone = (features > 0) & ((features > 0).sum(dim=-1, keepdim=True) == 1)
    answer = torch.einsum("bif,bil->ifl", alone.to(acts.dtype), acts)
    matches = answer.argmax(dim=-1)
    for child in world.child_features:
        matches[:, child] = similarity[:, child].argmax(dim=-1)
    return matches
