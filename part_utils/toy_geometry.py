"""Exercises 1.4 and 1.9: how a toy model arranges its features, and its datapoints, in the hidden space."""

from typing import TYPE_CHECKING

import einops
from jaxtyping import Float
from torch import Tensor

from part_utils.shapes import check_shapes

if TYPE_CHECKING:
    from part_utils.toy_model import ToyModel


@check_shapes
def cosine_similarities(
    W: Float[Tensor, "instances hidden features"],
) -> Float[Tensor, "instances features features"]:
    """How far the directions of every two features point the same way, within each instance.

    The direction of a feature is its column of W. The similarity is 1 for the same direction, 0 for a right
    angle and -1 for opposite directions, however long the columns are. A feature whose column is zero has no
    direction; its similarities are 0, not NaN.

    Args:
        W: the weights of a toy model.

    Returns:
        One symmetric matrix for each instance.
    """
    directions = W / W.norm(dim=1, keepdim=True).clamp(min=1e-8)
    return einops.einsum(
        directions,
        directions,
        "instances hidden feature_1, instances hidden feature_2 -> instances feature_1 feature_2",
    )


@check_shapes
def compute_dimensionality(
    W: Float[Tensor, "instances hidden features"],
) -> Float[Tensor, "instances features"]:
    """What share of a hidden dimension each feature has to itself.

    With W_f for the column of feature f and W_f/|W_f| for its direction, the dimensionality of feature f is

        D_f = |W_f|^2 / sum over g of ((W_f/|W_f|) . W_g)^2

    where g runs over all features, f among them. A feature alone on its direction has 1, two features
    opposite each other have 1/2 each, and a feature that is not represented (its column is zero) has 0, not
    NaN. Elhage et al. 2022, section "The geometry of superposition".

    Args:
        W: the weights of a toy model.

    Returns:
        One number between 0 and 1 for each instance and feature.
    """
    norms = W.norm(dim=1)
    directions = W / norms.unsqueeze(1).clamp(min=1e-8)
    overlaps = einops.einsum(
        directions,
        W,
        "instances hidden feature_1, instances hidden feature_2 -> instances feature_1 feature_2",
    )
    return norms**2 / overlaps.pow(2).sum(dim=-1).clamp(min=1e-16)


@check_shapes
def hidden_for_datapoints(
    model: "ToyModel", datapoints: Float[Tensor, "batch instances features"]
) -> Float[Tensor, "batch instances hidden"]:
    """Find where a toy model puts each of some datapoints: the hidden vectors, before anything is read out again.

    Henighan et al. 2023, "Superposition, Memorization, and Double Descent": a model that has memorized its training
    data gives every datapoint a direction of its own in the hidden space, as other models do with features.

    Args:
        model: a toy model; its bias plays no part here.
        datapoints: inputs for each instance.

    Returns:
        One hidden vector for each datapoint and instance.
    """
    return einops.einsum(
        datapoints, model.W, "batch instances features, instances hidden features -> batch instances hidden"
    )
