"""Figures of chapter 7: baselines beside an autoencoder, and the graph of one prompt."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from part_utils.palette import BLUE, GRAY, GREEN, VERMILION
from part_utils.plots.text import visible
from part_utils.plots.theme import COLORS, rounded, styled, with_alt
from part_utils.prompt_graph import Edge, Graph


def plot_spread(values: Mapping[str, Sequence[float]], title: str, axis: str) -> go.Figure:
    """Draw one dot for each seed, in a column for each thing that was measured."""
    fig = go.Figure()
    for (name, each), color in zip(values.items(), COLORS * 3, strict=False):
        marker = {"color": color, "size": 9, "opacity": 0.75}
        fig.add_trace(
            go.Scatter(x=[name] * len(each), y=rounded(each), mode="markers", marker=marker, showlegend=False)
        )
    styled(fig, title=title, width=850, height=420)
    fig.update_yaxes(title_text=axis)
    said = "; ".join(f"{name} {min(each):.3f} to {max(each):.3f}" for name, each in values.items() if each)
    return with_alt(fig, f"{axis}, one dot for each seed: {said}.")


def plot_predicted_and_measured(
    predicted: Sequence[float], measured: Sequence[float], names: Sequence[str]
) -> go.Figure:
    """Draw for every edge what the graph says and what ablation finds; on the line both agree."""
    fig = go.Figure()
    ends = [min((*predicted, *measured)), max((*predicted, *measured))]
    fig.add_trace(
        go.Scatter(x=ends, y=ends, mode="lines", line={"color": GRAY, "dash": "dash"}, name="equal")
    )
    fig.add_trace(
        go.Scatter(
            x=rounded(predicted),
            y=rounded(measured),
            text=[*names],
            mode="markers",
            marker={"color": BLUE, "size": 9, "opacity": 0.75},
            name="an edge from a latent to a logit",
            hovertemplate="%{text}<br>edge %{x:.3f}, ablated %{y:.3f}<extra></extra>",
        )
    )
    styled(fig, title="What the edge says, and what the true model does", width=700, height=480)
    fig.update_xaxes(title_text="edge in the graph")
    fig.update_yaxes(title_text="fall of the logit when the latent is ablated")
    worst = max(abs(p - m) for p, m in zip(predicted, measured, strict=True))
    return with_alt(
        fig, f"{len(predicted)} edges, predicted against measured; the largest difference is {worst:.2f}."
    )


def node_places(graph: Graph) -> dict[str, tuple[float, float]]:
    """Say where each node of a graph is drawn: tokens below, latents in the middle, the logit above."""
    names = {name for edge in graph.edges for name in (edge.source, edge.target)}
    tokens = [f"token {place}" for place in range(graph.position + 1)]
    below = [*tokens, *(name for name in ("position", "bias") if name in names)]
    strength = {edge.source: abs(edge.effect) for edge in graph.kept_into("logit")}
    latents = sorted((n for n in names if n.startswith("latent")), key=lambda name: -strength[name])
    middle = [*latents, *(name for name in ("skip", "error") if name in names)]
    places = {"logit": (0.5, 2.0)}
    for height, row in ((0.0, below), (1.0, middle)):
        for number, name in enumerate(row):
            places[name] = ((number + 0.5) / len(row), height)
    return places


def node_kind(name: str) -> str:
    """Return `token`, `latent`, `logit`, or `other`."""
    kind = name.split()[0]
    return kind if kind in ("token", "latent", "logit") else "other"


def node_label(graph: Graph, name: str) -> str:
    """Return what a node is called in a picture."""
    if name.startswith("token"):
        return visible(graph.words[int(name.split()[1])])
    if name == "logit":
        return f"{visible(graph.prediction)} ({graph.probability:.0%})"
    return name.replace("latent ", "")


def edge_text(graph: Graph, edge: Edge) -> str:
    """Describe one edge in a line."""
    names = {"logit": "the logit"}
    source, target = (
        names.get(name, name if name.startswith("latent") else f"‘{node_label(graph, name)}’")
        for name in (edge.source, edge.target)
    )
    via = {"attention": " through attention", "direct": " directly", "": ""}[edge.via]
    return f"{source} to {target}{via}: {edge.effect:+.2f}"


def plot_graph(graph: Graph, title: str | None = None) -> go.Figure:
    """Draw the graph of one prompt: width is contribution, orange adds, blue takes away, gray is unexplained."""
    places, fig = node_places(graph), go.Figure()
    largest = max(abs(edge.effect) for edge in graph.edges)
    for edge in reversed(graph.edges):
        (x0, y0), (x1, y1) = places[edge.source], places[edge.target]
        color = GRAY if edge.source == "error" else VERMILION if edge.effect > 0 else BLUE
        bend = 0.04 if edge.via == "attention" and edge.source == f"token {graph.position}" else 0.0
        line = {"color": color, "width": 1 + 9 * abs(edge.effect) / largest, "shape": "spline"}
        fig.add_trace(
            go.Scatter(
                x=[x0, (x0 + x1) / 2 + bend, x1],
                y=[y0, (y0 + y1) / 2, y1],
                mode="lines",
                line=line,
                opacity=0.6,
                text=[edge_text(graph, edge)] * 3,
                hoverinfo="text",
                showlegend=False,
            )
        )
    for kind, color in (("token", GRAY), ("latent", GREEN), ("logit", VERMILION), ("other", GRAY)):
        names = [name for name in places if node_kind(name) == kind]
        fig.add_trace(
            go.Scatter(
                x=[places[name][0] for name in names],
                y=[places[name][1] for name in names],
                mode="markers+text",
                marker={"color": color, "size": 12, "symbol": "square" if kind == "token" else "circle"},
                text=[node_label(graph, name) for name in names],
                textposition="bottom center" if kind == "token" else "top center",
                hovertext=[graph.latents.get(int(n.split()[1]), n) if kind == "latent" else n for n in names],
                hoverinfo="text",
                showlegend=False,
            )
        )
    styled(fig, title=title or _title(graph), width=950, height=560)
    fig.update_xaxes(visible=False, range=[-0.03, 1.03])
    fig.update_yaxes(visible=False, range=[-0.35, 2.3])
    fig.update_layout(margin={"l": 20, "r": 20, "b": 20})
    strongest = "; ".join(edge_text(graph, edge) for edge in graph.kept_into("logit")[:4])
    return with_alt(fig, f"{_title(graph)} The strongest edges into the logit: {strongest}.")


def _title(graph: Graph) -> str:
    kept = len(graph.kept_into("logit"))
    return f"{kept} of {graph.n_into_logit} edges carry {graph.share:.0%} of what goes into the logit"
