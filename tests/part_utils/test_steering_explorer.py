"""Steering to play with: what it shows, and that it follows its sliders."""

import re

import pytest
import torch

from part_utils.interpretation import top_activations
from part_utils.language_models import load_autoencoder, load_language_model
from part_utils.model_with_autoencoder import ModelWithAutoencoder
from part_utils.steering import steered_next_token
from part_utils.texts import first_rows, load_tokens
from part_utils.widgets.steering import steering_explorer, steering_html


@pytest.fixture(scope="module")
def subject():
    torch.set_num_threads(1)
    return ModelWithAutoencoder(load_language_model(), load_autoencoder())


@pytest.fixture(scope="module")
def text(subject):
    return first_rows(load_tokens("train", subject.model), 8)


def test_the_most_probable_tokens_stand_there_with_both_probabilities(subject):
    next_token = steered_next_token("<b> & then", subject, 7, 2.0)
    shown = steering_html("<b> & then", subject, 7, 2.0).data
    assert f"{next_token.before.max().item():.1%}" in shown
    assert f"{next_token.after.max().item():.1%}" in shown
    assert f"{next_token.moved:.0%} of the probability" in shown
    assert "<b> & then" not in shown  # escaped


def test_without_strength_nothing_moves(subject):
    shown = steering_html("It is the", subject, 7, 0.0).data
    assert "0% of the probability" in shown
    without, with_it = re.findall(r"</b> It is the<mark[^>]*>(.*?)</mark>", shown, re.S)
    assert without == with_it


def test_the_widget_follows_what_is_chosen(subject, text):
    fires = top_activations(text.tokens, subject, k=1).values[:, 0].topk(2).indices.tolist()
    names = dict.fromkeys(fires, "fires here")
    box = steering_explorer(text, subject, names, start="It is the")
    beginning, latent, times, shown = box.children
    seen = {shown.value}
    times.value = 3
    seen.add(shown.value)
    latent.value = fires[1]
    seen.add(shown.value)
    beginning.value = "def f("
    seen.add(shown.value)
    assert len(seen) == 4
    beginning.value = " "
    assert "The sentence is empty" in shown.value


def test_no_latents_and_no_kernel(subject, text, monkeypatch):
    with pytest.raises(ValueError, match="at least one number with a name"):
        steering_explorer(text, subject, {})
    monkeypatch.setenv("COURSE_STATIC", "1")
    assert "of the probability has moved" in steering_explorer(text, subject, {7: "seven"}).data
