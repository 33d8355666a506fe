"""Answers to exercise 5.4: `neuron_in_feature_basis`."""

import torch
from einops import einsum
from torch.nn import functional as F

from tests.mutants import mutant, variant


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


@mutant("5.4", says="One neuron is a *column* of the decoder")
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


@mutant("5.4", says="`bias` is wrong: it is another instance's")
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


def _weights(autoencoder, neuron, instance):
    return F.normalize(autoencoder.W_dec[instance], dim=-1)[:, neuron]


@mutant("5.4", says="another instance is used")
@torch.no_grad()
def two_instances_at_most(acts, autoencoder, neuron, instance=0):
    instance = min(instance, 1)
    return acts * _weights(autoencoder, neuron, instance), autoencoder.b_dec[instance, neuron]


@mutant("5.4", says="`contributions` has the wrong shape: expected [tokens")
@torch.no_grad()
def ten_tokens_only(acts, autoencoder, neuron, instance=0):
    return acts[:10] * _weights(autoencoder, neuron, instance), autoencoder.b_dec[instance, neuron]


@mutant("5.4", says="activations below")
@torch.no_grad()
def weak_latents_left_out(acts, autoencoder, neuron, instance=0):
    return acts * (acts > 0.01) * _weights(autoencoder, neuron, instance), autoencoder.b_dec[instance, neuron]


@mutant("5.4", says="negative values of `W_dec` are set to")
@torch.no_grad()
def positive_contributions_only(acts, autoencoder, neuron, instance=0):
    return (acts * _weights(autoencoder, neuron, instance)).relu(), autoencoder.b_dec[instance, neuron]


@mutant("5.4", says="the bias is spread over the latents; it is returned apart")
@torch.no_grad()
def bias_spread_over_the_latents(acts, autoencoder, neuron, instance=0):
    bias = autoencoder.b_dec[instance, neuron]
    return acts * _weights(autoencoder, neuron, instance) + bias / acts.shape[1], torch.tensor(0.0)


@mutant("5.4", says="a neighboring neuron is taken (one before)")
@torch.no_grad()
def neighboring_neuron(acts, autoencoder, neuron, instance=0):
    return acts * _weights(autoencoder, neuron - 1, instance), autoencoder.b_dec[instance, neuron - 1]


@mutant("5.4", says="the contributions are averaged over the tokens; each token is")
@torch.no_grad()
def mean_over_the_tokens(acts, autoencoder, neuron, instance=0):
    return acts.mean(0) * _weights(autoencoder, neuron, instance), autoencoder.b_dec[instance, neuron]


@mutant("5.4", says="it is sorted along the axis `n_hidden_ae`, the largest first")
@torch.no_grad()
def largest_contribution_first(acts, autoencoder, neuron, instance=0):
    parts = acts * _weights(autoencoder, neuron, instance)
    return parts.sort(dim=-1, descending=True).values, autoencoder.b_dec[instance, neuron]


@mutant("5.4", says="the neuron's column is brought to unit length instead of every")
@torch.no_grad()
def column_at_unit_length(acts, autoencoder, neuron, instance=0):
    column = F.normalize(autoencoder.W_dec[instance, :, neuron], dim=0)
    return acts * column, autoencoder.b_dec[instance, neuron]


@mutant("5.4", says="the contributions are summed over the latents; each of them is")
@torch.no_grad()
def sum_already_taken(acts, autoencoder, neuron, instance=0):
    return (acts * _weights(autoencoder, neuron, instance)).sum(-1), autoencoder.b_dec[instance, neuron]


@mutant("5.4", says="`bias` is wrong: it is another instance's")
@torch.no_grad()
def bias_of_the_first_instance(acts, autoencoder, neuron, instance=0):
    return acts * _weights(autoencoder, neuron, instance), autoencoder.b_dec[0, neuron]


@variant("5.4")
@torch.no_grad()
def with_a_diagonal_matrix(acts, autoencoder, neuron, instance=0):
    return acts @ torch.diag(_weights(autoencoder, neuron, instance)), autoencoder.b_dec[instance][
        neuron
    ].item()


@mutant("5.4", says="changes `acts` itself")
def multiplied_in_place(acts, autoencoder, neuron, instance=0):
    weights = autoencoder.normalize_and_return_W_dec()[instance, :, neuron].detach()
    return acts.mul_(weights), autoencoder.b_dec[instance, neuron].detach()


@mutant("5.4", says="an axis of size 1 is lost")
def one_token_squeezed(acts, autoencoder, neuron, instance=0):
    weights = autoencoder.normalize_and_return_W_dec()[instance, :, neuron].detach()
    return (acts * weights).squeeze(), autoencoder.b_dec[instance, neuron].detach()
