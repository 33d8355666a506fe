"""Exercise 6.2: `topk`."""

from __future__ import annotations

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Alternative, Check, Mistake
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
        (11, 3, 7, 2),
        (5, 2, 13, 5),
        (7, 1, 3, 1),
        (1, 2, 5, 3),
        (3, 2, 5, 5),
    ):
        pre_acts = check.normal(batch, instances, latents) + 0.4
        check.equal(
            check.call(pre_acts, k),
            _right(pre_acts, k),
            ACTS,
            f"k = {k} of {latents} latents in {instances} {'instance' if instances == 1 else 'instances'}",
            _wrong(pre_acts, k),
        )
    pre_acts = -check.uniform(7, 2, 5, low=0.1)
    pre_acts[0, :, 2] = 0.7
    check.equal(
        check.call(pre_acts, 3),
        _right(pre_acts, 3),
        ACTS,
        "fewer than k fire where fewer are positive",
        _wrong(pre_acts, 3),
    )
    _check_ties(check)
    pre_acts = check.normal(11, 2, 7) + 0.4
    cotangent = check.normal(11, 2, 7)
    fires = _right(pre_acts, 3) > 0
    check.gradient(
        check.exercise_id,
        pre_acts,
        3,
        wrt={0: cotangent * fires},
        axes=ACTS,
        claim="the gradient reaches the latents that fire, and no others",
        cotangent=cotangent,
    )


def _right(pre_acts: Tensor, k: int) -> Tensor:
    return kept(pre_acts, largest(pre_acts, k, (2,))).relu()


def _wrong(pre_acts: Tensor, k: int) -> dict[str, Alternative]:
    def choose(chosen: Tensor, relu: bool = True) -> Tensor:
        acts = kept(pre_acts, chosen)
        return acts.relu() if relu else acts

    n = len(pre_acts)
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
        "the latents that instance 0 chooses are used for every instance": choose(own[:, :1].expand_as(own)),
        "the latents that the first input chooses are used for every input": choose(own[:1].expand_as(own)),
        "the k *smallest* are taken": choose(largest(-pre_acts, k, (2,))),
        "the k smallest are taken, and negative ones kept": choose(largest(-pre_acts, k, (2,)), relu=False),
        "one latent too few fires": choose(largest(pre_acts, k - 1, (2,))),
        "one latent too many fires": lambda: choose(largest(pre_acts, k + 1, (2,))),
        "all positive pre-activations are kept: k is not used": pre_acts.relu(),
        "1 is returned for a latent that fires, not its pre-activation": (choose(own) > 0).float(),
        "the k largest are what is silenced": pre_acts.relu() - choose(own),
        "only the k largest values are returned, without the zeros of the other latents": lambda: (
            pre_acts.topk(k, dim=-1).values.relu()
        ),
        "the k-th largest is subtracted from what fires (that shrinks it)": (
            pre_acts - pre_acts.topk(k, dim=-1).values[..., -1:]
        ).relu(),
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
