"""Where and how two tensors differ, in words: what can be said of a result when no known mistake explains it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from coursekit.checking.general_mistakes import axis_names

NEARLY = 0.01
"""The largest error, as a share of the largest value, at which rounding may be the cause: that of bfloat16 is 0.004."""


def agree(left: Tensor, right: Tensor, rtol: float = 1e-4, atol: float = 1e-5) -> bool:
    """Say whether two tensors are equal within rounding. The tolerance scales with the largest value."""
    if left.shape != right.shape:
        return False
    left, right = left.double(), right.double()
    if not torch.isfinite(left).all():
        return torch.equal(torch.isfinite(left), torch.isfinite(right)) and torch.allclose(
            left, right, rtol=rtol, atol=atol, equal_nan=True
        )
    finite = right[torch.isfinite(right)]
    scale = finite.abs().max().item() if finite.numel() else 0.0
    return torch.allclose(left, right, rtol=rtol, atol=atol * max(1.0, scale))


def shape_text(tensor: Tensor, axes: str = "") -> str:
    """`[batch 7, instances 3]`, or `[7, 3]` without names; `a scalar` without axes."""
    if tensor.ndim == 0:
        return "a scalar"
    names = axes.split()
    if len(names) != tensor.ndim:
        return f"[{', '.join(map(str, tensor.shape))}]"
    return f"[{', '.join(f'{name} {size}' for name, size in zip(names, tensor.shape, strict=True))}]"


def compare(actual: Tensor, expected: Tensor, axes: str) -> list[str]:
    """Return lines that show where two tensors differ: shapes, the largest difference, and which slices are right."""
    if actual.shape == expected.shape:
        lines = [f"shape {shape_text(expected, axes)}, as expected"]
    else:
        lines = [f"expected shape {shape_text(expected, axes)}, got {shape_text(actual)}"]
    if actual.shape != expected.shape or actual.ndim == 0:
        if actual.shape == expected.shape:
            lines = [f"expected {expected.item():.5g}, got {actual.item():.5g}"]
        return lines
    difference = (actual.double() - expected.double()).abs()
    wrong = ~torch.isclose(actual.double(), expected.double(), rtol=1e-4, atol=1e-5)
    difference = torch.where(torch.isnan(difference), torch.full_like(difference, torch.inf), difference)
    worst = place_of_largest(difference)
    lines.append(f"{int(wrong.sum())} of {wrong.numel()} values differ, most at ({place_text(worst, axes)}):")
    lines.append(f"expected {expected[worst].item():.5g}, got {actual[worst].item():.5g}")
    for axis, name in enumerate(axis_names(axes, wrong.ndim)):
        others = [other for other in range(wrong.ndim) if other != axis]
        good = ~(wrong.any(dim=others) if others else wrong)
        if good.any() and not good.all():
            right, bad = (
                ", ".join(map(str, which.nonzero().flatten().tolist()[:6])) for which in (good, ~good)
            )
            lines.append(f"along {name}: {right} right; {bad} wrong")
            break
    return lines


def how_wrong(actual: Tensor, expected: Tensor, axes: str, rtol: float, atol: float) -> str:
    """Say what can be seen of a result that no known mistake explains."""
    if not actual.any():
        return "is 0 everywhere."
    if expected.numel() == 1 and expected.any():
        ratio = (actual.double() / expected.double()).item()
        simple = next((n for n in (2, 3, 4) if _near(ratio, n) or _near(ratio, 1 / n)), None)
        if simple:
            return f"is {simple if ratio > 1 else f'1/{simple} of'}{' times' if ratio > 1 else ''} what it should be."
    factor = _common_factor(actual, expected)
    if factor is not None and agree(actual, factor * expected, rtol, atol):
        names = axis_names(axes, expected.ndim)
        note = ""
        for name, size in zip(names, expected.shape, strict=True):
            if size > 1 and factor and (_near(factor, size) or _near(1 / factor, size)):
                note = f" ({'' if factor > 1 else 'divided by '}the size of the axis `{name}`)"
        return f"is everywhere {factor:.4g} times what it should be{note}."
    shift = (actual.double() - expected.double()).mean().item()
    if expected.numel() > 2 and agree(actual, expected + shift, rtol, atol):
        return f"is everywhere {abs(shift):.4g} too {'large' if shift > 0 else 'small'}."
    wrong = ~torch.isclose(actual.double(), expected.double(), rtol=1e-4, atol=1e-5)
    where = _wrong_slices(wrong, (actual != 0) | (expected != 0), axes)
    zero = wrong & (actual == 0)
    if wrong.any() and torch.equal(wrong, zero) and not wrong.all():
        return f"is 0 {where[1] or 'in some places where it should not be'}, and right everywhere else."
    if wrong.any() and not wrong.all() and (expected[wrong] == 0).all():
        return "is right wherever it should not be 0, but not 0 where it should be."
    if where[0]:
        return f"is right {where[0]}, and wrong {where[1]}."
    largest = (actual.double() - expected.double()).abs().max().item()
    # Rounding leaves hardly any number as it was; a mistake that makes little difference may.
    moved = ~torch.isclose(actual.double(), expected.double(), rtol=1e-6, atol=0)
    everywhere = moved[expected != 0].double().mean() > 0.8
    if expected.numel() > 2 and everywhere and largest < NEARLY * expected.abs().max().item():
        return (
            f"is nearly right: it is off by {largest:.2g} at most. Is it rounded, computed in half precision, or is a "
            "small number added somewhere that is not small enough?"
        )
    return "has the right shape but the wrong values."


def _wrong_slices(wrong: Tensor, counted: Tensor, axes: str) -> tuple[str, str]:
    """Where along an axis everything is right, and where it is wrong: ("for `instances` 0", "for `instances` 1, 2").

    Zeros that are right do not count: after a ReLU half of what is wrong can be 0.
    """
    for axis, name in enumerate(axis_names(axes, wrong.ndim)):
        others = [other for other in range(wrong.ndim) if other != axis]
        bad = wrong.any(dim=others) if others else wrong
        if not bad.any() or bad.all():
            continue
        # A few wrong numbers here and there say nothing about an axis.
        inside = counted.transpose(0, axis)[bad]
        if wrong.transpose(0, axis)[bad][inside].double().mean() > 0.5:
            return (
                f"for `{name}` {_listed(~bad)}",
                f"for `{name}` {_listed(bad)}",
            )
    return "", ""


def _listed(places: Tensor) -> str:
    numbers = [str(number) for number in places.nonzero().flatten().tolist()]
    return (
        ", ".join(numbers) if len(numbers) <= 6 else f"{', '.join(numbers[:5])} and {len(numbers) - 5} more"
    )


def how_gradient_is_wrong(actual: Tensor, expected: Tensor) -> str:
    if actual.shape != expected.shape:
        return "has another shape than it should."
    if not torch.isfinite(actual).all():
        kind = "NaN" if torch.isnan(actual).any() else "infinite"
        return f"contains {kind} values: one step of training would destroy the parameter."
    if not actual.any():
        return "is 0 everywhere: it is detached on the way (`.detach()`, `.data` or `torch.no_grad()`)."
    wrong = ~torch.isclose(actual.double(), expected.double(), rtol=1e-3, atol=1e-5)
    if (actual[wrong] == 0).all():
        return (
            "is 0 in some places where it should not be: part of the computation is cut off there, by a clamp, a "
            "mask or a `.detach()`."
        )
    factor = _common_factor(actual, expected)
    if factor is not None and agree(actual, factor * expected, 1e-3, 1e-5):
        return f"is everywhere {factor:.4g} times what it should be."
    if (expected[wrong] == 0).all():
        return (
            "is right wherever it should not be 0, but not 0 where it should be: it gets past a choice, a ReLU or a "
            "mask that should stop it."
        )
    return "is not. Is part of the computation detached, or does another function have the same values here?"


def _near(left: float, right: float) -> bool:
    return math.isclose(left, right, rel_tol=1e-3)


def _common_factor(actual: Tensor, expected: Tensor) -> float | None:
    """The number by which all of `expected` would have to be multiplied, if there is one."""
    norm = expected.double().square().sum().item()
    if expected.numel() < 3 or norm == 0:
        return None
    return (actual.double() * expected.double()).sum().item() / norm


def place_of_largest(values: Tensor) -> tuple[int, ...]:
    # torch's own unravel_index loads sympy, which takes long enough to use up a check's time.
    return tuple(int(index) for index in np.unravel_index(int(values.argmax()), tuple(values.shape)))


def place_text(index: Sequence[int], axes: str) -> str:
    return ", ".join(f"{name} {i}" for name, i in zip(axis_names(axes, len(index)), index, strict=True))
