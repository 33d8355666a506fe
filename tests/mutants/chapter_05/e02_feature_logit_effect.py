"""Answers to exercise 5.2: `feature_logit_effect`."""

import torch
from einops import einsum
from torch.nn import functional as F

from tests.mutants import equivalent, mutant, variant


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


@mutant("5.2", says="`top` has 10 tokens, and `k` is")
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


def _direct_effect(model, autoencoder, feature_idx, instance):
    direction = autoencoder.normalize_and_return_W_dec()[instance, feature_idx]
    return direction @ model.blocks[0].mlp.W_out @ model.W_U


@mutant("5.2", says="another instance is used")
@torch.no_grad()
def two_instances_at_most(model, autoencoder, feature_idx, instance=0, k=10):
    return _ends(_direct_effect(model, autoencoder, feature_idx, min(instance, 1)), k)


@mutant("5.2", says="the effect is brought to unit length")
@torch.no_grad()
def effect_at_unit_length(model, autoencoder, feature_idx, instance=0, k=10):
    effect = _direct_effect(model, autoencoder, feature_idx, instance)
    return _ends(effect / effect.norm(), k)


@mutant("5.2", says="divided by its standard deviation")
@torch.no_grad()
def standardized(model, autoencoder, feature_idx, instance=0, k=10):
    effect = _direct_effect(model, autoencoder, feature_idx, instance)
    return _ends((effect - effect.mean()) / effect.std(), k)


@variant("5.2")
@torch.no_grad()
def as_log_probabilities(model, autoencoder, feature_idx, instance=0, k=10):
    return _ends(_direct_effect(model, autoencoder, feature_idx, instance).log_softmax(-1), k)


@mutant("5.2", says="`bottom` has the right tokens in the wrong order: expected the")
@torch.no_grad()
def least_negative_first(model, autoencoder, feature_idx, instance=0, k=10):
    effect, top, bottom = _ends(_direct_effect(model, autoencoder, feature_idx, instance), k)
    return effect, top, bottom.flip(0)


@mutant("5.2", says="`bottom` is sorted by the size of the effect, without its sign")
@torch.no_grad()
def tokens_near_zero_at_the_bottom(model, autoencoder, feature_idx, instance=0, k=10):
    effect = _direct_effect(model, autoencoder, feature_idx, instance)
    return effect, effect.topk(k).indices, effect.abs().topk(k, largest=False).indices


@mutant("5.2", says="`top` holds the effects; expected the numbers of the tokens")
@torch.no_grad()
def effects_in_place_of_tokens(model, autoencoder, feature_idx, instance=0, k=10):
    effect = _direct_effect(model, autoencoder, feature_idx, instance)
    return effect, effect.topk(k).values, effect.topk(k, largest=False).values


@mutant("5.2", says="counts twice")
@torch.no_grad()
def doubled(model, autoencoder, feature_idx, instance=0, k=10):
    return _ends(2 * _direct_effect(model, autoencoder, feature_idx, instance), k)


@mutant("5.2", says="`b_dec` is added; a latent's own effect has no bias")
@torch.no_grad()
def with_the_decoders_bias(model, autoencoder, feature_idx, instance=0, k=10):
    bias = autoencoder.b_dec[instance] @ model.blocks[0].mlp.W_out @ model.W_U
    return _ends(_direct_effect(model, autoencoder, feature_idx, instance) + bias, k)


@variant("5.2")
@torch.no_grad()
def sorted_once(model, autoencoder, feature_idx, instance=0, k=10):
    row = autoencoder.W_dec[instance, feature_idx]
    effect = (model.W_U.mT @ (model.blocks[0].mlp.W_out.mT @ row)) / row.norm()
    order = effect.argsort()
    return effect, order.flip(0)[:k], order[:k]


equivalent("5.2", "the model has one layer, the first and the last", "model.blocks[0]: 0 -> -1")


@mutant("5.2", says="biases of the MLP's output and of the unembedding")
@torch.no_grad()
def with_both_biases(model, ae, f, i=0, k=10):
    written = F.normalize(ae.W_dec[i, f], dim=0) @ model.blocks[0].mlp.W_out
    return _ends((written + model.blocks[0].mlp.b_out) @ model.W_U + model.b_U, k)
