"""Exercise 7.11: `detection_score`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

from coursekit.catalogue import exercise
from coursekit.checking import fixtures
from coursekit.checking.claims import Check, Mistake
from coursekit.checking.evidence import Outcome, explanations
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
    outcomes = []
    for about in KINDS:
        for _ in range(40):
            rule = fixtures.PlantedRule(about, _wanted(check, about))
            firing, silent = _contexts(check, 7 + pick(check, 8)), _contexts(check, 11 + pick(check, 16))
            # Some come twice, and count twice.
            firing, silent = [*firing, firing[0], firing[1]], [*silent, silent[-1]]
            right = _score(rule, firing, silent)
            if about in ("always", "never", "nothing"):
                break
            wrong_here = _wrong(rule, firing, silent)
            shows = all(abs(right - wrong_here[phrase]()) > 1e-3 for phrase in MUST_SHOW.get(about, ()))
            if 0.1 < right < 0.9 and abs(right - 0.5) > 0.02 and shows:
                break
        handle = check.create(about, rule.wanted, target=f"{FIXTURES}.PlantedRule")
        before = copy.deepcopy((firing, silent))
        with explained(
            {"IndexError": "Your code asks for a word that is not there: contexts differ in length."}
        ):
            found = number_of(check.call(handle, firing, silent), "Your result")
        if (firing, silent) != before:
            raise Mistake(
                "Your function changes the contexts that it is given (such as with `words.pop()`). Leave them: "
                "`words[: i + 1]` makes a new list."
            )
        outcomes.append(Outcome(found, right, _wrong(rule, firing, silent)))
    wrong = next((outcome for outcome in outcomes if not outcome.right), None)
    if wrong is None:
        for claim in KINDS.values():
            check.holds(True, claim, "")
        return
    details = [f"expected {wrong.expected:.4f}, got {wrong.found:.4f}"]
    fitting = explanations(outcomes)
    if fitting:
        raise Mistake(f"Your result is what comes out when {', or when '.join(fitting[:2])}.", details)
    raise Mistake(
        "Your result is not the mean of the share of firing contexts to which the rule says yes and the share of "
        "silent ones to which it says no.",
        details,
    )


KINDS = {
    "last": "the share of firing contexts that are found and of silent ones that are rejected, averaged",
    "previous": "a rule sees the words before the current one",
    "length": "a rule sees the words up to the current one, and no more",
    "first": "a rule is asked at every word",
    "label": "a rule sees the label",
    "nothing": "a rule is never asked without a word",
    "always": "a rule that always says yes scores one half",
    "never": "a rule that never says yes scores one half",
}
ONCE = "each context counts once, however often it stands in the list"
ALONE, WINDOW = (
    "the rule sees the current word alone",
    "the rule sees only some of the words before the current one",
)
MUST_SHOW = {"last": (ONCE,), "previous": (ALONE,), "length": (WINDOW,)}


def _wanted(check: Check, about: str) -> list[Any]:
    some = [WORDS[i] for i in check.permutation(7)[: 1 + pick(check, 2)].tolist()]
    others: dict[str, list[Any]] = {
        "length": [3, 6],
        "label": [LABELS[pick(check, 3)]],
        "nothing": [LABELS[pick(check, 3)]],
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
                "window": words[max(0, place - 2) : place + 1],
            }.get(change, words[: place + 1]),
            "" if change == "no label" else label,
        )
        for place in places
    ]
    if change == "not the first":
        return any(said[1:])
    if change == "not the last":
        return any(said[:-1])
    if change == "asked with nothing":
        return any(said) or bool(rule([], label))
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


def _wrong(rule: Any, firing: list[Context], silent: list[Context]) -> dict[str, Callable[[], float]]:
    n, m = len(firing), len(silent)
    hits, false = (sum(_yes(rule, context) for context in part) for part in (firing, silent))
    found, rejected = hits / n, 1 - false / m

    def words_said(contexts: list[Context]) -> list[list[bool]]:
        return [[rule(words[: i + 1], label) for i in range(len(words))] for words, label in contexts]

    def by_words(alike: bool) -> float:
        (yes, of), (wrongly, among) = (
            (sum(map(sum, said)), sum(map(len, said))) for said in (words_said(firing), words_said(silent))
        )
        return (yes + among - wrongly) / (of + among) if alike else (yes / of + 1 - wrongly / among) / 2

    def shares_of_words() -> float:
        yes, wrongly = (
            sum(sum(said) / len(said) for said in words_said(part)) / len(part) for part in (firing, silent)
        )
        return (yes + 1 - wrongly) / 2

    def changed(change: str) -> Callable[[], float]:
        return lambda: _score(rule, firing, silent, change)

    def cut(count: int, other: int) -> Callable[[], float]:
        return lambda: _score(rule, firing[:count], silent[:other])

    def with_label(part: list[Context], label: str) -> list[Context]:
        return [(words, label) for words, _ in part]

    def first_label() -> float:
        label = firing[0][1]
        return _score(rule, with_label(firing, label), with_label(silent, label))

    def words_of_firing() -> float:
        shares = sum(sum(said) / len(said) for said in words_said(firing)) / n
        return (shares + rejected) / 2

    def once(part: list[Context]) -> list[Context]:
        return list({(tuple(words), label): (words, label) for words, label in part}.values())

    right = (found + rejected) / 2
    precision = hits / max(hits + false, 1)
    numbers = {
        "all contexts count alike, so that the larger group decides (plain accuracy)": (hits + m - false) / (n + m),
        "only the firing contexts count": found,
        "only the silent contexts count": rejected,
        "the silent contexts to which the rule says *yes* are counted as right": (found + 1 - rejected) / 2,
        "firing and silent contexts are swapped": (1 - found + 1 - rejected) / 2,
        "the two shares are added, not averaged": found + rejected,
        "1 is subtracted from the sum of the two shares, so that a guess scores 0": found + rejected - 1,
        "the two shares are multiplied": found * rejected,
        "the geometric mean of the two shares is taken": (found * rejected) ** 0.5,
        "the harmonic mean of the two shares is taken": 2 * found * rejected / max(found + rejected, 1e-9),
        "the smaller of the two shares is taken": min(found, rejected),
        "the larger of the two shares is taken": max(found, rejected),
        "F1 is returned, not balanced accuracy": 2 * hits / max(hits + false + n, 1),
        "precision is returned, not balanced accuracy": precision,
        "precision and recall are averaged": (precision + found) / 2,
        "each count is divided by the number of contexts of the *other* kind": (hits / m + (m - false) / n) / 2,
        "a score below one half is turned round": max(right, 1 - right),
        "it is in percent": 100 * right,
    }  # fmt: skip
    known: dict[str, Callable[[], float]] = {p: partial(float, value) for p, value in numbers.items()}
    return known | {
        "words are counted, not contexts": lambda: by_words(False),
        "words are counted, all alike": lambda: by_words(True),
        "the share of its words is taken for each context, not whether there is one": shares_of_words,
        ALONE: changed("word"),
        WINDOW: changed("window"),
        "the rule does not see the current word": changed("before"),
        "the rule is asked at the last word only": changed("end"),
        "the rule has to say yes to every word": changed("all"),
        "the rule is asked at the first word only": changed("first"),
        "the first word is never asked about": changed("not the first"),
        "the last word is never asked about": changed("not the last"),
        "the rule is also asked before the first word, with no word at all": changed("asked with nothing"),
        "the rule sees the words from the current one on": changed("after"),
        "the label of the first context is used for all": first_label,
        "the rule does not see the label": changed("no label"),
        "the share of its words is taken for each firing context, not whether there is one": words_of_firing,
        "only the first ten contexts of each kind count": cut(10, 10),
        "only as many contexts of either kind count as there are of the fewer": cut(min(n, m), min(n, m)),
        ONCE: lambda: _score(rule, once(firing), once(silent)),
    }  # fmt: skip
