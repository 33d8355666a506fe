"""Answers to exercise 8.1: `massive_activations`."""

import numpy as np
import torch

from tests.mutants import equivalent, mutant, variant


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


def _norms(residual):
    return residual.float().norm(dim=-1)


@mutant("8.1", says="norms are compared with the *mean* norm: one sink can be")
def mean_for_median_again(residual, factor=3.0):
    return _norms(residual) > factor * _norms(residual).mean()


@mutant("8.1", says="norms are compared with the median of their own text, not")
def median_of_each_text(residual, factor=3.0):
    norms = _norms(residual)
    return norms > factor * norms.median(dim=-1, keepdim=True).values


@mutant("8.1", says="norms are compared with the median at their own position,")
def median_of_each_position(residual, factor=3.0):
    norms = _norms(residual)
    return norms > factor * norms.median(dim=0).values


@mutant("8.1", says="norms are compared with the median of the first text, not")
def median_of_first_text(residual, factor=3.0):
    norms = _norms(residual)
    return norms > factor * norms[0].median()


@mutant("8.1", says="norms are compared with the median of the medians of the")
def median_of_medians(residual, factor=3.0):
    norms = _norms(residual)
    return norms > factor * norms.median(dim=-1).values.median()


@mutant("8.1", says="sinks are found by their position (the first of every")
def first_position_again(residual, factor=3.0):
    mask = torch.zeros(residual.shape[:2], dtype=torch.bool)
    mask[:, 0] = True
    return mask


@mutant("8.1", says="the first position of every text counts as a sink")
def first_position_always(residual, factor=3.0):
    mask = _norms(residual) > factor * _norms(residual).median()
    mask[:, 0] = True
    return mask


@mutant("8.1", says="the first position of a text never counts as a sink")
def first_position_never(residual, factor=3.0):
    mask = _norms(residual) > factor * _norms(residual).median()
    mask[:, 0] = False
    return mask


@mutant("8.1", says="the mask is inverted: True belongs where there *is* a sink")
def what_is_kept(residual, factor=3.0):
    return _norms(residual) <= factor * _norms(residual).median()


@mutant("8.1", says="*squared* norms are compared, and not with the factor")
def squared_lengths(residual, factor=3.0):
    squares = residual.float().pow(2).sum(-1)
    return squares > factor * squares.median()


@mutant("8.1", says="the absolute entries are added up for the norm")
def l1_norm(residual, factor=3.0):
    norms = residual.float().abs().sum(-1)
    return norms > factor * norms.median()


@mutant("8.1", says="the largest entry of a vector is taken for its norm")
def largest_entry_again(residual, factor=3.0):
    norms = residual.float().abs().amax(-1)
    return norms > factor * norms.median()


@mutant("8.1", says="a vector of exactly `factor` times the median length")
def at_least(residual, factor=3.0):
    return _norms(residual) >= factor * _norms(residual).median()


@mutant("8.1", says="the factor is 3, whatever is passed")
def factor_3(residual, factor=3.0):
    return _norms(residual) > 3 * _norms(residual).median()


@mutant("8.1", says="`factor` is another number than `FACTOR` (3) when it is")
def factor_10(residual, factor=10.0):
    return _norms(residual) > factor * _norms(residual).median()


@mutant("8.1", says="`factor` has a default in the signature: `factor: float =")
def no_default(residual, factor):
    return _norms(residual) > factor * _norms(residual).median()


@mutant("8.1", says="norms are compared with the mean plus `factor` standard")
def standard_deviations(residual, factor=3.0):
    norms = _norms(residual)
    return norms > norms.mean() + factor * norms.std()


@mutant("8.1", says="norms are compared with an estimate from single entries,")
def median_of_entries(residual, factor=3.0):
    return _norms(residual) > factor * residual.float().abs().median() * residual.shape[-1] ** 0.5


@mutant("8.1", says="norms are compared with the length of the median vector")
def length_of_the_median_vector(residual, factor=3.0):
    return _norms(residual) > factor * residual.float().flatten(0, 1).median(0).values.norm()


@mutant("8.1", says="norms are taken over the positions")
def along_positions(residual, factor=3.0):
    norms = residual.float().norm(dim=1)
    mask = norms > factor * norms.median()
    return mask[:, : residual.shape[1]]


@mutant("8.1", says="compared with the norm of everything together")
def one_norm(residual, factor=3.0):
    return residual.float().abs().sum(-1) > factor * residual.float().norm()


@mutant("8.1", says="norms are compared with a share of the largest norm")
def share_of_the_largest(residual, factor=3.0):
    return _norms(residual) > _norms(residual).max() / factor


@mutant("8.1", says="single entries are compared, not the norms of vectors")
def entries_again(residual, factor=3.0):
    return residual.abs() > factor * residual.abs().median()


@mutant("8.1", says="an axis of size 1 is lost (`squeeze` removes all of")
def squeezed(residual, factor=3.0):
    norms = _norms(residual).squeeze()
    return norms > factor * norms.median()


@mutant("8.1", says="an axis of size 1 is added at the end")
def axis_kept(residual, factor=3.0):
    norms = residual.float().norm(dim=-1, keepdim=True)
    return norms > factor * norms.median()


@mutant("8.1", says="Your function returns numbers of type torch.int64;")
def places(residual, factor=3.0):
    return (_norms(residual) > factor * _norms(residual).median()).nonzero()


@mutant("8.1", says="the mean over the dimensions is subtracted first")
def centered_first(residual, factor=3.0):
    return (lambda norms: norms > factor * norms.median())(_norms(residual - residual.mean(-1, keepdim=True)))


@mutant("8.1", says="the mean vector is subtracted first")
def distance_from_mean(residual, factor=3.0):
    norms = _norms(residual - residual.mean((0, 1)))
    return norms > factor * norms.median()


@mutant("8.1", says="the sinks of the first text are taken for those of every")
def sinks_of_the_first_text(residual, factor=3.0):
    norms = _norms(residual)
    return (norms > factor * norms.median())[:1].expand_as(norms)


@variant("8.1")
def sorted_norms(residual, factor=3.0):
    norms = torch.einsum("bsd,bsd->bs", residual.double(), residual.double()).sqrt()
    ordered = norms.flatten().sort().values
    return norms > factor * ordered[(len(ordered) - 1) // 2]


@variant("8.1")
def squares_against_squares(residual, factor=3.0):
    squares = residual.double().square().sum(-1)
    return squares > factor**2 * squares.flatten().median()


@variant("8.1")
def with_numpy_again(residual, factor=3.0):
    norms = np.linalg.norm(residual.detach().double().numpy(), axis=2)
    return torch.from_numpy(norms > factor * np.median(norms))


@variant("8.1")
def with_quantile(residual, factor=3.0):
    norms = torch.linalg.vector_norm(residual, dim=2)
    return torch.gt(norms / norms.quantile(0.5), factor)


equivalent(
    "8.1",
    "Norms in float32 are as good, and only a model in bfloat16 has others.",
    "residual.float() -> residual",
)


@mutant("8.1", says="the median without the first positions")
def median_without_the_first(residual, factor=3.0):
    norms = _norms(residual)
    return norms > factor * norms[:, 1:].median()
