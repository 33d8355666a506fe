"""Fast training of one sparse autoencoder on stored activations, on a processor or an accelerator.

On a processor only the encoder's product is dense. Everything after it touches only the latents that fire, one in a
hundred of them or fewer: decoding and the gradients of both weight matrices are weighted sums of rows
(`embedding_bag`), and the gradient of a latent is one dot product. On an accelerator dense products are faster than
picking rows.

The recipe, in two stages, of which the second starts from the weights of the first:

1. `topk`: only the k largest latents of a token fire (Gao et al. 2024, "Scaling and evaluating sparse autoencoders").
   Latents that have been silent for long learn to explain what the others leave (their auxiliary loss, AuxK).
2. `threshold`: a latent fires above a threshold that all latents share, whatever the others do. It is steered until k
   latents fire on a token on average, as in BatchTopK (Bussmann et al. 2024, "BatchTopK sparse autoencoders"). The
   result is a JumpReLU autoencoder (Rajamanoharan et al. 2024, "Jumping ahead").
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from part_utils.fast.embedding_bag import FiringPairs
from pretraining.run import (
    Processes,
    ProgressLog,
    ThreadChooser,
    load_checkpoint,
    save_checkpoint,
)

CHUNK = 512
"""Tokens that are encoded at a time on a processor, so that what is computed for them stays in its cache."""
Stage = Literal["topk", "threshold"]
STAGES: tuple[Stage, ...] = ("topk", "threshold")
AUXILIARY_LATENTS = 32
"""How many silent latents explain together what the others leave of a token."""
AUXILIARY_WEIGHT = 1 / 32


@dataclass(frozen=True)
class SparseTrainingConfig:
    """One stage of the training of one autoencoder."""

    stage: Stage
    steps: int
    batch_size: int = 2048
    n_hidden_ae: int = 1536
    k: int = 7
    """How many latents fire on a token: always in the stage `topk`, on average in the stage `threshold`."""
    lr: float = 2e-3
    seed: int = 0
    silent_tokens: int = 100_000
    """A latent that has not fired on so many tokens learns from the auxiliary loss."""


@dataclass
class Weights:
    """One autoencoder: encoder and decoder rows [n_hidden_ae n_input_ae], biases, and above what a latent fires."""

    encoder: Float[Tensor, "n_hidden_ae n_input_ae"]
    decoder: Float[Tensor, "n_hidden_ae n_input_ae"]
    b_enc: Float[Tensor, "n_hidden_ae"]
    b_dec: Float[Tensor, "n_input_ae"]
    threshold: Float[Tensor, "n_hidden_ae"]

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return all of them, in the order of the fields."""
        return self.encoder, self.decoder, self.b_enc, self.b_dec, self.threshold

    def clone(self) -> "Weights":
        """Return a copy that shares no memory."""
        return Weights(*(tensor.clone() for tensor in self.tensors()))

    def scaled(self, factor: float) -> "Weights":
        """For activations that are `factor` times as large: what fires stays the same."""
        return Weights(
            self.encoder, self.decoder, self.b_enc * factor, self.b_dec * factor, self.threshold * factor
        )


class Active(NamedTuple):
    """What fires in a batch."""

    pairs: FiringPairs
    values: Float[Tensor, "pairs"]


def first_weights(sample: Float[Tensor, "sample n_input_ae"], n_hidden_ae: int, seed: int) -> Weights:
    """Random unit directions, the encoder equal to the decoder, the mean activation as `b_dec`."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(n_hidden_ae, sample.shape[1], generator=generator).to(sample.device)
    rows = F.normalize(rows, dim=1)
    zeros = torch.zeros(n_hidden_ae, device=sample.device)
    return Weights(rows.clone(), rows, zeros, sample.mean(dim=0), zeros.clone())


def encode(
    weights: Weights, centered: Float[Tensor, "batch n_input_ae"], k: int | None, dtype: torch.dtype
) -> Active:
    """Return the latents that fire: those above their threshold, or the k largest of those above zero."""
    low = weights.encoder.to(dtype)
    bias = weights.b_enc.to(dtype)
    threshold = weights.threshold.to(dtype)
    n_hidden_ae = len(low)
    chunk = CHUNK if centered.device.type == "cpu" else len(centered)
    places, values = [], []
    for start in range(0, len(centered), chunk):
        pre = F.linear(centered[start : start + chunk].to(dtype), low, bias)
        if k is None:
            place = (pre > threshold).view(-1).nonzero().squeeze(1)
            values.append(pre.view(-1)[place].float())
        else:
            top, latents = pre.topk(k, dim=1, sorted=False)
            place = (latents + torch.arange(len(pre), device=pre.device)[:, None] * n_hidden_ae).flatten()
            values.append(top.flatten().float().relu_())
        places.append(place + start * n_hidden_ae)
    place = torch.cat(places)
    tokens = place // n_hidden_ae
    latents = place - tokens * n_hidden_ae
    return Active(FiringPairs(weights.decoder, tokens, latents, len(centered)), torch.cat(values))


def reconstruct(weights: Weights, active: Active) -> Float[Tensor, "batch n_input_ae"]:
    """Decode the latents that fire."""
    return active.pairs.decode(active.values) + weights.b_dec


def gradients(
    weights: Weights,
    batch: Float[Tensor, "batch n_input_ae"],
    *,
    k: int | None,
    silent: Bool[Tensor, "n_hidden_ae"],
    dtype: torch.dtype,
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Return the gradients of encoder, decoder, `b_enc` and `b_dec`, and this batch's measures.

    The loss is the mean squared error, plus the auxiliary loss of the latents that are `silent`. A gradient passes
    through every latent that fires as if what fires were given; the threshold gets none.
    """
    centered = batch - weights.b_dec
    active = encode(weights, centered, k, dtype)
    gradients_by = dense_gradients if batch.is_cuda else sparse_gradients
    error, grad_encoder, grad_decoder, grad_b_enc = gradients_by(weights, batch, centered, active)
    grad_b_dec = (error * (2 / error.numel())).sum(dim=0) - grad_b_enc @ weights.encoder
    if silent.any():
        for grad, extra in zip(
            (grad_encoder, grad_decoder, grad_b_enc),
            auxiliary_gradients(weights, centered, error, silent),
            strict=True,
        ):
            grad[silent] += extra
    # A decoder row keeps its length, so the part of its gradient along the row is left out.
    along = (grad_decoder * weights.decoder).sum(dim=1, keepdim=True)
    measures = {
        "squared_error": error.pow(2).sum(),
        "l0": (active.values > 0).sum() / len(batch),
        "fired": active.pairs.by_latent((active.values > 0).to(weights.b_enc.dtype)),
    }
    return [grad_encoder, grad_decoder - along * weights.decoder, grad_b_enc, grad_b_dec], measures


def sparse_gradients(
    weights: Weights,
    batch: Float[Tensor, "batch n_input_ae"],
    centered: Float[Tensor, "batch n_input_ae"],
    active: Active,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the reconstruction's error, and the gradients of encoder, decoder and `b_enc`, from what fires alone."""
    error = reconstruct(weights, active) - batch
    grad_output = error * (2 / error.numel())
    grad_values = active.pairs.grad_values(grad_output) * (active.values > 0)
    grad_encoder = active.pairs.rows_by_latent(centered, grad_values)
    grad_decoder = active.pairs.rows_by_latent(grad_output, active.values)
    grad_b_enc = active.pairs.by_latent(grad_values)
    return error, grad_encoder, grad_decoder, grad_b_enc


def dense_gradients(
    weights: Weights,
    batch: Float[Tensor, "batch n_input_ae"],
    centered: Float[Tensor, "batch n_input_ae"],
    active: Active,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the same as `sparse_gradients`, from matrices with a place for every latent."""
    acts = batch.new_zeros(len(batch), len(weights.encoder))
    acts[active.pairs.inputs, active.pairs.latents] = active.values
    error = acts @ weights.decoder + weights.b_dec - batch
    grad_output = error * (2 / error.numel())
    grad_pre = (grad_output @ weights.decoder.mT) * (acts > 0)
    return error, grad_pre.mT @ centered, acts.mT @ grad_output, grad_pre.sum(dim=0)


def auxiliary_gradients(
    weights: Weights,
    centered: Float[Tensor, "batch n_input_ae"],
    error: Float[Tensor, "batch n_input_ae"],
    silent: Bool[Tensor, "n_hidden_ae"],
) -> tuple[Tensor, ...]:
    """Return what AuxK adds to the gradients of the silent latents' encoder rows, decoder rows and biases.

    On every token the largest of the silent latents reconstruct what the others leave. Their squared error, as a share
    of what is left, times `AUXILIARY_WEIGHT` is the auxiliary loss (Gao et al. 2024, appendix A.2).
    """
    with torch.enable_grad():
        encoder, decoder, b_enc = (
            tensor[silent].requires_grad_() for tensor in (weights.encoder, weights.decoder, weights.b_enc)
        )
        pre = F.linear(centered, encoder, b_enc)
        top = pre.topk(min(AUXILIARY_LATENTS, len(encoder)), dim=1)
        acts = torch.zeros_like(pre).scatter(1, top.indices, top.values.relu())
        left = acts @ decoder + error  # error is the reconstruction minus the input
        loss = AUXILIARY_WEIGHT * left.pow(2).sum() / error.pow(2).sum().clamp_min(1e-12)
        return torch.autograd.grad(loss, (encoder, decoder, b_enc))


@torch.no_grad()
def shared_threshold(
    weights: Weights, sample: Float[Tensor, "sample n_input_ae"], k: int
) -> Float[Tensor, ""]:
    """Return the threshold above which k latents fire on average; 0 where fewer than that are above zero."""
    pre = F.linear(sample - weights.b_dec, weights.encoder, weights.b_enc).flatten()
    n = min(k * len(sample) + 1, len(pre))
    return pre.topk(n).values[-1].clamp_min(0)


class Batches(Protocol):
    """What a stage trains on."""

    sample: Float[Tensor, "sample n_input_ae"]
    """Some of the activations, for the scale, the first weights and the threshold."""
    count: int
    """How many activations there are, or tokens to read them from."""

    def __call__(self, step: int) -> Float[Tensor, "share n_input_ae"]:
        """Return what this process trains on in a step."""
        ...


class BatchOrder:
    """Which activations each step trains on: all of them in a fresh order each epoch, a function of the seed."""

    def __init__(self, n: int, batch_size: int, seed: int) -> None:
        self.n, self.batch_size, self.seed = n, batch_size, seed
        self.epoch, self.order = -1, torch.empty(0)

    def __call__(self, step: int) -> Int[Tensor, "batch_size"]:
        epoch, position = divmod(step, self.n // self.batch_size)
        if epoch != self.epoch:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self.epoch, self.order = epoch, torch.randperm(self.n, generator=generator)
        return self.order[position * self.batch_size : (position + 1) * self.batch_size]


def order_seed(cfg: SparseTrainingConfig) -> int:
    """Return the seed of the order in which a stage sees its activations."""
    return 3 * cfg.seed + STAGES.index(cfg.stage)


class StoredBatches:
    """Batches of activations that are all there, in any floating-point type and any order.

    Raises:
        ValueError: there are fewer activations than a batch has.
    """

    def __init__(
        self, acts: Float[Tensor, "tokens n_input_ae"], cfg: SparseTrainingConfig, processes: Processes
    ) -> None:
        if len(acts) < cfg.batch_size:
            raise ValueError(
                f"There are {len(acts)} activations, fewer than one batch of {cfg.batch_size}: choose a smaller "
                "batch_size or collect more."
            )
        self.acts, self.processes, self.count = acts, processes, len(acts)
        self.sample = acts[BatchOrder(len(acts), min(len(acts), 16384), cfg.seed)(0)]
        self.order = BatchOrder(len(acts), cfg.batch_size, order_seed(cfg))

    def __call__(self, step: int) -> Float[Tensor, "share n_input_ae"]:
        return self.acts[self.order(step).tensor_split(self.processes.count)[self.processes.rank]]


@torch.no_grad()
def train_stage(
    batches: Batches,
    cfg: SparseTrainingConfig,
    run_dir: Path,
    *,
    start: Weights | None = None,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    checkpoint_every: int = 200,
    progress: bool = True,
    processes: Processes | None = None,
    described: Mapping[str, Any] | None = None,
) -> Weights:
    """Run one stage and return the weights, for the activations as they are (not rescaled).

    Inside, activations are scaled to a variance of 1 for an entry on average, which makes learning rates comparable
    between models. Goes on from `run_dir/checkpoint.pt` where there is one. With several processes each takes its share
    of every batch, and gradients are averaged.

    Args:
        batches: the activations of each step.
        cfg: the stage and its settings.
        run_dir: where checkpoint and log are.
        start: the weights of the stage before, which `threshold` needs; `topk` draws its own.
        device: where the training happens; the activations may come from main memory.
        dtype: precision of the dense product.
        checkpoint_every: steps between checkpoints.
        progress: show a progress bar.
        processes: of `torchrun`; found out when left out.
        described: what else a checkpoint must have been made with, to go on from it.
    """
    if start is None and cfg.stage == "threshold":
        raise ValueError(
            f"The stage {cfg.stage} goes on from other weights: pass the ones of the stage before."
        )
    processes = processes or Processes(device)
    run_dir.mkdir(parents=True, exist_ok=True)
    sample = batches.sample.to(device).float()
    size = sample.shape[1]
    scale = math.sqrt(size / sample.var(dim=0).sum().item())
    weights = (
        start.clone().scaled(scale) if start else first_weights(sample * scale, cfg.n_hidden_ae, cfg.seed)
    )
    k = cfg.k if cfg.stage == "topk" else None
    if k is None:
        weights.threshold.fill_(shared_threshold(weights, sample * scale, cfg.k))
    trained = [weights.encoder, weights.decoder, weights.b_enc, weights.b_dec]
    optimizer = torch.optim.Adam(trained, lr=cfg.lr, betas=(0.9, 0.99), fused=True)
    silent_for = torch.zeros(cfg.n_hidden_ae, device=device)
    l0 = float(cfg.k)
    first_step = 0
    checkpoint = run_dir / "checkpoint.pt"
    settings: dict[str, Any] = {**asdict(cfg), "tokens": batches.count, **(described or {})}
    if state := load_checkpoint(checkpoint, settings):
        for tensor, saved in zip(weights.tensors(), state["weights"], strict=True):
            tensor.copy_(saved)
        silent_for = state["silent_for"].to(device)
        optimizer.load_state_dict(state["optimizer"])
        first_step, l0 = state["step"], state["l0"]
    main = processes.rank == 0
    log = ProgressLog(
        run_dir / "log.jsonl",
        first_step,
        cfg.steps,
        cfg.batch_size,
        every=20,
        show=progress and main,
        write=main,
    )
    threads = ThreadChooser()
    for step in range(first_step, cfg.steps):
        with threads:
            batch = batches(step).to(device).float() * scale
            silent = silent_for > cfg.silent_tokens
            grads, measures = gradients(weights, batch, k=k, silent=silent, dtype=dtype)
            processes.average(*grads, *measures.values())
            for tensor, grad in zip(trained, grads, strict=True):
                tensor.grad = grad
            warm_up = min(1.0, (step + 1) / 50)
            optimizer.param_groups[0]["lr"] = cfg.lr * warm_up * min(1.0, 2.5 * (1 - step / cfg.steps))
            optimizer.step()
            weights.decoder /= weights.decoder.norm(dim=1, keepdim=True).clamp_min(1e-8)
        l0 += 0.1 * (measures["l0"].item() - l0)
        if k is None:
            weights.threshold *= math.exp(0.01 * max(-1.0, min(1.0, l0 / cfg.k - 1)))
        silent_for = torch.where(measures["fired"] > 0, 0, silent_for + cfg.batch_size)
        fvu = measures["squared_error"].item() / len(batch) / size
        log.update(step + 1, fvu=fvu, l0=l0, silent=silent.float().mean().item())
        if main and ((step + 1) % checkpoint_every == 0 or step + 1 == cfg.steps):
            save_checkpoint(
                checkpoint,
                {
                    "settings": settings,
                    "step": step + 1,
                    "l0": l0,
                    "weights": list(weights.tensors()),
                    "silent_for": silent_for,
                    "optimizer": optimizer.state_dict(),
                },
            )
    if k is None:
        weights.threshold.fill_(shared_threshold(weights, sample * scale, cfg.k))
    return weights.scaled(1 / scale)
