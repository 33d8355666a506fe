"""The feature browser: what it finds, what it shows, and its static form."""

import re
from dataclasses import replace
from html import unescape

import pytest
import torch
from IPython.display import HTML

from part_utils.dashboard import make_dashboard
from part_utils.interpretation import top_activations
from part_utils.kept_latents import FILE, KeptLatents
from part_utils.language_models import load_autoencoder, load_language_model
from part_utils.model_with_autoencoder import ModelWithAutoencoder
from part_utils.steering import firing_latents
from part_utils.texts import first_rows, load_tokens
from part_utils.widgets.feature_browser import LatentIndex, feature_browser


@pytest.fixture(scope="module")
def text():
    return first_rows(load_tokens("train"), 24)


@pytest.fixture(scope="module")
def encoder_a():
    torch.set_num_threads(1)
    return ModelWithAutoencoder(load_language_model(), load_autoencoder())


@pytest.fixture(scope="module")
def encoder_b(encoder_a):
    return replace(encoder_a, instance=1)


@pytest.fixture(scope="module")
def index(text, encoder_a):
    return LatentIndex(text, encoder_a, k=5)


def test_a_number_finds_that_latent(index):
    assert index.search("17") == [17]
    assert index.search(" 17 ") == [17]
    assert index.search("99999") == [] or 17 not in index.search("99999")


def test_a_word_finds_latents_that_fire_on_it(index, text, encoder_a):
    found = index.search(" return")
    assert found
    assert index.words[found[0]][" return"] >= 1
    counts = [index.words[latent][" return"] for latent in found]
    assert counts[0] == max(counts)
    model, autoencoder = encoder_a.model, encoder_a.autoencoder
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


def test_static_form_is_the_panels(text, encoder_a, monkeypatch):
    monkeypatch.setenv("COURSE_STATIC", "1")
    shown = feature_browser(text, encoder_a, start="17")
    assert isinstance(shown, HTML)
    assert "Latent 17" in shown.data
    assert len(shown.data) < 100_000
    page = unescape(shown.data)
    assert "<script" not in page
    assert not re.search(r"(src|href)=.?https?:|@import", page)


class Parts:
    """The widgets of a browser by what is written at them."""

    def __init__(self, widget):
        everything = [part for child in widget.children for part in getattr(child, "children", [child])]
        by_name = {part.description: part for part in everything if getattr(part, "description", "")}
        self.query, self.own, self.choice = by_name["search"], by_name["your text"], by_name["latents"]
        self.name, self.keep, self.drop, self.kept = (
            by_name[key] for key in ("name", "keep", "drop", "kept")
        )
        self.colored, self.message, self.view = (part for part in everything if type(part).__name__ == "HTML")


@pytest.fixture
def parts(text, encoder_b, monkeypatch, tmp_path):
    monkeypatch.delenv("COURSE_STATIC", raising=False)
    monkeypatch.chdir(tmp_path)
    return Parts(feature_browser(text, encoder_b, start="17"))


def test_your_own_text_lists_the_latents_that_fire_on_it(parts, text, encoder_b):
    sentence = "def check(self):\n    raise ValueError"
    parts.own.value = sentence
    largest = top_activations(text.tokens, encoder_b, k=1).values[:, 0]
    fired = firing_latents(sentence, encoder_b, largest)
    listed = [latent for _, latent in parts.choice.options]
    shares = fired.shares.amax(dim=0)
    torch.testing.assert_close(shares[listed], shares.topk(len(listed)).values, rtol=1e-4, atol=1e-4)
    share = fired.shares[:, listed[0]].max().item()
    assert parts.choice.options[0][0].startswith(f"{share:4.0%} of its largest, on ")
    assert f'title="latent {listed[0]}"' in parts.view.value
    # The text itself, once for each of the strongest, without what a reader could take for HTML.
    assert parts.colored.value.count("<tr") == 6
    assert "raise" in parts.colored.value
    parts.own.value = "<b>&</b>"
    assert "<b>&</b>" not in parts.colored.value
    parts.own.value = "word " * 500
    assert "shorten it" in parts.message.value
    parts.query.value = " return"
    assert parts.colored.value == ""


def test_what_is_kept_has_a_name_in_a_file_and_on_the_page(parts, text, encoder_a, tmp_path):
    model, autoencoder = encoder_a.model, encoder_a.autoencoder
    parts.keep.click()
    assert "has no name yet" in parts.message.value
    assert not (tmp_path / FILE).exists()
    parts.name.value = "the <seventeenth>"
    parts.keep.click()
    assert [latent for _, latent in parts.kept.options] == [None, 17]
    assert KeptLatents(autoencoder, 1).names == {17: "the <seventeenth>"}
    assert KeptLatents(autoencoder, 0).names == {}
    assert "the &amp;lt;seventeenth&amp;gt;" in parts.view.value
    make = {"model": model, "autoencoder": autoencoder, "text": text, "instance": 1, "progress": False}
    assert "the &lt;seventeenth&gt;" in make_dashboard([17], **make).html()
    assert "seventeenth" not in make_dashboard([17], **make, names={}).html()
    parts.query.value = "20"
    assert parts.name.value == ""
    parts.kept.value = 17
    assert 'title="latent 17"' in parts.view.value
    assert parts.name.value == "the <seventeenth>"
    parts.drop.click()
    assert parts.kept.options == (("none yet", None),)
    assert KeptLatents(autoencoder, 1).names == {}


def test_nothing_is_written_over_a_file_that_cannot_be_read(parts, encoder_a, tmp_path):
    (tmp_path / FILE).write_text("my notes")
    parts.name.value = "a name"
    parts.keep.click()
    assert "does not hold kept latents" in parts.message.value
    assert (tmp_path / FILE).read_text() == "my notes"
    with pytest.raises(ValueError, match="move it away"):
        KeptLatents(encoder_a.autoencoder)


def test_two_notebooks_keep_in_one_file(encoder_a, tmp_path):
    one, other = (KeptLatents(encoder_a.autoencoder, path=tmp_path / FILE) for _ in range(2))
    one.keep(3, "three")
    other.keep(5, " five ")
    assert KeptLatents(encoder_a.autoencoder, path=tmp_path / FILE).names == {3: "three", 5: "five"}
    one.drop(4)
    assert one.names == {3: "three", 5: "five"}


def test_the_widget_searches_and_shows(parts):
    query, choice, message, view = parts.query, parts.choice, parts.message, parts.view
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


def test_a_start_that_finds_nothing(text, encoder_a):
    with pytest.raises(ValueError, match="start with another"):
        feature_browser(text, encoder_a, start="no such word zzz")
