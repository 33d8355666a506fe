"""What the text of chapter 5 claims, on the bundled model. Latents are looked up by what they do."""

from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from part_utils import interpretation
from part_utils.activations import flatten_activations, get_activations
from part_utils.autoencoder import AutoEncoder
from part_utils.hypotheses import DETECTIVE_LATENTS, latents_for_rules, record_feature, score_hypothesis
from part_utils.interpretation import quantile_groups
from part_utils.language_models import load_autoencoder, load_language_model
from part_utils.model_with_autoencoder import ModelWithAutoencoder
from part_utils.steering import continue_text
from part_utils.texts import TokenizedText, first_rows, load_tokens
from part_utils.token_text import token_strings

pytestmark = pytest.mark.slow


def word_is(word):
    return lambda context, label: context[-1] == word


def label_is(start):
    return lambda context, label: label.startswith(start)


class Setting(NamedTuple):
    model: object
    autoencoder: AutoEncoder
    encoder_a: ModelWithAutoencoder
    text: TokenizedText
    words: list[str]
    raise_latent: int
    geography_latent: int
    novel_latent: int
    f1: list[float]
    raise_acts: Tensor


@pytest.fixture(scope="module")
def setting() -> Setting:
    model, autoencoder = load_language_model(), load_autoencoder()
    text = first_rows(load_tokens("train"), 400)
    rules = [word_is(" raise"), label_is("Wikipedia: Geography"), label_is("Austen")]
    encoder_a = ModelWithAutoencoder(model, autoencoder)
    latents, f1 = zip(*latents_for_rules(rules, encoder_a), strict=True)
    acts = interpretation.feature_activations(text.tokens, encoder_a, latents[0])
    words = token_strings(range(model.cfg.d_vocab), model.tokenizer)
    return Setting(model, autoencoder, encoder_a, text, words, *latents, list(f1), acts)


def test_the_running_example_exists_and_is_not_a_case_of_the_detective(setting):
    assert setting.f1[0] > 0.7
    assert setting.raise_latent not in DETECTIVE_LATENTS
    assert len({setting.raise_latent, setting.geography_latent, setting.novel_latent}) == 3


def test_the_top_is_clearer_than_the_rest(setting):
    is_raise = setting.text.tokens == setting.words.index(" raise")
    top = interpretation.highest_activating_tokens(
        setting.text.tokens, setting.model, setting.autoencoder, setting.raise_latent
    )
    assert is_raise[top.indices[:, 0], top.indices[:, 1]].float().mean() >= 0.9
    groups = quantile_groups(setting.raise_acts)
    shares = [is_raise[group.indices[:, 0], group.indices[:, 1]].float().mean().item() for group in groups]
    assert shares[0] > 0.9
    assert shares[-1] < 0.5
    assert sorted(shares, reverse=True) == shares


def test_the_direct_effect_is_about_what_follows(setting):
    effect = interpretation.feature_logit_effect(setting.model, setting.autoencoder, setting.raise_latent)
    favored = [setting.words[token] for token in effect.top.tolist()]
    assert sum(word[:1] == " " and word[1:2].isupper() for word in favored) >= 5, favored


def test_layernorm_changes_the_size_of_the_direct_effect_and_little_of_its_shape(setting):
    model, autoencoder, latent = setting.model, setting.autoencoder, setting.raise_latent
    rows = setting.raise_acts.amax(dim=1).topk(8).indices
    tokens, acts = setting.text.tokens[rows], setting.raise_acts[rows]
    batch, seq = (acts > 0.25 * setting.raise_acts.max()).nonzero(as_tuple=True)
    change = interpretation.ablate_feature(tokens, model, autoencoder, latent)
    measured = -change[batch, seq] / acts[batch, seq, None]
    effect = interpretation.feature_logit_effect(model, autoencoder, latent).effect
    with torch.no_grad():
        _, cache = model.run_with_cache(tokens)
        d = autoencoder.normalize_and_return_W_dec()[0, latent] @ model.blocks[0].mlp.W_out
        d = d - d.mean()
        sigma = cache["ln_final.hook_scale"][batch, seq]
        x = cache["ln_final.hook_normalized"][batch, seq]
        along = (x @ d)[:, None] / len(d) * x
        full = ((d - along) / sigma * model.ln_final.w) @ model.W_U
        divided = (d / sigma) @ model.W_U

    def agreement(claim):
        a, b = (t - t.mean(dim=1, keepdim=True) for t in (claim, measured))
        size = (a * b).sum(dim=1) / (a * a).sum(dim=1)
        return F.cosine_similarity(a, b, dim=1).median().item(), size.median().item()

    raw, raw_size = agreement(effect.expand_as(measured))
    scaled, scaled_size = agreement(divided)
    linear, linear_size = agreement(full)
    assert raw > 0.7
    assert abs(scaled - raw) < 0.01  # σ changes no order
    assert abs(scaled_size - 1) < abs(raw_size - 1)
    assert linear > 0.95
    assert linear > raw
    assert abs(linear_size - 1) < 0.4


def test_latents_are_spread_over_many_neurons_but_for_a_few(setting):
    directions = setting.autoencoder.normalize_and_return_W_dec()[0].detach()
    shares = directions.pow(2)
    n_half = (shares.sort(dim=1, descending=True).values.cumsum(dim=1) < 0.5).sum(dim=1) + 1
    assert 10 <= n_half.float().median() <= 100
    single = (shares.amax(dim=1) > 0.5).float().mean()
    assert 0.02 < single < 0.4
    seven = interpretation.feature_in_neuron_basis(setting.autoencoder, 7)
    torch.testing.assert_close(seven.share, shares[7], atol=1e-5, rtol=1e-4)
    assert seven.n_half == n_half[7]


def test_encoder_and_decoder_are_similar_and_not_the_same(setting):
    autoencoder = setting.autoencoder
    similarity = F.cosine_similarity(
        autoencoder.W_enc[0].mT, autoencoder.normalize_and_return_W_dec()[0], dim=1
    )
    assert 0.3 < similarity.median() < 0.95


def test_a_few_latents_explain_most_of_a_token_and_an_error_remains(setting):
    batch, seq = divmod(int(setting.raise_acts.argmax()), setting.raise_acts.shape[1])
    h = get_activations(setting.text.tokens[batch : batch + 1], setting.model)[0, seq]
    apart = interpretation.decompose_activation(h, setting.autoencoder)
    torch.testing.assert_close(apart.contributions.sum(0) + apart.bias + apart.error, h, atol=1e-4, rtol=0)
    assert setting.raise_latent in apart.features[:8].tolist()
    rest = h - apart.bias
    assert (rest - apart.contributions[:10].sum(0)).norm() ** 2 < 0.5 * rest.norm() ** 2
    assert 0 < apart.error.norm() ** 2 < 0.25 * rest.norm() ** 2


def test_matches_between_a_and_b_are_far_beyond_chance_and_not_for_all(setting):
    h = flatten_activations(get_activations(setting.text.tokens[:64], setting.model))
    autoencoder = setting.autoencoder
    with torch.no_grad():
        acts_a, acts_b = autoencoder(h[:, None].expand(-1, 2, -1)).acts.unbind(dim=1)
    W_dec_a, W_dec_b = autoencoder.normalize_and_return_W_dec().detach()
    alive = (acts_a > 0).sum(dim=0) >= 10
    matches = interpretation.match_between_autoencoders(W_dec_a, W_dec_b, acts_a, acts_b)
    torch.manual_seed(0)
    neurons, tokens = torch.randperm(W_dec_b.shape[1]), torch.randperm(len(acts_b))
    some = slice(0, 512)
    chance = interpretation.match_between_autoencoders(
        W_dec_a[some], W_dec_b[:, neurons], acts_a[:, some], acts_b[tokens]
    )
    for real, random in (
        (matches.cosine, chance.cosine),
        (matches.correlation, chance.correlation),
    ):
        assert real[alive].median() > 1.5 * random[alive[some]].median()
        counterpart = (real[alive] > 0.7).float().mean()
        assert 0.2 < counterpart < 0.9
    assert matches.correlation[setting.raise_latent] > 0.8


def test_rules_beat_the_baseline_and_the_threshold_moves_recall(setting):
    feature = record_feature(setting.raise_latent, setting.encoder_a)
    scores = [score_hypothesis(word_is(" raise"), feature, threshold) for threshold in (0, 0.25)]
    assert scores[1].f1 > 0.7
    assert scores[0].recall < scores[1].recall
    assert scores[1].baseline_f1 < 0.05
    geography = record_feature(setting.geography_latent, setting.encoder_a)
    score = score_hypothesis(label_is("Wikipedia: Geography"), geography)
    assert 5 * score.baseline_f1 < score.f1 < 0.9


def test_steering_changes_the_text(setting):
    for latent, beginning in (
        (setting.raise_latent, "if value is None:\n       "),
        (setting.novel_latent, "It is the"),
    ):
        plain, steered = (
            continue_text(beginning, setting.encoder_a, latent, strength) for strength in (0.0, 3.0)
        )
        assert plain != steered
