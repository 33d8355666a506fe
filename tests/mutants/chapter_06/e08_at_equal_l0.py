"""Answers to exercise 6.8: `at_equal_l0`."""

import bisect
import itertools
import math

import numpy as np
import torch

from tests.mutants import equivalent, mutant, variant


def _refuse(l0, wanted):
    if wanted < l0.min() or wanted > l0.max():
        raise ValueError("outside")


def _interpolate(x, y, at):
    order = np.argsort(x)
    return torch.tensor(float(np.interp(at, np.asarray(x)[order], np.asarray(y)[order])))


@mutant("6.8", says="linear in L0 itself")
def linear(l0, value, wanted):
    _refuse(l0, wanted)
    return _interpolate(l0.numpy(), value.numpy(), wanted)


@mutant("6.8", says="nearest measured point")
def nearest(l0, value, wanted):
    _refuse(l0, wanted)
    return value[(l0 - wanted).abs().argmin()]


@mutant("6.8", says="nobody knows how the curve goes on")
def extrapolated(l0, value, wanted):
    return _interpolate(l0.log().numpy(), value.numpy(), math.log(wanted))


@mutant("6.8", says="not sorted")
def not_sorted(l0, value, wanted):
    _refuse(l0, wanted)
    return torch.tensor(float(np.interp(math.log(wanted), l0.log().numpy(), value.numpy())))


@mutant("6.8", says="l0 and value are exchanged")
def exchanged(l0, value, wanted):
    _refuse(l0, wanted)
    return _interpolate(value.numpy(), l0.numpy(), wanted)


@mutant("6.8", says="another error than a ValueError")
def another_error(l0, value, wanted):
    assert l0.min() <= wanted <= l0.max()
    return in_numpy(l0, value, wanted)


@mutant("6.8", says="logarithm of the values")
def log_log(l0, value, wanted):
    _refuse(l0, wanted)
    return _interpolate(l0.log().numpy(), value.log().numpy(), math.log(wanted)).exp()


@variant("6.8")
def in_numpy(l0, value, wanted):
    _refuse(l0, wanted)
    return _interpolate(l0.log10().numpy(), value.numpy(), math.log10(wanted))


@variant("6.8")
def a_python_float(l0, value, wanted):
    points = sorted(zip(l0.tolist(), value.tolist(), strict=True))
    for left, right in itertools.pairwise(points):
        if left[0] <= wanted <= right[0]:
            share = math.log(wanted / left[0]) / math.log(right[0] / left[0])
            return (1 - share) * left[1] + share * right[1]
    raise ValueError("not measured")


def _sorted(l0, value):
    order = l0.argsort()
    return l0[order], value[order]


def _inside(l0, wanted):
    if not l0.min() <= wanted <= l0.max():
        raise ValueError(f"{wanted} is outside of what was measured, {l0.min()} to {l0.max()}.")


def _interp(x, y, at):
    return torch.tensor(
        np.interp(float(at), np.asarray(x, dtype=float), np.asarray(y, dtype=float)), dtype=torch.float32
    )


@mutant("6.8", says="the measured point that is nearest in its logarithm is")
def nearest_point_in_log(l0, value, wanted):
    _inside(l0, wanted)
    return value[(l0.log() - math.log(wanted)).abs().argmin()]


@mutant("6.8", says="the logarithm of the values is taken, not that of L0")
def value_in_log(l0, value, wanted):
    _inside(l0, wanted)
    x, y = _sorted(l0, value)
    return _interp(x, y.log(), wanted).exp()


@mutant("6.8", says="the logarithm of 1 + L0 is taken")
def log1p(l0, value, wanted):
    _inside(l0, wanted)
    x, y = _sorted(l0, value)
    return _interp(x.log1p(), y, math.log1p(wanted))


@mutant("6.8", says="the root of L0 is taken, not its logarithm")
def root_of_l0(l0, value, wanted):
    _inside(l0, wanted)
    x, y = _sorted(l0, value)
    return _interp(x.sqrt(), y, wanted**0.5)


@mutant("6.8", says="the reciprocal of L0 is taken, not its logarithm")
def one_over_l0(l0, value, wanted):
    _inside(l0, wanted)
    order = l0.argsort(descending=True)
    return _interp(1 / l0[order], value[order], 1 / wanted)


@mutant("6.8", says="the logarithm is taken of `l0`, but not of `wanted`")
def logarithm_of_l0_only(l0, value, wanted):
    _inside(l0, wanted)
    x, y = _sorted(l0, value)
    return _interp(x.log(), y, wanted)


@mutant("6.8", says="L0 and the values are each sorted by themselves, so that")
def sorted_apart(l0, value, wanted):
    _inside(l0, wanted)
    return _interp(l0.sort().values.log(), value.sort().values, math.log(wanted))


@mutant("6.8", says="L0 is sorted, and the values stay in their order: they")
def only_l0_sorted(l0, value, wanted):
    _inside(l0, wanted)
    return _interp(l0.sort().values.log(), value, math.log(wanted))


@mutant("6.8", says="the points are sorted by their values, not by their L0")
def sorted_by_value(l0, value, wanted):
    _inside(l0, wanted)
    order = value.argsort()
    return _interp(l0[order].log(), value[order], math.log(wanted))


@mutant("6.8", says="An L0 below the smallest measured one gives")
def goes_on_outside(l0, value, wanted):
    x, y = _sorted(l0, value)
    left = int((x[1:-1] < wanted).sum())
    share = (math.log(wanted) - x[left].log()) / (x[left + 1].log() - x[left].log())
    return y[left] + share * (y[left + 1] - y[left])


@mutant("6.8", says="An L0 above the largest measured one gives")
def only_below_refused(l0, value, wanted):
    if wanted < l0.min():
        raise ValueError("too small")
    x, y = _sorted(l0, value)
    return _interp(x.log(), y, math.log(wanted))


@mutant("6.8", says="A ValueError is raised for an L0 that is the smallest")
def ends_refused(l0, value, wanted):
    if not l0.min() < wanted < l0.max():
        raise ValueError("outside")
    x, y = _sorted(l0, value)
    return _interp(x.log(), y, math.log(wanted))


@mutant("6.8", says="A ValueError is raised for an L0 that is the largest")
def largest_refused(l0, value, wanted):
    if not l0.min() <= wanted < l0.max():
        raise ValueError("outside")
    x, y = _sorted(l0, value)
    return _interp(x.log(), y, math.log(wanted))


@mutant("6.8", says="A ValueError is raised for an L0 between two measured")
def range_by_order_given(l0, value, wanted):
    if not l0[0] <= wanted <= l0[-1]:
        raise ValueError("outside")
    x, y = _sorted(l0, value)
    return _interp(x.log(), y, math.log(wanted))


@mutant("6.8", says="An L0 below the smallest measured one raises another")
def index_error_outside(l0, value, wanted):
    x, y = _sorted(l0, value)
    right = next(j for j in range(len(x)) if x[j] >= wanted) if wanted <= x[-1] else len(x)
    if right == 0 and wanted < x[0]:
        raise IndexError("outside")
    right = max(right, 1)
    share = (math.log(wanted) - math.log(x[right - 1])) / (math.log(x[right]) - math.log(x[right - 1]))
    return y[right - 1] + share * (y[right] - y[right - 1])


@mutant("6.8", says="NaN")
def nan_outside(l0, value, wanted):
    x, y = _sorted(l0, value)
    out = np.interp(math.log(wanted), x.log().numpy(), y.numpy(), left=np.nan, right=np.nan)
    return torch.tensor(out, dtype=torch.float32)


@mutant("6.8", says="An L0 below the smallest measured one gives None: nobody")
def none_outside(l0, value, wanted):
    if not l0.min() <= wanted <= l0.max():
        return None
    x, y = _sorted(l0, value)
    return _interp(x.log(), y, math.log(wanted))


@mutant("6.8", says="An L0 below the smallest measured one returns an object")
def error_returned(l0, value, wanted):
    if not l0.min() <= wanted <= l0.max():
        return ValueError("outside")
    x, y = _sorted(l0, value)
    return _interp(x.log(), y, math.log(wanted))


@mutant("6.8", says="the two neighbors are exchanged")
def share_from_the_other_side(l0, value, wanted):
    _inside(l0, wanted)
    x, y = _sorted(l0, value)
    left = int((x[1:-1] < wanted).sum())
    share = (math.log(wanted) - x[left].log()) / (x[left + 1].log() - x[left].log())
    return y[left + 1] + share * (y[left] - y[left + 1])


@mutant("6.8", says="the mean of the two neighbors is taken")
def mean_of_the_neighbors(l0, value, wanted):
    _inside(l0, wanted)
    x, y = _sorted(l0, value)
    left = int((x[1:-1] < wanted).sum())
    return (y[left] + y[left + 1]) / 2


@mutant("6.8", says="the next measured point below is taken")
def left_neighbor(l0, value, wanted):
    _inside(l0, wanted)
    x, y = _sorted(l0, value)
    return y[int((x <= wanted).sum()) - 1]


@mutant("6.8", says="the next measured point above is taken")
def right_neighbor(l0, value, wanted):
    _inside(l0, wanted)
    x, y = _sorted(l0, value)
    return y[int((x < wanted).sum())]


@mutant("6.8", says="a line goes from the first point to the last")
def from_end_to_end(l0, value, wanted):
    _inside(l0, wanted)
    x, y = _sorted(l0, value)
    share = (math.log(wanted) - x[0].log()) / (x[-1].log() - x[0].log())
    return y[0] + share * (y[-1] - y[0])


@mutant("6.8", says="a line goes through all points, not through the two")
def line_of_best_fit(l0, value, wanted):
    _inside(l0, wanted)
    slope, start = np.polyfit(l0.log().numpy(), value.numpy(), 1)
    return torch.tensor(slope * math.log(wanted) + start, dtype=torch.float32)


@mutant("6.8", says="one smooth curve goes through all points, not a straight")
def smooth_curve(l0, value, wanted):
    _inside(l0, wanted)
    x = l0.double().log()
    t, out = math.log(wanted), 0.0
    for j in range(len(x)):
        others = [m for m in range(len(x)) if m != j]
        out += float(value[j]) * math.prod(float((t - x[m]) / (x[j] - x[m])) for m in others)
    return torch.tensor(out, dtype=torch.float32)


@mutant("6.8", says="the line through the first two points is taken everywhere")
def first_two_points(l0, value, wanted):
    _inside(l0, wanted)
    x, y = _sorted(l0, value)
    share = (math.log(wanted) - x[0].log()) / (x[1].log() - x[0].log())
    return y[0] + share * (y[1] - y[0])


@mutant("6.8", says="the line through the next two points is taken, not the")
def one_segment_too_far(l0, value, wanted):
    _inside(l0, wanted)
    x, y = _sorted(l0, value)
    left = min(int((x[1:-1] < wanted).sum()) + 1, len(x) - 2)
    share = (math.log(wanted) - x[left].log()) / (x[left + 1].log() - x[left].log())
    return y[left] + share * (y[left + 1] - y[left])


@mutant("6.8", says="A ValueError is raised for an L0 between two measured")
def needs_three_points(l0, value, wanted):
    if len(l0) < 3:
        raise ValueError("too few points")
    _inside(l0, wanted)
    x, y = _sorted(l0, value)
    return _interp(x.log(), y, math.log(wanted))


@mutant("6.8", says="0 is divided by 0 where the L0 was measured: both")
def nan_at_a_measured_point(l0, value, wanted):
    _inside(l0, wanted)
    x, y = _sorted(l0, value)
    left, right_ = int((x <= wanted).sum()) - 1, int((x < wanted).sum())
    share = (math.log(wanted) - x[left].log()) / (x[right_].log() - x[left].log())
    return y[left] + share * (y[right_] - y[left])


@mutant("6.8", says="an axis of size 1 is added in front")
def with_an_axis(l0, value, wanted):
    _inside(l0, wanted)
    x, y = _sorted(l0, value)
    return _interp(x.log(), y, math.log(wanted)).unsqueeze(0)


@mutant("6.8", says="it is the L0 that is returned")
def l0_returned(l0, value, wanted):
    _inside(l0, wanted)
    return torch.tensor(float(wanted))


@mutant("6.8", says="`wanted` is cut down to a whole number")
def whole_l0(l0, value, wanted):
    _inside(l0, wanted)
    x, y = _sorted(l0, value)
    return _interp(x.log(), y, math.log(max(int(wanted), 1)))


@mutant("6.8", says="the curve is made to fall first: a value may be larger")
def monotone(l0, value, wanted):
    _inside(l0, wanted)
    x, y = _sorted(l0, value)
    return _interp(x.log(), y.cummin(0).values, math.log(wanted))


@mutant("6.8", says="it is cut down to lie between 0 and 1: a value may be")
def between_zero_and_one(l0, value, wanted):
    _inside(l0, wanted)
    x, y = _sorted(l0, value)
    return _interp(x.log(), y, math.log(wanted)).clamp(0, 1)


@variant("6.8")
def numpy_with_a_check(l0, value, wanted):
    x, y = zip(*sorted(zip(l0.tolist(), value.tolist(), strict=True)), strict=True)
    if wanted < x[0] or wanted > x[-1]:
        raise ValueError("not measured there")
    return torch.tensor(np.interp(np.log10(wanted), np.log10(x), y))


@variant("6.8")
def bisected(l0, value, wanted):
    pairs = sorted(zip(l0.tolist(), value.tolist(), strict=True))
    xs = [x for x, _ in pairs]
    if not xs[0] <= wanted <= xs[-1]:
        raise ValueError("not measured there")
    r = min(max(bisect.bisect_left(xs, wanted), 1), len(xs) - 1)
    (a, ya), (b, yb) = pairs[r - 1], pairs[r]
    w = math.log2(b / wanted) / math.log2(b / a)
    return torch.tensor(w * ya + (1 - w) * yb)


@variant("6.8")
def searchsorted_in_double(l0, value, wanted):
    if wanted > l0.max().item() or wanted < l0.min().item():
        raise ValueError("not measured there")
    l0, order = l0.double().sort()
    value = value.double()[order]
    r = torch.searchsorted(l0, torch.tensor(float(wanted), dtype=torch.float64)).clamp(1, len(l0) - 1)
    x = l0.log()
    slope = (value[r] - value[r - 1]) / (x[r] - x[r - 1])
    return (value[r] + slope * (math.log(wanted) - x[r])).float()


@variant("6.8")
def hats(l0, value, wanted):
    order = torch.argsort(l0, descending=True)
    x, y, t = l0[order].log(), value[order], math.log(wanted)
    if wanted > l0[order[0]] or wanted < l0[order[-1]]:
        raise ValueError("not measured there")
    total = torch.zeros((), dtype=value.dtype)
    for j in range(len(x) - 1):
        share = ((x[j] - t) / (x[j] - x[j + 1])).clamp(0, 1)
        total = total + share * (y[j + 1] - y[j])
    return y[0] + total


@variant("6.8")
def loop_over_all_pairs(l0, value, wanted):
    below = [j for j in range(len(l0)) if l0[j] <= wanted]
    above = [j for j in range(len(l0)) if l0[j] >= wanted]
    if not below or not above:
        raise ValueError("not measured there")
    a, b = max(below, key=lambda j: l0[j]), min(above, key=lambda j: l0[j])
    if a == b:
        return value[a]
    share = math.log(wanted / l0[a]) / math.log(l0[b] / l0[a])
    return torch.lerp(value[a], value[b], share)


equivalent(
    "6.8",
    "at a measured point both neighbors give the same.",
    "l0[1:-1] < wanted -> l0[1:-1] <= wanted",
)


@mutant("6.8", says="the points are not sorted by their L0")
def neighbors_counted_off_unsorted(l0, value, wanted):
    if not l0.min() <= wanted <= l0.max():
        raise ValueError(wanted)
    left = int((l0[1:-1] < wanted).sum())
    share = (wanted / l0[left]).log() / (l0[left + 1] / l0[left]).log()
    return value[left] + share * (value[left + 1] - value[left])


@mutant("6.8", says="changes `l0` itself")
def logarithm_in_place(l0, value, wanted):
    order = l0.argsort()
    if not l0.min() <= wanted <= l0.max():
        raise ValueError(wanted)
    l0.log_()
    x, y = l0[order], value[order]
    left = int((x[1:-1] < math.log(wanted)).sum())
    return y[left] + (math.log(wanted) - x[left]) / (x[left + 1] - x[left]) * (y[left + 1] - y[left])
