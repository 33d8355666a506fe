"""Answers to exercise 4.2: `get_feature_probability`."""

import torch

from part_utils.activations import (
    get_activations,
)
from part_utils.evaluation import (
    get_feature_probability,
    inputs_for_all_instances,
)
from tests.mutants import equivalent, mutant, variant
from tests.mutants.chapter_04.shared import HOOK_PRE, cached


def _latents(tokens, model, autoencoder):
    with torch.no_grad():
        parts = [
            autoencoder(inputs_for_all_instances(get_activations(rows, model), autoencoder)).acts
            for rows in tokens.split(5)
        ]
        return torch.cat(parts)


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
    h = inputs_for_all_instances(cached(tokens, model, HOOK_PRE), autoencoder)
    return (autoencoder(h).acts > 0).float().mean(0)


@mutant("4.2", says="first position of every text is left out")
def without_bos(tokens, model, autoencoder, batch_rows=16):
    h = inputs_for_all_instances(get_activations(tokens, model)[:, 1:], autoencoder)
    return (autoencoder(h).acts > 0).float().mean(0)


@mutant("4.2", says="`b_dec` of the autoencoder was changed")
def biases_changed(tokens, model, autoencoder, batch_rows=16):
    rates = get_feature_probability(tokens, model, autoencoder, batch_rows)
    autoencoder.b_dec.data.zero_()
    return rates


@mutant("4.2", says="are computed at once")
def batch_rows_ignored(tokens, model, autoencoder, batch_rows=16):
    return get_feature_probability(tokens, model, autoencoder, len(tokens))


@variant("4.2")
def activations_at_once_latents_in_parts(tokens, model, autoencoder, batch_rows=16):
    h = inputs_for_all_instances(get_activations(tokens, model), autoencoder)
    fires = [(autoencoder(part).acts > 0).sum(0) for part in h.split(batch_rows)]
    return sum(fires) / len(h)


@variant("4.2")
def counts_of_parts_in_double(tokens, model, autoencoder, batch_rows=16):
    parts = tokens.split(batch_rows)
    counts = [(_latents(rows, model, autoencoder) > 0).double().sum(dim=0) for rows in parts]
    return torch.stack(counts).sum(dim=0) / tokens.numel()


@variant("4.2")
def nonzero_counted(tokens, model, autoencoder, batch_rows=16):
    parts = tokens.split(batch_rows)
    counts = sum(torch.count_nonzero(_latents(rows, model, autoencoder), dim=0) for rows in parts)
    return counts / tokens.numel()


@variant("4.2")
def row_by_row_weighted(tokens, model, autoencoder, batch_rows=16):
    rates, seen = 0, 0
    for row in tokens:
        fires = (_latents(row[None], model, autoencoder) > 0).float().sum(0)
        rates, seen = rates + fires, seen + row.numel()
    return rates / seen


@variant("4.2")
def rates_with_numpy(tokens, model, autoencoder, batch_rows=16):
    counts = sum(
        (_latents(rows, model, autoencoder).numpy() > 0).sum(axis=0) for rows in tokens.split(batch_rows)
    )
    return torch.from_numpy(counts / tokens.numel())


@mutant("4.2", says="fire above *thresholds* of their own")
def own_encoder_sign(tokens, model, autoencoder, batch_rows=16):
    counts = torch.zeros_like(autoencoder.b_enc)
    for rows in tokens.split(batch_rows):
        h = get_activations(rows, model).flatten(0, 1)
        for i in range(autoencoder.cfg.n_instances):
            before = (h - autoencoder.b_dec[i]) @ autoencoder.W_enc[i] + autoencoder.b_enc[i]
            counts[i] += torch.heaviside(before, torch.zeros(())).sum(0).detach()
    return counts / tokens.numel()


@mutant("4.2", says="stay in memory: all of their 19 latents")
def which_fire_is_kept(tokens, model, autoencoder, batch_rows=16):
    kept = [_latents(rows, model, autoencoder) > 0 for rows in tokens.split(batch_rows)]
    return torch.cat(kept).float().mean(dim=0)


@mutant("4.2", says="has a rate of exactly 0")
def rates_never_zero(tokens, model, autoencoder, batch_rows=16):
    return get_feature_probability(tokens, model, autoencoder, batch_rows).clamp_min(1e-6)


@mutant("4.2", says="the *positions* are split into parts")
def positions_split(tokens, model, autoencoder, batch_rows=16):
    parts = tokens.split(batch_rows, dim=1)
    return sum((_latents(part, model, autoencoder) > 0).sum(dim=0) for part in parts) / tokens.numel()


@mutant("4.2", says="each token goes through the model alone")
def tokens_one_by_one(tokens, model, autoencoder, batch_rows=16):
    return get_feature_probability(tokens.reshape(-1, 1), model, autoencoder, batch_rows)


@mutant("4.2", says="the number of parts times the tokens of a full one")
def every_part_taken_for_a_full_one(tokens, model, autoencoder, batch_rows=16):
    parts = tokens.split(batch_rows)
    counts = sum((_latents(part, model, autoencoder) > 0).sum(dim=0) for part in parts)
    return counts / (len(parts) * batch_rows * tokens.shape[1])


@mutant("4.2", says="an axis of size 1 is lost")
def squeezed(tokens, model, autoencoder, batch_rows=16):
    return get_feature_probability(tokens, model, autoencoder, batch_rows).squeeze()


@mutant("4.2", says="above 0.01 to count")
def threshold_of_a_hundredth(tokens, model, autoencoder, batch_rows=16):
    return (_latents(tokens, model, autoencoder) > 1e-2).float().mean(0)


@mutant("4.2", says="above 0.001 to count")
def threshold_of_a_thousandth(tokens, model, autoencoder, batch_rows=16):
    return (_latents(tokens, model, autoencoder) > 1e-3).float().mean(0)


@mutant("4.2", says="the shares are in percent")
def percent(tokens, model, autoencoder, batch_rows=16):
    return 100 * get_feature_probability(tokens, model, autoencoder, batch_rows)


@mutant("4.2", says="all have the same rates")
def averaged_and_spread(tokens, model, autoencoder, batch_rows=16):
    rates = get_feature_probability(tokens, model, autoencoder, batch_rows)
    return rates.mean(0, keepdim=True).expand_as(rates)


@mutant("4.2", says="most active latent of each token")
def winners_counted(tokens, model, autoencoder, batch_rows=16):
    acts = _latents(tokens, model, autoencoder)
    return torch.nn.functional.one_hot(acts.argmax(-1), acts.shape[-1]).float().mean(0)


@mutant("4.2", says="do not fit into 8 bits")
def counted_in_int8(tokens, model, autoencoder, batch_rows=16):
    return (_latents(tokens, model, autoencoder) > 0).to(torch.int8).sum(0, dtype=torch.int8) / tokens.numel()


def _firing(rows, model, autoencoder, threshold=0.0):
    h = inputs_for_all_instances(get_activations(rows, model), autoencoder)
    return autoencoder(h).acts > threshold


@mutant("4.2", says="the parts' means are averaged, although the last part is")
def mean_of_the_chunks_means(tokens, model, autoencoder, batch_rows=16):
    parts = [_firing(rows, model, autoencoder).float().mean(0) for rows in tokens.split(batch_rows)]
    return torch.stack(parts).mean(0)


@mutant("4.2", says="only the first part of the rows is counted, and divided by the")
def returns_inside_the_loop(tokens, model, autoencoder, batch_rows=16):
    for rows in tokens.split(batch_rows):
        return _firing(rows, model, autoencoder).sum(0) / tokens.numel()


@mutant("4.2", says="so that those of a long text need not fit into memory")
def sixteen_rows_always(tokens, model, autoencoder, batch_rows=16):
    return sum(_firing(rows, model, autoencoder).sum(0) for rows in tokens.split(16)) / tokens.numel()


@mutant("4.2", says="the counts do not fit into their")
def counts_in_bytes(tokens, model, autoencoder, batch_rows=16):
    counts = torch.zeros(autoencoder.cfg.n_instances, autoencoder.cfg.n_hidden_ae, dtype=torch.uint8)
    for rows in tokens.split(batch_rows):
        counts += _firing(rows, model, autoencoder).sum(0).to(torch.uint8)
    return counts / tokens.numel()


@mutant("4.2", says="tokens on which the activation is exactly")
def every_latent_counts_tokens_where_any_fires(tokens, model, autoencoder, batch_rows=16):
    counts = torch.zeros(autoencoder.cfg.n_instances, autoencoder.cfg.n_hidden_ae)
    for rows in tokens.split(batch_rows):
        counts += _firing(rows, model, autoencoder).any(dim=2, keepdim=True).sum(0)
    return counts / tokens.numel()


@mutant("4.2", says="the first position of every text is left out")
def without_the_first_positions(tokens, model, autoencoder, batch_rows=16):
    return sum(
        _firing(rows, model, autoencoder).unflatten(0, rows.shape)[:, 1:].flatten(0, 1).sum(0)
        for rows in tokens.split(batch_rows)
    ) / (tokens.numel() - len(tokens))


@mutant("4.2", says="the rates are divided by their sum")
def share_among_the_firing(tokens, model, autoencoder, batch_rows=16):
    counts = sum(_firing(rows, model, autoencoder).sum(0) for rows in tokens.split(batch_rows))
    return counts / counts.sum(-1, keepdim=True)


@variant("4.2")
def not_zero_is_above_zero(tokens, model, autoencoder, batch_rows=16):
    counts = 0
    for start in range(0, len(tokens), batch_rows):
        h = inputs_for_all_instances(get_activations(tokens[start : start + batch_rows], model), autoencoder)
        counts = counts + torch.count_nonzero(autoencoder(h).acts, dim=0)
    return counts.float() / (tokens.shape[0] * tokens.shape[1])


@variant("4.2")
def mean_of_means_weighted_by_length(tokens, model, autoencoder, batch_rows=16):
    parts = [
        _firing(rows, model, autoencoder).float().mean(0) * (len(rows) / len(tokens))
        for rows in tokens.split(batch_rows)
    ]
    return torch.stack(parts).sum(0)


equivalent(
    "4.2",
    "Every check runs on the CPU, which is the default.",
    "torch.zeros(device=tokens.device) -> torch.zeros()",
)
