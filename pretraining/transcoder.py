"""Training of the bundled transcoder on the bundled model's MLP (`course train-transcoder`)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from part_utils.one_layer_model import Block, OneLayerModel
from part_utils.training import linear_lr
from part_utils.transcoder import Transcoder
from pretraining.run import ProgressLog, load_checkpoint, save_checkpoint
from pretraining.sparse_training import BatchOrder


@dataclass(frozen=True)
class TranscoderTraining:
    """The sizes of a transcoder and how it is trained."""

    n_hidden: int = 1024
    k: int = 8
    skip: bool = True
    steps: int = 600
    batch_rows: int = 32
    lr: float = 2e-3
    seed: int = 0


@torch.no_grad()
def mlp_in_and_out(
    model: OneLayerModel, tokens: Int[Tensor, "rows seq"]
) -> tuple[Float[Tensor, "tokens d_model"], Float[Tensor, "tokens d_model"]]:
    """Return what the MLP reads and what it writes, at every token."""
    block = model.layers[0]
    assert isinstance(block, Block)
    x = block.ln2(model.mid(tokens)).flatten(0, 1)
    return x, block.mlp(x)


def first_transcoder(cfg: TranscoderTraining, x: Tensor, y: Tensor) -> Transcoder:
    """Start at the mean output, with each latent reading along the input of a token that was drawn."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(cfg.seed)
        transcoder = Transcoder(x.shape[1], y.shape[1], cfg.n_hidden, cfg.k, cfg.skip)
        mean = x.mean(dim=0)
        drawn = x[torch.randint(len(x), (cfg.n_hidden,))] - mean
        # Two latents that drew the same token shall not stay the same.
        directions = torch.nn.functional.normalize(drawn + 1e-3 * torch.randn_like(drawn), dim=1)
        transcoder.W_enc.copy_(directions.T)
        transcoder.b_enc.copy_(-mean @ directions.T)
        transcoder.b_dec.copy_(y.mean(dim=0))
        transcoder.W_dec.copy_(0.1 * torch.nn.functional.normalize(transcoder.W_dec, dim=1))
    return transcoder


def train_transcoder(
    model: OneLayerModel,
    tokens: Int[Tensor, "rows seq"],
    run_dir: Path,
    cfg: TranscoderTraining,
    checkpoint_every: int = 100,
    progress: bool = True,
) -> Transcoder:
    """Train a transcoder, going on from `run_dir/checkpoint.pt` where there is one.

    Inside, outputs are scaled to a mean square of 1. Adam, with a learning rate that falls to zero in a straight line.

    Args:
        model: the one-layer model whose MLP is to be rebuilt.
        tokens: the text.
        run_dir: where checkpoint and log are.
        cfg: the settings.
        checkpoint_every: steps between checkpoints.
        progress: show a progress bar.
    """
    order = BatchOrder(len(tokens), cfg.batch_rows, cfg.seed)
    x, y = mlp_in_and_out(model, tokens[order(0)])
    scale = (y - y.mean(dim=0)).pow(2).mean().sqrt()
    transcoder = first_transcoder(cfg, x, y / scale)
    optimizer = torch.optim.Adam(transcoder.parameters(), lr=cfg.lr, betas=(0.9, 0.99), fused=True)
    settings: dict[str, Any] = {**asdict(cfg), "tokens": tokens.numel()}
    checkpoint, first_step = run_dir / "checkpoint.pt", 0
    if state := load_checkpoint(checkpoint, settings):
        transcoder.load_state_dict(state["transcoder"])
        optimizer.load_state_dict(state["optimizer"])
        first_step = state["step"]
    run_dir.mkdir(parents=True, exist_ok=True)
    log = ProgressLog(
        run_dir / "log.jsonl", first_step, cfg.steps, cfg.batch_rows * tokens.shape[1], 20, progress, True
    )
    for step in range(first_step, cfg.steps):
        x, y = mlp_in_and_out(model, tokens[order(step)])
        for group in optimizer.param_groups:
            group["lr"] = cfg.lr * linear_lr(step, cfg.steps)
        output = transcoder(x, y / scale)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        dead = (output.acts > 0).sum(dim=0) == 0
        log.update(step + 1, loss=output.loss.item(), silent=dead.float().mean().item())
        if (step + 1) % checkpoint_every == 0 or step + 1 == cfg.steps:
            save_checkpoint(
                checkpoint,
                {
                    "settings": settings,
                    "step": step + 1,
                    "transcoder": transcoder.state_dict(),
                    "optimizer": optimizer.state_dict(),
                },
            )
    with torch.no_grad():
        for name in ("W_dec", "b_dec", "W_skip"):
            if (value := getattr(transcoder, name)) is not None:
                value.mul_(scale)
    return transcoder.eval()
