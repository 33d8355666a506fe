"""Answers to exercise 0.1: `project_features`."""

import einops
import numpy as np
import torch
from torch.nn import functional as F

from tests.mutants import mutant, variant


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


@mutant("0.1", says="along `instances` each place gets the `W` of the one before it")
def neighbor_instance(features, W):
    return torch.einsum("bif,ihf->bih", features, W.roll(1, dims=0))


@mutant("0.1", says="axes in the order `instances batch hidden` are brought into shape by")
def reshaped_back_from_bmm(features, W):
    return torch.bmm(features.transpose(0, 1), W.mT).reshape(len(features), *W.shape[:2])


@mutant("0.1", says="the last of `instances` is left out of `features`")
def two_instances_only(features, W):
    h = torch.zeros(*features.shape[:2], W.shape[1])
    for i in range(2):
        if i < len(W):
            h[:, i] = features[:, i] @ W[i].T
    return h


@mutant("0.1", says="an axis of size 1 is lost")
def squeezed_result(features, W):
    return torch.einsum("bif,ihf->bih", features, W).squeeze()


@mutant("0.1", says="the average over the features is taken instead of the sum")
def mean_over_features(features, W):
    return torch.einsum("bif,ihf->bih", features, W) / features.shape[-1]


@mutant("0.1", says="`W` is brought to unit length along `features`")
def rows_of_unit_length(features, W):
    return torch.einsum("bif,ihf->bih", features, F.normalize(W, dim=-1))


@mutant("0.1", says="negative values are set to 0")
def relu_of_it(features, W):
    return torch.einsum("bif,ihf->bih", features, W).relu()


@mutant("0.1", says="only the first of `instances` is looked at")
def returns_in_the_loop(features, W):
    h = torch.zeros(*features.shape[:2], W.shape[1])
    for i in range(len(W)):
        h[:, i] = features[:, i] @ W[i].T
        return h


@mutant("0.1", says="is nearly right")
def half_precision(features, W):
    return torch.einsum("bif,ihf->bih", features.bfloat16(), W.bfloat16()).float()


@variant("0.1")
def one_linear_layer_each(features, W):
    return torch.stack([F.linear(features[:, i], W[i]) for i in range(len(W))], dim=1)


@variant("0.1")
def block_diagonal(features, W):
    instances, hidden, _ = W.shape
    return (features.flatten(1) @ torch.block_diag(*W).T).unflatten(1, (instances, hidden))


@mutant("0.1", says="Your code raised RuntimeError")
def features_matmul_W_transposed(features, W):
    return features @ W.mT


@mutant("0.1", says="index 0 of `features` along `batch` is used for all")
def first_batch_for_all(features, W):
    return torch.einsum("if,ihf->ih", features[0], W).expand(len(features), -1, -1)


@mutant("0.1", says="Your result has the right shape but the wrong values")
def max_over_features(features, W):
    return (features[:, :, None] * W).amax(-1)


@mutant("0.1", says="a softmax is taken over the axis `hidden`")
def softmaxed(features, W):
    return torch.einsum("bif,ihf->bih", features, W).softmax(-1)


@mutant("0.1", says="rounded to 1 digit")
def rounded(features, W):
    return torch.einsum("bif,ihf->bih", features, W).round(decimals=1)


@mutant("0.1", says="Your result is of type tuple")
def tuple_returned(features, W):
    return (torch.einsum("bif,ihf->bih", features, W),)


@mutant("0.1", says="the sum of `features` over `features` is used for all")
def wrong_letter(features, W):
    return torch.einsum("bif,ihg->bih", features, W)


@variant("0.1")
def outer_then_sum(features, W):
    return (features.unsqueeze(2) * W.unsqueeze(0)).sum(-1)


@variant("0.1")
def with_tensordot(features, W):
    return torch.stack(
        [torch.tensordot(features[:, i], W[i], dims=([1], [1])) for i in range(W.shape[0])]
    ).movedim(0, 1)


@variant("0.1")
def numpy_einsum(features, W):
    return torch.from_numpy(np.einsum("bif,ihf->bih", features.numpy(), W.numpy()))


@mutant("0.1", says="exchanged with `reshape`, there and back")
def reshaped_there_and_back(features, W):
    batch, instances, n_features = features.shape
    return (features.reshape(instances, batch, n_features) @ W.mT).reshape(batch, instances, -1)


@mutant("0.1", says="only the last of `features` counts in")
def loop_overwrites(features, W):
    for f in range(W.shape[2]):
        h = features[..., f, None] * W[..., f]
    return h


@mutant("0.1", says="only the first 5 of `features` are looked at")
def five_features(features, W):
    return torch.einsum("bif,ihf->bih", features[..., :5], W[..., :5])


@mutant("0.1", says="only the first 100 of `batch` are looked at")
def batch_of_100(features, W):
    h = torch.zeros(len(features), *W.shape[:2])
    h[:100] = torch.einsum("bif,ihf->bih", features[:100], W)
    return h


@mutant("0.1", says="Is the 2 written into your code as a number?")
def two_hidden_dimensions(features, W):
    return torch.stack([(features * W[:, 0]).sum(-1), (features * W[:, 1]).sum(-1)], dim=-1)


@mutant("0.1", says="counts as 1 wherever it is above 0")
def only_presence(features, W):
    return torch.einsum("bif,ihf->bih", (features > 0).float(), W)


@mutant("0.1", says="itself (in place)")
def features_in_place(features, W):
    hidden = torch.einsum("bif,ihf->bih", features, W)
    features.zero_()
    return hidden


@mutant("0.1", says="or is the 2 written into your code as a number?")
def two_instances(features, W):
    return torch.stack([features[:, 0] @ W[0].T, features[:, 1] @ W[1].T], dim=1)
