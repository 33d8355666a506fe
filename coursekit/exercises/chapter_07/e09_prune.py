"""Exercise 7.9: `prune`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake
from coursekit.checking.door import Handle
from coursekit.checking.evidence import Outcome, explanations
from coursekit.checking.phrases import explained


@exercise(
    id="7.9",
    reference="circuits.prune",
    difficulty=2,
    importance=3,
    minutes=10,
    points=2,
)
def prune(check: Check) -> None:
    outcomes = []
    for edges, share in ((13, 0.8), (29, 0.5), (7, 0.9), (23, 0.3), (17, 0.95), (11, 0.65), (41, 0.9)):
        # Of some draws the one in which most known mistakes show.
        drawn = [check.normal(edges) * check.uniform(edges, low=0.2, high=2.5) for _ in range(6)]
        effects = min(drawn, key=lambda effects, share=share: _hidden(effects, share))  # type: ignore[misc]
        right, wrong = _kept(effects, share), _wrong(effects, share)
        found = _as_mask(check.call(effects, share), right)
        outcomes.append(
            Outcome(found.float(), right.float(), {p: value.float() for p, value in wrong.items()})
        )
    _judge(outcomes)
    check.holds(True, "the fewest edges that carry the share, of either sign", "")
    effects = check.normal(7)
    with explained(
        {
            "IndexError": "With a share of 1 all edges are needed, and no sum is *above* it: ask where it is reached."
        }
    ):
        found = check.call(effects, 1.0)
    _compare(check, found, effects != 0, {}, "all edges where all is asked for")
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
    nothing = torch.tensor([2.0, 0.0, -1.0, 0.0])
    _compare(
        check,
        check.call(nothing, 1.0),
        nothing != 0,
        {"edges that carry nothing are kept with a share of 1: the others are fewer": nothing < torch.inf},
        "no edge that carries nothing",
    )
    _check_equal_ones(check)
    check.leaves_inputs(check.normal(9), 0.7)


def _hidden(effects: Tensor, share: float) -> int:
    """How many known mistakes make no difference."""
    right = _kept(effects, share)
    return sum(torch.equal(right, value) for value in _wrong(effects, share).values())


def _judge(outcomes: list[Outcome]) -> None:
    wrong = next((outcome for outcome in outcomes if not outcome.right), None)
    if wrong is None:
        return
    details = [f"expected {int(wrong.expected.sum())} edges, got {int(wrong.found.sum())}"]
    fitting = explanations(outcomes)
    if fitting:
        raise Mistake(f"Your result is what comes out when {', or when '.join(fitting[:2])}.", details)
    raise Mistake(
        "These are not the fewest edges that carry the share of the total absolute effect.", details
    )


def _check_equal_ones(check: Check) -> None:
    """Two of three edges of one size are enough, whichever they are."""
    effects = torch.tensor([2.0, 1.0, -2.0, 2.0])
    found = _as_mask(check.call(effects, 0.5), effects > 0)
    check.holds(
        int(found.sum()) == 2 and not bool(found[1]),
        "of edges of one size no more than are needed",
        f"Of edges of the same size your function keeps {int(found.sum())} where 2 carry the share. A threshold takes "
        "all of them; count how many are needed instead.",
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
        "the share of the *net* sum is reached by signed sums, which go up and down": _signed_sums(effects, share),
        "one edge too many is kept": _first(size, int(right.sum()) + 1),
        "one edge too few is kept": _first(size, int(right.sum()) - 1),
        "the smallest edges come first": _largest_of(-size, size, share * total),
        "edges are taken in the order in which they stand, not the largest first": _in_order(size, share * total),
        "the mask is that of the *sorted* edges: it has to be put back in their order": (
            torch.arange(len(size)) < int(right.sum())
        ),
        "the sums are compared with the share of the *largest* edge, which it reaches alone": _largest(
            size, share * float(size.max())
        ),
        "only edges are kept that carry the share alone": size >= share * total,
        "every edge is kept that is larger than 1 - share of the largest one": size >= (1 - share) * size.max(),
        "positive and negative edges are pruned apart": _largest(effects.relu(), share * float(effects.relu().sum()))
        & (effects > 0)
        | _largest((-effects).relu(), share * float((-effects).relu().sum())) & (effects < 0),
        "a softmax is taken of the sizes": _largest(size.softmax(0), share),
        "the share is one of the *number* of edges, rounded up": _first(size, math.ceil(share * len(size))),
        "the share is one of the *number* of edges, rounded down": _first(size, int(share * len(size))),
        "the share is always 0.8": _largest(size, 0.8 * total),
        "the share that is left out is kept": _largest(size, (1 - share) * total),
        "all edges are kept": torch.ones_like(right),
    }  # fmt: skip


def _first(size: Tensor, count: int) -> Tensor:
    return torch.zeros_like(size, dtype=torch.bool).index_fill(
        0, size.topk(min(count, len(size))).indices, True
    )


def _largest_of(rank: Tensor, size: Tensor, needed: float) -> Tensor:
    """The first by another rank that reach a sum of sizes."""
    order = rank.argsort(descending=True)
    count = int((size[order].cumsum(0) < needed - 1e-6).sum()) + 1
    return torch.zeros_like(size, dtype=torch.bool).index_fill(0, order[:count], True)


def _in_order(size: Tensor, needed: float) -> Tensor:
    return _largest_of(-torch.arange(len(size)).float(), size, needed)


def _signed_sums(effects: Tensor, share: float) -> Tensor:
    carried = effects[effects.abs().argsort(descending=True)].cumsum(0)
    return _first(effects.abs(), int((carried < share * carried[-1]).sum()) + 1)


def _signed(effects: Tensor, needed: float) -> Tensor:
    order = effects.argsort(descending=True)
    count = int((effects.abs()[order].cumsum(0) < needed).sum()) + 1
    return torch.zeros_like(effects, dtype=torch.bool).index_fill(0, order[:count], True)


def _as_mask(found: object, right: Tensor) -> Tensor:
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
    return found


def _compare(check: Check, found: object, right: Tensor, wrong: dict[str, Tensor], claim: str) -> None:
    _judge(
        [
            Outcome(
                _as_mask(found, right).float(),
                right.float(),
                {p: value.float() for p, value in wrong.items()},
            )
        ]
    )
    check.holds(True, claim, "")
