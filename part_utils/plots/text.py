"""Text as HTML, with every token colored by how strongly a latent fires on it.

All of it is plain HTML with inline styles: no script, nothing from outside. The color lies behind the text and is
half transparent, so the text keeps the page's own color and can be read on a light and on a dark page. The token
that matters is in bold as well, for places that remove styles.
"""

from collections.abc import Sequence
from html import escape

import torch
from IPython.display import HTML
from jaxtyping import Float, Int
from torch import Tensor

from part_utils.palette import ORANGE, rgb
from part_utils.texts import TokenizedText
from part_utils.token_text import spans, words_in_context

HIGHLIGHT = rgb(ORANGE)  # text of either color can be read on it
WEAKEST, STRONGEST = 0.10, 0.60
# How control characters are written, which cannot be seen.
HIDDEN = str.maketrans(
    {chr(code): f"\\x{code:02x}" for code in (*range(32), 127)} | {"\n": "⏎", "\t": "⇥", "\r": "␍"}
)
_CELL = "text-align:left; vertical-align:top; padding:3px 10px 3px 0; border:none; background:none"
_TEXT = (
    "font-family:ui-monospace,Menlo,Consolas,monospace; font-size:13px; line-height:1.6; white-space:pre-wrap"
)
_SMALL = "font-size:12px; opacity:0.75; white-space:nowrap"


def visible(word: str) -> str:
    """Return the token's text with line breaks and tabs drawn, so that they can be seen and a text stays on its line.

    Other control characters, which browsers refuse, become their number: `\\x06`.
    """
    return word.translate(HIDDEN)


def token_html(word: str, strength: float, hover: str = "", marked: bool = False) -> str:
    """Return one token as HTML.

    Args:
        word: the token's text; it is escaped.
        strength: from 0, no color, to 1, the strongest.
        hover: shown when the pointer rests on the token.
        marked: draw a frame around it, in bold.
    """
    text = escape(visible(word))
    style = []
    if strength > 0:
        opacity = WEAKEST + (STRONGEST - WEAKEST) * min(strength, 1.0)
        style.append(f"background:rgba({','.join(map(str, HIGHLIGHT))},{opacity:.2f})")
    if marked:
        style.append("outline:1px solid currentColor")
    if not style and not hover:
        return text
    title = f' title="{escape(hover)}"' if hover else ""
    tag = "b" if marked else "span"
    return f'<{tag} style="{"; ".join(style)}"{title}>{text}</{tag}>'


def tokens_html(
    words: Sequence[str],
    acts: Float[Tensor, "seq"],
    strongest: float,
    marked: int | None = None,
) -> str:
    """Return a piece of text as HTML, each token colored by its activation.

    Args:
        words: the tokens, as text; an empty one belongs to the one before (see `words_in_context`).
        acts: the latent's activation on each of them.
        strongest: the activation that gets the strongest color.
        marked: the position of a token to frame.
    """
    if len(words) != len(acts):
        raise ValueError(f"There are {len(words)} words and {len(acts)} activations; pass one for each word.")
    parts = []
    for span in spans(words):
        word, act = words[span.start], float(acts[span.start : span.stop].max())
        hover = f"{visible(word)}  {act:.2f}" if act > 0 else ""
        parts.append(token_html(word, act / max(strongest, 1e-8), hover, marked=marked in span))
    return "".join(parts)


def display_top_sequences(
    indices: Int[Tensor, "k 2"],
    values: Float[Tensor, "k"],
    text: TokenizedText,
    tokenizer: object,
    acts: Float[Tensor, "batch seq"] | None = None,
    before: int = 12,
    after: int = 6,
    labels: bool = True,
    title: str = "",
) -> HTML:
    """Show tokens in their context, each with its activation as the strength of the color.

    Args:
        indices: the (batch, seq) position of every token to show, as `highest_activating_tokens` returns them.
        values: the latent's activation there.
        text: the text that the positions refer to.
        tokenizer: turns tokens into text.
        acts: the latent's activation on the whole text. The tokens around are then colored as well, and the
            strongest color stands for the largest activation of the whole text, not of these tokens.
        before: how many tokens to show before it.
        after: how many tokens to show after it.
        labels: say where each text comes from.
        title: a line above.
    """
    _need_positions(indices, values, text)
    scale = values if acts is None else acts
    strongest = float(scale.max()) if scale.numel() else 1.0
    rows = []
    for (batch, seq), value in zip(indices.tolist(), values.tolist(), strict=True):
        start, stop = max(0, seq - before), min(text.tokens.shape[1], seq + after + 1)
        words = words_in_context(text.tokens[batch, start:stop], tokenizer)
        around = torch.zeros(stop - start) if acts is None else acts[batch, start:stop].clone()
        around[seq - start] = value
        source = escape(text.label_names[int(text.labels[batch, seq])]) if labels else ""
        rows.append(
            f'<tr style="background:none"><td style="{_CELL}; {_SMALL}; text-align:right">{value:.2f}</td>'
            f'<td style="{_CELL}; {_TEXT}">{tokens_html(words, around, strongest, seq - start)}</td>'
            f'<td style="{_CELL}; {_SMALL}">{source}</td></tr>'
        )
    return table_html(rows, title or "no such token" * (not rows))


def display_activations(
    words: Sequence[str],
    acts: Float[Tensor, "seq latents"],
    names: Sequence[str],
    title: str = "",
) -> HTML:
    """Show how several latents fire on one text: the text once for each latent, colored by its activation.

    Args:
        words: the tokens, as text.
        acts: the activations, one column for each latent. Each latent's strongest activation here gets the
            strongest color.
        names: a name for each latent, shown before its line.
        title: a line above.
    """
    if acts.shape != (len(words), len(names)):
        raise ValueError(
            f"acts has the shape {tuple(acts.shape)}, but there are {len(words)} words and {len(names)} names; "
            "pass one row for each word and one column for each name."
        )
    rows = [
        f'<tr style="background:none"><td style="{_CELL}; {_SMALL}; text-align:right">{escape(name)}</td>'
        f'<td style="{_CELL}; {_TEXT}">{tokens_html(words, column, float(column.max()))}</td>'
        f'<td style="{_CELL}; {_SMALL}">max {float(column.max()):.2f}</td></tr>'
        for name, column in zip(names, acts.mT, strict=True)
    ]
    return table_html(rows, title)


def table_html(rows: Sequence[str], title: str = "") -> HTML:
    """Finished table rows as an output of a cell, with a line above."""
    heading = f'<div style="font-weight:600; margin:6px 0 2px">{escape(title)}</div>' if title else ""
    table = f'<table style="border:none; border-collapse:collapse; margin:0">{"".join(rows)}</table>'
    return HTML(f'{heading}<div style="overflow-x:auto">{table}</div>')


def stacked(parts: Sequence[HTML]) -> HTML:
    """Return several pieces of HTML one after the other, as one output."""
    return HTML("".join(f'<div style="margin-bottom:12px">{part.data}</div>' for part in parts))


def _need_positions(indices: Tensor, values: Tensor, text: TokenizedText) -> None:
    if indices.ndim != 2 or indices.shape[-1] != 2 or len(indices) != len(values):
        raise ValueError(
            f"indices has the shape {tuple(indices.shape)} and values {tuple(values.shape)}; pass one (batch, seq) "
            "pair for each value, in the shapes (k, 2) and (k,)."
        )
    batch, seq = text.tokens.shape
    inside = (indices >= 0) & (indices < torch.tensor([batch, seq], device=indices.device))
    if not bool(inside.all()):
        raise ValueError(
            f"A position lies outside the text, which has {batch} rows of {seq} tokens. Are the indices "
            "(batch, seq), and of this text?"
        )
