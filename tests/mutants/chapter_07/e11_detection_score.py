"""Answers to exercise 7.11: `detection_score`."""

import torch

from tests.mutants import mutant, variant


def _yes(rule, context):
    words, label = context
    return any(rule(words[: i + 1], label) for i in range(len(words)))


@mutant("7.11", says="plain accuracy")
def unbalanced(rule, firing, silent):
    right = sum(_yes(rule, c) for c in firing) + sum(not _yes(rule, c) for c in silent)
    return right / (len(firing) + len(silent))


@mutant("7.11", says="words are counted")
def of_words(rule, firing, silent):
    def share(contexts):
        said = [rule(words[: i + 1], label) for words, label in contexts for i in range(len(words))]
        return sum(said) / len(said)

    return (share(firing) + 1 - share(silent)) / 2


@mutant("7.11", says="says *yes* are counted as right")
def not_turned(rule, firing, silent):
    return (
        sum(_yes(rule, c) for c in firing) / len(firing) + sum(_yes(rule, c) for c in silent) / len(silent)
    ) / 2


@mutant("7.11", says="last word only")
def at_the_end(rule, firing, silent):
    found = sum(rule(*c) for c in firing) / len(firing)
    return (found + sum(not rule(*c) for c in silent) / len(silent)) / 2


@mutant("7.11", says="current word alone")
def without_context(rule, firing, silent):
    def yes(context):
        return any(rule([word], context[1]) for word in context[0])

    return (sum(map(yes, firing)) / len(firing) + sum(not yes(c) for c in silent) / len(silent)) / 2


@mutant("7.11", says="only the firing contexts")
def recall(rule, firing, silent):
    return sum(_yes(rule, c) for c in firing) / len(firing)


@mutant("7.11", says="F1 is returned")
def f1(rule, firing, silent):
    hits, false = sum(_yes(rule, c) for c in firing), sum(_yes(rule, c) for c in silent)
    return 2 * hits / max(hits + false + len(firing), 1)


@mutant("7.11", says="added, not averaged")
def added(rule, firing, silent):
    return 2 * as_a_tensor(rule, firing, silent).item()


@variant("7.11")
def as_a_tensor(rule, firing, silent):
    sides = [
        torch.tensor([_yes(rule, c) == wanted for c in side])
        for side, wanted in ((firing, True), (silent, False))
    ]
    return torch.stack([side.double().mean() for side in sides]).mean()


@variant("7.11")
def by_loops(rule, firing, silent):
    shares = []
    for contexts, wanted in ((firing, True), (silent, False)):
        right = 0
        for words, label in contexts:
            said = False
            for end in range(1, len(words) + 1):
                said = said or bool(rule(words[:end], label))
            right += said == wanted
        shares.append(right / len(contexts))
    return sum(shares) / 2
