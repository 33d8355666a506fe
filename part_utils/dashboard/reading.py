"""Activations of a language model, and no more of its forward pass than they need."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from part_utils.activations import MLP_HOOK
from part_utils.deep_models import sink_limit
from part_utils.model_with_autoencoder import ModelWithAutoencoder
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


class PlaceReader:
    """Reads the place of an autoencoder, and says which positions count: all but the sinks of a model of many blocks.

    Args:
        subject: the model and its autoencoder.
        tokens: the text, whose first rows decide how long the residual stream of a sink is.
    """

    def __init__(self, subject: ModelWithAutoencoder, tokens: Int[Tensor, "batch seq"]) -> None:
        self.subject = subject
        self.read = reader_for(subject.model, tokens)
        self.longest = float("inf")
        if subject.model.cfg.n_layers > 1:
            (residual,) = self.read(tokens[:16], subject.residual_hook)
            self.longest = sink_limit(residual.float().norm(dim=-1))

    def __call__(
        self, tokens: Int[Tensor, "batch seq"]
    ) -> tuple[Float[Tensor, "batch seq size"], Bool[Tensor, "batch seq"]]:
        """Return the activations and where they count."""
        hooks = [self.subject.hook]
        if self.longest < float("inf") and not self.subject.on_residual:
            hooks.append(self.subject.residual_hook)
        read = [value.float() for value in self.read(tokens, *hooks)]
        return read[0], read[-1].norm(dim=-1) <= self.longest

    def encode(
        self, tokens: Int[Tensor, "batch seq"], latents: Int[Tensor, "n"]
    ) -> tuple[Float[Tensor, "batch seq size"], Float[Tensor, "batch seq n"]]:
        """Return the activations of the model and those of some latents, which do not fire at sinks."""
        h, keep = self(tokens)
        return h, self.subject.encode(h, latents).view(*h.shape[:2], -1) * keep[..., None]


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
