"""The texts on which latents fire most, to give latents names (the list in `DATA.md`)."""

from typing import TYPE_CHECKING

from jaxtyping import Int
from torch import Tensor

from part_utils.interpretation import top_activations
from part_utils.model_with_autoencoder import ModelWithAutoencoder
from part_utils.texts import TokenizedText
from part_utils.token_text import text_of

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


def context(
    tokens: Int[Tensor, "rows seq"],
    position: int,
    model: "TransformerBridge",
    before: int = 8,
    after: int = 3,
) -> str:
    """Return the text around a position of the flattened tokens, with the token itself in «guillemets»."""
    row, place = divmod(position, tokens.shape[1])
    start = max(1, place - before)
    pieces = (
        tokens[row, start:place],
        tokens[row, place : place + 1],
        tokens[row, place + 1 : place + 1 + after],
    )
    parts = [text_of(piece, model.tokenizer) for piece in pieces]
    return "{}«{}»{}".format(*parts).replace("\n", "⏎").replace("|", "¦").replace("`", "ˋ")


def table_of_latents(
    names: dict[int, str],
    text: TokenizedText,
    subject: ModelWithAutoencoder,
    n_contexts: int = 3,
) -> list[str]:
    """Return lines of a Markdown table: latent, name, firing rate, the contexts on which it fires most."""
    top = top_activations(text.tokens, subject)
    lines = ["| latent | name | fires on | where it fires most |", "|---|---|---|---|"]
    for latent, name in names.items():
        contexts = []
        for position in top.positions[latent].tolist():
            found = context(text.tokens, position, subject.model)
            if found not in contexts:
                contexts.append(found)
        shown = " · ".join(f"`{found}`" for found in contexts[:n_contexts])
        lines.append(f"| {latent} | {name} | {top.rates[latent]:.2%} | {shown} |")
    return lines
