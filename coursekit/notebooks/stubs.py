"""An exercise's cells as the course ships them to learners.

An installed package carries the learners' notebooks, and they are read from there. In a checkout `chapters/` is what
the learner edits: there they are made anew from the catalogue, with the same nbgrader steps that the build uses.
"""

from __future__ import annotations

import json
from typing import Any

import nbformat

from coursekit.catalogue import Exercise
from coursekit.material import is_installed, learner_notebook
from coursekit.notebooks.cells import exercise_cells
from coursekit.notebooks.names import Kind, cell_name, name_of
from coursekit.notebooks.reading import joined


def stub_cells(exercise: Exercise) -> list[dict[str, Any]]:
    """Make the statement, stub, check and hints of an exercise, as in an untouched notebook."""
    return _shipped_cells(exercise) if is_installed() else _made_cells(exercise)


def _shipped_cells(exercise: Exercise) -> list[dict[str, Any]]:
    path = learner_notebook(exercise.chapter.slug)
    cells = {cell_name(cell): cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]}
    kinds: tuple[Kind, ...] = ("statement", "exercise", "check", "hints")
    found = [cells[name_of(kind, exercise.id)] for kind in kinds]
    return [{**cell, "source": joined(cell["source"])} for cell in found]


def _made_cells(exercise: Exercise) -> list[dict[str, Any]]:
    from nbgrader.preprocessors import LockCells
    from nbgrader.utils import compute_checksum

    from coursekit.notebooks.preprocessors import ClearNamedSolutions, FoldSolutions, PlainMetadata

    notebook = nbformat.v4.new_notebook(cells=exercise_cells(exercise))
    notebook, _ = FoldSolutions().preprocess(notebook, {})
    lock, clear = LockCells(), ClearNamedSolutions()
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            lock.preprocess_cell(cell, {}, number)
            clear.preprocess_cell(cell, {"language": "python"}, number)
            cell.metadata.nbgrader.cell_type = cell.cell_type
            cell.metadata.nbgrader.checksum = compute_checksum(cell)
    notebook, _ = PlainMetadata().preprocess(notebook, {})
    return [dict(cell) for cell in notebook.cells]


def stub_source(exercise: Exercise) -> str:
    """Return the code that stands in an exercise's cell before the learner has written anything."""
    return stub_cells(exercise)[1]["source"]
