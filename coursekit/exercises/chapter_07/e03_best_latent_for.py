"""Exercise 7.3: `best_latent_for`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake
from coursekit.checking.door import Handle
from coursekit.checking.evidence import Outcome, explanations
from part_utils.probes import best_thresholds


@exercise(
    id="7.3",
    reference="probes.best_latent_for",
    difficulty=2,
    importance=3,
    minutes=10,
    points=2,
)
def best_latent_for(check: Check) -> None:
    outcomes = []
    for scale, latents, late, plain in (
        (1, 23, False, False),
        (2, 19, True, False),
        (1, 41, False, True),
        (3, 21, False, False),
    ):
        acts, labels = _case(check, scale, latents, late, plain)
        found = _whole(check.call(acts, labels))
        outcomes.append(Outcome(found, int(_f1(acts > 0, labels).argmax()), _wrong(acts, labels)))
    wrong = next((outcome for outcome in outcomes if not outcome.right), None)
    if wrong is None:
        check.holds(True, "the latent whose firing has the largest F1, among weak, strong and dead ones", "")
        check.leaves_inputs(acts, labels)
        return
    details = [f"expected latent {wrong.expected}, got {wrong.found}"]
    fitting = explanations(outcomes)
    if DEAD in fitting:
        raise Mistake(
            f"Your function returns latent {wrong.found}, which never fires there: 0 divided by 0 is NaN, and `argmax` "
            "takes NaN for the largest number.",
            details,
        )
    raise Mistake(
        f"Your function returns the latent that {', or that '.join(fitting[:2])}."
        if fitting
        else "Your function returns another latent than the one whose firing has the largest F1.",
        details,
    )


DEAD = "never fires on the topic"
TOKENS, TOPIC = 200, 30
PLANTED = (
    # On how many tokens of the topic a latent fires, and on how many others. First the one with the largest F1.
    (23, 22),
    # More is right (accuracy), and a larger correlation.
    (12, 1),
    # The largest recall minus the share of false alarms.
    (28, 45),
    (3, 0),
    (30, 120),
    # Silent on the topic, and hardly anywhere else.
    (2, 150),
    # Tells the topic by how strongly it fires, but fires nearly everywhere.
    (28, 140),
    # Strong.
    (9, 85),
    # Fires on other tokens alone.
    (0, 31),
    (0, 0),
    # Fires nearly everywhere else.
    (20, 168),
    # On about as many tokens as belong.
    (16, 17),
    # The most hits for the number of times that it fires, with all tokens added.
    (29, 53),
)
SILENT, STRONG, LOUD, OUTSIDE, NEVER = 5, 6, 7, 8, 9


def _case(check: Check, scale: int, latents: int, late: bool, plain: bool) -> tuple[Tensor, Tensor]:
    """Latents of which each is the best by another measure, and some that are the best by none.

    With `late` no token of the topic is among the first. With `plain` none is dead, none tells the topic by its
    silence, and the best one fires as strongly as others.
    """
    n, topic = TOKENS * scale, TOPIC * scale
    places = check.permutation(n - 100 * late) + 100 * late
    labels = torch.zeros(n, dtype=torch.bool)
    labels[places[:topic]] = True
    inside, outside = labels.nonzero().flatten(), (~labels).nonzero().flatten()
    planted = [
        (1, 40) if plain and latent in (SILENT, OUTSIDE, NEVER) else count
        for latent, count in enumerate(PLANTED)
    ]
    counts = [(hits * scale, false * scale) for hits, false in planted]
    while len(counts) < latents:
        hits = 1 + int(check.permutation(topic // 2)[0])
        counts.append((hits, 4 * hits + int(check.permutation(n // 4)[0])))
    fires = torch.zeros(n, latents, dtype=torch.bool)
    strength = check.uniform(n, latents, low=0.5, high=1.5) * check.uniform(latents, low=0.2, high=5)
    for latent, (hits, false) in enumerate(counts):
        fires[inside[check.permutation(len(inside))[:hits]], latent] = True
        fires[outside[check.permutation(len(outside))[:false]], latent] = True
    strength[:, 0] = check.uniform(n, low=0.02, high=0.09) * (10 if plain else 1)
    strength[:, STRONG] = torch.where(labels, 1.0, 0.2) * check.uniform(n, low=0.8, high=1.2)
    strength[:, LOUD] = 40.0
    order = check.permutation(latents)
    # The right one is not among the first, and the one that only fires elsewhere comes before the dead one.
    for latent, wanted in ((0, latents - 2), (OUTSIDE, 1), (NEVER, latents - 4)):
        place = int((order == latent).nonzero()[0])
        order[place], order[wanted] = order[wanted].clone(), order[place].clone()
    return (fires * strength)[:, order], labels


def _f1(fires: Tensor, labels: Tensor) -> Tensor:
    hits = (fires & labels[:, None]).sum(0)
    return 2 * hits / (fires.sum(0) + labels.sum())


def _wrong(acts: Tensor, labels: Tensor) -> dict[str, Any]:
    fires = acts > 0
    inside, outside = fires[labels].float(), fires[~labels].float()
    hits, false = inside.sum(0), outside.sum(0)
    mean_in, mean_out = acts[labels].mean(0), acts[~labels].mean(0)

    def correlation() -> Tensor:
        x = fires.double() - fires.double().mean(0)
        return (labels.double() - labels.double().mean()) @ x / x.norm(dim=0).clamp_min(1e-9)

    def weighted() -> Tensor:
        return 2 * acts[labels].sum(0) / (acts.sum(0) + labels.sum())

    def unguarded() -> Tensor:
        precision, recall = hits / fires.sum(0), hits / labels.sum()
        return 2 * precision * recall / (precision + recall)

    measures: dict[str, Callable[[], Tensor]] = {
        "has the largest mean activation on the topic's tokens, however often it fires on others": lambda: mean_in,
        "has the largest mean activation": lambda: acts.mean(0),
        "has the largest difference of mean activations": lambda: mean_in - mean_out,
        "has the largest F1 if strong activations count for more than weak ones": weighted,
        "has the largest precision": lambda: torch.nan_to_num(hits / fires.sum(0)),
        "has the largest share of hits among the times that it fires and one more": lambda: (
            hits / (hits + false + 1)
        ),
        "fires on most of the topic's tokens (recall), however often it fires elsewhere": lambda: hits,
        "is right most often (accuracy, or hits minus false alarms)": lambda: hits - false,
        "has the largest share of hits minus share of false alarms": lambda: inside.mean(0) - outside.mean(0),
        "has the most hits for the number of times that it fires, with *all* tokens added": lambda: (
            hits / (hits + false + len(labels))
        ),
        "correlates most with the topic": correlation,
        "has the largest F1 for the tokens *outside* of the topic": lambda: _f1(fires, ~labels),
        "has the largest F1 if its silence counts as a yes": lambda: _f1(~fires, labels),
        "has the largest F1 if its firing or its silence counts as a yes, whichever is better": lambda: torch.maximum(
            _f1(fires, labels), _f1(~fires, labels)
        ),
        "has the largest F1 with a threshold of its own, not 0": lambda: best_thresholds(acts, labels).f1,
        "has the largest F1 if it counts as firing above its own mean": lambda: _f1(acts > acts.mean(0), labels),
        "has the largest F1 above a threshold that is larger than 0": lambda: _f1(acts > 0.1, labels),
        "comes first: where an activation of 0 counts as firing, all latents have the same F1": lambda: _f1(
            acts >= 0, labels
        ),
        "has the *smallest* F1": lambda: -_f1(fires, labels),
        "fires most, wherever it does": lambda: hits + false,
        "has the largest F1 on the first tokens alone": lambda: _f1(fires[:50], labels[:50]),
        "has the largest F1 among the first ten": lambda: _f1(fires[:, :10], labels),
    }  # fmt: skip
    known: dict[str, Any] = {
        phrase: lambda make=make: int(make().argmax()) for phrase, make in measures.items()
    }
    known[DEAD] = [lambda: int(unguarded().argmax()), lambda: int((hits / fires.sum(0)).argmax())]
    known["has the largest F1 if counts are kept in 8 bits, which hold no more than 255"] = [
        lambda: int((2 * hits.byte() / (fires.sum(0).byte() + labels.sum().float())).argmax()),
        lambda: int((2 * hits.byte() / (fires.sum(0).byte() + labels.sum())).argmax()),
        lambda: int((2 * hits.char() / (fires.sum(0).char() + labels.sum().float())).argmax()),
        lambda: int((2 * hits.char() / (fires.sum(0).char() + labels.sum())).argmax()),
    ]
    known["stands one place behind the best: the first latent is number 0"] = lambda: (
        int(_f1(fires, labels).argmax()) + 1
    )
    known["has the number of the *token* on which most latents fire"] = lambda: int(fires.sum(1).argmax())
    return known


def _whole(found: object) -> int:
    if isinstance(found, bool):
        raise Mistake("Your result is a truth value; expected the number of a latent.")
    if isinstance(found, int):
        return found
    if isinstance(found, Tensor) and found.numel() == 1 and not found.is_floating_point():
        return int(found)
    if found is None:
        raise Mistake("Your result is None. Does your function end with a `return`?")
    if isinstance(found, Tensor):
        raise Mistake(
            f"Your result is a tensor of shape {list(found.shape)} with {found.dtype} values; expected the number of "
            "one latent (`argmax` gives places, `max` gives values)."
        )
    kind = found.type_name if isinstance(found, Handle) else type(found).__name__
    raise Mistake(f"Your result is of type {kind}; expected the number of one latent.")
