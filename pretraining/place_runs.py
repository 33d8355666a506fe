"""A whole run of `course train-sae --model … --hook …`: its text, its start, a training for each letter, figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from part_utils.autoencoder import AutoEncoder
from part_utils.deep_models import block_of, check_hook, evaluate_place, read_place
from part_utils.language_models import load_tokens
from part_utils.model_with_autoencoder import ModelWithAutoencoder
from part_utils.variants.jumprelu import JumpReLUAutoEncoder
from pretraining.deep_autoencoders import start_of, train_at
from pretraining.metrics import Metric, output_metric
from pretraining.own_text import training_text
from pretraining.shipping import as_autoencoder
from pretraining.sparse_training import SparseTrainingConfig

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

MEASURED_ROWS = 64
"""Rows of held-out text that the figures are from."""


@dataclass(frozen=True, kw_only=True)
class PlaceRun:
    """What is trained, on what, and how."""

    model: str
    """A name that `load_language_model` takes."""
    hook: str
    run_dir: Path
    """Checkpoints, logs and results; a stopped run goes on from there."""
    cfg: SparseTrainingConfig
    """The stage `topk`; each letter has a seed of its own, counted from this one."""
    threshold_steps: int
    instances: str = "AB"
    corpus: Path = Path("runs/corpus")
    """What `course corpus` wrote."""
    written: Path | None = None
    """What `course write-text` wrote, to be trained on, too."""
    max_rows: int | None = None
    """Rows of the corpus that are used; all when None. The written text is used as it is."""
    store: bool = False
    """Keep the activations on disk."""
    output_share: float = 0.0
    """Which share of the error is that of what an MLP writes; the rest is its neurons' own."""
    start: str | None = None
    """An autoencoder to go on from."""
    without_copies: bool = False
    """Draw those of its latents anew that copy a neuron."""


def metric_of(
    model: TransformerBridge, run: PlaceRun
) -> Callable[[Float[Tensor, "sample size"]], Metric] | None:
    """Return what the error of a run is measured by, or None for a plain squared error.

    Raises:
        ValueError: a share of the MLP's output is asked for at another place than its neurons.
    """
    if not run.output_share:
        return None
    if not run.hook.endswith("mlp.hook_post"):
        raise ValueError(f"--output-share is for the neurons of an MLP (mlp.hook_post), not for {run.hook}.")
    W_out = model.blocks[block_of(run.hook)].mlp.W_out.detach().float().cpu()
    return partial(output_metric, W_out, share=run.output_share)


def train_place(
    model: TransformerBridge, run: PlaceRun, device: str = "cpu", progress: bool = True
) -> JumpReLUAutoEncoder:
    """Train one autoencoder for each letter, and return them as the instances of one.

    Raises:
        ValueError: the model has no such place, the start is of another one, or the folder is that of another run.
    """
    check_hook(model, run.hook)
    metric = metric_of(model, run)
    tokens = training_text(model, run.corpus, run.written, run.max_rows)
    numbers = ["AB".index(letter) for letter in run.instances]
    starts = [
        start_of(run.start, number, run.hook, run.cfg, run.without_copies, device) for number in numbers
    ]
    parts = [
        train_at(
            partial(read_place, model, hook=run.hook),
            tokens,
            run.run_dir / "AB"[number],
            replace(run.cfg, seed=run.cfg.seed + number),
            threshold_steps=run.threshold_steps,
            start=start,
            metric=metric,
            store=run.run_dir / "activations.bin" if run.store else None,
            described={
                "start": run.start,
                "without_copies": run.without_copies,
                "output_share": run.output_share,
            },
            device=device,
            progress=progress,
        )
        for number, start in zip(numbers, starts, strict=True)
    ]
    autoencoder = as_autoencoder(parts)
    autoencoder.hook = run.hook
    return autoencoder


def measured(
    model: TransformerBridge, autoencoder: AutoEncoder, run: PlaceRun, device: str = "cpu"
) -> Iterator[str]:
    """Say in a line for each letter what the autoencoders do on held-out text without sinks."""
    held_out = load_tokens("held_out", model).tokens[:MEASURED_ROWS]
    for instance, letter in enumerate(run.instances):
        subject = ModelWithAutoencoder(model, autoencoder.to(device), instance, run.hook)
        found = evaluate_place(subject, held_out.to(device), run.hook)
        yield (
            f"{letter} on held-out text without sinks: FVU {found.fvu:.3f}, L0 {found.l0:.1f}, dead {found.dead:.1%}, "
            f"CE {found.loss_clean:.3f}, mean-ablated {found.loss_mean_ablated:.3f}, rebuilt "
            f"{found.loss_rebuilt:.3f}: {found.recovered_from_mean:.1%} recovered"
        )
