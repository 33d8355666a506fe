"""Exercise 7.5: `error_r2`."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake
from coursekit.checking.evidence import Outcome, explanations
from coursekit.exercises.chapter_05.parts import number_of

SIZES = ((211, 67, 7, 5), (307, 41, 3, 7), (151, 83, 5, 1), (401, 101, 2, 3))
Texts = tuple[Tensor, Tensor, Tensor, Tensor]


@exercise(
    id="7.5",
    reference="dark_matter.error_r2",
    difficulty=3,
    importance=3,
    minutes=15,
    points=3,
)
def error_r2(check: Check) -> None:
    cases = [_drawn(check, *sizes) for sizes in SIZES]
    # Nothing can be predicted: a map that was fitted to noise is worse than the mean, and that may be seen.
    cases.append((check.normal(61, 7), check.normal(61, 3), check.normal(53, 7), check.normal(53, 3)))
    outcomes = []
    for texts in cases:
        found, right = number_of(check.call(*texts), "Your result"), _r2(*texts)
        if math.isnan(found):
            raise Mistake("Your result is NaN.")
        outcomes.append(Outcome(_snapped(found, right), right))
    wrong = next((outcome for outcome in outcomes if not outcome.right), None)
    if wrong is not None:
        details = [f"expected {wrong.expected:.4f}, got {wrong.found:.4f}"]
        for outcome, texts in zip(outcomes, cases, strict=True):
            outcome.wrong = _values(_wrong(*texts), outcome.expected)
        fitting = explanations(outcomes)
        if fitting:
            raise Mistake(f"Your result is what comes out when {', or when '.join(fitting[:2])}.", details)
        raise Mistake(
            "Your result is not the R² that a map fitted on the first text has on the held-out text.", details
        )
    for claim in (
        "R² on the held-out text of the map that was fitted on the other",
        "for one number per token too",
        "it may be below 0",
    ):
        check.holds(True, claim, "")
    check.leaves_inputs(*cases[0])


def _snapped(value: float, right: float) -> float:
    """The right value where the other one is near: a little ridge, or single precision, is as good."""
    return right if abs(value - right) < 2e-3 else value


def _values(mistakes: Mapping[str, Any], right: float) -> dict[str, list[float]]:
    """The numbers that mistakes lead to; none where these sizes allow of none."""
    values: dict[str, list[float]] = {}
    for phrase, outcome in mistakes.items():
        values[phrase] = []
        for value in outcome if isinstance(outcome, list) else [outcome]:
            with contextlib.suppress(Exception):
                values[phrase].append(_snapped(value() if callable(value) else value, right))
    return values


def _drawn(check: Check, tokens: int, held_out: int, d: int, d_error: int) -> Texts:
    A, c = check.normal(d, d_error), 3 * check.normal(d_error) + 2
    scale = check.uniform(d_error, low=0.2, high=3)

    def text(n: int, middle: float, noise: float) -> tuple[Tensor, Tensor]:
        h = check.normal(n, d) + middle
        return h, (h @ A + c + noise * check.normal(n, d_error)) * scale

    # The held-out text is another one: its inputs lie elsewhere, and more is left over.
    return (*text(tokens, 1.5, 0.8), *text(held_out, 0.7, 1.6))


def _with_one(h: Tensor) -> Tensor:
    return torch.cat([h.double(), torch.ones(len(h), 1, dtype=torch.float64)], dim=1)


def _predict(h: Tensor, error: Tensor, on: Tensor, intercept: bool = True) -> Tensor:
    x, z = (_with_one(h), _with_one(on)) if intercept else (h.double(), on.double())
    return z @ torch.linalg.lstsq(x, error.double()).solution


def _share(error: Tensor, predicted: Tensor, mean: Tensor | float) -> float:
    left, all_of_it = (error - predicted).pow(2).sum(), (error - mean).pow(2).sum()
    return 1 - (left / all_of_it).item()


def _r2(h: Tensor, error: Tensor, held: Tensor, theirs: Tensor) -> float:
    return _share(theirs.double(), _predict(h, error, held), theirs.double().mean(0))


def _wrong(h: Tensor, error: Tensor, held: Tensor, theirs: Tensor) -> dict[str, Any]:
    predicted, y = _predict(h, error, held), theirs.double()
    mean = y.mean(0)
    left, variance = (y - predicted).pow(2).sum(0), (y - mean).pow(2).sum(0)
    total = float(variance.sum())
    without = _predict(h, error, held, intercept=False)
    norms, norms_left = (y - mean).norm(dim=1), (y - predicted).norm(dim=1)
    centered = _predict(h - h.mean(0), error - error.mean(0), held - held.mean(0), False)
    right = _r2(h, error, held, theirs)
    residual, around = y - predicted, predicted - predicted.mean(0)
    n = len(y)

    def ridge(strength: float) -> float:
        x = _with_one(h)
        A = torch.linalg.solve(x.T @ x + strength * torch.eye(x.shape[1]).double(), x.T @ error.double())
        return _share(y, _with_one(held) @ A, mean)

    def correlation() -> float:
        a, b = around.flatten(), (y - mean).flatten()
        return float((a @ b) ** 2 / (a @ a * (b @ b)))

    def one_by_one() -> float:
        x, z = h.double() - h.mean(0), error.double() - error.mean(0)
        d = min(x.shape[1], z.shape[1])
        result = error.double().mean(0).expand_as(y).clone()
        slope = (x[:, :d] * z[:, :d]).sum(0) / x[:, :d].pow(2).sum(0)
        result[:, :d] += slope * (held.double() - h.mean(0))[:, :d]
        return _share(y, result, mean)

    return {
        "the map is fitted on the held-out text itself": _share(y, _predict(held, theirs, held), mean),
        "the map is fitted on both texts": _share(
            y, _predict(torch.cat([h, held]), torch.cat([error, theirs]), held), mean
        ),
        "R² is measured on the text that the map was fitted on": _r2(h, error, h, error),
        "the map has no intercept": _share(y, without, mean),
        "the map has no intercept, and nothing is subtracted from the error": _share(y, without, 0.0),
        "the intercept is fitted, but left out of what the map predicts": lambda: _share(
            y, predicted - _predict(h, error, torch.zeros(1, h.shape[1])), mean
        ),
        "the mean error is not subtracted in the denominator": _share(y, predicted, 0.0),
        "the mean error in the denominator is that of the other text": _share(
            y, predicted, error.double().mean(0)
        ),
        "the mean error in the denominator is one number for all dimensions": _share(y, predicted, y.mean()),
        "each dimension's R² is computed, and the mean of them taken": (1 - left / variance).mean().item(),
        "each dimension's R² is computed, and the sum of them taken": (1 - left / variance).sum().item(),
        "lengths are compared, not squared lengths": 1 - (norms_left.sum() / norms.sum()).item(),
        "absolute errors are summed, not squared ones": 1
        - (residual.abs().sum() / (y - mean).abs().sum()).item(),
        "the share that is *left* is returned": 1 - right,
        "the sign of the result is turned round": -right,
        "a negative result is replaced by 0": max(right, 0.0),
        "the result is clamped between 0 and 1": min(max(right, 0.0), 1.0),
        "the absolute value of the result is taken": abs(right),
        "the root is taken": [
            math.sqrt(max(right, 0.0)),
            math.copysign(math.sqrt(abs(right)), right),
            math.sqrt(abs(right)),
        ],
        "the root of the ratio is taken: lengths are compared, not squared lengths": 1
        - math.sqrt(max(1 - right, 0.0)),
        "each text is centered with its own mean, so that the map's intercept is another one": _share(
            y - mean, centered, 0.0
        ),
        # Where an error is near its mean the share is huge, and differs with the precision.
        "each token's share is computed, and the mean of them taken": [
            (1 - residual.pow(2).sum(1) / (one - one.mean(0)).pow(2).sum(1)).mean().item()
            for one in (y, theirs)
        ],
        "the numerator is a mean and the denominator a sum": [
            1 - float(residual.pow(2).mean()) / total,
            1 - float(residual.pow(2).sum(1).mean()) / total,
        ],
        "the numerator is a sum and the denominator a mean": [
            1 - float(left.sum()) / (total / n),
            1 - float(left.sum()) / (total / y.numel()),
        ],
        "the denominator divides by one token less than the numerator (`var` and `std` do)": [
            1 - float(left.sum()) / total * (n - 1) / n,
            1 - float(left.sum()) / n / float(y.var(unbiased=True)) / y.shape[1],
        ],
        "the map is held small (ridge), so that it is not that of least squares": [
            lambda strength=strength: ridge(strength)
            for strength in (1.0, 10.0, 100.0, len(h), 0.1 * len(h), 0.01 * len(h))
        ],
        "only the mean error of the first text is predicted, whatever the input is": _share(
            y, error.double().mean(0), mean
        ),
        "each dimension of the error is predicted from one dimension of the input only": one_by_one,
        "the input is predicted from the error": _r2(error, h, theirs, held),
        "a squared correlation is taken, which forgives a wrong scale": [
            correlation,
            lambda: float(torch.corrcoef(torch.stack([predicted.flatten(), y.flatten()]))[0, 1] ** 2),
        ],
        "the share is that of the *predicted* variance, whether or not it is right": [
            float(around.pow(2).sum()) / total,
            float((predicted - mean).pow(2).sum()) / total,
            float(predicted.pow(2).sum() / y.pow(2).sum()),
        ],
        "only the first dimension of the error is looked at": _share(y[:, :1], predicted[:, :1], mean[:1]),
        "only some tokens of the first text are used for the map": [
            lambda count=count: _r2(h[:count], error[:count], held, theirs)
            for count in (10, 16, 20, 32, 50, 64, 100, 128, 200, len(held), len(h) // 2)
        ],
        "only some of the held-out tokens are looked at": [
            lambda count=count: _r2(h, error, held[:count], theirs[:count])
            for count in (10, 20, 32, 50, 64, 100)
        ],
    }
