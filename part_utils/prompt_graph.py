"""The graph of one prompt: what is left of all edges when the small ones are left out, with names for its nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from part_utils.circuits import (
    FrozenPrompt,
    LogitEdges,
    ResidualEdges,
    edges_to_latent,
    edges_to_logit,
    freeze_prompt,
    prune,
)
from part_utils.token_text import token_string, token_strings
from part_utils.transcoder import Transcoder, mlp_in_and_out

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


class Edge(NamedTuple):
    """One edge of a graph. Nodes are called `token 3`, `latent 17`, `position`, `skip`, `bias`, `error`, `logit`."""

    source: str
    target: str
    via: str
    """`attention`, `direct`, or empty."""
    effect: float
    """What it adds to the logit. An edge into a latent adds through what the latent writes."""


@dataclass(frozen=True)
class Graph:
    """What makes up one logit of one prompt."""

    words: list[str]
    """The prompt's tokens as text."""
    position: int
    """Where the prediction is made."""
    prediction: str
    """Whose logit it is."""
    probability: float
    """What the model gives to this token."""
    logit: float
    """The logit, minus the mean logit of all tokens."""
    edges: list[Edge]
    """The edges that are kept, the largest first."""
    n_into_logit: int
    """How many edges into the logit there are in all."""
    share: float
    """Which share of the total absolute effect of a node's edges is kept."""
    latents: dict[int, str]
    """For each latent that is kept: what is known of it."""

    def kept_into(self, target: str) -> list[Edge]:
        """Return the edges into a node."""
        return [edge for edge in self.edges if edge.target == target]


def center_logits(cache: FrozenPrompt) -> FrozenPrompt:
    """Subtract from every logit the mean of all, which no probability depends on."""
    return replace(
        cache,
        W_U=cache.W_U - cache.W_U.mean(dim=1, keepdim=True),
        b_U=cache.b_U - cache.b_U.mean(),
        logits=cache.logits - cache.logits.mean(dim=-1, keepdim=True),
    )


def residual_sources(
    edges: ResidualEdges | LogitEdges, target: str, position: int, times: float = 1
) -> list[Edge]:
    """Return the edges from tokens, position and biases into a node, with all heads of a token together."""
    moved = edges.heads.sum(dim=0).tolist()
    found = [
        Edge(f"token {place}", target, "attention", times * moved[place]) for place in range(position + 1)
    ]
    return [
        *found,
        Edge(f"token {position}", target, "direct", times * float(edges.token)),
        Edge("position", target, "direct", times * float(edges.position)),
        Edge("bias", target, "", times * float(edges.bias)),
    ]


def all_edges_into_logit(edges: LogitEdges, position: int) -> list[Edge]:
    """Return one edge for each source of a logit; latents that do not fire have none."""
    latents = edges.latents.nonzero().flatten().tolist()
    return [
        *(Edge(f"latent {latent}", "logit", "", float(edges.latents[latent])) for latent in latents),
        *([Edge("skip", "logit", "", float(edges.skip))] if edges.skip != 0 else []),
        *residual_sources(edges, "logit", position),
        Edge("error", "logit", "", float(edges.error)),
    ]


@torch.no_grad()
def prompt_graph(
    tokens: Int[Tensor, seq],
    model: TransformerBridge,
    transcoder: Transcoder,
    position: int = -1,
    token: int | None = None,
    share: float = 0.8,
    text: Int[Tensor, "rows seq_of_text"] | None = None,
) -> Graph:
    """Return the pruned graph of one logit: its edges that carry a share, and the same of each latent among them.

    Args:
        tokens: the prompt, one axis, with BOS in front.
        model: a one-layer language model with its tokenizer.
        transcoder: stands in for the MLP.
        position: where the prediction is made; the last position when left out.
        token: whose logit; the most likely next token when left out.
        share: which share of the total absolute effect is kept, at the logit and at each latent.
        text: where to look up on which tokens the latents fire most; nothing is looked up when left out.
    """
    cache = center_logits(freeze_prompt(tokens, model))
    position %= len(tokens)
    if token is None:
        token = int(cache.logits[position].argmax())
    into_logit = all_edges_into_logit(edges_to_logit(cache, transcoder, position, token), position)
    edges = _pruned(into_logit, share)
    latents = [int(edge.source.split()[1]) for edge in edges if edge.source.startswith("latent")]
    acts = transcoder.encode(cache.mlp_in[position : position + 1])[0]
    through = {edge.source: edge.effect for edge in edges}
    for latent in latents:
        # What fires has its pre-activation as its activation, so the parts of one are parts of the other.
        times = through[f"latent {latent}"] / float(acts[latent])
        parts = edges_to_latent(cache, transcoder, latent, position)
        edges += _pruned(residual_sources(parts, f"latent {latent}", position, times), share)
    return Graph(
        words=token_strings(tokens, model.tokenizer),
        position=position,
        prediction=token_string(token, model.tokenizer),
        probability=float(cache.logits[position].softmax(dim=-1)[token]),
        logit=float(cache.logits[position, token]),
        edges=edges,
        n_into_logit=len(into_logit),
        share=share,
        latents=describe_latents(latents, model, transcoder, text),
    )


def _pruned(edges: Sequence[Edge], share: float) -> list[Edge]:
    kept = prune(torch.tensor([edge.effect for edge in edges]), share).tolist()
    return sorted((e for e, keep in zip(edges, kept, strict=True) if keep), key=lambda e: -abs(e.effect))


@torch.no_grad()
def describe_latents(
    latents: Sequence[int],
    model: TransformerBridge,
    transcoder: Transcoder,
    text: Int[Tensor, "rows seq"] | None = None,
    n: int = 5,
) -> dict[int, str]:
    """Say for each latent on which tokens of a text it fires most, and which tokens it makes more likely.

    What a latent makes more likely is read off what it writes, `W_dec[latent] @ W_U` with the weights of the last
    LayerNorm, each token against the mean of all.
    """
    if not latents:
        return {}
    weights = model.state_dict()
    W_U = weights["ln_final.weight"][:, None] * weights["unembed.weight"].mT
    direction = transcoder.W_dec[list(latents)]
    raised = (direction - direction.mean(dim=1, keepdim=True)) @ (W_U - W_U.mean(dim=1, keepdim=True))
    strongest: dict[int, list[str]] = {}
    if text is not None:
        acts = torch.cat(
            [transcoder.encode(mlp_in_and_out(rows, model)[0])[:, list(latents)] for rows in text.split(32)]
        )
        for column, latent in enumerate(latents):
            sums = torch.zeros(model.cfg.d_vocab).index_add_(0, text.flatten(), acts[:, column])
            best = sums.topk(n)
            strongest[latent] = token_strings(best.indices[best.values > 0], model.tokenizer)
    described = {}
    for row, latent in enumerate(latents):
        writes = token_strings(raised[row].topk(n).indices, model.tokenizer)
        fires = f"fires on {_quoted(strongest[latent])}; " if strongest.get(latent) else ""
        described[latent] = f"{fires}raises {_quoted(writes)}"
    return described


def _quoted(words: Sequence[Any]) -> str:
    return " ".join(repr(word) for word in words)
