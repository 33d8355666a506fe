"""The one-layer transformer as it is trained: the bundled model's weights, without hooks.

`OneLayerModel` has the parameter names of the module inside `TransformerBridge.boot_native`, so its
state dict loads there unchanged, and computes the same function, only faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


BRIDGE_NAMES = {
    "tok_embed": "embed",
    "pos": "pos_embed",
    "layers.0": "blocks.0",
    "fc_in": "in",
    "fc_out": "out",
    "ln_out": "ln_final",
    "head": "unembed",
}


@dataclass(frozen=True)
class LanguageModelConfig:
    """The sizes of the bundled model; `as_bridge_config` gives them TransformerLens's names."""

    d_model: int = 384
    n_heads: int = 8
    d_mlp: int = 64
    d_vocab: int = 4096
    n_ctx: int = 128

    def as_bridge_config(self) -> dict[str, Any]:
        """Return the dictionary that `TransformerBridge.boot_native` takes."""
        return asdict(self) | {
            "n_layers": 1,
            "d_head": self.d_model // self.n_heads,
            "act_fn": "gelu",
            "normalization_type": "LN",
        }


def causal_attention(
    q: Float[Tensor, "batch head seq d_head"],
    k: Float[Tensor, "batch head seq d_head"],
    v: Float[Tensor, "batch head seq d_head"],
) -> Float[Tensor, "batch head seq d_head"]:
    """Softmax attention to this position and the earlier ones."""
    if q.device.type != "cpu" or q.dtype != torch.bfloat16:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    # PyTorch's own kernel takes four times as long here: 70 against 17 ms for 32 rows, forward and backward.
    future = torch.full((q.shape[-2], k.shape[-2]), float("-inf"), dtype=q.dtype).triu(1)
    with torch.autocast("cpu", enabled=False):
        return torch.softmax((q * q.shape[-1] ** -0.5) @ k.mT + future, -1) @ v


class Attention(nn.Module):
    """Causal multi-head attention with biases."""

    def __init__(self, cfg: LanguageModelConfig) -> None:
        super().__init__()
        self.n_heads = cfg.n_heads
        self.q, self.k, self.v, self.o = (nn.Linear(cfg.d_model, cfg.d_model) for _ in range(4))

    def forward(self, x: Float[Tensor, "batch seq d_model"]) -> Float[Tensor, "batch seq d_model"]:
        heads = (self.n_heads, -1)
        q, k, v = (part(x).unflatten(-1, heads).transpose(1, 2) for part in (self.q, self.k, self.v))
        return self.o(causal_attention(q, k, v).transpose(1, 2).flatten(-2))


class MLP(nn.Module):
    """Linear, GELU (exact), linear."""

    def __init__(self, cfg: LanguageModelConfig) -> None:
        super().__init__()
        self.fc_in = nn.Linear(cfg.d_model, cfg.d_mlp)
        self.fc_out = nn.Linear(cfg.d_mlp, cfg.d_model)

    def post(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_mlp"]:
        """Return the activations that TransformerLens calls `mlp.hook_post`."""
        return F.gelu(self.fc_in(x))

    def forward(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        return self.fc_out(self.post(x))


class Block(nn.Module):
    """Attention and MLP, each behind a LayerNorm and added to the residual stream."""

    def __init__(self, cfg: LanguageModelConfig) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(cfg.d_model), nn.LayerNorm(cfg.d_model)
        self.attn, self.mlp = Attention(cfg), MLP(cfg)


class OneLayerModel(nn.Module):
    """Embedding, one block, final LayerNorm, untied unembedding."""

    def __init__(self, cfg: LanguageModelConfig, seed: int = 0) -> None:
        super().__init__()
        self.cfg = cfg
        self.tok_embed = nn.Embedding(cfg.d_vocab, cfg.d_model)
        self.pos = nn.Embedding(cfg.n_ctx, cfg.d_model)
        self.layers = nn.ModuleList([Block(cfg)])
        self.ln_out = nn.LayerNorm(cfg.d_model)
        self.head = nn.Linear(cfg.d_model, cfg.d_vocab)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if name.endswith("bias"):
                    parameter.zero_()
                elif parameter.ndim == 2:
                    std = 0.1 if name in ("tok_embed.weight", "pos.weight") else cfg.d_model**-0.5
                    residual = name.endswith(("attn.o.weight", "fc_out.weight", "head.weight"))
                    parameter.normal_(0, 0.1 * std if residual else std, generator=generator)

    def mid(self, tokens: Int[Tensor, "batch seq"]) -> Float[Tensor, "batch seq d_model"]:
        """Return the residual stream between attention and MLP."""
        block = self.layers[0]
        assert isinstance(block, Block)
        residual = self.tok_embed(tokens) + self.pos.weight[: tokens.shape[1]]
        return residual + block.attn(block.ln1(residual))

    def mlp_post(self, tokens: Int[Tensor, "batch seq"]) -> Float[Tensor, "batch seq d_mlp"]:
        """Return the MLP's activations, `blocks.0.mlp.hook_post`."""
        block = self.layers[0]
        assert isinstance(block, Block)
        return block.mlp.post(block.ln2(self.mid(tokens)))

    def final(self, tokens: Int[Tensor, "batch seq"]) -> Float[Tensor, "batch seq d_model"]:
        """Return the normalized residual stream that the unembedding reads."""
        block = self.layers[0]
        assert isinstance(block, Block)
        residual = self.mid(tokens)
        return self.ln_out(residual + block.mlp(block.ln2(residual)))

    def forward(self, tokens: Int[Tensor, "batch seq"]) -> Float[Tensor, "batch seq d_vocab"]:
        return self.head(self.final(tokens))


def bridge_name(name: str) -> str:
    """Return the name of a parameter of `OneLayerModel` in the state dict of a `TransformerBridge`."""
    for ours, theirs in BRIDGE_NAMES.items():
        name = name.replace(f"{ours}.", f"{theirs}.")
    return name


def from_bridge(bridge: TransformerBridge) -> OneLayerModel:
    """Return the same model with the same weights (shared, not copied), without hooks.

    Raises:
        KeyError, RuntimeError: the bridge has other parameters than a `OneLayerModel`.
    """
    weights = bridge.state_dict()
    sizes = {name: getattr(bridge.cfg, name) for name in LanguageModelConfig.__dataclass_fields__}
    with torch.device("meta"):
        model = OneLayerModel(LanguageModelConfig(**sizes))
    model.load_state_dict({name: weights.pop(bridge_name(name)) for name in model.state_dict()}, assign=True)
    if weights:
        raise KeyError(f"The bridge has {', '.join(weights)}, which a OneLayerModel has not.")
    for part in model.modules():
        if isinstance(part, nn.LayerNorm):
            part.eps = bridge.cfg.eps
    return model.requires_grad_(False)


def make_bridge(
    cfg: dict[str, Any], weights: Mapping[str, Tensor], tokenizer: object, device: str = "cpu"
) -> TransformerBridge:
    """Return a `TransformerBridge`, with hooks and a tokenizer, that has copies of these weights.

    Args:
        cfg: as `LanguageModelConfig.as_bridge_config` returns it.
        weights: under the bridge's names (`bridge_name`).
        tokenizer: the model's tokenizer.
        device: where the weights go.
    """
    from transformer_lens.model_bridge import TransformerBridge

    with torch.random.fork_rng(devices=[]):
        bridge = TransformerBridge.boot_native(  # type: ignore[attr-defined]
            cfg, tokenizer=tokenizer, device=device, model_name="bundled"
        )
    bridge.load_state_dict(weights, strict=True)
    return bridge.eval()


def to_bridge(model: OneLayerModel, tokenizer: object) -> TransformerBridge:
    """Return the same model with the same weights (copied), with hooks and a tokenizer."""
    weights = {bridge_name(name): value for name, value in model.state_dict().items()}
    return make_bridge(model.cfg.as_bridge_config(), weights, tokenizer)


class _LinearCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of `x @ weight.T + bias`, a chunk of tokens at a time.

    The logits of a chunk and their gradient never leave the cache; a full batch's would fill 100s of MB.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, dtype: torch.dtype
    ) -> Tensor:
        chunk, n = 1024, len(targets)
        total = x.new_zeros((), dtype=torch.float32)
        weight_low = weight.to(dtype)
        grad_x = torch.empty(x.shape, dtype=torch.float32, device=x.device)
        grad_weight = torch.zeros(weight.shape, dtype=torch.float32, device=x.device)
        grad_bias = torch.zeros_like(bias, dtype=torch.float32)
        for start in range(0, n, chunk):
            rows, target = x[start : start + chunk].to(dtype), targets[start : start + chunk, None]
            probability = F.linear(rows, weight_low).float().add_(bias).softmax(-1)
            # A probability that is too small for float32 shall not make the loss infinite.
            total -= probability.gather(-1, target).clamp_min(1e-37).log().sum()
            grad = probability.scatter_add_(-1, target, probability.new_full(target.shape, -1.0))
            grad_bias += grad.sum(0)
            grad_low = grad.to(dtype)
            grad_x[start : start + chunk] = grad_low @ weight_low
            grad_weight += grad_low.mT @ rows
        ctx.save_for_backward(grad_x / n, grad_weight / n, grad_bias / n)
        return total / n

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        grad_x, grad_weight, grad_bias = ctx.saved_tensors
        return grad_x * grad_output, grad_weight * grad_output, grad_bias * grad_output, None, None


def next_token_loss(
    model: OneLayerModel, tokens: Int[Tensor, "batch seq"], dtype: torch.dtype
) -> Float[Tensor, ""]:
    """Mean cross-entropy of every token but each row's first, with matrix products in `dtype`."""
    with torch.autocast(tokens.device.type, dtype=dtype, enabled=dtype != torch.float32):
        final = model.final(tokens)[:, :-1].flatten(0, 1)
    targets = tokens[:, 1:].flatten()
    return _LinearCrossEntropy.apply(final, model.head.weight, model.head.bias, targets, dtype)
