"""Answers to exercise 0.2: `reconstruct`."""

import einops
import torch
from torch.nn import functional as F

from tests.mutants import mutant, variant


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


@mutant("0.2", says="itself (in place)")
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


@mutant("0.2", says="axes in the order `n_instances batch n_input_ae` are brought into")
def reshaped_back_from_bmm(acts, W_dec):
    return torch.bmm(acts.transpose(0, 1), W_dec).reshape(len(acts), W_dec.shape[0], W_dec.shape[2])


@mutant("0.2", says="along `n_instances` each place gets the `W_dec` of the one after it")
def neighbor_instance(acts, W_dec):
    return torch.einsum("bij,ijk->bik", acts, W_dec.roll(-1, dims=0))


@mutant("0.2", says="only the largest `acts` along `n_hidden_ae` counts")
def strongest_latent_only(acts, W_dec):
    kept = torch.where(acts == acts.amax(dim=-1, keepdim=True), acts, 0)
    return torch.einsum("bij,ijk->bik", kept, W_dec)


@mutant("0.2", says="the last of `n_hidden_ae` is left out of `acts`")
def last_latent_left_out(acts, W_dec):
    return torch.einsum("bij,ijk->bik", acts[..., :-1], W_dec[:, :-1])


@mutant("0.2", says="the sum is divided by the number of latents")
def mean_over_latents(acts, W_dec):
    return torch.einsum("bij,ijk->bik", acts, W_dec) / W_dec.shape[1]


@mutant("0.2", says="the directions are scaled to length one first")
def directions_of_unit_length(acts, W_dec):
    return torch.einsum("bij,ijk->bik", acts, F.normalize(W_dec, dim=-1))


@mutant("0.2", says="an axis of size 1 is lost")
def squeezed_result(acts, W_dec):
    return (acts[:, :, None, :] @ W_dec).squeeze()


@mutant("0.2", says="the axes `n_instances` and `n_hidden_ae` of `W_dec` are exchanged")
def transposed_with_T(acts, W_dec):
    return torch.einsum("bij,jik->bik", acts, W_dec.reshape(W_dec.shape[1], W_dec.shape[0], -1))


@mutant("0.2", says="the last of `W_dec` along `n_instances` is used for all")
def last_instance_for_all(acts, W_dec):
    return acts @ W_dec[-1]


@variant("0.2")
def row_vector_times_matrix(acts, W_dec):
    return (acts[:, :, None, :] @ W_dec).squeeze(2)


@variant("0.2")
def latent_by_latent(acts, W_dec):
    total = torch.zeros(*acts.shape[:2], W_dec.shape[2])
    for j in range(W_dec.shape[1]):
        total = total + acts[:, :, j, None] * W_dec[:, j]
    return total


@variant("0.2")
def in_double_precision(acts, W_dec):
    return torch.einsum("bij,ijk->bik", acts.double(), W_dec.double()).to(acts.dtype)


@mutant("0.2", says="Your code raised RuntimeError")
def acts_at_W(acts, W_dec):
    return acts @ W_dec


@mutant("0.2", says="`acts` is squared")
def squared_acts(acts, W_dec):
    return torch.einsum("bij,ijk->bik", acts**2, W_dec)


@mutant("0.2", says="negative values are set to 0")
def relu_at_the_end(acts, W_dec):
    return torch.einsum("bij,ijk->bik", acts, W_dec).relu()


@mutant("0.2", says="`acts` is divided by the sum of its absolute values along")
def acts_normalized(acts, W_dec):
    return torch.einsum("bij,ijk->bik", acts / acts.sum(-1, keepdim=True).clamp(min=1e-08), W_dec)


@mutant("0.2", says="only the 2 largest `acts` along `n_hidden_ae` count")
def top_two(acts, W_dec):
    v, j = acts.topk(2, dim=-1)
    return torch.einsum("bij,ijk->bik", torch.zeros_like(acts).scatter(-1, j, v), W_dec)


@mutant("0.2", says="the sum over the axis `n_instances` is used for all of it")
def sum_over_instances_kept(acts, W_dec):
    return torch.einsum("bij,ijk->bk", acts, W_dec)[:, None].expand(-1, acts.shape[1], -1)


@variant("0.2")
def sparse_like(acts, W_dec):
    return torch.stack(
        [
            torch.stack(
                [sum((z * w for z, w in zip(row[i], W_dec[i], strict=False))) for i in range(len(W_dec))]
            )
            for row in acts
        ]
    )


@variant("0.2")
def transposed_bmm(acts, W_dec):
    return torch.bmm(W_dec.mT, acts.permute(1, 2, 0)).permute(2, 0, 1)


@mutant("0.2", says="negative values of `acts` are set to 0")
def latents_through_a_relu(acts, W_dec):
    return torch.einsum("bil,ild->bid", acts.relu(), W_dec)


@mutant("0.2", says="`acts` is cut down to 1 where it is larger")
def latents_of_one_at_most(acts, W_dec):
    return torch.einsum("bil,ild->bid", acts.clamp(max=1), W_dec)


@mutant("0.2", says="an axis of size 1 is lost")
def squeezed_instances(acts, W_dec):
    return torch.einsum("bil,ild->bid", acts, W_dec).squeeze(1)


@mutant("0.2", says="divided by how many latents are active")
def mean_of_the_active(acts, W_dec):
    total = torch.einsum("bil,ild->bid", acts, W_dec)
    return total / (acts != 0).sum(-1, keepdim=True).clamp(min=1)


@mutant("0.2", says="pseudo-inverse of the decoder")
def pseudo_inverse(acts, W_dec):
    return torch.einsum("bil,idl->bid", acts, torch.linalg.pinv(W_dec))


@mutant("0.2", says="Here 5 is the size of `n_hidden_ae`, not of `n_input_ae`")
def summed_over_the_inputs(acts, W_dec):
    return torch.einsum("bil,ild->bil", acts, W_dec)


@mutant("0.2", says="itself (in place)")
def latents_in_place(acts, W_dec):
    reconstruction = torch.einsum("bij,ijk->bik", acts, W_dec)
    acts.clamp_(min=0.1)
    return reconstruction


@mutant("0.2", says="negative values of `acts` are set to 0.")
def only_positive_latents(acts, W_dec):
    return torch.einsum("bij,ijk->bik", acts.relu(), W_dec)
