"""Exercise 8.1: `massive_activations`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Alternative, Check
from coursekit.exercises.chapter_08.places import SINKS, as_mask, residual_of


@exercise(
    id="8.1",
    reference="deep_models.massive_activations",
    difficulty=2,
    importance=5,
    minutes=10,
    points=2,
)
def massive_activations(check: Check) -> None:
    for batch, seq, size, factor in ((7, 5, 11, 3.0), (3, 11, 7, 6.0), (5, 7, 13, 1.6), (7, 11, 5, 3.0)):
        residual = residual_of(check, _lengths(check, batch, seq), size)
        found = as_mask(check.call(residual, factor))
        check.equal(
            found,
            _right(residual, factor),
            SINKS,
            f"with a factor of {factor:g}",
            _wrong(residual, factor),
            what="the mask",
        )


def _lengths(check: Check, batch: int, seq: int) -> Tensor:
    """Lengths near 1; some sinks, at the first position and elsewhere; one text that is nearly all sinks."""
    lengths = check.uniform(batch, seq, low=0.8, high=1.25)
    text = int(check.permutation(batch - 1)[0])
    lengths[text, 1:] = check.uniform(seq - 1, low=4.4, high=5.4)
    lengths[-1, 0] = 400.0
    lengths[-1, 2] = 9.0
    lengths[-1, 3] = 2.2
    return lengths * float(check.uniform(1, low=0.5, high=90.0))


def _right(residual: Tensor, factor: float) -> Tensor:
    norms = residual.norm(dim=-1)
    return (norms > factor * norms.median()).float()


def _wrong(residual: Tensor, factor: float) -> dict[str, Alternative]:
    norms = residual.norm(dim=-1)
    squares = norms.square()
    first = torch.zeros_like(norms)
    first[:, 0] = 1

    def against(limit: Tensor, measured: Tensor = norms) -> Tensor:
        return (measured > factor * limit).float()

    def along(measure: Callable[..., Tensor]) -> Tensor:
        return against(measure(norms))

    return {
        "the factor is 3, whatever is passed": (norms > 3 * norms.median()).float(),
        "the mask is inverted: True belongs where there *is* a sink": 1 - _right(residual, factor),
        "sinks are found by their position (the first of every text), not by their length": first,
        "norms are compared with the *mean* norm: one sink can be most of a mean": along(torch.mean),
        "norms are compared with the largest norm": along(torch.amax),
        "norms are compared with the smallest norm": along(torch.amin),
        "norms are compared with the median of their own text, not of all texts": against(
            norms.median(dim=1, keepdim=True).values
        ),
        "norms are compared with the median at their own position, not of all positions": against(
            norms.median(dim=0, keepdim=True).values
        ),
        "norms are compared with the median of the first text, not of all texts": against(norms[0].median()),
        "*squared* norms are compared, and not with the factor squared": against(squares.median(), squares),
        "the factor is not used": (norms > norms.median()).float(),
        "norms are compared with the factor itself, without the median": (norms > factor).float(),
        "the factor is added to the median, not multiplied with it": (
            norms > factor + norms.median()
        ).float(),
        "the largest entry of a vector is taken for its norm": against(
            residual.abs().amax(dim=-1).median(), residual.abs().amax(dim=-1)
        ),
        "the entries are added up for the norm, with their signs": against(
            residual.sum(dim=-1).median(), residual.sum(dim=-1)
        ),
        "single entries are compared, not the norms of vectors": (
            residual.abs() > factor * residual.abs().median()
        ).float(),
        "norms are compared with the median of all entries, not of the norms": against(
            residual.abs().median()
        ),
    }
