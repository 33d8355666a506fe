"""Exercise 8.1: `massive_activations`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check
from coursekit.checking.evidence import Outcome, explanations
from coursekit.checking.phrases import explained
from coursekit.exercises.chapter_08.places import SINKS, as_mask, residual_of
from part_utils.deep_models import FACTOR

NONE = "no position is a sink"
FIRST_LEFT_OUT = "norms are compared with the median without the first positions; all positions count"


@exercise(
    id="8.1",
    reference="deep_models.massive_activations",
    difficulty=2,
    importance=5,
    minutes=10,
    points=2,
)
def massive_activations(check: Check) -> None:
    outcomes = []
    for batch, seq, size, factor in ((7, 5, 11, 3.0), (3, 11, 7, 6.0), (5, 7, 13, 1.6), (1, 11, 5, 3.0)):
        residual = _residual(check, batch, seq, size, factor)
        found = as_mask(check.call(residual, factor))
        expected = _right(residual, factor)
        outcomes.append((found, expected, residual, factor))
    cases = [Outcome(found, right, _wrong(x, factor)) for found, right, x, factor in outcomes]
    # A mask without any sink has many reasons.
    fitting = set(explanations(cases)) if any(found.any() for found, *_ in outcomes) else {NONE}
    for found, right, residual, factor in outcomes:
        # What explains all cases is the mistake.
        known = {p: v for p, v in _wrong(residual, factor).items() if p in fitting}
        check.equal(found, right, SINKS, f"with a factor of {factor:g}", known, what="the mask", misread={})
    _check_exact(check)
    _check_first_positions(check)
    _check_default(check)
    check.leaves_inputs(check.normal(3, 5, 7), 3.0)


def _check_exact(check: Check) -> None:
    """A vector that is exactly `factor` times as long as the median one is no sink."""
    lengths = torch.tensor([[2.0, 2.0, 6.0], [6.5, 2.0, 1.0], [2.0, 2.0, 2.0]])
    found = as_mask(check.call(lengths[..., None] * torch.tensor([0.0, -1.0, 0.0]), 3.0))
    check.equal(
        found,
        (lengths > 6).float(),
        SINKS,
        "more than `factor` times, not just as often",
        {"a vector of exactly `factor` times the median length counts as a sink": (lengths >= 6).float()},
        what="the mask",
    )


def _check_first_positions(check: Check) -> None:
    """The first positions count where the median is taken, as all others do."""
    lengths = torch.tensor([[4.0, 1.0, 2.0], [4.0, 1.0, 2.0], [4.0, 1.0, 7.0]])
    check.equal(
        as_mask(check.call(lengths[..., None] * torch.tensor([0.0, 0.6, 0.8]), 3.0)),
        (lengths > 6).float(),
        SINKS,
        "the median is that of all positions",
        {FIRST_LEFT_OUT: (lengths > 3).float()},
        what="the mask",
    )


def _check_default(check: Check) -> None:
    lengths = torch.tensor([[1.0, 2.7, 1.0, 1.0, 3.3], [1.0, 1.1, 12.0, 0.9, 1.0]])
    with explained(
        {"missing 1 required": "`factor` has a default in the signature: `factor: float = FACTOR`."}
    ):
        found = as_mask(check.call(residual_of(check, lengths, 7)))
    check.equal(
        found,
        (lengths > FACTOR).float(),
        SINKS,
        "with the factor left out",
        {
            f"`factor` is another number than `FACTOR` ({FACTOR:g}) when it is left out": [
                (lengths > 2).float(),
                (lengths > 5).float(),
                (lengths > 100).float(),
            ]
        },
        what="the mask",
    )


def _residual(check: Check, batch: int, seq: int, size: int, factor: float) -> Tensor:
    """Texts of different lengths of vectors; sinks at the first position and elsewhere, and vectors that nearly are.

    Some point along one axis. One text is nearly all sinks. Of some draws the one in which most mistakes show,
    and then the one in which most can be told apart.
    """

    def drawn() -> Tensor:
        text_scales = check.uniform(batch, 1, low=0.5, high=1.5)
        lengths = check.uniform(batch, seq, low=0.8, high=1.25) * text_scales
        if batch > 2:
            lengths[int(check.permutation(batch - 1)[0]), 1:] = check.uniform(seq - 1, low=2.5, high=4.0)
        lengths[-1, 0] = 400.0 if batch == 7 else 12.0
        residual = residual_of(check, lengths, size)
        places = check.permutation(batch * seq)[:6]
        flat = residual.view(-1, size)
        median = flat.norm(dim=-1).median()
        for place, times in zip(places.tolist(), (1.1, 1.1, 1.3, 0.9, 0.9, 0.8), strict=True):
            flat[place] *= factor * times * median / flat[place].norm()
        for place in places[[0, 3]].tolist():
            flat[place] = flat[place].norm() * torch.eye(size)[place % size]
        return residual * float(check.uniform(1, low=0.5, high=90.0))

    def alike(residual: Tensor) -> tuple[int, int]:
        """How many known mistakes give the right result, and how many give one that others give as well."""
        right = _right(residual, factor)
        masks = list(_wrong(residual, factor).values())
        hidden = sum(torch.equal(mask, right) for mask in masks)
        return hidden, len(masks) - len({tuple(mask.flatten().tolist()) for mask in masks})

    return min([drawn() for _ in range(12)], key=alike)


def _right(residual: Tensor, factor: float) -> Tensor:
    norms = residual.norm(dim=-1)
    return (norms > factor * norms.median()).float()


def _wrong(residual: Tensor, factor: float) -> dict[str, Tensor]:
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
        FIRST_LEFT_OUT: against(norms[:, 1:].median()),
        "*squared* norms are compared, and not with the factor squared": against(squares.median(), squares),
        "norms are compared with the median of the medians of the texts": against(
            norms.median(dim=1).values.median()
        ),
        "norms are compared with the mean plus `factor` standard deviations": (
            norms > norms.mean() + factor * norms.std()
        ).float(),
        "norms are compared with a share of the largest norm": (norms > norms.max() / factor).float(),
        "norms are compared with the norm of everything together": (norms > factor * residual.norm()).float(),
        "norms are compared with the length of the median vector": against(
            residual.flatten(0, 1).median(dim=0).values.norm()
        ),
        "norms are compared with an estimate from single entries, not with the median norm": against(
            residual.abs().median() * residual.shape[-1] ** 0.5
        ),
        "the absolute entries are added up for the norm": against(
            residual.abs().sum(dim=-1).median(), residual.abs().sum(dim=-1)
        ),
        "the mean over the dimensions is subtracted first": _right(
            residual - residual.mean(dim=-1, keepdim=True), factor
        ),
        "the mean vector is subtracted first": _right(residual - residual.mean(dim=(0, 1)), factor),
        "the first position of every text counts as a sink whatever its length is": torch.maximum(
            first, _right(residual, factor)
        ),
        "the first position of a text never counts as a sink": _right(residual, factor) * (1 - first),
        "the sinks of the first text are taken for those of every text": _right(residual, factor)[
            :1
        ].expand_as(norms),
        NONE: torch.zeros_like(norms),
        "norms are taken over the positions (`dim=1`), not over the dimensions": against(
            residual.norm(dim=1).median(), residual.norm(dim=1)[:, : norms.shape[1]]
        ),
        "absolute entries are added up; their sum is compared with the norm of everything together": (
            residual.abs().sum(dim=-1) > factor * residual.norm()
        ).float(),
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
