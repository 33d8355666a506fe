"""The graph of one prompt as a page of its own: one HTML file that needs no server and no network."""

import json
from html import escape
from pathlib import Path

from part_utils.files import write_atomically
from part_utils.palette import BLUE, GRAY, GREEN, VERMILION
from part_utils.plots.circuits import edge_text, node_kind, node_label, node_places
from part_utils.prompt_graph import Graph

WIDTH, HEIGHT = 900, 420

_STYLE = f"""
:root {{ color-scheme: light dark; font: 15px/1.4 Helvetica, Arial, sans-serif; }}
body {{ margin: 0.6rem; }}
h1 {{ font-size: 1.2em; margin: 0.4em 0; }}
.picture {{ overflow-x: auto; }}
svg {{ width: 100%; min-width: 620px; height: auto; }}
.edge {{ fill: none; opacity: 0.55; cursor: pointer; }}
.adds {{ stroke: {VERMILION}; }} .takes {{ stroke: {BLUE}; }} .missed {{ stroke: {GRAY}; }}
.node {{ cursor: pointer; outline-offset: 3px; pointer-events: bounding-box; }}
.node text {{ fill: CanvasText; text-anchor: middle; font-size: 14px; }}
.token rect {{ fill: {GRAY}; }} .latent circle {{ fill: {GREEN}; }} .logit circle {{ fill: {VERMILION}; }}
.other circle {{ fill: {GRAY}; }}
.chosen .edge, .chosen .node {{ opacity: 0.12; }}
.chosen .edge.on {{ opacity: 0.9; }} .chosen .node.on {{ opacity: 1; }}
.node:focus-visible {{ outline: 2px solid {BLUE}; }}
#said {{ min-height: 7rem; white-space: pre-line; }}
"""

_SCRIPT = """
const picture = document.querySelector("svg"), said = document.getElementById("said");
const nothing = said.textContent;
const show = element => { said.textContent = element ? element.dataset.text : nothing; };
let chosen = null;
const choose = element => {
  if (chosen) chosen.removeAttribute("aria-pressed");
  chosen = element === chosen ? null : element;
  if (chosen) chosen.setAttribute("aria-pressed", "true");
  picture.classList.toggle("chosen", chosen !== null);
  for (const one of document.querySelectorAll(".on")) one.classList.remove("on");
  if (chosen) {
    const name = chosen.dataset.name, near = new Set([name]);
    for (const edge of document.querySelectorAll(".edge")) {
      if (edge === chosen || edge.dataset.source === name || edge.dataset.target === name) {
        edge.classList.add("on"); near.add(edge.dataset.source); near.add(edge.dataset.target);
      }
    }
    for (const node of document.querySelectorAll(".node")) if (near.has(node.dataset.name)) node.classList.add("on");
  }
  show(chosen);
};
for (const element of document.querySelectorAll(".edge, .node")) {
  element.addEventListener("mouseenter", () => show(element));
  element.addEventListener("mouseleave", () => show(chosen));
  element.addEventListener("click", event => { choose(element); event.stopPropagation(); });
  element.addEventListener("focus", () => show(element));
  element.addEventListener("keydown", event => {
    if (event.key === "Enter" || event.key === " ") { choose(element); event.preventDefault(); }
  });
}
picture.addEventListener("click", () => { if (chosen) choose(chosen); });
"""


def graph_page(graph: Graph) -> str:
    """Return a page with the graph: point at a node or an edge to read what it is, click to follow it.

    Tokens stand below, latents in the middle, the logit above. The width of an edge is its contribution; orange adds,
    blue takes away, and gray is what the transcoder misses.
    """
    places = {
        name: (x * WIDTH, 40 + (2 - y) / 2 * (HEIGHT - 90)) for name, (x, y) in node_places(graph).items()
    }
    largest = max(abs(edge.effect) for edge in graph.edges)
    parts = []
    for edge in graph.edges:
        (x0, y0), (x1, y1) = places[edge.source], places[edge.target]
        kind = "missed" if edge.source == "error" else "adds" if edge.effect > 0 else "takes"
        bend = 30 if edge.via == "attention" and edge.source == f"token {graph.position}" else 0
        parts.append(
            f'<path class="edge {kind}" d="M{x0:.0f} {y0:.0f} Q{(x0 + x1) / 2 + bend:.0f} {(y0 + y1) / 2:.0f} '
            f'{x1:.0f} {y1:.0f}" stroke-width="{1 + 9 * abs(edge.effect) / largest:.1f}" '
            f'data-source="{edge.source}" data-target="{edge.target}" data-name="" '
            f'data-text="{escape(edge_text(graph, edge))}"/>'
        )
    for name, (x, y) in places.items():
        kind = node_kind(name)
        mark = (
            f'<rect x="{x - 6:.0f}" y="{y - 6:.0f}" width="12" height="12"/>'
            if kind == "token"
            else f'<circle cx="{x:.0f}" cy="{y:.0f}" r="7"/>'
        )
        below = 22 if kind == "token" or name in ("position", "bias") else -13
        parts.append(
            f'<g class="node {kind}" tabindex="0" role="button" data-name="{name}" '
            f'data-text="{escape(_about(graph, name))}">'
            f'{mark}<text x="{x:.0f}" y="{y + below:.0f}">{escape(node_label(graph, name))}</text></g>'
        )
    kept = len(graph.kept_into("logit"))
    prompt = "".join(graph.words[1 : graph.position + 1]) or graph.words[0]
    title = f"Why {json.dumps(graph.prediction, ensure_ascii=False)} after {json.dumps(prompt, ensure_ascii=False)}"
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><main><h1>{escape(title)}</h1>"
        f"<p>Logit {graph.logit:+.2f} against the mean of all tokens, probability {graph.probability:.1%}. {kept} of "
        f"{graph.n_into_logit} edges carry {graph.share:.0%} of what goes into the logit.</p>"
        f'<div class="picture"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="group" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg></div>"
        '<p id="said" aria-live="polite">Point at a node or an edge to read what it is. Click it to follow it, and '
        f"again to leave.</p></main><script>{_SCRIPT}</script></body></html>"
    )


def save_graph(graph: Graph, path: str | Path) -> Path:
    """Write the page of `graph_page` to a file, which any browser opens, and return its path."""
    path = Path(path)
    write_atomically(path, graph_page(graph))
    return path


def _about(graph: Graph, name: str) -> str:
    """All that is known of a node: a line for itself, then its edges, the largest first."""
    lines = [f"{name}: {graph.latents[int(name.split()[1])]}"] if name.startswith("latent") else []
    edges = [edge for edge in graph.edges if name in (edge.source, edge.target)]
    lines += [edge_text(graph, edge) for edge in sorted(edges, key=lambda e: -abs(e.effect))[:8]]
    return "\n".join(lines) or "none of its edges is among those that are kept"
