"""The feature browser: what it finds, what it shows, and its static form."""

import re
from html import unescape

import pytest
import torch
from IPython.display import HTML

from part_utils.hypotheses import first_rows
from part_utils.language_models import load_autoencoder, load_language_model, load_tokens
from part_utils.widgets.feature_browser import LatentIndex, feature_browser


@pytest.fixture(scope="module")
def bundled():
    torch.set_num_threads(1)
    return first_rows(load_tokens("train"), 24), load_language_model(), load_autoencoder()


@pytest.fixture(scope="module")
def index(bundled):
    return LatentIndex(*bundled, k=5)


def test_a_number_finds_that_latent(index):
    assert index.search("17") == [17]
    assert index.search(" 17 ") == [17]
    assert index.search("99999") == [] or 17 not in index.search("99999")


def test_a_word_finds_latents_that_fire_on_it(index, bundled):
    found = index.search(" return")
    assert found
    assert index.words[found[0]][" return"] >= 1
    counts = [index.words[latent][" return"] for latent in found]
    assert counts[0] == max(counts)
    text, model, autoencoder = bundled
    places = text.tokens == model.tokenizer.encode(" return", add_special_tokens=False)[0]
    _, cache = model.run_with_cache(text.tokens)
    h = cache["blocks.0.mlp.hook_post"][places]
    acts = torch.relu((h - autoencoder.b_dec[0]) @ autoencoder.W_enc[0] + autoencoder.b_enc[0])
    assert (acts[:, found[0]] > 0).any()


def test_no_query_lists_the_most_frequent(index):
    found = index.search("")
    rates = [float(index.rates[latent]) for latent in found]
    assert rates == sorted(rates, reverse=True)
    assert str(found[0]) in index.describe(found[0])


def test_static_form_is_the_panels(bundled, monkeypatch):
    monkeypatch.setenv("COURSE_STATIC", "1")
    shown = feature_browser(*bundled, start="17")
    assert isinstance(shown, HTML)
    assert "Latent 17" in shown.data
    assert len(shown.data) < 100_000
    page = unescape(shown.data)
    assert "<script" not in page
    assert not re.search(r"(src|href)=.?https?:|@import", page)


def test_the_widget_searches_and_shows(bundled, monkeypatch):
    monkeypatch.delenv("COURSE_STATIC", raising=False)
    widget = feature_browser(*bundled, instance=1, start="17")
    query, choice, message, view = widget.children
    assert "Latent 17" in view.value
    query.value = " return"
    latent = choice.value
    assert len(choice.options) > 1
    assert f'title="latent {latent}"' in view.value
    second = choice.options[1][1]
    choice.value = second
    assert f'title="latent {second}"' in view.value
    query.value = "no such word zzz"
    assert "No latent" in message.value
    assert f'title="latent {second}"' in view.value


def test_a_start_that_finds_nothing(bundled):
    with pytest.raises(ValueError, match="start with another"):
        feature_browser(*bundled, start="no such word zzz")
