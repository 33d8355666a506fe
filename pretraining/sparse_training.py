"""Fast training of one sparse autoencoder on stored activations, on a processor or an accelerator.

Only the encoder's product is dense. Everything after it touches only the latents that fire, a few
percent of them: decoding and the gradients of both weight matrices are weighted sums of rows
(`embedding_bag`), and the gradient of a latent is one dot product.

The recipe, in three stages, each of which starts from the weights of the one before:

1. `topk`: only the k largest latents of a token fire (Gao et al. 2024, "Scaling and evaluating sparse
   autoencoders"). It learns fast and leaves hardly any latent dead.
2. `relu`: plain ReLU with an L1 penalty (Bricken et al. 2023), started with `b_enc` lowered by the
   smallest activation that was among the k largest, so that about k latents fire from the first step. The
   weight of the penalty is steered until `target_l0` latents fire. Latents that hardly fire any more (on one
   token in 20,000) after a half, three quarters and seven eighths of the steps start again at what is unexplained.
3. `refit`: the L1 penalty also shrinks what fires. The encoder's directions, and with them which latents
   fire, stay fixed now; the decoder and the scale of every latent are fitted to the squared error alone
   (after Wright & Sharkey 2024, "Addressing feature suppression in SAEs").
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from part_utils.fast.embedding_bag import per_sample_weight_gradients
from pretraining.run import (
    Processes,
    ProgressLog,
    ThreadChooser,
    load_checkpoint,
    save_checkpoint,
)

CHUNK = 512
Stage = Literal["topk", "relu", "refit"]
STAGES: tuple[Stage, ...] = ("topk", "relu", "refit")


@dataclass(frozen=True)
class SparseTrainingConfig:
    """One stage of the training of one autoencoder."""

    stage: Stage
    steps: int
    batch_size: int = 2048
    n_hidden_ae: int = 4096
    k: int = 48
    """How many latents fire in the stage `topk`."""
    target_l0: float = 72.0
    """How many shall fire, on average, in the stage `relu`."""
    l1_coeff: float = 0.3
    """First weight of the penalty in the stage `relu`; it is steered towards `target_l0`."""
    lr: float = 1.5e-3
    seed: int = 0


@dataclass
class Weights:
    """One autoencoder: encoder and decoder rows [n_hidden_ae n_input_ae], and the biases."""

    encoder: Float[Tensor, "n_hidden_ae n_input_ae"]
    decoder: Float[Tensor, "n_hidden_ae n_input_ae"]
    b_enc: Float[Tensor, "n_hidden_ae"]
    b_dec: Float[Tensor, "n_input_ae"]

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return all of them, in the order of the fields."""
        return self.encoder, self.decoder, self.b_enc, self.b_dec

    def clone(self) -> "Weights":
        """Return a copy that shares no memory."""
        return Weights(*(tensor.clone() for tensor in self.tensors()))

    def scaled(self, factor: float) -> "Weights":
        """For activations that are `factor` times as large: what fires stays the same."""
        return Weights(self.encoder, self.decoder, self.b_enc * factor, self.b_dec * factor)


class Active(NamedTuple):
    """The latents that fire in a batch, ordered by token."""

    tokens: Int[Tensor, "active"]
    latents: Int[Tensor, "active"]
    values: Float[Tensor, "active"]
    starts: Int[Tensor, "batch"]
    """Where each token's latents start."""


def first_weights(sample: Float[Tensor, "sample n_input_ae"], n_hidden_ae: int, seed: int) -> Weights:
    """Random unit directions, the encoder equal to the decoder, the mean activation as `b_dec`."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(n_hidden_ae, sample.shape[1], generator=generator).to(sample.device)
    rows = F.normalize(rows, dim=1)
    return Weights(rows.clone(), rows, torch.zeros(n_hidden_ae, device=sample.device), sample.mean(dim=0))


def encode(
    weights: Weights, centered: Float[Tensor, "batch n_input_ae"], k: int | None, dtype: torch.dtype
) -> Active:
    """Return the latents that fire: those above zero, or the k largest of them."""
    low = weights.encoder.to(dtype)
    bias = weights.b_enc.to(dtype)
    n_hidden_ae = len(low)
    places, values = [], []
    for start in range(0, len(centered), CHUNK):
        pre = F.linear(centered[start : start + CHUNK].to(dtype), low, bias)
        if k is None:
            place = (pre.view(-1) > 0).nonzero().squeeze(1)
            values.append(pre.view(-1)[place].float())
        else:
            top, latents = pre.topk(k, dim=1, sorted=False)
            place = (latents + torch.arange(len(pre), device=pre.device)[:, None] * n_hidden_ae).flatten()
            values.append(top.flatten().float().relu_())
        places.append(place + start * n_hidden_ae)
    place = torch.cat(places)
    tokens = place // n_hidden_ae
    counts = torch.bincount(tokens, minlength=len(centered))
    return Active(tokens, place - tokens * n_hidden_ae, torch.cat(values), counts.cumsum(0) - counts)


def weighted_sums(
    rows: Float[Tensor, "rows size"],
    which: Int[Tensor, "active"],
    starts: Int[Tensor, "sums"],
    weights: Float[Tensor, "active"],
) -> Float[Tensor, "sums size"]:
    """For every sum: its part of `which`, from its start to the next one's, picks rows that are added up."""
    return F.embedding_bag(which, rows, starts, mode="sum", per_sample_weights=weights)


def reconstruct(weights: Weights, active: Active) -> Float[Tensor, "batch n_input_ae"]:
    """Decode the latents that fire."""
    return weighted_sums(weights.decoder, active.latents, active.starts, active.values) + weights.b_dec


def gradients(
    weights: Weights,
    batch: Float[Tensor, "batch n_input_ae"],
    *,
    k: int | None,
    l1_coeff: float,
    train_encoder: bool,
    dtype: torch.dtype,
    encoder_b_dec: Float[Tensor, "n_input_ae"] | None = None,
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Return the gradients of encoder, decoder, `b_enc`, `b_dec` (or of decoder, `b_dec`), and this batch's measures.

    The loss is the mean over the batch of (mean over inputs of the squared error + l1_coeff × L1 / n_input_ae).
    The encoder reads the batch minus `encoder_b_dec`, or minus `weights.b_dec` when that is left out.
    """
    size = batch.shape[1]
    n_hidden_ae = len(weights.encoder)
    centered = batch - (weights.b_dec if encoder_b_dec is None else encoder_b_dec)
    active = encode(weights, centered, k, dtype)
    error = reconstruct(weights, active) - batch
    grad_output = error * (2 / error.numel())

    by_latent = active.latents.to(torch.int32).sort(stable=True).indices
    counts = torch.bincount(active.latents, minlength=n_hidden_ae)
    starts = counts.cumsum(0) - counts
    tokens = active.tokens[by_latent]
    grad_decoder = weighted_sums(grad_output, tokens, starts, active.values[by_latent])
    grad_b_dec = grad_output.sum(dim=0)
    measures = {
        "squared_error": error.pow(2).sum(),
        "l0": (active.values > 0).sum() / len(batch),
        "l1": active.values.sum() / len(batch),
        "fired": counts.float(),
    }
    if not train_encoder:
        return [grad_decoder, grad_b_dec], measures
    grad_values = per_sample_weight_gradients(
        grad_output, weights.decoder, active.latents, active.starts, active.tokens
    )
    grad_values = (grad_values + l1_coeff / size / len(batch)) * (active.values > 0)
    grad_encoder = weighted_sums(centered, tokens, starts, grad_values[by_latent])
    grad_b_enc = torch.zeros_like(weights.b_enc).index_add_(0, active.latents, grad_values)
    grad_b_dec = grad_b_dec - grad_b_enc @ weights.encoder
    # A decoder row keeps its length, so the part of its gradient along the row is left out.
    along = (grad_decoder * weights.decoder).sum(dim=1, keepdim=True)
    return [grad_encoder, grad_decoder - along * weights.decoder, grad_b_enc, grad_b_dec], measures


@torch.no_grad()
def lower_biases(
    weights: Weights, sample: Float[Tensor, "sample n_input_ae"], k: int, dtype: torch.dtype
) -> None:
    """Turn a TopK autoencoder into a ReLU one with about as many latents per token, in place.

    `b_enc` falls by the mean over tokens of the smallest of the k largest activations. What still fires is
    smaller by as much, so every latent is scaled up to have the mean activation that it had.
    """
    before = encode(weights, sample - weights.b_dec, k, dtype)
    smallest = before.values.view(-1, k).amin(dim=1).mean()
    sums = torch.zeros_like(weights.b_enc)
    before_sums = sums.index_add(0, before.latents, before.values)
    weights.b_enc -= smallest
    after = encode(weights, sample - weights.b_dec, None, dtype)
    after_sums = sums.index_add(0, after.latents, after.values)
    gain = (before_sums / after_sums.clamp_min(1e-6)).clamp(1, 2)
    weights.encoder *= gain[:, None]
    weights.b_enc *= gain


@torch.no_grad()
def resample(
    weights: Weights,
    optimizer: torch.optim.Optimizer,
    chosen: Bool[Tensor, "n_hidden_ae"],
    sample: Float[Tensor, "sample n_input_ae"],
    dtype: torch.dtype,
    seed: int,
) -> None:
    """Point latents at what the others leave unexplained, in place (after Bricken et al. 2023).

    Each takes the direction of the error on one token of the sample, drawn in proportion to the squared error,
    and a bias with which it fires on one token in 500.
    """
    if not chosen.any() or chosen.all():
        return
    error = sample - reconstruct(weights, encode(weights, sample - weights.b_dec, None, dtype))
    generator = torch.Generator().manual_seed(seed)
    chance = error.pow(2).sum(dim=1).cpu()
    tokens = torch.multinomial(chance, int(chosen.sum()), replacement=True, generator=generator)
    directions = F.normalize(error[tokens.to(error.device)], dim=1)
    weights.decoder[chosen] = directions
    weights.encoder[chosen] = directions * weights.encoder[~chosen].norm(dim=1).mean()
    pre = (sample - weights.b_dec) @ weights.encoder[chosen].mT
    weights.b_enc[chosen] = -pre.topk(max(1, len(pre) // 500), dim=0).values[-1]
    for tensor in (weights.encoder, weights.decoder, weights.b_enc):
        for name in ("exp_avg", "exp_avg_sq"):
            optimizer.state[tensor][name][chosen] = 0


@torch.no_grad()
def absorb_decoder_lengths(weights: Weights) -> None:
    """Make the decoder rows unit vectors again and scale the encoder instead, in place."""
    lengths = weights.decoder.norm(dim=1).clamp_min(1e-8)
    weights.decoder /= lengths[:, None]
    weights.encoder *= lengths[:, None]
    weights.b_enc *= lengths


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


@torch.no_grad()
def train_stage(
    acts: Float[Tensor, "tokens n_input_ae"],
    cfg: SparseTrainingConfig,
    run_dir: Path,
    *,
    start: Weights | None = None,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    checkpoint_every: int = 200,
    progress: bool = True,
    processes: Processes | None = None,
) -> Weights:
    """Run one stage and return the weights, for the activations as they are (not rescaled).

    Inside, activations are scaled to a mean squared norm of n_input_ae, which makes learning rates and
    penalties comparable between models. Goes on from `run_dir/checkpoint.pt` where there is one. With
    several processes each takes its share of every batch, and gradients are averaged.

    Args:
        acts: activations in any floating-point type, in any order; batches are drawn from all of them.
        cfg: the stage and its settings.
        run_dir: where checkpoint and log are.
        start: the weights of the stage before; needed but for `topk`, which draws its own.
        device: where the training happens; `acts` may stay in main memory.
        dtype: precision of the dense product.
        checkpoint_every: steps between checkpoints.
        progress: show a progress bar.
        processes: of `torchrun`; found out when left out.
    """
    if start is None and cfg.stage != "topk":
        raise ValueError(
            f"The stage {cfg.stage} goes on from other weights: pass the ones of the stage before."
        )
    if len(acts) < cfg.batch_size:
        raise ValueError(
            f"There are {len(acts)} activations, fewer than one batch of {cfg.batch_size}: choose a smaller "
            "batch_size or collect more."
        )
    processes = processes or Processes(device)
    run_dir.mkdir(parents=True, exist_ok=True)
    size = acts.shape[1]
    sample = acts[BatchOrder(len(acts), min(len(acts), 16384), cfg.seed)(0)].to(device).float()
    scale = math.sqrt(size / sample.pow(2).sum(dim=1).mean().item())
    variance = (sample * scale).var(dim=0).sum().item()
    first = first_weights(sample * scale, cfg.n_hidden_ae, cfg.seed)
    weights = start.clone().scaled(scale) if start else first
    if cfg.stage == "relu":
        lower_biases(weights, sample[:4096] * scale, cfg.k, dtype)
    k = cfg.k if cfg.stage == "topk" else None
    train_encoder = cfg.stage != "refit"
    trained = [weights.encoder, weights.decoder, weights.b_enc, weights.b_dec]
    if not train_encoder:
        trained = [weights.decoder, weights.b_dec]
    b_dec_at_start = weights.b_dec.clone()
    optimizer = torch.optim.Adam(trained, lr=cfg.lr, betas=(0.9, 0.99), fused=True)
    l1_coeff, l0 = cfg.l1_coeff, float(cfg.k)
    first_step = 0
    checkpoint = run_dir / "checkpoint.pt"
    settings: dict[str, Any] = {**asdict(cfg), "tokens": len(acts)}
    if state := load_checkpoint(checkpoint, settings):
        for tensor, saved in zip(weights.tensors(), state["weights"], strict=True):
            tensor.copy_(saved)
        b_dec_at_start = state["b_dec_at_start"].to(device)
        optimizer.load_state_dict(state["optimizer"])
        first_step, l1_coeff, l0 = state["step"], state["l1_coeff"], state["l0"]
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
    order = BatchOrder(len(acts), cfg.batch_size, 3 * cfg.seed + STAGES.index(cfg.stage))
    fired = torch.zeros(cfg.n_hidden_ae, device=device)
    for step in range(first_step, cfg.steps):
        with threads:
            rows = order(step)
            batch = acts[rows.tensor_split(processes.count)[processes.rank]].to(device).float() * scale
            grads, measures = gradients(
                weights,
                batch,
                k=k,
                l1_coeff=l1_coeff if cfg.stage == "relu" else 0.0,
                train_encoder=train_encoder,
                dtype=dtype,
                encoder_b_dec=None if train_encoder else b_dec_at_start,
            )
            processes.average(*grads, *measures.values())
            for tensor, grad in zip(trained, grads, strict=True):
                tensor.grad = grad
            warm_up = min(1.0, (step + 1) / 50)
            optimizer.param_groups[0]["lr"] = cfg.lr * warm_up * min(1.0, 2.5 * (1 - step / cfg.steps))
            optimizer.step()
            if train_encoder:
                weights.decoder /= weights.decoder.norm(dim=1, keepdim=True).clamp_min(1e-8)
        l0 += 0.1 * (measures["l0"].item() - l0)
        if cfg.stage == "relu":
            l1_coeff *= math.exp(0.01 * max(-1.0, min(1.0, l0 / cfg.target_l0 - 1)))
        fired = fired * 0.99 + measures["fired"]
        if cfg.stage == "relu" and step + 1 in (cfg.steps // 2, cfg.steps * 3 // 4, cfg.steps * 7 // 8):
            hardly = fired < 100 * cfg.batch_size / 20_000  # `fired` forgets what is 100 steps ago
            resample(weights, optimizer, hardly, sample[:8192] * scale, dtype, seed=step)
        fvu = measures["squared_error"].item() / len(batch) / variance
        log.update(step + 1, fvu=fvu, l0=l0, l1_coeff=l1_coeff, dead=(fired < 0.5).float().mean().item())
        if main and ((step + 1) % checkpoint_every == 0 or step + 1 == cfg.steps):
            save_checkpoint(
                checkpoint,
                {
                    "settings": settings,
                    "step": step + 1,
                    "l1_coeff": l1_coeff,
                    "l0": l0,
                    "weights": list(weights.tensors()),
                    "b_dec_at_start": b_dec_at_start,
                    "optimizer": optimizer.state_dict(),
                },
            )
    if not train_encoder:
        # What fires was decided with the old b_dec; the new one is made up for in b_enc.
        weights.b_enc += weights.encoder @ (weights.b_dec - b_dec_at_start)
        absorb_decoder_lengths(weights)
    return weights.scaled(1 / scale)
