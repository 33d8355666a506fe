"""Exercise 6.7: `absorption`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Alternative, Check

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
        (211, 3, 5, 7, 1, (0, 3)),
        (307, 2, 7, 11, 4, [2]),
        (251, 1, 3, 5, 0, (1, 2)),
    ):
        case = _case(check, batch, instances, features, latents, parent, children)
        check.equal(
            check.call(*case, parent, children),
            _share(*case, parent, children),
            AXES,
            f"right for {len(children)} {'child' if len(children) == 1 else 'children'} of feature {parent}",
            _wrong(*case, parent, children),
        )
    acts, values, similarity, matches = case
    values[:, 0, parent] = 0.0
    found = check.tensor(check.call(acts, values, similarity, matches, parent, children))
    check.holds(
        bool(torch.isfinite(found).all()),
        "no NaN where no input counts",
        "Where the parent is never present with a child the result is NaN (0 divided by 0); it should be 0.",
    )
    check.equal(found, _share(acts, values, similarity, matches, parent, children), AXES, "and it is 0")
    _check_exactly_half(check)


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
    # The parent's own latent is much like the parent and often silent.
    for instance in range(instances):
        similarity[instance, parent, matches[instance, parent]] = 0.95
    return acts, values, similarity, matches


def _share(
    acts: Tensor,
    values: Tensor,
    similarity: Tensor,
    matches: Tensor,
    parent: int,
    children: Sequence[int],
    change: str = "",
) -> Tensor:
    has_parent, of_children = values[..., parent] > 0, values[..., list(children)] > 0
    with_child = of_children.all(-1) if change == "all children" else of_children.any(-1)
    counts = {
        "parent alone": has_parent,
        "child alone": with_child,
        "without child": has_parent & ~with_child,
        "first child": has_parent & of_children[..., 0],
        "either": has_parent | with_child,
    }.get(change, has_parent & with_child)
    own = torch.full_like(matches[:, parent], parent) if change == "by number" else matches[:, parent]
    if change == "first instance's match":
        own = own[:1].expand_as(own)
    index = own.expand(len(acts), -1)[..., None]
    cosines = similarity[:, parent]
    if change == "child's direction":
        cosines = similarity[:, children[0]]
    strength = (acts > 0).float() if change == "cosine alone" else acts
    along = strength if change == "no cosine" else strength * cosines
    own_part = along.gather(-1, index)[..., 0]
    by_others = along.sum(-1) if change == "own counted" else along.sum(-1) - own_part
    if change == "largest alone":
        by_others = along.scatter(-1, index, -torch.inf).amax(-1)
    if change == "positive alone":
        by_others = along.relu().sum(-1) - own_part.relu()
    own_acts = acts.gather(-1, index)[..., 0]
    silent = {"fires": own_acts > 0, "ignored": torch.ones_like(own_acts, dtype=torch.bool)}.get(
        change, own_acts == 0
    )
    needed = {
        "all of it": values[..., parent],
        "any": torch.full_like(values[..., parent], 1e-9),
        "half": torch.full_like(values[..., parent], 0.5),
        "quarter": values[..., parent] / 4,
    }.get(change, values[..., parent] / 2)
    explained = torch.ones_like(silent) if change == "unexplained" else by_others >= needed
    absorbed = counts & silent & explained
    if change == "of silent":
        counts = counts & silent
    if change == "of all":
        counts = torch.ones_like(counts)
    if change == "of parent":
        counts = has_parent
    if change == "count":
        return absorbed.float().sum(0)
    return absorbed.float().sum(0) / counts.float().sum(0).clamp_min(1)


def _wrong(*case: object) -> dict[str, Alternative]:
    phrases = {
        "parent alone": "inputs with the parent but without a child are counted as well",
        "without child": "inputs *without* a child are looked at",
        "child alone": "inputs without the parent are counted as well",
        "either": "inputs with the parent *or* a child are counted",
        "all children": "an input counts only if *all* children are present; one is enough",
        "first child": "only the first child is looked at",
        "by number": "the latent with the parent's number is taken for its own; `matches` says which one is",
        "first instance's match": "instance 0's match is used for every instance",
        "unexplained": "every silent parent counts as absorbed: whether other latents make up for it is not asked",
        "cosine alone": "the cosines alone are added up; a latent adds its activation times its cosine",
        "no cosine": "the activations alone are added up; a latent adds its activation times its cosine",
        "child's direction": "the direction of the child is looked at, not that of the parent",
        "largest alone": "only the one latent that adds most is looked at; all others count together",
        "positive alone": "latents that point away from the parent are left out of the sum",
        "fires": "the parent's latent *fires*; it has to be silent",
        "ignored": "it is not asked whether the parent's latent is silent",
        "all of it": "the other latents have to add the whole strength; half of it is enough",
        "any": "any share of the parent's strength is enough; half of it is needed",
        "quarter": "a quarter of the parent's strength is enough; half of it is needed",
        "half": "the others are compared with 0.5, not with half of the parent's strength",
        "of silent": "the share is taken of the inputs on which the parent's latent is silent",
        "of all": "the share is taken of all inputs",
        "of parent": "the share is taken of all inputs with the parent",
        "count": "absorbed inputs are counted; a share is asked for",
    }
    wrong: dict[str, Alternative] = {
        phrase: lambda change=change: _share(*case, change=change)  # type: ignore[misc, arg-type]
        for change, phrase in phrases.items()
    }
    right = _share(*case)  # type: ignore[arg-type]
    wrong["it is the share that is *not* absorbed that is returned"] = 1 - right
    wrong["the mean over the instances is taken"] = right.mean()
    return wrong


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
