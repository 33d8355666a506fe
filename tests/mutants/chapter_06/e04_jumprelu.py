"""Answers to exercise 6.4: `jumprelu`."""

import torch

from tests.mutants import equivalent, mutant, variant


def _kernel(pre_acts, threshold, bandwidth):
    return ((pre_acts - threshold).abs() < bandwidth / 2) / bandwidth


def _with_slope(value, slope, threshold):
    return value - slope.detach() * (threshold - threshold.detach())


def _value(pre_acts, threshold):
    return torch.where(pre_acts > threshold, pre_acts, 0)


@mutant("6.4", says="no gradient of `jumprelu` reaches `threshold`")
def no_gradient(pre_acts, threshold, bandwidth):
    return pre_acts * (pre_acts > threshold)


@mutant("6.4", says="wrong sign")
def wrong_sign(pre_acts, threshold, bandwidth):
    return _with_slope(
        _value(pre_acts, threshold), -threshold * _kernel(pre_acts, threshold, bandwidth), threshold
    )


@mutant("6.4", says="lacks the factor 1 / bandwidth")
def no_height(pre_acts, threshold, bandwidth):
    slope = threshold * _kernel(pre_acts, threshold, bandwidth) * bandwidth
    return _with_slope(_value(pre_acts, threshold), slope, threshold)


@mutant("6.4", says="around 0")
def around_zero(pre_acts, threshold, bandwidth):
    slope = threshold * _kernel(pre_acts, torch.zeros(()), bandwidth)
    return _with_slope(_value(pre_acts, threshold), slope, threshold)


@mutant("6.4", says="lacks the factor `threshold`")
def no_factor(pre_acts, threshold, bandwidth):
    return _with_slope(_value(pre_acts, threshold), _kernel(pre_acts, threshold, bandwidth), threshold)


@mutant("6.4", says="`pre_acts` in place of `threshold`")
def wrong_factor(pre_acts, threshold, bandwidth):
    slope = pre_acts * _kernel(pre_acts, threshold, bandwidth)
    return _with_slope(_value(pre_acts, threshold), slope, threshold)


@mutant("6.4", says="shrinks")
def subtracted(pre_acts, threshold, bandwidth):
    return (pre_acts - threshold).relu()


@mutant("6.4", says="one threshold is used for all latents")
def one_threshold(pre_acts, threshold, bandwidth):
    return _value(pre_acts, threshold.mean())


@mutant("6.4", says="twice as wide")
def half_bandwidth_forgotten(pre_acts, threshold, bandwidth):
    slope = threshold * ((pre_acts - threshold).abs() < bandwidth) / bandwidth
    return _with_slope(_value(pre_acts, threshold), slope, threshold)


@mutant("6.4", says="with respect to `pre_acts` is not 1")
def kernel_not_detached(pre_acts, threshold, bandwidth):
    kernel = _kernel(pre_acts, threshold, bandwidth)
    return _value(pre_acts.detach(), threshold) - (threshold * kernel).detach() * (
        threshold - threshold.detach()
    )


@mutant("6.4", says="extra term changes the values")
def term_not_zero(pre_acts, threshold, bandwidth):
    return (
        _value(pre_acts, threshold)
        - (threshold * _kernel(pre_acts, threshold, bandwidth)).detach() * threshold
    )


class _Jump(torch.autograd.Function):
    @staticmethod
    def forward(ctx, pre_acts, threshold, bandwidth):
        ctx.save_for_backward(pre_acts, threshold)
        ctx.bandwidth = bandwidth
        return pre_acts * (pre_acts > threshold)

    @staticmethod
    def backward(ctx, gradient):
        pre_acts, threshold = ctx.saved_tensors
        for_threshold = (
            -threshold / ctx.bandwidth * ((pre_acts - threshold).abs() < ctx.bandwidth / 2) * gradient
        )
        return gradient * (pre_acts > threshold), for_threshold.sum(0), None


@variant("6.4")
def autograd_function(pre_acts, threshold, bandwidth):
    return _Jump.apply(pre_acts, threshold, bandwidth)


# l0_with_gradient(pre_acts, threshold, bandwidth)


@mutant("6.4", function="l0_with_gradient", says="no gradient of `l0_with_gradient` reaches")
def plain_count(pre_acts, threshold, bandwidth):
    return (pre_acts > threshold).float().sum(-1)


@mutant("6.4", function="l0_with_gradient", says="has a gradient with respect to `pre_acts`")
def gradient_through_pre_acts(pre_acts, threshold, bandwidth):
    distance = pre_acts - threshold
    kernel = _kernel(pre_acts, threshold, bandwidth)
    return ((pre_acts > threshold).float() + kernel * (distance - distance.detach())).sum(-1)


@mutant("6.4", function="l0_with_gradient", says="wrong sign")
def count_with_wrong_sign(pre_acts, threshold, bandwidth):
    fires = (pre_acts > threshold).float()
    return (fires + _kernel(pre_acts, threshold, bandwidth) * (threshold - threshold.detach())).sum(-1)


@mutant("6.4", function="l0_with_gradient", says="factor `threshold` too many")
def count_with_factor(pre_acts, threshold, bandwidth):
    slope = threshold * _kernel(pre_acts, threshold, bandwidth)
    return _with_slope((pre_acts > threshold).float(), slope, threshold).sum(-1)


@mutant("6.4", function="l0_with_gradient", says="added up, not counted")
def sum_of_latents(pre_acts, threshold, bandwidth):
    return _with_slope(_value(pre_acts, threshold), _kernel(pre_acts, threshold, bandwidth), threshold).sum(
        -1
    )


@mutant("6.4", function="l0_with_gradient", says="mean over the latents")
def mean_count(pre_acts, threshold, bandwidth):
    fires = (pre_acts > threshold).float()
    return _with_slope(fires, _kernel(pre_acts, threshold, bandwidth), threshold).mean(-1)


@variant("6.4", function="l0_with_gradient")
def straight_through_of_the_difference(pre_acts, threshold, bandwidth):
    slope = _kernel(pre_acts, threshold, bandwidth).detach()
    surrogate = -(slope * threshold)
    return ((pre_acts > threshold).float() + surrogate - surrogate.detach()).sum(dim=-1)


equivalent(
    "6.4",
    "what is multiplied with zero needs no gradient cut off.",
    "(threshold * near_threshold(pre_acts, threshold, bandwidth)).detach() -> "
    "threshold * near_threshold(pre_acts, threshold, bandwidth)",
    "near_threshold(pre_acts, threshold, bandwidth).detach() -> "
    "near_threshold(pre_acts, threshold, bandwidth)",
)


equivalent(
    "6.4",
    "the distance is the same in both directions.",
    "near_threshold(pre_acts <-> threshold)",
    "near_threshold(pre_acts <-> threshold) (2)",
)


equivalent(
    "6.4",
    "both have the same type.",
    "pre_acts.dtype: pre_acts -> threshold",
)
