"""Exercise 4.4: `rare_direction_similarity`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Alternative, Check, Mistake, agree, variations
from coursekit.checking.door import LearnerError
from coursekit.checking.phrases import explained, unit_rows

if TYPE_CHECKING:
    pass
from coursekit.exercises.chapter_04.scene import concerning, parts_of

SOME_RARE = "your code raises a `ValueError`. That is for a decoder without any rare latent."


@exercise(
    id="4.4",
    reference="evaluation.rare_direction_similarity",
    difficulty=2,
    importance=3,
    minutes=10,
    points=2,
)
def rare_direction_similarity(check: Check) -> None:
    for latents, inputs, threshold in ((29, 7, 2**-7), (11, 13, None)):
        limit = 1e-4 if threshold is None else threshold
        W_dec, rates, rare = _rare_and_others(check, latents, inputs, limit)
        args = () if threshold is None else (threshold,)
        names = ("rare", "all")
        found = [
            check.tensor(part, f"`{name}`")
            for name, part in zip(names, parts_of(check, check.call(W_dec, rates, *args), names), strict=True)
        ]
        _check_similarities(check, W_dec, rates, rare, found, limit)
    W_dec, rates, _ = _rare_and_others(check, 17, 5, 1e-4)
    # One rare latent is its own mean direction.
    alone = torch.where(torch.arange(17) == 11, 1e-5, rates.clamp_min(0.1))
    with concerning("If a single latent is rare:"):
        with explained({"ValueError": SOME_RARE}):
            result = check.call(W_dec, alone)
        found = [
            check.tensor(part, f"`{name}`")
            for name, part in zip(names, parts_of(check, result, names), strict=True)
        ]
        _check_similarities(check, W_dec, alone, alone < 1e-4, found, 1e-4)
    with concerning("If all latents are rare:"):
        with explained({"ValueError": SOME_RARE}):
            result = check.call(W_dec, 1e-5 * rates)
        found = [
            check.tensor(part, f"`{name}`")
            for name, part in zip(names, parts_of(check, result, names), strict=True)
        ]
        _check_similarities(check, W_dec, 1e-5 * rates, torch.ones(17, dtype=torch.bool), found, 1e-4)
    check.leaves_inputs(W_dec, rates)
    wanted = "Where no latent is rare there is no mean direction: raise a `ValueError` that says so."
    try:
        found_anyway = check.call(W_dec, rates.clamp_min(0.1))
    except LearnerError as error:
        check.holds(error.kind == "ValueError", "", f"Your code raises `{error.kind}`. {wanted}")
        check.holds(
            error.said != "",
            "a `ValueError` that says so where no latent is rare",
            f"Your `ValueError` has no message. {wanted}",
        )
    else:
        raise Mistake(
            "Where no latent is rare there is no mean direction, but your function returns "
            f"{'NaN' if _has_nan(found_anyway) else 'a result'}. Raise a `ValueError` that says so."
        )


def _has_nan(value: Any) -> bool:
    parts = value if isinstance(value, tuple | list) else [value]
    return any(
        isinstance(part, Tensor) and part.is_floating_point() and bool(part.isnan().any()) for part in parts
    )


def _rare_and_others(check: Check, latents: int, inputs: int, limit: float) -> tuple[Tensor, Tensor, Tensor]:
    """A decoder of rows of any length in which the rare latents agree a little, firing rates, and the rare ones' mask.

    One latent is dead, and two fire hardly ever. If the limit is a power of two, so that rounding does not matter, one
    latent fires exactly as often as it says, and is not rare.
    """
    rare = torch.zeros(latents, dtype=torch.bool)
    rare[check.permutation(latents)[: latents // 3 + 2]] = True
    common = check.normal(1, inputs)
    W_dec = check.normal(latents, inputs) + rare[:, None] * 0.8 * common
    W_dec *= check.uniform(latents, 1, low=0.2, high=4.0)
    rates = torch.where(
        rare,
        limit * check.uniform(latents, low=0.05, high=0.9),
        limit + check.uniform(latents, low=0.01, high=0.9),
    )
    rates[rare.nonzero()[1]] = 0.0
    rates[rare.nonzero()[2:4]] = 2e-5
    if math.frexp(limit)[0] == 0.5:
        rates[(~rare).nonzero()[0]] = limit
    return W_dec, rates, rare


def _check_similarities(
    check: Check, W_dec: Tensor, rates: Tensor, rare: Tensor, found: list[Tensor], limit: float
) -> None:
    unit = unit_rows(W_dec)

    def similarity(
        rows: Tensor, chosen: Tensor, average: Callable[[Tensor], Tensor], compared: Callable[..., Tensor]
    ) -> Tensor:
        return compared(average(rows[chosen]))

    all_latents = torch.ones_like(rare)
    rows = {
        "": unit,
        "the rows are averaged as they are: a long row counts more in the mean direction": W_dec,
        "the rows are normalized along the wrong axis (over the latents)": unit_rows(W_dec, 0),
        "the rows are divided by the sum of their absolute values, not by their length": W_dec
        / W_dec.abs().sum(-1, keepdim=True),
        "a row counts as much as its latent fires": unit * rates[:, None],
    }
    chosen = {
        "": rare,
        "the mean direction is that of *all* latents": all_latents,
        "the mean direction is that of the latents that are *not* rare": ~rare,
        "a latent that fires exactly as often as the limit counts as rare (`<=` for `<`)": rates <= limit,
        "dead latents are not counted as rare": rare & (rates > 0),
        "the limit is not `rare_below`, but always 1e-4": rates < 1e-4,
        "only dead latents count as rare": rates == 0,
    }
    if limit == 1e-4:
        del chosen["the limit is not `rare_below`, but always 1e-4"]
    chosen = {phrase: mask for phrase, mask in chosen.items() if mask.any()}
    averages: dict[str, Callable[[Tensor], Tensor]] = {
        "": lambda part: part.mean(0),
        "the median is taken for the mean": lambda part: part.median(0).values,
        "the first rare latent is taken for the mean direction": lambda part: part[0],
        "the absolute values are averaged": lambda part: part.abs().mean(0),
        "only the first ten rare rows are averaged": lambda part: part[:10].mean(0),
        "the rare rows' first principal direction is taken for their mean": lambda part: torch.linalg.svd(
            part, full_matrices=False
        ).Vh[0],
    }
    compared: dict[str, Callable[..., Tensor]] = {
        "": lambda mean: unit @ unit_rows(mean),
        "the mean direction is not brought to unit length before the dot product": lambda mean: unit @ mean,
        "the decoder's rows are not brought to unit length before the dot product": lambda mean: (
            W_dec @ unit_rows(mean)
        ),
        "nothing is divided by its length: these are dot products": lambda mean: W_dec @ mean,
        "opposite directions count as similar (the absolute value is taken)": lambda mean: (
            unit @ unit_rows(mean)
        ).abs(),
        "the similarity is squared": lambda mean: (unit @ unit_rows(mean)).square(),
        "the *angle* is returned instead of its cosine": lambda mean: torch.acos(
            (unit @ unit_rows(mean)).clamp(-1, 1)
        ),
        "each row's own mean is subtracted first (that is a correlation)": lambda mean: (
            unit_rows(unit - unit.mean(-1, keepdim=True)) @ unit_rows(mean - mean.mean())
        ),
        "one minus the similarity is returned": lambda mean: 1 - unit @ unit_rows(mean),
    }
    mistakes = variations(similarity, rows, chosen, averages, compared)
    pairs = unit @ unit[rare].mT
    mistakes["each row is compared with every rare row"] = pairs
    wrong_axis = unit_rows(W_dec, 0)
    mistakes["the rows are normalized along the wrong axis (over the latents) first"] = unit_rows(
        wrong_axis
    ) @ unit_rows(wrong_axis[rare].mean(0))
    mistakes["the largest cosine with a rare row is taken"] = pairs.amax(-1)
    mistakes["each rare row is compared with the mean of the others"] = _leave_one_out(unit, rare)
    mistakes["the sum of the rows is divided by the number of all latents, and no length is 1"] = unit @ (
        unit[rare].sum(0) / len(rare)
    )
    mistakes["the mean over all rare rows' numbers is one number, not a direction"] = unit @ unit_rows(
        unit[rare].mean().expand(unit.shape[1])
    )
    expected = unit @ unit_rows(unit[rare].mean(0))
    names = ("`rare`", "`all`")
    if not rare.all() and agree(found[0], expected) and agree(found[1], expected[rare]):
        raise Mistake(
            "The two results are in the wrong order: first those of the rare latents, then those of all."
        )
    for name, part, mask in zip(names, found, (rare, all_latents), strict=True):
        masked: dict[str, Any] = {}
        if mask is rare:
            # Whoever takes other latents for rare ones has their direction, and returns their cosines.
            for phrase, others in list(chosen.items())[1:]:
                masked[phrase] = [
                    (unit @ unit_rows(unit[others].mean(0)))[others],
                    (unit @ unit_rows(unit[others].mean(0)))[mask],
                    expected[others],
                ]
        masked |= {
            "the similarities of *all* latents are returned for the rare ones": expected,
            "the others are set to 0 and not left out": torch.where(rare, expected, 0.0),
            "the similarities of the latents that are *not* rare are returned": expected[~rare],
            "only the similarities of the rare latents are returned": expected[rare],
            "the order of the latents is lost (sorted by size)": expected[mask].sort().values,
            "the order of the latents is lost (sorted, the largest first)": expected[mask]
            .sort(descending=True)
            .values,
        }
        for phrase, wrong in mistakes.items():
            masked.setdefault(phrase, lambda wrong=wrong, mask=mask: _masked(wrong, mask))
            masked[f"{phrase}, for all latents"] = wrong
        check.equal(
            part,
            expected[mask],
            "n_rare" if name == "`rare`" else "n_hidden_ae",
            "the cosine with the mean direction of the rare rows, each at unit length",
            masked,
            what=name,
        )


def _leave_one_out(unit: Tensor, rare: Tensor) -> Tensor:
    """For every row, its cosine with the mean of the rare rows without itself."""
    others = unit[rare].sum(0) - rare[:, None] * unit
    return (unit * unit_rows(others)).sum(-1)


def _masked(wrong: Alternative, mask: Tensor) -> Tensor | None:
    value = wrong() if callable(wrong) else wrong
    return None if value is None else value[mask]
