"""Exercise 8.7: `claim_card`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking import fixtures
from coursekit.checking.claims import Check, Mistake
from coursekit.checking.door import Handle
from coursekit.checking.phrases import explained
from coursekit.exercises.chapter_04.scene import parts_of
from coursekit.exercises.chapter_05.parts import FIXTURES, number_of
from part_utils.claim_card import ENOUGH, MARGIN

WORDS = ["red", "blue", "gray", "pink", "gold", "teal", "lime"]
LABELS = ["a novel", "an essay", "a program"]
NAMES = ("score", "f1_found_on", "largest_share", "fires", "writes")
SCORES = ("precision", "recall", "f1", "baseline_f1")
ROWS, SEQ = 17, 11


@dataclass(frozen=True)
class Case:
    """A latent that a check makes up, with what may be claimed about it.

    Attributes:
        claim: what a learner's card gets right here.
        miss: the share of the rule's words on which the latent is silent, in the text that the rule was made from and
            in the held-out one.
        stray: the share of other words on which it fires.
        about: what the rule is about.
        share: the largest share of the direction, where it matters.
        effect: probabilities without and with the direction, and with random ones.
        fires, writes: what may be claimed.
        wrong_fires, wrong_writes: what is overlooked if it is claimed all the same.
        f1, f1_found_on: where the two scores have to be.
        lead: by how much the F1 on held-out text may be the larger one.
    """

    claim: str
    miss: tuple[float, float] = (0.15, 0.2)
    stray: tuple[float, float] = (0.02, 0.02)
    about: str = "last"
    share: float = 0.2
    effect: tuple[float, float, tuple[float, ...]] = (0.02, 0.4, (0.01, 0.05, 0.03))
    fires: bool = True
    writes: bool = True
    wrong_fires: str = ""
    wrong_writes: str = ""
    f1: tuple[float, float] = (ENOUGH + 0.02, 1.0)
    f1_found_on: tuple[float, float] = (0.0, 1.0)
    lead: tuple[float, float] = (-1.0, MARGIN - 0.02)


_ITS_COPY = "one neuron holds more than half of the direction's *squared* length: the latent is its copy"

CASES = (
    Case("a rule that holds on both texts, and a direction that beats chance"),
    Case(
        "a rule that fails on held-out text tells nothing",
        miss=(0.05, 0.85),
        stray=(0.0, 0.15),
        fires=False,
        wrong_fires="the rule is good on the text that it was made from alone; what counts is the held-out text",
        f1=(0.0, ENOUGH - 0.02),
        f1_found_on=(ENOUGH + 0.1, 1.0),
    ),
    Case(
        "a rule that is much better on held-out text was made from the wrong one",
        miss=(0.6, 0.05),
        stray=(0.12, 0.0),
        fires=False,
        wrong_fires=f"the rule is better on held-out text than on the text it was made from, by more than {MARGIN}: it "
        "names what it has seen there",
        lead=(MARGIN + 0.02, 1.0),
    ),
    Case(
        "a rule that is a little better on held-out text has been lucky, and nothing else",
        miss=(0.35, 0.2),
        lead=(0.04, MARGIN - 0.02),
    ),
    Case(
        f"an F1 below {ENOUGH} is not enough, even if it is far above that of always saying yes",
        miss=(0.62, 0.62),
        stray=(0.02, 0.04),
        fires=False,
        wrong_fires=f"the F1 on held-out text is above that of always saying yes, but below {ENOUGH}",
        f1=(0.3, ENOUGH - 0.02),
    ),
    Case(
        "a rule that always says yes tells nothing, however often a latent fires",
        about="always",
        miss=(0.2, 0.2),
        fires=False,
        wrong_fires="the F1 is that of the rule that always says yes",
    ),
    Case(
        "a copy of a neuron supports no claim",
        share=0.6,
        fires=False,
        writes=False,
        wrong_fires=_ITS_COPY,
        wrong_writes=_ITS_COPY,
    ),
    Case("a latent whose largest neuron holds less than half is no copy", share=0.4),
    Case(
        "one random direction that does as much is enough to refute an effect",
        effect=(0.02, 0.2, (0.01, 0.31, 0.03)),
        writes=False,
        wrong_writes="one of the random directions does more",
    ),
    Case(
        "words that become less likely are not written",
        effect=(0.3, 0.2, (0.01, 0.11, 0.03)),
        writes=False,
        wrong_writes="the words become *less* likely with the direction, though more so with random ones",
    ),
    Case(
        "a direction that does no more than a random one writes nothing",
        effect=(0.02, 0.25, (0.01, 0.25, 0.03)),
        writes=False,
        wrong_writes="one of the random directions does just as much",
    ),
    Case("a small lead over chance counts", effect=(0.2, 0.24, (0.21, 0.18))),
)


@exercise(
    id="8.7",
    reference="claim_card.claim_card",
    difficulty=3,
    importance=5,
    minutes=45,
    points=5,
)
def claim_card(check: Check) -> None:
    for case in CASES:
        _check_case(check, case)


_Text = tuple[Tensor, Tensor, Tensor]


def _check_case(check: Check, case: Case) -> None:
    rule, found_on, held_out = _drawn(check, case)
    right, on_found = _score(rule, found_on, held_out), _score(rule, found_on, found_on)
    direction = _direction(check, case.share)
    before, after, by_chance = case.effect
    effect = check.create(before, after, torch.tensor(by_chance), target=f"{FIXTURES}.made_up_effect")
    predicate = check.create(rule.about, rule.wanted, target=f"{FIXTURES}.PlantedRule")
    feature = check.create(WORDS, LABELS, found_on, held_out, target=f"{FIXTURES}.made_up_feature")
    with explained(
        {
            "FrozenInstanceError": "A `Feature` cannot be changed. `dataclasses.replace(feature, held_out=…)` returns "
            "a new one in which one field is another."
        }
    ):
        found = parts_of(check, check.call(predicate, feature, direction, effect), NAMES)
    score, f1_found_on, largest_share, fires, writes = found
    _check_score(check, score, right, on_found)
    _check_number(
        f1_found_on,
        on_found[2],
        "f1_found_on",
        {
            "it is the F1 on the *held-out* text": right[2],
            "its threshold is a share of the largest activation in the held-out text": _score(
                rule, held_out, found_on
            )[2],
            "it is the precision": on_found[0],
            "it is the recall": on_found[1],
            "it is the F1 of the rule that always says yes": on_found[3],
        },
    )
    _check_number(largest_share, float(_shares(direction).max()), "largest_share", _wrong_shares(direction))
    _check_claim(fires, case.fires, "fires", case.wrong_fires)
    _check_claim(writes, case.writes, "writes", case.wrong_writes)
    check.holds(True, case.claim, "")


def _check_score(check: Check, score: Any, right: tuple[float, ...], on_found: tuple[float, ...]) -> None:
    if isinstance(score, int | float | Tensor):
        raise Mistake(
            "`score` should be what `score_hypothesis` returns, with precision, recall and F1, and is one number."
        )
    numbers = [
        number_of(value, f"`score.{name}`")
        for value, name in zip(parts_of(check, score, SCORES), SCORES, strict=True)
    ]
    if all(abs(a - b) < 1e-4 for a, b in zip(numbers, right, strict=True)):
        return
    details = [
        f"`{n}`: expected {a:.4f}, got {b:.4f}" for n, a, b in zip(SCORES, right, numbers, strict=True)
    ]
    if all(abs(a - b) < 1e-4 for a, b in zip(numbers, on_found, strict=True)):
        raise Mistake(
            "`score` is what comes out when the rule is scored on the text that it was made from (`found_on`); what "
            "counts is the held-out text.",
            details,
        )
    raise Mistake("`score` is not what `score_hypothesis(rule, feature)` returns.", details)


def _check_number(value: Any, right: float, name: str, known: dict[str, float]) -> None:
    found = number_of(value, f"`{name}`")
    if abs(found - right) < 1e-4:
        return
    details = [f"expected {right:.4f}, got {found:.4f}"]
    for phrase, wrong in known.items():
        if abs(found - wrong) < 1e-4:
            raise Mistake(f"`{name}` is wrong: {phrase}.", details)
    if abs(found - 100 * right) < 1e-2:
        raise Mistake(f"`{name}` is in percent; expected a share between 0 and 1.", details)
    raise Mistake(f"`{name}` is {'NaN' if math.isnan(found) else 'wrong'}.", details)


def _check_claim(value: Any, right: bool, name: str, overlooked: str) -> None:
    one = isinstance(value, Tensor) and value.numel() == 1
    if not ((one and value.dtype == torch.bool) or (not isinstance(value, Tensor) and value in (0, 1))):
        kind = value.type_name if isinstance(value, Handle) else type(value).__name__
        if isinstance(value, Tensor):
            kind = f"tensor of shape {list(value.shape)} with {value.dtype} values"
        raise Mistake(f"`{name}` should be True or False, and is a {kind}.")
    if bool(value) == right:
        return
    if right:
        raise Mistake(f"`{name}` is False, though everything that it asks for holds.")
    raise Mistake(f"`{name}` is True, and claims too much: {overlooked}.")


def _drawn(check: Check, case: Case) -> tuple[fixtures.PlantedRule, _Text, _Text]:
    """A rule and two texts in which what the case is about decides, and nothing is near to a limit."""
    while True:
        wanted = [WORDS[i] for i in check.permutation(7)[:3].tolist()]
        rule = fixtures.PlantedRule(case.about, wanted)
        found_on, held_out = (_text(check, rule, case, place) for place in (0, 1))
        right, on_found = _score(rule, found_on, held_out), _score(rule, found_on, found_on)
        if (
            case.f1[0] <= right[2] <= case.f1[1]
            and case.f1_found_on[0] <= on_found[2] <= case.f1_found_on[1]
            and case.lead[0] <= right[2] - on_found[2] <= case.lead[1]
            and (case.about == "always" or right[2] > right[3] + 0.04 or case.f1[1] < ENOUGH)
            and (case.f1[0] != 0.3 or right[2] > right[3] + 0.04)
        ):
            return rule, found_on, held_out


def _text(check: Check, rule: fixtures.PlantedRule, case: Case, place: int) -> _Text:
    """Tokens, labels and activations of a text in which the latent follows the rule, not always."""
    tokens = torch.randint(len(WORDS), (ROWS, SEQ), generator=check.generator)
    labels = torch.randint(len(LABELS), (ROWS, SEQ), generator=check.generator)
    chance = torch.where(_said(rule, tokens), 1 - case.miss[place], case.stray[place])
    # Between a quarter of the one text's largest activation and a quarter of the other's some are told apart.
    strong = check.uniform(ROWS, SEQ, low=0.56, high=2.0)
    acts = torch.where(check.uniform(ROWS, SEQ) < chance, strong, check.uniform(ROWS, SEQ, high=0.3))
    acts[0, 0] = 2.8 if place == 0 else 2.1
    return tokens, labels, acts


def _said(rule: fixtures.PlantedRule, tokens: Tensor) -> Tensor:
    return torch.tensor(
        [[rule([WORDS[i] for i in row[: place + 1]], "") for place in range(SEQ)] for row in tokens.tolist()]
    )


def _score(rule: fixtures.PlantedRule, found_on: _Text, on: _Text) -> tuple[float, ...]:
    """Precision, recall, F1 and that of always saying yes."""
    fires = on[2] > 0.25 * found_on[2].max()
    said = _said(rule, on[0])
    hits, claimed, true = int((fires & said).sum()), int(said.sum()), int(fires.sum())
    return (
        hits / max(claimed, 1),
        hits / max(true, 1),
        2 * hits / max(claimed + true, 1),
        2 * true / max(fires.numel() + true, 1),
    )


def _direction(check: Check, share: float) -> Tensor:
    """Return a direction that is not of unit length, and whose largest entry is negative and holds this share."""
    direction = check.uniform(13, low=0.6, high=1.2) * (check.uniform(13) - 0.5).sign()
    place = int(check.permutation(13)[0])
    rest = direction.pow(2).sum() - direction[place].pow(2)
    direction[place] = -((rest * share / (1 - share)) ** 0.5)
    return direction * float(check.uniform(1, low=0.3, high=0.6))


def _shares(direction: Tensor) -> Tensor:
    return direction.pow(2) / direction.pow(2).sum()


def _wrong_shares(direction: Tensor) -> dict[str, float]:
    lengths, positive = direction.abs(), direction.max()
    return {
        "*absolute* entries are compared, not squared ones": float(lengths.max() / lengths.sum()),
        "the direction is not brought to unit length: its squares do not add up to 1": float(
            direction.pow(2).max()
        ),
        "the direction is not brought to unit length, and its entries are not squared": float(lengths.max()),
        "its entries are not squared": float(lengths.max() / direction.norm()),
        "its entries are not squared, and a negative one cannot be the largest": float(
            positive / direction.norm()
        ),
        "a negative entry cannot be the largest": float(positive.pow(2) / direction.pow(2).sum()),
        "it is the number of the neuron, not its share": float(lengths.argmax()),
        "it is the smallest share": float(_shares(direction).min()),
        "it is the mean share": 1 / len(direction),
    }
