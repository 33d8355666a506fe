"""An exercise's cells as the course ships them to learners, made from the catalogue.

In a checkout `chapters/` is what the learner edits, and a pip install has none: so they are made anew, with the
same nbgrader steps that the build uses.
"""

from __future__ import annotations

from typing import Any

import nbformat

from coursekit.catalogue import Exercise
from coursekit.notebooks.cells import exercise_cells


def stub_cells(exercise: Exercise) -> list[dict[str, Any]]:
    """Statement, stub, check and hints of an exercise, as in an untouched notebook."""
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
    """The code that stands in an exercise's cell before the learner has written anything."""
    return stub_cells(exercise)[1]["source"]
