"""What the cells of a notebook are called: the only place that knows.

A cell that the course ships has a name: `statement-2-3`, `exercise-2-3`, `check-2-3` and `hints-2-3` belong to exercise
2.3, `text-…` and `code-…` with a digest of their first text are the others. The name is the cell's id, and stands in
its metadata too, because not every editor keeps ids. nbgrader allows no dashes: its names have underscores.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

Kind = Literal["statement", "exercise", "check", "hints"]

_EXERCISES = re.compile(r"(statement|exercise|check|hints)-(\d+)-(\d+)")
_OTHER = re.compile(r"(text|code)-[0-9a-f]{10}")


def name_of(kind: Kind, exercise_id: str) -> str:
    """Name one of an exercise's cells: `exercise-2-3`."""
    return f"{kind}-{exercise_id.replace('.', '-')}"


def name_by_text(cell_type: str, digest: str) -> str:
    """Name a cell that belongs to no exercise, by ten digits of a digest of its text."""
    return f"{'text' if cell_type == 'markdown' else 'code'}-{digest}"


def solution_grade_id(exercise_id: str) -> str:
    """nbgrader's name for an exercise's cell (letters, digits and underscores only)."""
    return name_of("exercise", exercise_id).replace("-", "_")


def check_grade_id(exercise_id: str) -> str:
    """nbgrader's name for the check's cell."""
    return name_of("check", exercise_id).replace("-", "_")


def cell_name(cell: Mapping[str, Any]) -> str:
    """Return the course's own name for a cell, from the metadata that survives where ids are not kept, or from its id.

    "" for a cell of the learner's.
    """
    metadata = cell.get("metadata") if isinstance(cell.get("metadata"), Mapping) else {}
    for key, entry in (("course", "cell"), ("nbgrader", "grade_id")):
        facts = metadata.get(key) if metadata else None
        name = facts.get(entry) if isinstance(facts, Mapping) else None
        if isinstance(name, str) and _is_shipped(name.replace("_", "-")):
            return name.replace("_", "-")
    identity = cell.get("id")
    return identity if isinstance(identity, str) and _is_shipped(identity) else ""


def exercise_of(name: str, kind: Kind | None = None) -> str:
    """Return the id of the exercise that a cell of this name (or of nbgrader's form of it) belongs to, "" if to none.

    Args:
        name: of a cell.
        kind: only a cell of this kind counts.
    """
    match = _EXERCISES.fullmatch(name.replace("_", "-"))
    if match is None or kind not in (None, match[1]):
        return ""
    return f"{match[2]}.{match[3]}"


def exercises_with(cells: Iterable[Mapping[str, Any]], kind: Kind) -> list[str]:
    """Return the ids of the exercises that have a cell of this kind here, in the order of the notebook."""
    return [found for cell in cells if (found := exercise_of(cell_name(cell), kind))]


def described(name: str) -> str:
    """Return a cell's name in words: "the statement of 2.3", "a cell of text"."""
    kind = name.partition("-")[0]
    if exercise_id := exercise_of(name):
        return f"the {kind} of {exercise_id}"
    return f"a cell of {'text' if kind == 'text' else 'code'}"


def _is_shipped(name: str) -> bool:
    return bool(_EXERCISES.fullmatch(name) or _OTHER.fullmatch(name))
