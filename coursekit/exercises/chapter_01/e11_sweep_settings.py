"""Exercise 1.11: `sweep_settings`."""

from __future__ import annotations

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, Mistakes


@exercise(
    id="1.11",
    reference="phase_diagram.sweep_settings",
    difficulty=2,
    importance=3,
    minutes=12,
    points=2,
)
def sweep_settings(check: Check) -> None:
    for rows, columns, features in ((3, 5, 4), (5, 3, 7), (2, 2, 2), (3, 2, 1), (1, 1, 3), (13, 11, 6)):
        probabilities = check.uniform(rows, low=0.05, high=0.95)
        importances = check.uniform(columns, low=1.5, high=9.0)
        returned = check.call(probabilities, importances, features)
        if not isinstance(returned, tuple | list) or len(returned) != 2:
            raise Mistake("Return two tensors: `(feature_probability, importance)`.")
        probability, importance = (
            check.tensor(value, f"`{name}`")
            for name, value in zip(("feature_probability", "importance"), returned, strict=True)
        )
        outer, inner = _layout(probabilities, importances)
        varied = torch.cat([torch.ones(len(inner), features - 1), inner[:, None]], dim=1)
        size = f"{rows} probabilities, {columns} importances and {features} features"
        check.equal(
            probability,
            outer[:, None].expand(-1, features),
            "instances features",
            f"every pair has an instance, with one probability for all features ({size})",
            {**_wrong_probabilities(probabilities, importances, features), "the two are exchanged": varied},
            what="`feature_probability`",
        )
        check.equal(
            importance,
            varied,
            "instances features",
            f"the importance of the last feature is varied, that of the others is 1 ({size})",
            _wrong_importances(probabilities, importances, features),
            what="`importance`",
        )
    check.leaves_inputs(probabilities, importances, features)


def _layout(probabilities: Tensor, importances: Tensor) -> tuple[Tensor, Tensor]:
    """The probability and the importance of each instance, row by row."""
    grid = torch.meshgrid(probabilities, importances, indexing="ij")
    return grid[0].flatten(), grid[1].flatten()


def _wrong_probabilities(probabilities: Tensor, importances: Tensor, features: int) -> Mistakes:
    outer, _ = _layout(probabilities, importances)
    _, inner = _layout(importances, probabilities)
    last = torch.ones(len(outer), features)
    last[:, -1] = outer
    return {
        "the order is column by column: all probabilities with the first importance come first": inner[
            :, None
        ].expand(-1, features),
        "only the last feature has the probability, the others are always present": last,
        "there is one column only; each feature needs its own, even if they are equal": outer[:, None],
        "there is one instance for each probability, not for each pair": probabilities[:, None].expand(
            -1, features
        ),
        "the probabilities are sorted by size; the order in which they are given stays": [
            probabilities.sort(descending=down)
            .values.repeat_interleave(len(outer) // len(probabilities))[:, None]
            .expand(-1, features)
            for down in (False, True)
        ],
        "the pairs have two axes; the instances need a single one": [
            outer.view(len(probabilities), -1),
            outer.view(len(probabilities), -1, 1).expand(-1, -1, features),
        ],
        "there are always 2 features: `n_features` is not used": outer[:, None].expand(-1, 2),
        "there are always 5 features: `n_features` is not used": outer[:, None].expand(-1, 5),
        "the probability is shared out: it is divided by the number of features": outer[:, None].expand(
            -1, features
        )
        / features,
        "the lists are gone through side by side: the first with the first, the second with the second": (
            probabilities[: len(outer) // len(probabilities), None].expand(-1, features)
        ),
        "sparsity is given ($1 - p$) instead of probability": 1 - outer[:, None].expand(-1, features),
    }


def _wrong_importances(probabilities: Tensor, importances: Tensor, features: int) -> Mistakes:
    outer, inner = _layout(probabilities, importances)
    other, _ = _layout(importances, probabilities)

    def with_column(values: Tensor, column: int, rest: float = 1.0) -> Tensor:
        made = torch.full((len(outer), features), rest)
        made[:, column] = values
        return made

    return {
        "the importance is varied column by column, but the probability row by row: some pairs come twice": with_column(
            other, -1
        ),
        "the importance of the *first* feature is varied": with_column(inner, 0),
        "all features of an instance get the importance that only the last should have": inner[
            :, None
        ].expand(-1, features),
        "the other features have the importance 0 instead of 1": with_column(inner, -1, 0.0),
        "the *other* features have the varied importance, and the last has 1": torch.cat(
            [inner[:, None].expand(-1, features - 1), torch.ones(len(inner), 1)], dim=1
        ),
        "the last *instance* is set instead of the last feature: the axes are mixed up": lambda: torch.cat(
            [torch.ones(len(inner) - 1, features), inner[:features].expand(1, -1)]
        ),
        "there is one column only: the importance of the others is missing": inner[:, None],
        "the probabilities are put into the importance": with_column(outer, -1),
        "the importance is divided by the probability": with_column(inner / outer, -1),
        "the importance of feature 1 is varied, not that of the last": lambda: with_column(inner, 1),
        "the last *two* features get the importance that only the last should have": lambda: torch.cat(
            [with_column(inner, -1)[:, 1:], inner[:, None]], dim=1
        ),
        "the last *instance* is set (`importance[-1]`) instead of the last feature (`importance[:, -1]`)": [
            torch.cat([torch.ones(len(inner) - 1, features), value.expand(1, features)])
            for value in (importances[-1], importances[0])
        ],
        "the importance is brought to a sum of 1 over the features": [
            made / made.sum(1, keepdim=True) for made in (with_column(inner, -1), with_column(inner, 0))
        ],
        "the importances are brought to a mean of 1 over the features": with_column(inner, -1)
        / with_column(inner, -1).mean(1, keepdim=True),
        "each further feature counts less, as in a model of the text: powers of the importance": [
            inner[:, None] ** torch.arange(features),
            inner[:, None] ** torch.arange(features).flip(0),
        ],
        "the importances are fitted in evenly between 1 and that of the last feature": torch.stack(
            [torch.linspace(1, value, features) for value in inner.tolist()]
        ),
        "the reciprocal is given to the other features, and 1 to the last": torch.cat(
            [1 / inner[:, None].expand(-1, features - 1), torch.ones(len(inner), 1)], dim=1
        ),
    }
