"""Exercise 8.3: `fvu_without_sinks`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistakes, variations
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
        h = residual_of(check, lengths, size) + 0.7 * check.normal(size) + 1.5
        h_hat = h + 0.4 * check.normal(batch, seq, size) * lengths[..., None].clamp(max=3)
        check.equal(
            scalar(check.call(h, h_hat, keep)),
            _fvu(h, h_hat, keep, keep, keep),
            "",
            f"{batch} texts of {seq} positions",
            _wrong(h, h_hat, keep),
        )
    check.leaves_inputs(h, h_hat, keep)


def _fvu(h: Tensor, h_hat: Tensor, error: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """With the masks of the positions over which error, mean and variance go."""
    squares = (h[error] - h_hat[error]).double().pow(2).sum()
    around = (h[variance] - h[mean].mean(dim=0)).double().pow(2).sum()
    return (squares / around).float()


def _wrong(h: Tensor, h_hat: Tensor, keep: Tensor) -> Mistakes:
    every = torch.ones_like(keep)
    right = _fvu(h, h_hat, keep, keep, keep)
    error = h[keep] - h_hat[keep]
    around = h[keep] - h[keep].mean(dim=0)
    known: dict[str, Any] = {
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
    kept, rebuilt, m = h[keep], h_hat[keep], keep[..., None].to(h)
    squares, spread = error.pow(2).sum(), around.pow(2).sum()
    off = error - error.mean(dim=0)
    product = (around * (rebuilt - rebuilt.mean(dim=0))).sum()

    def of_texts(each: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        texts = [(h[i, keep[i]], h_hat[i, keep[i]]) for i in range(len(h)) if keep[i].sum() > 1]
        return torch.stack([each(a, b) for a, b in texts])

    def mask_of_texts() -> Tensor:
        own = torch.stack([h[i, keep[i]].mean(dim=0) if keep[i].any() else h[i, 0] for i in range(len(h))])
        return squares / ((h - own[:, None]) * m).pow(2).sum()

    first = torch.ones_like(keep)
    first[:, 0] = False
    known |= {
        "sinks count as zeros in the mean": squares / ((h - (h * m).mean(dim=(0, 1))) * m).pow(2).sum(),
        "one ratio is taken for each text, and the ratios are averaged": lambda: of_texts(
            lambda a, b: (a - b).pow(2).sum() / (a - a.mean(dim=0)).pow(2).sum()
        ).mean(),
        "each text's own mean is subtracted, not that of all": mask_of_texts,
        "absolute errors are added up, not squared ones": error.abs().sum() / around.abs().sum(),
        "only the squared error is returned, divided by nothing": squares,
        "the mean squared error is returned, not divided by the variance": [
            squares / error.numel(),
            squares / len(error),
        ],
        "the error is a mean over positions, and the variance a sum": squares / len(error) / spread,
        "the error is a mean over all numbers, and the variance a sum": squares / error.numel() / spread,
        "one variance of all numbers is divided by, around one mean": squares / error.numel() / kept.var(),
        "the variance divides by n - 1, and the error by n": squares / len(error) / kept.var(dim=0).sum(),
        "the mean of the *reconstructions* is subtracted": squares
        / (kept - rebuilt.mean(dim=0)).pow(2).sum(),
        "it is 1 minus the squared correlation": 1
        - product**2 / (spread * (rebuilt - rebuilt.mean(dim=0)).pow(2).sum()),
        "the mean error is subtracted from the error": off.pow(2).sum() / spread,
        "`keep` of the first text is used for every text": lambda: _fvu(
            h, h_hat, *[keep[:1].expand_as(keep)] * 3
        ),
        "the first position of every text is left out, not what `keep` says": _fvu(
            h, h_hat, first, first, first
        ),
        "only the first positions of a text count": [
            lambda n=n: _fvu(h[:, :n], h_hat[:, :n], *[keep[:, :n]] * 3) for n in range(2, h.shape[1])
        ],
    }
    masks = variations(
        lambda e, m, v: _fvu(h, h_hat, e, m, v),
        {"": keep, "sinks count in the error": every},
        {"": keep, "sinks count in the mean": every},
        {"": keep, "sinks count in the variance": every},
    )
    return {"sinks count everywhere": _fvu(h, h_hat, every, every, every), **masks, **known}
