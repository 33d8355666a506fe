"""Training of an autoencoder at one place of a model of many blocks (`course train-sae --model … --hook …`).

Activations are read as the training needs them, a piece of the text at a time and as far as that place only, without
the sinks: a position whose residual stream is many times as long as elsewhere has nearly all of the squared length, and
an autoencoder that sees it learns little else. A stopped run goes on with the next step.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from part_utils.baselines import neuron_copies
from part_utils.deep_models import sink_limit
from part_utils.files import write_atomically
from part_utils.language_models import load_autoencoder
from part_utils.progress_bar import progress_bar
from pretraining.autoencoders import load_weights, save_weights
from pretraining.metrics import BatchesInMetric, Metric
from pretraining.run import Processes, fastest_dtype
from pretraining.sparse_training import (
    Batches,
    BatchOrder,
    SparseTrainingConfig,
    StoredBatches,
    Weights,
    order_seed,
    train_stage,
)

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
        acts, norms = read_rows(read, tokens[first], device, batch_rows)
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
        acts, norms = read_rows(
            self.read,
            self.tokens[self.order(number)[self.processes.rank :: self.processes.count]],
            self.device,
            self.batch_rows,
        )
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


def read_rows(
    read: Reader, tokens: Int[Tensor, "rows seq"], device: str, batch_rows: int
) -> tuple[Float[Tensor, "positions size"], Float[Tensor, positions]]:
    """Return the activations of all positions, one after another, and how long the residual stream is there."""
    parts = [read(part.long().to(device)) for part in tokens.split(batch_rows)]
    acts, norms = zip(*parts, strict=True)
    return torch.cat([part.flatten(0, 1) for part in acts]), torch.cat([part.flatten() for part in norms])


@torch.no_grad()
def stored_activations(
    read: Reader,
    tokens: Int[Tensor, "rows seq"],
    path: Path,
    processes: Processes,
    device: str = "cpu",
    batch_rows: int = 16,
    progress: bool = True,
) -> Float[Tensor, "kept size"]:
    """Return the activations of a text without its sinks, as float16 in a file mapped into memory.

    Reading is what takes longest on a processor, so all epochs of all autoencoders of a place share the file. One that
    is complete is used again.

    Raises:
        ValueError: the file at `path` is that of another text, or does not fit on the disk.
    """
    described = {"tokens": tokens.numel(), "sum": int(tokens.long().sum())}
    done = path.with_suffix(".json")
    if not done.exists() and processes.rank == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        acts, norms = read_rows(read, tokens[:SAMPLE_ROWS], device, batch_rows)
        longest, size = sink_limit(norms), acts.shape[1]
        needed, free = 2 * tokens.numel() * size, shutil.disk_usage(path.parent).free
        if needed > free:
            raise ValueError(
                f"The activations need {needed / 1e9:.1f} GB at {path.parent}, where {free / 1e9:.1f} are free: choose "
                "fewer --max-rows, or leave --store out."
            )
        whole = torch.from_file(str(path), shared=True, size=tokens.numel() * size, dtype=torch.float16)
        kept = 0
        for rows in progress_bar(iterable=tokens.split(batch_rows), desc="Reading", show=progress):
            acts, norms = read_rows(read, rows, device, batch_rows)
            wanted = acts[norms <= longest].to("cpu", torch.float16).flatten()
            whole[kept : kept + len(wanted)] = wanted
            kept += len(wanted)
        write_atomically(done, json.dumps({**described, "kept": kept // size, "size": size}) + "\n")
    processes.wait()
    found = json.loads(done.read_text(encoding="utf-8"))
    if any(found[name] != value for name, value in described.items()):
        raise ValueError(f"{path} holds the activations of another text: give another --run-dir.")
    shape = (found["kept"], found["size"])
    return torch.from_file(str(path), shared=True, size=math.prod(shape), dtype=torch.float16).view(shape)


def without_copies(weights: Weights, copies: Bool[Tensor, n_hidden_ae], seed: int) -> Weights:
    """Draw the latents that are said to copy a neuron anew, and leave the others as they are.

    Under another error alone they hardly change: what has become a copy is most often still one after the training.
    """
    drawn = weights.clone()
    rows = torch.randn(
        int(copies.sum()), weights.decoder.shape[1], generator=torch.Generator().manual_seed(seed)
    )
    rows = F.normalize(rows, dim=1).to(weights.decoder.device)
    drawn.encoder[copies] = rows
    drawn.decoder[copies] = rows
    drawn.b_enc[copies] = 0
    return drawn


def start_of(
    name: str | None,
    instance: int,
    hook: str,
    cfg: SparseTrainingConfig,
    without: bool = False,
    device: str = "cpu",
) -> Weights | None:
    """Return the weights that a training goes on from: one instance of an autoencoder, or None to draw them.

    Args:
        name: the autoencoder, as `load_autoencoder` takes it; None to draw new weights.
        instance: which of its instances.
        hook: the place that is trained on.
        cfg: the stage, whose sizes and seed these are.
        without: draw the latents that copy a neuron anew.
        device: where the weights go.

    Raises:
        ValueError: the autoencoder is of another place, or has another number of latents or fewer instances.
    """
    if name is None:
        if without:
            raise ValueError(
                "There are copies to be drawn anew only in an autoencoder that is there: name it with --start."
            )
        return None
    autoencoder = load_autoencoder(name)
    theirs = getattr(autoencoder, "hook", None)
    if theirs not in (None, hook):
        raise ValueError(f"The autoencoder {name} is of {theirs}, not of {hook}.")
    sizes = autoencoder.cfg
    if sizes.n_instances <= instance or sizes.n_hidden_ae != cfg.n_hidden_ae:
        raise ValueError(
            f"The autoencoder {name} has {sizes.n_instances} instances of {sizes.n_hidden_ae} latents: instance "
            f"{instance} with {cfg.n_hidden_ae} is asked for."
        )
    threshold = getattr(autoencoder, "threshold", torch.zeros_like(autoencoder.b_enc))
    decoder = autoencoder.normalize_and_return_W_dec()
    parts = (autoencoder.W_enc.mT, decoder, autoencoder.b_enc, autoencoder.b_dec, threshold)
    weights = Weights(*(part[instance].detach().float().contiguous().to(device) for part in parts))
    if not without:
        return weights
    return without_copies(weights, neuron_copies(autoencoder)[instance], cfg.seed + instance)


def train_at(
    read: Reader,
    tokens: Int[Tensor, "rows seq"],
    run_dir: Path,
    cfg: SparseTrainingConfig,
    *,
    threshold_steps: int = 1000,
    start: Weights | None = None,
    metric: Callable[[Float[Tensor, "sample size"]], Metric] | None = None,
    store: Path | None = None,
    described: Mapping[str, Any] | None = None,
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
        start: weights to go on from; drawn at random when left out.
        metric: what the error is measured by, given some of the activations; a plain squared error when left out.
        store: a file for the activations, so that the text is read once; it is read again in each epoch when left out.
        described: what start and metric are, such as the path of the one and the share of the other: a run goes on only
            where it was begun with the same.
        device: where the training happens.
        batch_rows: rows that the model reads at a time.
        checkpoint_every: steps between checkpoints.
        progress: show progress bars.

    Raises:
        ValueError: `run_dir` is that of another run, or the text is shorter than a batch.
    """
    processes = Processes(device)
    dtype = fastest_dtype(device)
    weights = start
    text = {"tokens": tokens.numel(), "sum": int(tokens.long().sum())}
    acts = stored_activations(read, tokens, store, processes, device, batch_rows, progress) if store else None
    for stage in (cfg, replace(cfg, stage="threshold", steps=threshold_steps, lr=cfg.lr / 2)):
        settings = json.dumps(
            {**asdict(stage), **text, **(described or {})},
            indent=2,
        )
        result = run_dir / f"{stage.stage}.safetensors"
        if result.exists():
            if result.with_suffix(".json").read_text(encoding="utf-8") != settings + "\n":
                raise ValueError(
                    f"{result} was made with other settings or another text: give another --run-dir."
                )
            weights = load_weights(result, device)
            continue
        batches: Batches
        if acts is None:
            batches = StreamedBatches(read, tokens, stage, processes, device, batch_rows)
        else:
            batches = StoredBatches(acts, stage, processes)
        coordinates = metric(batches.sample.float().cpu()) if metric else None
        if coordinates is not None:
            batches = BatchesInMetric(batches, coordinates)
            weights = weights and coordinates.weights_for_coordinates(weights)
        weights = train_stage(
            batches,
            stage,
            run_dir / stage.stage,
            start=weights,
            device=device,
            dtype=dtype,
            checkpoint_every=checkpoint_every,
            progress=progress,
            processes=processes,
            described=described,
        )
        if coordinates is not None:
            weights = coordinates.weights_for_activations(weights)
        if processes.rank == 0:
            write_atomically(result.with_suffix(".json"), settings + "\n")
            save_weights(weights, result)
    assert weights is not None
    return Weights(*(tensor.cpu() for tensor in weights.tensors()))
