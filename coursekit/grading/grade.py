"""Grades one submission, exercise by exercise, each attempt in a jail of its own."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from coursekit.catalogue import Exercise, chapter
from coursekit.checking.door import PACKAGE_DIRECTORIES, LearnerError, NotAttempted, Unloadable
from coursekit.checking.limits import OutOfTime, time_limit
from coursekit.checking.results import CheckResult
from coursekit.checking.running import load_needs, run_check
from coursekit.errors import CourseError
from coursekit.grading.jail import Jail
from coursekit.grading.jailed_learner import JailedLearner, explain_end
from coursekit.grading.job import START_SECONDS, JailLost, JobEnded, Limits, Unreadable
from coursekit.grading.machine import LAYERS, tier_of


@dataclass(frozen=True)
class Settings:
    """What a batch is graded with. Two runs with the same settings give the same grades."""

    chapter: str
    course_seed: int
    tier: str = "full"
    limits: Limits = field(default_factory=Limits)
    layers: tuple[str, ...] = LAYERS


@dataclass(frozen=True)
class Graded:
    """What grading one submission found.

    Attributes:
        key: changes when the submission, the settings or the course's code change.
        problem: why nothing in it could be graded; empty otherwise.
        layers: what confined the jobs, by their own account before they ran the learner's code.
        seeds: of each exercise's inputs, by exercise id.
    """

    student: str
    chapter: str
    key: str
    problem: str
    tier: str
    layers: tuple[str, ...]
    seeds: dict[str, int]
    results: tuple[CheckResult, ...]

    @property
    def points(self) -> float:
        return sum(result.points for result in self.results)

    @property
    def max_points(self) -> float:
        return sum(result.max_points for result in self.results)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @staticmethod
    def from_json(text: str) -> Graded:
        facts: dict[str, Any] = json.loads(text)
        results = []
        for result in facts["results"]:
            result["details"], result["claims"] = tuple(result["details"]), tuple(result["claims"])
            results.append(CheckResult(**result))
        return Graded(**facts | {"results": tuple(results), "layers": tuple(facts["layers"])})


def seed_for(course_seed: int, student: str, exercise_id: str) -> int:
    """Return each learner's own seed for each exercise, the same in every run."""
    digest = hashlib.sha256(f"{course_seed}/{student}/{exercise_id}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def key_of(notebook: bytes, problem: str, student: str, settings: Settings) -> str:
    """Return a digest that changes when anything does that a grade depends on."""
    facts = json.dumps(
        [asdict(settings), student, problem, code_fingerprint(settings.chapter)], sort_keys=True
    )
    return hashlib.sha256(hashlib.sha256(notebook).digest() + facts.encode()).hexdigest()


@functools.cache
def code_fingerprint(number: str) -> str:
    """Return a digest of the code that decides a chapter's grades: models, how a check runs, the chapter's checks.

    Other chapters' checks are no part of it, and neither is any text, so that nobody is graded anew for a comma.
    """
    digest = hashlib.sha256()
    for path in decisive_files(number):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def decisive_files(number: str) -> list[Path]:
    """Return the files of `code_fingerprint`, sorted."""
    library, kit = map(Path, PACKAGE_DIRECTORIES)
    found = {kit / "catalogue.py", *library.glob("*.py"), *(kit / "checking").glob("*.py")}
    found |= {*(kit / "notebooks").glob("*.py")}
    found |= {path for path in (kit / "grading").glob("*.py") if path.stem not in _DECIDE_NOTHING}
    waiting = {*(kit / "exercises" / f"chapter_{chapter(number).number}").glob("*.py")}
    while waiting:
        path = waiting.pop()
        found.add(path)
        # What it borrows from another chapter.
        named = re.findall(
            r"^\s*from coursekit\.exercises\.([\w.]+) import", path.read_text("utf-8"), re.MULTILINE
        )
        others = {(kit / "exercises").joinpath(*name.split(".")).with_suffix(".py") for name in named}
        waiting |= {other for other in others if other.is_file()} - found
    return sorted(found)


# They write down what was found, or find the notebooks.
_DECIDE_NOTHING = ("batches", "classroom", "gradebook", "refusals", "report", "submissions")


def grade_submission(jail: Jail, student: str, notebook: bytes, problem: str, settings: Settings) -> Graded:
    """Grade one notebook, each exercise in a job of its own. Raises nothing because of the notebook."""
    this = chapter(settings.chapter)
    seeds = {exercise.id: seed_for(settings.course_seed, student, exercise.id) for exercise in this.exercises}
    results: list[CheckResult] = []
    layers = jail.layers
    for exercise in this.exercises:
        if problem:
            results.append(nothing_for(exercise, "error", problem))
            continue
        try:
            result, confined = grade_exercise(
                jail, exercise, notebook, f"{this.slug}.ipynb", seeds[exercise.id]
            )
            layers = tuple(layer for layer in layers if layer in confined)
        except Unreadable as error:
            problem = str(error)
            result = nothing_for(exercise, "error", problem)
        except CourseError:
            # This machine cannot grade: nobody's notebook is to blame.
            raise
        except (Exception, OutOfTime) as error:
            # Whatever else happens while a stranger's answers are read concerns this exercise only.
            message = f"Your code returned something that could not be read ({type(error).__name__})."
            result = nothing_for(exercise, "error", message)
        results.append(result)
    return Graded(
        student=student,
        chapter=this.slug,
        key=key_of(notebook, problem if not notebook else "", student, settings),
        problem=problem,
        tier=tier_of(layers),
        layers=layers,
        seeds=seeds,
        results=tuple(results),
    )


def grade_exercise(
    jail: Jail, exercise: Exercise, notebook: bytes, name: str, seed: int
) -> tuple[CheckResult, tuple[str, ...]]:
    """Return the result of one exercise and what confined the job. Raises Unreadable if it is not a notebook.

    As in `course check`, code that uses another exercise gets the reference for it, and the learner's own only
    where it does not pass with that. Both together have the exercise's time.
    """
    seconds = exercise.seconds * jail.limits.time_factor
    try:
        result, learner = _attempt(jail, exercise, notebook, name, seed, seconds, own=False)
    except JailLost:
        # Its process died between two jobs, perhaps because the machine ran out of memory.
        try:
            result, learner = _attempt(jail, exercise, notebook, name, seed, seconds, own=False)
        except JailLost:
            raise CourseError(
                "The jail's process died twice. What was graded is kept; start the same command again to go on."
            ) from None
    left = seconds - (time.monotonic() - learner.started)
    if not result.passed and learner.borrowed and left > seconds / 20:
        second, learner = _attempt(jail, exercise, notebook, name, seed, left, own=True)
        result = second if second.passed else result
    return result, learner.layers


def _attempt(
    jail: Jail, exercise: Exercise, notebook: bytes, name: str, seed: int, seconds: float, own: bool
) -> tuple[CheckResult, JailedLearner]:
    timed = replace(exercise, seconds=seconds)
    load_needs(exercise)
    with jail.job(notebook, name, exercise.id, seconds, own) as learner:
        door: Any = learner
        try:
            # The clock runs over what is done here with the job's messages, too.
            with contextlib.redirect_stdout(io.StringIO()), time_limit(START_SECONDS + seconds):
                learner.load()
        except (NotAttempted, LearnerError, JobEnded) as error:
            door = Unloadable(error)
        # The inputs are drawn now, when the learner's code is loaded and can look at nothing any more.
        try:
            result = run_check(timed, door, seed)
        except Exception as error:
            # The check stumbled over something that no correct answer returns.
            message = f"Your code returned something of an unexpected form ({type(error).__name__})."
            result = nothing_for(exercise, "failed", message)
    if learner.verdict or learner.timed_out:
        result = replace(result, status="error", points=0, message=explain_end(learner, seconds), details=())
    elif result.status == "error" and learner.problem:
        result = replace(result, message=f"{result.message}\n{learner.problem}")
    return result, learner


def nothing_for(exercise: Exercise, status: Any, message: str) -> CheckResult:
    """No points for an exercise, and why."""
    return CheckResult(exercise.id, exercise.name, exercise.title, status, 0, exercise.points, message)


# Batches


def modules_of(number: str) -> Sequence[str]:
    """Return what the chapter's solutions live in: loaded before any job starts."""
    exercises = chapter(number).exercises
    names = {exercise.module for exercise in exercises}
    names |= {module for exercise in exercises for module in exercise.needs}
    return sorted(names | {"part_utils.toy_model", "part_utils.autoencoder"})
