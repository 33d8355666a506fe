"""Activations of a language model, and no more of its forward pass than they need."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Int
from torch import Tensor

from part_utils.activations import MLP_HOOK
from part_utils.one_layer_model import Block, from_bridge

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

RESIDUAL_HOOK = "ln_final.hook_in"
# Reads rows of text, and returns the activations at some hooks.
Reader = Callable[..., list[Tensor]]


class _Reached(Exception):
    """Ends a forward pass once everything wanted has been computed."""


def activations_at(model: "TransformerBridge", tokens: Int[Tensor, "batch seq"], *hooks: str) -> list[Tensor]:
    """Return the activations at some hooks. What the model computes after the last of them is left out."""
    kept: dict[str, Tensor] = {}

    def keep(value: Tensor, hook: Any, name: str) -> None:
        kept[name] = value
        if len(kept) == len(hooks):
            raise _Reached

    fwd_hooks: list[Any] = [(name, partial(keep, name=name)) for name in hooks]
    with suppress(_Reached):
        model.run_with_hooks(tokens, fwd_hooks=fwd_hooks)
    return [kept[name] for name in hooks]


@torch.no_grad()
def reader_for(model: "TransformerBridge", tokens: Int[Tensor, "batch seq"]) -> Reader:
    """Return the fastest way to read `MLP_HOOK` and, after it, `RESIDUAL_HOOK`.

    Hooks need every attention pattern. Without them a plain one-layer model is twice as fast. Whether a model is one
    is not asked but tried: both ways must agree on a few rows of the text, else the hooks are used.
    """
    hooked = partial(activations_at, model)
    try:
        quick = _plain_one_layer(model)
        both = (MLP_HOOK, RESIDUAL_HOOK)
        pairs = zip(hooked(tokens[:4], *both), quick(tokens[:4], *both), strict=True)
        agree = all(torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in pairs)
    except (KeyError, RuntimeError):
        agree = False
    return quick if agree else hooked


def _plain_one_layer(model: "TransformerBridge") -> Reader:
    """Reads a one-layer model with learned positions, LayerNorm and GELU, like the bundled one."""
    plain = from_bridge(model)
    block = plain.layers[0]
    assert isinstance(block, Block)

    def read(tokens: Int[Tensor, "batch seq"], *hooks: str) -> list[Tensor]:
        residual = plain.mid(tokens)
        h = block.mlp.post(block.ln2(residual))
        return [h] if RESIDUAL_HOOK not in hooks else [h, residual + block.mlp.fc_out(h)]

    return read
