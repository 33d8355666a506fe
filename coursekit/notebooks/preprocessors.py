"""What the course adds to nbgrader's release step: a stub that names its exercise, and the folded solution."""

from __future__ import annotations

from typing import Any

import nbformat
from nbgrader.preprocessors import ClearSolutions, NbGraderPreprocessor
from nbgrader.utils import is_solution

from coursekit.notebooks.cells import METADATA, fold
from coursekit.notebooks.names import exercise_of, name_of
from coursekit.notebooks.reading import digest_of
from coursekit.notebooks.source import without_markers


class ClearNamedSolutions(ClearSolutions):
    """nbgrader's ClearSolutions, whose stub says which exercise it stands for."""

    def preprocess_cell(self, cell: Any, resources: Any, cell_index: int) -> tuple[Any, Any]:
        number = exercise_of(cell.metadata.get("nbgrader", {}).get("grade_id", ""), "exercise")
        if number:
            self.code_stub = {
                "python": f'raise NotImplementedError("Exercise {number} is still to be solved.")'
            }
        return super().preprocess_cell(cell, resources, cell_index)


class FoldSolutions(NbGraderPreprocessor):
    """Adds each solution, folded, below its exercise's hints. Runs before the solutions are cleared."""

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        solutions = {}
        for cell in nb.cells:
            if cell.cell_type != "code" or not is_solution(cell):
                continue
            if number := exercise_of(cell.metadata.nbgrader.grade_id, "exercise"):
                solutions[name_of("hints", number)] = cell.source
        for cell in nb.cells:
            if cell.get("id") in solutions:
                code = "\n".join(["```python", without_markers(solutions[cell.id]), "```"])
                cell.source = "\n\n".join([cell.source, fold("Solution", code)])
        return nb, resources


class PlainMetadata(NbGraderPreprocessor):
    """Leaves in the notebook's metadata only what a learner's notebook needs, so that a build is repeatable.

    Each cell gets its name and a digest of its text, by which a later release finds it again and sees whether the
    learner has changed it. Not every editor keeps the cells' own ids.
    """

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        nb.metadata = nbformat.from_dict(METADATA)
        for cell in nb.cells:
            cell.metadata["course"] = {"cell": cell.id, "digest": digest_of(cell.source)}
        return nb, resources
