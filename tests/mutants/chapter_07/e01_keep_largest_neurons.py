"""Answers to exercise 7.1: `keep_largest_neurons`."""

import torch

from tests.mutants import equivalent, mutant, variant


def _keep(h, mean, rank, k, rest=None):
    mask = torch.zeros_like(h).scatter(-1, rank.topk(k, dim=-1).indices, 1.0).bool()
    return torch.where(mask, h, mean if rest is None else rest)


@mutant("7.1", says="largest *values*")
def by_value(h, mean, k):
    return _keep(h, mean, h, k)


@mutant("7.1", says="farthest from *zero*")
def by_size(h, mean, k):
    return _keep(h, mean, h.abs(), k)


@mutant("7.1", says="set to zero")
def zero_for_mean(h, mean, k):
    return _keep(h, mean, (h - mean).abs(), k, torch.zeros_like(h))


@mutant("7.1", says="whole batch")
def of_the_batch(h, mean, k):
    rank = (h - mean).abs()
    cut = rank.flatten().topk(k * len(h)).values[-1]
    return torch.where(rank >= cut, h, mean)


@mutant("7.1", says="changes `h` itself")
def in_place(h, mean, k):
    rank = (h - mean).abs()
    mask = torch.ones_like(h).scatter(-1, rank.topk(k, dim=-1).indices, 0.0).bool()
    h[mask] = mean.expand_as(h)[mask]
    return h


@mutant("7.1", says="*above* their mean")
def one_sided(h, mean, k):
    return _keep(h, mean, h - mean, k)


@mutant("7.1", says="batch's own mean")
def own_mean(h, mean, k):
    return _keep(h, mean, (h - mean).abs(), k, h.mean(dim=0))


@mutant("7.1", says="differences from their mean")
def differences(h, mean, k):
    away = h - mean
    return _keep(away, mean, away.abs(), k, torch.zeros_like(h))


@mutant("7.1", says="farthest on average")
def same_for_all(h, mean, k):
    return _keep(h, mean, (h - mean).abs().mean(dim=0).expand_as(h), k)


@variant("7.1")
def sorted_ranks(h, mean, k):
    rank = (h - mean).abs().argsort(dim=-1, descending=True).argsort(dim=-1)
    return torch.where(rank < k, h, mean)


@variant("7.1")
def row_by_row(h, mean, k):
    result = mean.repeat(len(h), 1)
    for row in range(len(h)):
        for neuron in (h[row] - mean).abs().topk(k).indices:
            result[row, neuron] = h[row, neuron]
    return result


@variant("7.1")
def by_squares(h, mean, k):
    return _keep(h, mean, (mean - h).square(), k)


equivalent(
    "7.1",
    "the last axis is the second of two, and the one that `topk` takes by itself.",
    "away.abs().topk(dim=-1) -> away.abs().topk()",
    "dim=-1: -1 -> 1",
    "torch.zeros_like(h).scatter(-1, farthest, away.gather(-1, farthest)): -1 -> 1",
    "away.gather(-1, farthest): -1 -> 1",
)
