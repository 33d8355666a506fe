"""Answers to exercise 7.9: `prune`."""

import math

import numpy as np
import torch

from tests.mutants import equivalent, mutant, variant


def _largest(size, needed):
    order = size.argsort(descending=True)
    kept, total = torch.zeros(len(size), dtype=torch.bool), 0.0
    for place in order.tolist():
        if total >= needed - 1e-7:
            break
        kept[place] = True
        total += size[place].item()
    return kept


@mutant("7.9", says="only positive edges")
def positive_only(effects, share):
    return _largest(effects.relu(), share * effects.relu().sum().item())


@mutant("7.9", says="*net* sum")
def of_the_net_sum(effects, share):
    return _largest(effects.abs(), share * abs(effects.sum().item()))


@mutant("7.9", says="signed effect")
def signed_order(effects, share):
    order = effects.argsort(descending=True)
    count = int((effects[order].abs().cumsum(0) < share * effects.abs().sum()).sum()) + 1
    return torch.zeros_like(effects).index_fill(0, order[:count], 1).bool()


@mutant("7.9", says="left out")
def one_too_few(effects, share):
    order = effects.abs().argsort(descending=True)
    carried = effects.abs()[order].cumsum(0)
    count = int((carried < share * carried[-1]).sum())
    return torch.zeros_like(effects).index_fill(0, order[:count], 1).bool()


@mutant("7.9", says="*number* of edges")
def by_number(effects, share):
    count = max(1, round(share * len(effects)))
    return torch.zeros_like(effects).index_fill(0, effects.abs().topk(count).indices, 1).bool()


@mutant("7.9", says="truth values")
def places(effects, share):
    return largest_first(effects, share).nonzero().flatten()


@mutant("7.9", says="one edge more")
def one_too_many_when_exact(effects, share):
    order = effects.abs().argsort(descending=True)
    carried = effects.abs()[order].cumsum(0)
    count = int((carried <= share * carried[-1]).sum()) + 1
    return torch.zeros_like(effects).index_fill(0, order[:count], 1).bool()


@variant("7.9")
def largest_first(effects, share):
    return _largest(effects.abs(), share * effects.abs().sum().item())


@variant("7.9")
def smallest_go(effects, share):
    size, order = effects.abs().sort()
    gone = size.cumsum(0) <= (1 - share) * size.sum() + 1e-6
    return torch.ones_like(effects, dtype=torch.bool).index_fill(0, order[gone], False)


def _scatter(effects, places):
    kept = torch.zeros_like(effects, dtype=torch.bool)
    kept[places] = True
    return kept


@mutant("7.9", says="only positive edges are kept")
def positive_only_again(effects, share):
    order = effects.argsort(descending=True)
    carried = effects.clamp_min(0)[order].cumsum(0)
    return _scatter(effects, order[: int((carried < share * carried[-1]).sum()) + 1])


@mutant("7.9", says="the share is one of the *net* sum, in which edges of")
def share_of_net_sum(effects, share):
    order = effects.abs().argsort(descending=True)
    carried = effects.abs()[order].cumsum(0)
    return _scatter(effects, order[: int((carried < share * effects.sum().abs()).sum()) + 1])


@mutant("7.9", says="the share of the *net* sum is reached by signed sums,")
def signed_sums(effects, share):
    order = effects.abs().argsort(descending=True)
    carried = effects[order].cumsum(0)
    return _scatter(effects, order[: int((carried < share * carried[-1]).sum()) + 1])


@mutant("7.9", says="the edges are sorted by their signed effect, not by its")
def sorted_with_sign(effects, share):
    order = effects.argsort(descending=True)
    carried = effects.abs()[order].cumsum(0)
    return _scatter(effects, order[: int((carried < share * carried[-1]).sum()) + 1])


@mutant("7.9", says="the edge that reaches the share is left out")
def one_too_few_again(effects, share):
    order = effects.abs().argsort(descending=True)
    carried = effects.abs()[order].cumsum(0)
    return _scatter(effects, order[: int((carried < share * carried[-1]).sum())])


@mutant("7.9", says="one edge too many is kept")
def one_too_many(effects, share):
    order = effects.abs().argsort(descending=True)
    carried = effects.abs()[order].cumsum(0)
    return _scatter(effects, order[: int((carried < share * carried[-1]).sum()) + 2])


@mutant("7.9", says="one edge more is kept where the share is reached exactly")
def past_an_exact_share(effects, share):
    order = effects.abs().argsort(descending=True)
    carried = effects.abs()[order].cumsum(0)
    return _scatter(effects, order[: int((carried <= share * carried[-1]).sum()) + 1])


@mutant("7.9", says="the edge that reaches the share is left out")
def as_many_as_fit(effects, share):
    order = effects.abs().argsort(descending=True)
    carried = effects.abs()[order].cumsum(0)
    return _scatter(effects, order[: int((carried <= share * carried[-1]).sum())])


@mutant("7.9", says="the smallest edges come first")
def smallest_first(effects, share):
    order = effects.abs().argsort()
    carried = effects.abs()[order].cumsum(0)
    return _scatter(effects, order[: int((carried < share * carried[-1]).sum()) + 1])


@mutant("7.9", says="squares are added up, not sizes")
def share_of_squares(effects, share):
    order = effects.abs().argsort(descending=True)
    carried = effects.pow(2)[order].cumsum(0)
    return _scatter(effects, order[: int((carried < share * carried[-1]).sum()) + 1])


@mutant("7.9", says="the share is one of the *number* of edges, rounded up")
def share_of_the_count(effects, share):
    n = math.ceil(share * len(effects))
    return _scatter(effects, effects.abs().topk(n).indices)


@mutant("7.9", says="every edge is kept that is larger than 1 - share of the")
def share_of_the_largest(effects, share):
    return effects.abs() >= (1 - share) * effects.abs().max()


@mutant("7.9", says="the mask is that of the *sorted* edges: it has to be put")
def in_sorted_order(effects, share):
    carried = effects.abs().sort(descending=True).values.cumsum(0)
    kept = torch.zeros_like(effects, dtype=torch.bool)
    kept[: int((carried < share * carried[-1]).sum()) + 1] = True
    return kept


@mutant("7.9", says="Your result holds torch.int64 values; expected truth")
def indices_returned(effects, share):
    order = effects.abs().argsort(descending=True)
    carried = effects.abs()[order].cumsum(0)
    return order[: int((carried < share * carried[-1]).sum()) + 1]


@mutant("7.9", says="Your result holds torch.float32 values; expected truth")
def effects_returned(effects, share):
    order = effects.abs().argsort(descending=True)
    carried = effects.abs()[order].cumsum(0)
    return torch.where(_scatter(effects, order[: int((carried < share * carried[-1]).sum()) + 1]), effects, 0)


@mutant("7.9", says="the smallest edges are kept")
def what_is_pruned(effects, share):
    order = effects.abs().argsort(descending=True)
    carried = effects.abs()[order].cumsum(0)
    return ~_scatter(effects, order[: int((carried < share * carried[-1]).sum()) + 1])


@mutant("7.9", says="Of edges of the same size your function keeps 3 where 2")
def equals_kept_too(effects, share):
    sizes = effects.abs().sort(descending=True).values
    carried = sizes.cumsum(0)
    return effects.abs() >= sizes[int((carried < share * carried[-1]).sum())]


@mutant("7.9", says="edges that carry nothing are kept with a share of 1: the")
def everything_for_one(effects, share):
    if share == 1:
        return torch.ones_like(effects, dtype=torch.bool)
    order = effects.abs().argsort(descending=True)
    carried = effects.abs()[order].cumsum(0)
    return _scatter(effects, order[: int((carried < share * carried[-1]).sum()) + 1])


@mutant("7.9", says="the share that is left out is kept")
def one_minus_share(effects, share):
    order = effects.abs().argsort(descending=True)
    carried = effects.abs()[order].cumsum(0)
    return _scatter(effects, order[: int((carried < (1 - share) * carried[-1]).sum()) + 1])


@mutant("7.9", says="only edges are kept that carry the share alone")
def each_alone(effects, share):
    return effects.abs() >= share * effects.abs().sum()


@mutant("7.9", says="the share is always 0.8")
def eighty_percent(effects, share):
    order = effects.abs().argsort(descending=True)
    carried = effects.abs()[order].cumsum(0)
    return _scatter(effects, order[: int((carried < 0.8 * carried[-1]).sum()) + 1])


@mutant("7.9", says="edges are taken in the order in which they stand, not the")
def not_sorted(effects, share):
    carried = effects.abs().cumsum(0)
    return torch.arange(len(effects)) <= int((carried < share * carried[-1]).sum())


@mutant("7.9", says="Your function changes `effects` itself (in place).")
def changes_effects(effects, share):
    effects.abs_()
    order = effects.argsort(descending=True)
    carried = effects[order].cumsum(0)
    return _scatter(effects, order[: int((carried < share * carried[-1]).sum()) + 1])


@mutant("7.9", says="positive and negative edges are pruned apart")
def each_sign_apart(effects, share):
    kept = torch.zeros_like(effects, dtype=torch.bool)
    for sign in (1, -1):
        part = (sign * effects).clamp_min(0)
        if part.any():
            order = part.argsort(descending=True)
            carried = part[order].cumsum(0)
            kept[order[: int((carried < share * carried[-1]).sum()) + 1]] = True
    return kept


@mutant("7.9", says="not the fewest edges")
def ten_at_most(effects, share):
    order = effects.abs().argsort(descending=True)
    carried = effects.abs()[order].cumsum(0)
    return _scatter(effects, order[: min(10, int((carried < share * carried[-1]).sum()) + 1)])


@mutant("7.9", says="With a share of 1 all edges are needed, and no sum is")
def crashes_at_one(effects, share):
    order = effects.abs().argsort(descending=True)
    carried = effects.abs()[order].cumsum(0)
    reached = int((carried > share * carried[-1]).nonzero()[0])
    return _scatter(effects, order[: reached + 1])


@mutant("7.9", says="a softmax is taken of the sizes")
def by_softmax(effects, share):
    p = effects.abs().softmax(0)
    order = p.argsort(descending=True)
    return _scatter(effects, order[: int((p[order].cumsum(0) < share).sum()) + 1])


@variant("7.9")
def one_after_the_other(effects, share):
    sizes = effects.abs().tolist()
    kept, carried = torch.zeros(len(sizes), dtype=torch.bool), 0.0
    wanted = share * effects.abs().sum().item() * (1 - 1e-6)
    for place in sorted(range(len(sizes)), key=lambda place: -sizes[place]):
        if carried >= wanted:
            break
        kept[place] = True
        carried += sizes[place]
    return kept


@variant("7.9")
def searched(effects, share):
    sizes, order = effects.abs().sort(descending=True)
    carried = sizes.cumsum(0)
    n = int(torch.searchsorted(carried, share * carried[-1]))
    return _scatter(effects, order[: n + 1])


@variant("7.9")
def numpy_ranks(effects, share):
    sizes = np.abs(effects.numpy())
    order = np.argsort(-sizes, kind="stable")
    carried = np.cumsum(sizes[order])
    kept = np.zeros(len(sizes), dtype=bool)
    kept[order] = np.concatenate([[0], carried[:-1]]) < share * carried[-1]
    return torch.from_numpy(kept)


@variant("7.9")
def topk_of_as_many(effects, share):
    sizes = effects.abs().sort(descending=True).values
    n = 1
    while sizes[:n].sum() < share * sizes.sum() and n < len(sizes):
        n += 1
    return _scatter(effects, effects.abs().topk(n).indices)


equivalent("7.9", "there is one axis.", "dim=0: 0 -> -1")


@mutant("7.9", says="the sums are compared with the share of the *largest* edge")
def share_of_the_largest_edge(effects, share):
    order = effects.abs().argsort(descending=True)
    carried = effects.abs()[order].cumsum(0)
    return _scatter(effects, order[: int((carried < share * effects.abs().max()).sum()) + 1])
