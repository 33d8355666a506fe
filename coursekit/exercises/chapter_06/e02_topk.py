"""Exercise 6.2: `topk`."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, Mistakes
from coursekit.exercises.chapter_06.choosing import ACTS, kept, largest


@exercise(
    id="6.2",
    reference="variants/topk.topk",
    difficulty=2,
    importance=4,
    minutes=15,
    points=3,
)
def topk(check: Check) -> None:
    for batch, instances, latents, k in (
        (11, 7, 13, 5),
        (5, 2, 7, 2),
        (7, 1, 3, 1),
        (1, 2, 5, 3),
        (3, 2, 5, 5),
        (131, 3, 11, 4),
    ):
        pre_acts = check.normal(batch, instances, latents) + 0.4
        check.equal(
            check.call(pre_acts, k),
            _right(pre_acts, k),
            ACTS,
            f"k = {k} of {latents} latents in {instances} {'instance' if instances == 1 else 'instances'}",
            partial(_wrong, pre_acts, k),
        )
    pre_acts = -check.uniform(7, 2, 5, low=0.1)
    pre_acts[0, :, 2] = 0.7
    check.equal(
        check.call(pre_acts, 3),
        _right(pre_acts, 3),
        ACTS,
        "fewer than k fire where fewer are positive",
        partial(_wrong, pre_acts, 3),
    )
    earlier = check.normal(7, 2, 5)
    check.call(earlier, 2)
    pre_acts = check.normal(7, 2, 5)
    check.equal(
        check.call(pre_acts, 2),
        _right(pre_acts, 2),
        ACTS,
        "nothing is kept from one call to the next",
        lambda: {
            "something is kept from an earlier call with the same sizes": [
                kept(pre_acts, largest(earlier, 2, (2,))).relu(),
                _right(earlier, 2),
            ],
            **_wrong(pre_acts, 2),
        },
    )
    _check_ties(check)
    _check_gradient(check)
    check.leaves_inputs(pre_acts, 2)


def _check_gradient(check: Check) -> None:
    pre_acts = check.normal(11, 2, 7)
    # In some rows fewer than k are positive.
    pre_acts[:4] -= 1.0
    cotangent = check.normal(11, 2, 7)
    own, positive = largest(pre_acts, 3, (2,)), pre_acts > 0
    check.gradient(
        check.exercise_id,
        pre_acts,
        3,
        wrt={0: cotangent * (own & positive)},
        axes=ACTS,
        claim="the gradient reaches the latents that fire, and no others",
        cotangent=cotangent,
        mistakes={
            "every pre-activation gets a gradient, also those that do not fire": cotangent,
            "every positive pre-activation gets a gradient, also those that are not among the k largest": (
                cotangent * positive
            ),
            "negative ones among the k largest get a gradient, although they give 0": cotangent * own,
        },
    )


def _right(pre_acts: Tensor, k: int) -> Tensor:
    return kept(pre_acts, largest(pre_acts, k, (2,))).relu()


def _wrong(pre_acts: Tensor, k: int) -> Mistakes:
    def choose(chosen: Tensor, relu: bool = True) -> Tensor:
        acts = kept(pre_acts, chosen)
        return acts.relu() if relu else acts

    n = len(pre_acts)
    next_one = pre_acts.topk(min(k + 1, pre_acts.shape[-1]), dim=-1).values[..., -1:]
    own = largest(pre_acts, k, (2,))
    return {
        "negative pre-activations among the k largest are kept: they must give 0": choose(own, relu=False),
        "the largest by *absolute value* are taken": choose(largest(pre_acts.abs(), k, (2,))),
        "the largest by *absolute value* are taken, and negative ones are kept": choose(
            largest(pre_acts.abs(), k, (2,)), relu=False
        ),
        "the absolute values of the largest by absolute value are returned": choose(
            largest(pre_acts.abs(), k, (2,)), relu=False
        ).abs(),
        "the absolute value of the k largest is returned instead of 0 for negative ones": choose(
            own, relu=False
        ).abs(),
        "the k largest of the whole batch are taken, not those of each input": choose(
            largest(pre_acts, k, (0, 2))
        ),
        "the k * batch largest of the whole batch are taken, not k of each input (that is BatchTopK)": choose(
            largest(pre_acts, k * n, (0, 2))
        ),
        "the k largest along the batch are taken, not along the latents": lambda: choose(
            largest(pre_acts, k, (0,))
        ),
        "the k largest along the instances are taken, not along the latents": lambda: choose(
            largest(pre_acts, k, (1,))
        ),
        "the instances of an input share its k latents": choose(largest(pre_acts, k, (1, 2))),
        "the instances of an input share k * n_instances latents": choose(
            largest(pre_acts, k * pre_acts.shape[1], (1, 2))
        ),
        "3 latents fire, whatever k is": lambda: choose(largest(pre_acts, 3, (2,))),
        "the latents that instance 0 chooses are used for every instance": choose(own[:, :1].expand_as(own)),
        "the latents that the first input chooses are used for every input": choose(own[:1].expand_as(own)),
        "the k *smallest* are taken": choose(largest(-pre_acts, k, (2,))),
        "the k smallest are taken, and negative ones kept": choose(largest(-pre_acts, k, (2,)), relu=False),
        "one latent too few fires": choose(largest(pre_acts, k - 1, (2,))),
        "one latent too many fires": lambda: choose(largest(pre_acts, k + 1, (2,))),
        "all positive pre-activations are kept: k is not used": pre_acts.relu(),
        "the first k positive ones are taken, not the largest": choose(
            (pre_acts > 0) & ((pre_acts > 0).cumsum(-1) <= k)
        ),
        "the k *smallest* of the positive ones are taken": choose(
            largest(-torch.where(pre_acts > 0, pre_acts, torch.inf), k, (2,))
        ),
        "all that reach the k-th *smallest* are kept (`kthvalue` counts from below)": lambda: choose(
            pre_acts >= pre_acts.kthvalue(k, dim=-1, keepdim=True).values
        ),
        "`argsort` is taken for the ranks: it holds places, in the order of their values": [
            choose(pre_acts.argsort(dim=-1, descending=True) < k),
            choose(pre_acts.argsort(dim=-1) < k),
            choose(pre_acts.argsort(dim=-1) >= pre_acts.shape[-1] - k),
        ],
        "the k largest values stand in the first k places, not in their own": pre_acts.relu()
        .sort(dim=-1, descending=True)
        .values.where(torch.arange(pre_acts.shape[-1]) < k, 0),
        "the largest fires with its absolute value where none is positive": torch.where(
            (pre_acts <= 0).all(-1, keepdim=True) & largest(pre_acts, 1, (2,)), pre_acts.abs(), choose(own)
        ),
        "a softmax is taken of the k largest": torch.where(own, pre_acts, -torch.inf).softmax(-1),
        "all that are above the mean are kept: k is not used": choose(
            pre_acts > pre_acts.mean(-1, keepdim=True)
        ),
        "the k-th largest is subtracted from what fires (that shrinks it)": [
            (pre_acts - pre_acts.topk(k, dim=-1).values[..., -1:]).relu(),
            choose(own) - (pre_acts.topk(k, dim=-1).values[..., -1:] * (choose(own) > 0)),
        ],
        "the largest one that does *not* fire is subtracted from what fires (that shrinks it)": [
            (pre_acts - next_one).relu(),
            (pre_acts - next_one.relu()).relu(),
        ],
        "1 is returned for a latent that fires, not its pre-activation": (choose(own) > 0).float(),
        "the k largest are what is silenced": pre_acts.relu() - choose(own),
        "only the k largest values are returned, without the zeros of the other latents": lambda: (
            pre_acts.topk(k, dim=-1).values.relu()
        ),
    }


def _check_ties(check: Check) -> None:
    pre_acts = torch.full((5, 2, 7), 0.6)
    pre_acts[:, :, 3] = 1.5
    found = check.tensor(check.call(pre_acts, 3))
    check.holds(
        found.shape == pre_acts.shape, "", "Your result has the wrong shape where pre-activations are equal."
    )
    most = int((found > 0).sum(dim=-1).max())
    if most > 3:
        raise Mistake(
            f"More than k latents fire where pre-activations are equal: {most} instead of 3. A comparison with the "
            "k-th largest value lets all of the equal ones through; choose places, not values."
        )
    right = (
        found.sort(dim=-1, descending=True).values - torch.tensor([1.5, 0.6, 0.6, 0, 0, 0, 0])
    ).abs().max() < 1e-5
    check.holds(
        bool(right),
        "of equal pre-activations no more fire than k allows",
        "Where pre-activations are equal your result is wrong: the largest and two of the equal ones must fire.",
    )
