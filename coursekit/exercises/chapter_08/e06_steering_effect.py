"""Exercise 8.6: `steering_effect`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, Mistakes
from coursekit.checking.door import LearnerError
from coursekit.checking.phrases import explained
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
        # Words in the prompt, at its beginning, its end and between, and one that stands in the list twice.
        words = torch.cat([order[:7], order[3:4]])[check.permutation(8)]
        prompt = torch.cat([order[:1], order[9:10], order[1:2], order[10:11], order[2:3]])
        with explained(
            {
                "ValueError": "Your function raises a ValueError although some words are not in the prompt. Only when "
                "*every* word is in it nothing is left."
            }
        ):
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
    check.leaves_inputs(logits, steered, random, words, prompt)


def _check_nothing_left(check: Check) -> None:
    logits = check.normal(3, 11)
    words = torch.tensor([4, 2, 4])
    try:
        check.call(logits[0], logits[1], logits[2:], words, torch.tensor([2, 7, 4]))
    except LearnerError as error:
        if not str(error).startswith("ValueError"):
            kind = str(error).partition(":")[0]
            raise Mistake(
                f"When every word is in the prompt already, your code raises {kind}. Ask whether a word is left, and "
                "raise a ValueError that says so.",
                str(error).splitlines(),
            ) from None
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
) -> Mistakes:
    row = {"before": logits, "after": steered, "by_chance": random}[name]
    counted = _counted(words, prompt)
    right = _mass(row, counted)
    twice = words[~torch.isin(words, prompt)]

    def of_each(measure: Callable[[Tensor], Tensor]) -> Tensor:
        return measure(row)

    mistakes: dict[str, Any] = {
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
    inside = torch.isin(torch.arange(row.shape[-1]), counted)
    mistakes |= {
        "the softmax goes over the words that are counted alone, so that they add up to 1": torch.ones_like(
            right
        ),
        "words that stand at the prompt's beginning or between count; only its last token is left out": _mass(
            row, words[~torch.isin(words, prompt[-1:])].unique()
        ),
        "words that stand at the prompt's beginning count; the prompt's first token is passed over": _mass(
            row, words[~torch.isin(words, prompt[1:])].unique()
        ),
        "words that stand at the prompt's end count; the prompt's last token is passed over": _mass(
            row, words[~torch.isin(words, prompt[:-1])].unique()
        ),
        "the softmax goes over the runs, not over the vocabulary": of_each(
            lambda x: (x.exp() / torch.stack([logits, steered, *random]).exp().sum(dim=0))[..., counted].sum(
                dim=-1
            )
        ),
        "only the prompt's first token is left out": _mass(
            row, words[~torch.isin(words, prompt[:1])].unique()
        ),
        "the prompt's tokens are left out of the softmax as well": of_each(
            lambda x: _mass(x.index_fill(-1, prompt, -torch.inf), counted)
        ),
        "a sigmoid is taken, not a softmax": of_each(lambda x: x.sigmoid()[..., counted].sum(dim=-1)),
        "exponentials are added up, without dividing by their sum": of_each(
            lambda x: x.exp()[..., counted].sum(dim=-1)
        ),
        "words are treated as independent: 1 minus the product of what is not": of_each(
            lambda x: 1 - (1 - x.softmax(dim=-1)[..., counted]).prod(dim=-1)
        ),
        "probabilities are multiplied, not added up": of_each(
            lambda x: x.softmax(dim=-1)[..., counted].prod(dim=-1)
        ),
        "each word's own probability is returned, not their sum": of_each(
            lambda x: x.softmax(dim=-1)[..., counted]
        ),
        "the share of words that are likely is counted, not their probability": [
            of_each(lambda x: (x[..., inside] > x.mean(dim=-1, keepdim=True)).float().mean(dim=-1)),
            of_each(lambda x: (x[..., inside] > x.median(dim=-1, keepdim=True).values).float().mean(dim=-1)),
        ],
        "only some of the words count": [lambda n=n: _mass(row, counted[:n]) for n in range(1, len(counted))],
    }
    if name != "before":
        mistakes["the softmax is taken of the *difference* from the logits without steering"] = _mass(
            row - logits, counted
        )
        mistakes["the ratio to the probability without steering is returned"] = right / _mass(logits, counted)
    if name == "after":
        mistakes["the change is returned, not the probability with steering"] = right - _mass(logits, counted)
        mistakes["before and after have changed places"] = _mass(logits, counted)
    if name == "before":
        mistakes["before and after have changed places"] = _mass(steered, counted)
    if name == "by_chance":
        mistakes |= {
            "only the first random direction is used": right[:1],
            "only the first random direction is used, as a single number": right[0],
            "the random directions are averaged: their spread is lost": [
                right.mean(),
                right.mean().expand_as(right),
            ],
            "only the largest of the random directions is returned": [right.max(), right.max()[None]],
            "the random logits are averaged before the softmax": [
                _mass(random.mean(dim=0), counted),
                _mass(random.mean(dim=0), counted).expand_as(right),
            ],
            "the softmax goes over all random directions at once": [
                times * random.flatten().softmax(dim=0).view_as(random)[:, counted].sum(dim=-1)
                for times in (1, len(random))
            ],
            "the softmax goes over the random directions, not over the vocabulary": random.softmax(dim=0)[
                :, counted
            ].sum(dim=-1),
            "the changes are returned, not the probabilities": right - _mass(logits, counted),
        }
    return mistakes
