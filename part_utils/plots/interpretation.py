"""Figures about single latents. They take tensors, return a figure, and change nothing."""

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go
import torch
from jaxtyping import Bool, Float
from plotly.subplots import make_subplots
from torch import Tensor

from part_utils.palette import COLORS, FAINT, GRAY
from part_utils.plots.text import visible
from part_utils.plots.theme import rounded, styled, with_alt

BLUE, ORANGE = COLORS[0], COLORS[1]
MOST_POINTS = 600


def token_names(words: Sequence[str]) -> list[str]:
    """Return tokens as labels of an axis: a space is drawn as ␣, and no two are equal, else bars would be stacked."""
    names: list[str] = []
    for word in words:
        name = escape(visible(word).replace(" ", "␣"))
        if len(name) > 18:
            name = f"{name[:12]}…({len(word)})"
        while name in names:
            name += "\u200b"
        names.append(name)
    return names


def plot_activation_histogram(
    acts: Float[Tensor, "batch seq"], matches: Bool[Tensor, "batch seq"], what: str, title: str = ""
) -> go.Figure:
    """Draw how strongly a latent fires, where it fires at all: tokens that match a rule, and all others.

    Args:
        acts: the latent's activations on a text.
        matches: the tokens that match the rule.
        what: the rule in words, for the legend.
        title: a title for the figure.
    """
    fires = acts > 0
    if not fires.any():
        raise ValueError("The latent fires nowhere on this text; take more text, or another latent.")
    edges = torch.linspace(0, float(acts.max()) * 1.0001, 31)
    middle, width = (edges[1:] + edges[:-1]) / 2, float(edges[1] - edges[0])
    fig = go.Figure()
    for mask, name, color in ((matches, what, BLUE), (~matches, "any other token", ORANGE)):
        counts = torch.histogram(acts[fires & mask].cpu(), edges).hist
        fig.add_bar(
            x=rounded(middle),
            y=counts.int().tolist(),
            width=width,
            name=name,
            marker_color=color,
            hovertemplate="about %{x}: %{y} tokens",
        )
    styled(fig, title=title or "How strongly it fires", width=760, height=380)
    fig.update_layout(
        barmode="stack",
        bargap=0,
        xaxis_title="activation (tokens on which it does not fire are left out)",
        yaxis_title="tokens",
        legend={"x": 0.98, "xanchor": "right", "y": 0.98},
    )
    share = (matches & fires).sum() / fires.sum()
    return with_alt(
        fig,
        f"Histogram of the latent's activations, from 0 to {float(acts.max()):.2f}, on the {int(fires.sum())} tokens "
        f"on which it fires. On {share:.0%} of them: {what}.",
    )


def plot_logit_effect(
    effect: Float[Tensor, "d_vocab"], words: Sequence[str], k: int = 10, title: str = ""
) -> go.Figure:
    """Draw the tokens that a latent favors and disfavors most, above the effects on all tokens.

    Args:
        effect: what one unit of the latent adds to each logit.
        words: the text of every token.
        k: how many tokens at either end.
        title: a title for the figure.
    """
    top, bottom = effect.topk(k), effect.topk(k, largest=False)
    fig = make_subplots(
        rows=2,
        cols=2,
        specs=[[{}, {}], [{"colspan": 2}, None]],
        row_heights=[0.7, 0.3],
        subplot_titles=["favored most", "disfavored most", "all tokens"],
        vertical_spacing=0.17,
        horizontal_spacing=0.2,
    )
    for column, (values, color) in enumerate(((top, BLUE), (bottom, ORANGE)), start=1):
        fig.add_bar(
            x=rounded(values.values),
            y=token_names([words[i] for i in values.indices.tolist()]),
            orientation="h",
            marker_color=color,
            hovertemplate="%{y}: %{x}<extra></extra>",
            row=1,
            col=column,
        )
    hist, edges = torch.histogram(effect.detach().cpu().float(), bins=60)
    fig.add_bar(
        x=rounded((edges[1:] + edges[:-1]) / 2),
        y=hist.int().tolist(),
        marker_color=GRAY,
        hovertemplate="about %{x}: %{y} tokens<extra></extra>",
        row=2,
        col=1,
    )
    styled(fig, title=title or "Direct effect on the logits", width=860, height=560)
    fig.update_layout(showlegend=False, bargap=0.15, margin={"l": 130})
    fig.update_yaxes(autorange="reversed", row=1)
    fig.update_yaxes(title_text="tokens", row=2)
    fig.update_xaxes(title_text="added to the logit by one unit of the latent", row=2)
    names = [", ".join(repr(words[i]) for i in part.indices.tolist()) for part in (top, bottom)]
    return with_alt(
        fig, f"Direct effect on the logits. Favored most: {names[0]}. Disfavored most: {names[1]}."
    )


def plot_claim_against_measurement(
    claims: dict[str, Float[Tensor, "d_vocab"]],
    measured: Float[Tensor, "d_vocab"],
    words: Sequence[str],
    title: str = "",
) -> go.Figure:
    """Draw what the weights say that a latent does to each logit, against what taking it away does, on one token.

    Every point is a token of the vocabulary. The line is where claim and measurement agree.

    Args:
        claims: names and predictions of the effect.
        measured: the effect that was measured.
        words: the text of every token.
        title: a title for the figure.
    """
    generator = torch.Generator().manual_seed(0)
    some = torch.randperm(len(measured), generator=generator)[:MOST_POINTS]
    shown = torch.cat([some, measured.cpu().topk(10).indices]).unique()
    names = [visible(words[i]) for i in shown.tolist()]
    fig = make_subplots(
        rows=1, cols=len(claims), subplot_titles=list(claims), shared_yaxes=True, horizontal_spacing=0.06
    )
    centered = measured.cpu() - measured.cpu().mean()
    low, high = float(centered[shown].min()), float(centered[shown].max())
    correlations = []
    for column, claim in enumerate(claims.values(), start=1):
        claim = claim.cpu() - claim.cpu().mean()
        correlations.append(torch.corrcoef(torch.stack([claim, centered]))[0, 1].item())
        fig.add_scatter(
            x=[low, high], y=[low, high], mode="lines", line={"color": GRAY, "dash": "dot"}, row=1, col=column
        )
        fig.add_scatter(
            x=rounded(claim[shown]),
            y=rounded(centered[shown]),
            mode="markers",
            marker={"color": BLUE, "size": 5, "opacity": 0.6},
            text=names,
            hovertemplate="%{text}: claimed %{x}, measured %{y}<extra></extra>",
            row=1,
            col=column,
        )
        fig.update_xaxes(title_text="claimed", row=1, col=column)
    styled(fig, title=title or "Claimed and measured effect on the logits", width=900, height=430)
    fig.update_layout(showlegend=False)
    fig.update_yaxes(title_text="measured", col=1)
    told = "; ".join(f"{name}: correlation {c:.2f}" for name, c in zip(claims, correlations, strict=True))
    return with_alt(fig, f"Scatter plots of claimed against measured effects over the vocabulary. {told}.")


def plot_neuron_basis(
    share: Float[Tensor, "d_mlp"],
    all_shares: Float[Tensor, "n_hidden_ae d_mlp"],
    name: str,
    title: str = "",
) -> go.Figure:
    """Draw how one latent's direction is spread over the neurons, and how many neurons hold half of each latent.

    Args:
        share: the latent's share of squared length in each neuron.
        all_shares: the same for every latent.
        name: the latent's name.
        title: a title for the figure.
    """
    largest = share.sort(descending=True).values[:40]
    held = all_shares.sort(dim=1, descending=True).values.cumsum(dim=1)
    n_half = (held < 0.5 - 1e-6).sum(dim=1) + 1
    counts = torch.bincount(n_half.cpu())
    fig = make_subplots(
        rows=1,
        cols=2,
        horizontal_spacing=0.13,
        subplot_titles=[f"{name}: its 40 largest neurons", "all latents: neurons that hold half"],
    )
    fig.add_bar(
        x=list(range(1, len(largest) + 1)),
        y=rounded(100 * largest, 2),
        marker_color=BLUE,
        hovertemplate="neuron number %{x} in size: %{y} %<extra></extra>",
        row=1,
        col=1,
    )
    fig.add_hline(y=1, line={"color": ORANGE, "dash": "dot"}, annotation_text="1 %", row=1, col=1)
    fig.add_bar(
        x=list(range(len(counts))),
        y=counts.tolist(),
        marker_color=BLUE,
        hovertemplate="%{x} neurons hold half of %{y} latents<extra></extra>",
        row=1,
        col=2,
    )
    styled(fig, title=title, width=900, height=390)
    fig.update_layout(showlegend=False, bargap=0.1)
    fig.update_xaxes(title_text="neurons, the largest first", row=1, col=1)
    fig.update_yaxes(title_text="% of the squared length", row=1, col=1)
    fig.update_xaxes(title_text="neurons", row=1, col=2)
    fig.update_yaxes(title_text="latents", row=1, col=2)
    return with_alt(
        fig,
        f"{name}: the largest neuron holds {float(largest[0]):.1%} of the direction. It takes "
        f"{int(n_half.float().median())} neurons to hold half of a latent, in the median over all latents.",
    )


def plot_parts(
    parts: Sequence[tuple[str, float]], total: float, total_name: str, title: str = ""
) -> go.Figure:
    """Draw numbers that add up, as a waterfall.

    Args:
        parts: a name and a number each, in order.
        total: what they add up to.
        total_name: its name.
        title: a title for the figure.
    """
    fig = go.Figure(
        go.Waterfall(
            x=[name for name, _ in parts] + [total_name],
            y=[round(value, 4) for _, value in parts] + [round(total, 4)],
            measure=["relative"] * len(parts) + ["total"],
            increasing={"marker": {"color": BLUE}},
            decreasing={"marker": {"color": ORANGE}},
            totals={"marker": {"color": GRAY}},
            connector={"line": {"color": FAINT}},
            hovertemplate="%{x}: %{delta:.3f}<extra></extra>",
        )
    )
    styled(fig, title=title, width=860, height=400)
    fig.update_layout(yaxis_title=total_name, showlegend=False)
    told = ", ".join(f"{name} {value:+.3f}" for name, value in parts)
    return with_alt(fig, f"{told} add up to {total_name}, {total:.3f}.")


def plot_error_left(
    errors: Float[Tensor, "steps"], names: Sequence[str], final: float, title: str = ""
) -> go.Figure:
    """Draw how much of an activation is left unexplained as its latents are added, the most active first.

    Args:
        errors: squared error relative to that of the bias alone; entry 0 is without any latent.
        names: a name for each entry.
        final: the same for the whole reconstruction, drawn as a line.
        title: a title for the figure.
    """
    fig = go.Figure(
        go.Scatter(
            x=list(range(len(errors))),
            y=rounded(100 * errors, 2),
            mode="lines+markers",
            line={"color": BLUE},
            text=list(names),
            hovertemplate="%{text}<br>%{y} % left<extra></extra>",
        )
    )
    fig.add_hline(
        y=100 * final, line={"color": ORANGE, "dash": "dot"}, annotation_text=f"the error: {final:.1%}"
    )
    styled(fig, title=title, width=760, height=380)
    fig.update_layout(
        xaxis_title="latents added, the most active first", yaxis_title="% of the squared length left"
    )
    fig.update_yaxes(rangemode="tozero")
    ten = min(10, len(errors) - 1)
    return with_alt(
        fig,
        f"Without latents 100 % is left, with {ten} of them {float(errors[ten]):.0%}, with all {len(errors) - 1} "
        f"{final:.1%}.",
    )


def plot_universality(
    matches: dict[str, Float[Tensor, "latents"]],
    chance: dict[str, Float[Tensor, "latents"]],
    title: str = "",
) -> go.Figure:
    """Draw how similar every latent's best match is, next to what chance gives.

    Args:
        matches: for each measure, the similarity of every latent's best match.
        chance: the same with directions or activations that have nothing to do with each other.
        title: a title for the figure.
    """
    fig = make_subplots(rows=1, cols=len(matches), subplot_titles=list(matches), horizontal_spacing=0.1)
    edges = torch.linspace(-0.0001, 1.0001, 41)
    told = []
    for column, (name, values) in enumerate(matches.items(), start=1):
        told.append(
            f"{name}: median {float(values.median()):.2f}, by chance {float(chance[name].median()):.2f}"
        )
        for part, label, color in ((values, "encoder-B", BLUE), (chance[name], "by chance", GRAY)):
            counts = torch.histogram(part.detach().cpu().float().clamp(0, 1), edges).hist
            fig.add_bar(
                x=rounded((edges[1:] + edges[:-1]) / 2),
                y=rounded(100 * counts / len(part), 2),
                marker_color=color,
                opacity=0.85 if color == BLUE else 0.5,
                name=label,
                showlegend=column == 1,
                hovertemplate=f"{label}, about %{{x}}: %{{y}} %<extra></extra>",
                row=1,
                col=column,
            )
        fig.update_xaxes(title_text="similarity of the best match", range=[0, 1], row=1, col=column)
    styled(fig, title=title, width=900, height=390)
    fig.update_layout(
        barmode="overlay", bargap=0.05, legend={"orientation": "h", "y": 1.2, "x": 1, "xanchor": "right"}
    )
    fig.update_yaxes(title_text="% of the latents", col=1)
    return with_alt(fig, f"Histograms of the best match of every latent of encoder-A. {'; '.join(told)}.")
