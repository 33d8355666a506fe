"""Reading a learner's notebook, in whatever state it is, and reaching the exercises' code in it.

A notebook is not run from top to bottom to be checked: that would train every model in it. Instead, for each
exercise the statements that its code needs (imports, helpers, constants, found by the names that are used) are
collected and executed, and nothing else. So a cell that raises, a shell command or a plot does no harm.
"""

from __future__ import annotations

import ast
import linecache
import symtable
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from part_utils.course.errors import CourseError
from part_utils.exercises.catalogue import Exercise, all_exercises
from part_utils.exercises.learner import LearnerError, NotAttempted, describe_exception, guarded

# Names that every chapter's first cell imports: present even if a learner has removed that cell.
PRELUDE = """
import math
import einops
import torch
import torch as t
import torch.nn.functional as F
from einops import einsum, rearrange, reduce, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
"""


@dataclass
class Statement:
    """One top-level statement of a cell: the names it defines and those that it uses."""

    node: ast.stmt
    cell: int
    filename: str
    defines: set[str]
    uses: set[str]


@dataclass
class NotebookCode:
    """The code of a notebook, statement by statement.

    Attributes:
        path: where it was read from.
        statements: in the order of the notebook.
        broken: message of the syntax error, by cell number.
        sources: source text, by cell number.
        grade_ids: nbgrader's name of a cell, by cell number.
    """

    path: Path
    statements: list[Statement] = field(default_factory=list)
    broken: dict[int, str] = field(default_factory=dict)
    sources: dict[int, str] = field(default_factory=dict)
    grade_ids: dict[int, str] = field(default_factory=dict)

    def exercises(self) -> list[Exercise]:
        """The exercises whose cell stands in the notebook, in the catalogue's order."""
        return [item for item in all_exercises() if self._cell_of(item) is not None]

    def namespace_for(self, exercise: Exercise) -> dict[str, Any]:
        """Execute what the exercise's code needs and return the namespace.

        Raises NotAttempted where its cell still holds the stub, LearnerError where its code does not load.
        """
        name = exercise.cell_name
        definition = self._definition(exercise)
        if definition is None:
            cell = self._cell_of(exercise)
            if cell in self.broken:
                raise LearnerError(self.broken[cell])
            raise NotAttempted(f"The notebook has no `{name}`.")
        namespace: dict[str, Any] = {"__name__": "__main__"}
        exec(PRELUDE, namespace)
        for statement in [*self._needed_by(definition), definition]:
            module = ast.Module([statement.node], type_ignores=[])
            guarded(exec, compile(module, statement.filename, "exec"), namespace)
        defined = next(iter(definition.defines))
        namespace.setdefault(name, namespace[defined])
        return namespace

    def _definition(self, exercise: Exercise) -> Statement | None:
        """The statement that defines the exercise's function or class.

        Of several the last solved one counts, so that neither a copy of the stub nor an old attempt above
        hides the solution. A renamed function is found by its cell.
        """
        found = [s for s in self._definitions() if exercise.cell_name in s.defines]
        if not found:
            cell = self._cell_of(exercise)
            found = [s for s in self._definitions() if s.cell == cell]
            if len(found) > 1:
                return None
        solved = [s for s in found if not _is_stub(s.node)]
        candidates = solved or found
        return candidates[-1] if candidates else None

    def _definitions(self) -> Iterator[Statement]:
        for statement in self.statements:
            if isinstance(statement.node, ast.FunctionDef | ast.ClassDef):
                yield statement

    def _cell_of(self, exercise: Exercise) -> int | None:
        wanted = solution_grade_id(exercise.id)
        for cell, grade_id in self.grade_ids.items():
            if grade_id == wanted:
                return cell
        for statement in self._definitions():
            if exercise.cell_name in statement.defines:
                return statement.cell
        for cell in self.broken:
            source = self.sources[cell]
            if f"def {exercise.cell_name}(" in source or f"class {exercise.cell_name}(" in source:
                return cell
        return None

    def _needed_by(self, definition: Statement) -> list[Statement]:
        wanted, needed = set(definition.uses), set()
        grew = True
        while grew:
            grew = False
            for index, statement in enumerate(self.statements):
                if index not in needed and statement is not definition and statement.defines & wanted:
                    if statement.defines & definition.defines:
                        continue
                    needed.add(index)
                    wanted |= statement.uses
                    grew = True
        return [self.statements[index] for index in sorted(needed)]


def solution_grade_id(exercise_id: str) -> str:
    """nbgrader's name for an exercise's cell (letters, digits and underscores only)."""
    return f"exercise_{exercise_id.replace('.', '_')}"


def check_grade_id(exercise_id: str) -> str:
    """nbgrader's name for the check's cell."""
    return f"check_{exercise_id.replace('.', '_')}"


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """A notebook in format 4. Raises CourseError if it is not there, not JSON or not a notebook."""
    if not path.exists():
        raise CourseError(f"There is no notebook {path}. Give the path of an .ipynb file.")
    if path.is_dir():
        raise CourseError(f"{path} is a folder. Give the path of an .ipynb file in it.")
    try:
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if not isinstance(cell.source, str) or cell.cell_type not in ("code", "markdown", "raw"):
                raise ValueError("a cell is malformed")
        return notebook
    except (OSError, UnicodeError, ValueError, AttributeError, KeyError, TypeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CourseError(
            f"{path} is not a readable notebook ({reason[:120]}). Restore it from a backup or open it in Jupyter and "
            "save it again."
        ) from None


def read_notebook_code(path: Path) -> NotebookCode:
    """The code of a notebook. Raises CourseError where it cannot be read or holds no exercise."""
    code = NotebookCode(path)
    notebook = read_notebook(path)
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            _add_cell(code, number, cell)
    if not code.exercises():
        raise CourseError(
            f"{path} holds no exercise of this course. Give a notebook from chapters/, solved or not."
        )
    return code


def _add_cell(code: NotebookCode, number: int, cell: nbformat.NotebookNode) -> None:
    from IPython.core.inputtransformer2 import TransformerManager

    code.sources[number] = cell.source
    grade_id = cell.metadata.get("nbgrader", {}).get("grade_id") if isinstance(cell.metadata, dict) else None
    if isinstance(grade_id, str) and grade_id not in code.grade_ids.values():
        code.grade_ids[number] = grade_id
    filename = f"<cell {number + 1} of {code.path.name}>"
    # Magics and shell lines become calls of get_ipython(), which no exercise needs, so they never run.
    text = TransformerManager().transform_cell(cell.source)
    try:
        tree = ast.parse(text, filename)
    except (SyntaxError, ValueError) as error:
        code.broken[number] = describe_exception(error)
        return
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    for node in tree.body:
        code.statements.append(Statement(node, number, filename, _defined_names(node), _used_names(node)))


def _defined_names(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    return {
        name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
    }


def _used_names(node: ast.stmt) -> set[str]:
    """The global names that a statement looks up. A local variable of a function is not one."""

    def globals_of(table: symtable.SymbolTable) -> set[str]:
        top = table.get_type() == "module"
        names = {s.get_name() for s in table.get_symbols() if s.is_referenced() and (top or s.is_global())}
        return names.union(*map(globals_of, table.get_children()))

    return globals_of(symtable.symtable(ast.unparse(node), "statement", "exec"))


def _is_stub(node: ast.stmt) -> bool:
    """Some function in it does nothing but raise NotImplementedError."""
    for function in ast.walk(node):
        if isinstance(function, ast.FunctionDef):
            body = function.body[1:] if ast.get_docstring(function) is not None else function.body
            if (
                len(body) == 1
                and isinstance(body[0], ast.Raise)
                and "NotImplementedError" in ast.dump(body[0])
            ):
                return True
    return False
