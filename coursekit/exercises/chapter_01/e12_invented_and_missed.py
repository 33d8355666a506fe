"""Exercise 1.12: `invented_and_missed`."""

from __future__ import annotations

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, variations


@exercise(
    id="1.12",
    reference="double_descent.invented_and_missed",
    difficulty=2,
    importance=2,
    minutes=12,
    points=2,
)
def invented_and_missed(check: Check) -> None:
    for batch, instances, features in ((13, 3, 5), (7, 2, 11), (3, 1, 4)):
        x = check.sparse(batch, instances, features, probability=0.4)
        # Of what is present some is hardly there.
        x = torch.where((check.uniform(*x.shape) < 0.2) & (x > 0), 0.001 + 0.003 * x, x)
        x[0] = 0.0  # an input in which nothing is present
        x[:, :, 2] = 0.0  # a feature that is never present
        # Without a ReLU at its end a model also answers numbers below 0.
        out = check.uniform(*x.shape, low=-0.5) * (check.uniform(*x.shape) < 0.6)
        returned = check.call(out, x)
        if not isinstance(returned, tuple | list) or len(returned) != 2:
            raise Mistake("Return two tensors: `(invented, missed)`.")
        size = f"{batch} inputs, {instances} instances, {features} features"
        squared, present = (out - x) ** 2, x != 0
        for number, (name, right) in enumerate((("invented", ~present), ("missed", present))):
            check.equal(
                returned[number],
                _mean(squared, right),
                "instances",
                f"`{name}` is right ({size})",
                _wrong_parts(out, x, right),
                what=f"`{name}`",
            )
    check.leaves_inputs(out, x)
    zero = check.call(torch.zeros_like(x), x)
    check.equal(
        zero[0],
        torch.zeros(x.shape[1]),
        "instances",
        "a model that answers 0 invents nothing",
        what="`invented`",
    )


def _mean(error: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, error, 0.0).sum(dim=2).mean(dim=0)


def _wrong_parts(out: Tensor, x: Tensor, right: Tensor) -> dict:
    silent, signed = out == 0, out - x
    is_invented = bool((right == (x == 0)).all())
    errors = {
        "": signed**2,
        "the error is not squared": signed,
        "the absolute error is taken instead of the squared one": signed.abs(),
        "only what is too large counts": signed.relu() ** 2,
        "only what is too small counts": (-signed).relu() ** 2,
        "the error is halved": signed**2 / 2,
        "features are counted, whatever the size of their error": torch.ones_like(x),
    }
    if not is_invented:
        errors |= {
            "the input is squared instead of the error": x**2,
            "the output is squared instead of the error": out**2,
        }
    small = {
        f"what is below {limit:g} counts as absent; only what is 0 is": (x.abs() < limit) == is_invented
        for limit in (0.5, 0.2, 0.1, 0.05, 0.03, 0.02)
    }
    wrong = variations(
        lambda error, mask, reduce: reduce(torch.where(mask, error, 0.0), mask),
        errors,
        {
            "": right,
            "the two parts are exchanged (or the mask is the wrong way round)": ~right,
            "the mask asks where `out` is 0 instead of `batch`": silent if is_invented else ~silent,
            f"the mask asks where `out` is {'not 0' if is_invented else '0'}": ~silent
            if is_invented
            else silent,
            "the mask asks where `out` is too large, and where it is too small": (
                signed > 0 if is_invented else signed < 0
            ),
            "a feature whose value is small but not 0 counts as absent": ((x.abs() <= 0.01) == is_invented),
            "all features are counted: the mask is missing": torch.ones_like(right),
            "only features where `out` is not 0 as well are counted": right & ~silent,
            "only features where `out` is 0 are counted": right & silent,
            "a feature counts as absent where `batch` or `out` is 0": right | silent
            if is_invented
            else right & ~silent,
            "a feature counts as absent only if no input of the batch has it": (
                (x == 0).all(0).expand_as(x) == is_invented
            ),
            "the mask of instance 0 is used for every instance": right[:, :1].expand_as(right),
            **small,
            "an input counts only when nothing at all is present in it": (x == 0).all(2, keepdim=True)
            & torch.ones_like(right),
        },
        {
            "": lambda kept, mask: kept.sum(2).mean(0),
            "the mean over features is taken instead of the sum": lambda kept, mask: kept.mean((0, 2)),
            "the sum over the batch is taken instead of the mean": lambda kept, mask: kept.sum((0, 2)),
            "each input is divided by how many of its features were counted": lambda kept, mask: (
                kept.sum(2) / mask.sum(2).clamp(min=1)
            ).mean(0),
            "the mean over features is taken, and the sum over the batch": lambda kept, mask: kept.mean(
                2
            ).sum(0),
            "it is divided by how many entries were counted instead of by the batch": lambda kept, mask: (
                kept.sum((0, 2)) / mask.sum((0, 2)).clamp(min=1)
            ),
            "the instances are summed": lambda kept, mask: kept.sum((1, 2)).mean(0),
            "the instances are averaged": lambda kept, mask: kept.sum(2).mean(),
            "the batch is left: each input has its own number": lambda kept, mask: kept.sum(2),
            "the features are left: each has its own number": lambda kept, mask: kept.mean(0),
            "the root is taken at the end": lambda kept, mask: kept.sum(2).mean(0).clamp(min=0).sqrt(),
        },
    )
    both = signed.pow(2).sum(2).mean(0)
    return wrong | {
        "it is divided by the whole loss: a share is returned": _mean(signed**2, right) / both,
        "the errors of an input are added up before they are squared": (signed * right).sum(2).pow(2).mean(0),
        "the errors are averaged over the batch before they are squared": (signed * right)
        .mean(0)
        .pow(2)
        .sum(1),
    }
