"""The panels of one latent as HTML. No script is needed to read them; the page adds some to move around."""

import math
from collections import Counter
from html import escape
from pathlib import Path
from string import Template

from part_utils.dashboard.statistics import (
    Context,
    ContextGroup,
    DashboardStatistics,
    LatentStatistics,
    SimilarLatent,
)
from part_utils.palette import GREEN, SKY, VERMILION, page_colors, rgb
from part_utils.plots.text import HIDDEN
from part_utils.token_text import spans

STATIC = Path(__file__).parent / "static"
# Effects on the loss from here on, in nats, are underlined.
LARGE_EFFECT = 0.1
N_LABELS = 8
# How characters are written that HTML reserves or that cannot be seen.
VISIBLE = HIDDEN | str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\n": "⏎<br>"})


def panel_css() -> str:
    """Return the style of what `latent_panel_html` returns; it touches nothing outside `.latent`."""
    style = Template((STATIC / "panels.css").read_text(encoding="utf-8"))
    colors = {"sky": SKY, "vermilion": VERMILION, "green": GREEN}
    channels = {f"{name}_rgb": " ".join(map(str, rgb(color))) for name, color in colors.items()}
    return page_colors(".latent, .dash") + style.substitute(channels)


def framed(page: str, title: str, instead: str = "") -> str:
    """Return a page inside another one. A notebook's styles for tables and lists do not reach into it.

    Args:
        page: the whole page.
        title: what it is, for those who do not see it.
        instead: HTML without scripts and styles, shown where frames are taken out, as in a notebook that one does not
            trust and on GitHub. They leave what stands between a frame's tags; a browser that shows the frame hides it.
    """
    inside = page.replace("&", "&amp;").replace('"', "&quot;")
    return (
        f'<iframe title="{escape(title)}" srcdoc="{inside}" loading="lazy" '
        f'style="width: 100%; height: 46rem; border: 1px solid #8886; border-radius: 6px">{instead}</iframe>'
    )


def latent_panel_html(statistics: DashboardStatistics, latent: int) -> str:
    """Return all panels of one latent, as one `<article class="latent">`.

    Args:
        statistics: what `collect_statistics` returned.
        latent: the latent's number.

    Returns:
        HTML without a style of its own; put `<style>` with `panel_css()` once beside it. All text is escaped.

    Raises:
        ValueError: the statistics do not have this latent.
    """
    if latent not in statistics.latents:
        numbers = ", ".join(str(known) for known in list(statistics.latents)[:10])
        raise ValueError(f"The statistics have no latent {latent}; they have {numbers}, …")
    its = statistics.latents[latent]
    name = f" <span class=name>{escape(its.name)}</span>" if its.name else ""
    panels = [
        _panel("Dimensions" if statistics.unit == "dimension" else "Neurons", _neurons(statistics.unit, its)),
        _panel("Firing rate", _rate(statistics, its)),
        _panel("Activations", _activations(its)),
        _panel("Similar latents", _similar(statistics, its), "wide"),
    ]
    if len(statistics.label_names) > 1:
        panels.insert(-1, _panel("Where it fires", _labels(statistics, its), "wide"))
    # First what one comes for: the text and the logits. A laptop's screen holds both.
    return (
        f"<article class=latent data-latent={latent}>"
        f"<h2>Latent {latent}{name}{_copy(statistics.unit, its)}</h2>{_facts(statistics, its)}"
        f"{_strongest(statistics, its)}{_panel('What comes next', _logits(statistics, its), 'effects')}"
        f"{_contexts(statistics, its)}<div class=panels>{''.join(panels)}</div></article>"
    )


def _copy(unit: str, its: LatentStatistics) -> str:
    if its.copied_neuron is None:
        return ""
    share = percent(its.neurons[0][1] ** 2)
    return f" <span class=copy>copies {unit} {its.copied_neuron} ({share} of its direction)</span>"


def percent(share: float) -> str:
    """Return a share with two significant digits: 12 %, 0.42 %, 0.0073 %."""
    if share <= 0:
        return "0 %"
    digits = max(0, 1 - math.floor(math.log10(100 * share) + 1e-9))
    return f"{100 * share:.{digits}f} %"


def instance_name(instance: int) -> str:
    """Encoder-A for the first, encoder-B for the second."""
    return f"encoder-{chr(ord('A') + instance)}"


def visible(string: str) -> str:
    """Return a token's text, escaped, with signs for what cannot be seen. A line break is shown and also made."""
    return string.translate(VISIBLE)


def one_line(string: str) -> str:
    """Return the same for a list of tokens, where spaces at the ends matter and lines must not break."""
    return visible(string).replace("<br>", "").replace(" ", "␣")


def _panel(title: str, content: str, kind: str = "") -> str:
    return f"<section class='panel {kind}'><h3>{title}</h3>{content}</section>"


def _facts(statistics: DashboardStatistics, its: LatentStatistics) -> str:
    facts = [
        (percent(its.rate), f"of tokens fire ({its.n_fired:,} of {statistics.n_tokens:,})"),
        (f"{its.largest:.3g}", "largest activation"),
        (f"{its.mean:.3g}", "mean where it fires"),
    ]
    if len(statistics.label_names) > 1:
        facts.append((f"{its.concentration:.2f} bits", "topic concentration"))
    return (
        "<dl class=facts>"
        + "".join(f"<div><dd>{value}</dd><dt>{what}</dt></div>" for value, what in facts)
        + "</dl>"
    )


def _bars(counts: list[float], width: int = 240, height: int = 64) -> str:
    """Bars from the left to the right edge, as one SVG path."""
    largest = max([*counts, 1e-12])
    step = width / max(len(counts), 1)
    path = "".join(
        f"M{i * step:.1f} {height}v{-height * count / largest:.1f}h{step * 0.86:.1f}V{height}z"
        for i, count in enumerate(counts)
        if count > 0
    )
    return f"<path class=bar d='{path}'/>"


def _rate(statistics: DashboardStatistics, its: LatentStatistics) -> str:
    histogram = statistics.frequencies
    counts, edges = histogram.counts.tolist(), histogram.edges.tolist()
    low, high = edges[0], edges[-1]
    marker, where = "", "it never fires"
    if its.rate > 0:
        place = min(max((math.log10(its.rate) - low) / (high - low), 0), 1) * 240
        marker = f"<path class=mark d='M{place:.1f} 64V8m-4-6h8l-4 6z'/>"
        below = (
            sum(
                count * min(max((math.log10(its.rate) - left) / (right - left), 0), 1)
                for count, left, right in zip(counts, edges, edges[1:], strict=False)
            )
            + histogram.n_dead
        )
        where = f"it fires more often than {percent(below / statistics.n_hidden_ae)} of the latents"
    alt = f"Histogram of the firing rates of all {statistics.n_hidden_ae} latents; {where}."
    dead = f", {histogram.n_dead} of them never" if histogram.n_dead else ""
    return (
        f"<svg viewBox='0 0 240 66' role=img aria-label='{alt}'>{_bars(counts)}{marker}</svg>"
        f"<div class=axis><span>{percent(10**low)}</span><span>log scale</span>"
        f"<span>{percent(10**high)}</span></div>"
        f"<p>{where[:1].upper()}{where[1:]}. The bars count all {statistics.n_hidden_ae:,} latents{dead}, on"
        f" {statistics.n_sampled:,} tokens.</p>"
    )


def _activations(its: LatentStatistics) -> str:
    if not its.n_fired:
        return "<p>No token of this text.</p>"
    width = its.histogram_top / len(its.histogram)
    used = max(i for i, count in enumerate(its.histogram) if count) + 1
    counts = its.histogram[:used]
    alt = (
        f"Histogram of {its.n_fired} activations above zero, from 0 to {used * width:.3g},"
        " with the number of tokens on a logarithmic scale."
    )
    return (
        f"<svg viewBox='0 0 240 66' role=img aria-label='{alt}'>"
        f"{_bars([math.log10(1 + count) for count in counts])}</svg>"
        f"<div class=axis><span>0</span><span>activation</span><span>{used * width:.3g}</span></div>"
        f"<p>Tokens on which it fires; height on a log scale, the highest bar {max(counts):,}.</p>"
    )


def _labels(statistics: DashboardStatistics, its: LatentStatistics) -> str:
    if not its.n_fired:
        return "<p>No token of this text.</p>"
    sources: dict[str, list[float]] = {}
    for name, share, text in zip(
        statistics.label_names, its.label_shares, statistics.label_shares, strict=True
    ):
        sums = sources.setdefault(name.split(":")[0], [0.0, 0.0])
        sums[0] += share
        sums[1] += text
    by_source = sorted(((name, share, text) for name, (share, text) in sources.items()), key=lambda x: -x[1])
    topics = zip(statistics.label_names, its.label_shares, statistics.label_shares, strict=True)
    by_topic = sorted(topics, key=lambda topic: -topic[1])[:N_LABELS]
    return (
        "<p>Share of its activation, and the share of the text (the line).</p><div class=two>"
        f"<table><caption>source</caption>{_label_rows(by_source)}</table>"
        f"<table><caption>topic</caption>{_label_rows(by_topic)}</table></div>"
    )


def _label_rows(rows: list[tuple[str, float, float]]) -> str:
    return "".join(
        f"<tr><th scope=row>{escape(name)}</th>"
        f"<td class=share><span style='--s:{share:.3f};--t:{text:.3f}'></span></td>"
        f"<td>{percent(share)}</td><td class=lift>{_lift(share, text)}</td></tr>"
        for name, share, text in rows
        if share > 0.0005
    )


def _lift(share: float, text: float) -> str:
    """How many times the share of the text a share is."""
    return "< × 0.1" if share < 0.1 * text else f"× {share / text:.2g}"


def _logits(statistics: DashboardStatistics, its: LatentStatistics) -> str:
    # In units that mean something: what the latent adds where it is at its largest.
    full = its.largest or 1.0

    def effects(title: str, kind: str, tokens: list[tuple[int, float]]) -> str:
        largest = max((abs(value) for _, value in tokens), default=1.0) or 1.0
        rows = "".join(
            f"<tr><td class='tok {kind}' style='--s:{min(abs(value) / largest, 1):.2f}'>"
            f"{one_line(statistics.strings[token])}</td><td>{value * full:+.2f}</td></tr>"
            for token, value in tokens
        )
        return f"<table><caption>{title}</caption>{rows}</table>"

    most = max((share for _, share in its.followers), default=1.0)
    followed = "".join(
        f"<tr><td class='tok seen' style='--s:{share / most:.2f}'>"
        f"{one_line(statistics.strings[token])}</td><td>{'✓' if token in its.favored else ''}</td>"
        f"<td>{percent(share)}</td></tr>"
        for token, share in its.followers
    )
    measured = (
        effects("ablation: falls without it", "up", its.ablation_logits)
        if its.ablation_logits
        else "<p>No ablation: it never fires before a next token.</p>"
    )
    direct = "direct effect" if statistics.exact else "logit lens"
    explained = (
        "the direct effect through the weights alone, before the final LayerNorm"
        if statistics.exact
        else "the logit lens, as if the final norm came right behind this place, which leaves out what later blocks do"
    )
    return (
        f"<div class=four><table><caption>what really came next</caption>{followed}</table>"
        f"{effects(f'{direct}: more likely', 'up', its.top_logits)}{measured}"
        f"{effects(f'{direct}: less likely', 'down', its.bottom_logits)}</div>"
        f"<p>{_agreement(direct, its)} Logits, for the latent at its largest activation: {explained}; the ablation in"
        " the largest contexts, less the mean over all tokens. ✓: among those favored most.</p>"
    )


def _agreement(direct: str, its: LatentStatistics) -> str:
    told = []
    if its.followers:
        n, k = len(its.followers), 2 * len(its.top_logits)
        told.append(
            f"<strong>{len(its.favored)} of the {n} most common next tokens are among the {k} that the {direct}"
            " favors most.</strong>"
        )
    if its.agreement is not None:
        told.append(f"Over all tokens, ablation and {direct} correlate by {_two(its.agreement)}.")
    return " ".join(told)


def _neurons(unit: str, its: LatentStatistics) -> str:
    shares = [value**2 for _, value in its.neurons]
    parts = "".join(
        f"<span style='flex:{share:.4f}' title='{unit} {neuron}: {percent(share)}'></span>"
        for (neuron, _), share in zip(its.neurons, shares, strict=True)
    )
    rest = max(1 - sum(shares), 0)
    named = "".join(
        f"<li><span>{unit} {neuron}</span> <span>{value:+.2f}</span> <span>{percent(value**2)}</span></li>"
        for neuron, value in its.neurons[:6]
    )
    alt = f"The {len(shares)} largest {unit}s hold {percent(sum(shares))} of the direction's squared length."
    return (
        f"<div class=stack role=img aria-label=\"{alt}\">{parts}<span class=rest style='flex:{rest:.4f}'></span>"
        f"</div><ol class=neurons>{named}</ol>"
        f"<p>{_count(unit, its.n_half)} half of the direction’s squared length,"
        f" {_count(unit, its.n_ninety)} 90 %.</p>"
    )


def _count(unit: str, n: int) -> str:
    return f"1 {unit} holds" if n == 1 else f"{n} {unit}s hold"


def _similar(statistics: DashboardStatistics, its: LatentStatistics) -> str:
    columns = []
    for instance, similar in enumerate(its.similar):
        for title, latents in (
            ("by direction", similar.by_cosine),
            ("by activation", similar.by_correlation),
        ):
            rows = "".join(_similar_row(statistics, instance, other) for other in latents)
            columns.append(
                f"<table><caption>{instance_name(instance)}, {title}</caption>"
                f"<tr><th scope=col>latent</th><th scope=col>cos</th><th scope=col>corr</th></tr>{rows}</table>"
            )
    return (
        f"<div class=four>{''.join(columns)}</div><p>Cosine of the decoder rows; correlation of the activations on"
        f" {statistics.n_sampled:,} tokens.</p>"
    )


def _similar_row(statistics: DashboardStatistics, instance: int, other: SimilarLatent) -> str:
    shown = str(other.latent)
    if instance == statistics.instance and other.latent in statistics.latents:
        shown = f"<a href='#latent-{other.latent}'>{other.latent}</a>"
    return (
        f"<tr><th scope=row>{shown}</th><td>{_two(other.cosine)}</td><td>{_two(other.correlation)}</td></tr>"
    )


def _two(value: float) -> str:
    """Two digits, and no minus before a zero."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def _strongest(statistics: DashboardStatistics, its: LatentStatistics) -> str:
    if not its.n_fired:
        return "<p class=silent>It fires on no token of this text, so there is nothing to show.</p>"
    top = _group(statistics, its, its.top, "Largest activations", "at most one from each row of text")
    return f"<div class=contexts>{top}</div>"


def _contexts(statistics: DashboardStatistics, its: LatentStatistics) -> str:
    if not its.n_fired:
        return ""
    parts = []
    for index, group in enumerate(its.groups):
        note = f"{group.n_tokens:,} token{'s' if group.n_tokens != 1 else ''}"
        if not group.contexts:
            note += ", shown above" if group.n_tokens else ""
        elif group.n_tokens > len(group.contexts):
            note += f", {len(group.contexts)} of them at random"
        title = f"Activation {group.low:.2g} to {group.high:.2g}"
        title += f" ({group.low / its.largest:.0%} to {group.high / its.largest:.0%} of its largest)"
        if index == 0 and len(its.groups) == 1:
            title = "All activations"
        parts.append(_group(statistics, its, group, title, note))
    legend = (
        "<p>Underlined: without the latent, the loss on the next token rises (line) or falls (dots) by"
        f" {LARGE_EFFECT} nats or more.</p>"
    )
    return f"<div class=contexts>{''.join(parts)}{legend}</div>"


def _group(
    statistics: DashboardStatistics, its: LatentStatistics, group: ContextGroup, title: str, note: str
) -> str:
    lines = "".join(_context(statistics, its, context) for context in group.contexts)
    return f"<section><h3>{title} <small>{note}</small></h3>{lines}</section>"


def _context(statistics: DashboardStatistics, its: LatentStatistics, context: Context) -> str:
    words = _words(statistics, context)
    parts, tokens = spans(words), []
    peak = next(index for index, part in enumerate(parts) if context.peak in part)
    for index, part in enumerate(parts):
        at = max(part, key=context.acts.__getitem__)
        act, effect = context.acts[at], context.loss_effects[at]
        tokens.append(_token(words[part.start], act / its.largest, act, effect, index == peak))
    label = escape(statistics.label_names[context.label])
    return (
        f"<div class=ctx tabindex=0><span class=act>{context.acts[context.peak]:.2f}</span>"
        f"<span class=text><span class=l><span>{''.join(tokens[:peak])}</span></span>{tokens[peak]}"
        f"<span class=r>{''.join(tokens[peak + 1 :])}</span></span><span class=label>{label}</span></div>"
    )


def _token(string: str, strength: float, act: float, effect: float | None, peak: bool) -> str:
    tag = "b" if peak else "i"
    if act <= 0:
        return f"<{tag}>{visible(string)}</{tag}>"
    kind = ""
    if effect is not None and abs(effect) >= LARGE_EFFECT:
        kind = " class=helps" if effect > 0 else " class=hurts"
    told = "" if effect is None else f" data-l={effect:+.3f}"
    return f"<{tag}{kind} style=--a:{min(strength, 1):.2f} data-a={act:.3f}{told}>{visible(string)}</{tag}>"


def common_peaks(statistics: DashboardStatistics, latent: int, n: int = 3) -> list[str]:
    """Return the tokens on which a latent fires most strongly, the most frequent among its top contexts first."""
    contexts = statistics.latents[latent].top.contexts
    counted = Counter(_in_three(statistics, context)[1] for context in contexts)
    return [string for string, _ in counted.most_common(n)]


def _words(statistics: DashboardStatistics, context: Context) -> list[str]:
    """Return the tokens of a context as text, as `words_in_context` does."""
    strings = (statistics.strings[token] for token in context.tokens)
    return [context.joined.get(place, string) for place, string in enumerate(strings)]


def _in_three(statistics: DashboardStatistics, context: Context) -> tuple[str, str, str]:
    """Return the text before the token that a context is about, the token, and the text behind it."""
    words = _words(statistics, context)
    peak = next(part for part in spans(words) if context.peak in part)
    return "".join(words[: peak.start]), words[peak.start], "".join(words[peak.stop :])


def plain_html(statistics: DashboardStatistics, n_latents: int = 12, n_contexts: int = 3) -> str:
    """Return the essence of a dashboard without a script, a style or a frame, for places that take these out."""
    parts = []
    for latent, its in list(statistics.latents.items())[:n_latents]:
        lines = "".join(
            f"<li>{context.acts[context.peak]:.2f}: <code>{before}<b>[{peak}]</b>{after}</code></li>"
            for context in its.top.contexts[:n_contexts]
            for before, peak, after in [map(_in_a_line, _in_three(statistics, context))]
        )
        lists = (("Favors", its.top_logits), ("What really came next", its.followers))
        told = "<br>".join(
            f"{what}: "
            + ", ".join(f"<code>{one_line(statistics.strings[token])}</code>" for token, _ in tokens[:8])
            for what, tokens in lists
            if tokens
        )
        name = f", {escape(its.name)}" if its.name else ""
        parts.append(
            f"<p><b>Latent {latent}{name}</b>: fires on {percent(its.rate)} of the tokens.<br>{told}</p>"
            f"<ul>{lines}</ul>"
        )
    left = len(statistics.latents) - n_latents
    more = f"<p>And {left} more latents.</p>" if left > 0 else ""
    return f"<p>Trust the notebook, or run this cell, to see the whole page.</p>{''.join(parts)}{more}"


def _in_a_line(string: str) -> str:
    return visible(string).replace("<br>", "")
