"""Exercise 7.9: `prune`."""

from __future__ import annotations

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake
from coursekit.checking.door import Handle


@exercise(
    id="7.9",
    reference="circuits.prune",
    difficulty=2,
    importance=3,
    minutes=10,
    points=2,
)
def prune(check: Check) -> None:
    for edges, share in ((13, 0.8), (29, 0.5), (7, 0.9), (5, 0.3), (17, 0.95), (11, 0.65)):
        for _ in range(100):
            # Some are much larger than others, of either sign.
            effects = check.normal(edges) * check.uniform(edges, low=0.2, high=2.5)
            right = _kept(effects, share)
            wrong = _wrong(effects, share)
            if 0 < int(right.sum()) < edges and all(
                not torch.equal(right, value) for value in wrong.values()
            ):
                break
        _compare(check, check.call(effects, share), right, wrong, f"{share:.0%} of {edges} edges")
    effects = check.normal(7)
    _compare(check, check.call(effects, 1.0), effects != 0, {}, "all edges where all is asked for")
    # Half of the total is reached exactly by the largest one.
    exact = torch.tensor([1.0, -4.0, 2.0, 1.0])
    one = torch.tensor([False, True, False, False])
    more = {
        "one edge more is kept where the share is reached exactly": torch.tensor([False, True, True, False])
    }
    _compare(check, check.call(exact, 0.5), one, more, "no edge more where the share is reached exactly")
    _compare(
        check, check.call(torch.tensor([-3.0]), 0.8), torch.tensor([True]), {}, "a graph of one edge keeps it"
    )


def _largest(size: Tensor, needed: float) -> Tensor:
    """The fewest of the largest that reach a sum; all if none do."""
    order = size.argsort(descending=True)
    reached = size[order].cumsum(0) >= needed - 1e-6
    count = int(reached.int().argmax()) + 1 if bool(reached.any()) else len(size)
    return torch.zeros_like(size, dtype=torch.bool).index_fill(0, order[:count], True)


def _kept(effects: Tensor, share: float) -> Tensor:
    size = effects.abs()
    return _largest(size, share * float(size.sum()))


def _wrong(effects: Tensor, share: float) -> dict[str, Tensor]:
    size = effects.abs()
    total = float(size.sum())
    right = _largest(size, share * total)
    without_last = right.clone()
    without_last[torch.where(right, size, torch.inf).argmin()] = False
    squares = effects.square()
    count = max(1, round(share * len(size)))
    by_count = torch.zeros_like(right).index_fill(0, size.topk(count).indices, True)
    return {
        "only positive edges are kept": _largest(effects.relu(), share * float(effects.relu().sum())) & (effects > 0),
        "only positive edges are kept, until they carry the share of everything": _largest(
            effects.relu(), share * total
        )
        & (effects > 0),
        "the edges are sorted by their signed effect, not by its size": _signed(effects, share * total),
        "the share is one of the *net* sum, in which edges of different signs cancel": _largest(
            size, share * abs(float(effects.sum()))
        ),
        "the edge that reaches the share is left out": without_last,
        "the smallest edges are kept": ~_largest(size, share * total),
        "the share is one of the *number* of edges, not of their total effect": by_count,
        "squares are added up, not sizes": _largest(squares, share * float(squares.sum())),
        "every edge is kept that is larger than the share of the largest one": size >= share * size.max(),
        "the share that is left out is kept": _largest(size, (1 - share) * total),
        "all edges are kept": torch.ones_like(right),
    }  # fmt: skip


def _signed(effects: Tensor, needed: float) -> Tensor:
    order = effects.argsort(descending=True)
    count = int((effects.abs()[order].cumsum(0) < needed).sum()) + 1
    return torch.zeros_like(effects, dtype=torch.bool).index_fill(0, order[:count], True)


def _compare(check: Check, found: object, right: Tensor, wrong: dict[str, Tensor], claim: str) -> None:
    if found is None:
        raise Mistake("Your result is None. Does your function end with a `return`?")
    if not isinstance(found, Tensor):
        kind = found.type_name if isinstance(found, Handle) else type(found).__name__
        raise Mistake(f"Your result is of type {kind}; expected a tensor of truth values, one for each edge.")
    if found.dtype != torch.bool:
        raise Mistake(
            f"Your result holds {found.dtype} values; expected truth values, True for an edge that is kept."
        )
    if found.shape != right.shape:
        raise Mistake(
            f"Your result has the shape {list(found.shape)}; expected one truth value for each of {len(right)} edges."
        )
    if not torch.equal(found, right):
        details = [f"expected {int(right.sum())} edges, got {int(found.sum())}"]
        for phrase, value in wrong.items():
            if torch.equal(found, value):
                raise Mistake(f"Your result is what comes out when {phrase}.", details)
        raise Mistake(
            "These are not the fewest edges that carry the share of the total absolute effect.", details
        )
    check.holds(True, claim, "")
