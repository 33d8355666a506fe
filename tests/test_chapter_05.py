"""What the text of chapter 5 claims, on the bundled model. Latents are looked up by what they do."""

from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from part_utils import interpretation
from part_utils.activations import flatten_activations, get_activations
from part_utils.autoencoder import AutoEncoder
from part_utils.baselines import neuron_copies
from part_utils.hypotheses import DETECTIVE_LATENTS, latents_for_rules, record_feature, score_hypothesis
from part_utils.interpretation import quantile_groups
from part_utils.language_models import load_autoencoder, load_language_model
from part_utils.model_with_autoencoder import ModelWithAutoencoder
from part_utils.readable import common_followers
from part_utils.steering import continue_text, steered_next_token
from part_utils.texts import TokenizedText, first_rows, load_tokens
from part_utils.token_text import token_strings

pytestmark = pytest.mark.slow


def ends_a_sentence(context, label):
    return context[-1] == "." and label.startswith(("Wikipedia", "Austen"))


def line_break_in_a_novel(context, label):
    return context[-1].startswith("\n") and label.startswith("Austen")


def closes_a_bracket(context, label):
    return context[-1].strip().endswith((")", "]", "}"))


def word_is(word):
    return lambda context, label: context[-1] == word


def label_is(*starts):
    return lambda context, label: label.startswith(starts)


class Setting(NamedTuple):
    model: object
    autoencoder: AutoEncoder
    encoder_a: ModelWithAutoencoder
    text: TokenizedText
    words: list[str]
    stop_latent: int
    article_latent: int
    break_latent: int
    f1: list[float]
    stop_acts: Tensor


@pytest.fixture(scope="module")
def setting() -> Setting:
    model, autoencoder = load_language_model(), load_autoencoder()
    text = first_rows(load_tokens("train"), 400)
    rules = [ends_a_sentence, label_is("Wikipedia"), line_break_in_a_novel]
    encoder_a = ModelWithAutoencoder(model, autoencoder)
    latents, f1 = zip(*latents_for_rules(rules, encoder_a), strict=True)
    acts = interpretation.feature_activations(text.tokens, encoder_a, latents[0])
    words = token_strings(range(model.cfg.d_vocab), model.tokenizer)
    return Setting(model, autoencoder, encoder_a, text, words, *latents, list(f1), acts)


def test_the_running_examples_exist_and_are_no_case_of_the_detective(setting):
    assert setting.f1[0] > 0.85
    assert setting.f1[1] > 0.5
    assert setting.f1[2] > 0.7
    chosen = {setting.stop_latent, setting.article_latent, setting.break_latent}
    assert len(chosen) == 3
    assert not chosen & set(DETECTIVE_LATENTS)


def test_of_the_running_examples_only_the_article_latent_is_a_copy(setting):
    copies = neuron_copies(setting.autoencoder)[0]
    assert copies[setting.article_latent]
    assert not copies[[setting.stop_latent, setting.break_latent, *DETECTIVE_LATENTS]].any()


def test_the_bracket_latent_is_no_copy_and_favors_what_follows_brackets_of_several_forms(setting):
    ((latent, f1),) = latents_for_rules([closes_a_bracket], setting.encoder_a)
    assert f1 > 0.6
    assert setting.autoencoder.normalize_and_return_W_dec()[0, latent].pow(2).max() < 0.5

    held_out = first_rows(load_tokens("held_out"), 600)
    acts = interpretation.feature_activations(held_out.tokens, setting.encoder_a, latent)
    fires = acts > 0.25 * acts.max()
    counts = held_out.tokens[fires].bincount(minlength=len(setting.words))
    assert counts.max() / fires.sum() < 0.7
    assert all(setting.words[token].endswith((")", "]")) for token in counts.topk(5).indices.tolist())

    effect = interpretation.feature_logit_effect(setting.model, setting.autoencoder, latent, k=20)
    followers = common_followers(acts, held_out.tokens)
    assert len(set(followers.tolist()) & set(effect.top.tolist())) == 5
    rows = acts.amax(dim=1).topk(16).indices
    batch, seq = fires[rows].nonzero(as_tuple=True)
    change = interpretation.ablate_feature(held_out.tokens[rows], setting.model, setting.autoencoder, latent)
    measured = (-change[batch, seq] / acts[rows][batch, seq, None]).mean(dim=0)
    assert torch.stack([effect.effect, measured]).corrcoef()[0, 1] > 0.85


def test_the_article_latent_is_about_no_word(setting):
    acts = interpretation.feature_activations(setting.text.tokens, setting.encoder_a, setting.article_latent)
    on = torch.bincount(setting.text.tokens[acts > 0.25 * acts.max()])
    assert on.max() < 0.15 * on.sum()


def test_the_top_is_clearer_than_the_rest(setting):
    text = setting.text
    prose = text.has_label("Wikipedia") | text.has_label("Austen")
    ends = (text.tokens == setting.words.index(".")) & prose
    top = interpretation.highest_activating_tokens(
        text.tokens, setting.model, setting.autoencoder, setting.stop_latent
    )
    assert ends[top.indices[:, 0], top.indices[:, 1]].float().mean() >= 0.9
    groups = quantile_groups(setting.stop_acts)
    shares = [ends[group.indices[:, 0], group.indices[:, 1]].float().mean().item() for group in groups]
    assert shares[0] == 1
    assert shares[-1] < 0.35
    assert sorted(shares, reverse=True) == shares


def test_the_direct_effect_is_about_what_follows(setting):
    effect = interpretation.feature_logit_effect(
        setting.model, setting.autoencoder, setting.stop_latent, k=20
    )
    favored = [setting.words[token] for token in effect.top.tolist()]
    assert sum(word[:1] == " " and word[1:2].isupper() for word in favored) >= 8, favored
    held_out = first_rows(load_tokens("held_out"), 600)
    acts = interpretation.feature_activations(held_out.tokens, setting.encoder_a, setting.stop_latent)
    followers = common_followers(acts, held_out.tokens).tolist()
    assert len(set(followers) & set(effect.top.tolist())) >= 3
    places = effect.effect.argsort(descending=True).argsort()
    assert sum(places[token] < 30 for token in followers) >= 5
    assert setting.words[followers[0]] == "\n"
    assert places[followers[0]] > 50


def test_layernorm_changes_the_size_of_the_direct_effect_and_little_of_its_shape(setting):
    model, autoencoder, latent = setting.model, setting.autoencoder, setting.stop_latent
    rows = setting.stop_acts.amax(dim=1).topk(8).indices
    tokens, acts = setting.text.tokens[rows], setting.stop_acts[rows]
    batch, seq = (acts > 0.25 * setting.stop_acts.max()).nonzero(as_tuple=True)
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
    assert 0.7 < raw < 0.9
    assert raw_size > 2
    assert abs(scaled - raw) < 0.01  # σ changes no order
    assert abs(scaled_size - 1) < abs(raw_size - 1)
    assert linear > 0.95
    assert linear > raw
    assert abs(linear_size - 1) < 0.4


def test_latents_are_spread_over_many_neurons_but_for_a_few(setting):
    directions = setting.autoencoder.normalize_and_return_W_dec()[0].detach()
    shares = directions.pow(2)
    n_half = (shares.sort(dim=1, descending=True).values.cumsum(dim=1) < 0.5).sum(dim=1) + 1
    assert 3 <= n_half.float().median() <= 10
    single = (shares.amax(dim=1) > 0.5).float().mean()
    assert 0.05 < single < 0.12  # one in twelve
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
    batch, seq = divmod(int(setting.stop_acts.argmax()), setting.stop_acts.shape[1])
    h = get_activations(setting.text.tokens[batch : batch + 1], setting.model)[0, seq]
    apart = interpretation.decompose_activation(h, setting.autoencoder)
    torch.testing.assert_close(apart.contributions.sum(0) + apart.bias + apart.error, h, atol=1e-4, rtol=0)
    assert setting.stop_latent == apart.features[0]
    rest = h - apart.bias
    assert (rest - apart.contributions[:10].sum(0)).norm() ** 2 < 0.02 * rest.norm() ** 2
    assert 0 < apart.error.norm() ** 2 < 0.01 * rest.norm() ** 2


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
    own = alive & ~neuron_copies(autoencoder)[0]
    assert 0.4 < (matches.correlation[own] > 0.7).float().mean() < 0.65
    assert (matches.correlation[own] > 0.7).float().mean() < (matches.correlation[alive] > 0.7).float().mean()
    assert matches.correlation[setting.stop_latent] > 0.9


def test_rules_beat_the_baseline_and_the_threshold_moves_recall(setting):
    feature = record_feature(setting.stop_latent, setting.encoder_a)
    scores = [score_hypothesis(ends_a_sentence, feature, threshold) for threshold in (0, 0.25, 0.5)]
    assert scores[1].f1 > 0.88
    assert scores[0].recall < scores[1].recall < scores[2].recall
    assert scores[0].precision > scores[1].precision > scores[2].precision
    assert scores[1].baseline_f1 < 0.05
    word = score_hypothesis(word_is("."), feature)
    assert word.recall > 0.9
    assert word.precision < 0.15
    articles = record_feature(setting.article_latent, setting.encoder_a)
    score = score_hypothesis(label_is("Wikipedia"), articles)
    assert 4 * score.baseline_f1 < score.f1 < 0.8


def test_at_its_own_largest_activation_the_article_latent_turns_code_into_prose(setting):
    acts = interpretation.feature_activations(setting.text.tokens, setting.encoder_a, setting.article_latent)
    code = "def check(self, value):\n    if value is None:\n       "
    most = acts.max().item()
    plain, steered = (continue_text(code, setting.encoder_a, setting.article_latent, x) for x in (0.0, most))
    assert "(" in plain
    assert "=" not in steered
    assert "city" in steered
    assert steered_next_token(code, setting.encoder_a, setting.article_latent, most).moved > 0.4


def test_at_its_own_largest_activation_the_break_latent_lets_somebody_speak(setting):
    acts = interpretation.feature_activations(setting.text.tokens, setting.encoder_a, setting.break_latent)
    plain, steered = (
        continue_text("She had always thought that", setting.encoder_a, setting.break_latent, strength)
        for strength in (0.0, acts.max().item())
    )
    assert "\n" not in plain
    assert '\n\n"' in steered
