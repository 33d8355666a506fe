"""Figures of chapter 6: activation functions, shrinkage, absorption, wrong L0, the frontier."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from part_utils.absorption import Absorption
from part_utils.frontier import FrontierPoint
from part_utils.l0_sweep import L0Result
from part_utils.plots.theme import COLORS, GRAY, rounded, styled, with_alt
from part_utils.variants.jumprelu import jumprelu, near_threshold


def plot_jumprelu(threshold: float = 0.5, bandwidth: float = 0.3) -> go.Figure:
    """Draw ReLU and JumpReLU, and the kernel that stands in for the gradient with respect to the threshold."""
    fig = make_subplots(
        rows=1,
        cols=2,
        horizontal_spacing=0.12,
        subplot_titles=("value", "minus the gradient for the threshold"),
    )
    x = torch.linspace(-0.5, 1.2, 341).view(-1, 1, 1)
    at = torch.full((1, 1), threshold)
    jump, kernel = jumprelu(x, at, bandwidth).flatten(), near_threshold(x, at, bandwidth).flatten()
    shown = rounded(x.flatten())
    lines = (
        ("ReLU", shown, torch.relu(x).flatten(), 1, {"color": GRAY, "dash": "dash"}),
        ("JumpReLU", shown, jump, 1, {"color": COLORS[0]}),
        ("of the number that fires: the kernel", shown, kernel, 2, {"color": COLORS[3]}),
        ("of the latent: threshold × kernel", shown, threshold * kernel, 2, {"color": COLORS[2]}),
    )
    for name, xs, ys, column, line in lines:
        fig.add_trace(
            go.Scatter(x=xs, y=rounded(ys), name=name, mode="lines", line={"width": 2.5, **line}),
            row=1,
            col=column,
        )
    for column in (1, 2):
        fig.add_vline(x=threshold, line={"color": GRAY, "dash": "dot", "width": 1}, row=1, col=column)
    styled(fig, title="A jump, and what stands in for its gradient", width=950, height=400)
    fig.update_xaxes(title_text="pre-activation")
    fig.update_layout(
        legend={"orientation": "h", "y": -0.22, "x": 0.5, "xanchor": "center"}, margin={"b": 110}
    )
    return with_alt(
        fig,
        f"Left: JumpReLU is 0 up to the threshold {threshold}, jumps there, and is the ReLU's line from there on. "
        f"Right: the kernel is a rectangle of width {bandwidth} and height {1 / bandwidth:.1f} around the threshold, "
        "and 0 elsewhere.",
    )


def plot_shrinkage_line(
    l1_coeffs: Sequence[float], measured: Sequence[Sequence[float]], lines: Mapping[str, Sequence[float]]
) -> go.Figure:
    """Draw what is left of a feature's strength over the weight of the penalty: predicted lines, measured points.

    Args:
        l1_coeffs: the weights.
        measured: for each weight the shrinkage in every instance.
        lines: for each prediction its values, one for each weight.
    """
    fig = go.Figure()
    for (name, values), color, dash in zip(lines.items(), COLORS[1:], ("dash", "solid", "dot"), strict=False):
        fig.add_trace(
            go.Scatter(
                x=[*l1_coeffs],
                y=rounded(values),
                name=name,
                mode="lines",
                line={"color": color, "dash": dash},
            )
        )
    xs = [x for x, values in zip(l1_coeffs, measured, strict=True) for _ in values]
    ys = [y for values in measured for y in values]
    marker = {"color": COLORS[0], "size": 8, "opacity": 0.7}
    fig.add_trace(
        go.Scatter(x=xs, y=rounded(ys), name="measured, each instance", mode="markers", marker=marker)
    )
    styled(fig, title="How much of a feature its latent gives back", width=800, height=430)
    fig.update_xaxes(title_text="l1_coeff")
    fig.update_yaxes(title_text="latent / true strength")
    means = ", ".join(f"{sum(v) / len(v):.2f} at {x:g}" for x, v in zip(l1_coeffs, measured, strict=True))
    return with_alt(
        fig, f"Shrinkage over the weight of the penalty. Measured: {means}; the predicted lines are beside."
    )


def plot_absorption_plane(
    results: Sequence[Absorption], *, columns: int = 4, title: str | None = None
) -> go.Figure:
    """Draw decoder rows in the plane of parent and child, one panel for each kind and an arrow for each instance.

    The parent points up, the child to the right. Blue is the latent of the child, orange that of the parent.
    """
    columns = min(columns, len(results))
    rows = -(-len(results) // columns)
    fig = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=[result.name for result in results],
        horizontal_spacing=0.03,
        vertical_spacing=0.14 / max(rows - 1, 1),
    )
    for place, result in enumerate(results):
        row, col = place // columns + 1, place % columns + 1
        for name, ends, color in (
            ("latent of the child", result.child_row, COLORS[0]),
            ("latent of the parent", result.parent_row, COLORS[1]),
        ):
            xs: list[float | None] = []
            ys: list[float | None] = []
            for parent, child in rounded(ends):
                xs += [0.0, child, None]
                ys += [0.0, parent, None]
            fig.add_trace(
                go.Scatter(
                    x=xs,
                    y=ys,
                    name=name,
                    legendgroup=name,
                    showlegend=place == 0,
                    mode="lines+markers",
                    line={"color": color, "width": 1.5},
                    marker={"size": 6, "symbol": "arrow", "angleref": "previous", "color": color},
                    opacity=0.75,
                    hovertemplate="along the child %{x}, along the parent %{y}<extra>" + name + "</extra>",
                ),
                row=row,
                col=col,
            )
        fig.add_trace(
            go.Scatter(
                x=[0, 0, None, 0, 1],
                y=[0, 1, None, 0, 0],
                mode="lines",
                line={"color": GRAY, "dash": "dot", "width": 1},
                hoverinfo="skip",
                name="true directions",
                showlegend=place == 0,
            ),
            row=row,
            col=col,
        )
    panel = 380 if len(results) == 1 else 235
    styled(fig, title=title, width=80 + panel * columns, height=150 + panel * rows)
    fig.update_xaxes(range=[-0.6, 1.1], dtick=0.5, showgrid=False, zeroline=False)
    fig.update_yaxes(range=[-0.6, 1.1], dtick=0.5, showgrid=False, zeroline=False)
    for place in range(len(results)):
        fig.update_xaxes(
            scaleanchor=f"y{place + 1 if place else ''}", row=place // columns + 1, col=place % columns + 1
        )
    fig.update_layout(
        legend={"orientation": "h", "y": -0.08, "x": 0.5, "xanchor": "center", "yanchor": "top"}
    )
    said = "; ".join(
        f"{r.name}: the child's row has {r.child_row[:, 0].median():.2f} along the parent (median)"
        for r in results
    )
    return with_alt(
        fig, f"Decoder rows of the child's and the parent's latent in the plane of the two. {said}."
    )


def plot_recall(results: Sequence[Absorption], *, title: str | None = None) -> go.Figure:
    """Draw how often the parent's latent fires without and with the child, a dot for each instance."""
    fig = go.Figure()
    for index, result in enumerate(results):
        jitter = torch.linspace(-0.12, 0.12, len(result.recall_alone))
        for name, values, color, shift in (
            ("parent without child", result.recall_alone, COLORS[1], -0.17),
            ("parent with child", result.recall_with_child, COLORS[0], 0.17),
        ):
            fig.add_trace(
                go.Scatter(
                    x=rounded(index + shift + jitter),
                    y=rounded(values),
                    name=name,
                    legendgroup=name,
                    showlegend=index == 0,
                    mode="markers",
                    marker={"color": color, "size": 7, "opacity": 0.7},
                )
            )
    styled(fig, title=title, width=950, height=430)
    fig.update_xaxes(
        tickvals=[*range(len(results))],
        ticktext=[result.name for result in results],
        showgrid=False,
        zeroline=False,
    )
    fig.update_yaxes(title_text="how often the parent's latent fires", range=[-0.05, 1.05])
    said = "; ".join(
        f"{r.name} {r.recall_alone.mean():.2f} without and {r.recall_with_child.mean():.2f} with the child"
        for r in results
    )
    return with_alt(fig, f"Recall of the parent's latent, one dot for each instance. Means: {said}.")


def plot_l0_sweep(results: Sequence[L0Result], *, title: str | None = None) -> go.Figure:
    """Draw recovery and FVU over L0 in units of the true one, with the range over the instances."""
    fig = make_subplots(rows=1, cols=2, horizontal_spacing=0.12)
    xs = [result.times_true for result in results]
    for column, (name, values, color) in enumerate(
        (
            ("features recovered", [r.recovered for r in results], COLORS[0]),
            ("FVU", [r.fvu for r in results], COLORS[3]),
        ),
        start=1,
    ):
        means = [value.mean().item() for value in values]
        spread = {
            "type": "data",
            "array": rounded([v.max().item() - m for v, m in zip(values, means, strict=True)]),
            "arrayminus": rounded([m - v.min().item() for v, m in zip(values, means, strict=True)]),
            "thickness": 1,
        }
        fig.add_trace(
            go.Scatter(
                x=xs, y=rounded(means), error_y=spread, mode="lines+markers", name=name, line={"color": color}
            ),
            row=1,
            col=column,
        )
        fig.add_vline(x=1, line={"color": GRAY, "dash": "dot", "width": 1}, row=1, col=column)
        fig.update_yaxes(title_text=name, row=1, col=column)
    styled(fig, title=title, width=900, height=400)
    fig.update_xaxes(title_text="k, in units of the true L0")
    fig.update_layout(showlegend=False)
    said = ", ".join(f"{r.recovered.mean():.0%} at {r.times_true:g} times the true L0" for r in results)
    return with_alt(
        fig, f"Left: recovered features: {said}. Right: the FVU over the same. Bars: range over instances."
    )


def plot_frontier(
    points: Sequence[FrontierPoint], *, value: str = "fvu", title: str | None = None
) -> go.Figure:
    """Draw one measure of every kind over L0.

    Args:
        points: from `load_frontier`.
        value: `"fvu"` or `"recovered"`.
        title: a title for the figure.
    """
    names = {"fvu": "FVU", "recovered": "CE recovered (mean ablation)"}
    fig = go.Figure()
    kinds = list(dict.fromkeys(point.kind for point in points))
    symbols = ("circle", "square", "diamond", "cross", "x", "triangle-up", "circle-open", "square-open")
    for index, kind in enumerate(kinds):
        mine = sorted((point for point in points if point.kind == kind), key=lambda point: point.l0)
        alone = kind in ("neurons", "principal components")
        color = GRAY if alone else COLORS[index % len(COLORS)]
        fig.add_trace(
            go.Scatter(
                x=rounded([point.l0 for point in mine], 1),
                y=rounded([getattr(point, value) for point in mine]),
                name=f"{kind}, no autoencoder" if alone else kind,
                mode="lines+markers",
                line={"color": color, "dash": "dash" if alone else "solid"},
                marker={"symbol": symbols[index % len(symbols)], "size": 8},
            )
        )
    styled(fig, title=title, width=900, height=480)
    fig.update_xaxes(
        title_text="L0 (latents that fire, or coordinates kept)", type="log", tickvals=[4, 8, 16, 32, 64]
    )
    fig.update_yaxes(title_text=names[value])
    said = "; ".join(
        f"{kind} {min(getattr(p, value) for p in points if p.kind == kind):.2f} to "
        f"{max(getattr(p, value) for p in points if p.kind == kind):.2f}"
        for kind in kinds
    )
    return with_alt(fig, f"{names[value]} over L0, a line for each kind. Ranges: {said}.")
