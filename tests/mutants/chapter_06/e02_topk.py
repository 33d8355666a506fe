"""Answers to exercise 6.2: `topk`."""

import torch

from tests.mutants import equivalent, mutant, variant


def _keep(pre_acts, chosen):
    return torch.where(chosen, pre_acts, 0)


@mutant("6.2", says="negative pre-activations")
def negative_ones_kept(pre_acts, k):
    values, places = pre_acts.topk(k, dim=-1)
    return torch.zeros_like(pre_acts).scatter(-1, places, values)


@mutant("6.2", says="absolute value")
def largest_absolute(pre_acts, k):
    places = pre_acts.abs().topk(k, dim=-1).indices
    return torch.zeros_like(pre_acts).scatter(-1, places, pre_acts.gather(-1, places).relu())


@mutant("6.2", says="whole batch")
def of_the_batch(pre_acts, k):
    flat = pre_acts.transpose(0, 1).flatten(1)
    values, places = flat.topk(k * len(pre_acts), dim=-1)
    acts = torch.zeros_like(flat).scatter(-1, places, values.relu())
    return acts.view(pre_acts.shape[1], len(pre_acts), -1).transpose(0, 1)


@mutant("6.2", says="more than k latents fire where pre-activations are equal")
def threshold(pre_acts, k):
    return torch.where(pre_acts >= pre_acts.topk(k, dim=-1).values[..., -1:], pre_acts, 0).relu()


@mutant("6.2", says="instance 0 chooses")
def first_instance_for_all(pre_acts, k):
    places = pre_acts[:, :1].topk(k, dim=-1).indices.expand(-1, pre_acts.shape[1], -1)
    return torch.zeros_like(pre_acts).scatter(-1, places, pre_acts.gather(-1, places).relu())


@mutant("6.2", says="gradient")
def gradient_to_all(pre_acts, k):
    acts = scattered(pre_acts, k)
    return pre_acts + (acts - pre_acts).detach()


@mutant("6.2", says="cut off")
def detached(pre_acts, k):
    return scattered(pre_acts, k).detach()


@mutant("6.2", says="smallest")
def smallest(pre_acts, k):
    places = pre_acts.topk(k, dim=-1, largest=False).indices
    return torch.zeros_like(pre_acts).scatter(-1, places, pre_acts.gather(-1, places).relu())


@mutant("6.2", says="k is not used")
def just_relu(pre_acts, k):
    return pre_acts.relu()


@mutant("6.2", says="only the k largest values")
def values_only(pre_acts, k):
    return pre_acts.topk(k, dim=-1).values.relu()


@mutant("6.2", says="share its k latents")
def instances_share(pre_acts, k):
    flat = pre_acts.flatten(1)
    places = flat.topk(k, dim=-1).indices
    return torch.zeros_like(flat).scatter(-1, places, flat.gather(-1, places).relu()).view_as(pre_acts)


@mutant("6.2", says="subtracted")
def soft(pre_acts, k):
    return (pre_acts - pre_acts.topk(k, dim=-1).values[..., -1:]).relu()


@variant("6.2")
def scattered(pre_acts, k):
    places = pre_acts.topk(k, dim=-1).indices
    return pre_acts.relu() * torch.zeros_like(pre_acts).scatter(-1, places, 1.0)


@variant("6.2")
def by_rank(pre_acts, k):
    rank = pre_acts.argsort(dim=-1, descending=True).argsort(dim=-1)
    return _keep(pre_acts.clamp_min(0), rank < k)


@variant("6.2")
def row_by_row(pre_acts, k):
    acts = torch.zeros_like(pre_acts)
    for b in range(pre_acts.shape[0]):
        for i in range(pre_acts.shape[1]):
            for place in pre_acts[b, i].argsort(descending=True)[:k]:
                acts[b, i, place] = pre_acts[b, i, place].relu()
    return acts


@variant("6.2")
def kth_value_with_ties(pre_acts, k):
    kth = pre_acts.kthvalue(pre_acts.shape[-1] - k + 1, dim=-1, keepdim=True).values
    above, equal = pre_acts > kth, pre_acts == kth
    room = k - above.sum(-1, keepdim=True)
    return _keep(pre_acts, above | (equal & (equal.cumsum(-1) <= room))).relu()


equivalent(
    "6.2",
    "the last axis is the default.",
    "pre_acts.topk(dim=-1) -> pre_acts.topk()",
)
