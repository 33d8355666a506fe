"""The round of an assignment: release, collect, grade, export, in one course folder laid out as nbgrader's.

COURSE/gradebook.db                              every score, through nbgrader's API
COURSE/nbgrader_config.py                        nbgrader's settings for this folder
COURSE/source/CHAPTER/                           tells formgrader that there is such an assignment
COURSE/release/CHAPTER/CHAPTER.ipynb             what learners get
COURSE/submitted/STUDENT/CHAPTER/CHAPTER.ipynb   what they handed in
COURSE/autograded/STUDENT/CHAPTER/…              what formgrader shows
COURSE/feedback/STUDENT/CHAPTER/CHAPTER.html     a page for each learner
COURSE/graded/CHAPTER/                           results/STUDENT.json, grades.csv, statistics.csv
"""

from __future__ import annotations

import contextlib
import datetime
import re
import secrets
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from coursekit.catalogue import Chapter
from coursekit.errors import CourseError
from coursekit.grading.batches import Task, grade_all
from coursekit.grading.grade import Graded, Settings, key_of
from coursekit.grading.gradebook import (
    COURSE_ID,
    Gradebook,
    Marks,
    autograded_path,
    write_autograded,
)
from coursekit.grading.job import Limits
from coursekit.grading.report import Statistics, feedback, statistics, write_grades
from coursekit.grading.submissions import Submission, find_submissions
from part_utils.files import write_atomically


@dataclass(frozen=True)
class ClassReport:
    """What a batch did: how many were graded now, how many had been before, and how the class did.

    `missing` names the learners of the class list who have handed in nothing. `problems` and `notes` say by learner why
    nothing could be graded, and what is worth knowing of what was.
    """

    graded_now: int
    kept: int
    statistics: list[Statistics]
    problems: dict[str, str]
    grades: Path
    missing: list[str]
    notes: dict[str, str]


def grade_class(
    place: Path,
    chapter: Chapter,
    course: Path,
    *,
    tier: str = "full",
    workers: int = 1,
    scheduler: str = "",
    course_seed: int | None = None,
    limits: Limits | None = None,
    again: bool = False,
    heard: Callable[[Graded], None] = lambda graded: None,
) -> ClassReport:
    """Grade every submission in a folder or zip. What is graded already and has not changed is kept.

    Raises CourseError where there is nothing to grade, or where the machine cannot jail at the tier.
    """
    if place.resolve() == course.resolve() and (place / "submitted").is_dir():
        # The course's folder holds what is made of the submissions, too.
        place = place / "submitted"
    with at_work(course):
        submissions = find_submissions(place, chapter)
        settings = Settings(chapter.number, _course_seed(course, course_seed), tier, limits or Limits())
        by_student = {submission.student: submission for submission in submissions}
        kept = 0
        now = 0
        prepare(chapter, course)
        with Gradebook(course) as book:
            book.add_chapter(chapter)

            def not_yet_graded() -> Iterator[Task]:
                """Read one submission after the other, when its turn comes. Of those graded, restore the rest."""
                nonlocal kept
                for submission in submissions:
                    notebook, problem = submission.read()
                    key = key_of(notebook, problem, submission.student, settings)
                    graded = None if again else _read(_result_path(course, chapter, submission.student))
                    if graded is None or graded.key != key:
                        yield submission.student, notebook, problem
                    else:
                        lay_out(graded, notebook, renew=False)
                        kept += 1

            def commit(graded: Graded, notebook: bytes) -> None:
                nonlocal now
                lay_out(graded, notebook, renew=True)
                # Last, for it says that all the rest is there.
                write_atomically(_result_path(course, chapter, graded.student), graded.to_json())
                now += 1
                heard(graded)

            def lay_out(graded: Graded, notebook: bytes, renew: bool) -> None:
                """What nbgrader and formgrader look for: the submission, its scores, and the notebook to comment on."""
                _keep_submitted(by_student[graded.student], notebook, chapter, course)
                book.save(graded, _timestamp(course, graded.student, chapter))
                if renew or not autograded_path(course, graded.student, chapter.slug).is_file():
                    write_autograded(course, graded, notebook)

            grade_all(not_yet_graded(), settings, commit, workers, scheduler)
            for graded in results_of(course, chapter):
                # A gradebook that was lost, of which this batch held a part only.
                if not book.has(chapter, graded.student):
                    book.save(graded, _timestamp(course, graded.student, chapter))
            grades = write_tables(course, chapter, book)
            write_pages(course, chapter, book)
            handed_in = {graded.student for graded in results_of(course, chapter)}
            missing = [student for student in book.students() if student not in handed_in]
        rows = statistics(results_of(course, chapter), chapter)
        problems = {
            g.student: g.problem for g in results_of(course, chapter) if g.problem and g.student in by_student
        }
        notes = {submission.student: submission.note for submission in submissions if submission.note}
        return ClassReport(now, kept, rows, problems, grades, missing, notes)


@contextlib.contextmanager
def at_work(course: Path) -> Iterator[None]:
    """Work in a course's folder, alone. Raises CourseError where another command does, and where the disk refuses.

    The lock goes with the process that holds it, however that ends.
    """
    from sqlalchemy.exc import SQLAlchemyError

    afterwards = "Nothing that was graded is lost; start the same command again when that is put right."
    try:
        course.mkdir(parents=True, exist_ok=True)
        with open(course / ".at-work", "a", encoding="utf-8") as file:
            _lock(file, course)
            yield
    except (SQLAlchemyError, subprocess.CalledProcessError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0][:200]
        raise CourseError(
            f"{course / 'gradebook.db'} cannot be used: {reason}. If it is damaged, move it away: the course makes a "
            f"new one from its results, and only scores and comments given by hand are missing there. {afterwards}"
        ) from None
    except OSError as error:
        raise CourseError(f"{error.filename or course}: {error.strerror or error}. {afterwards}") from None


def _lock(file: IO[str], course: Path) -> None:
    try:
        import fcntl
    except ImportError:
        # Windows, where nothing is graded.
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CourseError(
            f"Another command is at work in {course}. Wait until it has ended, then start this one again."
        ) from None


def results_of(course: Path, chapter: Chapter) -> Iterator[Graded]:
    """Yield every committed result of a chapter, one at a time."""
    for path in sorted((course / "graded" / chapter.slug / "results").glob("*.json")):
        graded = _read(path)
        if graded is not None:
            yield graded


def write_tables(course: Path, chapter: Chapter, book: Gradebook) -> Path:
    """grades.csv, with the scores that people have changed, and statistics.csv."""
    folder = course / "graded" / chapter.slug
    ids = [exercise.id for exercise in chapter.exercises]
    rows: list[list[object]] = [["student", "score", "max_score", *ids, "tier", "problem"]]
    for graded in results_of(course, chapter):
        marks = book.marks_of(chapter, graded.student)
        each = [f"{marks.by_exercise.get(i, 0):g}" for i in ids]
        rows.append(
            [graded.student, f"{marks.score:g}", f"{graded.max_points:g}", *each, graded.tier, graded.problem]
        )
    write_grades(folder / "grades.csv", rows)
    table: list[list[object]] = [["exercise", "title", "learners", "attempted", "solved", "mistake", "count"]]
    for row in statistics(results_of(course, chapter), chapter):
        facts = [
            row.exercise_id,
            row.title,
            row.learners,
            row.attempted,
            row.solved,
            row.mistake,
            row.mistake_count,
        ]
        table.append([*facts])
    write_grades(folder / "statistics.csv", table)
    return folder / "grades.csv"


def write_pages(course: Path, chapter: Chapter, book: Gradebook) -> None:
    """Write each learner's page, with the scores and comments that people have given. What has not changed is left."""
    for graded in results_of(course, chapter):
        path = course / "feedback" / graded.student / chapter.slug / f"{chapter.slug}.html"
        page = feedback(graded, chapter, book.marks_of(chapter, graded.student)).encode()
        if not path.is_file() or path.read_bytes() != page:
            write_atomically(path, page)


def prepare(chapter: Chapter, course: Path) -> None:
    """Give the course's folder what formgrader needs to list the chapter. What is there already stays as it is."""
    for path, text in (
        (course / "nbgrader_config.py", _CONFIG.format(course_id=COURSE_ID)),
        (course / "source" / chapter.slug / "README.md", _SOURCE.format(number=chapter.number)),
    ):
        if not path.exists():
            write_atomically(path, text)


_CONFIG = """\
\"\"\"nbgrader's settings for this class. The course made this file and does not change it again.\"\"\"

c = get_config()
c.CourseDirectory.course_id = "{course_id}"
# nbgrader's autograde runs learners' code in your own account: `course grade` does it in a jail. So formgrader's
# button for it says so, and changes nothing.
c.Autograde.exporter_class = "coursekit.grading.refusals.NoUnjailedGrading"
"""

_SOURCE = """\
Formgrader lists the assignments that have a folder here. The chapter itself comes with the course:
`course release {number}` puts what learners get into `release/`.
"""


def release(chapter: Chapter, course: Path) -> Path:
    """Put a chapter's notebook into the course's release folder, and the assignment into the gradebook.

    Raises CourseError where the course is not a checkout and so has no notebook to hand out.
    """
    from coursekit.folders import learner_path

    source = learner_path(chapter)
    if not source.is_file():
        raise CourseError(
            f"There is no {source}. Run `course build {chapter.number}` in a checkout of the course."
        )
    target = course / "release" / chapter.slug / f"{chapter.slug}.ipynb"
    with at_work(course):
        prepare(chapter, course)
        write_atomically(target, source.read_bytes())
        with Gradebook(course) as book:
            book.add_chapter(chapter)
    return target


def collect(place: Path, chapter: Chapter, course: Path) -> tuple[int, dict[str, str]]:
    """Copy a download's notebooks to `submitted/STUDENT/CHAPTER/`, with the time. Returns how many, and problems."""
    copied, problems = 0, {}
    with at_work(course):
        for submission in find_submissions(place, chapter):
            notebook, problem = submission.read()
            if problem:
                problems[submission.student] = problem
            else:
                _keep_submitted(submission, notebook, chapter, course)
                copied += 1
    return copied, problems


def _keep_submitted(submission: Submission, notebook: bytes, chapter: Chapter, course: Path) -> None:
    """Put a notebook where nbgrader expects it, if it lies elsewhere. One that could not be read (b"") stays away."""
    folder = course / "submitted" / submission.student / chapter.slug
    lies_there = not submission.archive and Path(submission.path).resolve().is_relative_to(folder.resolve())
    target = folder / f"{chapter.slug}.ipynb"
    if not notebook or lies_there or (target.is_file() and target.read_bytes() == notebook):
        return
    write_atomically(target, notebook)
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S.%f UTC")
    write_atomically(folder / "timestamp.txt", now)


@dataclass(frozen=True)
class Exported:
    """How many learners are in the table, and those of whom the platform's own id is not known."""

    learners: int
    without_id: list[str]


def export(chapter: Chapter, course: Path, form: str, target: Path, column: str = "") -> Exported:
    """Write the chapter's scores as a table that a learning platform imports.

    canvas: a learner is found by Canvas' own number, or else by SIS id, or else by login. `column` is the assignment's
    name, best with its number, as Canvas' own export has it.
    moodle: the columns that Moodle asks for in a grading worksheet, and the email address for its gradebook. `column`
    is not used.

    Raises CourseError for an unknown format, and where nothing is graded.
    """
    if form not in FORMATS:
        raise CourseError(f"There is no format {form!r}. The formats are canvas, moodle and csv.")
    most = f"{sum(exercise.points for exercise in chapter.exercises):g}"
    header, row_of = FORMATS[form]
    rows: list[list[object]] = list(header(chapter, column, most))
    start, without_id = len(rows), []
    with at_work(course), Gradebook(course) as book:
        for marks in book.marks(chapter):
            rows.append(row_of(chapter, marks, most))
            if not (_lms_id(marks) or (form == "moodle" and marks.email)):
                without_id.append(marks.student)
    if len(rows) == start:
        raise CourseError(
            f"Nothing of chapter {chapter.number} is graded in {course}. Run `course grade` first."
        )
    write_grades(target, rows)
    return Exported(len(rows) - start, [] if form == "csv" else without_id)


def _canvas_header(chapter: Chapter, column: str, most: str) -> list[list[object]]:
    title = column or f"Chapter {int(chapter.number)} {chapter.title}"
    return [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", title],
        ["    Points Possible", "", "", "", "", most],
    ]


def _canvas_row(chapter: Chapter, marks: Marks, most: str) -> list[object]:
    number = _lms_id(marks)
    # Canvas' own numbers are digits; whatever else an instructor knows somebody by is the university's.
    own, sis = (number, "") if number.isdigit() else ("", number)
    login = "" if number else marks.student
    return [_full_name(marks, last_first=True), own, sis, login, "", f"{marks.score:g}"]


def _moodle_header(chapter: Chapter, column: str, most: str) -> list[list[object]]:
    columns = ["Identifier", "Full name", "Email address", "Grade", "Maximum Grade", "Last modified (grade)"]
    return [[*columns]]


def _moodle_row(chapter: Chapter, marks: Marks, most: str) -> list[object]:
    number = _lms_id(marks)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    identifier = f"Participant {number}" if number.isdigit() else ""
    return [identifier, _full_name(marks), marks.email, f"{marks.score:g}", most, now]


def _csv_header(chapter: Chapter, column: str, most: str) -> list[list[object]]:
    return [["student", "score", "max_score", *(exercise.id for exercise in chapter.exercises)]]


def _csv_row(chapter: Chapter, marks: Marks, most: str) -> list[object]:
    each = [f"{marks.by_exercise.get(exercise.id, 0):g}" for exercise in chapter.exercises]
    return [marks.student, f"{marks.score:g}", most, *each]


FORMATS = {
    "canvas": (_canvas_header, _canvas_row),
    "moodle": (_moodle_header, _moodle_row),
    "csv": (_csv_header, _csv_row),
}


def _lms_id(marks: Marks) -> str:
    """The platform's id of a learner: from the class list, or from the name that the platform's download gave."""
    match = _NUMBERED.fullmatch(marks.student)
    return marks.lms_id or (match[2] if match else "")


def _full_name(marks: Marks, last_first: bool = False) -> str:
    if marks.first_name or marks.last_name:
        names = [marks.last_name, marks.first_name] if last_first else [marks.first_name, marks.last_name]
        return (", " if last_first else " ").join(name for name in names if name)
    match = _NUMBERED.fullmatch(marks.student)
    return match[1].replace("-", " ") if match else marks.student


_NUMBERED = re.compile(r"(.+)_(\d+)")


def _course_seed(course: Path, wanted: int | None) -> int:
    """The seed of all inputs, drawn once for the course so that nobody can foresee them, and kept."""
    path = course / "graded" / "seed.txt"
    if wanted is not None:
        write_atomically(path, f"{wanted}\n")
        return wanted
    if path.is_file():
        try:
            return int(path.read_text(encoding="utf-8"))
        except ValueError:
            raise CourseError(
                f"{path} holds no number. Put it back from a backup; or remove it, and everything is graded anew with "
                "other inputs."
            ) from None
    drawn = secrets.randbits(128)
    write_atomically(path, f"{drawn}\n")
    return drawn


def _result_path(course: Path, chapter: Chapter, student: str) -> Path:
    return course / "graded" / chapter.slug / "results" / f"{student}.json"


def _read(path: Path) -> Graded | None:
    try:
        return Graded.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _timestamp(course: Path, student: str, chapter: Chapter) -> str | None:
    """When it was handed in, as nbgrader's collect wrote it down."""
    path = course / "submitted" / student / chapter.slug / "timestamp.txt"
    if not path.is_file() or path.is_symlink():
        return None
    text = path.read_text(errors="replace")[:64].strip()
    try:
        datetime.datetime.fromisoformat(text.removesuffix(" UTC"))
    except ValueError:
        return None
    return text
