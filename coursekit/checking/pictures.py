"""What was expected and what came out, side by side, as small pictures for a check's card.

Plain HTML with SVG and PNG inside, made without a plotting library, so that a check stays quick. Blue is negative,
orange positive, as strong as the number is large; a third panel shows where the two differ. Nothing is drawn on a
background of its own, so that it reads in light and in dark mode.
"""

from __future__ import annotations

import base64
import html
import struct
import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from part_utils import palette
from part_utils.palette import rgb

Texts = Sequence[Sequence[tuple[str, float]]]
"""Lines of tokens, each with a number."""

LARGEST_SIDE = 48
BLUE, ORANGE, GRAY = (rgb(color) for color in (palette.BLUE, palette.ORANGE, palette.LIGHT_GRAY))


def side_by_side(
    actual: Tensor,
    expected: Tensor,
    axes: str = "",
    captions: tuple[str, ...] = ("expected", "yours", "where they differ"),
) -> str:
    """Expected and actual values as HTML; "" for what cannot be drawn, such as a single number.

    Vectors in the plane (the last of several axes has length 2) become arrows, a single axis bars, anything else a
    heat map of its last two axes, at the place along the others where the two differ most.

    Args:
        actual: what came out; its shape may be another one.
        expected: what is right.
        axes: names of the expected axes.
        captions: of the panels; two for no third panel.
    """
    actual, expected = actual.detach().double().cpu(), expected.detach().double().cpu()
    if min(actual.ndim, expected.ndim) < 1 or min(actual.numel(), expected.numel()) < 2:
        return ""
    names = axes.split()
    place = ""
    if actual.shape == expected.shape and expected.ndim > 2:
        difference = torch.nan_to_num((actual - expected).abs(), nan=torch.inf)
        index = np.unravel_index(int(difference.flatten(-2).amax(-1).argmax()), expected.shape[:-2])
        if len(names) == expected.ndim:
            place = ", ".join(f"{name} {i}" for name, i in zip(names, index, strict=False))
        actual, expected = actual[index], expected[index]
    else:
        actual, expected = (x[(0,) * max(0, x.ndim - 2)] for x in (actual, expected))
    scale = _largest(expected) or _largest(actual) or 1.0
    what = f" ({', '.join(filter(None, (place, ' × '.join(names[-expected.ndim :]))))})" if names else ""
    both_arrows = _are_arrows(expected) and _are_arrows(actual)
    below_zero = min(float(expected.min()), float(actual.min())) < 0
    panels = [
        (caption, _drawn(values, scale, both_arrows, below_zero))
        for caption, values in ((f"{captions[0]}{what}", expected), (captions[1], actual))
    ]
    if actual.shape == expected.shape and expected.ndim == 2 and not both_arrows and len(captions) > 2:
        wrong = ~torch.isclose(actual, expected, rtol=1e-4, atol=1e-5 * max(1.0, scale))
        panels.append((captions[2], _heat_map(wrong.double(), 1.0, GRAY)))
    return _row(panels)


def highlighted(actual: Texts, expected: Texts) -> str:
    """Return two texts, side by side, whose tokens are the more colored the larger the number that comes with each.

    Args:
        actual: what came out: lines of tokens, each with its number.
        expected: what is right.
    """
    scale = max((number for line in expected for _, number in line), default=0.0) or 1.0

    def drawn(lines: Texts) -> str:
        rows = []
        for line in lines:
            tokens = "".join(
                f'<span title="{number:.3g}" style="background:rgba({", ".join(map(str, ORANGE))},'
                f'{max(0.0, min(1.0, number / scale)):.2f})">{html.escape(token).replace(chr(10), "↵")}</span>'
                for token, number in line
            )
            rows.append(f'<div style="white-space:pre;font-family:monospace;font-size:12px">{tokens}</div>')
        return "".join(rows)

    return _row([("expected", drawn(expected)), ("yours", drawn(actual))])


def _row(panels: list[tuple[str, str]]) -> str:
    """Pictures beside one another, each under its caption."""
    figures = []
    for caption, picture in panels:
        name = html.escape(caption)
        figures.append(
            '<figure style="margin:0 1.5em .3em 0">'
            f'<figcaption style="font-size:12px;opacity:.85">{name}</figcaption>'
            + picture.replace('="ALT"', f'="{name}"')
            + "</figure>"
        )
    return f'<div style="display:flex;flex-wrap:wrap;align-items:flex-start">{"".join(figures)}</div>'


def _drawn(values: Tensor, scale: float, as_arrows: bool, below_zero: bool) -> str:
    if values.ndim == 1:
        return _bars(values, scale, below_zero)
    return _arrows(values, scale) if as_arrows else _heat_map(values, scale)


def _are_arrows(values: Tensor) -> bool:
    return values.ndim == 2 and values.shape[1] == 2 and values.shape[0] > 2


def _arrows(vectors: Tensor, scale: float) -> str:
    """Vectors in the plane, each with its number at its end. Those that are far too long end at the edge."""
    parts = [f'<circle cx="0" cy="0" r="1" fill="none" stroke="{palette.LIGHT_GRAY}" stroke-width=".01"/>']
    for number, vector in enumerate(vectors[:LARGEST_SIDE]):
        x, y = (max(-1.3, min(1.3, value / scale)) for value in torch.nan_to_num(vector, nan=0.0).tolist())
        parts.append(
            f'<path d="M0 0L{x:.3f} {-y:.3f}" stroke="{_hex(BLUE)}" stroke-width=".03" stroke-linecap="round"/>'
            f'<circle cx="{x:.3f}" cy="{-y:.3f}" r=".05" fill="{_hex(ORANGE)}"/>'
            f'<text x="{1.13 * x:.3f}" y="{-1.13 * y + 0.05:.3f}" font-size=".16" text-anchor="middle" '
            f'fill="currentColor">{number}</text>'
        )
    return _svg("-1.5 -1.5 3 3", 150, 150, "".join(parts))


def _bars(values: Tensor, scale: float, below_zero: bool) -> str:
    """One bar for each value, upward where it is positive."""
    shown = torch.nan_to_num(values[:LARGEST_SIDE], nan=0.0).clamp(-1.2 * scale, 1.2 * scale) / scale
    lowest = 1.2 if below_zero else 0.05
    parts = [f'<path d="M0 0H{len(shown)}" stroke="{palette.LIGHT_GRAY}" stroke-width=".02"/>']
    for number, value in enumerate(shown.tolist()):
        color = _hex(ORANGE if value >= 0 else BLUE)
        parts.append(
            f'<rect x="{number + 0.1:.1f}" y="{-max(value, 0):.3f}" width=".8" height="{abs(value):.3f}" '
            f'fill="{color}"/>'
        )
    height = 1.25 + lowest
    return _svg(
        f"0 -1.25 {len(shown)} {height}", max(60, min(240, 14 * len(shown))), 90, "".join(parts), stretch=True
    )


def _heat_map(values: Tensor, scale: float, positive: tuple[int, int, int] = ORANGE) -> str:
    """A pixel for each number; a number that is NaN or infinite is gray."""
    values = values[:LARGEST_SIDE, :LARGEST_SIDE]
    rows, columns = values.shape
    pixels = bytearray()
    for row in values.tolist():
        pixels.append(0)
        for value in row:
            finite = abs(value) < float("inf")
            color = (positive if value >= 0 else BLUE) if finite else GRAY
            strength = min(1.0, abs(value) / scale) if finite else 1.0
            pixels += bytes((*color, round(255 * strength)))
    side = max(4, min(16, 180 // max(rows, columns)))
    data = base64.b64encode(_png(columns, rows, bytes(pixels))).decode()
    return (
        f'<img alt="ALT" src="data:image/png;base64,{data}" width="{side * columns}" height="{side * rows}" '
        f'style="image-rendering:pixelated;border:1px solid {palette.LIGHT_GRAY};margin:0">'
    )


def _png(width: int, height: int, rows: bytes) -> bytes:
    """A PNG file from rows of red, green, blue, opacity, each row with a 0 in front."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows, 9))
        + chunk(b"IEND", b"")
    )


def _svg(box: str, width: int, height: int, inside: str, stretch: bool = False) -> str:
    aspect = ' preserveAspectRatio="none"' if stretch else ""
    return f'<svg role="img" aria-label="ALT" viewBox="{box}" width="{width}" height="{height}"{aspect}>{inside}</svg>'


def _largest(values: Tensor) -> float:
    finite = values[torch.isfinite(values)].abs()
    return float(finite.max()) if finite.numel() else 0.0


def _hex(color: tuple[int, int, int]) -> str:
    return "#" + "".join(f"{part:02X}" for part in color)
