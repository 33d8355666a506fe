"""Answers to exercise 6.1: `shrinkage`."""

import numpy as np
import torch
from einops import einsum

from tests.mutants import mutant, variant


@mutant("6.1", says="mean of the ratios")
def mean_of_ratios(acts, strength, present):
    ratio = torch.where(present, acts / strength, 0)
    return ratio.sum(dim=0) / present.sum(dim=0)


@mutant("6.1", says="without the feature are counted")
def absent_counted(acts, strength, present):
    return acts.sum(dim=0) / strength.sum(dim=0)


@mutant("6.1", says="latent is also summed over inputs without")
def numerator_everywhere(acts, strength, present):
    return acts.sum(0) / (strength * present).sum(0)


@mutant("6.1", says="strength is forgotten")
def mean_latent(acts, strength, present):
    return (acts * present).sum(0) / present.sum(0)


@mutant("6.1", says="latent is silent are left out")
def firing_only(acts, strength, present):
    both = present & (acts > 0)
    return (acts * both).sum(0) / (strength * both).sum(0)


@mutant("6.1", says="NaN")
def not_a_number(acts, strength, present):
    return (acts * present).sum(0) / (strength * present).sum(0)


@mutant("6.1", says="upside down")
def upside_down(acts, strength, present):
    return (strength * present).sum(0) / (acts * present).sum(0)


@mutant("6.1", says="1 - shrinkage")
def what_is_missing(acts, strength, present):
    return 1 - matrix_of_sums(acts, strength, present)


@mutant("6.1", says="not kept apart")
def one_for_each_feature(acts, strength, present):
    return (acts * present).sum((0, 1)) / (strength * present).sum((0, 1))


@mutant("6.1", says="one number")
def one_number(acts, strength, present):
    return acts[present].sum() / strength[present].sum()


@variant("6.1")
def matrix_of_sums(acts, strength, present):
    mask = present.to(acts.dtype)
    top = einsum(acts, mask, "b i f, b i f -> i f")
    bottom = einsum(strength, mask, "b i f, b i f -> i f")
    return top / bottom.clamp_min(1e-12)


@variant("6.1")
def loops(acts, strength, present):
    result = torch.zeros(acts.shape[1:])
    for i in range(acts.shape[1]):
        for f in range(acts.shape[2]):
            there = present[:, i, f]
            if there.any():
                result[i, f] = acts[there, i, f].sum() / strength[there, i, f].sum()
    return result


@variant("6.1")
def nan_to_num(acts, strength, present):
    return torch.nan_to_num((acts * present).sum(0) / (strength * present).sum(0))


# predicted_shortfall(l1_coeff, n_input_ae)


@mutant("6.1", function="predicted_shortfall", says="factor of 2")
def factor_two(l1_coeff, n_input_ae):
    return l1_coeff * n_input_ae


@mutant("6.1", function="predicted_shortfall", says="`n_input_ae` is left out")
def without_size(l1_coeff, n_input_ae):
    return l1_coeff / 2


@mutant("6.1", function="predicted_shortfall", says="divided by `n_input_ae`")
def divided(l1_coeff, n_input_ae):
    return l1_coeff / n_input_ae / 2


@mutant("6.1", function="predicted_shortfall", says="sign is wrong")
def negative(l1_coeff, n_input_ae):
    return -l1_coeff * n_input_ae / 2


@mutant("6.1", function="predicted_shortfall", says="`return`")
def nothing(l1_coeff, n_input_ae):
    _ = l1_coeff * n_input_ae / 2


@variant("6.1", function="predicted_shortfall")
def as_a_tensor(l1_coeff, n_input_ae):
    return torch.tensor(0.5 * l1_coeff * n_input_ae)


def _sums(acts, strength, present):
    return torch.where(present, acts, 0).sum(0), torch.where(present, strength, 0).sum(0)


@mutant("6.1", says="the strength is also summed over inputs without the")
def strength_summed_over_all_inputs(acts, strength, present):
    given, _ = _sums(acts, strength, present)
    return given / strength.sum(0).clamp_min(1e-8)


@mutant("6.1", says="a feature that is present in no input has 1; it should")
def one_for_the_never_present(acts, strength, present):
    given, true = _sums(acts, strength, present)
    return torch.where(true > 0, given / true.clamp_min(1e-8), 1)


@mutant("6.1", says="it is the strength that is missing, the difference of the")
def difference_of_sums(acts, strength, present):
    given, true = _sums(acts, strength, present)
    return true - given


@mutant("6.1", says="`present` is turned round")
def present_inverted(acts, strength, present):
    given, true = _sums(acts, strength, ~present)
    return given / true.clamp_min(1e-8)


@mutant("6.1", says="the summed strength is kept at 1 or above, which changes")
def true_clamped_at_one(acts, strength, present):
    given, true = _sums(acts, strength, present)
    return given / true.clamp_min(1)


@mutant("6.1", says="is nearly right")
def a_hundredth_added(acts, strength, present):
    given, true = _sums(acts, strength, present)
    return given / (true + 1e-2)


@mutant("6.1", says="a share above 1 is cut down to 1: a latent may be larger")
def never_more_than_one(acts, strength, present):
    given, true = _sums(acts, strength, present)
    return (given / true.clamp_min(1e-8)).clamp(0, 1)


@mutant("6.1", says="the latent is averaged over the batch, and the strength")
def mean_over_batch_against_mean_where_present(acts, strength, present):
    given, true = _sums(acts, strength, present)
    return given / len(acts) / (true / present.sum(0).clamp_min(1)).clamp_min(1e-8)


@mutant("6.1", says="index 0 of `acts` along `n_instances` is used for all")
def latents_of_instance_0(acts, strength, present):
    given, true = _sums(acts[:, :1].expand_as(acts), strength, present)
    return given / true.clamp_min(1e-8)


@mutant("6.1", says="index 0 of `present` along `n_instances` is used for all")
def presence_of_instance_0(acts, strength, present):
    given, true = _sums(acts, strength, present[:, :1].expand_as(present))
    return given / true.clamp_min(1e-8)


@mutant("6.1", says="the sum goes over the features, not over the batch")
def summed_over_features(acts, strength, present):
    return torch.where(present, acts, 0).sum(-1) / torch.where(present, strength, 0).sum(-1).clamp_min(1e-8)


@mutant("6.1", says="the lengths (roots of sums of squares) are divided, not")
def ratio_of_lengths(acts, strength, present):
    return torch.where(present, acts, 0).norm(dim=0) / torch.where(present, strength, 0).norm(
        dim=0
    ).clamp_min(1e-8)


@mutant("6.1", says="the slope of a fitted line is returned (sums of")
def slope_of_least_squares(acts, strength, present):
    a, s = torch.where(present, acts, 0), torch.where(present, strength, 0)
    return (a * s).sum(0) / s.pow(2).sum(0).clamp_min(1e-8)


@mutant("6.1", says="the median of the ratios is taken, not the ratio of the")
def median_of_ratios(acts, strength, present):
    ratio = torch.where(present, acts / strength, torch.nan)
    return ratio.nanmedian(dim=0).values.nan_to_num()


@mutant("6.1", says="only the first 2 of `n_instances` are looked at")
def two_instances_by_hand(acts, strength, present):
    out = torch.zeros(acts.shape[1:])
    for i in range(min(2, acts.shape[1])):
        given, true = _sums(acts[:, i], strength[:, i], present[:, i])
        out[i] = given / true.clamp_min(1e-8)
    return out


@mutant("6.1", says="only the first 10 of `batch` are looked at")
def first_ten_inputs(acts, strength, present):
    given, true = _sums(acts[:10], strength[:10], present[:10])
    return given / true.clamp_min(1e-8)


@mutant("6.1", says="an axis of size 1 is lost (`squeeze` removes all of")
def squeezed(acts, strength, present):
    given, true = _sums(acts, strength, present)
    return (given / true.clamp_min(1e-8)).squeeze()


@mutant("6.1", says="it is rounded to 1 digit")
def counted_in_whole_numbers(acts, strength, present):
    given, true = _sums(acts, strength, present)
    return (given / true.clamp_min(1e-8)).round(decimals=1)


@mutant("6.1", function="predicted_shortfall", says="the factor of 2 is multiplied with, not divided by")
def doubled(l1_coeff, n_input_ae):
    return 2 * l1_coeff * n_input_ae


@mutant("6.1", function="predicted_shortfall", says="the half is taken twice")
def quartered(l1_coeff, n_input_ae):
    return l1_coeff * n_input_ae / 4


@mutant("6.1", function="predicted_shortfall", says="10 is taken for `n_input_ae`, whatever it is")
def size_of_ten(l1_coeff, n_input_ae):
    return l1_coeff * 10 / 2


@mutant("6.1", function="predicted_shortfall", says="`n_input_ae` is squared")
def size_squared(l1_coeff, n_input_ae):
    return l1_coeff * n_input_ae**2 / 2


@mutant("6.1", function="predicted_shortfall", says="half of `n_input_ae` is taken in whole numbers")
def half_of_the_size_in_whole_numbers(l1_coeff, n_input_ae):
    return l1_coeff * (n_input_ae // 2)


@mutant(
    "6.1", function="predicted_shortfall", says="it is what is left of a feature of length 1, 1 - shortfall"
)
def what_is_left_of_one(l1_coeff, n_input_ae):
    return 1 - l1_coeff * n_input_ae / 2


@mutant("6.1", function="predicted_shortfall", says="it is divided by the mean strength, 0.75: that is the")
def share_of_the_mean_strength(l1_coeff, n_input_ae):
    return l1_coeff * n_input_ae / 2 / 0.75


@mutant(
    "6.1", function="predicted_shortfall", says="it is what `b_dec` makes of it; one feature with the loss"
)
def with_what_b_dec_does(l1_coeff, n_input_ae):
    return l1_coeff * n_input_ae / 2 / (1 - 0.15)


@mutant("6.1", function="predicted_shortfall", says="it is cut down to 1")
def at_most_one(l1_coeff, n_input_ae):
    return min(l1_coeff * n_input_ae / 2, 1.0)


@mutant("6.1", function="predicted_shortfall", says="it is rounded")
def rounded_shortfall(l1_coeff, n_input_ae):
    return round(l1_coeff * n_input_ae / 2, 2)


@mutant("6.1", function="predicted_shortfall", says="the root of `n_input_ae` is taken")
def root_of_size(l1_coeff, n_input_ae):
    return l1_coeff * n_input_ae**0.5 / 2


@variant("6.1")
def loops_otherwise(acts, strength, present):
    out = torch.zeros(acts.shape[1:], dtype=acts.dtype)
    for i in range(acts.shape[1]):
        for f in range(acts.shape[2]):
            there = present[:, i, f]
            if there.any():
                out[i, f] = acts[there, i, f].sum() / strength[there, i, f].sum()
    return out


@variant("6.1")
def einsum_in_double(acts, strength, present):
    p = present.double()
    given = torch.einsum("bif,bif->if", acts.double(), p)
    true = torch.einsum("bif,bif->if", strength.double(), p)
    return (given / true).nan_to_num(0.0).to(acts.dtype)


@variant("6.1")
def ratio_of_means(acts, strength, present):
    n = present.sum(0).clamp(min=1)
    given, true = _sums(acts, strength, present)
    return torch.where(present.any(0), (given / n) / (true / n), torch.zeros_like(given))


@variant("6.1")
def by_numpy(acts, strength, present):
    a, s, p = acts.numpy(), strength.numpy(), present.numpy()
    given, true = np.where(p, a, 0).sum(0), np.where(p, s, 0).sum(0)
    return torch.from_numpy(np.divide(given, true, out=np.zeros_like(given), where=true > 0))


@variant("6.1")
def masked_fill_and_nansum(acts, strength, present):
    true = strength.masked_fill(~present, torch.nan).nansum(dim=0)
    given = acts.masked_fill(~present, 0).sum(dim=0)
    return given / torch.where(true == 0, 1, true)


@variant("6.1", function="predicted_shortfall")
def by_bisection_of_the_slope(l1_coeff, n_input_ae):
    s, low, high = 1e3, 0.0, 1e3
    for _ in range(200):
        z = (low + high) / 2
        slope = -2 * (s - z) / n_input_ae + l1_coeff
        low, high = (z, high) if slope < 0 else (low, z)
    return s - low


@variant("6.1", function="predicted_shortfall")
def by_division(l1_coeff, n_input_ae):
    return l1_coeff / (2 / n_input_ae)


@mutant("6.1", says="a latent that is stronger than its feature is cut down to it, input by input")
def latent_cut_down_to_its_feature(acts, strength, present):
    given, true = _sums(acts.clamp(max=strength), strength, present)
    return given / true.clamp_min(1e-8)


@mutant("6.1", says="changes `acts` itself")
def absent_set_to_zero_in_place(acts, strength, present):
    acts[~present] = 0
    return acts.sum(0) / torch.where(present, strength, 0).sum(0).clamp_min(1e-8)


@mutant("6.1", function="predicted_shortfall", says="it is cut down to a whole number")
def floor_division(l1_coeff, n_input_ae):
    return l1_coeff * n_input_ae // 2
