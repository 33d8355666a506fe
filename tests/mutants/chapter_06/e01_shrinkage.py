"""Answers to exercise 6.1: `shrinkage`."""

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


@mutant("6.1", function="predicted_shortfall", says="does not grow with `n_input_ae`")
def without_size(l1_coeff, n_input_ae):
    return l1_coeff / 2


@mutant("6.1", function="predicted_shortfall", says="divides by `n_input_ae`")
def divided(l1_coeff, n_input_ae):
    return l1_coeff / n_input_ae / 2


@mutant("6.1", function="predicted_shortfall", says="wrong sign")
def negative(l1_coeff, n_input_ae):
    return -l1_coeff * n_input_ae / 2


@mutant("6.1", function="predicted_shortfall", says="`return`")
def nothing(l1_coeff, n_input_ae):
    _ = l1_coeff * n_input_ae / 2


@variant("6.1", function="predicted_shortfall")
def as_a_tensor(l1_coeff, n_input_ae):
    return torch.tensor(0.5 * l1_coeff * n_input_ae)
