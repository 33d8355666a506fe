"""Exercises 5.7 and 5.8: a rule for when a latent fires, and how well it predicts on text it was not made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from part_utils.autoencoder import AutoEncoder
from part_utils.interpretation import feature_activations
from part_utils.language_models import TokenizedText, load_tokens

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

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


def words_of(text: TokenizedText, tokenizer: object) -> tuple[list[list[str]], list[list[str]]]:
    """The tokens of every row as text, and the label of each."""
    decoded: list[str] = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])  # type: ignore[attr-defined, arg-type]
    words = [[decoded[token] for token in row] for row in text.tokens.tolist()]
    labels = [[text.label_names[label] for label in row] for row in text.labels.tolist()]
    return words, labels


def first_rows(text: TokenizedText, rows: int) -> TokenizedText:
    """The first rows of a text."""
    return TokenizedText(text.tokens[:rows], text.labels[:rows], text.label_names)


def record_feature(
    feature_idx: int,
    model: TransformerBridge,
    autoencoder: AutoEncoder,
    instance: int = 0,
    rows: int = 400,
    found_on: TokenizedText | None = None,
    held_out: TokenizedText | None = None,
) -> Feature:
    """Note a latent's activations on a text to study and on a held-out one.

    Args:
        feature_idx: the latent.
        model: the language model, with its tokenizer.
        autoencoder: the autoencoder.
        instance: of which instance.
        rows: how many rows of either text.
        found_on: the text to study; the bundled training text when left out.
        held_out: the text to be tested on; the bundled held-out text when left out.
    """
    texts = []
    for text, split in ((found_on, "train"), (held_out, "held_out")):
        text = first_rows(text or load_tokens(split), rows)
        acts = feature_activations(text.tokens, model, autoencoder, feature_idx, instance)
        texts.append(ActivatedText(*words_of(text, model.tokenizer), acts))
    return Feature(feature_idx, instance, *texts)


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


DETECTIVE_LATENTS = (564, 2202, 1801, 2283, 652)
"""The latents of encoder-A that the cases 1 to 5 of the detective are about."""


class FeatureDetective:
    """Five latents of encoder-A, and a rule for each."""

    def case_1(self, context: list[str], label: str) -> bool:
        """Does the latent of case 1 fire on the last word of the context?"""
        raise NotImplementedError
