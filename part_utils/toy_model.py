"""Toy models of superposition (Elhage et al. 2022): more features than dimensions behind a bottleneck.

A feature is one entry of the input; it is zero most of the time. A model has `n_instances` independent
copies, each with its own weights, so that one training run compares many sparsities.

    hidden = W x                         instances hidden
    out    = ReLU(W^T hidden + b_final)  instances features

Column i of W is the direction that stands for feature i in the hidden space.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import einops
import torch
from jaxtyping import Float
from torch import Tensor, nn

from part_utils.fast import overrides
from part_utils.fast.toy_model import draw_features, loss_function
from part_utils.shapes import check_shapes

# Notebooks of the first release look for these here.
from part_utils.toy_geometry import compute_dimensionality as compute_dimensionality
from part_utils.toy_geometry import cosine_similarities as cosine_similarities
from part_utils.toy_geometry import hidden_for_datapoints as hidden_for_datapoints
from part_utils.training import Schedule, TrainingLog, constant_lr, train


@dataclass(frozen=True)
class ToyModelConfig:
    """The sizes of a toy model.

    The features of a model with pairs come in this order: first the correlated pairs (2 features each), then
    the anticorrelated pairs (2 features each), then the features that are on their own.
    """

    n_instances: int
    n_features: int = 5
    n_hidden: int = 2
    n_correlated_pairs: int = 0
    n_anticorrelated_pairs: int = 0

    def __post_init__(self) -> None:
        for name in ("n_instances", "n_features", "n_hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.n_correlated_pairs < 0 or self.n_anticorrelated_pairs < 0:
            raise ValueError("The numbers of pairs cannot be negative.")
        if 2 * self.n_pairs > self.n_features:
            raise ValueError(
                f"{self.n_pairs} pairs need {2 * self.n_pairs} features, but n_features is {self.n_features}."
            )

    @property
    def n_pairs(self) -> int:
        return self.n_correlated_pairs + self.n_anticorrelated_pairs


class ToyModel(nn.Module):
    """The ReLU output model of Elhage et al. 2022, section "Demonstrating superposition".

    Args:
        cfg: the sizes.
        feature_probability: how often each feature is present; a number or anything that broadcasts to
            [n_instances, n_features]. 1 when left out: always present. In a model with pairs all features of
            an instance must have the same probability.
        importance: how much an error in each feature counts; broadcasts in the same way, 1 when left out.
        device: where the tensors live.

    Raises:
        ValueError: a probability outside [0, 1], a negative importance, or a shape that does not broadcast.
    """

    W: Float[Tensor, "n_instances n_hidden n_features"]
    b_final: Float[Tensor, "n_instances n_features"]
    feature_probability: Float[Tensor, "n_instances n_features"]
    importance: Float[Tensor, "n_instances n_features"]

    def __init__(
        self,
        cfg: ToyModelConfig,
        feature_probability: float | Sequence[float] | Tensor | None = None,
        importance: float | Sequence[float] | Tensor | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.cfg = cfg
        probability = _per_feature(feature_probability, "feature_probability", cfg, device)
        if not ((probability >= 0) & (probability <= 1)).all():
            wrong = probability[~((probability >= 0) & (probability <= 1))][0].item()
            raise ValueError(f"Every feature_probability must be between 0 and 1, got {wrong:g}.")
        if cfg.n_pairs and (probability != probability[:, :1]).any():
            raise ValueError(
                "In a model with pairs all features of an instance need the same probability; "
                "give feature_probability one value per instance, as the shape [n_instances, 1]."
            )
        weights = _per_feature(importance, "importance", cfg, device)
        if not (weights >= 0).all():
            raise ValueError("Every importance must be zero or positive.")
        self.register_buffer("feature_probability", probability)
        self.register_buffer("importance", weights)
        self.W = nn.Parameter(random_weights(cfg.n_instances, cfg.n_hidden, cfg.n_features, device))
        self.b_final = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_features, device=device))

    @check_shapes
    def forward(
        self, features: Float[Tensor, "batch instances features"]
    ) -> Float[Tensor, "batch instances features"]:
        """Squeeze the features through the bottleneck and read them out again: ReLU(W^T W x + b_final).

        The hidden layer itself has neither a bias nor an activation function. Every instance uses its own W.

        Args:
            features: the input x.

        Returns:
            The reconstruction, of the same shape.
        """
        hidden = einops.einsum(
            features, self.W, "batch instances features, instances hidden features -> batch instances hidden"
        )
        out = einops.einsum(
            hidden, self.W, "batch instances hidden, instances hidden features -> batch instances features"
        )
        return torch.relu(out + self.b_final)

    def generate_batch(self, batch_size: int) -> Float[Tensor, "batch instances features"]:
        """Draw inputs whose features come and go independently of each other.

        A feature is present with probability `self.feature_probability[instance, feature]`. A present feature
        has a value drawn uniformly between 0 and 1, an absent one is 0. Nothing is shared between elements of
        the batch, instances or features.

        Args:
            batch_size: how many inputs to draw for each instance.

        Returns:
            The inputs, one row of features for each element of the batch and each instance.
        """
        shape = (batch_size, self.cfg.n_instances, self.cfg.n_features)
        values = torch.rand(shape, device=self.b_final.device)
        present = torch.rand(shape, device=self.b_final.device) < self.feature_probability
        return torch.where(present, values, 0.0)

    @check_shapes
    def calculate_loss(
        self,
        out: Float[Tensor, "batch instances features"],
        batch: Float[Tensor, "batch instances features"],
    ) -> Float[Tensor, ""]:
        """The squared error, weighted by importance.

        The mean over batch and features is taken, since neither batch size nor number of features should
        change the size of a gradient. The instances are summed up: each is a model of its own, and its
        gradient must not depend on how many others are trained beside it.

        Args:
            out: what the model returned.
            batch: what it should have returned.

        Returns:
            One number, with a gradient.
        """
        squared_error = self.importance * (out - batch) ** 2
        return einops.reduce(squared_error, "batch instances features -> instances", "mean").sum()

    def generate_correlated_features(
        self, batch_size: int, n_correlated_pairs: int
    ) -> Float[Tensor, "batch instances 2*pairs"]:
        """Draw pairs of features that are always present together.

        Features 2i and 2i+1 of the result are a pair: both are present, with the probability of their
        instance (`self.feature_probability[:, :1]`), or both are absent. Their values are drawn separately,
        uniformly between 0 and 1. Different pairs have nothing to do with each other.

        Args:
            batch_size: how many inputs to draw for each instance.
            n_correlated_pairs: how many pairs, so half the number of features.

        Returns:
            The features, pair after pair.
        """
        shape = (batch_size, self.cfg.n_instances, n_correlated_pairs)
        present = torch.rand(shape, device=self.b_final.device) < self.feature_probability[:, :1]
        present = einops.repeat(present, "batch instances pairs -> batch instances (pairs 2)")
        values = torch.rand(present.shape, device=present.device)
        return torch.where(present, values, 0.0)

    def generate_anticorrelated_features(
        self, batch_size: int, n_anticorrelated_pairs: int
    ) -> Float[Tensor, "batch instances 2*pairs"]:
        """Draw pairs of features that are never present together.

        Features 2i and 2i+1 of the result are a pair: at most one of them is present. Each single feature is
        present with the probability p of its instance (`self.feature_probability[:, :1]`), with a value drawn
        uniformly between 0 and 1. Different pairs have nothing to do with each other.

        Args:
            batch_size: how many inputs to draw for each instance.
            n_anticorrelated_pairs: how many pairs, so half the number of features.

        Returns:
            The features, pair after pair.

        Raises:
            ValueError: p is larger than 0.5. Two features that are never together cannot each be present more
                than half of the time.
        """
        p = self.feature_probability[:, :1]
        if (p > 0.5).any():
            raise ValueError(
                "Two features that are never present together cannot each have a probability above 0.5, "
                f"got {p.max().item():g}."
            )
        shape = (batch_size, self.cfg.n_instances, n_anticorrelated_pairs)
        draw = torch.rand(shape, device=p.device)
        first, second = draw < p, draw > 1 - p
        present = torch.stack([first, second], dim=-1)
        present = einops.rearrange(present, "batch instances pairs two -> batch instances (pairs two)")
        values = torch.rand(present.shape, device=p.device)
        return torch.where(present, values, 0.0)

    def generate_uncorrelated_features(
        self, batch_size: int, n_uncorrelated: int
    ) -> Float[Tensor, "batch instances features"]:
        """Draw the last `n_uncorrelated` features, each on its own: as in `generate_batch`, but faster."""
        probability = self.feature_probability[:, self.cfg.n_features - n_uncorrelated :]
        features = draw_features(probability, batch_size)
        return einops.rearrange(features, "instances features batch -> batch instances features")

    def training_batch(self, batch_size: int) -> Float[Tensor, "batch instances features"]:
        """Draw what `optimize` trains on: `generate_batch`, unless the configuration asks for pairs.

        With pairs: correlated pairs first, then anticorrelated ones, then the features that are on their own.
        """
        cfg = self.cfg
        if cfg.n_pairs == 0:
            return self.generate_batch(batch_size)
        parts = [
            self.generate_correlated_features(batch_size, cfg.n_correlated_pairs),
            self.generate_anticorrelated_features(batch_size, cfg.n_anticorrelated_pairs),
            self.generate_uncorrelated_features(batch_size, cfg.n_features - 2 * cfg.n_pairs),
        ]
        return torch.cat([part for part in parts if part.shape[-1] > 0], dim=-1)

    def is_plain(self) -> bool:
        """Tell whether the model is the one of this class: no pairs, and no `forward`, batch or loss of its own."""
        own = ("forward", "generate_batch", "training_batch", "calculate_loss")
        return self.cfg.n_pairs == 0 and not overrides(self, ToyModel, *own)

    def optimize(
        self,
        batch_size: int = 1024,
        steps: int = 5_000,
        lr: float = 1e-3,
        lr_schedule: Schedule = constant_lr,
        seed: int | None = 0,
        progress: bool = True,
        record_weights: bool = False,
    ) -> TrainingLog:
        """Train the model on freshly drawn batches with Adam.

        A plain ToyModel without pairs takes a short cut (`part_utils.fast.toy_model`). A class derived
        from it, with a `forward`, `generate_batch` or `calculate_loss` of its own, is trained with exactly these.

        Args:
            batch_size: inputs in each batch, for each instance.
            steps: number of steps.
            lr: learning rate.
            lr_schedule: `(step, steps) -> factor` for the learning rate.
            seed: where the random batches come from.
            progress: show a progress bar.
            record_weights: keep W at every recorded step, as `log["W"]`, for animations.

        Returns:
            The log of the run; at most 200 records, or 50 when the weights are kept.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}.")

        def loss_as_defined() -> Tensor:
            batch = self.training_batch(batch_size)
            return self.calculate_loss(self(batch), batch)

        plain = self.is_plain()
        with ThreadPoolExecutor(max_workers=torch.get_num_threads()) as pool:
            return train(
                loss_function(self, batch_size, seed, pool) if plain else loss_as_defined,
                self.parameters(),
                steps,
                lr=lr,
                lr_schedule=lr_schedule,
                seed=seed,
                progress=progress,
                record=(lambda: {"W": self.W.detach().clone()}) if record_weights else None,
                max_records=50 if record_weights else 200,
                threads=1,
            )


class NeuronModel(ToyModel):
    """A toy model whose hidden layer has an activation function, which gives it a privileged basis.

    Elhage et al. 2022, section "Superposition in a privileged basis".
    """

    @check_shapes
    def forward(
        self, features: Float[Tensor, "batch instances features"]
    ) -> Float[Tensor, "batch instances features"]:
        """The toy model with neurons for a hidden layer: ReLU(W^T ReLU(W x) + b_final).

        Args:
            features: the input x.

        Returns:
            The reconstruction, of the same shape.
        """
        hidden = einops.einsum(
            features, self.W, "batch instances features, instances hidden features -> batch instances hidden"
        )
        out = einops.einsum(
            torch.relu(hidden),
            self.W,
            "batch instances hidden, instances hidden features -> batch instances features",
        )
        return torch.relu(out + self.b_final)


class NeuronComputationModel(ToyModel):
    """A toy model that computes something: the absolute value of each of its features.

    Elhage et al. 2022, section "Computing in superposition".

        hidden = ReLU(W1 x)
        out    = ReLU(W2 hidden + b_final)

    It differs from the toy model in four ways. There are two separate matrices, W1 with the shape
    [n_instances, n_hidden, n_features] and W2 with the shape [n_instances, n_features, n_hidden], and no W.
    The hidden layer has a ReLU. A present feature is drawn uniformly between -1 and 1. And the loss compares
    the output with the absolute value of the input, still weighted by importance.
    """

    W1: Float[Tensor, "n_instances n_hidden n_features"]
    W2: Float[Tensor, "n_instances n_features n_hidden"]

    def __init__(
        self,
        cfg: ToyModelConfig,
        feature_probability: float | Sequence[float] | Tensor | None = None,
        importance: float | Sequence[float] | Tensor | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(cfg, feature_probability, importance, device)
        del self.W
        self.W1 = nn.Parameter(random_weights(cfg.n_instances, cfg.n_hidden, cfg.n_features, device))
        self.W2 = nn.Parameter(random_weights(cfg.n_instances, cfg.n_features, cfg.n_hidden, device))

    @check_shapes
    def forward(
        self, features: Float[Tensor, "batch instances features"]
    ) -> Float[Tensor, "batch instances features"]:
        hidden = einops.einsum(
            features, self.W1, "batch instances features, instances hidden features -> batch instances hidden"
        )
        out = einops.einsum(
            torch.relu(hidden),
            self.W2,
            "batch instances hidden, instances features hidden -> batch instances features",
        )
        return torch.relu(out + self.b_final)

    def generate_batch(self, batch_size: int) -> Float[Tensor, "batch instances features"]:
        features = super().generate_batch(batch_size)
        return torch.where(torch.rand_like(features) < 0.5, features, -features)

    @check_shapes
    def calculate_loss(
        self,
        out: Float[Tensor, "batch instances features"],
        batch: Float[Tensor, "batch instances features"],
    ) -> Float[Tensor, ""]:
        return super().calculate_loss(out, batch.abs())


def random_weights(
    n_instances: int, n_rows: int, n_columns: int, device: torch.device | str | None = None
) -> Float[Tensor, "n_instances n_rows n_columns"]:
    """Normal random matrices, one per instance, scaled by their size as in Glorot & Bengio 2010."""
    scale = (2 / (n_rows + n_columns)) ** 0.5
    return scale * torch.randn(n_instances, n_rows, n_columns, device=device)


def _per_feature(
    values: float | Sequence[float] | Tensor | None,
    name: str,
    cfg: ToyModelConfig,
    device: torch.device | str | None,
) -> Float[Tensor, "n_instances n_features"]:
    """Spread a number, or values per feature or per instance, over [n_instances, n_features]."""
    tensor = torch.as_tensor(1.0 if values is None else values, device=device).float()
    shape = (cfg.n_instances, cfg.n_features)
    try:
        return tensor.broadcast_to(shape).clone()
    except RuntimeError:
        raise ValueError(
            f"{name} has the shape {list(tensor.shape)}, which does not broadcast to "
            f"[n_instances, n_features] = {list(shape)}; one value per instance goes in as [n_instances, 1]."
        ) from None
