"""The bundled text, in the tokens of the bundled model or of another one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from part_utils import smollm2
from part_utils.bundled_files import bundled_file
from part_utils.token_text import token_strings

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedTokenizerFast

SPLITS = ("train", "validation", "held_out")


@dataclass(frozen=True)
class TokenizedText:
    """Rows of tokens, each with the label of the text that it came from. Every row starts with BOS."""

    tokens: Int[Tensor, "batch seq"]
    labels: Int[Tensor, "batch seq"]
    """Index into `label_names`, for each token."""
    label_names: tuple[str, ...]
    """For instance `"Wikipedia: History"`, `"Python: asyncio"` or `"django: db"`."""

    def has_label(self, start: str) -> Bool[Tensor, "batch seq"]:
        """Return which tokens come from a text whose label starts with `start`, such as `"Wikipedia"`."""
        wanted = [index for index, name in enumerate(self.label_names) if name.startswith(start)]
        if not wanted:
            raise ValueError(f"No label starts with {start!r}; the labels are {', '.join(self.label_names)}.")
        return torch.isin(self.labels, torch.tensor(wanted))


def load_tokens(split: str = "train", model: TransformerBridge | None = None) -> TokenizedText:
    """Return the bundled text: `"train"`, `"validation"`, or `"held_out"`, which nothing was trained on.

    Args:
        split: which part of it.
        model: in whose tokens; in the bundled model's, which the text is stored in, when left out.

    Raises:
        ValueError: there is no such split, or the file is damaged.
    """
    from safetensors import safe_open

    if split not in SPLITS:
        raise ValueError(f"There is no split {split!r}: choose one of {', '.join(SPLITS)}.")
    if model is not None and not _reads_bundled_tokens(model):
        text = _bundled_text_in_tokens_of(model.tokenizer, split, model.cfg.n_ctx)
        return TokenizedText(text.tokens.long(), text.labels.long(), text.label_names)
    path = bundled_file(f"tokens_{split}.safetensors")
    with safe_open(path, "pt") as file:
        names = tuple(json.loads(file.metadata()["labels"]))
        return TokenizedText(file.get_tensor("tokens").long(), file.get_tensor("labels").long(), names)


def load_written_text(model: TransformerBridge | None = None) -> TokenizedText:
    """Return text that SmolLM2 wrote by itself, which its autoencoders were not trained on.

    Each of the 4,096 rows of 128 tokens was drawn from BOS on at a temperature of .8.

    Args:
        model: in whose tokens; in SmolLM2's own when left out.

    Raises:
        ValueError: the file is damaged.
        FileNotFoundError: the model is another one, and SmolLM2, whose tokenizer has to read the text, is not here.
    """
    from safetensors.torch import load_file

    tokens = load_file(bundled_file("smollm2_text.safetensors"))["tokens"].long()
    text = TokenizedText(tokens, torch.zeros_like(tokens), ("SmolLM2",))
    if model is None or model.tokenizer is None or model.cfg.model_name == smollm2.NAME:
        return text
    return _retokenized(text, smollm2.load_tokenizer(), model.tokenizer, model.cfg.n_ctx)


@lru_cache(maxsize=len(SPLITS))
def _bundled_text_in_tokens_of(tokenizer: PreTrainedTokenizerFast, split: str, n_ctx: int) -> TokenizedText:
    """Remembered, since tokenizing the training text takes seconds: in half of the memory, with 32 bits a token."""
    text = _retokenized(load_tokens(split), bundled_tokenizer(), tokenizer, n_ctx)
    return TokenizedText(text.tokens.int(), text.labels.int(), text.label_names)


def in_tokens_of(model: TransformerBridge, text: TokenizedText) -> TokenizedText:
    """Return the bundled text in a model's own tokens, if its tokenizer is another one.

    The text is decoded and tokenized again, and the tokens are cut into rows as long as before, or as the model can
    read. Every row and every document starts with BOS, as before.

    Raises:
        ValueError: the text is shorter than a row.
    """
    if _reads_bundled_tokens(model):
        return text
    return _retokenized(text, bundled_tokenizer(), model.tokenizer, model.cfg.n_ctx)


def _reads_bundled_tokens(model: TransformerBridge) -> bool:
    return model.tokenizer is None or model.tokenizer.get_vocab() == bundled_tokenizer().get_vocab()


def _retokenized(
    text: TokenizedText, source: PreTrainedTokenizerFast, tokenizer: PreTrainedTokenizerFast, n_ctx: int
) -> TokenizedText:
    """Return a text that is in the tokens of `source` in those of `tokenizer`."""
    bos = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    # Rows follow one another at random, so each is a text of its own, and so is each document that starts inside one.
    tokens, labels = text.tokens.flatten(), text.labels.flatten()
    cuts = (tokens == source.bos_token_id).nonzero().flatten()[1:]
    pieces = [piece.tolist() for piece in tokens.tensor_split(cuts)]
    words = source.batch_decode(pieces, skip_special_tokens=True)
    encoded = tokenizer(words, add_special_tokens=False, verbose=False)["input_ids"]
    flat = torch.tensor([token for piece in encoded for token in (bos, *piece)])
    lengths = torch.tensor([1 + len(piece) for piece in encoded])
    flat_labels = torch.stack([label[-1] for label in labels.tensor_split(cuts)]).repeat_interleave(lengths)
    length = min(n_ctx, text.tokens.shape[1]) - 1
    rows = len(flat) // length
    if rows == 0:
        raise ValueError(f"The text has {len(flat)} tokens, fewer than one row of {length}; use more of it.")
    new_tokens = flat[: rows * length].view(rows, length)
    new_labels = flat_labels[: rows * length].view(rows, length)
    new_tokens = torch.cat([torch.full((rows, 1), bos), new_tokens], dim=1)
    return TokenizedText(new_tokens, torch.cat([new_labels[:, :1], new_labels], dim=1), text.label_names)


def bundled_tokenizer() -> PreTrainedTokenizerFast:
    """Return the bundled model's tokenizer."""
    from transformers import PreTrainedTokenizerFast

    folders = {
        bundled_file(f"tokenizer/{file}").parent for file in ("tokenizer.json", "tokenizer_config.json")
    }
    return PreTrainedTokenizerFast.from_pretrained(folders.pop())


def words_of(text: TokenizedText, tokenizer: object) -> tuple[list[list[str]], list[list[str]]]:
    """Return the tokens of every row as text, and the label of each."""
    length = text.tokens.shape[1]
    strings = token_strings(text.tokens.flatten(), tokenizer)
    words = [strings[start : start + length] for start in range(0, len(strings), length)]
    labels = [[text.label_names[label] for label in row] for row in text.labels.tolist()]
    return words, labels


def first_rows(text: TokenizedText, rows: int) -> TokenizedText:
    """Return the first rows of a text."""
    return TokenizedText(text.tokens[:rows], text.labels[:rows], text.label_names)
