"""Answers to exercise 5.7: `score_hypothesis`."""

import statistics

import torch

from tests.mutants import equivalent, mutant, variant


def _said(predicate, text, context=lambda words, i: words[: i + 1], label=lambda labels, i: labels[i]):
    return torch.tensor(
        [
            [bool(predicate(context(words, i), label(labels, i))) for i in range(len(words))]
            for words, labels in zip(text.words, text.labels, strict=True)
        ]
    )


def _ratio(part, whole):
    return part / whole if whole else 0.0


def _scores(said, fires):
    hits, claimed, true = (said & fires).sum().item(), said.sum().item(), fires.sum().item()
    return (
        _ratio(hits, claimed),
        _ratio(hits, true),
        _ratio(2 * hits, claimed + true),
        _ratio(2 * true, fires.numel() + true),
    )


def _score(predicate, feature, threshold=0.25, level=None, **how):
    level = threshold * feature.found_on.acts.max() if level is None else level
    return _scores(_said(predicate, feature.held_out, **how), feature.held_out.acts > level)


@mutant("5.7", says="scored on the text that it was made from")
def scored_on_found_on(predicate, feature, threshold=0.25):
    text = feature.found_on
    return _scores(_said(predicate, text), text.acts > threshold * text.acts.max())


@mutant("5.7", says="every activation above 0")
def threshold_at_zero(predicate, feature, threshold=0.25):
    return _score(predicate, feature, threshold, level=0)


@mutant("5.7", says="largest activation in the *held-out* text")
def threshold_from_held_out(predicate, feature, threshold=0.25):
    return _score(predicate, feature, threshold, level=threshold * feature.held_out.acts.max())


@mutant("5.7", says="as it is, and not as a share")
def absolute_threshold(predicate, feature, threshold=0.25):
    return _score(predicate, feature, threshold, level=threshold)


@mutant("5.7", says="0.25 whatever")
def threshold_fixed(predicate, feature, threshold=0.25):
    return _score(predicate, feature, threshold, level=0.25 * feature.found_on.acts.max())


@mutant("5.7", says="share of each row's")
def threshold_of_each_row(predicate, feature, threshold=0.25):
    return _score(
        predicate, feature, threshold, level=threshold * feature.held_out.acts.amax(1, keepdim=True)
    )


@mutant("5.7", says="it is the accuracy")
def accuracy_for_f1(predicate, feature, threshold=0.25):
    fires = feature.held_out.acts > threshold * feature.found_on.acts.max()
    said = _said(predicate, feature.held_out)
    precision, recall, _, baseline = _scores(said, fires)
    return precision, recall, (said == fires).float().mean().item(), baseline


@mutant("5.7", says="exchanged")
def precision_and_recall_exchanged(*args):
    precision, recall, f1, baseline = _score(*args)
    return recall, precision, f1, baseline


@mutant("5.7", says="arithmetic mean")
def arithmetic_mean(*args):
    precision, recall, _, baseline = _score(*args)
    return precision, recall, (precision + recall) / 2, baseline


@mutant("5.7", says="factor 2 is missing")
def half_of_f1(*args):
    precision, recall, f1, baseline = _score(*args)
    return precision, recall, f1 / 2, baseline


@mutant("5.7", says="lacks the current word")
def context_without_the_word(*args):
    return _score(*args, context=lambda words, i: words[:i])


@mutant("5.7", says="still to come")
def context_is_the_row(*args):
    return _score(*args, context=lambda words, i: words)


@mutant("5.7", says="current word alone")
def context_is_the_word(*args):
    return _score(*args, context=lambda words, i: [words[i]])


@mutant("5.7", says="row's first word")
def label_of_the_row(*args):
    return _score(*args, label=lambda labels, i: labels[0])


@mutant("5.7", says="divides by zero")
def division_by_zero(predicate, feature, threshold=0.25):
    fires = feature.held_out.acts > threshold * feature.found_on.acts.max()
    said = _said(predicate, feature.held_out)
    hits = (said & fires).sum().item()
    precision, recall = hits / said.sum().item(), hits / fires.sum().item()
    rate = fires.float().mean().item()
    return precision, recall, 2 * precision * recall / (precision + recall), 2 * rate / (rate + 1)


@mutant("5.7", says="is NaN")
def nan_of_zeros(predicate, feature, threshold=0.25):
    fires = feature.held_out.acts > threshold * feature.found_on.acts.max()
    said = _said(predicate, feature.held_out)
    hits = (said & fires).sum()
    precision, recall = hits / said.sum(), hits / fires.sum()
    rate = fires.float().mean()
    return precision, recall, 2 * precision * recall / (precision + recall), 2 * rate / (rate + 1)


@mutant("5.7", says="not its F1")
def base_rate_for_the_baseline(predicate, feature, threshold=0.25):
    fires = feature.held_out.acts > threshold * feature.found_on.acts.max()
    return *_score(predicate, feature, threshold)[:3], fires.float().mean()


@mutant("5.7", says="each row is scored on its own")
def mean_over_rows(predicate, feature, threshold=0.25):
    fires = feature.held_out.acts > threshold * feature.found_on.acts.max()
    rows = [_scores(*row) for row in zip(_said(predicate, feature.held_out), fires, strict=True)]
    return tuple(statistics.mean(column) for column in zip(*rows, strict=True))


@mutant("5.7", says="first word of every row is left out")
def first_word_left_out(predicate, feature, threshold=0.25):
    fires = feature.held_out.acts > threshold * feature.found_on.acts.max()
    return _scores(_said(predicate, feature.held_out)[:, 1:], fires[:, 1:])


@mutant("5.7", says="in percent")
def percent(*args):
    return tuple(100 * x for x in _score(*args))


@mutant("5.7", says="last few words")
def context_of_five_words(*args):
    return _score(*args, context=lambda words, i: words[max(0, i - 4) : i + 1])


@variant("5.7")
def counted_one_by_one(predicate, feature, threshold=0.25):
    level = threshold * feature.found_on.acts.max().item()
    hits = claimed = fired = total = 0
    text = feature.held_out
    for words, labels, acts in zip(text.words, text.labels, text.acts.tolist(), strict=True):
        for place, act in enumerate(acts):
            yes = predicate(words[: place + 1], labels[place])
            claimed += yes
            fired += act > level
            hits += yes and act > level
            total += 1
    precision = hits / claimed if claimed else 0
    recall = hits / fired if fired else 0
    f1 = 2 * precision * recall / (precision + recall) if hits else 0
    return [precision, recall, f1, 2 * fired / (total + fired)]


@variant("5.7")
def tensors_with_eps(predicate, feature, threshold=0.25):
    fires = feature.held_out.acts > threshold * feature.found_on.acts.max()
    said = _said(predicate, feature.held_out)
    hits = (said & fires).sum().double()
    precision, recall = hits / (said.sum() + 1e-9), hits / (fires.sum() + 1e-9)
    base = fires.double().mean()
    return precision, recall, 2 * precision * recall / (precision + recall + 1e-9), 2 * base / (base + 1)


@variant("5.7")
def in_numpy(predicate, feature, threshold=0.25):
    acts = feature.held_out.acts.numpy()
    fires = acts > threshold * feature.found_on.acts.numpy().max()
    said = _said(predicate, feature.held_out).numpy()
    missed, wrong, right = (fires & ~said).sum(), (said & ~fires).sum(), (said & fires).sum()
    return (
        float(right / max(right + wrong, 1)),
        float(right / max(right + missed, 1)),
        float(right / max(right + (missed + wrong) / 2, 1)),
        float(fires.sum() / max((fires.size + fires.sum()) / 2, 1)),
    )


@variant("5.7")
def confusion_by_bincount(predicate, feature, threshold=0.25):
    fires = (feature.held_out.acts > threshold * feature.found_on.acts.amax()).flatten().int()
    said = _said(predicate, feature.held_out).flatten().int()
    silent, missed, wrong, right = torch.bincount(fires + 2 * said, minlength=4).tolist()
    fired = missed + right
    return (
        _ratio(right, right + wrong),
        _ratio(right, fired),
        _ratio(2 * right, 2 * right + wrong + missed),
        _ratio(2 * fired, 2 * fired + silent + wrong),
    )


equivalent(
    "5.7",
    "the words and the labels of a text are as many",
    "zip(strict=True) -> zip()",
    "strict=True: True -> False",
)
equivalent(
    "5.7",
    "where nothing is claimed or fires, the number above the line is 0",
    "max(claimed, 1): 1 -> 2",
    "max(true, 1): 1 -> 2",
    "max(claimed + true, 1): 1 -> 2",
    "max(fires.numel() + true, 1): 1 -> 2",
    "max(fires.numel() + true, 1): 1 -> 0",
)
