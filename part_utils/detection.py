"""Exercise 7.11: scoring an explanation by what it says about whole contexts (Paulo et al. 2024, "detection")."""

import random
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from part_utils.hypotheses import ActivatedText

Context = tuple[list[str], str]
"""The words of a piece of text, and the label that says where it comes from."""


def says_yes(rule: Callable[[list[str], str], bool], context: Context) -> bool:
    """Say whether a rule of exercise 5.7 expects a latent to fire anywhere in a context."""
    words, label = context
    return any(rule(words[: i + 1], label) for i in range(len(words)))


def detection_score(
    rule: Callable[[list[str], str], bool], firing: list[Context], silent: list[Context]
) -> float:
    """Score a rule by the contexts in which it expects the latent to fire.

    A rule says yes to a context if it says yes to at least one of its words. It is called as in exercise 5.7, with the
    words of the context up to and with the current one, and the label. The score is the balanced accuracy: the mean of
    two shares, that of the `firing` contexts to which it says yes and that of the `silent` ones to which it says no.

    Args:
        rule: `rule(words, label)` says whether the latent fires on the last of the words.
        firing: contexts in which the latent fires somewhere, as pairs of words and label; at least one.
        silent: contexts in which it fires nowhere; at least one.

    Returns:
        A number between 0 and 1; 0.5 is what a rule without any knowledge has.
    """
    found = sum(says_yes(rule, context) for context in firing) / len(firing)
    rejected = sum(not says_yes(rule, context) for context in silent) / len(silent)
    return (found + rejected) / 2


def contexts_of(
    text: "ActivatedText", n: int = 40, length: int = 16, seed: int = 0
) -> tuple[list[Context], list[Context]]:
    """Cut a text with one latent's activations into pieces, and draw those in which it fires and those in which not.

    Args:
        text: the text, as `record_feature` notes it.
        n: how many of each kind at most.
        length: words in a piece.
        seed: decides which pieces are drawn.

    Returns:
        `(firing, silent)`.
    """
    firing: list[Context] = []
    silent: list[Context] = []
    for words, labels, acts in zip(text.words, text.labels, text.acts, strict=True):
        for start in range(0, len(words) - length + 1, length):
            piece = (words[start : start + length], labels[start])
            (firing if bool((acts[start : start + length] > 0).any()) else silent).append(piece)
    draw = random.Random(seed)
    return draw.sample(firing, min(n, len(firing))), draw.sample(silent, min(n, len(silent)))


def rule_of_words(words: Collection[str]) -> Callable[[list[str], str], bool]:
    """Return the rule that a latent fires on these words and on no others."""
    return lambda context, label: context[-1] in words


def strongest_words(text: "ActivatedText", n: int = 10) -> list[str]:
    """Return the words on which a latent fires most: those with the largest sum of activations in a text."""
    sums: dict[str, float] = {}
    for words, acts in zip(text.words, text.acts, strict=True):
        for place in torch.nonzero(acts > 0).flatten().tolist():
            sums[words[place]] = sums.get(words[place], 0.0) + float(acts[place])
    return sorted(sums, key=lambda word: -sums[word])[:n]
