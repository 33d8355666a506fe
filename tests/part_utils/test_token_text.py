"""Tokens as text: nothing is lost, whatever is written, and a part of a character is shown as its bytes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from part_utils.language_models import load_language_model
from part_utils.plots.text import tokens_html
from part_utils.token_text import spans, text_of, token_string, token_strings, words_in_context


@pytest.fixture(scope="module")
def tokenizer():
    return load_language_model().tokenizer


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(text=TEXTS, cut=st.integers(0, 40))
def test_no_byte_is_lost(tokenizer, text, cut):
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert text_of(tokens, tokenizer) == text
    strings = token_strings(tokens, tokenizer)
    assert len(strings) == len(tokens)
    if "\ufffd" not in text:
        assert not any("\ufffd" in string for string in (*strings, text_of(tokens[cut:], tokenizer)))
    if text.isascii():
        assert "".join(strings) == text


def test_a_part_of_a_character_is_its_bytes(tokenizer):
    tokens = tokenizer("Gö𓀀", add_special_tokens=False)["input_ids"]
    assert "".join(token_strings(torch.tensor(tokens), tokenizer)).endswith("\\xf0\\x93\\x80\\x80")
    assert text_of(tokens[:-1], tokenizer) == "Gö\\xf0\\x93\\x80"


@settings(derandomize=True, max_examples=200, deadline=None)
@given(text=TEXTS, first=st.integers(0, 40), last=st.integers(0, 40))
def test_in_a_context_characters_are_whole(tokenizer, text, first, last):
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    words = words_in_context(tokens, tokenizer)
    assert len(words) == len(tokens)
    assert "".join(words) == text
    cut = words_in_context(tokens[first:last], tokenizer)
    assert "".join(cut) == text_of(tokens[first:last], tokenizer)
    places = [place for span in spans(cut) for place in span]
    assert places == list(range(len(cut)))
    assert all(cut[place] == "" for span in spans(cut) for place in span[1:])


def test_the_parts_of_a_character_are_colored_as_one(tokenizer):
    tokens = tokenizer("a𓀀b", add_special_tokens=False)["input_ids"]
    words = words_in_context(tokens, tokenizer)
    assert words == ["a", "𓀀", "", "", "", "b"]
    html = tokens_html(words, torch.tensor([0.0, 0.0, 2.0, 4.0, 0.0, 0.0]), strongest=4.0, marked=2)
    assert html.startswith('a<b style="background')
    assert html.endswith('title="𓀀  4.00">𓀀</b>b')
    # A character that is cut off, and one that begins before the other has ended.
    assert words_in_context(tokens[:3], tokenizer) == ["a", "\\xf0", "\\x93"]
    assert words_in_context([tokens[1], *tokens[1:]], tokenizer) == ["\\xf0", *words[1:]]
    with pytest.raises(ValueError, match="6 words and 5 activations"):
        tokens_html(words, torch.zeros(5), strongest=1.0)


def test_every_token_of_the_vocabulary(tokenizer):
    strings = token_strings(range(len(tokenizer)), tokenizer)
    decoded = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    for string, plain in zip(strings, decoded, strict=True):
        assert string == plain or ("\ufffd" in plain and "\\x" in string)
    assert token_string(3, None) == "[3]"


class WithByteFallback:
    """As SentencePiece writes it: `<0xE2>` for a byte that is no token of its own."""

    names = ("▁a", "<0xE2>", "<0x82>", "<0xAC>", "b")
    bytes = (b" a", b"\xe2", b"\x82", b"\xac", b"b")

    def decode(self, tokens):
        return b"".join(self.bytes[token] for token in tokens).decode(errors="replace")

    def convert_ids_to_tokens(self, token):
        return self.names[token]


def test_byte_fallback():
    tokenizer = WithByteFallback()
    assert token_strings([0, 1, 2, 3, 4], tokenizer) == [" a", "\\xe2", "\\x82", "\\xac", "b"]
    assert text_of([0, 1, 2, 3, 4], tokenizer) == " a€b"
    assert text_of([0, 1, 2, 4], tokenizer) == " a\\xe2\\x82b"
