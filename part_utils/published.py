"""What comes from the Hugging Face hub: gelu-1l of Neel Nanda with his two autoencoders, and others by name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

GELU_1L = "NeelNanda/GELU_1L512W_C4_Code"
GELU_1L_AUTOENCODERS = "NeelNanda/sparse_autoencoder"
GELU_1L_RUNS = {1: "25.pt", 2: "47.pt"}
Downloaded = TypeVar("Downloaded")


def from_hub(download: Callable[[], Downloaded], repository: str, instead: str) -> Downloaded:
    """Call `download`, and turn the hub's many errors into one sentence that says what to use instead."""
    try:
        return download()
    except (OSError, KeyError) as error:
        raise ConnectionError(
            f"{repository} could not be loaded from the Hugging Face hub or its local cache "
            f"({type(error).__name__}): connect to the network, or use {instead}, which needs none."
        ) from error


def is_on_hub(name: str) -> bool:
    """Say whether a model's name is one that TransformerLens would look for on the hub."""
    from transformer_lens.supported_models import OFFICIAL_MODEL_NAMES

    return re.fullmatch(r"[\w.-]+/[\w.-]+", name) is not None or name in OFFICIAL_MODEL_NAMES


def load_model_from_hub(name: str, device: str, dtype: torch.dtype) -> TransformerBridge:
    """Return a model with the weights as they were published: nothing is folded or centered."""
    from transformer_lens.model_bridge import TransformerBridge

    model: TransformerBridge = TransformerBridge.boot_transformers(name, device=device, dtype=dtype)
    return model.eval()


def is_folder_on_hub(name: str) -> bool:
    """Say whether a name is `owner/repository`, with or without a folder in it, and not the name of a file."""
    return re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)+", name) is not None and not name.endswith(
        (".safetensors", ".pt")
    )


def download_folder(name: str) -> Path:
    """Return `owner/repository/folder` from the hub, or its local cache, as a folder on this machine."""
    from huggingface_hub import snapshot_download

    owner, repository, *inside = name.split("/")
    patterns = ["/".join([*inside, "*"])] if inside else None
    return Path(snapshot_download(f"{owner}/{repository}", allow_patterns=patterns)).joinpath(*inside)


def load_gelu_1l(device: str) -> TransformerBridge:
    """Return gelu-1l from its files on the hub, which hold the state dict of an early TransformerLens."""
    from huggingface_hub import snapshot_download
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import AutoTokenizer

    folder = Path(snapshot_download(GELU_1L, allow_patterns=["config.json", "*final.pth"]))
    published = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    names = ("d_model", "n_layers", "d_mlp", "d_head", "n_heads", "n_ctx", "d_vocab", "act_fn")
    cfg: dict[str, Any] = {name: published[name] for name in names}
    cfg["normalization_type"] = published.get("normalization", published.get("normalization_type"))
    tokenizer = AutoTokenizer.from_pretrained(published["tokenizer_name"])
    with torch.random.fork_rng(devices=[]):
        model = TransformerBridge.boot_native(  # type: ignore[attr-defined]
            cfg, tokenizer=tokenizer, device=device, model_name="gelu-1l"
        )
    weights = torch.load(next(folder.rglob("*final.pth")), map_location="cpu", weights_only=True)
    model.load_state_dict(bridge_state_dict(weights, cfg["d_vocab"]), strict=True)
    return model.eval()


def bridge_state_dict(weights: dict[str, Tensor], d_vocab: int) -> dict[str, Tensor]:
    """Rename and reshape the state dict of a one-layer HookedTransformer for a native `TransformerBridge`.

    `W_Q [heads d_model d_head]` and its like become matrices [output input]. A missing `unembed.b_U` is zero.
    """
    block = "blocks.0."
    result = {
        "embed.weight": weights["embed.W_E"],
        "pos_embed.weight": weights["pos_embed.W_pos"],
        "unembed.weight": weights["unembed.W_U"].mT,
        "unembed.bias": weights.get("unembed.b_U", torch.zeros(d_vocab)),
        f"{block}attn.o.weight": weights[f"{block}attn.W_O"].flatten(0, 1).mT,
        f"{block}attn.o.bias": weights[f"{block}attn.b_O"],
    }
    for letter in "QKV":
        to_heads = weights[f"{block}attn.W_{letter}"].transpose(1, 2)
        result[f"{block}attn.{letter.lower()}.weight"] = to_heads.flatten(0, 1)
        result[f"{block}attn.{letter.lower()}.bias"] = weights[f"{block}attn.b_{letter}"].flatten()
    for layer in ("in", "out"):
        result[f"{block}mlp.{layer}.weight"] = weights[f"{block}mlp.W_{layer}"].mT
        result[f"{block}mlp.{layer}.bias"] = weights[f"{block}mlp.b_{layer}"]
    for norm in (f"{block}ln1", f"{block}ln2", "ln_final"):
        if f"{norm}.w" in weights:
            result[f"{norm}.weight"] = weights[f"{norm}.w"]
            result[f"{norm}.bias"] = weights[f"{norm}.b"]
    return {key: value.float().contiguous() for key, value in result.items()}


def legacy_state_dict(model: TransformerBridge) -> dict[str, Tensor]:
    """Undo `bridge_state_dict`: return a one-layer native bridge's weights under a HookedTransformer's names."""
    state, heads = model.state_dict(), model.cfg.n_heads
    block = "blocks.0."
    result = {
        "embed.W_E": state["embed.weight"],
        "pos_embed.W_pos": state["pos_embed.weight"],
        "unembed.W_U": state["unembed.weight"].mT,
        "unembed.b_U": state["unembed.bias"],
        f"{block}attn.W_O": state[f"{block}attn.o.weight"].mT.unflatten(0, (heads, -1)),
        f"{block}attn.b_O": state[f"{block}attn.o.bias"],
    }
    for letter in "QKV":
        matrix, bias = (state[f"{block}attn.{letter.lower()}.{kind}"] for kind in ("weight", "bias"))
        result[f"{block}attn.W_{letter}"] = matrix.unflatten(0, (heads, -1)).mT
        result[f"{block}attn.b_{letter}"] = bias.unflatten(0, (heads, -1))
    for layer in ("in", "out"):
        result[f"{block}mlp.W_{layer}"] = state[f"{block}mlp.{layer}.weight"].mT
        result[f"{block}mlp.b_{layer}"] = state[f"{block}mlp.{layer}.bias"]
    for norm in (f"{block}ln1", f"{block}ln2", "ln_final"):
        result[f"{norm}.w"], result[f"{norm}.b"] = state[f"{norm}.weight"], state[f"{norm}.bias"]
    return {key: value.detach().contiguous() for key, value in result.items()}


def download_published_autoencoder(run: int) -> dict[str, Tensor]:
    """Return the raw weights of one published autoencoder; sizes follow from the weights, not from its config."""
    from huggingface_hub import hf_hub_download

    path = hf_hub_download(GELU_1L_AUTOENCODERS, GELU_1L_RUNS[run])
    weights = torch.load(path, map_location="cpu", weights_only=True)
    return {key: weights[key].float() for key in ("W_enc", "W_dec", "b_enc", "b_dec")}
