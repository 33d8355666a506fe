"""Exercise 6.4: `jumprelu`."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, Mistakes, agree, compare
from coursekit.exercises.chapter_06.choosing import ACTS

THRESHOLD = "n_instances n_hidden_ae"


@exercise(
    id="6.4",
    reference="variants/jumprelu.jumprelu",
    also=("l0_with_gradient",),
    difficulty=4,
    importance=4,
    minutes=30,
    points=4,
)
def jumprelu(check: Check) -> None:
    for batch, instances, latents, bandwidth in (
        (29, 3, 7, 0.37),
        (23, 1, 5, 0.2),
        (17, 2, 1, 0.9),
        (131, 5, 3, 0.6),
    ):
        pre_acts = check.normal(batch, instances, latents)
        threshold = check.uniform(instances, latents, low=0.2, high=1.1)
        pre_acts[0] = threshold
        pre_acts[1] = threshold + 0.3 * bandwidth
        pre_acts[2] = threshold - 0.3 * bandwidth
        fires = pre_acts > threshold
        check.equal(
            check.call(pre_acts, threshold, bandwidth),
            torch.where(fires, pre_acts, 0),
            ACTS,
            "`jumprelu` leaves a latent as it is above its threshold, and silences it elsewhere",
            partial(_wrong_values, pre_acts, threshold, bandwidth),
            what="the result of `jumprelu`",
        )
        check.equal(
            check.call_also("l0_with_gradient", pre_acts, threshold, bandwidth),
            fires.float().sum(-1),
            "batch n_instances",
            "`l0_with_gradient` counts the latents that fire",
            partial(_wrong_counts, pre_acts, threshold, bandwidth),
            what="the result of `l0_with_gradient`",
        )
        _check_gradients(check, "", pre_acts, threshold, bandwidth)
        _check_gradients(check, "l0_with_gradient", pre_acts, threshold, bandwidth)
    for name in ("", "l0_with_gradient"):
        check.leaves_inputs(pre_acts, threshold, bandwidth, also=name)


def _kernel(pre_acts: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    return ((pre_acts - threshold).abs() < bandwidth / 2) / bandwidth


def _wrong_values(pre_acts: Tensor, threshold: Tensor, bandwidth: float) -> Mistakes:
    fires = pre_acts > threshold

    def where(condition: Tensor, value: Tensor = pre_acts) -> Tensor:
        return torch.where(condition, value, 0)

    return {
        "the threshold is subtracted from what fires: that shrinks it": (pre_acts - threshold).relu(),
        "a ReLU is taken: the threshold is not used": pre_acts.relu(),
        "a latent that is exactly at its threshold fires": where(pre_acts >= threshold),
        "one threshold is used for all latents": [
            where(pre_acts > threshold[:, :1]),
            where(pre_acts > threshold.mean(-1, keepdim=True)),
            where(pre_acts > threshold.mean()),
        ],
        "the thresholds of instance 0 are used for every instance": where(pre_acts > threshold[:1]),
        "1 is returned for a latent that fires, not its pre-activation": fires.float(),
        "what is below the threshold fires": [where(~fires), where(pre_acts < threshold)],
        "a sigmoid lets a part of every latent through; it fires or it does not": (
            pre_acts * ((pre_acts - threshold) / bandwidth).sigmoid()
        ),
        "the absolute value is compared with the threshold": where(pre_acts.abs() > threshold),
        "the gradient's extra term changes the values: `threshold - threshold.detach()` has to stand in it": (
            where(fires) - threshold * _kernel(pre_acts, threshold, bandwidth) * threshold
        ),
        "the gradient's extra term changes the values: it has to be 0": (
            where(fires) - threshold * _kernel(pre_acts, threshold, bandwidth)
        ),
        "what is above the threshold and half of the bandwidth fires": where(
            pre_acts > threshold + bandwidth / 2
        ),
    }


def _wrong_counts(pre_acts: Tensor, threshold: Tensor, bandwidth: float) -> Mistakes:
    fires = pre_acts > threshold
    each = fires.float()
    return {
        "the latents are added up, not counted": torch.where(fires, pre_acts, 0).sum(-1),
        "latents that are exactly at their threshold are counted": (pre_acts >= threshold).float().sum(-1),
        "every latent above 0 is counted": (pre_acts > 0).float().sum(-1),
        "the mean over the latents is taken": each.mean(-1),
        "the sum over the latents is missing": each,
        "the sum goes over the batch, not over the latents": each.sum(0),
        "the sum goes over the batch and the latents": each.sum((0, 2)),
        "it is one number for the whole batch": [each.sum(-1).mean(), each.sum(-1).mean(0).sum(), each.sum()],
        "the silent latents are counted": (~fires).float().sum(-1),
        "one threshold is used for all latents": [
            (pre_acts > threshold[:, :1]).float().sum(-1),
            (pre_acts > threshold.mean(-1, keepdim=True)).float().sum(-1),
            (pre_acts > threshold.mean()).float().sum(-1),
        ],
        "the thresholds of instance 0 are used for every instance": (pre_acts > threshold[:1])
        .float()
        .sum(-1),
        "the absolute value is compared with the threshold": (pre_acts.abs() > threshold).float().sum(-1),
        "a sigmoid is counted in place of yes and no": ((pre_acts - threshold) / bandwidth).sigmoid().sum(-1),
        "the gradient's extra term changes the values: `threshold - threshold.detach()` has to stand in it": [
            (each - _kernel(pre_acts, threshold, bandwidth) * threshold).sum(-1),
            (each - _kernel(pre_acts, threshold, bandwidth)).sum(-1),
        ],
    }


def _check_passing_on(
    found: Tensor | None, pre_acts: Tensor, threshold: Tensor, bandwidth: float, cotangent: Tensor
) -> None:
    """The gradient with respect to `pre_acts`."""
    right = cotangent * (pre_acts > threshold)
    if found is not None and agree(found, right, 1e-3):
        return
    kernel = _kernel(pre_acts, threshold, bandwidth)
    soft = ((pre_acts - threshold) / bandwidth).sigmoid()
    wrong = {
        "none reaches them, since they are detached": torch.zeros_like(right),
        "it is 1 for every one, whether it fires or not": cotangent,
        "it is 1 for every positive one, as that of a ReLU": cotangent * (pre_acts > 0),
        "the kernel reaches them too; it belongs to the threshold alone": right
        + cotangent * threshold * kernel,
        "the kernel reaches them too, with the wrong sign": right - cotangent * threshold * kernel,
        "it is that of a sigmoid": cotangent * (soft + pre_acts * soft * (1 - soft) / bandwidth),
        "it is multiplied with the pre-activation": right * pre_acts,
    }
    how = [
        phrase
        for phrase, gradient in wrong.items()
        if agree(torch.zeros_like(right) if found is None else found, gradient, 1e-3)
    ]
    raise Mistake(
        "The gradient of `jumprelu` with respect to `pre_acts` is not 1 where a latent fires and 0 elsewhere"
        + (f": {how[0]}." if how else "."),
        [] if found is None else compare(found, right, ACTS),
    )


def _check_gradients(check: Check, name: str, pre_acts: Tensor, threshold: Tensor, bandwidth: float) -> None:
    shown = name or "jumprelu"
    cotangent = check.normal(*pre_acts.shape[:2]) if name else check.normal(*pre_acts.shape)
    weight = cotangent.unsqueeze(-1) if name else cotangent
    _, (for_pre, for_threshold) = check.learner.gradients(
        f"{check.exercise_id} {name}".strip(), pre_acts, threshold, bandwidth, wrt=[0, 1], cotangent=cotangent
    )
    if name:
        if for_pre is not None and for_pre.any():
            raise Mistake(
                "The count of `l0_with_gradient` has a gradient with respect to `pre_acts`. Only the thresholds pay "
                "for it: cut the kernel off (`.detach()`)."
            )
        check.holds(True, "the count has no gradient with respect to `pre_acts`", "")
    else:
        _check_passing_on(for_pre, pre_acts, threshold, bandwidth, cotangent)
        check.holds(
            True, "its gradient with respect to `pre_acts` is 1 where a latent fires, 0 elsewhere", ""
        )
    if for_threshold is None or not for_threshold.any():
        raise Mistake(
            f"No gradient of `{shown}` reaches `threshold`, so no threshold would ever be learned. A comparison with "
            "`>` has none: it has to be put there (`threshold - threshold.detach()`, or a `torch.autograd.Function`)."
        )

    def gradient(
        kernel: Callable[[], Tensor],
        size: Tensor = threshold,
        over_batch: bool = True,
        weight: Tensor = weight,
    ) -> Tensor:
        each = -(1.0 if name else size) * kernel() * weight
        return each.sum(0) if over_batch else each.mean(0)

    def kernel(center: Tensor = threshold, width: float = bandwidth, height: float = bandwidth) -> Tensor:
        return ((pre_acts - center).abs() < width / 2) / height

    right = gradient(kernel)
    wrong: dict[str, Callable[[], Tensor]] = {
        "has the wrong sign: a higher threshold silences latents": lambda: -right,
        "lacks the factor 1 / bandwidth: the kernel must have the area 1": lambda: gradient(
            lambda: kernel(height=1.0)
        ),
        "has the factor bandwidth in place of 1 / bandwidth": lambda: gradient(
            lambda: kernel(height=1 / bandwidth)
        ),
        "is divided by the bandwidth twice": lambda: gradient(kernel) / bandwidth,
        "is half of what it should be: the kernel must have the area 1": lambda: gradient(kernel) / 2,
        "is twice what it should be: the kernel must have the area 1": lambda: 2 * gradient(kernel),
        "does not take along the gradient that comes in (`grad_output`)": lambda: gradient(
            kernel, weight=torch.ones(())
        ),
        "uses a triangle in place of the rectangle": lambda: gradient(
            lambda: (1 - (pre_acts - threshold).abs() / bandwidth).relu() / bandwidth
        ),
        "uses a bell curve in place of the rectangle": lambda: gradient(
            lambda: (
                torch.exp(-((pre_acts - threshold) / bandwidth).square() / 2)
                / (bandwidth * math.sqrt(2 * math.pi))
            )
        ),
        "is that of a sigmoid, not of the rectangle": lambda: gradient(
            lambda: (
                torch.sigmoid((pre_acts - threshold) / bandwidth)
                * torch.sigmoid((threshold - pre_acts) / bandwidth)
                / bandwidth
            )
        ),
        "uses a bandwidth of 0.1, whatever it should be": lambda: gradient(
            lambda: kernel(width=0.1, height=0.1)
        ),
        "uses the kernel of twice the bandwidth": lambda: gradient(
            lambda: kernel(width=2 * bandwidth, height=2 * bandwidth)
        ),
        "uses the kernel of half the bandwidth": lambda: gradient(
            lambda: kernel(width=bandwidth / 2, height=bandwidth / 2)
        ),
        "uses a kernel around 0, not around the threshold": lambda: gradient(lambda: kernel(torch.zeros(()))),
        "uses a kernel that is twice as wide as it should be": lambda: gradient(
            lambda: kernel(width=2 * bandwidth)
        ),
        "uses a kernel that is half as wide as it should be": lambda: gradient(
            lambda: kernel(width=bandwidth / 2)
        ),
        "counts the inputs above the threshold only": lambda: gradient(
            lambda: kernel() * (pre_acts > threshold)
        ),
        "counts the inputs below the threshold only": lambda: gradient(
            lambda: kernel() * (pre_acts <= threshold)
        ),
        "is averaged over the batch, not summed": lambda: gradient(kernel, over_batch=False),
        "uses no kernel: every input counts": lambda: gradient(lambda: torch.ones_like(pre_acts)),
        "is the same for all latents: each has a threshold of its own": lambda: right.mean(
            -1, keepdim=True
        ).expand_as(right),
        "is summed over the latents: each has a threshold of its own": lambda: right.sum(
            -1, keepdim=True
        ).expand_as(right),
    }
    if name:
        wrong["has a factor `threshold` too many: that belongs to `jumprelu`"] = lambda: (
            -(threshold * kernel() * weight).sum(0)
        )
    else:
        wrong["lacks the factor `threshold`: what a latent gives up when it falls silent"] = lambda: gradient(
            kernel, torch.ones(())
        )
        wrong["has `pre_acts` in place of `threshold` as the factor"] = lambda: gradient(kernel, pre_acts)
        wrong["has the factor `threshold` twice"] = lambda: gradient(kernel, threshold**2)
    if agree(for_threshold, right, 1e-3):
        check.holds(
            True, f"the gradient of `{shown}` with respect to `threshold` is the straight-through one", ""
        )
        return
    for phrase, value in wrong.items():
        if agree(for_threshold, value(), 1e-3):
            raise Mistake(f"The gradient of `{shown}` with respect to `threshold` {phrase}.")
    raise Mistake(
        f"The gradient of `{shown}` with respect to `threshold` is not the straight-through one.",
        compare(for_threshold, right, THRESHOLD),
    )
