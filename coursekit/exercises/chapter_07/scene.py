"""What the checks of the graph share: a prompt and a transcoder on both sides of the door, edges with one mistake."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from coursekit.checking import fixtures
from coursekit.checking.claims import Check, agree
from coursekit.checking.door import Handle
from coursekit.exercises.chapter_05.parts import FIXTURES, fields, random_seed
from part_utils.circuits import FrozenPrompt
from part_utils.transcoder import Transcoder

RTOL, ATOL = 1e-3, 2e-5
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


def check_unchanged(check: Check, handle: Handle, original: object, name: str) -> None:
    """Check that a function has left the tensors of a prompt or a transcoder as they were."""
    for attribute, value in (
        vars(original).items() if not isinstance(original, Transcoder) else weights(original)
    ):
        if isinstance(value, Tensor):
            now = check.learner.get(handle, attribute)
            check.holds(
                isinstance(now, Tensor) and torch.equal(now, value),
                "",
                f"Your function changes `{name}.{attribute}` itself (in place). Whoever calls it still needs the "
                "numbers: work on a copy.",
            )
    check.holds(True, "what goes in stays as it was", "")


def weights(transcoder: Transcoder) -> Iterable[tuple[str, Tensor]]:
    return [(name, value.detach()) for name, value in transcoder.named_parameters()]


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
    parts: dict[str, Any] = {}
    for value, (name, expected) in zip(fields(check, found, ", ".join(right)), right.items(), strict=True):
        if expected.ndim == 0 and isinstance(value, int | float) and not isinstance(value, bool):
            value = torch.tensor(float(value))
        parts[name] = check.tensor(value, f"`{name}`{whose}")
    bad = [name for name, value in parts.items() if not _same(value, right[name])]
    if bad:
        mistakes = _explaining(parts, right, wrong)
        name = bad[0]
        check.equal(
            parts[name],
            right[name],
            AXES.get(name, ""),
            "",
            {phrase: edges[name] for phrase, edges in mistakes.items()},
            rtol=RTOL,
            atol=ATOL,
            what=f"`{name}`{whose}",
        )
    check.holds(True, claim, "")


def _same(value: Tensor, other: Tensor) -> bool:
    return value.shape == other.shape and agree(value, other, RTOL, ATOL)


def _explaining(parts: Edges, right: Edges, wrong: Mapping[str, Callable[[], Edges]]) -> dict[str, Edges]:
    """Return the mistakes that lead to all fields; if there is none, those that change nothing that is right."""
    known: dict[str, Edges] = {}
    for phrase, make in wrong.items():
        with contextlib.suppress(Exception):
            # What a mistake leads to may not exist for these sizes.
            known[phrase] = make()
    # A mistake that makes no difference on these inputs explains nothing.
    known = {
        phrase: edges
        for phrase, edges in known.items()
        if not all(_same(edges[name], right[name]) for name in right)
    }
    whole = {
        phrase: edges
        for phrase, edges in known.items()
        if all(_same(edges[name], parts[name]) for name in right)
    }
    return whole or {
        phrase: edges
        for phrase, edges in known.items()
        if all(_same(edges[name], right[name]) for name in right if _same(parts[name], right[name]))
    }


def residual_edges(cache: FrozenPrompt, read: Tensor, position: int, change: str = "") -> Edges:
    """Compute the edges along a direction, with one mistake if it is named."""
    if change == "unit read":
        read = read / read.norm()
    heads_read = read
    if change == "unit read but for the heads":
        read = read / read.norm()
    if change == "centered read":
        read = read - read.mean()
    edges = {
        **_embeddings(cache, read, position, change),
        "heads": _heads(cache, heads_read if "but for the heads" in change else read, position, change),
        "bias": _bias(cache, position, change) @ read,
    }
    nothing = 0 * edges["bias"]
    token, place, heads, bias = edges.values()
    moved: dict[str, Edges] = {
        "position in token": {"token": token + place, "position": nothing},
        "position in token and again": {"token": token + place},
        "position in bias": {"bias": bias + place, "position": nothing},
        "token lost": {"token": nothing},
        "position lost": {"position": nothing},
        "swapped": {"token": place, "position": token},
        "b_O in heads": {"heads": heads + cache.b_O @ read, "bias": bias - cache.b_O @ read},
        "absolute": {name: value.abs() for name, value in edges.items()},
        "until position": {"heads": heads[:, : position + 1]},
        "before position": {"heads": heads[:, :position]},
    }
    if change == "own token in token":
        moved[change] = {"token": token + heads[:, position].sum(), "heads": heads.clone()}
        moved[change]["heads"][:, position] = 0
    return edges | moved.get(change, {})


def _embeddings(cache: FrozenPrompt, read: Tensor, position: int, change: str) -> Edges:
    where = {
        "first position": 0,
        "last position": -1,
        "embeddings of the last": -1,
        "embedding of the first": 0,
        "embedding of the last": -1,
        "embedding before": position - 1,
        "embedding after": (position + 1) % len(cache.embed),
    }.get(change, position)
    alone = change.startswith("embedding ")
    place = {"first place": 0, "last place": -1}.get(change, position if alone else where)
    return {"token": cache.embed[where] @ read, "position": cache.pos_embed[place] @ read}


def _heads(cache: FrozenPrompt, read: Tensor, position: int, change: str) -> Tensor:
    pattern = cache.pattern[:, position]
    if change == "transposed":
        pattern = cache.pattern[:, :, position]
    if change in ("last position's pattern", "last position"):
        pattern = cache.pattern[:, -1]
    if change == "first position":
        pattern = cache.pattern[:, 0]
    if change == "no pattern":
        pattern = torch.ones_like(pattern)
    if change == "even pattern":
        pattern = (pattern > 0).float()
        pattern = pattern / pattern.sum(dim=1, keepdim=True)
    if change == "softmax again":
        pattern = pattern.softmax(dim=-1)
    if change == "mean pattern":
        pattern = cache.pattern.mean(dim=1)
    v = cache.v if change in ("b_V kept", "b_V twice") else cache.v - cache.b_V
    if change == "b_V added":
        v = cache.v + cache.b_V
    W_O = cache.W_O[:1].expand_as(cache.W_O) if change == "W_O of one head" else cache.W_O
    moved = torch.einsum("khd,hdm,m->hk", v, W_O, read)
    if change == "own value":
        moved = moved[:, position, None].expand_as(moved)
    heads = pattern * moved
    return heads[:1].expand_as(heads) if change == "first head" else heads


def _bias(cache: FrozenPrompt, position: int, change: str) -> Tensor:
    """What is added to the residual stream whatever the prompt is."""
    always = torch.einsum("hd,hdm->m", cache.b_V, cache.W_O)
    one_head = torch.einsum("d,dm->m", cache.b_V[0], cache.W_O[0])
    return {
        "b_V kept": cache.b_O,
        "b_V lost": cache.b_O,
        "b_O lost": always,
        "both lost": 0 * always,
        "b_V of one head": cache.b_O + one_head,
        "b_O for each head": always + len(cache.b_V) * cache.b_O,
        "b_O subtracted": always - cache.b_O,
        "b_V for each token": len(cache.tokens) * always + cache.b_O,
        "b_V for each token before": (position + 1) * always + cache.b_O,
    }.get(change, always + cache.b_O)


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
    "first position": "position 0 is looked at, not `position`",
    "last position": "the last position is looked at, not `position`",
    "embeddings of the last": "both embeddings are those of the last position",
    "first place": "the position embedding is that of position 0",
    "last place": "the position embedding is that of the last position",
    "embedding of the first": "the token's embedding is that of position 0",
    "embedding of the last": "the token's embedding is that of the last position",
    "embedding before": "the token's embedding is that of the position before",
    "embedding after": "the token's embedding is that of the position after",
    "even pattern": "the mean over the tokens is taken, not the sum that is weighted with the pattern",
    "softmax again": "a softmax is taken of the pattern, which is one already",
    "mean pattern": "the pattern's mean over the positions is used, not its row of `position`",
    "W_O of one head": "head 0's `W_O` is used for every head",
    "until position": "the tokens behind `position` are left out of `heads`, which has one number for every token",
    "before position": "the tokens from `position` on are left out of `heads`, which has one number for every token",
    "unit read": "the direction is brought to unit length",
    "unit read but for the heads": "the direction is brought to unit length",
    "centered read": "the mean of the direction is subtracted, which is not asked for here",
    "position in token": "the position embedding is added to `token`; it is a source of its own",
    "position in token and again": "the position embedding is in `token` and in `position`",
    "position in bias": "the position embedding is in `bias`; it is a source of its own",
    "token lost": "the token's embedding is left out",
    "position lost": "the position embedding is left out",
    "swapped": "`token` and `position` have changed places",
    "b_O in heads": "`b_O` is added to what the heads move; it belongs to `bias`, once",
    "b_O for each head": "`b_O` is added for every head; it is added once",
    "b_O subtracted": "`b_O` is subtracted",
    "b_V for each token": "`b_V` is added for every token; since the pattern adds up to 1 it is moved once",
    "b_V for each token before": "`b_V` is added for every token up to `position`; since the pattern adds up to 1 it "
    "is moved once",
    "own token in token": "what the heads move from the token itself is added to `token`; it belongs to `heads`",
    "absolute": "absolute values are taken",
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
        "the mean of the LayerNorm's scales over the positions is used": (w * target - (w * target).mean())
        / scale.mean(),
        "the direction is divided by the LayerNorm's weights, not multiplied with them": (
            (target / w - (target / w).mean()) / scale[position]
        ),
        "the mean is subtracted twice, also before the LayerNorm's weights": (
            w * (target - target.mean()) - (w * (target - target.mean())).mean()
        )
        / scale[position],
        "the LayerNorm's weights are left out": (target - target.mean()) / scale[position],
        "the LayerNorm's weights and the subtraction of the mean are left out": target / scale[position],
        "the LayerNorm's scale and the subtraction of the mean are left out": w * target,
        "the LayerNorm is left out": target,
    }
