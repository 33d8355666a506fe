"""Which known mistakes explain everything that a learner's code returned, in several cases.

One result can have many explanations. A mistake that explains the results of all cases is hardly ever another one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from coursekit.checking.differences import agree


@dataclass
class Outcome:
    """What came back in one case.

    Attributes:
        found: from the learner's code: a tensor, a number or a truth value.
        expected: what is right.
        wrong: for each known mistake what it leads to: a value, several, or a function that returns one.
    """

    found: Any
    expected: Any
    wrong: Mapping[str, Any] = field(default_factory=dict)

    @property
    def right(self) -> bool:
        return same(self.found, self.expected)

    def fits(self, phrase: str) -> bool:
        """Say whether a mistake leads to what was found. A mistake that is unknown in this case makes no difference."""
        if phrase not in self.wrong:
            return self.right
        outcome = self.wrong[phrase]
        for value in outcome if isinstance(outcome, list) else [outcome]:
            with contextlib.suppress(Exception):
                # What a mistake leads to may not exist for these sizes.
                if same(self.found, value() if callable(value) else value):
                    return True
        return False


def same(left: Any, right: Any) -> bool:
    """Say whether two tensors, numbers or truth values are equal within rounding."""
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return left.shape == right.shape and agree(left, right)
    if isinstance(left, int | float) and isinstance(right, int | float):
        return bool(torch.isclose(torch.tensor(float(left)), torch.tensor(float(right)), rtol=0, atol=1e-4))
    return False


def explanations(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the mistakes that lead to what was found in every case, in the order in which they are known."""
    if all(outcome.right for outcome in outcomes):
        return []
    phrases = dict.fromkeys(phrase for outcome in outcomes for phrase in outcome.wrong)
    return [phrase for phrase in phrases if all(outcome.fits(phrase) for outcome in outcomes)]
