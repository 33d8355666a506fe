"""Exercise 7.1: `keep_largest_neurons`."""

from __future__ import annotations

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, Mistakes

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
    for batch, d_mlp, k in ((23, 7, 2), (5, 13, 5), (7, 3, 1), (1, 5, 2), (3, 5, 5)):
        # Of both signs: what is far from zero, or large, is not far from its mean.
        mean = 1.5 * check.normal(d_mlp)
        # On some tokens all neurons are farther off than on others.
        h = mean + check.normal(batch, d_mlp) * check.uniform(batch, 1, low=0.3, high=2)
        check.equal(
            check.call(h, mean, k),
            _kept(h, mean, k),
            AXES,
            f"{k} of {d_mlp} neurons are kept on every token",
            _wrong(h, mean, k),
        )
    _check_ties(check)
    check.leaves_inputs(check.normal(7, 5), check.normal(5), 2)


def _check_ties(check: Check) -> None:
    """Of neurons that are equally far any may be kept, but no more than k."""
    h = torch.tensor([[2.0, -2.0, 1.0, 2.0, 0.0], [0.0, 3.0, 1.0, -1.0, 1.0]])
    found, k = check.tensor(check.call(h, torch.zeros(5), 2)), 2
    # Exactly at its mean is also what is kept there.
    kept = found != 0
    for row, values in zip(kept, h, strict=True):
        if int(row.sum()) > k:
            raise Mistake(
                f"Where neurons are equally far from their mean your function keeps {int(row.sum())}, and k is {k}. "
                "`topk` takes no more than k, whichever of the equal ones; a threshold takes all of them."
            )
        right = values.abs().topk(k).values.sum()
        if int(row.sum()) < k or values[row].abs().sum() != right:
            raise Mistake(
                f"Where neurons are equally far from their mean your function does not keep {k} of those farthest off."
            )
    check.holds(torch.equal(found[kept], h[kept]), "no more than k where several are equally far", "")


def _kept(h: Tensor, mean: Tensor, k: int, rank: Tensor | None = None, rest: Tensor | None = None) -> Tensor:
    rank = (h - mean).abs() if rank is None else rank
    places = rank.topk(k, dim=-1).indices
    mask = torch.zeros_like(h, dtype=torch.bool).scatter(-1, places, True)
    return torch.where(mask, h, mean if rest is None else rest)


def _wrong(h: Tensor, mean: Tensor, k: int) -> Mistakes:
    away = (h - mean).abs()

    def of_the_batch(count: int) -> Tensor:
        mask = torch.zeros(h.numel(), dtype=torch.bool)
        mask[away.flatten().topk(count).indices] = True
        return torch.where(mask.view_as(h), h, mean)

    def along_the_batch() -> Tensor:
        mask = torch.zeros_like(h, dtype=torch.bool).scatter(0, away.topk(k, dim=0).indices, True)
        return torch.where(mask, h, mean)

    def chosen(value: Tensor, rest: Tensor = mean) -> Tensor:
        return torch.where(_kept(away, torch.zeros(()), k) > 0, value, rest)

    def one_row() -> Tensor:
        """What an expanded mean holds once every token has written into it."""
        row = mean.clone()
        for token, kept in zip(h, away.topk(k, dim=-1).indices, strict=True):
            row[kept] = token[kept]
        return row.expand_as(h)

    def first_tokens(count: int) -> Tensor:
        return torch.cat([_kept(h, mean, k)[:count], mean.expand_as(h)[count:]])

    zero, own = torch.zeros(()), h.mean(dim=0)
    return {
        "the neurons with the largest *values* are kept, not those farthest from their mean": _kept(
            h, mean, k, h
        ),
        "the neurons farthest from *zero* are kept, not those farthest from their mean": _kept(
            h, mean, k, h.abs()
        ),
        "only neurons *above* their mean count as far; below it is just as far": _kept(h, mean, k, h - mean),
        "only neurons *below* their mean count as far; above it is just as far": _kept(h, mean, k, mean - h),
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
        "the other neurons are set to the batch's own mean, not to `mean`": _kept(h, mean, k, rest=own),
        "the batch's own mean takes the place of `mean`, for the distance and for the other neurons": _kept(
            h, own, k
        ),
        "distances are those from the batch's own mean, not from `mean`": _kept(h, mean, k, (h - own).abs()),
        "distances are those from the token's mean over its neurons": _kept(
            h, mean, k, (h - h.mean(dim=-1, keepdim=True)).abs()
        ),
        "sizes are compared, |h| with |mean|, and not how far apart the two are": _kept(
            h, mean, k, (h.abs() - mean.abs()).abs()
        ),
        "distances are relative, divided by the mean": _kept(h, mean, k, ((h - mean) / mean).abs()),
        "distances are divided by each neuron's standard deviation": [
            _kept(h, mean, k, away / h.std(dim=0, unbiased=unbiased).clamp_min(1e-6))
            for unbiased in (True, False)
        ],
        "the kept neurons are returned as differences from their mean": _kept(h, mean, k, rest=mean) - mean,
        "the kept neurons are returned as differences from their mean, and the others at it": chosen(
            h - mean
        ),
        "the sign of a kept neuron's distance from its mean is lost": chosen(mean + away),
        "the mean is added to the kept neurons once more": chosen(h + mean),
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
        "the first k neurons are kept, wherever they are": _kept(
            h, mean, k, -torch.arange(h.shape[-1]).expand_as(h).to(h)
        ),
        "one neuron too many is kept": lambda: _kept(h, mean, k + 1),
        "one neuron too few is kept": lambda: _kept(h, mean, k - 1),
        "it is the k farthest neurons that are put at their mean": torch.where(
            _kept(h, mean, k) == h, mean, h
        ),
        "only the kept values are returned, without the other neurons": lambda: h.gather(
            -1, away.topk(k, dim=-1).indices
        ),
        "the tokens share one row of results, in which the later ones write over the earlier": one_row,
        "nothing is put at its mean": h,
        "only the first tokens are looked at, and all others put at the mean": [
            lambda count=count: first_tokens(count)  # type: ignore[misc]
            for count in range(1, len(h))
        ],
        "only the first tokens are looked at, and all others left as they are": [
            lambda count=count: torch.cat([_kept(h, mean, k)[:count], h[count:]])  # type: ignore[misc]
            for count in range(1, len(h))
        ],
    }
