"""Exercise 6.1: `shrinkage`."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, Mistakes
from coursekit.checking.door import Handle

AXES = "n_instances n_features"


@exercise(
    id="6.1",
    reference="shrinkage.shrinkage",
    also=("predicted_shortfall",),
    difficulty=2,
    importance=4,
    minutes=15,
    points=2,
)
def shrinkage(check: Check) -> None:
    for batch, instances, features in ((29, 5, 3), (17, 1, 7), (13, 2, 1), (131, 3, 5)):
        strength = check.uniform(batch, instances, features, low=0.2)
        present = check.uniform(batch, instances, features) < 0.6
        present[0], present[1] = True, False
        # Some latents are silent where their feature is there, and fire where it is not.
        acts = torch.relu(strength * check.uniform(batch, instances, features, low=-0.3, high=1.2))
        check.equal(
            check.call(acts, strength, present),
            _share(acts, strength, present),
            AXES,
            "right where latents also fire on inputs without their feature",
            partial(_wrong_shares, acts, strength, present),
        )
    _check_few_inputs(check)
    acts[..., 0] = 0.0
    check.equal(
        check.call(acts, strength, present),
        _share(acts, strength, present),
        AXES,
        "a dead latent gives back nothing",
        partial(_wrong_shares, acts, strength, present),
    )
    present[:, 0, 0] = False
    found = check.tensor(check.call(acts, strength, present))
    check.holds(
        bool(torch.isfinite(found).all()),
        "no NaN for a feature that is never present",
        "A feature that is present in no input gives NaN (0 divided by 0); it should be 0.",
    )
    right = _share(acts, strength, present)
    never = ~present.any(0)
    check.equal(
        found,
        right,
        AXES,
        "and it has 0",
        {
            "a feature that is present in no input has 1; it should have 0": right.where(~never, 1),
            "inputs without the feature are counted for a feature that is never present": [
                right.where(~never, acts.sum(0) / strength.sum(0)),
                right.where(~never, acts.sum(0)),
            ],
        },
    )
    for l1_coeff, n_input_ae in ((0.03, 10), (0.25, 2), (0.5, 7), (0.0137, 11)):
        _check_shortfall(check, l1_coeff, n_input_ae)
    check.leaves_inputs(acts, strength, present)


def _check_few_inputs(check: Check) -> None:
    """Sums below 1, and latents that are larger than what they stand for."""
    strength = check.uniform(3, 2, 5, low=0.1, high=0.3)
    present = torch.ones(3, 2, 5, dtype=torch.bool)
    present[1] = False
    acts = strength * check.uniform(3, 2, 5, low=0.5, high=2.5)
    right = _share(acts, strength, present)
    true = (strength * present).sum(0)
    check.equal(
        check.call(acts, strength, present),
        right,
        AXES,
        "right for few inputs, and where a latent is larger than its feature",
        {
            "a share above 1 is cut down to 1: a latent may be larger than its feature": right.clamp(max=1),
            "the summed strength is kept at 1 or above, which changes sums below 1": (acts * present).sum(0)
            / true.clamp_min(1),
            "1 is added to the summed strength": (acts * present).sum(0) / (true + 1),
        }
        | dict(_wrong_shares(acts, strength, present)),
    )


def _share(acts: Tensor, strength: Tensor, present: Tensor) -> Tensor:
    true = (strength * present).sum(0)
    return (acts * present).sum(0) / true.where(true > 0, 1)


def _wrong_shares(acts: Tensor, strength: Tensor, present: Tensor) -> Mistakes:
    counts = present.sum(0)
    ratios = torch.where(present, acts / strength, 0)
    firing = present & (acts > 0)

    def apart(*summed: int) -> Tensor:
        true = (strength * present).sum(summed)
        return (acts * present).sum(summed) / true.where(true > 0, 1)

    return {
        "the mean of the ratios is taken, not the ratio of the sums: weak inputs count as much as strong ones": (
            ratios.sum(0) / counts
        ),
        "inputs without the feature are counted as well": acts.sum(0) / strength.sum(0),
        "the latent is also summed over inputs without the feature": acts.sum(0)
        / (strength * present).sum(0),
        "the strength is also summed over inputs without the feature": (acts * present).sum(0)
        / strength.sum(0),
        "the strength is forgotten: that is the mean latent where the feature is present": (
            (acts * present).sum(0) / counts
        ),
        "inputs on which the latent is silent are left out, although the feature is there": (
            (acts * firing).sum(0) / (strength * firing).sum(0)
        ),
        "a latent that is stronger than its feature is cut down to it, input by input": (
            torch.minimum(acts, strength) * present
        ).sum(0)
        / (strength * present).sum(0),
        "the fraction is upside down": (strength * present).sum(0) / (acts * present).sum(0),
        "it is the missing share (1 - shrinkage) that is returned": 1 - _share(acts, strength, present),
        "it is the strength that is missing, the difference of the sums, that is returned, not a ratio": (
            (strength * present).sum(0) - (acts * present).sum(0)
        ),
        "the latent is averaged over the batch, and the strength over the inputs with the feature": (
            (acts * present).mean(0) / ((strength * present).sum(0) / counts)
        ),
        "the latent is averaged over the inputs with the feature, and the strength over the batch": (
            ((acts * present).sum(0) / counts) / (strength * present).mean(0)
        ),
        "the lengths (roots of sums of squares) are divided, not the sums": (acts * present).norm(dim=0)
        / (strength * present).norm(dim=0),
        "the slope of a fitted line is returned (sums of products), not the ratio of the sums": (
            (acts * strength * present).sum(0) / (strength.square() * present).sum(0)
        ),
        "the median of the ratios is taken, not the ratio of the sums": lambda: (
            torch.where(present, acts / strength, torch.nan).nanmedian(dim=0).values
        ),
        "`present` is turned round": (acts * ~present).sum(0) / (strength * ~present).sum(0),
        "the instances are not kept apart": [
            apart(0, 1),
            apart(0, 1).expand(acts.shape[1:]),
        ],
        "the features are not kept apart": [
            apart(0, 2),
            apart(0, 2)[:, None].expand(acts.shape[1:]),
        ],
        "the sum goes over the features, not over the batch": apart(2),
        "the sum goes over the instances, not over the batch": apart(1),
        "one number for everything is returned": (acts * present).sum() / (strength * present).sum(),
        "the ratios are added up; it is the ratio of the sums that is asked for": ratios.sum(0),
        "the ratios are averaged over the whole batch; it is the ratio of the sums that is asked for": ratios.mean(
            0
        ),
        "all ratios are kept: the sum over the batch is missing": ratios,
    }


def _check_shortfall(check: Check, l1_coeff: float, n_input_ae: int) -> None:
    found = check.call_also("predicted_shortfall", l1_coeff, n_input_ae)
    if found is None or isinstance(found, Handle):
        raise Mistake("`predicted_shortfall` returns no number. Does it end with a `return`?")
    right = l1_coeff * n_input_ae / 2
    # Of a right one this wants nothing but the number; a tensor of one may have any type.
    check.equal(
        torch.tensor(found, dtype=torch.double) if isinstance(found, int | float) else found,
        torch.tensor(right, dtype=torch.double),
        "",
        "the predicted shortfall is where the loss of one latent is smallest",
        {
            phrase: torch.tensor(number, dtype=torch.double)
            for phrase, number in {
                "the factor of 2 is forgotten that the derivative of a square has": 2 * right,
                "the half is taken twice": right / 2,
                "`n_input_ae` is left out, although the error is a mean over the input's dimensions": l1_coeff
                / 2,
                "`n_input_ae` and the factor of 2 are left out": l1_coeff,
                "it is divided by `n_input_ae`; the error is divided by it, so the shortfall grows with it": (
                    l1_coeff / n_input_ae / 2
                ),
                "the factor of 2 is multiplied with, not divided by": 4 * right,
                "the sign is wrong: the latent ends below the feature, and the shortfall is how far below": -right,
                "it is what is left of a feature of length 1, 1 - shortfall": 1 - right,
                "it is cut down to 1": min(right, 1.0),
                "it is cut down to the mean strength": min(right, 0.75),
                "half of `n_input_ae` is taken in whole numbers": l1_coeff * (n_input_ae // 2),
                "10 is taken for `n_input_ae`, whatever it is": l1_coeff * 10 / 2,
                "it is divided by the mean strength, 0.75: that is the share that is missing": right / 0.75,
                "it is what `b_dec` makes of it; one feature with the loss in the docstring has none": right
                / 0.85,
                "it is cut down to a whole number (`//` or `int`)": math.floor(right),
                "it is rounded": round(right, 2),
            }.items()
        },
        rtol=1e-5,
        atol=1e-7,
        what="the result of `predicted_shortfall`",
    )
