"""What the checks of the graph share: a prompt and a transcoder on both sides of the door, edges with one mistake."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from coursekit.checking import fixtures
from coursekit.checking.claims import Alternative, Check
from coursekit.checking.door import Handle
from coursekit.exercises.chapter_05.parts import FIXTURES, fields, random_seed
from part_utils.circuits import FrozenPrompt
from part_utils.transcoder import Transcoder

AXES = {"heads": "n_heads seq", "latents": "n_hidden"}
Edges = dict[str, Tensor]


def prompts(check: Check) -> Iterator[tuple[Handle, FrozenPrompt, tuple[int, int]]]:
    """Make prompts in two random models, on the learner's side and on this one, each with two positions to look at."""
    other_sizes = {"seq": 5, "n_heads": 2, "d_head": 3, "d_model": 7, "d_vocab": 19}
    for sizes, positions in (({}, (4, 2)), (other_sizes, (3, 0))):
        seed = random_seed(check)
        handle = check.create(seed, target=f"{FIXTURES}.frozen_prompt", **sizes)
        yield handle, fixtures.frozen_prompt(seed, **sizes), positions


def make_transcoder(check: Check, **sizes: Any) -> tuple[Handle, Transcoder]:
    """Return a transcoder with random weights, on the learner's side and on this one."""
    seed = random_seed(check)
    return check.create(seed, target=f"{FIXTURES}.transcoder", **sizes), fixtures.transcoder(seed, **sizes)


def check_edges(
    check: Check,
    found: Any,
    right: Edges,
    wrong: Mapping[str, Callable[[], Edges]],
    claim: str,
    whose: str = "",
) -> None:
    """Compare a function's edges with the right ones, field by field, and say which known mistake explains one.

    Args:
        found: what the function returned.
        right: the right edges.
        wrong: for each known mistake the edges that it leads to.
        claim: shown when all fields agree.
        whose: the function, for the messages; the exercise's own when left out.
    """
    parts = fields(check, found, ", ".join(right))
    for value, (name, expected) in zip(parts, right.items(), strict=True):
        if expected.ndim == 0 and isinstance(value, int | float) and not isinstance(value, bool):
            value = torch.tensor(float(value))
        mistakes: dict[str, Alternative] = {
            phrase: (lambda make=make, name=name: make()[name])  # type: ignore[misc]
            for phrase, make in wrong.items()
        }
        check.equal(
            value,
            expected,
            AXES.get(name, ""),
            "",
            mistakes,
            rtol=1e-3,
            atol=2e-5,
            what=f"`{name}`{whose}",
        )
    check.holds(True, claim, "")


def residual_edges(cache: FrozenPrompt, read: Tensor, position: int, change: str = "") -> Edges:
    """Compute the edges along a direction, with one mistake if it is named."""
    pattern = cache.pattern[:, position]
    if change == "transposed":
        pattern = cache.pattern[:, :, position]
    if change == "last position's pattern":
        pattern = cache.pattern[:, -1]
    if change == "no pattern":
        pattern = torch.ones_like(pattern)
    v = cache.v if change in ("b_V kept", "b_V twice") else cache.v - cache.b_V
    if change == "b_V added":
        v = cache.v + cache.b_V
    own = position if change == "own value" else slice(None)
    moved = torch.einsum("khd,hdm,m->hk", v, cache.W_O, read)
    if change == "own value":
        moved = moved[:, own, None].expand_as(moved)
    heads = pattern * moved
    if change == "first head":
        heads = heads[:1].expand_as(heads)
    always = torch.einsum("hd,hdm->m", cache.b_V, cache.W_O)
    bias = {
        "b_V kept": cache.b_O,
        "b_V lost": cache.b_O,
        "b_O lost": always,
        "both lost": 0 * always,
        "b_V of one head": cache.b_O + torch.einsum("d,dm->m", cache.b_V[0], cache.W_O[0]),
    }.get(change, always + cache.b_O)
    where = {"first position": 0, "last position": -1}.get(change, position)
    place = {"first place": 0}.get(change, where)
    return {
        "token": cache.embed[where] @ read,
        "position": cache.pos_embed[place] @ read,
        "heads": heads,
        "bias": bias @ read,
    }


RESIDUAL_MISTAKES = {
    "transposed": "the pattern is transposed: `pattern[head, query, key]`, and the position is the query",
    "last position's pattern": "the pattern of the last position is used, not that of `position`",
    "no pattern": "the values are not weighted with the pattern",
    "own value": "the value of the position itself is used for every token",
    "first head": "head 0 is used for every head",
    "b_V kept": "`b_V` is left in the values: what a head moves whatever the token is belongs to `bias`",
    "b_V twice": "`b_V` is in the values and in `bias` too",
    "b_V added": "`b_V` is added to the values, in which it is already",
    "b_V lost": "`b_V` is lost: subtracted from the values, it has to come back in `bias`, through `W_O`",
    "b_O lost": "`b_O` is lost in `bias`",
    "both lost": "`b_O` and `b_V` are lost in `bias`",
    "b_V of one head": "only head 0's `b_V` is in `bias`",
    "first position": "the embeddings are those of position 0",
    "last position": "the embeddings are those of the last position",
    "first place": "the position embedding is that of position 0",
}


def layer_norm_reads(w: Tensor, target: Tensor, scale: Tensor, position: int) -> dict[str, Tensor]:
    """Return the direction in the residual stream that a vector behind a LayerNorm reads: right, and with a mistake."""
    full = w * target / scale[position]
    return {
        "": full - full.mean(),
        "the LayerNorm's subtraction of the mean is left out": full,
        "the mean is subtracted before the LayerNorm's weights are multiplied into the direction": (
            w * (target - target.mean()) / scale[position]
        ),
        "the LayerNorm's scale is left out": (w * target - (w * target).mean()),
        "the direction is multiplied with the LayerNorm's scale, not divided by it": (
            w * target - (w * target).mean()
        )
        * scale[position],
        "the LayerNorm's scale of position 0 is used": (w * target - (w * target).mean()) / scale[0],
        "the LayerNorm's scale of the last position is used": (w * target - (w * target).mean()) / scale[-1],
        "the LayerNorm's weights are left out": (target - target.mean()) / scale[position],
        "the LayerNorm's weights and the subtraction of the mean are left out": target / scale[position],
        "the LayerNorm is left out": target,
    }
