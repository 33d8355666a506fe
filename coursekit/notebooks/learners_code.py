"""Reading a learner's notebook, in whatever state it is, and reaching the exercises' code in it.

A notebook is not run from top to bottom to be checked: that would train every model in it. Instead, for each
exercise the statements that its code needs (imports, helpers, constants, found by the names that are used) are
collected and executed, and nothing else. So a cell that raises, a shell command or a plot does no harm.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import contextlib
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from coursekit.catalogue import Exercise, all_exercises
from coursekit.checking.door import LearnerError, NotAttempted, describe_exception, guarded
from coursekit.errors import CourseError
from coursekit.notebooks.names import Kind, cell_name, name_of
from coursekit.notebooks.reading import read_notebook
from coursekit.notebooks.source import solution_source
from coursekit.notebooks.statements import Statement, is_stub, parameters, reading_work, statements_of

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
class Cell:
    """A cell of a notebook as it was saved. `name` is the course's own name for it, "" for a learner's cell."""

    number: int
    kind: str
    source: str
    name: str


@dataclass
class NotebookCode:
    """The code of a notebook, statement by statement.

    Attributes:
        path: where it was read from.
        cells: all its cells.
        statements: those of the code cells, in the order of the notebook.
        broken: message of the syntax error, by cell number.
        unloadable: for each exercise that was looked at, what its code needs and could not be executed.
        borrowed: for each exercise that was looked at, the other exercises' names that its code uses.
    """

    path: Path
    cells: list[Cell] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    broken: dict[int, str] = field(default_factory=dict)
    unloadable: dict[str, str] = field(default_factory=dict)
    borrowed: dict[str, set[str]] = field(default_factory=dict)

    def exercises(self) -> list[Exercise]:
        """Return the exercises of the notebook's chapter, in the catalogue's order, and others that stand in it.

        An exercise whose cell was deleted counts: it is a part of the chapter that is not solved.
        """
        standing = [item for item in all_exercises() if self._traces_of(item)]
        defined = {name for statement in self.statements for name in statement.defines}
        if not standing:
            standing = [item for item in all_exercises() if item.cell_name in defined]
        if not standing:
            return []
        chapters = [item.chapter for item in standing]
        main = max(chapters, key=chapters.count)
        return [item for item in all_exercises() if item in standing or item.chapter is main]

    def namespace_for(
        self, exercise: Exercise, before: Callable[[Statement], None] | None = None, *, own: bool = False
    ) -> dict[str, Any]:
        """Execute what the exercise's code needs and return the namespace.

        Where it uses a function of another exercise it gets the reference, so that a mistake there does no
        harm here; with `own` it gets the learner's. `before` is called with each statement that will be executed.

        Raises NotAttempted where its cell still holds the stub, LearnerError where its code does not load.
        """
        definition = self._definition(exercise)
        afterwards = self._afterwards(exercise, definition)
        boundary = self._check_of(exercise, definition)
        others = {
            name: item for item in all_exercises() if item is not exercise for name in item.targets.values()
        }
        lent = {name for name, item in others.items() if not own or not self._is_solved(item)}
        names = set(definition.uses).union(*(statement.uses for statement in afterwards))
        names -= {exercise.cell_name, *definition.defines}
        names |= set(exercise.also)
        needed, used = self._needed(names, definition, boundary, lent)
        namespace: dict[str, Any] = {"__name__": "__main__", "display": _ignore, "get_ipython": _NoShell}
        exec(PRELUDE, namespace)
        bound = {name for index in needed for name in self.statements[index].defines}
        missing = used - lent - bound - set(namespace) - set(dir(builtins))
        if missing:
            # Nobody can know what a star import brings, so it is made only where a name is missing.
            needed = sorted({*needed, *(i for i, s in enumerate(self.statements) if s.stars)})
        # Last of all, the names that the reference's own module has: the imports of the chapter's first cell.
        module = importlib.import_module(exercise.module)
        for name in missing - set(exercise.targets.values()):
            if hasattr(module, name):
                namespace[name] = getattr(module, name)
        for name in used & lent:
            namespace[name] = _reference_as(others[name], name)
        self.borrowed[exercise.id] = used & set(others)
        problem = ""
        for index in needed:
            if before is not None:
                before(self.statements[index])
            try:
                _execute(self.statements[index], namespace)
            except (LearnerError, NotAttempted) as error:
                problem = problem or (
                    f"Your code needs cell {self.statements[index].cell + 1} of the notebook, which cannot be run "
                    f"without the cells around it: {error}"
                )
        self.unloadable[exercise.id] = problem
        try:
            for statement in [definition, *afterwards]:
                if before is not None:
                    before(statement)
                _execute(statement, namespace)
        except LearnerError as error:
            raise LearnerError(f"{error}\n{problem}".strip()) from None
        namespace.setdefault(exercise.cell_name, namespace[next(iter(definition.defines))])
        return namespace

    def _definition(self, exercise: Exercise) -> Statement:
        """The statement that defines the exercise's function or class.

        Of several the last solved one counts, so that neither a copy of the stub nor an old attempt above
        hides the solution. A renamed function is found by its cell.
        """
        name = exercise.cell_name
        cell = self.cell_of(exercise)
        found = [s for s in self._definitions() if name in s.defines]
        solved = [s for s in found if not is_stub(s.node)]
        if solved:
            return solved[-1]
        # `name = my_version` or an import, and no `name = decorate(name)`, which only changes what is there.
        aliases = [s for s in self.statements if name in s.defines - s.uses and s not in found]
        if aliases:
            return aliases[-1]
        broken = [n for n in self.broken if n == cell or _defines_in_text(self.cells[n].source, name)]
        if broken:
            raise LearnerError(self.broken[broken[-1]])
        if found:
            return found[-1]
        here = [s for s in self._definitions() if s.cell == cell and not is_stub(s.node)]
        wanted = parameters(ast.parse(solution_source(exercise)).body[0])
        matching = [s for s in here if parameters(s.node) == wanted]
        others = {item.cell_name for item in all_exercises()} | set(exercise.also)
        if len(here) == 1 or matching:
            renamed = (matching or here)[-1]
            if not renamed.defines & others:
                return renamed
        raise NotAttempted(self._why_missing(exercise, cell))

    def _is_solved(self, exercise: Exercise) -> bool:
        with contextlib.suppress(LearnerError, NotAttempted):
            return not is_stub(self._definition(exercise).node)
        return False

    def _why_missing(self, exercise: Exercise, number: int | None) -> str:
        if number is not None and self.cells[number].kind != "code":
            kind = {"markdown": "Markdown", "raw": "raw"}[self.cells[number].kind]
            return (
                f"The cell of `{exercise.cell_name}` has become a {kind} cell. Select it, press Esc and then Y to turn "
                "it into code again."
            )
        return f"The notebook has no `{exercise.cell_name}`. `course reset {exercise.id}` puts its cell back."

    def _definitions(self) -> Iterator[Statement]:
        for statement in self.statements:
            if isinstance(statement.node, _DEFINITIONS):
                yield statement

    def cell_of(self, exercise: Exercise) -> int | None:
        """Return the number of the cell where the exercise stands, or would stand."""
        named = [cell for cell in self.cells if cell.name == name_of("exercise", exercise.id)]
        code = [cell for cell in named if cell.kind == "code"]
        if named:
            return (code or named)[0].number
        # Everything that names cells was stripped: the code above the check is the exercise's.
        previous = None
        for cell in self.cells:
            if cell.kind != "code" or not cell.source.strip():
                continue
            if _is_check_cell(cell, exercise) and previous is not None:
                return previous
            # Another exercise's cell is not this one's, though its own may have been deleted.
            previous = cell.number if _DEFINITION.search(cell.source) and not cell.name else None
        return None

    def _traces_of(self, exercise: Exercise) -> bool:
        kinds: tuple[Kind, ...] = ("exercise", "check", "statement")
        names = {name_of(kind, exercise.id) for kind in kinds}
        return any(cell.name in names or _is_check_cell(cell, exercise) for cell in self.cells)

    def _check_of(self, exercise: Exercise, definition: Statement) -> int:
        """How many statements stand above the end of the exercise's check: what they define counts first."""
        last = definition.cell
        for cell in self.cells[definition.cell + 1 :]:
            if _is_check_cell(cell, exercise):
                last = cell.number
                break
        return sum(statement.cell <= last for statement in self.statements)

    def _afterwards(self, exercise: Exercise, definition: Statement) -> list[Statement]:
        """What changes the definition later: `f = decorate(f)`, `Model.scale = 2`."""
        names = definition.defines | {exercise.cell_name}
        position = self.statements.index(definition)
        later = []
        for index, statement in enumerate(self.statements):
            if statement is definition or isinstance(statement.node, _DEFINITIONS):
                continue
            rebinds = bool(statement.defines & statement.uses & names)
            if (rebinds and index > position) or (
                statement.changes & names and (index > position or is_stub(definition.node))
            ):
                later.append(statement)
        return later

    def _needed(
        self, names: set[str], definition: Statement, boundary: int, lent: set[str]
    ) -> tuple[list[int], set[str]]:
        """Indices of the statements that the names need, in order, and all names that are used."""
        needed: set[int] = set()
        seen: set[tuple[str, int]] = set()
        waiting = {(name, boundary) for name in names}
        while waiting:
            name, limit = waiting.pop()
            seen.add((name, limit))
            if name in lent:
                continue
            for index in self._binding(name, definition, limit):
                needed.add(index)
                statement = self.statements[index]
                # A function looks names up when it is called, any other statement when it is executed.
                inside = limit if isinstance(statement.node, _DEFINITIONS) else index
                waiting |= {(used, inside) for used in statement.uses - definition.defines} - seen
        return sorted(needed), {name for name, _ in seen}

    def _binding(self, name: str, definition: Statement, boundary: int) -> list[int]:
        """The statements that give a name its value: those above the boundary, or else those below it."""

        def touching(indices: range) -> list[int]:
            chosen = []
            for index in reversed(indices):
                statement = self.statements[index]
                if statement is definition:
                    continue
                if name in statement.defines | statement.changes:
                    chosen.append(index)
                if name in statement.defines and statement.starts_afresh:
                    break
            binds = any(name in self.statements[index].defines for index in chosen)
            return chosen if binds else []

        return touching(range(boundary)) or touching(range(boundary, len(self.statements)))


# About a microsecond each.
MOST_WORK, MOST_WORK_OF_A_CELL = 4_000_000, 1_000_000
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_DEFINITION = re.compile(r"^\s*(async def|def|class)\s", re.MULTILINE)


def read_notebook_code(path: Path) -> NotebookCode:
    """Return the code of a notebook. Raises CourseError where it cannot be read or holds no exercise."""
    code = parse_cells(path, read_notebook(path))
    if not code.exercises():
        raise CourseError(
            f"{path} holds no exercise of this course. Give a notebook from chapters/, solved or not."
        )
    return code


def parse_cells(path: Path, notebook: nbformat.NotebookNode) -> NotebookCode:
    """Return the code of a notebook's cells, whether or not there is an exercise among them."""
    code = NotebookCode(path)
    flags = 0
    room = MOST_WORK
    for number, cell in enumerate(notebook.cells):
        code.cells.append(Cell(number, cell.cell_type, cell.source, cell_name(cell)))
        if cell.cell_type != "code":
            continue
        work = reading_work(cell.source)
        is_the_courses = bool(code.cells[-1].name)
        if work > MOST_WORK_OF_A_CELL or (work > room and not is_the_courses):
            # One that has nothing to do with an exercise must not use up its time.
            code.broken[number] = "SyntaxError: this cell, or the notebook, is too long to be read"
            continue
        room -= 0 if is_the_courses else work
        try:
            statements = statements_of(cell.source, number, f"<cell {number + 1} of {path.name}>", flags)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            code.broken[number] = describe_exception(error)
            continue
        if statements:
            flags = statements[-1].flags
        code.statements += statements
    return code


def _is_check_cell(cell: Cell, exercise: Exercise) -> bool:
    """The check below the exercise: `check("1.2")`, without an answer handed over, which text shows as an example."""
    if cell.name == name_of("check", exercise.id):
        return True
    call = rf"^\s*check\(\s*[\"']{re.escape(exercise.id)}[\"']\s*\)"
    return cell.kind == "code" and re.search(call, cell.source, re.MULTILINE) is not None


def _defines_in_text(source: str, name: str) -> bool:
    return re.search(rf"^\s*(def|class)\s+{name}\b", source, re.MULTILINE) is not None


def _reference_as(exercise: Exercise, name: str) -> Any:
    """The reference under a name of the exercise's cell: of a method's class a subclass of its own."""
    reference = exercise.load_reference(name)
    return type(exercise.cell_name, (reference,), {}) if exercise.class_name else reference


def _execute(statement: Statement, namespace: dict[str, Any]) -> None:
    def run(flags: int) -> None:
        module = ast.Module([statement.node], type_ignores=[])
        flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        outcome = eval(compile(module, statement.filename, "exec", flags, dont_inherit=True), namespace)
        if inspect.iscoroutine(outcome):
            asyncio.run(outcome)

    def run_leniently() -> None:
        try:
            run(statement.flags)
        except NameError:
            import __future__

            # An annotation may use a name whose import was removed; no result depends on it.
            run(statement.flags | __future__.annotations.compiler_flag)

    guarded(run_leniently)


def _ignore(*_: Any, **__: Any) -> None:
    """What `display` does outside a notebook."""


class _NoShell:
    """What `get_ipython()` returns outside a notebook: magics in a function do nothing."""

    def __getattr__(self, name: str) -> Any:
        return _ignore
