"""Exercise 7.5: `error_r2`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake
from coursekit.exercises.chapter_05.parts import number_of


@exercise(
    id="7.5",
    reference="dark_matter.error_r2",
    difficulty=3,
    importance=3,
    minutes=15,
    points=3,
)
def error_r2(check: Check) -> None:
    for tokens, held_out, d, d_error in ((211, 67, 7, 5), (307, 41, 3, 7), (151, 83, 5, 1), (401, 101, 2, 3)):
        A, c = check.normal(d, d_error), 3 * check.normal(d_error) + 2
        scale = check.uniform(d_error, low=0.2, high=3)
        texts = []
        # The held-out text is another one: its inputs lie elsewhere, and more is left over.
        for n, middle, noise in ((tokens, 1.5, 0.8), (held_out, 0.7, 1.6)):
            h = check.normal(n, d) + middle
            texts += [h, (h @ A + c + noise * check.normal(n, d_error)) * scale]
        found = number_of(check.call(*texts), "Your result")
        right = _r2(*texts)
        if math.isnan(found):
            raise Mistake("Your result is NaN.")
        for phrase, value in _wrong(*texts).items():
            if abs(found - value) < 2e-4 and abs(right - value) > 2e-3:
                raise Mistake(
                    f"Your result is what comes out when {phrase}.",
                    [f"expected {right:.4f}, got {found:.4f}"],
                )
        check.holds(
            abs(found - right) < 2e-3,
            "R² on the held-out text of the map that was fitted on the other"
            + (", for one number per token too" if d_error == 1 else ""),
            "Your result is not the R² that a map fitted on the first text has on the held-out text.",
            [f"expected {right:.4f}, got {found:.4f}"],
        )
    # Nothing can be predicted: a map that was fitted to noise is worse than the mean, and that may be seen.
    nothing = [check.normal(61, 7), check.normal(61, 3), check.normal(53, 7), check.normal(53, 3)]
    found, right = number_of(check.call(*nothing), "Your result"), _r2(*nothing)
    check.holds(
        abs(found - right) < 5e-3,
        "it may be below 0",
        "Where the map is worse than the mean, R² is negative; your result is not.",
        [f"expected {right:.4f}, got {found:.4f}"],
    )


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


def _wrong(h: Tensor, error: Tensor, held: Tensor, theirs: Tensor) -> dict[str, float]:
    predicted, y = _predict(h, error, held), theirs.double()
    left, variance = (y - predicted).pow(2).sum(0), (y - y.mean(0)).pow(2).sum(0)
    without = _predict(h, error, held, intercept=False)
    norms, norms_left = (y - y.mean(0)).norm(dim=1), (y - predicted).norm(dim=1)
    centered = _predict(h - h.mean(0), error - error.mean(0), held - held.mean(0), False)
    right = _r2(h, error, held, theirs)
    return {
        "the map is fitted on the held-out text itself": _share(y, _predict(held, theirs, held), y.mean(0)),
        "R² is measured on the text that the map was fitted on": _r2(h, error, h, error),
        "the map has no intercept": _share(y, without, y.mean(0)),
        "the map has no intercept, and nothing is subtracted from the error": _share(y, without, 0.0),
        "the mean error is not subtracted in the denominator": _share(y, predicted, 0.0),
        "the mean error in the denominator is that of the other text": _share(
            y, predicted, error.double().mean(0)
        ),
        "the mean error in the denominator is one number for all dimensions": _share(y, predicted, y.mean()),
        "each dimension's R² is computed, and the mean of them taken": (1 - left / variance).mean().item(),
        "lengths are compared, not squared lengths": 1 - (norms_left.sum() / norms.sum()).item(),
        "the share that is *left* is returned": 1 - right,
        "the root is taken": math.sqrt(max(right, 0.0)),
        "each text is centered with its own mean, so that the map's intercept is another one": _share(
            y - y.mean(0), centered, 0.0
        ),
        "each token's share is computed, and the mean of them taken": (
            1 - (y - predicted).pow(2).sum(1) / (y - y.mean(0)).pow(2).sum(1)
        )
        .mean()
        .item(),
    }
