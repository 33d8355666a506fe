"""Answers to exercise 2.4: `cheat_on_l1`."""

import copy

import torch
from torch.nn import functional as F

from tests.mutants import equivalent, mutant, variant


@mutant("2.4", says="`b_enc` was forgotten")
def bias_forgotten(autoencoder, factor):
    W_dec = autoencoder.normalize_and_return_W_dec()
    return autoencoder.W_enc / factor, autoencoder.b_enc, W_dec * factor


@mutant("2.4", says="the L1 penalty grows")
def the_other_way_round(autoencoder, factor):
    W_dec = autoencoder.normalize_and_return_W_dec()
    return autoencoder.W_enc * factor, autoencoder.b_enc * factor, W_dec / factor


@mutant("2.4", says="is not made longer in return")
def decoder_not_longer(autoencoder, factor):
    return autoencoder.W_enc / factor, autoencoder.b_enc / factor, autoencoder.normalize_and_return_W_dec()


@mutant("2.4", says="which the autoencoder uses at unit length")
def stored_decoder(autoencoder, factor):
    W_dec = autoencoder.W_enc.mT if autoencoder.cfg.tied_weights else autoencoder.W_dec
    return autoencoder.W_enc / factor, autoencoder.b_enc / factor, W_dec * factor


@mutant("2.4", says="`W_enc` is unchanged")
def only_the_decoder(autoencoder, factor):
    return autoencoder.W_enc, autoencoder.b_enc, autoencoder.normalize_and_return_W_dec() * factor


@mutant("2.4", says="With tied weights there is no `W_dec`")
def tied_without_decoder(autoencoder, factor):
    W_dec = F.normalize(autoencoder.W_dec, dim=-1)
    return autoencoder.W_enc / factor, autoencoder.b_enc / factor, W_dec * factor


@mutant("2.4", says="The autoencoder itself was changed")
def changes_the_autoencoder(autoencoder, factor):
    with torch.no_grad():
        autoencoder.W_enc /= factor
        autoencoder.b_enc /= factor
    return autoencoder.W_enc, autoencoder.b_enc, autoencoder.normalize_and_return_W_dec() * factor


@mutant("2.4", says="divided by the square of `factor`")
def divided_twice(autoencoder, factor):
    W_enc, b_enc = autoencoder.W_enc / factor / factor, autoencoder.b_enc / factor / factor
    return W_enc, b_enc, autoencoder.normalize_and_return_W_dec() * factor


@mutant("2.4", says="Return three tensors")
def two_of_three(autoencoder, factor):
    return autoencoder.W_enc / factor, autoencoder.normalize_and_return_W_dec() * factor


@mutant("2.4", says="The order is `(W_enc, b_enc, W_dec)`")
def another_order(autoencoder, factor):
    W_dec = autoencoder.normalize_and_return_W_dec() * factor
    return autoencoder.W_enc / factor, W_dec, autoencoder.b_enc / factor


@mutant("2.4", says="`b_enc` was multiplied")
def bias_multiplied(autoencoder, factor):
    W_dec = autoencoder.normalize_and_return_W_dec() * factor
    return autoencoder.W_enc / factor, autoencoder.b_enc * factor, W_dec


@mutant("2.4", says="`W_dec` has the wrong shape")
def tied_encoder_untransposed(autoencoder, factor):
    W_dec = autoencoder.W_enc if autoencoder.cfg.tied_weights else autoencoder.W_dec
    return autoencoder.W_enc / factor, autoencoder.b_enc / factor, F.normalize(W_dec, dim=-1) * factor


@mutant("2.4", says="The autoencoder itself was changed")
def projects_first(autoencoder, factor):
    autoencoder.normalize_decoder()
    W_dec = autoencoder.normalize_and_return_W_dec()
    return autoencoder.W_enc / factor, autoencoder.b_enc / factor, W_dec * factor


@variant("2.4")
def through_the_state(autoencoder, factor):
    state = {name: value.detach().clone() for name, value in autoencoder.named_parameters()}
    W_dec = state["W_dec"] if "W_dec" in state else state["W_enc"].transpose(1, 2)
    W_dec = factor * W_dec / W_dec.norm(dim=-1, keepdim=True)
    return [state["W_enc"] * (1 / factor), state["b_enc"] * (1 / factor), W_dec, state["b_dec"]]


@variant("2.4")
def with_gradients_and_doubles(autoencoder, factor):
    scaled = [p.double() / factor for p in (autoencoder.W_enc, autoencoder.b_enc)]
    return (*scaled, autoencoder.normalize_and_return_W_dec().double().mul(factor))


@variant("2.4")
def scaled_copy_of_the_autoencoder(autoencoder, factor):
    cheat = copy.deepcopy(autoencoder)
    with torch.no_grad():
        W_dec = cheat.normalize_and_return_W_dec().clone()
        cheat.W_enc /= factor
        cheat.b_enc /= factor
        W_dec *= factor
    return cheat.W_enc, cheat.b_enc, W_dec


@variant("2.4")
def latent_by_latent_cheat(autoencoder, factor):
    W_dec = autoencoder.W_enc.mT if autoencoder.cfg.tied_weights else autoencoder.W_dec
    rows = [[factor * F.normalize(row, dim=0) for row in matrix] for matrix in W_dec]
    W_enc = torch.einsum("nxz,->nxz", autoencoder.W_enc, torch.tensor(1.0 / factor))
    return W_enc, torch.true_divide(autoencoder.b_enc, factor), torch.stack([torch.stack(r) for r in rows])


# l1_and_l2(h, W_enc, b_enc, W_dec, b_dec)


def _through(h, W_enc, b_enc, W_dec, b_dec):
    acts = torch.relu(torch.einsum("bix,ixl->bil", h - b_dec, W_enc) + b_enc)
    return acts, torch.einsum("bil,ilx->bix", acts, W_dec) + b_dec


@mutant("2.4", function="l1_and_l2", says="brought to unit length")
def measures_with_unit_length(h, W_enc, b_enc, W_dec, b_dec):
    acts, rebuilt = _through(h, W_enc, b_enc, F.normalize(W_dec, dim=-1), b_dec)
    return acts.sum(-1).mean(0), (h - rebuilt).pow(2).mean((0, 2))


@mutant("2.4", function="l1_and_l2", says="mean over the latents")
def mean_latent(h, W_enc, b_enc, W_dec, b_dec):
    acts, rebuilt = _through(h, W_enc, b_enc, W_dec, b_dec)
    return acts.mean((0, 2)), (h - rebuilt).pow(2).mean((0, 2))


@mutant("2.4", function="l1_and_l2", says="sum over the dimensions")
def summed_error(h, W_enc, b_enc, W_dec, b_dec):
    acts, rebuilt = _through(h, W_enc, b_enc, W_dec, b_dec)
    return acts.sum(-1).mean(0), (h - rebuilt).pow(2).sum(-1).mean(0)


@mutant("2.4", function="l1_and_l2", says="`b_dec` is not subtracted")
def not_centered(h, W_enc, b_enc, W_dec, b_dec):
    acts = torch.relu(torch.einsum("bix,ixl->bil", h, W_enc) + b_enc)
    rebuilt = torch.einsum("bil,ilx->bix", acts, W_dec) + b_dec
    return acts.sum(-1).mean(0), (h - rebuilt).pow(2).mean((0, 2))


@mutant("2.4", function="l1_and_l2", says="`b_enc` is left out")
def measured_without_bias(h, W_enc, b_enc, W_dec, b_dec):
    acts, rebuilt = _through(h, W_enc, 0, W_dec, b_dec)
    return acts.sum(-1).mean(0), (h - rebuilt).pow(2).mean((0, 2))


@mutant("2.4", function="l1_and_l2", says="exchanged")
def l2_first(h, W_enc, b_enc, W_dec, b_dec):
    acts, rebuilt = _through(h, W_enc, b_enc, W_dec, b_dec)
    return (h - rebuilt).pow(2).mean((0, 2)), acts.sum(-1).mean(0)


@mutant("2.4", function="l1_and_l2", says="`b_dec` is not added")
def offset_forgotten(h, W_enc, b_enc, W_dec, b_dec):
    acts, rebuilt = _through(h, W_enc, b_enc, W_dec, b_dec)
    return acts.sum(-1).mean(0), (h - (rebuilt - b_dec)).pow(2).mean((0, 2))


@mutant("2.4", function="l1_and_l2", says="latents that fire are counted")
def counted_latents(h, W_enc, b_enc, W_dec, b_dec):
    acts, rebuilt = _through(h, W_enc, b_enc, W_dec, b_dec)
    return (acts > 0).float().sum(-1).mean(0), (h - rebuilt).pow(2).mean((0, 2))


@variant("2.4", function="l1_and_l2")
def instance_by_instance(h, W_enc, b_enc, W_dec, b_dec):
    l1, l2 = [], []
    for i in range(h.shape[1]):
        acts = F.relu((h[:, i] - b_dec[i]) @ W_enc[i] + b_enc[i])
        l1.append(acts.norm(p=1, dim=-1).mean())
        l2.append(F.mse_loss(acts @ W_dec[i] + b_dec[i], h[:, i]))
    return torch.stack(l1), torch.stack(l2)


@variant("2.4", function="l1_and_l2")
def measured_in_double(h, W_enc, b_enc, W_dec, b_dec):
    acts, rebuilt = _through(*(t.double() for t in (h, W_enc, b_enc, W_dec, b_dec)))
    return [acts.mean(0).sum(-1), ((h - rebuilt) ** 2).mean((0, 2))]


equivalent("2.4", "the error is squared", "h - h_reconstructed -> h_reconstructed - h")


@mutant("2.4", says="`W_enc` is rounded down to whole numbers")
def whole_number_division(autoencoder, factor):
    W_dec = autoencoder.normalize_and_return_W_dec()
    return autoencoder.W_enc // factor, autoencoder.b_enc / factor, W_dec * factor


@mutant("2.4", says="The encoder is right, but the decoder was multiplied with the square")
def factor_squared_in_the_decoder(autoencoder, factor):
    W_dec = autoencoder.normalize_and_return_W_dec()
    return autoencoder.W_enc / factor, autoencoder.b_enc / factor, W_dec * factor**2


@mutant("2.4", says="`factor` is taken as 1 where it is below 1")
def only_factors_above_one(autoencoder, factor):
    factor = max(factor, 1)
    W_dec = autoencoder.normalize_and_return_W_dec()
    return autoencoder.W_enc / factor, autoencoder.b_enc / factor, W_dec * factor


@mutant("2.4", says="they are divided by the root of `factor`")
def divided_by_the_root(autoencoder, factor):
    W_dec = autoencoder.normalize_and_return_W_dec()
    return autoencoder.W_enc / factor**0.5, autoencoder.b_enc / factor**0.5, W_dec * factor**0.5


@mutant("2.4", says="`b_enc` has the wrong shape")
def b_dec_for_b_enc(autoencoder, factor):
    W_dec = autoencoder.normalize_and_return_W_dec()
    return autoencoder.W_enc / factor, autoencoder.b_dec / factor, W_dec * factor


@mutant("2.4", says="`W_enc` is right, but `b_enc` is not")
def bias_squared_factor(autoencoder, factor):
    W_dec = autoencoder.normalize_and_return_W_dec()
    return autoencoder.W_enc / factor, autoencoder.b_enc / factor**2, W_dec * factor


@mutant("2.4", function="l1_and_l2", says="the ReLU is missing")
def no_relu(h, W_enc, b_enc, W_dec, b_dec):
    acts = torch.einsum("bik,ikj->bij", h - b_dec, W_enc) + b_enc
    error = h - torch.einsum("bij,ijk->bik", acts, W_dec) - b_dec
    return acts.abs().sum(dim=-1).mean(dim=0), error.square().mean(dim=(0, 2))


@mutant("2.4", function="l1_and_l2", says="the root is taken")
def root_of_l2(h, W_enc, b_enc, W_dec, b_dec):
    acts = torch.relu(torch.einsum("bik,ikj->bij", h - b_dec, W_enc) + b_enc)
    error = h - torch.einsum("bij,ijk->bik", acts, W_dec) - b_dec
    return acts.sum(dim=-1).mean(dim=0), error.square().mean(dim=(0, 2)).sqrt()


@mutant("2.4", function="l1_and_l2", says="the sum over the batch is taken instead of the mean")
def sums_over_the_batch(h, W_enc, b_enc, W_dec, b_dec):
    acts = torch.relu(torch.einsum("bik,ikj->bij", h - b_dec, W_enc) + b_enc)
    error = h - torch.einsum("bij,ijk->bik", acts, W_dec) - b_dec
    return acts.sum(dim=-1).sum(dim=0), error.square().mean(dim=-1).sum(dim=0)


@mutant("2.4", function="l1_and_l2", says="an axis of size 1 is lost")
def squeezed_numbers(h, W_enc, b_enc, W_dec, b_dec):
    acts = torch.relu(torch.einsum("bik,ikj->bij", h - b_dec, W_enc) + b_enc)
    error = h - torch.einsum("bij,ijk->bik", acts, W_dec) - b_dec
    return acts.sum(dim=-1).mean(dim=0).squeeze(), error.square().mean(dim=(0, 2)).squeeze()


@mutant("2.4", function="l1_and_l2", says="the absolute error is taken instead of the squared one")
def absolute_error(h, W_enc, b_enc, W_dec, b_dec):
    acts = torch.relu(torch.einsum("bik,ikj->bij", h - b_dec, W_enc) + b_enc)
    error = h - torch.einsum("bij,ijk->bik", acts, W_dec) - b_dec
    return acts.sum(dim=-1).mean(dim=0), error.abs().mean(dim=(0, 2))


@mutant("2.4", function="l1_and_l2", says="the mean over the axis `n_instances` is used for all of it")
def mean_of_the_instances(h, W_enc, b_enc, W_dec, b_dec):
    acts = torch.relu(torch.einsum("bik,ikj->bij", h - b_dec, W_enc) + b_enc)
    error = h - torch.einsum("bij,ijk->bik", acts, W_dec) - b_dec
    n = h.shape[1]
    return acts.sum(dim=-1).mean().expand(n), error.square().mean().expand(n)


@variant("2.4")
def through_a_copy(autoencoder, factor):
    cheat = copy.deepcopy(autoencoder).requires_grad_(False)
    cheat.W_enc.mul_(1 / factor)
    cheat.b_enc.mul_(1 / factor)
    return cheat.W_enc.data, cheat.b_enc.data, factor * autoencoder.normalize_and_return_W_dec()


@variant("2.4", function="l1_and_l2")
def with_a_loop(h, W_enc, b_enc, W_dec, b_dec):
    l1, l2 = [], []
    for i in range(h.shape[1]):
        z = F.relu((h[:, i] - b_dec[i]) @ W_enc[i] + b_enc[i])
        l1.append(z.norm(p=1, dim=1).mean())
        l2.append(F.mse_loss(z @ W_dec[i] + b_dec[i], h[:, i]))
    return torch.stack(l1), torch.stack(l2)


@mutant("2.4", says="The encoder is right, but the decoder was multiplied with the root of")
@torch.no_grad()
def sqrt_each(a, factor):
    return (a.W_enc / factor, a.b_enc / factor, a.normalize_and_return_W_dec() * factor**0.5)


@mutant("2.4", says="`b_enc` has the wrong shape")
@torch.no_grad()
def returned_in_other_order(a, factor):
    return (a.W_enc / factor, a.normalize_and_return_W_dec() * factor, a.b_enc / factor)


@mutant("2.4", says="replaced by its logarithm")
@torch.no_grad()
def log_factor(a, factor):
    import math

    return (
        a.W_enc / math.log(factor + 1),
        a.b_enc / math.log(factor + 1),
        a.normalize_and_return_W_dec() * math.log(factor + 1),
    )


@mutant("2.4", says="The result for `acts` with your weights is right for `n_instances` 0,")
@torch.no_grad()
def only_first_instance(a, factor):
    W, b, D = (a.W_enc.clone(), a.b_enc.clone(), a.normalize_and_return_W_dec().clone())
    W[0] /= factor
    b[0] /= factor
    D[0] *= factor
    return (W, b, D)


@variant("2.4")
@torch.no_grad()
def inverse(a, factor):
    k = 1.0 / factor
    W_enc, b_enc = (torch.mul(a.W_enc, k), torch.mul(a.b_enc, k))
    return [W_enc, b_enc, torch.div(a.normalize_and_return_W_dec(), k)]


def _divided(autoencoder, factor):
    return (
        autoencoder.W_enc / factor,
        autoencoder.b_enc / factor,
        autoencoder.normalize_and_return_W_dec() * factor,
    )


@mutant("2.4", says="is cut down to a whole number")
@torch.no_grad()
def whole_factor(autoencoder, factor):
    return _divided(autoencoder, max(int(factor), 1))


@mutant("2.4", says="everything is divided by 10")
@torch.no_grad()
def ten_for_any_factor(autoencoder, factor):
    return _divided(autoencoder, 10)


@mutant("2.4", says="`factor` is subtracted from `W_enc`")
@torch.no_grad()
def subtracted(autoencoder, factor):
    W_dec = autoencoder.normalize_and_return_W_dec()
    return autoencoder.W_enc - factor, autoencoder.b_enc - factor, W_dec + factor


@mutant("2.4", says="columns of the encoder are brought to unit length")
@torch.no_grad()
def unit_encoder(autoencoder, factor):
    _, b_enc, W_dec = _divided(autoencoder, factor)
    return F.normalize(autoencoder.W_enc, dim=1) / factor, b_enc, W_dec


@mutant("2.4", says="of instance 0 was used for every instance")
@torch.no_grad()
def decoder_of_instance_0(autoencoder, factor):
    W_enc, b_enc, W_dec = _divided(autoencoder, factor)
    return W_enc, b_enc, W_dec[:1].expand_as(W_dec)


@mutant("2.4", says="divided by the variance of the inputs", function="l1_and_l2")
def unexplained_variance(h, W_enc, b_enc, W_dec, b_dec):
    acts, rebuilt = _through(h, W_enc, b_enc, W_dec, b_dec)
    return acts.sum(-1).mean(0), (h - rebuilt).pow(2).mean((0, 2)) / h.var(0).mean(-1)


@mutant("2.4", says="the inputs on which something fires", function="l1_and_l2")
def mean_where_something_fires(h, W_enc, b_enc, W_dec, b_dec):
    acts, rebuilt = _through(h, W_enc, b_enc, W_dec, b_dec)
    firing = (acts > 0).any(-1).sum(0).clamp(min=1)
    return acts.sum((0, 2)) / firing, (h - rebuilt).pow(2).mean((0, 2))


@mutant("2.4", says="everything is divided by 2")
def always_two(autoencoder, factor):
    return autoencoder.W_enc / 2, autoencoder.b_enc / 2, autoencoder.normalize_and_return_W_dec() * 2


@mutant("2.4", says="`b_dec` is put into `b_enc`")
def bias_folded(autoencoder, factor):
    shift = torch.einsum("ix,ixl->il", autoencoder.b_dec, autoencoder.W_enc)
    b_enc = (autoencoder.b_enc - shift) / factor
    return autoencoder.W_enc / factor, b_enc, autoencoder.normalize_and_return_W_dec() * factor


@mutant("2.4", function="l1_and_l2", says="the root is taken")
def root_of_each_error(h, W_enc, b_enc, W_dec, b_dec):
    acts = torch.relu(torch.einsum("bix,ixl->bil", h - b_dec, W_enc) + b_enc)
    error = h - b_dec - torch.einsum("bil,ilx->bix", acts, W_dec)
    return acts.sum(-1).mean(0), error.pow(2).mean(-1).sqrt().mean(0)


@mutant("2.4", function="l1_and_l2", says="itself (in place)")
def centered_in_place(h, W_enc, b_enc, W_dec, b_dec):
    h -= b_dec
    acts = torch.relu(torch.einsum("bix,ixl->bil", h, W_enc) + b_enc)
    return acts.sum(-1).mean(0), (h - torch.einsum("bil,ilx->bix", acts, W_dec)).pow(2).mean((0, 2))
