"""Exercise 1.5: `ToyModel.generate_correlated_features`."""

from __future__ import annotations

import torch

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake
from coursekit.exercises.chapter_01.independence import (
    check_counts_vary,
    check_no_value_twice,
    check_rows_are_independent,
    check_values_say_nothing_of_presence,
)
from coursekit.exercises.chapter_01.samples import (
    check_batch_is_not_repeated,
    check_counts_in_rows,
    check_independence,
    check_pair_shares,
    check_pairs_in_a_batch_of_one,
    check_repeated_values,
    check_second_batch,
    check_values_are_even,
    check_values_are_plausible,
    drawn_pairs,
    rarely,
    share_text,
)
from part_utils.toy_model import ToyModelConfig


# Exercises 1.5 and 1.6
@exercise(
    id="1.5",
    reference="toy_model.ToyModel.generate_correlated_features",
    difficulty=3,
    importance=3,
    minutes=10,
    points=2,
)
def generate_correlated_features(check: Check) -> None:
    pairs = 3
    p = torch.tensor([0.15, 0.35, 0.6])[check.permutation(3)]
    cfg = ToyModelConfig(n_instances=3, n_features=11, n_correlated_pairs=pairs + 1)
    x, everything, again = drawn_pairs(check, cfg, "generate_correlated_features", p, pairs)
    present = x != 0
    check_values_are_plausible(check, x)
    check_batch_is_not_repeated(check, x)
    first, second = present[..., 0::2], present[..., 1::2]
    if rarely(first != second) is False:
        if rarely(present[..., :pairs] != present[..., pairs:]):
            raise Mistake(
                f"The pairs are laid out as halves: feature 0 is paired with feature {pairs} instead of feature 1."
            )
        if rarely(first & second):
            raise Mistake(
                "The two features of a pair are never present together; here they always should be."
            )
        raise Mistake(
            "The two features of a pair are not always present together: each has a draw of its own for its presence.",
            [
                f"features 0 and 1: {share_text(first[..., 0] != second[..., 0])} of the time only one is present"
            ],
        )
    check.holds(True, "the features of a pair, side by side, are always present together", "")
    spread = p[:, None].expand(-1, 2 * pairs)
    check_counts_in_rows(first, spread[:, ::2])
    either = {"the pair is present where either feature is drawn (p + p - p²)": 2 * spread - spread**2}
    check_pair_shares(check, present, spread, either)
    check_independence(check, first, "presence", "different pairs are independent of each other", pairs=True)
    check_values_are_even(check, x, spread)
    check_values_say_nothing_of_presence(check, x)
    check_rows_are_independent(check, present, "presence")
    check_counts_vary(check, present, spread)
    check_repeated_values(check, everything)
    left, right = everything[..., 0::2], everything[..., 1::2]
    check.holds(
        not rarely(left != right),
        "the two features of a pair have different values",
        "The two features of a pair share one value. Only their presence is shared; each has a value of its own.",
    )
    check_no_value_twice(check, everything)
    check_rows_are_independent(check, everything, "value")
    check_independence(check, everything, "value", "all values are independent of one another")
    check_second_batch(check, x, again)
    check_pairs_in_a_batch_of_one(check, cfg, "generate_correlated_features", pairs)
