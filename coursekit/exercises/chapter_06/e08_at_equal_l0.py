"""Exercise 6.8: `at_equal_l0`."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, Mistakes
from coursekit.checking.door import LearnerError


@exercise(
    id="6.8",
    reference="frontier.at_equal_l0",
    difficulty=2,
    importance=4,
    minutes=15,
    points=3,
)
def at_equal_l0(check: Check) -> None:
    for points in (5, 7, 2):
        l0 = _l0(check, points)
        value = 0.9 / l0.sqrt() + 0.1 * check.uniform(points)
        for wanted in _between(l0):
            check.equal(
                _number(check.call(l0, value, wanted)),
                torch.tensor(_read(l0.tolist(), value.tolist(), wanted)),
                "",
                "between two points it is linear in the logarithm of L0",
                _wrong(l0, value, wanted),
            )
    l0 = _l0(check, 5)
    value = check.uniform(5)
    for index in range(5):
        check.equal(
            _number(check.call(l0, value, l0[index].item())),
            value[index],
            "",
            "at a measured L0 it is what was measured there",
        )
    smallest, largest = l0.min().item(), l0.max().item()
    for wanted, side in ((smallest / 1.5, "below the smallest"), (largest * 1.5, "above the largest")):
        _check_refused(check, l0, value, wanted, side)


def _l0(check: Check, points: int) -> Tensor:
    """Values of L0 that grow by unequal factors, out of order."""
    factors = check.uniform(points, low=1.4, high=3.0)
    return (3 * factors.cumprod(0))[check.permutation(points)]


def _between(l0: Tensor) -> list[float]:
    ordered = sorted(l0.tolist())
    shares = (0.3, 0.7, 0.45, 0.55, 0.2, 0.8)
    between = zip(shares, itertools.pairwise(ordered), strict=False)
    return [left + share * (right - left) for share, (left, right) in between]


def _number(found: object) -> object:
    return torch.tensor(float(found)) if isinstance(found, int | float) else found


def _read(l0: list[float], value: list[float], wanted: float, scale=math.log) -> float:  # type: ignore[no-untyped-def]
    ordered = sorted(zip(l0, value, strict=True))
    for (left, low), (right, high) in itertools.pairwise(ordered):
        if left <= wanted <= right:
            share = (scale(wanted) - scale(left)) / (scale(right) - scale(left))
            return low + share * (high - low)
    raise ValueError(wanted)


def _wrong(l0: Tensor, value: Tensor, wanted: float) -> Mistakes:
    x, y = l0.tolist(), value.tolist()
    ordered = sorted(zip(x, y, strict=True))
    below = max((p for p in ordered if p[0] <= wanted), default=ordered[0])
    above = min((p for p in ordered if p[0] >= wanted), default=ordered[-1])
    share = (math.log(wanted) - math.log(below[0])) / (math.log(above[0]) - math.log(below[0]))

    def unsorted(scale=math.log) -> Tensor | None:  # type: ignore[no-untyped-def]
        for (left, low), (right, high) in itertools.pairwise(zip(x, y, strict=True)):
            if min(left, right) <= wanted <= max(left, right):
                part = (scale(wanted) - scale(left)) / (scale(right) - scale(left))
                return torch.tensor(low + part * (high - low))
        return None

    def numpy_unsorted() -> Tensor:
        import numpy as np

        return torch.tensor(float(np.interp(math.log(wanted), np.log(x), y)))

    def swapped() -> Tensor:
        import numpy as np

        order = np.argsort(y)
        return torch.tensor(float(np.interp(wanted, np.array(y)[order], np.array(x)[order])))

    def in_log_log() -> Tensor:
        return torch.tensor(math.exp(math.log(below[1]) + share * (math.log(above[1]) - math.log(below[1]))))

    nearest = min(ordered, key=lambda p: abs(p[0] - wanted))
    nearest_log = min(ordered, key=lambda p: abs(math.log(p[0] / wanted)))
    return {
        "it is linear in L0 itself, not in its logarithm": torch.tensor(_read(x, y, wanted, float)),
        "the points are not sorted by their L0": [unsorted, numpy_unsorted],
        "the nearest measured point is taken": torch.tensor(nearest[1]),
        "the measured point that is nearest in its logarithm is taken": torch.tensor(nearest_log[1]),
        "the next measured point below is taken": torch.tensor(below[1]),
        "the next measured point above is taken": torch.tensor(above[1]),
        "the mean of the two neighbors is taken": torch.tensor((below[1] + above[1]) / 2),
        "the two neighbors are exchanged": torch.tensor(above[1] + share * (below[1] - above[1])),
        "the logarithm of the values is taken as well": in_log_log,
        "l0 and value are exchanged": swapped,
        "a line goes through all points, not through the two neighbors": _fitted(l0, value, wanted),
        "a line goes from the first point to the last": torch.tensor(
            ordered[0][1]
            + (math.log(wanted / ordered[0][0]) / math.log(ordered[-1][0] / ordered[0][0]))
            * (ordered[-1][1] - ordered[0][1])
        ),
        "the mean of all values is taken": value.mean(),
        "it is the L0 that is returned": torch.tensor(wanted),
    }


def _fitted(l0: Tensor, value: Tensor, wanted: float) -> Tensor:
    x = l0.log()
    slope = ((x - x.mean()) * (value - value.mean())).sum() / (x - x.mean()).pow(2).sum()
    return value.mean() + slope * (math.log(wanted) - x.mean())


def _check_refused(check: Check, l0: Tensor, value: Tensor, wanted: float, side: str) -> None:
    try:
        found = check.call(l0, value, wanted)
    except LearnerError as error:
        check.holds(
            "ValueError" in str(error),
            "outside of what was measured it raises a ValueError",
            f"An L0 {side} measured one raises another error than a ValueError.",
            str(error).splitlines(),
        )
        return
    raise Mistake(
        f"An L0 {side} measured one gives {float(found) if isinstance(found, int | float | Tensor) else found}: nobody "
        "knows how the curve goes on there. Raise a ValueError."
    )
