"""Answers to exercise 2.4: `cheat_on_l1`."""

import copy

import torch
from torch.nn import functional as F

from tests.mutants import mutant, variant


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


@mutant("2.4", says="the autoencoder uses it at unit length")
def stored_decoder(autoencoder, factor):
    W_dec = autoencoder.W_enc.mT if autoencoder.cfg.tied_weights else autoencoder.W_dec
    return autoencoder.W_enc / factor, autoencoder.b_enc / factor, W_dec * factor


@mutant("2.4", says="is not made longer in return")
def normalized_again(autoencoder, factor):
    W_dec = autoencoder.normalize_and_return_W_dec() * factor
    return autoencoder.W_enc / factor, autoencoder.b_enc / factor, F.normalize(W_dec, dim=-1)


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
