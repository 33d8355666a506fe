"""Answers to exercise 6.8: `at_equal_l0`."""

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


equivalent(
    "6.8",
    "at a measured point both neighbors give the same.",
    "l0[1:-1] < wanted -> l0[1:-1] <= wanted",
)
