"""The rules that were written by hand: one for each latent that is drawn, and as good as they were measured."""

from pathlib import Path

import pytest

from part_utils.hypotheses import HypothesisScore
from pretraining import rules
from pretraining.latent_rules import (
    KINDS,
    NAMED,
    RuleScore,
    kind_of,
    load_rules,
    name_of,
    score_rules,
    summary,
)

FOLDER = Path(rules.__file__).parent
FILES = {"encoder_a.py": 40, "smollm2_residual.py": 50}
LINES = (
    "def test_a(self):\n    return self.x",
    " It is the 19th century, such as no one said.",
    "<|endoftext|>",
)


@pytest.mark.parametrize("name", FILES)
def test_every_rule_has_a_name_and_a_kind_and_answers(name: str) -> None:
    written = load_rules(FOLDER / name)
    assert len(written) == FILES[name]
    for latent, rule in written.items():
        assert name_of(rule).endswith((".", "'.")), latent
        assert kind_of(rule) in KINDS, latent
        assert (kind_of(rule) == "no name") == name_of(rule).startswith("No name was found"), latent
        for line in LINES:
            tokens = [line[start : start + 3] for start in range(0, len(line), 3)]
            for label in ("Python: modules", "Wikipedia: History", "SmolLM2"):
                said = {bool(rule(tokens[: place + 1], label)) for place in range(len(tokens))}
                assert said <= {False} or kind_of(rule) != "no name", latent


def test_the_summary_counts_what_is_named_and_what_it_is_about() -> None:
    def word(context: list[str], label: str) -> bool:
        """Fire on the word to.

        One word.
        """
        return context[-1] == " to"

    def nothing(context: list[str], label: str) -> bool:
        """No name was found: nothing to see.

        No name.
        """
        return False

    good, poor = HypothesisScore(0.5, 0.5, NAMED["F1"], 0.1), HypothesisScore(0.1, 0.1, 0.1, 0.1)
    scores = {1: RuleScore(good, 0.5), 2: RuleScore(poor, NAMED["detection"]), 3: RuleScore(poor, 0.5)}
    assert [one.named for one in scores.values()] == [True, True, False]
    said = summary({1: word, 2: word, 3: nothing}, scores)
    assert said.startswith("1 of 3 have an F1 of 0.5 or more, 2 that or")
    assert said.endswith("What these 2 are about: 0 several words, 2 one word, 0 form.")
    assert "about" not in summary(dict.fromkeys(scores, lambda context, label: True), scores)


@pytest.mark.slow
def test_encoder_a_is_named_as_well_as_was_measured() -> None:
    """24 of 40 latents, drawn with seed 0 from those that fire on 30 held-out tokens and copy no neuron."""
    from part_utils.baselines import neuron_copies
    from part_utils.language_models import load_autoencoder, load_language_model
    from part_utils.model_with_autoencoder import ModelWithAutoencoder
    from part_utils.readable import random_latents, times_fired
    from part_utils.texts import load_tokens

    encoder_a = ModelWithAutoencoder(load_language_model(), load_autoencoder())
    written = load_rules(FOLDER / "encoder_a.py")
    fired = times_fired(load_tokens("held_out").tokens[:400], encoder_a)
    eligible = (fired >= 30) & ~neuron_copies(encoder_a.autoencoder)[0]
    assert random_latents(eligible, 40).tolist() == sorted(written)
    scores = score_rules(written, encoder_a)
    assert sum(one.score.f1 >= NAMED["F1"] for one in scores.values()) >= 24
