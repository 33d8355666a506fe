"""Exercise 8.3: `fvu_without_sinks`."""

from __future__ import annotations

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Alternative, Check, variations
from coursekit.exercises.chapter_04.scene import scalar
from coursekit.exercises.chapter_08.places import random_mask, residual_of


@exercise(
    id="8.3",
    reference="deep_models.fvu_without_sinks",
    difficulty=2,
    importance=4,
    minutes=10,
    points=2,
)
def fvu_without_sinks(check: Check) -> None:
    for batch, seq, size in ((7, 5, 11), (3, 2, 13), (2, 11, 3)):
        keep = random_mask(check, batch, seq)
        lengths = torch.where(keep, check.uniform(batch, seq, low=0.5, high=2.0), 30.0)
        h = residual_of(check, lengths, size) + 0.7 * check.normal(size)
        h_hat = h + 0.4 * check.normal(batch, seq, size) * lengths[..., None].clamp(max=3)
        check.equal(
            scalar(check.call(h, h_hat, keep)),
            _fvu(h, h_hat, keep, keep, keep),
            "",
            f"{batch} texts of {seq} positions",
            _wrong(h, h_hat, keep),
        )


def _fvu(h: Tensor, h_hat: Tensor, error: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """With the masks of the positions over which error, mean and variance go."""
    squares = (h[error] - h_hat[error]).double().pow(2).sum()
    around = (h[variance] - h[mean].mean(dim=0)).double().pow(2).sum()
    return (squares / around).float()


def _wrong(h: Tensor, h_hat: Tensor, keep: Tensor) -> dict[str, Alternative]:
    every = torch.ones_like(keep)
    right = _fvu(h, h_hat, keep, keep, keep)
    error = h[keep] - h_hat[keep]
    around = h[keep] - h[keep].mean(dim=0)
    known: dict[str, Alternative] = {
        "the explained variance is returned, which is 1 minus what was asked for": 1 - right,
        "only the sinks count: `keep` is inverted": _fvu(h, h_hat, ~keep, ~keep, ~keep),
        "norms are added up, not squared norms": error.norm(dim=-1).sum() / around.norm(dim=-1).sum(),
        "one ratio is taken for each position, and the ratios are averaged": (
            error.pow(2).sum(dim=-1) / around.pow(2).sum(dim=-1)
        ).mean(),
        "one ratio is taken for each dimension, and the ratios are averaged": (
            error.pow(2).sum(dim=0) / around.pow(2).sum(dim=0)
        ).mean(),
        "the squared length of h itself is divided by, without its mean": error.pow(2).sum()
        / h[keep].pow(2).sum(),
        "one mean over all numbers is subtracted, not one for each dimension": error.pow(2).sum()
        / (h[keep] - h[keep].mean()).pow(2).sum(),
        "the variance of the reconstruction is divided by": error.pow(2).sum()
        / (h_hat[keep] - h_hat[keep].mean(dim=0)).pow(2).sum(),
        "each position's own mean over the dimensions is subtracted": error.pow(2).sum()
        / (h[keep] - h[keep].mean(dim=-1, keepdim=True)).pow(2).sum(),
        "sinks are set to zero and still count": _fvu(
            h * keep[..., None], h_hat * keep[..., None], every, every, every
        ),
    }
    masks = variations(
        lambda e, m, v: _fvu(h, h_hat, e, m, v),
        {"": keep, "sinks count in the error": every},
        {"": keep, "sinks count in the mean": every},
        {"": keep, "sinks count in the variance": every},
    )
    return {"sinks count everywhere": _fvu(h, h_hat, every, every, every), **masks, **known}
