"""Exercise 2.5: `match_features`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Alternative, Check, Mistake, Mistakes, agree
from coursekit.checking.door import LearnerError
from coursekit.checking.phrases import explained, unit_rows


@exercise(
    id="2.5",
    reference="matching.match_features",
    difficulty=3,
    importance=4,
    minutes=15,
    points=3,
)
def match_features(check: Check) -> None:
    for features, hidden, latents in ((5, 3, 7), (5, 2, 5)):
        for conflict in (False, True):
            W_toy, W_dec = _features_and_latents(check, features, hidden, latents, conflict)
            claim = (
                "one to one, where two features are nearest to the same latent"
                if conflict
                else "right where each feature has a nearest latent of its own"
            )
            _check_matches(check, W_toy, W_dec, claim)
    W_toy, W_dec = _features_and_latents(check, 5, 3, 7, conflict=False)
    _check_matches(check, W_toy[:1], W_dec[:1], "right for one instance")
    W_toy, W_dec = _features_and_latents(check, 1, 3, 5, conflict=False)
    _check_matches(check, W_toy[:2], W_dec[:2], "right for one feature")
    W_toy = check.normal(2, 3, 1)
    _check_matches(check, W_toy, -W_toy.mT + 0.1 * check.normal(2, 1, 3), "also where a pair is opposite")
    W_toy, W_dec = _features_and_latents(check, 5, 3, 7, conflict=False)
    found = check.tensor(check.call(1e-2 * W_toy, 1e-2 * W_dec))
    check.holds(
        agree(found, _matched(_cosines(W_toy, W_dec)), 2e-3, 1e-3),
        "however short the directions are",
        "With directions of a length of about 0.01 the similarities are not the same as with long ones. What keeps "
        "the length away from 0 is too large (`eps`): a cosine does not depend on lengths.",
    )
    _check_without_direction(check)
    W_toy, W_dec = _features_and_latents(check, 5, 3, 3, conflict=True)
    with explained(
        {"": "With fewer latents than features your code raised an error; a feature without a latent is 0."}
    ):
        _check_matches(check, W_toy, W_dec, "features without a latent get 0")
        W_toy = check.normal(3, 2, 5)
        # One latent, and one feature that is clearly nearer to it than the others.
        W_dec = (W_toy[:, :, 1] + 0.1 * check.normal(3, 2)).unsqueeze(1)
        W_toy[:, :, 1] *= 2
        _check_matches(check, W_toy, W_dec, "right for a single latent")
    check.leaves_inputs(W_toy, W_dec)


def _check_without_direction(check: Check) -> None:
    """The rows of dead latents are set to zero before anything is compared, and a feature may be ignored."""
    W_toy, W_dec = _features_and_latents(check, 5, 3, 7, conflict=False)
    rest = _matched(_cosines(W_toy[..., 1:], W_dec))
    W_toy[..., 0] = 0.0
    # One latent that is dead in an instance, and all of another.
    W_dec[0, int(_cosines(W_toy, W_dec)[0, 1].argmax())] = 0.0
    W_dec[1] = 0.0
    try:
        found = check.tensor(check.call(W_toy, W_dec))
    except LearnerError:
        # scipy refuses NaN, and who says nothing of a row of zeros is told of it.
        return
    if torch.isnan(found).any():
        raise Mistake(
            "A row of zeros in `W_dec` (a dead latent), or a column of zeros in `W_toy`, makes NaN. It has no "
            "direction: its similarity is 0. Keep the length away from zero before you divide."
        )
    expected = _matched(_cosines(W_toy, W_dec))
    expected[2, 1:] = rest[2]
    check.equal(
        found,
        expected,
        "n_instances n_features",
        "a direction of zeros has the similarity 0",
        {
            f"a direction of zeros has the similarity {value} instead of 0": torch.where(
                expected == 0, value, expected
            )
            for value in (-2.0, -1.0, 1.0)
        },
    )


def _check_matches(check: Check, W_toy: Tensor, W_dec: Tensor, claim: str) -> None:
    check.equal(
        check.call(W_toy, W_dec),
        _matched(_cosines(W_toy, W_dec)),
        "n_instances n_features",
        claim,
        _match_mistakes(W_toy, W_dec),
    )


def _cosines(W_toy: Tensor, W_dec: Tensor) -> Tensor:
    return torch.einsum("ihf,ilh->ifl", unit_rows(W_toy, 1), unit_rows(W_dec))


def _assignments(features: int, latents: int) -> Tensor:
    """All ways to give each feature a latent of its own, or latents + f for none: `ways features`."""
    if latents >= features:
        return torch.tensor(list(itertools.permutations(range(latents), features)))
    ways = []
    for lucky in itertools.permutations(range(features), latents):
        way = list(range(latents, latents + features))
        for latent, feature in enumerate(lucky):
            way[feature] = latent
        ways.append(way)
    return torch.tensor(ways)


def _values(table: Tensor, ways: Tensor) -> Tensor:
    """What each assignment gives each feature: `n_instances ways features`."""
    padded = torch.cat([table, table.new_zeros(*table.shape[:2], table.shape[1])], dim=-1)
    return padded[:, torch.arange(table.shape[1]), ways]


def _matched(objective: Tensor, table: Tensor | None = None) -> Tensor:
    """The entries of the table (the objective itself if None) at the assignment with the largest objective."""
    ways = _assignments(*objective.shape[1:])
    best = _values(objective, ways).sum(-1).argmax(dim=-1)
    chosen = _values(objective if table is None else table, ways)
    return chosen[torch.arange(len(objective)), best]


def _greedy(table: Tensor) -> Tensor:
    """Always the best pair that is left."""
    result = torch.zeros_like(table[:, :, 0])
    for instance, left in enumerate(table.clone()):
        for _ in range(min(left.shape)):
            feature, latent = divmod(int(left.argmax()), left.shape[1])
            result[instance, feature] = table[instance, feature, latent]
            left[feature, :], left[:, latent] = -torch.inf, -torch.inf
    return result


def _one_after_the_other(table: Tensor) -> Tensor:
    """Each feature, in order, takes the best latent that is left."""
    result = torch.zeros_like(table[:, :, 0])
    for instance, left in enumerate(table.clone()):
        for feature in range(min(left.shape)):
            latent = int(left[feature].argmax())
            result[instance, feature] = table[instance, feature, latent]
            left[:, latent] = -torch.inf
    return result


def _in_order_of_latents(table: Tensor, length: int) -> Tensor:
    """The similarities of the best pairs, in the order of their latents."""
    ways = _assignments(*table.shape[1:])
    best = ways[_values(table, ways).sum(-1).argmax(dim=-1)]
    found = torch.stack([row[way.argsort()] for row, way in zip(_matched(table), best, strict=True)])
    return found[:, :length]


def _with_scipy(table: Tensor) -> Tensor:
    """The best assignment where there are too many to try them all."""
    from scipy.optimize import linear_sum_assignment

    return torch.stack([one[linear_sum_assignment(one.numpy(), maximize=True)] for one in table])


def _match_mistakes(W_toy: Tensor, W_dec: Tensor) -> Mistakes:
    cosines = _cosines(W_toy, W_dec)
    dots = torch.einsum("ihf,ilh->ifl", W_toy, W_dec)
    with_dec = torch.einsum("ihf,ilh->ifl", W_toy, unit_rows(W_dec))
    with_toy = torch.einsum("ihf,ilh->ifl", unit_rows(W_toy, 1), W_dec)
    first = _cosines(W_toy, W_dec[:1].expand_as(W_dec))
    wrong_axis = torch.einsum("ihf,ilh->ifl", unit_rows(W_toy, 2), unit_rows(W_dec, 1))
    wrong_toy_axis = torch.einsum("ihf,ilh->ifl", unit_rows(W_toy, 2), unit_rows(W_dec))
    wrong_dec_axis = torch.einsum("ihf,ilh->ifl", unit_rows(W_toy, 1), unit_rows(W_dec, 1))
    features, latents = cosines.shape[1:]

    def first_come() -> Tensor:
        """Each feature's best latent; 0 if an earlier feature has it."""
        best, places = cosines.max(-1)
        earlier = (places[:, :, None] == places[:, None, :]).tril(-1).any(-1)
        return torch.where(earlier, 0.0, best)

    mistakes: dict[str, Alternative | Sequence[Alternative]] = {
        "negative similarities are set to 0": lambda: _matched(cosines).clamp(min=0),
        "each feature takes its best latent, even if another feature has it already (not one to one)": cosines.amax(
            -1
        ),
        "the pairs are chosen greedily, the best pair first; another choice has a larger sum": _greedy(
            cosines
        ),
        "the features choose in order, each the best latent that is left; another choice has a larger sum": (
            _one_after_the_other(cosines)
        ),
        "the sum is made as *small* as possible (`linear_sum_assignment` minimizes by default)": lambda: (
            _matched(-cosines, cosines)
        ),
        "opposite directions count as similar (the absolute value is taken)": lambda: _matched(cosines.abs()),
        "the pairs are chosen by absolute value, where opposite directions count as similar (or by the square)": [
            lambda: _matched(cosines.abs(), cosines),
            lambda: _matched(cosines.square(), cosines),
        ],
        "the pairs are chosen by dot products without unit length": lambda: _matched(dots, cosines),
        "the directions are not brought to unit length": lambda: _matched(dots),
        "the rows of `W_dec` are not brought to unit length": lambda: _matched(with_toy),
        "the columns of `W_toy` are not brought to unit length": lambda: _matched(with_dec),
        "the lengths are taken along the wrong axes": lambda: _matched(wrong_axis),
        "the lengths of `W_toy` are taken along the wrong axis": lambda: _matched(wrong_toy_axis),
        "the lengths of `W_dec` are taken along the wrong axis": lambda: _matched(wrong_dec_axis),
        "the similarities with all latents are added up": cosines.sum(-1),
        "the mean similarity with all latents is returned": cosines.mean(-1),
        "the whole table is returned": cosines,
        "1 is returned for a feature that was found and 0 for others": lambda: (
            _matched(cosines) > 0.95
        ).float(),
        "the pairs and similarities of instance 0's decoder are used for every instance": lambda: _matched(
            first
        ),
        "instance 0's pairs are used for every instance": lambda: _matched(
            cosines[:1].expand_as(cosines), cosines
        ),
        "the instances are averaged before the pairs are chosen": lambda: _matched(
            cosines.mean(0, keepdim=True).expand_as(cosines), cosines
        ),
        "each *latent's* best feature is returned": [cosines.amax(1), cosines.amax(1)[:, :features]],
        "a feature whose best latent has been taken gets 0, where another latent is left": first_come,
        "negative similarities count as 0 when the pairs are chosen": [
            lambda: _matched(cosines.clamp(min=0)),
            lambda: _matched(cosines.clamp(min=0), cosines),
        ],
        "what is not above 0.95 counts as not found, and is set to 0": lambda: torch.where(
            _matched(cosines) > 0.95, _matched(cosines), 0.0
        ),
        "the similarities are in the order of the latents, not in order of the features": [
            lambda: _in_order_of_latents(cosines, features),
            lambda: _in_order_of_latents(cosines, min(features, latents)),
        ],
        "the latents of all instances are asked; every instance has its own": lambda: _with_scipy(
            torch.einsum("ihf,jlh->ifjl", unit_rows(W_toy, 1), unit_rows(W_dec)).flatten(2)
        ),
        "the squared similarities are returned": lambda: _matched(cosines, cosines.square()),
        "axes of length 1 are dropped (`squeeze`); every axis stays": lambda: _matched(cosines).squeeze(),
        "not the similarity but its sum is returned": lambda: _matched(cosines).sum(-1),
        "the mean over the features is returned": lambda: _matched(cosines).mean(-1),
        "the pairs are chosen by the distance of the directions as they are, not by their angle": lambda: (
            _matched(-torch.cdist(W_toy.mT, W_dec), cosines)
        ),
        "the latents' numbers are returned instead of the similarities": lambda: _matched(
            cosines, torch.arange(latents).expand_as(cosines).float()
        ),
        "the similarities are in order of size, not in order of the features": lambda: (
            _matched(cosines).sort(dim=-1, descending=True).values
        ),
        "the directions are not unit length and each feature takes its best latent (not one to one)": dots.amax(
            -1
        ),
    }
    if latents >= features:
        mistakes["only the first latents are asked, as many as there are features"] = lambda: _matched(
            cosines[..., :features]
        )
        diagonal = cosines[:, torch.arange(features), torch.arange(features)]
        mistakes["feature and latent of the same number are paired"] = diagonal
    else:
        padded = torch.cat([cosines, cosines.new_full((*cosines.shape[:2], features - latents), -1.0)], -1)
        mistakes["a feature without a latent gets -1 instead of 0"] = lambda: _matched(padded)
        matched = _matched(cosines)
        mistakes["a feature without a latent gets NaN instead of 0"] = torch.where(
            matched == 0, torch.nan, matched
        )
        mistakes["a feature without a latent gets the best similarity that there is (not one to one)"] = (
            torch.where(matched == 0, cosines.amax(-1), matched)
        )
        packed = torch.stack([row[row != 0] for row in matched])
        mistakes["features without a latent are left out: the others close ranks"] = [
            packed,
            torch.cat([packed, packed.new_zeros(len(packed), features - latents)], dim=1),
        ]
    return mistakes


def _features_and_latents(
    check: Check, features: int, hidden: int, latents: int, conflict: bool
) -> tuple[Tensor, Tensor]:
    """Directions of two instances or more, of any length, whose best assignment is clearly the best.

    With `conflict` two features are nearest to the same latent, and taking the best pair first is not best.
    Without, each feature has a nearest latent of its own (possible where there are enough latents).
    """
    ways = _assignments(features, latents)
    pairs: list[tuple[Tensor, Tensor]] = []
    while len(pairs) < 3:
        # Many candidates at once.
        W_toy, W_dec = check.normal(60, hidden, features), check.normal(60, latents, hidden)
        W_toy *= check.uniform(60, 1, features, low=0.3, high=2.0)
        W_dec *= check.uniform(60, latents, 1, low=0.3, high=2.0)
        if not conflict:
            # Every feature has its latent, somewhere, and slightly off.
            order = torch.argsort(check.uniform(60, latents), dim=-1)[:, :features]
            near = unit_rows(W_toy.mT) + 0.1 * check.normal(60, features, hidden)
            rows = torch.arange(60).unsqueeze(-1)
            W_dec[rows, order] = near * W_dec[rows, order].norm(dim=-1, keepdim=True)
        table = _cosines(W_toy, W_dec)
        sums = _values(table, ways).sum(-1)
        best = sums.topk(2).values
        clear = best[:, 0] - best[:, 1] > 0.02
        nearest = table.argmax(-1)
        shared = torch.tensor([len(set(row.tolist())) < features for row in nearest])
        greedy_is_worse = best[:, 0] - _greedy(table).sum(-1) > 0.02
        good = clear & (shared & greedy_is_worse if conflict else ~shared)
        pairs += [(W_toy[i], W_dec[i]) for i in good.nonzero().flatten().tolist()]
    return torch.stack([pair[0] for pair in pairs[:3]]), torch.stack([pair[1] for pair in pairs[:3]])
