"""Search for a latent, or write a text and see which fire on it; look at its panels, give it a name and keep it."""

import os
from collections import Counter
from collections.abc import Callable
from html import escape
from typing import Any

from IPython.display import HTML

from part_utils.dashboard import (
    DashboardConfig,
    collect_statistics,
    framed,
    latent_panel_html,
    panel_css,
    plain_html,
)
from part_utils.dashboard.page import MANY_BLOCKS
from part_utils.interpretation import top_activations
from part_utils.kept_latents import KeptLatents
from part_utils.model_with_autoencoder import ModelWithAutoencoder, also_in_parts
from part_utils.plots.text import display_activations, visible
from part_utils.steering import firing_latents
from part_utils.texts import TokenizedText
from part_utils.token_text import spans, token_strings

N_FOUND = 30
N_DRAWN = 6


class LatentIndex:
    """On which words every latent fires most, to search in, and how strongly at most.

    One pass over the text for all latents.
    """

    def __init__(self, text: TokenizedText, subject: ModelWithAutoencoder, k: int = 10) -> None:
        """Read the text.

        Args:
            text: the text.
            subject: the language model with its autoencoder.
            k: how many of the strongest tokens count for each latent.
        """
        top = top_activations(text.tokens, subject, k=k)
        tokens = text.tokens.flatten()[top.positions]
        words = token_strings(tokens.flatten(), subject.model.tokenizer)
        fires = (top.values > 0).tolist()
        self.words = [
            Counter(word for word, fired in zip(words[row * k : (row + 1) * k], firing, strict=True) if fired)
            for row, firing in enumerate(fires)
        ]
        self.strengths: list[Counter[str]] = []
        for row, values in enumerate(top.values.tolist()):
            strengths: Counter[str] = Counter()
            for word, value in zip(words[row * k : (row + 1) * k], values, strict=True):
                strengths[word] += value / max(values[0], 1e-8)
            self.strengths.append(strengths)
        self.rates, self.largest = top.rates, top.values[:, 0]

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
        scores = []
        for latent, strengths in enumerate(self.strengths):
            # Among as many of its strongest tokens, the more of its full strength the better.
            score = (self._weighed(self.words[latent], query), self._weighed(strengths, query))
            if score[0] > 0:
                scores.append((*score, -latent))
        return [-latent for *_, latent in sorted(scores, reverse=True)[:N_FOUND]]

    @staticmethod
    def _weighed(words: Counter[str], query: str) -> float:
        """Add up what stands beside the words that are the query, and half of it for those that contain it."""
        inside = sum(n for word, n in words.items() if query != word and query in word)
        return words[query] + 0.5 * inside

    def nothing_found(self, query: str) -> str:
        """Say why a query has no answer."""
        if query.strip().isdecimal():
            return f"There is no latent {query.strip()}: they are numbered from 0 to {len(self.words) - 1}."
        return f"No latent fires most on {query!r}. Mind spaces: most words begin with one."

    def describe(self, latent: int) -> str:
        """Return the latent's number, how often it fires, and its most common words, in one line."""
        words = "  ".join(visible(word).replace(" ", "␣") for word, _ in self.words[latent].most_common(4))
        return f"{latent:>5}  {float(self.rates[latent]):7.2%}   {words}"


def panels(latent: int, text: TokenizedText, subject: ModelWithAutoencoder, name: str | None = None) -> HTML:
    """Return the dashboard's panels of one latent, as an output of a cell."""
    ablate_all = subject.model.cfg.n_layers < MANY_BLOCKS
    few = DashboardConfig(n_top=8, per_group=3, sample_rows=32, ablate_all=ablate_all)
    names = {latent: name} if name else None
    statistics = collect_statistics([latent], text, subject, cfg=few, names=names, progress=False)
    page = (
        f"<style>body {{ margin: 0 }} .compact .latent {{ padding: .8rem 1rem }}{panel_css()}</style>"
        f"<div class=compact>{latent_panel_html(statistics, latent)}</div>"
    )
    return HTML(f"<div>{framed(page, f'latent {latent}', instead=plain_html(statistics))}</div>")


@also_in_parts
def feature_browser(text: TokenizedText, subject: ModelWithAutoencoder, start: str = "") -> Any:
    """Return a search field, a field for a text of your own and a list of latents above the panels of the chosen one.

    The list holds what was searched for, or the latents that fire on your own text, by how much of their largest
    activation they reach. Latents that you keep, with a name, are written to `kept_latents.json` beside the notebook;
    pages that `make_dashboard` makes there show the names.

    Args:
        text: where to look for contexts; a few hundred rows, so that an answer takes a second or two.
        subject: the language model with its autoencoder.
        start: what to search for first: a word, or a latent's number.

    Returns:
        A widget, or, where the environment variable COURSE_STATIC is 1, the panels of the first latent found.

    Raises:
        ValueError: nothing is found for `start`.
    """
    index = LatentIndex(text, subject)
    found = index.search(start)
    if not found:
        raise ValueError(f"{index.nothing_found(start)} Or start with another word or number.")
    if os.environ.get("COURSE_STATIC") == "1":
        return panels(found[0], text, subject)
    return _Browser(index, found, text, subject, start).view


class _Browser:
    """The widgets, and what happens when one of them changes."""

    def __init__(
        self,
        index: LatentIndex,
        found: list[int],
        text: TokenizedText,
        subject: ModelWithAutoencoder,
        start: str,
    ) -> None:
        import ipywidgets as widgets

        self.index, self.text, self.subject = index, text, subject
        self.kept = KeptLatents(subject.autoencoder, subject.instance)
        self.seen: dict[tuple[int, str | None], str] = {}
        wide, half = widgets.Layout(width="640px"), widgets.Layout(width="420px")
        self.query = widgets.Text(
            value=start,
            placeholder="a word that the latent fires on, or its number",
            description="search",
            continuous_update=False,
            layout=half,
        )
        self.own = widgets.Textarea(
            placeholder="your own text: which latents fire on it?",
            description="your text",
            continuous_update=False,
            rows=2,
            layout=wide,
        )
        self.choice = widgets.Select(
            options=self._described(found), description="latents", rows=6, layout=wide
        )
        self.colored, self.message, self.panels = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.name = widgets.Text(
            placeholder="what you call it", description="name", continuous_update=False, layout=half
        )
        keep, drop = widgets.Button(description="keep"), widgets.Button(description="drop")
        self.list = widgets.Dropdown(description="kept", layout=half)
        self.view = widgets.VBox(
            [
                self.query,
                self.own,
                self.colored,
                self.choice,
                widgets.HBox([self.name, keep]),
                widgets.HBox([self.list, drop]),
                self.message,
                self.panels,
            ]
        )
        self.query.observe(lambda change: self.search(), names="value")
        self.own.observe(lambda change: self.read(), names="value")
        self.choice.observe(lambda change: self.show(self.choice.value), names="value")
        self.list.observe(lambda change: self.show(self.list.value), names="value")
        keep.on_click(lambda button: self.keep())
        drop.on_click(lambda button: self.drop())
        self.shown: int | None = None
        self._list_kept()
        self.show(found[0])

    def search(self) -> None:
        """List what the query finds."""
        found = self.index.search(self.query.value)
        if not found:
            self._say(self.index.nothing_found(self.query.value))
            return
        self.colored.value = ""
        self._offer(self._described(found))

    def read(self) -> None:
        """List the latents that fire on the learner's own text, above the text colored by the strongest."""
        if not self.own.value.strip():
            self.colored.value = ""
            return
        try:
            fired = firing_latents(self.own.value, self.subject, self.index.largest)
        except ValueError as error:
            self._say(str(error))
            return
        shares, places = fired.shares.max(dim=0)
        found = [latent for latent in fired.strongest(min(N_FOUND, len(shares))) if shares[latent] > 0]
        if not found:
            self._say("No latent fires on this text.")
            return
        options = []
        for latent in found:
            at = next(span for span in spans(fired.words) if int(places[latent]) in span)
            word = visible(fired.words[at.start]).replace(" ", "␣")
            options.append(
                (
                    f"{shares[latent]:4.0%} of its largest, on {word}   {self._described([latent])[0][0]}",
                    latent,
                )
            )
        drawn = found[:N_DRAWN]
        labels = [f"{latent} {self.kept.names.get(latent, '')}".strip() for latent in drawn]
        self.colored.value = display_activations(fired.words, fired.acts[:, drawn], labels).data or ""
        self._offer(options)

    def show(self, latent: int | None) -> None:
        """Show the panels of a latent."""
        if latent is None:
            return
        self.shown = latent
        name = self.kept.names.get(latent)
        self.name.value = name or ""
        if (latent, name) not in self.seen:
            self._say(f"reading the text for latent {latent} …")
            page = panels(latent, self.text, self.subject, name)
            self.seen[latent, name] = page.data or ""
        self._say("")
        self.panels.value = self.seen[latent, name]

    def keep(self) -> None:
        """Keep the latent that is shown, under the name that was typed."""
        if self.shown is None:
            return
        if not self.name.value.strip():
            self._say(f"Latent {self.shown} has no name yet: type one, then keep it.")
            return
        self._change(lambda latent: self.kept.keep(latent, self.name.value))

    def drop(self) -> None:
        """Keep the latent that is shown no longer."""
        self._change(self.kept.drop)

    def _change(self, change: Callable[[int], None]) -> None:
        assert self.shown is not None
        latent = self.shown
        try:
            change(latent)
        except (ValueError, OSError) as error:
            self._say(str(error))
            return
        self._list_kept()
        self.show(latent)

    def _list_kept(self) -> None:
        options = [(f"{latent}  {name}", latent) for latent, name in self.kept.names.items()]
        with self.list.hold_trait_notifications():
            self.list.options = [(f"{len(options)} kept" if options else "none yet", None), *options]
            self.list.value = None

    def _offer(self, options: list[tuple[str, int]]) -> None:
        self._say("")
        before = self.choice.value
        self.choice.options = options
        self.choice.value = options[0][1]
        if self.choice.value == before:  # nobody is told then
            self.show(before)

    def _described(self, latents: list[int]) -> list[tuple[str, int]]:
        return [
            (f"{self.index.describe(latent)}   {self.kept.names.get(latent, '')}".rstrip(), latent)
            for latent in latents
        ]

    def _say(self, sentence: str) -> None:
        self.message.value = escape(sentence)
