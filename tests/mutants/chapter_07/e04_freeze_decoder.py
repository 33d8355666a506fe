"""Answers to exercise 7.4: `freeze_decoder`."""

from copy import deepcopy

import numpy as np
import torch

from tests.mutants import mutant, variant


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


def _draw(autoencoder):
    return torch.nn.functional.normalize(torch.randn_like(autoencoder.W_dec), dim=-1)


@mutant("7.4", says="After `freeze_decoder` the decoder is still frozen at the")
@torch.no_grad()
def old_rows_frozen(autoencoder):
    autoencoder.W_dec.requires_grad_(False)
    autoencoder.W_dec.grad = None


@mutant("7.4", says="The directions are not spread evenly: some are more")
@torch.no_grad()
def one_quadrant(autoencoder):
    autoencoder.W_dec.uniform_()
    autoencoder.normalize_decoder()
    autoencoder.W_dec.requires_grad_(False)
    autoencoder.W_dec.grad = None


@mutant("7.4", says="The rows of the frozen decoder are not of unit length.")
@torch.no_grad()
def columns_of_unit_length(autoencoder):
    autoencoder.W_dec.copy_(torch.nn.functional.normalize(torch.randn_like(autoencoder.W_dec), dim=-2))
    autoencoder.W_dec.requires_grad_(False)
    autoencoder.W_dec.grad = None


@mutant("7.4", says="The rows of the frozen decoder are not of unit length.")
@torch.no_grad()
def not_normalized(autoencoder):
    autoencoder.W_dec.normal_()
    autoencoder.W_dec.requires_grad_(False)
    autoencoder.W_dec.grad = None


@mutant("7.4", says="The rows of the frozen decoder are not of unit length.")
@torch.no_grad()
def whole_matrix(autoencoder):
    autoencoder.W_dec.normal_()
    autoencoder.W_dec /= autoencoder.W_dec.norm()
    autoencoder.W_dec.requires_grad_(False)
    autoencoder.W_dec.grad = None


@mutant("7.4", says="The rows of the frozen decoder are not of unit length.")
@torch.no_grad()
def about_unit_length(autoencoder):
    autoencoder.W_dec.normal_(std=autoencoder.W_dec.shape[-1] ** -0.5)
    autoencoder.W_dec.requires_grad_(False)
    autoencoder.W_dec.grad = None


@mutant("7.4", says="Several instances have the same directions; draw others")
@torch.no_grad()
def one_draw_for_all_instances(autoencoder):
    autoencoder.W_dec.copy_(_draw(autoencoder)[:1].expand_as(autoencoder.W_dec))
    autoencoder.W_dec.requires_grad_(False)
    autoencoder.W_dec.grad = None


@mutant("7.4", says="Several latents have the same direction; draw one for")
@torch.no_grad()
def one_direction_for_all(autoencoder):
    autoencoder.W_dec.copy_(_draw(autoencoder)[:, :1].expand_as(autoencoder.W_dec))
    autoencoder.W_dec.requires_grad_(False)
    autoencoder.W_dec.grad = None


@mutant("7.4", says="Several latents have the same direction; draw one for")
@torch.no_grad()
def half_repeated(autoencoder):
    new = _draw(autoencoder)
    half = new.shape[1] // 2
    new[:, half : 2 * half] = new[:, :half]
    autoencoder.W_dec.copy_(new)
    autoencoder.W_dec.requires_grad_(False)
    autoencoder.W_dec.grad = None


@mutant("7.4", says="The decoder still moves when the autoencoder is trained.")
@torch.no_grad()
def still_trained(autoencoder):
    autoencoder.W_dec.copy_(_draw(autoencoder))


@mutant("7.4", says="`W_enc` does not learn any more: only the decoder should")
@torch.no_grad()
def encoder_frozen_too(autoencoder):
    autoencoder.W_dec.copy_(_draw(autoencoder))
    autoencoder.W_dec.grad = None
    autoencoder.W_dec.requires_grad_(False)
    autoencoder.W_enc.requires_grad_(False)


@mutant("7.4", says="`b_dec` does not learn any more: only the decoder should")
@torch.no_grad()
def decoder_bias_frozen(autoencoder):
    autoencoder.W_dec.copy_(_draw(autoencoder))
    autoencoder.W_dec.grad = None
    autoencoder.W_dec.requires_grad_(False)
    autoencoder.b_dec.requires_grad_(False)


@mutant("7.4", says="Nothing of the autoencoder takes a gradient any more:")
@torch.no_grad()
def everything_frozen_again(autoencoder):
    autoencoder.W_dec.copy_(_draw(autoencoder))
    autoencoder.W_dec.grad = None
    autoencoder.requires_grad_(False)


@mutant("7.4", says="The directions are the same at every call; draw new ones.")
@torch.no_grad()
def seeded_again(autoencoder):
    torch.manual_seed(0)
    autoencoder.W_dec.copy_(_draw(autoencoder))
    autoencoder.W_dec.requires_grad_(False)
    autoencoder.W_dec.grad = None


@mutant("7.4", says="The directions are the same at every call; draw new ones.")
@torch.no_grad()
def own_generator(autoencoder):
    new = torch.randn(autoencoder.W_dec.shape, generator=torch.Generator().manual_seed(1))
    autoencoder.W_dec.copy_(torch.nn.functional.normalize(new, dim=-1))
    autoencoder.W_dec.requires_grad_(False)
    autoencoder.W_dec.grad = None


@mutant("7.4", says="`W_dec` still has a gradient of the training before")
@torch.no_grad()
def old_gradient_stays(autoencoder):
    autoencoder.W_dec.copy_(_draw(autoencoder))
    autoencoder.W_dec.requires_grad_(False)


@mutant("7.4", says="`freeze_decoder` changes `W_enc`, which should stay as it")
@torch.no_grad()
def encoder_set_to_transpose(autoencoder):
    autoencoder.W_dec.copy_(_draw(autoencoder))
    autoencoder.W_enc.copy_(autoencoder.W_dec.mT)
    autoencoder.W_dec.requires_grad_(False)
    autoencoder.W_dec.grad = None


@mutant("7.4", says="`freeze_decoder` changes `b_enc`, which should stay as it")
@torch.no_grad()
def biases_cleared(autoencoder):
    autoencoder.W_dec.copy_(_draw(autoencoder))
    autoencoder.W_dec.requires_grad_(False)
    autoencoder.W_dec.grad = None
    autoencoder.b_enc.zero_()
    autoencoder.b_dec.zero_()


@mutant("7.4", says="The new directions still resemble those that the latents")
@torch.no_grad()
def noise_on_old_rows(autoencoder):
    autoencoder.W_dec += 0.3 * torch.randn_like(autoencoder.W_dec)
    autoencoder.normalize_decoder()
    autoencoder.W_dec.requires_grad_(False)
    autoencoder.W_dec.grad = None


@mutant("7.4", says="The rows are those that the decoder had, in another")
@torch.no_grad()
def shuffled_rows(autoencoder):
    rows = autoencoder.W_dec[:, torch.randperm(autoencoder.W_dec.shape[1])].clone()
    autoencoder.W_dec.copy_(torch.nn.functional.normalize(rows, dim=-1))
    autoencoder.W_dec.requires_grad_(False)
    autoencoder.W_dec.grad = None


@mutant("7.4", says="After `freeze_decoder` the decoder is still frozen at the")
@torch.no_grad()
def copy_frozen(autoencoder):
    copy = deepcopy(autoencoder)
    copy.W_dec.copy_(_draw(autoencoder))
    copy.W_dec.requires_grad_(False)
    return copy


@mutant("7.4", says="Every row lies along one of the axes (one entry is 1, the")
@torch.no_grad()
def along_the_axes(autoencoder):
    places = torch.randint(autoencoder.W_dec.shape[-1], autoencoder.W_dec.shape[:-1])
    autoencoder.W_dec.copy_(torch.nn.functional.one_hot(places, autoencoder.W_dec.shape[-1]))
    autoencoder.W_dec.requires_grad_(False)
    autoencoder.W_dec.grad = None


@mutant("7.4", says="The decoder of instance 1 still has the rows that it had;")
@torch.no_grad()
def first_instance_only(autoencoder):
    autoencoder.W_dec[0].copy_(_draw(autoencoder)[0])
    autoencoder.W_dec.requires_grad_(False)
    autoencoder.W_dec.grad = None


@mutant("7.4", says="The decoder of instance 2 still has the rows that it had;")
@torch.no_grad()
def two_instances_hard_coded(autoencoder):
    autoencoder.W_dec[:2].copy_(_draw(autoencoder)[:2])
    autoencoder.W_dec.requires_grad_(False)
    autoencoder.W_dec.grad = None


@mutant("7.4", says="`freeze_decoder` changes `W_enc`, which should stay as it")
@torch.no_grad()
def wrong_matrix(autoencoder):
    autoencoder.W_enc.copy_(torch.nn.functional.normalize(torch.randn_like(autoencoder.W_enc), dim=1))
    autoencoder.W_enc.requires_grad_(False)
    autoencoder.W_enc.grad = None


@mutant("7.4", says="The rows of the frozen decoder are not of unit length.")
@torch.no_grad()
def zeros(autoencoder):
    autoencoder.W_dec.zero_()
    autoencoder.W_dec.requires_grad_(False)
    autoencoder.W_dec.grad = None


@mutant("7.4", says="The decoder still moves when the autoencoder is trained.")
@torch.no_grad()
def gradient_zeroed(autoencoder):
    autoencoder.W_dec.copy_(_draw(autoencoder))
    autoencoder.W_dec.register_hook(lambda gradient: torch.zeros_like(gradient))


@mutant("7.4", says="`W_dec` has another shape than before: [2, 7, 19] instead")
@torch.no_grad()
def transposed_matrix(autoencoder):
    autoencoder.W_dec.data = _draw(autoencoder).mT.contiguous()
    autoencoder.W_dec.requires_grad_(False)
    autoencoder.W_dec.grad = None


@variant("7.4")
@torch.no_grad()
def new_parameter(autoencoder):
    new = torch.randn(autoencoder.W_dec.shape)
    autoencoder.W_dec = torch.nn.Parameter(new / new.norm(dim=-1, keepdim=True), requires_grad=False)


@variant("7.4")
@torch.no_grad()
def through_data(autoencoder):
    autoencoder.W_dec.data = _draw(autoencoder)
    autoencoder.W_dec.requires_grad = False
    autoencoder.W_dec.grad = None
    return autoencoder


@variant("7.4")
@torch.no_grad()
def row_by_row(autoencoder):
    for instance in range(autoencoder.W_dec.shape[0]):
        for latent in range(autoencoder.W_dec.shape[1]):
            row = torch.from_numpy(np.random.default_rng().normal(size=autoencoder.W_dec.shape[2]))
            autoencoder.W_dec[instance, latent] = (row / row.norm()).float()
    for name, parameter in autoencoder.named_parameters():
        if name == "W_dec":
            parameter.grad = None
            parameter.requires_grad = False


@mutant("7.4", says="drawn evenly from an interval")
@torch.no_grad()
def entries_from_an_interval(autoencoder):
    autoencoder.W_dec.uniform_(-1, 1)
    autoencoder.normalize_decoder()
    autoencoder.W_dec.requires_grad_(False)
    autoencoder.W_dec.grad = None
