"""Answers to exercise 0.3: `decoder_as_matrix`."""

import einops
import numpy as np
import torch
from torch.nn import functional as F

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


@mutant("0.3", says="the matrix is inverted instead of transposed")
def pseudo_inverse(W_dec, instance):
    return torch.linalg.pinv(W_dec[instance])


@mutant("0.3", says="the directions are scaled to length one")
def columns_of_unit_length(W_dec, instance):
    return F.normalize(W_dec[instance].T, dim=0)


@mutant("0.3", says="the matrix is turned by 90 degrees instead of transposed")
def turned_by_90_degrees(W_dec, instance):
    return torch.rot90(W_dec[instance])


@mutant("0.3", says="the mean of `W_dec` over `n_instances` is used for all")
def mean_of_the_instances(W_dec, instance):
    return W_dec.mean(dim=0).T


@mutant("0.3", says="For instance 2 the matrix of instance 1 is returned")
def second_instance_at_most(W_dec, instance):
    return W_dec[min(instance, 1)].T


@mutant("0.3", says="the wrong axis is indexed")
def axes_reversed_then_indexed(W_dec, instance):
    return W_dec.permute(2, 1, 0)[instance]


@mutant("0.3", says="an axis of size 1 is lost")
def squeezed_result(W_dec, instance):
    return W_dec[instance].T.squeeze()


@mutant("0.3", says="For instance 0 the matrix of instance 3 is returned")
def from_one_on(W_dec, instance):
    return W_dec[instance - 1].T


@variant("0.3")
def last_axis_of_three(W_dec, instance):
    return W_dec.permute(2, 1, 0)[:, :, instance]


@variant("0.3")
def reconstruct_of_unit_vectors(W_dec, instance):
    return torch.einsum("jl,lk->kj", torch.eye(W_dec.shape[1]), W_dec[instance])


@variant("0.3")
def through_numpy(W_dec, instance):
    return torch.from_numpy(W_dec.detach().numpy()[instance].T.copy())


@mutant("0.3", says="the matrix is turned by 90 degrees instead of transposed")
def flipped_transpose(W_dec, instance):
    return W_dec[instance].T.flip(1)


@mutant("0.3", says="an axis of size 1 is added in front")
def with_instance_axis(W_dec, instance):
    return W_dec[instance : instance + 1].mT


@mutant("0.3", says="the matrix is turned by 90 degrees instead of transposed")
def anti_transpose(W_dec, instance):
    return W_dec[instance].T.flip(0)


@variant("0.3")
def conj_transpose(W_dec, instance):
    return W_dec[instance].H


@mutant("0.3", says="itself (in place)")
def transposed_in_place(W_dec, instance):
    return W_dec.transpose_(1, 2)[instance]
