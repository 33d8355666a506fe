"""Rules for when a latent fires: how they are scored, and that the detective's reference rules hold."""

import pytest
import torch

from coursekit.exercises.chapter_05.e08_feature_detective import CASES, NEEDED_F1, evidence_of_cases
from part_utils.hypotheses import (
    DETECTIVE_LATENTS,
    ActivatedText,
    Feature,
    FeatureDetective,
    latents_for_rules,
    line_so_far,
    record_feature,
    score_hypothesis,
)
from part_utils.interpretation import feature_activations
from part_utils.language_models import load_autoencoder, load_language_model, load_latent_names
from part_utils.model_with_autoencoder import ModelWithAutoencoder
from part_utils.texts import first_rows, load_tokens, words_of
from part_utils.variants import JumpReLUAutoEncoder


@pytest.fixture
def feature() -> Feature:
    """Fires on "b", strongly where a "c" comes before."""
    found_on = ActivatedText([["a", "b"]], [["x", "x"]], torch.tensor([[0.0, 4.0]]))
    held_out = ActivatedText(
        [["c", "b", "a", "b"], ["b", "a", "c", "b"]],
        [["x", "x", "x", "x"], ["y", "y", "y", "y"]],
        torch.tensor([[0.0, 2.0, 0.0, 0.9], [0.5, 0.0, 0.0, 3.0]]),
    )
    return Feature(7, 0, found_on, held_out)


def test_score_is_counted_on_held_out_text(feature: Feature) -> None:
    score = score_hypothesis(lambda context, label: context[-1] == "b", feature)
    assert score == pytest.approx((2 / 4, 1.0, 2 / 3, 2 * 2 / (8 + 2)))
    assert score_hypothesis(lambda context, label: context[-1] == "b", feature, 0.2).precision == 3 / 4
    assert score_hypothesis(lambda context, label: context[-2:] == ["c", "b"], feature).f1 == 1
    assert (
        score_hypothesis(lambda context, label: label == "y" and context[-1] == "b", feature).recall == 1 / 2
    )


def test_zero_denominators_are_zero(feature: Feature) -> None:
    assert score_hypothesis(lambda context, label: False, feature)[:3] == (0, 0, 0)
    silent = Feature(7, 0, feature.found_on, ActivatedText([["a"]], [["x"]], torch.zeros(1, 1)))
    assert score_hypothesis(lambda context, label: True, silent) == (0, 0, 0, 0)


def test_line_so_far() -> None:
    assert line_so_far(["a", " b"]) == "a b"
    assert line_so_far(["a\n", "b\n ", " c"]) == "  c"
    assert line_so_far(["a", "\n"]) == ""


def test_record_feature() -> None:
    model = load_language_model()
    encoder_b = ModelWithAutoencoder(model, load_autoencoder(), instance=1)
    feature = record_feature(3, encoder_b, rows=3)
    assert (feature.feature_idx, feature.instance) == (3, 1)
    for recorded, split in ((feature.found_on, "train"), (feature.held_out, "held_out")):
        text = first_rows(load_tokens(split), 3)
        assert torch.equal(recorded.acts, feature_activations(text.tokens, encoder_b, 3))
        assert (recorded.words, recorded.labels) == words_of(text, model.tokenizer)
        assert "".join(recorded.words[1]) == model.tokenizer.decode(text.tokens[1].tolist())
        assert recorded.labels[2][0] == text.label_names[int(text.labels[2, 0])]


def test_a_planted_latent_is_found_by_its_rule() -> None:
    """A few latents of encoder-A: for the rule that is the latent itself, the search finds just this one."""
    model, both = load_language_model(), load_autoencoder()
    cfg = both.cfg.__class__(2, both.cfg.n_input_ae, 5)
    few = JumpReLUAutoEncoder(cfg)
    chosen = [DETECTIVE_LATENTS[0], 1, 2, 3, 4]
    with torch.no_grad():
        few.W_enc.copy_(both.W_enc[:, :, chosen])
        few.b_enc.copy_(both.b_enc[:, chosen])
        few.b_dec.copy_(both.b_dec)
        few.threshold.copy_(both.threshold[:, chosen])
    detective = FeatureDetective()
    subject = ModelWithAutoencoder(model, few)
    found = latents_for_rules([detective.case_1, lambda context, label: False], subject, rows=200)
    assert found[0][0] == 0
    assert found[0][1] > 0.5
    assert found[1][1] == 0


@pytest.mark.parametrize("case", CASES)
def test_reference_rules_hold_on_text_that_nobody_has_seen(case: str) -> None:
    """The text that exercise 5.8 is checked on; the bar is higher than a learner's."""
    evidence, number = evidence_of_cases(), CASES.index(case)
    rule = getattr(FeatureDetective(), case)
    rows = range(len(evidence.tokens))
    text = ActivatedText(
        [[evidence.words[token] for token in evidence.tokens[row].tolist()] for row in rows],
        [[evidence.label_names[label] for label in evidence.labels[row].tolist()] for row in rows],
        evidence.fires[number].float(),
    )
    # The activations are 0 and 1 here: the threshold was applied before.
    score = score_hypothesis(rule, Feature(DETECTIVE_LATENTS[number], 0, text, text))
    assert score.f1 >= NEEDED_F1 + 0.1, score
    assert score.baseline_f1 < 0.05


def test_each_case_is_about_another_latent() -> None:
    assert len(set(DETECTIVE_LATENTS)) == len(CASES)


def test_no_name_gives_away_a_latent_of_the_detective():
    assert not set(DETECTIVE_LATENTS) & set(load_latent_names())
