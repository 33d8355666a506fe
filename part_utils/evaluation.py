"""Exercises 4.2 to 4.7: what an autoencoder on a language model's MLP keeps, and what it loses.

Definitions, with x an activation vector, x̂ its reconstruction and x̄ the mean activation:

- FVU, the fraction of variance unexplained: Σ‖x − x̂‖² / Σ‖x − x̄‖². Explained variance is 1 − FVU.
- L0: how many latents are not zero, mean over tokens.
- Cross-entropy (CE) recovered: (ablated − reconstructed) / (ablated − clean), with the losses of the
  language model. The baseline is zero ablation unless another is named.
- Dead share: the share of latents that fire on no token of the text at hand.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from part_utils.activations import MLP_HOOK, flatten_activations, get_activations, reads_first_mlp
from part_utils.autoencoder import AutoEncoder
from part_utils.fast import overrides
from part_utils.shapes import check_shapes
from part_utils.variants.jumprelu import JumpReLUAutoEncoder

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Hook = Callable[..., Tensor]
Hooks = list[tuple[str | Callable[..., Any], Callable[..., Any]]]


def inputs_for_all_instances(
    acts: Float[Tensor, "batch seq d_mlp"], autoencoder: AutoEncoder
) -> Float[Tensor, "tokens n_instances d_mlp"]:
    """Return the same activations for every instance, in the shape that `AutoEncoder.forward` takes."""
    return flatten_activations(acts)[:, None].expand(-1, autoencoder.cfg.n_instances, -1)


def encode(
    h: Float[Tensor, "batch seq d_mlp"],
    autoencoder: AutoEncoder,
    instance: int,
    latents: Int[Tensor, "n"] | list[int] | None = None,
) -> Float[Tensor, "tokens n"]:
    """Return activations of some latents, or of all, of one instance.

    Where each latent fires on its own, by a ReLU or above a threshold, no others are computed.
    """
    own = ("forward", "encode", "activation")
    known = JumpReLUAutoEncoder if isinstance(autoencoder, JumpReLUAutoEncoder) else AutoEncoder
    if overrides(autoencoder, known, *own):
        acts = autoencoder.encode(inputs_for_all_instances(h, autoencoder))[:, instance]
        return acts if latents is None else acts[:, latents]
    chosen = slice(None) if latents is None else latents
    W_enc, b_enc = autoencoder.W_enc[instance][:, chosen], autoencoder.b_enc[instance][chosen]
    # (h - b_dec) W_enc + b_enc = h W_enc + (b_enc - b_dec W_enc), which does not touch each activation so often.
    bias = b_enc - autoencoder.b_dec[instance] @ W_enc
    pre_acts = torch.addmm(bias, flatten_activations(h), W_enc)
    if isinstance(autoencoder, JumpReLUAutoEncoder):
        threshold = autoencoder.threshold[instance][chosen].clamp_min(0)
        return pre_acts.masked_fill_(pre_acts <= threshold, 0)
    return pre_acts.relu_()


@reads_first_mlp
@torch.no_grad()
@check_shapes
def get_feature_probability(
    tokens: Int[Tensor, "batch seq"],
    model: "TransformerBridge",
    autoencoder: AutoEncoder,
    batch_rows: int = 16,
) -> Float[Tensor, "n_instances n_hidden_ae"]:
    """Find out how often every latent fires.

    A latent fires on a token if its activation, which the autoencoder computes in its own way, is above zero there.

    Args:
        tokens: the text.
        model: the language model whose MLP the autoencoder was trained on.
        autoencoder: the autoencoder, with all its instances.
        batch_rows: rows of tokens at a time, so that the latents of all tokens need not fit into memory.

    Returns:
        For every instance and latent, the share of all tokens (over batch and position) on which it fires.
    """
    counts = torch.zeros(autoencoder.cfg.n_instances, autoencoder.cfg.n_hidden_ae, device=tokens.device)
    for rows in tokens.split(batch_rows):
        h = inputs_for_all_instances(get_activations(rows, model), autoencoder)
        counts += (autoencoder(h).acts > 0).sum(dim=0)
    return counts / tokens.numel()


class LogFrequencyHistogram(NamedTuple):
    """What `log_frequency_histogram` returns."""

    counts: Int[Tensor, "bins"]
    """How many latents fall into each bin."""
    edges: Float[Tensor, "edges"]
    """The limits of the bins, as log10 of the firing rate; one more than there are bins."""
    n_dead: int
    """How many latents never fire: their logarithm does not exist."""


@check_shapes
def log_frequency_histogram(
    feature_probability: Float[Tensor, "n_hidden_ae"], n_bins: int = 50
) -> LogFrequencyHistogram:
    """Count the latents by the order of magnitude of their firing rate.

    Args:
        feature_probability: the firing rate of every latent of one instance.
        n_bins: number of bins of equal width, from the smallest log10 rate to the largest.

    Returns:
        `LogFrequencyHistogram(counts, edges, n_dead)`. Latents that never fire are in `n_dead`, and in no bin.
    """
    rates = feature_probability[feature_probability > 0].log10().cpu()
    n_dead = len(feature_probability) - len(rates)
    if len(rates) == 0:
        return LogFrequencyHistogram(
            torch.zeros(n_bins, dtype=torch.long), torch.linspace(-1, 0, n_bins + 1), n_dead
        )
    counts, edges = torch.histogram(rates, n_bins)
    return LogFrequencyHistogram(counts.long(), edges, n_dead)


class RareDirectionSimilarity(NamedTuple):
    """What `rare_direction_similarity` returns."""

    rare: Float[Tensor, "n_rare"]
    """Of every rare latent: the cosine of its decoder row with the mean direction of the rare rows."""
    all: Float[Tensor, "n_hidden_ae"]
    """The same of every latent, rare or not."""


@check_shapes
def rare_direction_similarity(
    W_dec: Float[Tensor, "n_hidden_ae n_input_ae"],
    feature_probability: Float[Tensor, "n_hidden_ae"],
    rare_below: float = 1e-4,
) -> RareDirectionSimilarity:
    """Find out whether the latents that hardly ever fire point the same way.

    The mean direction is the mean of the rare latents' decoder rows, each taken at unit length.

    Args:
        W_dec: the decoder of one instance, one direction for each latent, of any length.
        feature_probability: how often each latent fires.
        rare_below: a latent is rare if its firing rate is below this. Dead latents are rare too.

    Returns:
        `RareDirectionSimilarity(rare, all)`.

    Raises:
        ValueError: no latent is rare.
    """
    rare = feature_probability < rare_below
    if not rare.any():
        raise ValueError(f"No latent fires less often than {rare_below}; choose a larger rare_below.")
    directions = F.normalize(W_dec, dim=-1)
    similarity = F.cosine_similarity(directions, directions[rare].mean(dim=0)[None], dim=-1)
    return RareDirectionSimilarity(similarity[rare], similarity)


class ReconstructionLoss(NamedTuple):
    """What `get_reconstruction_loss` returns."""

    loss: Float[Tensor, "n_instances"]
    """Squared error of the reconstruction, mean over tokens and neurons."""
    mean_squared_activation: Float[Tensor, ""]
    """What the loss would be if everything were reconstructed as zero."""
    cosine_similarity: Float[Tensor, "n_instances"]
    """Cosine of activation and reconstruction, mean over tokens."""


@reads_first_mlp
@torch.no_grad()
@check_shapes
def get_reconstruction_loss(
    tokens: Int[Tensor, "batch seq"], model: "TransformerBridge", autoencoder: AutoEncoder
) -> ReconstructionLoss:
    """Measure how well an autoencoder rebuilds the activations of the MLP.

    Args:
        tokens: the text.
        model: the language model.
        autoencoder: the autoencoder, with all its instances.

    Returns:
        `ReconstructionLoss(loss, mean_squared_activation, cosine_similarity)`: the mean squared error for
        each instance, the mean squared activation to compare it with, and the mean over tokens of the
        cosine between activation and reconstruction, for each instance.
    """
    h = inputs_for_all_instances(get_activations(tokens, model), autoencoder)
    h_reconstructed = autoencoder(h).h_reconstructed
    return ReconstructionLoss(
        loss=(h - h_reconstructed).pow(2).mean(dim=(0, 2)),
        mean_squared_activation=h.pow(2).mean(),
        cosine_similarity=F.cosine_similarity(h, h_reconstructed, dim=-1).mean(dim=0),
    )


@torch.no_grad()
def reconstruction_hook(
    value: Float[Tensor, "batch seq d_mlp"], hook: Any, autoencoder: AutoEncoder, instance: int = 0
) -> Float[Tensor, "batch seq d_mlp"]:
    """Replace activations by what one instance of an autoencoder makes of them.

    A hook function: TransformerLens calls it with the activations and the hook point, and goes on with
    what it returns.

    Args:
        value: the activations of the MLP.
        hook: the hook point; not used.
        autoencoder: the autoencoder.
        instance: which of its instances, 0 or 1.

    Returns:
        The reconstruction, of the same shape.
    """
    h = inputs_for_all_instances(value, autoencoder)
    return autoencoder(h).h_reconstructed[:, instance].reshape(value.shape)


def zero_ablation_hook(
    value: Float[Tensor, "batch seq d_mlp"], hook: Any
) -> Float[Tensor, "batch seq d_mlp"]:
    """Replace activations by zeros: what is left of the model if its MLP says nothing?

    Args:
        value: the activations of the MLP.
        hook: the hook point; not used.

    Returns:
        Zeros of the same shape.
    """
    return torch.zeros_like(value)


class SubstitutionLoss(NamedTuple):
    """What `get_substitution_loss` returns: losses of the language model in nats per token."""

    clean: Float[Tensor, ""]
    """With its own activations."""
    reconstructed: Float[Tensor, ""]
    """With the autoencoder's reconstructions in their place."""
    zero_ablated: Float[Tensor, ""]
    """With zeros in their place."""
    mean_ablated: Float[Tensor, ""]
    """With each neuron's mean over all tokens in their place."""
    recovered: Float[Tensor, ""]
    """(zero_ablated - reconstructed) / (zero_ablated - clean): 1 is perfect, 0 is as bad as no MLP."""


@reads_first_mlp
@torch.no_grad()
@check_shapes
def get_substitution_loss(
    tokens: Int[Tensor, "batch seq"], model: "TransformerBridge", autoencoder: AutoEncoder, instance: int = 0
) -> SubstitutionLoss:
    """Measure what the language model loses when one instance's reconstructions take the activations' place.

    All losses are the mean cross-entropy of the next token, on the same tokens.

    Args:
        tokens: the text.
        model: the language model.
        autoencoder: the autoencoder.
        instance: which of its instances.

    Returns:
        `SubstitutionLoss(clean, reconstructed, zero_ablated, mean_ablated, recovered)`. In `mean_ablated`
        every neuron has its mean over all of `tokens`. `recovered` compares with zero ablation.
    """
    mean = get_activations(tokens, model).mean(dim=(0, 1))

    def loss_with(hook: Hook | None) -> Tensor:
        hooks: Hooks = [(MLP_HOOK, hook)] if hook else []
        return model.run_with_hooks(tokens, return_type="loss", fwd_hooks=hooks)

    clean = loss_with(None)
    reconstructed = loss_with(
        lambda value, hook: reconstruction_hook(value, hook, autoencoder=autoencoder, instance=instance)
    )
    zero_ablated = loss_with(zero_ablation_hook)
    mean_ablated = loss_with(lambda value, hook: mean.expand_as(value))
    recovered = (zero_ablated - reconstructed) / (zero_ablated - clean)
    return SubstitutionLoss(clean, reconstructed, zero_ablated, mean_ablated, recovered)


class Evaluation(NamedTuple):
    """What `evaluate` returns: one number for each instance, but for the losses that do not depend on it."""

    fvu: list[float]
    l0: list[float]
    dead: list[float]
    mse: list[float]
    mean_squared_activation: float
    loss_clean: float
    loss_zero_ablated: float
    loss_mean_ablated: float
    loss_reconstructed: list[float]
    recovered: list[float]
    recovered_from_mean: list[float]
    decoder_norm_error: list[float]
    firing_rates: Float[Tensor, "n_instances n_hidden_ae"]


@reads_first_mlp
@torch.no_grad()
def evaluate(
    tokens: Int[Tensor, "rows seq"],
    model: "TransformerBridge",
    autoencoder: AutoEncoder,
    batch_rows: int = 16,
    mean: Float[Tensor, "d_mlp"] | None = None,
) -> Evaluation:
    """Return all the measures of this module on a text of any length, a few rows at a time, with sums in float64.

    Args:
        tokens: the text; each row is read on its own.
        model: the language model.
        autoencoder: the autoencoder, with all its instances.
        batch_rows: rows at a time.
        mean: the activations of mean ablation; the mean over `tokens` when left out.

    Returns:
        The measures; see `Evaluation` and the definitions at the top of this module.
    """
    n_instances, d_mlp = autoencoder.cfg.n_instances, autoencoder.cfg.n_input_ae

    def zeros(*size: int) -> Tensor:
        return torch.zeros(size, dtype=torch.float64, device=tokens.device)

    total, total_squares, error = zeros(d_mlp), zeros(), zeros(n_instances)
    fired, losses = zeros(n_instances, autoencoder.cfg.n_hidden_ae), zeros(3 + n_instances)
    if mean is None:
        for rows in tokens.split(batch_rows):
            total += flatten_activations(get_activations(rows, model)).double().sum(dim=0)
        mean = (total / tokens.numel()).float()
        total.zero_()
    for rows in tokens.split(batch_rows):
        acts = get_activations(rows, model)
        h = inputs_for_all_instances(acts, autoencoder)
        output = autoencoder(h)
        total += h[:, 0].double().sum(dim=0)
        total_squares += h[:, 0].double().pow(2).sum()
        error += (h - output.h_reconstructed).double().pow(2).sum(dim=(0, 2))
        fired += (output.acts > 0).sum(dim=0)
        replacements = [acts, torch.zeros_like(acts), mean.expand_as(acts)]
        replacements += [output.h_reconstructed[:, i].reshape(acts.shape) for i in range(n_instances)]
        for index, replacement in enumerate(replacements):
            hooks: Hooks = [(MLP_HOOK, lambda value, hook, replacement=replacement: replacement)]
            loss = model.run_with_hooks(rows, return_type="loss", fwd_hooks=hooks)
            losses[index] += loss.double() * len(rows)
    n = tokens.numel()
    losses /= len(tokens)
    clean, zero, mean_ablated, reconstructed = losses[0], losses[1], losses[2], losses[3:]
    variance = total_squares - total.pow(2).sum() / n
    W_dec = autoencoder.W_enc.mT if autoencoder.cfg.tied_weights else autoencoder.W_dec
    return Evaluation(
        fvu=(error / variance).tolist(),
        l0=(fired.sum(dim=1) / n).tolist(),
        dead=(fired == 0).double().mean(dim=1).tolist(),
        mse=(error / n / d_mlp).tolist(),
        mean_squared_activation=(total_squares / n / d_mlp).item(),
        loss_clean=clean.item(),
        loss_zero_ablated=zero.item(),
        loss_mean_ablated=mean_ablated.item(),
        loss_reconstructed=reconstructed.tolist(),
        recovered=((zero - reconstructed) / (zero - clean)).tolist(),
        recovered_from_mean=((mean_ablated - reconstructed) / (mean_ablated - clean)).tolist(),
        decoder_norm_error=(W_dec.norm(dim=-1) - 1).abs().amax(dim=-1).tolist(),
        firing_rates=(fired / n).float(),
    )
