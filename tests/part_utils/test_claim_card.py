"""What a claim card allows to be said, and the sentence that says it."""

import pytest
import torch

from part_utils.claim_card import ClaimCard, claim_card
from part_utils.deep_models import SteeringEffect
from part_utils.hypotheses import ActivatedText, Feature

WORDS = ["red", "blue", "gray", "pink"]


def text(fires_on: set[str]) -> ActivatedText:
    acts = [[2.0 if word in fires_on else 0.0 for word in WORDS]] * 3
    return ActivatedText([WORDS] * 3, [["a novel"] * 4] * 3, torch.tensor(acts))


def card(
    found_on: set[str], held_out: set[str], largest: float = 0.3, after: float = 0.4
) -> tuple[ClaimCard, str]:
    effect = SteeringEffect(torch.tensor(0.1), torch.tensor(after), torch.tensor([0.05, 0.2]))
    direction = torch.tensor([largest**0.5, ((1 - largest) / 2) ** 0.5, -(((1 - largest) / 2) ** 0.5)])
    made = claim_card(
        lambda context, label: context[-1] == "red",
        Feature(0, 0, text(found_on), text(held_out)),
        3 * direction,
        effect,
    )
    return made, made.sentence("the word is 'red'", "names of colors", effect)


def test_what_holds_is_said_with_its_figures() -> None:
    made, sentence = card({"red"}, {"red"})
    assert made.fires
    assert made.writes
    assert made.largest_share == pytest.approx(0.35)
    assert "told by the rule 'the word is 'red'' (F1 1.00 on held-out text, 0.40 for a rule" in sentence
    assert (
        "probability of names of colors from 10.00% to 40.00%; 2 random directions reach 20.00% at most"
        in sentence
    )


@pytest.mark.parametrize(
    ("found_on", "held_out", "says"),
    [
        ({"red"}, {"blue"}, "does not tell it"),
        ({"blue"}, {"red"}, "better on held-out text"),
        ({*WORDS}, {*WORDS}, "does not tell it"),
    ],
    ids=["fails on held-out text", "made from the wrong text", "worse than always saying yes"],
)
def test_no_rule_is_claimed_that_does_not_hold(found_on: set[str], held_out: set[str], says: str) -> None:
    made, sentence = card(found_on, held_out)
    assert not made.fires
    assert made.writes
    assert "When it fires is not claimed" in sentence
    assert says in sentence


@pytest.mark.parametrize("after", [0.05, 0.15, 0.2])
def test_no_effect_is_claimed_that_chance_has_too(after: float) -> None:
    made, sentence = card({"red"}, {"red"}, after=after)
    assert made.fires
    assert not made.writes
    assert "What it writes is not claimed" in sentence


def test_nothing_is_claimed_about_a_copy() -> None:
    made, sentence = card({"red"}, {"red"}, largest=0.6)
    assert not made.fires
    assert not made.writes
    assert sentence.startswith("Nothing is claimed about a latent: one neuron holds 60%")
