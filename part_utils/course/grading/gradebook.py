"""Scores in nbgrader's database, through its own API, so that formgrader and the exporters show them."""

from __future__ import annotations

import html
import json
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from part_utils.course.grading.grade import Graded
from part_utils.course.notebooks import check_grade_id, solution_grade_id
from part_utils.exercises.catalogue import Chapter
from part_utils.exercises.results import CheckResult
from part_utils.files import write_atomically

COURSE_ID = "superposition"


class Gradebook:
    """The course's gradebook, `gradebook.db` in the course's folder. A chapter is an assignment with one notebook."""

    def __init__(self, course: Path) -> None:
        from nbgrader.api import Gradebook as NbgraderGradebook

        course.mkdir(parents=True, exist_ok=True)
        with alembic_on_path():
            self._book = NbgraderGradebook(f"sqlite:///{(course / 'gradebook.db').resolve()}", COURSE_ID)

    def __enter__(self) -> Gradebook:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._book.close()

    def add_chapter(self, chapter: Chapter) -> None:
        """Make the assignment with a cell for each exercise, or add what it lacks."""
        book, slug = self._book, chapter.slug
        book.update_or_create_assignment(slug)
        book.update_or_create_notebook(slug, slug)
        for exercise in chapter.exercises:
            book.update_or_create_grade_cell(
                check_grade_id(exercise.id), slug, slug, max_score=exercise.points, cell_type="code"
            )
            book.update_or_create_solution_cell(solution_grade_id(exercise.id), slug, slug)

    def save(self, graded: Graded, timestamp: str | None = None) -> None:
        """Write one submission's scores in one commit. Manual scores and comments stay as they are."""
        book, slug = self._book, graded.chapter
        book.update_or_create_student(graded.student)
        facts = {"timestamp": timestamp} if timestamp else {}
        with warnings.catch_warnings():
            # nbgrader builds a submission before it adds it to the session, which SQLAlchemy 2 remarks upon.
            warnings.simplefilter("ignore")
            submission = book.update_or_create_submission(slug, graded.student, **facts)
        notebook = next(n for n in submission.notebooks if n.name == slug)
        grades = {grade.name: grade for grade in notebook.grades}
        comments = {comment.name: comment for comment in notebook.comments}
        for result in graded.results:
            grade = grades.get(check_grade_id(result.id)) or self._missing_grade(notebook, result, slug)
            changed = grade.auto_score is not None and grade.auto_score != result.points
            grade.auto_score = float(result.points)
            # A score that a person has given is worth a second look when the check now says something else.
            grade.needs_manual_grade = grade.manual_score is not None and changed
            comment = comments.get(solution_grade_id(result.id))
            if comment is not None:
                comment.auto_comment = _comment(result)
        book.db.commit()

    def has(self, chapter: Chapter, student: str) -> bool:
        from nbgrader.api import MissingEntry

        try:
            submission = self._book.find_submission(chapter.slug, student)
        except MissingEntry:
            return False
        return any(
            grade.auto_score is not None for notebook in submission.notebooks for grade in notebook.grades
        )

    def students(self) -> list[str]:
        return sorted(student.id for student in self._book.students)

    def scores(self, chapter: Chapter) -> dict[str, tuple[float, dict[str, float]]]:
        """For each learner the chapter's score and that of each exercise, with what people have changed."""
        from nbgrader.api import MissingEntry

        found = {}
        try:
            submissions = self._book.assignment_submissions(chapter.slug)
        except MissingEntry:
            return {}
        names = {check_grade_id(exercise.id): exercise.id for exercise in chapter.exercises}
        for submission in submissions:
            by_exercise = {
                names[grade.name]: float(grade.score or 0)
                for notebook in submission.notebooks
                for grade in notebook.grades
                if grade.name in names
            }
            found[submission.student.id] = (float(submission.score), by_exercise)
        return found

    def _missing_grade(self, notebook: Any, result: CheckResult, slug: str) -> Any:
        """The row of an exercise that the course got after the submission was graded first."""
        from nbgrader.api import Grade

        cell = self._book.find_grade_cell(check_grade_id(result.id), slug, slug)
        grade = Grade(cell_id=cell.id, notebook=notebook)
        self._book.db.add(grade)
        return grade


def write_autograded(course: Path, graded: Graded, notebook: bytes) -> None:
    """The submission as formgrader shows it: the learner's cells without their outputs, the checks' results below.

    Whatever the learner's cells would show in the instructor's browser (HTML, scripts) is left out or made text.
    """
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

    by_grade_id = {check_grade_id(result.id): result for result in graded.results}
    cells = []
    for source, kind, grade_id in _cells_of(notebook):
        if kind == "code":
            cells.append(new_code_cell(source))
        else:
            cells.append(new_markdown_cell(html.escape(source, quote=False)))
        # The check's own cells follow below, one for each exercise and never two.
        if grade_id and grade_id not in by_grade_id:
            cells[-1].metadata["nbgrader"] = _metadata(grade_id, 0, solution=True)
    seen = {cell.metadata["nbgrader"]["grade_id"] for cell in cells if "nbgrader" in cell.metadata}
    for result in graded.results:
        if solution_grade_id(result.id) not in seen:
            cells.append(
                new_code_cell(
                    "", metadata={"nbgrader": _metadata(solution_grade_id(result.id), 0, solution=True)}
                )
            )
        data = {"text/plain": str(float(result.points)), "text/html": result.html()}
        cells.append(
            new_code_cell(
                f'check("{result.id}")',
                outputs=[new_output("execute_result", data, execution_count=1)],
                execution_count=1,
                metadata={
                    "nbgrader": _metadata(check_grade_id(result.id), result.max_points, solution=False)
                },
            )
        )
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    book = new_notebook(
        cells=cells,
        metadata={
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
    )
    folder = course / "autograded" / graded.student / graded.chapter
    write_atomically(folder / f"{graded.chapter}.ipynb", nbformat.writes(book).encode(errors="replace"))
    timestamp = course / "submitted" / graded.student / graded.chapter / "timestamp.txt"
    if timestamp.is_file() and not timestamp.is_symlink():
        shutil.copy(timestamp, folder / "timestamp.txt")


def _cells_of(notebook: bytes) -> Iterator[tuple[str, str, str]]:
    """Source, type and nbgrader's name of each cell, as plain text; nothing where it is not a notebook."""
    try:
        facts = json.loads(notebook)
        sheets = facts.get("worksheets") or [facts]
        for sheet in sheets:
            for cell in sheet["cells"]:
                source = cell.get("source", cell.get("input", ""))
                source = "".join(source) if isinstance(source, list) else source
                name = cell.get("metadata", {}).get("nbgrader", {}).get("grade_id", "")
                if isinstance(source, str):
                    known = isinstance(name, str) and name.startswith(("exercise_", "check_"))
                    # Half of a surrogate pair is legal JSON and no text.
                    source = source[:100_000].encode(errors="replace").decode()
                    yield source, str(cell.get("cell_type")), name if known else ""
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return


def _metadata(grade_id: str, points: float, solution: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "grade": not solution, "grade_id": grade_id, "locked": not solution, "schema_version": 3,
        "solution": solution, "task": False,
    }  # fmt: skip
    return facts if solution else facts | {"points": points}


def _comment(result: CheckResult) -> str | None:
    if result.status == "not_attempted":
        return "No response."
    return None if result.passed else "\n".join((result.message, *result.details))


@contextmanager
def alembic_on_path() -> Iterator[None]:
    """nbgrader starts `alembic` by name when it makes its database."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before
