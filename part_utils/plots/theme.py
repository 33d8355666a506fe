"""The look that all figures share: color-blind-safe colors, readable on a light and on a dark page."""

from collections.abc import Sequence

import plotly.graph_objects as go
import torch
from plotly.colors import sample_colorscale
from torch import Tensor

from part_utils.palette import COLORS, FAINT, GRAY
from part_utils.plots.on_pages import show_on_pages

# The middle of viridis: its ends would be lost on a dark or a white page.
SEQUENTIAL = tuple(
    (i / 8, color)
    for i, color in enumerate(sample_colorscale("Viridis", [0.2 + 0.7 * i / 8 for i in range(9)]))
)
MAX_WIDTH = 1000

_AXIS = {
    "title_standoff": 8,
    "gridcolor": FAINT,
    "zerolinecolor": FAINT,
    "linecolor": GRAY,
    "tickcolor": GRAY,
}
TEMPLATE = go.layout.Template(
    layout={
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": GRAY, "size": 13, "family": "Helvetica, Arial, sans-serif"},
        "title": {"x": 0.5, "xanchor": "center", "font": {"size": 16}},
        "colorway": COLORS,
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "legend": {"bgcolor": "rgba(0,0,0,0)"},
        "margin": {"l": 60, "r": 30, "t": 60, "b": 65},
        "hovermode": "closest",
    }
)


def styled(fig: go.Figure, *, title: str | None = None, width: int = 800, height: int = 450) -> go.Figure:
    """Give a figure the shared look, a title and a size, and see that it will show on pages made from notebooks."""
    show_on_pages()
    fig.update_layout(template=TEMPLATE, title_text=title, width=min(width, MAX_WIDTH), height=height)
    return fig


def with_alt(fig: go.Figure, text: str) -> go.Figure:
    """Attach a description for people who cannot see the figure; pages and notebooks use it as alt text."""
    fig.update_layout(meta={"alt": text})
    return fig


def rounded(values: Tensor | Sequence[float], digits: int = 3) -> list:
    """Plain nested lists with few digits: a figure should not carry more than can be seen."""
    tensor = torch.as_tensor(values).detach().cpu().double()
    scale = 10**digits
    return _round_all(((tensor * scale).round() / scale).tolist(), digits)


def _round_all(values: list | float, digits: int) -> list:
    if isinstance(values, list):
        return [_round_all(value, digits) for value in values]
    return round(values, digits) + 0.0  # type: ignore[return-value]  # + 0.0 turns -0.0 into 0.0
