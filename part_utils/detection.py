"""Exercise 7.11: scoring an explanation by what it says about whole contexts (Paulo et al. 2024, "detection")."""

from collections.abc import Callable

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
