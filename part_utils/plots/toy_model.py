"""Figures of the toy models. They take tensors, return a figure, and change nothing."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go
import torch
from jaxtyping import Float
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots
from torch import Tensor

from part_utils.palette import COLORS, DIVERGING, FAINT, GRAY
from part_utils.plots.theme import MAX_WIDTH, SEQUENTIAL, rounded, styled, with_alt
from part_utils.shapes import check_shapes
from part_utils.toy_geometry import compute_dimensionality, cosine_similarities
from part_utils.training import TrainingLog

# The shares that features have in the polytopes of Elhage et al. 2022, with the name of the polytope.
POLYTOPES = (
    (1, "1", "alone"),
    (3 / 4, "3/4", "tetrahedron"),
    (2 / 3, "2/3", "triangle"),
    (1 / 2, "1/2", "antipodal pair"),
    (2 / 5, "2/5", "pentagon"),
    (3 / 8, "3/8", "square antiprism"),
)


@check_shapes
def plot_features_in_2d(
    W: Float[Tensor, "instances hidden features"],
    *,
    importance: Tensor | Sequence[float] | None = None,
    groups: Sequence[int] | None = None,
    hidden: Float[Tensor, "batch instances hidden"] | None = None,
    titles: Sequence[str] | None = None,
    title: str | None = None,
) -> go.Figure:
    """Draw the direction of every feature in a two-dimensional hidden space, one panel for each instance.

    Args:
        W: weights with n_hidden = 2; column i is drawn as the arrow of feature i.
        importance: one number per feature; colors the arrows.
        groups: one number per feature; features of one group (a pair) get one color. Instead of importance.
        hidden: hidden states to draw as points behind the arrows.
        titles: one title for each panel, for instance from `probability_titles`.
        title: a title for the figure.
    """
    n_instances, _, n_features = W.shape
    _need_2d(W.shape[1])
    colors, scale = _feature_colors(n_features, importance, groups)
    fig, rows, columns, side = _panels(n_instances, titles)
    points = W.detach().cpu()
    reach = max(1.0, float(points.norm(dim=1).max()))
    if hidden is not None:
        reach = max(reach, float(hidden.detach().abs().max()))
    reach *= 1.3
    for instance in range(n_instances):
        row, column = divmod(instance, columns)
        where = {"row": row + 1, "col": column + 1}
        fig.add_trace(_unit_circle(), **where)
        if hidden is not None:
            fig.add_trace(_points(hidden[:, instance]), **where)
        for feature in range(n_features):
            x, y = rounded(points[instance, :, feature])
            fig.add_trace(_arrow(x, y, feature, colors[feature]), **where)
    if scale is not None:
        fig.add_trace(_colorbar(*scale, "importance"), row=1, col=1)
    _square_axes(fig, reach)
    styled(fig, title=title, width=columns * side + (140 if scale else 40), height=rows * (side + 20) + 80)
    fig.update_layout(
        margin={"l": 20, "r": 120 if scale else 20, "t": 80 if title else 45, "b": 20}, showlegend=False
    )
    counts = (points.norm(dim=1) > 0.5).sum(dim=-1).tolist()
    return with_alt(
        fig,
        f"Arrows for {n_features} features in {n_instances} two-dimensional panels. "
        f"Arrows longer than one half, panel by panel: {', '.join(map(str, counts))}.",
    )


@check_shapes
def plot_hidden_states(
    hidden: Float[Tensor, "batch instances hidden"],
    *,
    features: Float[Tensor, "batch instances features"] | None = None,
    W: Float[Tensor, "instances hidden features"] | None = None,
    titles: Sequence[str] | None = None,
    title: str | None = None,
    max_points: int = 200,
) -> go.Figure:
    """Draw where the inputs of a batch end up in a two-dimensional hidden space, one panel for each instance.

    Each panel has a scale of its own; the gray circle has the radius 1 in all of them.

    Args:
        hidden: the hidden states.
        features: the inputs they come from. An input with exactly one feature present is drawn in the color
            of that feature, one with more in gray. Inputs with none are all at the origin, and left out.
        W: weights, drawn as faint arrows behind the points.
        titles: one title for each panel.
        title: a title for the figure.
        max_points: the most points in a panel; the first ones of the batch.
    """
    hidden = hidden.detach()
    n_instances = hidden.shape[1]
    _need_2d(hidden.shape[2])
    fig, rows, columns, side = _panels(n_instances, titles)
    reaches = []
    for instance in range(n_instances):
        row, column = divmod(instance, columns)
        where = {"row": row + 1, "col": column + 1}
        fig.add_trace(_unit_circle(), **where)
        if W is not None:
            for feature in range(W.shape[2]):
                x, y = rounded(W[instance, :, feature])
                fig.add_trace(_arrow(x, y, feature, FAINT), **where)
        points = hidden[:, instance].cpu()
        colors: str | list[str] = COLORS[0]
        if features is None:
            points = points[:max_points]
        else:
            present = (features[:, instance] != 0).cpu()
            drawn = present.any(dim=-1).nonzero()[:max_points, 0]
            points, present = points[drawn], present[drawn]
            colors = [_color(int(one.nonzero()[0])) if one.sum() == 1 else GRAY for one in present]
        fig.add_trace(_points(points, colors), **where)
        arrows = 0.0 if W is None else float(W[instance].detach().norm(dim=0).max())
        reaches.append(1.1 * max(1.0, arrows, float(points.abs().max()) if len(points) else 0.0))
    _square_axes(fig, reaches)
    n_features = 0 if features is None else features.shape[2]
    legend = 0 < n_features <= len(COLORS)
    styled(fig, title=title, width=columns * side + 60, height=rows * (side + 20) + 80 + 40 * legend)
    fig.update_layout(
        margin={"l": 20, "r": 20, "t": 80 if title else 45, "b": 60 if legend else 20}, showlegend=legend
    )
    if legend:
        fig.update_traces(showlegend=False)
        for feature in range(n_features):
            fig.add_trace(_legend_entry(f"only feature {feature}", _color(feature)), row=1, col=1)
        fig.add_trace(_legend_entry("several features", GRAY), row=1, col=1)
        fig.update_layout(
            legend={"orientation": "h", "x": 0.5, "xanchor": "center", "y": 0, "yanchor": "top"}
        )
    return with_alt(
        fig, f"Hidden states of {hidden.shape[0]} inputs as points in {n_instances} two-dimensional panels."
    )


@check_shapes
def plot_features_in_Nd(
    W: Float[Tensor, "instances hidden features"],
    *,
    titles: Sequence[str] | None = None,
    title: str | None = None,
) -> go.Figure:
    """Many features in many dimensions: W^T W as a heat map, and below it how strongly each feature is
    stored.

    The height of a bar is the norm |W_i| of the feature: near 1 it is represented, near 0 it is not. Its
    color is the superposition, the sum over all other features j of ((W_i/|W_i|) . W_j)^2: dark means that
    the feature has its direction to itself, light that it shares it.

    Args:
        W: the weights, of at most 8 instances; take some of them with `W[::4]`.
        titles: one title for each instance.
        title: a title for the figure.
    """
    n_instances, _, n_features = W.shape
    if n_instances > 8:
        raise ValueError(
            f"plot_features_in_Nd has room for 8 instances, got {n_instances}; choose some, as W[::4]."
        )
    W = W.detach().cpu()
    norms = W.norm(dim=1)
    overlaps = torch.einsum("ihf,ihg->ifg", W / norms.unsqueeze(1).clamp(min=1e-8), W).pow(2)
    superposition = overlaps.sum(dim=-1) - norms**2
    side = (MAX_WIDTH - 130) / n_instances
    fig = make_subplots(
        rows=2,
        cols=n_instances,
        subplot_titles=_titles(titles, n_instances),
        row_heights=[0.6, 0.4],
        vertical_spacing=0.08,
        horizontal_spacing=0.02,
        shared_yaxes="rows",
    )
    for instance in range(n_instances):
        heat = go.Heatmap(
            z=rounded(W[instance].mT @ W[instance], 2), coloraxis="coloraxis", hoverongaps=False
        )
        fig.add_trace(heat, row=1, col=instance + 1)
        bars = go.Bar(
            y=rounded(norms[instance], 2),
            marker={
                "color": rounded(superposition[instance], 2),
                "coloraxis": "coloraxis2",
                "line": {"width": 0},
            },
            hovertemplate="feature %{x}<br>norm %{y}<br>superposition %{marker.color}<extra></extra>",
        )
        fig.add_trace(bars, row=2, col=instance + 1)
    square = min(side, 330)
    styled(fig, title=title, width=int(n_instances * square + 150), height=int(square / 0.6 + 150))
    fig.update_xaxes(showgrid=False, zeroline=False)
    fig.update_xaxes(showticklabels=False, ticks="", row=1)
    fig.update_xaxes(title_text="feature", title_standoff=4, range=[-0.5, n_features - 0.5], row=2)
    fig.update_yaxes(autorange="reversed", ticks="", showgrid=False, zeroline=False, row=1)
    fig.update_xaxes(title_text="feature j", title_standoff=4, row=1)
    fig.update_yaxes(title_text="output i", col=1, row=1)
    fig.update_yaxes(title_text="norm |Wᵢ|", col=1, row=2)
    _frame(fig, row=1)
    fig.update_layout(
        showlegend=False,
        bargap=0.1,
        coloraxis={
            "colorscale": DIVERGING,
            "cmin": -1,
            "cmax": 1,
            "colorbar": _bar("WᵀW", y=0.74, length=0.52),
        },
        coloraxis2={
            "colorscale": SEQUENTIAL,
            "cmin": 0,
            "cmax": 1,
            "colorbar": _bar("superposition", y=0.17, length=0.4),
        },
        margin={"t": 90 if title else 50},
    )
    counts = (norms > 0.5).sum(dim=-1).tolist()
    return with_alt(
        fig,
        f"Heat maps of W transposed times W for {n_instances} instances of {n_features} features, with bars of the "
        f"norms below. Features with a norm above one half: {', '.join(map(str, counts))}.",
    )


@check_shapes
def plot_cosine_similarities(
    W: Float[Tensor, "instances hidden features"],
    *,
    titles: Sequence[str] | None = None,
    title: str | None = None,
) -> go.Figure:
    """Heat maps of the cosine similarities between all features, one panel for each instance.

    Args:
        W: the weights.
        titles: one title for each panel.
        title: a title for the figure.
    """
    return plot_matrices(
        cosine_similarities(W.detach()),
        titles=titles,
        title=title,
        x_title="feature",
        y_title="feature",
        bar_title="cosine",
        limit=1,
    )


@check_shapes
def plot_matrices(
    matrices: Float[Tensor, "instances rows columns"],
    *,
    titles: Sequence[str] | None = None,
    title: str | None = None,
    x_title: str = "",
    y_title: str = "",
    bar_title: str = "",
    limit: float | None = None,
) -> go.Figure:
    """Heat maps side by side, blue below zero and orange above; for instance the weights of a neuron model.

    Args:
        matrices: one matrix for each instance.
        titles: one title for each panel.
        title: a title for the figure.
        x_title: what the columns are.
        y_title: what the rows are.
        bar_title: what the color means.
        limit: the color scale goes from -limit to limit; the largest absolute value when left out.
    """
    matrices = matrices.detach()
    n_instances = matrices.shape[0]
    limit = float(matrices.abs().max()) if limit is None else limit
    fig, rows, columns, side = _panels(n_instances, titles, spacing=0.06, row_spacing=0.3)

    show_values = max(matrices.shape[1:]) <= 6
    for instance in range(n_instances):
        row, column = divmod(instance, columns)
        heat = go.Heatmap(
            z=rounded(matrices[instance], 2),
            coloraxis="coloraxis",
            texttemplate="%{z}" if show_values else None,
            textfont={"size": 10},
            hovertemplate="row %{y}, column %{x}: %{z}<extra></extra>",
        )
        fig.add_trace(heat, row=row + 1, col=column + 1)
        fig.update_xaxes(title_text=x_title if row == rows - 1 else "", row=row + 1, col=column + 1)
        fig.update_yaxes(title_text=y_title if column == 0 else "", row=row + 1, col=column + 1)
    height = rows * (side * min(1.5, matrices.shape[1] / matrices.shape[2]) + 60) + 100
    styled(fig, title=title, width=columns * side + 160, height=int(height))
    fig.update_xaxes(showgrid=False, zeroline=False)
    fig.update_yaxes(autorange="reversed", showgrid=False, zeroline=False)
    _frame(fig)
    if show_values:
        fig.update_xaxes(dtick=1)
        fig.update_yaxes(dtick=1)
    fig.update_layout(
        coloraxis={"colorscale": DIVERGING, "cmin": -limit, "cmax": limit, "colorbar": _bar(bar_title)},
        margin={"t": 90 if title else 50},
    )
    size = f"{matrices.shape[1]} by {matrices.shape[2]}"
    return with_alt(
        fig, f"{n_instances} heat maps of {size} entries, {bar_title or 'values'} up to {limit:.2g}."
    )


@check_shapes
def plot_correlated_features(
    batch: Float[Tensor, "batch features"],
    *,
    title: str | None = None,
    max_inputs: int = 30,
) -> go.Figure:
    """Draw which features of each pair are present: one row per pair, the first feature up, the second down.

    Args:
        batch: inputs of one instance, as `generate_correlated_features(...)[:, 0]`; features 2i and 2i+1 are
            a pair. title: a title for the figure. max_inputs: how many inputs are drawn.
    """
    if batch.shape[1] % 2:
        raise ValueError(f"plot_correlated_features needs an even number of features, got {batch.shape[1]}.")
    n_pairs = batch.shape[1] // 2
    batch = batch[:max_inputs].detach().cpu()
    fig = make_subplots(rows=n_pairs, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    for pair in range(n_pairs):
        for side, sign in ((0, 1), (1, -1)):
            feature = 2 * pair + side
            bars = go.Bar(
                y=rounded(sign * batch[:, feature], 2),
                name=f"feature {feature}",
                marker_color=COLORS[feature % len(COLORS)],
                hovertemplate=f"feature {feature}<br>input %{{x}}<br>value %{{y}}<extra></extra>",
            )
            fig.add_trace(bars, row=pair + 1, col=1)
    styled(fig, title=title, width=800, height=110 * n_pairs + 150)
    fig.update_layout(barmode="relative", bargap=0.15)
    fig.update_yaxes(range=[-1.05, 1.05], tickvals=[-1, 0, 1], ticktext=["1", "0", "1"])
    fig.update_xaxes(showgrid=False)
    fig.update_xaxes(title_text="input", row=n_pairs)
    both = ((batch[:, 0::2] != 0) & (batch[:, 1::2] != 0)).sum().item()
    either = ((batch[:, 0::2] != 0) | (batch[:, 1::2] != 0)).sum().item()
    return with_alt(
        fig,
        f"Bars of the values of {n_pairs} pairs of features in {len(batch)} inputs. A pair shows up {either} times, "
        f"{both} times with both of its features.",
    )


@check_shapes
def plot_dimensionality(
    W: Float[Tensor, "instances hidden features"],
    feature_probability: Float[Tensor, "instances _"],
    *,
    title: str | None = None,
) -> go.Figure:
    """Draw the dimensionality of every feature against sparsity, with lines at the fractions of the polytopes.

    Each instance is a column of points, one for each feature; the x axis is 1 / feature probability. The line
    is the average, n_hidden / |W|^2 over all features, "dimensions per feature" in Elhage et al. 2022.

    Args:
        W: the weights.
        feature_probability: one probability for each instance (further columns are ignored).
        title: a title for the figure.
    """
    n_instances, n_hidden, n_features = W.shape
    W = W.detach().cpu()
    sparsity = 1 / feature_probability[:, :1].detach().cpu()
    shares = compute_dimensionality(W)
    # Points of one instance would lie on a line; spread them, but not into the instance beside it.
    gaps = sparsity[:, 0].log().sort().values.diff()
    spread = torch.linspace(-0.3, 0.3, n_features) * (float(gaps.min()) if len(gaps) else 0.1)
    x = (sparsity.log() + spread).exp()
    per_feature = n_hidden / W.pow(2).sum(dim=(1, 2))
    fig = go.Figure()
    for share, fraction, name in POLYTOPES:
        fig.add_hline(y=share, line={"color": GRAY, "width": 1, "dash": "dot"})
        fig.add_annotation(
            x=1.01,
            y=share,
            xref="paper",
            text=f"{fraction} {name}",
            showarrow=False,
            xanchor="left",
            yshift={"2/5": 4, "3/8": -5}.get(fraction, 0),
        )
    fig.add_trace(
        go.Scattergl(
            x=rounded(x.flatten()),
            y=rounded(shares.flatten()),
            mode="markers",
            marker={"size": 4, "color": COLORS[0], "opacity": 0.9},
            name="one feature",
            hovertemplate="1/p %{x}<br>dimensionality %{y}<extra></extra>",
        )
    )
    fig.add_trace(
        go.Scatter(
            x=rounded(sparsity[:, 0]),
            y=rounded(per_feature),
            mode="lines",
            line={"color": COLORS[3], "width": 2},
            name="dimensions per feature, n_hidden / ‖W‖²",
        )
    )
    styled(fig, title=title, width=950, height=500)
    fig.update_xaxes(
        type="log",
        title_text="1 / feature probability (sparser to the right)",
        tickvals=[digit * 10**power for power in range(5) for digit in (1, 2, 5)],
    )
    fig.update_yaxes(title_text="dimensionality", range=[-0.03, 1.08])
    fig.update_layout(
        margin={"r": 150, "t": 90 if title else 50},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom"},
    )
    return with_alt(
        fig,
        f"Dimensionality of {n_features} features at {n_instances} sparsities as points, with lines at "
        f"{', '.join(fraction for _, fraction, _ in POLYTOPES)}. The median is {shares.median():.2f}.",
    )


def plot_double_descent(
    dataset_sizes: Sequence[int],
    train_loss: Sequence[float] | Tensor,
    test_loss: Sequence[float] | Tensor,
    *,
    feature_dimensionality: Sequence[Tensor] | None = None,
    datapoint_dimensionality: Sequence[Tensor] | None = None,
    title: str | None = None,
) -> go.Figure:
    """Draw the loss on the training data and on new data against the size of the training set.

    Args:
        dataset_sizes: the number of datapoints of each run.
        train_loss: final loss on these datapoints.
        test_loss: loss on new data.
        feature_dimensionality: for each run the dimensionality of every feature, drawn as points below.
        datapoint_dimensionality: the same for the hidden vectors of the training datapoints.
        title: a title for the figure.
    """
    shares = [
        (values, name, color)
        for values, name, color in (
            (datapoint_dimensionality, "datapoints", COLORS[1]),
            (feature_dimensionality, "features", COLORS[0]),
        )
        if values is not None
    ]
    sizes = [int(size) for size in dataset_sizes]
    for name, values in (("train_loss", train_loss), ("test_loss", test_loss)):
        if len(values) != len(sizes):
            raise ValueError(
                f"{name} has {len(values)} values for {len(sizes)} dataset sizes; one each is needed."
            )
    n_rows = 2 if shares else 1
    fig = make_subplots(rows=n_rows, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    style = {"mode": "lines+markers", "x": sizes}
    fig.add_trace(
        go.Scatter(y=rounded(test_loss, 6), name="new data", line_color=COLORS[3], **style), row=1, col=1
    )
    fig.add_trace(
        go.Scatter(y=rounded(train_loss, 6), name="training data", line_color=COLORS[2], **style),
        row=1,
        col=1,
    )
    # Small dots on top of rings: where a feature and a datapoint have the same share, both are seen.
    looks = {"features": "circle", "datapoints": "circle-open"}
    for runs, name, color in shares:
        points = [(size, share) for size, run in zip(sizes, runs, strict=True) for share in rounded(run)]
        fig.add_trace(
            go.Scatter(
                x=[size for size, _ in points],
                y=[share for _, share in points],
                mode="markers",
                marker={
                    "color": color,
                    "size": 4 if name == "features" else 10,
                    "symbol": looks[name],
                    "opacity": 0.9 if name == "features" else 0.6,
                },
                name=f"dimensionality of {name}",
            ),
            row=2,
            col=1,
        )
    styled(fig, title=title, width=800, height=600 if shares else 400)
    fig.update_xaxes(type="log", tickvals=sizes)
    fig.update_xaxes(title_text="datapoints in the training set", row=n_rows)
    fig.update_yaxes(title_text="loss", rangemode="tozero", row=1)
    if shares:
        fig.update_yaxes(title_text="dimensionality", rangemode="tozero", row=2)
    worst = sizes[int(torch.as_tensor(test_loss).argmax())]
    return with_alt(
        fig,
        f"Loss on training data and on new data for {len(sizes)} dataset sizes from {min(sizes)} to {max(sizes)}. "
        f"The loss on new data is largest at {worst} datapoints.",
    )


def plot_double_descent_geometry(
    weights: Sequence[Float[Tensor, "hidden features"]],
    hidden: Sequence[Float[Tensor, "datapoints hidden"]],
    dataset_sizes: Sequence[int],
    *,
    title: str | None = None,
) -> go.Figure:
    """Draw features (above) and training datapoints (below) in the hidden space, one column per dataset size.

    Args:
        weights: W of one model for each dataset size, with n_hidden = 2.
        hidden: the hidden vectors of its training datapoints, from `hidden_for_datapoints`.
        dataset_sizes: the number of datapoints of each model.
        title: a title for the figure.
    """
    n = len(dataset_sizes)
    if not len(weights) == len(hidden) == n:
        raise ValueError(f"Need one W and one set of hidden vectors for each of the {n} dataset sizes.")
    fig = make_subplots(
        rows=2,
        cols=n,
        subplot_titles=[f"T = {size}" for size in dataset_sizes],
        horizontal_spacing=0.015,
        vertical_spacing=0.04,
    )
    for column, (W, h) in enumerate(zip(weights, hidden, strict=True), start=1):
        for row, vectors, color in ((1, W.mT, COLORS[0]), (2, h, COLORS[1])):
            vectors = vectors[:300].detach().cpu()  # more cannot be told apart
            spokes = torch.stack(
                [torch.zeros_like(vectors), vectors, torch.full_like(vectors, math.nan)], dim=1
            )
            x, y = (
                [None if math.isnan(v) else v for v in axis] for axis in rounded(spokes.reshape(-1, 2).mT)
            )
            lines = go.Scatter(
                x=x, y=y, mode="lines", line={"color": color, "width": 1}, opacity=0.35, hoverinfo="skip"
            )
            fig.add_trace(lines, row=row, col=column)
            x, y = rounded(vectors.mT)
            fig.add_trace(
                go.Scatter(x=x, y=y, mode="markers", marker={"color": color, "size": 4}), row=row, col=column
            )
            reach = 1.15 * max(float(vectors.abs().max()), 1e-3)
            fig.update_xaxes(range=[-reach, reach], row=row, col=column)
            fig.update_yaxes(range=[-reach, reach], row=row, col=column)
    side = min(190, (MAX_WIDTH - 80) // n)
    styled(fig, title=title, width=n * side + 80, height=2 * side + 110)
    fig.update_xaxes(showticklabels=False, showgrid=False)
    fig.update_yaxes(showticklabels=False, showgrid=False)
    fig.update_yaxes(title_text="features", row=1, col=1)
    fig.update_yaxes(title_text="datapoints", row=2, col=1)
    fig.update_layout(showlegend=False, margin={"t": 80 if title else 40, "b": 20})
    return with_alt(
        fig,
        f"Hidden vectors of features and of training datapoints for {n} models, trained on "
        f"{', '.join(map(str, dataset_sizes))} datapoints.",
    )


def plot_training_loss(
    *logs: TrainingLog, names: Sequence[str] | None = None, title: str | None = None
) -> go.Figure:
    """Draw the loss of one or more training runs, step by step, on a logarithmic scale."""
    if not logs:
        raise ValueError("plot_training_loss needs at least one training log.")
    fig = go.Figure()
    for i, log in enumerate(logs):
        name = names[i] if names else f"run {i + 1}"
        fig.add_trace(go.Scatter(x=log.steps, y=rounded(log["loss"], 6), mode="lines", name=name))
    styled(fig, title=title, width=700, height=380)
    fig.update_xaxes(title_text="step")
    fig.update_yaxes(title_text="loss", type="log")
    fig.update_layout(showlegend=len(logs) > 1)
    ends = ", ".join(f"{log.final_loss:.3g}" for log in logs)
    return with_alt(
        fig, f"Training loss over {max(log.steps[-1] for log in logs) + 1} steps, down to {ends}."
    )


def probability_titles(feature_probability: Float[Tensor, "instances features"]) -> list[str]:
    """Return titles for the panels of the plots: the probability of the first feature of each instance."""
    return [f"p = {p:.2g}" for p in feature_probability[:, 0].tolist()]


def _need_2d(n_hidden: int) -> None:
    if n_hidden != 2:
        raise ValueError(
            f"This plot needs a hidden space of 2 dimensions, got {n_hidden}; try plot_features_in_Nd."
        )


def _titles(titles: Sequence[str] | None, n_instances: int) -> list[str]:
    if titles is None:
        return [f"instance {i}" for i in range(n_instances)] if n_instances > 1 else [""]
    if len(titles) != n_instances:
        raise ValueError(f"Got {len(titles)} titles for {n_instances} instances; one title each is needed.")
    return list(titles)


def _panels(
    n_instances: int, titles: Sequence[str] | None, spacing: float = 0.02, row_spacing: float = 0.16
) -> tuple[go.Figure, int, int, int]:
    """Square panels in rows of at most 5; also the number of rows and columns and the side of a panel."""
    rows = math.ceil(n_instances / 5)
    columns = math.ceil(n_instances / rows)
    side = min(320, (MAX_WIDTH - 150) // columns)
    fig = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=_titles(titles, n_instances),
        horizontal_spacing=spacing,
        vertical_spacing=row_spacing / rows if rows > 1 else 0,
    )
    return fig, rows, columns, side


def _frame(fig: go.Figure, row: int | None = None) -> None:
    """A line around each heat map."""
    for update in (fig.update_xaxes, fig.update_yaxes):
        update(showline=True, mirror=True, linewidth=1, row=row)
    fig.update_annotations(yshift=4)  # the titles of the panels, which would touch the line


def _square_axes(fig: go.Figure, reach: float | Sequence[float]) -> None:
    """Panels from -reach to reach in both directions; one reach for all of them, or one for each."""
    fig.update_xaxes(showticklabels=False, showgrid=False, constrain="domain")
    fig.update_yaxes(showticklabels=False, showgrid=False)
    x_axes, y_axes = list(fig.select_xaxes()), list(fig.select_yaxes())
    reaches = [reach] * len(x_axes) if isinstance(reach, int | float) else [*reach]
    reaches += [1.0] * (len(x_axes) - len(reaches))  # panels of the last row that stay empty
    for x_axis, y_axis, far in zip(x_axes, y_axes, reaches, strict=True):
        x_axis.update(range=[-far, far])
        y_axis.update(range=[-far, far], scaleanchor=y_axis.anchor, scaleratio=1, constrain="domain")


def _legend_entry(name: str, color: str) -> go.Scatter:
    """An invisible point that brings a line of the legend with it."""
    return go.Scatter(
        x=[None], y=[None], mode="markers", marker={"color": color, "size": 8}, name=name, showlegend=True
    )


def _unit_circle() -> go.Scatter:
    angle = torch.linspace(0, 2 * math.pi, 61)
    return go.Scatter(
        x=rounded(angle.cos()), y=rounded(angle.sin()), mode="lines", line={"color": FAINT}, hoverinfo="skip"
    )


def _points(points: Float[Tensor, "batch 2"], color: str | list[str] = GRAY) -> go.Scatter:
    x, y = rounded(points.mT)
    return go.Scatter(
        x=x, y=y, mode="markers", marker={"size": 4, "color": color, "opacity": 0.7}, hoverinfo="skip"
    )


def _arrow(x: float, y: float, feature: int, color: str) -> go.Scatter:
    length = math.hypot(x, y)
    return go.Scatter(
        x=[0, x],
        y=[0, y],
        mode="lines+markers",
        line={"color": color, "width": 3},
        marker={
            "symbol": "arrow",
            "angleref": "previous",
            "size": [0, 12 if length > 0.1 else 0],
            "color": color,
            "opacity": 1,
            "line": {"width": 0},
        },
        text=f"feature {feature}<br>norm {length:.2f}",
        hoverinfo="text",
    )


def _color(feature: int) -> str:
    return COLORS[feature % len(COLORS)]


def _feature_colors(
    n_features: int, importance: Tensor | Sequence[float] | None, groups: Sequence[int] | None
) -> tuple[list[str], tuple[float, float] | None]:
    """One color for each feature; also the ends of the scale, when the colors show importance."""
    if groups is not None:
        if len(groups) != n_features:
            raise ValueError(f"groups has {len(groups)} entries for {n_features} features.")
        return [_color(int(group)) for group in groups], None
    if importance is None:
        return [_color(feature) for feature in range(n_features)], None
    values = torch.as_tensor(importance, dtype=torch.float32).cpu()
    values = values.reshape(-1, values.shape[-1])[0]
    if len(values) != n_features:
        raise ValueError(f"importance has {len(values)} entries for {n_features} features.")
    low, high = float(values.min()), float(values.max())
    position = ((values - low) / (high - low if high > low else 1)).clamp(0, 1)
    colors = sample_colorscale([color for _, color in SEQUENTIAL], position.tolist())
    return colors, (low, high) if high > low else None  # one importance for all needs no scale


def _colorbar(low: float, high: float, name: str) -> go.Scatter:
    """An invisible point that brings the color bar with it."""
    marker = {
        "color": [low],
        "colorscale": SEQUENTIAL,
        "cmin": low,
        "cmax": high,
        "showscale": True,
        "opacity": 0,
    }
    return go.Scatter(
        x=[0], y=[0], mode="markers", marker=marker | {"colorbar": _bar(name)}, hoverinfo="skip"
    )


def _bar(title: str, y: float = 0.5, length: float = 1.0) -> dict:
    # The second line of the title is blank: without it, the first would run into the highest number.
    return {
        "title": {"text": f"{title}<br>&nbsp;" if title else ""},
        "thickness": 12,
        "outlinewidth": 0,
        "y": y,
        "len": length,
    }
