"""The exercises of the course and their checks. In a notebook: `from part_utils.exercises import check`."""

from part_utils.exercises.catalogue import (
    CHAPTERS,
    Chapter,
    Exercise,
    UnknownExercise,
    all_exercises,
    chapter,
    get_exercise,
)
from part_utils.exercises.progress import chapter_card
from part_utils.exercises.results import CheckResult
from part_utils.exercises.running import check, reference_learner, run_check

__all__ = [
    "CHAPTERS",
    "Chapter",
    "CheckResult",
    "Exercise",
    "UnknownExercise",
    "all_exercises",
    "chapter",
    "chapter_card",
    "check",
    "get_exercise",
    "reference_learner",
    "run_check",
]
