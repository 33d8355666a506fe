"""Exercise 8.5: `steer`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, Mistakes, agree
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
        if batch > 1:
            # More than half of this text's positions are sinks.
            lengths[1, seq // 2 - (seq % 2 == 0) :] = 4.5
        residual = residual_of(check, lengths, size)
        _check_one(check, direction, strength, largest, residual, lengths < 3 * lengths.median(), given=False)
        # `keep` decides alone: it may name a sink.
        keep = random_mask(check, batch, seq)
        keep[0, 0] = True
        _check_one(check, direction, strength, largest, residual, keep, given=True)
    _check_one(check, direction, strength, largest, value, torch.zeros_like(keep), given=True)
    _check_twice(check)
    check.leaves_inputs(direction, 0.7, 3.0)


def _check_twice(check: Check) -> None:
    """The second call knows nothing of the first."""
    direction = check.normal(5)
    function = check.call(direction, 0.5, 3.0)
    for sink in (1, 4):
        lengths = check.uniform(3, 7, low=0.8, high=1.3)
        lengths[0, sink] = 30.0
        value = residual_of(check, lengths, 5)
        found = check.learner.call((function, "__call__"), value, hook=None)
        if not agree(check.tensor(found), _right(direction, 0.5, 3.0, value, lengths < 3)):
            raise Mistake(
                "Called a second time with other activations your hook returns something wrong: it remembers the first "
                "call. Find the sinks of every `value` anew, and change nothing that outlives the call."
            )
    check.holds(True, "the hook remembers nothing", "")


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
        f"the direction is added {said}" if keep.any() else "",
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
) -> Mistakes:
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
    own = ~(norms > 3 * norms.median())[..., 0]
    if given and not keep.any():
        return {"a `keep` that is False everywhere is taken for none": [added(step, own), added(step, every)]}
    negative = {
        "a `strength` below 0 is taken without its sign, so that the direction is turned up": added(-step),
        "a `strength` below 0 counts as 0": value,
    }
    after = value + step
    centered = direction - direction.mean()
    along = (value @ unit)[..., None]
    return (negative if strength < 0 else {}) | {
        (
            "`keep` is not used: the direction is added everywhere" if given else "sinks are steered as well"
        ): added(step, every),
        "`keep` is not used, but what is no sink of the activations": added(step, own),
        "sinks are left alone although `keep` is True there": added(step, own & keep),
        "sinks are found in each text by itself, not among all": added(
            step, ~(norms > 3 * norms.median(dim=1, keepdim=True).values)[..., 0]
        ),
        "sinks are found by comparing with the *mean* norm": added(step, (norms <= 3 * norms.mean())[..., 0]),
        "sinks are found after the direction has been added": added(
            step, (after.norm(dim=-1) <= 3 * after.norm(dim=-1).median())
        ),
        "`keep` of the first text is used for every text": added(step, keep[:1].expand_as(keep))
        if given
        else None,
        "the mean of the direction's entries is subtracted first": added(
            strength * largest * centered / centered.norm()
        ),
        "the direction is divided by the sum of its absolute entries, not by its length": added(
            strength * largest * direction / direction.abs().sum()
        ),
        "the direction is divided by its largest entry, not by its length": added(
            strength * largest * direction / direction.abs().max()
        ),
        "activations are *set* to the strength along the direction, instead of adding it": added(
            (strength * largest - along) * unit
        ),
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
