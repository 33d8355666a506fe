"""Answers to exercise 2.5: `match_features`."""

import itertools

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch.nn import functional as F

from tests.mutants import equivalent, mutant, variant


def _table(W_toy, W_dec):
    return torch.einsum("ihf,ilh->ifl", F.normalize(W_toy, dim=1), F.normalize(W_dec, dim=2))


def _assign(objective, table):
    result = torch.zeros(table.shape[:2])
    for i in range(len(table)):
        rows, columns = linear_sum_assignment(objective[i].numpy(), maximize=True)
        for row, column in zip(rows, columns, strict=True):
            result[i, row] = table[i, row, column]
    return result


@mutant("2.5", says="not one to one")
def best_latent_of_each(W_toy, W_dec):
    return _table(W_toy, W_dec).max(dim=-1).values


@mutant("2.5", says="not brought to unit length")
def dot_products(W_toy, W_dec):
    table = torch.einsum("ihf,ilh->ifl", W_toy, W_dec)
    return _assign(table, table)


@mutant("2.5", says="rows of `W_dec` are not brought to unit length")
def decoder_not_normalized(W_toy, W_dec):
    table = torch.einsum("ihf,ilh->ifl", F.normalize(W_toy, dim=1), W_dec)
    return _assign(table, table)


@mutant("2.5", says="columns of `W_toy` are not brought to unit length")
def features_not_normalized(W_toy, W_dec):
    table = torch.einsum("ihf,ilh->ifl", W_toy, F.normalize(W_dec, dim=-1))
    return _assign(table, table)


@mutant("2.5", says="wrong axes")
def wrong_axes(W_toy, W_dec):
    table = torch.einsum("ihf,ilh->ifl", F.normalize(W_toy, dim=2), F.normalize(W_dec, dim=1))
    return _assign(table, table)


@mutant("2.5", says="greedily")
def best_pair_first(W_toy, W_dec):
    result = torch.zeros(W_toy.shape[0], W_toy.shape[2])
    for i, table in enumerate(_table(W_toy, W_dec)):
        for _ in range(min(table.shape)):
            feature, latent = divmod(table.argmax().item(), table.shape[1])
            result[i, feature] = table[feature, latent]
            table[feature], table[:, latent] = -2, -2
    return result


@mutant("2.5", says="the features choose in order")
def features_in_order(W_toy, W_dec):
    result = torch.zeros(W_toy.shape[0], W_toy.shape[2])
    for i, table in enumerate(_table(W_toy, W_dec)):
        for feature in range(min(table.shape)):
            latent = table[feature].argmax()
            result[i, feature] = table[feature, latent]
            table[:, latent] = -2
    return result


@mutant("2.5", says="as *small* as possible")
def minimized(W_toy, W_dec):
    table = _table(W_toy, W_dec)
    return _assign(-table, table)


@mutant("2.5", says="opposite directions count as similar")
def absolute_value(W_toy, W_dec):
    table = _table(W_toy, W_dec).abs()
    return _assign(table, table)


@mutant("2.5", says="same number are paired")
def same_number(W_toy, W_dec):
    table = _table(W_toy, W_dec)
    result = torch.zeros(table.shape[:2])
    n = min(table.shape[1:])
    result[:, :n] = table.diagonal(dim1=1, dim2=2)
    return result


@mutant("2.5", says="instance 0's pairs are used for every instance")
def pairs_of_the_first_instance(W_toy, W_dec):
    table = _table(W_toy, W_dec)
    return _assign(table[:1].expand_as(table), table)


@mutant("2.5", says="each *latent's* best feature")
def best_feature_of_each_latent(W_toy, W_dec):
    return _table(W_toy, W_dec).max(dim=1).values


@mutant("2.5", says="order of size")
def sorted_by_size(W_toy, W_dec):
    table = _table(W_toy, W_dec)
    return _assign(table, table).sort(dim=-1, descending=True).values


@mutant("2.5", says="fewer latents than features")
def needs_enough_latents(W_toy, W_dec):
    table = _table(W_toy, W_dec)
    pairs = [linear_sum_assignment(-t)[1] for t in table]
    return torch.stack([t[range(t.shape[0]), columns] for t, columns in zip(table, pairs, strict=True)])


@mutant("2.5", says="mean over the features")
def one_number_for_each_instance(W_toy, W_dec):
    table = _table(W_toy, W_dec)
    return _assign(table, table).mean(dim=-1)


@mutant("2.5", says="lengths of `W_dec` are taken along the wrong axis")
def decoder_normalized_along_latents(W_toy, W_dec):
    table = torch.einsum("ihf,ilh->ifl", F.normalize(W_toy, dim=1), F.normalize(W_dec, dim=1))
    return _assign(table, table)


@mutant("2.5", says="1 is returned for a feature that was found")
def found_or_not(W_toy, W_dec):
    table = _table(W_toy, W_dec)
    return (_assign(table, table) > 0.95).float()


@variant("2.5")
def hungarian_in_double(W_toy, W_dec):
    table = _table(W_toy.double(), W_dec.double())
    result = table.new_zeros(table.shape[:2])
    for i, costs in enumerate(1 - table):
        rows, columns = linear_sum_assignment(costs)
        result[i, rows] = table[i, rows, columns]
    return result


@variant("2.5")
def latents_choose_features(W_toy, W_dec):
    table = F.cosine_similarity(W_toy.mT.unsqueeze(2), W_dec.unsqueeze(1), dim=-1)
    result = torch.zeros(W_toy.shape[0], W_toy.shape[2])
    for i in range(len(table)):
        latents, features = linear_sum_assignment(table[i].T.numpy(), maximize=True)
        result[i, features] = table[i][features, latents]
    return result


@variant("2.5")
def best_by_dynamic_programming(W_toy, W_dec):
    table = _table(W_toy, W_dec)
    result = torch.zeros(table.shape[:2])
    for i, similarities in enumerate(table.tolist()):
        rows = [
            [*row, *(0.0 if f == g else -9.0 for g in range(len(similarities)))]
            for f, row in enumerate(similarities)
        ]
        best = {frozenset(): (0.0, [])}
        for row in rows:
            grown = {}
            for used, (total, chosen) in best.items():
                for column, value in enumerate(row):
                    if column not in used and value > -9:
                        key = used | {column}
                        if key not in grown or total + value > grown[key][0]:
                            grown[key] = (total + value, [*chosen, column])
            best = grown
        n = len(similarities[0])
        full = min(n, len(rows))
        usable = [entry for entry in best.values() if sum(c < n for c in entry[1]) == full]
        chosen = max(usable)[1]
        result[i] = torch.tensor([row[c] for row, c in zip(rows, chosen, strict=True)])
    return result


@variant("2.5")
def every_permutation(W_toy, W_dec):
    table = _table(W_toy, W_dec)
    n_features = table.shape[1]
    # A feature that meets one of the extra columns has no latent.
    table = F.pad(table, (0, max(0, n_features - table.shape[2])))
    ways = torch.tensor(list(itertools.permutations(range(table.shape[2]), n_features)))
    similarities = table[:, torch.arange(n_features), ways]
    best = similarities.sum(dim=-1).argmax(dim=-1)
    return torch.stack([similarities[i, best[i]] for i in range(len(table))])


@variant("2.5")
def numpy_throughout(W_toy, W_dec):
    toy, dec = W_toy.numpy().astype(float), W_dec.numpy().astype(float)
    found = np.zeros((toy.shape[0], toy.shape[2]))
    for i in range(len(toy)):
        lengths = np.linalg.norm(toy[i], axis=0)[:, None] * np.linalg.norm(dec[i], axis=1)
        cosines = toy[i].T @ dec[i].T / lengths
        chosen = linear_sum_assignment(-cosines)
        found[i, chosen[0]] = cosines[chosen]
    return torch.from_numpy(found)


@mutant("2.5", says="`squeeze`")
def every_short_axis_is_dropped(W_toy, W_dec):
    return every_permutation(W_toy, W_dec).squeeze()


@mutant("2.5", says="`squeeze`")
def one_instance_without_its_axis(W_toy, W_dec):
    found = every_permutation(W_toy, W_dec)
    return found[0] if len(found) == 1 else found


@mutant("2.5", says="")
def half_of_each_similarity(W_toy, W_dec):
    return every_permutation(W_toy, W_dec) / 2


@mutant("2.5", says="the sum is made as *small* as possible")
def smallest_sum(W_toy, W_dec):
    cosines = torch.einsum("ihf,ijh->ifj", F.normalize(W_toy, dim=1), F.normalize(W_dec, dim=2))
    result = torch.zeros(cosines.shape[:2])
    for i, c in enumerate(cosines):
        rows, columns = linear_sum_assignment(c.numpy())
        result[i, rows] = c[rows, columns]
    return result


@mutant("2.5", says="the pairs are chosen by absolute value, where opposite directions")
def by_absolute_cosine(W_toy, W_dec):
    cosines = torch.einsum("ihf,ijh->ifj", F.normalize(W_toy, dim=1), F.normalize(W_dec, dim=2))
    result = torch.zeros(cosines.shape[:2])
    for i, c in enumerate(cosines):
        rows, columns = linear_sum_assignment(c.abs().numpy(), maximize=True)
        result[i, rows] = c[rows, columns]
    return result


@mutant("2.5", says="negative similarities are set to 0")
def negative_ones_left_out(W_toy, W_dec):
    cosines = torch.einsum("ihf,ijh->ifj", F.normalize(W_toy, dim=1), F.normalize(W_dec, dim=2))
    result = torch.zeros(cosines.shape[:2])
    for i, c in enumerate(cosines):
        rows, columns = linear_sum_assignment(c.numpy(), maximize=True)
        result[i, rows] = c[rows, columns].clamp(min=0)
    return result


@mutant("2.5", says="the features choose in order, each the best latent that is left")
def features_choose_in_turn(W_toy, W_dec):
    cosines = torch.einsum("ihf,ijh->ifj", F.normalize(W_toy, dim=1), F.normalize(W_dec, dim=2))
    result = torch.zeros(cosines.shape[:2])
    for i, c in enumerate(cosines.clone()):
        for f in range(min(c.shape)):
            j = c[f].argmax()
            result[i, f] = c[f, j]
            c[:, j] = -torch.inf
    return result


@mutant("2.5", says="the pairs are chosen by dot products without unit length")
def paired_by_unnormalized_product(W_toy, W_dec):
    cosines = torch.einsum("ihf,ijh->ifj", F.normalize(W_toy, dim=1), F.normalize(W_dec, dim=2))
    product = torch.einsum("ihf,ijh->ifj", W_toy, W_dec)
    result = torch.zeros(cosines.shape[:2])
    for i, c in enumerate(cosines):
        rows, columns = linear_sum_assignment(product[i].numpy(), maximize=True)
        result[i, rows] = c[rows, columns]
    return result


@mutant("2.5", says="the similarities are in order of size, not in order of the features")
def sorted_by_similarity(W_toy, W_dec):
    cosines = torch.einsum("ihf,ijh->ifj", F.normalize(W_toy, dim=1), F.normalize(W_dec, dim=2))
    result = torch.zeros(cosines.shape[:2])
    for i, c in enumerate(cosines):
        rows, columns = linear_sum_assignment(c.numpy(), maximize=True)
        result[i, rows] = c[rows, columns].sort(descending=True).values
    return result


@mutant("2.5", says="a feature without a latent gets NaN instead of 0")
def missing_ones_are_nan(W_toy, W_dec):
    cosines = torch.einsum("ihf,ijh->ifj", F.normalize(W_toy, dim=1), F.normalize(W_dec, dim=2))
    result = torch.full(cosines.shape[:2], torch.nan)
    for i, c in enumerate(cosines):
        rows, columns = linear_sum_assignment(c.numpy(), maximize=True)
        result[i, rows] = c[rows, columns]
    return result


@mutant("2.5", says="With directions of a length of about 0.01 the similarities are not")
def lengths_clamped_at_a_hundredth(W_toy, W_dec):
    toy = F.normalize(W_toy, dim=1, eps=1e-2)
    dec = F.normalize(W_dec, dim=2, eps=1e-2)
    cosines = torch.einsum("ihf,ijh->ifj", toy, dec)
    result = torch.zeros(cosines.shape[:2])
    for i, c in enumerate(cosines):
        rows, columns = linear_sum_assignment(c.numpy(), maximize=True)
        result[i, rows] = c[rows, columns]
    return result


@mutant("2.5", says="an axis of size 1 is lost")
def squeezed_result(W_toy, W_dec):
    cosines = torch.einsum("ihf,ijh->ifj", F.normalize(W_toy, dim=1), F.normalize(W_dec, dim=2))
    result = torch.zeros(cosines.shape[:2])
    for i, c in enumerate(cosines):
        rows, columns = linear_sum_assignment(c.numpy(), maximize=True)
        result[i, rows] = c[rows, columns]
    return result.squeeze()


@mutant("2.5", says="only the first latents are asked, as many as there are features")
def first_latents_only(W_toy, W_dec):
    W_dec = W_dec[:, : W_toy.shape[-1]]
    cosines = torch.einsum("ihf,ijh->ifj", F.normalize(W_toy, dim=1), F.normalize(W_dec, dim=2))
    result = torch.zeros(cosines.shape[:2])
    for i, c in enumerate(cosines):
        rows, columns = linear_sum_assignment(c.numpy(), maximize=True)
        result[i, rows] = c[rows, columns]
    return result


@variant("2.5")
def latents_in_the_rows(W_toy, W_dec):
    cosines = torch.einsum("ihf,ijh->ijf", F.normalize(W_toy, dim=1), F.normalize(W_dec, dim=2))
    result = torch.zeros(len(cosines), cosines.shape[2])
    for i, c in enumerate(cosines):
        latents, features = linear_sum_assignment(-c.double().numpy())
        result[i, features] = c[latents, features]
    return result


equivalent("2.5", "only the shape of the slice counts", "(:, :, 0): 0 -> -1")


@mutant("2.5", says="the pairs are chosen greedily, the best pair first")
def best_first_greedy(W_toy, W_dec):
    c = torch.einsum("ihf,ijh->ifj", F.normalize(W_toy, dim=1), F.normalize(W_dec, dim=2)).clone()
    out = torch.zeros(c.shape[:2])
    for i in range(len(c)):
        for _ in range(min(c.shape[1:])):
            f, j = divmod(int(c[i].argmax()), c.shape[2])
            out[i, f] = c[i, f, j]
            c[i, f] = -9
            c[i, :, j] = -9
    return out


@mutant("2.5", says="the pairs are chosen by the distance of the directions as they are,")
def pairs_by_distance(W_toy, W_dec):
    c = torch.einsum("ihf,ijh->ifj", F.normalize(W_toy, dim=1), F.normalize(W_dec, dim=2))
    d = torch.cdist(W_toy.mT, W_dec)
    out = torch.zeros(c.shape[:2])
    for i in range(len(c)):
        r, k = linear_sum_assignment(d[i].numpy())
        out[i, r] = c[i, r, k]
    return out


@mutant("2.5", says="the latents' numbers are returned instead of the similarities")
def latent_numbers(W_toy, W_dec):
    c = torch.einsum("ihf,ijh->ifj", F.normalize(W_toy, dim=1), F.normalize(W_dec, dim=2))
    out = torch.zeros(c.shape[:2])
    for i in range(len(c)):
        r, k = linear_sum_assignment(-c[i].numpy())
        out[i, r] = torch.tensor(k).float()
    return out


@mutant("2.5", says="the mean over the axis `n_features` is used for all of it")
def sum_for_all(W_toy, W_dec):
    c = torch.einsum("ihf,ijh->ifj", F.normalize(W_toy, dim=1), F.normalize(W_dec, dim=2))
    out = torch.zeros(c.shape[:2])
    for i in range(len(c)):
        r, k = linear_sum_assignment(-c[i].numpy())
        out[i, r] = c[i, r, k]
    return out.mean(1, keepdim=True).expand_as(out)


@variant("2.5")
def padded_square(W_toy, W_dec):
    c = torch.einsum("ihf,ijh->ifj", F.normalize(W_toy, dim=1), F.normalize(W_dec, dim=2))
    out = []
    for m in c:
        n = max(m.shape)
        sq = torch.full((n, n), -10.0)
        sq[: m.shape[0], : m.shape[1]] = m
        _r, k = linear_sum_assignment(sq.numpy(), maximize=True)
        out.append(torch.tensor([m[f, k[f]] if k[f] < m.shape[1] else 0.0 for f in range(m.shape[0])]))
    return torch.stack(out)


@variant("2.5")
def brute_force(W_toy, W_dec):
    import itertools

    c = torch.einsum("ihf,ijh->ifj", F.normalize(W_toy, dim=1), F.normalize(W_dec, dim=2))
    f, j = c.shape[1:]
    out = torch.zeros(len(c), f)
    for i in range(len(c)):
        m = torch.cat([c[i], torch.full((f, max(0, f - j)), -5.0)], 1)
        best = max(itertools.permutations(range(m.shape[1]), f), key=lambda p: m[range(f), p].sum().item())
        out[i] = torch.tensor([m[k, p].item() if p < j else 0.0 for k, p in enumerate(best)])
    return out


@mutant("2.5", says="a direction of zeros has the similarity -1.0")
def minus_one_for_dead_latents(W_toy, W_dec):
    table = torch.einsum(
        "ihf,ilh->ifl", W_toy / W_toy.norm(dim=1, keepdim=True), W_dec / W_dec.norm(dim=2, keepdim=True)
    ).nan_to_num(-1.0)
    return _assign(table, table)


@mutant("2.5", says="negative similarities count as 0 when the pairs are chosen")
def only_positive_pairs(W_toy, W_dec):
    table = _table(W_toy, W_dec).clamp(min=0)
    return _assign(table, table)


@mutant("2.5", says="in the order of the latents")
def in_order_of_the_latents(W_toy, W_dec):
    table = _table(W_toy, W_dec)
    result = torch.zeros(table.shape[:2])
    for i, one in enumerate(table):
        latents, features = linear_sum_assignment(one.T.numpy(), maximize=True)
        result[i, : len(latents)] = one[features, latents]
    return result


@mutant("2.5", says="the others close ranks")
def without_gaps(W_toy, W_dec):
    return torch.stack(
        [one[linear_sum_assignment(one.numpy(), maximize=True)] for one in _table(W_toy, W_dec)]
    )


@mutant("2.5", says="whose best latent has been taken gets 0")
def taken_is_nothing(W_toy, W_dec):
    best, places = _table(W_toy, W_dec).max(-1)
    for row, taken in zip(best, places.tolist(), strict=True):
        for feature, latent in enumerate(taken):
            if latent in taken[:feature]:
                row[feature] = 0
    return best


@mutant("2.5", says="what is not above 0.95 counts as not found")
def found_or_nothing(W_toy, W_dec):
    matched = _assign(_table(W_toy, W_dec), _table(W_toy, W_dec))
    return torch.where(matched > 0.95, matched, 0)


def _paired(table, values):
    matched = torch.zeros_like(values[:, :, 0])
    for instance, one in enumerate(table):
        rows, columns = linear_sum_assignment(one.numpy(), maximize=True)
        matched[instance, rows] = values[instance, rows, columns]
    return matched


@mutant("2.5", says="itself (in place)")
def normalized_in_place(W_toy, W_dec):
    W_toy /= W_toy.norm(dim=1, keepdim=True).clamp_min(1e-8)
    W_dec /= W_dec.norm(dim=2, keepdim=True).clamp_min(1e-8)
    table = (W_dec @ W_toy).mT
    return _paired(table, table)


@mutant("2.5", says="(or by the square)")
def paired_by_the_square(W_toy, W_dec):
    table = (F.normalize(W_dec, dim=2) @ F.normalize(W_toy, dim=1)).mT
    return _paired(table.square(), table)
