"""The exercises of the course and their checks. In a notebook: `from coursekit import check`."""

from coursekit.catalogue import (
    CHAPTERS,
    Chapter,
    Exercise,
    UnknownExercise,
    all_exercises,
    chapter,
    get_exercise,
)
from coursekit.checking.results import CheckResult
from coursekit.checking.running import reference_learner, run_check
from coursekit.in_notebook import check
from coursekit.progress.card import chapter_card

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
