"""Training of an autoencoder at one place of a model of many blocks (`course train-sae --model … --hook …`).

The activations are computed once, as far as that place only, and kept on disk in float16 without the sinks: a position
whose residual stream is many times as long as elsewhere has nearly all of the squared length, and an autoencoder that
sees it learns little else. What is done stays done: a stopped run goes on with the next piece of text, and later with
the next step.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file, save
from torch import Tensor

from part_utils.autoencoder import AutoEncoderConfig
from part_utils.deep_models import FACTOR, block_of
from part_utils.files import write_atomically
from part_utils.formats.ours import save_autoencoder
from part_utils.progress_bar import progress_bar
from part_utils.variants import TopKAutoEncoder
from pretraining.run import Processes, fastest_dtype
from pretraining.sparse_training import SparseTrainingConfig, Weights, train_stage

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

PIECE_ROWS = 256
"""Rows of tokens whose activations are written at once."""


def residual_hook(hook: str) -> str:
    """Return the hook at which the block of another hook leaves the residual stream."""
    return f"blocks.{block_of(hook)}.hook_out"


@torch.no_grad()
def read_place(
    model: TransformerBridge, tokens: Int[Tensor, "batch seq"], hook: str
) -> tuple[Float[Tensor, "batch seq size"], Float[Tensor, "batch seq"]]:
    """Return the activations at a place, and how long the residual stream is behind its block."""
    residual = residual_hook(hook)
    _, cache = model.run_with_cache(tokens, names_filter=[hook, residual], stop_at_layer=block_of(hook) + 1)
    return cache[hook], cache[residual].float().norm(dim=-1)


def longest(model: TransformerBridge, tokens: Int[Tensor, "rows seq"], hook: str) -> float:
    """Return how long the residual stream may be before a position is a sink, judged by the first 16 rows."""
    return FACTOR * read_place(model, tokens[:16], hook)[1].median().item()


def collect_without_sinks(
    model: TransformerBridge,
    tokens: Int[Tensor, "rows seq"],
    hook: str,
    folder: Path,
    processes: Processes,
    batch_rows: int = 16,
    progress: bool = True,
) -> Float[Tensor, "kept size"]:
    """Return the activations of all positions that are no sinks, in the order of the text, mapped into memory.

    They are written to `folder` piece by piece. Pieces that are there are not computed again; the pieces of several
    processes are shared out.

    Raises:
        ValueError: the folder holds the activations of another model, text or place.
    """
    limit = longest(model, tokens, hook)
    description = {
        "hook": hook,
        "tokens": [int(tokens.sum()), *tokens.shape],
        "longest": round(limit, 1),
        "weights": round(float(next(model.parameters()).detach().double().abs().sum()), 1),
    }
    _same_as_before(folder / "activations.json", description, processes)
    path = folder / "activations.bin"
    pieces = tokens.split(PIECE_ROWS)
    if not path.exists():
        mine = range(processes.rank, len(pieces), processes.count)
        for number in progress_bar(iterable=mine, desc="Activations", show=progress and processes.rank == 0):
            piece = _piece(folder, number)
            if not piece.exists():
                parts = []
                for rows in pieces[number].split(batch_rows):
                    acts, norms = read_place(model, rows.long().to(model.cfg.device), hook)
                    parts.append(acts[norms <= limit].half().cpu())
                write_atomically(piece, save({"acts": torch.cat(parts)}))
        processes.wait()
        if processes.rank == 0:
            _join(folder, len(pieces), path)
        processes.wait()
    size = json.loads((folder / "size.json").read_text(encoding="utf-8"))
    flat = torch.from_file(str(path), shared=True, size=size[0] * size[1], dtype=torch.float16)
    return flat.view(size)


def _piece(folder: Path, number: int) -> Path:
    return folder / f"piece_{number:05}.safetensors"


def _join(folder: Path, count: int, path: Path) -> None:
    """Write all pieces one after the other to one file, then delete them."""
    scratch = path.with_suffix(".partial")
    n = size = 0
    with scratch.open("wb") as file:
        for number in range(count):
            acts = load_file(_piece(folder, number))["acts"]
            n, size = n + len(acts), acts.shape[1]
            file.write(acts.numpy().tobytes())
    write_atomically(folder / "size.json", json.dumps([n, size]))
    scratch.replace(path)
    for number in range(count):
        _piece(folder, number).unlink()


def _same_as_before(path: Path, description: dict[str, object], processes: Processes) -> None:
    if path.exists():
        if json.loads(path.read_text(encoding="utf-8")) != description:
            raise ValueError(
                f"{path.parent} holds the activations of another model, text or place: give another --run-dir."
            )
    elif processes.rank == 0:
        write_atomically(path, json.dumps(description))
    processes.wait()


def train_at(
    model: TransformerBridge,
    tokens: Int[Tensor, "rows seq"],
    hook: str,
    run_dir: Path,
    *,
    n_hidden_ae: int = 4608,
    k: int = 32,
    batch_size: int = 2048,
    steps: int = 3000,
    lr: float = 2e-3,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = True,
) -> TopKAutoEncoder:
    """Train a TopK autoencoder at one place, and write it to `run_dir/autoencoder.safetensors`.

    Args:
        model: the model whose activations are to be rebuilt.
        tokens: the text to train on.
        hook: the place, such as `"blocks.11.hook_out"` or `"blocks.11.mlp.hook_post"`.
        run_dir: where activations, checkpoint, log and result are; a stopped run goes on from there.
        n_hidden_ae: number of latents.
        k: how many of them fire on a token.
        batch_size: activations in each step, over all processes.
        steps: number of steps.
        lr: learning rate.
        seed: where everything random comes from.
        device: where the training happens.
        progress: show progress bars.

    Raises:
        ValueError: `run_dir` is that of another run, or there are fewer activations than a batch has.
    """
    processes = Processes(device)
    run_dir.mkdir(parents=True, exist_ok=True)
    acts = collect_without_sinks(model, tokens, hook, run_dir, processes, progress=progress)
    cfg = SparseTrainingConfig(
        stage="topk", steps=steps, batch_size=batch_size, n_hidden_ae=n_hidden_ae, k=k, lr=lr, seed=seed
    )
    weights = train_stage(
        acts,
        cfg,
        run_dir / "topk",
        device=device,
        dtype=fastest_dtype(device),
        progress=progress,
        processes=processes,
    )
    autoencoder = as_topk(weights, k)
    if processes.rank == 0:
        save_autoencoder(autoencoder, run_dir / "autoencoder.safetensors")
        settings = {"hook": hook, "activations": len(acts), **asdict(cfg)}
        write_atomically(run_dir / "autoencoder.json", json.dumps(settings, indent=2) + "\n")
    return autoencoder


@torch.no_grad()
def as_topk(weights: Weights, k: int) -> TopKAutoEncoder:
    """Return the trained weights as an autoencoder with one instance."""
    n_hidden_ae, n_input_ae = weights.encoder.shape
    autoencoder = TopKAutoEncoder(AutoEncoderConfig(1, n_input_ae, n_hidden_ae), k)
    autoencoder.W_enc.copy_(weights.encoder.mT[None])
    autoencoder.W_dec.copy_(weights.decoder[None])
    autoencoder.b_enc.copy_(weights.b_enc[None])
    autoencoder.b_dec.copy_(weights.b_dec[None])
    return autoencoder
