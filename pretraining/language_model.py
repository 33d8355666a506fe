"""Training of the bundled language model (`course train-lm`)."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from safetensors.torch import load_file, save_file
from torch import Tensor

from part_utils.one_layer_model import LanguageModelConfig, OneLayerModel, next_token_loss
from pretraining.muon import Muon
from pretraining.run import (
    Processes,
    ProgressLog,
    ThreadChooser,
    fastest_dtype,
    load_checkpoint,
    save_checkpoint,
)


def warm_up_hold_decay(step: int, steps: int, warm_up: int = 50, decay_share: float = 0.6) -> float:
    """Learning rate multiplier: a linear rise, a constant part, a linear fall to 0 over `decay_share`.

    While it is constant, a run can be stopped and go on with another number of steps.
    """
    return min(1.0, (step + 1) / warm_up, (steps - step) / (decay_share * steps))


def rows_of_step(n_rows: int, batch_rows: int, step: int, seed: int) -> Int[Tensor, "batch_rows"]:
    """Return the rows that step number `step` trains on: a fresh order of all rows each epoch, given by the seed."""
    per_epoch = n_rows // batch_rows
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step // per_epoch)
    start = step % per_epoch * batch_rows
    return torch.randperm(n_rows, generator=generator)[start : start + batch_rows]


@torch.no_grad()
def validation_loss(model: OneLayerModel, tokens: Int[Tensor, "rows seq"]) -> float:
    """Mean cross-entropy over all rows, in nats per token."""
    device = model.head.weight.device
    losses = [
        next_token_loss(model, rows.to(device).long(), torch.float32).item() * len(rows)
        for rows in tokens.split(64)
    ]
    return sum(losses) / len(tokens)


@torch.no_grad()
def silence_unseen_tokens(model: OneLayerModel, tokens: Int[Tensor, "rows seq"]) -> None:
    """Give tokens that never occur the mean unembedding of those that do, and a very low bias.

    Training only ever pushes their logits down, all in the same directions. Without this they lead the list of
    tokens that a latent favors or suppresses, though the model never predicts them either way.
    """
    seen = torch.zeros(len(model.head.weight), dtype=torch.bool)
    seen[tokens.int().unique()] = True
    seen = seen.to(model.head.weight.device)
    model.head.weight[~seen] = model.head.weight[seen].mean(dim=0)
    model.head.bias[~seen] = model.head.bias[seen].mean() - 10


def train_language_model(
    corpus: Path,
    run_dir: Path,
    *,
    cfg: LanguageModelConfig | None = None,
    steps: int = 5000,
    batch_rows: int = 32,
    lr_matrices: float = 0.02,
    lr_other: float = 3e-3,
    weight_decay: float = 0.1,
    weight_decay_embeddings: float = 0.05,
    seed: int = 0,
    device: str = "cpu",
    checkpoint_every: int = 200,
    progress: bool = True,
) -> float:
    """Train the one-layer model on the shards in `corpus` and write it to `run_dir/model.safetensors`.

    Muon for the block's matrices, AdamW for embeddings and unembedding (whose decay keeps rare tokens from long
    vectors that nothing in the text asks for), Adam for biases and LayerNorms. Goes on from
    `run_dir/checkpoint.pt` where there is one. Under `torchrun` each process takes its share of every batch.

    Returns:
        The loss on the validation shard, in nats per token.
    """
    cfg = cfg or LanguageModelConfig()
    processes = Processes(device)
    if batch_rows % processes.count:
        raise ValueError(
            f"batch_rows is {batch_rows}: choose a multiple of the number of processes ({processes.count}), "
            "so that all get equally many."
        )
    tokens = load_file(corpus / "train.safetensors")["tokens"]
    validation = load_file(corpus / "validation.safetensors")["tokens"]
    settings: dict[str, Any] = {
        **asdict(cfg),
        "batch_rows": batch_rows,
        "lr_matrices": lr_matrices,
        "lr_other": lr_other,
        "weight_decay": weight_decay,
        "weight_decay_embeddings": weight_decay_embeddings,
        "seed": seed,
    }
    run_dir.mkdir(parents=True, exist_ok=True)
    dtype = fastest_dtype(device)
    model = OneLayerModel(cfg, seed=seed).to(device)
    block = [p for name, p in model.named_parameters() if name.startswith("layers") and p.ndim == 2]
    embeddings = [model.tok_embed.weight, model.pos.weight, model.head.weight]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    groups: list[dict[str, Any]] = [
        {"params": embeddings, "weight_decay": weight_decay_embeddings},
        {"params": vectors},
    ]
    optimizers: list[tuple[torch.optim.Optimizer, float]] = [
        (Muon(block, lr=lr_matrices, weight_decay=weight_decay, dtype=dtype), lr_matrices),
        (torch.optim.AdamW(groups, lr=lr_other, betas=(0.9, 0.95), weight_decay=0.0, fused=True), lr_other),
    ]
    checkpoint = run_dir / "checkpoint.pt"
    first_step = 0
    if state := load_checkpoint(checkpoint, settings):
        model.load_state_dict(state["model"])
        for (optimizer, _), optimizer_state in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(optimizer_state)
        first_step = state["step"]
    main = processes.rank == 0
    log = ProgressLog(
        run_dir / "log.jsonl",
        first_step,
        steps,
        batch_rows * cfg.n_ctx,
        every=20,
        show=progress and main,
        write=main,
    )
    threads = ThreadChooser()
    average = torch.zeros((), device=device)
    for step in range(first_step, steps):
        with threads:
            rows = rows_of_step(len(tokens), batch_rows, step, seed).tensor_split(processes.count)[
                processes.rank
            ]
            loss = next_token_loss(model, tokens[rows].to(device).long(), dtype)
            loss.backward()
            value = loss.detach().clone()
            gradients = [p.grad for p in model.parameters() if p.grad is not None]
            processes.average(value, *gradients)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer, lr in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = lr * warm_up_hold_decay(step, steps)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
        average = value if step == first_step else average.lerp(value, 0.05)
        log.update(step + 1, loss=average.item())
        if main and ((step + 1) % checkpoint_every == 0 or step + 1 == steps):
            save_checkpoint(
                checkpoint,
                {
                    "settings": settings,
                    "step": step + 1,
                    "model": model.state_dict(),
                    "optimizers": [optimizer.state_dict() for optimizer, _ in optimizers],
                },
            )
    silence_unseen_tokens(model, tokens)
    loss_now = validation_loss(model, validation)
    if main:
        save_file(model.state_dict(), run_dir / "model.safetensors")
        summary = {"settings": settings, "steps": steps, "precision": str(dtype), "validation_loss": loss_now}
        (run_dir / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    processes.close()
    return loss_now
