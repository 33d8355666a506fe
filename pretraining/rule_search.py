"""Simple rules for random latents, found by a search and scored on held-out text: `python -m pretraining.rule_search`.

A rule says that a latent fires where a few things about a token are among a few that were named: the token itself, its
word in any form, the one or two before it, the first word of its line, the kind of text, its label. The search sees one
text, the scores come from another: the F1 of saying where the latent fires (`score_hypothesis`), and detection, the
balanced accuracy of telling contexts in which it fires from others (`detection_score`, Paulo et al. 2024).

Measured: of 40 random latents of encoder-A that fire on 30 held-out tokens and copy no neuron, 15 have a rule with an
F1 of 0.5 or more, and 18 that or a detection score of 0.75 or more. Of 50 of SmolLM2's residual stream
(`--model smollm2 --autoencoder smollm2-residual --latents 50 --rows 2048`) it is 30 and 31. The search is greedy and
knows these few things only, so these are lower bounds of what can be named. `--rules` scores a file of rules instead:
those that were written by hand are in `pretraining/rules`.
"""

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from jaxtyping import Bool, Int
from torch import Tensor

from part_utils.baselines import neuron_copies
from part_utils.files import write_atomically
from part_utils.hypotheses import Feature, Rule, line_so_far
from part_utils.language_models import PLACES, load_autoencoder, load_language_model
from part_utils.model_with_autoencoder import ModelWithAutoencoder
from part_utils.places import LatentsOnText, Place, latents_on
from part_utils.readable import random_latents
from part_utils.texts import TokenizedText, first_rows, load_tokens, load_written_text
from pretraining.latent_rules import THRESHOLD, RuleScore, load_rules, name_of, score_rule, summary
from pretraining.report import MIN_FIRED
from pretraining.run import fastest_dtype

N_NAMED = 10
"""A rule names at most so many values of each thing: more would be a list, not a rule."""
N_PARTS = 3
"""A rule asks for at most so many things at once."""
WORTH = 0.02
"""Another part must raise F1 by as much on the text that is studied."""
HELD_OUT_ROWS = 400
"""Rules are scored on so many rows, as `course evaluate --rules` does."""


def first_word(context: list[str]) -> str:
    """Return the first word of the line that a context ends in."""
    words = line_so_far(context).split(maxsplit=1)
    return words[0] if words else ""


ASKED = {
    "token": lambda context, label: context[-1],
    "word": lambda context, label: context[-1].strip().lower(),
    "before": lambda context, label: context[-2] if len(context) > 1 else "",
    "two before": lambda context, label: context[-3] if len(context) > 2 else "",
    "line": lambda context, label: first_word(context),
    "kind": lambda context, label: label.partition(":")[0],
    "label": lambda context, label: label,
}
"""What a rule may ask of a token, by name."""
SENTENCES = {
    "token": "{}",
    "word": "{} in any form",
    "before": "after {}",
    "two before": "two tokens after {}",
    "line": "in a line that begins with {}",
    "kind": "in {}",
    "label": "in {}",
}

Parts = dict[str, Int[Tensor, "named"]]
FoundRule = dict[str, list[str]]
"""For each thing that a rule asks for, the values with which the latent fires. All of them must hold."""


@dataclass(frozen=True)
class StudiedText:
    """What can be asked of every token of a text, as numbers of words."""

    values: dict[str, Int[Tensor, "n"]]
    """For each name in `ASKED`, the number of its value at every token."""
    names: list[str]
    """The word that each number stands for."""


def study(words: list[list[str]], labels: list[list[str]]) -> StudiedText:
    """Note what can be asked of every token."""
    numbers: dict[str, int] = {}
    noted: dict[str, list[int]] = {name: [] for name in ASKED}
    for line, line_labels in zip(words, labels, strict=True):
        for place, label in enumerate(line_labels):
            context = line[: place + 1]
            for name, ask in ASKED.items():
                noted[name].append(numbers.setdefault(ask(context, label), len(numbers)))
    return StudiedText({name: torch.tensor(values) for name, values in noted.items()}, list(numbers))


def best_values(
    value: Int[Tensor, "n"], fires: Bool[Tensor, "n"], among: Bool[Tensor, "n"], n_values: int
) -> tuple[Int[Tensor, "named"], float]:
    """Return the values, `N_NAMED` at most, that best tell where a latent fires, and the F1 of saying so.

    F1 = 2 hits / (fires + claims). The best set for a given F1 holds the values with 2 hits > F1 * claims; from there
    F1 rises until it stays (Dinkelbach 1967), which is at the largest that any set has.

    Args:
        value: the value at each token.
        fires: where the latent fires.
        among: where all other parts of the rule hold.
        n_values: how many values there are.
    """
    hits = torch.bincount(value[among & fires], minlength=n_values)
    claims = torch.bincount(value[among], minlength=n_values)
    n_fires, f1, named = int(fires.sum()), 0.0, torch.zeros(0, dtype=torch.long)
    while True:
        gain, order = (2 * hits - f1 * claims).topk(min(N_NAMED, n_values))
        chosen = order[gain > 0]
        better = 2 * int(hits[chosen].sum()) / max(1, n_fires + int(claims[chosen].sum()))
        if better <= f1:
            return named, f1
        named, f1 = chosen, better


def find_rule(text: StudiedText, fires: Bool[Tensor, "n"]) -> Parts:
    """Find a rule for where a latent fires: the best part, then whatever raises F1 by `WORTH`, then all parts again."""
    n_values = len(text.names)
    parts: Parts = {}
    f1 = 0.0

    def among(names: Iterable[str]) -> Bool[Tensor, "n"]:
        holds = torch.ones_like(fires)
        for name in names:
            holds &= torch.isin(text.values[name], parts[name])
        return holds

    while len(parts) < N_PARTS:
        holds = among(parts)
        found = {
            name: best_values(value, fires, holds, n_values)
            for name, value in text.values.items()
            if name not in parts
        }
        best = max(found, key=lambda name: found[name][1])
        if found[best][1] < f1 + WORTH:
            break
        parts[best], f1 = found[best]
    for name in [*parts, *parts]:
        parts[name], _ = best_values(
            text.values[name], fires, among(other for other in parts if other != name), n_values
        )
    return parts


def holds(rule: FoundRule, context: list[str], label: str) -> bool:
    """Tell whether a rule says that the latent fires on the last token of a context."""
    return bool(rule) and all(ASKED[name](context, label) in words for name, words in rule.items())


def sentence(rule: FoundRule) -> str:
    """Return a rule in words, such as "` to` or ` for`, in Austen"."""
    parts = []
    for name in (name for name in SENTENCES if name in rule):
        words = [word if name in ("kind", "label") else f"`{word}`" for word in rule[name]]
        parts.append(SENTENCES[name].format(" or ".join(words)))
    text = ", ".join(parts) or "never"
    return text.encode("unicode_escape").decode()


def as_rule(parts: FoundRule) -> Rule:
    """Return what was found as a rule of exercise 5.7, with its sentence as docstring."""
    rule = partial(holds, parts)
    rule.__doc__ = f"Fire on {sentence(parts)}."
    return rule


def search_rules(latents: list[int], found_on: LatentsOnText) -> Iterator[tuple[int, FoundRule]]:
    """Find a rule for each latent on a text."""
    studied = study(found_on.words, found_on.labels)
    for latent in latents:
        acts = found_on.acts_of(latent)
        parts = find_rule(studied, (acts > THRESHOLD * acts.max()).flatten())
        yield (
            latent,
            {name: [studied.names[number] for number in named.tolist()] for name, named in parts.items()},
        )


def as_python(rules: dict[int, FoundRule]) -> str:
    """Return rules as the text of a Python file that `course evaluate --rules` scores."""
    parts = [
        '"""Rules for random latents of encoder-A, as `python -m pretraining.rule_search` found them."""\n\n'
        "from pretraining.rule_search import holds\n"
    ]
    for latent, rule in sorted(rules.items()):
        said = textwrap.shorten(sentence(rule), 110, placeholder=" …").replace("\\", "\\\\").replace('"', "'")
        parts.append(
            f"\n\ndef latent_{latent}(context: list[str], label: str) -> bool:\n"
            f'    """Fire on {said}."""\n    return holds({rule!r}, context, label)\n'
        )
    return "".join(parts)


def main(
    model: Annotated[str, typer.Option(help="The language model: bundled or smollm2.")] = "bundled",
    autoencoder: Annotated[
        str | None,
        typer.Option(help="The autoencoder, as for `course dashboard`; the model's own if not given."),
    ] = None,
    latents: Annotated[int, typer.Option(min=1, help="How many latents to draw each time.")] = 40,
    seed: Annotated[int, typer.Option(min=0, help="Decides which latents are drawn.")] = 0,
    rows: Annotated[int, typer.Option(min=1, help="Rows of text to search in.")] = 800,
    only: Annotated[
        list[int] | None, typer.Option(help="This latent in place of random ones; may be repeated.")
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option(
            help="Score the rules of this Python file, functions latent_NUMBER(context, label); no search."
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write the rules to this Python file.")] = None,
) -> None:
    """Find rules for random latents that copy no neuron, as `course evaluate` draws them.

    Drawn twice: from all that fire on 30 held-out tokens, and from those that fire on one in a thousand. With SmolLM2
    the text is what it wrote itself, the first rows to search in and all others to score on.
    """
    written = load_rules(rules) if rules is not None else {}
    name = autoencoder or model
    dtype = torch.float32 if model == "bundled" else fastest_dtype("cpu")
    subject = ModelWithAutoencoder(
        load_language_model(model, dtype=dtype), load_autoencoder(name), hook=PLACES[name]
    )
    if subject.model.cfg.n_layers == 1:
        found_on, held_out = load_tokens("train"), first_rows(load_tokens("held_out"), HELD_OUT_ROWS)
    else:
        found_on = load_written_text(subject.model)
        held_out = TokenizedText(found_on.tokens[rows:], found_on.labels[rows:], found_on.label_names)
    place = Place(subject)
    found_in, scored_in = latents_on(place, first_rows(found_on, rows)), latents_on(place, held_out)
    fired = torch.bincount(scored_in.latents, minlength=subject.n_latents)
    own = torch.ones(subject.n_latents, dtype=torch.bool)
    if not subject.on_residual:
        own = ~neuron_copies(subject.autoencoder)[subject.instance]
    n_tokens = held_out.tokens.numel()
    kinds = {
        f"{MIN_FIRED} held-out tokens": own & (fired >= MIN_FIRED),
        "one token in a thousand": own & (fired >= n_tokens / 1000),
    }
    drawn = {
        kind: random_latents(eligible, latents, seed).tolist() for kind, eligible in kinds.items() if not only
    }
    wanted = only or sorted({latent for some in drawn.values() for latent in some})
    found: dict[int, FoundRule] = {}

    def searched() -> Iterator[tuple[int, Rule]]:
        for latent, parts in search_rules(wanted, found_in):
            found[latent] = parts
            yield latent, as_rule(parts)

    said: dict[int, Rule] = {}
    scores: dict[int, RuleScore] = {}
    for latent, rule in sorted(written.items()) if written else searched():
        feature = Feature(latent, subject.instance, found_in.activated(latent), scored_in.activated(latent))
        said[latent] = rule
        score, detection = scores[latent] = score_rule(rule, feature)
        typer.echo(
            f"{latent:5d}  F1 {score.f1:.2f}  precision {score.precision:.2f}  recall {score.recall:.2f}  "
            f"always yes {score.baseline_f1:.2f}  detection {detection:.2f}  {name_of(rule)}"
        )
    for kind, some in drawn.items():
        if said.keys() >= set(some):
            typer.echo(
                f"Random latents of the {int(kinds[kind].sum())} that fire on {kind}, on {n_tokens:,} held-out "
                f"tokens: {summary(said, {latent: scores[latent] for latent in some})}"
            )
    if output is not None:
        write_atomically(output, as_python(found))


if __name__ == "__main__":
    typer.run(main)
