"""A toy world with a hierarchy: features that are present only where another one is.

Nothing is squeezed here. Every feature has a direction at a right angle to all others, so what an autoencoder gets
wrong is not for want of room.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from part_utils.toy_model import ToyModel, ToyModelConfig

PARENT = 0
"""The number of the feature that others depend on."""


class ToyHierarchy(ToyModel):
    """A parent, its children, and loners; the world of Chanin et al. 2024 ("A is for absorption"), with strengths.

    Feature 0 is the parent. Features 1 to `n_children` are present only where the parent is, each with its own
    chance. The others are loners. What is present has a strength drawn evenly between `weakest` and 1. The directions
    are orthogonal unit vectors, drawn at random in every instance. There is nothing to train in it.

    Args:
        n_instances: how many worlds, each with directions of its own.
        n_children: how many features need the parent.
        n_loners: how many features come and go by themselves.
        n_hidden: dimensions; at least as many as there are features.
        parent: how often the parent is present.
        child: how often each child is, where the parent is.
        loner: how often each loner is.
        weakest: the least strength of a feature that is present.
        seed: where the directions come from.

    Raises:
        ValueError: there are more features than dimensions.
    """

    def __init__(
        self,
        n_instances: int = 16,
        n_children: int = 1,
        n_loners: int = 2,
        n_hidden: int = 6,
        *,
        parent: float = 0.3,
        child: float = 0.4,
        loner: float = 0.15,
        weakest: float = 1.0,
        seed: int = 0,
    ) -> None:
        n_features = 1 + n_children + n_loners
        if n_features > n_hidden:
            raise ValueError(
                f"{n_features} features need as many directions at right angles, but n_hidden is {n_hidden}."
            )
        probability = [parent, *[parent * child] * n_children, *[loner] * n_loners]
        super().__init__(ToyModelConfig(n_instances, n_features, n_hidden), probability)
        self.n_children, self.child, self.weakest = n_children, child, weakest
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(n_instances, n_hidden, n_features, generator=generator)
        with torch.no_grad():
            self.W.copy_(torch.linalg.qr(drawn).Q)
        self.requires_grad_(False)

    @property
    def child_features(self) -> range:
        """The numbers of the features that need the parent."""
        return range(PARENT + 1, PARENT + 1 + self.n_children)

    def generate_batch(self, batch_size: int) -> Float[Tensor, "batch instances features"]:
        """Draw inputs in which no child is without the parent.

        Args:
            batch_size: how many inputs to draw for each instance.
        """
        shape = (batch_size, self.cfg.n_instances, self.cfg.n_features)
        probability = self.feature_probability.clone()
        probability[:, list(self.child_features)] = self.child
        present = torch.rand(shape) < probability
        present[..., list(self.child_features)] &= present[..., PARENT, None]
        strength = self.weakest + (1 - self.weakest) * torch.rand(shape)
        return torch.where(present, strength, 0.0)
