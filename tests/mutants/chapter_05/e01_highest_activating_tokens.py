"""Answers to exercise 5.1: `highest_activating_tokens`."""

import numpy as np
import torch
from einops import einsum

from part_utils.activations import MLP_HOOK, get_activations
from part_utils.interpretation import feature_activations, highest_activating_tokens
from part_utils.model_with_autoencoder import ModelWithAutoencoder
from tests.mutants import equivalent, mutant, variant


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
    acts = feature_activations(tokens, ModelWithAutoencoder(model, ae, i), f, batch_rows)
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
    best = feature_activations(tokens, ModelWithAutoencoder(model, ae, i), f, batch_rows).max(dim=1)
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
    acts = feature_activations(tokens, ModelWithAutoencoder(model, ae, i), f, batch_rows)
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


def _acts_of(tokens, model, autoencoder, feature_idx, instance):
    h = get_activations(tokens, model) - autoencoder.b_dec[instance]
    return h @ autoencoder.W_enc[instance, :, feature_idx] + autoencoder.b_enc[instance, feature_idx]


def _best(acts, k):
    values, places = acts.flatten().topk(min(k, acts.numel()))
    return torch.stack([places // acts.shape[1], places % acts.shape[1]], -1), values


def _rowwise(tokens, model, autoencoder, feature_idx, instance, batch_rows):
    return [_acts_of(rows, model, autoencoder, feature_idx, instance) for rows in tokens.split(batch_rows)]


@variant("5.1")
@torch.no_grad()
def everything_kept_to_the_end(tokens, model, autoencoder, feature_idx, instance=0, k=10, batch_rows=32):
    acts = torch.cat(
        [p.relu() for p in _rowwise(tokens, model, autoencoder, feature_idx, instance, batch_rows)]
    )
    return _best(acts, k)


@mutant("5.1", says="tokens on which the latent is silent are left out, although")
@torch.no_grad()
def only_where_it_fires(tokens, model, autoencoder, feature_idx, instance=0, k=10, batch_rows=32):
    right = highest_activating_tokens(tokens, model, autoencoder, feature_idx, instance, k, batch_rows)
    return right.indices[right.values > 0], right.values[right.values > 0]


@mutant("5.1", says="each row gives only its best token")
@torch.no_grad()
def one_of_each_text(tokens, model, autoencoder, feature_idx, instance=0, k=10, batch_rows=32):
    values, places = [], []
    for number, row in enumerate(tokens):
        acts = _acts_of(row[None], model, autoencoder, feature_idx, instance).relu()[0]
        values.append(acts.max())
        places.append([number, int(acts.argmax())])
    values, best = torch.stack(values).topk(min(k, len(values)))
    return torch.tensor(places)[best], values


@mutant("5.1", says="the last batch of rows, which is smaller, is left out")
@torch.no_grad()
def last_incomplete_part_left_out(tokens, model, autoencoder, feature_idx, instance=0, k=10, batch_rows=32):
    whole = max(len(tokens) // batch_rows, 1) * batch_rows
    return highest_activating_tokens(tokens[:whole], model, autoencoder, feature_idx, instance, k, batch_rows)


@mutant("5.1", says="The values are right, but the indices are not: the rows count")
@torch.no_grad()
def numbers_within_the_part(tokens, model, autoencoder, feature_idx, instance=0, k=10, batch_rows=32):
    right = highest_activating_tokens(tokens, model, autoencoder, feature_idx, instance, k, batch_rows)
    indices = right.indices.clone()
    indices[:, 0] %= batch_rows
    return indices, right.values


@mutant("5.1", says="another instance is used")
@torch.no_grad()
def two_instances_at_most(tokens, model, autoencoder, feature_idx, instance=0, k=10, batch_rows=32):
    return highest_activating_tokens(tokens, model, autoencoder, feature_idx, min(instance, 1), k, batch_rows)


@mutant("5.1", says="the first position of every row is left out")
@torch.no_grad()
def first_position_left_out(tokens, model, autoencoder, feature_idx, instance=0, k=10, batch_rows=32):
    n = tokens.numel()
    right = highest_activating_tokens(tokens, model, autoencoder, feature_idx, instance, n, batch_rows)
    later = right.indices[:, 1] > 0
    return right.indices[later][:k], right.values[later][:k]


@mutant("5.1", says="`values` is right for `k`")
@torch.no_grad()
def every_token_once(tokens, model, autoencoder, feature_idx, instance=0, k=10, batch_rows=32):
    right = highest_activating_tokens(
        tokens, model, autoencoder, feature_idx, instance, tokens.numel(), batch_rows
    )
    seen, kept = set(), []
    for number, (row, place) in enumerate(right.indices.tolist()):
        if int(tokens[row, place]) not in seen:
            seen.add(int(tokens[row, place]))
            kept.append(number)
    return right.indices[kept[:k]], right.values[kept[:k]]


@mutant("5.1", says="is 10 written into your code?")
@torch.no_grad()
def ten_always(tokens, model, autoencoder, feature_idx, instance=0, k=10, batch_rows=32):
    return highest_activating_tokens(tokens, model, autoencoder, feature_idx, instance, 10, batch_rows)


@variant("5.1")
@torch.no_grad()
def best_of_each_part_then_of_these(tokens, model, autoencoder, feature_idx, instance=0, k=10, batch_rows=32):
    values, indices = torch.zeros(0), torch.zeros(0, 2, dtype=torch.long)
    for start in range(0, len(tokens), batch_rows):
        acts = _acts_of(tokens[start : start + batch_rows], model, autoencoder, feature_idx, instance).relu()
        found, best = _best(acts, k)[0], _best(acts, k)[1]
        values = torch.cat([values, best])
        indices = torch.cat([indices, found + torch.tensor([start, 0])])
        order = values.argsort(descending=True, stable=True)[:k]
        values, indices = values[order], indices[order]
    return indices, values


equivalent(
    "5.1",
    "an empty tensor holds no number",
    "torch.zeros(0, device=tokens.device) -> torch.ones(0, device=tokens.device)",
    "torch.zeros(0, 2, dtype=torch.long, device=tokens.device) -> "
    "torch.ones(0, 2, dtype=torch.long, device=tokens.device)",
)
equivalent(
    "5.1",
    "the check runs on the CPU, and the statement says nothing of devices",
    "torch.zeros(device=tokens.device) -> torch.zeros()",
    "torch.zeros(device=tokens.device) -> torch.zeros() (2)",
    "torch.arange(device=acts.device) -> torch.arange()",
)
equivalent("5.1", "the last axis of two is axis 1", "dim=-1: -1 -> 1")


@mutant("5.1", says="stay in memory: the activations of 13 neurons")
@torch.no_grad()
def neurons_of_all_rows_kept(tokens, model, autoencoder, feature_idx, instance=0, k=10, batch_rows=32):
    h = torch.cat([get_activations(rows, model) for rows in tokens.split(batch_rows)])
    return _best(_one_column(h, autoencoder, feature_idx, instance), k)


@mutant("5.1", says="stay in memory: the activations of 13 neurons")
@torch.no_grad()
def views_of_all_rows_kept(tokens, model, autoencoder, feature_idx, instance=0, k=10, batch_rows=32):
    kept, acts = [], []
    for rows in tokens.split(batch_rows):
        h = get_activations(rows, model)
        kept.append(h[:, :, 0])
        acts.append(_one_column(h, autoencoder, feature_idx, instance))
    return _best(torch.cat(acts), k)


@mutant("5.1", says="something fills the list up")
@torch.no_grad()
def begun_with_zeros(tokens, model, autoencoder, feature_idx, instance=0, k=10, batch_rows=32):
    values, places, start = torch.zeros(k), torch.zeros(k, 2, dtype=torch.long), 0
    for rows in tokens.split(batch_rows):
        acts = _one_column(get_activations(rows, model), autoencoder, feature_idx, instance)
        here, found = _best(acts, k)
        here[:, 0] += start
        start += len(rows)
        values, best = torch.cat([values, found]).topk(k)
        places = torch.cat([places, here])[best]
    return places, values


@mutant("5.1", says="with the number of its rows instead of `seq`")
def taken_apart_with_the_rows_of_a_part(tokens, model, ae, f, i=0, k=10, batch_rows=32):
    return _highest(
        tokens, model, ae, f, i, k, batch_rows, places=lambda at, rows, seq: (at // rows, at % rows)
    )
