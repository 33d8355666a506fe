"""Answers to exercise 7.11: `detection_score`."""

import numpy as np
import torch

from tests.mutants import mutant, variant


def _yes(rule, context):
    words, label = context
    return any(rule(words[: i + 1], label) for i in range(len(words)))


@mutant("7.11", says="words are counted")
def of_words(rule, firing, silent):
    def share(contexts):
        said = [rule(words[: i + 1], label) for words, label in contexts for i in range(len(words))]
        return sum(said) / len(said)

    return (share(firing) + 1 - share(silent)) / 2


@mutant("7.11", says="last word only")
def at_the_end(rule, firing, silent):
    found = sum(rule(*c) for c in firing) / len(firing)
    return (found + sum(not rule(*c) for c in silent) / len(silent)) / 2


@mutant("7.11", says="current word alone")
def without_context(rule, firing, silent):
    def yes(context):
        return any(rule([word], context[1]) for word in context[0])

    return (sum(map(yes, firing)) / len(firing) + sum(not yes(c) for c in silent) / len(silent)) / 2


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


def _balanced(said_firing, said_silent):
    return (
        sum(said_firing) / len(said_firing) + sum(not said for said in said_silent) / len(said_silent)
    ) / 2


def _score(yes, rule, firing, silent):
    return _balanced([yes(rule, c) for c in firing], [yes(rule, c) for c in silent])


@mutant("7.11", says="all contexts count alike, so that the larger group")
def unbalanced_again(rule, firing, silent):
    right = sum(_yes(rule, c) for c in firing) + sum(not _yes(rule, c) for c in silent)
    return right / (len(firing) + len(silent))


@mutant("7.11", says="F1 is returned, not balanced accuracy")
def f1_again(rule, firing, silent):
    hits, false = sum(_yes(rule, c) for c in firing), sum(_yes(rule, c) for c in silent)
    return 2 * hits / (hits + false + len(firing))


@mutant("7.11", says="only the firing contexts count")
def recall_alone(rule, firing, silent):
    return sum(_yes(rule, c) for c in firing) / len(firing)


@mutant("7.11", says="only the silent contexts count")
def silent_alone(rule, firing, silent):
    return sum(not _yes(rule, c) for c in silent) / len(silent)


@mutant("7.11", says="precision is returned, not balanced accuracy")
def precision(rule, firing, silent):
    hits, false = sum(_yes(rule, c) for c in firing), sum(_yes(rule, c) for c in silent)
    return hits / max(hits + false, 1)


@mutant("7.11", says="words are counted, not contexts")
def words_counted(rule, firing, silent):
    shares = []
    for contexts, wanted in ((firing, True), (silent, False)):
        said = [
            bool(rule(words[: i + 1], label)) == wanted
            for words, label in contexts
            for i in range(len(words))
        ]
        shares.append(sum(said) / len(said))
    return sum(shares) / 2


@mutant("7.11", says="the share of its words is taken for each context, not")
def share_of_words(rule, firing, silent):
    def share(rule, context):
        words, label = context
        return sum(bool(rule(words[: i + 1], label)) for i in range(len(words))) / len(words)

    found = sum(share(rule, c) for c in firing) / len(firing)
    return (found + 1 - sum(share(rule, c) for c in silent) / len(silent)) / 2


@mutant("7.11", says="the rule sees the current word alone")
def word_alone(rule, firing, silent):
    return _score(lambda rule, c: any(rule([word], c[1]) for word in c[0]), rule, firing, silent)


@mutant("7.11", says="the rule is asked at the last word only")
def whole_context_once(rule, firing, silent):
    return _score(lambda rule, c: bool(rule(c[0], c[1])), rule, firing, silent)


@mutant("7.11", says="the rule sees the words from the current one on")
def from_the_word_on(rule, firing, silent):
    return _score(lambda rule, c: any(rule(c[0][i:], c[1]) for i in range(len(c[0]))), rule, firing, silent)


@mutant("7.11", says="the rule has to say yes to every word")
def all_words(rule, firing, silent):
    return _score(
        lambda rule, c: all(rule(c[0][: i + 1], c[1]) for i in range(len(c[0]))), rule, firing, silent
    )


@mutant("7.11", says="the last word is never asked about")
def last_word_missing(rule, firing, silent):
    return _score(
        lambda rule, c: any(rule(c[0][:i], c[1]) for i in range(1, len(c[0]))), rule, firing, silent
    )


@mutant("7.11", says="the first word is never asked about")
def first_word_missing(rule, firing, silent):
    return _score(
        lambda rule, c: any(rule(c[0][:i], c[1]) for i in range(2, len(c[0]) + 1)), rule, firing, silent
    )


@mutant("7.11", says="the rule is also asked before the first word, with no")
def asked_with_nothing(rule, firing, silent):
    return _score(
        lambda rule, c: any(rule(c[0][:i], c[1]) for i in range(len(c[0]) + 1)), rule, firing, silent
    )


@mutant("7.11", says="the rule does not see the label")
def label_left_out(rule, firing, silent):
    return _score(
        lambda rule, c: any(rule(c[0][: i + 1], "") for i in range(len(c[0]))), rule, firing, silent
    )


@mutant("7.11", says="Your code raised TypeError: a rule gets a list of words")
def swapped_arguments(rule, firing, silent):
    return _score(
        lambda rule, c: any(rule(c[1], c[0][: i + 1]) for i in range(len(c[0]))), rule, firing, silent
    )


@mutant("7.11", says="the silent contexts to which the rule says *yes* are")
def silent_not_inverted(rule, firing, silent):
    return (
        sum(_yes(rule, c) for c in firing) / len(firing) + sum(_yes(rule, c) for c in silent) / len(silent)
    ) / 2


@mutant("7.11", says="firing and silent contexts are swapped")
def kinds_swapped(rule, firing, silent):
    return _score(_yes, rule, silent, firing)


@mutant("7.11", says="the two shares are added, not averaged")
def sum_of_shares(rule, firing, silent):
    return 2 * _score(_yes, rule, firing, silent)


@mutant("7.11", says="1 is subtracted from the sum of the two shares, so that a")
def youden(rule, firing, silent):
    return 2 * _score(_yes, rule, firing, silent) - 1


@mutant("7.11", says="the two shares are multiplied")
def product(rule, firing, silent):
    found = sum(_yes(rule, c) for c in firing) / len(firing)
    return found * sum(not _yes(rule, c) for c in silent) / len(silent)


@mutant("7.11", says="the geometric mean of the two shares is taken")
def geometric_mean(rule, firing, silent):
    found = sum(_yes(rule, c) for c in firing) / len(firing)
    return (found * sum(not _yes(rule, c) for c in silent) / len(silent)) ** 0.5


@mutant("7.11", says="the smaller of the two shares is taken")
def smaller_share(rule, firing, silent):
    found = sum(_yes(rule, c) for c in firing) / len(firing)
    return min(found, sum(not _yes(rule, c) for c in silent) / len(silent))


@mutant("7.11", says="only the first ten contexts of each kind count")
def ten_contexts(rule, firing, silent):
    return _score(_yes, rule, firing[:10], silent[:10])


@mutant("7.11", says="only as many contexts of either kind count as there are")
def cut_to_the_smaller(rule, firing, silent):
    n = min(len(firing), len(silent))
    return _score(_yes, rule, firing[:n], silent[:n])


@mutant("7.11", says="each count is divided by the number of contexts of the")
def counts_swapped(rule, firing, silent):
    found = sum(_yes(rule, c) for c in firing) / len(silent)
    return (found + sum(not _yes(rule, c) for c in silent) / len(firing)) / 2


@mutant("7.11", says="a score below one half is turned round")
def either_way(rule, firing, silent):
    score = _score(_yes, rule, firing, silent)
    return max(score, 1 - score)


@mutant("7.11", says="Your code raised TypeError: a rule gets a list of words")
def one_string(rule, firing, silent):
    return _score(
        lambda rule, c: any(rule("".join(c[0][: i + 1]), c[1]) for i in range(len(c[0]))),
        rule,
        firing,
        silent,
    )


@mutant("7.11", says="the rule sees only some of the words before the current")
def window_of_three(rule, firing, silent):
    def yes(rule, c):
        return any(rule(c[0][max(0, i - 2) : i + 1], c[1]) for i in range(len(c[0])))

    return _score(yes, rule, firing, silent)


@mutant("7.11", says="Your function changes the contexts that it is given (such")
def used_up(rule, firing, silent):
    def yes(rule, c):
        words, label = c
        said = False
        while words:
            said = bool(rule(list(words), label)) or said
            words.pop()
        return said

    return _score(yes, rule, firing, silent)


@mutant("7.11", says="it is in percent")
def percent(rule, firing, silent):
    return 100 * _score(_yes, rule, firing, silent)


@mutant("7.11", says="each context counts once, however often it stands in the")
def each_context_once(rule, firing, silent):
    def once(contexts):
        return list({(tuple(words), label): (words, label) for words, label in contexts}.values())

    return _score(_yes, rule, once(firing), once(silent))


@variant("7.11")
def nested_loops(rule, firing, silent):
    found = rejected = 0
    for words, label in firing:
        for i in range(1, len(words) + 1):
            if rule(words[:i], label):
                found += 1
                break
    for words, label in silent:
        for i in range(1, len(words) + 1):
            if rule(words[:i], label):
                break
        else:
            rejected += 1
    return 0.5 * found / len(firing) + 0.5 * rejected / len(silent)


@variant("7.11")
def from_the_end(rule, firing, silent):
    def yes(context):
        return max(
            (bool(rule(list(context[0][:n]), context[1])) for n in range(len(context[0]), 0, -1)),
            default=False,
        )

    return float(np.mean([np.mean([yes(c) for c in firing]), 1 - np.mean([yes(c) for c in silent])]))


@variant("7.11")
def with_tensors(rule, firing, silent):
    said = [torch.tensor([_yes(rule, c) for c in part]).double().mean() for part in (firing, silent)]
    return float((said[0] + 1 - said[1]) / 2)


@mutant("7.11", says="the label of the first context is used for all")
def label_of_the_first_context(rule, firing, silent):
    label = firing[0][1]
    return _score(lambda rule, context: _yes(rule, (context[0], label)), rule, firing, silent)


@mutant("7.11", says="the share of its words is taken for each firing context")
def share_of_words_of_firing(rule, firing, silent):
    shares = [sum(bool(rule(w[: i + 1], label)) for i in range(len(w))) / len(w) for w, label in firing]
    return _balanced(shares, [_yes(rule, c) for c in silent])
