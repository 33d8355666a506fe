"""What went into the learner's code when it raised, and which axes a complaint of torch's about sizes is about.

torch says "The size of tensor a (7) must match the size of tensor b (3)". Checks use sizes that differ from one
another, so each number has one name, which stands in the reference's annotations: 7 is the batch, 3 the instances.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

_PATTERN = re.compile(r"""["']([^"'`]*->[^"'`]*)["']""")
_OUTSIDE = re.compile(r"index (-?\d+) is out of bounds for (?:dimension|axis) \d+ with size (\d+)")
_SUBSCRIPT = re.compile(r"subscript (\w) ")


def shapes_that_went_in(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, str]:
    """Of each tensor argument, by the name it has in the reference: `[batch 7, instances 3]`.

    Args:
        function: the reference; its annotations name the axes. `self` does not count.
        args, kwargs: what the learner's function was called with.
    """
    return {
        name: f"[{', '.join(f'{axis} {size}'.strip() for axis, size in axes)}]"
        for name, axes in _named(function, args, kwargs)
    }


def explained_clash(message: str, sizes: Mapping[int, Sequence[str]]) -> str:
    """Return a sentence that gives the sizes in torch's complaint their names; "" if it is not about sizes.

    Args:
        message: the exception's text, with the learner's line below.
        sizes: the names of the axes that have this size.
    """
    said, _, place = message.partition("\nin ")
    if "selected index k out of range" in said:
        return "`topk` is asked for more values than the axis has."
    if outside := _OUTSIDE.search(said):
        index, size = map(int, outside.groups())
        axis = f" `{' or '.join(sizes[size])}`" if size in sizes else ""
        return f"The last index of an axis{axis} of size {size} is {size - 1}; {index} is asked for."
    if not re.search(r"size|shape|dimension|broadcast", message, re.IGNORECASE):
        return ""
    numbers = dict.fromkeys(int(number) for number in re.findall(r"(?<![\w.-])\d+|(?<=\dx)\d+", said))
    named = [number for number in numbers if number in sizes]
    known = [f"{n} is the size of {' or '.join(f'`{axis}`' for axis in sizes[n])}" for n in named]
    subscript, pattern = _SUBSCRIPT.search(said), _PATTERN.search(place)
    if subscript and pattern:
        # einops hands einsum a letter for each name, in the order in which they come.
        names = list(dict.fromkeys(re.findall(r"\w+", pattern[1])))
        letter = ord(subscript[1]) - ord("a")
        if " " in pattern[1].strip() and 0 <= letter < len(names) and len(names[letter]) > 1:
            known.insert(0, f"the subscript {subscript[1]} is `{names[letter]}`")
    if not known:
        return ""
    text = ", ".join(known)
    meet = ": two different axes meet here" if len(named) == 2 == len(known) else ""
    return f"{text[:1].upper()}{text[1:]}{meet}."


def explained_none(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Return a sentence that names the arguments that are None in this call; "" if none is."""
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    given = dict(zip((p.name for p in parameters), args, strict=False)) | dict(kwargs)
    left_out = [f"`{p.name}`" for p in parameters if given.get(p.name, p.default) is None]
    return f"Here {' and '.join(left_out)} {'is' if len(left_out) == 1 else 'are'} None." if left_out else ""


def names_of_sizes(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[int, list[str]]:
    """Return which axes of the arguments have which size."""
    found: dict[int, list[str]] = {}
    for _, axes in _named(function, args, kwargs):
        for axis, size in axes:
            if axis and axis not in found.setdefault(size, []):
                found[size].append(axis)
    return found


def _named(
    function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """(argument, (axis, size) for each of its axes) for each tensor. An axis without a name is ""."""
    parameters = [
        parameter for parameter in inspect.signature(function).parameters.values() if parameter.name != "self"
    ]
    given = [*zip(parameters, args, strict=False)]
    given += [(parameter, kwargs[parameter.name]) for parameter in parameters if parameter.name in kwargs]
    for parameter, value in given:
        if isinstance(value, Tensor):
            axes = getattr(parameter.annotation, "dim_str", "").split()
            if len(axes) != value.ndim:
                axes = [""] * value.ndim
            yield parameter.name, list(zip(axes, value.shape, strict=True))
