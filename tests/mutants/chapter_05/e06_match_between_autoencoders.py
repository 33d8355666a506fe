"""Answers to exercise 5.6: `match_between_autoencoders`."""

import torch
from torch.nn import functional as F

from part_utils.interpretation import match_between_autoencoders
from tests.mutants import equivalent, mutant, variant


def _unit(rows):
    return rows / rows.norm(dim=-1, keepdim=True).clamp_min(1e-8)


def _centered(acts):
    return acts - acts.mean(0)


def _matches(cosine, correlation):
    c, r = cosine.max(1), correlation.max(1)
    return c.indices, c.values, r.indices, r.values


def _match(
    W_a,
    W_b,
    a,
    b,
    cosine=lambda W_a, W_b: _unit(W_a) @ _unit(W_b).T,
    correlation=lambda a, b: _unit(_centered(a).T) @ _unit(_centered(b).T).T,
):
    return _matches(cosine(W_a, W_b), correlation(a, b))


@mutant("5.6", says="same number are paired")
def same_index(W_a, W_b, a, b):
    n = torch.arange(len(W_a)).clamp_max(len(W_b) - 1)
    cosine, correlation = _unit(W_a) @ _unit(W_b).T, _unit(_centered(a).T) @ _unit(_centered(b).T).T
    rows = torch.arange(len(W_a))
    return n, cosine[rows, n], n, correlation[rows, n]


@mutant("5.6", says="rows are not brought to unit length")
def dot_products(*args):
    return _match(*args, cosine=lambda W_a, W_b: W_a @ W_b.T)


@mutant("5.6", says="only A's rows")
def only_a_normalized(*args):
    return _match(*args, cosine=lambda W_a, W_b: _unit(W_a) @ W_b.T)


@mutant("5.6", says="columns of the decoders")
def columns_normalized(*args):
    return _match(*args, cosine=lambda W_a, W_b: F.normalize(W_a, dim=0) @ F.normalize(W_b, dim=0).T)


@mutant("5.6", says="opposite directions are no match")
def absolute_cosine(*args):
    return _match(*args, cosine=lambda W_a, W_b: (_unit(W_a) @ _unit(W_b).T).abs())


@mutant("5.6", says="opposite directions are no match")
def absolute_for_the_choice_only(W_a, W_b, a, b):
    by, _, *rest = _match(W_a, W_b, a, b, cosine=lambda W_a, W_b: (_unit(W_a) @ _unit(W_b).T).abs())
    return by, (_unit(W_a) @ _unit(W_b).T)[torch.arange(len(W_a)), by], *rest


@mutant("5.6", says="`by_cosine` is what comes out when the decoder rows are not brought to unit length")
def normalized_after_the_choice(W_a, W_b, a, b):
    by = (W_a @ W_b.T).argmax(1)
    return by, (_unit(W_a) * _unit(W_b)[by]).sum(1), *_match(W_a, W_b, a, b)[2:]


@mutant("5.6", says="means are not taken away")
def not_centered(*args):
    return _match(*args, correlation=lambda a, b: _unit(a.T) @ _unit(b.T).T)


@mutant("5.6", says="covariance")
def covariance(*args):
    return _match(*args, correlation=lambda a, b: _centered(a).T @ _centered(b) / len(a))


@mutant("5.6", says="each token's mean")
def centered_over_latents(*args):
    def center(x):
        return _unit((x - x.mean(1, keepdim=True)).T)

    return _match(*args, correlation=lambda a, b: center(a) @ center(b).T)


@mutant("5.6", says="`std` divides by the count minus 1")
def two_kinds_of_count(*args):
    def standard(x):
        return _centered(x) / x.std(0).clamp_min(1e-8)

    return _match(*args, correlation=lambda a, b: standard(a).T @ standard(b) / len(a))


@mutant("5.6", says="divided by a length of 0")
def nan_of_dead_latents(*args):
    def unit(x):
        return _centered(x) / _centered(x).norm(dim=0)

    return _match(*args, correlation=lambda a, b: unit(a).T @ unit(b))


@mutant("5.6", says="divided by a length of 0")
def nan_from_corrcoef(*args):
    def correlation(a, b):
        return torch.corrcoef(torch.cat([a, b], dim=1).T)[: a.shape[1], a.shape[1] :]

    return _match(*args, correlation=correlation)


@mutant("5.6", says="for each latent of B")
def from_b_to_a(W_a, W_b, a, b):
    return _match(W_b, W_a, b, a)


@mutant("5.6", says="for each latent of B")
def best_along_the_wrong_axis(W_a, W_b, a, b):
    c, r = (_unit(W_a) @ _unit(W_b).T).max(0), (_unit(_centered(a).T) @ _unit(_centered(b).T).T).max(0)
    return c.indices, c.values, r.indices, r.values


@mutant("5.6", says="uses each latent of B only once")
def each_of_b_once(W_a, W_b, a, b):
    cosine = _unit(W_a) @ _unit(W_b).T
    by, left = torch.zeros(len(W_a), dtype=torch.long), cosine.clone()
    for n in range(len(W_a)):
        if n % len(W_b) == 0:
            left = cosine.clone()
        by[n] = left[n].argmax()
        left[:, by[n]] = -2
    return by, cosine[torch.arange(len(W_a)), by], *_match(W_a, W_b, a, b)[2:]


@mutant("5.6", says="which tokens it fires on")
def firing_correlated(*args):
    def correlation(a, b):
        a, b = (a > 0).float(), (b > 0).float()
        return _unit(_centered(a).T) @ _unit(_centered(b).T).T

    return _match(*args, correlation=correlation)


@mutant("5.6", says="least similar")
def smallest_cosine(W_a, W_b, a, b):
    least = (_unit(W_a) @ _unit(W_b).T).min(1)
    return least.indices, least.values, *_match(W_a, W_b, a, b)[2:]


@mutant("5.6", says="directions are compared once more")
def cosine_for_both(W_a, W_b, a, b):
    found = _match(W_a, W_b, a, b)[:2]
    return *found, *found


@mutant("5.6", says="Indices and values are exchanged")
def values_before_indices(*args):
    by_cosine, cosine, by_correlation, correlation = _match(*args)
    return cosine, by_cosine, correlation, by_correlation


@variant("5.6")
def corrcoef_without_nan(*args):
    def correlation(a, b):
        return torch.corrcoef(torch.cat([a, b], dim=1).T).nan_to_num(0.0)[: a.shape[1], a.shape[1] :]

    return _match(*args, correlation=correlation)


@variant("5.6")
def dead_ones_ruled_out(W_a, W_b, a, b):
    moves = (a.std(0) > 0)[:, None] & (b.std(0) > 0)
    deviation = a.std(0, correction=0)[:, None] * b.std(0, correction=0)
    correlation = torch.where(moves, _centered(a).T @ _centered(b) / len(a) / deviation, torch.zeros(()))
    return list(_matches(F.cosine_similarity(W_a[:, None], W_b[None], dim=-1), correlation))


@variant("5.6")
def one_latent_at_a_time(W_a, W_b, a, b):
    found = []
    for direction, act in zip(W_a, a.T, strict=True):
        cosine = F.cosine_similarity(direction[None], W_b)
        act = act - act.mean()
        scale = act.norm() * _centered(b).norm(dim=0)
        correlation = torch.where(scale > 1e-6, act @ _centered(b) / scale.clamp_min(1e-6), 0.0 * scale)
        found.append((cosine.argmax(), cosine.max(), correlation.argmax(), correlation.max()))
    return tuple(torch.stack(column) for column in zip(*found, strict=True))


@variant("5.6")
def from_the_moments(*args):
    def correlation(a, b):
        a, b = a.double(), b.double()
        top = (a.T @ b) / len(a) - a.mean(0)[:, None] * b.mean(0)
        scale = a.var(0, correction=0)[:, None] * b.var(0, correction=0)
        return (top / scale.clamp_min(1e-16).sqrt() * (scale > 1e-12)).float()

    return _match(*args, correlation=correlation)


def _cosines(W_dec_a, W_dec_b):
    return F.normalize(W_dec_a, eps=1e-20) @ F.normalize(W_dec_b, eps=1e-20).mT


def _correlations(acts_a, acts_b):
    a, b = acts_a - acts_a.mean(0), acts_b - acts_b.mean(0)
    a, b = (
        torch.where(c.abs() < 1e-5 * x.abs().max(0).values, 0.0, c) for c, x in ((a, acts_a), (b, acts_b))
    )
    return F.normalize(a, dim=0, eps=1e-20).mT @ F.normalize(b, dim=0, eps=1e-20)


def _matched(cosine, correlation):
    by_cosine, by_correlation = cosine.max(1), correlation.max(1)
    return by_cosine.indices, by_cosine.values, by_correlation.indices, by_correlation.values


@mutant("5.6", says="only the first 10 tokens are looked at")
@torch.no_grad()
def correlation_of_the_first_tokens(W_dec_a, W_dec_b, acts_a, acts_b):
    return _matched(_cosines(W_dec_a, W_dec_b), _correlations(acts_a[:10], acts_b[:10]))


@mutant("5.6", says="the sign is dropped (`abs`): a latent that is silent when the")
@torch.no_grad()
def correlation_without_the_sign(W_dec_a, W_dec_b, acts_a, acts_b):
    return _matched(_cosines(W_dec_a, W_dec_b), _correlations(acts_a, acts_b).abs())


@mutant("5.6", says="it is squared once more")
@torch.no_grad()
def squared_correlation(W_dec_a, W_dec_b, acts_a, acts_b):
    c = _correlations(acts_a, acts_b)
    best = c.max(1)
    return *_matched(_cosines(W_dec_a, W_dec_b), c)[:2], best.indices, best.values.square()


@mutant("5.6", says="the correlation is taken of which tokens it fires on, not of")
@torch.no_grad()
def correlation_of_firing(W_dec_a, W_dec_b, acts_a, acts_b):
    return _matched(_cosines(W_dec_a, W_dec_b), _correlations((acts_a > 0).float(), (acts_b > 0).float()))


@mutant("5.6", says="the products are averaged over all tokens, but `std` divides")
@torch.no_grad()
def two_kinds_of_deviation(W_dec_a, W_dec_b, acts_a, acts_b):
    n = len(acts_a)
    return _matched(_cosines(W_dec_a, W_dec_b), _correlations(acts_a, acts_b) * (n - 1) / n)


@mutant("5.6", says="the directions are compared once more; what correlates are the")
@torch.no_grad()
def correlation_of_the_pair_by_cosine(W_dec_a, W_dec_b, acts_a, acts_b):
    cosine, correlation = _cosines(W_dec_a, W_dec_b), _correlations(acts_a, acts_b)
    best = cosine.max(1)
    return best.indices, best.values, best.indices, correlation.gather(1, best.indices[:, None])[:, 0]


@mutant("5.6", says="`correlation` is right for `n_latents_a`")
@torch.no_grad()
def quiet_latents_taken_for_constant(W_dec_a, W_dec_b, acts_a, acts_b):
    a, b = acts_a - acts_a.mean(0), acts_b - acts_b.mean(0)
    correlation = F.normalize(a, dim=0, eps=1e-2).mT @ F.normalize(b, dim=0, eps=1e-2)
    return _matched(_cosines(W_dec_a, W_dec_b), correlation)


@mutant("5.6", says="negative correlations are set to 0")
@torch.no_grad()
def nought_at_least(W_dec_a, W_dec_b, acts_a, acts_b):
    return _matched(_cosines(W_dec_a, W_dec_b), _correlations(acts_a, acts_b).relu())


@mutant("5.6", says="the mean over all latents is taken away from the decoder rows")
@torch.no_grad()
def directions_centered(W_dec_a, W_dec_b, acts_a, acts_b):
    return _matched(
        _cosines(W_dec_a - W_dec_a.mean(0), W_dec_b - W_dec_b.mean(0)), _correlations(acts_a, acts_b)
    )


@variant("5.6")
@torch.no_grad()
def in_double_precision(W_dec_a, W_dec_b, acts_a, acts_b):
    return tuple(
        part.float() if part.is_floating_point() else part
        for part in _matched(
            _cosines(W_dec_a.double(), W_dec_b.double()), _correlations(acts_a.double(), acts_b.double())
        )
    )


equivalent(
    "5.6",
    "any tiny number keeps the length from being 0",
    *(f"F.normalize(eps=SMALLEST_NORM) -> F.normalize(){number}" for number in ("", " (2)", " (3)", " (4)")),
)

equivalent(
    "5.6",
    "the check's latents that never change have a mean without rounding; the other case is a test of the reference",
    *(
        change
        for side in "ab"
        for change in (
            f"centered_{side} * (acts_{side} != acts_{side}[:1]).any(dim=0) -> centered_{side}",
            f"(acts_{side} != acts_{side}[:1]).any(dim=0) -> (acts_{side} != acts_{side}[:1]).any()",
            f"acts_{side} != acts_{side}[:1] -> acts_{side} == acts_{side}[:1]",
        )
    ),
)


@mutant("5.6", says="`cosine` is NaN where a decoder row is all zeros")
def not_a_number_for_a_row_of_zeros(W_dec_a, W_dec_b, acts_a, acts_b):
    right = match_between_autoencoders(W_dec_a, W_dec_b, acts_a, acts_b)
    best = (
        (W_dec_a / W_dec_a.norm(dim=1, keepdim=True)) @ (W_dec_b / W_dec_b.norm(dim=1, keepdim=True)).mT
    ).max(1)
    return best.indices, best.values, *right[2:]


@mutant("5.6", says="on which A's latent fires")
def only_where_a_fires(W_dec_a, W_dec_b, acts_a, acts_b):
    right = match_between_autoencoders(W_dec_a, W_dec_b, acts_a, acts_b)
    found = [
        match_between_autoencoders(W_dec_a[:1], W_dec_b, acts_a[on][:, [i]], acts_b[on])[2:]
        if on.any()
        else (torch.tensor([0]), torch.zeros(1))
        for i, on in enumerate((acts_a > 0).mT)
    ]
    by, correlation = (torch.cat(part) for part in zip(*found, strict=True))
    return *right[:2], by, correlation


@mutant("5.6", says="negative cosines are set to 0")
def cosines_begin_at_zero(W_dec_a, W_dec_b, acts_a, acts_b):
    right = match_between_autoencoders(W_dec_a, W_dec_b, acts_a, acts_b)
    unit_a, unit_b = (W / W.norm(dim=1, keepdim=True).clamp_min(1e-8) for W in (W_dec_a, W_dec_b))
    best = (unit_a @ unit_b.mT).relu().max(1)
    return best.indices, best.values, *right[2:]


@mutant("5.6", says="0.01 is added to the lengths")
def something_added_to_the_lengths(W_dec_a, W_dec_b, acts_a, acts_b):
    right = match_between_autoencoders(W_dec_a, W_dec_b, acts_a, acts_b)
    unit_a, unit_b = (c / (c.norm(dim=0) + 1e-2) for c in (acts_a - acts_a.mean(0), acts_b - acts_b.mean(0)))
    best = (unit_a.mT @ unit_b).max(1)
    return *right[:2], best.indices, best.values


@mutant("5.6", says="only A's activations are brought to unit length")
def only_a_at_unit_length(W_dec_a, W_dec_b, acts_a, acts_b):
    right = match_between_autoencoders(W_dec_a, W_dec_b, acts_a, acts_b)
    centered = acts_a - acts_a.mean(0)
    best = ((centered / centered.norm(dim=0).clamp_min(1e-8)).mT @ (acts_b - acts_b.mean(0))).max(1)
    return *right[:2], best.indices, best.values
