"""The outcome of a check, and how it looks: a card in a notebook, plain text elsewhere."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Any, Literal

from part_utils import palette

Status = Literal["passed", "failed", "not_attempted", "error"]

# Okabe and Ito's palette, which color-blind readers can tell apart; the sign carries the meaning as well.
_LOOK: dict[str, tuple[str, str, str]] = {
    "passed": ("✓", palette.GREEN, "correct"),
    "failed": ("✗", palette.VERMILION, "not yet right"),
    "error": ("!", palette.VERMILION, "stopped with an error"),
    "not_attempted": ("○", palette.LIGHT_GRAY, "not attempted yet"),
}


@dataclass(frozen=True)
class CheckResult:
    """What a check found.

    In a notebook it shows itself as a card. Its plain-text form there is the number of points earned, which is
    what nbgrader reads as the cell's score.
    """

    id: str
    name: str
    title: str
    status: Status
    points: float
    max_points: float
    message: str
    details: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    printed: str = ""
    picture: str = ""

    @property
    def passed(self) -> bool:
        return self.status == "passed"

    def summary(self) -> dict[str, Any]:
        """Return the machine-readable form, one row of `course check --json`."""
        keys = ("id", "name", "status", "points", "max_points", "message")
        return {key: getattr(self, key) for key in keys}

    def text(self) -> str:
        """Return several lines for a terminal."""
        sign, _, verdict = _LOOK[self.status]
        lines = [f"{sign} {self.id} {self.title}: {verdict}"]
        if self.message:
            lines += [f"  {line}" for line in self.message.splitlines()]
        lines += [f"    {line}" for line in self.details]
        lines += [f"  ✓ {claim}" for claim in self.claims]
        return "\n".join(lines)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": self.html(), "text/plain": str(float(self.points))}

    def html(self) -> str:
        """Return the card. Colors come from the page, so that it reads in light and in dark mode."""
        sign, color, verdict = _LOOK[self.status]
        parts = [
            f'<div style="border-left:4px solid {color};padding:.4em .9em;margin:.2em 0;font-size:14px">',
            f'<div><b style="color:{color}">{sign}</b> <b>Exercise {self.id}</b> · {html.escape(self.title)}: '
            f"{verdict}"
            f'<span style="float:right;opacity:.7">{self.points:g} of {self.max_points:g} points</span></div>',
        ]
        if self.message:
            text = _inline_markup(html.escape(self.message)).replace("\n", "<br>")
            parts.append(f'<div style="margin-top:.3em">{text}</div>')
        if self.picture:
            parts.append(f'<div style="margin-top:.5em">{self.picture}</div>')
        if self.details:
            lines = "\n".join(map(html.escape, self.details))
            parts.append(f'<pre style="margin:.3em 0 0;font-size:12px;background:none">{lines}</pre>')
        if self.claims:
            items = "".join(f"<div>✓ {_inline_markup(html.escape(claim))}</div>" for claim in self.claims)
            parts.append(f'<div style="margin-top:.3em;opacity:.85;font-size:13px">{items}</div>')
        if self.printed:
            parts.append(
                "<details style='margin-top:.3em'><summary>What your code printed</summary>"
                f'<pre style="font-size:12px;background:none">{html.escape(self.printed)}</pre></details>'
            )
        return "".join(parts) + "</div>"


def _inline_markup(escaped: str) -> str:
    """`code` and *emphasis*, as in Markdown. A backquote or star without its partner stays as it is."""
    pieces = escaped.split("`")
    if len(pieces) % 2 == 0:
        return _emphasis(escaped)
    return "".join(
        f"<code>{piece}</code>" if index % 2 else _emphasis(piece) for index, piece in enumerate(pieces)
    )


def _emphasis(escaped: str) -> str:
    return re.sub(r"(?<![*\w])\*(?=\w)([^*\n]+)(?<=\w)\*(?![*\w])", r"<em>\1</em>", escaped)
