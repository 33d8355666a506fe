"""Answers to exercise 5.5: `decompose_activation`."""

import torch
from einops import rearrange
from torch.nn import functional as F

from part_utils.interpretation import decompose_activation
from tests.mutants import equivalent, mutant, variant


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
    acts = ae(h.expand(1, ae.cfg.n_instances, -1)).acts[0, i]
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
    acts = ae(h.expand(1, ae.cfg.n_instances, -1)).acts[0, i]
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


@mutant("5.5", says="fire above *thresholds* of their own")
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
    acts = ae(h.expand(1, ae.cfg.n_instances, -1)).acts[0, i]
    features = sorted((f for f in range(len(acts)) if acts[f] > 0), key=lambda f: -acts[f].item())
    parts = torch.zeros(len(features), len(h))
    for place, f in enumerate(features):
        parts[place] = acts[f] * ae.W_dec[i, f] / ae.W_dec[i, f].norm()
    return features, parts, ae.b_dec[i], h - ae.b_dec[i] - parts.sum(0)


@mutant("5.5", says="`features`")
def only_the_ten_strongest(h, autoencoder, instance=0):
    features, contributions, bias, error = decompose_activation(h, autoencoder, instance)
    return features[:10], contributions[:10], bias, error


@mutant("5.5", says="`features`")
def only_the_twenty_strongest(h, autoencoder, instance=0):
    features, contributions, bias, error = decompose_activation(h, autoencoder, instance)
    return features[:20], contributions[:20], bias, error


@mutant("5.5", says="`features`")
def fires_above_a_hundredth(h, autoencoder, instance=0):
    features, contributions, bias, error = decompose_activation(h, autoencoder, instance)
    loud = contributions.norm(dim=1) > 0.01
    return features[loud], contributions[loud], bias, error


@mutant("5.5", says="the same `h` for each of its instances")
def two_instances_assumed(h, autoencoder, instance=0):
    acts = autoencoder(h.expand(1, 2, -1)).acts[0, instance]
    return decompose_activation(h, autoencoder, instance) if len(acts) else None


def _latents(h, autoencoder, instance):
    return autoencoder(h.expand(1, autoencoder.cfg.n_instances, -1)).acts[0, instance]


def _parts(h, autoencoder, instance, features, acts):
    W_dec = autoencoder.normalize_and_return_W_dec()[instance]
    contributions = acts[features, None] * W_dec[features]
    bias = autoencoder.b_dec[instance].clone()
    return features, contributions, bias, h - contributions.sum(0) - bias


def _order(acts, above=0.0):
    return acts.argsort(descending=True)[: int((acts > above).sum())]


@mutant("5.5", says="`features`")
@torch.no_grad()
def ten_latents(h, autoencoder, instance=0):
    acts = _latents(h, autoencoder, instance)
    return _parts(h, autoencoder, instance, _order(acts)[:10], acts)


@mutant("5.5", says="`features`")
@torch.no_grad()
def thirty_two_latents(h, autoencoder, instance=0):
    acts = _latents(h, autoencoder, instance)
    return _parts(h, autoencoder, instance, _order(acts)[:32], acts)


@mutant("5.5", says="leaves out the weakest")
@torch.no_grad()
def above_a_thousandth(h, autoencoder, instance=0):
    acts = _latents(h, autoencoder, instance)
    return _parts(h, autoencoder, instance, _order(acts, 1e-3), acts)


@mutant("5.5", says="the same `h` for each of its instances")
@torch.no_grad()
def two_instances_hard_coded(h, autoencoder, instance=0):
    acts = autoencoder(h.expand(1, 2, -1)).acts[0, instance]
    return _parts(h, autoencoder, instance, _order(acts), acts)


@mutant("5.5", says="`features` goes on after the last latent that fires, with")
@torch.no_grad()
def at_least_one(h, autoencoder, instance=0):
    acts = _latents(h, autoencoder, instance)
    features = acts.argsort(descending=True)[: max(int((acts > 0).sum()), 1)]
    return _parts(h, autoencoder, instance, features, acts)


@mutant("5.5", says="an axis of size 1 is lost")
@torch.no_grad()
def one_latent_squeezed(h, autoencoder, instance=0):
    acts = _latents(h, autoencoder, instance)
    features, contributions, bias, error = _parts(h, autoencoder, instance, _order(acts), acts)
    return features.squeeze(), contributions.squeeze(), bias, error


@mutant("5.5", says="the parts do not add up: the error has the wrong sign; it is")
@torch.no_grad()
def error_of_the_wrong_sign(h, autoencoder, instance=0):
    acts = _latents(h, autoencoder, instance)
    features, contributions, bias, error = _parts(h, autoencoder, instance, _order(acts), acts)
    return features, contributions, bias, -error


@mutant("5.5", says="the parts do not add up: the absolute error is returned")
@torch.no_grad()
def absolute_error(h, autoencoder, instance=0):
    acts = _latents(h, autoencoder, instance)
    features, contributions, bias, error = _parts(h, autoencoder, instance, _order(acts), acts)
    return features, contributions, bias, error.abs()


@mutant("5.5", says="`features` is in the order of the latents' numbers; expected")
@torch.no_grad()
def in_the_order_of_their_numbers(h, autoencoder, instance=0):
    acts = _latents(h, autoencoder, instance)
    return _parts(h, autoencoder, instance, acts.nonzero()[:, 0], acts)


@mutant("5.5", says="`features` does not list the latents that fire")
@torch.no_grad()
def places_in_the_list(h, autoencoder, instance=0):
    acts = _latents(h, autoencoder, instance)
    features, *rest = _parts(h, autoencoder, instance, _order(acts), acts)
    return torch.arange(len(features)), *rest


@mutant("5.5", says="the bias is lost")
@torch.no_grad()
def bias_inside_the_error(h, autoencoder, instance=0):
    acts = _latents(h, autoencoder, instance)
    features, contributions, bias, error = _parts(h, autoencoder, instance, _order(acts), acts)
    return features, contributions, torch.zeros_like(bias), error + bias


@mutant("5.5", says="the error is spread over the contributions; it is returned")
@torch.no_grad()
def nothing_left_out_of_the_contributions(h, autoencoder, instance=0):
    acts = _latents(h, autoencoder, instance)
    features, contributions, bias, error = _parts(h, autoencoder, instance, _order(acts), acts)
    if not len(features):
        return features, contributions, bias, error
    return features, contributions + error / len(features), bias, torch.zeros_like(error)


@variant("5.5")
@torch.no_grad()
def with_nonzero_and_a_loop(h, autoencoder, instance=0):
    acts = _latents(h, autoencoder, instance)
    features = sorted(acts.nonzero().flatten().tolist(), key=lambda number: -acts[number].item())
    W_dec = autoencoder.normalize_and_return_W_dec()[instance]
    rows = [acts[number] * W_dec[number] for number in features]
    contributions = torch.stack(rows) if rows else torch.zeros(0, len(h))
    bias = autoencoder.b_dec[instance]
    return torch.tensor(features, dtype=torch.long), contributions, bias, h - bias - contributions.sum(0)


equivalent(
    "5.5",
    "a batch of two equal rows, of which the first or the last is taken",
    "h.expand(1, autoencoder.cfg.n_instances, -1): 1 -> 2",
    "(0, instance): 0 -> -1",
)
equivalent(
    "5.5",
    "what comes back is copied and cut off on the way, and the statement asks for numbers",
    "autoencoder.b_dec[instance].detach().clone() -> autoencoder.b_dec[instance].detach()",
    "autoencoder.b_dec[instance].detach() -> autoencoder.b_dec[instance]",
)


@mutant("5.5", says="the activations are in the order of the latents' numbers, unlike")
def activations_by_number(h, autoencoder, instance=0):
    right = decompose_activation(h, autoencoder, instance)
    output = autoencoder(h.expand(1, autoencoder.cfg.n_instances, -1))
    acts = output.acts[0, instance].detach()[right.features.sort().values]
    directions = autoencoder.normalize_and_return_W_dec()[instance, right.features].detach()
    return right._replace(contributions=acts[:, None] * directions)


@mutant("5.5", says="the encoder's columns at unit length are used")
def encoder_at_unit_length(h, autoencoder, instance=0):
    right = decompose_activation(h, autoencoder, instance)
    columns = autoencoder.W_enc[instance].mT[right.features].detach()
    acts = right.contributions.norm(dim=-1, keepdim=True)
    return right._replace(contributions=acts * columns / columns.norm(dim=-1, keepdim=True))


@mutant("5.5", says="Two sizes do not go together")
def bias_of_the_encoder_in_the_error(h, autoencoder, instance=0):
    right = decompose_activation(h, autoencoder, instance)
    bias = autoencoder.b_enc[instance].detach()
    return right._replace(bias=bias, error=h - right.contributions.sum(0) - bias)


@mutant("5.5", says="(a projection)")
@torch.no_grad()
def projected(h, ae, i=0, about=0):
    right = decompose_activation(h, ae, i)
    directions = F.normalize(ae.W_dec[i, right.features], dim=-1)
    contributions = (directions @ (h - about))[:, None] * directions
    return right.features, contributions, right.bias, h - contributions.sum(dim=0) - right.bias


@mutant("5.5", says="(a projection)")
def projected_from_the_bias(h, ae, i=0):
    return projected(h, ae, i, about=ae.b_dec[i].detach())


@mutant("5.5", says="the error is in the bias")
def error_hidden_in_the_bias(*args):
    features, contributions, bias, error = decompose_activation(*args)
    return features, contributions, bias + error, 0 * error
