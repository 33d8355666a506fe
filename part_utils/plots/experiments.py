"""Figures of the larger experiments with toy models. They return a figure and change nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from part_utils.palette import COLORS, GRAY
from part_utils.phase_diagram import STATES, PhaseDiagram
from part_utils.plots.theme import rounded, styled, with_alt
from part_utils.plots.toy_model import _arrow, _color, _need_2d, _square_axes, _unit_circle
from part_utils.shrinkage import Shrinkage
from part_utils.training import TrainingLog

STATE_COLORS = (GRAY, COLORS[1], COLORS[0])


def plot_phase_diagrams(
    *diagrams: PhaseDiagram, titles: Sequence[str] | None = None, title: str | None = None
) -> go.Figure:
    """Draw what becomes of the last feature, by its importance (to the right) and its sparsity (upward).

    Args:
        diagrams: from `measure_phases` or `theoretical_phases`.
        titles: one title for each diagram.
        title: a title for the figure.
    """
    if not diagrams:
        raise ValueError("plot_phase_diagrams needs at least one diagram.")
    fig = make_subplots(
        rows=1, cols=len(diagrams), subplot_titles=titles, shared_yaxes=True, horizontal_spacing=0.04
    )
    for column, diagram in enumerate(diagrams, start=1):
        names = [[STATES[state] for state in row] for row in diagram.states.tolist()]
        heat = go.Heatmap(
            z=diagram.states.tolist(),
            x=[f"{value:.2g}" for value in diagram.importances],
            y=[f"{value:.2g}" for value in diagram.probabilities],
            zmin=-0.5,
            zmax=2.5,
            colorscale=[
                (edge, color) for i, color in enumerate(STATE_COLORS) for edge in (i / 3, (i + 1) / 3)
            ],
            showscale=False,
            text=names,
            xgap=1,
            ygap=1,
            hovertemplate="p = %{y}, importance %{x}<br>%{text}<extra></extra>",
        )
        fig.add_trace(heat, row=1, col=column)
    for name, color in zip(STATES, STATE_COLORS, strict=True):
        entry = go.Scatter(
            x=[None],
            y=[None],
            mode="markers",
            name=name,
            marker={"color": color, "size": 12, "symbol": "square"},
        )
        fig.add_trace(entry, row=1, col=1)
    styled(fig, title=title, width=130 + 420 * len(diagrams), height=500)
    fig.update_xaxes(
        type="category", title_text="importance of the last feature (the others have 1)", showgrid=False
    )
    fig.update_yaxes(type="category", showgrid=False)
    fig.update_yaxes(title_text="feature probability (sparser upward)", col=1)
    fig.update_layout(
        legend={"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.16, "yanchor": "top"},
        margin={"l": 80, "t": 90 if title else 45, "b": 100},
    )
    counts = "; ".join(
        ", ".join(f"{int((diagram.states == i).sum())} {name}" for i, name in enumerate(STATES))
        for diagram in diagrams
    )
    return with_alt(fig, f"Phase diagrams of the last feature of a toy model. Cells: {counts}.")


def animate_learning(
    log: TrainingLog, *, instance: int = 0, max_frames: int = 50, title: str | None = None
) -> go.Figure:
    """Animate the arrows of a toy model while it trains, beside its loss, with a slider and a play button.

    The figure stands at the end of the training; the play button starts at its beginning.

    Args:
        log: from `ToyModel.optimize(..., record_weights=True)`, of a model with n_hidden = 2.
        instance: which instance's arrows are drawn.
        max_frames: the most frames, evenly spread over the records.
        title: a title for the figure.
    """
    weights = torch.stack(log["W"])[:, instance].cpu()
    _need_2d(weights.shape[1])
    n_records, _, n_features = weights.shape
    chosen = torch.linspace(0, n_records - 1, min(max_frames, n_records)).round().long().tolist()
    losses = rounded(log["loss"], 6)
    fig = make_subplots(rows=1, cols=2, column_widths=[0.45, 0.55], horizontal_spacing=0.12)
    fig.add_trace(_unit_circle(), row=1, col=1)
    line = {"mode": "lines", "line": {"color": GRAY, "width": 2}, "hoverinfo": "skip"}
    fig.add_trace(go.Scatter(x=log.steps, y=losses, **line), row=1, col=2)

    def moving(record: int) -> list[go.Scatter]:
        ends = rounded(weights[record].mT)
        arrows = [_arrow(x, y, feature, _color(feature)) for feature, (x, y) in enumerate(ends)]
        dot = go.Scatter(
            x=[log.steps[record]],
            y=[losses[record]],
            mode="markers",
            marker={"color": COLORS[3], "size": 12},
            hovertemplate="step %{x}: loss %{y}<extra></extra>",
        )
        return [*arrows, dot]

    for trace, column in zip(moving(chosen[-1]), [1] * n_features + [2], strict=True):
        fig.add_trace(trace, row=1, col=column)
    numbers = list(range(2, 2 + n_features + 1))
    # A frame holds the positions only; the looks stay.
    fig.frames = [
        go.Frame(
            data=[go.Scatter(x=trace.x, y=trace.y) for trace in moving(record)],
            traces=numbers,
            name=str(log.steps[record]),
        )
        for record in chosen
    ]
    styled(fig, title=title, width=900, height=520)
    reach = 1.15 * max(1.0, float(weights.norm(dim=1).max()))
    _square_axes(fig, [reach, 1.0])
    fig.update_xaxes(
        range=None,
        autorange=True,
        showticklabels=True,
        showgrid=True,
        title_text="step",
        constrain=None,
        col=2,
    )
    fig.update_yaxes(
        range=None, autorange=True, scaleanchor=None, scaleratio=None, constrain=None, showticklabels=True,
        showgrid=True, rangemode="tozero", title_text="loss", col=2,
    )  # fmt: skip
    fig.update_layout(
        showlegend=False,
        margin={"l": 20, "r": 20, "t": 80 if title else 30, "b": 150},
        **_player([frame.name for frame in fig.frames]),
    )
    kept = [int((weights[record].norm(dim=0) > 0.5).sum()) for record in (chosen[0], chosen[-1])]
    return with_alt(
        fig,
        f"Animation of the arrows of {n_features} features over {log.steps[-1] + 1} steps beside the loss, from"
        f" {losses[0]:.3g} to {losses[-1]:.3g}. Arrows longer than one half: {kept[0]} at first, {kept[1]} at the end.",
    )


def _player(names: Sequence[str]) -> dict[str, Any]:
    """A play button and a slider over the frames with these names, which stands at the last one."""
    now = {"mode": "immediate", "transition": {"duration": 0}}
    play = {**now, "frame": {"duration": 150, "redraw": False}, "fromcurrent": True}
    stop = {**now, "frame": {"duration": 0, "redraw": False}}
    buttons = [
        {"label": "Play", "method": "animate", "args": [None, play]},
        {"label": "Pause", "method": "animate", "args": [[None], stop]},
    ]
    steps = [{"label": name, "method": "animate", "args": [[name], stop]} for name in names]
    menu = {
        "type": "buttons", "direction": "left", "buttons": buttons,
        "x": 0, "y": 0, "xanchor": "left", "yanchor": "top", "pad": {"t": 80},
    }  # fmt: skip
    slider = {
        "active": len(names) - 1, "steps": steps, "currentvalue": {"prefix": "step "},
        "x": 0.2, "len": 0.8, "y": 0, "pad": {"t": 60},
    }  # fmt: skip
    return {"updatemenus": [menu], "sliders": [slider]}


def plot_shrinkage(results: Mapping[str, Sequence[Shrinkage]], *, title: str | None = None) -> go.Figure:
    """Draw by how much latents fall short of their features, measured and predicted, against the penalty.

    Args:
        results: for each toy model its name and what `measure_shrinkage` returned.
        title: a title for the figure.
    """
    fig = make_subplots(
        rows=1,
        cols=2,
        subplot_titles=["shortfall of a latent that fires", "feature present, latent silent"],
        horizontal_spacing=0.1,
    )
    first = next(iter(results.values()))
    x = [result.l1_coeff for result in first]
    line = {"mode": "lines", "line": {"color": GRAY, "dash": "dash"}}
    fig.add_trace(
        go.Scatter(x=x, y=[r.predicted for r in first], name="predicted: l1_coeff · d / 2", **line),
        row=1,
        col=1,
    )
    for number, (name, sweep) in enumerate(results.items()):
        for column, values in ((1, [r.measured for r in sweep]), (2, [r.silent for r in sweep])):
            dots = go.Scatter(
                x=[r.l1_coeff for r in sweep],
                y=rounded(values),
                mode="markers+lines" if column == 2 else "markers",
                marker={"color": _color(number), "size": 9, "symbol": ("circle", "diamond")[number % 2]},
                name=name,
                legendgroup=name,
                showlegend=column == 1,
            )
            fig.add_trace(dots, row=1, col=column)
    styled(fig, title=title, width=900, height=420)
    fig.update_xaxes(title_text="l1_coeff", rangemode="tozero")
    fig.update_yaxes(rangemode="tozero")
    fig.update_yaxes(title_text="share of these inputs", col=2)
    fig.update_layout(legend={"orientation": "h", "y": -0.22}, margin={"t": 90 if title else 50})
    words = "; ".join(
        f"{name}: "
        + ", ".join(f"{r.measured:.2f} against {r.predicted:.2f} at {r.l1_coeff:g}" for r in sweep)
        for name, sweep in results.items()
    )
    return with_alt(fig, f"Shortfall of the latents, measured against predicted, by l1_coeff. {words}.")
