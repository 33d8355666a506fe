"""Exercise 7.2: `difference_of_means` and `probe_f1`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, Mistakes
from coursekit.checking.evidence import Outcome, explanations
from coursekit.checking.phrases import explained
from coursekit.exercises.chapter_05.parts import number_of

EMPTY = "Where F1 divides by zero (no token belongs, and none is said to) it should be 0."


@exercise(
    id="7.2",
    reference="probes.probe_f1",
    also=("difference_of_means",),
    difficulty=2,
    importance=4,
    minutes=20,
    points=3,
)
def probe_f1(check: Check) -> None:
    for tokens, d in ((29, 7), (11, 3), (5, 13), (17, 1)):
        h = check.normal(tokens, d) + 0.5
        labels = check.uniform(tokens) < 0.3
        labels[0], labels[1] = True, False
        check.equal(
            check.call_also("difference_of_means", h, labels),
            _difference(h, labels),
            "d",
            "`difference_of_means` points from the other tokens to those of the topic",
            _wrong_differences(h, labels),
            what="the result of `difference_of_means`",
        )
    check.leaves_inputs(h, labels, also="difference_of_means")
    _check_scores(check)
    _check_empty(check)
    check.leaves_inputs(*_drawn(check, KINDS[0]))


def _difference(h: Tensor, labels: Tensor) -> Tensor:
    return h[labels].mean(dim=0) - h[~labels].mean(dim=0)


def _wrong_differences(h: Tensor, labels: Tensor) -> Mistakes:
    right, spread = _difference(h, labels), h.std(dim=0)
    inside, outside = h[labels], h[~labels]
    return {
        "the labels are swapped: the direction points away from the topic": -right,
        "the mean of *all* tokens is subtracted, not that of the other tokens": inside.mean(0) - h.mean(0),
        "nothing is subtracted: that is the mean of the topic's tokens": inside.mean(0),
        "the mean of the other tokens is returned": outside.mean(0),
        "sums are subtracted, not means": inside.sum(0) - outside.sum(0),
        "the difference is brought to unit length": right / right.norm(),
        "half of the difference is returned": right / 2,
        "the difference is divided by the standard deviation of each dimension": [
            right / spread,
            right / h.std(dim=0, unbiased=False),
        ],
        "the difference is divided by the variance of each dimension": right / h.var(dim=0),
        "medians are subtracted, not means": inside.median(0).values - outside.median(0).values,
        "both means divide by the number of all tokens": (inside.sum(0) - outside.sum(0)) / len(h),
        "the mean over the dimensions is taken, not over the tokens": lambda: (
            inside.mean(1).mean() - outside.mean(1).mean()
        ),
        "the labels are used as the numbers of rows (0 and 1), not as a mask": h[labels.long()].mean(0)
        - h[(~labels).long()].mean(0),
        "only some tokens of the topic or of the others are looked at": [
            lambda n=n: inside[:n].mean(0) - outside[:n].mean(0) for n in range(1, len(h))
        ],
    }


@dataclass(frozen=True)
class Kind:
    """What is special about the texts of a case.

    Attributes:
        center: where the middle of the scores is.
        ties: the tokens of a cluster have the same score.
        best_first: tokens are in the order of their scores, so that the first ones hold no good threshold.
        outlier: one token's score is far above all others.
        below: a threshold *below* which tokens are said to belong has a better F1.
        spread: distance between clusters.
    """

    center: float = 0.0
    ties: bool = False
    best_first: bool = False
    outlier: bool = False
    below: bool = False
    spread: float = 1.0


KINDS = (
    Kind(),
    Kind(below=True, center=0.4),
    Kind(center=-20, spread=0.3),
    Kind(ties=True),
    Kind(best_first=True, center=3),
    Kind(outlier=True),
)
CLUSTERS = 6
Texts = tuple[Tensor, Tensor, Tensor, Tensor]
Measure = Callable[[Tensor, Tensor], float]


def _drawn(check: Check, kind: Kind) -> Texts:
    """Scores in clusters with wide gaps, so that every threshold in one gap says the same.

    The two texts agree in where the clusters are, and in little else. Drawn anew until the known mistakes give other
    results than what is right, and the best threshold stands out.
    """
    # Those that do not belong are more, and fewer where scores are high.
    slope = torch.linspace(0.8, 1.6, CLUSTERS) if kind.below else torch.linspace(2.6, 0.4, CLUSTERS)
    while True:
        counts = torch.randint(1, 13, (512, 2, 2, CLUSTERS), generator=check.generator)
        counts[:, 0, 1] = (counts[:, 0, 1] * slope).long() + 1
        if kind.below:
            counts[:, 0, 1, 0] = 0
            counts[:, 0, 1, 2:4] += 14
        (f1, gain), (f1_held, _), (f1_below, _) = map(
            _from_each_cluster, (counts[:, 0], counts[:, 1], counts[:, 0].flip(-1))
        )
        two, chosen = f1.topk(2).values, f1.argmax(-1)
        good = (chosen >= 1) & (chosen < CLUSTERS - 1) & (two[:, 0] - two[:, 1] > 0.03)
        good &= f1_held.argmax(-1) >= 1
        right = f1_held.gather(-1, chosen[:, None])[:, 0]
        by_accuracy = f1_held.gather(-1, gain.argmax(-1)[:, None])[:, 0]
        for other in (by_accuracy, f1_held.amax(-1), two[:, 0]):
            good &= (right - other).abs() > 2e-3
        good &= (right > 0.05) & (right < 0.95)
        if kind.below:
            good &= f1_below[:, 1:].amax(-1) > two[:, 0] + 0.05
        if kind.best_first:
            above = torch.arange(CLUSTERS) > chosen[:, None]
            good &= (counts[:, 0].sum(1) * above).sum(-1) >= 20
        for place in good.nonzero().flatten().tolist():
            texts = _texts(check, kind, counts[place])
            others = [_of_as_many(*texts), *([_parted(*texts)] if kind.ties else [])]
            others += _of_grids(*texts) if kind.outlier else []
            if all(abs(other - float(right[place])) > 2e-3 for other in others):
                return texts


def _from_each_cluster(counts: Tensor) -> tuple[Tensor, Tensor]:
    """F1, and hits minus wrong ones, if tokens are said to belong from this cluster on."""
    said = counts.flip(-1).cumsum(-1).flip(-1)
    total = counts[:, 0].sum(-1, keepdim=True)
    return 2 * said[:, 0] / (said.sum(1) + total), said[:, 0] - said[:, 1]


def _texts(check: Check, kind: Kind, counts: Tensor) -> Texts:
    result: list[Tensor] = []
    for text, half in ((0, 0.12), (1, 0.05)):
        scores, labels = [], []
        for cluster in range(CLUSTERS):
            inside, outside = counts[text, :, cluster].tolist()
            truth = torch.arange(inside + outside) < inside
            # Those that belong stand lowest, so that no threshold inside of a cluster is better than those around it.
            place = torch.linspace(-half, half, inside + outside)
            scores.append(
                cluster - CLUSTERS / 2 + (0 if kind.ties else place) + torch.zeros(inside + outside)
            )
            labels.append(truth)
        order = check.permutation(sum(map(len, scores)))
        if kind.ties:
            # Those that belong come first.
            order = (~torch.cat(labels)).int().argsort(stable=True)
        both = torch.cat(scores) * kind.spread + kind.center, torch.cat(labels)
        if kind.best_first and text == 0:
            order = both[0].argsort(descending=True)
        if kind.outlier and text == 0:
            both[0][int((both[0] + both[1]).argmax())] += 5000
        result += [values[order] for values in both]
    return result[0], result[1], result[2], result[3]


def _f1(said: Tensor, labels: Tensor) -> float:
    return 2 * int((said & labels).sum()) / max(int(said.sum()) + int(labels.sum()), 1)


def _accuracy(said: Tensor, labels: Tensor) -> float:
    return float((said == labels).float().mean())


def _precision(said: Tensor, labels: Tensor) -> float:
    return int((said & labels).sum()) / max(int(said.sum()), 1)


def _recall(said: Tensor, labels: Tensor) -> float:
    return int((said & labels).sum()) / max(int(labels.sum()), 1)


def _best(scores: Tensor, labels: Tensor, measure: Measure = _f1) -> float:
    return max(scores.unique().tolist(), key=lambda threshold: measure(scores >= threshold, labels))


def _right(scores: Tensor, labels: Tensor, held_out: Tensor, theirs: Tensor) -> float:
    return _f1(held_out >= _lowest_best(scores, labels), theirs)


def _of_as_many(scores: Tensor, labels: Tensor, held_out: Tensor, theirs: Tensor) -> float:
    """The F1 of saying as large a share of the other text's tokens to belong as is best on the first."""
    share = (scores >= _lowest_best(scores, labels)).double().mean()
    said = torch.zeros_like(theirs)
    said[held_out.topk(round(float(share * len(held_out)))).indices] = True
    return _f1(said, theirs)


def _parted(scores: Tensor, labels: Tensor, held_out: Tensor, theirs: Tensor) -> float:
    """The F1 of a threshold that was chosen as if tokens of one score could be parted."""
    order = scores.argsort(descending=True, stable=True)
    running = 2 * labels[order].cumsum(0) / (torch.arange(1, len(scores) + 1) + labels.sum())
    return _f1(held_out >= scores[order[running.argmax()]], theirs)


def _of_grids(scores: Tensor, labels: Tensor, held_out: Tensor, theirs: Tensor) -> list[float]:
    """The F1 of the best of so many thresholds, evenly spread from the lowest to the highest score."""
    lowest, highest = float(scores.min()), float(scores.max())
    grids = [torch.linspace(lowest, highest, steps).tolist() for steps in (5, 10, 20, 50, 100, 1000)]
    best = [max(grid, key=lambda t: _f1(scores >= t, labels)) for grid in grids]
    return [_f1(held_out >= threshold, theirs) for threshold in best]


def _lowest_best(scores: Tensor, labels: Tensor) -> float:
    """`_best` in one go."""
    ordered, order = scores.sort()
    said = torch.arange(len(scores), 0, -1)
    f1 = 2 * labels[order].flip(0).cumsum(0).flip(0) / (said + labels.sum())
    f1[1:][ordered[1:] == ordered[:-1]] = 0
    return float(ordered[f1.argmax()])


def _wrong_scores(scores: Tensor, labels: Tensor, held_out: Tensor, theirs: Tensor) -> dict[str, Any]:
    best = _best(scores, labels)
    said = held_out >= best
    hits = int((said & theirs).sum())
    precision, recall = _precision(said, theirs), _recall(said, theirs)
    above, below = _best(scores, labels), _best(-scores, labels)
    turned = _f1(-scores >= below, labels) > _f1(scores >= above, labels)

    def standardized(x: Tensor) -> Tensor:
        return (x - x.mean()) / x.std()

    return {
        "the threshold is chosen on the held-out text": _f1(held_out >= _best(held_out, theirs), theirs),
        "the F1 is measured on the text that the threshold was chosen on": _f1(scores >= best, labels),
        "accuracy is returned, not F1": _accuracy(said, theirs),
        "precision is returned, not F1": precision,
        "recall is returned, not F1": recall,
        "the arithmetic mean of precision and recall is returned; F1 is the harmonic one": (
            precision + recall
        )
        / 2,
        "the mean of both classes' F1 is returned, that of the topic and that of the rest": (
            _f1(said, theirs) + _f1(~said, ~theirs)
        )
        / 2,
        "the factor 2 is missing": _f1(said, theirs) / 2,
        "it is hits / (said + true - hits), the overlap": hits
        / max(int(said.sum()) + int(theirs.sum()) - hits, 1),
        "the labels are turned round": _f1(held_out >= _best(scores, ~labels), ~theirs),
        "tokens *below* the threshold are said to belong": _f1(~said, theirs),
        "tokens *below* a threshold are tried as well, where that has the better F1": _f1(
            -held_out >= below, theirs
        )
        if turned
        else _f1(said, theirs),
        "a token whose score is exactly the threshold is left out (`>` for `>=`)": _f1(
            held_out > best, theirs
        ),
        "the threshold is the mean score": _f1(held_out > scores.mean(), theirs),
        "the threshold is the median score": [
            _f1(held_out > scores.median(), theirs),
            _f1(held_out >= scores.median(), theirs),
        ],
        "the threshold is halfway between the mean scores of both kinds of tokens": _f1(
            held_out > (scores[labels].mean() + scores[~labels].mean()) / 2, theirs
        ),
        "the threshold is 0": _f1(held_out > 0, theirs),
        "the threshold is the one with the best *accuracy*": _f1(
            held_out >= _best(scores, labels, _accuracy), theirs
        ),
        "the threshold is the one with the best *precision*": _f1(
            held_out >= _best(scores, labels, _precision), theirs
        ),
        "the absolute value of the scores is taken": _f1(
            held_out.abs() >= _best(scores.abs(), labels), theirs
        ),
        "the larger F1 is returned, that of the threshold or that of saying yes to what is below it": max(
            _f1(said, theirs), _f1(~said, theirs)
        ),
        "every token is said to belong": _f1(torch.ones_like(theirs), theirs),
        "the larger F1 is returned, that of the threshold or that of always saying yes": max(
            _f1(said, theirs), _f1(torch.ones_like(theirs), theirs)
        ),
        "tokens of one score are parted: a threshold takes all of them or none": _parted(
            scores, labels, held_out, theirs
        ),
        "the same share of tokens is said to belong as on the first text, whatever their scores are": [
            _of_as_many(scores, labels, held_out, theirs),
            _f1(held_out >= held_out.quantile(1 - (scores >= best).float().mean()), theirs),
        ],
        "the scores of each text are standardized by themselves": _f1(
            standardized(held_out) >= _best(standardized(scores), labels), theirs
        ),
        "too few thresholds are tried: the best one may lie at any score": _of_grids(
            scores, labels, held_out, theirs
        ),
        "only the first tokens' scores are tried as thresholds": _f1(
            held_out >= max(scores[:20].tolist(), key=lambda t: _f1(scores >= t, labels)), theirs
        ),
        "the threshold itself is returned": best,
        "it is rounded": round(_f1(said, theirs), 1),
    }


def _check_scores(check: Check) -> None:
    outcomes, drawn = [], [_drawn(check, kind) for kind in KINDS]
    for texts in drawn:
        with explained({"ZeroDivisionError": EMPTY}):
            found = number_of(check.call(*texts), "The result of `probe_f1`")
        if math.isnan(found):
            raise Mistake(f"`probe_f1` returns NaN: a zero is divided by zero somewhere. {EMPTY}")
        outcomes.append(Outcome(found, _right(*texts)))
    wrong = next((outcome for outcome in outcomes if not outcome.right), None)
    if wrong is None:
        check.holds(True, "`probe_f1` chooses the threshold on one text and measures F1 on the other", "")
        return
    details = [f"expected {wrong.expected:.4f}, got {wrong.found:.4f}"]
    for outcome, texts in zip(outcomes, drawn, strict=True):
        outcome.wrong = _wrong_scores(*texts)
    fitting = explanations(outcomes)
    if fitting:
        raise Mistake(
            f"The result of `probe_f1` is what comes out when {', or when '.join(fitting[:2])}.", details
        )
    raise Mistake(
        "The result of `probe_f1` is not the F1 that the best threshold of the first text has on the held-out text.",
        details,
    )


def _check_empty(check: Check) -> None:
    scores, labels = torch.tensor([0.1, 0.2, 1.1, 1.2]), torch.tensor([False, False, True, True])
    some = torch.tensor([False, True, False])
    for held_out, theirs, said in (
        ((0.1, 0.2, 0.15), some & False, "no token belongs to the topic and none is said to"),
        ((0.1, 0.2, 0.15), some, "no token is said to belong"),
        ((0.1, 1.3, 0.15), some & False, "no token belongs to the topic"),
    ):
        with explained({"ZeroDivisionError": EMPTY}):
            found = number_of(
                check.call(scores, labels, torch.tensor(held_out), theirs), "The result of `probe_f1`"
            )
        below = _f1(torch.tensor(held_out) < 1.1, theirs)
        check.holds(
            found == 0 or abs(found - below) > 1e-4,
            "",
            f"Where {said}, the result of `probe_f1` is the F1 of saying yes to all others, those below the threshold. "
            "F1 is 0 there: only what reaches the threshold is said to belong.",
            [f"got {found}"],
        )
        check.holds(
            found == 0,
            "0, not NaN, where no token belongs or none is said to",
            f"Where {said}, there are no hits, and F1 is 0, also where its formula divides by zero.",
            [f"got {found}"],
        )
