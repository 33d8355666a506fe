"""The round of an assignment: release, collect, grade, export, in one course folder laid out as nbgrader's.

COURSE/gradebook.db                              every score, through nbgrader's API
COURSE/release/CHAPTER/CHAPTER.ipynb             what learners get
COURSE/submitted/STUDENT/CHAPTER/CHAPTER.ipynb   what they handed in
COURSE/autograded/STUDENT/CHAPTER/…              what formgrader shows
COURSE/feedback/STUDENT/CHAPTER/CHAPTER.html     a page for each learner
COURSE/graded/CHAPTER/                           results/STUDENT.json, grades.csv, statistics.csv
"""

from __future__ import annotations

import csv
import datetime
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from part_utils.course.errors import CourseError
from part_utils.course.grading.grade import Graded, Settings, grade_all
from part_utils.course.grading.gradebook import Gradebook, write_autograded
from part_utils.course.grading.jail import Limits
from part_utils.course.grading.report import Statistics, feedback, statistics, write_grades
from part_utils.course.grading.submissions import Submission, find_submissions
from part_utils.exercises.catalogue import Chapter
from part_utils.files import write_atomically


@dataclass(frozen=True)
class ClassReport:
    """What a batch did: how many were graded now, how many had been before, and how the class did."""

    graded_now: int
    kept: int
    statistics: list[Statistics]
    problems: dict[str, str]
    grades: Path


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
    submissions = find_submissions(place, chapter)
    settings = Settings(chapter.number, _course_seed(course, course_seed), tier, limits or Limits())
    by_student = {submission.student: submission for submission in submissions}
    kept = 0
    now = 0
    with Gradebook(course) as book:
        book.add_chapter(chapter)

        def is_done(student: str, key: str) -> bool:
            nonlocal kept
            path = _result_path(course, chapter, student)
            if again or not path.is_file():
                return False
            graded = _read(path)
            if graded is None or graded.key != key:
                return False
            if not book.has(chapter, student):
                book.save(graded, _timestamp(course, student, chapter))
            kept += 1
            return True

        def commit(graded: Graded) -> None:
            nonlocal now
            book.save(graded, _timestamp(course, graded.student, chapter))
            page = course / "feedback" / graded.student / chapter.slug / f"{chapter.slug}.html"
            write_atomically(page, feedback(graded, chapter))
            write_autograded(course, graded, by_student[graded.student].read()[0])
            # Last, for it says that all the rest is there.
            write_atomically(_result_path(course, chapter, graded.student), graded.to_json())
            now += 1
            heard(graded)

        grade_all(submissions, settings, is_done, commit, workers, scheduler)
        grades = write_tables(course, chapter, book)
    rows = statistics(results_of(course, chapter), chapter)
    problems = {
        g.student: g.problem for g in results_of(course, chapter) if g.problem and g.student in by_student
    }
    return ClassReport(now, kept, rows, problems, grades)


def results_of(course: Path, chapter: Chapter) -> Iterator[Graded]:
    """Every committed result of a chapter, one at a time."""
    for path in sorted((course / "graded" / chapter.slug / "results").glob("*.json")):
        graded = _read(path)
        if graded is not None:
            yield graded


def write_tables(course: Path, chapter: Chapter, book: Gradebook) -> Path:
    """grades.csv, with the scores that people have changed, and statistics.csv."""
    folder = course / "graded" / chapter.slug
    ids = [exercise.id for exercise in chapter.exercises]
    scores = book.scores(chapter)
    rows: list[list[object]] = [["student", "score", "max_score", *ids, "tier", "problem"]]
    for graded in results_of(course, chapter):
        score, by_exercise = scores.get(graded.student, (graded.points, {}))
        each = [f"{by_exercise.get(i, 0):g}" for i in ids]
        rows.append(
            [graded.student, f"{score:g}", f"{graded.max_points:g}", *each, graded.tier, graded.problem]
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


def release(chapter: Chapter, course: Path) -> Path:
    """Put a chapter's notebook into the course's release folder, and the assignment into the gradebook."""
    from part_utils.course.build import learner_path

    source = learner_path(chapter)
    if not source.is_file():
        raise CourseError(
            f"There is no {source}. Run `course build {chapter.number}` in a checkout of the course."
        )
    target = course / "release" / chapter.slug / f"{chapter.slug}.ipynb"
    write_atomically(target, source.read_bytes())
    with Gradebook(course) as book:
        book.add_chapter(chapter)
    return target


def collect(place: Path, chapter: Chapter, course: Path) -> tuple[int, dict[str, str]]:
    """Copy a download's notebooks to `submitted/STUDENT/CHAPTER/`, with the time. Returns how many, and problems."""
    copied, problems = 0, {}
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S.%f UTC")
    for submission in find_submissions(place, chapter):
        data, problem = submission.read()
        if problem:
            problems[submission.student] = problem
            continue
        folder = course / "submitted" / submission.student / chapter.slug
        target = folder / f"{chapter.slug}.ipynb"
        if not target.is_file() or target.read_bytes() != data:
            write_atomically(target, data)
            write_atomically(folder / "timestamp.txt", now)
        copied += 1
    return copied, problems


def export(chapter: Chapter, course: Path, form: str, target: Path) -> int:
    """Write the chapter's scores as a table that a learning platform imports. Returns how many learners are in it.

    canvas: the columns that Canvas' gradebook import asks for; the id is the number in the names of Canvas' own
    download, or else the learner's name is given as login. moodle: an identifier, a grade, and nothing else that
    could be overwritten.
    """
    title = f"Chapter {int(chapter.number)} {chapter.title}"
    with Gradebook(course) as book:
        scores = book.scores(chapter)
    if not scores:
        raise CourseError(
            f"Nothing of chapter {chapter.number} is graded in {course}. Run `course grade` first."
        )
    most = sum(exercise.points for exercise in chapter.exercises)
    ids = [exercise.id for exercise in chapter.exercises]
    rows: list[list[object]] = []
    if form == "canvas":
        rows.append(["Student", "ID", "SIS User ID", "SIS Login ID", "Section", title])
        rows.append(["    Points Possible", "", "", "", "", f"{most:g}"])
    elif form == "moodle":
        rows.append(["Identifier", "Full name", "Grade", "Maximum Grade"])
    elif form == "csv":
        rows.append(["student", "score", "max_score", *ids])
    else:
        raise CourseError(f"There is no format {form!r}. The formats are canvas, moodle and csv.")
    for student, (score, by_exercise) in sorted(scores.items()):
        name, number = _name_and_number(student)
        if form == "canvas":
            rows.append([name, number, "", "" if number else student, "", f"{score:g}"])
        elif form == "moodle":
            rows.append([f"Participant {number}" if number else student, name, f"{score:g}", f"{most:g}"])
        else:
            rows.append([student, f"{score:g}", f"{most:g}", *(f"{by_exercise.get(i, 0):g}" for i in ids)])
    write_grades(target, rows)
    return len(scores)


def read_grades(path: Path) -> dict[str, float]:
    """The scores in a grades.csv."""
    with path.open(newline="") as file:
        return {row["student"]: float(row["score"]) for row in csv.DictReader(file)}


def students_without(course: Path, chapter: Chapter, submissions: list[Submission]) -> list[str]:
    """Learners whom the gradebook knows and who have handed in nothing."""
    with Gradebook(course) as book:
        return sorted(set(book.students()) - {submission.student for submission in submissions})


def _name_and_number(student: str) -> tuple[str, str]:
    match = re.fullmatch(r"(.+)_(\d+)", student)
    return (match[1].replace("-", " "), match[2]) if match else (student, "")


def _course_seed(course: Path, wanted: int | None) -> int:
    """The seed of all inputs, drawn once for the course so that nobody can foresee them, and kept."""
    path = course / "graded" / "seed.txt"
    if wanted is not None:
        write_atomically(path, f"{wanted}\n")
        return wanted
    if path.is_file():
        return int(path.read_text())
    drawn = secrets.randbits(31)
    write_atomically(path, f"{drawn}\n")
    return drawn


def _result_path(course: Path, chapter: Chapter, student: str) -> Path:
    return course / "graded" / chapter.slug / "results" / f"{student}.json"


def _read(path: Path) -> Graded | None:
    try:
        return Graded.from_json(path.read_text())
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
