"""Colored text: what is shown, what is escaped, and that nothing comes from outside."""

import re

import pytest
import torch
from IPython.display import HTML

from part_utils.plots import circuitsvis
from part_utils.plots.circuitsvis import from_circuitsvis
from part_utils.plots.text import (
    display_activations,
    display_top_sequences,
    stacked,
    token_html,
    tokens_html,
    visible,
)
from part_utils.texts import TokenizedText


class Words:
    """A tokenizer of whole words."""

    words = ("the", " cat", "</b>", "\n    ", ' "q"')

    def decode(self, tokens: list[int]) -> str:
        return "".join(self.words[token] for token in tokens)


def text() -> TokenizedText:
    tokens = torch.tensor([[0, 1, 2, 3, 4, 0, 1], [4, 3, 2, 1, 0, 0, 1]])
    labels = torch.tensor([[0] * 7, [0, 0, 0, 1, 1, 1, 1]])
    return TokenizedText(tokens, labels, ("a & b", "c: d"))


def opacity(html: str) -> list[float]:
    return [float(number) for number in re.findall(r"rgba\(230,159,0,([\d.]+)\)", html)]


def test_a_token_is_escaped_and_its_spaces_can_be_seen():
    assert visible("\n\tx") == "⏎⇥x"
    assert token_html("<b>\n", 0) == "&lt;b&gt;⏎"
    assert "&quot;" in token_html("x", 0.5, hover='a "quote"')


def test_color_grows_with_activation_and_is_absent_at_zero():
    html = tokens_html(["a", "b", "c", "d"], torch.tensor([0.0, 1.0, 2.0, 4.0]), strongest=4.0)
    assert html.startswith("a<span")
    shades = opacity(html)
    assert len(shades) == 3
    assert shades == sorted(shades)
    assert shades[-1] <= 0.6  # text of either color stays readable


@pytest.mark.parametrize("acts", [None, torch.arange(14.0).view(2, 7)])
def test_top_sequences_frame_the_right_token_of_each(acts):
    html = display_top_sequences(
        torch.tensor([[1, 3], [0, 6]]), torch.tensor([10.0, 6.0]), text(), Words(), acts, before=2, after=1
    ).data
    rows = re.findall(r"<tr.*?</tr>", html, re.DOTALL)
    assert len(rows) == 2
    framed = [re.findall(r"<b [^>]*>([^<]*)</b>", row) for row in rows]
    assert framed == [[" cat"], [" cat"]]
    assert "10.00" in rows[0]
    assert "c: d" in rows[0]
    assert "a &amp; b" in rows[1]
    assert "</b>" not in re.sub(r"<b [^>]*>[^<]*</b>", "", html)  # the token "</b>" was escaped
    strengths = opacity(rows[0])
    assert len(strengths) == (1 if acts is None else 4)


def test_strength_refers_to_the_whole_text():
    acts = torch.zeros(2, 7)
    acts[0, 0], acts[1, 1] = 10.0, 1.0
    weak = display_top_sequences(torch.tensor([[1, 1]]), torch.tensor([1.0]), text(), Words(), acts).data
    assert opacity(weak) == [pytest.approx(0.15)]


@pytest.mark.parametrize(
    ("indices", "values"),
    [([[0, 7]], [1.0]), ([[-1, 0]], [1.0]), ([[0, 1]], [1.0, 2.0]), ([[0], [1]], [1.0, 2.0])],
)
def test_positions_outside_the_text_are_refused(indices, values):
    with pytest.raises(ValueError, match=r"shape|outside"):
        display_top_sequences(torch.tensor(indices), torch.tensor(values), text(), Words())


def test_several_latents_on_one_text():
    acts = torch.tensor([[0.0, 3.0], [0.0, 1.0], [0.0, 0.0]])
    html = display_activations(["a", "b", "<c>"], acts, ["silent", "<loud>"], title="t").data
    assert html.count("&lt;c&gt;") == 2
    assert "&lt;loud&gt;" in html
    assert len(opacity(html)) == 2
    with pytest.raises(ValueError, match="one row for each word"):
        display_activations(["a"], acts, ["x", "y"])


def test_nothing_comes_from_outside():
    parts = [
        display_top_sequences(torch.tensor([[0, 0]]), torch.tensor([1.0]), text(), Words()),
        display_activations(["a"], torch.ones(1, 1), ["x"]),
    ]
    assert not re.search(r"https?:|<script|<link|@import", stacked(parts).data)


@pytest.fixture
def no_internet(monkeypatch):
    import circuitsvis.utils.render as render

    def asked(*args, **kwargs):
        raise AssertionError("the internet was asked")

    monkeypatch.setattr(render, "internet_on", asked)
    monkeypatch.setattr(circuitsvis, "_carried", False)
    monkeypatch.delenv("COURSE_STATIC", raising=False)


def colored():
    from circuitsvis.tokens import colored_tokens_multi

    return colored_tokens_multi(["a", "</script>", "c"], torch.rand(3, 2), labels=["1", "2"])


@pytest.mark.usefixtures("no_internet")
def test_circuitsvis_carries_its_script_once():
    first, second = (from_circuitsvis(colored(), HTML("<i>plain</i>")).data for _ in range(2))
    assert 100_000 < len(first) < 600_000
    assert len(second) < 5_000
    for html in (first, second):
        assert "<i>plain</i>" in html
        assert "unpkg" not in html
        assert html.count("</script>") == 1


@pytest.mark.usefixtures("no_internet")
def test_circuitsvis_in_a_saved_notebook_is_plain(monkeypatch):
    monkeypatch.setenv("COURSE_STATIC", "1")
    assert from_circuitsvis(colored(), HTML("<i>plain</i>")).data == "<i>plain</i>"


def test_control_characters_become_their_number() -> None:
    assert visible("a\n\tb\x06 é") == "a⏎⇥b\\x06 é"
