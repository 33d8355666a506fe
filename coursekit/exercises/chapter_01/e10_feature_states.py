"""Exercise 1.10: `feature_states`."""

from __future__ import annotations

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, variations
from coursekit.exercises.chapter_01.toy_models import gram_matrix

SHORT, SHARED = 0.5, 0.25  # from here on a feature is represented, and its direction is shared


@exercise(
    id="1.10",
    reference="phase_diagram.feature_states",
    difficulty=3,
    importance=4,
    minutes=15,
    points=3,
)
def feature_states(check: Check) -> None:
    for instances, hidden, features in ((101, 3, 5), (17, 11, 5), (19, 7, 3)):
        W = _clear_cases(check, instances, hidden, features)
        found = check.call(W)
        if isinstance(found, Tensor) and found.is_floating_point():
            raise Mistake(
                f"The states are whole numbers, with which one can look things up; yours are of type {found.dtype}. "
                "Make them with `dtype=torch.long`, or turn them into such at the end: `.long()`."
            )
        check.equal(
            found,
            _states(W),
            "instances features",
            f"right for {instances} instances, {hidden} hidden dimensions and {features} features",
            _wrong_states(W),
        )
    plans = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, -1.0]], [[0.9, 0.1]]])
    check.equal(
        check.call(plans),
        torch.tensor([[2, 0], [0, 2], [1, 1], [2, 0]]),
        "instances features",
        "right for the three plans of two features in one dimension",
        _wrong_states(plans),
    )
    check.equal(
        check.call(plans[:1]),
        torch.tensor([[2, 0]]),
        "instances features",
        "right for one instance",
    )
    # In one dimension a length of 0.5 and an overlap of 0.25 are exact, however they are computed.
    border = torch.tensor([[[1.0, 0.5]], [[-0.5, 1.0]]])
    check.equal(
        check.call(border),
        torch.tensor([[2, 1], [1, 2]]),
        "instances features",
        "a length of just 0.5 is represented, a sum of just 0.25 leaves the dimension to the feature",
        {
            "a length of exactly 0.5 counts as not represented; only what is *below* 0.5 does": torch.tensor(
                [[2, 0], [0, 2]]
            ),
            "a sum of exactly 0.25 counts as superposition; only what is *above* 0.25 does": torch.tensor(
                [[1, 1], [1, 1]]
            ),
            "both borders count for the wrong side: *below* 0.5 is not represented, *above* 0.25 is superposition": (
                torch.tensor([[1, 0], [0, 1]])
            ),
        },
    )
    W = _clear_cases(check, 2, 3, 5)
    W[0, :, 1] = 0
    W[1, :, 4] = 0
    check.equal(
        check.call(W),
        _states(W),
        "instances features",
        "a column of zeros is not represented",
        _wrong_states(W),
    )
    check.leaves_inputs(W)


def _parts(W: Tensor) -> tuple[Tensor, Tensor]:
    """The lengths, and the squared overlap of every direction (second axis) with every column (third)."""
    unit = torch.nn.functional.normalize(W, dim=1)
    return W.norm(dim=1), torch.einsum("ihf,ihg->ifg", unit, W).pow(2)


def _classified(lengths: Tensor, others: Tensor) -> Tensor:
    return torch.where(lengths < SHORT, 0, torch.where(others > SHARED, 1, 2))


def _states(W: Tensor) -> Tensor:
    lengths, overlaps = _parts(W)
    return _classified(lengths, overlaps.sum(2) - lengths**2)


def _clear_cases(check: Check, instances: int, hidden: int, features: int) -> Tensor:
    """Weights with features that are represented and others that are not, none near a border, where rounding decides.

    In some instances all directions are nearly the same, in others nearly orthogonal, so that mistakes differ in
    what comes of them.
    """
    count = 20 * instances
    shape = (count, 1, features)
    long = check.uniform(*shape) < 0.6
    lengths = torch.where(
        long, check.uniform(*shape, low=0.55, high=1.5), check.uniform(*shape, low=0.05, high=0.45)
    )
    together = check.uniform(count, 1, 1, high=1.5) * check.normal(count, hidden, 1)
    directions = torch.nn.functional.normalize(check.normal(count, hidden, features) + together, dim=1)
    W = directions * lengths
    others = _parts(W)[1].sum(2) - lengths[:, 0] ** 2
    clear = (
        ((others - SHARED).abs() > 0.01).all(1)
        & (lengths < SHORT).any(2)[:, 0]
        & (lengths > SHORT).any(2)[:, 0]
    )
    return W[clear][:instances]


def _wrong_states(W: Tensor) -> dict:
    lengths, overlaps = _parts(W)
    own = torch.diag_embed(lengths**2)
    unit = torch.nn.functional.normalize(W, dim=1)
    gram, cosines = gram_matrix(W), gram_matrix(unit)
    plain = torch.einsum("ihf,ihg->ifg", unit, W)
    wrong = variations(
        lambda length, others, names: names[_classified(length, others)],
        {
            "": lengths,
            "the squared length is compared with 0.5": lengths**2,
            "the length is compared with 0.25 instead of 0.5": 2 * lengths,
            "the length is compared with 1 instead of 0.5": lengths / 2,
            "it is not asked whether the feature is represented: the length is left out": lengths + 1,
            "the length is the sum of the absolute values": W.abs().sum(1),
            "the length is compared with half of the mean length, not with 0.5": lengths
            / lengths.mean(1, keepdim=True).clamp(min=1e-12),
            "the length is compared with half of the largest length, not with 0.5": lengths
            / lengths.amax(1, keepdim=True).clamp(min=1e-12),
        },
        {
            "": (overlaps - own).sum(2),
            "the feature itself is counted among the others": overlaps.sum(2),
            "only the length is looked at: every represented feature has a dimension to itself": torch.zeros_like(
                lengths
            ),
            "only the length is looked at: every represented feature is in superposition": torch.ones_like(
                lengths
            ),
            "the overlaps are not squared": plain.sum(2) - lengths,
            "the absolute overlaps are summed instead of the squared ones": plain.abs().sum(2) - lengths,
            "the sum runs over $f$ instead of $g$: the axes of the overlaps are swapped": (
                overlaps - own
            ).sum(1),
            "the direction of $f$ is not scaled to length one": (gram**2 - torch.diag_embed(lengths**4)).sum(
                2
            ),
            "both directions are scaled to length one; only $f$ is": (cosines**2).sum(2)
            - torch.diagonal(cosines**2, dim1=1, dim2=2),
            "the overlaps are averaged over $g$ instead of summed": (overlaps - own).mean(2),
            "the largest overlap is taken instead of the sum": (overlaps - own).amax(2),
            "the others that are not represented are left out of the sum": (
                (overlaps - own) * (lengths >= SHORT)[:, None]
            ).sum(2),
            "the sum is compared with 0.5 instead of 0.25": (overlaps - own).sum(2) / 2,
            "the root of the sum is taken": (overlaps - own).sum(2).clamp(min=0).sqrt(),
            "the overlaps are summed before they are squared": (plain.sum(2) - lengths) ** 2,
            "overlaps below 0 are left out of the sum": plain.relu().square().sum(2) - lengths**2,
            "only the feature before it is looked at": (overlaps - own).roll(1, 2).diagonal(dim1=1, dim2=2),
            "only the feature after it is looked at": (overlaps - own).roll(-1, 2).diagonal(dim1=1, dim2=2),
            "only the features after it are summed": (overlaps - own).triu().sum(2),
            "only the features before it are summed": (overlaps - own).tril().sum(2),
            "only one's own share of the direction is asked for: a dimensionality below 3/4": 1
            - lengths**2 / overlaps.sum(2).clamp(min=1e-12),
            "1 is subtracted for the feature itself, but its part of the sum is $|W_f|^2$": overlaps.sum(2)
            - 1,
            "$|W_f|$ is subtracted for the feature itself, but its part of the sum is $|W_f|^2$": overlaps.sum(
                2
            )
            - lengths,
            **{
                f"only one's own share of the direction is asked for: a dimensionality below {share:g}": (
                    SHARED + share - lengths**2 / overlaps.sum(2).clamp(min=1e-12)
                )
                for share in (0.5, 0.8, 0.9)
            },
        },
        {
            "": torch.tensor([0, 1, 2]),
            "the numbers for superposition (1) and an own dimension (2) are exchanged": torch.tensor(
                [0, 2, 1]
            ),
            "the numbers start at 1 instead of 0": torch.tensor([1, 2, 3]),
            "the numbers run the other way: 2 is for not represented": torch.tensor([2, 1, 0]),
        },
    )
    others = (overlaps - own).sum(2)
    return wrong | {
        "a feature that is too short, but overlapped by others, is called superposition; it is not represented": (
            torch.where(others > SHARED, 1, torch.where(lengths < SHORT, 0, 2))
        ),
        "a feature that is too short, but not overlapped by others, is called own dimension; it is not represented": (
            torch.where(others <= SHARED, 2, torch.where(lengths < SHORT, 0, 1))
        ),
        "the answers to two questions are added up (long enough? not overlapped?): a feature that is too short is 0": (
            (lengths >= SHORT).long() + (others <= SHARED).long()
        ),
        "the axes of `hidden` and `features` are swapped": lambda: _states(W.mT),
        "instance 0 is used for every instance": lambda: _states(W[:1]).expand(len(W), -1),
        "the columns of all instances are taken together": lambda: _classified(
            lengths,
            torch.einsum("ihf,jhg->ifjg", unit, W).pow(2).sum((2, 3)) - lengths**2,
        ),
    }
