"""Answers to exercise 0.3: `decoder_as_matrix`."""

import einops
import numpy as np
import torch

from tests.mutants import mutant, variant


@mutant("0.3", says="as it is stored")
def untransposed(W_dec, instance):
    return W_dec[instance]


@mutant("0.3", says="reshaped instead of transposed")
def reshaped(W_dec, instance):
    return W_dec[instance].reshape(W_dec.shape[2], W_dec.shape[1])


@mutant("0.3", says="instance 0 is returned")
def always_the_first(W_dec, instance):
    return W_dec[0].T


@mutant("0.3", says="last instance")
def always_the_last(W_dec, instance):
    return W_dec[-1].T


@mutant("0.3", says="all instances")
def all_instances(W_dec, instance):
    return W_dec.transpose(1, 2)


@mutant("0.3", says="wrong axis is indexed")
def latent_instead_of_instance(W_dec, instance):
    return W_dec[:, instance].T


@mutant("0.3", says="wrong axis is indexed")
def input_instead_of_instance(W_dec, instance):
    return W_dec[..., instance].T


@mutant("0.3", says="inverted")
def inverse(W_dec, instance):
    return torch.linalg.pinv(W_dec[instance])


@mutant("0.3", says="scaled to length one")
def normalized(W_dec, instance):
    return (W_dec[instance] / W_dec[instance].norm(dim=-1, keepdim=True)).T


@variant("0.3")
def transposed_view(W_dec, instance):
    return W_dec.mT[instance]


@variant("0.3")
def contiguous_copy(W_dec, instance):
    return einops.rearrange(W_dec[instance], "latent x -> x latent").contiguous()


@variant("0.3")
def columns_stacked(W_dec, instance):
    return torch.stack(list(W_dec[instance]), dim=1)


@variant("0.3")
def from_a_parameter(W_dec, instance):
    return torch.nn.Parameter(W_dec)[instance].permute(1, 0)


@variant("0.3")
def einsum_that_only_renames(W_dec, instance):
    return torch.einsum("lx->xl", W_dec[instance])


@variant("0.3")
def through_numpy_in_double(W_dec, instance):
    return torch.tensor(np.transpose(W_dec.numpy(), (0, 2, 1))[instance], dtype=torch.float64)
