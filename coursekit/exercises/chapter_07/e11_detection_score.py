"""Exercise 7.11: `detection_score`."""

from __future__ import annotations

from typing import Any

from coursekit.catalogue import exercise
from coursekit.checking import fixtures
from coursekit.checking.claims import Check, Mistake
from coursekit.checking.phrases import explained
from coursekit.exercises.chapter_05.parts import FIXTURES, number_of, pick

WORDS = ["red", "blue", "gray", "pink", "gold", "teal", "lime"]
LABELS = ["a novel", "an essay", "a program"]
Context = tuple[list[str], str]


@exercise(
    id="7.11",
    reference="detection.detection_score",
    difficulty=2,
    importance=4,
    minutes=12,
    points=3,
)
def detection_score(check: Check) -> None:
    for about, claim in (
        (
            "last",
            "the share of firing contexts that are found and of silent ones that are rejected, averaged",
        ),
        ("previous", "a rule sees the words before the current one"),
        ("length", "a rule sees the words up to the current one, and no more"),
        ("first", "a rule is asked at every word"),
        ("label", "a rule sees the label"),
        ("always", "a rule that always says yes scores one half"),
        ("never", "a rule that never says yes scores one half"),
    ):
        for _ in range(200):
            rule = fixtures.PlantedRule(about, _wanted(check, about))
            firing, silent = _contexts(check, 7 + pick(check, 4)), _contexts(check, 11 + pick(check, 12))
            right = _score(rule, firing, silent)
            wrong = _wrong(rule, firing, silent)
            if about in ("always", "never") or min(abs(right - v) for p, v in wrong.items() if p) > 1e-3:
                break
            if about in ("label", "first", "length") and 0 < right < 1 and abs(right - 0.5) > 0.02:
                break
        handle = check.create(about, rule.wanted, target=f"{FIXTURES}.PlantedRule")
        with explained(
            {"IndexError": "Your code asks for a word that is not there: contexts differ in length."}
        ):
            found = number_of(check.call(handle, firing, silent), "Your result")
        if abs(found - right) > 1e-4:
            for phrase, value in wrong.items():
                if abs(found - value) < 1e-4:
                    raise Mistake(
                        f"Your result is what comes out when {phrase}.",
                        [f"expected {right:.4f}, got {found:.4f}"],
                    )
        check.holds(
            abs(found - right) < 1e-4,
            claim,
            "Your result is not the mean of the share of firing contexts to which the rule says yes and the share of "
            "silent ones to which it says no.",
            [f"expected {right:.4f}, got {found:.4f}"],
        )


def _wanted(check: Check, about: str) -> list[Any]:
    some = [WORDS[i] for i in check.permutation(7)[: 1 + pick(check, 2)].tolist()]
    others: dict[str, list[Any]] = {
        "length": [3, 6],
        "label": [LABELS[pick(check, 3)]],
        "always": [],
        "never": [],
    }
    return others.get(about, some)


def _contexts(check: Check, count: int) -> list[Context]:
    return [
        (
            [WORDS[pick(check, 7)] for _ in range(2 + pick(check, 5))],
            LABELS[pick(check, 3)],
        )
        for _ in range(count)
    ]


def _yes(rule: Any, context: Context, change: str = "") -> bool:
    words, label = context
    places = range(len(words))
    said = [
        rule(
            {
                "word": words[place : place + 1],
                "before": words[:place],
                "after": words[place:],
            }.get(change, words[: place + 1]),
            label,
        )
        for place in places
    ]
    if change == "all":
        return all(said)
    if change == "end":
        return bool(rule(words, label))
    if change == "first":
        return said[0]
    return any(said)


def _score(rule: Any, firing: list[Context], silent: list[Context], change: str = "") -> float:
    found = sum(_yes(rule, context, change) for context in firing) / len(firing)
    rejected = sum(not _yes(rule, context, change) for context in silent) / len(silent)
    return (found + rejected) / 2


def _wrong(rule: Any, firing: list[Context], silent: list[Context]) -> dict[str, float]:
    hits = sum(_yes(rule, context) for context in firing)
    false = sum(_yes(rule, context) for context in silent)
    n, m = len(firing), len(silent)

    def tokens(contexts: list[Context]) -> tuple[int, int]:
        said = [rule(words[: i + 1], label) for words, label in contexts for i in range(len(words))]
        return sum(said), len(said)

    (yes, of), (wrongly, among) = tokens(firing), tokens(silent)
    found, rejected = hits / n, 1 - false / m
    precision = hits / max(hits + false, 1)
    return {
        "all contexts count alike, so that the larger group decides (plain accuracy)": (hits + m - false) / (n + m),
        "words are counted, not contexts": (yes / of + 1 - wrongly / among) / 2,
        "words are counted, all alike": (yes + among - wrongly) / (of + among),
        "only the firing contexts count": found,
        "only the silent contexts count": rejected,
        "the silent contexts to which the rule says *yes* are counted as right": (found + 1 - rejected) / 2,
        "firing and silent contexts are swapped": (1 - found + 1 - rejected) / 2,
        "the two shares are added, not averaged": found + rejected,
        "the two shares are multiplied": found * rejected,
        "the smaller of the two shares is taken": min(found, rejected),
        "F1 is returned, not balanced accuracy": 2 * hits / max(hits + false + n, 1),
        "precision and recall are averaged": (precision + found) / 2,
        "the rule sees the current word alone": _score(rule, firing, silent, "word"),
        "the rule does not see the current word": _score(rule, firing, silent, "before"),
        "the rule is asked at the last word only": _score(rule, firing, silent, "end"),
        "the rule has to say yes to every word": _score(rule, firing, silent, "all"),
        "the rule is asked at the first word only": _score(rule, firing, silent, "first"),
        "the rule sees the words from the current one on": _score(rule, firing, silent, "after"),
    }  # fmt: skip
