"""A toy model without a ReLU, to compare with: what it learns is what principal component analysis would find."""

import einops
from jaxtyping import Float
from torch import Tensor

from part_utils.shapes import check_shapes
from part_utils.toy_model import ToyModel


class LinearModel(ToyModel):
    """A toy model whose output is linear: W^T W x + b_final.

    Elhage et al. 2022, section "Demonstrating superposition", the linear model.
    """

    @check_shapes
    def forward(
        self, features: Float[Tensor, "batch instances features"]
    ) -> Float[Tensor, "batch instances features"]:
        """Squeeze the features through the bottleneck and read them out again, without an activation function.

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
        return out + self.b_final
