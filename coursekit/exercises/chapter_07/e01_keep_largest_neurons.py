"""Exercise 7.1: `keep_largest_neurons`."""

from __future__ import annotations

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Alternative, Check, Mistake

AXES = "batch d_mlp"


@exercise(
    id="7.1",
    reference="baselines.keep_largest_neurons",
    difficulty=2,
    importance=4,
    minutes=12,
    points=2,
)
def keep_largest_neurons(check: Check) -> None:
    for batch, d_mlp, k in ((11, 7, 2), (5, 13, 5), (7, 3, 1), (1, 5, 2), (3, 5, 5)):
        mean = 0.3 * check.normal(d_mlp) + 0.4
        # On some tokens all neurons are farther off than on others.
        h = mean + check.normal(batch, d_mlp) * check.uniform(batch, 1, low=0.3, high=2)
        check.equal(
            check.call(h, mean, k),
            _kept(h, mean, k),
            AXES,
            f"{k} of {d_mlp} neurons are kept on every token",
            _wrong(h, mean, k),
        )
    h, mean = check.normal(7, 5), check.normal(5)
    held = check.create(h, target="torch.clone")
    check.call(held, mean, 2)
    now = check.learner.call("torch.clone", held)
    if not (isinstance(now, Tensor) and torch.equal(now, h)):
        raise Mistake(
            "Your function changes `h` itself (in place). Whoever calls it still needs the activations; work on a copy."
        )
    check.holds(True, "`h` is left as it was", "")


def _kept(h: Tensor, mean: Tensor, k: int, rank: Tensor | None = None, rest: Tensor | None = None) -> Tensor:
    rank = (h - mean).abs() if rank is None else rank
    places = rank.topk(k, dim=-1).indices
    mask = torch.zeros_like(h, dtype=torch.bool).scatter(-1, places, True)
    return torch.where(mask, h, mean if rest is None else rest)


def _wrong(h: Tensor, mean: Tensor, k: int) -> dict[str, Alternative]:
    away = (h - mean).abs()

    def of_the_batch(count: int) -> Tensor:
        mask = torch.zeros(h.numel(), dtype=torch.bool)
        mask[away.flatten().topk(count).indices] = True
        return torch.where(mask.view_as(h), h, mean)

    def along_the_batch() -> Tensor:
        mask = torch.zeros_like(h, dtype=torch.bool).scatter(0, away.topk(k, dim=0).indices, True)
        return torch.where(mask, h, mean)

    zero = torch.zeros(())
    return {
        "the neurons with the largest *values* are kept, not those farthest from their mean": _kept(
            h, mean, k, h
        ),
        "the neurons farthest from *zero* are kept, not those farthest from their mean": _kept(
            h, mean, k, h.abs()
        ),
        "only neurons *above* their mean count as far; below it is just as far": _kept(h, mean, k, h - mean),
        "the neurons *nearest* to their mean are kept": _kept(h, mean, k, -away),
        "the other neurons are set to zero, not to their mean": _kept(h, mean, k, rest=zero),
        "the neurons with the largest values are kept, and the others are set to zero": _kept(
            h, mean, k, h, zero
        ),
        "the neurons farthest from zero are kept, and the others are set to zero": _kept(
            h, mean, k, h.abs(), zero
        ),
        "the other neurons are set to the mean of the token's own neurons": lambda: _kept(
            h, mean, k, rest=h.mean(dim=-1, keepdim=True)
        ),
        "the other neurons are set to the batch's own mean, not to `mean`": _kept(
            h, mean, k, rest=h.mean(dim=0)
        ),
        "the kept neurons are returned as differences from their mean": _kept(h, mean, k, rest=mean) - mean,
        "the k farthest of the whole batch are kept, not k of each token": lambda: of_the_batch(k),
        "the k * batch farthest of the whole batch are kept, not k of each token": lambda: of_the_batch(
            k * len(h)
        ),
        "the k farthest along the batch are kept, not along the neurons": along_the_batch,
        "the neurons that the first token chooses are kept on every token": _kept(
            h, mean, k, away[:1].expand_as(h)
        ),
        "the neurons that are farthest on average are kept on every token": _kept(
            h, mean, k, away.mean(dim=0).expand_as(h)
        ),
        "one neuron too many is kept": lambda: _kept(h, mean, k + 1),
        "one neuron too few is kept": lambda: _kept(h, mean, k - 1),
        "it is the k farthest neurons that are put at their mean": torch.where(
            _kept(h, mean, k) == h, mean, h
        ),
        "only the kept values are returned, without the other neurons": lambda: h.gather(
            -1, away.topk(k, dim=-1).indices
        ),
        "nothing is put at its mean": h,
    }
