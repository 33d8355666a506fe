"""Mistakes that can be made in any exercise: in what goes in, in the axes of what comes out, in its sign.

`Check.equal` tries them when none of the exercise's own mistakes explains what a learner's code returned.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

FIRST = (1, 2, 3, 5, 8, 10, 16, 20, 32, 50, 64, 100)
"""How many of an axis somebody looks at who was content with what he saw."""
MOST_NUMBERS = 20_000
"""A function of more numbers than that is not computed a hundred times to find a mistake."""


def axis_names(axes: str, count: int) -> list[str]:
    """Split the names of the axes; without a name for each they are called by their number."""
    names = axes.split()
    return names if len(names) == count else [f"axis {axis}" for axis in range(count)]


def mistakes_in_result(expected: Tensor, axes: str) -> Iterator[tuple[str, Tensor]]:
    """Return what mistakes in the handling of axes, signs and ranges make of a result."""
    names = axis_names(axes, expected.ndim)
    if not expected.is_floating_point():
        expected = expected.double()
    for order in itertools.permutations(range(expected.ndim)):
        if expected.ndim <= 4 and list(order) != sorted(order):
            moved = expected.permute(order)
            yield f"the axes are left in the order `{' '.join(names[axis] for axis in order)}`", moved
            yield (
                f"axes in the order `{' '.join(names[axis] for axis in order)}` are brought into shape by `reshape` or "
                "`view`, which leaves the numbers where they are in memory; to move axes takes `transpose`, "
                "`permute` or einops",
                moved.reshape(expected.shape),
            )
    for axis, name in enumerate(names):
        for keep, note in ((False, ""), (True, ", and an axis of size 1 is left")):
            yield f"the axis `{name}` is summed over{note}", expected.sum(axis, keepdim=keep)
            yield f"the axis `{name}` is averaged over{note}", expected.mean(axis, keepdim=keep)
        yield f"only index 0 of the axis `{name}` is returned", expected.select(axis, 0)
        yield f"only the last index of the axis `{name}` is returned", expected.select(axis, -1)
        yield f"index 0 of the axis `{name}` is used for all of it", _one_for_all(expected, axis, 0)
        yield f"the last index of the axis `{name}` is used for all of it", _one_for_all(expected, axis, -1)
        if expected.shape[axis] > 1:
            yield f"the axis `{name}` is reversed", expected.flip(axis)
            # With two of them this is reversed.
            for step, neighbor in ((1, "before"), (-1, "after")) if expected.shape[axis] > 2 else ():
                yield (
                    f"along `{name}` each place has what belongs to the one {neighbor} it",
                    expected.roll(step, axis),
                )
            mean = expected.mean(axis, keepdim=True).expand_as(expected)
            yield f"the mean over the axis `{name}` is used for all of it", mean
            yield f"the sum over the axis `{name}` is used for all of it", mean * expected.shape[axis]
            yield f"it is added up along the axis `{name}` (a cumulative sum)", expected.cumsum(axis)
            yield f"it is sorted along the axis `{name}`", expected.sort(axis).values
            yield f"it is sorted along the axis `{name}`, the largest first", expected.sort(axis, True).values
            yield f"the mean over the axis `{name}` is subtracted", expected - mean
            yield f"a softmax is taken over the axis `{name}`", expected.softmax(axis)
    yield "an axis of size 1 is added in front", expected.unsqueeze(0)
    yield "an axis of size 1 is added at the end", expected.unsqueeze(-1)
    yield "the sign is turned round", -expected
    yield "the absolute value is taken", expected.abs()
    yield "it is squared once more", expected.square()
    yield "a square root is taken once more", expected.clamp(min=0).sqrt()
    yield "negative values are set to 0", expected.relu()
    # One number alone may be 1 for many reasons.
    if expected.numel() > 2:
        yield "values above 1 are cut down to 1", expected.clamp(max=1)
        yield "values are cut down to lie between 0 and 1", expected.clamp(0, 1)
        yield "values are cut down to lie between -1 and 1", expected.clamp(-1, 1)
    yield "a sigmoid is applied", expected.sigmoid()
    yield "its logarithm is taken", expected.log()
    yield "the angle is taken of a cosine (`arccos`)", expected.clamp(-1, 1).arccos()
    yield "it is subtracted from 1", 1 - expected
    yield "1 is added, and the sum is halved", (1 + expected) / 2
    yield "a tanh is applied", expected.tanh()
    yield "its reciprocal is taken", 1 / expected
    yield "it is rounded to whole numbers", expected.round()
    yield "it is cut down to whole numbers", expected.trunc()
    for digits in (1, 2, 3):
        yield (
            f"it is rounded to {digits} {'digits' if digits > 1 else 'digit'}",
            expected.round(decimals=digits),
        )


def arguments_by_name(
    function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, tuple[Any, str]]:
    """Return each argument of a call with the names of its axes, which stand in the function's annotations."""
    parameters = inspect.signature(function).parameters
    bound = inspect.signature(function).bind(*args, **kwargs)
    return {
        name: (value, getattr(parameters[name].annotation, "dim_str", ""))
        for name, value in bound.arguments.items()
    }


def mistakes_in_inputs(
    compute: Callable[..., Any], inputs: Mapping[str, tuple[Any, str]]
) -> dict[str, Callable[[], Any]]:
    """Return what comes out when one of the inputs is misread.

    Args:
        compute: what is right, called with the inputs under their names.
        inputs: each with its value and the names of its axes. What is no tensor and no number is left as it is.
    """
    values = {name: value for name, (value, _) in inputs.items()}
    if sum(value.numel() for value in values.values() if isinstance(value, Tensor)) > MOST_NUMBERS:
        return {}
    misread: dict[str, Callable[[], Any]] = {
        phrase: lambda name=name, change=change: compute(**_copies(values) | {name: change()})  # type: ignore[misc]
        for name, (value, axes) in inputs.items()
        for phrase, change in _ways_to_misread(name, value, axes)
    }
    return misread | {
        _only_the_first(count, along): partial(_of_the_first, compute, inputs, along, count)
        for along, size in _sizes(inputs).items()
        for count in FIRST
        if count < size
    }


def _only_the_first(count: int, along: str) -> str:
    return (
        f"only the first {count} of `{along}` are looked at"
        if count > 1
        else f"only the first of `{along}` is looked at"
    )


def _sizes(inputs: Mapping[str, tuple[Any, str]]) -> dict[str, int]:
    """Return how long each axis is that has a name."""
    return {
        along: size
        for value, axes in inputs.values()
        if isinstance(value, Tensor) and len(axes.split()) == value.ndim
        for along, size in zip(axes.split(), value.shape, strict=True)
    }


def _of_the_first(
    compute: Callable[..., Any], inputs: Mapping[str, tuple[Any, str]], along: str, count: int
) -> Tensor:
    """What comes out of the first of an axis alone, with zeros for the others."""
    values = {name: value for name, (value, _) in inputs.items()}
    short = {
        name: value.narrow(axes.split().index(along), 0, count)
        for name, (value, axes) in inputs.items()
        if isinstance(value, Tensor) and along in axes.split()
    }
    found, whole = compute(**_copies(values | short)), compute(**_copies(values))
    result = torch.zeros_like(whole)
    result[tuple(slice(size) for size in found.shape)] = found
    return result


def _ways_to_misread(name: str, value: Any, axes: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    if isinstance(value, Tensor) and value.numel():
        x, names = value.detach(), axis_names(axes, value.ndim)
        if x.dtype == torch.bool:
            yield from _misread_mask(name, x)
        elif x.is_floating_point():
            yield from _misread(name, x, names)
            return
        for axis, along in enumerate(names):
            if x.shape[axis] > 1:
                yield from _moved(name, x, axis, along)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _misread_number(name, value)


def _misread_number(name: str, x: float) -> Iterator[tuple[str, Callable[[], float]]]:
    """Each way to misread a number. One that is whole stays whole, where it can."""
    whole = isinstance(x, int)
    if whole:
        yield f"`{name}` is one too large", lambda: x + 1
        yield f"`{name}` is one too small", lambda: x - 1
    yield f"`{name}` counts twice", lambda: 2 * x
    yield f"`{name}` is halved", lambda: x // 2 if whole and x % 2 == 0 else x / 2
    yield f"`{name}` is left out: it counts as 1", lambda: type(x)(1)
    yield f"`{name}` counts as 0", lambda: type(x)(0)
    yield f"the sign of `{name}` is turned round", lambda: -x
    yield f"`{name}` is squared", lambda: x * x
    yield f"the root of `{name}` is taken", lambda: x**0.5
    yield f"the reciprocal of `{name}` is taken", lambda: 1 / x
    if not whole:
        yield f"`{name}` is rounded to a whole number", lambda: round(x)
        yield f"`{name}` is cut down to a whole number", lambda: int(x)


def _misread_mask(name: str, x: Tensor) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    yield f"`{name}` is turned round", x.logical_not
    yield f"`{name}` is not asked: everything counts", lambda: torch.ones_like(x)


def _copies(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.detach().clone() if isinstance(value, Tensor) else value for name, value in values.items()
    }


def _misread(name: str, x: Tensor, axes: Sequence[str]) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """Each way to misread a tensor: a phrase, and the tensor that it makes of it."""
    yield f"`{name}` is left out", lambda: torch.zeros_like(x)
    yield f"the sign of `{name}` is turned round", lambda: -x
    yield f"`{name}` counts twice", lambda: 2 * x
    yield f"`{name}` is halved", lambda: x / 2
    yield f"the absolute value of `{name}` is taken", x.abs
    yield f"negative values of `{name}` are set to 0", x.relu
    yield f"positive values of `{name}` are set to 0", lambda: -(-x).relu()
    yield f"`{name}` is squared", x.square
    yield f"the root of `{name}` is taken", x.sqrt
    yield f"`{name}` counts as 1 wherever it is not 0", lambda: (x != 0).to(x.dtype)
    if (x < 0).any():
        yield f"`{name}` counts as 1 wherever it is above 0, and as 0 elsewhere", lambda: (x > 0).to(x.dtype)
    if (x > 1).any():
        yield f"`{name}` is cut down to 1 where it is larger", lambda: x.clamp(max=1)
    yield f"`{name}` is rounded to whole numbers", x.round
    yield f"`{name}` is divided by the length of all of it", lambda: x / x.norm()
    yield f"one mean of all of `{name}` is used", lambda: x.mean().expand_as(x)
    for axis, along in enumerate(axes):
        if x.shape[axis] > 1:
            yield from _misread_axis(name, x, axis, along)
    for left, right in itertools.combinations(range(x.ndim), 2):
        pair = f"`{axes[left]}` and `{axes[right]}`"
        if x.shape[left] == x.shape[right]:
            yield f"the axes {pair} of `{name}` are exchanged", partial(x.transpose, left, right)
        shape = list(x.shape)
        shape[left], shape[right] = shape[right], shape[left]
        yield (
            f"the axes {pair} of `{name}` are exchanged with `reshape` or `view`, which leaves the numbers where they "
            "are in memory; `transpose` moves axes",
            lambda i=left, j=right, shape=shape: x.reshape(shape).transpose(i, j),  # type: ignore[misc]
        )


def _misread_axis(name: str, x: Tensor, axis: int, along: str) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    size = x.shape[axis]

    def mean() -> Tensor:
        return x.mean(axis, keepdim=True).expand_as(x)

    def without(index: int) -> Tensor:
        kept = torch.ones(size, dtype=x.dtype)
        kept[index] = 0
        return x * kept.reshape([-1 if place == axis else 1 for place in range(x.ndim)])

    def last_alone() -> Tensor:
        return x - without(-1)

    yield from _moved(name, x, axis, along)
    yield f"the mean of `{name}` over `{along}` is used for all", mean
    yield f"the sum of `{name}` over `{along}` is used for all", lambda: size * mean()
    yield f"the mean of `{name}` over `{along}` is subtracted first", lambda: x - mean()
    yield (
        f"`{name}` is brought to unit length along `{along}`",
        lambda: x / x.norm(dim=axis, keepdim=True).clamp_min(1e-12),
    )
    yield (
        f"`{name}` is divided by the sum of its absolute values along `{along}`",
        lambda: x / x.abs().sum(axis, keepdim=True).clamp_min(1e-12),
    )
    yield f"a softmax is taken of `{name}` over `{along}`", lambda: x.softmax(axis)
    yield (
        f"only the largest `{name}` along `{along}` counts",
        lambda: torch.where(x == x.amax(axis, keepdim=True), x, 0),
    )
    for count in range(2, min(size, 6)):
        yield f"only the {count} largest `{name}` along `{along}` count", partial(_largest, x, axis, count)
    yield f"the first of `{along}` is left out of `{name}`", lambda: without(0)
    yield f"the last of `{along}` is left out of `{name}`", lambda: without(-1)
    if size > 2:
        yield (
            f"only the last of `{along}` counts in `{name}` (a loop that overwrites what it should add up?)",
            last_alone,
        )


def _moved(name: str, x: Tensor, axis: int, along: str) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """Each way to take what belongs to another place along an axis."""
    yield f"index 0 of `{name}` along `{along}` is used for all", lambda: _one_for_all(x, axis, 0)
    yield f"the last of `{name}` along `{along}` is used for all", lambda: _one_for_all(x, axis, -1)
    for step, neighbor in ((1, "before"), (-1, "after")) if x.shape[axis] > 2 else ():
        yield (
            f"along `{along}` each place gets the `{name}` of the one {neighbor} it",
            partial(x.roll, step, axis),
        )
    yield f"`{along}` is reversed in `{name}`", lambda: x.flip(axis)


def _largest(x: Tensor, axis: int, count: int) -> Tensor:
    values, places = x.topk(count, dim=axis)
    return torch.zeros_like(x).scatter(axis, places, values)


def _one_for_all(x: Tensor, axis: int, index: int) -> Tensor:
    return x.select(axis, index).unsqueeze(axis).expand_as(x)
