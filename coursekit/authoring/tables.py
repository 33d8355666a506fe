"""Tables that are made from the catalogue, and times as a reader says them."""

from __future__ import annotations

import re
from collections.abc import Sequence


def duration(minutes: int) -> str:
    """Return minutes as a reader says them: 2 h 28 min."""
    hours, rest = divmod(minutes, 60)
    return " ".join(filter(None, (f"{hours} h" if hours else "", f"{rest} min" if rest else "")))


def with_table(text: str, name: str, rows: Sequence[str]) -> str:
    """Return a page with the table of this name made anew, between its two marks."""
    table = "\n".join([f"<!-- {name}: made by `course build` -->", *rows, f"<!-- end of {name} -->"])
    return re.sub(rf"<!-- {name}:.*?<!-- end of {name} -->", lambda _: table, text, flags=re.DOTALL)
