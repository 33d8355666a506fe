"""Answers to exercise 8.1: `massive_activations`."""

import numpy as np
import torch

from tests.mutants import equivalent, mutant, variant


@mutant("8.1", says="found by their position")
def first_position(residual, factor=3.0):
    mask = torch.zeros(residual.shape[:2], dtype=torch.bool)
    mask[:, 0] = True
    return mask


@mutant("8.1", says="*mean* norm")
def mean_for_median(residual, factor=3.0):
    norms = residual.norm(dim=-1)
    return norms > factor * norms.mean()


@mutant("8.1", says="their own text")
def median_of_the_row(residual, factor=3.0):
    norms = residual.norm(dim=-1)
    return norms > factor * norms.median(dim=1, keepdim=True).values


@mutant("8.1", says="inverted")
def where_none_is(residual, factor=3.0):
    norms = residual.norm(dim=-1)
    return norms <= factor * norms.median()


@mutant("8.1", says="*squared* norms")
def squared_norms(residual, factor=3.0):
    squares = residual.pow(2).sum(dim=-1)
    return squares > factor * squares.median()


@mutant("8.1", says="the factor is not used")
def above_the_median(residual, factor=3.0):
    norms = residual.norm(dim=-1)
    return norms > norms.median()


@mutant("8.1", says="without the median")
def above_the_factor(residual, factor=3.0):
    return residual.norm(dim=-1) > factor


@mutant("8.1", says="whatever is passed")
def factor_is_always_three(residual, factor=3.0):
    norms = residual.norm(dim=-1)
    return norms > 3.0 * norms.median()


@mutant("8.1", says="largest entry")
def largest_entry(residual, factor=3.0):
    largest = residual.abs().amax(dim=-1)
    return largest > factor * largest.median()


@mutant("8.1", says="single entries")
def entries(residual, factor=3.0):
    return residual.abs() > factor * residual.abs().median()


@mutant("8.1", says="expected True or False")
def ratios(residual, factor=3.0):
    norms = residual.norm(dim=-1)
    return norms / norms.median() / factor


@mutant("8.1", says="returns nothing")
def no_return(residual, factor=3.0):
    _ = residual.norm(dim=-1) > factor


@mutant("8.1", says="at their own position")
def median_of_the_position(residual, factor=3.0):
    norms = residual.norm(dim=-1)
    return norms > factor * norms.median(dim=0).values


@variant("8.1")
def squares_and_square(residual, factor=3.0):
    squares = residual.square().sum(dim=-1)
    return squares > factor**2 * squares.median()


@variant("8.1")
def with_numpy(residual, factor=3.0):
    norms = np.linalg.norm(residual.numpy(), axis=-1)
    return torch.from_numpy(norms > factor * np.sort(norms.flatten())[norms.size // 2])


@variant("8.1")
def zeros_and_ones(residual, factor=3.0):
    norms = torch.linalg.vector_norm(residual, dim=-1)
    return torch.where(norms / norms.quantile(0.5) > factor, 1, 0)


@variant("8.1")
def text_by_text(residual, factor=3.0):
    limit = factor * torch.stack([row.norm(dim=-1) for row in residual]).median()
    return torch.stack([row.norm(dim=-1) > limit for row in residual])


equivalent(
    "8.1",
    "Norms in float32 are as good, and only a model in bfloat16 has others.",
    "residual.float() -> residual",
)
equivalent(
    "8.1",
    "No norm is exactly at the threshold.",
    "norms > factor * norms.median() -> norms >= factor * norms.median()",
)
