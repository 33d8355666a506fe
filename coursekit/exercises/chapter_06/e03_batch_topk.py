"""Exercise 6.3: `batch_topk`."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, Mistakes
from coursekit.exercises.chapter_06.choosing import ACTS, kept, largest

ALIKE = "the result of `batch_topk`"


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
        (11, 5, 23, 2),
        (10, 2, 17, 1.5),
        (7, 1, 3, 1),
        (6, 2, 5, 0.5),
        (1, 3, 11, 4),
        # Budgets that are rounded: 9.1 and 9.8.
        (7, 3, 5, 1.3),
        (7, 2, 11, 1.4),
        (131, 5, 11, 2.3),
    ):
        pre_acts = _pre_acts(check, batch, instances, latents)
        check.equal(
            check.call(pre_acts, k),
            _right(pre_acts, k),
            ACTS,
            f"`batch_topk` lets {k} latents of an input fire on average",
            partial(_wrong, pre_acts, k),
            what=ALIKE,
        )
    pre_acts = -check.uniform(7, 2, 5, low=0.1)
    pre_acts[0, :, 2] = 0.7
    check.equal(
        check.call(pre_acts, 2),
        _right(pre_acts, 2),
        ACTS,
        "fewer fire where fewer are positive",
        partial(_wrong, pre_acts, 2),
        what=ALIKE,
    )
    _check_ties(check)
    _check_nothing(check)
    _check_gradient(check)
    _check_threshold(check)
    _check_inference(check)
    pre_acts = _pre_acts(check, 5, 2, 7)
    check.leaves_inputs(pre_acts, 2)
    check.leaves_inputs(pre_acts, 2, also="threshold_for_inference")
    check.leaves_inputs(pre_acts, torch.tensor([0.4, 0.9]), also="above_threshold")


def _check_ties(check: Check) -> None:
    """More pre-activations are equal than the budget has room for."""
    pre_acts = torch.full((5, 2, 7), 0.6)
    pre_acts[2, :, 3] = 1.5
    found = check.tensor(check.call(pre_acts, 2), ALIKE)
    most = int((found > 0).sum(dim=(0, 2)).max()) if found.shape == pre_acts.shape else 0
    if most > 10:
        raise Mistake(
            f"More latents fire than `batch_topk` has a budget for where pre-activations are equal: {most} instead of "
            "10. A comparison with the smallest that fires lets all of the equal ones through; choose places, not "
            "values."
        )
    check.equal(
        found.transpose(0, 1).flatten(1).sort(descending=True).values if found.ndim == 3 else found,
        torch.tensor([1.5, *[0.6] * 9, *[0.0] * 25]).expand(2, -1),
        "n_instances batch*n_hidden_ae",
        "of equal pre-activations no more fire than the budget allows",
        what=f"{ALIKE}, sorted, where pre-activations are equal,",
    )


def _check_nothing(check: Check) -> None:
    """A budget that is rounded to 0."""
    pre_acts, k = _pre_acts(check, 3, 2, 7), 0.1
    check.equal(
        check.call(pre_acts, k),
        torch.zeros_like(pre_acts),
        ACTS,
        "none fires where `round(k * batch)` is 0",
        {"one latent fires although `round(k * batch)` is 0": _of_budget(pre_acts, 1)},
        what=ALIKE,
    )


def _check_gradient(check: Check) -> None:
    pre_acts = _pre_acts(check, 11, 2, 7)
    # In the first instance fewer are positive than may fire.
    pre_acts[:, 0] -= pre_acts[:, 0].topk(3, dim=-1).values.mean()
    cotangent = check.normal(11, 2, 7)
    own, positive = largest(pre_acts, 44, (0, 2)), pre_acts > 0
    check.gradient(
        check.exercise_id,
        pre_acts,
        4,
        wrt={0: cotangent * (own & positive)},
        axes=ACTS,
        claim="the gradient reaches the latents that fire, and no others",
        cotangent=cotangent,
        mistakes={
            "every pre-activation gets a gradient, also those that do not fire": cotangent,
            "every positive pre-activation gets a gradient, also those that do not fire": cotangent
            * positive,
            "negative ones among the largest get a gradient, although they give 0": cotangent * own,
        },
    )


def _pre_acts(check: Check, batch: int, instances: int, latents: int) -> Tensor:
    """Pre-activations that are much larger in some instances and on some inputs than in others."""
    scale = check.uniform(1, instances, 1, low=0.3, high=3.0) * check.uniform(
        batch, instances, 1, low=0.2, high=2.0
    )
    return (check.normal(batch, instances, latents) + 0.5) * scale


def _right(pre_acts: Tensor, k: float) -> Tensor:
    return _of_budget(pre_acts, k * len(pre_acts))


def _of_budget(pre_acts: Tensor, count: float) -> Tensor:
    """What fires when so many latents may, over all inputs of an instance."""
    return kept(pre_acts, largest(pre_acts, min(round(count), pre_acts[:, 0].numel()), (0, 2))).relu()


def _wrong(pre_acts: Tensor, k: float) -> Mistakes:
    def choose(values: Tensor, count: float, dims: tuple[int, ...]) -> Tensor:
        return kept(pre_acts, largest(values, round(count), dims)).relu()

    n, instances = pre_acts.shape[:2]
    right = _right(pre_acts, k)
    flat = right.transpose(0, 1).reshape(instances, -1)

    def rows_in_memory() -> Tensor:
        """As many rows as there are instances, of what stands together in memory."""
        rows = pre_acts.reshape(instances, -1)
        return kept(rows, largest(rows, round(k * n), (1,))).relu().reshape(pre_acts.shape)

    return {
        "negative pre-activations among the largest are kept: they must give 0": kept(
            pre_acts, largest(pre_acts, round(k * n), (0, 2))
        ),
        "k latents of *each* input fire; the budget is k for each input on average": [
            lambda: choose(pre_acts, k, (2,)),
            lambda: choose(pre_acts, max(int(k), 1), (2,)),
        ],
        "k latents of the whole batch fire: k is not multiplied with the size of the batch": [
            lambda: _of_budget(pre_acts, k),
            lambda: _of_budget(pre_acts, max(round(k), 1)),
        ],
        **_wrong_budgets(pre_acts, k),
        # Where the budget is rounded, these are the other ways to do that.
        "one latent too few fires": _of_budget(pre_acts, k * n - 1) if k * n == int(k * n) else None,
        "one latent too many fires": _of_budget(pre_acts, k * n + 1) if k * n == int(k * n) else None,
        "all instances share one budget, and a strong one takes it from the others": lambda: choose(
            pre_acts, k * n * instances, (0, 1, 2)
        ),
        "all instances share the budget of one": lambda: choose(pre_acts, k * n, (0, 1, 2)),
        "the largest by absolute value are taken": lambda: choose(pre_acts.abs(), k * n, (0, 2)),
        "k inputs are chosen for every latent": lambda: choose(pre_acts, k, (0,)),
        "every latent has a budget of its own": lambda: choose(
            pre_acts, max(1, round(k * n / pre_acts.shape[2])), (0,)
        ),
        "the smallest are taken": lambda: choose(-pre_acts, k * n, (0, 2)),
        "all positive pre-activations are kept": pre_acts.relu(),
        "the places that instance 0 chooses are used for every instance": lambda: kept(
            pre_acts, largest(pre_acts, round(k * n), (0, 2))[:, :1].expand_as(pre_acts)
        ).relu(),
        "1 is returned for a latent that fires, not its pre-activation": (right > 0).float(),
        "the smallest latent that fires is subtracted from all (that shrinks them)": torch.where(
            right > 0, right - _smallest(right)[:, None], 0
        ),
        "it is left flat: the axes of batch and latents are not taken apart again": flat,
        "`reshape` or `view` puts latents of several instances into one row: the axis of the instances has to be "
        "moved to the front first": rows_in_memory,
        "the flat axis is put together in one order and taken apart in another": [
            lambda: flat.reshape(instances, -1, n).permute(2, 0, 1),
            lambda: right.permute(1, 2, 0).reshape(instances, n, -1).transpose(0, 1),
        ],
        "the flat axis is brought back by `reshape` or `view` alone, which leaves the instances in front": (
            flat.reshape(pre_acts.shape)
        ),
    }


def _wrong_budgets(pre_acts: Tensor, k: float) -> Mistakes:
    n, instances, latents = pre_acts.shape
    return {
        "k is rounded to a whole number before it is multiplied with the size of the batch": [
            lambda whole=whole, least=least: _of_budget(pre_acts, max(whole, least) * n)  # type: ignore[misc]
            for whole in (round(k), int(k), math.ceil(k))
            for least in (0, 1)
        ],
        "the budget is cut down to a whole number, not rounded": lambda: _of_budget(pre_acts, int(k * n)),
        "the budget is rounded up to a whole number": lambda: _of_budget(pre_acts, math.ceil(k * n)),
        "k * n_hidden_ae latents fire instead of k * batch": lambda: _of_budget(pre_acts, k * latents),
        "k * batch * n_instances latents fire in every instance instead of k * batch": lambda: _of_budget(
            pre_acts, k * n * instances
        ),
    }


def _finite(values: Tensor) -> Tensor:
    return torch.where(values.isfinite(), values, 0)


def _smallest(acts: Tensor) -> Tensor:
    return _finite(torch.where(acts > 0, acts, torch.inf).amin((0, 2)))


def _check_threshold(check: Check) -> None:
    what = "the result of `threshold_for_inference`"
    for batch, instances, latents, k in (
        (11, 3, 23, 2),
        (10, 2, 17, 1.5),
        (7, 1, 3, 1),
        (9, 2, 5, 1.3),
        (131, 5, 11, 0.7),
    ):
        # Once so large that hardly any number is above all of them.
        pre_acts = _pre_acts(check, batch, instances, latents) * (1e6 if batch == 9 else 1)
        check.equal(
            check.call_also("threshold_for_inference", pre_acts, k),
            _smallest(_right(pre_acts, k)),
            "n_instances",
            "`threshold_for_inference` is the smallest latent that fires, in every instance",
            partial(_wrong_thresholds, pre_acts, k),
            what=what,
        )
    # In the first instance nothing fires, in the second less than the budget allows, in the third all of it.
    pre_acts = -check.uniform(5, 3, 7, low=0.1)
    pre_acts[0, 1, 3] = 0.4
    pre_acts[:, 2] = check.uniform(5, 7, low=0.2)
    right = _smallest(_right(pre_acts, 1))
    check.equal(
        check.call_also("threshold_for_inference", pre_acts, 1),
        right,
        "n_instances",
        "0 for an instance in which nothing fires",
        lambda: {
            "an instance in which none fires has an infinite threshold; it should be 0": right.where(
                right > 0, torch.inf
            ),
            "an instance in which none fires has NaN; it should be 0": right.where(right > 0, torch.nan),
            "every instance has 0 as soon as none fires in one of them": torch.zeros(3),
            **{
                phrase: wrong
                for phrase, wrong in _wrong_thresholds(pre_acts, 1).items()
                if "one threshold" not in phrase and "zeros" not in phrase
            },
        },
        what=what,
    )


def _wrong_thresholds(pre_acts: Tensor, k: float) -> Mistakes:
    n, instances = pre_acts.shape[:2]
    acts = _right(pre_acts, k)
    smallest = _smallest(acts)
    following = torch.where(acts > 0, -torch.inf, pre_acts).amax((0, 2))
    infinite = torch.where(acts > 0, acts, torch.inf)
    of_inputs = infinite.amin(2)
    counted = of_inputs.isfinite()
    kth = pre_acts.transpose(0, 1).flatten(1).topk(round(k * n), dim=-1).values[:, -1]
    by_row = kept(pre_acts, largest(pre_acts, max(round(k), 1), (2,))).relu()
    return {
        "the last of the round(k * batch) largest is taken, even if it is negative and does not fire": kth,
        "the last of the round(k * batch) largest is taken, and 0 if it is negative, although others fire": (
            kth.relu()
        ),
        "there is one threshold for all instances": [
            smallest.min().expand(instances),
            smallest.mean().expand(instances),
            smallest.max().expand(instances),
            smallest.min(),
        ],
        "the *largest* latent that fires is returned": acts.amax((0, 2)),
        "the mean of the latents that fire is returned": acts.sum((0, 2))
        / (acts > 0).sum((0, 2)).clamp_min(1),
        "the zeros of the silent latents count as the smallest": acts.amin((0, 2)),
        "the smallest pre-activation of all is returned": pre_acts.amin((0, 2)),
        "the smallest positive pre-activation is returned, whether it fires or not: k is not used": _smallest(
            pre_acts.relu()
        ),
        "k latents of each input are taken instead of k on average": _smallest(by_row),
        "the largest pre-activation that does *not* fire is returned": [following, following.relu()],
        "it lies half-way to the next pre-activation; it is the smallest that fires itself": [
            (smallest + following) / 2,
            torch.where(smallest > 0, (smallest + following) / 2, 0),
        ],
        "the mean of every input's own smallest is taken, not the smallest of all": torch.where(
            counted, of_inputs, 0
        ).sum(0)
        / counted.sum(0).clamp_min(1),
        "the mean of every input's own smallest is taken, and an input on which none fires counts as 0": torch.where(
            counted, of_inputs, 0
        ).mean(0),
        "a number takes the place of infinity that is not large enough": [
            torch.where(smallest > 0, smallest.clamp(max=limit), 0) for limit in (1.0, 10.0, 1e2, 1e3, 1e4)
        ],
        "only the first input is looked at": _smallest(acts[:1]),
        "every latent has a threshold of its own": [infinite.amin(0), _finite(infinite.amin(0))],
        "every input has a threshold of its own": [infinite.amin((1, 2)), _finite(infinite.amin((1, 2)))],
        "every input and instance has a threshold of its own": [of_inputs, _finite(of_inputs)],
        **{
            phrase: [
                lambda budget=budget: _smallest(budget())  # type: ignore[misc]
                for budget in (budgets if isinstance(budgets, list) else [budgets])
            ]
            for phrase, budgets in _wrong_budgets(pre_acts, k).items()
        },
        "the budget is k, not k * batch": lambda: _smallest(_of_budget(pre_acts, max(1, round(k)))),
    }


def _check_inference(check: Check) -> None:
    what = "the result of `above_threshold`"
    for batch, threshold in (
        (11, torch.tensor([1.4, 0.9, 1.7])),
        (5, torch.tensor([0.3])),
        (131, torch.tensor([0.0, 0.2, 1.1, 0.6, 0.5])),
    ):
        pre_acts = check.normal(batch, len(threshold), 7)
        # Exactly at the threshold.
        pre_acts[2, :, 1] = threshold
        check.equal(
            check.call_also("above_threshold", pre_acts, threshold),
            _above(pre_acts, threshold),
            ACTS,
            "`above_threshold` lets fire what reaches the threshold of its instance",
            partial(_wrong_inference, pre_acts, threshold),
            what=what,
        )
    pre_acts, threshold = check.normal(11, 3, 7), torch.tensor([0.4, 0.9, 0.0])
    together = check.tensor(check.call_also("above_threshold", pre_acts, threshold), what)
    alone = [check.tensor(check.call_also("above_threshold", row[None], threshold), what) for row in pre_acts]
    check.holds(
        torch.equal(torch.cat(alone), together),
        "what fires on an input does not depend on the other inputs",
        "What fires on an input depends on the other inputs of the batch. Afterwards only the threshold may decide.",
    )


def _above(pre_acts: Tensor, threshold: Tensor) -> Tensor:
    return torch.where(pre_acts >= threshold[:, None], pre_acts, 0).relu()


def _wrong_inference(pre_acts: Tensor, threshold: Tensor) -> Mistakes:
    at = threshold[:, None]
    reach, right = pre_acts >= at, _above(pre_acts, threshold)
    centered = pre_acts - pre_acts.mean(0)
    others = "what fires on an input depends on the other inputs of the batch"
    return {
        "the threshold is not used": pre_acts.relu(),
        "a latent that is exactly at the threshold is silent": torch.where(pre_acts > at, pre_acts, 0).relu(),
        "the threshold is subtracted (that shrinks what fires)": (pre_acts - at).relu(),
        "what is below the threshold is raised to it": torch.maximum(pre_acts, at),
        "the threshold of instance 0 is used for every instance": torch.where(
            pre_acts >= threshold[0], pre_acts, 0
        ).relu(),
        "one threshold is used for all instances": [
            torch.where(pre_acts >= value, pre_acts, 0).relu()
            for value in (threshold.mean(), threshold.min(), threshold.max())
        ],
        "negative pre-activations fire where the threshold is 0": [
            torch.where(pre_acts.abs() >= at, pre_acts, 0),
            torch.where(reach | (at == 0), pre_acts, 0),
        ],
        "nothing fires in an instance whose threshold is 0; all that is positive should": torch.where(
            at > 0, right, 0
        ),
        "the largest by absolute value fire": [
            torch.where(pre_acts.abs() >= at, pre_acts, 0).relu(),
            torch.where(pre_acts.abs() >= at, pre_acts.abs(), 0),
        ],
        "what is below the threshold fires": [
            torch.where(pre_acts < at, pre_acts, 0),
            torch.where(pre_acts <= at, pre_acts, 0),
            torch.where(pre_acts < at, pre_acts, 0).relu(),
            torch.where(pre_acts <= at, pre_acts, 0).relu(),
        ],
        "1 is returned for a latent that fires": [(right > 0).float(), reach.float()],
        "all positive latents of an input fire where one of them reaches the threshold": torch.where(
            reach.any(-1, keepdim=True), pre_acts, 0
        ).relu(),
        f"a latent fires everywhere if it reaches the threshold on one input: {others}": torch.where(
            reach.any(0), pre_acts, 0
        ).relu(),
        f"the mean of the batch is subtracted first: {others}": [
            torch.where(centered >= at, pre_acts, 0).relu(),
            torch.where(centered >= at, centered, 0),
        ],
        "only the largest latent of each input and instance fires": torch.where(
            right == right.amax(-1, keepdim=True), right, 0
        ),
    }
