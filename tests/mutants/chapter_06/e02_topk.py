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


def _mask(pre_acts, k):
    return torch.zeros_like(pre_acts).scatter(-1, pre_acts.topk(k, dim=-1).indices, 1.0)


@mutant("6.2", says="the instances of an input share k * n_instances latents")
def instances_share_a_budget(pre_acts, k):
    flat = pre_acts.flatten(1)
    values, places = flat.topk(k * pre_acts.shape[1], dim=-1)
    return torch.zeros_like(flat).scatter(-1, places, values.relu()).view_as(pre_acts)


@mutant("6.2", says="the largest by *absolute value* are taken, and negative")
def absolute_value_with_sign(pre_acts, k):
    places = pre_acts.abs().topk(k, dim=-1).indices
    return torch.zeros_like(pre_acts).scatter(-1, places, pre_acts.gather(-1, places))


@mutant("6.2", says="the absolute value of the k largest is returned instead")
def absolute_values_returned(pre_acts, k):
    values, places = pre_acts.topk(k, dim=-1)
    return torch.zeros_like(pre_acts).scatter(-1, places, values.abs())


@mutant("6.2", says="one latent too few fires")
def all_above_the_kth(pre_acts, k):
    kth = pre_acts.topk(k, dim=-1).values[..., -1:]
    return torch.where(pre_acts > kth, pre_acts, 0).relu()


@mutant("6.2", says="all that reach the k-th *smallest* are kept (`kthvalue`")
def kthvalue_from_below(pre_acts, k):
    kth = pre_acts.kthvalue(k, dim=-1, keepdim=True).values
    return torch.where(pre_acts >= kth, pre_acts, 0).relu()


@mutant("6.2", says="the k *smallest* of the positive ones are taken")
def k_smallest_positive_first(pre_acts, k):
    places = torch.where(pre_acts > 0, pre_acts, torch.inf).topk(k, dim=-1, largest=False).indices
    return torch.zeros_like(pre_acts).scatter(-1, places, pre_acts.gather(-1, places).relu())


@mutant("6.2", says="the latents that the first input chooses are used for")
def places_of_the_first_input(pre_acts, k):
    places = pre_acts[:1].topk(k, dim=-1).indices.expand(len(pre_acts), -1, -1)
    return torch.zeros_like(pre_acts).scatter(-1, places, pre_acts.gather(-1, places).relu())


@mutant("6.2", says="the k largest along the batch are taken, not along the")
def over_the_batch_axis(pre_acts, k):
    values, places = pre_acts.topk(min(k, len(pre_acts)), dim=0)
    return torch.zeros_like(pre_acts).scatter(0, places, values.relu())


@mutant("6.2", says="the k largest along the instances are taken, not along")
def over_the_instances(pre_acts, k):
    values, places = pre_acts.topk(min(k, pre_acts.shape[1]), dim=1)
    return torch.zeros_like(pre_acts).scatter(1, places, values.relu())


@mutant("6.2", says="1 is returned for a latent that fires, not its")
def mask_returned(pre_acts, k):
    return _mask(pre_acts, k) * (pre_acts > 0)


@mutant("6.2", says="the k largest values stand in the first k places, not in")
def values_at_the_front(pre_acts, k):
    out = torch.zeros_like(pre_acts)
    out[..., :k] = pre_acts.topk(k, dim=-1).values.relu()
    return out


@mutant("6.2", says="`argsort` is taken for the ranks: it holds places, in the")
def argsort_taken_for_ranks(pre_acts, k):
    ranks = pre_acts.argsort(dim=-1, descending=True)
    return torch.where(ranks < k, pre_acts, 0).relu()


@mutant("6.2", says="every positive pre-activation gets a gradient, also those")
def gradient_to_all_positive(pre_acts, k):
    positive = pre_acts.relu()
    return positive + (positive * _mask(pre_acts, k) - positive).detach()


@mutant("6.2", says="negative ones among the k largest get a gradient")
def gradient_to_negative_winners(pre_acts, k):
    values, places = pre_acts.topk(k, dim=-1)
    values = values + (values.relu() - values).detach()
    return torch.zeros_like(pre_acts).scatter(-1, places, values)


@mutant("6.2", says="The values are right, but the gradient with respect to")
def gradient_doubled(pre_acts, k):
    out = pre_acts.relu() * _mask(pre_acts, k)
    return 2 * out - out.detach()


@mutant("6.2", says="one latent too many fires")
def one_too_many(pre_acts, k):
    values, places = pre_acts.topk(min(k + 1, pre_acts.shape[-1]), dim=-1)
    return torch.zeros_like(pre_acts).scatter(-1, places, values.relu())


@mutant("6.2", says="3 latents fire, whatever k is")
def three_whatever_k(pre_acts, k):
    values, places = pre_acts.topk(3, dim=-1)
    return torch.zeros_like(pre_acts).scatter(-1, places, values.relu())


@mutant("6.2", says="the largest fires with its absolute value where none is")
def at_least_one(pre_acts, k):
    values, places = pre_acts.topk(k, dim=-1)
    values = torch.cat([values[..., :1].abs(), values[..., 1:].relu()], dim=-1)
    return torch.zeros_like(pre_acts).scatter(-1, places, values)


@mutant("6.2", says="a softmax is taken of the k largest")
def softmax_of_the_largest(pre_acts, k):
    values, places = pre_acts.topk(k, dim=-1)
    return torch.zeros_like(pre_acts).scatter(-1, places, values.softmax(-1))


@mutant("6.2", says="the last of `batch` is left out of `pre_acts`")
def ten_inputs(pre_acts, k):
    out = torch.zeros_like(pre_acts)
    for b in range(min(10, len(pre_acts))):
        for i in range(pre_acts.shape[1]):
            values, places = pre_acts[b, i].topk(k)
            out[b, i, places] = values.relu()
    return out


@mutant("6.2", says="only the first 2 of `n_instances` are looked at")
def two_instances(pre_acts, k):
    out = torch.zeros_like(pre_acts)
    for i in range(min(2, pre_acts.shape[1])):
        values, places = pre_acts[:, i].topk(k, dim=-1)
        out[:, i] = torch.zeros_like(pre_acts[:, i]).scatter(-1, places, values.relu())
    return out


@mutant("6.2", says="an axis of size 1 is lost (`squeeze` removes all of")
def squeezed(pre_acts, k):
    values, places = pre_acts.topk(k, dim=-1)
    return torch.zeros_like(pre_acts).scatter(-1, places, values.relu()).squeeze()


@mutant("6.2", says="something is kept from an earlier call with the same sizes")
def mask_of_the_call_before(pre_acts, k):
    sizes, before = mask_of_the_call_before.__dict__.get("last", (None, None))
    chosen = before if sizes == (pre_acts.shape, k) else _mask(pre_acts, k).detach()
    mask_of_the_call_before.last = ((pre_acts.shape, k), chosen)
    return pre_acts.relu() * chosen


@mutant("6.2", says="all that are above the mean are kept: k is not used")
def above_the_mean(pre_acts, k):
    return torch.where(pre_acts > pre_acts.mean(-1, keepdim=True), pre_acts, 0).relu()


@variant("6.2")
def mask_by_double_argsort(pre_acts, k):
    ranks = pre_acts.argsort(dim=-1, descending=True).argsort(dim=-1)
    return pre_acts.clamp(min=0) * (ranks < k)


@variant("6.2")
def loops_in_python(pre_acts, k):
    rows = []
    for row in pre_acts.reshape(-1, pre_acts.shape[-1]):
        order = sorted(range(len(row)), key=lambda j: float(row[j]), reverse=True)[:k]
        rows.append(torch.stack([row[j].relu() if j in order else row[j] * 0 for j in range(len(row))]))
    return torch.stack(rows).reshape(pre_acts.shape)


@variant("6.2")
def relu_before(pre_acts, k):
    values, places = torch.relu(pre_acts).sort(dim=-1, descending=True, stable=True)
    return torch.zeros_like(pre_acts).scatter_(-1, places[..., :k], values[..., :k])


@variant("6.2")
def kth_with_ties_by_place(pre_acts, k):
    kth = pre_acts.kthvalue(pre_acts.shape[-1] - k + 1, dim=-1, keepdim=True).values
    above, equal = pre_acts > kth, pre_acts == kth
    room = k - above.sum(-1, keepdim=True)
    kept = above | (equal & (equal.cumsum(-1) <= room))
    return torch.where(kept & (pre_acts > 0), pre_acts, 0)


@variant("6.2")
def vmapped(pre_acts, k):
    def one(row):
        return row.relu() * torch.zeros_like(row).scatter(0, row.topk(k).indices, 1.0)

    return torch.func.vmap(torch.func.vmap(one))(pre_acts)


@variant("6.2")
def one_hot_in_double(pre_acts, k):
    places = pre_acts.double().topk(k, dim=-1).indices
    kept = torch.nn.functional.one_hot(places, pre_acts.shape[-1]).sum(-2)
    return (pre_acts.double().relu() * kept).to(pre_acts.dtype)


@variant("6.2")
def assigned_in_place(pre_acts, k):
    out = pre_acts.clone()
    losers = torch.ones_like(pre_acts, dtype=torch.bool).scatter(-1, pre_acts.topk(k, dim=-1).indices, False)
    out[losers | (out <= 0)] = 0
    return out


equivalent(
    "6.2",
    "the last axis is the default.",
    "pre_acts.topk(dim=-1) -> pre_acts.topk()",
)


@mutant("6.2", says="changes `pre_acts` itself")
def silenced_in_place(pre_acts, k):
    places = pre_acts.topk(k, dim=-1).indices
    off = torch.ones_like(pre_acts, dtype=torch.bool).scatter(-1, places, False)
    pre_acts.data[off] = 0
    return pre_acts.relu()


@mutant("6.2", says="the first k positive ones are taken, not the largest")
def first_positive_ones(pre_acts, k):
    fires = pre_acts > 0
    return torch.where(fires & (fires.cumsum(dim=-1) <= k), pre_acts, 0)


@mutant("6.2", says="the largest one that does *not* fire is subtracted")
def above_the_next_one(pre_acts, k):
    values, places = pre_acts.topk(min(k + 1, pre_acts.shape[-1]), dim=-1)
    above = (values[..., :k] - values[..., -1:].clamp_min(0)).relu()
    return torch.zeros_like(pre_acts).scatter(-1, places[..., :k], above)
