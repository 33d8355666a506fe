"""What a learner reads of an exercise: title, statement and hints, as they stand in the chapter's own text.

    :::{exercise} 1.4 Cosine similarities of features
    How much do two features share? …

    Hint: Make every column one long first. …

    Hint: …
    :::

A hint goes on until the next one. With colons a Markdown editor shows what stands inside as text, with formulas, and
blocks of code may stand in it. Backticks do as well; around a block of code they have to be four.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

DIRECTIVE = re.compile(
    r"^(?P<fence>:{3,}|`{3,})\{(?P<kind>exercise|question)\}[ \t]*(?P<argument>.*?)[ \t]*\n"
    r"(?P<body>.*?)^(?P=fence)[ \t]*$",
    re.MULTILINE | re.DOTALL,
)
_HINT = re.compile(r"^Hint:[ \t]*", re.MULTILINE)


@dataclass(frozen=True)
class Prose:
    """The words of one exercise, in Markdown; the hints go from a nudge to nearly the answer."""

    title: str
    statement: str
    hints: tuple[str, ...]


def parse(text: str) -> dict[str, Prose]:
    """Return the words of every exercise in a chapter's text, by id. Raises ValueError if one stands there twice."""
    found: dict[str, Prose] = {}
    for match in DIRECTIVE.finditer(text):
        if match["kind"] == "exercise":
            exercise_id, _, title = match["argument"].partition(" ")
            if exercise_id in found:
                raise ValueError(f"The text has two exercises {exercise_id}.")
            statement, *hints = (part.strip() for part in _HINT.split(match["body"]))
            found[exercise_id] = Prose(title.strip(), statement, tuple(hints))
    return found


@cache
def prose_in(path: Path) -> dict[str, Prose]:
    """Return the words of every exercise in this chapter's file."""
    return parse(path.read_text(encoding="utf-8"))
