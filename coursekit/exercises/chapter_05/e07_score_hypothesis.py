"""Exercise 5.7: `score_hypothesis`."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking import fixtures
from coursekit.checking.claims import Check, Mistake
from coursekit.checking.phrases import explained
from coursekit.exercises.chapter_05.parts import FIXTURES, fields, number_of, pick


@exercise(
    id="5.7",
    reference="hypotheses.score_hypothesis",
    difficulty=3,
    importance=5,
    minutes=20,
    points=4,
)
def score_hypothesis(check: Check) -> None:
    words = ["red", "blue", "gray", "pink", "gold", "teal", "lime"]
    labels = ["Austen: a novel", "Austen: a letter", "code: a program"]
    for about, threshold in (
        ("last", None),
        ("previous", 0.4),
        ("first", 0.25),
        ("length", 0.1),
        ("label", 0.3),
        ("last", 0.6),
    ):
        wanted = {
            "last": [words[i] for i in check.permutation(7)[:3].tolist()],
            "previous": [words[i] for i in check.permutation(7)[:3].tolist()],
            "first": [words[i] for i in check.permutation(7)[:3].tolist()],
            "length": [2, 3, 5, 8],
            "label": [labels[pick(check, 3)]],
        }[about]
        rule = fixtures.PlantedRule(about, wanted)
        # Once the largest activation is in the held-out text.
        largest = (1.9, 2.6) if threshold == 0.4 else (2.6, 1.9)
        planted = _planted(check, rule, words, labels, largest)
        _check_score(check, rule, words, labels, *planted, threshold, _CLAIMS[about])
    for about, claim in (
        ("never", "a rule that never says yes scores 0"),
        ("always", "a rule that always says yes has the F1 of the baseline"),
    ):
        rule = fixtures.PlantedRule(about, [])
        _check_score(check, rule, words, labels, *_planted(check, rule, words, labels), None, claim)
    for about, claim in (("last", "right where the latent is silent on the held-out text"), ("never", "")):
        rule = fixtures.PlantedRule(about, words[:3])
        found_on, held_out = _planted(check, rule, words, labels)
        _check_score(check, rule, words, labels, found_on, (*held_out[:2], 0.0 * held_out[2]), None, claim)
    _check_exactly_at_the_threshold(check, words, labels)


def _check_exactly_at_the_threshold(check: Check, words: list[str], labels: list[str]) -> None:
    """The latent fires *above* the share of its largest activation; of a latent that is always silent nothing is."""
    rule = fixtures.PlantedRule("last", words[:2])
    found_on, held_out = _planted(check, rule, words, labels)
    # 0.25 of 2.0 is exactly 0.5, in every floating-point type.
    found_acts = (found_on[2] / found_on[2].max() * 4).round() / 2
    # Its own largest activation has another quarter, 0.25, and some lie between the two.
    acts = (held_out[2] * 8).round().clamp(max=8) / 8
    claim = "an activation that is exactly at the threshold is not above it"
    _check_score(check, rule, words, labels, (*found_on[:2], found_acts), (*held_out[:2], acts), None, claim)
    silent = ((*found_on[:2], 0 * found_on[2]), (*held_out[:2], 0 * held_out[2]))
    _check_score(check, rule, words, labels, *silent, None, "a latent that never fires is not said to fire")


_CLAIMS = {
    "last": "precision, recall and F1 on the held-out text",
    "previous": "the context reaches back to the words before",
    "first": "the context reaches back to the beginning of the row",
    "length": "the context ends with the current word",
    "label": "the label is the current word's",
}


_Text = tuple[Tensor, Tensor, Tensor]


def _planted(
    check: Check,
    rule: fixtures.PlantedRule,
    words: list[str],
    labels: list[str],
    strongest: tuple[float, float] = (2.6, 1.9),
) -> tuple[_Text, _Text]:
    """Tokens, labels and activations of two texts, in which the rule is often right, and not always."""
    texts: list[_Text] = []
    for rows, seq, largest, often in ((17, 11, strongest[0], 0.75), (13, 14, strongest[1], 0.6)):
        tokens = torch.randint(len(words), (rows, seq), generator=check.generator)
        label = torch.randint(len(labels), (rows, seq), generator=check.generator)
        said = torch.tensor(
            [
                [rule([words[i] for i in row[: place + 1]], labels[int(line[place])]) for place in range(seq)]
                for row, line in zip(tokens.tolist(), label.tolist(), strict=True)
            ]
        )
        strong = check.uniform(rows, seq, low=0.1, high=largest)
        weak = check.uniform(rows, seq, low=-0.6, high=1.4).relu()
        follows = check.uniform(rows, seq) < often
        texts.append(
            (tokens, label, torch.where(said & follows, strong, weak * (check.uniform(rows, seq) < 0.5)))
        )
        texts[-1][2][pick(check, rows), pick(check, seq)] = largest
    return texts[0], texts[1]


def _check_score(
    check: Check,
    rule: fixtures.PlantedRule,
    words: list[str],
    labels: list[str],
    found_on: _Text,
    held_out: _Text,
    threshold: float | None,
    claim: str,
) -> None:
    predicate = check.create(rule.about, rule.wanted, target=f"{FIXTURES}.PlantedRule")
    feature = check.create(words, labels, found_on, held_out, target=f"{FIXTURES}.made_up_feature")
    arguments = (predicate, feature) if threshold is None else (predicate, feature, threshold)
    share = 0.25 if threshold is None else threshold
    names = "precision, recall, f1, baseline_f1"
    read = f"{FIXTURES}.activations_of"
    before = check.learner.call(read, feature)
    with explained(
        {
            "ZeroDivisionError": "Your code divides by zero: a rule may never say yes, and a latent "
            "may be silent on the "
            "held-out text. The ratio is 0 then.",
            "IndexError": "Your code asks for a word that is not there. The context of the first "
            "word is that word alone.",
        }
    ):
        found = fields(check, check.call(*arguments), names)
    numbers = [number_of(value, f"`{name}`") for value, name in zip(found, names.split(", "), strict=True)]
    if any(math.isnan(number) for number in numbers):
        name = names.split(", ")[[math.isnan(number) for number in numbers].index(True)]
        raise Mistake(
            f"`{name}` is NaN: a zero is divided by zero. A rule may never say yes, and a latent may be silent on the "
            "held-out text; the ratio is 0 then."
        )
    if not torch.equal(check.learner.call(read, feature), before):
        raise Mistake(
            "Your function changes the activations of `feature` itself (in place). They are needed again: work on a "
            "copy."
        )
    right = _score(rule, words, labels, found_on, held_out, share)

    def same(other: tuple[float, ...]) -> bool:
        return all(abs(a - b) < 1e-4 for a, b in zip(numbers, other, strict=True))

    if same(right):
        check.holds(True, claim, "")
        return
    details = [
        f"`{n}`: expected {a:.4f}, got {b:.4f}"
        for n, a, b in zip(names.split(", "), right, numbers, strict=True)
    ]

    def wrong(**change: Any) -> tuple[float, ...]:
        return _score(rule, words, labels, found_on, held_out, share, **change)

    changes: dict[str, dict[str, Any]] = {
        "an activation exactly at the threshold counts as firing (`>=` for `>`)": {"at": True},
        "the rule is scored on the text that it was made from (`found_on`); what counts is text "
        "that it was not made from": {"on": "found_on"},
        "the rule is scored on the text that it was made from (`found_on`), with the threshold of the held-out text": {
            "on": "found_on",
            "level": "held_out",
        },
        "the threshold is a share of the largest activation in the *held-out* text; take that of `found_on`": {
            "level": "held_out"
        },
        "the threshold is a share of the largest activation in both texts together, and both are scored": {
            "on": "both",
            "level": "both",
        },
        "the threshold is a share of the largest activation in both texts together": {"level": "both"},
        "the threshold is a share of the mean of the rows' largest activations": {"level": "rows"},
        "the threshold is 1 - `threshold` of the largest activation": {"level": "rest"},
        "every activation above 0 counts as firing: the threshold is not used": {"level": "zero"},
        "`threshold` is compared with the activations as it is, and not as a share of the largest one": {
            "level": "absolute"
        },
        "the threshold is 0.25 whatever `threshold` is": {"level": "fixed"},
        "the threshold is a share of each row's largest activation": {"level": "row"},
        "the threshold is a share of the mean activation": {"level": "mean"},
        "the threshold is a quantile of the activations in `found_on`": {"level": "quantile"},
        "the threshold is a quantile of the held-out activations": {"level": "quantile held_out"},
        "the share `threshold` of all tokens counts as firing (a quantile); it is a share of the largest "
        "*activation*": {"level": "quantile rest"},
        "the context lacks the current word": {"context": "before"},
        "the context is the whole row, with words that are still to come": {"context": "row"},
        "the context is the current word alone": {"context": "word"},
        "the context begins with the current word": {"context": "after"},
        "the context is reversed": {"context": "reversed"},
        "the context has a word too many, the next one": {"context": "ahead"},
        **{
            f"the context has only the last {count} words": {"window": count}
            for count in (2, 3, 4, 5, 6, 8, 10, 12)
        },
        "the label is only looked at up to its colon": {"label": "kind"},
        "the last row is left out": {"rows": -1},
        "the label is that of the row's first word": {"label": "first"},
        "the label is that of the row's last word": {"label": "last"},
        "the label is that of the next word": {"label": "next"},
        "the label is that of the previous word": {"label": "previous"},
        "the first word of every row is left out": {"skip": 1},
        "the rule is not asked about the first word of a row, and is taken to say no": {"silent_first": True},
        "only the first row is scored": {"rows": 1},
        "only the first ten rows are scored": {"rows": 10},
        "a context begins in the rows before; it begins with its own row": {"context": "joined"},
        "each row is scored on its own, and the scores are averaged": {"each_row": True},
        "the rule is negated": {"negate": True},
    }
    hits, claimed, fires, total = _counts(rule, words, labels, found_on, held_out, share)
    for phrase, counted in {
        "tokens on which the rule says yes *or* the latent fires count as hits": claimed + fires - hits,
        "every token on which the rule is right counts as a hit, also where both are silent": total
        - claimed
        - fires
        + 2 * hits,
    }.items():
        if same((*_ratios(counted, claimed, fires), right[3])):
            raise Mistake(f"The scores are what comes out when {phrase}.", details)
    # On one text two mistakes may lead to the same scores: then both are said.
    fitting = [phrase for phrase, change in changes.items() if same(wrong(**change))]
    if fitting:
        raise Mistake(f"The scores are what comes out when {', or when '.join(fitting[:2])}.", details)
    precision, recall, f1, baseline = right
    mean_precision, mean_recall, *_ = wrong(each_row=True)
    of_means = 2 * mean_precision * mean_recall / max(mean_precision + mean_recall, 1e-12)
    if same((mean_precision, mean_recall, of_means, baseline)):
        raise Mistake(
            "Precision and recall are taken in each row and then averaged; count hits in all rows together.",
            details,
        )
    base_rate = fires / total
    agreeing = (total - claimed - fires + 2 * hits) / total
    if same((recall, precision, f1, baseline)):
        raise Mistake(
            "`precision` and `recall` are exchanged: precision is hits / claimed, recall is hits / fires.",
            details,
        )
    ideas: dict[int, dict[str, float]] = {
        0: {
            "it is the accuracy: the share of all tokens on which the rule is right": agreeing,
            "it is divided by the number of tokens": hits / total,
            "it is the recall": recall,
            "something is added to its denominator, which is not zero": hits / (claimed + 1),
            "it is the share of tokens on which the rule says yes": claimed / total,
        },
        1: {
            "it is the accuracy: the share of all tokens on which the rule is right": agreeing,
            "it is divided by the number of tokens": hits / total,
            "it is the precision": precision,
            "it is the share of silent tokens that the rule gets right": (total - claimed - fires + hits)
            / max(total - fires, 1),
        },
        2: {
            "it is the accuracy: the share of all tokens on which the rule is right. With a latent "
            "that rarely fires the "
            "rule that never says yes is almost perfect by that": agreeing,
            "it is the arithmetic mean of precision and recall; F1 is the harmonic mean": (precision + recall) / 2,
            "it is the geometric mean of precision and recall; F1 is the harmonic mean": (precision * recall) ** 0.5,
            "it is the product of precision and recall": precision * recall,
            "the factor 2 is missing": f1 / 2,
            "it is hits / (claimed + fires - hits), the overlap of the two": hits / max(claimed + fires - hits, 1),
            "it is the smaller of the two": min(precision, recall),
            "it is the mean of the rows' F1; count hits in all rows together": wrong(each_row=True)[2],
        },
        3: {
            "it is the share of tokens on which the latent fires (the precision of the rule that always says yes), not "
            "its F1": base_rate,
            "it is the F1 of a rule that never says yes": 0.0,
            "it is the accuracy of the rule that never says yes": 1 - base_rate,
            "it is the arithmetic mean of precision and recall of that rule": (base_rate + 1) / 2,
            "it is the share of tokens on which the rule says yes": claimed / total,
            "it is the F1 of the rule itself": f1,
            "it is the F1 of a rule that says yes as often as yours, at "
            "random": 2 * claimed * fires / total / max(claimed + fires, 1),
            "the rows are counted as all there is, and not the tokens": 2
            * fires
            / max(len(held_out[0]) + fires, 1),
            "it is the F1 of a coin": fires / max(total / 2 + fires, 1),
            "it is 1 (the recall of the rule that always says yes)": 1.0,
            "it is computed on the text that the rule was made from": wrong(
                on="found_on"
            )[3],
            "it is the share of tokens on which the latent fires in the text that the rule was made "
            "from": _base_rate(found_on, found_on, share),
        },
    }  # fmt: skip
    for place, name in enumerate(names.split(", ")):
        if abs(numbers[place] - right[place]) < 1e-4:
            continue
        if right[place] == 0.0 and numbers[place] == 1.0:
            raise Mistake(
                f"`{name}` is wrong: where its denominator is zero it is 1; it should be 0 then.", details
            )
        for phrase, value in ideas[place].items():
            if abs(numbers[place] - value) < 1e-4:
                raise Mistake(f"`{name}` is wrong: {phrase}.", details)
        for digits in (1, 2, 3):
            if abs(numbers[place] - round(right[place], digits)) < 1e-7:
                raise Mistake(f"`{name}` is rounded to {digits} digits; leave it as it is.", details)
        if abs(numbers[place] - 100 * right[place]) < 1e-2:
            raise Mistake(f"`{name}` is in percent; expected a share between 0 and 1.", details)
    off = ", ".join(
        f"`{n}`" for n, a, b in zip(names.split(", "), right, numbers, strict=True) if abs(a - b) >= 1e-4
    )
    raise Mistake(f"The scores are wrong: {off}.", details)


def _base_rate(text: _Text, found_on: _Text, share: float) -> float:
    return float((text[2] > share * found_on[2].max()).float().mean())


def _counts(
    rule: fixtures.PlantedRule,
    words: list[str],
    labels: list[str],
    found_on: _Text,
    held_out: _Text,
    share: float,
    on: str = "held_out",
    level: str = "found_on",
    context: str = "",
    window: int = 0,
    label: str = "",
    skip: int = 0,
    silent_first: bool = False,
    rows: int | None = None,
    negate: bool = False,
    at: bool = False,
) -> tuple[int, int, int, int]:
    """Hits, claimed, firing and all tokens, with known mistakes."""
    texts = {"held_out": [held_out], "found_on": [found_on], "both": [found_on, held_out]}[on]
    totals = [0, 0, 0, 0]
    everything = torch.cat([found_on[2].flatten(), held_out[2].flatten()])
    before: list[str] = []
    for tokens, line_labels, acts in texts:
        tokens, line_labels, acts = tokens[:rows], line_labels[:rows], acts[:rows]
        cut = {
            "found_on": share * found_on[2].max(),
            "held_out": share * held_out[2].max(),
            "both": share * everything.max(),
            "zero": torch.tensor(0.0),
            "absolute": torch.tensor(share),
            "fixed": 0.25 * found_on[2].max(),
            "row": share * acts.amax(dim=1, keepdim=True),
            "mean": share * found_on[2].mean(),
            "rows": share * found_on[2].amax(dim=1).mean(),
            "rest": (1 - share) * found_on[2].max(),
            "quantile": found_on[2].flatten().quantile(share),
            "quantile held_out": held_out[2].flatten().quantile(share),
            "quantile rest": found_on[2].flatten().quantile(1 - share),
        }[level]
        fires = acts >= cut if at else acts > cut
        for row, numbers in enumerate(tokens.tolist()):
            line = [words[number] for number in numbers]
            names = [labels[number] for number in line_labels[row].tolist()]
            for place in range(skip, len(line)):
                seen = {
                    "": line[: place + 1],
                    "before": line[:place],
                    "row": line,
                    "word": [line[place]],
                    "after": line[place:],
                    "reversed": line[place::-1],
                    "ahead": line[: place + 2],
                    "joined": [*before, *line[: place + 1]],
                }[context][-window:]
                name = {
                    "": names[place],
                    "first": names[0],
                    "last": names[-1],
                    "next": names[min(place + 1, len(names) - 1)],
                    "previous": names[max(place - 1, 0)],
                    "kind": names[place].partition(":")[0],
                }[label]
                said = rule(seen, name) != negate and not (silent_first and place == 0)
                fired = bool(fires[row, place])
                totals = [a + b for a, b in zip(totals, (said and fired, said, fired, 1), strict=True)]
            before += line
    hits, claimed, firing, total = totals
    return hits, claimed, firing, total


def _score(*args: Any, each_row: bool = False, **change: Any) -> tuple[float, ...]:
    """The four scores, with known mistakes."""
    if each_row:
        rule, words, labels, found_on, held_out, share = args
        rows = [
            _score(rule, words, labels, found_on, tuple(x[row : row + 1] for x in held_out), share, **change)
            for row in range(len(held_out[0]))
        ]
        return tuple(sum(column) / len(rows) for column in zip(*rows, strict=True))
    hits, claimed, fires, total = _counts(*args, **change)
    return (*_ratios(hits, claimed, fires), 2 * fires / max(total + fires, 1))


def _ratios(hits: int, claimed: int, fires: int) -> tuple[float, float, float]:
    """Precision, recall and F1."""
    return hits / max(claimed, 1), hits / max(fires, 1), 2 * hits / max(claimed + fires, 1)
