"""Exercise 8.5: `steer`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Alternative, Check, Mistake
from coursekit.checking.door import Handle
from coursekit.checking.phrases import explained
from coursekit.exercises.chapter_04.scene import HOOK_CALL
from coursekit.exercises.chapter_08.places import random_mask, residual_of


@exercise(
    id="8.5",
    reference="deep_models.steer",
    difficulty=2,
    importance=4,
    minutes=15,
    points=2,
)
def steer(check: Check) -> None:
    for batch, seq, size, strength in ((5, 7, 11, 0.7), (3, 2, 13, -1.3), (1, 11, 5, 2.0)):
        direction = check.normal(size) * 2.3 + 0.4
        largest = float(check.uniform(1, low=3.0, high=9.0))
        value = check.normal(batch, seq, size)
        keep = random_mask(check, batch, seq)
        _check_one(check, direction, strength, largest, value, keep, given=True)
        lengths = check.uniform(batch, seq, low=0.8, high=1.3)
        lengths[0, 0], lengths[-1, -1] = 70.0, 5.0
        residual = residual_of(check, lengths, size)
        _check_one(check, direction, strength, largest, residual, lengths < 3, given=False)


def _check_one(
    check: Check, direction: Tensor, strength: float, largest: float, value: Tensor, keep: Tensor, given: bool
) -> None:
    function = check.call(direction, strength, largest, *([keep] if given else []))
    if not isinstance(function, Handle):
        what = "nothing" if function is None else f"a {type(function).__name__}"
        raise Mistake(
            f"Your function returns {what}; expected a function `(value, hook)` that a model can call while it runs. "
            "Define it inside with `def`, and return it."
        )
    kept = check.create(value, target="torch.clone")
    with explained({**HOOK_CALL, "not callable": "What your function returns cannot be called."}):
        found: Any = check.learner.call((function, "__call__"), kept, hook=None)
    said = "where `keep` is True" if given else "where the residual stream has no sink"
    check.equal(
        found,
        _right(direction, strength, largest, value, keep),
        "batch seq size",
        f"the direction is added {said}",
        _wrong(direction, strength, largest, value, keep, given),
        what="what your hook returns",
    )
    if not torch.equal(check.learner.get(kept, "data"), value):
        raise Mistake(
            "What your hook returns is right, but it changes `value` in place. This is the memory of the model's own "
            "activations: whoever has cached them finds something else there. Compute with new tensors."
        )
    check.holds(True, "the model's own activations are not spoiled", "")


def _right(direction: Tensor, strength: float, largest: float, value: Tensor, keep: Tensor) -> Tensor:
    step = strength * largest * direction / direction.norm()
    return torch.where(keep[..., None], value + step, value)


def _wrong(
    direction: Tensor, strength: float, largest: float, value: Tensor, keep: Tensor, given: bool
) -> dict[str, Alternative]:
    unit = direction / direction.norm()
    every = torch.ones_like(keep)
    first = keep.clone()
    first[:, 0] = False
    last = torch.zeros_like(keep)
    last[:, -1] = keep[:, -1]
    norms = value.norm(dim=-1, keepdim=True)

    def added(step: Tensor, where: Tensor = keep) -> Tensor:
        return torch.where(where[..., None], value + step, value)

    step = strength * largest * unit
    return {
        "sinks are steered as well": added(step, every),
        "`keep` is inverted: only the sinks are steered": added(step, ~keep),
        "the direction is not brought to unit length": added(strength * largest * direction),
        "the direction is divided by its *squared* length": added(step / direction.norm()),
        "`largest` is not used: the step is in units of the direction": added(strength * unit),
        "`strength` is not used": added(largest * unit),
        "`strength` is divided by `largest`": added(strength / largest * unit),
        "the step is scaled by each position's own norm": added(step * norms),
        "the step is scaled by each position's own norm, and `largest` is not used": added(
            strength * unit * norms
        ),
        "the direction is subtracted": added(-step),
        "the direction takes the activations' place instead of being added": torch.where(
            keep[..., None], step.expand_as(value), value
        ),
        "activations are rescaled to their old length afterwards": lambda: torch.where(
            keep[..., None], (value + step) / (value + step).norm(dim=-1, keepdim=True) * norms, value
        ),
        "only the last position is steered": added(step, last),
        "sinks are found by their position (the first of every text)": added(
            step, torch.cat([~every[:, :1], every[:, 1:]], 1)
        ),
        "the first position is never steered": added(step, first),
        "sinks are set to zero": (value + step) * keep[..., None],
        "nothing is added": value,
        "only the step is returned, without the activations": step.expand_as(value),
    }
