"""Grades one submission, and a batch of them: here, in several processes, or on several machines.

One result at a time is committed, so that a batch may be killed at any moment and started again.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import io
import json
import multiprocessing
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from coursekit.catalogue import Exercise, chapter
from coursekit.checking.door import PACKAGE_DIRECTORIES, LearnerError, NotAttempted, Unloadable
from coursekit.checking.results import CheckResult
from coursekit.checking.running import load_needs, run_check
from coursekit.grading.jail import (
    LAYERS,
    Jail,
    JailedLearner,
    JailLost,
    JobEnded,
    Limits,
    Unreadable,
    explain_end,
    require,
    tier_of,
)
from coursekit.grading.submissions import Submission


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
    """Each learner's own seed for each exercise, the same in every run."""
    digest = hashlib.sha256(f"{course_seed}/{student}/{exercise_id}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def key_of(notebook: bytes, problem: str, student: str, settings: Settings) -> str:
    """Changes when anything does that a grade depends on."""
    facts = json.dumps([asdict(settings), student, problem, code_fingerprint()], sort_keys=True)
    return hashlib.sha256(hashlib.sha256(notebook).digest() + facts.encode()).hexdigest()


@functools.cache
def code_fingerprint() -> str:
    """A digest of the course's own code: its models, its checks, its grading."""
    digest = hashlib.sha256()
    library, kit = map(Path, PACKAGE_DIRECTORIES)
    for path in sorted([*library.glob("*.py"), *kit.glob("**/*.py")]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


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
    """The result of one exercise, and what confined the job. Raises Unreadable if it is not a notebook.

    As in `course check`, code that uses another exercise gets the reference for it, and the learner's own only
    where it does not pass with that.
    """
    try:
        result, learner = _attempt(jail, exercise, notebook, name, seed, own=False)
    except JailLost:
        # Its process died between two jobs, perhaps because the machine ran out of memory.
        result, learner = _attempt(jail, exercise, notebook, name, seed, own=False)
    if not result.passed and learner.borrowed:
        second, learner = _attempt(jail, exercise, notebook, name, seed, own=True)
        result = second if second.passed else result
    return result, learner.layers


def _attempt(
    jail: Jail, exercise: Exercise, notebook: bytes, name: str, seed: int, own: bool
) -> tuple[CheckResult, JailedLearner]:
    seconds = exercise.seconds * jail.limits.time_factor
    timed = replace(exercise, seconds=seconds)
    load_needs(exercise)
    with jail.job(notebook, name, exercise.id, seed, seconds, own) as learner:
        door: Any = learner
        try:
            with contextlib.redirect_stdout(io.StringIO()):
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

Task = tuple[str, bytes, str]


def grade_all(
    submissions: Iterable[Submission],
    settings: Settings,
    is_done: Callable[[str, str], bool],
    commit: Callable[[Graded], None],
    workers: int = 1,
    scheduler: str = "",
) -> None:
    """Grade what is not done, and commit the results one by one, in whatever order they come.

    Args:
        is_done: whether the result of this learner with this key is committed already.
        workers: how many processes on this machine.
        scheduler: address of a Dask scheduler whose workers do it instead.
    """
    tasks = _tasks(submissions, settings, is_done)
    if scheduler:
        _grade_with_dask(tasks, settings, commit, scheduler)
        return
    # Refuse here, before anything is started.
    require(settings.tier, Jail(settings.tier, settings.limits, settings.layers).layers)
    if workers > 1:
        _grade_with_processes(tasks, settings, commit, workers)
        return
    with Jail(settings.tier, settings.limits, settings.layers, modules_of(settings.chapter)) as jail:
        for student, notebook, problem in tasks:
            commit(grade_submission(jail, student, notebook, problem, settings))


def _tasks(
    submissions: Iterable[Submission], settings: Settings, is_done: Callable[[str, str], bool]
) -> Iterator[Task]:
    """Read one submission after the other, when its turn comes."""
    for submission in submissions:
        notebook, problem = submission.read()
        if not is_done(submission.student, key_of(notebook, problem, submission.student, settings)):
            yield submission.student, notebook, problem


def _grade_with_processes(
    tasks: Iterator[Task], settings: Settings, commit: Callable[[Graded], None], workers: int
) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        running: set[Future[Graded]] = set()
        try:
            for task in tasks:
                running.add(pool.submit(grade_task, task, settings))
                # No more in flight than keeps everybody busy, so that memory does not grow with the class.
                while len(running) >= 2 * workers:
                    running = _commit_finished(running, commit)
            while running:
                running = _commit_finished(running, commit)
        except BrokenProcessPool:
            raise RuntimeError(
                "A grading process died. What was graded is kept; start the same command again to go on."
            ) from None


def _commit_finished(running: set[Future[Graded]], commit: Callable[[Graded], None]) -> set[Future[Graded]]:
    done, rest = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        commit(future.result())
    return rest


def _grade_with_dask(
    tasks: Iterator[Task], settings: Settings, commit: Callable[[Graded], None], scheduler: str
) -> None:
    from coursekit.errors import CourseError

    try:
        from distributed import Client, as_completed
        from distributed.scheduler import KilledWorker
    except ImportError:
        raise CourseError(
            '`--scheduler` needs Dask: `pip install "superposition-course[grading]"`.'
        ) from None
    try:
        client = Client(scheduler, timeout=20, set_as_default=False)
    except (OSError, ValueError, TimeoutError):
        raise CourseError(
            f"No Dask scheduler answers at {scheduler}. Start one with `dask scheduler`."
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=60)
        except TimeoutError:
            raise CourseError(
                f"{scheduler} has no workers. Start some with `dask worker {scheduler}`."
            ) from None
        window = 2 * len(client.scheduler_info(n_workers=-1)["workers"])
        running: dict[Any, Task] = {}

        def submit(task: Task) -> Any:
            # A task only supervises jails. When its worker dies it goes to another one, a few times at most.
            future = client.submit(grade_task, task, settings, pure=False, retries=0)
            running[future] = task
            return future

        first = [submit(task) for _, task in zip(range(window), tasks, strict=False)]
        queue = as_completed(first, loop=client.loop)
        for future in queue:
            task = running.pop(future)
            try:
                graded = future.result()
            except KilledWorker:
                graded = _given_up(task, settings)
            commit(graded)
            future.release()
            for task in tasks:
                queue.add(submit(task))
                break


def _given_up(task: Task, settings: Settings) -> Graded:
    """The result where several machines died over a submission. Its key is empty, so that the next run tries again."""
    this = chapter(settings.chapter)
    problem = "The machines that graded this died over it. Ask your instructor to grade it again."
    results = tuple(nothing_for(exercise, "error", problem) for exercise in this.exercises)
    return Graded(task[0], this.slug, "", problem, "none", (), {}, results)


def grade_task(task: Task, settings: Settings) -> Graded:
    """Grade one submission in a worker process, whose jail is kept for the next one."""
    import torch

    torch.set_num_threads(1)
    student, notebook, problem = task
    with _PROCESS.lock:
        return grade_submission(_PROCESS.jail(settings), student, notebook, problem, settings)


class _WorkerProcess:
    """What a worker process keeps between tasks: one jail, used by one task at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._jail: Jail | None = None
        self._made_for: Settings | None = None

    def jail(self, settings: Settings) -> Jail:
        if self._jail is None or self._made_for != settings:
            self.close()
            self._jail = Jail(settings.tier, settings.limits, settings.layers, modules_of(settings.chapter))
            self._made_for = settings
            atexit.register(self.close)
        return self._jail

    def close(self) -> None:
        if self._jail is not None:
            self._jail.close()
        self._jail = None


_PROCESS = _WorkerProcess()


def modules_of(number: str) -> Sequence[str]:
    """What the chapter's solutions live in: loaded before any job starts."""
    exercises = chapter(number).exercises
    names = {f"part_utils.{exercise.reference.partition('.')[0]}" for exercise in exercises}
    names |= {module for exercise in exercises for module in exercise.needs}
    return sorted(names | {"part_utils.toy_model", "part_utils.autoencoder"})
