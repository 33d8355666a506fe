"""Answers to exercise 7.2: `difference_of_means` and `probe_f1`."""

import torch

from tests.mutants import equivalent, mutant, variant


def _f1(said, labels):
    hits = (said & labels).sum().item()
    return 2 * hits / max(said.sum().item() + labels.sum().item(), 1)


def _between(scores, labels):
    ordered = scores.unique()
    tried = torch.cat([ordered[:1] - 1, (ordered[:-1] + ordered[1:]) / 2])
    return max(tried.tolist(), key=lambda t: _f1(scores > t, labels))


@variant("7.2", function="difference_of_means")
def with_weights(h, labels):
    weight = labels.float() / labels.sum() - (~labels).float() / (~labels).sum()
    return weight @ h


@mutant("7.2", says="chosen on the held-out text")
def peeks(scores, labels, scores_held_out, labels_held_out):
    return _f1(scores_held_out > _between(scores_held_out, labels_held_out), labels_held_out)


@mutant("7.2", says="measured on the text that the threshold was chosen on")
def on_the_same(scores, labels, scores_held_out, labels_held_out):
    return _f1(scores > _between(scores, labels), labels)


@mutant("7.2", says="accuracy is returned")
def accuracy(scores, labels, scores_held_out, labels_held_out):
    return ((scores_held_out > _between(scores, labels)) == labels_held_out).float().mean().item()


@mutant("7.2", says="arithmetic mean")
def arithmetic(scores, labels, scores_held_out, labels_held_out):
    said = scores_held_out > _between(scores, labels)
    hits = (said & labels_held_out).sum()
    return ((hits / said.sum() + hits / labels_held_out.sum()) / 2).item()


@mutant("7.2", says="divides by zero")
def nan_for_nothing(scores, labels, scores_held_out, labels_held_out):
    said = scores_held_out > _between(scores, labels)
    hits = (said & labels_held_out).sum().item()
    try:
        return 2 * hits / (said.sum().item() + labels_held_out.sum().item())
    except ZeroDivisionError:
        return 1.0


@mutant("7.2", says="threshold is the mean score")
def mean_threshold(scores, labels, scores_held_out, labels_held_out):
    return _f1(scores_held_out > scores.mean(), labels_held_out)


@variant("7.2")
def between_the_scores(scores, labels, scores_held_out, labels_held_out):
    return _f1(scores_held_out > _between(scores, labels), labels_held_out)


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


def _bf1(said, labels):
    return 2 * int((said & labels).sum()) / max(int(said.sum()) + int(labels.sum()), 1)


def _best(scores, labels, measure=_bf1):
    return max(scores.unique(), key=lambda t: measure(scores >= t, labels))


@mutant("7.2", says="the threshold is chosen on the held-out text")
def chosen_on_held_out(scores, labels, held, held_labels):
    return max(_bf1(held >= t, held_labels) for t in held)


@mutant("7.2", says="the F1 is measured on the text that the threshold was")
def of_the_first_text(scores, labels, held, held_labels):
    return _bf1(scores >= _best(scores, labels), labels)


@mutant("7.2", says="the threshold is 0")
def above_zero(scores, labels, held, held_labels):
    return _bf1(held > 0, held_labels)


@mutant("7.2", says="the threshold is the mean score")
def above_the_mean(scores, labels, held, held_labels):
    return _bf1(held > scores.mean(), held_labels)


@mutant("7.2", says="the threshold is halfway between the mean scores of both")
def halfway(scores, labels, held, held_labels):
    return _bf1(held > (scores[labels].mean() + scores[~labels].mean()) / 2, held_labels)


@mutant("7.2", says="accuracy is returned, not F1")
def accuracy_returned(scores, labels, held, held_labels):
    return float(((held >= _best(scores, labels)) == held_labels).float().mean())


@mutant("7.2", says="the threshold is the one with the best *accuracy*")
def chosen_by_accuracy(scores, labels, held, held_labels):
    def accuracy(said, truth):
        return float((said == truth).float().mean())

    return _bf1(held >= _best(scores, labels, accuracy), held_labels)


@mutant("7.2", says="precision is returned, not F1")
def precision_returned(scores, labels, held, held_labels):
    said = held >= _best(scores, labels)
    return int((said & held_labels).sum()) / max(int(said.sum()), 1)


@mutant("7.2", says="recall is returned, not F1")
def recall_returned(scores, labels, held, held_labels):
    said = held >= _best(scores, labels)
    return int((said & held_labels).sum()) / max(int(held_labels.sum()), 1)


@mutant("7.2", says="Where F1 divides by zero (no token belongs, and none is")
def division_by_zero(scores, labels, held, held_labels):
    said = held >= _best(scores, labels)
    return 2 * int((said & held_labels).sum()) / (int(said.sum()) + int(held_labels.sum()))


@mutant("7.2", says="Where no token belongs to the topic and none is said to,")
def nan_of_nothing(scores, labels, held, held_labels):
    said = held >= _best(scores, labels)
    return float(2 * (said & held_labels).sum() / (said.sum() + held_labels.sum()))


@mutant("7.2", says="Where no token belongs to the topic and none is said to,")
def one_of_nothing(scores, labels, held, held_labels):
    said = held >= _best(scores, labels)
    if not said.any() and not held_labels.any():
        return 1.0
    return _bf1(said, held_labels)


@mutant("7.2", says="Where no token belongs to the topic and none is said to,")
def nan_of_precision(scores, labels, held, held_labels):
    said = held >= _best(scores, labels)
    hits = (said & held_labels).sum()
    precision, recall = hits / said.sum(), hits / held_labels.sum()
    return float(2 * precision * recall / (precision + recall))


@mutant("7.2", says="the labels are turned round")
def the_others(scores, labels, held, held_labels):
    return _bf1(held >= _best(scores, ~labels), ~held_labels)


@mutant("7.2", says="tokens *below* the threshold are said to belong")
def below_the_threshold(scores, labels, held, held_labels):
    return _bf1(held < _best(scores, labels), held_labels)


@mutant("7.2", says="the factor 2 is missing")
def two_forgotten(scores, labels, held, held_labels):
    return _bf1(held >= _best(scores, labels), held_labels) / 2


@mutant("7.2", says="it is hits / (said + true - hits), the overlap")
def union(scores, labels, held, held_labels):
    said = held >= _best(scores, labels)
    return int((said & held_labels).sum()) / max(int((said | held_labels).sum()), 1)


@mutant("7.2", says="too few thresholds are tried: the best one may lie at any")
def ten_thresholds(scores, labels, held, held_labels, steps=10):
    tried = torch.linspace(float(scores.min()), float(scores.max()), steps)
    t = max(tried, key=lambda t: _bf1(scores >= t, labels))
    return _bf1(held >= t, held_labels)


@mutant("7.2", says="too few thresholds are tried: the best one may lie at any")
def twenty_thresholds(*args):
    return ten_thresholds(*args, steps=20)


@mutant("7.2", says="too few thresholds are tried: the best one may lie at any")
def fifty_thresholds(*args):
    return ten_thresholds(*args, steps=50)


@mutant("7.2", says="too few thresholds are tried: the best one may lie at any")
def a_hundred_and_one_thresholds(*args):
    return ten_thresholds(*args, steps=101)


@mutant("7.2", says="only the first tokens' scores are tried as thresholds")
def first_twenty(scores, labels, held, held_labels):
    t = max(scores[:20], key=lambda t: _bf1(scores >= t, labels))
    return _bf1(held >= t, held_labels)


@mutant("7.2", says="the same share of tokens is said to belong as on the")
def as_many_tokens(scores, labels, held, held_labels):
    n = int((scores >= _best(scores, labels)).sum())
    share = n / len(scores)
    said = torch.zeros_like(held_labels)
    said[held.topk(round(share * len(held))).indices] = True
    return _bf1(said, held_labels)


@mutant("7.2", says="tokens of one score are parted: a threshold takes all of")
def ties_parted(scores, labels, held, held_labels):
    order = scores.argsort(descending=True, stable=True)
    hits = labels[order].cumsum(0)
    f1 = 2 * hits / (torch.arange(1, len(scores) + 1) + labels.sum())
    return _bf1(held >= scores[order[f1.argmax()]], held_labels)


@mutant("7.2", says="the mean of both classes' F1 is returned, that of the")
def macro(scores, labels, held, held_labels):
    said = held >= _best(scores, labels)
    return (_bf1(said, held_labels) + _bf1(~said, ~held_labels)) / 2


@mutant("7.2", says="the absolute value of the scores is taken")
def absolute_scores(scores, labels, held, held_labels):
    return _bf1(held.abs() >= _best(scores.abs(), labels), held_labels)


@mutant("7.2", says="tokens *below* a threshold are tried as well, where that")
def either_side(scores, labels, held, held_labels):
    above, below = _best(scores, labels), _best(-scores, labels)
    if _bf1(-scores >= below, labels) > _bf1(scores >= above, labels):
        return _bf1(-held >= below, held_labels)
    return _bf1(held >= above, held_labels)


@mutant("7.2", says="the threshold itself is returned")
def threshold_returned(scores, labels, held, held_labels):
    return float(_best(scores, labels))


@mutant("7.2", says="the larger F1 is returned, that of the threshold or that")
def or_always_yes(scores, labels, held, held_labels):
    return max(_bf1(held >= _best(scores, labels), held_labels), _bf1(held_labels | True, held_labels))


@mutant("7.2", says="it is rounded")
def rounded(scores, labels, held, held_labels):
    return round(_bf1(held >= _best(scores, labels), held_labels), 1)


@mutant("7.2", says="the scores of each text are standardized by themselves")
def standardized_apart(scores, labels, held, held_labels):
    own, other = (scores - scores.mean()) / scores.std(), (held - held.mean()) / held.std()
    return _bf1(other >= _best(own, labels), held_labels)


@mutant("7.2", says="the threshold is the one with the best *precision*")
def most_precise(scores, labels, held, held_labels):
    def precision(said, truth):
        return int((said & truth).sum()) / int(said.sum())

    return _bf1(held >= _best(scores, labels, precision), held_labels)


@mutant("7.2", says="the labels are swapped: the direction points away from", function="difference_of_means")
def others_minus_topic(h, labels):
    return h[~labels].mean(0) - h[labels].mean(0)


@mutant("7.2", says="the difference is brought to unit length", function="difference_of_means")
def unit_length(h, labels):
    return torch.nn.functional.normalize(h[labels].mean(0) - h[~labels].mean(0), dim=0)


@mutant("7.2", says="the mean of *all* tokens is subtracted, not that of the", function="difference_of_means")
def minus_mean_of_all(h, labels):
    return h[labels].mean(0) - h.mean(0)


@mutant("7.2", says="sums are subtracted, not means", function="difference_of_means")
def sums(h, labels):
    return h[labels].sum(0) - h[~labels].sum(0)


@mutant("7.2", says="medians are subtracted, not means", function="difference_of_means")
def medians(h, labels):
    return h[labels].median(0).values - h[~labels].median(0).values


@mutant(
    "7.2", says="the mean over the dimensions is taken, not over the tokens", function="difference_of_means"
)
def along_dimensions(h, labels):
    return h[labels].mean() - h[~labels].mean(dim=1).mean()


@mutant("7.2", says="both means divide by the number of all tokens", function="difference_of_means")
def over_all_tokens(h, labels):
    y = labels.float()[:, None]
    return (h * y).mean(0) - (h * (1 - y)).mean(0)


@mutant("7.2", says="nothing is subtracted: that is the mean of the topic's", function="difference_of_means")
def mean_of_topic(h, labels):
    return h[labels].mean(0)


@mutant(
    "7.2", says="the labels are used as the numbers of rows (0 and 1), not", function="difference_of_means"
)
def labels_as_numbers(h, labels):
    return h[labels.long()].mean(0) - h[(~labels).long()].mean(0)


@mutant("7.2", says="an axis of size 1 is lost (`squeeze` removes all of", function="difference_of_means")
def squeezed_direction(h, labels):
    return (h[labels].mean(0, keepdim=True) - h[~labels].mean(0, keepdim=True)).squeeze()


@mutant("7.2", says="an axis of size 1 is added in front", function="difference_of_means")
def axis_kept(h, labels):
    return h[labels].mean(0, keepdim=True) - h[~labels].mean(0, keepdim=True)


@mutant("7.2", says="the absolute value is taken", function="difference_of_means")
def absolute_difference(h, labels):
    return (h[labels].mean(0) - h[~labels].mean(0)).abs()


@mutant("7.2", says="the difference is divided by the standard deviation of", function="difference_of_means")
def standardized(h, labels):
    return (h[labels].mean(0) - h[~labels].mean(0)) / h.std(0)


@mutant("7.2", says="Your function changes `h` itself (in place). Whoever", function="difference_of_means")
def centered_in_place(h, labels):
    h -= h[~labels].mean(0)
    return h[labels].mean(0)


@mutant(
    "7.2", says="only some tokens of the topic or of the others are looked", function="difference_of_means"
)
def first_of_each(h, labels):
    return h[labels][:10].mean(0) - h[~labels][:10].mean(0)


@mutant("7.2", says="half of the difference is returned", function="difference_of_means")
def to_the_middle(h, labels):
    return (h[labels].mean(0) - h[~labels].mean(0)) / 2


@variant("7.2")
def only_scores_of_the_topic(scores, labels, held, held_labels):
    if not labels.any():
        return _bf1(held >= scores.max(), held_labels)
    t = max(scores[labels].tolist(), key=lambda t: _bf1(scores >= t, labels))
    return _bf1(held >= t, held_labels)


@variant("7.2")
def precision_and_recall(scores, labels, held, held_labels):
    said = (held >= _best(scores, labels)).numpy()
    truth = held_labels.numpy()
    hits = (said & truth).sum()
    precision, recall = hits / max(said.sum(), 1), hits / max(truth.sum(), 1)
    return float(2 * precision * recall / (precision + recall)) if hits else 0.0


@variant("7.2")
def pairwise(scores, labels, held, held_labels):
    said = scores[None, :] >= scores[:, None]
    f1 = 2 * (said & labels).sum(1) / (said.sum(1) + labels.sum())
    return _bf1(held >= scores[f1.argmax()], held_labels)


@variant("7.2", function="difference_of_means")
def weights(h, labels):
    y = labels.double()
    return ((y / y.sum() - (1 - y) / (1 - y).sum()) @ h.double()).to(h)


@variant("7.2", function="difference_of_means")
def covariance(h, labels):
    y = labels.to(h)
    p = y.mean()
    return ((y - p)[:, None] * h).mean(0) / (p * (1 - p))


@variant("7.2", function="difference_of_means")
def token_by_token(h, labels):
    sums = torch.zeros(2, h.shape[1], dtype=torch.float64)
    for row, label in zip(h, labels.tolist(), strict=True):
        sums[int(label)] += row
    return (sums[1] / labels.sum() - sums[0] / (~labels).sum()).float()


equivalent(
    "7.2",
    "where the two counts add up to 1 there is no hit.",
    "max(int(said.sum()) + int(labels_held_out.sum()), 1): 1 -> 2",
)


equivalent(
    "7.2",
    "torch raises NotImplementedError for it, and here, without the line of code, that looks like a stub.",
    "said & labels_held_out: labels_held_out -> scores",
    "said & labels_held_out: labels_held_out -> scores_held_out",
)


@mutant("7.2", says="the threshold is the median score")
def from_the_median_on(scores, labels, held, held_labels):
    return _bf1(held >= scores.median(), held_labels)


@mutant("7.2", says="the same share of tokens is said to belong")
def quantile_of_the_other_text(scores, labels, held, held_labels):
    share = (scores >= _best(scores, labels)).float().mean()
    return _bf1(held >= held.quantile(1 - share), held_labels)


@mutant("7.2", says="saying yes to")
def yes_on_either_side(scores, labels, held, held_labels):
    said = held >= _best(scores, labels)
    return max(_bf1(said, held_labels), _bf1(~said, held_labels))


@mutant("7.2", says="exactly the threshold is left out")
def above_the_threshold_only(scores, labels, held, held_labels):
    best = max(scores.tolist(), key=lambda t: _f1(scores >= t, labels))
    return _f1(held > best, held_labels)
