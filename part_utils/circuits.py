"""Exercises 7.7 to 7.10: what one prompt's next token is made of, in parts that add up.

A one-layer model computes, at one position,

    residual before the MLP = token embedding + position embedding + what every head moves here from every token
    residual at the end     = that + what the MLP writes
    what the MLP writes     = latents × decoder rows + b_dec (+ what goes around them) + what the transcoder misses
    logits                  = LayerNorm(residual at the end) × W_U + b_U

Attention's pattern, both LayerNorms' scales and which latents fire depend on the prompt. Taken as they are on this
prompt (frozen), everything else is linear, so every number is a sum over its sources, without any approximation.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor

from part_utils.transcoder import MLP_OUT, Transcoder

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class FrozenPrompt:
    """One prompt in a one-layer model: what depends on the prompt, and the weights that what is linear needs."""

    tokens: Int[Tensor, "seq"]
    embed: Float[Tensor, "seq d_model"]
    """Token embeddings."""
    pos_embed: Float[Tensor, "seq d_model"]
    """Position embeddings."""
    pattern: Float[Tensor, "n_heads query key"]
    """How much each head attends from each position (query) to each position (key). Every row adds up to 1."""
    v: Float[Tensor, "seq n_heads d_head"]
    """The value vectors: what each position offers to each head, with `b_V` in it."""
    W_O: Float[Tensor, "n_heads d_head d_model"]
    b_V: Float[Tensor, "n_heads d_head"]
    b_O: Float[Tensor, "d_model"]
    ln2_w: Float[Tensor, "d_model"]
    ln2_b: Float[Tensor, "d_model"]
    ln2_scale: Float[Tensor, "seq"]
    """By what the LayerNorm before the MLP divides at each position."""
    mlp_in: Float[Tensor, "seq d_model"]
    """What the MLP reads."""
    mlp_out: Float[Tensor, "seq d_model"]
    """What the MLP writes."""
    ln_final_w: Float[Tensor, "d_model"]
    ln_final_b: Float[Tensor, "d_model"]
    ln_final_scale: Float[Tensor, "seq"]
    """By what the last LayerNorm divides at each position."""
    W_U: Float[Tensor, "d_model d_vocab"]
    b_U: Float[Tensor, "d_vocab"]
    logits: Float[Tensor, "seq d_vocab"]
    """What the model predicts at each position."""


@torch.no_grad()
def freeze_prompt(tokens: Int[Tensor, "seq"], model: "TransformerBridge") -> FrozenPrompt:
    """Run a one-layer model on one prompt and note what its graph needs.

    Args:
        tokens: the prompt, one axis.
        model: a one-layer model with LayerNorms and biases, such as the bundled one.

    Raises:
        ValueError: `tokens` has another number of axes than one.
    """
    if tokens.ndim != 1:
        raise ValueError(
            f"The prompt has the shape {list(tokens.shape)}, but one row of tokens is needed: [seq]."
        )
    logits, cache = model.run_with_cache(tokens[None])
    weights = model.state_dict()
    heads = model.cfg.n_heads

    def at(name: str) -> Tensor:
        return cache[name][0]

    return FrozenPrompt(
        tokens=tokens,
        embed=at("hook_embed"),
        pos_embed=at("hook_pos_embed"),
        pattern=at("blocks.0.attn.hook_pattern"),
        v=at("blocks.0.attn.hook_v"),
        W_O=weights["blocks.0.attn.o.weight"].mT.unflatten(0, (heads, -1)),
        b_V=weights["blocks.0.attn.v.bias"].unflatten(0, (heads, -1)),
        b_O=weights["blocks.0.attn.o.bias"],
        ln2_w=weights["blocks.0.ln2.weight"],
        ln2_b=weights["blocks.0.ln2.bias"],
        ln2_scale=at("blocks.0.ln2.hook_scale")[:, 0],
        mlp_in=at("blocks.0.mlp.hook_in"),
        mlp_out=at("blocks.0.mlp.hook_out"),
        ln_final_w=weights["ln_final.weight"],
        ln_final_b=weights["ln_final.bias"],
        ln_final_scale=at("ln_final.hook_scale")[:, 0],
        W_U=weights["unembed.weight"].mT,
        b_U=weights["unembed.bias"],
        logits=logits[0],
    )


class ResidualEdges(NamedTuple):
    """What `residual_edges` and `edges_to_latent` return: one number for each source."""

    token: Float[Tensor, ""]
    """From the embedding of the token at the position."""
    position: Float[Tensor, ""]
    """From the embedding of the position."""
    heads: Float[Tensor, "n_heads seq"]
    """From what each head moves here from each token of the prompt."""
    bias: Float[Tensor, ""]
    """From everything that is the same whatever the prompt is."""

    def total(self) -> Tensor:
        """Add all of them up."""
        return self.token + self.position + self.heads.sum() + self.bias


def residual_edges(cache: FrozenPrompt, read: Float[Tensor, "d_model"], position: int) -> ResidualEdges:
    """Return what each source adds along one direction of the residual stream before the MLP.

    A head moves `v - b_V` of every token, weighted with its pattern and mapped by its `W_O`. `b_V` itself is moved in
    full whatever the pattern is, because the pattern adds up to 1, so it belongs to the bias, as `b_O` does.

    Args:
        cache: the prompt.
        read: the direction. Each source is the dot product of this with what the source adds to the residual stream.
        position: at which position of the prompt.

    Returns:
        `ResidualEdges(token, position, heads, bias)`. They add up to the dot product of `read` with the residual
        stream before the MLP at `position`.
    """
    heads = einsum(
        cache.pattern[:, position], cache.v - cache.b_V, cache.W_O, read,
        "n_heads seq, seq n_heads d_head, n_heads d_head d_model, d_model -> n_heads seq",
    )  # fmt: skip
    moved_always = einsum(cache.b_V, cache.W_O, "n_heads d_head, n_heads d_head d_model -> d_model")
    return ResidualEdges(
        token=cache.embed[position] @ read,
        position=cache.pos_embed[position] @ read,
        heads=heads,
        bias=(moved_always + cache.b_O) @ read,
    )


def edges_to_latent(cache: FrozenPrompt, transcoder: Transcoder, latent: int, position: int) -> ResidualEdges:
    """Return what each source adds to the pre-activation of a latent; together they are the pre-activation.

    Between the residual stream and the latent there is the LayerNorm before the MLP: it subtracts the mean over the
    dimensions, divides by `cache.ln2_scale` (frozen), multiplies with `cache.ln2_w` and adds `cache.ln2_b`.

    Args:
        cache: the prompt.
        transcoder: its `W_enc` and `b_enc` are read.
        latent: which latent.
        position: at which position of the prompt.

    Returns:
        `ResidualEdges(token, position, heads, bias)`, where `bias` also has what `ln2_b` and `b_enc` add.
    """
    read = cache.ln2_w * transcoder.W_enc[:, latent] / cache.ln2_scale[position]
    edges = residual_edges(cache, read - read.mean(), position)
    constant = cache.ln2_b @ transcoder.W_enc[:, latent] + transcoder.b_enc[latent]
    return edges._replace(bias=edges.bias + constant)


class LogitEdges(NamedTuple):
    """What `edges_to_logit` returns: one number for each source."""

    latents: Float[Tensor, "n_hidden"]
    """From what each latent writes; 0 for those that do not fire."""
    skip: Float[Tensor, ""]
    """From what goes around the latents (`W_skip`); 0 where there is no way around."""
    token: Float[Tensor, ""]
    """From the embedding of the token at the position: the direct path."""
    position: Float[Tensor, ""]
    """From the embedding of the position."""
    heads: Float[Tensor, "n_heads seq"]
    """From what each head moves here from each token of the prompt."""
    bias: Float[Tensor, ""]
    """From everything that is the same whatever the prompt is."""
    error: Float[Tensor, ""]
    """From what the MLP writes and the transcoder does not rebuild."""

    def total(self) -> Tensor:
        """Add all of them up."""
        rest = self.skip + self.token + self.position + self.bias + self.error
        return self.latents.sum() + self.heads.sum() + rest


def edges_to_logit(cache: FrozenPrompt, transcoder: Transcoder, position: int, token: int) -> LogitEdges:
    """Return what each source adds to the logit of a token; together they are the logit.

    Between the residual stream and the logits there is the last LayerNorm: it subtracts the mean over the dimensions,
    divides by `cache.ln_final_scale` (frozen), multiplies with `cache.ln_final_w` and adds `cache.ln_final_b`. What the
    MLP writes is `cache.mlp_out`: latents, `b_dec`, the way around where there is one, and the error.

    Args:
        cache: the prompt.
        transcoder: stands in for the MLP.
        position: at which position of the prompt the prediction is made.
        token: whose logit.

    Returns:
        `LogitEdges(latents, skip, token, position, heads, bias, error)`. `bias` has all that is constant: `b_V`, `b_O`,
        `b_dec`, `ln_final_b` and `b_U`.
    """
    read = cache.ln_final_w * cache.W_U[:, token] / cache.ln_final_scale[position]
    read = read - read.mean()
    x, y = cache.mlp_in[position], cache.mlp_out[position]
    output = transcoder(x[None], y[None])
    skip = read.new_zeros(()) if transcoder.W_skip is None else x @ transcoder.W_skip @ read
    before = residual_edges(cache, read, position)
    constant = transcoder.b_dec @ read + cache.ln_final_b @ cache.W_U[:, token] + cache.b_U[token]
    return LogitEdges(
        latents=output.acts[0] * (transcoder.W_dec @ read),
        skip=skip,
        token=before.token,
        position=before.position,
        heads=before.heads,
        bias=before.bias + constant,
        error=(y - output.y_reconstructed[0]) @ read,
    )


def prune(effects: Float[Tensor, "edges"], share: float) -> Bool[Tensor, "edges"]:
    """Choose the fewest edges that carry a share of the total absolute effect.

    Args:
        effects: what each edge carries, of either sign; not all are 0.
        share: above 0, at most 1.

    Returns:
        True for the edges that are kept. Of equal ones any may be taken.
    """
    order = effects.abs().argsort(descending=True)
    carried = effects.abs()[order].cumsum(dim=0)
    # As many as are below the share, and the one that reaches it.
    n_kept = int((carried < share * carried[-1]).sum()) + 1
    kept = torch.zeros_like(effects, dtype=torch.bool)
    kept[order[:n_kept]] = True
    return kept


@torch.no_grad()
def test_edge(
    tokens: Int[Tensor, "seq"],
    model: "TransformerBridge",
    transcoder: Transcoder,
    latent: int,
    position: int,
    token: int,
) -> Float[Tensor, ""]:
    """Return by how much a logit falls in the true model when what one latent writes is taken away.

    The true model runs, with its own MLP: only `acts[latent] * W_dec[latent]` is subtracted from what the MLP writes at
    `position`, so what the transcoder misses stays. The last LayerNorm is computed anew.

    Args:
        tokens: the prompt, one axis.
        model: a one-layer language model. `blocks.0.mlp.hook_in` is what its MLP reads, `blocks.0.mlp.hook_out` is what
            it writes.
        transcoder: stands in for the MLP.
        latent: the source of the edge.
        position: at which position of the prompt.
        token: whose logit is the target of the edge.

    Returns:
        The logit without the change minus the logit with it. The edge from `edges_to_logit` predicts it.
    """
    clean, cache = model.run_with_cache(tokens[None])
    act = transcoder.encode(cache["blocks.0.mlp.hook_in"][0])[position, latent]

    def without_latent(value: Tensor, hook: object) -> Tensor:
        value = value.clone()
        value[0, position] -= act * transcoder.W_dec[latent]
        return value

    changed = model.run_with_hooks(tokens[None], fwd_hooks=[(MLP_OUT, without_latent)])
    return (clean - changed)[0, position, token]
