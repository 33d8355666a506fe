"""What latents are said to do, as rules in a file, and how well each rule predicts its latent on held-out text."""

import re
import runpy
from pathlib import Path

from part_utils.hypotheses import HypothesisScore, Rule, record_feature, score_hypothesis
from part_utils.model_with_autoencoder import ModelWithAutoencoder
from part_utils.texts import TokenizedText


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
    rules: dict[int, Rule],
    subject: ModelWithAutoencoder,
    rows: int = 400,
    found_on: TokenizedText | None = None,
    held_out: TokenizedText | None = None,
) -> dict[int, HypothesisScore]:
    """Score every rule with `score_hypothesis`, on held-out text at a quarter of the latent's largest activation.

    Raises:
        ValueError: a rule is for a latent that the autoencoder does not have.
    """
    largest = subject.n_latents - 1
    if unknown := [latent for latent in rules if latent > largest]:
        raise ValueError(f"There is no latent {unknown[0]}: the numbers go from 0 to {largest}.")
    return {
        latent: score_hypothesis(rule, record_feature(latent, subject, rows, found_on, held_out))
        for latent, rule in sorted(rules.items())
    }
