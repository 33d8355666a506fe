"""Exercise 1.6: `ToyModel.generate_anticorrelated_features`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake
from coursekit.checking.door import LearnerError
from coursekit.exercises.chapter_01.independence import (
    check_counts_vary,
    check_no_value_twice,
    check_rows_are_independent,
    check_values_say_nothing_of_presence,
)
from coursekit.exercises.chapter_01.samples import (
    check_batch_is_not_repeated,
    check_independence,
    check_pair_shares,
    check_pairs_in_a_batch_of_one,
    check_second_batch,
    check_values_are_even,
    check_values_are_plausible,
    drawn_pairs,
    rarely,
    share_text,
)
from coursekit.exercises.chapter_01.toy_models import make_model
from part_utils.toy_model import ToyModelConfig


@exercise(
    id="1.6",
    reference="toy_model.ToyModel.generate_anticorrelated_features",
    difficulty=3,
    importance=3,
    minutes=15,
    points=2,
)
def generate_anticorrelated_features(check: Check) -> None:
    pairs = 3
    # A half is just possible: then one of the two is always present.
    p = torch.tensor([0.12, 0.3, 0.5])[check.permutation(3)]
    cfg = ToyModelConfig(n_instances=3, n_features=11, n_anticorrelated_pairs=pairs + 1)
    with _one_half_is_possible(check, cfg, pairs):
        x, everything, again = drawn_pairs(check, cfg, "generate_anticorrelated_features", p, pairs)
    present = x != 0
    check_values_are_plausible(check, x)
    check_batch_is_not_repeated(check, x)
    first, second = present[..., 0::2], present[..., 1::2]
    if (first & second).any():
        if not (present[..., :pairs] & present[..., pairs:]).any():
            raise Mistake(
                f"The pairs are laid out as halves: feature 0 excludes feature {pairs} instead of feature 1."
            )
        if rarely(first != second):
            raise Mistake(
                "The two features of a pair are always present together; here they never should be."
            )
        raise Mistake(
            "Both features of a pair are sometimes present. They should never be: decide about both with one draw.",
            [f"features 0 and 1: both present {share_text((first & second)[..., 0])} of the time"],
        )
    check.holds(True, "the two features of a pair, side by side, are never present together", "")
    spread = p[:, None].expand(-1, 2 * pairs)
    first_in_pair = torch.arange(2 * pairs) % 2 == 0
    mistakes = {
        "p is the probability of the pair, so that each of its features gets half of it": spread / 2,
        "the features are drawn independently and cases with both are thrown away": spread * (1 - spread),
        "the second feature gets a chance only where the first is absent": torch.where(
            first_in_pair, spread, spread * (1 - spread)
        ),
        "one of the two is always present": torch.where(first_in_pair, spread, 1 - spread),
        "one of the two is always present, and a coin decides which": torch.full_like(spread, 0.5),
        "the second feature of a pair is always absent": torch.where(first_in_pair, spread, 0.0),
        "the first feature of a pair is always absent": torch.where(first_in_pair, 0.0, spread),
        "the features are drawn independently, and of two that come together one is dropped": spread
        - spread**2 / 2,
        "the second feature's stretch is twice as long as the first's": torch.where(
            first_in_pair, spread, (2 * spread).clamp(max=1 - spread)
        ),
        "both features' stretches are twice as long as they should be": (2 * spread).clamp(max=1),
        "one coin, tossed once for the whole batch, decides which of the two it is": torch.where(
            present.double().mean(0) > 1e-3, 2 * spread, 0
        ),
    }
    check_pair_shares(check, present, spread, mistakes)
    check_independence(check, first, "presence", "different pairs are independent of each other", pairs=True)
    check_rows_are_independent(check, present, "presence")
    check_counts_vary(check, present, spread)
    check_values_are_even(check, x, spread)
    check_values_say_nothing_of_presence(check, x)
    check_no_value_twice(check, everything)
    check_rows_are_independent(check, everything, "value")
    check_second_batch(check, x, again)
    check_pairs_in_a_batch_of_one(check, cfg, "generate_anticorrelated_features", pairs)
    for above in (0.7, 0.52):
        _check_refused(check, cfg, pairs, above)


def _check_refused(check: Check, cfg: ToyModelConfig, pairs: int, above: float) -> None:
    # Only one instance asks for the impossible.
    impossible = make_model(check, cfg, torch.tensor([[0.2], [above], [0.1]]))
    wanted = "expected a ValueError that says that the probability may be 0.5 at most"
    try:
        check.method(impossible, "generate_anticorrelated_features", 101, pairs)
    except LearnerError as error:
        check.holds(
            error.kind == "ValueError",
            "a probability above 0.5 raises a ValueError",
            f"With a probability of {above} your code raises `{error.kind}`; {wanted}.",
        )
        check.holds(
            error.said != "",
            "which says what is wrong",
            f"With a probability of {above} your code raises `{error.kind}` without a message; {wanted}.",
        )
    else:
        raise Mistake(
            f"With a probability of {above} in one instance your code draws something all the same; {wanted}.",
            ["two features that are never together cannot each be there more than half of the time"],
        )


@contextmanager
def _one_half_is_possible(check: Check, cfg: ToyModelConfig, pairs: int) -> Iterator[None]:
    """Tell code that refuses a probability of exactly one half from code that refuses any."""
    try:
        yield
    except LearnerError as error:
        if error.kind != "ValueError":
            raise
        possible = make_model(check, cfg, torch.full((cfg.n_instances, 1), 0.3))
        try:
            check.method(possible, "generate_anticorrelated_features", 11, pairs)
        except LearnerError:
            raise Mistake(
                "With a probability of 0.3 your code raises a ValueError. Only a probability above 0.5 is impossible.",
                str(error).splitlines(),
            ) from None
        raise Mistake(
            "With a probability of exactly 0.5 your code raises a ValueError. One half is just possible: then one of "
            "the two is always present. Only more than that is refused (`>`, not `>=`).",
            str(error).splitlines(),
        ) from None
