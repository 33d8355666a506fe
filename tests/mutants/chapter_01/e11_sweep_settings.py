"""Answers to exercise 1.11: `sweep_settings`."""

import itertools

import torch

from tests.mutants import mutant, variant


def _pair(probabilities, importances, n_features):
    p = probabilities.repeat_interleave(len(importances))[:, None].repeat(1, n_features)
    importance = torch.ones_like(p)
    importance[:, -1] = importances.repeat(len(probabilities))
    return p, importance


@mutant("1.11", says="column by column")
def other_order(probabilities, importances, n_features):
    p = probabilities.repeat(len(importances))[:, None].repeat(1, n_features)
    importance = torch.ones_like(p)
    importance[:, -1] = importances.repeat_interleave(len(probabilities))
    return p, importance


@mutant("1.11", says="some pairs come twice")
def both_interleaved(probabilities, importances, n_features):
    p, importance = _pair(probabilities, importances, n_features)
    importance[:, -1] = importances.repeat_interleave(len(probabilities))
    return p, importance


@mutant("1.11", says="*first* feature")
def first_feature(probabilities, importances, n_features):
    p, importance = _pair(probabilities, importances, n_features)
    return p, importance.flip(1)


@mutant("1.11", says="all features of an instance")
def whole_row(probabilities, importances, n_features):
    p, importance = _pair(probabilities, importances, n_features)
    return p, importance[:, -1:].expand(-1, n_features)


@mutant("1.11", says="importance 0")
def zeros_elsewhere(probabilities, importances, n_features):
    p, importance = _pair(probabilities, importances, n_features)
    importance[:, :-1] = 0
    return p, importance


@mutant("1.11", says="order `features instances`")
def wrong_axis(probabilities, importances, n_features):
    p, importance = _pair(probabilities, importances, n_features)
    return p, importance.T


@mutant("1.11", says="one column only")
def single_columns(probabilities, importances, n_features):
    p, importance = _pair(probabilities, importances, n_features)
    return p[:, :1], importance[:, -1:]


@mutant("1.11", says="exchanged")
def other_way_round(probabilities, importances, n_features):
    return _pair(probabilities, importances, n_features)[::-1]


@mutant("1.11", says="only the last feature has the probability")
def probability_of_the_last(probabilities, importances, n_features):
    p, importance = _pair(probabilities, importances, n_features)
    p[:, :-1] = 1
    return p, importance


@mutant("1.11", says="Return two tensors")
def importance_only(probabilities, importances, n_features):
    return _pair(probabilities, importances, n_features)[1]


@variant("1.11")
def by_a_loop(probabilities, importances, n_features):
    pairs = list(itertools.product(probabilities.tolist(), importances.tolist()))
    p = torch.tensor([[p] * n_features for p, _ in pairs])
    return [p, torch.tensor([[1.0] * (n_features - 1) + [importance] for _, importance in pairs])]


@variant("1.11")
def by_a_grid(probabilities, importances, n_features):
    p, last = torch.cartesian_prod(probabilities, importances).unbind(1)
    ones = torch.ones(len(p), n_features - 1)
    return p[:, None].expand(-1, n_features), torch.hstack([ones, last[:, None]])


@variant("1.11")
def by_broadcasting(probabilities, importances, n_features):
    p = probabilities.double()[:, None, None].expand(-1, len(importances), n_features).reshape(-1, n_features)
    mask = torch.arange(n_features) == n_features - 1
    importance = torch.where(mask, importances[None, :, None], 1.0)
    return p, importance.expand(len(probabilities), -1, -1).reshape(-1, n_features)


@mutant("1.11", says="it is cut down to whole numbers")
def ones_that_are_whole_numbers(probabilities, importances, n_features):
    p = probabilities.repeat_interleave(len(importances))[:, None].repeat(1, n_features)
    importance = torch.full((len(p), n_features), 1)
    importance[:, -1] = importances.repeat(len(probabilities))
    return p, importance


@mutant("1.11", says="the other features have the importance 0 instead of 1")
def others_have_zero(probabilities, importances, n_features):
    p = probabilities.repeat_interleave(len(importances))[:, None].repeat(1, n_features)
    importance = torch.zeros_like(p)
    importance[:, -1] = importances.repeat(len(probabilities))
    return p, importance


@mutant("1.11", says="only the last feature has the probability, the others are always")
def probability_of_the_last_feature(probabilities, importances, n_features):
    n = len(probabilities) * len(importances)
    p, importance = torch.ones(n, n_features), torch.ones(n, n_features)
    p[:, -1] = probabilities.repeat_interleave(len(importances))
    importance[:, -1] = importances.repeat(len(probabilities))
    return p, importance


@mutant("1.11", says="the pairs have two axes")
def a_grid_that_is_not_flat(probabilities, importances, n_features):
    p = probabilities[:, None, None].expand(-1, len(importances), n_features)
    importance = torch.ones(p.shape)
    importance[..., -1] = importances
    return p, importance


@mutant("1.11", says="the probabilities are sorted by size")
def every_number_once(probabilities, importances, n_features):
    settings = {(p, i) for p in probabilities.tolist() for i in importances.tolist()}
    settings = sorted(settings)
    p = torch.tensor([[p] * n_features for p, _ in settings])
    return p, torch.tensor([[1.0] * (n_features - 1) + [i] for _, i in settings])


@mutant("1.11", says="`n_features` is one too large")
def one_row_more_for_the_feature_axis(probabilities, importances, n_features):
    p = probabilities.repeat_interleave(len(importances))[:, None].repeat(1, n_features)
    importance = torch.ones(len(p), n_features + 1)
    importance[:, -1] = importances.repeat(len(probabilities))
    return p, importance


@mutant("1.11", says="there is one column only")
def probability_as_a_column(probabilities, importances, n_features):
    p = probabilities.repeat_interleave(len(importances))[:, None]
    importance = torch.ones(len(p), n_features)
    importance[:, -1] = importances.repeat(len(probabilities))
    return p, importance


@variant("1.11")
def cartesian_product(probabilities, importances, n_features):
    pairs = torch.cartesian_prod(probabilities, importances)
    ones = torch.ones(len(pairs), n_features - 1)
    return pairs[:, :1].expand(-1, n_features), torch.cat([ones, pairs[:, 1:]], dim=1)


@mutant("1.11", says="`feature_probability` has the wrong shape")
def first_row_only(p, i, n):
    imp = torch.ones(len(i), n)
    imp[:, -1] = i
    return (p[0].expand(len(i), n), imp)


@mutant("1.11", says="`feature_probability` is what comes out when")
def reversed_order(p, i, n):
    P = p.flip(0).repeat_interleave(len(i))[:, None].repeat(1, n)
    imp = torch.ones_like(P)
    imp[:, -1] = i.repeat(len(p))
    return (P, imp)


@mutant("1.11", says="the two are exchanged")
def swapped_return(p, i, n):
    P = p.repeat_interleave(len(i))[:, None].repeat(1, n)
    imp = torch.ones_like(P)
    imp[:, -1] = i.repeat(len(p))
    return (imp, P)


@variant("1.11")
def itertools_product(p, i, n):
    import itertools

    rows = list(itertools.product(p.tolist(), i.tolist()))
    return (torch.tensor([[a] * n for a, _ in rows]), torch.tensor([[1.0] * (n - 1) + [b] for _, b in rows]))


@mutant("1.11", says="brought to a sum of 1")
def importances_as_weights(probabilities, importances, n_features):
    p, importance = _pair(probabilities, importances, n_features)
    return p, importance / importance.sum(1, keepdim=True)


@mutant("1.11", says="powers of the importance")
def falling_importances(probabilities, importances, n_features):
    p, importance = _pair(probabilities, importances, n_features)
    return p, importance[:, -1:] ** torch.arange(n_features)


@mutant("1.11", says="(`importance[-1]`)")
def last_row(probabilities, importances, n_features):
    p, _ = _pair(probabilities, importances, n_features)
    importance = torch.ones_like(p)
    importance[-1] = importances[-1]
    return p, importance


@mutant("1.11", says="the importance of feature 1 is varied")
def second_feature(probabilities, importances, n_features):
    p, _ = _pair(probabilities, importances, n_features)
    importance = torch.ones_like(p)
    importance[:, 1] = importances.repeat(len(probabilities))
    return p, importance


@mutant("1.11", says="divided by the number of features")
def probability_shared_out(probabilities, importances, n_features):
    p, importance = _pair(probabilities, importances, n_features)
    return p / n_features, importance


@mutant("1.11", says="`n_features` is not used")
def always_two_features(probabilities, importances, n_features):
    return _pair(probabilities, importances, 2)


@mutant("1.11", says="the reciprocal is given to the other features")
def relative_importance(probabilities, importances, n_features):
    p, importance = _pair(probabilities, importances, n_features)
    return p, importance / importance[:, -1:]


@mutant("1.11", says="itself (in place)")
def scaled_in_place(probabilities, importances, n_features):
    pairs = torch.cartesian_prod(probabilities, importances)
    importances /= 2
    varied = torch.cat([torch.ones(len(pairs), n_features - 1), pairs[:, 1:]], dim=1)
    return pairs[:, :1].repeat(1, n_features), varied
