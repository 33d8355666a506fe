"""Exercise 7.2: `difference_of_means` and `probe_f1`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Alternative, Check, Mistake
from coursekit.exercises.chapter_05.parts import number_of, pick

BY_ACCURACY = "the threshold is the one with the best *accuracy*"


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
    for tokens, d in ((29, 7), (11, 3), (5, 13)):
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
    for turn in range(5):
        _check_f1(check, upward=turn != 2)
    _check_empty(check)


def _difference(h: Tensor, labels: Tensor) -> Tensor:
    return h[labels].mean(dim=0) - h[~labels].mean(dim=0)


def _wrong_differences(h: Tensor, labels: Tensor) -> dict[str, Alternative]:
    right = _difference(h, labels)
    return {
        "the labels are swapped: the direction points away from the topic": -right,
        "the mean of *all* tokens is subtracted, not that of the other tokens": h[labels].mean(0) - h.mean(0),
        "nothing is subtracted: that is the mean of the topic's tokens": h[labels].mean(0),
        "sums are subtracted, not means": h[labels].sum(0) - h[~labels].sum(0),
        "the difference is brought to unit length": right / right.norm(),
        "medians are subtracted, not means": h[labels].median(0).values - h[~labels].median(0).values,
        "both means divide by the number of all tokens": (h[labels].sum(0) - h[~labels].sum(0)) / len(h),
        "the mean over the dimensions is taken, not over the tokens": lambda: (
            h[labels].mean(1).mean() - h[~labels].mean(1).mean()
        ),
    }


def _texts(check: Check, upward: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scores in clusters with wide gaps, so that every threshold in one gap says the same.

    In the other text the clusters are narrower, and other shares of them belong to the topic.
    """
    centers = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])
    # From which cluster on most tokens belong to the topic.
    first = 1 + pick(check, 3)
    inside = torch.arange(5)[:, None] >= first
    offset = torch.linspace(-0.12, 0.12, 24).expand(5, -1)
    # In a cluster of the topic the others are on top, elsewhere the topic's at the bottom: no threshold in it is best.
    place = torch.arange(24)
    few = 1 + (check.uniform(5, 1) * 5).long()
    labels = torch.where(inside, place < 24 - few, place < few)
    order = check.permutation(120)
    parts = [(centers[:, None] + offset).flatten()[order], labels.flatten()[order]]
    # Here another threshold would be better.
    inside, place, few = inside.roll(1 if first < 3 else -1, 0), torch.arange(21), few.flip(0)
    inside[0], inside[-1] = False, True
    theirs = torch.where(inside, place < 21 - few, place < few)
    narrow = torch.linspace(-0.05, 0.05, 21).expand(5, -1)
    parts += [(centers[:, None] + narrow).flatten(), theirs.flatten()]
    scores, labels, held_out, held_out_labels = parts
    if not upward:
        # All in one direction, and far from zero.
        scores, held_out = scores * 0.3 - 20, held_out * 0.3 - 20
    return scores, labels, held_out, held_out_labels


def _f1(said: Tensor, labels: Tensor) -> float:
    hits = int((said & labels).sum())
    return 2 * hits / max(int(said.sum()) + int(labels.sum()), 1)


def _best(scores: Tensor, labels: Tensor, measure=_f1) -> float:  # type: ignore[no-untyped-def]
    candidates = torch.cat([scores.unique(), scores.max()[None] + 1]).tolist()
    return max(candidates, key=lambda threshold: measure(scores >= threshold, labels))


def _accuracy(said: Tensor, labels: Tensor) -> float:
    return float((said == labels).float().mean())


def _check_f1(check: Check, upward: bool) -> None:
    # Only where most known mistakes give other numbers, and the best threshold stands out.
    for _ in range(200):
        scores, labels, held_out, theirs = _texts(check, upward)
        right = _f1(held_out >= _best(scores, labels), theirs)
        wrong = _wrong_scores(scores, labels, held_out, theirs)
        same = [phrase for phrase, value in wrong.items() if abs(right - value) < 1e-3]
        middle = scores.sort().values.view(5, -1).mean(dim=1)
        trials = sorted((_f1(scores >= gap, labels) for gap in (middle[1:] + middle[:-1]) / 2), reverse=True)
        if set(same) <= {BY_ACCURACY} and trials[0] - trials[1] > 0.03:
            break
    wrong = {phrase: value for phrase, value in wrong.items() if phrase not in same}
    found = number_of(check.call(scores, labels, held_out, theirs), "The result of `probe_f1`")
    if math.isnan(found):
        raise Mistake("`probe_f1` returns NaN: a zero is divided by zero somewhere.")
    fitting = [phrase for phrase, value in wrong.items() if abs(found - value) < 1e-6]
    if fitting:
        raise Mistake(
            f"The result of `probe_f1` is what comes out when {', or when '.join(fitting[:2])}.",
            [f"expected {right:.4f}, got {found:.4f}"],
        )
    check.holds(
        abs(found - right) < 1e-4,
        "`probe_f1` chooses the threshold on one text and measures F1 on the other",
        "The result of `probe_f1` is not the F1 that the best threshold of the first text has on the held-out text.",
        [f"expected {right:.4f}, got {found:.4f}"],
    )


def _wrong_scores(scores: Tensor, labels: Tensor, held_out: Tensor, theirs: Tensor) -> dict[str, float]:
    said = held_out >= _best(scores, labels)
    hits = int((said & theirs).sum())
    precision, recall = hits / max(int(said.sum()), 1), hits / max(int(theirs.sum()), 1)
    return {
        "the threshold is chosen on the held-out text": _f1(held_out >= _best(held_out, theirs), theirs),
        "the F1 is measured on the text that the threshold was chosen on": _f1(
            scores >= _best(scores, labels), labels
        ),
        "accuracy is returned, not F1": _accuracy(said, theirs),
        "precision is returned, not F1": precision,
        "recall is returned, not F1": recall,
        "the arithmetic mean of precision and recall is returned; F1 is the harmonic one": (
            precision + recall
        )
        / 2,
        "the factor 2 is missing": _f1(said, theirs) / 2,
        "it is hits / (said + true - hits), the overlap": hits
        / max(int(said.sum()) + int(theirs.sum()) - hits, 1),
        "the labels are turned round": _f1(held_out >= _best(scores, ~labels), ~theirs),
        "tokens *below* the threshold are said to belong": _f1(~said, theirs),
        "the threshold is the mean score": _f1(held_out > scores.mean(), theirs),
        "the threshold is 0": _f1(held_out > 0, theirs),
        BY_ACCURACY: _f1(held_out >= _best(scores, labels, _accuracy), theirs),
        "every token is said to belong": _f1(torch.ones_like(theirs), theirs),
    }


def _check_empty(check: Check) -> None:
    scores, labels = torch.tensor([0.1, 0.2, 1.1, 1.2]), torch.tensor([False, False, True, True])
    nothing = torch.zeros(3, dtype=torch.bool)
    found = number_of(
        check.call(scores, labels, torch.tensor([0.1, 0.2, 0.15]), nothing), "The result of `probe_f1`"
    )
    check.holds(
        found == 0,
        "0, not NaN, where no token belongs and none is said to",
        "Where no token belongs to the topic and none is said to, F1 divides by zero; it should be 0 then.",
        [f"got {found}"],
    )
