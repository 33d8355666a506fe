"""Latents whose effect can be read, against their definitions, on small random models."""

from collections import Counter

import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge

from part_utils.autoencoder import AutoEncoder
from part_utils.baselines import neuron_copies
from part_utils.interpretation import feature_activations, feature_in_neuron_basis, feature_logit_effect
from part_utils.model_with_autoencoder import ModelWithAutoencoder
from part_utils.readable import (
    candidates,
    common_followers,
    logit_effects,
    one_word_f1,
    random_latents,
    read_latents,
    times_fired,
)
from tests.small_language_model import small_autoencoder


@pytest.fixture
def autoencoder() -> AutoEncoder:
    return small_autoencoder(-0.3)


def test_random_latents_are_eligible_distinct_and_given_by_the_seed() -> None:
    eligible = torch.rand(200, generator=torch.Generator().manual_seed(1)) < 0.3
    drawn = random_latents(eligible, 20, seed=4)
    assert len(set(drawn.tolist())) == 20
    assert eligible[drawn].all()
    assert drawn.tolist() == random_latents(eligible, 20, seed=4).tolist()
    assert drawn.tolist() != random_latents(eligible, 20, seed=5).tolist()
    assert random_latents(eligible, 1000).tolist() == eligible.nonzero().flatten().tolist()
    assert len(random_latents(torch.zeros(9, dtype=torch.bool), 3)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_followers_by_counting(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(6, (9, 8), generator=generator)
    acts = torch.relu(torch.randn(9, 8, generator=generator))
    counter: Counter[int] = Counter()
    for row in range(9):
        for place in range(7):
            if acts[row, place] > 0:
                counter[int(tokens[row, place + 1])] += 1
    expected = sorted(counter, key=lambda token: (-counter[token], token))
    assert common_followers(acts, tokens, 4).tolist() == expected[:4]
    assert common_followers(acts, tokens, 60).tolist() == expected


def test_a_latent_that_fires_only_at_the_ends_of_rows_has_no_followers() -> None:
    acts = torch.zeros(3, 4)
    acts[:, -1] = 1
    assert len(common_followers(acts, torch.ones(3, 4, dtype=torch.long))) == 0


@pytest.mark.parametrize("instance", [0, 1])
def test_reading(
    model: TransformerBridge, tokens: torch.Tensor, autoencoder: AutoEncoder, instance: int
) -> None:
    subject, latents = ModelWithAutoencoder(model, autoencoder, instance), torch.tensor([2, 11, 17])
    effects = logit_effects(subject, latents)
    fired = times_fired(tokens, subject, batch_rows=5)
    read = read_latents(tokens, subject, latents, n_followers=5, n_favored=6)
    for index, latent in enumerate(latents.tolist()):
        found = feature_logit_effect(model, autoencoder, latent, instance, k=6)
        torch.testing.assert_close(effects[index], found.effect, atol=1e-5, rtol=1e-4)
        acts = feature_activations(tokens, subject, latent)
        assert read[index].fired == int((acts > 0).sum()) == int(fired[latent])
        assert read[index].followers == common_followers(acts, tokens, 5).tolist()
        assert set(read[index].favored) == set(read[index].followers) & set(found.top.tolist())


def test_candidates_meet_every_condition(
    model: TransformerBridge, tokens: torch.Tensor, autoencoder: AutoEncoder
) -> None:
    with torch.no_grad():
        autoencoder.W_dec[1, :5] = torch.eye(14)[:5]
    encoder_b = ModelWithAutoencoder(model, autoencoder, instance=1)
    all_of_them = candidates(tokens, encoder_b, min_fired=1, min_favored=0, min_agreement=-1)
    fired = times_fired(tokens, encoder_b)
    expected = (fired > 0) & ~neuron_copies(autoencoder)[1]
    assert {one.read.latent for one in all_of_them} == set(expected.nonzero().flatten().tolist())
    for one in all_of_them:
        share = feature_in_neuron_basis(autoencoder, one.read.latent, 1).share.max().item()
        assert one.largest_neuron == pytest.approx(share, rel=1e-4)
        acts = feature_activations(tokens, encoder_b, one.read.latent)
        on = Counter(tokens[acts > 0].tolist())
        assert one.word_share == pytest.approx(on.most_common(1)[0][1] / on.total())
        assert -1 <= one.agreement <= 1
    few = candidates(tokens, encoder_b, min_fired=20, min_favored=5, min_agreement=0.3)
    assert {one.read.latent for one in few} == {
        one.read.latent
        for one in all_of_them
        if one.read.fired >= 20 and len(one.read.favored) >= 5 and one.agreement >= 0.3
    }
    counts = [len(one.read.favored) for one in few]
    assert counts == sorted(counts, reverse=True)


def test_the_f1_of_one_word_is_chosen_on_one_text_and_measured_on_the_other() -> None:
    tokens, held_out = torch.tensor([3, 3, 5, 5, 5, 0]), torch.tensor([3, 5, 3, 2])
    # Latent 0 is token 3; latent 1 fires on 5 mostly; latent 2 never; latent 3 too seldom.
    acts = torch.tensor(
        [[2.0, 0, 0, 0], [1.0, 1, 0, 0], [0, 1, 0, 1], [0, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    )
    acts_held_out = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [1.0, 0, 1, 0]])
    scores = one_word_f1(acts, tokens, acts_held_out, held_out, min_fired=2)
    torch.testing.assert_close(scores, torch.tensor([2 * 1 / (2 + 2), 2 * 1 / (2 + 1)]))
