"""Answers to exercise 7.4: `freeze_decoder`."""

import torch

from tests.mutants import equivalent, mutant, variant


def _unit(shape):
    rows = torch.randn(shape)
    return rows / rows.norm(dim=-1, keepdim=True)


@mutant("7.4", says="still moves")
def not_frozen(autoencoder):
    autoencoder.W_dec.data = _unit(autoencoder.W_dec.shape)


@mutant("7.4", says="frozen at the rows that it had")
def frozen_as_it_is(autoencoder):
    autoencoder.W_dec.requires_grad_(False)
    autoencoder.normalize_decoder()


@mutant("7.4", says="unit length")
def any_length(autoencoder):
    autoencoder.W_dec.data = torch.randn(autoencoder.W_dec.shape)
    autoencoder.W_dec.requires_grad_(False)


@mutant("7.4", says="does not learn any more")
def everything_frozen(autoencoder):
    autoencoder.W_dec.data = _unit(autoencoder.W_dec.shape)
    autoencoder.requires_grad_(False)
    autoencoder.W_enc.requires_grad_(True)


@mutant("7.4", says="not spread evenly")
def positive_only(autoencoder):
    rows = torch.rand(autoencoder.W_dec.shape)
    autoencoder.W_dec.data = rows / rows.norm(dim=-1, keepdim=True)
    autoencoder.W_dec.requires_grad_(False)


@mutant("7.4", says="same directions")
def same_in_all_instances(autoencoder):
    rows = _unit(autoencoder.W_dec.shape[1:])
    autoencoder.W_dec.data = rows.expand_as(autoencoder.W_dec).clone()
    autoencoder.W_dec.requires_grad_(False)


@mutant("7.4", says="same at every call")
def seeded(autoencoder):
    torch.manual_seed(0)
    autoencoder.W_dec.data = _unit(autoencoder.W_dec.shape)
    autoencoder.W_dec.requires_grad_(False)


@mutant("7.4", says="changes `W_enc`")
def encoder_too(autoencoder):
    autoencoder.W_dec.data = _unit(autoencoder.W_dec.shape)
    autoencoder.W_dec.requires_grad_(False)
    autoencoder.W_enc.data = autoencoder.W_dec.data.mT.clone()


@mutant("7.4", says="torch.no_grad()")
def in_place_with_gradient(autoencoder):
    autoencoder.W_dec.normal_()


@variant("7.4")
def a_buffer(autoencoder):
    rows = _unit(autoencoder.W_dec.shape)
    del autoencoder.W_dec
    autoencoder.register_buffer("W_dec", rows)


@variant("7.4")
def a_new_parameter(autoencoder):
    autoencoder.W_dec = torch.nn.Parameter(_unit(autoencoder.W_dec.shape), requires_grad=False)


@variant("7.4")
def copied(autoencoder):
    with torch.no_grad():
        autoencoder.W_dec.copy_(_unit(autoencoder.W_dec.shape))
    autoencoder.W_dec.grad = None
    autoencoder.W_dec.requires_grad = False


equivalent(
    "7.4",
    "whoever trains clears the gradients before the first step.",
    "autoencoder.W_dec.grad = None -> nothing",
    "autoencoder.W_dec -> autoencoder.W_enc (3)",
)
