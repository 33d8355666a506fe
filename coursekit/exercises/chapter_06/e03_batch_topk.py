"""Exercise 6.3: `batch_topk`."""

from __future__ import annotations

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Alternative, Check
from coursekit.exercises.chapter_06.choosing import ACTS, kept, largest


@exercise(
    id="6.3",
    reference="variants/batch_topk.batch_topk",
    also=("threshold_for_inference", "above_threshold"),
    difficulty=3,
    importance=4,
    minutes=25,
    points=4,
)
def batch_topk(check: Check) -> None:
    for batch, instances, latents, k in (
        (11, 3, 7, 2),
        (10, 2, 13, 1.5),
        (7, 1, 3, 1),
        (6, 2, 5, 0.5),
        (1, 3, 11, 4),
    ):
        pre_acts = _pre_acts(check, batch, instances, latents)
        check.equal(
            check.call(pre_acts, k),
            _right(pre_acts, k),
            ACTS,
            f"`batch_topk` lets {k} latents of an input fire on average",
            _wrong(pre_acts, k),
            what="the result of `batch_topk`",
        )
    pre_acts = -check.uniform(7, 2, 5, low=0.1)
    pre_acts[0, :, 2] = 0.7
    check.equal(
        check.call(pre_acts, 2),
        _right(pre_acts, 2),
        ACTS,
        "fewer fire where fewer are positive",
        _wrong(pre_acts, 2),
        what="the result of `batch_topk`",
    )
    pre_acts = _pre_acts(check, 11, 2, 7)
    cotangent = check.normal(11, 2, 7)
    check.gradient(
        check.exercise_id,
        pre_acts,
        2,
        wrt={0: cotangent * (_right(pre_acts, 2) > 0)},
        axes=ACTS,
        claim="the gradient reaches the latents that fire, and no others",
        cotangent=cotangent,
    )
    _check_threshold(check)
    _check_inference(check)


def _pre_acts(check: Check, batch: int, instances: int, latents: int) -> Tensor:
    """Pre-activations that are much larger in some instances and on some inputs than in others."""
    scale = check.uniform(1, instances, 1, low=0.3, high=3.0) * check.uniform(
        batch, instances, 1, low=0.2, high=2.0
    )
    return (check.normal(batch, instances, latents) + 0.5) * scale


def _right(pre_acts: Tensor, k: float) -> Tensor:
    return kept(pre_acts, largest(pre_acts, round(k * len(pre_acts)), (0, 2))).relu()


def _wrong(pre_acts: Tensor, k: float) -> dict[str, Alternative]:
    def choose(values: Tensor, count: float, dims: tuple[int, ...]) -> Tensor:
        return kept(pre_acts, largest(values, round(count), dims)).relu()

    n, instances = pre_acts.shape[:2]
    return {
        "negative pre-activations among the largest are kept: they must give 0": kept(
            pre_acts, largest(pre_acts, round(k * n), (0, 2))
        ),
        "k latents of *each* input fire; the budget is k for each input on average": lambda: choose(
            pre_acts, k, (2,)
        ),
        "k latents of the whole batch fire: k is not multiplied with the size of the batch": lambda: choose(
            pre_acts, k, (0, 2)
        ),
        "k * n_hidden_ae latents fire instead of k * batch": lambda: choose(
            pre_acts, k * pre_acts.shape[2], (0, 2)
        ),
        "all instances share one budget, and a strong one takes it from the others": lambda: choose(
            pre_acts, k * n * instances, (0, 1, 2)
        ),
        "all instances share the budget of one": lambda: choose(pre_acts, k * n, (0, 1, 2)),
        "the largest by absolute value are taken": lambda: choose(pre_acts.abs(), k * n, (0, 2)),
        "k inputs are chosen for every latent": lambda: choose(pre_acts, k, (0,)),
        "k is rounded to a whole number before it is multiplied with the size of the batch": lambda: choose(
            pre_acts, int(k) * n, (0, 2)
        ),
        "k is rounded up to a whole number before it is multiplied with the size of the batch": lambda: (
            choose(pre_acts, -int(-k // 1) * n, (0, 2))
        ),
        "one latent too few fires": lambda: choose(pre_acts, k * n - 1, (0, 2)),
        "one latent too many fires": lambda: choose(pre_acts, k * n + 1, (0, 2)),
        "the smallest are taken": lambda: choose(-pre_acts, k * n, (0, 2)),
        "all positive pre-activations are kept": pre_acts.relu(),
        "the places that instance 0 chooses are used for every instance": lambda: kept(
            pre_acts, largest(pre_acts, round(k * n), (0, 2))[:, :1].expand_as(pre_acts)
        ).relu(),
        "1 is returned for a latent that fires, not its pre-activation": (_right(pre_acts, k) > 0).float(),
    }


def _smallest(acts: Tensor) -> Tensor:
    smallest = torch.where(acts > 0, acts, torch.inf).amin((0, 2))
    return torch.where(smallest.isfinite(), smallest, 0)


def _check_threshold(check: Check) -> None:
    for batch, instances, latents, k in ((11, 3, 7, 2), (10, 2, 13, 1.5), (7, 1, 3, 1)):
        pre_acts = _pre_acts(check, batch, instances, latents)
        acts = _right(pre_acts, k)
        by_row = kept(pre_acts, largest(pre_acts, max(round(k), 1), (2,))).relu()
        check.equal(
            check.call_also("threshold_for_inference", pre_acts, k),
            _smallest(acts),
            "n_instances",
            "`threshold_for_inference` is the smallest latent that fires, in every instance",
            {
                "there is one threshold for all instances": [
                    _smallest(acts).min().expand(instances),
                    _smallest(acts).mean().expand(instances),
                    _smallest(acts).min(),
                ],
                "the *largest* latent that fires is returned": acts.amax((0, 2)),
                "the mean of the latents that fire is returned": acts.sum((0, 2)) / (acts > 0).sum((0, 2)),
                "the zeros of the silent latents count as the smallest": acts.amin((0, 2)),
                "the smallest pre-activation of all is returned": pre_acts.amin((0, 2)),
                "k latents of each input are taken instead of k on average": _smallest(by_row),
                "the largest pre-activation that does *not* fire is returned": torch.where(
                    acts > 0, -torch.inf, pre_acts
                ).amax((0, 2)),
                "every latent has a threshold of its own": torch.where(acts > 0, acts, torch.inf).amin(0),
            },
            what="the result of `threshold_for_inference`",
        )
    pre_acts = -check.uniform(5, 2, 7, low=0.1)
    pre_acts[0, 1, 3] = 0.4
    found = check.call_also("threshold_for_inference", pre_acts, 1)
    check.equal(
        found,
        torch.tensor([0.0, 0.4]),
        "n_instances",
        "0 for an instance in which nothing fires",
        {"a negative pre-activation counts as firing": pre_acts.flatten(0, 0).amax((0, 2))},
        what="the result of `threshold_for_inference`",
    )


def _check_inference(check: Check) -> None:
    threshold = torch.tensor([0.4, 0.9, 0.0])
    pre_acts = check.normal(11, 3, 7)
    pre_acts[2, 0, 1], pre_acts[3, 1, 4] = 0.4, 0.9
    at = threshold[:, None]
    right = torch.where(pre_acts >= at, pre_acts, 0).relu()
    check.equal(
        check.call_also("above_threshold", pre_acts, threshold),
        right,
        ACTS,
        "`above_threshold` lets fire what reaches the threshold of its instance",
        {
            "a latent that is exactly at the threshold is silent": torch.where(
                pre_acts > at, pre_acts, 0
            ).relu(),
            "the threshold is subtracted (that shrinks what fires)": (pre_acts - at).relu(),
            "the threshold of instance 0 is used for every instance": torch.where(
                pre_acts >= threshold[0], pre_acts, 0
            ).relu(),
            "one threshold is used for all instances": [
                torch.where(pre_acts >= value, pre_acts, 0).relu()
                for value in (threshold.mean(), threshold.min(), threshold.max())
            ],
            "negative pre-activations fire where the threshold is 0": torch.where(
                pre_acts.abs() >= at, pre_acts, 0
            ),
            "the largest by absolute value fire": torch.where(pre_acts.abs() >= at, pre_acts, 0).relu(),
            "what is below the threshold fires": torch.where(pre_acts < at, pre_acts, 0).relu(),
            "1 is returned for a latent that fires": (right > 0).float(),
            "the threshold is not used": pre_acts.relu(),
        },
        what="the result of `above_threshold`",
    )
    alone = torch.cat(
        [check.tensor(check.call_also("above_threshold", row[None], threshold)) for row in pre_acts]
    )
    check.holds(
        torch.equal(alone, check.call_also("above_threshold", pre_acts, threshold)),
        "what fires on an input does not depend on the other inputs",
        "What fires on an input depends on the other inputs of the batch. Afterwards only the threshold may decide.",
    )
