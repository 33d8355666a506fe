"""Answers to the exercises of chapter 5: interpreting features."""

import re
import statistics
import warnings

import numpy as np
import torch
from einops import einsum, rearrange
from torch.nn import functional as F

from part_utils.activations import MLP_HOOK, get_activations
from part_utils.hypotheses import FeatureDetective
from part_utils.interpretation import feature_activations
from tests.mutants import mutant, variant

# 5.1 highest_activating_tokens(tokens, model, autoencoder, feature_idx, instance, k, batch_rows)


def _one_column(h, ae, f, i):
    return torch.relu((h - ae.b_dec[i]) @ ae.W_enc[i, :, f] + ae.b_enc[i, f])


@torch.no_grad()
def _highest(
    tokens,
    model,
    ae,
    f,
    i=0,
    k=10,
    batch_rows=32,
    acts_of=_one_column,
    offset=True,
    count=min,
    places=lambda at, rows, seq: (at // seq, at % seq),
    drop_last=False,
    largest=True,
):
    """Right as it is; a wrong answer gives one piece of its own."""
    values, indices = torch.zeros(0), torch.zeros(0, 2, dtype=torch.long)
    for start in range(0, len(tokens), batch_rows):
        part = tokens[start : start + batch_rows]
        if drop_last and len(part) < batch_rows and start:
            break
        acts = acts_of(get_activations(part, model), ae, f, i)
        row, position = places(torch.arange(acts.numel()), len(part), acts.shape[1])
        indices = torch.cat([indices, torch.stack([row + start * offset, position], dim=1)])
        values = torch.cat([values, acts.flatten()])
        values, best = values.topk(count(k, len(values)), largest=largest)
        indices = indices[best]
    return indices, values


@mutant("5.1", says="it computes all of them")
@torch.no_grad()
def forward_on_all_latents(tokens, model, ae, f, i=0, k=10, batch_rows=32):
    def acts_of(h, ae, f, i):
        flat = h.flatten(0, 1)[:, None].expand(-1, ae.cfg.n_instances, -1)
        return ae(flat).acts[:, i, f].reshape(h.shape[:2])

    return _highest(tokens, model, ae, f, i, k, batch_rows, acts_of)


@mutant("5.1", says="it computes all of them")
def all_columns_of_one_instance(tokens, model, ae, f, i=0, k=10, batch_rows=32):
    def acts_of(h, ae, f, i):
        return torch.relu((h - ae.b_dec[i]) @ ae.W_enc[i] + ae.b_enc[i])[..., f]

    return _highest(tokens, model, ae, f, i, k, batch_rows, acts_of)


@mutant("5.1", says="it computes all of them")
def folded_bias_of_all_latents(tokens, model, ae, f, i=0, k=10, batch_rows=32):
    def acts_of(h, ae, f, i):
        bias = ae.b_enc[i] - ae.b_dec[i] @ ae.W_enc[i]
        return torch.relu(h @ ae.W_enc[i, :, f] + bias[f])

    return _highest(tokens, model, ae, f, i, k, batch_rows, acts_of)


@mutant("5.1", says="rows went through the model at once")
@torch.no_grad()
def whole_text_at_once(tokens, model, ae, f, i=0, k=10, batch_rows=32):
    values, at = _one_column(get_activations(tokens, model), ae, f, i).flatten().topk(min(k, tokens.numel()))
    return torch.stack([at // tokens.shape[1], at % tokens.shape[1]], dim=1), values


@mutant("5.1", says="`b_dec` is not subtracted")
def without_b_dec(*args):
    return _highest(*args, acts_of=lambda h, ae, f, i: torch.relu(h @ ae.W_enc[i, :, f] + ae.b_enc[i, f]))


@mutant("5.1", says="`b_enc` is left out")
def without_b_enc(*args):
    return _highest(*args, acts_of=lambda h, ae, f, i: torch.relu((h - ae.b_dec[i]) @ ae.W_enc[i, :, f]))


@mutant("5.1", says="both biases are left out")
def without_biases(*args):
    return _highest(*args, acts_of=lambda h, ae, f, i: torch.relu(h @ ae.W_enc[i, :, f]))


@mutant("5.1", says="ReLU is left out")
def without_relu(*args):
    return _highest(*args, acts_of=lambda h, ae, f, i: (h - ae.b_dec[i]) @ ae.W_enc[i, :, f] + ae.b_enc[i, f])


@mutant("5.1", says="decoder's row is used")
def decoder_row(*args):
    return _highest(
        *args, acts_of=lambda h, ae, f, i: torch.relu((h - ae.b_dec[i]) @ ae.W_dec[i, f] + ae.b_enc[i, f])
    )


@mutant("5.1", says="other instance")
def first_instance_only(tokens, model, ae, f, i=0, k=10, batch_rows=32):
    return _highest(tokens, model, ae, f, 0, k, batch_rows)


@mutant("5.1", says="`b_dec` is the other instance's")
def first_instance_of_b_dec(*args):
    return _highest(
        *args, acts_of=lambda h, ae, f, i: torch.relu((h - ae.b_dec[0]) @ ae.W_enc[i, :, f] + ae.b_enc[i, f])
    )


@mutant("5.1", says="(seq, batch)")
def sequence_first(*args):
    indices, values = _highest(*args)
    return indices.flip(-1), values


@mutant("5.1", says="number of rows instead of `seq`")
def unravel_with_rows(tokens, model, ae, f, i=0, k=10, batch_rows=32):
    indices, values = _highest(tokens, model, ae, f, i, k, batch_rows)
    flat = indices[:, 0] * tokens.shape[1] + indices[:, 1]
    return torch.stack([flat // len(tokens), flat % len(tokens)], dim=1), values


@mutant("5.1", says="each batch")
def rows_count_from_the_batch(*args):
    return _highest(*args, offset=False)


@mutant("5.1", says="flattened text")
def flat_places(tokens, *args):
    indices, values = _highest(tokens, *args)
    return indices[:, 0] * tokens.shape[1] + indices[:, 1], values


@mutant("5.1", says="`2 k`")
def two_by_k(*args):
    indices, values = _highest(*args)
    return indices.T, values


@mutant("5.1", says="fewer than `k` tokens")
def k_larger_than_the_text(tokens, model, ae, f, i=0, k=10, batch_rows=32):
    acts = feature_activations(tokens, model, ae, f, i, batch_rows)
    values, at = acts.flatten().topk(k)
    return torch.stack([at // tokens.shape[1], at % tokens.shape[1]], dim=1), values


@mutant("5.1", says="last batch of rows, which is smaller, is left out")
def last_batch_dropped(*args):
    return _highest(*args, drop_last=True)


@mutant("5.1", says="only the last batch")
def only_the_last_batch(tokens, model, ae, f, i=0, k=10, batch_rows=32):
    start = (len(tokens) - 1) // batch_rows * batch_rows
    indices, values = _highest(tokens[start:], model, ae, f, i, k, batch_rows)
    return indices + torch.tensor([start, 0]), values


@mutant("5.1", says="not compared with one another")
def best_of_each_batch(tokens, model, ae, f, i=0, k=10, batch_rows=32):
    parts = [
        _highest(tokens[s : s + batch_rows], model, ae, f, i, k, batch_rows)
        for s in range(0, len(tokens), batch_rows)
    ]
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])


@mutant("5.1", says="lowest activations")
def smallest(*args):
    return _highest(*args, largest=False)


@mutant("5.1", says="highest activation comes last")
def ascending(*args):
    indices, values = _highest(*args)
    return indices.flip(0), values.flip(0)


@mutant("5.1", says="each row gives only its best token")
@torch.no_grad()
def best_of_each_row(tokens, model, ae, f, i=0, k=10, batch_rows=32):
    best = feature_activations(tokens, model, ae, f, i, batch_rows).max(dim=1)
    values, rows = best.values.topk(min(k, len(tokens)))
    return torch.stack([rows, best.indices[rows]], dim=1), values


@mutant("5.1", says="exchanged")
def values_first(*args):
    return _highest(*args)[::-1]


@mutant("5.1", says="one tensor")
def only_indices(*args):
    return _highest(*args)[0]


@mutant("5.1", says="torch.float32 values")
def indices_as_floats(*args):
    indices, values = _highest(*args)
    return indices.float(), values


@variant("5.1")
@torch.no_grad()
def a_row_at_a_time(tokens, model, ae, f, i=0, k=10, batch_rows=32):
    found = []
    for r, row in enumerate(tokens):
        acts = _one_column(get_activations(row[None], model), ae, f, i)[0]
        found += [(a, r, p) for p, a in enumerate(acts.tolist())]
        found = sorted(found, reverse=True)[:k]
    return torch.tensor([[r, p] for _, r, p in found]), torch.tensor([a for a, _, _ in found])


@variant("5.1")
def library_helper_then_topk(tokens, model, ae, f, i=0, k=10, batch_rows=32):
    acts = feature_activations(tokens, model, ae, f, i, batch_rows)
    best = acts.flatten().topk(min(k, acts.numel()))
    indices = np.stack(np.unravel_index(best.indices.numpy(), tuple(acts.shape)), axis=-1)
    return torch.from_numpy(indices), best.values


@variant("5.1")
def batches_of_its_own(tokens, model, ae, f, i=0, k=10, batch_rows=32):
    return list(_highest(tokens, model, ae, f, i, k, 3))


@variant("5.1")
def hooks_and_folded_bias(tokens, model, ae, f, i=0, k=10, batch_rows=32):
    column = ae.W_enc[i][:, f].detach()
    bias = (ae.b_enc[i, f] - ae.b_dec[i] @ column).detach()
    kept = []
    for chunk in tokens.split(batch_rows):
        seen = []
        with torch.no_grad():
            model.run_with_hooks(
                chunk, fwd_hooks=[(MLP_HOOK, lambda value, hook, seen=seen: seen.append(value))]
            )
        kept.append(einsum(seen[0], column, "b s d, d -> b s") + bias)
    acts = torch.cat(kept).clamp_min(0)
    order = acts.flatten().argsort(descending=True, stable=True)[:k]
    return torch.stack([order // acts.shape[1], order % acts.shape[1]], -1), acts.flatten()[order]


@variant("5.1")
def ties_the_other_way(tokens, model, ae, f, i=0, k=10, batch_rows=32):
    indices, values = _highest(tokens.flip(0), model, ae, f, i, k, batch_rows)
    return torch.stack([len(tokens) - 1 - indices[:, 0], indices[:, 1]], dim=1).int(), values


# 5.2 feature_logit_effect(model, autoencoder, feature_idx, instance, k)


def _ends(effect, k):
    return effect, effect.topk(k).indices, effect.topk(k, largest=False).indices


@torch.no_grad()
def _effect(model, ae, f, i=0, k=10, direction=None, written=lambda w, model: w, sign=1):
    if direction is None:
        direction = F.normalize(ae.W_dec[i, f], dim=0)
    return _ends(sign * written(direction @ model.blocks[0].mlp.W_out, model) @ model.W_U, k)


@mutant("5.2", says="encoder's column is used")
def effect_of_the_encoder(model, ae, f, i=0, k=10):
    return _effect(model, ae, f, i, k, ae.W_enc[i, :, f])


@mutant("5.2", says="encoder's column at unit length")
def effect_of_the_unit_encoder(model, ae, f, i=0, k=10):
    return _effect(model, ae, f, i, k, F.normalize(ae.W_enc[i, :, f], dim=0))


@mutant("5.2", says="not brought to unit length")
def effect_of_any_length(model, ae, f, i=0, k=10):
    return _effect(model, ae, f, i, k, ae.W_dec[i, f])


@mutant("5.2", says="ablation")
def effect_of_an_ablation(*args):
    return _effect(*args, sign=-1)


@mutant("5.2", says="final LayerNorm is applied")
def layer_norm_applied(*args):
    return _effect(
        *args,
        written=lambda w, m: F.layer_norm(w, w.shape, m.ln_final.weight, torch.zeros_like(w), 1e-5),
    )


@mutant("5.2", says="final LayerNorm is applied, with its bias")
def layer_norm_module(*args):
    return _effect(*args, written=lambda w, m: m.ln_final(w[None, None])[0, 0])


@mutant("5.2", says="LayerNorm's weights are multiplied in")
def layer_norm_weights_folded(*args):
    return _effect(*args, written=lambda w, m: w * m.ln_final.weight)


@mutant("5.2", says="divided by its length")
def written_at_unit_length(*args):
    return _effect(*args, written=lambda w, m: w / w.norm())


@mutant("5.2", says="other instance")
def effect_in_the_other_instance(model, ae, f, i=0, k=10):
    return _effect(model, ae, f, 0, k)


@mutant("5.2", says="column instead of its row")
def effect_of_a_column(model, ae, f, i=0, k=10):
    return _effect(model, ae, f, i, k, ae.normalize_and_return_W_dec()[i, :13, f])


@mutant("5.2", says="output bias is added")
def with_the_output_bias(*args):
    return _effect(*args, written=lambda w, m: w + m.blocks[0].mlp.b_out)


@mutant("5.2", says="unembedding's bias is added")
@torch.no_grad()
def with_the_unembedding_bias(model, ae, f, i=0, k=10):
    return _ends(_effect(model, ae, f, i, k)[0] + model.b_U, k)


@mutant("5.2", says="softmax is taken")
def as_probabilities(model, ae, f, i=0, k=10):
    return _ends(_effect(model, ae, f, i, k)[0].softmax(0), k)


@mutant("5.2", says="`top` and `bottom` are exchanged")
def top_and_bottom_exchanged(*args):
    effect, top, bottom = _effect(*args)
    return effect, bottom, top


@mutant("5.2", says="`bottom` has the right tokens in the wrong order")
def bottom_the_wrong_way_round(model, ae, f, i=0, k=10):
    effect = _effect(model, ae, f, i, k)[0]
    order = effect.argsort(descending=True)
    return effect, order[:k], order[-k:]


@mutant("5.2", says="`top` has the right tokens in the wrong order")
def top_the_wrong_way_round(model, ae, f, i=0, k=10):
    effect = _effect(model, ae, f, i, k)[0]
    order = effect.argsort()
    return effect, order[-k:], order[:k]


@mutant("5.2", says="without its sign")
def top_by_size(model, ae, f, i=0, k=10):
    effect, _, bottom = _effect(model, ae, f, i, k)
    return effect, effect.abs().topk(k).indices, bottom


@mutant("5.2", says="`top` holds the effects")
def values_for_tokens(model, ae, f, i=0, k=10):
    effect = _effect(model, ae, f, i, k)[0]
    return effect, effect.topk(k).values, effect.topk(k, largest=False).values


@mutant("5.2", says="`top` should have the shape")
def always_ten_tokens(model, ae, f, i=0, k=10):
    return _effect(model, ae, f, i, 10)


@variant("5.2")
@torch.no_grad()
def centered_over_the_vocabulary(model, ae, f, i=0, k=10):
    effect = ae.normalize_and_return_W_dec()[i, f] @ model.blocks[0].mlp.W_out @ model.W_U
    return _ends(effect - effect.mean(), k)


@variant("5.2")
@torch.no_grad()
def centered_unembedding(model, ae, f, i=0, k=10):
    W_U = model.W_U - model.W_U.mean(dim=1, keepdim=True)
    effect = einsum(ae.normalize_and_return_W_dec()[i, f], model.blocks[0].mlp.W_out, W_U, "m, m d, d v -> v")
    order = effect.argsort(descending=True)
    return [effect, order[:k], order.flip(0)[:k]]


@variant("5.2")
def weights_first(model, ae, f, i=0, k=10):
    with torch.no_grad():
        to_logits = (model.blocks[0].mlp.W_out @ model.W_U).double()
        return _ends(F.normalize(ae.W_dec[i, f].double(), dim=-1) @ to_logits, k)


@variant("5.2")
def with_gradients_and_lists(model, ae, f, i=0, k=10):
    row = ae.W_dec[i][f]
    effect = model.W_U.T @ (model.blocks[0].mlp.W_out.T @ (row / row.pow(2).sum().sqrt()))
    ordered = sorted(range(len(effect)), key=lambda token: -effect[token].item())
    return effect, torch.tensor(ordered[:k]), torch.tensor(ordered[::-1][:k])


# 5.3 feature_in_neuron_basis(autoencoder, feature_idx, instance)


def _count(share, part):
    held = share.sort(descending=True).values.double().cumsum(0)
    return int((held < part - 1e-6).sum()) + 1


@torch.no_grad()
def _shares(ae, f, i=0, vector=None, share=lambda v: v.pow(2) / v.pow(2).sum(), count=_count):
    share = share(ae.W_dec[i, f] if vector is None else vector)
    return share, count(share, 0.5), count(share, 0.9)


@mutant("5.3", says="without squaring")
def absolute_share(*args):
    return _shares(*args, share=lambda v: v.abs() / v.abs().sum())


@mutant("5.3", says="do not add up to 1")
def squares_of_any_length(*args):
    return _shares(*args, share=lambda v: v.pow(2), count=lambda s, p: _count(s / s.sum(), p))


@mutant("5.3", says="not the squares of its entries")
def direction_itself(*args):
    return _shares(*args, share=lambda v: v / v.norm(), count=lambda s, p: _count(s.pow(2), p))


@mutant("5.3", says="encoder's column is used")
def shares_of_the_encoder(ae, f, i=0):
    return _shares(ae, f, i, ae.W_enc[i, :, f])


@mutant("5.3", says="a column of the decoder is used")
def shares_of_a_column(ae, f, i=0):
    return _shares(ae, f, i, ae.W_dec[i, :, f])


@mutant("5.3", says="a column of the normalized decoder")
def shares_of_a_normalized_column(ae, f, i=0):
    return _shares(ae, f, i, ae.normalize_and_return_W_dec()[i, :, f], share=lambda v: v.pow(2))


@mutant("5.3", says="other instance")
def shares_in_the_other_instance(ae, f, i=0):
    return _shares(ae, f, 0)


@mutant("5.3", says="sorted")
def shares_sorted(ae, f, i=0):
    share, half, ninety = _shares(ae, f, i)
    return share.sort(descending=True).values, half, ninety


@mutant("5.3", says="one too few")
def one_too_few(*args):
    return _shares(*args, count=lambda s, p: _count(s, p) - 1)


@mutant("5.3", says="one neuron too many")
def one_too_many(*args):
    return _shares(*args, count=lambda s, p: _count(s, p) + 1)


@mutant("5.3", says="exactly 50 % does not count as enough")
def more_than_half(*args):
    return _shares(*args, count=lambda s, p: int((s.sort(descending=True).values.cumsum(0) <= p).sum()) + 1)


@mutant("5.3", says="50 % of the number of neurons")
def half_of_the_neurons(*args):
    return _shares(*args, count=lambda s, p: int(np.ceil(p * len(s))))


@mutant("5.3", says="not taken in the order")
def counted_unsorted(*args):
    return _shares(*args, count=lambda s, p: int((s.cumsum(0) < p - 1e-6).sum()) + 1)


@mutant("5.3", says="smallest shares first")
def counted_ascending(*args):
    return _shares(*args, count=lambda s, p: int((s.sort().values.cumsum(0) < p - 1e-6).sum()) + 1)


@mutant("5.3", says="on their own")
def neurons_with_half_alone(*args):
    return _shares(*args, count=lambda s, p: int((s >= p).sum()))


@mutant("5.3", says="absolute entries are added up")
def counted_by_absolute_entries(*args):
    return _shares(*args, count=lambda s, p: _count(s.sqrt() / s.sqrt().sum(), p))


@mutant("5.3", says="exchanged")
def counts_exchanged(*args):
    share, half, ninety = _shares(*args)
    return share, ninety, half


@variant("5.3")
def unit_row_squared(ae, f, i=0):
    share = ae.normalize_and_return_W_dec()[i, f] ** 2
    held = torch.sort(share, descending=True)[0].cumsum(0)
    return share, (held < 0.5 - 1e-6).sum() + 1, (held < 0.9 - 1e-6).sum() + 1


@variant("5.3")
@torch.no_grad()
def one_neuron_after_another(ae, f, i=0):
    row = ae.W_dec[i, f].double()
    share = (row * row / row.dot(row)).float()
    counts = []
    for part in (0.5, 0.9):
        held, count = 0.0, 0
        for one in sorted(share.double().tolist(), reverse=True):
            if held >= part - 1e-6:
                break
            held, count = held + one, count + 1
        counts.append(count)
    return share, *counts


@variant("5.3")
@torch.no_grad()
def searched_with_numpy(ae, f, i=0):
    share = F.normalize(ae.W_dec[i], dim=-1)[f].square()
    held = np.cumsum(np.sort(share.double().numpy())[::-1])
    return share, int(np.searchsorted(held, 0.5 - 1e-6)) + 1, int(np.searchsorted(held, 0.9 - 1e-6)) + 1


@variant("5.3")
@torch.no_grad()
def first_place_that_is_enough(ae, f, i=0):
    share = F.normalize(ae.W_dec, dim=-1).pow(2)[i, f]
    held = share.sort(descending=True).values.cumsum(-1)
    return [share, torch.argmax((held >= 0.499999).int()) + 1, torch.argmax((held >= 0.899999).int()) + 1]


# 5.4 neuron_in_feature_basis(acts, autoencoder, neuron, instance)


@torch.no_grad()
def _parts(acts, ae, n, i=0, weights=None, bias=None):
    weights = F.normalize(ae.W_dec, dim=-1)[i, :, n] if weights is None else weights
    return acts * weights, ae.b_dec[i, n] if bias is None else bias


@mutant("5.4", says="`bias` is wrong: it is lost")
def bias_lost(acts, ae, n, i=0):
    return _parts(acts, ae, n, i, bias=torch.tensor(0.0))


@mutant("5.4", says="the encoder is used")
def parts_of_the_encoder(acts, ae, n, i=0):
    return _parts(acts, ae, n, i, ae.W_enc[i, n])


@mutant("5.4", says="not brought to unit length")
def parts_of_any_length(acts, ae, n, i=0):
    return _parts(acts, ae, n, i, ae.W_dec[i, :, n])


@mutant("5.4", says="column is brought to unit length")
def parts_of_a_unit_column(acts, ae, n, i=0):
    return _parts(acts, ae, n, i, F.normalize(ae.W_dec[i, :, n], dim=0))


@mutant("5.4", says="only the first token")
def first_token_only(acts, ae, n, i=0):
    return _parts(acts[0], ae, n, i)


@mutant("5.4", says="size of tensor")
def wrong_axis_for_the_neuron(acts, ae, n, i=0):
    return _parts(acts, ae, n, i, ae.normalize_and_return_W_dec()[i, n])


@mutant("5.4", says="other instance")
def parts_in_the_other_instance(acts, ae, n, i=0):
    return _parts(acts, ae, n, 0)


@mutant("5.4", says="summed over the latents")
def sum_of_the_parts(acts, ae, n, i=0):
    parts, bias = _parts(acts, ae, n, i)
    return parts.sum(1), bias


@mutant("5.4", says="averaged over the tokens")
def mean_over_tokens(acts, ae, n, i=0):
    parts, bias = _parts(acts, ae, n, i)
    return parts.mean(0), bias


@mutant("5.4", says="all neurons are returned")
@torch.no_grad()
def every_neuron(acts, ae, n, i=0):
    return acts[:, :, None] * ae.normalize_and_return_W_dec()[i], ae.b_dec[i]


@mutant("5.4", says="`bias` is wrong: it is the other instance's")
def bias_of_the_other_instance(acts, ae, n, i=0):
    return _parts(acts, ae, n, i, bias=ae.b_dec[0, n])


@mutant("5.4", says="encoder's bias")
def bias_of_the_encoder(acts, ae, n, i=0):
    return _parts(acts, ae, n, i, bias=ae.b_enc[i, n])


@mutant("5.4", says="all of `b_dec[instance]`")
def whole_bias(acts, ae, n, i=0):
    return _parts(acts, ae, n, i, bias=ae.b_dec[i])


@mutant("5.4", says="bias is added to every contribution")
def bias_in_every_part(acts, ae, n, i=0):
    parts, bias = _parts(acts, ae, n, i)
    return parts + bias, bias


@mutant("5.4", says="bias is spread over the latents")
def bias_spread(acts, ae, n, i=0):
    parts, bias = _parts(acts, ae, n, i)
    return parts + bias / parts.shape[1], bias


@mutant("5.4", says="activations are left out")
def weights_only(acts, ae, n, i=0):
    return _parts(torch.ones_like(acts), ae, n, i)


@variant("5.4")
def parts_by_einsum(acts, ae, n, i=0):
    W_dec = ae.normalize_and_return_W_dec()[i]
    return einsum(acts, W_dec[:, n], "tokens latents, latents -> tokens latents"), ae.b_dec[i, n].item()


@variant("5.4")
@torch.no_grad()
def parts_of_all_neurons_then_one(acts, ae, n, i=0):
    parts = torch.einsum("tl,ld->tld", acts, F.normalize(ae.W_dec[i], dim=1))
    return [parts[..., n], ae.b_dec[i][n]]


@variant("5.4")
@torch.no_grad()
def parts_by_a_diagonal(acts, ae, n, i=0):
    weights = ae.W_dec[i, :, n] / ae.W_dec[i].norm(dim=1)
    return acts.double() @ torch.diag(weights.double()), ae.b_dec[i, n : n + 1]


@variant("5.4")
@torch.no_grad()
def token_by_token(acts, ae, n, i=0):
    weights = ae.normalize_and_return_W_dec()[i].T[n]
    return torch.stack([token * weights for token in acts]), ae.b_dec.data[i, n]


# 5.5 decompose_activation(h, autoencoder, instance)


@torch.no_grad()
def _decompose(
    h,
    ae,
    i=0,
    order=lambda acts: acts.argsort(descending=True)[: int((acts > 0).sum())],
    rows=lambda ae: F.normalize(ae.W_dec, dim=-1),
    bias=None,
    error=lambda h, sum_, bias: h - sum_ - bias,
    weights=lambda acts: acts[:, None],
):
    acts = ae(h.expand(1, ae.cfg.n_instances, -1)).acts[0, i]
    features = order(acts)
    contributions = weights(acts[features]) * rows(ae)[i, features]
    bias = ae.b_dec[i] if bias is None else bias
    return features, contributions, bias, error(h, contributions.sum(0), bias)


@mutant("5.5", says="error has the wrong sign")
def error_with_the_wrong_sign(*args):
    return _decompose(*args, error=lambda h, s, b: s + b - h)


@mutant("5.5", says="error is that of the other instance")
@torch.no_grad()
def error_of_another_instance(h, ae, i=0):
    rebuilt = ae(h.expand(1, 2, -1)).h_reconstructed[0]
    return *_decompose(h, ae, i)[:3], h - rebuilt[0]


@mutant("5.5", says="bias is missing in the error")
def error_without_the_bias(*args):
    return _decompose(*args, error=lambda h, s, b: h - s)


@mutant("5.5", says="rows are not brought to unit length")
def contributions_of_any_length(*args):
    return _decompose(*args, rows=lambda ae: ae.W_dec)


@mutant("5.5", says="error is computed with decoder rows that are not at unit length")
@torch.no_grad()
def error_of_any_length(h, ae, i=0):
    acts = ae(h.expand(1, 2, -1)).acts[0, i]
    return *_decompose(h, ae, i)[:3], h - acts @ ae.W_dec[i] - ae.b_dec[i]


@mutant("5.5", says="order of the latents' numbers")
def features_unsorted(*args):
    return _decompose(*args, order=lambda acts: acts.nonzero().flatten())


@mutant("5.5", says="most active latent at the end")
def features_ascending(*args):
    return _decompose(*args, order=lambda acts: acts.argsort()[int((acts <= 0).sum()) :])


@mutant("5.5", says="also those that are silent")
def silent_latents_too(*args):
    return _decompose(*args, order=lambda acts: acts.argsort(descending=True))


@mutant("5.5", says="axis of size 1 at the end")
def features_from_nonzero(h, ae, i=0):
    features, *rest = _decompose(h, ae, i)
    return features[:, None], *rest


@mutant("5.5", says="in the other instance")
def features_of_the_other_instance(h, ae, i=0):
    return _decompose(h, ae, 0)


@mutant("5.5", says="is a mask")
@torch.no_grad()
def features_as_a_mask(h, ae, i=0):
    acts = ae(h.expand(1, 2, -1)).acts[0, i]
    return acts > 0, *_decompose(h, ae, i)[1:]


@mutant("5.5", says="these are their activations")
@torch.no_grad()
def activations_for_features(h, ae, i=0):
    features, *rest = _decompose(h, ae, i)
    return ae(h.expand(1, 2, -1)).acts[0, i, features], *rest


@mutant("5.5", says="activations are left out")
def directions_only(*args):
    return _decompose(*args, weights=lambda a: 1)


@mutant("5.5", says="encoder's columns are used")
def contributions_of_the_encoder(*args):
    return _decompose(*args, rows=lambda ae: ae.W_enc.mT)


@mutant("5.5", says="contributions are summed")
def sum_of_the_contributions(h, ae, i=0):
    features, contributions, *rest = _decompose(h, ae, i)
    return features, contributions.sum(0), *rest


@mutant("5.5", says="bias is the other instance's")
def bias_of_instance_0(h, ae, i=0):
    return _decompose(h, ae, i, bias=ae.b_dec[0])


@mutant("5.5", says="bias is lost")
def no_bias(h, ae, i=0):
    return _decompose(h, ae, i, bias=torch.zeros(13))


@mutant("5.5", says="mean of its squares")
def error_as_a_number(*args):
    return _decompose(*args, error=lambda h, s, b: (h - s - b).pow(2).mean())


@mutant("5.5", says="reconstruction is returned")
def reconstruction_for_the_error(*args):
    return _decompose(*args, error=lambda h, s, b: s + b)


@mutant("5.5", says="on which no latent fires")
def fails_on_a_silent_token(*args):
    def order(acts):
        return torch.stack([at for at in acts.argsort(descending=True) if acts[at] > 0])

    return _decompose(*args, order=order)


@mutant("5.5", says="returns 3 things")
def without_the_error(*args):
    return _decompose(*args)[:3]


@variant("5.5")
@torch.no_grad()
def encoded_by_hand(h, ae, i=0):
    acts = ((h - ae.b_dec[i]) @ ae.W_enc[i] + ae.b_enc[i]).relu()
    values, features = acts.sort(descending=True)
    features = features[values > 0]
    contributions = torch.diag(acts)[features] @ ae.normalize_and_return_W_dec()[i]
    return features, contributions, ae.b_dec[i], h - (contributions.sum(dim=0) + ae.b_dec[i])


@variant("5.5")
def with_gradients(h, ae, i=0):
    out = ae(h.repeat(ae.cfg.n_instances, 1)[None])
    acts, rebuilt = out.acts[0, i], out.h_reconstructed[0, i]
    active = torch.where(acts > 0)[0]
    active = active[acts[active].argsort(descending=True)]
    return [
        active,
        rearrange(acts[active], "n -> n 1") * ae.normalize_and_return_W_dec()[i][active],
        ae.b_dec[i],
        h - rebuilt,
    ]


@variant("5.5")
@torch.no_grad()
def by_topk(h, ae, i=0):
    batch = torch.zeros(1, *ae.b_dec.shape)
    batch[0, i] = h
    acts = ae(batch).acts[0, i]
    strongest = acts.topk(int(torch.count_nonzero(acts)))
    parts = torch.einsum("n,nd->nd", strongest.values, F.normalize(ae.W_dec[i, strongest.indices], dim=-1))
    return strongest.indices.int(), parts, ae.b_dec[i].clone(), h - parts.sum(0) - ae.b_dec[i]


@variant("5.5")
@torch.no_grad()
def latents_in_a_list(h, ae, i=0):
    acts = ae(h.expand(1, 2, -1)).acts[0, i]
    features = sorted((f for f in range(len(acts)) if acts[f] > 0), key=lambda f: -acts[f].item())
    parts = torch.zeros(len(features), len(h))
    for place, f in enumerate(features):
        parts[place] = acts[f] * ae.W_dec[i, f] / ae.W_dec[i, f].norm()
    return features, parts, ae.b_dec[i], h - ae.b_dec[i] - parts.sum(0)


# 5.6 match_between_autoencoders(W_dec_a, W_dec_b, acts_a, acts_b)


def _unit(rows):
    return rows / rows.norm(dim=-1, keepdim=True).clamp_min(1e-8)


def _centered(acts):
    return acts - acts.mean(0)


def _matches(cosine, correlation):
    c, r = cosine.max(1), correlation.max(1)
    return c.indices, c.values, r.indices, r.values


def _match(
    W_a,
    W_b,
    a,
    b,
    cosine=lambda W_a, W_b: _unit(W_a) @ _unit(W_b).T,
    correlation=lambda a, b: _unit(_centered(a).T) @ _unit(_centered(b).T).T,
):
    return _matches(cosine(W_a, W_b), correlation(a, b))


@mutant("5.6", says="same number are paired")
def same_index(W_a, W_b, a, b):
    n = torch.arange(len(W_a)).clamp_max(len(W_b) - 1)
    cosine, correlation = _unit(W_a) @ _unit(W_b).T, _unit(_centered(a).T) @ _unit(_centered(b).T).T
    rows = torch.arange(len(W_a))
    return n, cosine[rows, n], n, correlation[rows, n]


@mutant("5.6", says="rows are not brought to unit length")
def dot_products(*args):
    return _match(*args, cosine=lambda W_a, W_b: W_a @ W_b.T)


@mutant("5.6", says="only A's rows")
def only_a_normalized(*args):
    return _match(*args, cosine=lambda W_a, W_b: _unit(W_a) @ W_b.T)


@mutant("5.6", says="columns of the decoders")
def columns_normalized(*args):
    return _match(*args, cosine=lambda W_a, W_b: F.normalize(W_a, dim=0) @ F.normalize(W_b, dim=0).T)


@mutant("5.6", says="opposite directions are no match")
def absolute_cosine(*args):
    return _match(*args, cosine=lambda W_a, W_b: (_unit(W_a) @ _unit(W_b).T).abs())


@mutant("5.6", says="opposite directions are no match")
def absolute_for_the_choice_only(W_a, W_b, a, b):
    by, _, *rest = _match(W_a, W_b, a, b, cosine=lambda W_a, W_b: (_unit(W_a) @ _unit(W_b).T).abs())
    return by, (_unit(W_a) @ _unit(W_b).T)[torch.arange(len(W_a)), by], *rest


@mutant("5.6", says="`by_cosine` is what comes out when the decoder rows are not brought to unit length")
def normalized_after_the_choice(W_a, W_b, a, b):
    by = (W_a @ W_b.T).argmax(1)
    return by, (_unit(W_a) * _unit(W_b)[by]).sum(1), *_match(W_a, W_b, a, b)[2:]


@mutant("5.6", says="means are not taken away")
def not_centered(*args):
    return _match(*args, correlation=lambda a, b: _unit(a.T) @ _unit(b.T).T)


@mutant("5.6", says="covariance")
def covariance(*args):
    return _match(*args, correlation=lambda a, b: _centered(a).T @ _centered(b) / len(a))


@mutant("5.6", says="each token's mean")
def centered_over_latents(*args):
    def center(x):
        return _unit((x - x.mean(1, keepdim=True)).T)

    return _match(*args, correlation=lambda a, b: center(a) @ center(b).T)


@mutant("5.6", says="`std` divides by the count minus 1")
def two_kinds_of_count(*args):
    def standard(x):
        return _centered(x) / x.std(0).clamp_min(1e-8)

    return _match(*args, correlation=lambda a, b: standard(a).T @ standard(b) / len(a))


@mutant("5.6", says="divided by a length of 0")
def nan_of_dead_latents(*args):
    def unit(x):
        return _centered(x) / _centered(x).norm(dim=0)

    return _match(*args, correlation=lambda a, b: unit(a).T @ unit(b))


@mutant("5.6", says="divided by a length of 0")
def nan_from_corrcoef(*args):
    def correlation(a, b):
        return torch.corrcoef(torch.cat([a, b], dim=1).T)[: a.shape[1], a.shape[1] :]

    return _match(*args, correlation=correlation)


@mutant("5.6", says="for each latent of B")
def from_b_to_a(W_a, W_b, a, b):
    return _match(W_b, W_a, b, a)


@mutant("5.6", says="for each latent of B")
def best_along_the_wrong_axis(W_a, W_b, a, b):
    c, r = (_unit(W_a) @ _unit(W_b).T).max(0), (_unit(_centered(a).T) @ _unit(_centered(b).T).T).max(0)
    return c.indices, c.values, r.indices, r.values


@mutant("5.6", says="uses each latent of B only once")
def each_of_b_once(W_a, W_b, a, b):
    cosine = _unit(W_a) @ _unit(W_b).T
    by, left = torch.zeros(len(W_a), dtype=torch.long), cosine.clone()
    for n in range(len(W_a)):
        if n % len(W_b) == 0:
            left = cosine.clone()
        by[n] = left[n].argmax()
        left[:, by[n]] = -2
    return by, cosine[torch.arange(len(W_a)), by], *_match(W_a, W_b, a, b)[2:]


@mutant("5.6", says="which tokens it fires on")
def firing_correlated(*args):
    def correlation(a, b):
        a, b = (a > 0).float(), (b > 0).float()
        return _unit(_centered(a).T) @ _unit(_centered(b).T).T

    return _match(*args, correlation=correlation)


@mutant("5.6", says="least similar")
def smallest_cosine(W_a, W_b, a, b):
    least = (_unit(W_a) @ _unit(W_b).T).min(1)
    return least.indices, least.values, *_match(W_a, W_b, a, b)[2:]


@mutant("5.6", says="directions are compared once more")
def cosine_for_both(W_a, W_b, a, b):
    found = _match(W_a, W_b, a, b)[:2]
    return *found, *found


@mutant("5.6", says="Indices and values are exchanged")
def values_before_indices(*args):
    by_cosine, cosine, by_correlation, correlation = _match(*args)
    return cosine, by_cosine, correlation, by_correlation


@variant("5.6")
def corrcoef_without_nan(*args):
    def correlation(a, b):
        return torch.corrcoef(torch.cat([a, b], dim=1).T).nan_to_num(0.0)[: a.shape[1], a.shape[1] :]

    return _match(*args, correlation=correlation)


@variant("5.6")
def dead_ones_ruled_out(W_a, W_b, a, b):
    moves = (a.std(0) > 0)[:, None] & (b.std(0) > 0)
    deviation = a.std(0, correction=0)[:, None] * b.std(0, correction=0)
    correlation = torch.where(moves, _centered(a).T @ _centered(b) / len(a) / deviation, torch.zeros(()))
    return list(_matches(F.cosine_similarity(W_a[:, None], W_b[None], dim=-1), correlation))


@variant("5.6")
def one_latent_at_a_time(W_a, W_b, a, b):
    found = []
    for direction, act in zip(W_a, a.T, strict=True):
        cosine = F.cosine_similarity(direction[None], W_b)
        act = act - act.mean()
        scale = act.norm() * _centered(b).norm(dim=0)
        correlation = torch.where(scale > 1e-6, act @ _centered(b) / scale.clamp_min(1e-6), 0.0 * scale)
        found.append((cosine.argmax(), cosine.max(), correlation.argmax(), correlation.max()))
    return tuple(torch.stack(column) for column in zip(*found, strict=True))


@variant("5.6")
def from_the_moments(*args):
    def correlation(a, b):
        a, b = a.double(), b.double()
        top = (a.T @ b) / len(a) - a.mean(0)[:, None] * b.mean(0)
        scale = a.var(0, correction=0)[:, None] * b.var(0, correction=0)
        return (top / scale.clamp_min(1e-16).sqrt() * (scale > 1e-12)).float()

    return _match(*args, correlation=correlation)


# 5.7 score_hypothesis(predicate, feature, threshold)


def _said(predicate, text, context=lambda words, i: words[: i + 1], label=lambda labels, i: labels[i]):
    return torch.tensor(
        [
            [bool(predicate(context(words, i), label(labels, i))) for i in range(len(words))]
            for words, labels in zip(text.words, text.labels, strict=True)
        ]
    )


def _ratio(part, whole):
    return part / whole if whole else 0.0


def _scores(said, fires):
    hits, claimed, true = (said & fires).sum().item(), said.sum().item(), fires.sum().item()
    return (
        _ratio(hits, claimed),
        _ratio(hits, true),
        _ratio(2 * hits, claimed + true),
        _ratio(2 * true, fires.numel() + true),
    )


def _score(predicate, feature, threshold=0.25, level=None, **how):
    level = threshold * feature.found_on.acts.max() if level is None else level
    return _scores(_said(predicate, feature.held_out, **how), feature.held_out.acts > level)


@mutant("5.7", says="scored on the text that it was made from")
def scored_on_found_on(predicate, feature, threshold=0.25):
    text = feature.found_on
    return _scores(_said(predicate, text), text.acts > threshold * text.acts.max())


@mutant("5.7", says="every activation above 0")
def threshold_at_zero(predicate, feature, threshold=0.25):
    return _score(predicate, feature, threshold, level=0)


@mutant("5.7", says="largest activation in the *held-out* text")
def threshold_from_held_out(predicate, feature, threshold=0.25):
    return _score(predicate, feature, threshold, level=threshold * feature.held_out.acts.max())


@mutant("5.7", says="as it is, and not as a share")
def absolute_threshold(predicate, feature, threshold=0.25):
    return _score(predicate, feature, threshold, level=threshold)


@mutant("5.7", says="0.25 whatever")
def threshold_fixed(predicate, feature, threshold=0.25):
    return _score(predicate, feature, threshold, level=0.25 * feature.found_on.acts.max())


@mutant("5.7", says="share of each row's")
def threshold_of_each_row(predicate, feature, threshold=0.25):
    return _score(
        predicate, feature, threshold, level=threshold * feature.held_out.acts.amax(1, keepdim=True)
    )


@mutant("5.7", says="it is the accuracy")
def accuracy_for_f1(predicate, feature, threshold=0.25):
    fires = feature.held_out.acts > threshold * feature.found_on.acts.max()
    said = _said(predicate, feature.held_out)
    precision, recall, _, baseline = _scores(said, fires)
    return precision, recall, (said == fires).float().mean().item(), baseline


@mutant("5.7", says="exchanged")
def precision_and_recall_exchanged(*args):
    precision, recall, f1, baseline = _score(*args)
    return recall, precision, f1, baseline


@mutant("5.7", says="arithmetic mean")
def arithmetic_mean(*args):
    precision, recall, _, baseline = _score(*args)
    return precision, recall, (precision + recall) / 2, baseline


@mutant("5.7", says="factor 2 is missing")
def half_of_f1(*args):
    precision, recall, f1, baseline = _score(*args)
    return precision, recall, f1 / 2, baseline


@mutant("5.7", says="lacks the current word")
def context_without_the_word(*args):
    return _score(*args, context=lambda words, i: words[:i])


@mutant("5.7", says="still to come")
def context_is_the_row(*args):
    return _score(*args, context=lambda words, i: words)


@mutant("5.7", says="current word alone")
def context_is_the_word(*args):
    return _score(*args, context=lambda words, i: [words[i]])


@mutant("5.7", says="row's first word")
def label_of_the_row(*args):
    return _score(*args, label=lambda labels, i: labels[0])


@mutant("5.7", says="divides by zero")
def division_by_zero(predicate, feature, threshold=0.25):
    fires = feature.held_out.acts > threshold * feature.found_on.acts.max()
    said = _said(predicate, feature.held_out)
    hits = (said & fires).sum().item()
    precision, recall = hits / said.sum().item(), hits / fires.sum().item()
    rate = fires.float().mean().item()
    return precision, recall, 2 * precision * recall / (precision + recall), 2 * rate / (rate + 1)


@mutant("5.7", says="is NaN")
def nan_of_zeros(predicate, feature, threshold=0.25):
    fires = feature.held_out.acts > threshold * feature.found_on.acts.max()
    said = _said(predicate, feature.held_out)
    hits = (said & fires).sum()
    precision, recall = hits / said.sum(), hits / fires.sum()
    rate = fires.float().mean()
    return precision, recall, 2 * precision * recall / (precision + recall), 2 * rate / (rate + 1)


@mutant("5.7", says="not its F1")
def base_rate_for_the_baseline(predicate, feature, threshold=0.25):
    fires = feature.held_out.acts > threshold * feature.found_on.acts.max()
    return *_score(predicate, feature, threshold)[:3], fires.float().mean()


@mutant("5.7", says="each row is scored on its own")
def mean_over_rows(predicate, feature, threshold=0.25):
    fires = feature.held_out.acts > threshold * feature.found_on.acts.max()
    rows = [_scores(*row) for row in zip(_said(predicate, feature.held_out), fires, strict=True)]
    return tuple(statistics.mean(column) for column in zip(*rows, strict=True))


@mutant("5.7", says="first word of every row is left out")
def first_word_left_out(predicate, feature, threshold=0.25):
    fires = feature.held_out.acts > threshold * feature.found_on.acts.max()
    return _scores(_said(predicate, feature.held_out)[:, 1:], fires[:, 1:])


@mutant("5.7", says="in percent")
def percent(*args):
    return tuple(100 * x for x in _score(*args))


@mutant("5.7", says="last few words")
def context_of_five_words(*args):
    return _score(*args, context=lambda words, i: words[max(0, i - 4) : i + 1])


@variant("5.7")
def counted_one_by_one(predicate, feature, threshold=0.25):
    level = threshold * feature.found_on.acts.max().item()
    hits = claimed = fired = total = 0
    text = feature.held_out
    for words, labels, acts in zip(text.words, text.labels, text.acts.tolist(), strict=True):
        for place, act in enumerate(acts):
            yes = predicate(words[: place + 1], labels[place])
            claimed += yes
            fired += act > level
            hits += yes and act > level
            total += 1
    precision = hits / claimed if claimed else 0
    recall = hits / fired if fired else 0
    f1 = 2 * precision * recall / (precision + recall) if hits else 0
    return [precision, recall, f1, 2 * fired / (total + fired)]


@variant("5.7")
def tensors_with_eps(predicate, feature, threshold=0.25):
    fires = feature.held_out.acts > threshold * feature.found_on.acts.max()
    said = _said(predicate, feature.held_out)
    hits = (said & fires).sum().double()
    precision, recall = hits / (said.sum() + 1e-9), hits / (fires.sum() + 1e-9)
    base = fires.double().mean()
    return precision, recall, 2 * precision * recall / (precision + recall + 1e-9), 2 * base / (base + 1)


@variant("5.7")
def in_numpy(predicate, feature, threshold=0.25):
    acts = feature.held_out.acts.numpy()
    fires = acts > threshold * feature.found_on.acts.numpy().max()
    said = _said(predicate, feature.held_out).numpy()
    missed, wrong, right = (fires & ~said).sum(), (said & ~fires).sum(), (said & fires).sum()
    return (
        float(right / max(right + wrong, 1)),
        float(right / max(right + missed, 1)),
        float(right / max(right + (missed + wrong) / 2, 1)),
        float(fires.sum() / max((fires.size + fires.sum()) / 2, 1)),
    )


@variant("5.7")
def confusion_by_bincount(predicate, feature, threshold=0.25):
    fires = (feature.held_out.acts > threshold * feature.found_on.acts.amax()).flatten().int()
    said = _said(predicate, feature.held_out).flatten().int()
    silent, missed, wrong, right = torch.bincount(fires + 2 * said, minlength=4).tolist()
    fired = missed + right
    return (
        _ratio(right, right + wrong),
        _ratio(right, fired),
        _ratio(2 * right, 2 * right + wrong + missed),
        _ratio(2 * fired, 2 * fired + silent + wrong),
    )


# 5.8 FeatureDetective: a class; cases that are not written here are the reference's


@mutant("5.8", says="says yes nearly everywhere")
class AlwaysYes:
    def case_1(self, context, label):
        return True

    case_2 = case_3 = case_4 = case_5 = case_1


@mutant("5.8", says="case 4: precision 0.00, recall 0.00, F1 0.00: the rule never says yes")
class ReturnForgotten(FeatureDetective):
    def case_4(self, context, label):
        super().case_4(context, label)


@mutant("5.8", says="the rule is too narrow; needs 0.5")
class TooNarrow(FeatureDetective):
    def case_2(self, context, label):
        return super().case_2(context, label) and len(context) % 6 == 0


@mutant("5.8", says="the rule is too wide; needs 0.5")
class TooWide(FeatureDetective):
    def case_5(self, context, label):
        return super().case_5(context, label) or len(context) % 32 == 0


@mutant("5.8", says="the rule says yes at the wrong tokens")
class OneTokenLate(FeatureDetective):
    def case_3(self, context, label):
        return len(context) > 2 and super().case_3(context[:-1], label)


@mutant("5.8", says="Not attempted: case 3, case 4, case 5")
class TwoCasesOfFive(FeatureDetective):
    def case_3(self, context, label):
        raise NotImplementedError("Exercise 5.8")

    case_4 = case_5 = case_3


@mutant("5.8", says="Not attempted: case 2")
class CaseLeftOut:
    case_1, case_3 = FeatureDetective.case_1, FeatureDetective.case_3
    case_4, case_5 = FeatureDetective.case_4, FeatureDetective.case_5


@mutant("5.8", says="Case 3: your rule raised IndexError")
class NoWordBefore(FeatureDetective):
    def case_3(self, context, label):
        return context[-2] in (" is", " not") and context[-1] == " None"


@mutant("5.8", says="Case 5: your rule raised TypeError")
class LabelForgotten(FeatureDetective):
    def case_5(self, context):
        return context[-2:] == ["\n", "\n"]


@variant("5.8")
class RulesOfItsOwn:
    """Not derived from anything, with what it needs beside."""

    def __init__(self):
        self.reference = FeatureDetective()

    def case_1(self, context, label):
        return self.reference.case_1(context, label)

    def case_2(self, context, label):
        return self.reference.case_2(context, label)

    def case_3(self, context, label):
        return self.reference.case_3(context, label)

    def case_4(self, context, label):
        return self.reference.case_4(context, label)

    def case_5(self, context, label):
        return self.reference.case_5(context, label)


@variant("5.8")
class TruthyAnswers(FeatureDetective):
    def case_2(self, context, label):
        return context[-1] == " else" and re.search(r"(^|\n) *else$", "".join(context))

    def case_5(self, context, label):
        return int(super().case_5(context, label))


@variant("5.8")
class TensorsAndWarnings(FeatureDetective):
    def case_1(self, context, label):
        warnings.warn(label, stacklevel=1)
        return torch.tensor(super().case_1(context, label))


@variant("5.8")
class ChangesItsContext(FeatureDetective):
    def case_4(self, context, label):
        said = super().case_4(context, label)
        context.clear()
        return np.bool_(said)
