"""Answers to exercise 6.3: `batch_topk`."""

import math

import einops
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


def _largest(pre_acts, n, relu=True):
    """The n largest of each instance."""
    flat = einops.rearrange(pre_acts, "b i h -> i (b h)")
    values, places = flat.topk(min(n, flat.shape[1]), dim=-1)
    kept = torch.zeros_like(flat).scatter(-1, places, values.relu() if relu else values)
    return einops.rearrange(kept, "i (b h) -> b i h", b=len(pre_acts))


def _batch_topk(pre_acts, k):
    return _largest(pre_acts, round(k * len(pre_acts)))


@mutant("6.3", says="the budget is cut down to a whole number, not rounded")
def budget_rounded_down(pre_acts, k):
    return _largest(pre_acts, int(k * len(pre_acts)))


@mutant("6.3", says="the budget is rounded up to a whole number")
def budget_rounded_up(pre_acts, k):
    return _largest(pre_acts, math.ceil(k * len(pre_acts)))


@mutant("6.3", says="k * n_hidden_ae latents fire instead of k * batch")
def times_the_latents(pre_acts, k):
    return _largest(pre_acts, round(k * pre_acts.shape[-1]))


@mutant("6.3", says="k * batch * n_instances latents fire in every instance")
def times_the_instances(pre_acts, k):
    return _largest(pre_acts, round(k * len(pre_acts) * pre_acts.shape[1]))


@mutant("6.3", says="all instances share the budget of one")
def one_instances_budget_for_all(pre_acts, k):
    flat = pre_acts.flatten()
    values, places = flat.topk(round(k * len(pre_acts)))
    return torch.zeros_like(flat).scatter(0, places, values.relu()).view_as(pre_acts)


@mutant("6.3", says="the places that instance 0 chooses are used for every")
def places_of_instance_0(pre_acts, k):
    kept = _batch_topk(pre_acts[:, :1], k) > 0
    return torch.where(kept, pre_acts, 0).relu()


@mutant("6.3", says="`reshape` or `view` puts latents of several instances")
def reshaped_without_transposing(pre_acts, k):
    flat = pre_acts.reshape(pre_acts.shape[1], -1)
    values, places = flat.topk(round(k * len(pre_acts)), dim=-1)
    return torch.zeros_like(flat).scatter(-1, places, values.relu()).reshape(pre_acts.shape)


@mutant("6.3", says="the flat axis is brought back by `reshape` or `view`")
def reshaped_back_without_transposing(pre_acts, k):
    flat = einops.rearrange(pre_acts, "b i h -> i (b h)")
    values, places = flat.topk(round(k * len(pre_acts)), dim=-1)
    return torch.zeros_like(flat).scatter(-1, places, values.relu()).reshape(pre_acts.shape)


@mutant("6.3", says="put together in one order and taken apart in another")
def taken_apart_in_the_wrong_order(pre_acts, k):
    flat = einops.rearrange(pre_acts, "b i h -> i (b h)")
    values, places = flat.topk(round(k * len(pre_acts)), dim=-1)
    kept = torch.zeros_like(flat).scatter(-1, places, values.relu())
    return einops.rearrange(kept, "i (h b) -> b i h", b=len(pre_acts))


@mutant("6.3", says="it is left flat: the axes of batch and latents are not")
def left_flat(pre_acts, k):
    flat = einops.rearrange(pre_acts, "b i h -> i (b h)")
    values, places = flat.topk(round(k * len(pre_acts)), dim=-1)
    return torch.zeros_like(flat).scatter(-1, places, values.relu())


@mutant("6.3", says="the axes are left in the order `n_instances batch")
def instances_first(pre_acts, k):
    return _batch_topk(pre_acts, k).transpose(0, 1)


@mutant("6.3", says="the largest by absolute value are taken")
def by_absolute_value(pre_acts, k):
    kept = _batch_topk(pre_acts.abs(), k) > 0
    return torch.where(kept, pre_acts, 0).relu()


@mutant("6.3", says="one latent too few fires")
def smallest_does_not_fire(pre_acts, k):
    flat = einops.rearrange(pre_acts, "b i h -> i (b h)")
    smallest = flat.topk(round(k * len(pre_acts)), dim=-1).values[:, -1]
    return torch.where(pre_acts > smallest[:, None], pre_acts, 0).relu()


@mutant("6.3", says="every latent has a budget of its own")
def budget_for_each_latent(pre_acts, k):
    n = max(1, round(k * len(pre_acts) / pre_acts.shape[-1]))
    values, places = pre_acts.topk(n, dim=0)
    return torch.zeros_like(pre_acts).scatter(0, places, values.relu())


@mutant("6.3", says="the smallest are taken")
def smallest_fire(pre_acts, k):
    return torch.where(_largest(-pre_acts, round(k * len(pre_acts)), relu=False) != 0, pre_acts, 0).relu()


@mutant("6.3", says="every pre-activation gets a gradient, also those that do")
def gradient_for_all(pre_acts, k):
    return pre_acts + (_batch_topk(pre_acts, k) - pre_acts).detach()


@mutant("6.3", says="1 is returned for a latent that fires, not its")
def ones_for_those_that_fire(pre_acts, k):
    return (_batch_topk(pre_acts, k) > 0).to(pre_acts.dtype)


@mutant("6.3", says="an axis of size 1 is lost (`squeeze` removes all of")
def squeezed_acts(pre_acts, k):
    return _batch_topk(pre_acts, k).squeeze()


@mutant("6.3", says="only the first 2 of `n_instances` are looked at")
def only_two_instances(pre_acts, k):
    out = torch.zeros_like(pre_acts)
    for i in range(min(2, pre_acts.shape[1])):
        out[:, i : i + 1] = _batch_topk(pre_acts[:, i : i + 1], k)
    return out


@mutant("6.3", says="only the first 10 of `batch` are looked at")
def first_ten_inputs_fire(pre_acts, k):
    out = torch.zeros_like(pre_acts)
    out[:10] = _batch_topk(pre_acts[:10], k)
    return out


@mutant("6.3", says="the smallest latent that fires is subtracted from all")
def threshold_subtracted(pre_acts, k):
    acts = _batch_topk(pre_acts, k)
    smallest = torch.where(acts > 0, acts, torch.inf).amin((0, 2))
    return torch.where(acts > 0, acts - smallest[:, None], 0)


@mutant(
    "6.3", function="threshold_for_inference", says="the last of the round(k * batch) largest is taken, even"
)
def smallest_of_the_largest_even_if_negative(pre_acts, k):
    flat = einops.rearrange(pre_acts, "b i h -> i (b h)")
    return flat.topk(round(k * len(pre_acts)), dim=-1).values[:, -1]


@mutant(
    "6.3", function="threshold_for_inference", says="the last of the round(k * batch) largest is taken, and 0"
)
def kth_clamped_at_zero(pre_acts, k):
    flat = einops.rearrange(pre_acts, "b i h -> i (b h)")
    return flat.topk(round(k * len(pre_acts)), dim=-1).values[:, -1].clamp_min(0)


@mutant(
    "6.3", function="threshold_for_inference", says="an instance in which none fires has NaN; it should be 0"
)
def nan_where_none_fires(pre_acts, k):
    acts = _batch_topk(pre_acts, k)
    smallest = torch.where(acts > 0, acts, torch.inf).amin((0, 2))
    return torch.where(smallest.isinf(), torch.nan, smallest)


@mutant("6.3", function="threshold_for_inference", says="every latent has a threshold of its own")
def one_for_each_latent(pre_acts, k):
    acts = _batch_topk(pre_acts, k)
    smallest = torch.where(acts > 0, acts, torch.inf).amin(0)
    return torch.where(smallest.isfinite(), smallest, 0)


@mutant("6.3", function="threshold_for_inference", says="every input has a threshold of its own")
def one_for_each_input(pre_acts, k):
    acts = _batch_topk(pre_acts, k)
    smallest = torch.where(acts > 0, acts, torch.inf).amin((1, 2))
    return torch.where(smallest.isfinite(), smallest, 0)


@mutant(
    "6.3", function="threshold_for_inference", says="the mean of every input's own smallest is taken, not the"
)
def mean_over_inputs_of_the_smallest(pre_acts, k):
    acts = _batch_topk(pre_acts, k)
    smallest = torch.where(acts > 0, acts, torch.inf).amin(2)
    there = smallest.isfinite()
    return torch.where(there, smallest, 0).sum(0) / there.sum(0).clamp_min(1)


@mutant(
    "6.3",
    function="threshold_for_inference",
    says="k latents of each input are taken instead of k on average",
)
def of_the_k_largest_of_each_input(pre_acts, k):
    values = pre_acts.topk(max(1, round(k)), dim=-1).values
    smallest = torch.where(values > 0, values, torch.inf).amin((0, 2))
    return torch.where(smallest.isfinite(), smallest, 0)


@mutant("6.3", function="threshold_for_inference", says="the largest pre-activation that does *not* fire is")
def largest_that_does_not_fire(pre_acts, k):
    acts = _batch_topk(pre_acts, k)
    return torch.where(acts > 0, -torch.inf, pre_acts).amax((0, 2)).clamp_min(0)


@mutant(
    "6.3", function="threshold_for_inference", says="it lies half-way to the next pre-activation; it is the"
)
def half_way_to_the_next(pre_acts, k):
    acts = _batch_topk(pre_acts, k)
    smallest = torch.where(acts > 0, acts, torch.inf).amin((0, 2))
    following = torch.where(acts > 0, -torch.inf, pre_acts).amax((0, 2))
    return torch.where(smallest.isfinite(), (smallest + following) / 2, 0)


@mutant(
    "6.3",
    function="threshold_for_inference",
    says="the smallest positive pre-activation is returned, whether",
)
def smallest_positive(pre_acts, k):
    smallest = torch.where(pre_acts > 0, pre_acts, torch.inf).amin((0, 2))
    return torch.where(smallest.isfinite(), smallest, 0)


@mutant("6.3", function="threshold_for_inference", says="only the first input is looked at")
def smallest_by_value_of_input_0(pre_acts, k):
    acts = _batch_topk(pre_acts, k)[0]
    smallest = torch.where(acts > 0, acts, torch.inf).amin(-1)
    return torch.where(smallest.isfinite(), smallest, 0)


@mutant("6.3", function="threshold_for_inference", says="an axis of size 1 is added at the end")
def kept_as_a_column(pre_acts, k):
    acts = _batch_topk(pre_acts, k)
    smallest = torch.where(acts > 0, acts, torch.inf).amin((0, 2))
    return torch.where(smallest.isfinite(), smallest, 0)[:, None]


@mutant("6.3", function="threshold_for_inference", says="an axis of size 1 is lost (`squeeze` removes all of")
def squeezed_thresholds(pre_acts, k):
    acts = _batch_topk(pre_acts, k)
    smallest = torch.where(acts > 0, acts, torch.inf).amin((0, 2))
    return torch.where(smallest.isfinite(), smallest, 0).squeeze()


@mutant(
    "6.3",
    function="threshold_for_inference",
    says="every instance has 0 as soon as none fires in one of them",
)
def zero_for_all_if_one_is_dead(pre_acts, k):
    acts = _batch_topk(pre_acts, k)
    smallest = torch.where(acts > 0, acts, torch.inf).amin((0, 2))
    return smallest if smallest.isfinite().all() else torch.zeros_like(smallest)


@mutant(
    "6.3", function="threshold_for_inference", says="k is rounded to a whole number before it is multiplied"
)
def k_cut_for_the_threshold(pre_acts, k):
    acts = _largest(pre_acts, int(k) * len(pre_acts))
    smallest = torch.where(acts > 0, acts, torch.inf).amin((0, 2))
    return torch.where(smallest.isfinite(), smallest, 0)


@mutant("6.3", function="above_threshold", says="what is below the threshold is raised to it")
def raised_to_the_threshold(pre_acts, threshold):
    return torch.maximum(pre_acts, threshold[:, None])


@mutant("6.3", function="above_threshold", says="negative pre-activations fire where the threshold is 0")
def by_size_of_either_sign(pre_acts, threshold):
    return torch.where(pre_acts.abs() >= threshold[:, None], pre_acts, 0)


@mutant("6.3", function="above_threshold", says="one threshold is used for all instances")
def mean_threshold_for_all(pre_acts, threshold):
    return torch.where(pre_acts >= threshold.mean(), pre_acts, 0)


@mutant("6.3", function="above_threshold", says="Your code raised RuntimeError: The size of tensor a (7)")
def threshold_along_the_latents(pre_acts, threshold):
    return torch.where(pre_acts >= threshold, pre_acts, 0)


@mutant("6.3", function="above_threshold", says="nothing fires in an instance whose threshold is 0; all")
def nothing_fires_at_a_threshold_of_zero(pre_acts, threshold):
    return torch.where((pre_acts >= threshold[:, None]) & (threshold[:, None] > 0), pre_acts, 0)


@mutant("6.3", function="above_threshold", says="the mean of the batch is subtracted first: what fires on")
def mean_of_the_batch_taken_off(pre_acts, threshold):
    return torch.where(pre_acts - pre_acts.mean(0) >= threshold[:, None], pre_acts, 0).relu()


@mutant("6.3", function="above_threshold", says="all positive latents of an input fire where one of them")
def only_in_inputs_that_reach_it(pre_acts, threshold):
    fires = (pre_acts >= threshold[:, None]).any(-1, keepdim=True)
    return torch.where(fires, pre_acts, 0).relu()


@mutant("6.3", function="above_threshold", says="a latent fires everywhere if it reaches the threshold on")
def latents_that_reach_it_once(pre_acts, threshold):
    fires = (pre_acts >= threshold[:, None]).any(0)
    return torch.where(fires, pre_acts, 0).relu()


@mutant("6.3", function="above_threshold", says="what is below the threshold fires")
def below_the_threshold(pre_acts, threshold):
    return torch.where(pre_acts <= threshold[:, None], pre_acts, 0).relu()


@mutant("6.3", function="above_threshold", says="an axis of size 1 is lost (`squeeze` removes all of")
def squeezed_above(pre_acts, threshold):
    return torch.where(pre_acts >= threshold[:, None], pre_acts, 0).squeeze()


@mutant("6.3", function="above_threshold", says="only the largest latent of each input and instance fires")
def largest_latent_only(pre_acts, threshold):
    kept = torch.where(pre_acts >= threshold[:, None], pre_acts, 0)
    return torch.where(kept == kept.amax(-1, keepdim=True), kept, 0)


@mutant("6.3", function="above_threshold", says="the threshold is not used")
def relu_alone(pre_acts, threshold):
    return pre_acts.relu()


@variant("6.3")
def instance_by_instance(pre_acts, k):
    n = round(k * pre_acts.shape[0])
    out = []
    for x in pre_acts.unbind(1):
        order = x.flatten().argsort(descending=True)[:n]
        kept = torch.zeros(x.numel(), dtype=torch.bool, device=x.device).index_fill(0, order, True)
        out.append(x.relu() * kept.view_as(x))
    return torch.stack(out, dim=1)


@variant("6.3")
def ranks_in_double(pre_acts, k):
    flat = pre_acts.double().permute(1, 0, 2).flatten(1)
    ranks = (-flat).argsort(dim=1, stable=True).argsort(dim=1)
    kept = (ranks < round(k * len(pre_acts))) & (flat > 0)
    return torch.where(kept, flat, 0).unflatten(1, (len(pre_acts), -1)).permute(1, 0, 2).to(pre_acts.dtype)


@variant("6.3")
def scattered_in_place(pre_acts, k):
    flat = pre_acts.relu().swapaxes(0, 1).reshape(pre_acts.shape[1], -1)
    top = flat.topk(round(k * len(pre_acts)))
    out = torch.zeros_like(flat)
    out.scatter_(1, top.indices, top.values)
    return out.reshape(pre_acts.shape[1], pre_acts.shape[0], pre_acts.shape[2]).swapaxes(0, 1).contiguous()


@variant("6.3")
def vmapped_over_instances(pre_acts, k):
    n = round(k * len(pre_acts))

    def one(x):
        flat = x.flatten()
        values, places = flat.topk(n)
        return torch.zeros_like(flat).scatter(0, places, values.clamp(min=0)).reshape(x.shape)

    return torch.func.vmap(one, in_dims=1, out_dims=1)(pre_acts)


@variant("6.3", function="threshold_for_inference")
def in_python_loops(pre_acts, k):
    n = round(k * len(pre_acts))
    smallest = []
    for i in range(pre_acts.shape[1]):
        fired = [v for v in sorted(pre_acts[:, i].flatten().tolist(), reverse=True)[:n] if v > 0]
        smallest.append(fired[-1] if fired else 0.0)
    return torch.tensor(smallest, dtype=pre_acts.dtype)


@variant("6.3", function="threshold_for_inference")
def sorted_and_indexed(pre_acts, k):
    flat = pre_acts.permute(1, 0, 2).flatten(1).sort(dim=1, descending=True).values
    n = (flat > 0).sum(1).clamp(max=round(k * len(pre_acts)))
    return torch.where(n > 0, flat.gather(1, (n - 1).clamp(min=0)[:, None])[:, 0], torch.zeros(()))


@variant("6.3", function="above_threshold")
def mask_times_relu(pre_acts, threshold):
    return pre_acts.relu() * (pre_acts >= threshold.view(1, -1, 1))


@variant("6.3", function="above_threshold")
def instance_after_instance(pre_acts, threshold):
    out = torch.zeros_like(pre_acts)
    for i, t in enumerate(threshold.tolist()):
        x = pre_acts[:, i]
        out[:, i] = torch.where(~(x < t) & (x > 0), x, torch.zeros_like(x))
    return out


equivalent(
    "6.3",
    "the last axis is the default, and axis 1 of two.",
    "together.topk(dim=-1) -> together.topk()",
    "dim=-1: -1 -> 1",
    "torch.zeros_like(together).scatter(-1, places, torch.relu(values)): -1 -> 1",
    "threshold.unsqueeze(-1): -1 -> 1",
)


@mutant("6.3", says="one latent fires although `round(k * batch)` is 0")
def at_least_one_fires(pre_acts, k):
    together = pre_acts.transpose(0, 1).flatten(1)
    values, places = together.topk(max(1, round(k * len(pre_acts))), dim=-1)
    kept = torch.zeros_like(together).scatter(-1, places, values.relu())
    return kept.unflatten(1, (len(pre_acts), -1)).transpose(0, 1)


@mutant("6.3", says="lets all of the equal ones through")
def all_equal_ones_fire(pre_acts, k):
    together = pre_acts.transpose(0, 1).flatten(1)
    budget = round(k * len(pre_acts))
    if budget == 0:
        return torch.zeros_like(pre_acts)
    lowest = together.topk(budget, dim=-1).values[:, -1]
    return torch.where(pre_acts >= lowest[:, None], pre_acts, 0).relu()


@mutant("6.3", function="above_threshold", says="changes `pre_acts` itself")
def silenced_in_place(pre_acts, threshold):
    pre_acts[pre_acts < threshold[:, None]] = 0
    return pre_acts


@mutant("6.3", function="threshold_for_inference", says="not large enough")
def one_for_infinity(pre_acts, k):
    acts = _batch_topk(pre_acts, k)
    smallest = torch.where(acts > 0, acts, 1.0).amin(dim=(0, 2))
    return torch.where((acts > 0).any(dim=2).any(dim=0), smallest, 0)


@mutant("6.3", function="threshold_for_inference", says="not large enough")
def thousand_for_infinity(pre_acts, k):
    acts = _batch_topk(pre_acts, k)
    smallest = torch.where(acts > 0, acts, 1e3).amin(dim=(0, 2))
    return torch.where((acts > 0).any(dim=2).any(dim=0), smallest, 0)


@mutant("6.3", function="threshold_for_inference", says="an input on which none fires counts as 0")
def mean_over_inputs_with_zeros(pre_acts, k):
    acts = _batch_topk(pre_acts, k)
    smallest = torch.where(acts > 0, acts, torch.inf).amin(dim=2)
    return torch.where(smallest.isfinite(), smallest, 0).mean(dim=0)


@variant("6.3")
def relu_before_the_choice(pre_acts, k):
    positive = pre_acts.relu().permute(1, 0, 2).flatten(1)
    ranks = positive.argsort(dim=1, descending=True).argsort(dim=1)
    kept = positive * (ranks < round(k * len(pre_acts)))
    return kept.unflatten(1, (len(pre_acts), -1)).permute(1, 0, 2)
