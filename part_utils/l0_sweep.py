"""What becomes of a dictionary whose L0 is smaller or larger than the number of features that are really present.

After Chanin & Garriga-Alonso 2025, "Sparse but wrong: incorrect L0 leads to incorrect features in sparse autoencoders".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from part_utils.absorption import RECIPE, start_alike
from part_utils.autoencoder import AutoEncoderConfig
from part_utils.fvu import fvu
from part_utils.hidden_states import hidden_states
from part_utils.matching import living_rows, match_features
from part_utils.toy_hierarchy import ToyHierarchy
from part_utils.variants import BatchTopKAutoEncoder


@dataclass(frozen=True)
class L0Result:
    """BatchTopK autoencoders with one k."""

    times_true: float
    """k, in units of the number of features that are present on average."""
    l0: float
    """Latents that fire once they are trained, mean over inputs and autoencoders."""
    recovered: Float[Tensor, " n_instances"]
    """Share of the features with a latent of their own at a cosine similarity above 0.95."""
    cosine: Float[Tensor, " n_instances"]
    """Mean cosine similarity of the features with their latents."""
    fvu: Float[Tensor, " n_instances"]
    """The fraction of variance unexplained."""


def true_l0(world: ToyHierarchy) -> float:
    """Return how many features are present in an input on average."""
    return world.feature_probability[0].sum().item()


def sweep_l0(
    world: ToyHierarchy,
    times: Sequence[float] = (0.25, 0.5, 0.75, 1, 1.5, 2, 3),
    seed: int = 0,
    **settings: Any,
) -> list[L0Result]:
    """Train BatchTopK autoencoders with a k that is so many times the true L0, one on each instance of the world.

    Args:
        world: where the inputs come from.
        times: what to multiply the true L0 with.
        seed: where starts and inputs come from.
        settings: those of `ToyTraining` that shall differ from `absorption.RECIPE`.
    """
    cfg = AutoEncoderConfig(world.cfg.n_instances, world.cfg.n_hidden, world.cfg.n_features, l1_coeff=0.0)
    results = []
    for factor in times:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            autoencoder = start_alike(BatchTopKAutoEncoder(cfg, factor * true_l0(world)))
            autoencoder.optimize(world, seed=seed, **(RECIPE | settings))
            with torch.no_grad():
                h = hidden_states(world, world.generate_batch(10_000))
                out = autoencoder(h)
        rates = (out.acts > 0).float().mean(dim=0)
        matched = match_features(world.W, living_rows(autoencoder.normalize_and_return_W_dec(), rates))
        results.append(
            L0Result(
                factor,
                rates.sum(dim=-1).mean().item(),
                (matched > 0.95).float().mean(dim=-1),
                matched.mean(dim=-1),
                fvu(h, out.h_reconstructed),
            )
        )
    return results
