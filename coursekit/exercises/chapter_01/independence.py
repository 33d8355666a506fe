"""What samples of chapter 1 must not share: a value, a decision, between rows, instances or features."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from coursekit.checking.claims import Check, Mistake

# A correct sampler goes beyond it once in 10^16 runs.
DEVIATIONS = 8.5
# How far apart rows may lie that a sampler repeats: neighbors, or parts of a batch.
NEAR = range(1, 9)
PARTS = (2, 3, 4, 5, 8, 10)


def check_no_value_twice(check: Check, everything: Tensor) -> None:
    """Present values are drawn one by one, so hardly two of them are the same float.

    Of 30,000 draws of 24 bits about 27 pairs agree by chance; a sampler that uses values again has thousands.
    """
    values = everything[everything != 0].abs().float()
    ordered = values.sort().values
    repeated = int((ordered[1:] == ordered[:-1]).sum())
    if repeated <= 0.01 * len(values) + 100:
        check.holds(True, "no value is used twice", "")
        return
    first, second = _two_places(everything.abs())
    differ = [
        name for name, i, j in zip(("row", "instance", "feature"), first, second, strict=True) if i != j
    ]
    raise Mistake(
        "Values are used more than once. Draw a number of its own for every element, instance and feature.",
        [
            f"row {first[0]}, instance {first[1]}, feature {first[2]} has the same value as row {second[0]}, "
            f"instance {second[1]}, feature {second[2]}: another {' and '.join(differ)}",
            f"{repeated:,} of {len(values):,} values are there before",
        ],
    )


def _two_places(values: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    flat = values.flatten()
    order = flat.argsort(stable=True)
    same = (flat[order][1:] == flat[order][:-1]) & (flat[order][1:] != 0)
    place = int(same.nonzero()[0])
    return (_index(int(order[place]), values), _index(int(order[place + 1]), values))


def _index(place: int, values: Tensor) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(place, tuple(values.shape)))


def check_rows_are_independent(check: Check, x: Tensor, what: str) -> None:
    """Check that what one row decides says nothing of a neighbor, or of the same place in another part of the batch.

    Args:
        x: what is decided, with the axes batch, instances, features.
        what: its name: presence, sign, value.
    """
    batch, instances, _ = x.shape
    centered = x.double() - x.double().mean(dim=0)
    power = centered.square().mean()
    if power == 0:
        return
    # Features may be linked, as in pairs; instances are not.
    limit = DEVIATIONS / (batch / 2 * instances) ** 0.5
    lags = dict.fromkeys([*NEAR, *(-(-batch // part) for part in PARTS), *(batch // part for part in PARTS)])
    for lag in lags:
        linked = (centered[lag:] * centered[:-lag]).mean() / power
        limit_here = limit * (batch / (batch - lag)) ** 0.5
        if linked.abs() > limit_here:
            _shared(what, f"rows {lag} apart", linked.item())
    mirrored = (centered * centered.flip(0)).mean() / power
    if mirrored.abs() > limit * 2:
        _shared(what, "rows at equal distance from both ends of the batch", mirrored.item())
    check.holds(True, "every row of the batch is drawn anew", "")


def check_counts_vary(check: Check, present: Tensor, p: Tensor) -> None:
    """Check that a feature is not present in exactly its share of the rows: where each row decides, the count varies.

    That all counts are as near to their shares as here happens by chance in one of 10^12 runs or more rarely.
    """
    count = len(present)
    deviation = (count * p * (1 - p)).sqrt()
    distance = (present.double().sum(dim=0) - count * p) / deviation
    check.holds(
        bool(distance.square().sum() > 0.01),
        "",
        "Each feature is present in exactly its share of the rows. Whether it is present is decided anew for each row, "
        "so that the count varies from batch to batch.",
        [f"of {count:,} rows: {[int(n) for n in present.sum(dim=0).flatten()[:5]]} …"],
    )


def check_values_say_nothing_of_presence(check: Check, x: Tensor, lowest: int = 0) -> None:
    """Check that how large a feature is goes with the presence of no other feature, and of none in a row nearby."""
    x = x[:5_000]
    present = (x != 0).double()
    value = (x - (1 + lowest) / 2).double() * present
    apart = present - present.mean(dim=0)
    flat_value, flat_apart = value.flatten(1), apart.flatten(1)
    # Sums of independent numbers, in units of what they vary by.
    same_row = (
        flat_value.T @ flat_apart / (flat_value.square().T @ flat_apart.square()).sqrt().clamp_min(1e-9)
    )
    nearby = [
        (left * right).sum() / (left * right).square().sum().sqrt().clamp_min(1e-9)
        for lag in NEAR[:3]
        for left, right in ((value[lag:], apart[:-lag]), (value[:-lag], apart[lag:]))
    ]
    wrapped = (value * apart.flip(0)).sum() / (value * apart.flip(0)).square().sum().sqrt().clamp_min(1e-9)
    check.holds(
        bool((same_row.abs() <= DEVIATIONS).all())
        and all(one.abs() <= DEVIATIONS for one in (*nearby, wrapped)),
        "how large a feature is says nothing of what else is present",
        "How large a feature is tells whether another one is present, or whether one is in a row nearby: the same "
        "random numbers are used for the values and for the presence. Draw for each of the two.",
    )


def check_batches_are_independent(check: Check, first: Tensor, second: Tensor, what: str) -> None:
    """Check that what two calls decide in the same place has nothing in common: nothing is kept between them."""
    left, right = (x.double() - x.double().mean(dim=0) for x in (first, second))
    power = (left.square().mean() * right.square().mean()).sqrt()
    if power > 0:
        linked = ((left * right).mean() / power).item()
        check.holds(
            abs(linked) <= DEVIATIONS / len(first) ** 0.5,
            "",
            f"Two calls share their {what}: something is drawn once and kept. Draw anew at each call.",
            [f"a correlation of {linked:.2f} between two batches, expected 0"],
        )


def _shared(what: str, where: str, correlation: float) -> None:
    raise Mistake(
        f"Rows of the batch share their {what}: one draw is used for more than one row. Draw anew for each.",
        [f"{where}: a correlation of {correlation:.2f}, expected 0"],
    )
