"""Exercise 6.7: `absorption`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Alternative, Check, Mistakes

AXES = "n_instances"


@exercise(
    id="6.7",
    reference="absorption.absorption",
    difficulty=3,
    importance=4,
    minutes=25,
    points=4,
)
def absorption(check: Check) -> None:
    for batch, instances, features, latents, parent, children in (
        (211, 5, 4, 7, 2, (0, 3)),
        (307, 2, 7, 11, 4, [2]),
        (251, 1, 3, 5, 0, (1, 2)),
        (223, 3, 5, 8, 3, (0, 1, 4)),
    ):
        case = _case(check, batch, instances, features, latents, parent, children)
        check.equal(
            check.call(*case, parent, children),
            _share(*case, parent, children),
            AXES,
            f"right for {len(children)} {'child' if len(children) == 1 else 'children'} of feature {parent}",
            partial(_wrong, *case, parent, children),
        )
    acts, values, similarity, matches = case
    values[:, 0, parent] = 0.0
    found = check.tensor(check.call(acts, values, similarity, matches, parent, children))
    check.holds(
        bool(torch.isfinite(found).all()),
        "no NaN where no input counts",
        "Where the parent is never present with a child the result is NaN (0 divided by 0); it should be 0.",
    )
    right = _share(acts, values, similarity, matches, parent, children)
    first = torch.arange(len(right)) == 0
    check.equal(
        found,
        right,
        AXES,
        "and it is 0",
        {
            "an instance in which no input counts has 1; it should have 0": right.where(~first, 1),
            "every instance has 0 as soon as no input counts in one of them": right * 0,
        },
    )
    _check_exactly_half(check)
    check.leaves_inputs(*case, parent, children)


def _case(
    check: Check,
    batch: int,
    instances: int,
    features: int,
    latents: int,
    parent: int,
    children: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Latents, features, cosines and matches in which every condition is sometimes the one that decides."""
    values = check.sparse(batch, instances, features, probability=0.5)
    # A child may be there without the parent: a check does not lean on the world's rules.
    acts = torch.relu(check.normal(batch, instances, latents)) * 0.8
    similarity = check.uniform(instances, features, latents, low=-0.6, high=0.9)
    matches = torch.stack([check.permutation(latents)[:features] for _ in range(instances)])
    # The parent's own latent is much like the parent and often silent; another one is still more like it.
    for instance, own in enumerate(matches.tolist()):
        similarity[instance, parent, own[parent]] = 0.95
        similarity[instance, parent, next(n for n in range(latents) if n not in own)] = 0.99
    return acts, values, similarity, matches


def _share(
    acts: Tensor,
    values: Tensor,
    similarity: Tensor,
    matches: Tensor,
    parent: int,
    children: Sequence[int],
    *changes: str,
) -> Tensor:
    """Return the absorbed share; `changes` say what is wrong with it."""

    def picked(choices: dict[str, Callable[[], Tensor]], otherwise: Callable[[], Tensor]) -> Tensor:
        return next((choices[change] for change in changes if change in choices), otherwise)()

    present = values > (0.5 if "strong" in changes else 0)
    has_parent, of_children = present[..., parent], present[..., list(children)]
    with_child = of_children.all(-1) if "all children" in changes else of_children.any(-1)
    counts = picked(
        {
            "parent alone": lambda: has_parent,
            "child alone": lambda: with_child,
            "without child": lambda: has_parent & ~with_child,
            "first child": lambda: has_parent & of_children[..., 0],
            "last child": lambda: has_parent & of_children[..., -1],
            "either": lambda: has_parent | with_child,
        },
        lambda: has_parent & with_child,
    )
    cosines = picked(
        {
            "child's direction": lambda: similarity[:, children[0]],
            "absolute": lambda: similarity[:, parent].abs(),
            "first instance's cosines": lambda: similarity[:1, parent].expand_as(similarity[:, parent]),
        },
        lambda: similarity[:, parent],
    )
    own = picked(
        {
            "by number": lambda: torch.full_like(matches[:, parent], parent),
            "first instance's match": lambda: matches[:1, parent].expand_as(matches[:, parent]),
            "child's match": lambda: matches[:, children[0]],
            "most alike": lambda: similarity[:, parent].argmax(-1),
        },
        lambda: matches[:, parent],
    )
    index = own.expand(len(acts), -1)[..., None]
    strength = (acts > 0).float() if "cosine alone" in changes else acts
    along = strength if "no cosine" in changes else strength * cosines
    own_part = along.gather(-1, index)[..., 0]
    of_their_own = torch.zeros_like(similarity[:, 0]).scatter(-1, matches[:, list(children)], 1.0)
    by_others = picked(
        {
            "own counted": lambda: along.sum(-1),
            "mean": lambda: along.mean(-1),
            "largest alone": lambda: along.scatter(-1, index, -torch.inf).amax(-1),
            "positive alone": lambda: along.relu().sum(-1) - own_part.relu(),
            "children's latents": lambda: (along * of_their_own).sum(-1),
        },
        lambda: along.sum(-1) - own_part,
    )
    own_acts = acts.gather(-1, index)[..., 0]
    silent = picked(
        {
            "fires": lambda: own_acts > 0,
            "ignored": lambda: torch.ones_like(own_acts, dtype=torch.bool),
            "nearly silent": lambda: own_acts < 0.1,
            "hardly silent": lambda: own_acts < 0.01,
            "weak": lambda: own_acts < values[..., parent] / 2,
        },
        lambda: own_acts == 0,
    )
    needed = picked(
        {
            "all of it": lambda: values[..., parent],
            "any": lambda: torch.full_like(values[..., parent], 1e-9),
            "half": lambda: torch.full_like(values[..., parent], 0.5),
            "quarter": lambda: values[..., parent] / 4,
            "third": lambda: values[..., parent] / 3,
            "twice": lambda: values[..., parent] * 2,
            "children's strength": lambda: values[..., list(children)].sum(-1) / 2,
            "all strengths": lambda: values.sum(-1) / 2,
            "both strengths": lambda: (values[..., parent] + values[..., list(children)].sum(-1)) / 2,
        },
        lambda: values[..., parent] / 2,
    )
    explained = picked(
        {"unexplained": lambda: torch.ones_like(silent), "less": lambda: by_others < needed},
        lambda: by_others >= needed,
    )
    absorbed = silent & explained & (torch.ones_like(counts) if "anywhere" in changes else counts)
    below = picked(
        {
            "of silent": lambda: counts & silent,
            "of all": lambda: torch.ones_like(counts),
            "of parent": lambda: has_parent,
        },
        lambda: counts,
    )
    if "each" in changes:
        return absorbed.float()
    if "count" in changes:
        return absorbed.float().sum(0)
    if "ratio" in changes:
        ratio = by_others / values[..., parent].clamp_min(1e-8)
        return torch.where(counts & silent, ratio, 0).sum(0) / counts.sum(0).clamp_min(1)
    if "together" in changes:
        return (absorbed.float().sum() / below.float().sum().clamp_min(1)).expand(acts.shape[1])
    return absorbed.float().sum(0) / below.float().sum(0).clamp_min(1)


def _wrong(*case: Any) -> Mistakes:
    phrases = {
        "parent alone": "inputs with the parent but without a child are counted as well",
        "without child": "inputs *without* a child are looked at",
        "child alone": "inputs without the parent are counted as well",
        "either": "inputs with the parent *or* a child are counted",
        "all children": "an input counts only if *all* children are present; one is enough",
        "first child": "only the first child is looked at",
        "last child": "only the last child is looked at",
        "strong": "a feature counts as present above 0.5 only; above 0 is enough",
        "by number": "the latent with the parent's number is taken for its own; `matches` says which one is",
        "first instance's match": "instance 0's match is used for every instance",
        "child's match": "the child's own latent has to be silent; it is the parent's that has to be",
        "most alike": "the latent that is most similar to the parent is taken for its own; `matches` says which one is",
        "unexplained": "every silent parent counts as absorbed: whether other latents make up for it is not asked",
        "cosine alone": "the cosines alone are added up; a latent adds its activation times its cosine",
        "no cosine": "the activations alone are added up; a latent adds its activation times its cosine",
        "child's direction": "the direction of the child is looked at, not that of the parent",
        "absolute": "absolute cosines are taken: what points away from the parent would add along it",
        "first instance's cosines": "instance 0's cosines are used for every instance",
        "largest alone": "only the one latent that adds most is looked at; all others count together",
        "mean": "the mean over the latents is taken of what they add; they add it together",
        "positive alone": "latents that point away from the parent are left out of the sum",
        "children's latents": "only the children's own latents are added up; all others count",
        "fires": "the parent's latent *fires*; it has to be silent",
        "ignored": "it is not asked whether the parent's latent is silent",
        "nearly silent": "the parent's latent counts as silent although it fires a little; silent is 0",
        "hardly silent": "the parent's latent counts as silent although it fires a little; silent is 0",
        "weak": "the parent's latent counts as silent below half of the parent's strength; silent is 0",
        "less": "inputs count as absorbed on which the others add *less* than half of the parent's strength",
        "all of it": "the other latents have to add the whole strength; half of it is enough",
        "any": "any share of the parent's strength is enough; half of it is needed",
        "quarter": "a quarter of the parent's strength is enough; half of it is needed",
        "third": "a third of the parent's strength is enough; half of it is needed",
        "twice": "twice the parent's strength is needed; half of it is enough",
        "half": "the others are compared with 0.5, not with half of the parent's strength",
        "children's strength": "the others are compared with half of the children's strength, not of the parent's",
        "both strengths": "the others are compared with half of parent's and children's strengths, not of the parent's "
        "alone",
        "all strengths": "the others are compared with half of all features' strengths, not of the parent's alone",
        "anywhere": "absorbed inputs are also counted where the parent and a child are not both present",
        "of silent": "the share is taken of the inputs on which the parent's latent is silent",
        "of all": "the share is taken of all inputs",
        "of parent": "the share is taken of all inputs with the parent",
        "count": "absorbed inputs are counted; a share is asked for",
        "each": "it is said of every input whether it is absorbed; the share of them is asked for",
        "ratio": "the share of the strength that is made up for is averaged; inputs are counted",
        "together": "all instances are counted together; each has a share of its own",
    }
    acts, values, similarity, matches, parent, children = case

    def share(parent: int, children: Sequence[int], *changes: str) -> Tensor:
        return _share(acts, values, similarity, matches, parent, children, *changes)

    wrong: dict[str, list[Alternative]] = {phrase: [] for phrase in phrases.values()}
    for change, phrase in phrases.items():
        # Where the own latent may fire it makes a difference whether it is one of the others.
        for changes in ((change,), (change, "own counted")):
            wrong[phrase].append(lambda changes=changes: share(parent, children, *changes))  # type: ignore[misc]
    right = share(parent, children)
    shares = torch.stack([share(parent, [child]) for child in children])
    counts = torch.stack([share(parent, [child], "count") for child in children])
    return {
        **wrong,
        "it is the share that is *not* absorbed that is returned": 1 - right,
        "it is a percentage; a share is asked for": 100 * right,
        "the mean over the instances is taken": [right.mean(), right.mean().expand_as(right)],
        "the mean over the children's shares is taken": shares.mean(0),
        "the children's shares or counts are added up": [shares.sum(0), counts.sum(0)],
        "feature 0 is taken for the parent, whatever `parent` is": lambda: share(0, children),
        "feature 1 is taken for the child, whatever `children` says": lambda: share(parent, [1]),
        "features 0 and 1 are taken for parent and child": lambda: share(0, [1]),
    }


def _check_exactly_half(check: Check) -> None:
    acts = torch.zeros(4, 1, 3)
    acts[:, 0, 2] = torch.tensor([0.5, 0.25, 1.0, 0.125])
    values = torch.zeros(4, 1, 2)
    values[..., 0], values[..., 1] = 0.5, 1.0
    similarity = torch.tensor([[[1.0, 0.0, 0.5], [0.0, 0.0, 0.8]]])
    check.equal(
        check.call(acts, values, similarity, torch.tensor([[0, 2]]), 0, (1,)),
        torch.tensor([0.5]),
        AXES,
        "exactly half of the parent's strength is enough",
        {"exactly half of the parent's strength is not enough": torch.tensor([0.25])},
    )
    check.equal(
        check.call(acts[:1], values[:1], similarity, torch.tensor([[0, 2]]), 0, (1,)),
        torch.tensor([1.0]),
        AXES,
        "right where a single input counts",
    )
