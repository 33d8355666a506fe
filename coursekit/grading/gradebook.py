"""Scores in nbgrader's database, through its own API, so that formgrader and the exporters show them."""

from __future__ import annotations

import functools
import html
import itertools
import json
import os
import re
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from coursekit.catalogue import CHAPTERS, Chapter, get_exercise
from coursekit.checking.results import CheckResult
from coursekit.grading.grade import Graded
from coursekit.notebooks.names import cell_name, check_grade_id, name_of, solution_grade_id
from coursekit.notebooks.reading import digest_of
from part_utils.files import write_atomically

COURSE_ID = "superposition"
MOST_CELLS = 1000


@dataclass(frozen=True)
class Marks:
    """What the gradebook holds of one learner's submission, with what people have changed.

    Attributes:
        score: the sum.
        by_exercise: the score of each exercise, by exercise id.
        comments: what people wrote about an exercise, by exercise id.
        first_name, last_name, email, lms_id: from the class list; empty where that does not say.
    """

    student: str
    score: float
    by_exercise: dict[str, float]
    comments: dict[str, str]
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    lms_id: str = ""


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
        """Write one submission's scores in one commit. Manual scores and comments stay as they are.

        The time is that of `submitted/`: where the two differ, formgrader takes the submission for ungraded.
        """
        book, slug = self._book, graded.chapter
        book.update_or_create_student(graded.student)
        with warnings.catch_warnings():
            # nbgrader builds a submission before it adds it to the session, which SQLAlchemy 2 remarks upon.
            warnings.simplefilter("ignore")
            submission = book.update_or_create_submission(slug, graded.student, timestamp=timestamp)
        notebook = next(n for n in submission.notebooks if n.name == slug)
        grades = {grade.name: grade for grade in notebook.grades}
        comments = {comment.name: comment for comment in notebook.comments}
        for result in graded.results:
            grade = grades.get(check_grade_id(result.id)) or self._missing_grade(notebook, result, slug)
            changed = grade.auto_score is not None and grade.auto_score != result.points
            grade.auto_score = float(result.points)
            # A score that a person has given is worth a second look when the check now says something else, and
            # formgrader takes the mark away when the person has looked.
            grade.needs_manual_grade = grade.manual_score is not None and (
                changed or grade.needs_manual_grade
            )
            comment = comments.get(solution_grade_id(result.id))
            if comment is not None:
                comment.auto_comment = _comment(result)
        book.db.commit()

    def students(self) -> list[str]:
        """Return everybody's name: those of the class list, and those who have handed in anything."""
        return sorted(student.id for student in self._book.students)

    def has(self, chapter: Chapter, student: str) -> bool:
        """Tell whether the learner has handed in the chapter."""
        from nbgrader.api import MissingEntry

        try:
            self._book.find_submission(chapter.slug, student)
        except MissingEntry:
            return False
        return True

    def marks(self, chapter: Chapter) -> Iterator[Marks]:
        """Yield everybody's marks in a chapter, sorted by learner. Only one learner's are in memory at a time."""
        from nbgrader.api import Assignment, Student, SubmittedAssignment

        query = self._book.db.query(Student.id).join(SubmittedAssignment).join(Assignment)
        for (student,) in query.filter(Assignment.name == chapter.slug).order_by(Student.id).all():
            yield self.marks_of(chapter, student)

    def marks_of(self, chapter: Chapter, student: str) -> Marks:
        """Return one learner's marks in a chapter that is graded. Raises MissingEntry (nbgrader's) where it is not."""
        submission = self._book.find_submission(chapter.slug, student)
        by_check = {check_grade_id(exercise.id): exercise.id for exercise in chapter.exercises}
        by_cell = {solution_grade_id(exercise.id): exercise.id for exercise in chapter.exercises}
        scores, comments = {}, {}
        for notebook in submission.notebooks:
            for grade in notebook.grades:
                if grade.name in by_check:
                    scores[by_check[grade.name]] = float(grade.score or 0)
            for comment in notebook.comments:
                written = comment.manual_comment
                if comment.name in by_cell and written and written != comment.auto_comment:
                    comments[by_cell[comment.name]] = written
        person = submission.student
        return Marks(
            student=student,
            score=float(submission.score),
            by_exercise=scores,
            comments=comments,
            first_name=person.first_name or "",
            last_name=person.last_name or "",
            email=person.email or "",
            lms_id=person.lms_user_id or "",
        )

    def _missing_grade(self, notebook: Any, result: CheckResult, slug: str) -> Any:
        """The row of an exercise that the course got after the submission was graded first."""
        from nbgrader.api import Grade

        cell = self._book.find_grade_cell(check_grade_id(result.id), slug, slug)
        grade = Grade(cell_id=cell.id, notebook=notebook)
        self._book.db.add(grade)
        return grade


def autograded_path(course: Path, student: str, slug: str) -> Path:
    """Return the notebook that formgrader shows of a submission."""
    return course / "autograded" / student / slug / f"{slug}.ipynb"


def write_autograded(course: Path, graded: Graded, notebook: bytes) -> None:
    """Write the submission as formgrader shows it: the learner's cells, and below each exercise what its check found.

    Whatever the learner's cells would do in the instructor's browser is left out or made text: outputs, HTML, pictures
    from elsewhere. The course's own text, which the learner has not changed, looks as it does in the chapter.
    """
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    handed_in = list(itertools.islice(_cells_of(notebook), MOST_CELLS + 1))
    is_cut = len(handed_in) > MOST_CELLS
    del handed_in[MOST_CELLS:]
    answers = _answers(handed_in, graded)
    own_text = _text_of_the_course(graded.chapter)
    cells = []
    for number, (source, kind, _) in enumerate(handed_in):
        result = answers.pop(number, None)
        if result is not None:
            cells += _graded_cells(source, result)
        elif kind == "code":
            # The check's own cells stand below the answers, one for each exercise and never two.
            if not any(source.strip() == f'check("{result.id}")' for result in graded.results):
                cells.append(new_code_cell(source))
        elif digest_of(source) in own_text:
            cells.append(new_markdown_cell(_PICTURE.sub(r"*Picture: \1*", source)))
        else:
            cells.append(new_markdown_cell(f"{_PLAIN}{html.escape(source, quote=False)}</pre>"))
    if is_cut:
        cells.append(
            new_markdown_cell(f"*The notebook has more cells. Only the first {MOST_CELLS} are shown.*")
        )
    shown = {cell.metadata["nbgrader"]["grade_id"] for cell in cells if "nbgrader" in cell.metadata}
    for result in graded.results:
        if check_grade_id(result.id) not in shown:
            cells += _graded_cells("", result)
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    book = new_notebook(
        cells=cells,
        metadata={
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
    )
    path = autograded_path(course, graded.student, graded.chapter)
    write_atomically(path, nbformat.writes(book).encode(errors="replace"))
    timestamp = course / "submitted" / graded.student / graded.chapter / "timestamp.txt"
    if timestamp.is_file() and not timestamp.is_symlink():
        shutil.copy(timestamp, path.parent / "timestamp.txt")


_PLAIN = '<pre style="white-space: pre-wrap">'
_PICTURE = re.compile(r"!\[([^\]]*)\]\(\.\./[^)\s]*\)")


def _answers(cells: list[tuple[str, str, str]], graded: Graded) -> dict[int, CheckResult]:
    """In which cell each exercise's answer stands: the last one that defines it, or else the one of that name."""
    found: dict[int, CheckResult] = {}
    for result in graded.results:
        defines = re.compile(rf"^(?:def|class)\s+{get_exercise(result.id).cell_name}\b", re.MULTILINE)
        cell_of_exercise = name_of("exercise", result.id)
        code = [(number, *cell) for number, cell in enumerate(cells) if cell[1] == "code"]
        named = [number for number, _, _, name in code if name == cell_of_exercise]
        written = [number for number, source, _, _ in code if defines.search(source)]
        solved = [number for number in written if "raise NotImplementedError" not in cells[number][0]]
        place = (solved[-1:] or named[:1] or written[-1:] or [-1])[0]
        if place >= 0 and place not in found:
            found[place] = result
    return found


def _graded_cells(source: str, result: CheckResult) -> list[Any]:
    """The answer, on which an instructor can comment, and the check, where the score is and can be changed."""
    from nbformat.v4 import new_code_cell, new_output

    data = {"text/plain": str(float(result.points)), "text/html": result.html()}
    return [
        new_code_cell(
            source, metadata={"nbgrader": _metadata(solution_grade_id(result.id), 0, solution=True)}
        ),
        new_code_cell(
            f'check("{result.id}")',
            outputs=[new_output("execute_result", data, execution_count=1)],
            execution_count=1,
            metadata={"nbgrader": _metadata(check_grade_id(result.id), result.max_points, solution=False)},
        ),
    ]


@functools.cache
def _text_of_the_course(slug: str) -> frozenset[str]:
    """Digests of the chapter's own text cells; none where the chapter's notebook is not at hand."""
    from coursekit.folders import learner_path

    try:
        (this,) = (chapter for chapter in CHAPTERS if chapter.slug == slug)
        cells = _cells_of(learner_path(this).read_bytes())
    except (OSError, ValueError):
        return frozenset()
    return frozenset(digest_of(source) for source, kind, _ in cells if kind == "markdown")


def _cells_of(notebook: bytes) -> Iterator[tuple[str, str, str]]:
    """Source, type and the course's name of each cell, as plain text; nothing where it is not a notebook."""
    try:
        facts = json.loads(notebook)
        sheets = facts.get("worksheets") or [facts]
        cells = [cell for sheet in sheets for cell in sheet["cells"] if isinstance(cell, dict)]
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return
    for cell in cells:
        source = cell.get("source", cell.get("input", ""))
        if isinstance(source, list):
            source = "".join(line for line in source if isinstance(line, str))
        if isinstance(source, str):
            # Half of a surrogate pair is legal JSON and no text.
            source = source[:100_000].encode(errors="replace").decode()
            yield source, str(cell.get("cell_type")), cell_name(cell)


def _metadata(grade_id: str, points: float, solution: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "grade": not solution, "grade_id": grade_id, "locked": not solution, "schema_version": 3,
        "solution": solution, "task": False,
    }  # fmt: skip
    return facts if solution else facts | {"points": points}


def _comment(result: CheckResult) -> str | None:
    if result.status == "not_attempted":
        return "No response."
    return None if result.passed else as_plain_markdown("\n".join((result.message, *result.details)))


def as_plain_markdown(text: str) -> str:
    """Return a stranger's text for nbgrader's pages, which take comments for Markdown: a block without markup."""
    longest = max((len(run) for run in re.findall("~+", text)), default=0)
    fence = "~" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


@contextmanager
def alembic_on_path() -> Iterator[None]:
    """nbgrader starts `alembic` by name when it makes its database."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before
