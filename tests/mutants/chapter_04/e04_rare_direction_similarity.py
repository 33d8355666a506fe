"""Answers to exercise 4.4: `rare_direction_similarity`."""

import numpy as np
import torch
from torch.nn import functional as F

from part_utils.evaluation import (
    rare_direction_similarity,
)
from tests.mutants import equivalent, mutant, variant


def _similarity(
    W_dec, rates, rare_below, average=lambda rows: F.normalize(rows, dim=-1).mean(0), rare=None, compare=None
):
    rare = rates < rare_below if rare is None else rare
    if not rare.any():
        raise ValueError(f"No latent fires less often than {rare_below}.")
    direction = average(W_dec[rare])
    compare = compare or (lambda rows, mean: F.cosine_similarity(rows, mean, dim=-1))
    similarity = compare(W_dec, direction)
    return similarity[rates < rare_below], similarity


@mutant("4.4", says="averaged as they are")
def unnormalised_mean(W_dec, rates, rare_below=1e-4):
    return _similarity(W_dec, rates, rare_below, average=lambda rows: rows.mean(0))


@mutant("4.4", says="mean direction is not brought to unit length")
def mean_of_any_length(W_dec, rates, rare_below=1e-4):
    return _similarity(W_dec, rates, rare_below, compare=lambda rows, mean: F.normalize(rows, dim=-1) @ mean)


@mutant("4.4", says="decoder's rows are not brought to unit length")
def rows_of_any_length(W_dec, rates, rare_below=1e-4):
    return _similarity(W_dec, rates, rare_below, compare=lambda rows, mean: rows @ F.normalize(mean, dim=0))


@mutant("4.4", says="mean direction is that of *all*")
def mean_of_all(W_dec, rates, rare_below=1e-4):
    if not (rates < rare_below).any():
        raise ValueError("No rare latent.")
    return _similarity(W_dec, rates, rare_below, rare=rates < 2)


@mutant("4.4", says="*not* rare")
def mean_of_the_others(W_dec, rates, rare_below=1e-4):
    if not (rates < rare_below).any():
        raise ValueError("No rare latent.")
    return _similarity(W_dec, rates, rare_below, rare=rates >= rare_below)


@mutant("4.4", says="`<=` for `<`")
def at_the_limit(W_dec, rates, rare_below=1e-4):
    return _similarity(W_dec, rates, rare_below, rare=rates <= rare_below)


@mutant("4.4", says="always 1e-4")
def fixed_limit(W_dec, rates, rare_below=1e-4):
    similarity = _similarity(W_dec, rates, rare_below, rare=rates < 1e-4)[1]
    return similarity[rates < rare_below], similarity


@mutant("4.4", says="dead latents are not counted as rare")
def dead_left_out(W_dec, rates, rare_below=1e-4):
    return _similarity(W_dec, rates, rare_below, rare=(rates < rare_below) & (rates > 0))


@mutant("4.4", says="wrong axis (over the latents)")
def normalized_over_latents(W_dec, rates, rare_below=1e-4):
    rare = rates < rare_below
    if not rare.any():
        raise ValueError("No rare latent.")
    mean = F.normalize(W_dec, dim=0)[rare].mean(0)
    similarity = F.cosine_similarity(W_dec, mean, dim=-1)
    return similarity[rare], similarity


@mutant("4.4", says="wrong order")
def all_first(W_dec, rates, rare_below=1e-4):
    return rare_direction_similarity(W_dec, rates, rare_below)[::-1]


@mutant("4.4", says="for the rare ones")
def all_twice(W_dec, rates, rare_below=1e-4):
    similarity = rare_direction_similarity(W_dec, rates, rare_below).all
    return similarity, similarity


@mutant("4.4", says="absolute value is taken")
def absolute(W_dec, rates, rare_below=1e-4):
    return tuple(part.abs() for part in rare_direction_similarity(W_dec, rates, rare_below))


@mutant("4.4", says="mean direction is not brought to unit length")
def mean_of_cosines(W_dec, rates, rare_below=1e-4):
    rare = rates < rare_below
    if not rare.any():
        raise ValueError("No rare latent.")
    unit = F.normalize(W_dec, dim=-1)
    similarity = (unit @ unit[rare].mT).mean(-1)
    return similarity[rare], similarity


@mutant("4.4", says="returns NaN")
def silent_without_rare(W_dec, rates, rare_below=1e-4):
    unit, rare = F.normalize(W_dec, dim=-1), rates < rare_below
    similarity = F.cosine_similarity(unit, unit[rare].mean(0), dim=-1)
    return similarity[rare], similarity


@mutant("4.4", says="returns one tensor")
def rare_ones_only(W_dec, rates, rare_below=1e-4):
    return rare_direction_similarity(W_dec, rates, rare_below).rare


@variant("4.4")
def by_matrix_product(W_dec, rates, rare_below=1e-4):
    unit, rare = W_dec / W_dec.norm(dim=-1, keepdim=True), rates < rare_below
    if rare.sum() == 0:
        raise ValueError("nothing is rare")
    mean = unit[rare].sum(0)
    similarity = unit @ (mean / mean.norm())
    return similarity[rare], similarity


@variant("4.4")
def in_double(W_dec, rates, rare_below=1e-4):
    return list(_similarity(W_dec.double(), rates, rare_below))


@variant("4.4")
def similarities_with_numpy(W_dec, rates, rare_below=1e-4):
    rows = W_dec.numpy() / np.linalg.norm(W_dec.numpy(), axis=1, keepdims=True)
    rare = rates.numpy() < rare_below
    if not rare.any():
        raise ValueError("no latent is rare")
    mean = rows[rare].mean(axis=0)
    similarity = torch.from_numpy(rows @ mean / np.linalg.norm(mean))
    return similarity[torch.from_numpy(rare)], similarity


@variant("4.4")
def loop_over_latents(W_dec, rates, rare_below=1e-4):
    rare = [i for i, rate in enumerate(rates.tolist()) if rate < rare_below - 1e-12]
    if not rare:
        raise ValueError("No latent is rare.")
    mean = sum(W_dec[i] / W_dec[i].norm() for i in rare)
    similarity = torch.stack([F.cosine_similarity(row, mean, dim=0) for row in W_dec])
    return similarity[rare], similarity


@mutant("4.4", says="raises `AssertionError`")
def asserted(W_dec, rates, rare_below=1e-4):
    assert (rates < rare_below).any(), "no latent is rare"
    return _similarity(W_dec, rates, rare_below)


@mutant("4.4", says="raises `IndexError`")
def first_rare_looked_up(W_dec, rates, rare_below=1e-4):
    (rates < rare_below).nonzero()[0]
    return _similarity(W_dec, rates, rare_below)


@mutant("4.4", says="If a single latent is rare")
def squeezed(W_dec, rates, rare_below=1e-4):
    rare, everything = _similarity(W_dec, rates, rare_below)
    return rare.squeeze(), everything.squeeze()


@mutant("4.4", says="dead latents are not counted as rare")
def dead_left_out_of_the_result(W_dec, rates, rare_below=1e-4):
    everything = _similarity(W_dec, rates, rare_below)[1]
    return everything[(rates > 0) & (rates < rare_below)], everything


def _similarity_with(W_dec, mean):
    return F.cosine_similarity(W_dec, mean[None], dim=-1)


def _rare(feature_probability, rare_below):
    rare = feature_probability < rare_below
    if not rare.any():
        raise ValueError("No latent is rare.")
    return rare


@mutant("4.4", says="a latent that fires exactly as often as the limit counts as")
def at_or_below(W_dec, feature_probability, rare_below=1e-4):
    rare = feature_probability <= rare_below
    if not rare.any():
        raise ValueError("No latent is rare.")
    similarity = _similarity_with(W_dec, F.normalize(W_dec, dim=-1)[rare].mean(0))
    return similarity[rare], similarity


@mutant("4.4", says="the limit is not `rare_below`, but always")
def limit_of_the_default(W_dec, feature_probability, rare_below=1e-4):
    rare = _rare(feature_probability, 1e-4)
    similarity = _similarity_with(W_dec, F.normalize(W_dec, dim=-1)[rare].mean(0))
    return similarity[rare], similarity


@mutant("4.4", says="the first rare latent is taken for the mean direction")
def first_rare_row_for_the_mean(W_dec, feature_probability, rare_below=1e-4):
    rare = _rare(feature_probability, rare_below)
    similarity = _similarity_with(W_dec, W_dec[rare][0])
    return similarity[rare], similarity


@mutant("4.4", says="the similarities of the latents that are *not* rare are")
def rest_in_place_of_all(W_dec, feature_probability, rare_below=1e-4):
    rare = _rare(feature_probability, rare_below)
    similarity = _similarity_with(W_dec, F.normalize(W_dec, dim=-1)[rare].mean(0))
    return similarity[rare], similarity[~rare]


@mutant("4.4", says="opposite directions count as similar (the absolute value is")
def without_the_sign(W_dec, feature_probability, rare_below=1e-4):
    rare = _rare(feature_probability, rare_below)
    similarity = _similarity_with(W_dec, F.normalize(W_dec, dim=-1)[rare].mean(0)).abs()
    return similarity[rare], similarity


@mutant("4.4", says="the similarity is squared")
def squared_similarity(W_dec, feature_probability, rare_below=1e-4):
    rare = _rare(feature_probability, rare_below)
    similarity = _similarity_with(W_dec, F.normalize(W_dec, dim=-1)[rare].mean(0)).square()
    return similarity[rare], similarity


@mutant("4.4", says="the median is taken for the mean")
def median_of_the_rows(W_dec, feature_probability, rare_below=1e-4):
    rare = _rare(feature_probability, rare_below)
    similarity = _similarity_with(W_dec, F.normalize(W_dec, dim=-1)[rare].median(0).values)
    return similarity[rare], similarity


@mutant("4.4", says="the mean of `W_dec` over `n_hidden_ae` is subtracted first")
def rows_centered(W_dec, feature_probability, rare_below=1e-4):
    rare = _rare(feature_probability, rare_below)
    W_dec = W_dec - W_dec.mean(0)
    similarity = _similarity_with(W_dec, F.normalize(W_dec, dim=-1)[rare].mean(0))
    return similarity[rare], similarity


@mutant("4.4", says="Where no latent is rare there is no mean direction, but your")
def an_empty_answer_for_none(W_dec, feature_probability, rare_below=1e-4):
    rare = feature_probability < rare_below
    similarity = _similarity_with(W_dec, F.normalize(W_dec, dim=-1)[rare].mean(0))
    return similarity[rare], similarity


@mutant("4.4", says="If a single latent is rare: your code raises a `ValueError`")
def one_rare_latent_is_too_few(W_dec, feature_probability, rare_below=1e-4):
    rare = feature_probability < rare_below
    if rare.sum() < 2:
        raise ValueError("Too few latents are rare.")
    similarity = _similarity_with(W_dec, F.normalize(W_dec, dim=-1)[rare].mean(0))
    return similarity[rare], similarity


@mutant("4.4", says="a row counts as much as its latent fires")
def weighted_by_the_rate(W_dec, feature_probability, rare_below=1e-4):
    rare = _rare(feature_probability, rare_below)
    weights = feature_probability[rare, None]
    similarity = _similarity_with(W_dec, (F.normalize(W_dec, dim=-1)[rare] * weights).sum(0))
    return similarity[rare], similarity


@variant("4.4")
def sum_instead_of_mean(W_dec, feature_probability, rare_below=1e-4):
    rare = _rare(feature_probability, rare_below)
    unit = W_dec / W_dec.norm(dim=-1, keepdim=True)
    total = unit[rare].sum(0)
    similarity = unit @ (total / total.norm())
    return similarity[rare], similarity


equivalent(
    "4.4",
    "The axis is the same one by another number, or the default.",
    "F.normalize(dim=-1) -> F.normalize()",
    "dim=-1: -1 -> 1",
    "F.cosine_similarity(dim=-1) -> F.cosine_similarity()",
    "dim=-1: -1 -> 1 (2)",
)
equivalent(
    "4.4",
    "A cosine is the same either way round, and does not depend on a length.",
    "F.cosine_similarity(directions <-> directions[rare].mean(dim=0)[None])",
    "directions[rare].mean(dim=0) -> directions[rare].sum(dim=0)",
)
