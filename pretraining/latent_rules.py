"""What latents are said to do, as rules in a file, and how well each rule predicts its latent on held-out text."""

import re
import runpy
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rich.markup import escape
from rich.table import Table

from part_utils.detection import contexts_of, detection_score
from part_utils.hypotheses import ActivatedText, Feature, HypothesisScore, Rule, score_hypothesis
from part_utils.interpretation import feature_activations
from part_utils.model_with_autoencoder import ModelWithAutoencoder
from part_utils.texts import TokenizedText, first_rows, load_tokens, words_of

NAMED = {"F1": 0.5, "detection": 0.75}
"""A latent counts as named from these scores on."""
THRESHOLD = 0.25
"""A latent counts as firing above this share of its largest activation, as in `score_hypothesis`."""
KINDS = ("several words", "one word", "form", "no name")
"""What a rule can be about: a concept with several words; one word, in any form; the form of a text or of code."""


class RuleScore(NamedTuple):
    """How well a rule predicts its latent on held-out text."""

    score: HypothesisScore
    detection: float
    """Balanced accuracy on contexts in which the latent fires and others (`detection_score`)."""

    @property
    def named(self) -> bool:
        """Whether one of the scores is good enough."""
        return self.score.f1 >= NAMED["F1"] or self.detection >= NAMED["detection"]


def score_rule(rule: Rule, feature: Feature) -> RuleScore:
    """Score a rule with `score_hypothesis`, and with `detection_score` on 40 contexts of each kind."""
    return RuleScore(
        score_hypothesis(rule, feature, THRESHOLD), detection_score(rule, *contexts_of(feature.held_out))
    )


def name_of(rule: Rule) -> str:
    """Return what a rule's latent is said to be: the first line of its docstring."""
    return (rule.__doc__ or "").strip().partition("\n")[0]


def kind_of(rule: Rule) -> str:
    """Return the last line of a rule's docstring, if it is one of `KINDS`, and nothing otherwise."""
    kind = (rule.__doc__ or "").strip().splitlines()[-1:]
    said = kind[0].strip(" .").lower() if kind else ""
    return said if said in KINDS else ""


def load_rules(path: Path) -> dict[int, Rule]:
    """Return the rules of a Python file: its functions `latent_NUMBER(context, label)`, by their numbers.

    The file is run, so it must be one's own. The first line of a function's docstring names the latent.

    Raises:
        ValueError: the file is not there, cannot be run, or holds no such function.
    """
    if not path.is_file():
        raise ValueError(f"{path} is not a file: write the rules into a Python file, and name it.")
    try:
        names = runpy.run_path(str(path))
    except Exception as error:
        raise ValueError(
            f"{path} cannot be run: {type(error).__name__}: {error}. Mend it, then try again."
        ) from error
    rules = {
        int(found[1]): value
        for name, value in names.items()
        if (found := re.fullmatch(r"latent_(\d+)", name)) and callable(value)
    }
    if not rules:
        raise ValueError(f"{path} holds no rule: write functions such as latent_12(context, label).")
    return rules


def score_rules(
    rules: Mapping[int, Rule],
    subject: ModelWithAutoencoder,
    rows: int = 400,
    found_on: TokenizedText | None = None,
    held_out: TokenizedText | None = None,
) -> dict[int, RuleScore]:
    """Score every rule on held-out text, at a quarter of the latent's largest activation on the text to study.

    Args:
        rules: a rule for each latent.
        subject: the language model, with its tokenizer and its autoencoder.
        rows: how many rows of either text.
        found_on: the text to study; the bundled training text when left out.
        held_out: the text to score on; the bundled held-out text when left out.

    Raises:
        ValueError: a rule is for a latent that the autoencoder does not have.
    """
    largest = subject.n_latents - 1
    if unknown := [latent for latent in rules if latent > largest]:
        raise ValueError(f"There is no latent {unknown[0]}: the numbers go from 0 to {largest}.")
    latents = sorted(rules)
    texts = []
    for text, split in ((found_on, "train"), (held_out, "held_out")):
        text = first_rows(text or load_tokens(split, subject.model), rows)
        words, labels = words_of(text, subject.model.tokenizer)
        acts = feature_activations(text.tokens, subject, latents)
        texts.append([ActivatedText(words, labels, one) for one in acts.unbind(dim=-1)])
    return {
        latent: score_rule(rules[latent], Feature(latent, subject.instance, *pair))
        for latent, *pair in zip(latents, *texts, strict=True)
    }


def scores_table(rules: Mapping[int, Rule], scores: Mapping[int, RuleScore]) -> Table:
    """Return a row for each rule, with its scores beside what a rule that always says yes has."""
    table = Table("latent", "said to be", "about", "precision", "recall", "F1", "always yes", "detection")
    for latent, (score, detection) in scores.items():
        rule = rules[latent]
        numbers = (score.precision, score.recall, score.f1, score.baseline_f1, detection)
        table.add_row(
            str(latent), escape(name_of(rule)), kind_of(rule), *(f"{value:.2f}" for value in numbers)
        )
    return table


def summary(rules: Mapping[int, Rule], scores: Mapping[int, RuleScore]) -> str:
    """Say in a sentence or two how many latents are named, and what the names are about."""
    good = sum(one.score.f1 >= NAMED["F1"] for one in scores.values())
    named = [latent for latent, one in scores.items() if one.named]
    text = (
        f"{good} of {len(scores)} have an F1 of {NAMED['F1']} or more, {len(named)} that or a detection score of "
        f"{NAMED['detection']} or more."
    )
    kinds = Counter(kind_of(rules[latent]) for latent in named)
    if kinds.keys() - {""}:
        about = ", ".join(f"{kinds[kind]} {kind}" for kind in KINDS[:-1])
        text += f" What these {len(named)} are about: {about}."
    return text
