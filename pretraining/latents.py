"""The texts on which latents fire most, to give latents names (the list in `DATA.md`)."""

from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from part_utils.activations import get_activations
from part_utils.autoencoder import AutoEncoder
from part_utils.evaluation import encode
from part_utils.language_models import TokenizedText
from part_utils.token_text import text_of

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


class TopActivations(NamedTuple):
    """The strongest activations of every latent of one instance on a text."""

    values: Float[Tensor, "n_hidden_ae k"]
    positions: Int[Tensor, "n_hidden_ae k"]
    """Positions in the flattened tokens."""
    rates: Float[Tensor, "n_hidden_ae"]
    """Share of tokens on which the latent fires."""


@torch.no_grad()
def top_activations(
    tokens: Int[Tensor, "rows seq"],
    model: "TransformerBridge",
    autoencoder: AutoEncoder,
    instance: int = 0,
    k: int = 20,
    batch_rows: int = 32,
) -> TopActivations:
    """Goes through the text once and keeps the k strongest activations of every latent."""
    n_hidden_ae = autoencoder.cfg.n_hidden_ae
    best = torch.zeros(n_hidden_ae, k)
    positions = torch.zeros(n_hidden_ae, k, dtype=torch.long)
    fired = torch.zeros(n_hidden_ae)
    start = 0
    for rows in tokens.split(batch_rows):
        acts = encode(get_activations(rows, model), autoencoder, instance).mT.cpu()
        fired += (acts > 0).sum(dim=1)
        values, places = torch.cat([best, acts], dim=1).topk(k, dim=1)
        old = positions.gather(1, places.clamp(max=k - 1))
        positions = torch.where(places < k, old, places - k + start)
        best = values
        start += rows.numel()
    return TopActivations(best, positions, fired / start)


def context(
    tokens: Int[Tensor, "rows seq"],
    position: int,
    model: "TransformerBridge",
    before: int = 8,
    after: int = 3,
) -> str:
    """The text around a position of the flattened tokens, with the token itself in «guillemets»."""
    row, place = divmod(position, tokens.shape[1])
    start = max(1, place - before)
    pieces = (
        tokens[row, start:place],
        tokens[row, place : place + 1],
        tokens[row, place + 1 : place + 1 + after],
    )
    parts = [text_of(piece, model.tokenizer) for piece in pieces]
    return "{}«{}»{}".format(*parts).replace("\n", "⏎").replace("|", "¦").replace("`", "ˋ")


def main_label(text: TokenizedText, positions: Int[Tensor, "k"]) -> tuple[str, float]:
    """The most common label at some positions, and its share."""
    labels = text.labels.flatten()[positions]
    label, count = labels.mode().values.item(), (labels == labels.mode().values).sum().item()
    return text.label_names[int(label)], count / len(positions)


def table_of_latents(
    names: dict[int, str],
    text: TokenizedText,
    model: "TransformerBridge",
    autoencoder: AutoEncoder,
    instance: int = 0,
    n_contexts: int = 3,
) -> list[str]:
    """Lines of a Markdown table: latent, name, firing rate, the contexts on which it fires most."""
    top = top_activations(text.tokens, model, autoencoder, instance)
    lines = ["| latent | name | fires on | where it fires most |", "|---|---|---|---|"]
    for latent, name in names.items():
        contexts = []
        for position in top.positions[latent].tolist():
            found = context(text.tokens, position, model)
            if found not in contexts:
                contexts.append(found)
        shown = " · ".join(f"`{found}`" for found in contexts[:n_contexts])
        lines.append(f"| {latent} | {name} | {top.rates[latent]:.2%} | {shown} |")
    return lines
