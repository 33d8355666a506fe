"""Tokens as text: nothing is lost, whatever is written, and a part of a character is shown as its bytes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from part_utils.language_models import load_language_model
from part_utils.token_text import text_of, token_string, token_strings


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
