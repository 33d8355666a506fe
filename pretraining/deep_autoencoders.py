"""Training of an autoencoder at one place of a model of many blocks (`course train-sae --model … --hook …`).

Activations are read as the training needs them, a piece of the text at a time and as far as that place only, without
the sinks: a position whose residual stream is many times as long as elsewhere has nearly all of the squared length, and
an autoencoder that sees it learns little else. A stopped run goes on with the next step.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from part_utils.deep_models import sink_limit
from part_utils.files import write_atomically
from pretraining.autoencoders import load_weights, save_weights
from pretraining.run import Processes, fastest_dtype
from pretraining.sparse_training import BatchOrder, SparseTrainingConfig, Weights, order_seed, train_stage

Reader = Callable[
    [Int[Tensor, "batch seq"]], tuple[Float[Tensor, "batch seq size"], Float[Tensor, "batch seq"]]
]
"""Returns the activations at a place, and how long the residual stream is behind its block."""

PIECE_ROWS = 4096
"""Rows of tokens whose activations are read and mixed at once."""
USED = 0.9
"""Which share of a piece is trained on: the rest makes up for the sinks, of which no two pieces have equally many."""
SAMPLE_ROWS = 256


class StreamedBatches:
    """Batches of the activations of a text without its sinks, read when they are needed.

    Rows come in a fresh order in each epoch. A piece of them is read and mixed, so that a batch holds tokens of many
    rows. With several processes each reads its share of every piece.

    Args:
        read: reads the place.
        tokens: the text, one row for each piece of it.
        cfg: the stage.
        processes: of `torchrun`.
        device: where the model is.
        batch_rows: rows that are read at a time.

    Raises:
        ValueError: the text is shorter than a batch.
    """

    def __init__(
        self,
        read: Reader,
        tokens: Int[Tensor, "rows seq"],
        cfg: SparseTrainingConfig,
        processes: Processes,
        device: str = "cpu",
        batch_rows: int = 16,
    ) -> None:
        self.read, self.tokens, self.processes, self.device = read, tokens, processes, device
        self.batch_rows = batch_rows
        self.count = tokens.numel()
        self.piece_rows = min(PIECE_ROWS, len(tokens))
        self.steps_per_piece = int(self.piece_rows * tokens.shape[1] * USED) // cfg.batch_size
        if self.steps_per_piece == 0:
            raise ValueError(
                f"The text has {self.count} tokens, too few for one batch of {cfg.batch_size} (a tenth is kept for "
                "sinks): choose a smaller batch_size or more rows."
            )
        self.share = cfg.batch_size // processes.count
        self.seed = order_seed(cfg)
        self.order = BatchOrder(len(tokens), self.piece_rows, self.seed)
        first = BatchOrder(len(tokens), min(len(tokens), SAMPLE_ROWS), cfg.seed)(0)
        acts, norms = self._read(first)
        self.longest = sink_limit(norms)
        """A position whose residual stream is longer is a sink."""
        self.sample = acts[norms <= self.longest]
        self.number = -1
        self.piece = self.sample

    def __call__(self, step: int) -> Float[Tensor, "share size"]:
        number, position = divmod(step, self.steps_per_piece)
        if number != self.number:
            self.number, self.piece = number, self._mixed(number)
        return self.piece[position * self.share : (position + 1) * self.share]

    def _mixed(self, number: int) -> Float[Tensor, "kept size"]:
        acts, norms = self._read(self.order(number)[self.processes.rank :: self.processes.count])
        kept = acts[norms <= self.longest]
        wanted = self.steps_per_piece * self.share
        if len(kept) < wanted:
            raise ValueError(
                f"{1 - len(kept) / len(acts):.0%} of this text are sinks, more than one in ten: is the residual stream "
                "of this model as that of others?"
            )
        seed = self.seed * 1_000_003 + number * self.processes.count + self.processes.rank
        order = torch.randperm(len(kept), generator=torch.Generator().manual_seed(seed))
        return kept[order[:wanted].to(kept.device)]

    def _read(self, rows: Int[Tensor, n]) -> tuple[Float[Tensor, "positions size"], Float[Tensor, positions]]:
        parts = [self.read(self.tokens[part].long().to(self.device)) for part in rows.split(self.batch_rows)]
        return torch.cat([acts.flatten(0, 1) for acts, _ in parts]), torch.cat(
            [n.flatten() for _, n in parts]
        )


def train_at(
    read: Reader,
    tokens: Int[Tensor, "rows seq"],
    run_dir: Path,
    cfg: SparseTrainingConfig,
    *,
    threshold_steps: int = 1000,
    device: str = "cpu",
    batch_rows: int = 16,
    checkpoint_every: int = 200,
    progress: bool = True,
) -> Weights:
    """Train an autoencoder at one place in the two stages of `sparse_training`.

    Args:
        read: reads the place, such as `read_place` with a model and a hook.
        tokens: the text to train on.
        run_dir: where checkpoints, logs and what each stage has made are; a stopped run goes on from there, and stages
            that are done are not repeated.
        cfg: the stage `topk`. The other one has half of its learning rate.
        threshold_steps: steps of the stage `threshold`.
        device: where the training happens.
        batch_rows: rows that the model reads at a time.
        checkpoint_every: steps between checkpoints.
        progress: show progress bars.

    Raises:
        ValueError: `run_dir` is that of another run, or the text is shorter than a batch.
    """
    processes = Processes(device)
    dtype = fastest_dtype(device)
    weights: Weights | None = None
    for stage in (cfg, replace(cfg, stage="threshold", steps=threshold_steps, lr=cfg.lr / 2)):
        settings = json.dumps(
            {**asdict(stage), "tokens": tokens.numel(), "sum": int(tokens.long().sum())}, indent=2
        )
        result = run_dir / f"{stage.stage}.safetensors"
        if result.exists():
            if result.with_suffix(".json").read_text(encoding="utf-8") != settings + "\n":
                raise ValueError(
                    f"{result} was made with other settings or another text: give another --run-dir."
                )
            weights = load_weights(result, device)
            continue
        weights = train_stage(
            StreamedBatches(read, tokens, stage, processes, device, batch_rows),
            stage,
            run_dir / stage.stage,
            start=weights,
            device=device,
            dtype=dtype,
            checkpoint_every=checkpoint_every,
            progress=progress,
            processes=processes,
        )
        if processes.rank == 0:
            write_atomically(result.with_suffix(".json"), settings + "\n")
            save_weights(weights, result)
    assert weights is not None
    return Weights(*(tensor.cpu() for tensor in weights.tensors()))
