"""Choose a latent, or search for one, and see its panels."""

import os
from collections import Counter
from html import escape
from typing import TYPE_CHECKING, Any

from IPython.display import HTML

from part_utils.autoencoder import AutoEncoder
from part_utils.dashboard import DashboardConfig, collect_statistics, framed, latent_panel_html, panel_css
from part_utils.interpretation import top_activations
from part_utils.language_models import TokenizedText
from part_utils.plots.text import visible
from part_utils.token_text import token_strings

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

N_FOUND = 30


class LatentIndex:
    """On which words every latent fires most, to search in.

    One pass over the text for all latents.
    """

    def __init__(
        self,
        text: TokenizedText,
        model: "TransformerBridge",
        autoencoder: AutoEncoder,
        instance: int = 0,
        k: int = 10,
    ) -> None:
        """Read the text.

        Args:
            text: the text.
            model: the language model.
            autoencoder: the autoencoder.
            instance: of which instance.
            k: how many of the strongest tokens count for each latent.
        """
        top = top_activations(text.tokens, model, autoencoder, instance, k=k)
        tokens = text.tokens.flatten()[top.positions]
        words = token_strings(tokens.flatten(), model.tokenizer)
        fires = (top.values > 0).tolist()
        self.words = [
            Counter(word for word, fired in zip(words[row * k : (row + 1) * k], firing, strict=True) if fired)
            for row, firing in enumerate(fires)
        ]
        self.rates = top.rates

    def search(self, query: str) -> list[int]:
        """Return the latents that a query names or describes, the best first.

        Args:
            query: a latent's number, or text that is part of the words on which a latent fires most. A space at the
                start or the end counts. Left empty, it finds the latents that fire most often.
        """
        if not query:
            return self.rates.topk(min(N_FOUND, len(self.rates))).indices.tolist()
        number = query.strip()
        if number.isdecimal() and len(number) < 10 and int(number) < len(self.words):
            return [int(number)]
        scores = [
            (
                sum(n for word, n in words.items() if word == query)
                + 0.5 * sum(n for word, n in words.items() if query != word and query in word),
                -latent,
            )
            for latent, words in enumerate(self.words)
        ]
        found = sorted((score for score in scores if score[0] > 0), reverse=True)
        return [-latent for _, latent in found[:N_FOUND]]

    def nothing_found(self, query: str) -> str:
        """Say why a query has no answer."""
        if query.strip().isdecimal():
            return f"There is no latent {query.strip()}: they are numbered from 0 to {len(self.words) - 1}."
        return f"No latent fires most on {query!r}. Mind spaces: most words begin with one."

    def describe(self, latent: int) -> str:
        """Return the latent's number, how often it fires, and its most common words, in one line."""
        words = "  ".join(visible(word).replace(" ", "␣") for word, _ in self.words[latent].most_common(4))
        return f"{latent:>5}  {float(self.rates[latent]):7.2%}   {words}"


def panels(
    latent: int,
    text: TokenizedText,
    model: "TransformerBridge",
    autoencoder: AutoEncoder,
    instance: int = 0,
) -> HTML:
    """Return the dashboard's panels of one latent, as an output of a cell."""
    few = DashboardConfig(n_top=8, per_group=3, sample_rows=32)
    statistics = collect_statistics([latent], text, model, autoencoder, instance, cfg=few, progress=False)
    page = f"<style>body {{ margin: 0 }}{panel_css()}</style>{latent_panel_html(statistics, latent)}"
    return HTML(f"<div>{framed(page, f'latent {latent}')}</div>")


def feature_browser(
    text: TokenizedText,
    model: "TransformerBridge",
    autoencoder: AutoEncoder,
    instance: int = 0,
    start: str = "",
) -> Any:
    """Return a search field and a list of latents above the panels of the one that is chosen.

    Args:
        text: where to look for contexts; a few hundred rows, so that an answer takes a second or two.
        model: the language model.
        autoencoder: the autoencoder on its MLP.
        instance: of which instance the latents are.
        start: what to search for first: a word, or a latent's number.

    Returns:
        A widget, or, where the environment variable COURSE_STATIC is 1, the panels of the first latent found.

    Raises:
        ValueError: nothing is found for `start`.
    """
    index = LatentIndex(text, model, autoencoder, instance)
    found = index.search(start)
    if not found:
        raise ValueError(f"{index.nothing_found(start)} Or start with another word or number.")
    if os.environ.get("COURSE_STATIC") == "1":
        return panels(found[0], text, model, autoencoder, instance)
    import ipywidgets as widgets

    query = widgets.Text(
        value=start,
        placeholder="a word that the latent fires on, or its number",
        description="search",
        continuous_update=False,
        layout=widgets.Layout(width="420px"),
    )
    choice = widgets.Select(
        options=[(index.describe(latent), latent) for latent in found],
        description="latents",
        rows=6,
        layout=widgets.Layout(width="640px"),
    )
    message = widgets.HTML()
    view = widgets.HTML()
    seen: dict[int, str] = {}

    def show() -> None:
        latent = choice.value
        if latent is None:
            return
        if latent not in seen:
            message.value = f"reading the text for latent {latent} …"
            seen[latent] = panels(latent, text, model, autoencoder, instance).data or ""
        message.value = ""
        view.value = seen[latent]

    def search() -> None:
        found = index.search(query.value)
        if found:
            choice.options = [(index.describe(latent), latent) for latent in found]
            choice.value = found[0]
            show()
        else:
            message.value = escape(index.nothing_found(query.value))

    query.observe(lambda change: search(), names="value")
    choice.observe(lambda change: show(), names="value")
    show()
    return widgets.VBox([query, choice, message, view])
