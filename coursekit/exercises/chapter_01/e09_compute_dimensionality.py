"""Exercise 1.9: `compute_dimensionality`."""

from __future__ import annotations

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistakes, variations
from coursekit.exercises.chapter_01.toy_models import gram_matrix, random_columns


@exercise(
    id="1.9",
    reference="toy_geometry.compute_dimensionality",
    difficulty=3,
    importance=3,
    minutes=15,
    points=2,
)
def compute_dimensionality(check: Check) -> None:
    for instances, hidden, features in ((3, 2, 5), (2, 7, 3), (2, 3, 3), (1, 3, 5), (3, 2, 1)):
        W = random_columns(check, instances, hidden, features)
        check.equal(
            check.call(W),
            _dimensionality(W),
            "instances features",
            f"right for {instances} instances, {hidden} hidden dimensions and {features} features",
            _wrong_dimensionalities(W),
        )
    angles = 2 * torch.pi * torch.arange(5) / 5
    check.equal(
        check.call(torch.stack([angles.cos(), angles.sin()])[None] * torch.tensor([1.0, 0.7])[:, None, None]),
        torch.full((2, 5), 0.4),
        "instances features",
        "2/5 for each feature of a pentagon, however large it is",
    )
    W = random_columns(check, 2, 3, 5)
    check.equal(
        check.call(0.02 * W),
        _dimensionality(W),
        "instances features",
        "right for columns that are short: their length does not count",
        _wrong_where_short(0.02 * W),
        rtol=2e-3,
        atol=1e-3,
    )
    W[0, :, 1] = 0
    W[1, :, 4] = 0
    result = check.tensor(check.call(W))
    check.holds(
        not torch.isnan(result).any(),
        "a feature that is not represented gives no NaN",
        "A feature whose column is zero gives NaN (0 divided by 0). Its dimensionality should be 0.",
    )
    one = torch.where(W.norm(dim=1) == 0, 1.0, _dimensionality(W))
    check.equal(
        result,
        _dimensionality(W),
        "instances features",
        "and its dimensionality is 0",
        {"a feature that is not represented has the dimensionality 1 instead of 0": one},
    )
    check.leaves_inputs(W)


def _dimensionality(W: Tensor, epsilon: float = 0.0) -> Tensor:
    unit = torch.nn.functional.normalize(W, dim=1)
    overlaps = torch.einsum("ihf,ihg->ifg", unit, W).pow(2).sum(2)
    return W.norm(dim=1) ** 2 / (overlaps + epsilon).clamp(min=1e-12)


def _kept_from_zero(W: Tensor, shortest: float, smallest: float) -> Tensor:
    """What comes out if lengths and sums are kept from falling below numbers that are too large."""
    unit = W / W.norm(dim=1, keepdim=True).clamp(min=shortest)
    return W.norm(dim=1) ** 2 / torch.einsum("ihf,ihg->ifg", unit, W).pow(2).sum(2).clamp(min=smallest)


def _wrong_where_short(W: Tensor) -> Mistakes:
    return {
        "columns that are short count as not represented": torch.zeros(W.shape[0], W.shape[2]),
        "what keeps a division from 0 / 0 is too large, and changes columns that are short": [
            _kept_from_zero(W, length, below)
            for length in (0.0, 1e-2, 1e-1, 1.0)
            for below in (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
        ],
        **{
            f"a number as large as {epsilon:g} is added to the denominator": _dimensionality(W, epsilon)
            for epsilon in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
        },
    }


def _wrong_dimensionalities(W: Tensor) -> dict:
    lengths = W.norm(dim=1)
    unit = W / lengths[:, None]
    overlaps = torch.einsum("ihf,ihg->ifg", unit, W)
    own, gram, cosines = torch.diag_embed(lengths), gram_matrix(W), gram_matrix(unit)
    rows = W.norm(dim=2, keepdim=True)
    turned = torch.einsum("ihf,igf->ihg", W / rows, W)
    wrong: dict = variations(
        lambda top, bottom: top / bottom,
        {
            "": lengths**2,
            "the length in the numerator is not squared": lengths,
            "the length in the numerator is squared twice": lengths**4,
            "the numerator is 1 instead of the squared length": torch.ones_like(lengths),
            "the numerator uses the sum of the absolute values for the length": W.abs().sum(1) ** 2,
        },
        {
            "": (overlaps**2).sum(2),
            "the overlaps in the denominator are not squared": overlaps.sum(2),
            "the overlaps in the denominator are not squared (and what is below 0 is cut off)": overlaps.sum(
                2
            ).clamp(min=1e-16),
            "the overlaps in the denominator are not squared (and their sum is kept above 0)": overlaps.sum(
                2
            ).clamp(min=1e-8),
            "only the largest overlap is taken in the denominator, not the sum": (overlaps**2).amax(2),
            "overlaps below 0 are left out of the denominator": overlaps.relu().square().sum(2),
            "only features after $f$, and $f$ itself, are summed in the denominator": (overlaps**2)
            .triu()
            .sum(2),
            "only features before $f$, and $f$ itself, are summed in the denominator": (overlaps**2)
            .tril()
            .sum(2),
            "the denominator sums over the features of all instances": torch.einsum("ihf,jhg->ifjg", unit, W)
            .pow(2)
            .sum((2, 3)),
            "the overlaps with the features of all instances are added up before they are squared": torch.einsum(
                "ihf,jhg->ifg", unit, W
            )
            .pow(2)
            .sum(2),
            "the overlaps in the denominator are squared twice": (overlaps**4).sum(2),
            "the overlaps are summed before they are squared": overlaps.sum(2) ** 2,
            "the absolute overlaps are summed instead of the squared ones": overlaps.abs().sum(2),
            "the denominator sums over $f$ instead of $g$": (overlaps**2).sum(1),
            "the direction of $f$ is not scaled to length one in the denominator": (gram**2).sum(2),
            "both directions are scaled to length one in the denominator; only $f$ is": (cosines**2).sum(2),
            "the feature itself is left out of the sum in the denominator": ((overlaps - own) ** 2).sum(2),
            "the denominator is averaged over $g$ instead of summed": (overlaps**2).mean(2),
            "the root of the denominator is taken": (overlaps**2).sum(2).sqrt(),
        },
    )
    wrong |= {
        f"a number as large as {epsilon:g} is added to the denominator": _dimensionality(W, epsilon)
        for epsilon in (1.0, 0.1, 1e-2, 1e-3)
    }
    wrong |= {
        "the axes of `hidden` and `features` are swapped": W.norm(dim=2) ** 2 / turned.pow(2).sum(2),
        "only cosines are left: $1 / \\sum_g \\cos^2$": 1 / (cosines**2).sum(2),
        "one number is given to all features: hidden dimensions per feature, $m / |W|^2$": (
            W.shape[1] / W.square().sum((1, 2))[:, None]
        ).expand_as(lengths),
        "it is a feature's share of all squared lengths, times the hidden dimensions: no overlap is asked for": (
            lengths**2 * W.shape[1] / (lengths**2).sum(1, keepdim=True)
        ),
        "the dimensionality of the whole model is shared out": (
            (lengths**2).sum(1, keepdim=True) ** 2 / (gram**2).sum((1, 2))[:, None] / W.shape[2]
        ).expand_as(lengths),
        "the fraction is upside down": (overlaps**2).sum(2) / lengths**2,
        "a feature whose column is shorter than 0.5 counts as not represented; only a column of zeros is": (
            _dimensionality(W) * (lengths >= 0.5)
        ),
        "the dimensionalities are brought to a sum of the number of hidden dimensions": [
            _dimensionality(W) / _dimensionality(W).sum(1, keepdim=True) * W.shape[1],
            _dimensionality(W) / _dimensionality(W).sum(1, keepdim=True),
        ],
        "no dimensionality is above one half": _dimensionality(W).clamp(max=0.5),
        "the part of a column in the span of all is taken (a leverage: with the inverse of $W W^T$)": torch.einsum(
            "ihf,ihk,ikf->if", W, torch.linalg.pinv(W @ W.mT), W
        ),
        "instance 0 is used for every instance": _dimensionality(W[:1]).expand(len(W), -1),
        "the dimensionalities are summed up": [
            _dimensionality(W).sum(1),
            _dimensionality(W).sum(1, keepdim=True),
        ],
    }
    return wrong
