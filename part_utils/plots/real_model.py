"""Figures of chapter 8: the length of the residual stream, and a change on its way through later blocks."""

from collections.abc import Sequence

import plotly.graph_objects as go
from jaxtyping import Float
from torch import Tensor

from part_utils.palette import BLUE, ORANGE
from part_utils.places import Onward
from part_utils.plots.theme import rounded, styled, with_alt


def plot_norms(
    typical: Float[Tensor, "blocks"], largest: Float[Tensor, "blocks"], title: str | None = None
) -> go.Figure:
    """Draw how long the residual stream is behind each block: at its longest position and at a typical one."""
    blocks = list(range(len(typical)))
    fig = go.Figure(
        [
            go.Scatter(x=blocks, y=rounded(norms), name=name, mode="lines+markers", line={"color": color})
            for name, norms, color in (("longest", largest, ORANGE), ("median", typical, BLUE))
        ]
    )
    styled(fig, title=title, width=800, height=380)
    fig.update_xaxes(title_text="behind block")
    fig.update_yaxes(title_text="length of the residual stream", type="log")
    widest = int((largest / typical).argmax())
    return with_alt(
        fig,
        f"The longest position is up to {largest[widest] / typical[widest]:.0f} times as long as the median one, most "
        f"behind block {widest}.",
    )


def plot_onward(onward: Onward, names: Sequence[str] = ("length", "cosine")) -> go.Figure:
    """Draw for each block how long a change still is, and how much of it points along the old direction."""
    fig = go.Figure(
        [
            go.Scatter(
                x=onward.blocks,
                y=rounded(values),
                name=name,
                mode="lines+markers",
                line={"color": color},
                text=[", ".join(repr(word) for word in words) for words in onward.favored],
                hovertemplate="behind block %{x}: %{y:.2f}<br>favors %{text}<extra></extra>",
            )
            for name, values, color in zip(names, (onward.length, onward.cosine), (BLUE, ORANGE), strict=True)
        ]
    )
    styled(fig, title="A change on its way through the later blocks", width=800, height=400)
    fig.update_xaxes(title_text="behind block")
    return with_alt(
        fig,
        f"Length {onward.length[0]:.2f} at the place and {onward.length[-1]:.2f} behind the last block; cosine with "
        f"the direction {onward.cosine[0]:.2f} and {onward.cosine[-1]:.2f}.",
    )
