"""Exercise 6.1: `shrinkage`."""

from __future__ import annotations

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Alternative, Check, Mistake
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
    for batch, instances, features in ((29, 3, 5), (17, 1, 7), (13, 2, 1)):
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
            _wrong_shares(acts, strength, present),
        )
    acts[..., 0] = 0.0
    check.equal(
        check.call(acts, strength, present),
        _share(acts, strength, present),
        AXES,
        "a dead latent gives back nothing",
    )
    present[:, 0, 0] = False
    found = check.tensor(check.call(acts, strength, present))
    check.holds(
        bool(torch.isfinite(found).all()),
        "no NaN for a feature that is never present",
        "A feature that is present in no input gives NaN (0 divided by 0); it should be 0.",
    )
    check.equal(found, _share(acts, strength, present), AXES, "and it has 0")
    for l1_coeff, n_input_ae in ((0.03, 10), (0.25, 2), (0.5, 7)):
        _check_shortfall(check, l1_coeff, n_input_ae)


def _share(acts: Tensor, strength: Tensor, present: Tensor) -> Tensor:
    true = (strength * present).sum(0)
    return (acts * present).sum(0) / true.where(true > 0, 1)


def _wrong_shares(acts: Tensor, strength: Tensor, present: Tensor) -> dict[str, Alternative]:
    counts = present.sum(0)
    ratios = torch.where(present, acts / strength, 0)
    firing = present & (acts > 0)
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
        "the fraction is upside down": (strength * present).sum(0) / (acts * present).sum(0),
        "it is the missing share (1 - shrinkage) that is returned": 1 - _share(acts, strength, present),
        "`present` is turned round": (acts * ~present).sum(0) / (strength * ~present).sum(0),
        "the instances are not kept apart": ((acts * present).sum((0, 1)) / (strength * present).sum((0, 1))),
        "the features are not kept apart": ((acts * present).sum((0, 2)) / (strength * present).sum((0, 2))),
        "one number for everything is returned": (acts * present).sum() / (strength * present).sum(),
        "all ratios are kept: the sum over the batch is missing": ratios,
    }


def _check_shortfall(check: Check, l1_coeff: float, n_input_ae: int) -> None:
    found = check.call_also("predicted_shortfall", l1_coeff, n_input_ae)
    if found is None or isinstance(found, Handle):
        raise Mistake("`predicted_shortfall` returns no number. Does it end with a `return`?")
    value = float(found)
    right = l1_coeff * n_input_ae / 2
    wrong = {
        "is twice as large as it should be: the derivative of a square has a factor of 2": 2 * right,
        "is half of what it should be": right / 2,
        "does not grow with `n_input_ae`, although the error is a mean over the input's dimensions": l1_coeff
        / 2,
        "leaves out `n_input_ae` and the factor of 2": l1_coeff,
        "divides by `n_input_ae`; the error is divided by it, so the shortfall grows with it": l1_coeff
        / n_input_ae
        / 2,
        "has the wrong sign: the latent ends below the feature, and the shortfall is how far below": -right,
        "is what is left, 1 - shortfall, not the shortfall": 1 - right,
    }
    for phrase, number in wrong.items():
        if abs(value - number) < 1e-6 and abs(right - number) > 1e-5:
            raise Mistake(f"`predicted_shortfall` {phrase}.", [f"expected {right:g}, got {value:g}"])
    check.holds(
        abs(value - right) < 1e-5 * max(1.0, abs(right)),
        "the predicted shortfall is where the loss of one latent is smallest",
        "`predicted_shortfall` is not where the loss of the latent is smallest.",
        [f"l1_coeff {l1_coeff}, n_input_ae {n_input_ae}: expected {right:g}, got {value:g}"],
    )
