"""Exercises 4.8 and 5.1 to 5.6: what one latent responds to, what it does, and what it is made of.

Everywhere, `feature_idx` is a latent's number, `instance` an autoencoder's (0 is encoder-A, 1 is encoder-B), and
a latent's direction is its row of the decoder, at unit length.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from part_utils.activations import MLP_HOOK, get_activations, reads_first_mlp
from part_utils.autoencoder import AutoEncoder
from part_utils.model_with_autoencoder import ModelWithAutoencoder, also_in_parts
from part_utils.shapes import check_shapes
from part_utils.tensors import SMALLEST_NORM

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@reads_first_mlp
@torch.no_grad()
@check_shapes
def ablate_feature(
    tokens: Int[Tensor, "batch seq"],
    model: "TransformerBridge",
    autoencoder: AutoEncoder,
    feature_idx: int,
    instance: int = 0,
) -> Float[Tensor, "batch seq d_vocab"]:
    """Find out what the model's predictions would be without one latent.

    Only this latent is taken away: what the autoencoder fails to reconstruct stays in the activations, so that
    its error does not count as an effect of the latent (Bricken et al. 2023, "feature ablation").

    Args:
        tokens: the text.
        model: the language model.
        autoencoder: the autoencoder, which has thresholds; it is not changed.
        feature_idx: the latent.
        instance: of which instance.

    Returns:
        The logits with the latent at zero, minus the logits of the model as it is.
    """
    direction = autoencoder.normalize_and_return_W_dec()[instance, feature_idx]

    def without_the_latent(value: Float[Tensor, "batch seq d_mlp"], hook: Any) -> Tensor:
        h = value.flatten(0, 1)[:, None].expand(-1, autoencoder.cfg.n_instances, -1)
        acts = autoencoder(h).acts[:, instance, feature_idx].reshape(value.shape[:2])
        return value - einsum(acts, direction, "batch seq, d_mlp -> batch seq d_mlp")

    clean = model(tokens, return_type="logits")
    ablated = model.run_with_hooks(tokens, return_type="logits", fwd_hooks=[(MLP_HOOK, without_the_latent)])
    return ablated - clean


class HighestActivatingTokens(NamedTuple):
    """What `highest_activating_tokens` returns."""

    indices: Int[Tensor, "k 2"]
    """The (batch, seq) position of each token, the highest activation first."""
    values: Float[Tensor, "k"]
    """The latent's activation there."""


@reads_first_mlp
@torch.no_grad()
@check_shapes
def highest_activating_tokens(
    tokens: Int[Tensor, "batch seq"],
    model: "TransformerBridge",
    autoencoder: AutoEncoder,
    feature_idx: int,
    instance: int = 0,
    k: int = 10,
    batch_rows: int = 32,
) -> HighestActivatingTokens:
    """Find the tokens on which one latent fires most strongly.

    The other latents are not computed, and no more than `batch_rows` rows of text are in memory at once.

    Args:
        tokens: the text, of any length.
        model: the language model.
        autoencoder: the autoencoder.
        feature_idx: the latent.
        instance: of which instance.
        k: how many tokens; all of them, if the text has fewer.
        batch_rows: rows of text at a time.

    Returns:
        `HighestActivatingTokens(indices, values)`: the (batch, seq) positions, shape `k 2`, and the activations,
        shape `k`, the highest first.
    """
    values = torch.zeros(0, device=tokens.device)
    indices = torch.zeros(0, 2, dtype=torch.long, device=tokens.device)
    for start in range(0, len(tokens), batch_rows):
        h = get_activations(tokens[start : start + batch_rows], model)
        acts = torch.relu(
            einsum(
                h - autoencoder.b_dec[instance],
                autoencoder.W_enc[instance, :, feature_idx],
                "batch seq n_input_ae, n_input_ae -> batch seq",
            )
            + autoencoder.b_enc[instance, feature_idx]
        )
        seq = acts.shape[1]
        place = torch.arange(acts.numel(), device=acts.device)
        values = torch.cat([values, acts.flatten()])
        indices = torch.cat([indices, torch.stack([start + place // seq, place % seq], dim=-1)])
        values, best = values.topk(min(k, len(values)))
        indices = indices[best]
    return HighestActivatingTokens(indices, values)


@also_in_parts
@torch.no_grad()
@check_shapes
def feature_activations(
    tokens: Int[Tensor, "batch seq"],
    subject: ModelWithAutoencoder,
    feature_idx: int | list[int],
    batch_rows: int = 32,
) -> Float[Tensor, "batch seq"]:
    """Return the activations of one latent, or of a few, at every position of a text.

    Args:
        tokens: the text.
        subject: the language model with its autoencoder.
        feature_idx: a latent, or a list of them.
        batch_rows: rows of text at a time.

    Returns:
        Shape `batch seq`; with a list of latents `batch seq latents`.
    """
    latents = [feature_idx] if isinstance(feature_idx, int) else feature_idx
    acts = torch.cat([subject.acts_on(rows, latents) for rows in tokens.split(batch_rows)])
    return acts[..., 0] if isinstance(feature_idx, int) else acts


class QuantileGroup(NamedTuple):
    """Some of the tokens on which a latent fires: those of one range of strength."""

    low: float
    """The weakest activation of the group."""
    high: float
    """The strongest."""
    indices: Int[Tensor, "n 2"]
    """The (batch, seq) position of every token of the group, in random order."""
    values: Float[Tensor, "n"]
    """The activation there."""


def quantile_groups(
    acts: Float[Tensor, "batch seq"], n_groups: int = 4, seed: int = 0
) -> list[QuantileGroup]:
    """Divide the tokens on which a latent fires into groups of equal size, the strongest first.

    Args:
        acts: the latent's activations on a text.
        n_groups: how many groups.
        seed: where the random order within the groups comes from.

    Raises:
        ValueError: the latent fires on fewer tokens than there are groups.
    """
    indices = (acts > 0).nonzero()
    if len(indices) < n_groups:
        raise ValueError(
            f"The latent fires on {len(indices)} tokens of this text, too few for {n_groups} groups; take more text."
        )
    order = acts[acts > 0].argsort(descending=True)
    generator = torch.Generator().manual_seed(seed)
    groups = []
    for part in order.tensor_split(n_groups):
        part = part[torch.randperm(len(part), generator=generator).to(part.device)]
        values = acts[acts > 0][part]
        groups.append(QuantileGroup(float(values.min()), float(values.max()), indices[part], values))
    return groups


class LogitEffect(NamedTuple):
    """What `feature_logit_effect` returns."""

    effect: Float[Tensor, "d_vocab"]
    """What one unit of the latent adds to the logit of every token, before the final LayerNorm's rescaling."""
    top: Int[Tensor, "k"]
    """The tokens that it favors most, the strongest first."""
    bottom: Int[Tensor, "k"]
    """The tokens that it disfavors most, the strongest first."""


@reads_first_mlp
@torch.no_grad()
def feature_logit_effect(
    model: "TransformerBridge", autoencoder: AutoEncoder, feature_idx: int, instance: int = 0, k: int = 10
) -> LogitEffect:
    """Follow a latent's direction through the weights to the logits: its direct effect on the next token.

    The final LayerNorm is left out. No text is read: this is a property of the weights alone.

    Args:
        model: a one-layer language model.
        autoencoder: the autoencoder on its MLP.
        feature_idx: the latent.
        instance: of which instance.
        k: how many tokens to name at either end.

    Returns:
        `LogitEffect(effect, top, bottom)`: what one unit of the latent adds to every token's logit, shape
        `d_vocab`, and the `k` tokens with the largest and with the smallest effect, the most extreme first.
    """
    direction = autoencoder.normalize_and_return_W_dec()[instance, feature_idx]
    effect = einsum(
        direction,
        model.blocks[0].mlp.W_out,
        model.W_U,
        "d_mlp, d_mlp d_model, d_model d_vocab -> d_vocab",
    )
    return LogitEffect(effect, effect.topk(k).indices, effect.topk(k, largest=False).indices)


class NeuronBasis(NamedTuple):
    """What `feature_in_neuron_basis` returns."""

    share: Float[Tensor, "d_mlp"]
    """Which share of the direction's squared length each neuron holds; they sum to 1."""
    n_half: int
    """The smallest number of neurons that together hold at least half of it."""
    n_ninety: int
    """The smallest number of neurons that together hold at least 90 % of it."""


@torch.no_grad()
def feature_in_neuron_basis(autoencoder: AutoEncoder, feature_idx: int, instance: int = 0) -> NeuronBasis:
    """Find out how a latent's direction is spread over the neurons of the MLP.

    Args:
        autoencoder: the autoencoder.
        feature_idx: the latent.
        instance: of which instance.

    Returns:
        `NeuronBasis(share, n_half, n_ninety)`: each neuron's share of the direction's squared length, shape
        `d_mlp`, and how many neurons it takes, the largest shares first, to hold at least half and 90 % of it.
    """
    direction = autoencoder.normalize_and_return_W_dec()[instance, feature_idx]
    share = direction.pow(2) / direction.pow(2).sum()
    held = share.sort(descending=True).values.double().cumsum(dim=0)
    # The tolerance is for rounding: ten neurons with a tenth each hold 90 % with nine, not with ten.
    n_half, n_ninety = (int((held < part - 1e-6).sum()) + 1 for part in (0.5, 0.9))
    return NeuronBasis(share, n_half, n_ninety)


class NeuronParts(NamedTuple):
    """What `neuron_in_feature_basis` returns."""

    contributions: Float[Tensor, "tokens n_hidden_ae"]
    """What every latent adds to the neuron, on every token."""
    bias: Float[Tensor, ""]
    """What is there without any latent."""


@torch.no_grad()
@check_shapes
def neuron_in_feature_basis(
    acts: Float[Tensor, "tokens n_hidden_ae"], autoencoder: AutoEncoder, neuron: int, instance: int = 0
) -> NeuronParts:
    """Write one neuron's reconstructed activation as a sum over latents.

    Args:
        acts: the latents of one instance, on some tokens.
        autoencoder: the autoencoder.
        neuron: the neuron of the MLP.
        instance: of which instance the latents are.

    Returns:
        `NeuronParts(contributions, bias)`. On every token, the contributions of all latents and the bias add up
        to the neuron's entry of `h_reconstructed`.
    """
    weights = autoencoder.normalize_and_return_W_dec()[instance, :, neuron]
    contributions = einsum(acts, weights, "tokens n_hidden_ae, n_hidden_ae -> tokens n_hidden_ae")
    return NeuronParts(contributions, autoencoder.b_dec[instance, neuron])


class Decomposition(NamedTuple):
    """What `decompose_activation` returns."""

    features: Int[Tensor, "n_active"]
    """The latents that fire, the most active first."""
    contributions: Float[Tensor, "n_active d_mlp"]
    """What each of them adds to the activations."""
    bias: Float[Tensor, "d_mlp"]
    """What the autoencoder adds always."""
    error: Float[Tensor, "d_mlp"]
    """What it does not explain."""


@torch.no_grad()
@check_shapes
def decompose_activation(
    h: Float[Tensor, "d_mlp"], autoencoder: AutoEncoder, instance: int = 0
) -> Decomposition:
    """Take the activations of one token apart: latents, bias and error, which add up to it exactly.

    Args:
        h: the MLP's activations on one token.
        autoencoder: the autoencoder, which has thresholds.
        instance: which instance.

    Returns:
        `Decomposition(features, contributions, bias, error)`: the numbers of the latents that fire, the most
        active first; what each of them contributes, one row for each; the bias; and the reconstruction error,
        such that `contributions.sum(0) + bias + error` is `h`.
    """
    output = autoencoder(h.expand(1, autoencoder.cfg.n_instances, -1))
    acts = output.acts[0, instance]
    features = acts.argsort(descending=True)[: int((acts > 0).sum())]
    directions = autoencoder.normalize_and_return_W_dec()[instance, features]
    contributions = einsum(acts[features], directions, "n_active, n_active d_mlp -> n_active d_mlp")
    bias = autoencoder.b_dec[instance].detach().clone()
    return Decomposition(features, contributions, bias, h - contributions.sum(dim=0) - bias)


class Matches(NamedTuple):
    """What `match_between_autoencoders` returns."""

    by_cosine: Int[Tensor, "n_latents_a"]
    """For every latent of A, the latent of B with the most similar direction."""
    cosine: Float[Tensor, "n_latents_a"]
    """How similar the two directions are."""
    by_correlation: Int[Tensor, "n_latents_a"]
    """For every latent of A, the latent of B whose activations go along with it best."""
    correlation: Float[Tensor, "n_latents_a"]
    """The correlation of the two activations over the tokens."""


@torch.no_grad()
@check_shapes
def match_between_autoencoders(
    W_dec_a: Float[Tensor, "n_latents_a d_mlp"],
    W_dec_b: Float[Tensor, "n_latents_b d_mlp"],
    acts_a: Float[Tensor, "tokens n_latents_a"],
    acts_b: Float[Tensor, "tokens n_latents_b"],
) -> Matches:
    """Find for every latent of one autoencoder its counterpart in another one, in two ways.

    By the direction: the cosine similarity of the decoder rows. By what they respond to: the (Pearson)
    correlation of the activations on the same tokens. Latents of B may be found more than once.

    Args:
        W_dec_a: decoder of A; rows of any length. The cosine of a row of zeros is 0.
        W_dec_b: decoder of B; likewise.
        acts_a: activations of A's latents on some tokens.
        acts_b: activations of B's latents on the same tokens.

    Returns:
        `Matches(by_cosine, cosine, by_correlation, correlation)`, one entry for each latent of A. A latent
        that never changes on these tokens correlates with nothing: 0, not NaN.
    """
    cosine = F.normalize(W_dec_a, eps=SMALLEST_NORM) @ F.normalize(W_dec_b, eps=SMALLEST_NORM).mT
    centered_a, centered_b = acts_a - acts_a.mean(dim=0), acts_b - acts_b.mean(dim=0)
    # The mean of equal numbers may be off by a rounding, and what is then left of a latent that never changes would be
    # brought to unit length like any other: 0.99999 for two of them. So these are set to exactly 0, and stay 0.
    centered_a = centered_a * (acts_a != acts_a[:1]).any(dim=0)
    centered_b = centered_b * (acts_b != acts_b[:1]).any(dim=0)
    # A correlation is the cosine of what is left after the means are taken away.
    unit_a = F.normalize(centered_a, dim=0, eps=SMALLEST_NORM)
    unit_b = F.normalize(centered_b, dim=0, eps=SMALLEST_NORM)
    correlation = unit_a.mT @ unit_b
    best_cosine, best_correlation = cosine.max(dim=1), correlation.max(dim=1)
    return Matches(best_cosine.indices, best_cosine.values, best_correlation.indices, best_correlation.values)


class StrongestTokens:
    """The k strongest activations of some latents so far, and where they are: `highest_activating_tokens`, for many
    latents at once and for text that streams by.

    A latent that fires on fewer tokens has zeros at the end.
    """

    def __init__(self, n_latents: int, k: int) -> None:
        self.values = torch.zeros(n_latents, k)
        self.positions = torch.zeros(n_latents, k, dtype=torch.long)

    def add(
        self, acts: Float[Tensor, "n_latents tokens"], positions: Int[Tensor, "n_latents tokens"]
    ) -> None:
        """Take in the next tokens: the latents' activations, and where in the text each of them is."""
        k = self.values.shape[1]
        values = torch.cat([self.values, acts], dim=1)
        # Stable, so that among equals the first in the text stays first, however the text is cut.
        order = values.argsort(dim=1, descending=True, stable=True)[:, :k]
        self.values = values.gather(1, order)
        self.positions = torch.cat([self.positions, positions], dim=1).gather(1, order)


class TopActivations(NamedTuple):
    """The strongest activations of every latent of one instance on a text."""

    values: Float[Tensor, "n_hidden_ae k"]
    positions: Int[Tensor, "n_hidden_ae k"]
    """Positions in the flattened tokens."""
    rates: Float[Tensor, "n_hidden_ae"]
    """Share of tokens on which the latent fires."""


@also_in_parts
@torch.no_grad()
def top_activations(
    tokens: Int[Tensor, "rows seq"],
    subject: ModelWithAutoencoder,
    k: int = 20,
    batch_rows: int = 32,
) -> TopActivations:
    """Go through the text once and keep the k strongest activations of every latent."""
    strongest = StrongestTokens(subject.n_latents, k)
    fired = torch.zeros(subject.n_latents)
    start = 0
    for rows in tokens.split(batch_rows):
        acts = subject.acts_on(rows).flatten(0, 1).mT.cpu()
        fired += (acts > 0).sum(dim=1)
        # Sorting everything would take longer than all the rest.
        values, places = acts.topk(min(k, acts.shape[1]), dim=1)
        strongest.add(values, places + start)
        start += rows.numel()
    return TopActivations(strongest.values, strongest.positions, fired / start)
