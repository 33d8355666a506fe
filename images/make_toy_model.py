"""Draw the diagram of the toy model as SVG: `python images/make_toy_model.py`.

Gray text and strong colors on a transparent ground, so that they read well on a light and on a dark page.
"""

from html import escape
from pathlib import Path

GRAY, BLUE, ORANGE = "#808080", "#2A8FC9", "#E69F00"


class Drawing:
    """A list of SVG elements; y grows downwards."""

    def __init__(self, width: int, height: int, title: str, description: str) -> None:
        self.elements = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img" font-family="Helvetica, Arial, sans-serif" font-size="15">',
            f"<title>{escape(title)}</title>",
            f"<desc>{escape(description)}</desc>",
            '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
            f'orient="auto-start-reverse"><path d="M0 0 L10 5 L0 10 z" fill="{GRAY}"/></marker></defs>',
        ]

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: int = 15,
        color: str = GRAY,
        anchor: str = "middle",
        bold: bool = False,
    ) -> None:
        weight = ' font-weight="bold"' if bold else ""
        self.elements.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{color}" text-anchor="{anchor}"{weight}>'
            f"{escape(words)}</text>"
        )

    def circle(self, x: float, y: float, fill: str = "none", color: str = GRAY, opacity: float = 1) -> None:
        self.elements.append(
            f'<circle cx="{x:g}" cy="{y:g}" r="11" fill="{fill}" fill-opacity="{opacity:g}" stroke="{color}" '
            'stroke-width="2"/>'
        )

    def line(
        self,
        x1: float,
        y1: float,
        x2: float,
        y2: float,
        *,
        color: str = GRAY,
        width: float = 1.0,
        tip: bool = False,
    ) -> None:
        marker = ' marker-end="url(#tip)"' if tip else ""
        self.elements.append(
            f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{color}" stroke-width="{width:g}"{marker}/>'
        )

    def save(self, path: Path) -> None:
        path.write_text("\n".join([*self.elements, "</svg>"]) + "\n", encoding="utf-8")


def toy_model() -> Drawing:
    """Features, the bottleneck, and the way back."""
    drawing = Drawing(
        860,
        330,
        "The toy model of superposition",
        "Five features, of which one is present, pass through the matrix W into two hidden values. The transpose of W, "
        "a bias and a ReLU turn these into five outputs, which should equal the features.",
    )
    rows = [60 + 48 * i for i in range(5)]
    middle = [rows[1] + 24, rows[3] - 24]
    left, hidden, before, right = 90, 350, 610, 760
    for y in rows:
        for h in middle:
            strong = y == rows[1]
            color, width = (BLUE, 2.5) if strong else (GRAY, 0.7)
            drawing.line(left + 12, y, hidden - 12, h, color=color, width=width)
            drawing.line(hidden + 12, h, before - 12, y, color=color, width=width)
        drawing.line(before + 12, y, right - 14, y, tip=True)
    for i, y in enumerate(rows):
        present = i == 1
        drawing.circle(left, y, BLUE if present else "none", BLUE if present else GRAY)
        drawing.text(
            left - 24, y + 5, "0.8" if present else "0", anchor="end", color=BLUE if present else GRAY
        )
        drawing.circle(
            before, y, BLUE if present else "none", BLUE if present else GRAY, 0.9 if present else 1
        )
        drawing.circle(
            right, y, BLUE if present else "none", BLUE if present else GRAY, 0.9 if present else 1
        )
        drawing.text(
            right + 24, y + 5, "0.78" if present else "0", anchor="start", color=BLUE if present else GRAY
        )
    for h in middle:
        drawing.circle(hidden, h, ORANGE, ORANGE)
    drawing.text(left, 26, "features x", bold=True)
    drawing.text(hidden, 26, "hidden = W x", bold=True)
    drawing.text((before + right) / 2, 26, "output", bold=True)
    drawing.text((left + hidden) / 2, 286, "W")
    drawing.text((hidden + before) / 2, 286, "Wᵀ, the same weights")
    drawing.text((before + right) / 2, 286, "+ b, ReLU")
    drawing.text(left, 312, "n_features", size=13)
    drawing.text(hidden, 312, "n_hidden, fewer", size=13)
    drawing.text((before + right) / 2, 312, "n_features", size=13)
    return drawing


if __name__ == "__main__":
    toy_model().save(Path(__file__).with_name("toy_model.svg"))
