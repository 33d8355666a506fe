"""Answers to the exercises of chapter 4: a sparse autoencoder on a language model's MLP."""

import functools
import itertools
import math

import einops
import numpy as np
import torch
from torch.nn import functional as F

from part_utils.activations import (
    MLP_HOOK,
    ActivationBuffer,
    flatten_activations,
    get_activations,
    train_on_activations,
)
from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.evaluation import (
    LogFrequencyHistogram,
    get_feature_probability,
    get_reconstruction_loss,
    get_substitution_loss,
    inputs_for_all_instances,
    log_frequency_histogram,
    rare_direction_similarity,
    reconstruction_hook,
    zero_ablation_hook,
)
from part_utils.interpretation import ablate_feature
from part_utils.training import TrainingLog, linear_lr, train
from tests.mutants import mutant, variant

HOOK_PRE, HOOK_OUT = "blocks.0.mlp.hook_pre", "blocks.0.mlp.hook_out"


def _cached(tokens, model, name=MLP_HOOK):
    return model.run_with_cache(tokens, names_filter=name)[1][name]


# 4.1 get_activations(tokens, model) and flatten_activations(acts)


@mutant("4.1", says="*before* the activation function")
def before_the_gelu(tokens, model):
    return _cached(tokens, model, HOOK_PRE)


@mutant("4.1", says="*output of the MLP*")
def output_of_the_mlp(tokens, model):
    return _cached(tokens, model, HOOK_OUT)


@mutant("4.1", says="ReLU takes the place of the GELU")
def relu_for_gelu(tokens, model):
    return _cached(tokens, model, HOOK_PRE).relu()


@mutant("4.1", says="applied twice")
def gelu_twice(tokens, model):
    return F.gelu(_cached(tokens, model))


@mutant("4.1", says="flattened already: that is the second")
def flattened_already(tokens, model):
    return _cached(tokens, model).flatten(0, 1)


@mutant("4.1", says="only the last position")
def last_position(tokens, model):
    return _cached(tokens, model)[:, -1]


@mutant("4.1", says="first position of every text is left out")
def without_first_position(tokens, model):
    return _cached(tokens, model)[:, 1:]


@mutant("4.1", says="the whole cache")
def whole_cache(tokens, model):
    return model.run_with_cache(tokens, names_filter=MLP_HOOK)[1]


@mutant("4.1", says="several things")
def predictions_and_cache(tokens, model):
    return model.run_with_cache(tokens, names_filter=MLP_HOOK)


@mutant("4.1", says="predictions (logits)")
def predictions(tokens, model):
    return model(tokens)


@mutant("4.1", says="is None")
def no_return(tokens, model):
    _cached(tokens, model)


@mutant("4.1", says="`batch` is averaged over")
def averaged_over_texts(tokens, model):
    return _cached(tokens, model).mean(0)


@mutant("4.1", says="`seq batch d_mlp`")
def seq_first(tokens, model):
    return _cached(tokens, model).transpose(0, 1)


@mutant("4.1", says="nothing under this name")
def wrong_name(tokens, model):
    return model.run_with_cache(tokens, names_filter=MLP_HOOK)[1]["mlp_post"]


@mutant("4.1", says="a hook is still on the model")
def hook_left_on(tokens, model):
    kept = []
    model.add_hook(MLP_HOOK, lambda value, hook: kept.append(value) or None)
    model(tokens)
    return kept[0]


@mutant("4.1", function="flatten_activations", says="the order is wrong")
def positions_first(acts):
    return einops.rearrange(acts, "batch seq d_mlp -> (seq batch) d_mlp")


@mutant("4.1", function="flatten_activations", says="as if `d_mlp` came first")
def cut_anywhere(acts):
    return acts.permute(2, 0, 1).reshape(-1, acts.shape[-1])


@mutant("4.1", function="flatten_activations", says="have changed places before the flattening")
def neurons_before_positions(acts):
    return acts.mT.reshape(-1, acts.shape[-1])


@mutant("4.1", function="flatten_activations", says="position and neuron are on one axis")
def joins_the_last_two(acts):
    return acts.flatten(1)


@mutant("4.1", function="flatten_activations", says="everything is on one axis")
def one_axis(acts):
    return acts.flatten()


@mutant("4.1", function="flatten_activations", says="nothing is flattened")
def not_flattened(acts):
    return acts


@mutant("4.1", function="flatten_activations", says="axis of the neurons comes first")
def neurons_first(acts):
    return acts.flatten(0, 1).mT


@variant("4.1")
def whole_cache_looked_up(tokens, model):
    _, cache = model.run_with_cache(tokens)
    return cache["blocks.0.mlp.hook_post"]


@variant("4.1")
def own_hook(tokens, model):
    kept = {}

    def keep(value, hook):
        kept["acts"] = value.detach().clone()

    model.run_with_hooks(tokens, fwd_hooks=[(MLP_HOOK, keep)])
    return kept["acts"]


@variant("4.1")
def gelu_by_hand(tokens, model):
    return F.gelu(_cached(tokens, model, HOOK_PRE))


@variant("4.1")
def text_by_text(tokens, model):
    return torch.cat([_cached(row[None], model) for row in tokens])


@variant("4.1")
def added_and_removed_hook(tokens, model):
    kept = []
    model.add_hook(MLP_HOOK, lambda value, hook: kept.append(value))
    with torch.no_grad():
        model(tokens)
    model.reset_hooks()
    return kept[0].double()


@variant("4.1", function="flatten_activations")
def reshaped(acts):
    return acts.reshape(-1, acts.shape[-1])


@variant("4.1", function="flatten_activations")
def concatenated(acts):
    return torch.cat(list(acts))


@variant("4.1", function="flatten_activations")
def with_numpy(acts):
    return torch.from_numpy(acts.numpy().reshape(-1, acts.shape[2]).astype(np.float64))


# 4.2 get_feature_probability(tokens, model, autoencoder, batch_rows)


def _latents(tokens, model, autoencoder):
    with torch.no_grad():
        return autoencoder(inputs_for_all_instances(get_activations(tokens, model), autoencoder)).acts


@mutant("4.2", says="*mean activation*")
def mean_activation(tokens, model, autoencoder, batch_rows=16):
    return _latents(tokens, model, autoencoder).mean(0)


@mutant("4.2", says="mean over the latents")
def mean_over_latents(tokens, model, autoencoder, batch_rows=16):
    return (_latents(tokens, model, autoencoder) > 0).float().mean((0, 2))


@mutant("4.2", says="only instance 0 is returned")
def first_instance(tokens, model, autoencoder, batch_rows=16):
    return (_latents(tokens, model, autoencoder) > 0).float().mean(0)[0]


@mutant("4.2", says="instances are averaged")
def instances_averaged(tokens, model, autoencoder, batch_rows=16):
    return (_latents(tokens, model, autoencoder) > 0).float().mean((0, 1))


@mutant("4.2", says="instance 0 is used for every instance")
def first_instance_for_all(tokens, model, autoencoder, batch_rows=16):
    rates = (_latents(tokens, model, autoencoder) > 0).float().mean(0)
    return rates[:1].expand_as(rates)


@mutant("4.2", says="counted twice")
def tokens_twice(tokens, model, autoencoder, batch_rows=16):
    counts = 0
    for rows in tokens.split(batch_rows):
        for _ in range(2):
            counts = counts + (_latents(rows, model, autoencoder) > 0).sum(0)
    return counts / tokens.numel()


@mutant("4.2", says="how many latents fire at once")
def l0_for_rate(tokens, model, autoencoder, batch_rows=16):
    return (_latents(tokens, model, autoencoder) > 0).float().sum(-1).mean(0)


@mutant("4.2", says="not divided by how many")
def counts_only(tokens, model, autoencoder, batch_rows=16):
    return (_latents(tokens, model, autoencoder) > 0).sum(0)


@mutant("4.2", says="number of rows, not of tokens")
def divided_by_rows(tokens, model, autoencoder, batch_rows=16):
    return (_latents(tokens, model, autoencoder) > 0).sum(0) / len(tokens)


@mutant("4.2", says="`>=` for `>`")
def at_least_zero(tokens, model, autoencoder, batch_rows=16):
    return (_latents(tokens, model, autoencoder) >= 0).float().mean(0)


@mutant("4.2", says="last part is smaller")
def mean_of_means(tokens, model, autoencoder, batch_rows=16):
    means = [(_latents(rows, model, autoencoder) > 0).float().mean(0) for rows in tokens.split(batch_rows)]
    return torch.stack(means).mean(0)


@mutant("4.2", says="overwritten and not added up")
def last_part_only(tokens, model, autoencoder, batch_rows=16):
    for rows in tokens.split(batch_rows):
        rates = (_latents(rows, model, autoencoder) > 0).float().mean(0)
    return rates


@mutant("4.2", says="smaller part of the rows is left out")
def incomplete_part_dropped(tokens, model, autoencoder, batch_rows=16):
    whole = tokens[: len(tokens) // batch_rows * batch_rows]
    return (_latents(whole, model, autoencoder) > 0).float().mean(0)


@mutant("4.2", says="a *text* counts, once")
def share_of_texts(tokens, model, autoencoder, batch_rows=16):
    fires = (_latents(tokens, model, autoencoder) > 0).float()
    return fires.unflatten(0, tokens.shape).amax(1).mean(0)


@mutant("4.2", says="`b_dec` is not subtracted")
def b_dec_forgotten(tokens, model, autoencoder, batch_rows=16):
    h = get_activations(tokens, model).flatten(0, 1)
    acts = torch.einsum("td,idl->til", h, autoencoder.W_enc) + autoencoder.b_enc
    return (acts > 0).float().mean(0)


@mutant("4.2", says="`b_enc` is left out")
def b_enc_forgotten(tokens, model, autoencoder, batch_rows=16):
    h = inputs_for_all_instances(get_activations(tokens, model), autoencoder) - autoencoder.b_dec
    return (torch.einsum("tid,idl->til", h, autoencoder.W_enc) > 0).float().mean(0)


@mutant("4.2", says="*before* the activation function")
def rates_before_the_gelu(tokens, model, autoencoder, batch_rows=16):
    h = inputs_for_all_instances(_cached(tokens, model, HOOK_PRE), autoencoder)
    return (autoencoder(h).acts > 0).float().mean(0)


@mutant("4.2", says="first position of every text is left out")
def without_bos(tokens, model, autoencoder, batch_rows=16):
    h = inputs_for_all_instances(get_activations(tokens, model)[:, 1:], autoencoder)
    return (autoencoder(h).acts > 0).float().mean(0)


@mutant("4.2", says="`b_dec` of the autoencoder was changed")
def biases_changed(tokens, model, autoencoder, batch_rows=16):
    rates = get_feature_probability(tokens, model, autoencoder)
    autoencoder.b_dec.data.zero_()
    return rates


@variant("4.2")
def all_at_once(tokens, model, autoencoder, batch_rows=16):
    return (_latents(tokens, model, autoencoder) > 0).double().mean(dim=0)


@variant("4.2")
def nonzero_counted(tokens, model, autoencoder, batch_rows=16):
    return torch.count_nonzero(_latents(tokens, model, autoencoder), dim=0) / tokens.numel()


@variant("4.2")
def row_by_row_weighted(tokens, model, autoencoder, batch_rows=16):
    rates, seen = 0, 0
    for row in tokens:
        fires = (_latents(row[None], model, autoencoder) > 0).float().sum(0)
        rates, seen = rates + fires, seen + row.numel()
    return rates / seen


@variant("4.2")
def rates_with_numpy(tokens, model, autoencoder, batch_rows=16):
    return torch.from_numpy((_latents(tokens, model, autoencoder).numpy() > 0).mean(axis=0))


@variant("4.2")
def own_encoder_sign(tokens, model, autoencoder, batch_rows=16):
    h = get_activations(tokens, model).flatten(0, 1)
    parts = []
    for i in range(autoencoder.cfg.n_instances):
        before = (h - autoencoder.b_dec[i]) @ autoencoder.W_enc[i] + autoencoder.b_enc[i]
        parts.append(torch.heaviside(before, torch.zeros(())).mean(0))
    return torch.stack(parts).detach()


# 4.3 log_frequency_histogram(feature_probability, n_bins)


def _alive(rates):
    return rates[rates > 0]


def _histogram(values, n_bins, n_dead, **options):
    counts, edges = torch.histogram(values, n_bins, **options)
    return counts, edges, n_dead


def _dead(rates):
    return int((rates == 0).sum())


def _empty(rates, n_bins):
    return torch.zeros(n_bins), torch.linspace(-1, 0, n_bins + 1), len(rates)


def _handles_all_dead(function):
    """The case without living latents, done right, so that a mutant shows its one mistake."""

    @functools.wraps(function)
    def wrapped(rates, n_bins=50):
        return function(rates, n_bins) if (rates > 0).any() else _empty(rates, n_bins)

    return wrapped


@mutant("4.3", says="natural logarithms")
@_handles_all_dead
def natural_logarithm(rates, n_bins=50):
    return _histogram(_alive(rates).log(), n_bins, _dead(rates))


@mutant("4.3", says="base 2")
@_handles_all_dead
def logarithm_to_base_2(rates, n_bins=50):
    return _histogram(_alive(rates).log2(), n_bins, _dead(rates))


@mutant("4.3", says="Set the zeros apart")
@_handles_all_dead
def tiny_number_added(rates, n_bins=50):
    return _histogram((rates + 1e-10).log10(), n_bins, _dead(rates))


@mutant("4.3", says="Set the zeros apart")
@_handles_all_dead
def minus_infinity_in_a_bin(rates, n_bins=50):
    logs = rates.log10()
    low, high = logs[logs.isfinite()].min(), logs.max()
    places = ((logs - low) / (high - low) * n_bins).clamp(0, n_bins - 1).long()
    return torch.bincount(places, minlength=n_bins), torch.linspace(low, high, n_bins + 1), _dead(rates)


@mutant("4.3", says="these are *tokens*")
@_handles_all_dead
def tokens_counted(rates, n_bins=50):
    return _histogram(_alive(rates).log10(), n_bins, _dead(rates), weight=_alive(rates))


@mutant("4.3", says="a density")
@_handles_all_dead
def density(rates, n_bins=50):
    return _histogram(_alive(rates).log10(), n_bins, _dead(rates), density=True)


@mutant("4.3", says="no logarithm is taken")
@_handles_all_dead
def plain_scale(rates, n_bins=50):
    return _histogram(_alive(rates), n_bins, _dead(rates))


@mutant("4.3", says="always 50")
@_handles_all_dead
def always_50_bins(rates, n_bins=50):
    return _histogram(_alive(rates).log10(), 50, _dead(rates))


@mutant("4.3", says="returns 2 things")
@_handles_all_dead
def without_dead(rates, n_bins=50):
    return _histogram(_alive(rates).log10(), n_bins, _dead(rates))[:2]


@mutant("4.3", says="latents that *do* fire")
@_handles_all_dead
def alive_counted(rates, n_bins=50):
    return _histogram(_alive(rates).log10(), n_bins, len(_alive(rates)))


@mutant("4.3", says="share of the dead")
@_handles_all_dead
def share_of_dead(rates, n_bins=50):
    return _histogram(_alive(rates).log10(), n_bins, (rates == 0).float().mean())


@mutant("4.3", says="one bin too few")
@_handles_all_dead
def edges_for_bins(rates, n_bins=50):
    return _histogram(_alive(rates).log10(), n_bins - 1, _dead(rates))


@mutant("4.3", says="largest rate is in no bin")
@_handles_all_dead
def half_open_bins(rates, n_bins=50):
    logs = _alive(rates).log10()
    low, high = logs.min(), logs.max()
    places = ((logs - low) / (high - low) * n_bins).floor().long()
    return (
        torch.bincount(places, minlength=n_bins)[:n_bins],
        torch.linspace(low, high, n_bins + 1),
        _dead(rates),
    )


@mutant("4.3", says="edges are rates")
@_handles_all_dead
def edges_as_rates(rates, n_bins=50):
    counts, edges, n_dead = _histogram(_alive(rates).log10(), n_bins, _dead(rates))
    return counts, 10**edges, n_dead


@mutant("4.3", says="edges, the last one included")
@_handles_all_dead
def lower_edges_only(rates, n_bins=50):
    counts, edges, n_dead = _histogram(_alive(rates).log10(), n_bins, _dead(rates))
    return counts, edges[:-1], n_dead


@mutant("4.3", says="no latent fires your code raises")
def all_dead_forgotten(rates, n_bins=50):
    logs = _alive(rates).log10()
    counts, edges = torch.histogram(logs, n_bins, range=(logs.min().item(), logs.max().item()))
    return counts, edges, _dead(rates)


@mutant("4.3", says="added up from left to right")
@_handles_all_dead
def cumulative(rates, n_bins=50):
    counts, edges, n_dead = _histogram(_alive(rates).log10(), n_bins, _dead(rates))
    return counts.cumsum(0), edges, n_dead


@mutant("4.3", says="reach from the smallest rate to 1")
@_handles_all_dead
def up_to_one(rates, n_bins=50):
    logs = _alive(rates).log10()
    return _histogram(logs, n_bins, _dead(rates), range=(logs.min().item(), 0.0))


@variant("4.3")
@_handles_all_dead
def numpys_histogram(rates, n_bins=50):
    counts, edges = np.histogram(np.log10(_alive(rates).numpy()), bins=n_bins)
    return torch.from_numpy(counts), torch.from_numpy(edges), _dead(rates)


@variant("4.3")
@_handles_all_dead
def histc(rates, n_bins=50):
    logs = torch.log(_alive(rates).double()) / math.log(10)
    edges = torch.linspace(logs.min().item(), logs.max().item(), n_bins + 1)
    return torch.histc(logs, n_bins), edges, (rates == 0).sum()


@variant("4.3")
@_handles_all_dead
def bucketized(rates, n_bins=50):
    logs = _alive(rates).log10()
    edges = torch.linspace(logs.min().item(), logs.max().item(), n_bins + 1)
    places = torch.bucketize(logs, edges[1:-1], right=True)
    return torch.bincount(places, minlength=n_bins), edges, len(rates) - len(logs)


@variant("4.3")
@_handles_all_dead
def rounded_edges(rates, n_bins=50):
    counts, edges, n_dead = _histogram(_alive(rates).log10(), n_bins, _dead(rates))
    return LogFrequencyHistogram(counts.int(), (edges * 1000).round() / 1000, n_dead)


@variant("4.3")
def plain_list_of_all(rates, n_bins=50):
    return list(log_frequency_histogram(rates.float(), n_bins))


# 4.4 rare_direction_similarity(W_dec, feature_probability, rare_below)


def _similarity(
    W_dec, rates, rare_below, average=lambda rows: F.normalize(rows, dim=-1).mean(0), rare=None, compare=None
):
    rare = rates < rare_below if rare is None else rare
    if not rare.any():
        raise ValueError(f"No latent fires less often than {rare_below}.")
    direction = average(W_dec[rare])
    compare = compare or (lambda rows, mean: F.cosine_similarity(rows, mean, dim=-1))
    similarity = compare(W_dec, direction)
    return similarity[rates < rare_below], similarity


@mutant("4.4", says="averaged as they are")
def unnormalised_mean(W_dec, rates, rare_below=1e-4):
    return _similarity(W_dec, rates, rare_below, average=lambda rows: rows.mean(0))


@mutant("4.4", says="mean direction is not brought to unit length")
def mean_of_any_length(W_dec, rates, rare_below=1e-4):
    return _similarity(W_dec, rates, rare_below, compare=lambda rows, mean: F.normalize(rows, dim=-1) @ mean)


@mutant("4.4", says="decoder's rows are not brought to unit length")
def rows_of_any_length(W_dec, rates, rare_below=1e-4):
    return _similarity(W_dec, rates, rare_below, compare=lambda rows, mean: rows @ F.normalize(mean, dim=0))


@mutant("4.4", says="mean direction is that of *all*")
def mean_of_all(W_dec, rates, rare_below=1e-4):
    if not (rates < rare_below).any():
        raise ValueError("No rare latent.")
    return _similarity(W_dec, rates, rare_below, rare=rates < 2)


@mutant("4.4", says="*not* rare")
def mean_of_the_others(W_dec, rates, rare_below=1e-4):
    if not (rates < rare_below).any():
        raise ValueError("No rare latent.")
    return _similarity(W_dec, rates, rare_below, rare=rates >= rare_below)


@mutant("4.4", says="`<=` for `<`")
def at_the_limit(W_dec, rates, rare_below=1e-4):
    return _similarity(W_dec, rates, rare_below, rare=rates <= rare_below)


@mutant("4.4", says="always 1e-4")
def fixed_limit(W_dec, rates, rare_below=1e-4):
    similarity = _similarity(W_dec, rates, rare_below, rare=rates < 1e-4)[1]
    return similarity[rates < rare_below], similarity


@mutant("4.4", says="dead latents are not counted as rare")
def dead_left_out(W_dec, rates, rare_below=1e-4):
    return _similarity(W_dec, rates, rare_below, rare=(rates < rare_below) & (rates > 0))


@mutant("4.4", says="wrong axis (over the latents)")
def normalized_over_latents(W_dec, rates, rare_below=1e-4):
    rare = rates < rare_below
    if not rare.any():
        raise ValueError("No rare latent.")
    mean = F.normalize(W_dec, dim=0)[rare].mean(0)
    similarity = F.cosine_similarity(W_dec, mean, dim=-1)
    return similarity[rare], similarity


@mutant("4.4", says="wrong order")
def all_first(W_dec, rates, rare_below=1e-4):
    return rare_direction_similarity(W_dec, rates, rare_below)[::-1]


@mutant("4.4", says="for the rare ones")
def all_twice(W_dec, rates, rare_below=1e-4):
    similarity = rare_direction_similarity(W_dec, rates, rare_below).all
    return similarity, similarity


@mutant("4.4", says="absolute value is taken")
def absolute(W_dec, rates, rare_below=1e-4):
    return tuple(part.abs() for part in rare_direction_similarity(W_dec, rates, rare_below))


@mutant("4.4", says="mean direction is not brought to unit length")
def mean_of_cosines(W_dec, rates, rare_below=1e-4):
    rare = rates < rare_below
    if not rare.any():
        raise ValueError("No rare latent.")
    unit = F.normalize(W_dec, dim=-1)
    similarity = (unit @ unit[rare].mT).mean(-1)
    return similarity[rare], similarity


@mutant("4.4", says="returns NaN")
def silent_without_rare(W_dec, rates, rare_below=1e-4):
    unit, rare = F.normalize(W_dec, dim=-1), rates < rare_below
    similarity = F.cosine_similarity(unit, unit[rare].mean(0), dim=-1)
    return similarity[rare], similarity


@mutant("4.4", says="returns one tensor")
def rare_ones_only(W_dec, rates, rare_below=1e-4):
    return rare_direction_similarity(W_dec, rates, rare_below).rare


@variant("4.4")
def by_matrix_product(W_dec, rates, rare_below=1e-4):
    unit, rare = W_dec / W_dec.norm(dim=-1, keepdim=True), rates < rare_below
    if rare.sum() == 0:
        raise ValueError("nothing is rare")
    mean = unit[rare].sum(0)
    similarity = unit @ (mean / mean.norm())
    return similarity[rare], similarity


@variant("4.4")
def in_double(W_dec, rates, rare_below=1e-4):
    return list(_similarity(W_dec.double(), rates, rare_below))


@variant("4.4")
def similarities_with_numpy(W_dec, rates, rare_below=1e-4):
    rows = W_dec.numpy() / np.linalg.norm(W_dec.numpy(), axis=1, keepdims=True)
    rare = rates.numpy() < rare_below
    assert rare.any(), "no latent is rare"
    mean = rows[rare].mean(axis=0)
    similarity = torch.from_numpy(rows @ mean / np.linalg.norm(mean))
    return similarity[torch.from_numpy(rare)], similarity


@variant("4.4")
def loop_over_latents(W_dec, rates, rare_below=1e-4):
    rare = [i for i, rate in enumerate(rates.tolist()) if rate < rare_below - 1e-12]
    if not rare:
        raise ValueError("No latent is rare.")
    mean = sum(W_dec[i] / W_dec[i].norm() for i in rare)
    similarity = torch.stack([F.cosine_similarity(row, mean, dim=0) for row in W_dec])
    return similarity[rare], similarity


# 4.5 get_reconstruction_loss(tokens, model, autoencoder)


def _rebuilt(tokens, model, autoencoder):
    h = inputs_for_all_instances(get_activations(tokens, model), autoencoder)
    with torch.no_grad():
        return h, autoencoder(h).h_reconstructed


def _with(tokens, model, autoencoder, **changed):
    right = get_reconstruction_loss(tokens, model, autoencoder)
    return right._replace(**changed)


@mutant("4.5", says="*summed* over the neurons")
def summed_over_neurons(tokens, model, autoencoder):
    h, rebuilt = _rebuilt(tokens, model, autoencoder)
    return _with(tokens, model, autoencoder, loss=(h - rebuilt).pow(2).sum(-1).mean(0))


@mutant("4.5", says="*summed* over everything")
def summed_over_everything(tokens, model, autoencoder):
    h, rebuilt = _rebuilt(tokens, model, autoencoder)
    return _with(tokens, model, autoencoder, loss=(h - rebuilt).pow(2).sum((0, 2)))


@mutant("4.5", says="instances are averaged")
def loss_over_instances(tokens, model, autoencoder):
    h, rebuilt = _rebuilt(tokens, model, autoencoder)
    return _with(tokens, model, autoencoder, loss=F.mse_loss(rebuilt, h))


@mutant("4.5", says="instance 0's reconstruction is used")
def instances_mixed(tokens, model, autoencoder):
    h, rebuilt = _rebuilt(tokens, model, autoencoder)
    return _with(tokens, model, autoencoder, loss=(h - rebuilt[:, :1]).pow(2).mean((0, 2)))


@mutant("4.5", says="`b_dec` is not added")
def b_dec_not_added(tokens, model, autoencoder):
    h, rebuilt = _rebuilt(tokens, model, autoencoder)
    loss = (h - rebuilt + autoencoder.b_dec.detach()).pow(2).mean((0, 2))
    return _with(tokens, model, autoencoder, loss=loss)


@mutant("4.5", says="`b_dec` is lost")
def b_dec_lost(tokens, model, autoencoder):
    h = inputs_for_all_instances(get_activations(tokens, model), autoencoder)
    acts = (torch.einsum("tid,idl->til", h, autoencoder.W_enc) + autoencoder.b_enc).relu()
    rebuilt = torch.einsum("til,ild->tid", acts, autoencoder.normalize_and_return_W_dec()).detach()
    return _with(tokens, model, autoencoder, loss=(h - rebuilt).pow(2).mean((0, 2)))


@mutant("4.5", says="as they are stored")
def stored_decoder(tokens, model, autoencoder):
    h = inputs_for_all_instances(get_activations(tokens, model), autoencoder)
    rebuilt = torch.einsum("til,ild->tid", autoencoder(h).acts, autoencoder.W_dec) + autoencoder.b_dec
    return _with(tokens, model, autoencoder, loss=(h - rebuilt).pow(2).mean((0, 2)))


@mutant("4.5", says="square root")
def root_at_the_end(tokens, model, autoencoder):
    right = get_reconstruction_loss(tokens, model, autoencoder)
    return right._replace(loss=right.loss.sqrt())


@mutant("4.5", says="(the L2 norm) is averaged")
def l2_norm(tokens, model, autoencoder):
    h, rebuilt = _rebuilt(tokens, model, autoencoder)
    return _with(tokens, model, autoencoder, loss=(h - rebuilt).norm(dim=-1).mean(0))


@mutant("4.5", says="mean activation is subtracted first")
def variance_for_square(tokens, model, autoencoder):
    h, _ = _rebuilt(tokens, model, autoencoder)
    return _with(
        tokens, model, autoencoder, mean_squared_activation=(h[:, 0] - h[:, 0].mean(0)).pow(2).mean()
    )


@mutant("4.5", says="summed over the neurons")
def square_summed(tokens, model, autoencoder):
    h, _ = _rebuilt(tokens, model, autoencoder)
    return _with(tokens, model, autoencoder, mean_squared_activation=h[:, 0].pow(2).sum(-1).mean())


@mutant("4.5", says="that of the *reconstructions*")
def square_of_reconstructions(tokens, model, autoencoder):
    _, rebuilt = _rebuilt(tokens, model, autoencoder)
    return _with(tokens, model, autoencoder, mean_squared_activation=rebuilt.pow(2).mean())


@mutant("4.5", says="one number for each instance")
def square_for_each_instance(tokens, model, autoencoder):
    h, _ = _rebuilt(tokens, model, autoencoder)
    return _with(tokens, model, autoencoder, mean_squared_activation=h.pow(2).mean((0, 2)))


@mutant("4.5", says="along the *tokens*")
def cosine_along_tokens(tokens, model, autoencoder):
    h, rebuilt = _rebuilt(tokens, model, autoencoder)
    return _with(
        tokens, model, autoencoder, cosine_similarity=F.cosine_similarity(h, rebuilt, dim=0).mean(-1)
    )


@mutant("4.5", says="mean over the tokens is missing")
def cosine_of_each_token(tokens, model, autoencoder):
    h, rebuilt = _rebuilt(tokens, model, autoencoder)
    return _with(tokens, model, autoencoder, cosine_similarity=F.cosine_similarity(h, rebuilt, dim=-1))


@mutant("4.5", says="not divided by the lengths")
def dot_products(tokens, model, autoencoder):
    h, rebuilt = _rebuilt(tokens, model, autoencoder)
    return _with(tokens, model, autoencoder, cosine_similarity=(h * rebuilt).sum(-1).mean(0))


@mutant("4.5", says="returns one tensor")
def loss_alone(tokens, model, autoencoder):
    return get_reconstruction_loss(tokens, model, autoencoder).loss


@mutant("4.5", says="*before* the activation function")
def loss_before_the_gelu(tokens, model, autoencoder):
    h = inputs_for_all_instances(_cached(tokens, model, HOOK_PRE).detach(), autoencoder)
    rebuilt = autoencoder(h).h_reconstructed.detach()
    return (
        (h - rebuilt).pow(2).mean((0, 2)),
        h.pow(2).mean(),
        F.cosine_similarity(h, rebuilt, dim=-1).mean(0),
    )


@variant("4.5")
def plain_tuple(tokens, model, autoencoder):
    h, rebuilt = _rebuilt(tokens, model, autoencoder)
    return (
        F.mse_loss(rebuilt, h, reduction="none").mean(-1).mean(0),
        h.pow(2).mean().item(),
        F.cosine_similarity(h, rebuilt, dim=2).mean(0),
    )


@variant("4.5")
def from_the_l2_loss(tokens, model, autoencoder):
    h = flatten_activations(get_activations(tokens, model))[:, None].repeat(1, autoencoder.cfg.n_instances, 1)
    output = autoencoder(h)
    unit = [x / x.norm(dim=-1, keepdim=True) for x in (h, output.h_reconstructed)]
    return output.l2_loss.mean(0), torch.mean(h**2), (unit[0] * unit[1]).sum(-1).mean(0)


@variant("4.5")
def instance_by_instance(tokens, model, autoencoder):
    h, rebuilt = (x.double() for x in _rebuilt(tokens, model, autoencoder))
    losses = torch.stack([F.mse_loss(rebuilt[:, i], h[:, i]) for i in range(h.shape[1])])
    cosines = torch.stack([F.cosine_similarity(rebuilt[:, i], h[:, i]).mean() for i in range(h.shape[1])])
    return [losses, h[:, 0].square().mean(), cosines]


@variant("4.5")
def losses_with_numpy(tokens, model, autoencoder):
    h, rebuilt = (x.numpy() for x in _rebuilt(tokens, model, autoencoder))
    lengths = np.linalg.norm(h, axis=-1) * np.linalg.norm(rebuilt, axis=-1)
    return (
        torch.from_numpy(((h - rebuilt) ** 2).mean(axis=(0, 2))),
        torch.tensor((h**2).mean()),
        torch.from_numpy(((h * rebuilt).sum(-1) / lengths).mean(0)),
    )


# 4.6 reconstruction_hook(value, hook, autoencoder, instance) and zero_ablation_hook(value, hook)


def _all_rebuilt(value, autoencoder):
    with torch.no_grad():
        return autoencoder(inputs_for_all_instances(value, autoencoder)).h_reconstructed


@mutant("4.6", says="instance 0 is always used")
def always_first_instance(value, hook, autoencoder, instance=0):
    return _all_rebuilt(value, autoencoder)[:, 0].reshape(value.shape)


@mutant("4.6", says="wrong instance is used")
def always_last_instance(value, hook, autoencoder, instance=0):
    return _all_rebuilt(value, autoencoder)[:, -1].reshape(value.shape)


@mutant("4.6", says="should take instance 0")
def last_by_default(value, hook, autoencoder, instance=-1):
    return _all_rebuilt(value, autoencoder)[:, instance].reshape(value.shape)


@mutant("4.6", says="left flat")
def left_flat(value, hook, autoencoder, instance=0):
    return _all_rebuilt(value, autoencoder)[:, instance]


@mutant("4.6", says="axis of the instances is left")
def instances_left(value, hook, autoencoder, instance=0):
    return _all_rebuilt(value, autoencoder).unflatten(0, value.shape[:2])


@mutant("4.6", says="wrong order")
def wrong_order(value, hook, autoencoder, instance=0):
    rebuilt = _all_rebuilt(value, autoencoder)[:, instance]
    return einops.rearrange(rebuilt, "(seq batch) d_mlp -> batch seq d_mlp", batch=len(value))


@mutant("4.6", says="changed places")
def texts_for_positions(value, hook, autoencoder, instance=0):
    return _all_rebuilt(value, autoencoder)[:, instance].view(value.shape[1], value.shape[0], -1)


@mutant("4.6", says="instances are averaged")
def mean_of_instances(value, hook, autoencoder, instance=0):
    return _all_rebuilt(value, autoencoder).mean(1).reshape(value.shape)


@mutant("4.6", says="writes an intermediate result into `value`")
def centered_in_place(value, hook, autoencoder, instance=0):
    value -= autoencoder.b_dec[instance].detach()
    acts = (value @ autoencoder.W_enc[instance] + autoencoder.b_enc[instance]).relu()
    W_dec = autoencoder.normalize_and_return_W_dec()[instance]
    return (acts @ W_dec + autoencoder.b_dec[instance]).detach()


@mutant("4.6", says="writes an intermediate result into `value`")
def activations_cleared(value, hook, autoencoder, instance=0):
    rebuilt = _all_rebuilt(value, autoencoder)[:, instance].reshape(value.shape)
    value.zero_()
    return rebuilt


@mutant("4.6", says="returns nothing and has not changed")
def hook_without_return(value, hook, autoencoder, instance=0):
    value = _all_rebuilt(value, autoencoder)[:, instance].reshape(value.shape)


@mutant("4.6", says="*error* is returned")
def error_returned(value, hook, autoencoder, instance=0):
    return value - _all_rebuilt(value, autoencoder)[:, instance].reshape(value.shape)


@mutant("4.6", says="added to the activations")
def added_to_activations(value, hook, autoencoder, instance=0):
    return value + _all_rebuilt(value, autoencoder)[:, instance].reshape(value.shape)


@mutant("4.6", says="*latents* are returned")
def latents_returned(value, hook, autoencoder, instance=0):
    acts = autoencoder(inputs_for_all_instances(value, autoencoder)).acts[:, instance]
    return acts.unflatten(0, value.shape[:2])


@mutant("4.6", says="`b_dec` is not added")
def rebuilt_without_b_dec(value, hook, autoencoder, instance=0):
    rebuilt = _all_rebuilt(value, autoencoder)[:, instance] - autoencoder.b_dec[instance]
    return rebuilt.reshape(value.shape)


@mutant("4.6", says="as they are stored")
def rebuilt_with_stored_decoder(value, hook, autoencoder, instance=0):
    acts = autoencoder(inputs_for_all_instances(value, autoencoder)).acts[:, instance]
    return (acts @ autoencoder.W_dec[instance] + autoencoder.b_dec[instance]).reshape(value.shape)


@mutant("4.6", says="has to be called `hook`")
def parameter_renamed(value, point, autoencoder, instance=0):
    return _all_rebuilt(value, autoencoder)[:, instance].reshape(value.shape)


@mutant("4.6", says="take `.acts` or `.h_reconstructed`")
def whole_output(value, hook, autoencoder, instance=0):
    return autoencoder(inputs_for_all_instances(value, autoencoder))[:, instance]


@mutant("4.6", function="zero_ablation_hook", says="*mean* takes its place")
def mean_for_zeros(value, hook):
    return value.mean((0, 1)).expand_as(value)


@mutant("4.6", function="zero_ablation_hook", says="left as they are")
def nothing_ablated(value, hook):
    return value


@mutant("4.6", function="zero_ablation_hook", says="returns nothing and has not changed")
def zeros_without_return(value, hook):
    value = torch.zeros_like(value)


@mutant("4.6", function="zero_ablation_hook", says="holds ones")
def ones(value, hook):
    return torch.ones_like(value)


@mutant("4.6", function="zero_ablation_hook", says="one number takes the place")
def one_zero(value, hook):
    return torch.tensor(0.0)


@mutant("4.6", function="zero_ablation_hook", says="only the last position")
def last_position_zero(value, hook):
    value = value.clone()
    value[:, -1] = 0.0
    return value


@variant("4.6")
def rebuilt_in_place(value, hook, autoencoder, instance=0):
    value.copy_(_all_rebuilt(value, autoencoder)[:, instance].reshape(value.shape))


@variant("4.6")
def rebuilt_in_place_and_returned(value, hook, autoencoder, instance=0):
    value[:] = _all_rebuilt(value, autoencoder)[:, instance].view_as(value)
    return value


@variant("4.6")
def by_formula(value, hook, autoencoder, instance=0):
    W_dec = autoencoder.normalize_and_return_W_dec()[instance]
    before = (value - autoencoder.b_dec[instance]) @ autoencoder.W_enc[instance] + autoencoder.b_enc[instance]
    return before.relu() @ W_dec + autoencoder.b_dec[instance]


@variant("4.6")
def text_after_text(value, hook, autoencoder, instance=0):
    count = autoencoder.cfg.n_instances
    parts = [autoencoder(text[:, None].repeat(1, count, 1)).h_reconstructed[:, instance] for text in value]
    return torch.stack(parts).double()


@variant("4.6")
def rearranged_back(value, hook, autoencoder, instance=0):
    rebuilt = _all_rebuilt(value, autoencoder)
    rebuilt = einops.rearrange(rebuilt, "(batch seq) n d -> n batch seq d", batch=value.shape[0])
    return rebuilt[instance].contiguous()


@variant("4.6", function="zero_ablation_hook")
def times_zero(value, hook):
    return value * 0


@variant("4.6", function="zero_ablation_hook")
def zeros_in_place(value, hook):
    value[...] = 0


@variant("4.6", function="zero_ablation_hook")
def new_zeros(value, hook):
    return torch.zeros(*value.shape)


# 4.7 get_substitution_loss(tokens, model, autoencoder, instance)


def _substituted(tokens, model, autoencoder, instance=0, mean=None, **changed):
    """Right as it is; a wrong answer changes a field, or the mean."""

    def loss(replace=None, name=MLP_HOOK):
        hooks = [(name, lambda value, hook: replace(value))] if replace else []
        return model.run_with_hooks(tokens, return_type="loss", fwd_hooks=hooks).detach()

    right = get_substitution_loss(tokens, model, autoencoder, instance)
    if mean is not None:
        return right._replace(mean_ablated=loss(lambda value: mean(value).expand_as(value)))
    return right._replace(**{name: change(right, loss) for name, change in changed.items()})


def _consistent(right):
    recovered = (right.zero_ablated - right.reconstructed) / (right.zero_ablated - right.clean)
    return right._replace(recovered=recovered)


@mutant("4.7", says="upside down")
def upside_down(tokens, model, autoencoder, instance=0):
    return _substituted(tokens, model, autoencoder, instance, recovered=lambda r, _: 1 / r.recovered)


@mutant("4.7", says="what is *lost*")
def share_lost(tokens, model, autoencoder, instance=0):
    return _substituted(tokens, model, autoencoder, instance, recovered=lambda r, _: 1 - r.recovered)


@mutant("4.7", says="*mean* ablation; here zero")
def mean_as_baseline(tokens, model, autoencoder, instance=0):
    return _substituted(
        tokens,
        model,
        autoencoder,
        instance,
        recovered=lambda r, _: (r.mean_ablated - r.reconstructed) / (r.mean_ablated - r.clean),
    )


@mutant("4.7", says="belongs into `mean_ablated`")
def mean_for_zero(tokens, model, autoencoder, instance=0):
    right = _substituted(tokens, model, autoencoder, instance, zero_ablated=lambda r, _: r.mean_ablated)
    return _consistent(right)


@mutant("4.7", says="ratio of the reconstructed to the clean")
def ratio_of_losses(tokens, model, autoencoder, instance=0):
    return _substituted(
        tokens, model, autoencoder, instance, recovered=lambda r, _: r.reconstructed / r.clean
    )


@mutant("4.7", says="percentage")
def percentage(tokens, model, autoencoder, instance=0):
    return _substituted(tokens, model, autoencoder, instance, recovered=lambda r, _: 100 * r.recovered)


@mutant("4.7", says="kept between 0 and 1")
def clamped(tokens, model, autoencoder, instance=0):
    return _substituted(tokens, model, autoencoder, instance, recovered=lambda r, _: r.recovered.clamp(0, 1))


@mutant("4.7", says="over the texts only")
def mean_over_texts_only(tokens, model, autoencoder, instance=0):
    return _substituted(tokens, model, autoencoder, instance, mean=lambda value: value.mean(0, keepdim=True))


@mutant("4.7", says="over the positions only")
def mean_over_positions_only(tokens, model, autoencoder, instance=0):
    return _substituted(tokens, model, autoencoder, instance, mean=lambda value: value.mean(1, keepdim=True))


@mutant("4.7", says="over all *neurons* too")
def mean_over_neurons_too(tokens, model, autoencoder, instance=0):
    return _substituted(tokens, model, autoencoder, instance, mean=lambda value: value.mean())


@mutant("4.7", says="on other tokens than the others: on the first half")
def clean_on_half(tokens, model, autoencoder, instance=0):
    half = tokens[: len(tokens) // 2]
    right = _substituted(
        tokens, model, autoencoder, instance, clean=lambda r, _: model(half, return_type="loss").detach()
    )
    return _consistent(right)


@mutant("4.7", says="on other tokens than the others: the last text is missing")
def reconstructed_on_fewer(tokens, model, autoencoder, instance=0):
    fewer = get_substitution_loss(tokens[:-1], model, autoencoder, instance).reconstructed
    return _consistent(_substituted(tokens, model, autoencoder, instance, reconstructed=lambda *_: fewer))


@mutant("4.7", says="is used, not instance")
def first_instance_always(tokens, model, autoencoder, instance=0):
    return get_substitution_loss(tokens, model, autoencoder, 0)


@mutant("4.7", says="*added up*, not averaged")
def losses_added_up(tokens, model, autoencoder, instance=0):
    right = get_substitution_loss(tokens, model, autoencoder, instance)
    count = tokens[:, 1:].numel()
    return (*(loss * count for loss in right[:4]), right.recovered)


@mutant("4.7", says="*current* token")
def not_shifted(tokens, model, autoencoder, instance=0):
    right = get_substitution_loss(tokens, model, autoencoder, instance)
    clean = F.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten()).detach()
    return _consistent(right._replace(clean=clean))


@mutant("4.7", says="takes its bias away too")
def mlp_output_zeroed(tokens, model, autoencoder, instance=0):
    return _consistent(
        _substituted(
            tokens,
            model,
            autoencoder,
            instance,
            zero_ablated=lambda r, loss: loss(torch.zeros_like, HOOK_OUT),
        )
    )


@mutant("4.7", says="*before* the activation function")
def replaced_before_the_gelu(tokens, model, autoencoder, instance=0):
    def hook(value):
        return reconstruction_hook(value, None, autoencoder, instance)

    return _consistent(
        _substituted(tokens, model, autoencoder, instance, reconstructed=lambda r, loss: loss(hook, HOOK_PRE))
    )


@mutant("4.7", says="in bits")
def in_bits(tokens, model, autoencoder, instance=0):
    right = get_substitution_loss(tokens, model, autoencoder, instance)
    return (*(loss / math.log(2) for loss in right[:4]), right.recovered)


@mutant("4.7", says="a hook is still on the model")
def hook_stays(tokens, model, autoencoder, instance=0):
    right = get_substitution_loss(tokens, model, autoencoder, instance)
    model.add_hook(MLP_HOOK, zero_ablation_hook)
    return right


@mutant("4.7", says="returns 4 things")
def losses_only(tokens, model, autoencoder, instance=0):
    return tuple(get_substitution_loss(tokens, model, autoencoder, instance))[:4]


@mutant("4.7", says="belongs into `reconstructed`")
def wrong_fields(tokens, model, autoencoder, instance=0):
    right = get_substitution_loss(tokens, model, autoencoder, instance)
    return right._replace(clean=right.reconstructed, reconstructed=right.clean)


@variant("4.7")
def partial_hooks(tokens, model, autoencoder, instance=0):
    def run(hook):
        return model.run_with_hooks(tokens, return_type="loss", fwd_hooks=[(MLP_HOOK, hook)]).item()

    mean = get_activations(tokens, model).flatten(0, 1).mean(0)
    clean = model(tokens, return_type="loss").item()
    rebuilt = run(functools.partial(reconstruction_hook, autoencoder=autoencoder, instance=instance))
    zero = run(zero_ablation_hook)
    average = run(lambda value, hook: mean.broadcast_to(value.shape))
    return clean, rebuilt, zero, average, 1 - (rebuilt - clean) / (zero - clean)


@variant("4.7")
def own_cross_entropy(tokens, model, autoencoder, instance=0):
    acts = get_activations(tokens, model)

    def run(replacement):
        def hook(value, hook):
            value[:] = replacement

        with torch.no_grad():
            logits = model.run_with_hooks(tokens, return_type="logits", fwd_hooks=[(MLP_HOOK, hook)]).double()
        said = logits[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None])
        return -said.mean()

    rebuilt = reconstruction_hook(acts, None, autoencoder, instance)
    losses = [run(x) for x in (acts, rebuilt, torch.zeros_like(acts), acts.mean((0, 1), keepdim=True))]
    return [*losses, (losses[2] - losses[1]) / (losses[2] - losses[0])]


@variant("4.7")
def added_hooks(tokens, model, autoencoder, instance=0):
    def run(*hooks):
        for hook in hooks:
            model.add_hook(MLP_HOOK, hook)
        loss = model(tokens, return_type="loss").detach()
        model.reset_hooks()
        return loss

    mean = get_activations(tokens, model).mean(1).mean(0)
    clean, zero = run(), run(lambda value, hook: value * 0)
    rebuilt = run(lambda value, hook: reconstruction_hook(value, hook, autoencoder, instance))
    average = run(lambda value, hook: mean.expand(*value.shape))
    return clean, rebuilt, zero, average, (zero - rebuilt) / (zero - clean)


@variant("4.7")
def as_a_dictionary(tokens, model, autoencoder, instance=0):
    return get_substitution_loss(tokens, model, autoencoder, instance)._asdict()


# 4.8 ablate_feature(tokens, model, autoencoder, feature_idx, instance)


def _logits(tokens, model, change):
    hook = (MLP_HOOK, lambda value, hook: change(value))
    with torch.no_grad():
        return model.run_with_hooks(tokens, return_type="logits", fwd_hooks=[hook])


def _clean(tokens, model):
    with torch.no_grad():
        return model(tokens, return_type="logits")


def _latent(value, autoencoder, feature, instance):
    acts = autoencoder(inputs_for_all_instances(value, autoencoder)).acts
    return acts[:, instance, feature].reshape(value.shape[:2]).detach()


def _ablated(tokens, model, autoencoder, feature, instance, direction=None, acts=None):
    if direction is None:
        direction = autoencoder.normalize_and_return_W_dec()[instance, feature].detach()
    acts = acts or (lambda value: _latent(value, autoencoder, feature, instance))
    ablated = _logits(tokens, model, lambda value: value - acts(value)[..., None] * direction)
    return ablated - _clean(tokens, model)


def _rebuilt_without(value, autoencoder, feature, instance):
    acts = autoencoder(inputs_for_all_instances(value, autoencoder)).acts[:, instance].detach()
    acts[:, feature] = 0
    rebuilt = acts @ autoencoder.normalize_and_return_W_dec()[instance] + autoencoder.b_dec[instance]
    return rebuilt.reshape(value.shape)


@mutant("4.8", says="*error* is lost")
def error_dropped(tokens, model, autoencoder, feature_idx, instance=0):
    without = _logits(tokens, model, lambda v: _rebuilt_without(v, autoencoder, feature_idx, instance))
    return without - _clean(tokens, model)


@mutant("4.8", says="whole *reconstruction*")
def compared_with_reconstruction(tokens, model, autoencoder, feature_idx, instance=0):
    without = _logits(tokens, model, lambda v: _rebuilt_without(v, autoencoder, feature_idx, instance))
    return without - _logits(tokens, model, lambda v: reconstruction_hook(v, None, autoencoder, instance))


@mutant("4.8", says="set to zero *for good*")
def row_zeroed_for_good(tokens, model, autoencoder, feature_idx, instance=0):
    effect = ablate_feature(tokens, model, autoencoder, feature_idx, instance)
    with torch.no_grad():
        autoencoder.W_dec[instance, feature_idx] = 0.0
    return effect


@mutant("4.8", says="set to zero *for good*")
def row_zeroed_and_reconstructed(tokens, model, autoencoder, feature_idx, instance=0):
    autoencoder.W_dec.data[instance, feature_idx] = 0.0
    without = _logits(tokens, model, lambda v: reconstruction_hook(v, None, autoencoder, instance))
    return without - _clean(tokens, model)


@mutant("4.8", says="sign is turned round")
def clean_minus_ablated(tokens, model, autoencoder, feature_idx, instance=0):
    return -ablate_feature(tokens, model, autoencoder, feature_idx, instance)


@mutant("4.8", says="latent of instance 0 is taken away")
def instance_0_always(tokens, model, autoencoder, feature_idx, instance=0):
    return ablate_feature(tokens, model, autoencoder, feature_idx)


@mutant("4.8", says="direction is that of instance 0")
def direction_of_instance_0(tokens, model, autoencoder, feature_idx, instance=0):
    direction = autoencoder.normalize_and_return_W_dec()[0, feature_idx].detach()
    return _ablated(tokens, model, autoencoder, feature_idx, instance, direction)


@mutant("4.8", says="as it is stored")
def stored_row(tokens, model, autoencoder, feature_idx, instance=0):
    direction = autoencoder.W_dec[instance, feature_idx].detach()
    return _ablated(tokens, model, autoencoder, feature_idx, instance, direction)


@mutant("4.8", says="*encoder* direction")
def encoder_direction(tokens, model, autoencoder, feature_idx, instance=0):
    direction = autoencoder.W_enc[instance, :, feature_idx].detach()
    return _ablated(tokens, model, autoencoder, feature_idx, instance, direction)


@mutant("4.8", says="once on every token")
def direction_on_every_token(tokens, model, autoencoder, feature_idx, instance=0):
    return _ablated(
        tokens, model, autoencoder, feature_idx, instance, acts=lambda value: torch.ones(value.shape[:2])
    )


@mutant("4.8", says="nothing to compare them with")
def ablated_logits(tokens, model, autoencoder, feature_idx, instance=0):
    return ablate_feature(tokens, model, autoencoder, feature_idx, instance) + _clean(tokens, model)


@mutant("4.8", says="*log-probabilities*")
def change_of_log_probabilities(tokens, model, autoencoder, feature_idx, instance=0):
    clean = _clean(tokens, model)
    ablated = clean + ablate_feature(tokens, model, autoencoder, feature_idx, instance)
    return ablated.log_softmax(-1) - clean.log_softmax(-1)


@mutant("4.8", says="a projection")
def projection(tokens, model, autoencoder, feature_idx, instance=0):
    direction = autoencoder.normalize_and_return_W_dec()[instance, feature_idx].detach()
    return _ablated(tokens, model, autoencoder, feature_idx, instance, acts=lambda value: value @ direction)


@mutant("4.8", says="neuron of the same number")
def neuron_ablated(tokens, model, autoencoder, feature_idx, instance=0):
    def change(value):
        value = value.clone()
        value[..., feature_idx] = 0
        return value

    return _logits(tokens, model, change) - _clean(tokens, model)


@mutant("4.8", says="last position only")
def at_the_last_position(tokens, model, autoencoder, feature_idx, instance=0):
    def acts(value):
        found = _latent(value, autoencoder, feature_idx, instance)
        found[:, :-1] = 0
        return found

    return _ablated(tokens, model, autoencoder, feature_idx, instance, acts=acts)


@mutant("4.8", says="`batch` and `seq` were mixed up")
def positions_mixed_up(tokens, model, autoencoder, feature_idx, instance=0):
    def acts(value):
        return _latent(value, autoencoder, feature_idx, instance).reshape(value.shape[1], value.shape[0]).mT

    return _ablated(tokens, model, autoencoder, feature_idx, instance, acts=acts)


@mutant("4.8", says="`b_dec` is not subtracted")
def latent_without_b_dec(tokens, model, autoencoder, feature_idx, instance=0):
    def acts(value):
        column = autoencoder.W_enc[instance, :, feature_idx]
        return (value @ column + autoencoder.b_enc[instance, feature_idx]).relu().detach()

    return _ablated(tokens, model, autoencoder, feature_idx, instance, acts=acts)


@mutant("4.8", says="the ReLU is left out")
def latent_without_relu(tokens, model, autoencoder, feature_idx, instance=0):
    def acts(value):
        column = autoencoder.W_enc[instance, :, feature_idx]
        before = (value - autoencoder.b_dec[instance]) @ column + autoencoder.b_enc[instance, feature_idx]
        return before.detach()

    return _ablated(tokens, model, autoencoder, feature_idx, instance, acts=acts)


@mutant("4.8", says="nothing is ablated")
def hook_returns_nothing(tokens, model, autoencoder, feature_idx, instance=0):
    direction = autoencoder.normalize_and_return_W_dec()[instance, feature_idx].detach()

    def change(value):
        value = value - _latent(value, autoencoder, feature_idx, instance)[..., None] * direction

    return _logits(tokens, model, change) - _clean(tokens, model)


@variant("4.8")
def error_put_back(tokens, model, autoencoder, feature_idx, instance=0):
    def change(value):
        rebuilt = reconstruction_hook(value, None, autoencoder, instance)
        return _rebuilt_without(value, autoencoder, feature_idx, instance) + (value - rebuilt)

    return (_logits(tokens, model, change) - _clean(tokens, model)).detach()


@variant("4.8")
def ablated_in_place(tokens, model, autoencoder, feature_idx, instance=0):
    direction = autoencoder.normalize_and_return_W_dec()[instance, feature_idx].detach()

    def change(value):
        value -= _latent(value, autoencoder, feature_idx, instance)[..., None] * direction

    return _logits(tokens, model, change).double() - _clean(tokens, model).double()


@variant("4.8")
def column_by_hand(tokens, model, autoencoder, feature_idx, instance=0):
    row = autoencoder.W_dec[instance, feature_idx]
    column, bias = autoencoder.W_enc[instance, :, feature_idx], autoencoder.b_enc[instance, feature_idx]

    def hook(value, hook):
        acts = torch.relu(torch.einsum("bsd,d->bs", value - autoencoder.b_dec[instance], column) + bias)
        return value - torch.einsum("bs,d->bsd", acts, row / row.norm())

    ablated = model.run_with_hooks(tokens, fwd_hooks=[(MLP_HOOK, hook)])
    return ablated - model(tokens)


@variant("4.8")
def row_zeroed_and_put_back(tokens, model, autoencoder, feature_idx, instance=0):
    acts = get_activations(tokens, model)
    rebuilt = reconstruction_hook(acts, None, autoencoder, instance)
    kept = autoencoder.W_dec.data.clone()
    autoencoder.W_dec.data[instance, feature_idx] = 0.0
    without = reconstruction_hook(acts, None, autoencoder, instance)
    autoencoder.W_dec.data.copy_(kept)
    return _logits(tokens, model, lambda value: acts - rebuilt + without) - _clean(tokens, model)


# 4.9 train_on_activations(tokens, model, factor, n_instances, l1_coeff, steps, batch_size, lr, seed, progress)


def _trained(
    tokens,
    model,
    factor=4,
    n_instances=1,
    l1_coeff=0.01,
    steps=1000,
    batch_size=1024,
    lr=1e-3,
    seed=0,
    progress=True,
    *,
    batches=None,
    before=lambda autoencoder: None,
    after=lambda autoencoder: autoencoder.normalize_decoder(),
    spread=lambda batch, n: batch[:, None].expand(-1, n, -1),
    seeded=True,
    zero_grad=True,
    backward=lambda output: output.loss.backward(),
    optimizer=torch.optim.Adam,
    size=lambda factor, d_mlp: factor * d_mlp,
    finish=lambda autoencoder: None,
):
    """A loop that is right as it is; a wrong answer gives one piece of its own."""
    if batches is None:
        feed = iter(ActivationBuffer(tokens, model, batch_size, seed=seed if seeded else 0))
    else:
        acts = get_activations(tokens, model).flatten(0, 1)
        feed = batches(acts, batch_size, torch.Generator().manual_seed(seed))
    if seeded:
        torch.manual_seed(seed)
    d_mlp = get_activations(tokens[:1], model).shape[-1]
    autoencoder = AutoEncoder(AutoEncoderConfig(n_instances, d_mlp, size(factor, d_mlp), l1_coeff))
    adam = optimizer(autoencoder.parameters(), lr=lr)
    losses = []
    for batch in itertools.islice(feed, steps):
        before(autoencoder)
        if zero_grad:
            adam.zero_grad()
        output = autoencoder(spread(batch, n_instances))
        backward(output)
        adam.step()
        after(autoencoder)
        losses.append(output.loss.item())
    finish(autoencoder)
    return autoencoder, losses


def _in_order(acts, batch_size, generator):
    while True:
        for start in range(0, len(acts) - batch_size + 1, batch_size):
            yield acts[start : start + batch_size]


def _rows_shuffled_only(acts, batch_size, generator):
    rows = acts.unflatten(0, (-1, 7))
    while True:
        shuffled = rows[torch.randperm(len(rows), generator=generator)].flatten(0, 1)
        yield from (part for part in shuffled.split(batch_size) if len(part) == batch_size)


def _batches_shuffled_only(acts, batch_size, generator):
    while True:
        parts = [part for part in acts.split(batch_size) if len(part) == batch_size]
        for number in torch.randperm(len(parts), generator=generator).tolist():
            yield parts[number]


def _last_part_filled_from_before(acts, batch_size, generator):
    while True:
        acts = acts[torch.randperm(len(acts), generator=generator)]
        for start in range(0, len(acts), batch_size):
            start = min(start, len(acts) - batch_size)
            yield acts[start : start + batch_size]


def _stuck_at_the_last_part(acts, batch_size, generator):
    shuffled = acts[torch.randperm(len(acts), generator=generator)]
    start = 0
    while True:
        yield shuffled[start : start + batch_size]
        if start + 2 * batch_size <= len(shuffled):
            start += batch_size


def _with_replacement(acts, batch_size, generator):
    while True:
        yield acts[torch.randint(len(acts), (batch_size,), generator=generator)]


def _one_batch(acts, batch_size, generator):
    return itertools.repeat(acts[torch.randperm(len(acts), generator=generator)[:batch_size]])


def _first_texts_only(acts, batch_size, generator):
    part = acts[: len(acts) // 2]
    while True:
        shuffled = part[torch.randperm(len(part), generator=generator)]
        yield from (piece for piece in shuffled.split(batch_size) if len(piece) == batch_size)


def _shuffled(acts, batch_size, generator):
    while True:
        shuffled = acts[torch.randperm(len(acts), generator=generator)]
        yield from (piece for piece in shuffled.split(batch_size) if len(piece) == batch_size)


@mutant("4.9", says="not shuffled")
def unshuffled(*args, **kwargs):
    return _trained(*args, **kwargs, batches=_in_order)


@mutant("4.9", says="not shuffled")
def rows_shuffled_only(*args, **kwargs):
    return _trained(*args, **kwargs, batches=_rows_shuffled_only)


@mutant("4.9", says="not shuffled")
def batches_shuffled_only(*args, **kwargs):
    return _trained(*args, **kwargs, batches=_batches_shuffled_only)


@mutant("4.9", says="the very activations of the batch before")
def last_part_reused(*args, **kwargs):
    return _trained(*args, **kwargs, batches=_last_part_filled_from_before)


@mutant("4.9", says="same batch is used")
def stuck_at_the_end(*args, **kwargs):
    return _trained(*args, **kwargs, batches=_stuck_at_the_last_part)


@mutant("4.9", says="with replacement")
def drawn_with_replacement(*args, **kwargs):
    return _trained(*args, **kwargs, batches=_with_replacement)


@mutant("4.9", says="same batch is used for every step")
def one_batch_forever(*args, **kwargs):
    return _trained(*args, **kwargs, batches=_one_batch)


@mutant("4.9", says="never used")
def half_of_the_text(*args, **kwargs):
    return _trained(*args, **kwargs, batches=_first_texts_only)


@mutant("4.9", says="do not keep unit length")
def never_normalized(*args, **kwargs):
    return _trained(*args, **kwargs, after=lambda autoencoder: None)


@mutant("4.9", says="normalized *before* each step")
def normalized_before_the_step(*args, **kwargs):
    return _trained(
        *args,
        **kwargs,
        before=lambda autoencoder: autoencoder.normalize_decoder(),
        after=lambda autoencoder: None,
    )


@mutant("4.9", says="drift away from it during the training")
def normalized_at_the_end(*args, **kwargs):
    return _trained(
        *args,
        **kwargs,
        after=lambda autoencoder: None,
        finish=lambda autoencoder: autoencoder.normalize_decoder(),
    )


@mutant("4.9", says="do not keep unit length")
def normalized_copy(*args, **kwargs):
    return _trained(*args, **kwargs, after=lambda autoencoder: autoencoder.normalize_and_return_W_dec())


@mutant("4.9", says="gradients of all batches add up")
def gradients_add_up(*args, **kwargs):
    return _trained(*args, **kwargs, zero_grad=False)


@mutant("4.9", says="encoder does not change")
def no_step(*args, **kwargs):
    class Idle(torch.optim.Adam):
        def step(self, closure=None):
            return None

    return _trained(*args, **kwargs, optimizer=Idle)


@mutant("4.9", says="learning rate `lr`")
def learning_rate_ignored(*args, **kwargs):
    return _trained(*args, **{**kwargs, "lr": 1e-4})


@mutant("4.9", says="learning rate `lr`")
def gradient_descent(*args, **kwargs):
    return _trained(*args, **kwargs, optimizer=torch.optim.SGD)


@mutant("4.9", says="`factor` times as many")
def four_times_always(*args, **kwargs):
    return _trained(*args, **kwargs, size=lambda factor, d_mlp: 4 * d_mlp)


@mutant("4.9", says="`factor` times as many")
def factor_as_number(*args, **kwargs):
    return _trained(*args, **kwargs, size=lambda factor, d_mlp: factor)


@mutant("4.9", says="`l1_coeff` is 0.5")
def penalty_ignored(*args, **kwargs):
    return _trained(*args, **{**kwargs, "l1_coeff": 0.5})


@mutant("4.9", says="squared error alone")
def squared_error_only(*args, **kwargs):
    return _trained(*args, **kwargs, backward=lambda output: output.l2_loss.mean(0).sum().backward())


@mutant("4.9", says="`n_instances` is 2")
def one_instance(*args, **kwargs):
    return _trained(*args, **{**kwargs, "n_instances": 1})


@mutant("4.9", says="different inputs")
def instances_on_other_batches(*args, **kwargs):
    return _trained(
        *args, **kwargs, spread=lambda batch, n: torch.stack([batch.roll(i, 0) for i in range(n)], 1)
    )


@mutant("4.9", says="not trained on the activations")
def scaled_activations(*args, **kwargs):
    return _trained(*args, **kwargs, spread=lambda batch, n: (batch / batch.std())[:, None].repeat(1, n, 1))


@mutant("4.9", says="same seed give different")
def not_seeded(*args, **kwargs):
    return _trained(*args, **kwargs, seeded=False)


@mutant("4.9", says="`seed` is not used")
def always_the_same_seed(*args, **kwargs):
    return _trained(*args, **{**kwargs, "seed": 0})


@mutant("4.9", says="makes 40 steps")
def half_of_the_steps(*args, **kwargs):
    return _trained(*args, **{**kwargs, "steps": kwargs["steps"] // 2})


@mutant("4.9", says="`batch_size` is 11")
def twice_as_large_batches(*args, **kwargs):
    return _trained(*args, **{**kwargs, "batch_size": 2 * kwargs["batch_size"]})


@mutant("4.9", says="alone; expected a pair")
def autoencoder_alone(*args, **kwargs):
    return train_on_activations(*args, **kwargs)[0]


@mutant("4.9", says="log first")
def log_first(*args, **kwargs):
    return train_on_activations(*args, **kwargs)[::-1]


@variant("4.9")
def own_loop(*args, **kwargs):
    return _trained(*args, **kwargs)


@variant("4.9")
def own_shuffling(*args, **kwargs):
    return _trained(*args, **kwargs, batches=_shuffled)


@variant("4.9")
def with_a_data_loader(*args, **kwargs):
    def batches(acts, batch_size, generator):
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(acts), batch_size, shuffle=True, generator=generator
        )
        while True:
            for (batch,) in loader:
                yield batch

    return _trained(*args, **kwargs, batches=batches)


@variant("4.9")
def decoder_divided_by_hand(*args, **kwargs):
    @torch.no_grad()
    def normalize(autoencoder):
        autoencoder.W_dec.div_(autoencoder.W_dec.norm(dim=-1, keepdim=True))

    return _trained(*args, **kwargs, after=normalize)


@variant("4.9")
def with_the_training_loop(
    tokens,
    model,
    factor=4,
    n_instances=1,
    l1_coeff=0.01,
    steps=1000,
    batch_size=1024,
    lr=1e-3,
    seed=0,
    progress=True,
):
    torch.manual_seed(seed)
    d_mlp = model.cfg.d_mlp
    autoencoder = AutoEncoder(AutoEncoderConfig(n_instances, d_mlp, d_mlp * factor, l1_coeff))
    buffer = iter(ActivationBuffer(tokens, model, batch_size, buffer_rows=12, seed=seed + 1))

    def compute_loss():
        return autoencoder(next(buffer).unsqueeze(1).repeat(1, n_instances, 1)).loss

    log = train(
        compute_loss,
        autoencoder.parameters(),
        steps,
        lr=lr,
        lr_schedule=linear_lr,
        after_step=lambda step, optimizer: autoencoder.normalize_decoder(),
        progress=progress,
    )
    assert isinstance(log, TrainingLog)
    return [autoencoder, log]
