"""Text that a language model writes itself (`course write-text`).

An autoencoder is to explain a model on what the model has learned, and the text of its training is rarely at hand. What
it writes by itself resembles that text, in its subjects above all (Cho et al. 2025, "FaithfulSAE: Towards capturing
faithful features with sparse autoencoders without external dataset dependencies").
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from safetensors.torch import load_file, save
from torch import Tensor

from part_utils.files import write_atomically
from part_utils.progress_bar import progress_bar


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
