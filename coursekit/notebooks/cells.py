"""The cells of an exercise, made from the reference implementation and the catalogue."""

from __future__ import annotations

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

from coursekit.catalogue import Exercise
from coursekit.notebooks.names import check_grade_id, name_of, solution_grade_id
from coursekit.notebooks.source import solution_source

# Of every notebook; the file extension is what `jupyter nbconvert --to script` gives its file.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
}


def exercise_cells(exercise: Exercise) -> list[nbformat.NotebookNode]:
    """Statement, code, check and hints, in the order in which they stand in a notebook."""
    return [
        new_markdown_cell(statement_text(exercise), id=name_of("statement", exercise.id)),
        new_code_cell(
            solution_source(exercise),
            id=name_of("exercise", exercise.id),
            metadata=_nbgrader(solution_grade_id(exercise.id), solution=True),
        ),
        new_code_cell(
            f'check("{exercise.id}")',
            id=name_of("check", exercise.id),
            metadata=_nbgrader(check_grade_id(exercise.id), grade=True, points=exercise.points),
        ),
        new_markdown_cell(hints_text(exercise), id=name_of("hints", exercise.id)),
    ]


def statement_text(exercise: Exercise) -> str:
    """Return the heading with difficulty, importance and minutes, and what to write."""
    points = f"{exercise.points} point{'s' if exercise.points != 1 else ''}"
    return (
        f"### Exercise {exercise.id} · {exercise.title}\n\n"
        f"Difficulty {dots(exercise.difficulty)} &nbsp;·&nbsp; Importance {dots(exercise.importance)} &nbsp;·&nbsp; "
        f"about {exercise.minutes} minutes &nbsp;·&nbsp; {points}\n\n"
        f"{exercise.prose.statement}\n"
    )


def dots(value: int) -> str:
    """Return a value from 1 to 5 as filled and empty dots, and in words for those who hear it read out."""
    return f'<span aria-label="{value} of 5">{"●" * value}{"○" * (5 - value)}</span>'


def hints_text(exercise: Exercise) -> str:
    """Return the hints, one inside the other, so that they are opened one at a time."""
    return _nested([(f"Hint {number}", hint) for number, hint in enumerate(exercise.prose.hints, 1)])


def _nested(folds: list[tuple[str, str]]) -> str:
    if not folds:
        return ""
    (title, body), *rest = folds
    inner = _nested(rest)
    return fold(title, body.strip() + (f"\n\n{inner}" if inner else ""))


def fold(title: str, body: str) -> str:
    """Markdown that stays closed until it is asked for."""
    return f"<details>\n<summary>{title}</summary>\n\n{body}\n\n</details>"


def _nbgrader(grade_id: str, solution: bool = False, grade: bool = False, points: int = 0) -> dict:
    facts: dict = {
        "grade": grade,
        "grade_id": grade_id,
        "locked": grade,
        "schema_version": 3,
        "solution": solution,
        "task": False,
    }
    if grade:
        facts["points"] = points
    return {"nbgrader": facts}
