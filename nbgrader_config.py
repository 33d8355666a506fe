"""nbgrader's settings: `solutions/` holds what instructors write, `chapters/` what learners get."""

from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearHiddenTests,
    ClearMarkScheme,
    ClearOutput,
    ComputeChecksums,
    IncludeHeaderFooter,
    LockCells,
    SaveCells,
)

from coursekit.notebooks.preprocessors import ClearNamedSolutions, FoldSolutions, PlainMetadata

c = get_config()  # type: ignore[name-defined]

c.CourseDirectory.course_id = "superposition"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "chapters"
# The text source stays with the instructor.
c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__", "*.md"]
c.GenerateAssignment.preprocessors = [
    IncludeHeaderFooter,
    LockCells,
    FoldSolutions,
    ClearNamedSolutions,
    ClearOutput,
    CheckCellMetadata,
    ComputeChecksums,
    SaveCells,
    ClearHiddenTests,
    ClearMarkScheme,
    PlainMetadata,
    ComputeChecksums,
    CheckCellMetadata,
]
# A check cell deleted by a learner comes back at autograding, and so never keeps an old score.
c.OverwriteCells.add_missing_cells = True
# Cells are found again by name; a cell that was retyped is graded all the same.
c.ExecutePreprocessor.timeout = 300
