"""Exercise 8.7: what may be claimed about a latent, and what it rests on, on one card."""

from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from part_utils.deep_models import SteeringEffect
from part_utils.hypotheses import Feature, HypothesisScore, Rule, score_hypothesis

ENOUGH = 0.5
"""The smallest F1 on held-out text with which a rule is said to tell when a latent fires."""
MARGIN = 0.15
"""How much better than on the text it was made from a rule may be on held-out text. More is no luck."""
COPY = 0.5
"""A latent is a copy of a neuron if that neuron alone holds more than this share of its direction."""


class ClaimCard(NamedTuple):
    """What `claim_card` returns."""

    score: HypothesisScore
    """The rule's, on held-out text."""
    f1_found_on: float
    """The rule's F1 on the text that it was made from."""
    largest_share: float
    """The largest share of the direction's squared length that a single neuron holds."""
    fires: bool
    """Whether the rule may be said to tell when the latent fires."""
    writes: bool
    """Whether the direction may be said to make the words likelier."""

    def sentence(self, rule: str, words: str, effect: SteeringEffect) -> str:
        """Return what the card supports, and no more, as one paragraph.

        Args:
            rule: the rule in words, such as "the word is the name of a number".
            words: what the words of the effect are, such as "names of numbers".
            effect: what was measured.
        """
        if self.largest_share > COPY:
            return (
                f"Nothing is claimed about a latent: one neuron holds {self.largest_share:.0%} of its direction, so it "
                "is a copy of this neuron."
            )
        f1, always = self.score.f1, self.score.baseline_f1
        figures = f"F1 {f1:.2f} on held-out text, {always:.2f} for a rule that always says yes"
        if self.fires:
            when = f"On text of this kind its clear activations are told by the rule '{rule}' ({figures})."
        elif f1 > self.f1_found_on + MARGIN:
            when = (
                f"When it fires is not claimed: the rule '{rule}' is better on held-out text ({f1:.2f}) than on the "
                f"text that it was made from ({self.f1_found_on:.2f}), so it has been made from the wrong one."
            )
        else:
            when = f"When it fires is not claimed: the rule '{rule}' does not tell it ({figures})."
        chance = f"{len(effect.by_chance)} random directions reach {effect.by_chance.max():.2%} at most"
        change = f"from {effect.before:.2%} to {effect.after:.2%}; {chance}"
        if self.writes:
            what = f"Its direction, added, moves the probability of {words} {change}."
        else:
            what = f"What it writes is not claimed: added, it moves the probability of {words} {change}."
        return f"{when} {what}"


def claim_card(
    rule: Rule, feature: Feature, direction: Float[Tensor, "size"], effect: SteeringEffect
) -> ClaimCard:
    """Put on a card what is known about a latent, and what may be claimed.

    Args:
        rule: says when the latent fires, as in exercise 5.7. It was made from `feature.found_on`.
        feature: the latent, with its activations on the text that the rule was made from and on held-out text.
        direction: the latent's direction, of any length. Each of its entries belongs to one neuron.
        effect: what adding the direction does to the probability of some words, beside random directions.

    Returns:
        `ClaimCard(score, f1_found_on, largest_share, fires, writes)`. `fires` is True if the F1 on held-out text is
        at least `ENOUGH` and above that of always saying yes, if it is at most `MARGIN` above that on the text the
        rule was made from, and if no neuron has more than `COPY` of the direction. `writes` is True if the words
        become likelier, by more than with any of the random directions, and again the latent is no copy.
    """
    score = score_hypothesis(rule, feature)
    f1_found_on = score_hypothesis(rule, replace(feature, held_out=feature.found_on)).f1
    squares = direction.pow(2)
    largest_share = float(squares.max() / squares.sum())
    is_copy = largest_share > COPY
    honest = score.f1 <= f1_found_on + MARGIN
    fires = score.f1 >= ENOUGH and score.f1 > score.baseline_f1 and honest and not is_copy
    others = torch.cat([effect.before[None], effect.by_chance])
    writes = bool(effect.after > others.max()) and not is_copy
    return ClaimCard(score, f1_found_on, largest_share, fires, writes)
