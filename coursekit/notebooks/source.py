"""The code of an exercise's cell: the reference's source, with nbgrader's marks around what a learner writes."""

from __future__ import annotations

import ast
import inspect
import textwrap
from types import FunctionType

from coursekit.catalogue import Exercise

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
CHECKERS = ("check_shapes", "reads_first_mlp")


def solution_source(exercise: Exercise) -> str:
    """Return the reference's source with nbgrader's markers around what the learner has to write."""
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
    *others, last = (f"`{method}`" for method in methods)
    written = f"{', '.join(others)} and {last}" if others else last
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


def without_markers(source: str) -> str:
    """Return the solution as a person would write it."""
    return "\n".join(line for line in source.split("\n") if line.strip() not in (BEGIN, END))
