"""What grading leaves for people: a page for each learner, tables for the instructor."""

from __future__ import annotations

import csv
import html
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from coursekit.catalogue import Chapter
from coursekit.checking.results import CheckResult
from coursekit.grading.grade import Graded
from coursekit.grading.gradebook import Marks
from part_utils import palette
from part_utils.files import write_atomically

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.6rem; line-height: 1.25; }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; }}
div div {{ display: flow-root; }}
.by-hand {{ font-size: 14px; margin: .2em 0; padding: .4em .9em; border-left: 4px solid {blue}; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{student}: <b>{points:g} of {max_points:g} points</b></p>
{body}
</body>
</html>
"""


def feedback(graded: Graded, chapter: Chapter, marks: Marks | None = None) -> str:
    """Return a learner's page: what passed, what failed and why, and what people have added to it.

    It holds nothing of anybody else, and no script.
    """
    body = [f"<p><b>{html.escape(graded.problem)}</b></p>"] if graded.problem else []
    for result in graded.results:
        by_hand = _by_hand(result, marks) if marks else ""
        if by_hand or not graded.problem:
            body += [result.html(), by_hand]
    full_name = f"{marks.first_name} {marks.last_name}".strip() if marks else ""
    return _PAGE.format(
        blue=palette.BLUE,
        title=html.escape(f"Chapter {int(chapter.number)} · {chapter.title}"),
        student=html.escape(f"{full_name} ({graded.student})" if full_name else graded.student),
        points=marks.score if marks else graded.points,
        max_points=graded.max_points,
        body="\n".join(part for part in body if part),
    )


def _by_hand(result: CheckResult, marks: Marks) -> str:
    """The score and the comment that an instructor has given; empty if the check's own verdict stands alone."""
    parts = []
    score = marks.by_exercise.get(result.id, result.points)
    if score != result.points:
        parts.append(f"<b>Your instructor gave {score:g} of {result.max_points:g} points.</b>")
    if comment := marks.comments.get(result.id, ""):
        parts.append(html.escape(comment).replace("\n", "<br>"))
    return f'<div class="by-hand">{"<br>".join(parts)}</div>' if parts else ""


@dataclass(frozen=True)
class Statistics:
    """How a class did in one exercise. `mistake` is the message that most learners got who did not pass."""

    exercise_id: str
    title: str
    attempted: int
    solved: int
    learners: int
    mistake: str
    mistake_count: int


def statistics(graded: Iterable[Graded], chapter: Chapter) -> list[Statistics]:
    """Return one row for each exercise. Reads the results one after the other."""
    solved: Counter[str] = Counter()
    attempted: Counter[str] = Counter()
    mistakes: dict[str, Counter[str]] = {exercise.id: Counter() for exercise in chapter.exercises}
    learners = 0
    for one in graded:
        learners += 1
        for result in one.results:
            attempted[result.id] += result.status != "not_attempted" and not one.problem
            solved[result.id] += result.passed
            if result.status in ("failed", "error") and not one.problem:
                kind = _kind_of(result.message)
                if kind in mistakes[result.id] or len(mistakes[result.id]) < 1000:
                    mistakes[result.id][kind] += 1
    rows = []
    for exercise in chapter.exercises:
        mistake, count = (mistakes[exercise.id].most_common(1) or [("", 0)])[0]
        rows.append(
            Statistics(
                exercise.id,
                exercise.title,
                attempted[exercise.id],
                solved[exercise.id],
                learners,
                mistake,
                count,
            )
        )
    return rows


def _kind_of(message: str) -> str:
    """The message without what differs between learners who made the same mistake."""
    first = message.split("\n")[0]
    # Numbers that stand alone, and not the one in a name such as `l1_loss`.
    return re.sub(r"(?<![\w.])\d+(\.\d+)?(?!\w)", "…", first)[:200]


def write_grades(path: Path, rows: Sequence[Sequence[object]]) -> None:
    """Write a CSV file in which no spreadsheet finds a formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow([_harmless(value) for value in row])
    write_atomically(path, text.getvalue())


def _harmless(value: object) -> object:
    """A text on one line that is no formula, neither at its beginning nor behind blanks."""
    if not isinstance(value, str):
        return value
    text = re.sub(r"[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]+", " ", value)
    return "'" + text if text.lstrip()[:1] in _FORMULA else text


# With their full-width forms, which some spreadsheets take for the same.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
