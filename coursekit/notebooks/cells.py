"""The cells of an exercise, made from the reference implementation and the catalogue."""

from __future__ import annotations

import ast
import inspect
import textwrap
from types import FunctionType

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

from coursekit.catalogue import Exercise
from coursekit.notebooks.learners_code import check_grade_id, solution_grade_id

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
CHECKERS = ("check_shapes",)


def exercise_cells(exercise: Exercise) -> list[nbformat.NotebookNode]:
    """Statement, code, check and hints, in the order in which they stand in a notebook."""
    key = exercise.id.replace(".", "-")
    return [
        new_markdown_cell(statement_text(exercise), id=f"statement-{key}"),
        new_code_cell(
            solution_source(exercise),
            id=f"exercise-{key}",
            metadata=_nbgrader(solution_grade_id(exercise.id), solution=True),
        ),
        new_code_cell(
            f'check("{exercise.id}")',
            id=f"check-{key}",
            metadata=_nbgrader(check_grade_id(exercise.id), grade=True, points=exercise.points),
        ),
        new_markdown_cell(hints_text(exercise), id=f"hints-{key}"),
    ]


def statement_text(exercise: Exercise) -> str:
    """The heading with difficulty, importance and minutes, and what to write."""
    points = f"{exercise.points} point{'s' if exercise.points != 1 else ''}"
    return (
        f"### Exercise {exercise.id} · {exercise.title}\n\n"
        f"Difficulty {dots(exercise.difficulty)} &nbsp;·&nbsp; Importance {dots(exercise.importance)} &nbsp;·&nbsp; "
        f"about {exercise.minutes} minutes &nbsp;·&nbsp; {points}\n\n"
        f"{exercise.statement.strip()}\n"
    )


def dots(value: int) -> str:
    """A value from 1 to 5 as filled and empty dots, and in words for those who hear it read out."""
    return f'<span aria-label="{value} of 5">{"●" * value}{"○" * (5 - value)}</span>'


def hints_text(exercise: Exercise) -> str:
    """The hints, one inside the other, so that they are opened one at a time."""
    return _nested([(f"Hint {number}", hint) for number, hint in enumerate(exercise.hints, 1)])


def _nested(folds: list[tuple[str, str]]) -> str:
    if not folds:
        return ""
    (title, body), *rest = folds
    inner = _nested(rest)
    return fold(title, body.strip() + (f"\n\n{inner}" if inner else ""))


def fold(title: str, body: str) -> str:
    """Markdown that stays closed until it is asked for."""
    return f"<details>\n<summary>{title}</summary>\n\n{body}\n\n</details>"


def solution_source(exercise: Exercise) -> str:
    """The reference's source with nbgrader's markers around what the learner has to write."""
    reference = exercise.load_reference()
    if exercise.class_name is None:
        sources = [
            textwrap.dedent(inspect.getsource(inspect.unwrap(exercise.load_reference(name))))
            for name in exercise.targets.values()
        ]
        return "\n\n\n".join(_mark(source, exercise.methods) for source in sources)
    methods = exercise.methods or (exercise.name.rpartition(".")[2],)
    bodies = []
    for method in methods:
        function = inspect.unwrap(inspect.getattr_static(reference, method))
        assert isinstance(function, FunctionType)
        bodies.append(_mark(textwrap.dedent(inspect.getsource(function)), ()))
    written = " and ".join(f"`{method}`" for method in methods)
    whose = f"{'an' if exercise.class_name[0] in 'AEIOU' else 'a'} `{exercise.class_name}`"
    docstring = (
        f"Your {written} of {whose}, and nothing else."
        if exercise.base
        else f"{whose[:1].upper()}{whose[1:]} with your {written}; everything else is inherited."
    )
    return (
        f"class {exercise.cell_name}({exercise.base or exercise.class_name}):\n"
        f'    """{docstring}"""\n\n' + textwrap.indent("\n\n".join(bodies), "    ")
    )


def _mark(source: str, methods: tuple[str, ...]) -> str:
    """Put the markers around the body (after the docstring) of a function, or of a class's methods."""
    lines: list[str | None] = list(source.rstrip("\n").split("\n"))
    top = ast.parse(source).body[0]
    assert isinstance(top, ast.FunctionDef | ast.ClassDef)
    functions = (
        [top] if isinstance(top, ast.FunctionDef) else [n for n in top.body if isinstance(n, ast.FunctionDef)]
    )
    for item in {top, *functions}:
        for decorator in item.decorator_list:
            if isinstance(decorator, ast.Name) and decorator.id in CHECKERS:
                lines[decorator.lineno - 1] = None
    # From the last to the first, so that the line numbers stay right.
    for function in reversed(functions):
        if methods and function.name not in methods:
            continue
        has_docstring = ast.get_docstring(function) is not None
        first = function.body[1 if has_docstring else 0]
        assert function.end_lineno is not None
        above = function.body[0].end_lineno if has_docstring else first.lineno - 1
        assert above is not None
        indent = " " * first.col_offset
        lines[function.end_lineno : function.end_lineno] = [f"{indent}{END}"]
        lines[above:above] = [f"{indent}{BEGIN}"]
    return "\n".join(line for line in lines if line is not None)


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
