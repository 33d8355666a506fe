"""Text that a language model writes itself (`course write-text`).

An autoencoder is to explain a model on what the model has learned, and the text of its training is rarely at hand. What
it writes by itself resembles that text, in its subjects above all (Cho et al. 2025, "FaithfulSAE: Towards capturing
faithful features with sparse autoencoders without external dataset dependencies").
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Int
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from part_utils.files import write_atomically
from part_utils.progress_bar import progress_bar
from part_utils.texts import TokenizedText, in_tokens_of, load_tokens

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

HELD_OUT_ROWS = 4096
"""The last rows of a written text, which no autoencoder is trained on."""


@torch.no_grad()
def write_rows(
    model: Any, start: int, rows: int, length: int, seed: int, temperature: float
) -> Int[Tensor, "rows length"]:
    """Let a model write rows of tokens, each from the same first token.

    Args:
        model: a causal language model of transformers.
        start: the first token of each row, such as BOS.
        rows: how many rows.
        length: tokens in each, with the first.
        seed: where the choices come from.
        temperature: what logits are divided by before a token is drawn from all tokens.
    """
    torch.manual_seed(seed)
    first = torch.full((rows, 1), start, device=model.device)
    return model.generate(
        first,
        attention_mask=torch.ones_like(first),
        do_sample=True,
        temperature=temperature,
        top_k=0,
        top_p=1.0,
        max_new_tokens=length - 1,
        min_new_tokens=length - 1,
        eos_token_id=None,
        pad_token_id=start,
    )


def write_text(
    model: Any,
    start: int,
    folder: Path,
    *,
    rows: int,
    length: int = 128,
    temperature: float = 0.8,
    piece_rows: int = 64,
    seed: int = 0,
    progress: bool = True,
) -> Int[Tensor, "rows length"]:
    """Let a model write a text, piece by piece into `folder`; pieces that are there are not written again.

    Raises:
        ValueError: a piece in `folder` has another shape.
    """
    parts = []
    for number in progress_bar(iterable=range(-(-rows // piece_rows)), desc="Writing", show=progress):
        path = folder / f"piece_{number:05}.safetensors"
        if not path.exists():
            new = write_rows(model, start, piece_rows, length, seed * 1_000_003 + number, temperature)
            write_atomically(path, save({"tokens": new.to(torch.uint16).cpu()}))
        part = load_file(path)["tokens"]
        if part.shape != (piece_rows, length):
            raise ValueError(
                f"{path} has the shape {list(part.shape)} instead of {[piece_rows, length]}: give another --run-dir."
            )
        parts.append(part)
    return torch.cat(parts)[:rows]


def read_written(folder: Path) -> Int[Tensor, "rows length"]:
    """Return all of a text that `write_text` wrote to a folder.

    Raises:
        ValueError: there is none, or no more than the rows that are held out.
    """
    pieces = sorted(folder.glob("piece_*.safetensors"))
    rows = torch.cat([load_file(path)["tokens"] for path in pieces]) if pieces else torch.empty(0)
    if len(rows) <= HELD_OUT_ROWS:
        raise ValueError(
            f"{folder} holds {len(rows)} rows, of which the last {HELD_OUT_ROWS} are held out: run `course write-text` "
            "with more --rows."
        )
    return rows


def training_text(
    model: TransformerBridge, corpus: Path, written: Path | None, max_rows: int | None = None
) -> Int[Tensor, "rows length"]:
    """Return what an autoencoder of a model is trained on, in the model's tokens.

    Args:
        model: the model.
        corpus: what `course corpus` wrote; where there is nothing, the bundled part of it is taken.
        written: the folder of a text that the model wrote itself, whose last `HELD_OUT_ROWS` rows are left out.
        max_rows: rows of the corpus that are taken, from the front; all when left out.

    Raises:
        ValueError: nothing is written there.
    """
    path = corpus / "train.safetensors"
    if path.exists():
        with safe_open(path, "pt") as file:
            names = tuple(json.loads(file.metadata()["labels"]))
        found = {name: tensor.long() for name, tensor in load_file(path).items()}
        tokens = in_tokens_of(model, TokenizedText(found["tokens"], found["labels"], names)).tokens
    else:
        tokens = load_tokens("train", model).tokens
    tokens = tokens[:max_rows]
    if written is None:
        return tokens
    return torch.cat([tokens, read_written(written)[:-HELD_OUT_ROWS].long()])
