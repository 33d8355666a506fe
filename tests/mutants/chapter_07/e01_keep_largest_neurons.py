"""Answers to exercise 7.1: `keep_largest_neurons`."""

import numpy as np
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


def _bkeep(h, mean, mask):
    return torch.where(mask, h, mean)


def _mask(away, k, dim=-1, largest=True):
    return torch.zeros_like(away, dtype=torch.bool).scatter(dim, away.topk(k, dim, largest).indices, True)


@mutant("7.1", says="the neurons with the largest *values* are kept, not those")
def the_highest(h, mean, k):
    return _bkeep(h, mean, _mask(h, k))


@mutant("7.1", says="the neurons farthest from *zero* are kept, not those")
def far_from_zero(h, mean, k):
    return _bkeep(h, mean, _mask(h.abs(), k))


@mutant("7.1", says="only neurons *above* their mean count as far; below it is")
def above_only(h, mean, k):
    return _bkeep(h, mean, _mask(h - mean, k))


@mutant("7.1", says="only neurons *below* their mean count as far; above it is")
def below_only(h, mean, k):
    return _bkeep(h, mean, _mask(mean - h, k))


@mutant("7.1", says="the other neurons are set to zero, not to their mean")
def others_at_zero(h, mean, k):
    return h * _mask((h - mean).abs(), k)


@mutant("7.1", says="the batch's own mean takes the place of `mean`, for the")
def mean_of_the_batch(h, mean, k):
    own = h.flatten(0, -2).mean(0)
    return _bkeep(h, own, _mask((h - own).abs(), k))


@mutant("7.1", says="distances are those from the token's mean over its neurons")
def far_from_the_rows_mean(h, mean, k):
    return _bkeep(h, mean, _mask((h - h.mean(-1, keepdim=True)).abs(), k))


@mutant("7.1", says="the k * batch farthest of the whole batch are kept, not k")
def k_for_the_batch(h, mean, k):
    away = (h - mean).abs()
    smallest = away.flatten().topk(k * (away.numel() // away.shape[-1])).values[-1]
    return _bkeep(h, mean, away >= smallest)


@mutant("7.1", says="the neurons that are farthest on average are kept on")
def the_same_for_all_tokens(h, mean, k):
    far = (h - mean).abs().flatten(0, -2).mean(0).topk(k).indices
    new = mean.expand_as(h).clone()
    new[..., far] = h[..., far]
    return new


@mutant("7.1", says="Your function changes `h` itself (in place). Whoever")
def written_into_h(h, mean, k):
    nearest = (h - mean).abs().argsort(-1)[..., : h.shape[-1] - k]
    return h.scatter_(-1, nearest, mean.expand_as(h).gather(-1, nearest))


@mutant("7.1", says="the neurons *nearest* to their mean are kept")
def nearest_kept(h, mean, k):
    return _bkeep(h, mean, _mask((h - mean).abs(), k, largest=False))


@mutant("7.1", says="it is the k farthest neurons that are put at their mean")
def the_others_kept(h, mean, k):
    return _bkeep(h, mean, ~_mask((h - mean).abs(), k))


@mutant("7.1", says="one neuron too many is kept")
def one_more(h, mean, k):
    return _bkeep(h, mean, _mask((h - mean).abs(), min(k + 1, h.shape[-1])))


@mutant("7.1", says="one neuron too few is kept")
def strictly_farther_than_the_kth(h, mean, k):
    away = (h - mean).abs()
    return _bkeep(h, mean, away > away.topk(k, -1).values[..., -1:])


@mutant("7.1", says="Where neurons are equally far from their mean your")
def all_that_are_as_far(h, mean, k):
    away = (h - mean).abs()
    return _bkeep(h, mean, away >= away.topk(k, -1).values[..., -1:])


@mutant("7.1", says="the kept neurons are returned as differences from their")
def deviations(h, mean, k):
    return (h - mean) * _mask((h - mean).abs(), k)


@mutant("7.1", says="the sign of a kept neuron's distance from its mean is lost")
def sign_lost(h, mean, k):
    away = (h - mean).abs()
    return mean + away * _mask(away, k)


@mutant("7.1", says="the k farthest along the batch are kept, not along the")
def along_the_tokens(h, mean, k):
    away = (h - mean).abs()
    return _bkeep(h, mean, _mask(away, min(k, h.shape[0]), dim=0))


@mutant("7.1", says="distances are relative, divided by the mean")
def relative_distance(h, mean, k):
    return _bkeep(h, mean, _mask(((h - mean) / mean).abs(), k))


@variant("7.1")
def two_axes_only(h, mean, k):
    far = (h - mean).abs().topk(k, -1).indices
    new = mean.repeat(len(h), 1)
    for row in range(len(h)):
        new[row, far[row]] = h[row, far[row]]
    return new


@mutant("7.1", says="only the first tokens are looked at, and all others put")
def ten_tokens(h, mean, k):
    new = mean.expand_as(h).clone()
    for row in range(min(len(h), 10)):
        new[row] = _bkeep(h[row], mean, _mask((h[row] - mean).abs(), k))
    return new


@mutant("7.1", says="an axis of size 1 is lost (`squeeze` removes all of")
def squeezed_rows(h, mean, k):
    return _bkeep(h, mean, _mask((h - mean).abs(), k)).squeeze()


@mutant("7.1", says="the neurons that the first token chooses are kept on")
def neurons_of_row_0(h, mean, k):
    mask = _mask((h - mean).abs(), k)
    return _bkeep(h, mean, mask.flatten(0, -2)[0])


@mutant("7.1", says="Your function changes `mean` itself (in place). Whoever")
def written_into_mean(h, mean, k):
    mask = _mask((h - mean).abs(), k)
    new = _bkeep(h, mean, mask)
    mean += new.flatten(0, -2).mean(0) - mean
    return new


@mutant("7.1", says="nothing is put at its mean")
def k_of_8(h, mean, k):
    return _bkeep(h, mean, _mask((h - mean).abs(), min(8, h.shape[-1])))


@mutant("7.1", says="the first k neurons are kept, wherever they are")
def the_first_k(h, mean, k):
    return torch.cat([h[..., :k], mean[k:].expand(*h.shape[:-1], -1)], -1)


@mutant("7.1", says="only the kept values are returned, without the other")
def values_only(h, mean, k):
    far = (h - mean).abs().topk(k, -1).indices
    return h.gather(-1, far)


@mutant("7.1", says="the mean is added to the kept neurons once more")
def mean_twice(h, mean, k):
    return mean + h * _mask((h - mean).abs(), k)


@variant("7.1")
def ranks(h, mean, k):
    return torch.where((h - mean).abs().argsort(-1, descending=True).argsort(-1) < k, h, mean)


@variant("7.1")
def row_by_row_again(h, mean, k):
    rows = []
    for row in h.reshape(-1, h.shape[-1]):
        far = sorted(range(len(row)), key=lambda i: -abs(float(row[i] - mean[i])))[:k]
        rows.append(torch.stack([row[i] if i in far else mean[i] for i in range(len(row))]))
    return torch.stack(rows).view_as(h)


@variant("7.1")
def nearest_to_the_mean(h, mean, k):
    nearest = (h - mean).square().topk(h.shape[-1] - k, dim=-1, largest=False).indices
    return h.clone().scatter_(-1, nearest, mean.expand_as(h).gather(-1, nearest))


@variant("7.1")
def with_numpy(h, mean, k):
    a, m = h.detach().numpy().copy(), mean.detach().numpy()
    order = np.argsort(-np.abs(a - m), axis=-1, kind="stable")
    np.put_along_axis(
        a, order[..., k:], np.take_along_axis(np.broadcast_to(m, a.shape), order[..., k:], -1), -1
    )
    return torch.from_numpy(a)


equivalent(
    "7.1",
    "the last axis is the second of two, and the one that `topk` takes by itself.",
    "away.abs().topk(dim=-1) -> away.abs().topk()",
    "dim=-1: -1 -> 1",
    "torch.zeros_like(h).scatter(-1, farthest, away.gather(-1, farthest)): -1 -> 1",
    "away.gather(-1, farthest): -1 -> 1",
)


@mutant("7.1", says="sizes are compared, |h| with |mean|")
def sizes_compared(h, mean, k):
    return _bkeep(h, mean, _mask((h.abs() - mean.abs()).abs(), k))


@mutant("7.1", says="the tokens share one row of results")
def one_row_for_all(h, mean, k):
    out = mean.expand_as(h)
    for row, places in enumerate((h - mean).abs().topk(k, dim=-1).indices):
        out[row, places] = h[row, places]
    return out


@mutant("7.1", says="divided by each neuron's standard deviation")
def relative_to_the_spread(h, mean, k):
    return _keep(h, mean, ((h - mean) / (h.std(dim=0) + 1e-6)).abs(), k)
