"""What a dashboard shows of each latent, from one pass over a text.

`collect_statistics` reads the text a few rows at a time and computes the wanted latents only. On a sample of the
rows it computes all latents of every instance, for the histogram of firing rates and for correlations. The rows
that are shown are read once more at the end, for what happens to the loss without the latent.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from part_utils.activations import MLP_HOOK, flatten_activations
from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.correlation import RunningCorrelation
from part_utils.dashboard.reading import RESIDUAL_HOOK, PlaceReader
from part_utils.dashboard.streaming import N_BINS, RunningStatistics, RunningWords
from part_utils.evaluation import LogFrequencyHistogram, encode, log_frequency_histogram
from part_utils.interpretation import feature_in_neuron_basis
from part_utils.model_with_autoencoder import ModelWithAutoencoder, also_in_parts
from part_utils.progress_bar import progress_bar
from part_utils.texts import TokenizedText
from part_utils.token_text import token_strings, words_in_context

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

LOGITS_AT_ONCE = 2**23
"""So many logits of a model of many blocks are in memory at a time: 32 MB. A large vocabulary would fill gigabytes."""
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
    n_followers: int = 10
    """Tokens named that most often come next."""
    n_words: int = 24
    """Tokens on which it fires most, to search for."""
    n_neurons: int = 12
    """Neurons named, the largest first."""
    n_similar: int = 5
    """Similar latents named, for each instance and kind of similarity."""
    sample_rows: int = 200
    """Rows, evenly spaced, on which all latents are computed: for correlations and the histogram of rates."""
    batch_rows: int = 32
    """Rows read at a time."""
    ablate_all: bool = True
    """Whether the latent is taken away in every context, or only in the largest ones. In a model of many blocks each
    context is a run of the whole model."""


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
    joined: dict[int, str]
    """The text of those tokens for which it is another one here than alone: characters of several tokens, whole."""
    acts: list[float]
    """The latent's activation on each of the tokens."""
    loss_effects: list[float | None]
    """How much the loss on the next token rises without the latent, in nats; None where no token follows, or where it
    was not taken away."""


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
    ablation_logits: list[tuple[int, float]]
    """Tokens, and what one unit of the latent adds to their logit, measured: by how much it falls without the latent,
    mean over the top contexts, less the mean over all tokens."""
    agreement: float | None
    """Correlation over the vocabulary of the direct effect with the measured one."""
    followers: list[tuple[int, float]]
    """The tokens that most often came next, and the share of the latent's activation after which each did."""
    favored: list[int]
    """Those of the followers that are among the tokens which the direct effect favors most, twice as many as are
    shown."""
    fires_on: list[tuple[int, float]]
    """Tokens, and the latent's mean activation on them, as a share of its largest, the largest first."""
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

    @property
    def copied_neuron(self) -> int | None:
        """The neuron that holds more than half of the direction's squared length, if one does."""
        neuron, value = self.neurons[0]
        return neuron if value**2 > 0.5 else None


@dataclass(frozen=True)
class DashboardStatistics:
    """What a dashboard shows: each latent, and what is common to all."""

    model_name: str
    split: str
    hook: str
    """The place of the autoencoder."""
    exact: bool
    """Whether the direct effect on the logits is all that there is but for the final norm: no block comes behind."""
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

    @property
    def unit(self) -> str:
        """What an entry of a direction stands for: a neuron, or a dimension of the residual stream."""
        return "neuron" if self.hook.endswith("mlp.hook_post") else "dimension"


@also_in_parts
@torch.no_grad()
def collect_statistics(
    latents: Iterable[int],
    text: TokenizedText,
    subject: ModelWithAutoencoder,
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
        subject: the language model with its autoencoder.
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
    model, autoencoder, instance = subject.model, subject.autoencoder, subject.instance
    chosen = check_latents(latents, autoencoder, instance)
    if text.tokens.numel() == 0:
        raise ValueError("The text has no tokens; pass at least one row.")
    wanted = torch.tensor(chosen)
    tokens, n_instances = text.tokens, autoencoder.cfg.n_instances
    running = RunningStatistics(len(chosen), len(text.label_names), cfg.n_top, cfg.per_group)
    words = RunningWords(len(chosen), model.cfg.d_vocab)
    correlations = [RunningCorrelation(len(chosen), autoencoder.cfg.n_hidden_ae) for _ in range(n_instances)]
    stride = -(-len(tokens) // cfg.sample_rows)
    read = PlaceReader(subject, tokens)

    bar = progress_bar(len(tokens), show=progress, desc="reading", unit="row")
    for start in range(0, len(tokens), cfg.batch_rows):
        rows = slice(start, start + cfg.batch_rows)
        h, acts = read.encode(tokens[rows], wanted)
        acts = acts.cpu()
        running.add(acts, text.labels[rows])
        words.add(acts, tokens[rows].cpu())
        sampled = torch.arange(start, start + len(h)) % stride == 0
        if sampled.any():
            mine = flatten_activations(acts[sampled])
            for other, correlation in enumerate(correlations):
                correlation.add(mine, encode(h[sampled], autoencoder, other).cpu())
        bar.update(len(h))
    bar.close()

    contexts = choose_contexts(running, cfg)
    shown, measured = describe_contexts(contexts, chosen, text, subject, cfg, read)
    frequencies = log_frequency_histogram(
        correlations[instance].fired_b / correlations[instance].n_tokens, n_bins=40
    )
    followers = words.followers(cfg.n_followers)
    weights = _from_weights(chosen, subject, cfg, measured, followers)
    fires_on = words.fires_on(cfg.n_words)
    similar = _similar(chosen, correlations, subject, cfg)
    label_shares = (running.label_tokens / running.n_tokens).double()
    n_fired, largest = running.n_fired, running.strongest.values[:, 0]
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
            followers=followers[index],
            fires_on=[(token, value / largest[index].item()) for token, value in fires_on[index]],
            similar=similar[index],
            label_shares=share.tolist(),
            concentration=concentration(share, label_shares, fired),
            **weights[index],
        )
    return DashboardStatistics(
        model_name=model_name,
        split=split,
        hook=subject.hook,
        exact=subject.last_block,
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
        values = running.strongest.values[index]
        best = running.strongest.positions[index][values > 0]
        values = values[: len(best)]
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
    subject: ModelWithAutoencoder,
    cfg: DashboardConfig,
    read: PlaceReader,
) -> tuple[dict[_Key, Context], Float[Tensor, "latents d_vocab"]]:
    """Read the chosen rows again, around each chosen position, with and without the latent.

    Returns:
        Each context: tokens, activations, effects on the loss. And what one unit of each latent adds to the logits, by
        ablation, mean over its top contexts; zeros where it has none.
    """
    seq = text.tokens.shape[1]
    measured = torch.zeros(len(latents), subject.model.cfg.d_vocab)
    n_measured = torch.zeros(len(latents))
    top = {key for groups in contexts for key in groups[0][3]}
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
    direction = subject.directions
    for start in range(0, len(order), cfg.batch_rows):
        rows = order[start : start + cfg.batch_rows]
        tokens = text.tokens[rows, : ends[rows[0]]]
        batch = [(index, key) for index, row in enumerate(rows) for key in by_row[row]]
        window = torch.zeros(len(batch), tokens.shape[1], dtype=torch.bool)
        for mask, (_, key) in zip(window, batch, strict=True):
            mask[slice(*shown(key))] = True
        row_of = torch.tensor([index for index, _ in batch])
        latent_of = torch.tensor([latents[key[0]] for _, key in batch])
        peak_of = torch.tensor([key[1] % seq for _, key in batch])
        strongest = [place for place, (_, key) in enumerate(batch) if key in top]
        if not cfg.ablate_all:
            window[[place for place, (_, key) in enumerate(batch) if key not in top]] = False
        effects = ablation_effects(tokens, row_of, latent_of, peak_of, window, subject, direction, read)
        added = effects.logits[strongest].cpu()
        where = torch.tensor([batch[place][1][0] for place in strongest], dtype=torch.long)
        measured.index_add_(0, where, added)
        n_measured.index_add_(0, where, added.any(dim=1).float())
        for (index, key), its_acts, its_effects in zip(
            batch, effects.acts.tolist(), effects.loss.tolist(), strict=True
        ):
            row, place = rows[index], key[1] % seq
            known = seq - 1 if cfg.ablate_all or key in top else 0
            first, end = shown(key)
            result[key] = Context(
                row=row,
                start=first,
                peak=place - first,
                label=int(text.labels[row, place]),
                tokens=tokens[index, first:end].tolist(),
                joined=_joined(tokens[index, first:end], subject.model.tokenizer),
                acts=its_acts[first:end],
                loss_effects=[its_effects[i] if i < known else None for i in range(first, end)],
            )
    return result, measured / n_measured.clamp_min(1)[:, None]


def _joined(tokens: Int[Tensor, "seq"], tokenizer: object) -> dict[int, str]:
    both = zip(words_in_context(tokens, tokenizer), token_strings(tokens, tokenizer), strict=True)
    return {place: word for place, (word, alone) in enumerate(both) if word != alone}


@dataclass(frozen=True)
class Effects:
    """What `ablation_effects` returns."""

    acts: Float[Tensor, "contexts seq"]
    """The activations of each context's latent."""
    loss: Float[Tensor, "contexts seq"]
    """How much the loss on each next token rises without it, in nats."""
    logits: Float[Tensor, "contexts d_vocab"]
    """What one unit of the latent adds to each logit at the context's peak, measured by taking it away."""


def ablation_effects(
    tokens: Int[Tensor, "batch seq"],
    row_of: Int[Tensor, "contexts"],
    latent_of: Int[Tensor, "contexts"],
    peak_of: Int[Tensor, "contexts"],
    shown: Bool[Tensor, "contexts seq"],
    subject: ModelWithAutoencoder,
    direction: Float[Tensor, "n_hidden_ae n_input_ae"],
    read: PlaceReader,
) -> Effects:
    """Take away the latent of each context, as `ablate_feature` does (except at sinks), and see what changes.

    In a one-layer model that moves the residual stream at the same position by -act * W_dec[latent] @ W_out, and
    nothing else has to be computed again but the final LayerNorm and the unembedding. Other models run as a whole.

    Args:
        tokens: rows of text.
        row_of: the row of each context.
        latent_of: the latent of each context.
        peak_of: the position that each context is about.
        shown: where the effect is wanted. Elsewhere, where the latent does not fire, and where no token follows, it
            is 0.
        subject: the language model with its autoencoder.
        direction: the direction of every latent, made once for all calls.
        read: reads the place.
    """
    model = subject.model
    some, index = latent_of.unique(return_inverse=True)
    one_layer = model.cfg.n_layers == 1 and subject.hook == MLP_HOOK
    if one_layer:
        h, residual = read.read(tokens, MLP_HOOK, RESIDUAL_HOOK)
        acts = subject.encode(h, some).view(*h.shape[:2], -1)[row_of, :, index]
    else:
        acts = read.encode(tokens, some)[1][row_of, :, index]
    device = acts.device
    tokens, row_of, latent_of, peak_of = (x.to(device) for x in (tokens, row_of, latent_of, peak_of))
    wanted = (acts > 0) & shown.to(device)
    wanted[:, -1] = False
    loss = torch.zeros_like(acts)
    logits = torch.zeros(len(row_of), model.cfg.d_vocab, device=device)
    if not one_layer:
        for latent in some.tolist():
            at_once = max(1, LOGITS_AT_ONCE // (tokens.shape[1] * model.cfg.d_vocab))
            for part in (latent_of == latent).nonzero().flatten().split(at_once):
                part = part[shown[part.cpu()].any(dim=1).to(device)]
                if len(part) == 0:
                    continue
                rows = tokens[row_of[part]]
                taken = acts[part, :, None] * direction[latent]

                def without(value: Tensor, hook: Any, taken: Tensor = taken) -> Tensor:
                    return value - taken.to(value)

                clean = model(rows, return_type="logits").float()
                hooks: list[Any] = [(subject.hook, without)]
                change = model.run_with_hooks(rows, return_type="logits", fwd_hooks=hooks).float() - clean
                rise = next_token_loss(clean + change, rows) - next_token_loss(clean, rows)
                loss[part, :-1] = rise * wanted[part, :-1]
                at_peak = (torch.arange(len(part), device=device), peak_of[part])
                strength = acts[part, peak_of[part], None]
                logits[part] = -change[at_peak] / strength.clamp_min(1e-8) * wanted[part, peak_of[part], None]
        return Effects(acts, loss, logits)
    written = subject.written(direction[latent_of])
    context, place = wanted.nonzero(as_tuple=True)
    for of, at in zip(context.split(1024), place.split(1024), strict=True):
        strength = acts[of, at, None]
        x = residual[row_of[of], at]
        both = model.unembed(model.ln_final(torch.stack([x, x - strength * written[of]])))
        clean, ablated = -both.log_softmax(dim=-1)[
            :, torch.arange(len(of), device=device), tokens[row_of[of], at + 1]
        ]
        loss[of, at] = ablated - clean
        peak = at == peak_of[of]
        logits[of[peak]] = (both[0] - both[1])[peak] / strength[peak]
    return Effects(acts, loss, logits)


def next_token_loss(
    logits: Float[Tensor, "batch seq d_vocab"], tokens: Int[Tensor, "batch seq"]
) -> Float[Tensor, "batch positions"]:
    """Return the loss on the token after each position but the last, in nats."""
    losses = F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
    return losses.view(len(tokens), -1)


def _from_weights(
    latents: list[int],
    subject: ModelWithAutoencoder,
    cfg: DashboardConfig,
    measured: Float[Tensor, "latents d_vocab"],
    followers: list[list[tuple[int, float]]],
) -> list[dict[str, Any]]:
    """Return the direct effect on the logits, beside what ablation and text say, and the neurons of each latent."""
    model, directions = subject.model, subject.directions[latents]
    # Of one latent at a time, so that nobody brings the whole decoder to unit length for each.
    with torch.random.fork_rng(devices=[]):
        alone = AutoEncoder(AutoEncoderConfig(1, directions.shape[1], 1)).to(directions.device)
    result = []
    for direction, change, follow in zip(directions, measured, followers, strict=True):
        alone.W_dec[0, 0] = direction
        k = min(cfg.n_logits, model.cfg.d_vocab)
        effect = direct_effect(subject, direction)
        top, bottom = effect.topk(k).indices, effect.topk(k, largest=False).indices
        share, n_half, n_ninety = feature_in_neuron_basis(alone, 0)
        neurons = share.argsort(descending=True)[: cfg.n_neurons]
        effect, change = effect.cpu(), change.cpu()
        # A constant on all logits changes no prediction, and an ablation moves it: LayerNorm is scaled anew.
        change = change - change.mean()
        ablation = change.topk(k).indices.tolist()
        favored = set(effect.topk(min(2 * k, len(effect))).indices.tolist())
        result.append(
            {
                "top_logits": _entries(effect, top.tolist()),
                "bottom_logits": _entries(effect, bottom.tolist()),
                "ablation_logits": _entries(change, ablation) if change.any() else [],
                "agreement": _correlation(effect, change),
                "favored": [token for token, _ in follow if token in favored],
                "neurons": _entries(direction, neurons.tolist()),
                "n_half": n_half,
                "n_ninety": n_ninety,
            }
        )
    return result


def direct_effect(
    subject: ModelWithAutoencoder, direction: Float[Tensor, "n_input_ae"]
) -> Float[Tensor, "d_vocab"]:
    """Return what one unit of a direction adds to the logits through the weights alone.

    With one block it is `feature_logit_effect`, which leaves the final norm out. In a model of many blocks it is the
    logit lens (nostalgebraist 2020, "interpreting GPT: the logit lens"): as if the final norm, whose weights count,
    came right behind the place.
    """
    written, model = subject.written(direction), subject.model
    weights = getattr(model.ln_final, "w", None) if model.cfg.n_layers > 1 else None
    return (written if weights is None else written * weights) @ model.W_U


def _entries(values: Float[Tensor, "n"], chosen: list[int]) -> list[tuple[int, float]]:
    return [(index, values[index].item()) for index in chosen]


def _correlation(a: Float[Tensor, "n"], b: Float[Tensor, "n"]) -> float | None:
    """Pearson's correlation; None where one of the two does not change."""
    a, b = a - a.mean(), b - b.mean()
    length = a.norm() * b.norm()
    return (a @ b / length).item() if length > 0 else None


def _similar(
    latents: list[int],
    correlations: list[RunningCorrelation],
    subject: ModelWithAutoencoder,
    cfg: DashboardConfig,
) -> list[list[SimilarLatents]]:
    """For each latent, its nearest latents of every instance. The latent itself is left out."""
    instance, W_dec = subject.instance, subject.autoencoder.normalize_and_return_W_dec().cpu()
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
        lists = (
            latent.top_logits,
            latent.bottom_logits,
            latent.ablation_logits,
            latent.followers,
            latent.fires_on,
        )
        used.update(token for tokens in lists for token, _ in tokens)
        for group in [latent.top, *latent.groups]:
            used.update(token for context in group.contexts for token in context.tokens)
    tokens = sorted(used)
    return dict(zip(tokens, token_strings(tokens, model.tokenizer), strict=True))
