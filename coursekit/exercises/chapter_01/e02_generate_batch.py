"""Exercise 1.2: `ToyModel.generate_batch`."""

from __future__ import annotations

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check
from coursekit.exercises.chapter_01.independence import (
    check_counts_vary,
    check_no_value_twice,
    check_rows_are_independent,
    check_values_say_nothing_of_presence,
)
from coursekit.exercises.chapter_01.samples import (
    DRAWS,
    check_batch_is_not_repeated,
    check_batch_of_one,
    check_counts_in_rows,
    check_independence,
    check_repeated_values,
    check_second_batch,
    check_values_are_even,
    check_values_are_plausible,
    drawn_batch,
    share_of,
    wrong_shares,
)
from coursekit.exercises.chapter_01.toy_models import make_model
from part_utils.toy_model import ToyModelConfig


@exercise(
    id="1.2",
    reference="toy_model.ToyModel.generate_batch",
    difficulty=2,
    importance=4,
    minutes=10,
    points=2,
)
def toy_model_generate_batch(check: Check) -> None:
    instances, features = 3, 5
    cfg = ToyModelConfig(instances, features)
    # All probabilities differ, so that none can stand in for another.
    p = torch.linspace(0.1, 0.8, instances * features)[check.permutation(instances * features)]
    p = p.reshape(instances, features)
    importance = torch.linspace(0.5, 0.9, instances * features).reshape(instances, features)
    model = make_model(check, cfg, p, importance)
    full = make_model(check, cfg, torch.ones(instances, features))

    x = drawn_batch(check, model, "generate_batch", (DRAWS, instances, features), DRAWS)
    present = x != 0
    check_values_are_plausible(check, x)
    check_batch_is_not_repeated(check, x)
    check_counts_in_rows(present, p)
    check.shares(
        present,
        p,
        "instances features",
        "each feature of each instance is present as often as its probability says",
        wrong_shares(p),
    )
    check_independence(check, present, "presence", "features come and go independently of one another")
    check_values_are_even(check, x, p)
    check_values_say_nothing_of_presence(check, x)
    everything = drawn_batch(check, full, "generate_batch", (DRAWS // 5, instances, features), DRAWS // 5)
    check_rows_are_independent(check, present, "presence")
    check_counts_vary(check, present, p)
    check_repeated_values(check, everything)
    check_no_value_twice(check, everything)
    check_rows_are_independent(check, everything, "value")
    check_independence(check, everything, "value", "their values are independent of one another")
    _check_extreme(check, everything, 1)
    check_batch_of_one(check, full, "generate_batch", features)
    nothing = make_model(check, cfg, torch.zeros(instances, features))
    _check_extreme(check, drawn_batch(check, nothing, "generate_batch", (101, instances, features), 101), 0)
    check_second_batch(
        check, x, drawn_batch(check, model, "generate_batch", (DRAWS, instances, features), DRAWS)
    )


def _check_extreme(check: Check, x: Tensor, probability: int) -> None:
    """With probability 0 or 1. A handful of exceptions is chance: random numbers that are exactly 0."""
    share = share_of(x != 0)
    check.holds(
        abs(share - probability) < 0.005,
        "right for probabilities of 0 and 1",
        f"With a probability of {probability} a feature should {'always' if probability else 'never'} be present.",
        [f"it is present {100 * share:.1f} % of the time"],
    )
