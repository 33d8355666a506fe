"""What `course evaluate` prints: losses, completions, the autoencoders' measures, their firing rates."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from part_utils.baselines import Comparison, compare_with_baselines, neuron_copies
from part_utils.evaluation import Evaluation, evaluate, log_frequency_histogram
from part_utils.language_models import load_autoencoder, load_language_model
from part_utils.model_with_autoencoder import ModelWithAutoencoder
from part_utils.readable import candidates, random_latents, read_latents, times_fired
from part_utils.texts import TokenizedText, load_tokens
from part_utils.token_text import text_of, token_string
from pretraining.latent_rules import load_rules, score_rules, scores_table, summary

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

ENCODERS = "AB"
KINDS = ("Wikipedia", "Austen", "Python", "django")
CORE_KINDS = ("Wikipedia", "Python", "django")
"""The kinds of text whose loss together is comparable between corpora that hold them and more."""
CORE_NAME = "Wikipedia, Python and django together"


@torch.no_grad()
def loss_by_kind(model: "TransformerBridge", text: TokenizedText) -> dict[str, float]:
    """Mean loss in nats per token of each kind of text, the part of a label before the colon, and of all.

    `"core"` is the mean over the tokens of `CORE_KINDS`.
    """
    losses = []
    for rows in text.tokens.split(32):
        log_probabilities = model(rows, return_type="logits")[:, :-1].log_softmax(dim=-1)
        losses.append(-log_probabilities.gather(-1, rows[:, 1:, None])[..., 0])
    loss, labels = torch.cat(losses), text.labels[:, 1:]
    kinds = sorted({name.split(":")[0] for name in text.label_names})
    groups = {"all": kinds, "core": CORE_KINDS} | {kind: [kind] for kind in kinds}
    result = {}
    for group, members in groups.items():
        wanted = [i for i, name in enumerate(text.label_names) if name.split(":")[0] in members]
        mask = torch.isin(labels, torch.tensor(wanted, dtype=labels.dtype, device=labels.device))
        if mask.any():
            result[group] = loss[mask].mean().item()
    return result


@torch.no_grad()
def complete(model: "TransformerBridge", prompt: Tensor, n_tokens: int = 60, seed: int = 0) -> str:
    """Continue a row of tokens [seq], drawing from the model's probabilities at temperature 0.7."""
    generator = torch.Generator().manual_seed(seed)
    tokens = prompt[None]
    for _ in range(n_tokens):
        logits = model(tokens[:, -model.cfg.n_ctx :], return_type="logits")[0, -1] / 0.7
        drawn = torch.multinomial(logits.softmax(dim=-1).cpu(), 1, generator=generator)
        tokens = torch.cat([tokens, drawn[None].to(tokens.device)], dim=1)
    return text_of(tokens[0, len(prompt) :], model.tokenizer)


def bars(rates: Float[Tensor, "n_hidden_ae"], n_bins: int = 24) -> list[str]:
    """Return a log-frequency histogram in text, one line for each bin."""
    counts, edges, n_dead = log_frequency_histogram(rates, n_bins)
    longest = int(counts.max())
    lines = [f"never fired: {n_dead}"] if n_dead else []
    for count, low, high in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        lines.append(
            f"10^{low:6.2f} to 10^{high:6.2f}  {count:5d}  {'#' * round(50 * count / max(1, longest))}"
        )
    return lines


def measures_table(result: Evaluation) -> Table:
    """Return the measures of encoder-A and encoder-B."""
    table = Table("encoder", "FVU", "L0", "CE recovered", "from the mean", "dead", "MSE", "norm error")
    for i, letter in enumerate(ENCODERS):
        table.add_row(
            letter,
            f"{result.fvu[i]:.4f}",
            f"{result.l0[i]:.1f}",
            f"{result.recovered[i]:.2%}",
            f"{result.recovered_from_mean[i]:.2%}",
            f"{result.dead[i]:.2%}",
            f"{result.mse[i]:.5f}",
            f"{result.decoder_norm_error[i]:.1e}",
        )
    return table


def comparisons_table(result: Evaluation, comparisons: list[Comparison]) -> Table:
    """Return what each encoder, as many neurons and as many principal components keep, and the neuron copies."""
    table = Table(
        "", "L0", "FVU", "CE recovered", "from the mean", "gain over neurons", "copies", "of what fires"
    )
    for i, (letter, comparison) in enumerate(zip(ENCODERS, comparisons, strict=True)):
        table.add_row(
            f"encoder-{letter}",
            f"{result.l0[i]:.1f}",
            f"{result.fvu[i]:.4f}",
            f"{result.recovered[i]:.2%}",
            f"{result.recovered_from_mean[i]:.2%}",
            f"{100 * comparison.gain:+.1f} points",
            f"{comparison.n_copies:,} latents",
            f"{comparison.copies_share:.1%}",
        )
        for kind, baseline in (
            ("neurons", comparison.neurons),
            ("principal components", comparison.components),
        ):
            table.add_row(
                f"  {comparison.k} {kind}",
                str(comparison.k),
                f"{baseline.fvu:.4f}",
                f"{baseline.recovered:.2%}",
                f"{baseline.recovered_from_mean:.2%}",
            )
    return table


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=120)


MIN_FIRED = 30
"""A latent that fires on fewer held-out tokens is not asked what it does: its followers would be chance."""
MIN_FAVORED = 2
"""A direct effect can be read if the 20 tokens that it favors most hold so many of the 10 most common followers."""


def followers_favored(text: TokenizedText, subject: ModelWithAutoencoder, n: int, seed: int) -> list[str]:
    """Say for random latents, and for such as copy a neuron, how many favor what follows, and how many would by chance.

    By chance: with the followers of another of these latents in the place of its own.
    """
    often = times_fired(text.tokens, subject) >= MIN_FIRED
    copies = neuron_copies(subject.autoencoder)[subject.instance]
    said = []
    for kind, eligible in (("copy no neuron", often & ~copies), ("copy a neuron", often & copies)):
        latents = random_latents(eligible, n, seed)
        read = read_latents(text.tokens, subject, latents) if len(latents) else []
        favor = sum(len(one.favored) >= MIN_FAVORED for one in read)
        by_chance = sum(
            len(set(other.followers) & set(one.top)) >= MIN_FAVORED
            for one, other in zip(read, read[1:] + read[:1], strict=True)
        )
        said.append(
            f"of {len(read)} random latents that {kind} and fire on {MIN_FIRED} tokens, {favor} favor {MIN_FAVORED} or "
            f"more of their 10 most common followers among 20 tokens; with another one's followers {by_chance}."
        )
    return said


def _words(tokens: list[int], model: "TransformerBridge") -> str:
    return " ".join(escape(repr(token_string(token, model.tokenizer))) for token in tokens)


def print_candidates(split: str, instance: int, max_rows: int | None, n: int, device: str) -> None:
    """Print the latents that could stand for all: no copies, whose effect, followers and ablation agree."""
    console = _console()
    text = load_tokens(split)
    tokens = text.tokens[:max_rows].to(device)
    model = load_language_model(device=device)
    found = candidates(tokens, ModelWithAutoencoder(model, load_autoencoder(device=device), instance))
    console.print(
        f"{len(found)} latents fire on {MIN_FIRED} or more of {tokens.numel():,} tokens, copy no neuron, favor 3 or "
        "more of their 10 most common followers among 20 tokens, and agree with their ablation."
    )
    table = Table(
        "latent", "fires", "one token", "largest neuron", "ablation", "of 10", "favors, and what follows"
    )
    for one in found[:n]:
        table.add_row(
            str(one.read.latent),
            f"{one.read.fired:,}",
            f"{one.word_share:.0%}",
            f"{one.largest_neuron:.0%}",
            f"{one.agreement:.2f}",
            str(len(one.read.favored)),
            _words(one.read.favored, model),
        )
    console.print(table)


def print_report(
    split: str,
    max_rows: int | None,
    device: str,
    samples: int,
    figure: Path | None,
    metrics: Path | None,
    rules: Path | None = None,
    drawn: int = 30,
    seed: int = 0,
) -> None:
    """Measure everything that is bundled on one split and print it."""
    console = _console()
    named = load_rules(rules) if rules is not None else {}
    loaded_texts = {name: load_tokens(name) for name in (split, "validation")}
    model = load_language_model(device=device)
    texts = {}
    for name, loaded in loaded_texts.items():
        texts[name] = TokenizedText(
            loaded.tokens[:max_rows].to(device), loaded.labels[:max_rows].to(device), loaded.label_names
        )
    text = texts[split]
    losses = {name: loss_by_kind(model, text) for name, text in texts.items()}
    table = Table("text", *(f"{name}: {text.tokens.numel():,} tokens" for name, text in texts.items()))
    for kind in losses[split]:
        label = CORE_NAME if kind == "core" else kind
        table.add_row(label, *(f"{loss[kind]:.4f}" if kind in loss else "" for loss in losses.values()))
    console.print(
        "Loss of the language model in nats per token. held_out: documents that it never saw; "
        "validation: unseen passages of documents whose other passages it saw.",
        table,
    )
    for kind in KINDS if samples else ():
        rows = text.tokens[text.has_label(kind).all(dim=1)]
        for row in rows[:samples]:
            prompt = row[:32]
            console.rule(f"{kind}: prompt, then completion")
            console.print(escape(text_of(prompt[1:], model.tokenizer)), style="dim", highlight=False)
            console.print(escape(complete(model, prompt)), highlight=False)
    autoencoder = load_autoencoder(device=device)
    result = evaluate(text.tokens, model, autoencoder)
    console.print(
        f"Mean squared activation {result.mean_squared_activation:.5f}; loss {result.loss_clean:.4f}, "
        f"with zero ablation {result.loss_zero_ablated:.4f}, with mean ablation {result.loss_mean_ablated:.4f}"
    )
    console.print(measures_table(result))
    comparisons = compare_with_baselines(text.tokens, model, autoencoder, result)
    console.print(
        "Beside as many neurons (those farthest from their mean, the rest at it) and as many principal components. "
        "A latent copies a neuron that holds more than half of its row's squared length.",
        comparisons_table(result, comparisons),
    )
    for i, letter in enumerate(ENCODERS) if drawn else ():
        for line in followers_favored(text, ModelWithAutoencoder(model, autoencoder, i), drawn, seed):
            console.print(f"encoder-{letter}: {line}")
    if named:
        subject = ModelWithAutoencoder(model, autoencoder)
        scores = score_rules(named, subject, rows=min(400, max_rows or 400))
        console.print(
            "Rules for encoder-A on held-out text, at a quarter of the largest activation: "
            + summary(named, scores),
            scores_table(named, scores),
        )
    console.print("Firing rates of encoder-A:")
    for line in bars(result.firing_rates[0]):
        console.print(line, highlight=False)
    if metrics is not None:
        save_metrics(split, losses, result, comparisons, metrics)
    if figure is not None:
        draw_histogram(result, figure)


def save_metrics(
    split: str,
    losses: dict[str, dict[str, float]],
    result: Evaluation,
    comparisons: list[Comparison],
    path: Path,
) -> None:
    """Write all measures but the firing rates as JSON."""
    measures: dict[str, Any] = {
        name: value for name, value in result._asdict().items() if name != "firing_rates"
    }
    measures["beside"] = [
        comparison._asdict()
        | {"neurons": comparison.neurons._asdict(), "components": comparison.components._asdict()}
        for comparison in comparisons
    ]
    written = {
        "split": split,
        "loss_by_kind": losses,
        "loss_clean": result.loss_clean,
        "autoencoders": measures,
    }
    path.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


def draw_histogram(result: Evaluation, path: Path) -> None:
    """Log-frequency histograms of both encoders as a picture."""
    import plotly.graph_objects as go

    picture = go.Figure()
    for letter, rates in zip(ENCODERS, result.firing_rates, strict=True):
        counts, edges, n_dead = log_frequency_histogram(rates)
        label = f"encoder-{letter} ({n_dead} dead)"
        picture.add_scatter(x=(edges[:-1] + edges[1:]) / 2, y=counts, name=label, line_shape="hvh")
    picture.update_layout(
        template="simple_white",
        title="How often latents fire",
        xaxis_title="log10 of the share of tokens on which a latent fires",
        yaxis_title="latents",
    )
    picture.write_image(path, width=800, height=450)
