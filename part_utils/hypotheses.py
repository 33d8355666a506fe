"""Exercises 5.7 and 5.8: a rule for when a latent fires, and how well it predicts on text it was not made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from part_utils.interpretation import feature_activations
from part_utils.model_with_autoencoder import ModelWithAutoencoder, also_in_parts
from part_utils.texts import TokenizedText, first_rows, load_tokens, words_of

Rule = Callable[[list[str], str], bool]
"""`rule(context, label)`: does the latent fire on the last word of `context`?

`context` holds the tokens of the row, as text, up to and with the current one; `label` says where the text comes
from, for instance `"django: db"`.
"""


@dataclass(frozen=True)
class ActivatedText:
    """Rows of text, with the activation of one latent on every token."""

    words: list[list[str]]
    """The tokens of every row, as text."""
    labels: list[list[str]]
    """Where each token comes from."""
    acts: Float[Tensor, "batch seq"]
    """The latent's activation on every token."""


@dataclass(frozen=True)
class Feature:
    """A latent, with its activations on a text to study and on another to be tested on."""

    feature_idx: int
    instance: int
    found_on: ActivatedText
    """Look at this as much as you like while you make up a rule."""
    held_out: ActivatedText
    """Nothing was trained on this, and no rule was made from it."""


@also_in_parts
def record_feature(
    feature_idx: int,
    subject: ModelWithAutoencoder,
    rows: int = 400,
    found_on: TokenizedText | None = None,
    held_out: TokenizedText | None = None,
) -> Feature:
    """Note a latent's activations on a text to study and on a held-out one.

    Args:
        feature_idx: the latent.
        subject: the language model, with its tokenizer and its autoencoder.
        rows: how many rows of either text.
        found_on: the text to study; the bundled training text, in the model's tokens, when left out.
        held_out: the text to be tested on; the bundled held-out text, in the model's tokens, when left out.
    """
    texts = []
    for text, split in ((found_on, "train"), (held_out, "held_out")):
        text = first_rows(text or load_tokens(split, subject.model), rows)
        acts = feature_activations(text.tokens, subject, feature_idx)
        texts.append(ActivatedText(*words_of(text, subject.model.tokenizer), acts))
    return Feature(feature_idx, subject.instance, *texts)


class HypothesisScore(NamedTuple):
    """What `score_hypothesis` returns."""

    precision: float
    """Of the tokens on which the rule says "fires": the share on which the latent does."""
    recall: float
    """Of the tokens on which the latent fires: the share that the rule finds."""
    f1: float
    """The harmonic mean of the two."""
    baseline_f1: float
    """The F1 of the rule "it always fires"."""


def score_hypothesis(
    predicate: Callable[[list[str], str], bool], feature: Feature, threshold: float = 0.25
) -> HypothesisScore:
    """Score a rule for when a latent fires, on text that the rule was not made from.

    A token counts as one on which the latent fires if its activation is larger than `threshold` times the
    largest activation on the text that the rule was found on.

    Args:
        predicate: the rule. `predicate(context, label)` gets the words of a row up to and with the current one, and
            the current word's label, and says whether the latent fires on the current word.
        feature: the latent, with `feature.found_on` and `feature.held_out` (`words`, `labels`, `acts`).
        threshold: a share of the largest activation.

    Returns:
        `HypothesisScore(precision, recall, f1, baseline_f1)` on the held-out text. A ratio whose denominator is
        zero is 0.
    """
    held_out = feature.held_out
    fires = held_out.acts > threshold * feature.found_on.acts.max()
    predicted = torch.tensor(
        [
            [bool(predicate(words[: i + 1], label)) for i, label in enumerate(labels)]
            for words, labels in zip(held_out.words, held_out.labels, strict=True)
        ]
    )
    hits, claimed, true = (int(mask.sum()) for mask in (fires & predicted, predicted, fires))
    return HypothesisScore(
        precision=hits / max(claimed, 1),
        recall=hits / max(true, 1),
        f1=2 * hits / max(claimed + true, 1),
        baseline_f1=2 * true / max(fires.numel() + true, 1),
    )


DETECTIVE_LATENTS = (600, 803, 1370, 1447, 471)
"""The latents of encoder-A that the cases 1 to 5 of the detective are about.

`python -m pretraining.detective` finds them: for each reference rule the latent that it predicts best.
"""


class FeatureDetective:
    """A rule for each of the five latents of encoder-A in `DETECTIVE_LATENTS`.

    A rule gets the tokens of a row, as text, up to and with the current one, and the label of the text, such as
    `"Wikipedia: History"`. It returns True where it says that the latent fires on the current token, `context[-1]`.
    """

    def case_1(self, context: list[str], label: str) -> bool:
        """Does the first latent fire on the last token of the context?"""
        # The keyword that begins a line, not `class` in the text of a docstring.
        return line_so_far(context) == "class"

    def case_2(self, context: list[str], label: str) -> bool:
        """Does the second latent fire on the last token of the context?"""
        # An `else` with a line of its own, unlike that of `a if b else c`.
        return context[-1] == " else" and line_so_far(context).strip() == "else"

    def case_3(self, context: list[str], label: str) -> bool:
        """Does the third latent fire on the last token of the context?"""
        # `None` after `is` or `is not`.
        return context[-1] == " None" and context[-2:-1] in ([" is"], [" not"])

    def case_4(self, context: list[str], label: str) -> bool:
        """Does the fourth latent fire on the last token of the context?"""
        # The word "to" in a novel.
        return context[-1] == " to" and label.startswith("Austen")

    def case_5(self, context: list[str], label: str) -> bool:
        """Does the fifth latent fire on the last token of the context?"""
        # A number in an article, most often a year.
        return context[-1].strip().isdigit() and label.startswith("Wikipedia")


def line_so_far(context: list[str]) -> str:
    """Return the text of a context since its last line break."""
    return "".join(context).rpartition("\n")[2]


@also_in_parts
@torch.no_grad()
def latents_for_rules(
    rules: list[Rule],
    subject: ModelWithAutoencoder,
    rows: int = 400,
    threshold: float = 0.25,
) -> list[tuple[int, float]]:
    """For each rule the latent that it predicts best, and its F1, on the first rows of the bundled training text.

    Tries all latents at once, with the threshold of `score_hypothesis`. Reads the text twice: for the largest
    activation of every latent, then to count.
    """
    text = first_rows(load_tokens("train", subject.model), rows)
    words, labels = words_of(text, subject.model.tokenizer)
    said = torch.tensor(
        [
            [
                [bool(rule(line[: place + 1], label)) for place, label in enumerate(line_labels)]
                for line, line_labels in zip(words, labels, strict=True)
            ]
            for rule in rules
        ]
    ).float()
    everyone = list(range(subject.n_latents))

    def chunks() -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, rows, 32):
            tokens = text.tokens[start : start + 32]
            acts = feature_activations(tokens, subject, everyone)
            yield acts.flatten(0, 1), said[:, start : start + 32].flatten(1, 2)

    largest = torch.stack([acts.amax(dim=0) for acts, _ in chunks()]).amax(dim=0)
    hits = torch.zeros(len(rules), len(everyone))
    fires = torch.zeros(len(everyone))
    for acts, part in chunks():
        firing = (acts > threshold * largest).float()
        hits += part @ firing
        fires += firing.sum(dim=0)
    best = (2 * hits / (said.sum(dim=(1, 2))[:, None] + fires).clamp_min(1)).max(dim=1)
    return list(zip(best.indices.tolist(), best.values.tolist(), strict=True))
