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


@mutant("5.7", says="only the last 5 words")
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


def _counted(said, fires):
    hits = sum(s and f for s, f in zip(said, fires, strict=True))
    precision, recall = _ratio(hits, sum(said)), _ratio(hits, sum(fires))
    share = _ratio(sum(fires), len(fires))
    f1, baseline = _ratio(2 * precision * recall, precision + recall), _ratio(2 * share, share + 1)
    return precision, recall, f1, baseline


def _scored(predicate, feature, threshold=0.25, *, context=None, limit=None, fires=None, yes=bool, rows=None):
    context = context or (lambda words, place: words[: place + 1])
    limit = threshold * float(feature.found_on.acts.max()) if limit is None else limit
    fires = fires or (lambda value: value > limit)
    said, firing = [], []
    text = feature.held_out
    for words, labels, acts in list(zip(text.words, text.labels, text.acts, strict=True))[:rows]:
        for place, label in enumerate(labels):
            said.append(yes(predicate(context(words, place), label)))
            firing.append(bool(fires(float(acts[place]))))
    return _counted(said, firing)


@mutant("5.7", says="the threshold is a share of the largest activation in the")
def limit_of_the_held_out_text(predicate, feature, threshold=0.25):
    return _scored(predicate, feature, limit=threshold * float(feature.held_out.acts.max()))


@mutant("5.7", says="`threshold` is compared with the activations as it is, and not")
def limit_itself(predicate, feature, threshold=0.25):
    return _scored(predicate, feature, limit=threshold)


@mutant("5.7", says="the context is the current word alone")
def only_the_word(predicate, feature, threshold=0.25):
    return _scored(predicate, feature, threshold, context=lambda words, place: [words[place]])


@mutant("5.7", says="the context is the whole row, with words that are still to")
def whole_row(predicate, feature, threshold=0.25):
    return _scored(predicate, feature, threshold, context=lambda words, place: words)


@mutant("5.7", says="the context lacks the current word")
def words_before(predicate, feature, threshold=0.25):
    return _scored(predicate, feature, threshold, context=lambda words, place: words[:place])


@mutant("5.7", says="the context has only the last 10 words")
def ten_words_of_context(predicate, feature, threshold=0.25):
    return _scored(
        predicate, feature, threshold, context=lambda words, place: words[max(place - 9, 0) : place + 1]
    )


@mutant("5.7", says="only the first ten rows are scored")
def ten_rows_only(predicate, feature, threshold=0.25):
    return _scored(predicate, feature, threshold, rows=10)


@mutant("5.7", says="only the first row is scored")
def first_row_only(predicate, feature, threshold=0.25):
    return _scored(predicate, feature, threshold, rows=1)


@mutant("5.7", says="an activation exactly at the threshold counts as firing (`>=`")
def at_the_limit_too(predicate, feature, threshold=0.25):
    limit = threshold * float(feature.found_on.acts.max())
    return _scored(predicate, feature, threshold, fires=lambda value: value >= limit)


@mutant("5.7", says="` is wrong: it is the arithmetic mean of precision and recall;")
def mean_of_precision_and_recall(predicate, feature, threshold=0.25):
    precision, recall, _, baseline = _scored(predicate, feature, threshold)
    return precision, recall, (precision + recall) / 2, baseline


@mutant("5.7", says="` is wrong: it is the geometric mean of precision and recall;")
def geometric_mean(predicate, feature, threshold=0.25):
    precision, recall, _, baseline = _scored(predicate, feature, threshold)
    return precision, recall, (precision * recall) ** 0.5, baseline


@mutant("5.7", says="` is wrong: the factor")
def product_without_the_two(predicate, feature, threshold=0.25):
    precision, recall, f1, baseline = _scored(predicate, feature, threshold)
    return precision, recall, f1 / 2, baseline


@mutant("5.7", says="` is wrong: it is the share of tokens on which the latent")
def share_as_the_baseline(predicate, feature, threshold=0.25):
    precision, recall, f1, baseline = _scored(predicate, feature, threshold)
    return precision, recall, f1, baseline / (2 - baseline)


@mutant("5.7", says="`recall` is wrong: where its denominator is zero it is")
def one_where_nothing_fires(predicate, feature, threshold=0.25):
    precision, recall, f1, baseline = _scored(predicate, feature, threshold)
    return precision, recall if baseline else 1.0, f1, baseline


@mutant("5.7", says="`precision` is in percent; expected a share between")
def in_percent(predicate, feature, threshold=0.25):
    return tuple(100 * value for value in _scored(predicate, feature, threshold))


@mutant("5.7", says="whatever `threshold` is")
def default_threshold_always(predicate, feature, threshold=0.25):
    return _scored(predicate, feature, 0.25)


@variant("5.7")
def f1_from_the_counts(predicate, feature, threshold=0.25):
    limit = threshold * feature.found_on.acts.max()
    text = feature.held_out
    said = torch.tensor(
        [
            [bool(predicate(list(words[: i + 1]), label)) for i, label in enumerate(labels)]
            for words, labels in zip(text.words, text.labels, strict=True)
        ]
    )
    fires = text.acts > limit
    hits, n_said, n_fires = (int(x.sum()) for x in (said & fires, said, fires))
    return (
        hits / max(n_said, 1),
        hits / max(n_fires, 1),
        2 * hits / max(n_said + n_fires, 1),
        2 * n_fires / max(n_fires + fires.numel(), 1) if n_fires else 0.0,
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


@mutant("5.7", says="not asked about the first word of a row")
def first_word_never_claimed(predicate, feature, threshold=0.25):
    said = _said(predicate, feature.held_out)
    said[:, 0] = False
    return _scores(said, feature.held_out.acts > threshold * feature.found_on.acts.max())


@mutant("5.7", says="the share `threshold` of all tokens counts as firing")
def quantile_of_the_tokens(predicate, feature, threshold=0.25):
    return _score(
        predicate, feature, threshold, level=feature.found_on.acts.flatten().quantile(1 - threshold)
    )


@mutant("5.7", says="it is the mean of the rows' F1")
def f1_of_each_row(predicate, feature, threshold=0.25):
    said = _said(predicate, feature.held_out)
    fires = feature.held_out.acts > threshold * feature.found_on.acts.max()
    rows = [_scores(*pair)[2] for pair in zip(said, fires, strict=True)]
    precision, recall, _, baseline = _scores(said, fires)
    return precision, recall, statistics.mean(rows), baseline


@mutant("5.7", says="taken in each row and then averaged")
def means_over_the_rows(predicate, feature, threshold=0.25):
    text = feature.held_out
    fires = text.acts > threshold * feature.found_on.acts.max()
    said = _said(predicate, text)
    rows = [_scores(*row) for row in zip(said, fires, strict=True)]
    precision, recall = (statistics.fmean(column) for column in list(zip(*rows, strict=True))[:2])
    f1 = _ratio(2 * precision * recall, precision + recall)
    return precision, recall, f1, _scores(said, fires)[3]
