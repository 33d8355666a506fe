"""The dashboard as one HTML page that needs nothing but itself."""

import json
from collections.abc import Iterable
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import torch

from part_utils.autoencoder import AutoEncoder
from part_utils.dashboard.panels import (
    STATIC,
    common_peaks,
    framed,
    instance_name,
    latent_panel_html,
    one_line,
    panel_css,
    percent,
    plain_html,
)
from part_utils.dashboard.statistics import (
    DashboardConfig,
    DashboardStatistics,
    check_latents,
    collect_statistics,
)
from part_utils.files import write_atomically
from part_utils.kept_latents import KeptLatents
from part_utils.language_models import load_autoencoder, load_language_model, load_latent_names
from part_utils.model_with_autoencoder import ModelWithAutoencoder
from part_utils.texts import TokenizedText, load_tokens, load_written_text

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


MANY_BLOCKS = 4
"""In a model with so many blocks a latent is taken away in its largest contexts only, which takes long enough."""


BY_TOPIC = '<option value="concentration">by topic concentration</option>\n'


class Dashboard:
    """A dashboard of some latents. In a notebook it shows itself; `save` writes it to a file."""

    def __init__(self, statistics: DashboardStatistics) -> None:
        self.statistics = statistics

    def html(self) -> str:
        """Return the whole page."""
        return page_html(self.statistics)

    def save(self, path: str | Path) -> Path:
        """Write the page in one step: a reader finds the old file or the new one, never half of one."""
        path = Path(path)
        if path.is_dir():
            raise ValueError(
                f"{path} is a folder; name a file for the page, such as {path / 'dashboard.html'}."
            )
        write_atomically(path, self.html())
        return path

    def _repr_html_(self) -> str:
        return framed(self.html(), _title(self.statistics), instead=plain_html(self.statistics))

    def __repr__(self) -> str:
        return f"<Dashboard of {len(self.statistics.latents)} latents of {instance_name(self.statistics.instance)}>"


def make_dashboard(
    latents: Iterable[int] = range(64),
    *,
    model: "TransformerBridge | str" = "bundled",
    autoencoder: AutoEncoder | str | None = None,
    hook: str | None = None,
    text: TokenizedText | None = None,
    instance: int = 0,
    split: str = "held_out",
    max_rows: int | None = None,
    output: str | Path | None = None,
    cfg: DashboardConfig | None = None,
    names: dict[int, str] | None = None,
    progress: bool = True,
) -> Dashboard:
    """Make the dashboard of some latents from one pass over a text.

    Args:
        latents: which latents.
        model: a language model, or the name of one: `"bundled"`, `"gelu-1l"` or `"smollm2"`.
        autoencoder: an autoencoder of the model, or the name of one, such as `"smollm2-residual"`; the one on its MLP,
            if left out.
        hook: the place that the autoencoder was trained on; if left out, the one that it was loaded with.
        text: the text; the bundled one, if left out, in the model's own tokens.
        instance: of which instance the latents are, 0 (encoder-A) or 1 (encoder-B).
        split: which part of the bundled text; or `"written"`, text that SmolLM2 wrote, in its tokens.
        max_rows: use only so many rows of the text, evenly spaced.
        output: also write the page to this file.
        cfg: how much of everything the page shows.
        names: names of latents. If left out, those of the bundled encoder-A, and those that you keep in
            `kept_latents.json` in the working folder, as the feature browser writes it.
        progress: show a progress bar.

    Returns:
        The dashboard: it shows itself in a notebook, `save(path)` writes the page, and `statistics` has the numbers.

    Raises:
        ValueError: there is no such latent, instance, model or split, or `max_rows` is not positive.
        ConnectionError: the model is not in the box, and cannot be downloaded.
    """
    if max_rows is not None and max_rows < 1:
        raise ValueError(f"max_rows is {max_rows}, but at least one row is needed; pass 1 or more.")
    model_name = model if isinstance(model, str) else model.cfg.model_name
    if autoencoder is None:
        autoencoder = model if isinstance(model, str) else "bundled"
    given = {}
    if isinstance(autoencoder, str):
        name, autoencoder = autoencoder, load_autoencoder(autoencoder)
        given = load_latent_names(name) if instance == 0 else {}
    chosen = check_latents(latents, autoencoder, instance)
    if names is None:
        names = {**given, **KeptLatents(autoencoder, instance).names}
    if isinstance(model, str):
        model = load_language_model(model)
    if text is None:
        text = load_written_text(model) if split == "written" else load_tokens(split, model)
    else:
        split = ""
    if max_rows is not None and max_rows < len(text.tokens):
        rows = torch.linspace(0, len(text.tokens) - 1, max_rows).long()
        text = TokenizedText(text.tokens[rows], text.labels[rows], text.label_names)
    statistics = collect_statistics(
        chosen,
        text,
        ModelWithAutoencoder(model, autoencoder, instance, hook or ""),
        cfg=cfg or DashboardConfig(ablate_all=model.cfg.n_layers < MANY_BLOCKS),
        names=names,
        model_name=model_name,
        split=split,
        progress=progress,
    )
    dashboard = Dashboard(statistics)
    if output is not None:
        dashboard.save(output)
    return dashboard


def page_html(statistics: DashboardStatistics) -> str:
    """Return the page: a list of the latents to search and sort, and the panels of the chosen one."""
    title = _title(statistics)
    source = " · ".join(part for part in (statistics.model_name, statistics.split) if part)
    about = (
        f"{source}{' · ' if source else ''}{statistics.n_tokens:,} tokens · "
        f"{len(statistics.latents)} of {statistics.n_hidden_ae:,} latents"
    )
    template = Template((STATIC / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(title),
        about=escape(about),
        style=panel_css() + (STATIC / "page.css").read_text(encoding="utf-8"),
        items="\n".join(_item(statistics, latent) for latent in statistics.latents),
        by_topic=BY_TOPIC if len(statistics.label_names) > 1 else "",
        n_copies=sum(its.copied_neuron is not None for its in statistics.latents.values()),
        templates="\n".join(
            f"<template id=latent-{latent}>{latent_panel_html(statistics, latent)}</template>"
            for latent in statistics.latents
        ),
        script=(STATIC / "page.js").read_text(encoding="utf-8"),
    )


def _title(statistics: DashboardStatistics) -> str:
    if statistics.unit == "dimension":
        return f"Latents at {statistics.hook}"
    return f"Latents of {instance_name(statistics.instance)}"


def _item(statistics: DashboardStatistics, latent: int) -> str:
    its = statistics.latents[latent]
    if its.name:
        what = f"<span class=what>{escape(its.name)}</span>"
    else:
        peaks = "  ".join(one_line(string) for string in common_peaks(statistics, latent))
        what = f"<span class='what code'>{peaks}</span>"
    copy = its.copied_neuron is not None
    mark = f"<abbr title='copies {statistics.unit} {its.copied_neuron}'>n</abbr>" if copy else ""
    words: dict[str, float] = {}
    for token, strength in its.fires_on:  # the largest first, which stays where two tokens have the same text
        words.setdefault(statistics.strings[token], round(strength, 3))
    return (
        f"<li><a href='#latent-{latent}' data-latent={latent} data-rate={its.rate:.3g}"
        f" data-concentration={its.concentration:.3f} data-favored={len(its.favored)}{' data-copy' * copy}"
        f" data-words='{escape(json.dumps(words, ensure_ascii=True))}'"
        f" tabindex={0 if latent == next(iter(statistics.latents)) else -1}>"
        f"<span class=n>{mark}{latent}</span>{what}"
        f"<span class=rate>{percent(its.rate)}</span></a></li>"
    )
