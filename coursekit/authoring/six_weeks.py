"""The table of `docs/six_weeks.md`: which chapters a class works on in which week, and how long each part takes."""

from __future__ import annotations

from collections.abc import Sequence

from coursekit.authoring.tables import duration, with_table
from coursekit.catalogue import CHAPTERS, Chapter, chapter

# The chapters of each week, by number. A chapter that no week names is for a longer course.
WEEKS = (("00", "01"), ("02",), ("03",), ("04",), ("05",), ("06",))
NEEDED = 4
"""Exercises below this importance can be left out; what comes later uses the library's own solutions anyway."""


def with_week_table(text: str) -> str:
    """Return the page with its table made anew, between the two marks."""
    rows = [
        "| Week | Hand out | Read and run | Exercises | Points | In all | If time is short, leave out | Then |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows += [
        _row(str(number), [chapter(name) for name in names]) for number, names in enumerate(WEEKS, start=1)
    ]
    named = {name for names in WEEKS for name in names}
    rows += [_row("further", [item]) for item in CHAPTERS if item.number not in named]
    return with_table(text, "weeks", rows)


def _row(week: str, chapters: Sequence[Chapter]) -> str:
    exercises = [exercise for item in chapters for exercise in item.exercises]
    reading = sum(item.reading_minutes for item in chapters)
    working = sum(exercise.minutes for exercise in exercises)
    optional = [exercise for exercise in exercises if exercise.importance < NEEDED]
    rest = reading + working - sum(exercise.minutes for exercise in optional)
    cells = (
        week,
        ", ".join(f"chapter {int(item.number)}" for item in chapters),
        duration(reading),
        f"{len(exercises)}, {duration(working)}",
        str(sum(exercise.points for exercise in exercises)),
        duration(reading + working),
        ", ".join(exercise.id for exercise in optional) or "nothing",
        duration(rest),
    )
    return f"| {' | '.join(cells)} |"
