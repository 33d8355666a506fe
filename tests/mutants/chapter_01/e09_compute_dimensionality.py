"""Answers to exercise 1.9: `compute_dimensionality`."""

import einops
import numpy as np
import torch
import torch.nn.functional as F

from tests.mutants import equivalent, mutant, variant


def _overlaps(W):
    return F.normalize(W, dim=1).mT @ W


@mutant("1.9", says="gives NaN")
def nan_for_dead_feature(W):
    lengths = W.norm(dim=1)
    overlaps = (W / lengths[:, None]).mT @ W
    return lengths**2 / (overlaps**2).sum(dim=2)


@mutant("1.9", says="overlaps in the denominator are squared twice")
def overlaps_squared_twice(W):
    return W.pow(2).sum(1) / (_overlaps(W).pow(2) ** 2).sum(2).clamp(min=1e-12)


@mutant("1.9", says="numerator is squared twice")
def length_squared_twice(W):
    return W.pow(2).sum(1) ** 2 / _overlaps(W).pow(2).sum(2).clamp(min=1e-12)


@mutant("1.9", says="instead of $g$")
def overlap_axes_swapped(W):
    return W.norm(dim=1) ** 2 / _overlaps(W).pow(2).sum(1).clamp(min=1e-12)


@mutant("1.9", says="axes of `hidden` and `features` are swapped")
def hidden_and_features_swapped(W):
    W = W.mT
    return W.norm(dim=1) ** 2 / _overlaps(W).pow(2).sum(2).clamp(min=1e-12)


@mutant("1.9", says="not squared")
def numerator_not_squared(W):
    return W.norm(dim=1) / _overlaps(W).pow(2).sum(2).clamp(min=1e-12)


@mutant("1.9", says="overlaps in the denominator are not squared")
def denominator_not_squared(W):
    return W.norm(dim=1) ** 2 / _overlaps(W).sum(2)


@mutant("1.9", says="not scaled to length one")
def direction_not_normalized(W):
    return W.norm(dim=1) ** 2 / (W.mT @ W).pow(2).sum(2).clamp(min=1e-12)


@mutant("1.9", says="both directions are scaled")
def both_normalized(W):
    directions = F.normalize(W, dim=1)
    return W.norm(dim=1) ** 2 / (directions.mT @ directions).pow(2).sum(2).clamp(min=1e-12)


@mutant("1.9", says="left out of the sum")
def own_overlap_left_out(W):
    overlaps = _overlaps(W)
    overlaps = overlaps - torch.diag_embed(overlaps.diagonal(dim1=1, dim2=2))
    return W.norm(dim=1) ** 2 / overlaps.pow(2).sum(2).clamp(min=1e-12)


@mutant("1.9", says="upside down")
def upside_down(W):
    return _overlaps(W).pow(2).sum(2) / W.norm(dim=1).pow(2).clamp(min=1e-12)


@mutant("1.9", says="summed before they are squared")
def summed_then_squared(W):
    return W.norm(dim=1) ** 2 / (_overlaps(W).sum(2) ** 2).clamp(min=1e-12)


@mutant("1.9", says="instance 0")
def dimensionality_of_first_instance(W):
    return (W[:1].norm(dim=1) ** 2 / _overlaps(W[:1]).pow(2).sum(2).clamp(min=1e-12)).expand(len(W), -1)


@mutant("1.9", says="averaged over")
def overlaps_averaged(W):
    return W.norm(dim=1) ** 2 / _overlaps(W).pow(2).mean(2).clamp(min=1e-12)


@variant("1.9")
def from_the_gram_matrix(W):
    gram = W.mT @ W
    fourth = gram.diagonal(dim1=1, dim2=2) ** 2
    return fourth / ((gram**2).sum(dim=-1) + 1e-12)


@variant("1.9")
def with_nan_to_num(W):
    lengths = torch.linalg.vector_norm(W, dim=1)
    directions = W / lengths.unsqueeze(1)
    overlaps = einops.einsum(directions, W, "i h f, i h g -> i f g")
    return torch.nan_to_num(lengths**2 / einops.reduce(overlaps**2, "i f g -> i f", "sum"))


@variant("1.9")
def feature_by_feature(W):
    out = torch.zeros(W.shape[0], W.shape[2], dtype=torch.float64)
    for i in range(W.shape[0]):
        for f in range(W.shape[2]):
            length = W[i, :, f].norm()
            if length > 0:
                out[i, f] = length**2 / sum(
                    (W[i, :, f] / length @ W[i, :, g]) ** 2 for g in range(W.shape[2])
                )
    return out


@variant("1.9")
def from_cosines_and_lengths(W):
    squared = W.double().square().sum(dim=1)
    cosines = F.cosine_similarity(W.double().unsqueeze(-1), W.double().unsqueeze(-2), dim=1)
    crowd = torch.einsum("ifg,ig->if", cosines**2, squared)
    return torch.where(squared > 0, squared / crowd, 0.0)


@variant("1.9")
def nan_overwritten(W):
    directions = W / W.norm(dim=1, keepdim=True)
    result = W.pow(2).sum(1) / (directions.transpose(1, 2) @ W).pow(2).sum(-1)
    result[torch.isnan(result)] = 0
    return result


@mutant("1.9", says="what keeps a division from 0 / 0 is too large")
def clamp_that_changes_short_columns(W):
    unit = W / W.norm(dim=1, keepdim=True).clamp(min=1e-8)
    overlaps = torch.einsum("ihf,ihg->ifg", unit, W)
    return W.norm(dim=1) ** 2 / overlaps.pow(2).sum(-1).clamp(min=1e-2)


equivalent(
    "1.9",
    "any tiny number keeps the length from being 0",
    "min=1e-08: 1e-08 -> 2e-08",
    "min=1e-08: 1e-08 -> 5e-09",
    "min=1e-16: 1e-16 -> 2e-16",
    "min=1e-16: 1e-16 -> 5e-17",
)


@mutant("1.9", says="the feature itself is left out of the sum in the denominator")
def without_itself(W):
    W_hat = F.normalize(W, dim=1)
    overlap = (W_hat.mT @ W).square()
    others = overlap.sum(dim=-1) - overlap.diagonal(dim1=1, dim2=2)
    return (W.square().sum(dim=1) / others).nan_to_num(posinf=1.0)


@mutant("1.9", says="the absolute overlaps are summed instead of the squared ones")
def absolute_overlaps(W):
    W_hat = F.normalize(W, dim=1)
    return (W.square().sum(dim=1) / (W_hat.mT @ W).abs().sum(dim=-1)).nan_to_num()


@mutant("1.9", says="the length in the numerator is not squared")
def length_for_its_square(W):
    W_hat = F.normalize(W, dim=1)
    return (W.norm(dim=1) / (W_hat.mT @ W).square().sum(dim=-1)).nan_to_num()


@mutant("1.9", says="the denominator sums over $f$ instead of $g$")
def cosines_only(W):
    W_hat = F.normalize(W, dim=1)
    return (1 / (W_hat.mT @ W_hat).square().sum(dim=-1)).nan_to_num(posinf=0.0)


@mutant("1.9", says="the denominator sums over $f$ instead of $g$")
def summed_over_f(W):
    W_hat = F.normalize(W, dim=1)
    return (W.square().sum(dim=1) / (W_hat.mT @ W).square().sum(dim=-2)).nan_to_num()


@mutant("1.9", says="the denominator is averaged over $g$ instead of summed")
def mean_over_the_others(W):
    W_hat = F.normalize(W, dim=1)
    return (W.square().sum(dim=1) / (W_hat.mT @ W).square().mean(dim=-1)).nan_to_num()


@mutant("1.9", says="columns that are short count as not represented")
def short_features_are_nothing(W):
    W_hat = F.normalize(W, dim=1)
    D = W.square().sum(dim=1) / (W_hat.mT @ W).square().sum(dim=-1)
    return torch.where(W.norm(dim=1) < 0.1, 0.0, D)


@mutant("1.9", says="one number is given to all features")
def hidden_dimensions_per_feature(W):
    return (W.shape[1] / W.square().sum(dim=(1, 2)))[:, None].expand(len(W), W.shape[2])


@mutant("1.9", says="a number as large as 0.001 is added to the denominator")
def a_thousandth_added(W):
    W_hat = F.normalize(W, dim=1)
    return W.square().sum(dim=1) / ((W_hat.mT @ W).square().sum(dim=-1) + 1e-3)


@mutant("1.9", says="an axis of size 1 is lost")
def squeezed_result(W):
    W_hat = F.normalize(W, dim=1)
    return (W.square().sum(dim=1) / (W_hat.mT @ W).square().sum(dim=-1)).nan_to_num().squeeze()


@variant("1.9")
def out_of_the_gram_matrix(W):
    gram = W.mT @ W
    squared = gram.diagonal(dim1=1, dim2=2)
    D = squared**2 / gram.square().sum(dim=-1)
    return torch.where(squared > 0, D, 0.0)


@mutant("1.9", says="the length in the numerator is not squared and the root of the")
def sqrt_result(W):
    d = F.normalize(W, dim=1)
    return (W.square().sum(1) / (d.mT @ W).square().sum(-1)).nan_to_num().sqrt()


@mutant("1.9", says="Your result has the right shape but the wrong values")
def first_half_features(W):
    d = F.normalize(W, dim=1)
    o = (d.mT @ W).square()
    return W.square().sum(1) / o[..., : W.shape[-1] // 2 + 1].sum(-1).clamp(min=1e-09)


@mutant("1.9", says="the dimensionality 1 instead of 0")
def zero_features_one(W):
    d = F.normalize(W, dim=1)
    return (W.square().sum(1) / (d.mT @ W).square().sum(-1)).nan_to_num(nan=1.0)


@mutant("1.9", says="A feature whose column is zero gives NaN (0 divided by 0). Its")
def zero_features_nan(W):
    d = W / W.norm(dim=1, keepdim=True)
    return W.square().sum(1) / (d.mT @ W).square().sum(-1)


@mutant("1.9", says="a number as large as 1 is added to the denominator")
def plus_one(W):
    d = F.normalize(W, dim=1)
    return W.square().sum(1) / (1 + (d.mT @ W).square().sum(-1))


@variant("1.9")
def np_version(W):
    w = W.detach().numpy().astype(np.float64)
    g = np.einsum("ihf,ihg->ifg", w, w)
    d = np.einsum("iff->if", g)
    with np.errstate(all="ignore"):
        return torch.tensor(np.nan_to_num(d**2 / (g**2).sum(-1)), dtype=torch.float32)


@variant("1.9")
def with_cosines(W):
    c = F.normalize(W, dim=1).mT @ F.normalize(W, dim=1)
    n2 = W.square().sum(1)
    den = (c.square() * n2[:, None]).sum(-1)
    return n2 / den.clamp(min=1e-20) * (n2 > 0)


@mutant("1.9", says="only the largest overlap is taken")
def largest_overlap(W):
    return W.norm(dim=1) ** 2 / _overlaps(W).pow(2).amax(-1).clamp(min=1e-16)


@mutant("1.9", says="overlaps below 0 are left out")
def positive_overlaps(W):
    return W.norm(dim=1) ** 2 / _overlaps(W).relu().pow(2).sum(-1).clamp(min=1e-16)


@mutant("1.9", says="only features after $f$")
def upper_half_only(W):
    return W.norm(dim=1) ** 2 / _overlaps(W).pow(2).triu().sum(-1).clamp(min=1e-16)


@mutant("1.9", says="a leverage")
def leverage(W):
    return torch.einsum("ihf,ihk,ikf->if", W, torch.linalg.pinv(W @ W.mT), W)


@mutant("1.9", says="brought to a sum of the number of hidden dimensions")
def brought_to_a_sum(W):
    D = W.norm(dim=1) ** 2 / _overlaps(W).pow(2).sum(-1).clamp(min=1e-16)
    return D / D.sum(-1, keepdim=True) * W.shape[1]


@mutant("1.9", says="no dimensionality is above one half")
def one_half_at_most(W):
    D = W.norm(dim=1) ** 2 / _overlaps(W).pow(2).sum(-1).clamp(min=1e-16)
    return D.clamp(max=0.5)


@mutant("1.9", says="shorter than 0.5 counts as not represented")
def short_is_nothing(W):
    D = W.norm(dim=1) ** 2 / _overlaps(W).pow(2).sum(-1).clamp(min=1e-16)
    return D * (W.norm(dim=1) > 0.5)


@mutant("1.9", says="has the dimensionality 1 instead of 0")
def one_for_nothing(W):
    D = W.norm(dim=1) ** 2 / _overlaps(W).pow(2).sum(-1).clamp(min=1e-16)
    return torch.where(W.norm(dim=1) > 0, D, 1.0)


@mutant("1.9", says="what keeps a division from 0 / 0 is too large")
def hundredth_at_least(W):
    return W.norm(dim=1) ** 2 / _overlaps(W).pow(2).sum(-1).clamp(min=1e-2)


def _in_parts(W):
    lengths = W.norm(dim=1)
    return lengths, W / lengths[:, None].clamp(min=1e-8)


@mutant("1.9", says="itself (in place)")
def normalized_in_place(W):
    stored = W.clone()
    lengths = W.norm(dim=1)
    W /= lengths[:, None].clamp(min=1e-8)
    return lengths**2 / (W.mT @ stored).pow(2).sum(-1).clamp(min=1e-16)


@mutant("1.9", says="added up before they are squared")
def overlaps_of_all_instances_added(W):
    lengths, unit = _in_parts(W)
    return lengths**2 / torch.einsum("ihf,jhg->ifg", unit, W).pow(2).sum(-1).clamp(min=1e-16)


@mutant("1.9", says="no overlap is asked for")
def share_of_all_squared_lengths(W):
    return W.shape[1] * W.square().sum(1) / W.square().sum(dim=(1, 2))[:, None]
