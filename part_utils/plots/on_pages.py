"""Figures on pages that `jupyter nbconvert --to html` makes.

JupyterLab draws a figure from its numbers (`application/vnd.plotly.v1+json`), and by itself Plotly leaves nothing else
in a notebook. nbconvert passes over that, so the page has no figure. Here each figure has a second form beside it, as
HTML: its numbers, compressed, and a few lines that draw them with plotly.js, which the page loads once from Plotly's
own server. Without a network the figure's description is shown; `course page` makes pages that need none.
"""

import base64
import gzip
import hashlib
import json
import os
from functools import cache
from html import escape
from typing import Any

import plotly.io as pio
from plotly.io.base_renderers import MimetypeRenderer
from plotly.offline import get_plotlyjs, get_plotlyjs_version
from plotly.utils import PlotlyJSONEncoder

NAME = "course"
ALONE = "plotly_mimetype"  # Plotly's choice in a kernel where it recognizes no front end


class OnPages(MimetypeRenderer):
    """A figure as its numbers, for JupyterLab, and as HTML, for a page."""

    def to_mimebundle(self, fig_dict: dict[str, Any]) -> dict[str, Any]:
        """Return the forms of a figure by their MIME type."""
        numbers = pio.renderers[ALONE].to_mimebundle(fig_dict)
        return {**numbers, "text/html": _drawn_from(fig_dict)}


def show_on_pages() -> None:
    """Let figures show on nbconvert's pages, too, unless somebody has chosen how figures are shown."""
    if pio.renderers.default == ALONE and "PLOTLY_RENDERER" not in os.environ:
        pio.renderers[NAME] = OnPages()
        pio.renderers.default = NAME


def _drawn_from(figure: dict[str, Any]) -> str:
    layout = figure.get("layout", {})
    alt = (layout.get("meta") or {}).get("alt") if isinstance(layout.get("meta"), dict) else None
    content = json.dumps(figure, cls=PlotlyJSONEncoder, separators=(",", ":")).encode()
    packed = base64.b64encode(gzip.compress(content, mtime=0)).decode()
    size = f' style="min-height:{layout["height"]}px"' if layout.get("height") else ""
    note = escape(f"{alt or 'A figure'} (drawn with plotly.js, which is loaded from the internet)")
    return f'<div{size}>{note}</div><script>({_DRAW})("{packed}", "{_address()}", "{_digest()}")</script>'


_DRAW = """async (packed, source, integrity) => {
  const place = document.currentScript.previousElementSibling;
  window.coursePlotly ??= new Promise((done, failed) => {
    const script = Object.assign(document.createElement("script"),
      { src: source, integrity, crossOrigin: "anonymous", onload: done, onerror: failed });
    document.head.append(script);
  });
  try {
    await window.coursePlotly;
    const bytes = Uint8Array.from(atob(packed), c => c.charCodeAt(0));
    const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const figure = await new Response(plain).json();
    place.replaceChildren();
    await Plotly.newPlot(place, figure);
  } catch { /* the description stays */ }
}"""


def _address() -> str:
    return f"https://cdn.plot.ly/plotly-{get_plotlyjs_version()}.min.js"


@cache
def _digest() -> str:
    """What the script must be: a page runs no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(get_plotlyjs().encode()).digest()).decode()
