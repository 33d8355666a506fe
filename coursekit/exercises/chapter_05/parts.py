"""What the checks of chapter 5 share: a tiny language model and autoencoder, and the parts of an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from coursekit.checking import fixtures
from coursekit.checking.claims import Check, Mistake, shape_text
from coursekit.checking.door import Handle
from part_utils.autoencoder import AutoEncoder

FIXTURES = "coursekit.checking.fixtures"


BRIDGE = "transformer_lens.model_bridge"


def random_seed(check: Check) -> int:
    return int(torch.randint(2**31, (), generator=check.generator))


def pick(check: Check, count: int) -> int:
    """Return a number below `count`."""
    return int(torch.randint(count, (), generator=check.generator))


def make_autoencoder(check: Check, thresholds: bool = False, **sizes: int) -> tuple[Handle, AutoEncoder]:
    """Return an autoencoder with random weights, on the learner's side and on this one."""
    seed = random_seed(check)
    own = fixtures.autoencoder(seed, thresholds=thresholds, **sizes)
    return check.create(seed, target=f"{FIXTURES}.autoencoder", thresholds=thresholds, **sizes), own


def language_model(check: Check) -> tuple[Handle, Any]:
    """Return the tiny language model, on the learner's side and on this one."""
    seed = random_seed(check)
    return check.create(seed, target=f"{FIXTURES}.language_model"), fixtures.language_model(seed)


def fields(check: Check, value: Any, names: str) -> list[Any]:
    """Return the parts of what the learner's function returned, whether a named tuple, a tuple or a list."""
    count = len(names.split(", "))
    if isinstance(value, tuple | list):
        if len(value) == count:
            return list(value)
        raise Mistake(f"Your function returns {len(value)} things; expected {count}: {names}.")
    if isinstance(value, Tensor):
        raise Mistake(f"Your function returns one tensor; expected {count} things: {names}.")
    if value is None:
        raise Mistake("Your result is None. Does your function end with a `return`?")
    kind = value.type_name if isinstance(value, Handle) else type(value).__name__
    raise Mistake(f"Your result is of type {kind}; expected {count} things: {names}.")


def check_defaults(check: Check, args: Sequence[Any], defaults: Sequence[Any], said: str) -> None:
    """Check that a call without the last arguments does what it does with their default values.

    Args:
        check: the check.
        args: the arguments that have to be given.
        defaults: those that need not be, at the values that they have then.
        said: the defaults in words.
    """
    left_out, given = check.call(*args), check.call(*args, *defaults)
    parts = [found if isinstance(found, tuple | list) else [found] for found in (left_out, given)]
    same = len(parts[0]) == len(parts[1]) and all(
        a.shape == b.shape and torch.allclose(a.double(), b.double(), equal_nan=True)
        for a, b in zip(*parts, strict=False)
        if isinstance(a, Tensor) and isinstance(b, Tensor)
    )
    check.holds(
        same,
        "",
        f"Where nothing else is said, {said}; without these arguments your function does something else.",
    )


def whole_numbers(value: Any, shape: tuple[int, ...], axes: str, what: str) -> Tensor:
    """Return the value, if it is a tensor of whole numbers of this shape."""
    if isinstance(value, list):
        value = torch.tensor(value)
    if not isinstance(value, Tensor):
        raise Mistake(f"{what} should be a tensor, but is of type {type(value).__name__}.")
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise Mistake(f"{what} should hold whole numbers, but holds {value.dtype} values.")
    if 1 in shape and value.shape == torch.empty(shape).squeeze().shape:
        raise Mistake(
            f"{what} is what comes out when an axis of size 1 is lost (`squeeze` removes all of them): expected "
            f"{shape_text(torch.empty(shape), axes)}, got {shape_text(value)}."
        )
    if tuple(value.shape) != shape:
        raise Mistake(
            f"{what} should have the shape {shape_text(torch.empty(shape), axes)}, but has {shape_text(value)}."
        )
    return value.long()


def number_of(value: Any, what: str) -> float:
    """Return a plain number, or a tensor that holds one."""
    if isinstance(value, Tensor) and value.numel() == 1:
        return float(value)
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, Tensor):
        raise Mistake(f"{what} should be one number, but is a tensor of shape {shape_text(value)}.")
    raise Mistake(
        f"{what} should be a number, but is of type {getattr(value, 'type_name', type(value).__name__)}."
    )
