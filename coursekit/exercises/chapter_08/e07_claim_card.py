"""Exercise 8.7: `claim_card`."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking import fixtures
from coursekit.checking.claims import Check, Mistake
from coursekit.checking.door import Handle
from coursekit.checking.evidence import Outcome, explanations
from coursekit.checking.phrases import explained
from coursekit.exercises.chapter_04.scene import parts_of
from coursekit.exercises.chapter_05.parts import FIXTURES, number_of
from coursekit.exercises.chapter_08.claimed_latents import CASES, Case
from part_utils.claim_card import ENOUGH, MARGIN

WORDS = ["red", "blue", "gray", "pink", "gold", "teal", "lime"]
LABELS = ["a novel", "an essay", "a program"]
NAMES = ("score", "f1_found_on", "largest_share", "fires", "writes")
SCORES = ("precision", "recall", "f1", "baseline_f1")
ROWS, SEQ = 17, 11


@exercise(
    id="8.7",
    reference="claim_card.claim_card",
    difficulty=3,
    importance=5,
    minutes=45,
    points=5,
)
def claim_card(check: Check) -> None:
    judged = [_check_case(check, case) for case in CASES]
    for place, name in enumerate(("fires", "writes")):
        outcomes = [both[place] for both in judged]
        wrong = next((number for number, outcome in enumerate(outcomes) if not outcome.right), None)
        if wrong is not None:
            fitting = explanations(outcomes)
            case = CASES[wrong]
            if fitting:
                said = f"`{name}` is what comes out when {', or when '.join(fitting[:2])}"
                raise Mistake(f"{said}. {_seen_in(case, name, bool(outcomes[wrong].expected))}")
            raise Mistake(_seen_in(case, name, bool(outcomes[wrong].expected)))
    for case in CASES:
        check.holds(True, case.claim, "")
    _check_direction(check)


def _seen_in(case: Case, name: str, right: bool) -> str:
    """Say what is wrong with a claim in one case."""
    if right:
        return f"`{name}` is False, though everything that it asks for holds: {case.claim}."
    overlooked = case.wrong_fires if name == "fires" else case.wrong_writes
    return f"`{name}` is True, and claims too much: {overlooked}."


def _check_direction(check: Check) -> None:
    """The direction that goes in stays as it is."""
    rule, found_on, held_out = _drawn(check, CASES[0])
    effect = check.create(0.1, 0.2, torch.tensor([0.1]), target=f"{FIXTURES}.made_up_effect")
    predicate = check.create(rule.about, rule.wanted, target=f"{FIXTURES}.PlantedRule")
    feature = check.create(WORDS, LABELS, found_on, held_out, target=f"{FIXTURES}.made_up_feature")
    check.leaves_inputs(predicate, feature, _direction(check, 0.3), effect)


_Text = tuple[Tensor, Tensor, Tensor]


def _check_case(check: Check, case: Case) -> tuple[Outcome, Outcome]:
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
    thresholds = {
        "every activation above 0 counts as firing": _score(rule, found_on, held_out, 0.0),
        "its threshold is a share of the largest activation in the held-out text": _score(
            rule, held_out, held_out
        ),
        "its threshold is half of the largest activation": _score(rule, found_on, held_out, 0.5),
        "the two texts have changed places": _score(rule, held_out, found_on),
    }
    _check_score(check, score, right, on_found, thresholds)
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
            "every activation above 0 counts as firing": _score(rule, found_on, found_on, 0.0)[2],
            "it is `largest_share`: two fields have changed places": float(_shares(direction).max()),
        },
    )
    _check_number(largest_share, float(_shares(direction).max()), "largest_share", _wrong_shares(direction))
    numbers = (right, on_found, float(_shares(direction).max()), before, after, torch.tensor(by_chance))
    known_fires, known_writes = _known_claims(*numbers)
    return (
        Outcome(_claim(fires, "fires"), case.fires, known_fires),
        Outcome(_claim(writes, "writes"), case.writes, known_writes),
    )


def _known_claims(
    score: tuple[float, ...],
    on_found: tuple[float, ...],
    share: float,
    before: float,
    after: float,
    by_chance: Tensor,
) -> tuple[dict[str, bool], dict[str, bool]]:
    """What known mistakes claim: whether the latent fires, and what it writes."""
    precision, recall, f1, always = score
    found = on_found[2]
    enough, above, honest, own = f1 >= ENOUGH, f1 > always, f1 <= found + MARGIN, share <= 0.5
    more, beats = after > before, bool((after > by_chance + 1e-9).all())
    fires, writes = enough and above and honest and own, more and beats and own
    as_much = bool((after >= by_chance - 1e-6).all())
    moved = bool((abs(after - before) > (by_chance - before).abs()).all())
    return {
        f"it is not asked whether the F1 is at least {ENOUGH}": above and honest and own,
        "it is not asked whether the F1 is above that of always saying yes": enough and honest and own,
        "it is not asked whether the rule is better on held-out text, by more than `MARGIN`": enough and above and own,
        "it is not asked whether the latent is a copy": enough and above and honest,
        "only copies may be claimed": enough and above and honest and not own,
        "a latent of which one neuron holds exactly half counts as a copy": fires and share < 0.499999,
        "`MARGIN` is asked for the other way round: F1 where the rule was made at most `MARGIN` above the other": (
            enough and above and found <= f1 + MARGIN and own
        ),
        "both F1 may not differ by more than `MARGIN`, in either direction": fires and found <= f1 + MARGIN,
        "the F1 on held-out text may not be the larger one at all: `MARGIN` is left out": fires and f1 <= found,
        f"the F1 has to be above {ENOUGH}, not at least that": fires and f1 > ENOUGH,
        "an F1 as good as that of always saying yes is enough": enough and f1 >= always and honest and own,
        "the precision is asked for, not the F1": (
            precision >= ENOUGH and precision > always and precision <= found + MARGIN and own
        ),
        "the precision is compared with `ENOUGH`, not the F1": precision >= ENOUGH and above and honest and own,
        "the recall is compared with `ENOUGH`, not the F1": recall >= ENOUGH and above and honest and own,
        "the F1 where the rule was made is compared with `ENOUGH`": found >= ENOUGH and above and honest and own,
        "both F1 have to be at least `ENOUGH`": fires and found >= ENOUGH,
        "the F1 of always saying yes is that of the other text": enough and f1 > on_found[3] and honest and own,
        "it is only claimed together with `writes`": fires and writes,
        "`fires` and `writes` have changed places": writes,
        "it is the opposite": not fires,
        "it is always True": True,
        "it is always False": False,
    }, {
        "it is not asked whether the words become likelier": beats and own,
        "it is not compared with the random directions": more and own,
        "it is compared with the mean of the random directions": more and after > float(by_chance.mean()) and own,
        "it is compared with the median of the random directions": more and after > float(by_chance.median()) and own,
        "being above one of the random directions is enough": more and bool((after > by_chance).any()) and own,
        "it is compared with the first random direction": more and after > float(by_chance[0]) and own,
        "being above most of the random directions is enough": (
            more and float((after > by_chance).float().mean()) > 0.6 and own
        ),
        "the *change* is compared with the probabilities of random directions": (
            more and after - before > float(by_chance.max()) and own
        ),
        "a lead of `MARGIN` over chance is asked for; any lead is enough": (
            more and bool((after > by_chance + MARGIN).all()) and own
        ),
        "as likely as with a random direction is enough": after >= before and as_much and own,
        "words that become less likely count as well": moved and own,
        "the change has to be larger *in size* than by chance; a random direction that makes the words less likely "
        "refutes nothing, however much it does": (
            more and moved and own
        ),
        "it is not asked whether the latent is a copy": more and beats,
        "only copies may be claimed": more and beats and not own,
        "a latent of which one neuron holds exactly half counts as a copy": writes and share < 0.499999,
        "it is only claimed together with `fires`": fires and writes,
        "`fires` and `writes` have changed places": fires,
        "it is the opposite": not writes,
        "it is always True": True,
        "it is always False": False,
    }  # fmt: skip


def _check_score(
    check: Check,
    score: Any,
    right: tuple[float, ...],
    on_found: tuple[float, ...],
    thresholds: dict[str, tuple[float, ...]],
) -> None:
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
    for phrase, known in thresholds.items():
        if all(abs(a - b) < 1e-4 for a, b in zip(numbers, known, strict=True)):
            raise Mistake(f"`score` is wrong: {phrase}.", details)
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


def _claim(value: Any, name: str) -> bool:
    one = isinstance(value, Tensor) and value.numel() == 1
    if not ((one and value.dtype == torch.bool) or (not isinstance(value, Tensor) and value in (0, 1))):
        kind = value.type_name if isinstance(value, Handle) else type(value).__name__
        if isinstance(value, Tensor):
            kind = f"tensor of shape {list(value.shape)} with {value.dtype} values"
        raise Mistake(f"`{name}` should be True or False, and is a {kind}.")
    return bool(value)


def _drawn(check: Check, case: Case) -> tuple[fixtures.PlantedRule, _Text, _Text]:
    """A rule and two texts in which what the case is about decides, and nothing is near to a limit."""
    while True:
        wanted = [WORDS[i] for i in check.permutation(7)[:3].tolist()]
        rule = fixtures.PlantedRule(case.about, wanted)
        found_on, held_out = (_text(check, rule, case, place) for place in (0, 1))
        if case.f1[0] == case.f1[1]:
            held_out = _with_f1_of_half(rule, found_on, held_out)
        right, on_found = _score(rule, found_on, held_out), _score(rule, found_on, found_on)
        if (
            case.f1[0] <= right[2] <= case.f1[1]
            and case.precision[0] <= right[0] <= case.precision[1]
            and case.f1_found_on[0] <= on_found[2] <= case.f1_found_on[1]
            and case.lead[0] <= right[2] - on_found[2] <= case.lead[1]
            and (not case.below_always or right[2] < right[3] - 0.04)
            # Whose F1 of always saying yes it is makes a difference.
            and (case.about != "always" or on_found[3] < right[3] - 0.01)
            and (
                case.below_always
                or case.about == "always"
                or right[2] > right[3] + 0.04
                or case.f1[1] < ENOUGH
            )
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


def _with_f1_of_half(rule: fixtures.PlantedRule, found_on: _Text, held_out: _Text) -> _Text:
    """Change activations of a text until the rule's F1 is exactly one half: 4 hits for all that is said or fires."""
    tokens, labels, acts = held_out
    acts, said, limit = acts.clone(), _said(rule, tokens), 0.25 * found_on[2].max()
    for place in acts.flatten().argsort(descending=True).tolist():
        fires = acts > limit
        if 4 * int((fires & said).sum()) == int(fires.sum()) + int(said.sum()):
            break
        below = 4 * int((fires & said).sum()) < int(fires.sum()) + int(said.sum())
        # One hit fewer where F1 is too large, one stray token fewer where it is too small.
        if bool(fires.view(-1)[place]) and bool(said.view(-1)[place]) != below:
            acts.view(-1)[place] = 0.01
    return tokens, labels, acts


def _said(rule: fixtures.PlantedRule, tokens: Tensor) -> Tensor:
    return torch.tensor(
        [[rule([WORDS[i] for i in row[: place + 1]], "") for place in range(SEQ)] for row in tokens.tolist()]
    )


def _score(
    rule: fixtures.PlantedRule, found_on: _Text, on: _Text, threshold: float = 0.25
) -> tuple[float, ...]:
    """Precision, recall, F1 and that of always saying yes."""
    fires = on[2] > threshold * found_on[2].max()
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
    if share == 0.5:
        # Exactly half, in any order of adding up.
        return torch.tensor([1.0, 0.0, -2.0, 1.0, 0.0, -1.0, 1.0]) * 4
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
        "it is the share of the first neuron": float(_shares(direction)[0]),
        "it is divided by the length, not by its square": float(direction.pow(2).max() / direction.norm()),
        "it is the smallest share": float(_shares(direction).min()),
        "it is the mean share": 1 / len(direction),
    }
