"""Answers to exercise 7.9: `prune`."""

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


equivalent("7.9", "there is one axis.", "dim=0: 0 -> -1")
