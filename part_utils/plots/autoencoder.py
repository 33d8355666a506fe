"""Figures of autoencoders on toy models. They take tensors or a log, return a figure, and change nothing."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import torch
from jaxtyping import Bool, Float
from plotly.subplots import make_subplots
from torch import Tensor

from part_utils.autoencoder import AutoEncoder, encoder_decoder_similarity
from part_utils.matching import feature_latent_similarity
from part_utils.palette import COLORS, GRAY
from part_utils.plots.theme import rounded, styled, with_alt
from part_utils.plots.toy_model import (
    _color,
    _need_2d,
    _panels,
    _points,
    _square_axes,
    _unit_circle,
    plot_matrices,
)
from part_utils.recovery import LEAST_RATE, Recovery
from part_utils.toy_model import ToyModel
from part_utils.training import TrainingLog

CURVES = {
    "l1": "L1: sum of the latents",
    "l2": "L2: reconstruction error",
    "l0": "L0: latents that fire",
    "dead": "share of dead latents",
}
# The opacity of latents that never fire.
PALE = 0.5


def resampling_events(log: TrainingLog) -> list[tuple[int, Tensor]]:
    """When an autoencoder's latents were resampled: the recorded step, and which ones, True where replaced."""
    counts = log["n_resampled"]
    changes = [(step, new - old) for step, old, new in zip(log.steps[1:], counts, counts[1:], strict=False)]
    return [(step, change > 0) for step, change in changes if change.any()]


def plot_training_curves(
    *logs: TrainingLog, names: Sequence[str] | None = None, title: str | None = None
) -> go.Figure:
    """L1, L2, L0 and the share of dead latents over training, for one or more runs.

    Args:
        logs: what `AutoEncoder.optimize` returned.
        names: one name for each run.
        title: a title for the figure.
    """
    if not logs:
        raise ValueError("plot_training_curves needs at least one training log.")
    names = _names(names, len(logs), "run")
    fig = make_subplots(
        rows=2, cols=2, subplot_titles=list(CURVES.values()), vertical_spacing=0.16, horizontal_spacing=0.1
    )
    for run, log in enumerate(logs):
        for panel, key in enumerate(CURVES):
            line = go.Scatter(
                x=log.steps,
                y=rounded(log[key], 5),
                mode="lines",
                name=names[run],
                legendgroup=names[run],
                showlegend=panel == 0 and len(logs) > 1,
                line={"color": _color(run), "dash": ("solid", "dash", "dot", "dashdot")[run % 4]},
            )
            fig.add_trace(line, row=panel // 2 + 1, col=panel % 2 + 1)
    styled(fig, title=title, width=900, height=560)
    fig.update_xaxes(title_text="step", row=2)
    fig.update_yaxes(rangemode="tozero")
    fig.update_layout(legend={"orientation": "h", "y": -0.12}, margin={"t": 90 if title else 50})
    ends = "; ".join(
        f"{name}: " + ", ".join(f"{key} {log[key][-1]:.3g}" for key in CURVES)
        for name, log in zip(names, logs, strict=True)
    )
    return with_alt(
        fig, f"L1, L2, L0 and share of dead latents over {logs[0].steps[-1] + 1} steps. End: {ends}."
    )


def plot_firing_rates(
    log: TrainingLog,
    instances: Sequence[int] = (0,),
    *,
    until: int | None = None,
    title: str | None = None,
) -> go.Figure:
    """Draw how often each latent fires over training; triangles mark where latents were resampled.

    Args:
        log: what `AutoEncoder.optimize` returned.
        instances: which instances to draw, one panel each.
        until: the last step that is drawn; all when left out.
        title: a title for the figure.
    """
    instances = _chosen(instances, len(log["frac_active"][0]), 1)
    rates = torch.stack(log["frac_active"])[:, instances]
    n_latents = rates.shape[-1]
    fig = make_subplots(
        rows=len(instances),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.08,
        subplot_titles=[f"instance {i}" for i in instances],
    )
    events = resampling_events(log)
    for panel, instance in enumerate(instances):
        for latent in range(n_latents):
            shared = {"name": f"latent {latent}", "legendgroup": str(latent)}
            line = go.Scatter(
                x=log.steps,
                y=rounded(100 * rates[:, panel, latent], 3),
                mode="lines",
                line={"color": _color(latent), "width": 2},
                showlegend=panel == 0,
                hovertemplate="step %{x}: fires on %{y} %",
                **shared,
            )
            fig.add_trace(line, row=panel + 1, col=1)
            steps = [step for step, replaced in events if replaced[instance, latent]]
            marks = go.Scatter(
                x=steps,
                y=[0] * len(steps),
                mode="markers",
                marker={
                    "symbol": "triangle-up", "size": 12, "color": _color(latent),
                    "line": {"color": GRAY, "width": 1},
                },
                showlegend=False,
                hovertemplate="step %{x}: resampled",
                **shared,
            )  # fmt: skip
            fig.add_trace(marks, row=panel + 1, col=1)
    styled(fig, title=title, width=900, height=240 * len(instances) + 140)
    fig.update_xaxes(title_text="step", row=len(instances))
    if until is not None:
        fig.update_xaxes(range=[0, until])
    # A newcomer may fire on everything for a few steps; the axis is made for the others.
    for panel in range(len(instances)):
        usual = float(rates[:, panel].flatten().quantile(0.97))
        fig.update_yaxes(range=[-5 * usual, 160 * usual or 1], row=panel + 1)
    fig.update_yaxes(title_text="fires on … % of inputs")
    fig.update_layout(margin={"t": 90 if title else 50})
    dead = (rates[-1] == 0).sum(dim=-1).tolist()
    n_events = sum(int(replaced[instances].sum()) for _, replaced in events)
    return with_alt(
        fig,
        f"Firing rates of {n_latents} latents over {log.steps[-1] + 1} steps in {len(instances)} instances, with"
        f" {n_events} resamplings marked. Latents that are silent at the end, panel by panel:"
        f" {', '.join(map(str, dead))}.",
    )


@torch.no_grad()
def silent_latents(
    autoencoder: AutoEncoder, h: Float[Tensor, "batch n_instances n_input_ae"]
) -> Bool[Tensor, "n_instances n_hidden_ae"]:
    """Return which latents fire on no row of `h`."""
    return (autoencoder(h).acts == 0).all(dim=0)


def plot_directions_2d(
    autoencoder: AutoEncoder,
    *,
    model: ToyModel | None = None,
    h: Float[Tensor, "batch n_instances n_input_ae"] | None = None,
    instances: Sequence[int] | None = None,
    encoder: bool = True,
    titles: Sequence[str] | None = None,
    title: str | None = None,
) -> go.Figure:
    """Decoder and encoder directions of an autoencoder on two-dimensional inputs, one panel per instance.

    Solid arrows of length 1: decoder rows. Dotted lines of the same color: the directions of the encoder.
    Latents that fire on no input are pale, and the arrows of their decoder rows dotted. Dashed gray lines: the
    features of the toy model. Gray points: inputs.

    Args:
        autoencoder: with n_input_ae = 2.
        model: the toy model whose features are drawn.
        h: inputs, of which at most 300 are drawn; without them it is not known which latents never fire, and
            all look alike.
        instances: which instances to draw; the first 5 when left out.
        encoder: whether to draw the encoder.
        titles: one title for each panel.
        title: a title for the figure.
    """
    _need_2d(autoencoder.cfg.n_input_ae)
    instances = _chosen(instances, autoencoder.cfg.n_instances, 5)
    fig, rows, columns, side = _panels(len(instances), titles or [f"instance {i}" for i in instances])
    W_dec = autoencoder.normalize_and_return_W_dec().detach().cpu()
    W_enc = autoencoder.W_enc.detach().cpu()
    silent = torch.zeros(W_dec.shape[:2], dtype=torch.bool)
    if h is not None:
        silent = silent_latents(autoencoder, h).cpu()
    for panel, instance in enumerate(instances):
        where = {"row": panel // columns + 1, "col": panel % columns + 1}
        for trace in _background(model, h, instance):
            fig.add_trace(trace, **where)
        for trace in _direction_traces(
            W_enc[instance] if encoder else None, W_dec[instance], silent[instance]
        ):
            fig.add_trace(trace, **where)
    _square_axes(fig, _reach(model, h, instances))
    for trace in _legend(encoder, model is not None, bool(silent[instances].any())):
        fig.add_trace(trace, row=1, col=1)
    styled(fig, title=title, width=columns * side + 60, height=rows * (side + 20) + 110)
    fig.update_layout(
        margin={"l": 20, "r": 20, "t": 80 if title else 45, "b": 50},
        legend={"orientation": "h", "y": -0.03, "x": 0.5, "xanchor": "center", "itemclick": False},
    )
    counts = ", ".join(map(str, silent[instances].sum(dim=-1).tolist()))
    return with_alt(
        fig,
        f"Decoder directions as arrows{' and encoder directions as dotted lines' if encoder else ''}"
        f" for {W_dec.shape[1]} latents in {len(instances)} panels."
        f"{f' Latents that never fire, drawn pale: {counts}.' if h is not None else ''}"
        f"{_recovery_in_words(model, W_dec, instances)}",
    )


def plot_encoder_tilt(
    model: ToyModel,
    autoencoder: AutoEncoder,
    *,
    instance: int = 0,
    latent: int = 0,
    title: str | None = None,
) -> go.Figure:
    """Draw why the encoder of a latent tilts away from its decoder: drawn from trained weights.

    Left: the latent's own feature and the others, its decoder, its encoder, and the line on which the latent
    begins to fire. Right: what every feature, alone and at its full value 1, makes of the latent, with the
    trained encoder and with one that points along the decoder, of such a length that the latent's own feature
    gets the same answer. Whatever the others get is interference.

    Args:
        model: the toy model, with n_hidden = 2.
        autoencoder: trained on it, with untied weights.
        instance: which instance to draw.
        latent: which latent to draw.
        title: a title for the figure.
    """
    _need_2d(autoencoder.cfg.n_input_ae)
    W = model.W[instance].detach().cpu()
    decoder = autoencoder.normalize_and_return_W_dec()[instance, latent].detach().cpu()
    encoder = autoencoder.W_enc[instance, :, latent].detach().cpu()
    b_dec = autoencoder.b_dec[instance].detach().cpu()
    b_enc = autoencoder.b_enc[instance, latent].item()
    similarity = feature_latent_similarity(model.W, autoencoder.normalize_and_return_W_dec()).detach().cpu()
    own = int(similarity[instance, :, latent].argmax())

    def response(direction: Tensor) -> Tensor:
        return torch.relu((W.T - b_dec) @ direction + b_enc)

    trained = response(encoder)
    straight_gain = (trained[own] - b_enc) / ((W[:, own] - b_dec) @ decoder)
    straight = response(straight_gain * decoder)
    tilt = math.degrees(math.acos(min(1.0, float(encoder @ decoder / encoder.norm()))))

    fig = make_subplots(
        rows=1,
        cols=2,
        column_widths=[0.5, 0.5],
        horizontal_spacing=0.12,
        subplot_titles=[
            f"latent {latent}: the encoder tilts by {tilt:.0f}°",
            "answer of the latent to each feature",
        ],
    )
    reach = 1.35 * max(1.0, float(W.norm(dim=0).max()))
    left = {"row": 1, "col": 1}
    fig.add_trace(_unit_circle().update(showlegend=False), **left)
    for feature in range(W.shape[1]):
        x, y = rounded(W[:, feature])
        fig.add_trace(
            _line(0, 0, x, y, GRAY, dash="dash", text=f"feature {feature}", end_text=str(feature)), **left
        )
    # Where the pre-activation is zero: encoder . (h - b_dec) + b_enc = 0.
    foot = b_dec - b_enc * encoder / encoder.norm() ** 2
    along = torch.stack([-encoder[1], encoder[0]]) / encoder.norm() * 3 * reach
    (x0, y0), (x1, y1) = rounded(foot - along), rounded(foot + along)
    fig.add_trace(
        go.Scatter(
            x=[x0, x1], y=[y0, y1], mode="lines", name="begins to fire",
            line={"color": COLORS[1], "dash": "dot", "width": 2},
        ), **left,
    )  # fmt: skip
    for name, vector, color in (
        ("decoder", decoder, COLORS[0]),
        ("encoder", encoder / encoder.norm(), COLORS[3]),
    ):
        x, y = rounded(vector)
        fig.add_trace(_arrow(x, y, color, name, showlegend=True), **left)
    for name, values, color, pattern in (
        ("trained encoder", trained, COLORS[3], ""),
        ("encoder along the decoder", straight, COLORS[0], "/"),
    ):
        bars = go.Bar(
            x=[f"feature {f}" for f in range(W.shape[1])],
            y=rounded(values),
            name=name,
            marker={"color": color, "pattern": {"shape": pattern}},
        )
        fig.add_trace(bars, row=1, col=2)
    styled(fig, title=title, width=950, height=470)
    fig.update_xaxes(range=[-reach, reach], showticklabels=False, showgrid=False, constrain="domain", **left)
    fig.update_yaxes(
        range=[-reach, reach],
        showticklabels=False,
        showgrid=False,
        scaleanchor="x",
        constrain="domain",
        **left,
    )
    fig.update_yaxes(title_text="latent", row=1, col=2)
    fig.update_layout(legend={"orientation": "h", "y": -0.1}, margin={"t": 90 if title else 50})
    others = [f for f in range(W.shape[1]) if f != own]
    return with_alt(
        fig,
        f"The encoder of latent {latent} is tilted by {tilt:.0f} degrees from its decoder, which points along feature"
        f" {own}. Largest answer to another feature: {float(trained[others].max()):.2f}; it would be"
        f" {float(straight[others].max()):.2f} with an encoder along the decoder.",
    )


def plot_feature_similarity(
    model: ToyModel,
    autoencoder: AutoEncoder,
    *,
    instances: Sequence[int] | None = None,
    firing_rates: Float[Tensor, "n_instances n_hidden_ae"] | None = None,
    title: str | None = None,
) -> go.Figure:
    """Heat maps of the cosine similarity of every feature of a toy model with every decoder row.

    Args:
        model: the toy model.
        autoencoder: trained on it.
        firing_rates: how often each latent fires; the column of one that hardly ever does stays empty.
        instances: which instances to draw; the first 4 when left out.
        title: a title for the figure.
    """
    instances = _chosen(instances, model.cfg.n_instances, 4)
    similarity = feature_latent_similarity(model.W, autoencoder.normalize_and_return_W_dec()).detach()
    if firing_rates is not None:
        similarity = similarity.masked_fill((firing_rates <= LEAST_RATE).unsqueeze(1), math.nan)
    return plot_matrices(
        similarity[instances],
        titles=[f"instance {i}" for i in instances],
        title=title,
        x_title="latent",
        y_title="feature",
        bar_title="cosine",
        limit=1,
    )


def plot_encoder_decoder_similarity(
    autoencoder: AutoEncoder, *, firing_rates: Tensor | None = None, title: str | None = None
) -> go.Figure:
    """Draw how far every latent's encoder column points along its decoder row, over all instances.

    Args:
        autoencoder: with untied weights.
        firing_rates: `n_instances n_hidden_ae`; latents with rate 0 are drawn as "dead" in gray.
        title: a title for the figure.
    """
    similarity = encoder_decoder_similarity(autoencoder).detach().flatten().cpu().float()
    dead = torch.zeros_like(similarity, dtype=torch.bool)
    if firing_rates is not None:
        dead = firing_rates.flatten().cpu() == 0
    fig = go.Figure()
    # Counted here: the last bin ends at 1, and has the cosines of exactly 1, or a rounding error above it.
    edges = torch.linspace(-1, 1, 41)
    for name, chosen, color in (("alive", ~dead, COLORS[0]), ("dead", dead, GRAY)):
        if chosen.any():
            bars = go.Bar(
                x=rounded((edges[:-1] + edges[1:]) / 2),
                y=torch.histogram(similarity[chosen].clamp(-1, 1), edges).hist.int().tolist(),
                width=rounded(edges.diff()),
                name=name,
                marker={"color": color, "line": {"width": 0}},
                hovertemplate="cosine around %{x}: %{y} latents",
            )
            fig.add_trace(bars)
    styled(fig, title=title, width=700, height=360)
    fig.update_xaxes(title_text="cosine similarity of encoder column and decoder row", range=[-1.02, 1.02])
    fig.update_yaxes(title_text="latents")
    fig.update_layout(barmode="stack", bargap=0, showlegend=bool(dead.any()))
    median = float(similarity[~dead].median()) if (~dead).any() else math.nan
    return with_alt(
        fig,
        f"Histogram of the cosine similarity of encoder and decoder for {len(similarity)} latents, {int(dead.sum())}"
        f" of them dead. The median of the alive ones is {median:.2f}.",
    )


def plot_sweep(
    results: Sequence[Recovery], *, x_title: str, log_x: bool = False, title: str | None = None
) -> go.Figure:
    """Share of features recovered, L0 on the inputs that are not empty, and reconstruction loss against one setting.

    Args:
        results: one for each value of the setting, from `part_utils.recovery`; `Recovery.setting` is the value.
        x_title: what the setting is.
        log_x: whether the axis is logarithmic.
        title: a title for the figure.
    """
    x = [float(result.setting) for result in results]
    panels = (
        (
            "features recovered, %",
            [100 * r.recovered for r in results],
            [[100 * v for v in r.per_seed] for r in results],
        ),
        ("L0 where a feature is present", [r.l0 for r in results], None),
        ("L2: reconstruction error", [r.l2 for r in results], None),
    )
    fig = make_subplots(rows=1, cols=3, subplot_titles=[name for name, *_ in panels], horizontal_spacing=0.09)
    for column, (_, values, per_seed) in enumerate(panels, start=1):
        if per_seed is not None:
            dots = go.Scatter(
                x=[value for value, seeds in zip(x, per_seed, strict=True) for _ in seeds],
                y=rounded([v for seeds in per_seed for v in seeds], 2),
                mode="markers",
                marker={"color": GRAY, "size": 6, "opacity": 0.6},
                hovertemplate="one seed: %{y} %<extra></extra>",
            )
            fig.add_trace(dots, row=1, col=column)
        line = go.Scatter(
            x=x, y=rounded(values, 5), mode="lines+markers", line={"color": _color(column - 1), "width": 2},
            hovertemplate="%{x}: %{y}<extra></extra>",
        )  # fmt: skip
        fig.add_trace(line, row=1, col=column)
    styled(fig, title=title, width=980, height=360)
    fig.update_xaxes(title_text=x_title, type="log" if log_x else "linear")
    fig.update_yaxes(rangemode="tozero")
    fig.update_yaxes(range=[0, 104], col=1)
    fig.update_layout(showlegend=False, margin={"t": 90 if title else 50})
    points = "; ".join(
        f"{r.setting}: {100 * r.recovered:.0f} %, L0 {r.l0:.2f}, L2 {r.l2:.3g}" for r in results
    )
    return with_alt(
        fig,
        f"Features recovered, L0 where a feature is present, and reconstruction error against {x_title}. {points}.",
    )


def plot_recovery(results: Sequence[Recovery], *, title: str | None = None) -> go.Figure:
    """Bars: the share of features recovered with each setting; dots: the seeds one by one.

    Args:
        results: one for each setting, from `part_utils.recovery`.
        title: a title for the figure.
    """
    names = [str(result.setting) for result in results]
    fig = go.Figure()
    fig.add_trace(
        go.Bar(
            x=names,
            y=rounded([100 * r.recovered for r in results], 1),
            text=[f"{100 * r.recovered:.1f} %" for r in results],
            textposition="inside",
            insidetextanchor="start",
            textfont={"color": "white"},
            marker_color=COLORS[0],
            hovertemplate="%{x}: %{y} %<extra></extra>",
        )
    )
    fig.add_trace(
        go.Scatter(
            x=[name for name, r in zip(names, results, strict=True) for _ in r.per_seed],
            y=rounded([100 * value for r in results for value in r.per_seed], 2),
            mode="markers",
            marker={"color": COLORS[1], "size": 8, "line": {"color": GRAY, "width": 1}},
            hovertemplate="one seed: %{y} %<extra></extra>",
        )
    )
    styled(fig, title=title, width=max(500, 150 * len(results)), height=400)
    fig.update_yaxes(title_text="features recovered, %", range=[0, 104])
    fig.update_layout(showlegend=False, bargap=0.35)
    values = "; ".join(f"{name}: {100 * r.recovered:.1f} %" for name, r in zip(names, results, strict=True))
    return with_alt(fig, f"Share of toy features recovered, mean and single seeds. {values}.")


def plot_norms_over_training(
    logs: Mapping[str, TrainingLog], lengths: Mapping[str, Sequence[float]], *, title: str | None = None
) -> go.Figure:
    """Length of the decoder rows, and L1, over training, for several ways to hold (or not to hold) the length.

    Args:
        logs: a training log for each way.
        lengths: the mean length of the decoder rows at each recorded step, for each way.
        title: a title for the figure.
    """
    fig = make_subplots(
        rows=1, cols=2, subplot_titles=["mean length of a decoder row", CURVES["l1"]], horizontal_spacing=0.1
    )
    for run, (name, log) in enumerate(logs.items()):
        for column, values in ((1, lengths[name]), (2, log["l1"])):
            line = go.Scatter(
                x=log.steps,
                y=rounded(values, 5),
                name=name,
                legendgroup=name,
                showlegend=column == 1,
                line={"color": _color(run), "dash": ("solid", "dash", "dot")[run % 3], "width": 2.5},
            )
            fig.add_trace(line, row=1, col=column)
    styled(fig, title=title, width=900, height=380)
    fig.update_xaxes(title_text="step")
    fig.update_yaxes(rangemode="tozero")
    fig.update_layout(legend={"orientation": "h", "y": -0.22}, margin={"t": 90 if title else 50})
    ends = "; ".join(
        f"{name}: length {lengths[name][-1]:.2f}, L1 {log['l1'][-1]:.3g}" for name, log in logs.items()
    )
    return with_alt(fig, f"Decoder length and L1 over training. End: {ends}.")


def animate_directions(
    log: TrainingLog,
    *,
    model: ToyModel | None = None,
    h: Float[Tensor, "batch n_instances n_input_ae"] | None = None,
    instances: Sequence[int] | None = None,
    max_frames: int = 60,
    until: int | None = None,
    title: str | None = None,
) -> go.Figure:
    """Decoder directions over training, with a slider and a play button; resampled latents get a ring.

    The slider stands at the end of the training; the play button starts at its beginning.

    Args:
        log: what `AutoEncoder.optimize` returned.
        model: the toy model whose features are drawn.
        h: inputs that are drawn, at most 300 of them.
        instances: which instances to draw; the first 4 when left out.
        max_frames: the most frames; they stand where something happens (`frame_records`).
        until: the last step that is shown; all when left out.
        title: a title for the figure.
    """
    n_instances, n_latents, n_input_ae = log["W_dec"][0].shape
    _need_2d(n_input_ae)
    instances = _chosen(instances, n_instances, 4)
    fig, rows, columns, side = _panels(len(instances), [f"instance {i}" for i in instances])
    chosen = frame_records(log, max_frames, until)
    pictures = []
    for previous, record in zip([0, *chosen], chosen, strict=False):
        fresh = log["n_resampled"][record] > log["n_resampled"][previous]
        pictures.append([_decoder_ends(log["W_dec"][record][i], fresh[i]) for i in instances])

    # The figure stands at the end of the training: that is what is seen where nothing can be played.
    moving: list[int] = []
    for panel, (instance, ends) in enumerate(zip(instances, pictures[-1], strict=True)):
        where = {"row": panel // columns + 1, "col": panel % columns + 1}
        for trace in _background(model, h, instance):
            fig.add_trace(trace, **where)
        for end, look in zip(ends, _decoder_looks(n_latents), strict=True):
            moving.append(len(fig.data))
            fig.add_trace(go.Scatter(**end, **look), **where)
    # A frame holds the positions only; the looks stay.
    fig.frames = [
        go.Frame(
            data=[go.Scatter(**end) for ends in picture for end in ends],
            traces=moving,
            name=str(log.steps[record]),
        )
        for record, picture in zip(chosen, pictures, strict=True)
    ]

    _square_axes(fig, _reach(model, h, instances))
    styled(fig, title=title, width=columns * side + 60, height=rows * (side + 20) + 190)
    settings = {"mode": "immediate", "transition": {"duration": 0}}
    fig.update_layout(
        showlegend=False,
        margin={"l": 20, "r": 20, "t": 80 if title else 45, "b": 110},
        updatemenus=[
            {
                "type": "buttons", "direction": "left", "x": 0, "y": 0, "xanchor": "left", "yanchor": "top",
                "pad": {"t": 40},
                "buttons": [
                    {"label": "Play", "method": "animate",
                     "args": [None, {**settings, "frame": {"duration": 120, "redraw": False}, "fromcurrent": True}]},
                    {"label": "Pause", "method": "animate",
                     "args": [[None], {**settings, "frame": {"duration": 0, "redraw": False}}]},
                ],
            }
        ],
        sliders=[
            {
                "active": len(chosen) - 1,
                "x": 0.2, "len": 0.8, "y": 0, "pad": {"t": 20}, "currentvalue": {"prefix": "step "},
                "steps": [
                    {"label": frame.name, "method": "animate",
                     "args": [[frame.name], {**settings, "frame": {"duration": 0, "redraw": False}}]}
                    for frame in fig.frames
                ],
            }
        ],
    )  # fmt: skip
    n_events = sum(int(replaced[instances].sum()) for _, replaced in resampling_events(log))
    words = _recovery_in_words(model, log["W_dec"][-1], instances)
    return with_alt(
        fig,
        f"Animation of decoder directions over {log.steps[-1] + 1} training steps in {len(instances)} panels, with"
        f" {n_events} resamplings marked by rings.{words}",
    )


def frame_records(log: TrainingLog, max_frames: int, until: int | None = None) -> list[int]:
    """Choose at most `max_frames` records of a log, from first to last (or to `until`), where something happens.

    Between two frames the decoder rows turn by about the same angle in all. A latent that is resampled counts as
    turned by a right angle. So a quick start and a resampling get many frames, and a long rest few.

    Args:
        log: what `AutoEncoder.optimize` returned.
        max_frames: the most frames, at least 2.
        until: the last step that is shown; all when left out.
    """
    n = len(log.steps) if until is None else max(sum(step <= until for step in log.steps), 1)
    if n <= max_frames:
        return list(range(n))
    W_dec, resampled = torch.stack(log["W_dec"][:n]), torch.stack(log["n_resampled"][:n])
    turned = torch.nn.functional.cosine_similarity(W_dec[1:], W_dec[:-1], dim=-1).clamp(-1, 1).acos()
    turned = torch.where(resampled.diff(dim=0) > 0, math.pi / 2, turned).flatten(1).sum(dim=1)
    # A little for each record, so that a run in which nothing moves has frames, too.
    way = torch.cat([torch.zeros(1), (turned + 0.1 * turned.mean() + 1e-6).cumsum(dim=0)])
    wanted = torch.linspace(0, float(way[-1]), max_frames)
    return sorted({int((way - far).abs().argmin()) for far in wanted})


def _names(names: Sequence[str] | None, n: int, word: str) -> list[str]:
    if names is not None and len(names) != n:
        raise ValueError(f"Got {len(names)} names for {n} {word}s; one name each is needed.")
    return list(names) if names is not None else [f"{word} {i + 1}" for i in range(n)]


def _chosen(instances: Sequence[int] | None, n_instances: int, default: int) -> list[int]:
    """The instances to draw: those asked for, or the first few."""
    chosen = list(range(min(default, n_instances))) if instances is None else list(instances)
    for instance in chosen:
        if not 0 <= instance < n_instances:
            raise ValueError(f"There is no instance {instance}; choose from 0 to {n_instances - 1}.")
    if not chosen:
        raise ValueError("No instance was chosen; name at least one, as instances=[0].")
    return chosen


def _reach(model: ToyModel | None, h: Tensor | None, instances: Sequence[int]) -> float:
    reach = 1.0
    if model is not None:
        reach = max(reach, float(model.W.detach()[instances].norm(dim=1).max()))
    if h is not None:
        reach = max(reach, float(h[:300, instances].abs().max()))
    return 1.25 * reach


def _background(model: ToyModel | None, h: Tensor | None, instance: int) -> list[go.Scatter]:
    """The unit circle, inputs, and the features of the toy model."""
    traces = [_unit_circle().update(showlegend=False)]
    if h is not None:
        present = h[h[:, instance].abs().sum(dim=-1) > 0][:300]
        points = _points(present[:, instance]).update(showlegend=False)
        points.marker.opacity = 0.35  # so that the lines of the features can be seen among them
        traces.append(points)
    if model is not None:
        W = model.W[instance].detach().cpu()
        for feature in range(W.shape[1]):
            x, y = rounded(W[:, feature])
            line = _line(0, 0, x, y, GRAY, dash="dash", text=f"feature {feature}")
            line.line.width = 1.5
            traces.append(line)
    return traces


def _direction_traces(W_enc: Tensor | None, W_dec: Tensor, silent: Tensor) -> list[go.Scatter]:
    traces = []
    for latent, row in enumerate(W_dec):
        is_silent = bool(silent[latent])
        words = ", never fires" if is_silent else ""
        its_traces = []
        if W_enc is not None:
            column = W_enc[:, latent]
            x, y = rounded(column / column.norm().clamp_min(1e-8))
            text = f"latent {latent}, encoder{words}"
            its_traces.append(_line(0, 0, x, y, _color(latent), dash="dot", text=text))
        x, y = rounded(row)
        arrow = _arrow(x, y, _color(latent), f"latent {latent}, decoder{words}")
        arrow.line.dash = "dot" if is_silent else "solid"
        its_traces.append(arrow)
        for trace in its_traces:
            trace.opacity = PALE if is_silent else 1
        traces += its_traces
    return traces


def _decoder_ends(W_dec: Tensor, fresh: Tensor) -> list[dict[str, list[float | None]]]:
    """What moves in the animation: a line for each decoder row, and the rings around the fresh ones."""
    ends = rounded(W_dec)
    # Places without a ring are None: Plotly would leave the rings of the last frame where a list is empty.
    rings = [end if is_fresh else (None, None) for end, is_fresh in zip(ends, fresh.tolist(), strict=True)]
    return [
        *({"x": [0, x], "y": [0, y]} for x, y in ends),
        {"x": [x for x, _ in rings], "y": [y for _, y in rings]},
    ]


def _decoder_looks(n_latents: int) -> list[dict[str, Any]]:
    """How these lines and rings look, in every frame."""
    lines = [
        {
            "mode": "lines+markers",
            "line": {"color": _color(latent), "width": 3},
            "marker": {"size": [0, 13], "color": _color(latent), "opacity": 1, "line": {"width": 0}},
            "hoverinfo": "skip",
        }
        for latent in range(n_latents)
    ]
    rings = {
        "mode": "markers",
        "marker": {"symbol": "circle-open", "size": 26, "color": COLORS[3], "line": {"width": 4}},
        "hoverinfo": "skip",
    }
    return [*lines, rings]


def _legend(encoder: bool, features: bool, silent: bool) -> list[go.Scatter]:
    """What the kinds of lines mean, as traces without points."""
    kinds = [
        ("decoder row", "solid", 3, 1, True),
        ("never fires", "dot", 3, PALE, silent),
        ("encoder direction", "dot", 2, 1, encoder),
        ("toy feature", "dash", 1.5, 1, features),
    ]
    return [
        go.Scatter(
            x=[None], y=[None], mode="lines", name=name, opacity=opacity,
            line={"color": GRAY, "dash": dash, "width": width},
        )
        for name, dash, width, opacity, shown in kinds
        if shown
    ]  # fmt: skip


def _line(
    x0: float, y0: float, x1: float, y1: float, color: str, *, dash: str, text: str, end_text: str = ""
) -> go.Scatter:
    return go.Scatter(
        x=[x0, x1],
        y=[y0, y1],
        mode="lines+text" if end_text else "lines",
        line={"color": color, "width": 2, "dash": dash},
        text=["", end_text],
        textposition="top right",
        hovertext=text,
        hoverinfo="text",
        showlegend=False,
    )


def _arrow(x: float, y: float, color: str, name: str, showlegend: bool = False) -> go.Scatter:
    return go.Scatter(
        x=[0, x],
        y=[0, y],
        mode="lines+markers",
        line={"color": color, "width": 3},
        marker={
            "symbol": "arrow",
            "angleref": "previous",
            "size": [0, 13],
            "color": color,
            "opacity": 1,
            "line": {"width": 0},
        },
        name=name,
        hovertext=name,
        hoverinfo="text",
        showlegend=showlegend,
    )


def _recovery_in_words(model: ToyModel | None, W_dec: Tensor, instances: Sequence[int]) -> str:
    if model is None:
        return ""
    best = feature_latent_similarity(model.W.detach().cpu(), W_dec.cpu())[instances].max(dim=-1).values
    found = (best > 0.95).sum(dim=-1).tolist()
    return f" Features of the toy model that have a decoder row close by: {', '.join(map(str, found))}."
