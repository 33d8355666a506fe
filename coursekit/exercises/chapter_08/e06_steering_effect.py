"""Exercise 8.6: `steering_effect`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Alternative, Check, Mistake
from coursekit.checking.door import LearnerError
from coursekit.exercises.chapter_04.scene import parts_of, scalar

NAMES = ("before", "after", "by_chance")


@exercise(
    id="8.6",
    reference="deep_models.steering_effect",
    difficulty=2,
    importance=4,
    minutes=15,
    points=2,
)
def steering_effect(check: Check) -> None:
    for d_vocab, n in ((23, 5), (31, 3), (19, 1)):
        logits, steered = 2 * check.normal(d_vocab), 2 * check.normal(d_vocab)
        random = 2 * check.normal(n, d_vocab)
        order = check.permutation(d_vocab)
        # A word in the prompt, and one that stands in the list twice.
        words = torch.cat([order[:5], order[1:2]])[check.permutation(6)]
        prompt = torch.cat([order[:1], order[7:9], order[:1]])[check.permutation(4)]
        found = parts_of(check, check.call(logits, steered, random, words, prompt), NAMES)
        rows = {"before": logits, "after": steered, "by_chance": random}
        for name, part in zip(NAMES, found, strict=True):
            check.equal(
                part if name == "by_chance" else scalar(part),
                _mass(rows[name], _counted(words, prompt)),
                "n" if name == "by_chance" else "",
                f"`{name}`",
                _wrong(name, logits, steered, random, words, prompt),
                what=f"`{name}`",
            )
    _check_nothing_left(check)


def _check_nothing_left(check: Check) -> None:
    logits = check.normal(3, 11)
    words = torch.tensor([4, 2, 4])
    try:
        check.call(logits[0], logits[1], logits[2:], words, torch.tensor([2, 7, 4]))
    except LearnerError as error:
        if not str(error).startswith("ValueError"):
            raise
    else:
        raise Mistake(
            "When every word is in the prompt already, nothing is left to measure. Raise a ValueError that says so "
            "instead of returning 0, which would read as 'no effect'."
        )
    check.holds(True, "where every word is in the prompt, a ValueError says so", "")


def _counted(words: Tensor, prompt: Tensor) -> Tensor:
    return words[~torch.isin(words, prompt)].unique()


def _mass(logits: Tensor, words: Tensor) -> Tensor:
    return logits.softmax(dim=-1)[..., words].sum(dim=-1)


def _wrong(
    name: str, logits: Tensor, steered: Tensor, random: Tensor, words: Tensor, prompt: Tensor
) -> dict[str, Alternative]:
    row = {"before": logits, "after": steered, "by_chance": random}[name]
    counted = _counted(words, prompt)
    right = _mass(row, counted)
    twice = words[~torch.isin(words, prompt)]

    def of_each(measure: Callable[[Tensor], Tensor]) -> Tensor:
        return measure(row)

    mistakes: dict[str, Alternative] = {
        "words that are in the prompt count, which a model repeats without steering": _mass(
            row, words.unique()
        ),
        "a word that is in the list twice counts twice": _mass(row, twice),
        "words that are in the prompt count, and a word that is in the list twice counts twice": _mass(
            row, words
        ),
        "*logits* are added up, not probabilities: take a softmax first": of_each(
            lambda x: x[..., counted].sum(dim=-1)
        ),
        "the mean of the *logits* is taken, not the sum of probabilities": of_each(
            lambda x: x[..., counted].mean(dim=-1)
        ),
        "probabilities are averaged over the words, not added up": right / len(counted),
        "log probabilities are added up": of_each(lambda x: x.log_softmax(dim=-1)[..., counted].sum(dim=-1)),
        "the softmax goes over the words of the list alone": of_each(
            lambda x: (
                x[..., words.unique()].softmax(dim=-1)[..., torch.isin(words.unique(), counted)].sum(dim=-1)
            )
        ),
        "only the most probable word counts": of_each(lambda x: x.softmax(dim=-1)[..., counted].amax(dim=-1)),
        "only words that are in the prompt count": _mass(row, words[torch.isin(words, prompt)].unique()),
        "the probability of all *other* words is taken": 1 - right,
    }
    if name == "after":
        mistakes["the change is returned, not the probability with steering"] = right - _mass(logits, counted)
        mistakes["before and after have changed places"] = _mass(logits, counted)
    if name == "before":
        mistakes["before and after have changed places"] = _mass(steered, counted)
    if name == "by_chance":
        mistakes |= {
            "only the first random direction is used": right[:1],
            "only the first random direction is used, as a single number": right[0],
            "the random directions are averaged: their spread is lost": right.mean(),
            "the random logits are averaged before the softmax": _mass(random.mean(dim=0), counted),
            "the softmax goes over the random directions, not over the vocabulary": random.softmax(dim=0)[
                :, counted
            ].sum(dim=-1),
            "the changes are returned, not the probabilities": right - _mass(logits, counted),
        }
    return mistakes
