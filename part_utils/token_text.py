"""Tokens as text, one place for all that shows them.

A byte-level tokenizer (Radford et al. 2019, GPT-2) may cut a character such as `ö` into two tokens. Each of them alone
is no text, and `tokenizer.decode` gives `�` for it. Here such a token is shown as its bytes: `\\xc3`, `\\xb6`. In a
context, where both are there, the character is shown instead (`words_in_context`).
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import torch


def token_strings(tokens: Iterable[int] | torch.Tensor, tokenizer: Any) -> list[str]:
    """Turn every token into its text; one that is a part of a character into its bytes, such as `\\xe2\\x80`.

    Args:
        tokens: token ids, in any order: a list, a range or a tensor with one axis.
        tokenizer: the model's; None gives the numbers, such as `[17]`.
    """
    ids = tokens.tolist() if isinstance(tokens, torch.Tensor) else list(tokens)
    known = {token: _shown(_token_bytes(token, tokenizer)) for token in set(ids)}
    return [known[token] for token in ids]


def token_string(token: int, tokenizer: Any) -> str:
    """Turn one token into its text, as `token_strings` does."""
    return token_strings([token], tokenizer)[0]


def words_in_context(tokens: Iterable[int] | torch.Tensor, tokenizer: Any) -> list[str]:
    """Turn tokens that follow each other into their texts, one for each, with characters whole.

    A character of which several tokens hold a part stands whole in the text of the first of them, and the others are
    empty: what is shown of these belongs to the first one. Bytes of a character that is cut off are shown as such.

    Args:
        tokens: token ids, in the order of the text.
        tokenizer: the model's.
    """
    ids = tokens.tolist() if isinstance(tokens, torch.Tensor) else list(tokens)
    words: list[str] = []
    parts: list[bytes] = []  # tokens that end inside of a character
    for token in ids:
        data = _token_bytes(token, tokenizer)
        if parts and _why_no_text(b"".join([*parts, data])) not in (None, _CUT_OFF):
            words += map(_shown, parts)
            parts = []
        parts.append(data)
        if _why_no_text(b"".join(parts)) != _CUT_OFF:
            words += [_shown(b"".join(parts)), *[""] * (len(parts) - 1)]
            parts = []
    return words + [_shown(part) for part in parts]


def spans(words: Sequence[str]) -> list[range]:
    """Return for each text of `words_in_context` its position and those of the empty ones behind it."""
    starts = [place for place, word in enumerate(words) if word or place == 0]
    return [range(start, end) for start, end in pairwise([*starts, len(words)])]


def text_of(tokens: Iterable[int] | torch.Tensor, tokenizer: Any) -> str:
    """Turn tokens that follow each other into one text.

    Characters whose tokens are all there are whole. Bytes that belong to none, at a cut for instance, are
    shown as such.
    """
    ids = tokens.tolist() if isinstance(tokens, torch.Tensor) else list(tokens)
    if tokenizer is not None:
        text = str(tokenizer.decode(ids))
        if "\ufffd" not in text:
            return text
    return _shown(b"".join(_token_bytes(token, tokenizer) for token in ids))


_CUT_OFF = "unexpected end of data"


def _why_no_text(data: bytes) -> str | None:
    """Say what keeps bytes from being text: `_CUT_OFF` where they end inside of a character."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.reason
    return None


def _shown(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _token_bytes(token: int, tokenizer: Any) -> bytes:
    if tokenizer is None:
        return f"[{token}]".encode()
    text = str(tokenizer.decode([token]))
    if "\ufffd" in text:
        name = tokenizer.convert_ids_to_tokens(token)
        if single := re.fullmatch("<0x([0-9A-Fa-f]{2})>", name):  # SentencePiece's byte fallback
            return bytes.fromhex(single[1])
        if all(character in _byte_of() for character in name):
            return bytes(_byte_of()[character] for character in name)
    return text.encode(errors="backslashreplace")


@cache
def _byte_of() -> dict[str, int]:
    """The byte for which each character stands in the names of a byte-level tokenizer's tokens."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(256 + i): byte for i, byte in enumerate(hidden)}
