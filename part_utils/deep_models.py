"""One place in a model of many blocks: read, rebuilt and steered.

A *sink* is a position at which the residual stream is many times as long as elsewhere: a massive activation (Sun et al.
2024, "Massive activations in large language models"). In SmolLM2 these are BOS, wherever it stands, and a few tokens
near the start. They hold nearly all of the squared length and nothing of the text, so every measure says whether it
counts them, and `keep` says which positions it does count.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from part_utils.activations import FACTOR as FACTOR
from part_utils.activations import block_of as block_of
from part_utils.activations import check_hook as check_hook
from part_utils.activations import read_place as read_place
from part_utils.activations import sink_limit as sink_limit
from part_utils.autoencoder import AutoEncoder
from part_utils.model_with_autoencoder import ModelWithAutoencoder
from part_utils.shapes import check_shapes

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@check_shapes
def massive_activations(
    residual: Float[Tensor, "batch seq d_model"], factor: float = FACTOR
) -> Bool[Tensor, "batch seq"]:
    """Find the positions at which the residual stream is many times as long as elsewhere.

    Args:
        residual: the residual stream at some place.
        factor: how many times the median of the norms, over all positions of all texts, a norm must exceed.

    Returns:
        True where a position is a sink.
    """
    norms = residual.float().norm(dim=-1)
    return norms > factor * norms.median()


@torch.no_grad()
@check_shapes
def collect(
    model: "TransformerBridge",
    tokens: Int[Tensor, "batch seq"],
    hook: str,
    keep: Bool[Tensor, "batch seq"] | None = None,
    batch_rows: int = 16,
) -> Float[Tensor, "kept size"]:
    """Run a model as far as needed, and return what it computes at one place.

    Args:
        model: the model; blocks after the one with the hook are not computed.
        tokens: one row for each text.
        hook: the place, such as `"blocks.11.hook_out"` (what a block leaves in the residual stream) or
            `"blocks.11.mlp.hook_post"` (the neurons of its MLP).
        keep: which positions are wanted; all of them when left out.
        batch_rows: rows at a time, so that what is computed on the way needs little memory.

    Returns:
        The activations of the wanted positions, in the order of the texts: first all of text 0, then all of text 1.

    Raises:
        ValueError: the model has no such hook in a block.
    """
    check_hook(model, hook)
    if keep is None:
        keep = torch.ones_like(tokens, dtype=torch.bool)
    parts = []
    for rows, wanted in zip(tokens.split(batch_rows), keep.split(batch_rows), strict=True):
        _, cache = model.run_with_cache(rows, names_filter=[hook], stop_at_layer=block_of(hook) + 1)
        parts.append(cache[hook][wanted])
    return torch.cat(parts)


@check_shapes
def fvu_without_sinks(
    h: Float[Tensor, "batch seq size"],
    h_hat: Float[Tensor, "batch seq size"],
    keep: Bool[Tensor, "batch seq"],
) -> Float[Tensor, ""]:
    """Return the fraction of variance unexplained on the positions that count.

    Args:
        h: activations.
        h_hat: their reconstructions.
        keep: which positions count: for the error, for the mean, and for the variance around it.

    Returns:
        Σ‖h − ĥ‖² / Σ‖h − h̄‖², with both sums and the mean h̄ over the positions in `keep`.
    """
    kept, rebuilt = h[keep].double(), h_hat[keep].double()
    return ((kept - rebuilt).pow(2).sum() / (kept - kept.mean(dim=0)).pow(2).sum()).float()


@torch.no_grad()
@check_shapes
def splice(
    value: Float[Tensor, "batch seq size"],
    hook: Any,
    autoencoder: AutoEncoder,
    keep: Bool[Tensor, "batch seq"],
    factors: Float[Tensor, "n_hidden_ae"] | None = None,
    with_error: bool = False,
    instance: int = 0,
) -> Float[Tensor, "batch seq size"]:
    """Put an autoencoder's reconstruction in the place of activations, except at sinks.

    A hook function: TransformerLens calls it with the activations and the hook point, and goes on with what it returns.

    Args:
        value: the activations; they are not changed.
        hook: the hook point; not used.
        autoencoder: the autoencoder, which has thresholds.
        keep: where the reconstruction takes their place. Elsewhere activations stay as they are.
        factors: what each latent is multiplied by before it is decoded (0 ablates it); all by 1 when left out.
        with_error: add what the autoencoder leaves unexplained, so that nothing but the factors changes anything.
        instance: which of the autoencoder's instances.

    Returns:
        The new activations, of the same shape.
    """
    inputs = value.float().flatten(0, 1)[:, None].expand(-1, autoencoder.cfg.n_instances, -1)
    acts = autoencoder.encode(inputs)
    changed = acts if factors is None else acts * factors
    new = autoencoder.decode(changed)[:, instance]
    if with_error:
        new = new + inputs[:, instance] - autoencoder.decode(acts)[:, instance]
    return torch.where(keep[..., None], new.view(value.shape).to(value.dtype), value)


@check_shapes
def steer(
    direction: Float[Tensor, "size"],
    strength: float,
    largest: float,
    keep: Bool[Tensor, "batch seq"] | None = None,
) -> Callable[..., Tensor]:
    """Return a hook function that adds a direction to activations, except at sinks.

    Args:
        direction: the direction, of any length; it counts at unit length.
        strength: how much of it to add, in units of `largest`. Below 0 it is turned down.
        largest: the largest activation of the latent whose direction it is, on some text.
        keep: where to add it. When left out, wherever the activations themselves have no sink, which is for the
            residual stream.

    Returns:
        A function `(value, hook)` that returns new activations and leaves `value` as it is.
    """
    step = strength * largest * F.normalize(direction, dim=0)

    def add(value: Float[Tensor, "batch seq size"], hook: Any) -> Float[Tensor, "batch seq size"]:
        wanted = ~massive_activations(value) if keep is None else keep
        return torch.where(wanted[..., None], value + step.to(value), value)

    return add


class SteeringEffect(NamedTuple):
    """What `steering_effect` returns: the probability that the next token is one of some words."""

    before: Float[Tensor, ""]
    """Without steering."""
    after: Float[Tensor, ""]
    """With the direction added."""
    by_chance: Float[Tensor, "n"]
    """With each of the random directions added instead."""


@check_shapes
def steering_effect(
    logits: Float[Tensor, "d_vocab"],
    steered: Float[Tensor, "d_vocab"],
    random: Float[Tensor, "n d_vocab"],
    words: Int[Tensor, "words"],
    prompt: Int[Tensor, "seq"],
) -> SteeringEffect:
    """Measure what steering does to the probability of some words, beside random directions of the same length.

    Args:
        logits: the predictions of the token after a prompt.
        steered: the same with a direction added.
        random: the same with each of several random directions of the same length added.
        words: tokens that stand for what the direction is thought to mean, each once or more often.
        prompt: the prompt's tokens. Words that are in it do not count: a model repeats itself without steering.

    Returns:
        `SteeringEffect(before, after, by_chance)`.

    Raises:
        ValueError: every word is in the prompt.
    """
    new = words[~torch.isin(words, prompt)].unique()
    if len(new) == 0:
        raise ValueError("Every word is in the prompt already; take other words or another prompt.")
    before, after, *by_chance = torch.stack([logits, steered, *random]).softmax(dim=-1)[:, new].sum(dim=-1)
    return SteeringEffect(before, after, torch.stack(by_chance))


class PlaceEvaluation(NamedTuple):
    """What `evaluate_place` returns. Sinks count in nothing, and are never replaced."""

    kept: float
    """Which share of all positions is no sink."""
    fvu: float
    l0: float
    dead: float
    """Which share of the latents fires nowhere in this text."""
    loss_clean: float
    """Cross-entropy in nats per token, as the model is."""
    loss_mean_ablated: float
    """With the mean activation in the place of each one."""
    loss_rebuilt: float
    """With reconstructions in the place of activations."""
    recovered_from_mean: float
    """(mean-ablated - rebuilt) / (mean-ablated - clean)."""


@torch.no_grad()
def evaluate_place(
    subject: ModelWithAutoencoder, tokens: Int[Tensor, "rows seq"], hook: str, batch_rows: int = 8
) -> PlaceEvaluation:
    """Measure an autoencoder at one place of a model on a text of any length, a few rows at a time.

    Args:
        subject: the model, and the autoencoder that was trained at the place.
        tokens: the text, which the autoencoder was not trained on.
        hook: the place.
        batch_rows: rows at a time.
    """
    model, autoencoder, instance = subject.model, subject.autoencoder, subject.instance
    residual = f"blocks.{block_of(hook)}.hook_out"
    norms = collect(model, tokens, residual, batch_rows=batch_rows).float().norm(dim=-1)
    keep = (norms <= sink_limit(norms)).view(tokens.shape)
    kept = collect(model, tokens, hook, keep, batch_rows).float()
    mean = kept.double().mean(dim=0).float()
    error, variance, fired, l0 = 0.0, 0.0, torch.zeros(autoencoder.cfg.n_hidden_ae), 0
    for part in kept.split(2048):
        acts = autoencoder.encode(part[:, None].expand(-1, autoencoder.cfg.n_instances, -1))
        rebuilt = autoencoder.decode(acts)[:, instance]
        error += (part - rebuilt).double().pow(2).sum().item()
        variance += (part - mean).double().pow(2).sum().item()
        fires = acts[:, instance] > 0
        fired += fires.sum(dim=0)
        l0 += int(fires.sum())
    losses = torch.zeros(3, dtype=torch.float64)
    for rows, wanted in zip(tokens.split(batch_rows), keep.split(batch_rows), strict=True):

        def averaged(value: Tensor, hook: Any, wanted: Tensor = wanted) -> Tensor:
            return torch.where(wanted[..., None], mean.to(value), value)

        def rebuilt_at(value: Tensor, hook: Any, wanted: Tensor = wanted) -> Tensor:
            return splice(value, hook, autoencoder, wanted, instance=instance)

        for index, replace in enumerate((None, averaged, rebuilt_at)):
            hooks: list[Any] = [(hook, replace)] if replace else []
            loss = model.run_with_hooks(rows, return_type="loss", fwd_hooks=hooks)
            losses[index] += loss.double().item() * len(rows)
    clean, mean_ablated, reconstructed = (losses / len(tokens)).tolist()
    return PlaceEvaluation(
        kept=keep.double().mean().item(),
        fvu=error / variance,
        l0=l0 / len(kept),
        dead=(fired == 0).double().mean().item(),
        loss_clean=clean,
        loss_mean_ablated=mean_ablated,
        loss_rebuilt=reconstructed,
        recovered_from_mean=(mean_ablated - reconstructed) / (mean_ablated - clean),
    )
