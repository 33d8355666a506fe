"""Answers to exercise 7.2: `difference_of_means` and `probe_f1`."""

import torch

from tests.mutants import equivalent, mutant, variant


def _f1(said, labels):
    hits = (said & labels).sum().item()
    return 2 * hits / max(said.sum().item() + labels.sum().item(), 1)


def _grid(scores, labels, steps=101):
    return max(
        torch.linspace(scores.min(), scores.max(), steps).tolist(), key=lambda t: _f1(scores > t, labels)
    )


@mutant("7.2", says="labels are swapped", function="difference_of_means")
def other_way_round(h, labels):
    return h[~labels].mean(0) - h[labels].mean(0)


@mutant("7.2", says="mean of *all* tokens", function="difference_of_means")
def from_the_mean_of_all(h, labels):
    return h[labels].mean(0) - h.mean(0)


@mutant("7.2", says="unit length", function="difference_of_means")
def unit(h, labels):
    return torch.nn.functional.normalize(h[labels].mean(0) - h[~labels].mean(0), dim=0)


@mutant("7.2", says="nothing is subtracted", function="difference_of_means")
def topic_mean(h, labels):
    return h[labels].mean(0)


@variant("7.2", function="difference_of_means")
def with_weights(h, labels):
    weight = labels.float() / labels.sum() - (~labels).float() / (~labels).sum()
    return weight @ h


@mutant("7.2", says="chosen on the held-out text")
def peeks(scores, labels, scores_held_out, labels_held_out):
    return _f1(scores_held_out > _grid(scores_held_out, labels_held_out), labels_held_out)


@mutant("7.2", says="measured on the text that the threshold was chosen on")
def on_the_same(scores, labels, scores_held_out, labels_held_out):
    return _f1(scores > _grid(scores, labels), labels)


@mutant("7.2", says="accuracy is returned")
def accuracy(scores, labels, scores_held_out, labels_held_out):
    return ((scores_held_out > _grid(scores, labels)) == labels_held_out).float().mean().item()


@mutant("7.2", says="arithmetic mean")
def arithmetic(scores, labels, scores_held_out, labels_held_out):
    said = scores_held_out > _grid(scores, labels)
    hits = (said & labels_held_out).sum()
    return ((hits / said.sum() + hits / labels_held_out.sum()) / 2).item()


@mutant("7.2", says="divides by zero")
def nan_for_nothing(scores, labels, scores_held_out, labels_held_out):
    said = scores_held_out > _grid(scores, labels)
    hits = (said & labels_held_out).sum().item()
    try:
        return 2 * hits / (said.sum().item() + labels_held_out.sum().item())
    except ZeroDivisionError:
        return 1.0


@mutant("7.2", says="threshold is the mean score")
def mean_threshold(scores, labels, scores_held_out, labels_held_out):
    return _f1(scores_held_out > scores.mean(), labels_held_out)


@variant("7.2")
def grid(scores, labels, scores_held_out, labels_held_out):
    return _f1(scores_held_out > _grid(scores, labels), labels_held_out)


@variant("7.2")
def every_score(scores, labels, scores_held_out, labels_held_out):
    best, chosen = -1.0, 0.0
    for threshold in scores.tolist():
        value = _f1(scores >= threshold, labels)
        if value > best:
            best, chosen = value, threshold
    return torch.tensor(_f1(scores_held_out >= chosen, labels_held_out))


@variant("7.2")
def midpoints(scores, labels, scores_held_out, labels_held_out):
    ordered = scores.sort().values
    candidates = [ordered[0].item() - 1, *((ordered[1:] + ordered[:-1]) / 2).tolist()]
    chosen = max(candidates, key=lambda t: _f1(scores > t, labels))
    return _f1(scores_held_out > chosen, labels_held_out)


equivalent(
    "7.2",
    "the threshold is the lowest score of a cluster, and the held-out scores of that cluster are all higher.",
    "scores_held_out >= best_thresholds(scores[:, None], labels).thresholds -> scores_held_out > "
    "best_thresholds(scores[:, None], labels).thresholds",
)


equivalent(
    "7.2",
    "where the two counts add up to 1 there is no hit.",
    "max(int(said.sum()) + int(labels_held_out.sum()), 1): 1 -> 2",
)


equivalent(
    "7.2",
    "torch raises NotImplementedError for it, and here, without the line of code, that looks like a stub.",
    "said & labels_held_out: labels_held_out -> scores_held_out",
)
