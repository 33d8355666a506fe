"""What a dashboard shows of each latent, from one pass over a text.

`collect_statistics` reads the text a few rows at a time and computes the wanted latents only. On a sample of the
rows it computes all latents of every instance, for the histogram of firing rates and for correlations. The rows
that are shown are read once more at the end, for what happens to the loss without the latent.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm import tqdm

from part_utils.activations import MLP_HOOK, flatten_activations
from part_utils.autoencoder import AutoEncoder
from part_utils.dashboard.reading import RESIDUAL_HOOK, Reader, reader_for
from part_utils.dashboard.streaming import N_BINS, RunningCorrelation, RunningStatistics
from part_utils.evaluation import (
    Hooks,
    LogFrequencyHistogram,
    encode,
    log_frequency_histogram,
)
from part_utils.language_models import TokenizedText
from part_utils.token_text import token_strings

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

# Concentration counts this many firings, spread like the text, on top of those that were seen. So a latent that
# fired twice does not come out as more concentrated than one that fired a thousand times.
PRIOR_FIRINGS = 10


@dataclass(frozen=True)
class DashboardConfig:
    """How much of everything a dashboard shows."""

    n_top: int = 12
    """Contexts with the largest activations, at most one from each row of text."""
    n_groups: int = 5
    """Into how many intervals the range of activations is cut."""
    per_group: int = 4
    """Random contexts from each interval."""
    before: int = 24
    """Tokens shown before the one that a context is about."""
    after: int = 12
    """Tokens shown after it."""
    n_logits: int = 10
    """Tokens named at either end of the direct effect on the logits."""
    n_neurons: int = 12
    """Neurons named, the largest first."""
    n_similar: int = 5
    """Similar latents named, for each instance and kind of similarity."""
    sample_rows: int = 200
    """Rows, evenly spaced, on which all latents are computed: for correlations and the histogram of rates."""
    batch_rows: int = 32
    """Rows read at a time."""


@dataclass(frozen=True)
class Context:
    """A piece of text around one token."""

    row: int
    """The row of the text."""
    start: int
    """Position in the row of the first token shown."""
    peak: int
    """Index into `tokens` of the token that the context is about."""
    label: int
    """Index into `DashboardStatistics.label_names`."""
    tokens: list[int]
    acts: list[float]
    """The latent's activation on each of the tokens."""
    loss_effects: list[float | None]
    """How much the loss on the next token rises without the latent, in nats; None where no token follows."""


@dataclass(frozen=True)
class ContextGroup:
    """Contexts whose token has an activation in some interval."""

    low: float
    high: float
    n_tokens: int
    """How many tokens have one, whether shown or not."""
    contexts: list[Context]


@dataclass(frozen=True)
class SimilarLatent:
    """A latent of the same or another instance."""

    latent: int
    cosine: float
    """Cosine of the decoder rows."""
    correlation: float
    """Pearson's correlation of the activations, over the sampled rows."""


@dataclass(frozen=True)
class SimilarLatents:
    """The latents of one instance that are most like the latent at hand."""

    by_cosine: list[SimilarLatent]
    by_correlation: list[SimilarLatent]


@dataclass(frozen=True)
class LatentStatistics:
    """What the dashboard shows of one latent."""

    latent: int
    name: str | None
    n_fired: int
    rate: float
    """Share of tokens on which it fires."""
    largest: float
    mean: float
    """Mean activation where it fires."""
    histogram: list[int]
    """How many tokens have an activation in each bin, of equal width, from 0 to `histogram_top`."""
    histogram_top: float
    top: ContextGroup
    groups: list[ContextGroup]
    """Random contexts from equal parts of the range of activations, the strongest part first."""
    top_logits: list[tuple[int, float]]
    """Tokens, and what one unit of the latent adds to their logit, before the final LayerNorm's rescaling."""
    bottom_logits: list[tuple[int, float]]
    neurons: list[tuple[int, float]]
    """Neurons and their (signed) entry in the latent's direction, the largest first."""
    n_half: int
    n_ninety: int
    """How many neurons hold half, and 90 %, of the direction's squared length."""
    similar: list[SimilarLatents]
    """For each instance."""
    label_shares: list[float]
    """Which share of the sum of the latent's activations lies on text of each label."""
    concentration: float
    """Kullback-Leibler divergence of `label_shares` from the labels' shares of the text, in bits."""


@dataclass(frozen=True)
class DashboardStatistics:
    """What a dashboard shows: each latent, and what is common to all."""

    model_name: str
    split: str
    instance: int
    n_hidden_ae: int
    n_tokens: int
    n_sampled: int
    """How many tokens correlations and `frequencies` are from."""
    strings: dict[int, str]
    """The text of every token that is shown."""
    label_names: tuple[str, ...]
    label_shares: list[float]
    """The share of the text that each label has."""
    frequencies: LogFrequencyHistogram
    """Of all latents of the instance."""
    latents: dict[int, LatentStatistics] = field(repr=False)


@torch.no_grad()
def collect_statistics(
    latents: Iterable[int],
    text: TokenizedText,
    model: "TransformerBridge",
    autoencoder: AutoEncoder,
    instance: int = 0,
    *,
    cfg: DashboardConfig | None = None,
    names: dict[int, str] | None = None,
    model_name: str = "",
    split: str = "",
    progress: bool = True,
) -> DashboardStatistics:
    """Gather what a dashboard shows of some latents.

    Args:
        latents: which latents.
        text: the text, with its labels.
        model: the language model; the autoencoder is on its hook `blocks.0.mlp.hook_post`.
        autoencoder: the autoencoder.
        instance: of which instance the latents are.
        cfg: how much of everything.
        names: names of latents, where they have one.
        model_name: how the page calls the model.
        split: how the page calls the text.
        progress: show a progress bar.

    Returns:
        The statistics. They do not depend on `cfg.batch_rows`.

    Raises:
        ValueError: there is no such latent or instance, no latent is named, or the text is empty.
    """
    cfg = cfg or DashboardConfig()
    chosen = check_latents(latents, autoencoder, instance)
    if text.tokens.numel() == 0:
        raise ValueError("The text has no tokens; pass at least one row.")
    wanted = torch.tensor(chosen)
    tokens, n_instances = text.tokens, autoencoder.cfg.n_instances
    running = RunningStatistics(len(chosen), len(text.label_names), cfg.n_top, cfg.per_group)
    correlations = [RunningCorrelation(len(chosen), autoencoder.cfg.n_hidden_ae) for _ in range(n_instances)]
    stride = -(-len(tokens) // cfg.sample_rows)
    read = reader_for(model, tokens)

    hidden = {} if progress else {"disable": True}
    bar = tqdm(
        total=len(tokens), desc="reading", unit="row", file=sys.stdout, leave=False, mininterval=0.5, **hidden
    )
    for start in range(0, len(tokens), cfg.batch_rows):
        rows = slice(start, start + cfg.batch_rows)
        (h,) = read(tokens[rows], MLP_HOOK)
        acts = encode(h, autoencoder, instance, wanted).view(*h.shape[:2], -1)
        running.add(acts.cpu(), text.labels[rows])
        sampled = torch.arange(start, start + len(h)) % stride == 0
        if sampled.any():
            mine = flatten_activations(acts[sampled]).cpu()
            for other, correlation in enumerate(correlations):
                correlation.add(mine, encode(h[sampled], autoencoder, other).cpu())
        bar.update(len(h))
    bar.close()

    contexts = choose_contexts(running, cfg)
    shown = describe_contexts(contexts, chosen, text, model, autoencoder, instance, cfg, read)
    frequencies = log_frequency_histogram(
        correlations[instance].fired_b / correlations[instance].n_tokens, n_bins=40
    )
    weights = _from_weights(chosen, model, autoencoder, instance, cfg)
    similar = _similar(chosen, correlations, autoencoder, instance, cfg)
    label_shares = (running.label_tokens / running.n_tokens).double()
    n_fired, largest = running.n_fired, running.best[:, 0]
    result = {}
    for index, latent in enumerate(chosen):
        fired, total = int(n_fired[index]), running.total[index].item()
        share = running.by_label[index] / total if fired else torch.zeros_like(label_shares)
        groups = [
            ContextGroup(low, high, count, [shown[context] for context in group])
            for low, high, count, group in contexts[index]
        ]
        result[latent] = LatentStatistics(
            latent=latent,
            name=(names or {}).get(latent),
            n_fired=fired,
            rate=fired / running.n_tokens,
            largest=largest[index].item(),
            mean=total / fired if fired else 0.0,
            histogram=running.histograms.counts[index].tolist(),
            histogram_top=running.histograms.top[index].item(),
            top=groups[0],
            groups=groups[1:],
            similar=similar[index],
            label_shares=share.tolist(),
            concentration=concentration(share, label_shares, fired),
            **weights[index],
        )
    return DashboardStatistics(
        model_name=model_name,
        split=split,
        instance=instance,
        n_hidden_ae=autoencoder.cfg.n_hidden_ae,
        n_tokens=running.n_tokens,
        n_sampled=correlations[instance].n_tokens,
        strings=_strings(result.values(), model),
        label_names=text.label_names,
        label_shares=label_shares.tolist(),
        frequencies=frequencies,
        latents=result,
    )


def check_latents(latents: Iterable[int], autoencoder: AutoEncoder, instance: int) -> list[int]:
    """Return the latents as a list without repetitions, in the order in which they were named."""
    n_instances, n_hidden_ae = autoencoder.cfg.n_instances, autoencoder.cfg.n_hidden_ae
    if not 0 <= instance < n_instances:
        raise ValueError(f"There is no instance {instance}: choose one from 0 to {n_instances - 1}.")
    chosen: dict[int, None] = {}
    for latent in latents:
        if not 0 <= latent < n_hidden_ae:
            raise ValueError(f"There is no latent {latent}: choose from 0 to {n_hidden_ae - 1}.")
        chosen[int(latent)] = None
    if not chosen:
        raise ValueError("No latents were named; choose at least one, such as 0:64.")
    return list(chosen)


def concentration(
    share: Float[Tensor, "n_labels"], text_share: Float[Tensor, "n_labels"], n_fired: int
) -> float:
    """Return how far from evenly a latent is spread over the labels, in bits.

    It is the Kullback-Leibler divergence of the latent's shares from those of the text: 0 if the latent takes no
    notice of the label, log2(1 / share of a label) if it fires on text of that label only. `PRIOR_FIRINGS` firings,
    spread like the text, are counted in.
    """
    mixed = (n_fired * share + PRIOR_FIRINGS * text_share) / (n_fired + PRIOR_FIRINGS)
    present = mixed > 0
    return (mixed[present] * (mixed[present] / text_share[present]).log2()).sum().clamp_min(0).item()


# A context is known by the index of its latent and by its position in the flattened text.
_Key = tuple[int, int]


def choose_contexts(
    running: RunningStatistics, cfg: DashboardConfig
) -> list[list[tuple[float, float, int, list[_Key]]]]:
    """For each latent: (low, high, number of tokens, contexts) of the top group and of each interval."""
    result = []
    counts = running.histograms.counts
    for index, top in enumerate(running.histograms.top.tolist()):
        best = running.best_position[index][running.best[index] > 0]
        values = running.best[index][: len(best)]
        candidates, strengths, bins = running.random_order(index, exclude=best)
        groups = []
        high, low = (values[0].item(), values[-1].item()) if len(best) else (0.0, 0.0)
        groups.append((low, high, len(best), [(index, int(position)) for position in best]))
        used = int(counts[index].nonzero().max()) + 1 if len(best) else 0
        # The limits of the intervals are limits of bins, so that each holds a random choice of its tokens.
        limits = [round(used * part / cfg.n_groups) for part in range(cfg.n_groups, -1, -1)]
        for end_bin, first_bin in pairwise(limits):
            if first_bin == end_bin:
                continue
            inside = (bins >= first_bin) & (bins < end_bin)
            positions = candidates[inside][: cfg.per_group]
            positions = positions[strengths[inside][: cfg.per_group].argsort(descending=True)]
            low, high = (limit / N_BINS * top for limit in (first_bin, end_bin))
            count = int(counts[index, first_bin:end_bin].sum())
            groups.append((low, min(high, values[0].item()), count, [(index, int(p)) for p in positions]))
        result.append(groups)
    return result


def describe_contexts(
    contexts: list[list[tuple[float, float, int, list[_Key]]]],
    latents: list[int],
    text: TokenizedText,
    model: "TransformerBridge",
    autoencoder: AutoEncoder,
    instance: int,
    cfg: DashboardConfig,
    read: Reader,
) -> dict[_Key, Context]:
    """Read the chosen rows again: tokens, activations and effects on the loss around each chosen position."""
    seq = text.tokens.shape[1]
    by_row: dict[int, list[_Key]] = {}
    for key in sorted({key for groups in contexts for group in groups for key in group[3]}):
        by_row.setdefault(key[1] // seq, []).append(key)

    def shown(key: _Key) -> tuple[int, int]:
        place = key[1] % seq
        return max(place - cfg.before, 0), min(place + cfg.after + 1, seq)

    # Attention looks back only, so a row is read up to the token after the last one shown. Rows that end alike
    # go together, the longest first: whatever comes later fits into memory that was used before.
    ends = {row: min(max(shown(key)[1] for key in keys) + 1, seq) for row, keys in by_row.items()}
    order = sorted(ends, key=lambda row: (-ends[row], row))
    result: dict[_Key, Context] = {}
    direction = autoencoder.normalize_and_return_W_dec()[instance]
    for start in range(0, len(order), cfg.batch_rows):
        rows = order[start : start + cfg.batch_rows]
        tokens = text.tokens[rows, : ends[rows[0]]]
        batch = [(index, key) for index, row in enumerate(rows) for key in by_row[row]]
        window = torch.zeros(len(batch), tokens.shape[1], dtype=torch.bool)
        for mask, (_, key) in zip(window, batch, strict=True):
            mask[slice(*shown(key))] = True
        row_of = torch.tensor([index for index, _ in batch])
        latent_of = torch.tensor([latents[key[0]] for _, key in batch])
        acts, effects = acts_and_loss_effects(
            tokens, row_of, latent_of, window, model, autoencoder, instance, direction, read
        )
        for (index, key), its_acts, its_effects in zip(batch, acts.tolist(), effects.tolist(), strict=True):
            row, place = rows[index], key[1] % seq
            first, end = shown(key)
            result[key] = Context(
                row=row,
                start=first,
                peak=place - first,
                label=int(text.labels[row, place]),
                tokens=tokens[index, first:end].tolist(),
                acts=its_acts[first:end],
                loss_effects=[its_effects[i] if i < seq - 1 else None for i in range(first, end)],
            )
    return result


def acts_and_loss_effects(
    tokens: Int[Tensor, "batch seq"],
    row_of: Int[Tensor, "contexts"],
    latent_of: Int[Tensor, "contexts"],
    shown: Bool[Tensor, "contexts seq"],
    model: "TransformerBridge",
    autoencoder: AutoEncoder,
    instance: int,
    direction: Float[Tensor, "n_hidden_ae d_mlp"],
    read: Reader,
) -> tuple[Float[Tensor, "contexts seq"], Float[Tensor, "contexts seq"]]:
    """Of each context: the activations of its latent, and how much the loss on each next token rises without it.

    The latent is set to zero, and the reconstruction error is kept: h becomes h - act * W_dec[latent]. In a
    one-layer model that moves the residual stream at the same position by -act * W_dec[latent] @ W_out, and
    nothing else has to be computed again but the final LayerNorm and the unembedding.

    Args:
        tokens: rows of text.
        row_of: the row of each context.
        latent_of: the latent of each context.
        shown: where the effect is wanted. Elsewhere, and where the latent does not fire, it is 0.
        model: the language model.
        autoencoder: the autoencoder.
        instance: which of its instances.
        direction: its decoder, at unit length.
        read: gives the activations at hooks.
    """
    some, index = latent_of.unique(return_inverse=True)
    one_layer = model.cfg.n_layers == 1
    h, *rest = read(tokens, MLP_HOOK, *([RESIDUAL_HOOK] if one_layer else []))
    acts = encode(h, autoencoder, instance, some).view(*h.shape[:2], -1)[row_of, :, index]
    effects = torch.zeros_like(acts)
    context, place = ((acts[:, :-1] > 0) & shown[:, :-1].to(acts.device)).nonzero(as_tuple=True)
    row = row_of.to(acts.device)[context]
    following = tokens.to(acts.device)[row, place + 1]
    if one_layer:
        (residual,) = rest
        W_out = model.blocks[0].mlp.W_out
        for part in torch.arange(len(context), device=acts.device).split(1024):
            at = row[part], place[part]
            strength = acts[context[part], place[part], None]
            without = residual[at] - strength * (direction[latent_of[context[part].cpu()]] @ W_out)
            both = model.unembed(model.ln_final(torch.stack([residual[at], without])))
            clean, ablated = -both.log_softmax(dim=-1)[:, torch.arange(len(part)), following[part]]
            effects[context[part], place[part]] = ablated - clean
        return acts, effects
    for part in torch.arange(len(row_of)).split(len(tokens)):
        rows = tokens[row_of[part]]
        taken = einsum(
            acts[part], direction[latent_of[part]], "contexts seq, contexts d_mlp -> contexts seq d_mlp"
        )
        hooks: Hooks = [(MLP_HOOK, lambda value, hook, taken=taken: value - taken)]
        ablated = model.run_with_hooks(rows, return_type="logits", fwd_hooks=hooks)
        difference = next_token_loss(ablated, rows) - next_token_loss(model(rows, return_type="logits"), rows)
        effects[part, :-1] = difference * ((acts > 0) & shown.to(acts.device))[part, :-1]
    return acts, effects


def next_token_loss(
    logits: Float[Tensor, "batch seq d_vocab"], tokens: Int[Tensor, "batch seq"]
) -> Float[Tensor, "batch positions"]:
    """Return the loss on the token after each position but the last, in nats."""
    losses = F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
    return losses.view(len(tokens), -1)


def _from_weights(
    latents: list[int],
    model: "TransformerBridge",
    autoencoder: AutoEncoder,
    instance: int,
    cfg: DashboardConfig,
) -> list[dict[str, Any]]:
    """What needs no text: the direct effect on the logits, and the latent's direction in the neuron basis."""
    W_dec = autoencoder.normalize_and_return_W_dec()[instance]
    to_logits = model.blocks[0].mlp.W_out @ model.W_U
    result = []
    for latent in latents:
        effect = (W_dec[latent] @ to_logits).cpu()
        k = min(cfg.n_logits, len(effect))
        top, bottom = effect.topk(k), effect.topk(k, largest=False)
        share, neurons = W_dec[latent].pow(2).sort(descending=True)
        held = share.double().cumsum(dim=0) / share.double().sum()
        neurons = neurons[: cfg.n_neurons]
        result.append(
            {
                "top_logits": list(zip(top.indices.tolist(), top.values.tolist(), strict=True)),
                "bottom_logits": list(zip(bottom.indices.tolist(), bottom.values.tolist(), strict=True)),
                "neurons": list(zip(neurons.tolist(), W_dec[latent, neurons].tolist(), strict=True)),
                # As in `feature_in_neuron_basis`, which normalizes the whole decoder for each latent.
                "n_half": int((held < 0.5 - 1e-6).sum()) + 1,
                "n_ninety": int((held < 0.9 - 1e-6).sum()) + 1,
            }
        )
    return result


def _similar(
    latents: list[int],
    correlations: list[RunningCorrelation],
    autoencoder: AutoEncoder,
    instance: int,
    cfg: DashboardConfig,
) -> list[list[SimilarLatents]]:
    """For each latent, its nearest latents of every instance. The latent itself is left out."""
    W_dec = autoencoder.normalize_and_return_W_dec().cpu()
    result: list[list[SimilarLatents]] = [[] for _ in latents]
    for other, running in enumerate(correlations):
        correlation, cosine = running.correlation(), W_dec[instance, latents] @ W_dec[other].mT
        for index, latent in enumerate(latents):
            lists = []
            for measure in (cosine[index], correlation[index]):
                measure = measure.clone()
                if other == instance:
                    measure[latent] = -torch.inf
                best = measure.topk(min(cfg.n_similar, len(measure))).indices.tolist()
                lists.append(
                    [
                        SimilarLatent(i, cosine[index, i].item(), correlation[index, i].item())
                        for i in best
                        if not (other == instance and i == latent)
                    ]
                )
            result[index].append(SimilarLatents(*lists))
    return result


def _strings(latents: Iterable[LatentStatistics], model: "TransformerBridge") -> dict[int, str]:
    """The text of all tokens that are shown anywhere."""
    used: set[int] = set()
    for latent in latents:
        used.update(token for token, _ in latent.top_logits + latent.bottom_logits)
        for group in [latent.top, *latent.groups]:
            used.update(token for context in group.contexts for token in context.tokens)
    tokens = sorted(used)
    return dict(zip(tokens, token_strings(tokens, model.tokenizer), strict=True))
