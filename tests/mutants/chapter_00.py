"""Answers to the exercises of chapter 0: shapes and einsum."""

import einops
import numpy as np
import torch
from torch.nn import functional as F

from tests.mutants import mutant, variant

# 0.1 project_features(features, W)


@mutant("0.1", says="instance 0 is used for every instance")
def first_matrix_for_all(features, W):
    return torch.einsum("bif,hf->bih", features, W[0])


@mutant("0.1", says="added up instead of kept apart")
def instances_added_up(features, W):
    return torch.einsum("bif,ihf->bh", features, W)


@mutant("0.1", says="sum of all matrices")
def instances_mixed(features, W):
    return torch.einsum("bif,jhf->bih", features, W)


@mutant("0.1", says="not a transpose")
def reshaped_for_matmul(features, W):
    instances, hidden, n_features = W.shape
    return torch.einsum("bif,ifh->bih", features, W.reshape(instances, n_features, hidden))


@mutant("0.1", says="transposed")
def transposed_where_it_fits(features, W):
    if W.shape[1] == W.shape[2]:
        return torch.einsum("bif,ifh->bih", features, W)
    return torch.einsum("bif,ihf->bih", features, W)


@mutant("0.1", says="`instances batch hidden`")
def instances_first(features, W):
    return features.transpose(0, 1) @ W.mT


@mutant("0.1", says="`batch hidden instances`")
def hidden_before_instances(features, W):
    return torch.einsum("bif,ihf->bhi", features, W)


@mutant("0.1", says="average of all matrices")
def matrices_averaged(features, W):
    return torch.einsum("bif,hf->bih", features, W.mean(0))


@mutant("0.1", says="index 0 of the axis `batch`")
def first_of_the_batch_only(features, W):
    return torch.einsum("if,ihf->ih", features[0], W)


@mutant("0.1", says="the axis `batch` is summed over")
def batch_summed(features, W):
    return torch.einsum("bif,ihf->ih", features, W)


@mutant("0.1", says="nothing is summed over")
def forgot_to_sum(features, W):
    return torch.einsum("bif,ihf->bihf", features, W)


@mutant("0.1", says="None")
def forgot_to_return(features, W):
    torch.einsum("bif,ihf->bih", features, W)


@mutant("0.1", says="numpy.ndarray; expected a torch.Tensor")
def numpy_array(features, W):
    return np.einsum("bif,ihf->bih", features.numpy(), W.numpy())


@mutant("0.1", says="axis of size 1 is lost")
def squeezed(features, W):
    return torch.einsum("bif,ihf->bih", features, W).squeeze()


@variant("0.1")
def with_einops(features, W):
    return einops.einsum(features, W, "b instances f, instances h f -> b instances h")


@variant("0.1")
def with_matmul(features, W):
    return (W @ features.unsqueeze(-1)).squeeze(-1)


@variant("0.1")
def with_bmm(features, W):
    return torch.bmm(features.transpose(0, 1), W.transpose(1, 2)).transpose(0, 1)


@variant("0.1")
def with_loops(features, W):
    out = torch.zeros(features.shape[0], W.shape[0], W.shape[1])
    for b in range(features.shape[0]):
        for i in range(W.shape[0]):
            out[b, i] = W[i] @ features[b, i]
    return out


@variant("0.1")
def in_double_precision(features, W):
    return (features.double()[:, :, None, :] * W.double()).sum(-1)


@variant("0.1")
def all_pairs_then_the_diagonal(features, W):
    products = torch.tensordot(features, W, dims=([2], [2]))
    return products.diagonal(dim1=1, dim2=2).mT


@variant("0.1")
def mapped_over_instances(features, W):
    project = torch.vmap(lambda x, matrix: x @ matrix.T, in_dims=(1, 0), out_dims=1)
    return project(features, W)


# 0.2 reconstruct(acts, W_dec)


@mutant("0.2", says="instance 0 is used for every instance")
def first_decoder_for_all(acts, W_dec):
    return acts @ W_dec[0]


@mutant("0.2", says="added up instead of kept apart")
def decoder_instances_added_up(acts, W_dec):
    return torch.einsum("bil,ilx->bx", acts, W_dec)


@mutant("0.2", says="reshaped as if its *columns*")
def decoder_reshaped(acts, W_dec):
    instances, latents, inputs = W_dec.shape
    return torch.einsum("bil,ixl->bix", acts, W_dec.view(instances, inputs, latents))


@mutant("0.2", says="*columns* are taken for")
def decoder_columns_where_it_fits(acts, W_dec):
    if W_dec.shape[1] == W_dec.shape[2]:
        return torch.einsum("bil,ixl->bix", acts, W_dec)
    return torch.einsum("bil,ilx->bix", acts, W_dec)


@mutant("0.2", says="sum of all decoders")
def decoders_mixed(acts, W_dec):
    return torch.einsum("bil,jlx->bix", acts, W_dec)


@mutant("0.2", says="`n_instances batch n_input_ae`")
def decoded_instances_first(acts, W_dec):
    return torch.bmm(acts.transpose(0, 1), W_dec)


@mutant("0.2", says="weighted with 1")
def every_direction_once(acts, W_dec):
    return torch.einsum("bil,ilx->bix", (acts > 0).float(), W_dec)


@mutant("0.2", says="divided by the number of latents")
def directions_averaged(acts, W_dec):
    return (acts[..., None] * W_dec).mean(dim=2)


@mutant("0.2", says="scaled to length one")
def decoder_normalized(acts, W_dec):
    return torch.einsum("bil,ilx->bix", acts, W_dec / W_dec.norm(dim=-1, keepdim=True))


@mutant("0.2", says="W_dec @ acts")
def matmul_in_the_wrong_order(acts, W_dec):
    return W_dec @ acts


@variant("0.2")
def decoded_with_einops(acts, W_dec):
    return einops.einsum(acts, W_dec, "b i latent, i latent x -> b i x")


@variant("0.2")
def decoded_with_matmul(acts, W_dec):
    return (acts.unsqueeze(2) @ W_dec).squeeze(2)


@variant("0.2")
def decoded_latent_by_latent(acts, W_dec):
    out = acts.new_zeros(acts.shape[0], acts.shape[1], W_dec.shape[-1])
    for latent in range(W_dec.shape[1]):
        out += acts[:, :, latent, None] * W_dec[:, latent]
    return out


@variant("0.2")
def decoded_in_place(acts, W_dec):
    W_dec.mul_(2)
    acts.div_(2)
    return torch.stack([acts[:, i] @ W_dec[i] for i in range(len(W_dec))], dim=1)


@variant("0.2")
def decoded_with_one_block_diagonal_matrix(acts, W_dec):
    return (acts.flatten(start_dim=1) @ torch.block_diag(*W_dec)).unflatten(1, (len(W_dec), -1))


@variant("0.2")
def decoded_as_linear_layers(acts, W_dec):
    rebuilt = [
        F.linear(z.double(), matrix.double().T) for z, matrix in zip(acts.unbind(1), W_dec, strict=True)
    ]
    return torch.stack(rebuilt, dim=1)


# 0.3 decoder_as_matrix(W_dec, instance)


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
