"""Figures of autoencoders on a language model. They take tensors or numbers, return a figure, and change nothing."""

from collections.abc import Mapping, Sequence
from html import escape

import plotly.graph_objects as go
import torch
from jaxtyping import Bool, Float
from plotly.subplots import make_subplots
from torch import Tensor

from part_utils.evaluation import SubstitutionLoss, log_frequency_histogram
from part_utils.neuron_counts import NeuronCount
from part_utils.palette import COLORS, FAINT, GRAY
from part_utils.plots.text import visible
from part_utils.plots.theme import rounded, styled, with_alt
from part_utils.shapes import check_shapes

LATENTS_PER_BAR = 8


def token_label(word: str) -> str:
    """Return a token as the label of an axis: spaces and line breaks visible, and safe from Plotly's HTML."""
    return escape(visible(word).replace(" ", "·")) or "∅"


@check_shapes
def plot_small_example(fired: Bool[Tensor, "tokens latents"], *, title: str | None = None) -> go.Figure:
    """Draw how a log-frequency histogram comes about, with a handful of latents named A, B, C, …

    Left: on which tokens each latent fires. Right: the histogram, with every latent as a box of its own.

    Args:
        fired: whether each latent fires on each token; every latent fires at least once.
        title: a title for the figure.
    """
    n_tokens, n_latents = fired.shape
    names = [chr(ord("A") + i) for i in range(n_latents)]
    counts = fired.sum(dim=0)
    if not counts.all():
        raise ValueError("A latent never fires, so it has no logarithm; use an example in which all fire.")
    fig = make_subplots(
        rows=1,
        cols=2,
        column_widths=[0.55, 0.45],
        horizontal_spacing=0.2,
        subplot_titles=["on which tokens it fires", "log-frequency histogram"],
    )
    grid = go.Heatmap(
        z=fired.int().T.tolist(),
        x=list(range(1, n_tokens + 1)),
        y=[f"{name}: {count} of {n_tokens}" for name, count in zip(names, counts.tolist(), strict=True)],
        colorscale=[[0, FAINT], [1, COLORS[0]]],
        showscale=False,
        xgap=3,
        ygap=3,
        hovertemplate="latent %{y}, token %{x}<extra></extra>",
    )
    fig.add_trace(grid, row=1, col=1)
    rates = (counts / n_tokens).log10().tolist()
    stacked: dict[float, int] = {}
    for name, rate in zip(names, rates, strict=True):
        height = stacked.get(rate, 0)
        stacked[rate] = height + 1
        box = go.Bar(
            x=[round(rate, 2)], y=[1], base=[height], width=0.12, text=[name], textposition="inside",
            insidetextanchor="middle", textfont={"color": "white", "size": 16},
            marker={"color": COLORS[0], "line": {"color": "white", "width": 2}},
            hovertemplate=f"latent {name}: log10 rate %{{x}}<extra></extra>", showlegend=False,
        )  # fmt: skip
        fig.add_trace(box, row=1, col=2)
    styled(fig, title=title, width=860, height=340)
    fig.update_layout(barmode="overlay", margin={"l": 90})
    fig.update_xaxes(title_text="token", dtick=1, showgrid=False, row=1, col=1)
    fig.update_yaxes(autorange="reversed", showgrid=False, row=1, col=1)
    fig.update_xaxes(title_text="log10 of the firing rate", range=[-1.25, 0.05], row=1, col=2)
    fig.update_yaxes(
        title_text="number of latents", dtick=1, range=[0, max(stacked.values()) + 0.3], row=1, col=2
    )
    bars = "; ".join(f"{height} latents at {rate:.2f}" for rate, height in sorted(stacked.items()))
    return with_alt(
        fig, f"A grid of {n_latents} latents and {n_tokens} tokens, and their histogram of log rates: {bars}."
    )


@check_shapes
def plot_log_frequency(
    feature_probability: Float[Tensor, "n_hidden_ae"],
    *,
    n_bins: int = 40,
    names: Mapping[int, str] | None = None,
    groups: Mapping[str, tuple[float, float]] | None = None,
    title: str | None = None,
) -> go.Figure:
    """Draw the log-frequency histogram; pointing at a bar lists its latents.

    Args:
        feature_probability: the firing rate of every latent of one instance.
        n_bins: number of bars.
        names: names of latents; those of a bar that have one are listed first.
        groups: ranges of firing rates, drawn as bands with their names.
        title: a title for the figure.
    """
    names = names or {}
    counts, edges, n_dead = log_frequency_histogram(feature_probability, n_bins)
    rates = feature_probability.detach().cpu()
    alive = (rates > 0).nonzero()[:, 0]
    # The inner edges suffice: what lies beyond the outer ones by rounding belongs to the outer bars.
    bins = torch.bucketize(rates[alive].log10(), edges[1:-1], right=True)
    hover = []
    for index in range(n_bins):
        members = alive[bins == index].tolist()
        members.sort(key=lambda latent: latent not in names)
        lines = [
            f"latent {latent}" + (f": {escape(names[latent])}" if latent in names else "")
            for latent in members[:LATENTS_PER_BAR]
        ]
        if len(members) > LATENTS_PER_BAR:
            lines.append(f"and {len(members) - LATENTS_PER_BAR} more")
        every = [1 / 10 ** edges[index + step].item() for step in (0, 1)]
        lines.insert(0, f"<b>{len(members)} latents</b>, once in {every[1]:,.0f} to {every[0]:,.0f} tokens")
        hover.append("<br>".join(lines))
    centers = (edges[:-1] + edges[1:]) / 2
    fig = go.Figure(
        go.Bar(
            x=rounded(centers, 3),
            y=counts.tolist(),
            width=rounded(edges.diff(), 4),
            marker={"color": COLORS[0], "line": {"width": 0}},
            customdata=hover,
            hovertemplate="%{customdata}<extra></extra>",
        )
    )
    styled(fig, title=title, width=860, height=430)
    for number, (name, (low, high)) in enumerate((groups or {}).items()):
        fig.add_vrect(
            x0=torch.tensor(max(low, 10 ** edges[0].item())).log10().item(),
            x1=torch.tensor(min(high, 10 ** edges[-1].item())).log10().item(),
            fillcolor=COLORS[1 + number % 6],
            opacity=0.18,
            line_width=0,
            layer="below",
            annotation={"text": name, "font": {"size": 12, "color": GRAY}},
            annotation_position="top left",
        )
    fig.update_xaxes(title_text="log10 of the firing rate (−3: one token in a thousand)")
    fig.update_yaxes(title_text="number of latents")
    fig.update_layout(bargap=0.05, hoverlabel={"align": "left"})
    highest = int(counts.argmax())
    return with_alt(
        fig,
        f"Histogram of {len(rates)} latents by log10 of their firing rate, from {edges[0]:.1f} to {edges[-1]:.1f}, "
        f"highest at {centers[highest]:.1f} with {int(counts[highest])} latents. {n_dead} latents never fire.",
    )


@check_shapes
def plot_direction_similarity(
    rare: Float[Tensor, "n_rare"],
    all_latents: Float[Tensor, "n_hidden_ae"],
    *,
    names: tuple[str, str] = ("rare latents", "all latents"),
    title: str | None = None,
) -> go.Figure:
    """Draw two histograms, one above the other: cosine with the mean direction of the rare latents.

    Args:
        rare: the cosines of the rare latents.
        all_latents: those of all latents.
        names: what the two are called.
        title: a title for the figure.
    """
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.12, subplot_titles=names)
    edges = torch.linspace(-1, 1, 81)
    centers = rounded((edges[:-1] + edges[1:]) / 2, 3)
    for row, values in enumerate((rare, all_latents), 1):
        counts = torch.histogram(values.detach().cpu().float().clamp(-1, 1), edges).hist
        bars = go.Bar(
            x=centers,
            y=rounded(100 * counts / len(values), 2),
            marker={"color": COLORS[3] if row == 1 else COLORS[0], "line": {"width": 0}},
            hovertemplate="cosine %{x}: %{y:.1f} % of them<extra></extra>",
            showlegend=False,
        )
        fig.add_trace(bars, row=row, col=1)
    styled(fig, title=title, width=800, height=480)
    fig.update_layout(bargap=0.05, margin={"t": 90 if title else 50})
    fig.update_yaxes(title_text="% of them", rangemode="tozero")
    fig.update_xaxes(range=[-1.02, 1.02], dtick=0.25)
    fig.update_xaxes(title_text="cosine with the mean direction of the rare latents", row=2)
    return with_alt(
        fig,
        f"Two histograms of cosines. {names[0]} ({len(rare)}): mean {rare.mean():.2f}. "
        f"{names[1]} ({len(all_latents)}): mean {all_latents.mean():.2f}.",
    )


@check_shapes
def plot_reconstruction(
    h: Float[Tensor, "d_mlp"], h_reconstructed: Float[Tensor, "d_mlp"], *, title: str | None = None
) -> go.Figure:
    """Draw one token's activations against their reconstruction, a point for each neuron.

    Args:
        h: the activations.
        h_reconstructed: what the autoencoder makes of them.
        title: a title for the figure.
    """
    ends = [round(float(torch.minimum(h, h_reconstructed).min()), 2), round(float(h.max()), 2)]
    fig = go.Figure(
        go.Scatter(x=ends, y=ends, mode="lines", line={"color": GRAY, "dash": "dash"}, hoverinfo="skip")
    )
    points = go.Scatter(
        x=rounded(h, 3),
        y=rounded(h_reconstructed, 3),
        mode="markers",
        marker={"color": COLORS[0], "size": 6, "opacity": 0.6},
        hovertemplate="activation %{x}, reconstruction %{y}<extra></extra>",
    )
    fig.add_trace(points)
    styled(fig, title=title, width=520, height=480)
    fig.update_layout(showlegend=False)
    fig.update_xaxes(title_text="activation of the neuron")
    fig.update_yaxes(title_text="its reconstruction")
    mse = (h - h_reconstructed).pow(2).mean()
    return with_alt(
        fig,
        f"Scatter plot of {len(h)} neurons, activation against reconstruction; the points lie around the diagonal. "
        f"Mean squared error {mse:.2g}.",
    )


def plot_loss_along_lines(
    shares: Sequence[float],
    reconstruction_losses: Mapping[str, Sequence[float]],
    parameter_losses: Mapping[str, Sequence[float]],
    *,
    title: str | None = None,
) -> go.Figure:
    """Draw the loss along straight lines: between two reconstructions (left), between two sets of parameters (right).

    Args:
        shares: how far along the line, from 0 to 1.
        reconstruction_losses: for each line its name and the loss at every share.
        parameter_losses: the same.
        title: a title for the figure.
    """
    panels = ["between two reconstructions", "between two sets of parameters"]
    fig = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.06, subplot_titles=panels)
    color = 0
    for column, lines in enumerate((reconstruction_losses, parameter_losses), 1):
        for name, losses in lines.items():
            curve = go.Scatter(
                x=rounded(shares, 2),
                y=rounded(losses, 5),
                mode="lines+markers",
                name=name,
                line={"color": COLORS[color], "dash": ("solid", "dash", "dot", "dashdot")[color % 4]},
            )
            fig.add_trace(curve, row=1, col=column)
            color += 1
    styled(fig, title=title, width=920, height=420)
    fig.update_xaxes(title_text="share of the way")
    fig.update_yaxes(rangemode="tozero")
    fig.update_yaxes(title_text="mean squared error", col=1)
    fig.update_layout(legend={"orientation": "h", "y": -0.22}, margin={"t": 90 if title else 50, "b": 90})
    told = "; ".join(
        f"{name}: {losses[0]:.2g} at the start, at most {max(losses):.2g}, {losses[-1]:.2g} at the end"
        for lines in (reconstruction_losses, parameter_losses)
        for name, losses in lines.items()
    )
    return with_alt(fig, f"Mean squared error along straight lines. {told}.")


def plot_substitution_loss(losses: SubstitutionLoss, *, title: str | None = None) -> go.Figure:
    """Draw where the loss with reconstructions lies between the clean loss and each of two baselines.

    Args:
        losses: what `get_substitution_loss` returned.
        title: a title for the figure.
    """
    clean, reconstructed = losses.clean.item(), losses.reconstructed.item()
    baselines = {
        "against mean ablation": losses.mean_ablated.item(),
        "against zero ablation": losses.zero_ablated.item(),
    }
    fig = go.Figure()
    told = []
    for row, (name, ablated) in enumerate(baselines.items()):
        recovered = (ablated - reconstructed) / (ablated - clean)
        told.append(f"{name}: {ablated:.2f}, recovered {recovered:.1%}")
        fig.add_trace(
            go.Scatter(
                x=[round(clean, 4), round(ablated, 4)], y=[row, row], mode="lines",
                line={"color": GRAY, "width": 3}, hoverinfo="skip", showlegend=False,
            )
        )  # fmt: skip
        fig.add_annotation(
            x=(reconstructed + ablated) / 2,
            y=row,
            yshift=16,
            showarrow=False,
            text=f"recovered: {recovered:.1%}",
        )
    for name, color, symbol, values in (
        ("clean", COLORS[2], "circle", [clean, clean]),
        ("reconstructed", COLORS[0], "diamond", [reconstructed, reconstructed]),
        ("ablated", COLORS[3], "square", list(baselines.values())),
    ):
        marks = go.Scatter(
            x=rounded(values, 4),
            y=[0, 1],
            mode="markers",
            name=name,
            marker={"color": color, "size": 14, "symbol": symbol},
            hovertemplate=f"{name}: %{{x:.3f}} nats<extra></extra>",
        )
        fig.add_trace(marks)
    styled(fig, title=title, width=820, height=290)
    fig.update_xaxes(title_text="loss of the language model, nats per token")
    fig.update_yaxes(
        tickvals=[0, 1], ticktext=list(baselines), range=[-0.6, 1.6], showgrid=False, zeroline=False
    )
    fig.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"}, margin={"l": 170})
    return with_alt(
        fig, f"Loss clean {clean:.2f}, reconstructed {reconstructed:.2f}; " + "; ".join(told) + "."
    )


def plot_beside_baselines(recovered: Mapping[str, float], *, title: str | None = None) -> go.Figure:
    """Draw how much of the loss each of several descriptions recovers, as bars: an autoencoder, then its opponents.

    Args:
        recovered: for every name the share, 1 for a description that loses nothing.
        title: a title for the figure.
    """
    names = list(recovered)
    fig = go.Figure(
        go.Bar(
            x=[round(100 * share, 2) for share in recovered.values()],
            y=names,
            orientation="h",
            marker_color=[COLORS[0]] + [GRAY] * (len(names) - 1),
            text=[f"{share:.1%}" for share in recovered.values()],
            hovertemplate="%{y}: %{x:.1f} %<extra></extra>",
        )
    )
    styled(fig, title=title, width=820, height=120 + 45 * len(names))
    fig.update_xaxes(title_text="share of the loss recovered, against mean ablation, %", range=[0, 100])
    fig.update_yaxes(autorange="reversed")
    fig.update_layout(margin={"l": 190})
    told = ", ".join(f"{name} {share:.1%}" for name, share in recovered.items())
    return with_alt(fig, f"Share of the loss recovered: {told}.")


def plot_neuron_counts(points: Sequence[NeuronCount], *, title: str | None = None) -> go.Figure:
    """Draw what an autoencoder and as many neurons recover in models that differ in their number of neurons.

    Args:
        points: from `load_neuron_counts`; a dot for each, and a line through the means.
        title: a title for the figure.
    """
    counts = sorted({point.n_neurons for point in points})
    k = points[0].k
    fig, told = go.Figure(), []
    for name, value, color, symbol in (
        (f"autoencoder, {k} latents", "recovered", COLORS[0], "circle"),
        (f"{k} neurons", "recovered_by_neurons", GRAY, "square"),
    ):
        shares = {
            n: [100 * getattr(point, value) for point in points if point.n_neurons == n] for n in counts
        }
        means = [sum(some) / len(some) for some in shares.values()]
        fig.add_trace(
            go.Scatter(x=counts, y=rounded(means, 2), name=name, mode="lines", line={"color": color})
        )
        fig.add_trace(
            go.Scatter(
                x=[n for n, some in shares.items() for _ in some],
                y=rounded([share for some in shares.values() for share in some], 2),
                mode="markers",
                marker={"color": color, "symbol": symbol, "size": 8},
                showlegend=False,
                hovertemplate="%{x} neurons: %{y:.1f} %<extra>" + name + "</extra>",
            )
        )
        told.append(f"{name}: " + ", ".join(f"{m:.0f} % at {n}" for n, m in zip(counts, means, strict=True)))
    styled(fig, title=title, width=820, height=420)
    fig.update_xaxes(title_text="neurons of the model's MLP", type="log", tickvals=counts)
    fig.update_yaxes(title_text="share of the loss recovered, %")
    return with_alt(fig, "Share of the loss recovered over the number of neurons. " + "; ".join(told) + ".")


@check_shapes
def plot_prediction_change(
    before: Float[Tensor, "d_vocab"],
    after: Float[Tensor, "d_vocab"],
    words: Sequence[str],
    *,
    names: tuple[str, str] = ("clean", "ablated"),
    k: int = 5,
    title: str | None = None,
) -> go.Figure:
    """Draw the most likely next tokens before and after, as bars of their probabilities.

    Args:
        before: logits of one position.
        after: logits of the same position after a change.
        words: the text of every token of the vocabulary.
        names: what the two are called.
        k: the `k` most likely tokens of either side are drawn.
        title: a title for the figure.
    """
    shares = torch.stack([before, after]).detach().softmax(dim=-1)
    chosen = sorted(
        set(shares.topk(k).indices.flatten().tolist()), key=lambda token: -shares[0, token].item()
    )
    labels = [token_label(words[token]) for token in chosen]
    fig = go.Figure()
    for side, name in enumerate(names):
        bars = go.Bar(
            x=list(range(len(chosen))),
            y=rounded(100 * shares[side, chosen], 2),
            name=name,
            marker={"color": (GRAY, COLORS[3])[side]},
            customdata=labels,
            hovertemplate=f"{name}: %{{customdata}} %{{y:.1f}} %<extra></extra>",
        )
        fig.add_trace(bars)
    styled(fig, title=title, width=760, height=380)
    fig.update_xaxes(tickvals=list(range(len(chosen))), ticktext=labels, tickangle=0, title_text="next token")
    fig.update_yaxes(title_text="probability, %")
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom"}
    fig.update_layout(barmode="group", legend=legend, margin={"t": 90 if title else 60})
    best = " and ".join(
        f"{name}: {words[int(share.argmax())]!r} {share.max():.0%}"
        for name, share in zip(names, shares, strict=True)
    )
    return with_alt(fig, f"Bars of the most likely next tokens before and after. Most likely {best}.")


def plot_effect_by_token(
    words: Sequence[str],
    effects: Mapping[str, Float[Tensor, "seq"]],
    *,
    y_title: str = "mean change of a logit",
    title: str | None = None,
) -> go.Figure:
    """Draw a value for every token of a piece of text, in one panel for each of several measurements.

    Args:
        words: the tokens, as text.
        effects: for each measurement its name and one value for each token.
        y_title: what the values are.
        title: a title for the figure.
    """
    fig = make_subplots(
        rows=len(effects), cols=1, shared_xaxes=True, vertical_spacing=0.14, subplot_titles=list(effects)
    )
    places = list(range(len(words)))
    for row, (name, values) in enumerate(effects.items(), 1):
        bars = go.Bar(
            x=places,
            y=rounded(values, 4),
            marker={"color": COLORS[(0, 3, 2, 1)[(row - 1) % 4]]},
            customdata=[token_label(word) for word in words],
            hovertemplate="%{customdata}: %{y:.3f}<extra></extra>",
            showlegend=False,
            name=name,
        )
        fig.add_trace(bars, row=row, col=1)
    styled(fig, title=title, width=920, height=200 * len(effects) + 110)
    top = max(float(values.max()) for values in effects.values())
    fig.update_yaxes(range=[0, 1.05 * top or 1], title_text=y_title)
    fig.update_xaxes(
        tickvals=places,
        ticktext=[token_label(word) for word in words],
        tickangle=-90,
        showgrid=False,
        row=len(effects),
    )
    fig.update_layout(margin={"b": 110, "t": 90 if title else 50})
    told = "; ".join(
        f"{name}: largest at {words[int(v.argmax())]!r} ({v.max():.2g})" for name, v in effects.items()
    )
    return with_alt(fig, f"{y_title} on {len(words)} tokens. {told}.")
