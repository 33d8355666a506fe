"""Exercise 6.8: `at_equal_l0`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Alternative, Check, Mistake, Mistakes
from coursekit.checking.door import Handle, LearnerError
from coursekit.checking.phrases import explained

READINGS = "readings"


@exercise(
    id="6.8",
    reference="frontier.at_equal_l0",
    difficulty=2,
    importance=4,
    minutes=15,
    points=3,
)
def at_equal_l0(check: Check) -> None:
    earlier: list[tuple[Tensor, Tensor]] = []
    for points, first in ((7, 3.0), (5, 0.02), (2, 3.0), (23, 1e-3)):
        l0 = _l0(check, points, first)
        # First values that have a logarithm; then any, since a measure may be anything.
        value = check.uniform(points, low=0.2, high=3.0) if points == 7 else check.normal(points)
        wanted = _between(l0)
        found = [_reading(check, l0, value, each, "between two measured ones") for each in wanted]
        right = [_read(l0.tolist(), value.tolist(), each) for each in wanted]
        check.equal(
            torch.stack(found),
            torch.tensor(right),
            READINGS,
            "between two points it is linear in the logarithm of L0",
            partial(_wrong, l0, value, wanted, earlier),
        )
        earlier = [*earlier, (l0, value)]
    _check_measured_points(check)
    check.leaves_inputs(l0, value, wanted[0])


def _check_measured_points(check: Check) -> None:
    l0, value = _l0(check, 5, 3.0), check.normal(5)
    for place, side in ((l0.argmin(), "smallest"), (l0.argmax(), "largest")):
        _reading(check, l0, value, l0[place].item(), f"that is the {side} measured one, which is inside")
    found = torch.stack([_reading(check, l0, value, each, "that was measured") for each in l0.tolist()])
    right, order = value.clone(), l0.argsort()
    check.equal(
        found,
        right,
        READINGS,
        "at a measured L0 it is what was measured there",
        {
            "0 is divided by 0 where the L0 was measured: both neighbors are the same point": torch.full(
                (5,), torch.nan
            ),
            "at the smallest L0 it is NaN": right.where(l0 > l0.min(), torch.nan),
            "at the largest L0 it is NaN": right.where(l0 < l0.max(), torch.nan),
            "at a measured L0 the value of the point before is taken": right[order]
            .roll(1)[order.argsort()]
            .where(l0 > l0.min(), right),
        },
    )
    smallest, largest = l0.min().item(), l0.max().item()
    for wanted, side in (
        (smallest / 1.5, "below the smallest"),
        (largest * 1.5, "above the largest"),
        (smallest / 1.01, "just below the smallest"),
        (largest * 1.01, "just above the largest"),
    ):
        _check_refused(check, l0, value, wanted, side)


def _l0(check: Check, points: int, first: float) -> Tensor:
    """Values of L0 that grow by unequal factors, out of order."""
    factors = check.uniform(points, low=1.4, high=3.0)
    return (first * factors.cumprod(0))[check.permutation(points)]


def _between(l0: Tensor) -> list[float]:
    ordered = sorted(l0.tolist())
    shares = itertools.cycle((0.3, 0.7, 0.45, 0.55, 0.2, 0.8))
    # Of two points there is one interval only, which is read at several places.
    pairs = list(itertools.pairwise(ordered)) * (4 if len(ordered) == 2 else 1)
    return [left + share * (right - left) for share, (left, right) in zip(shares, pairs, strict=False)]


def _reading(check: Check, l0: Tensor, value: Tensor, wanted: float, where: str) -> Tensor:
    """Return what the learner's code reads at one L0."""
    sentence = (
        f"A ValueError is raised for an L0 {where}. {len(l0)} points were measured, from {l0.min():.4g} to "
        f"{l0.max():.4g} and in no order, and {wanted:.4g} is asked for."
    )
    with explained({"ValueError": sentence}):
        found = check.call(l0, value, wanted)
    number = check.tensor(torch.tensor(float(found)) if isinstance(found, int | float) else found)
    if number.ndim:
        right = next((v for x, v in zip(l0.tolist(), value, strict=True) if x == wanted), None)
        expected = torch.tensor(_read(l0.tolist(), value.tolist(), wanted)) if right is None else right
        check.equal(number, expected, "", "")
    return number.double()


def _read(l0: Sequence[float], value: Sequence[float], wanted: float) -> float:
    return _on_a_line(sorted(zip(l0, value, strict=True)), wanted, math.log)


def _on_a_line(
    points: Sequence[tuple[float, float]], wanted: float, scale: Callable[[float], float]
) -> float:
    """Read between the first two neighbors on either side of what is wanted; the points may be in any order."""
    for (left, low), (right, high) in itertools.pairwise(points):
        if min(left, right) <= wanted <= max(left, right):
            share = (scale(wanted) - scale(left)) / (scale(right) - scale(left))
            return low + share * (high - low)
    raise ValueError(wanted)


def _wrong(
    l0: Tensor, value: Tensor, wanted: Sequence[float], earlier: Sequence[tuple[Tensor, Tensor]]
) -> Mistakes:
    x, y = l0.tolist(), value.tolist()
    ordered = sorted(zip(x, y, strict=True))
    xs, ys = [p[0] for p in ordered], [p[1] for p in ordered]

    def reads(read: Callable[[float], float]) -> Alternative:
        return lambda: torch.tensor([read(each) for each in wanted], dtype=torch.double)

    def interpolated(at: float, x: Sequence[float], y: Sequence[float]) -> float:
        import numpy as np

        return float(np.interp(at, x, y))

    def logs(numbers: Sequence[float]) -> list[float]:
        return [math.log(number) for number in numbers]

    def left(w: float) -> int:
        return min(sum(each <= w for each in xs), len(xs) - 1) - 1

    def share(w: float) -> float:
        low, high = xs[left(w)], xs[left(w) + 1]
        return math.log(w / low) / math.log(high / low)

    def over(first: int, w: float) -> float:
        """The line through a point and the next, wherever what is wanted lies."""
        start, end = max(0, min(first, len(xs) - 2)), max(0, min(first, len(xs) - 2)) + 1
        part = math.log(w / xs[start]) / math.log(xs[end] / xs[start])
        return ys[start] + part * (ys[end] - ys[start])

    def as_they_stand(w: float) -> float:
        """The neighbors are counted off, as if the points were sorted."""
        at = sum(each < w for each in x[1:-1])
        part = math.log(w / x[at]) / math.log(x[at + 1] / x[at])
        return y[at] + part * (y[at + 1] - y[at])

    def through_all(w: float) -> float:
        t = logs(xs)
        return sum(
            ys[j] * math.prod((math.log(w) - t[m]) / (t[j] - t[m]) for m in range(len(xs)) if m != j)
            for j in range(len(xs))
        )

    by_value = sorted(zip(y, x, strict=True))
    values, their_l0 = [p[0] for p in by_value], [p[1] for p in by_value]
    falling = list(itertools.accumulate(ys, min))
    rising = list(itertools.accumulate(ys, max))
    right = [_read(x, y, each) for each in wanted]
    slope, start = _fitted(l0, value)
    return {
        "it is linear in L0 itself, not in its logarithm": reads(lambda w: _on_a_line(ordered, w, float)),
        "the points are not sorted by their L0": [
            reads(lambda w: _on_a_line(list(zip(x, y, strict=True)), w, math.log)),
            reads(lambda w: interpolated(math.log(w), logs(x), y)),
            reads(as_they_stand),
        ],
        "L0 is sorted, and the values stay in their order: they belong to other points": reads(
            lambda w: interpolated(math.log(w), logs(xs), y)
        ),
        "L0 and the values are each sorted by themselves, so that they belong to other points": [
            reads(lambda w: interpolated(math.log(w), logs(xs), sorted(y))),
            reads(lambda w: interpolated(math.log(w), logs(xs), sorted(y, reverse=True))),
        ],
        "the points are sorted by their values, not by their L0": [
            reads(lambda w: interpolated(math.log(w), logs(their_l0), values)),
            reads(lambda w: _on_a_line(list(zip(their_l0, values, strict=True)), w, math.log)),
        ],
        "the logarithm is taken of `l0`, but not of `wanted`": reads(lambda w: interpolated(w, logs(xs), ys)),
        "the logarithm is taken of `wanted`, but not of `l0`": reads(
            lambda w: interpolated(math.log(w), xs, ys)
        ),
        "the logarithm of the values is taken as well": reads(
            lambda w: math.exp(interpolated(math.log(w), logs(xs), logs(ys)))
        ),
        "the logarithm of the values is taken, not that of L0": reads(
            lambda w: math.exp(interpolated(w, xs, logs(ys)))
        ),
        "the logarithm of 1 + L0 is taken": reads(
            lambda w: interpolated(math.log1p(w), [math.log1p(each) for each in xs], ys)
        ),
        "the root of L0 is taken, not its logarithm": reads(
            lambda w: interpolated(w**0.5, [each**0.5 for each in xs], ys)
        ),
        "the reciprocal of L0 is taken, not its logarithm": reads(
            lambda w: interpolated(-1 / w, [-1 / each for each in xs], ys)
        ),
        "the nearest measured point is taken": reads(lambda w: min(ordered, key=lambda p: abs(p[0] - w))[1]),
        "the measured point that is nearest in its logarithm is taken": reads(
            lambda w: min(ordered, key=lambda p: abs(math.log(p[0] / w)))[1]
        ),
        "the next measured point below is taken": reads(lambda w: ys[left(w)]),
        "the next measured point above is taken": reads(lambda w: ys[left(w) + 1]),
        "the mean of the two neighbors is taken": reads(lambda w: (ys[left(w)] + ys[left(w) + 1]) / 2),
        "the two neighbors are exchanged": reads(
            lambda w: ys[left(w) + 1] + share(w) * (ys[left(w)] - ys[left(w) + 1])
        ),
        "the way from the one neighbor to the other is gone in the wrong direction": reads(
            lambda w: ys[left(w)] - share(w) * (ys[left(w) + 1] - ys[left(w)])
        ),
        "what the point below has is not added, only the way from there": reads(
            lambda w: share(w) * (ys[left(w) + 1] - ys[left(w)])
        ),
        "the share is taken of the value above, not of the difference of the two": reads(
            lambda w: ys[left(w)] + share(w) * ys[left(w) + 1]
        ),
        "the weights of the two neighbors do not add up to 1": reads(
            lambda w: share(w) * (ys[left(w)] + ys[left(w) + 1])
        ),
        "l0 and value are exchanged": [
            reads(lambda w: interpolated(w, values, their_l0)),
            reads(lambda w: interpolated(math.log(w), logs(values), their_l0)),
        ],
        "the line through the next two points is taken, not the one between the neighbors": reads(
            lambda w: over(left(w) + 1, w)
        ),
        "the line through the two points before is taken, not the one between the neighbors": reads(
            lambda w: over(left(w) - 1, w)
        ),
        "the line through the first two points is taken everywhere": reads(lambda w: over(0, w)),
        "the line through the last two points is taken everywhere": reads(lambda w: over(len(xs), w)),
        "a line goes through all points, not through the two neighbors": reads(
            lambda w: start + slope * math.log(w)
        ),
        "one smooth curve goes through all points, not a straight line from one to the next": reads(
            through_all
        ),
        "a line goes from the first point to the last": reads(
            lambda w: ys[0] + math.log(w / xs[0]) / math.log(xs[-1] / xs[0]) * (ys[-1] - ys[0])
        ),
        "the mean of all values is taken": reads(lambda w: sum(y) / len(y)),
        "it is the L0 that is returned": reads(float),
        "`wanted` is cut down to a whole number": [
            reads(lambda w: interpolated(math.log(max(int(w), 1)), logs(xs), ys)),
            reads(lambda w: interpolated(math.log(max(round(w), 1)), logs(xs), ys)),
        ],
        "the curve is made to fall first: a value may be larger than the one before": reads(
            lambda w: interpolated(math.log(w), logs(xs), falling)
        ),
        "the curve is made to rise first: a value may be smaller than the one before": reads(
            lambda w: interpolated(math.log(w), logs(xs), rising)
        ),
        "it is cut down to lie between 0 and 1: a value may be anything": torch.tensor(right).clamp(0, 1),
        "negative values are set to 0: a value may be anything": torch.tensor(right).relu(),
        "the curve of an earlier call is read again": [
            reads(lambda w, curve=curve: interpolated(math.log(w), *curve))  # type: ignore[misc]
            for curve in map(_in_order, earlier)
        ],
    }


def _in_order(curve: tuple[Tensor, Tensor]) -> tuple[list[float], list[float]]:
    l0, value = curve
    order = l0.argsort()
    return l0[order].log().tolist(), value[order].tolist()


def _fitted(l0: Tensor, value: Tensor) -> tuple[float, float]:
    x = l0.log()
    slope = ((x - x.mean()) * (value - value.mean())).sum() / (x - x.mean()).pow(2).sum()
    return slope.item(), (value.mean() - slope * x.mean()).item()


def _check_refused(check: Check, l0: Tensor, value: Tensor, wanted: float, side: str) -> None:
    try:
        found = check.call(l0, value, wanted)
    except LearnerError as error:
        check.holds(
            "ValueError" in error.kind,
            "outside of what was measured it raises a ValueError",
            f"An L0 {side} measured one raises another error than a ValueError: {error.kind}.",
            str(error).splitlines(),
        )
        return
    if isinstance(found, Handle):
        raise Mistake(
            f"An L0 {side} measured one returns an object of type {found.type_name}. A ValueError has to be raised: "
            "`raise ValueError(…)`."
        )
    number = float(found) if isinstance(found, int | float | Tensor) else found
    raise Mistake(
        f"An L0 {side} measured one gives {number}: nobody knows how the curve goes on there. Raise a ValueError."
    )
