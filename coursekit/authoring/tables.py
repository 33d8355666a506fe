"""What stands in tables: times as a reader says them."""

from __future__ import annotations


def duration(minutes: int) -> str:
    """Return minutes as a reader says them: 2 h 28 min."""
    hours, rest = divmod(minutes, 60)
    return " ".join(filter(None, (f"{hours} h" if hours else "", f"{rest} min" if rest else "")))
