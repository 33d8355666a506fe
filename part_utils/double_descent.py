"""Superposition, memorization and double descent (Henighan et al. 2023): toy models on a fixed set of datapoints."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from part_utils.fast.toy_model import loss_and_gradients
from part_utils.shapes import check_shapes
from part_utils.toy_model import ToyModel, ToyModelConfig
from part_utils.training import cosine_decay_lr, train


@dataclass(frozen=True)
class FixedDataRun:
    """A toy model (one instance) after training on a fixed set of datapoints.

    The losses are squared errors, summed over features and averaged over datapoints. Every datapoint has length 1,
    so a model that always returns zero has a loss of exactly 1.
    """

    model: ToyModel
    datapoints: Float[Tensor, "datapoints 1 features"]
    train_loss: float
    test_loss: float


def sparse_datapoints(
    n_datapoints: int, n_features: int, feature_probability: float
) -> Float[Tensor, "datapoints 1 features"]:
    """Draw sparse datapoints and bring each to length 1, leaving out those in which no feature is present."""
    if not 0 < feature_probability <= 1:
        raise ValueError(f"feature_probability must be above 0 and at most 1, got {feature_probability:g}.")
    batches: list[Tensor] = []
    while sum(map(len, batches)) < n_datapoints:
        draw = torch.rand(
            2 * n_datapoints, n_features
        )  # one draw for presence and value, as in draw_features
        batch = torch.relu(draw * (-1 / feature_probability) + 1)
        batches.append(batch[(batch > 0).any(dim=-1)])
    datapoints = torch.cat(batches)[:n_datapoints].unsqueeze(1)
    return datapoints / datapoints.norm(dim=-1, keepdim=True)


@check_shapes
def invented_and_missed(
    out: Float[Tensor, "batch instances features"], batch: Float[Tensor, "batch instances features"]
) -> tuple[Float[Tensor, " instances"], Float[Tensor, " instances"]]:
    """Split the squared error of a toy model into what it invented and what it missed.

    An error on a feature that is absent from the input (its value is 0) was invented, an error on one that is
    present was missed. Both are summed over features and averaged over the batch, so that they add up to the
    loss of `FixedDataRun`.

    Args:
        out: what the model returned.
        batch: its inputs.

    Returns:
        `(invented, missed)`, one number each for every instance.
    """
    squared_error = (out - batch) ** 2
    absent = batch == 0
    invented = torch.where(absent, squared_error, 0.0).sum(dim=2).mean(dim=0)
    missed = torch.where(absent, 0.0, squared_error).sum(dim=2).mean(dim=0)
    return invented, missed


def train_on_fixed_data(
    n_datapoints: int,
    *,
    n_features: int = 200,
    n_hidden: int = 2,
    feature_probability: float = 0.02,
    steps: int = 2_500,
    lr: float = 1e-2,
    weight_decay: float = 0.1,
    seed: int = 0,
    progress: bool = True,
) -> FixedDataRun:
    """Train one toy model on the same `n_datapoints` inputs in every step, with a little weight decay.

    With few datapoints the model memorizes them, with many it learns features, and in between it does neither well:
    the loss on new data rises before it falls.

    Args:
        n_datapoints: the size of the training set.
        n_features: features of the model.
        n_hidden: dimensions of its hidden space.
        feature_probability: how often a feature is present in a datapoint.
        steps: number of steps; each uses all datapoints.
        lr: learning rate, after 100 steps of warm-up and before the decay along a cosine.
        weight_decay: decoupled weight decay.
        seed: for the weights, the training data and the new data.
        progress: show a progress bar.
    """
    if n_datapoints < 1:
        raise ValueError(f"n_datapoints must be at least 1, got {n_datapoints}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ToyModel(ToyModelConfig(1, n_features, n_hidden))
        datapoints = sparse_datapoints(n_datapoints, n_features, feature_probability)
        new_data = sparse_datapoints(2_000, n_features, feature_probability)
    batch = datapoints.permute(1, 2, 0).contiguous()
    W_grad, b_grad = torch.zeros_like(model.W), torch.zeros_like(model.b_final)
    model.W.grad, model.b_final.grad = W_grad, b_grad

    @torch.no_grad()
    def loss_on_all_datapoints() -> Tensor:
        return loss_and_gradients(batch, model.W, model.b_final, model.importance, W_grad, b_grad)

    train(
        loss_on_all_datapoints,
        model.parameters(),
        steps,
        lr=lr,
        lr_schedule=lambda step, steps: min(1, step / 100) * cosine_decay_lr(step, steps),
        weight_decay=weight_decay,
        seed=seed,
        progress=progress,
        threads=1,
    )
    with torch.no_grad():
        train_loss, test_loss = (
            (model(data) - data).pow(2).sum(dim=-1).mean().item() for data in (datapoints, new_data)
        )
    return FixedDataRun(model, datapoints, train_loss, test_loss)
