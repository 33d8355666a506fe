"""Whether the steps that an autoencoder's weights made are those of Adam, and with which learning rate."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from coursekit.checking.claims import Check, Mistake
from coursekit.checking.door import Handle
from coursekit.checking.phrases import unit_rows
from coursekit.exercises.chapter_04.scene import WEIGHTS
from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig

FITS = 0.02
"""A step that differs from the right one by less than this share of its length is the right one."""
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
SCHEDULES: dict[str, Callable[[int, int], float]] = {
    "": lambda step, steps: 1 - step / steps,
    "it is one step ahead, `lr * (1 - (i + 1) / steps)`: the first step has `lr`": lambda step, steps: (
        1 - (step + 1) / steps
    ),
    "it is divided by `steps - 1`, so that the last step has a rate of 0": lambda step, steps: (
        1 - step / (steps - 1)
    ),
    "it falls along a cosine, not in a straight line": lambda step, steps: (
        (1 + math.cos(math.pi * step / steps)) / 2
    ),
    "it stays the same": lambda step, steps: 1.0,
    "it falls with the square of what is left": lambda step, steps: (1 - step / steps) ** 2,
    "it falls with the root of what is left": lambda step, steps: (1 - step / steps) ** 0.5,
    "it is multiplied by `1 - i / steps` at every step, on top of what it was": lambda step, steps: math.prod(
        1 - i / steps for i in range(step + 1)
    ),
    "it rises at first (a warm-up)": lambda step, steps: (
        min(1.0, (step + 1) / (steps / 10)) * (1 - step / steps)
    ),
}


def what_was_recorded(check: Check, calls: Handle) -> dict[str, Any]:
    """Stop the recorder, and return what it saw, with the weights of each call by their names."""
    record = check.method(calls, "stop")
    names, parts = record["weights"].keys(), [x.unbind() for x in record["weights"].values()]
    return record | {"weights": [dict(zip(names, each, strict=True)) for each in zip(*parts, strict=True)]}


def why_nothing_moves(weights: Sequence[Mapping[str, Tensor]]) -> str:
    """Say why the first two calls of an autoencoder met the same encoder."""
    if any(not torch.equal(each["W_enc"], weights[0]["W_enc"]) for each in weights):
        return (
            "Two batches in a row meet the same weights. Let each step take one batch: one loss, one `backward()`, "
            "one `optimizer.step()`."
        )
    return "The encoder does not change. Are `loss.backward()` and `optimizer.step()` called in every step?"


class StepsTaken:
    """The steps of `W_enc`, which nothing but the optimizer changes, beside the gradients that they come from.

    What the right Adam would have done next follows at every step from the weights and batches so far.

    Args:
        weights: those before every step, and the last ones.
        batches: what went in at every step.
        l1_coeff: the penalty of the loss.
        steps: how many steps there should be. With more calls the autoencoder was asked between them as well, and
            nothing can be said.
    """

    def __init__(
        self, weights: Sequence[Mapping[str, Tensor]], batches: Sequence[Tensor], l1_coeff: float, steps: int
    ) -> None:
        self.known = len(batches) == steps and len(weights) == steps + 1
        if not self.known:
            return
        self.before = [x["W_enc"].double() for x in weights[:-1]]
        self.moves = [
            (after["W_enc"] - before["W_enc"]).double() for before, after in itertools.pairwise(weights)
        ]
        self.gradients = [_gradient(x, batch, l1_coeff) for x, batch in zip(weights, batches, strict=False)]
        self.directions = _directions(self.gradients, BETA_1, BETA_2)
        self.rates, self.miss = _fitted(self.moves, self.directions)
        self.of_adam = self.miss < FITS


def check_optimizer(check: Check, taken: StepsTaken) -> None:
    """Check that the steps are Adam's, where another one can be named, and that no weight decays."""
    if not taken.known:
        return
    moves, gradients = taken.moves, taken.gradients
    if not taken.of_adam:
        for phrase, directions in (
            (
                "the optimizer is made anew in every step, and forgets the gradients of the steps before. Make "
                "it once, before the loop",
                _directions(gradients, BETA_1, BETA_2, anew=True),
            ),
            (
                "there is no momentum (the first of `betas` is 0; Adam's own are 0.9 and 0.999)",
                _directions(gradients, 0.0, BETA_2),
            ),
            (
                "the second of `betas` is another one (Adam's own are 0.9 and 0.999)",
                _directions(gradients, BETA_1, 0.99),
            ),
        ):
            if _fitted(moves, directions)[1] < FITS:
                raise Mistake(f"The steps are not those of Adam: {phrase}.")
    if taken.miss > 5 * FITS:
        return
    decay = _decay(moves, taken.before, taken.directions)
    check.holds(
        decay < 2e-3,
        "",
        "At every step all weights shrink a little: that is weight decay, which `torch.optim.AdamW` has unless you "
        "say `weight_decay=0`. `torch.optim.Adam` has none.",
        [f"a share of about {decay:.2g} times the learning rate in each step"],
    )


def check_rates(taken: StepsTaken, lr: float, steps: int) -> None:
    """Check the learning rate of every step, where the steps are Adam's."""
    if not taken.known or not taken.of_adam:
        return
    rates = taken.rates
    found = torch.tensor(rates) / lr

    def off(schedule: Callable[[int, int], float]) -> float:
        return (found - torch.tensor([schedule(step, steps) for step in range(steps)])).abs().max().item()

    if off(SCHEDULES[""]) < 0.004:
        return
    details = [
        f"it was {rates[0]:.3g} at first, {rates[steps // 2]:.3g} after half of the steps and {rates[-1]:.2g} "
        "at the end"
    ]
    for phrase, schedule in SCHEDULES.items():
        if phrase and off(schedule) < 0.004:
            raise Mistake(f"The learning rate is not `lr * (1 - i / steps)` at step `i`: {phrase}.", details)
    if off(SCHEDULES[""]) > 0.03:
        raise Mistake("The learning rate is not `lr * (1 - i / steps)` at step `i` of `steps`.", details)


def check_trained_all_along(weights: Sequence[Mapping[str, Tensor]], lr: float, steps: int) -> None:
    """Check that what moves in the first step moves later: it may be another parameter, unknown to the optimizer."""
    middle = weights[1 : steps // 2]
    for name in WEIGHTS:
        first, last = (unit_rows(x[name]) if name == "W_dec" else x[name] for x in (middle[0], middle[-1]))
        if (last - first).abs().max() < 1e-3 * lr:
            raise Mistake(
                f"`{name}` is trained in the first step only. Is it replaced by a new `nn.Parameter`? The optimizer "
                "holds the old one: change the numbers in place, as `autoencoder.normalize_decoder()` does."
            )


def check_schedule(check: Check, moves: list[float], lr: float, steps: int) -> None:
    """Check that the steps get as small as the learning rate, which falls to zero in a straight line."""
    if len(moves) > steps:
        raise Mistake(f"Your function makes {len(moves)} steps; `steps` was {steps}.")
    # Steps that change nothing are not among them.
    middle = max(moves[steps // 2 : steps * 5 // 8], default=0.0)
    end = 0.0 if len(moves) < steps - 4 else max(moves[-4:])
    details = [
        f"the largest change of a weight is {moves[0]:.2g} in the first step, {middle:.2g} after half of the steps and "
        f"{end:.2g} in the last ones; with a learning rate that falls from {lr} to 0 the last ones are tiny"
    ]
    check.holds(
        end < 0.15 * lr,
        "",
        "The learning rate does not fall to zero in the course of the training: the last steps are too large. At step "
        "`i` of `steps` it should be `lr * (1 - i / steps)`; `train` does that with `lr_schedule=linear_lr`.",
        details,
    )
    check.holds(
        middle > 0.1 * lr,
        "the learning rate falls to zero at the end",
        "The learning rate falls too early: in the second half of the training hardly anything changes. At step `i` of "
        "`steps` it should be `lr * (1 - i / steps)`.",
        details,
    )


def _gradient(weights: Mapping[str, Tensor], batch: Tensor, l1_coeff: float) -> Tensor:
    n_instances, inputs, latents = weights["W_enc"].shape
    autoencoder = AutoEncoder(AutoEncoderConfig(n_instances, inputs, latents, l1_coeff))
    autoencoder.load_state_dict(dict(weights))
    (gradient,) = torch.autograd.grad(autoencoder(batch).loss, [autoencoder.W_enc])
    return gradient.double()


def _directions(
    gradients: Sequence[Tensor], beta_1: float, beta_2: float, anew: bool = False
) -> list[Tensor]:
    """What Adam subtracts at every step, for a learning rate of 1."""
    mean, square = torch.zeros_like(gradients[0]), torch.zeros_like(gradients[0])
    found = []
    for step, gradient in enumerate(gradients, 1):
        if anew:
            mean, square, step = torch.zeros_like(mean), torch.zeros_like(square), 1
        mean = beta_1 * mean + (1 - beta_1) * gradient
        square = beta_2 * square + (1 - beta_2) * gradient.square()
        root = (square / (1 - beta_2**step)).sqrt() + EPSILON
        found.append(mean / (1 - beta_1**step) / root)
    return found


def _fitted(moves: Sequence[Tensor], directions: Sequence[Tensor]) -> tuple[list[float], float]:
    """The learning rate that explains each step best, and the share that it leaves unexplained of a middling one."""
    rates, misses = [], []
    for move, direction in zip(moves, directions, strict=True):
        # A few gradients are so small that their rounding decides about the direction: the middling one is robust.
        counts = direction.abs() > 0.05
        rate = (-move[counts] / direction[counts]).median().item() if counts.any() else 0.0
        rates.append(rate)
        if move.any():
            far = (move + rate * direction).abs().mean()
            misses.append((far / move.abs().mean()).item())
    return rates, sorted(misses)[len(misses) // 2] if misses else math.inf


def _decay(moves: Sequence[Tensor], weights: Sequence[Tensor], directions: Sequence[Tensor]) -> float:
    """By which share of the learning rate the weights shrink at a middling step, besides what Adam does."""
    shares = []
    for move, before, direction in zip(moves, weights, directions, strict=True):
        counts = (direction.abs() > 0.05) & (before.abs() > 1e-3)
        if counts.any():
            rate = (-move[counts] / direction[counts]).median()
            rest = -(move + rate * direction)[counts] / (rate * before[counts])
            if rate > 0:
                shares.append(rest.median().item())
    return sorted(shares)[len(shares) // 2] if shares else 0.0
