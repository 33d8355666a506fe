"""Draws the diagrams of chapters 0, 1 and 4 as SVG: `python images/make_diagrams.py`.

Beside the standard library only the course's palette is needed.
"""

from pathlib import Path

from part_utils.palette import BLUE, GREEN
from part_utils.palette import VERMILION as ORANGE

HERE = Path(__file__).parent
INK, GRAY, PALE = "#222222", "#777777", "#F2F2F2"
FONT = 'font-family="Helvetica, Arial, sans-serif"'


def text(
    x: float, y: float, words: str, size: int = 15, color: str = INK, anchor: str = "middle", **more: str
) -> str:
    extra = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
    place = f'x="{x}" y="{y}" font-size="{size}" fill="{color}" text-anchor="{anchor}"'
    return f"<text {place} {FONT}{extra}>{words}</text>"


def cells(
    x: float,
    y: float,
    rows: int,
    columns: int,
    size: float = 26,
    colors: dict[tuple[int, int], str] | None = None,
) -> str:
    """A matrix as a grid of squares; `colors` fills single ones."""
    squares = []
    for row in range(rows):
        for column in range(columns):
            fill = (colors or {}).get((row, column), "#FFFFFF")
            squares.append(
                f'<rect x="{x + column * size}" y="{y + row * size}" width="{size}" height="{size}" '
                f'fill="{fill}" stroke="{INK}" stroke-width="1"/>'
            )
    return "".join(squares)


def column(index: int, rows: int, color: str) -> dict[tuple[int, int], str]:
    return {(row, index): color for row in range(rows)}


def row(index: int, columns: int, color: str) -> dict[tuple[int, int], str]:
    return {(index, c): color for c in range(columns)}


def arrow(x1: float, y1: float, x2: float, y2: float, color: str = GRAY) -> str:
    return (
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{color}" stroke-width="2" '
        'marker-end="url(#head)"/>'
    )


def save(name: str, width: int, height: int, title: str, *parts: str) -> None:
    head = (
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        f'orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="{GRAY}"/></marker></defs>'
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img"><title>{title}</title>{head}'
        f'<rect width="{width}" height="{height}" rx="10" fill="#FFFFFF"/>{"".join(parts)}</svg>\n'
    )
    (HERE / name).write_text(svg.replace("><", ">\n<"))


def two_readings() -> None:
    """W x as a weighted sum of columns, and as one dot product for each row."""
    blue, orange, green = "#8CC3E6", "#F2B48C", "#8FD3BC"
    parts = [text(185, 34, "by columns: add up directions", 17, font_weight="bold")]
    colors = column(1, 2, orange) | column(3, 2, blue)
    x_colors = {(1, 0): orange, (3, 0): blue}
    parts += [
        cells(40, 95, 2, 5, 26, colors),
        text(105, 84, "W"),
        text(105, 170, "column = feature", 13, GRAY),
    ]
    parts += [cells(195, 58, 5, 1, 26, x_colors), text(208, 208, "x"), text(245, 127, "=", 20)]
    parts += [text(208, 103, "2", 14), text(208, 155, "3", 14), text(208, 77, "0", 14, GRAY)]
    parts += [text(208, 129, "0", 14, GRAY), text(208, 181, "0", 14, GRAY)]
    parts += [text(268, 127, "2"), cells(278, 95, 2, 1, 26, column(0, 2, orange)), text(318, 127, "+ 3")]
    parts += [cells(336, 95, 2, 1, 26, column(0, 2, blue))]
    left = 420
    parts += [f'<line x1="{left - 20}" y1="20" x2="{left - 20}" y2="215" stroke="#CCCCCC"/>']
    parts += [text(left + 155, 34, "by rows: one dot product each", 17, font_weight="bold")]
    parts += [cells(left + 15, 95, 2, 5, 26, row(0, 5, green)), text(left + 80, 84, "W")]
    parts += [text(left + 80, 170, "row = hidden dimension", 13, GRAY)]
    parts += [
        cells(left + 175, 58, 5, 1, 26, column(0, 5, green)),
        text(left + 188, 208, "x"),
        text(left + 228, 127, "=", 20),
    ]
    parts += [cells(left + 252, 95, 2, 1, 26, {(0, 0): green}), text(left + 265, 170, "h")]
    save("two_readings.svg", 740, 225, "The product of W and x read by columns and by rows", *parts)


def decoder_orientation() -> None:
    """The paper's M with a column for each latent, and W_dec as it is stored, with a row for each."""
    orange = "#F2B48C"
    parts = [text(165, 32, "in the paper: M z", 17, font_weight="bold")]
    parts += [
        cells(70, 75, 3, 5, 26, column(3, 3, orange)),
        text(135, 65, "latents", 13, GRAY),
        text(135, 172, "M", 14),
    ]
    parts += [text(58, 118, "inputs", 13, GRAY, "middle", transform="rotate(-90 58 114)")]
    parts += [cells(225, 50, 5, 1, 26, {(3, 0): orange}), text(238, 198, "z")]
    parts += [text(135, 200, "latent f is a column", 14, ORANGE)]
    parts += [
        arrow(290, 115, 400, 115),
        text(345, 100, "same numbers,", 13, GRAY),
        text(345, 138, "rows ↔ columns", 13, GRAY),
    ]
    parts += [text(590, 32, "in the code: acts @ W_dec", 17, font_weight="bold")]
    parts += [
        cells(430, 100, 1, 5, 26, {(0, 3): orange}),
        text(495, 90, "latents", 13, GRAY),
        text(495, 146, "acts", 14),
        text(592, 120, "@", 20),
    ]
    parts += [
        cells(640, 68, 5, 3, 26, row(3, 3, orange)),
        text(679, 216, "W_dec", 14),
        text(627, 133, "latents", 13, GRAY, transform="rotate(-90 627 133)"),
    ]
    parts += [
        text(679, 60, "inputs", 13, GRAY),
        text(730, 156, "latent f", 14, ORANGE, "start"),
        text(730, 173, "is a row", 14, ORANGE, "start"),
    ]
    save(
        "decoder_orientation.svg",
        810,
        232,
        "The paper's matrix M and the stored W_dec are transposes of each other",
        *parts,
    )


def batched_product() -> None:
    """A batched matrix product is one ordinary product for each sheet of the stack."""
    sheets = [("#8CC3E6", "instance 0"), ("#F2B48C", "instance 1"), ("#8FD3BC", "instance 2")]
    parts = []
    for depth, (color, _) in reversed(list(enumerate(sheets))):
        shift = 22 * depth
        every = lambda rows, columns: {(r, c): color for r in range(rows) for c in range(columns)}  # noqa: E731, B023
        parts.append(cells(60 + shift, 75 - shift, 4, 3, 22, every(4, 3)))
        parts.append(cells(260 + shift, 75 - shift, 3, 2, 22, every(3, 2)))
        parts.append(cells(450 + shift, 75 - shift, 4, 2, 22, every(4, 2)))
    parts += [text(205, 120, "@", 22), text(395, 120, "=", 22)]
    parts += [text(93, 186, "[…, rows, shared]", 13, GRAY), text(282, 166, "[…, shared, columns]", 13, GRAY)]
    parts += [text(480, 186, "[…, rows, columns]", 13, GRAY)]
    parts += [
        text(560, 95, "one sheet = one instance:", 14, INK, "start"),
        text(560, 115, "each is multiplied with its", 14, INK, "start"),
    ]
    parts += [text(560, 135, "own partner, on its own", 14, INK, "start")]
    save("batched_product.svg", 760, 205, "A batched matrix product as a stack of ordinary ones", *parts)


def bottleneck() -> None:
    """The toy model: five features, two hidden dimensions, five outputs, and one feature's way through."""
    orange = ORANGE
    top, step = 70, 40
    inputs = [(90, top + step * i) for i in range(5)]
    hidden = [(330, top + step * 1.25), (330, top + step * 2.75)]
    outputs = [(570, top + step * i) for i in range(5)]
    parts = []
    for layer, following in ((inputs, hidden), (hidden, outputs)):
        for i, (x1, y1) in enumerate(layer):
            for j, (x2, y2) in enumerate(following):
                chosen = 1 in ((i,) if layer is inputs else (j,))
                color, width = (orange, 2.5) if chosen else ("#CCCCCC", 1)
                parts.append(
                    f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{color}" stroke-width="{width}"/>'
                )
    for layer in (inputs, hidden, outputs):
        for i, (x, y) in enumerate(layer):
            fill = "#F2B48C" if i == 1 and layer is not hidden else "#FFFFFF"
            parts.append(
                f'<circle cx="{x}" cy="{y}" r="13" fill="{fill}" stroke="{INK}" stroke-width="1.5"/>'
            )
    parts += [text(90, 35, "features x", 15), text(330, 35, "hidden h = W x", 15)]
    parts += [text(570, 35, "ReLU(Wᵀh + b)", 15)]
    parts += [
        text(210, 262, "in along column i of W", 14, ORANGE),
        text(450, 262, "out along the same numbers", 14, ORANGE),
    ]
    save(
        "bottleneck.svg",
        660,
        280,
        "Five features pass through two hidden dimensions and come out again",
        *parts,
    )


def autoencoder_on_a_model() -> None:
    """Tokens to activations to latents to the reconstruction, and back into the model."""
    blue, orange = "#8CC3E6", "#F2B48C"
    parts = []

    def box(
        x: float, y: float, width: float, height: float, label: str, below: str = "", fill: str = PALE
    ) -> None:
        parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="{fill}" stroke="{INK}"/>'
        )
        middle = y + height / 2 + (5 if not below else -3)
        parts.append(text(x + width / 2, middle, label, 15))
        if below:
            parts.append(text(x + width / 2, middle + 19, below, 12, GRAY))

    parts.append(text(20, 30, "the language model", 17, anchor="start", font_weight="bold"))
    box(20, 55, 100, 60, "tokens", "“the cat sat”")
    parts.append(arrow(120, 85, 158, 85))
    box(160, 55, 130, 60, "embedding", "and attention")
    parts.append(arrow(290, 85, 338, 85))
    box(340, 45, 170, 80, "neurons of the MLP", "after the GELU", blue)
    parts.append(arrow(510, 85, 568, 85))
    box(570, 55, 110, 60, "the rest", "of the model")
    parts.append(arrow(680, 85, 728, 85))
    box(730, 55, 120, 60, "logits", "for the next token")

    parts.append(text(20, 210, "the autoencoder", 17, anchor="start", font_weight="bold"))
    parts.append(arrow(375, 125, 375, 218))
    parts.append(text(367, 165, "1  activations h", 14, BLUE, "end"))
    parts.append(text(367, 183, "64 for each token", 12, GRAY, "end"))
    fired = {(0, 3): orange, (0, 7): orange, (0, 8): orange, (0, 16): orange}
    parts.append(f'<path d="M335 220H415L475 272H275Z" fill="{PALE}" stroke="{INK}"/>')
    parts.append(text(375, 252, "encoder", 14))
    parts.append(cells(155, 280, 1, 22, 20, fired))
    parts.append(text(145, 295, "2  latents", 14, ORANGE, "end"))
    parts.append(text(375, 320, "1024 of them, nearly all zero", 12, GRAY))
    parts.append(arrow(595, 290, 643, 290))
    parts.append(f'<path d="M645 255L715 272V308L645 325Z" fill="{PALE}" stroke="{INK}"/>')
    parts.append(text(679, 295, "decoder", 14))
    parts.append(
        f'<path d="M715 290H790V180H475V127" fill="none" stroke="{GREEN}" stroke-width="2.5" '
        'stroke-dasharray="7 5" marker-end="url(#head)"/>'
    )
    parts.append(text(780, 235, "3  reconstruction ĥ", 14, GREEN, "end"))
    parts.append(text(490, 171, "4  back into the model, in the place of h", 14, GREEN, "start"))
    save(
        "autoencoder_on_a_model.svg",
        870,
        340,
        "From tokens to activations to latents to the reconstruction, and back into the model",
        *parts,
    )


if __name__ == "__main__":
    autoencoder_on_a_model()
    bottleneck()
    two_readings()
    decoder_orientation()
    batched_product()
