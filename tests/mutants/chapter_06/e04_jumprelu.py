"""Answers to exercise 6.4: `jumprelu`."""

import torch

from part_utils.variants.jumprelu import near_threshold
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


def _zero(x):
    return x - x.detach()


def _jump(pre_acts, threshold, bandwidth, slope=None):
    if slope is None:
        slope = -threshold * near_threshold(pre_acts, threshold, bandwidth)
    return torch.where(pre_acts > threshold, pre_acts, 0) + slope.detach() * _zero(threshold)


def _count(pre_acts, threshold, bandwidth, slope=None):
    if slope is None:
        slope = -near_threshold(pre_acts, threshold, bandwidth)
    return ((pre_acts > threshold).to(pre_acts.dtype) + slope.detach() * _zero(threshold)).sum(-1)


@mutant("6.4", says="a latent that is exactly at its threshold fires")
def fires_at_the_threshold(pre_acts, threshold, bandwidth):
    slope = -threshold * near_threshold(pre_acts, threshold, bandwidth)
    return torch.where(pre_acts >= threshold, pre_acts, 0) + slope.detach() * _zero(threshold)


@mutant("6.4", says="The gradient of `jumprelu` with respect to `threshold`")
def kernel_times_bandwidth(pre_acts, threshold, bandwidth):
    near = ((pre_acts - threshold).abs() < bandwidth / 2) * bandwidth
    return _jump(pre_acts, threshold, bandwidth, -threshold * near)


@mutant("6.4", says="The gradient of `jumprelu` with respect to `threshold` is")
def divided_by_bandwidth_twice(pre_acts, threshold, bandwidth):
    return _jump(
        pre_acts,
        threshold,
        bandwidth,
        -threshold * near_threshold(pre_acts, threshold, bandwidth) / bandwidth,
    )


@mutant("6.4", says="The gradient of `jumprelu` with respect to `threshold`")
def kernel_twice_as_wide_with_area_one(pre_acts, threshold, bandwidth):
    return _jump(
        pre_acts, threshold, bandwidth, -threshold * near_threshold(pre_acts, threshold, 2 * bandwidth)
    )


@mutant("6.4", says="The gradient of `jumprelu` with respect to `threshold`")
def kernel_above_only(pre_acts, threshold, bandwidth):
    near = near_threshold(pre_acts, threshold, bandwidth) * (pre_acts > threshold)
    return _jump(pre_acts, threshold, bandwidth, -threshold * near)


@mutant("6.4", says="The gradient of `jumprelu` with respect to `threshold`")
def triangle(pre_acts, threshold, bandwidth):
    near = (1 - (pre_acts - threshold).abs() / bandwidth).relu() / bandwidth
    return _jump(pre_acts, threshold, bandwidth, -threshold * near)


@mutant("6.4", says="The gradient of `jumprelu` with respect to `threshold`")
def gaussian(pre_acts, threshold, bandwidth):
    near = torch.exp(-(((pre_acts - threshold) / bandwidth) ** 2) / 2) / (bandwidth * 2.5066283)
    return _jump(pre_acts, threshold, bandwidth, -threshold * near)


@mutant("6.4", says="The gradient of `jumprelu` with respect to `threshold`")
def threshold_squared_in_the_slope(pre_acts, threshold, bandwidth):
    return _jump(
        pre_acts, threshold, bandwidth, -(threshold**2) * near_threshold(pre_acts, threshold, bandwidth)
    )


@mutant("6.4", says="The gradient of `jumprelu` with respect to `threshold` is")
def half_the_slope(pre_acts, threshold, bandwidth):
    return _jump(
        pre_acts, threshold, bandwidth, -threshold * near_threshold(pre_acts, threshold, bandwidth) / 2
    )


@mutant("6.4", says="The gradient of `jumprelu` with respect to `threshold`")
def bandwidth_of_a_tenth(pre_acts, threshold, bandwidth):
    return _jump(pre_acts, threshold, bandwidth, -threshold * near_threshold(pre_acts, threshold, 0.1))


@mutant("6.4", says="The gradient of `jumprelu` with respect to `pre_acts` is")
def kernel_reaches_the_pre_activations(pre_acts, threshold, bandwidth):
    slope = (threshold * near_threshold(pre_acts, threshold, bandwidth)).detach()
    return torch.where(pre_acts > threshold, pre_acts, 0) + slope * _zero(pre_acts - threshold)


@mutant("6.4", says="The gradient of `jumprelu` with respect to `pre_acts` is")
def gradient_of_a_relu(pre_acts, threshold, bandwidth):
    value = torch.relu(pre_acts)
    value = value + (torch.where(pre_acts > threshold, pre_acts, 0) - value).detach()
    return value - (threshold * near_threshold(pre_acts, threshold, bandwidth)).detach() * _zero(threshold)


@mutant("6.4", says="The gradient of `jumprelu` with respect to `pre_acts` is")
def identity_for_the_pre_activations(pre_acts, threshold, bandwidth):
    value = pre_acts + (torch.where(pre_acts > threshold, pre_acts, 0) - pre_acts).detach()
    return value - (threshold * near_threshold(pre_acts, threshold, bandwidth)).detach() * _zero(threshold)


@mutant("6.4", says="the thresholds of instance 0 are used for every instance")
def thresholds_of_instance_0(pre_acts, threshold, bandwidth):
    return _jump(pre_acts, threshold[:1].expand_as(threshold), bandwidth)


@mutant("6.4", says="the absolute value is compared with the threshold")
def by_absolute_value(pre_acts, threshold, bandwidth):
    slope = -threshold * near_threshold(pre_acts, threshold, bandwidth)
    return torch.where(pre_acts.abs() > threshold, pre_acts, 0) + slope.detach() * _zero(threshold)


@mutant("6.4", says="1 is returned for a latent that fires, not its")
def ones_where_it_fires(pre_acts, threshold, bandwidth):
    slope = -threshold * near_threshold(pre_acts, threshold, bandwidth)
    return (pre_acts > threshold).to(pre_acts.dtype) + slope.detach() * _zero(threshold)


@mutant("6.4", says="a sigmoid lets a part of every latent through; it fires")
def soft_gate(pre_acts, threshold, bandwidth):
    return pre_acts * torch.sigmoid((pre_acts - threshold) / bandwidth)


@mutant("6.4", says="The gradient of `jumprelu` with respect to `pre_acts` is")
def sigmoid_behind_a_hard_value(pre_acts, threshold, bandwidth):
    soft = pre_acts * torch.sigmoid((pre_acts - threshold) / bandwidth)
    return soft + (torch.where(pre_acts > threshold, pre_acts, 0) - soft).detach()


@mutant("6.4", says="what is below the threshold fires")
def below_the_threshold(pre_acts, threshold, bandwidth):
    slope = -threshold * near_threshold(pre_acts, threshold, bandwidth)
    return torch.where(pre_acts < threshold, pre_acts, 0) + slope.detach() * _zero(threshold)


@mutant("6.4", says="an axis of size 1 is lost (`squeeze` removes all of")
def squeezed(pre_acts, threshold, bandwidth):
    return _jump(pre_acts, threshold, bandwidth).squeeze()


class _NoUpstream(torch.autograd.Function):
    @staticmethod
    def forward(ctx, pre_acts, threshold, bandwidth):
        ctx.save_for_backward(pre_acts, threshold)
        ctx.bandwidth = bandwidth
        return torch.where(pre_acts > threshold, pre_acts, 0)

    @staticmethod
    def backward(ctx, grad):
        pre_acts, threshold = ctx.saved_tensors
        return (
            grad * (pre_acts > threshold),
            -(threshold * near_threshold(pre_acts, threshold, ctx.bandwidth)).sum(0),
            None,
        )


@mutant("6.4", says="The gradient of `jumprelu` with respect to `threshold`")
def upstream_gradient_forgotten(pre_acts, threshold, bandwidth):
    return _NoUpstream.apply(pre_acts, threshold, bandwidth)


class _MeanOverBatch(_NoUpstream):
    @staticmethod
    def backward(ctx, grad):
        pre_acts, threshold = ctx.saved_tensors
        slope = -threshold * near_threshold(pre_acts, threshold, ctx.bandwidth)
        return grad * (pre_acts > threshold), (grad * slope).mean(0), None


@mutant("6.4", says="The gradient of `jumprelu` with respect to `threshold` is")
def mean_over_the_batch(pre_acts, threshold, bandwidth):
    return _MeanOverBatch.apply(pre_acts, threshold, bandwidth)


class _NoMask(_NoUpstream):
    @staticmethod
    def backward(ctx, grad):
        pre_acts, threshold = ctx.saved_tensors
        slope = -threshold * near_threshold(pre_acts, threshold, ctx.bandwidth)
        return grad, (grad * slope).sum(0), None


class _OnlyFiring(_NoUpstream):
    @staticmethod
    def backward(ctx, grad):
        pre_acts, threshold = ctx.saved_tensors
        slope = -threshold * near_threshold(pre_acts, threshold, ctx.bandwidth)
        return grad * (pre_acts > 0), (grad * slope).sum(0), None


@mutant("6.4", function="l0_with_gradient", says="The gradient of `l0_with_gradient` with respect to")
def count_not_divided_by_bandwidth(pre_acts, threshold, bandwidth):
    near = (pre_acts - threshold).abs() < bandwidth / 2
    return _count(pre_acts, threshold, bandwidth, -near.to(pre_acts.dtype))


@mutant("6.4", function="l0_with_gradient", says="The gradient of `l0_with_gradient` with respect to")
def count_kernel_twice_as_wide(pre_acts, threshold, bandwidth):
    return _count(
        pre_acts, threshold, bandwidth, -((pre_acts - threshold).abs() < bandwidth).float() / bandwidth
    )


@mutant("6.4", function="l0_with_gradient", says="The gradient of `l0_with_gradient` with respect to")
def count_kernel_around_zero(pre_acts, threshold, bandwidth):
    return _count(pre_acts, threshold, bandwidth, -near_threshold(pre_acts, 0 * threshold, bandwidth))


@mutant("6.4", function="l0_with_gradient", says="every latent above 0 is counted")
def counts_the_positive(pre_acts, threshold, bandwidth):
    near = near_threshold(pre_acts, threshold, bandwidth).detach()
    return ((pre_acts > 0).to(pre_acts.dtype) - near * _zero(threshold)).sum(-1)


@mutant("6.4", function="l0_with_gradient", says="latents that are exactly at their threshold are counted")
def counts_those_that_reach_it(pre_acts, threshold, bandwidth):
    near = near_threshold(pre_acts, threshold, bandwidth).detach()
    return ((pre_acts >= threshold).to(pre_acts.dtype) - near * _zero(threshold)).sum(-1)


@mutant("6.4", function="l0_with_gradient", says="the silent latents are counted")
def counts_those_that_are_silent(pre_acts, threshold, bandwidth):
    near = near_threshold(pre_acts, threshold, bandwidth).detach()
    return ((pre_acts <= threshold).to(pre_acts.dtype) - near * _zero(threshold)).sum(-1)


@mutant("6.4", function="l0_with_gradient", says="the sum goes over the batch, not over the latents")
def summed_over_the_batch(pre_acts, threshold, bandwidth):
    near = near_threshold(pre_acts, threshold, bandwidth).detach()
    return ((pre_acts > threshold).to(pre_acts.dtype) - near * _zero(threshold)).sum(0)


@mutant("6.4", function="l0_with_gradient", says="the axis `n_instances` is summed over")
def summed_over_instances(pre_acts, threshold, bandwidth):
    return _count(pre_acts, threshold, bandwidth).sum(-1)


@mutant("6.4", function="l0_with_gradient", says="it is one number for the whole batch")
def one_number_in_all(pre_acts, threshold, bandwidth):
    return _count(pre_acts, threshold, bandwidth).sum()


@mutant("6.4", function="l0_with_gradient", says="the axis `batch` is averaged over")
def mean_count_otherwise(pre_acts, threshold, bandwidth):
    return _count(pre_acts, threshold, bandwidth).mean(0)


@mutant("6.4", function="l0_with_gradient", says="the sum over the latents is missing")
def not_summed(pre_acts, threshold, bandwidth):
    near = near_threshold(pre_acts, threshold, bandwidth).detach()
    return (pre_acts > threshold).to(pre_acts.dtype) - near * _zero(threshold)


@mutant("6.4", function="l0_with_gradient", says="an axis of size 1 is added at the end")
def axis_kept(pre_acts, threshold, bandwidth):
    return _count(pre_acts, threshold, bandwidth).unsqueeze(-1)


@mutant("6.4", function="l0_with_gradient", says="a sigmoid is counted in place of yes and no")
def soft_count(pre_acts, threshold, bandwidth):
    return torch.sigmoid((pre_acts - threshold) / bandwidth).sum(-1)


@mutant("6.4", function="l0_with_gradient", says="The gradient of `l0_with_gradient` with respect to")
def hard_count_with_a_sigmoids_gradient(pre_acts, threshold, bandwidth):
    soft = torch.sigmoid((pre_acts.detach() - threshold) / bandwidth)
    return ((pre_acts > threshold).to(pre_acts.dtype) + _zero(soft)).sum(-1)


@mutant("6.4", function="l0_with_gradient", says="the thresholds of instance 0 are used for every instance")
def count_of_instance_0s_thresholds(pre_acts, threshold, bandwidth):
    return _count(pre_acts, threshold[:1].expand_as(threshold), bandwidth)


@mutant("6.4", function="l0_with_gradient", says="an axis of size 1 is lost (`squeeze` removes all of")
def count_squeezed(pre_acts, threshold, bandwidth):
    return _count(pre_acts, threshold, bandwidth).squeeze()


@mutant("6.4", function="l0_with_gradient", says="the gradient's extra term changes the values: `threshold")
def count_with_the_trick_left_out(pre_acts, threshold, bandwidth):
    near = near_threshold(pre_acts, threshold, bandwidth).detach()
    return ((pre_acts > threshold).to(pre_acts.dtype) - near * threshold).sum(-1)


class _JumpOfItsOwn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, pre_acts, threshold, bandwidth):
        ctx.save_for_backward(pre_acts, threshold)
        ctx.bandwidth = bandwidth
        return pre_acts * (pre_acts > threshold)

    @staticmethod
    def backward(ctx, grad):
        pre_acts, threshold = ctx.saved_tensors
        near = ((pre_acts - threshold).abs() < ctx.bandwidth / 2).to(grad.dtype) / ctx.bandwidth
        return grad * (pre_acts > threshold), -(grad * threshold * near).sum(dim=0), None


@variant("6.4")
def own_function(pre_acts, threshold, bandwidth):
    return _JumpOfItsOwn.apply(pre_acts, threshold, bandwidth)


@variant("6.4")
def slope_not_detached(pre_acts, threshold, bandwidth):
    slope = threshold * near_threshold(pre_acts, threshold, bandwidth)
    return torch.where(pre_acts > threshold, pre_acts, torch.zeros_like(pre_acts)) - slope * _zero(threshold)


@variant("6.4")
def by_a_clamped_ramp(pre_acts, threshold, bandwidth):
    ramp = ((pre_acts.detach() - threshold) / bandwidth + 0.5).clamp(0, 1)
    return pre_acts * (pre_acts > threshold) + threshold.detach() * _zero(ramp)


@variant("6.4")
def half_squared_threshold(pre_acts, threshold, bandwidth):
    near = near_threshold(pre_acts, threshold, bandwidth).detach()
    return pre_acts.where(pre_acts > threshold, 0) - near * _zero(threshold.pow(2) / 2)


@variant("6.4")
def in_double(pre_acts, threshold, bandwidth):
    pre, theta = pre_acts.double(), threshold.double()
    near = near_threshold(pre_acts, threshold, bandwidth).double().detach()
    out = pre * (pre_acts > threshold) - (theta.detach() * near) * _zero(theta)
    return out.to(pre_acts.dtype)


class _CountOfItsOwn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, pre_acts, threshold, bandwidth):
        ctx.save_for_backward(near_threshold(pre_acts, threshold, bandwidth))
        return (pre_acts > threshold).to(pre_acts.dtype).sum(-1)

    @staticmethod
    def backward(ctx, grad):
        (near,) = ctx.saved_tensors
        return None, -(near * grad.unsqueeze(-1)).sum(0), None


@variant("6.4", function="l0_with_gradient")
def own_function_for_the_count(pre_acts, threshold, bandwidth):
    return _CountOfItsOwn.apply(pre_acts, threshold, bandwidth)


@variant("6.4", function="l0_with_gradient")
def count_by_a_clamped_ramp(pre_acts, threshold, bandwidth):
    ramp = ((pre_acts.detach() - threshold) / bandwidth + 0.5).clamp(0, 1)
    return (
        torch.heaviside(pre_acts.detach() - threshold.detach(), torch.zeros((), dtype=pre_acts.dtype))
        + _zero(ramp)
    ).sum(-1)


@variant("6.4", function="l0_with_gradient")
def gradient_after_the_sum(pre_acts, threshold, bandwidth):
    near = near_threshold(pre_acts, threshold, bandwidth).detach()
    slope = torch.einsum("bih,ih->bi", near, _zero(threshold))
    return torch.count_nonzero(pre_acts > threshold, dim=-1).to(pre_acts.dtype) - slope


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


@mutant("6.4", says="changes `pre_acts` itself")
def silenced_in_place(pre_acts, threshold, bandwidth):
    slope = (threshold * near_threshold(pre_acts, threshold, bandwidth)).detach()
    pre_acts[pre_acts <= threshold] = 0
    return pre_acts - slope * (threshold - threshold.detach())
