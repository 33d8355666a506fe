"""Answers to exercise 6.3: `batch_topk`."""

import torch

from tests.mutants import equivalent, mutant, variant


def _chosen(pre_acts, count):
    flat = pre_acts.transpose(0, 1).flatten(1)
    places = flat.topk(count, dim=-1).indices
    acts = torch.zeros_like(flat).scatter(-1, places, flat.gather(-1, places).relu())
    return acts.view(pre_acts.shape[1], len(pre_acts), -1).transpose(0, 1)


@mutant("6.3", says="k latents of *each* input")
def k_of_each_row(pre_acts, k):
    count = max(int(k), 1)
    values, places = pre_acts.topk(count, dim=-1)
    return torch.zeros_like(pre_acts).scatter(-1, places, values.relu())


@mutant("6.3", says="share one budget")
def one_budget_for_all_instances(pre_acts, k):
    count = round(k * len(pre_acts) * pre_acts.shape[1])
    values, places = pre_acts.flatten().topk(count)
    return torch.zeros_like(pre_acts.flatten()).scatter(-1, places, values.relu()).view_as(pre_acts)


@mutant("6.3", says="not multiplied with the size of the batch")
def k_of_the_batch(pre_acts, k):
    return _chosen(pre_acts, max(round(k), 1))


@mutant("6.3", says="negative pre-activations")
def negative_kept(pre_acts, k):
    flat = pre_acts.transpose(0, 1).flatten(1)
    values, places = flat.topk(round(k * len(pre_acts)), dim=-1)
    acts = torch.zeros_like(flat).scatter(-1, places, values)
    return acts.view(pre_acts.shape[1], len(pre_acts), -1).transpose(0, 1)


@mutant("6.3", says="rounded to a whole number")
def whole_k(pre_acts, k):
    return (
        _chosen(pre_acts, max(int(k), 1) * len(pre_acts))
        if k >= 1
        else _chosen(pre_acts, round(k * len(pre_acts)))
    )


@mutant("6.3", says="all positive")
def relu(pre_acts, k):
    return pre_acts.relu()


@mutant("6.3", says="cut off")
def detached(pre_acts, k):
    return _chosen(pre_acts, round(k * len(pre_acts))).detach()


@variant("6.3")
def sorted_with_a_cut(pre_acts, k):
    acts = []
    for each in pre_acts.unbind(1):
        order = each.flatten().argsort(descending=True)[: round(k * len(each))]
        mask = torch.zeros(each.numel(), dtype=torch.bool)
        mask[order] = True
        acts.append(torch.where(mask.view_as(each), each, 0).relu())
    return torch.stack(acts, dim=1)


@mutant("6.3", function="threshold_for_inference", says="one threshold for all instances")
def one_threshold(pre_acts, k):
    return _smallest(pre_acts, k).min().expand(pre_acts.shape[1])


@mutant("6.3", function="threshold_for_inference", says="*largest* latent")
def largest(pre_acts, k):
    return _chosen(pre_acts, round(k * len(pre_acts))).amax((0, 2))


@mutant("6.3", function="threshold_for_inference", says="zeros of the silent")
def zeros_count(pre_acts, k):
    return _chosen(pre_acts, round(k * len(pre_acts))).amin((0, 2))


@mutant("6.3", function="threshold_for_inference", says="infinite")
def infinite_where_nothing_fires(pre_acts, k):
    acts = _chosen(pre_acts, round(k * len(pre_acts)))
    return torch.where(acts > 0, acts, torch.inf).amin((0, 2))


@mutant("6.3", function="threshold_for_inference", says="mean of the latents")
def mean_of_firing(pre_acts, k):
    acts = _chosen(pre_acts, round(k * len(pre_acts)))
    return acts.sum((0, 2)) / (acts > 0).sum((0, 2)).clamp_min(1)


@variant("6.3", function="threshold_for_inference")
def _smallest(pre_acts, k):
    result = torch.zeros(pre_acts.shape[1])
    for i, acts in enumerate(_chosen(pre_acts, round(k * len(pre_acts))).unbind(1)):
        if (acts > 0).any():
            result[i] = acts[acts > 0].min()
    return result


@mutant("6.3", function="above_threshold", says="threshold is subtracted")
def shrunk(pre_acts, threshold):
    return (pre_acts - threshold[:, None]).relu()


@mutant("6.3", function="above_threshold", says="instance 0")
def first_threshold(pre_acts, threshold):
    return torch.where(pre_acts >= threshold[0], pre_acts, 0).relu()


@mutant("6.3", function="above_threshold", says="exactly at the threshold")
def strictly_above(pre_acts, threshold):
    return torch.where(pre_acts > threshold[:, None], pre_acts, 0).relu()


@mutant("6.3", function="above_threshold", says="depends on the other inputs")
def looks_at_the_batch(pre_acts, threshold):
    acts = torch.where(pre_acts >= threshold[:, None], pre_acts, 0).relu()
    return acts if len(pre_acts) > 1 else acts * (acts == acts.amax(-1, keepdim=True))


@mutant("6.3", function="above_threshold", says="1 is returned")
def ones(pre_acts, threshold):
    return ((pre_acts >= threshold[:, None]) & (pre_acts > 0)).float()


@variant("6.3", function="above_threshold")
def multiplied(pre_acts, threshold):
    return pre_acts * ((pre_acts >= threshold[None, :, None]) & (pre_acts > 0))


equivalent(
    "6.3",
    "the last axis is the default, and axis 1 of two.",
    "together.topk(dim=-1) -> together.topk()",
    "dim=-1: -1 -> 1",
    "torch.zeros_like(together).scatter(-1, places, torch.relu(values)): -1 -> 1",
    "threshold.unsqueeze(-1): -1 -> 1",
)
