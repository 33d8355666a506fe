"""A sentence of one's own: the latents on it, and the model with one of them turned up."""

from dataclasses import replace

import pytest
import torch

from part_utils import steering
from part_utils.language_models import load_autoencoder, load_language_model
from part_utils.model_with_autoencoder import ModelWithAutoencoder

SENTENCE = "def check(self):\n    raise ValueError"


@pytest.fixture(scope="module")
def encoder_a():
    torch.set_num_threads(1)
    return ModelWithAutoencoder(load_language_model(), load_autoencoder())


def test_firing_latents_are_those_of_the_autoencoder(encoder_a):
    model, autoencoder = encoder_a.model, encoder_a.autoencoder
    found = steering.firing_latents(SENTENCE, replace(encoder_a, instance=1))
    assert "".join(found.words[1:]) == SENTENCE
    _, cache = model.run_with_cache(found.tokens)
    h = cache["blocks.0.mlp.hook_post"][0]
    pre_acts = (h - autoencoder.b_dec[1]) @ autoencoder.W_enc[1] + autoencoder.b_enc[1]
    acts = torch.where(pre_acts > autoencoder.threshold[1], pre_acts.relu(), 0)
    torch.testing.assert_close(found.acts[1:], acts[1:], atol=1e-4, rtol=1e-4)
    assert not found.acts[0].any()
    strongest = found.strongest(3)
    assert found.acts.amax(dim=0).argsort(descending=True)[:3].tolist() == strongest


def test_latents_are_compared_by_how_much_of_their_largest_activation_they_reach(encoder_a):
    acts = steering.firing_latents(SENTENCE, encoder_a).acts
    largest = 2 * acts.amax(dim=0)
    first, second, third = acts.amax(dim=0).topk(3).indices.tolist()
    largest[third] *= 0.6
    largest[first] *= 0.1  # larger here than there: all of it, and no more
    found = steering.firing_latents(SENTENCE, encoder_a, largest=largest)
    assert found.strongest(2) == [first, third]
    assert found.shares[:, [first, third, second]].amax(dim=0).tolist() == pytest.approx([1, 1 / 1.2, 0.5])
    torch.testing.assert_close(found.acts, acts)


def test_no_strength_changes_nothing_and_strength_adds_the_direction(encoder_a):
    model, autoencoder = encoder_a.model, encoder_a.autoencoder
    same = steering.steered_next_token(SENTENCE, encoder_a, 5, strength=0.0)
    torch.testing.assert_close(same.before, same.after)
    assert same.moved == pytest.approx(0, abs=1e-4)
    steered = steering.steered_next_token(SENTENCE, encoder_a, 5, strength=4.0)
    torch.testing.assert_close(steered.before, same.before)
    assert steered.after.sum().item() == pytest.approx(1, abs=1e-4)
    direction = autoencoder.normalize_and_return_W_dec()[0, 5]
    with torch.no_grad():
        expected = model.run_with_hooks(
            model.to_tokens(SENTENCE),
            fwd_hooks=[("blocks.0.mlp.hook_post", lambda value, hook: value + 4.0 * direction)],
        )[0, -1].softmax(dim=-1)
    torch.testing.assert_close(steered.after, expected)
    assert (steered.after - steered.before).abs().sum() > 0.01
    assert steered.moved == pytest.approx((steered.after - steered.before).abs().sum().item() / 2, abs=1e-4)
    assert len(steered.table(model, k=4).splitlines()) == 5


def test_continuations_are_repeatable_and_change_with_the_strength(encoder_a):
    write = [
        steering.continue_text(SENTENCE, encoder_a, 5, strength, n_tokens=8, seed=2)
        for strength in (0.0, 0.0, 30.0)
    ]
    assert write[0] == write[1]
    assert write[0] != write[2]
    greedy = [steering.continue_text(SENTENCE, encoder_a, 5, 0.0, 4, temperature=0, seed=s) for s in (0, 1)]
    assert greedy[0] == greedy[1]


def test_a_long_continuation_stays_within_the_context(encoder_a):
    sentence = "the " * 115
    assert steering.continue_text(sentence, encoder_a, 5, 0.0, n_tokens=20)


@pytest.mark.parametrize(("sentence", "message"), [("  ", "empty"), ("a b " * 200, "at most 128")])
def test_impossible_sentences(encoder_a, sentence, message):
    with pytest.raises(ValueError, match=message):
        steering.firing_latents(sentence, encoder_a)


def test_the_autoencoder_is_not_changed(encoder_a):
    autoencoder = encoder_a.autoencoder
    before = {name: value.clone() for name, value in autoencoder.state_dict().items()}
    steering.continue_text(SENTENCE, encoder_a, 5, 3.0, n_tokens=2)
    assert all(torch.equal(value, before[name]) for name, value in autoencoder.state_dict().items())
