"""The phase diagram of superposition: what becomes of a feature, by its importance and its sparsity.

Elhage et al. 2022, section "Superposition as a phase change".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from part_utils.shapes import check_shapes
from part_utils.toy_model import ToyModel, ToyModelConfig
from part_utils.training import cosine_decay_lr

STATES = ("not represented", "in superposition", "own dimension")


class SweepSettings(NamedTuple):
    """The data of a sweep: one instance for each pair of a probability and an importance."""

    feature_probability: Float[Tensor, "instances features"]
    """How often each feature is present; the same for all features of an instance."""
    importance: Float[Tensor, "instances features"]
    """1 for each feature but the last, which has the importance that is varied."""


@dataclass(frozen=True)
class PhaseDiagram:
    """The state of the last feature for each probability (rows) and each relative importance (columns)."""

    probabilities: tuple[float, ...]
    importances: tuple[float, ...]
    states: Int[Tensor, "probabilities importances"]
    """0, 1 or 2: an index into `STATES`."""


@check_shapes
def feature_states(W: Float[Tensor, "instances hidden features"]) -> Int[Tensor, "instances features"]:
    """Tell for each feature whether it is left out, shares its direction, or has a dimension to itself.

    With W_f for the column of feature f and W_f/|W_f| for its direction:

        0  not represented:   |W_f| is below 0.5
        1  in superposition:  it is represented, and the sum over all *other* features g
                              of ((W_f/|W_f|) . W_g)^2 is above 0.25
        2  own dimension:     it is represented, and that sum is at most 0.25

    Args:
        W: the weights of a toy model.

    Returns:
        A whole number, 0, 1 or 2, for each instance and feature.
    """
    norms = W.norm(dim=1)
    directions = W / norms.unsqueeze(1).clamp(min=1e-8)
    overlaps = torch.einsum("ihf,ihg->ifg", directions, W).pow(2)
    others = overlaps.sum(dim=-1) - overlaps.diagonal(dim1=1, dim2=2)
    return torch.where(norms < 0.5, 0, torch.where(others > 0.25, 1, 2))


def sweep_settings(
    probabilities: Float[Tensor, " probabilities"],
    importances: Float[Tensor, " importances"],
    n_features: int,
) -> SweepSettings:
    """Lay out a sweep along the instance axis: one instance for each pair of probability and importance.

    The instances come row by row: first all importances with the first probability, then all importances with
    the second, and so on. In each instance all features are present with the same probability. The last feature
    has the importance that is varied, each of the others has 1.

    Args:
        probabilities: the feature probabilities to try.
        importances: the importances of the last feature to try.
        n_features: how many features an instance has.

    Returns:
        `(feature_probability, importance)`, both with one row for each instance and one column for each feature.
    """
    probability = probabilities.repeat_interleave(len(importances)).unsqueeze(1).repeat(1, n_features)
    importance = torch.ones_like(probability)
    importance[:, -1] = importances.repeat(len(probabilities))
    return SweepSettings(probability, importance)


def measure_phases(
    probabilities: Sequence[float] | Tensor,
    importances: Sequence[float] | Tensor,
    *,
    n_features: int = 2,
    n_hidden: int = 1,
    starts: int = 6,
    steps: int = 1_500,
    batch_size: int = 512,
    seed: int = 0,
    progress: bool = True,
) -> PhaseDiagram:
    """Train a toy model for each pair of a probability and an importance, all in one go, and tell what became
    of the last feature.

    Each pair is trained from several starts, and the one with the smallest loss on fresh data counts: training
    often ends in a local minimum, and the diagram is of the best solutions.

    Args:
        probabilities: the feature probabilities; the rows of the diagram.
        importances: how much the last feature counts where the others count 1; the columns.
        n_features: features of each model.
        n_hidden: its hidden dimensions.
        starts: how often each pair is trained.
        steps: steps of the training.
        batch_size: inputs in each batch.
        seed: where starts and inputs come from.
        progress: show a progress bar.
    """
    rows = torch.as_tensor(probabilities, dtype=torch.float32)
    columns = torch.as_tensor(importances, dtype=torch.float32)
    one = sweep_settings(rows, columns, n_features)
    n = len(rows) * len(columns)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ToyModel(
            ToyModelConfig(starts * n, n_features, n_hidden),
            one.feature_probability.repeat(starts, 1),
            one.importance.repeat(starts, 1),
        )
        model.optimize(batch_size, steps, lr=1e-2, lr_schedule=cosine_decay_lr, seed=seed, progress=progress)
        loss = torch.zeros(starts * n)
        with torch.no_grad():
            for _ in range(20):
                batch = model.generate_batch(2_000)
                loss += (model.importance * (model(batch) - batch) ** 2).mean(dim=(0, 2))
    best = loss.view(starts, n).argmin(dim=0)
    states = feature_states(model.W.detach())[:, -1].view(starts, n)[best, torch.arange(n)]
    return PhaseDiagram(
        tuple(rows.tolist()), tuple(columns.tolist()), states.view(len(rows), len(columns)).cpu()
    )


def theoretical_phases(
    probabilities: Sequence[float] | Tensor, importances: Sequence[float] | Tensor
) -> PhaseDiagram:
    """Compare three plans for two features in one dimension by their losses on paper, and take the best.

    With p for the probability and I for the importance of the second feature (the first has 1), the losses are

        give up the second    I (p/3 - p^2/4)     it is guessed at its mean, p/2; its variance is left
        give up the first       (p/3 - p^2/4)
        keep both, opposite   (1 + I) p^2 / 6     both are wrong by the smaller value when they collide

    Args:
        probabilities: the feature probabilities; the rows of the diagram.
        importances: the importance of the second feature; the columns.
    """
    rows = torch.as_tensor(probabilities, dtype=torch.float32)
    columns = torch.as_tensor(importances, dtype=torch.float32)
    p, importance = rows[:, None], columns[None, :]
    variance = p / 3 - p**2 / 4
    losses = {0: importance * variance, 2: variance.expand(-1, len(columns)), 1: (1 + importance) * p**2 / 6}
    states = torch.tensor(list(losses))[torch.stack(list(losses.values())).argmin(dim=0)]
    return PhaseDiagram(tuple(rows.tolist()), tuple(columns.tolist()), states)
