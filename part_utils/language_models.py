"""The language models, autoencoders and texts of chapters 4 to 6, by name.

`"bundled"` is in `part_utils/data` and needs no network: a one-layer GELU model, two ReLU autoencoders
(encoder-A and encoder-B) and a TopK one on its MLP, and the text that they were trained on. `"gelu-1l"`
is the model of Neel Nanda with his two autoencoders, from the Hugging Face hub.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from part_utils.autoencoder import AutoEncoder

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedTokenizerFast

    from part_utils.variants import TopKAutoEncoder

DATA = Path(__file__).parent / "data"
_TEXT = (".json", ".md", ".txt")
SPLITS = ("train", "validation", "held_out")
GELU_1L = "NeelNanda/GELU_1L512W_C4_Code"
GELU_1L_AUTOENCODERS = "NeelNanda/sparse_autoencoder"
GELU_1L_RUNS = {1: "25.pt", 2: "47.pt"}
Downloaded = TypeVar("Downloaded")


@dataclass(frozen=True)
class TokenizedText:
    """Rows of tokens, each with the label of the text that it came from. Every row starts with BOS."""

    tokens: Int[Tensor, "batch seq"]
    labels: Int[Tensor, "batch seq"]
    """Index into `label_names`, for each token."""
    label_names: tuple[str, ...]
    """For instance `"Wikipedia: History"`, `"Python: asyncio"` or `"django: db"`."""

    def has_label(self, start: str) -> Bool[Tensor, "batch seq"]:
        """Return which tokens come from a text whose label starts with `start`, such as `"Wikipedia"`."""
        wanted = [index for index, name in enumerate(self.label_names) if name.startswith(start)]
        if not wanted:
            raise ValueError(f"No label starts with {start!r}; the labels are {', '.join(self.label_names)}.")
        return torch.isin(self.labels, torch.tensor(wanted))


def verified(path: Path) -> Path:
    """Return a path inside a data folder after comparing the file's SHA-256 with the folder's `manifest.json`.

    Raises a ValueError where the file is missing, truncated or altered.
    """
    manifest = json.loads((DATA / "manifest.json").read_text(encoding="utf-8"))
    expected = manifest["sha256"][path.relative_to(DATA).as_posix()]
    if not path.exists():
        raise ValueError(f"{path} is missing: reinstall the course, or fetch the file again with git.")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected and path.suffix in _TEXT:
        # Git for Windows may have given the lines other ends, which changes no content.
        found = hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()
    if found != expected:
        raise ValueError(
            f"{path} is damaged or altered (SHA-256 {found[:12]}… instead of {expected[:12]}…): "
            "reinstall the course, or fetch the file again with git."
        )
    return path


def load_language_model(name: str = "bundled", device: str = "cpu") -> TransformerBridge:
    """Return a one-layer language model with its tokenizer, ready for hooks.

    Args:
        name: `"bundled"`, or `"gelu-1l"` (from the hub, or its local cache).
        device: where the weights go.

    Returns:
        A `TransformerBridge` in evaluation mode, in float32. `blocks.0.mlp.hook_post` is the hook that the
        autoencoders are trained on.

    Raises:
        ValueError: the name is unknown, or a bundled file is damaged.
        ConnectionError: the hub cannot be reached and the model is not in its cache.
    """
    if name == "bundled":
        return _load_bundled_model(device)
    if name == "gelu-1l":
        return from_hub(lambda: _load_gelu_1l(device), GELU_1L, "load_language_model()")
    raise ValueError(f'There is no language model {name!r}: choose "bundled" or "gelu-1l".')


def load_tokens(split: str = "train", model: TransformerBridge | None = None) -> TokenizedText:
    """Return the bundled text: `"train"`, `"validation"`, or `"held_out"`, which nothing was trained on.

    Args:
        split: which part of it.
        model: in whose tokens; in the bundled model's, which the text is stored in, when left out.

    Raises:
        ValueError: there is no such split, or the file is damaged.
    """
    from safetensors import safe_open

    if split not in SPLITS:
        raise ValueError(f"There is no split {split!r}: choose one of {', '.join(SPLITS)}.")
    if model is not None and not _reads_bundled_tokens(model):
        text = _bundled_text_in_tokens_of(model.tokenizer, split, model.cfg.n_ctx)
        return TokenizedText(text.tokens.clone(), text.labels.clone(), text.label_names)
    path = verified(DATA / f"tokens_{split}.safetensors")
    with safe_open(path, "pt") as file:
        names = tuple(json.loads(file.metadata()["labels"]))
        return TokenizedText(file.get_tensor("tokens").long(), file.get_tensor("labels").long(), names)


@lru_cache(maxsize=len(SPLITS))
def _bundled_text_in_tokens_of(tokenizer: PreTrainedTokenizerFast, split: str, n_ctx: int) -> TokenizedText:
    """Remembered, since tokenizing the training text takes seconds."""
    return _retokenized(load_tokens(split), tokenizer, n_ctx)


def in_tokens_of(model: TransformerBridge, text: TokenizedText) -> TokenizedText:
    """Return the bundled text in a model's own tokens, if its tokenizer is another one.

    The text is decoded and tokenized again, and the tokens are cut into rows as long as before, or as the model can
    read. Every row and every document starts with BOS, as before.

    Raises:
        ValueError: the text is shorter than a row.
    """
    if _reads_bundled_tokens(model):
        return text
    return _retokenized(text, model.tokenizer, model.cfg.n_ctx)


def _reads_bundled_tokens(model: TransformerBridge) -> bool:
    return model.tokenizer is None or model.tokenizer.get_vocab() == _bundled_tokenizer().get_vocab()


def _retokenized(text: TokenizedText, tokenizer: PreTrainedTokenizerFast, n_ctx: int) -> TokenizedText:
    bundled = _bundled_tokenizer()
    bos = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    # Rows follow one another at random, so each is a text of its own, and so is each document that starts inside one.
    tokens, labels = text.tokens.flatten(), text.labels.flatten()
    cuts = (tokens == bundled.bos_token_id).nonzero().flatten()[1:]
    pieces = [piece.tolist() for piece in tokens.tensor_split(cuts)]
    words = bundled.batch_decode(pieces, skip_special_tokens=True)
    encoded = tokenizer(words, add_special_tokens=False, verbose=False)["input_ids"]
    flat = torch.tensor([token for piece in encoded for token in (bos, *piece)])
    lengths = torch.tensor([1 + len(piece) for piece in encoded])
    flat_labels = torch.stack([label[-1] for label in labels.tensor_split(cuts)]).repeat_interleave(lengths)
    length = min(n_ctx, text.tokens.shape[1]) - 1
    rows = len(flat) // length
    if rows == 0:
        raise ValueError(f"The text has {len(flat)} tokens, fewer than one row of {length}; use more of it.")
    new_tokens = flat[: rows * length].view(rows, length)
    new_labels = flat_labels[: rows * length].view(rows, length)
    new_tokens = torch.cat([torch.full((rows, 1), bos), new_tokens], dim=1)
    return TokenizedText(new_tokens, torch.cat([new_labels[:, :1], new_labels], dim=1), text.label_names)


def load_autoencoder(
    name: str | Path = "bundled", run: int | None = None, device: str = "cpu"
) -> AutoEncoder:
    """Return a trained autoencoder: one of two that are known by name, or one from a file or folder.

    Args:
        name: `"bundled"`, or `"gelu-1l"` (the published ones, from the hub or its local cache): two on the MLP of
            a language model, stacked as instances A (0) and B (1). Or a path: a folder that SAELens,
            dictionary_learning or sparsify wrote, or a file of `save_autoencoder`
            (`part_utils.formats.recognize.load` says more).
        run: only one of the instances, 1 (A) or 2 (B), as the only instance.
        device: where the weights go.

    Returns:
        An `AutoEncoder`, or the class derived from it that the file's architecture asks for, with decoder rows of
        unit norm. Weights from elsewhere are rescaled to that; what they compute stays the same.

    Raises:
        ValueError: the name or run is unknown, or a file is damaged or in no known format.
        ConnectionError: the hub cannot be reached and the files are not in its cache.
    """
    if run not in (None, 1, 2):
        raise ValueError(f"There is no run {run}: choose 1 (encoder-A), 2 (encoder-B) or None for both.")
    if name == "bundled":
        from safetensors.torch import load_file

        weights = load_file(verified(DATA / "autoencoders.safetensors"))
        if run is not None:
            weights = {key: value[run - 1 : run] for key, value in weights.items()}
    elif name == "gelu-1l":
        runs = [run] if run else [1, 2]
        parts = from_hub(
            lambda: [_download_published_autoencoder(run) for run in runs],
            GELU_1L_AUTOENCODERS,
            "load_autoencoder()",
        )
        weights = {key: torch.stack([part[key] for part in parts]) for key in parts[0]}
    else:
        return _load_from_path(name, run).to(device)
    from part_utils.formats.ours import autoencoder_from_weights

    return autoencoder_from_weights(weights).to(device)


def _load_from_path(path: str | Path, run: int | None) -> AutoEncoder:
    from part_utils.formats import recognize

    if isinstance(path, str) and not os.path.lexists(path):
        raise ValueError(
            f'There is no autoencoder {path!r}: choose "bundled" or "gelu-1l", or give {recognize.CAN_BE_LOADED}.'
        )
    autoencoder = recognize.load(Path(path))
    return autoencoder if run is None else recognize.only_instance(autoencoder, run - 1)


def load_topk_autoencoder(device: str = "cpu") -> TopKAutoEncoder:
    """Return the bundled TopK autoencoder, with one instance, on the same MLP."""
    from part_utils.formats.ours import load_stacked
    from part_utils.variants import TopKAutoEncoder

    autoencoder = load_stacked(verified(DATA / "autoencoder_topk.safetensors"))
    assert isinstance(autoencoder, TopKAutoEncoder)
    return autoencoder.to(device)


def load_latent_names(name: str = "bundled") -> dict[int, str]:
    """Return the latents of an encoder-A that somebody has named by hand: some of the bundled one, none of others."""
    if name != "bundled":
        return {}
    names = json.loads(verified(DATA / "latent_names.json").read_text(encoding="utf-8"))
    return {int(latent): name for latent, name in names.items()}


def _load_bundled_model(device: str) -> TransformerBridge:
    from safetensors.torch import load_file
    from transformer_lens.model_bridge import TransformerBridge

    cfg = json.loads(verified(DATA / "language_model.json").read_text(encoding="utf-8"))
    weights = load_file(verified(DATA / "language_model.safetensors"))
    tokenizer = _bundled_tokenizer()
    with torch.random.fork_rng(devices=[]):
        model = TransformerBridge.boot_native(  # type: ignore[attr-defined]
            cfg, tokenizer=tokenizer, device=device, model_name="bundled"
        )
    model.load_state_dict({key: value.float() for key, value in weights.items()}, strict=True)
    return model.eval()


def _bundled_tokenizer() -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    for file in ("tokenizer.json", "tokenizer_config.json"):
        verified(DATA / "tokenizer" / file)
    return PreTrainedTokenizerFast.from_pretrained(DATA / "tokenizer")


def from_hub(download: Callable[[], Downloaded], repository: str, instead: str) -> Downloaded:
    """Call `download`, and turn the hub's many errors into one sentence that says what to use instead."""
    try:
        return download()
    except (OSError, KeyError) as error:
        raise ConnectionError(
            f"{repository} could not be loaded from the Hugging Face hub or its local cache "
            f"({type(error).__name__}): connect to the network, or use {instead}, which needs none."
        ) from error


def _load_gelu_1l(device: str) -> TransformerBridge:
    """Reads the hub files of gelu-1l, which hold the state dict of an early TransformerLens."""
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


def _download_published_autoencoder(run: int) -> dict[str, Tensor]:
    """The raw weights of one published autoencoder; sizes follow from the weights, not from its config."""
    from huggingface_hub import hf_hub_download

    path = hf_hub_download(GELU_1L_AUTOENCODERS, GELU_1L_RUNS[run])
    weights = torch.load(path, map_location="cpu", weights_only=True)
    return {key: weights[key].float() for key in ("W_enc", "W_dec", "b_enc", "b_dec")}
