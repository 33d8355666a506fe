"""Steering to play with: a beginning, a latent and a strength, and how the model goes on without it and with it."""

import os
from collections.abc import Mapping
from html import escape
from typing import Any

from IPython.display import HTML

from part_utils.interpretation import top_activations
from part_utils.model_with_autoencoder import ModelWithAutoencoder
from part_utils.palette import BLUE, ORANGE
from part_utils.plots.text import visible
from part_utils.steering import continue_text, steered_next_token
from part_utils.texts import TokenizedText
from part_utils.token_text import token_string

N_TOKENS = 6
"""How many of the most probable next tokens are shown, of each kind."""
N_WRITTEN = 30
"""How many tokens the model writes."""


def steering_html(sentence: str, subject: ModelWithAutoencoder, latent: int, strength: float) -> HTML:
    """Return the most probable next tokens without and with steering, as bars, and how the model goes on.

    Args:
        sentence: the beginning.
        subject: the language model with its autoencoder.
        latent: whose direction is added.
        strength: how much of it, in units of its activation.

    Raises:
        ValueError: the sentence is empty, or longer than the model can read.
    """
    next_token = steered_next_token(sentence, subject, latent, strength)
    tokens = {
        int(token)
        for probabilities in (next_token.before, next_token.after)
        for token in probabilities.topk(N_TOKENS).indices
    }
    largest = max(next_token.before.max().item(), next_token.after.max().item())
    rows = []
    for token in sorted(tokens, key=lambda token: -float(next_token.before[token])):
        word = escape(visible(token_string(token, subject.model.tokenizer)).replace(" ", "␣"))
        bars = "".join(
            f'<td style="width:14em;text-align:left"><span aria-hidden="true" style="display:inline-block;height:.8em;'
            f'width:{9 * value / largest:.2f}em;background:{color};margin-right:.4em"></span>{value:.1%}</td>'
            for value, color in (
                (float(next_token.before[token]), BLUE),
                (float(next_token.after[token]), ORANGE),
            )
        )
        rows.append(
            f'<tr><th scope="row" style="text-align:right;font-family:monospace">{word}</th>{bars}</tr>'
        )
    written = "".join(
        f"<p style='white-space:pre-wrap'><b>{label}:</b> {escape(sentence)}"
        f"<mark style='background:{color}44;color:inherit'>"
        f"{escape(continue_text(sentence, subject, latent, amount, n_tokens=N_WRITTEN))}</mark></p>"
        for label, amount, color in (("without", 0.0, BLUE), ("with", strength, ORANGE))
    )
    return HTML(
        '<div style="display:flex;flex-wrap:wrap;gap:2em"><table style="align-self:start"><thead><tr>'
        '<th scope="col">next token</th><th scope="col" style="text-align:left">without</th>'
        f'<th scope="col" style="text-align:left">with</th></tr></thead><tbody>{"".join(rows)}</tbody></table>'
        '<div style="flex:1 1 18em;max-width:26em;font-size:1.1em">'
        f"<p>{next_token.moved:.0%} of the probability has moved.</p>{written}</div></div>"
    )


def steering_explorer(
    text: TokenizedText,
    subject: ModelWithAutoencoder,
    names: Mapping[int, str],
    start: str = "She had always thought that",
) -> Any:
    """Return a field for a beginning, a list of latents and a slider for the strength above what the model writes.

    Args:
        text: where to look up each latent's largest activation, in units of which the slider counts.
        subject: the language model with its autoencoder.
        names: the latents to choose from, with what they are called.
        start: the beginning that stands there at first.

    Returns:
        A widget, or, where the environment variable COURSE_STATIC is 1, what it shows at first.

    Raises:
        ValueError: there are no latents to choose from.
    """
    if not names:
        raise ValueError("There is no latent to choose from; give at least one number with a name.")
    largest = top_activations(text.tokens, subject, k=1).values[:, 0]
    first = next(iter(names))
    if os.environ.get("COURSE_STATIC") == "1":
        return steering_html(start, subject, first, largest[first].item())
    import ipywidgets as widgets

    wide, style = widgets.Layout(width="640px"), {"description_width": "90px"}
    beginning = widgets.Text(
        value=start, description="beginning", continuous_update=False, layout=wide, style=style
    )
    latent = widgets.Dropdown(
        options=[(f"{number}  {name}", number) for number, name in names.items()],
        description="latent",
        layout=wide,
        style=style,
    )
    times = widgets.FloatSlider(
        value=1,
        min=-1,
        max=4,
        step=0.25,
        description="× its largest",
        continuous_update=False,
        layout=wide,
        style=style,
    )
    shown = widgets.HTML()

    def redraw(change: Any = None) -> None:
        strength = times.value * largest[latent.value].item()
        try:
            shown.value = steering_html(beginning.value, subject, latent.value, strength).data or ""
        except ValueError as error:
            shown.value = f"<p>{escape(str(error))}</p>"

    for widget in (beginning, latent, times):
        widget.observe(redraw, names="value")
    redraw()
    return widgets.VBox([beginning, latent, times, shown])
