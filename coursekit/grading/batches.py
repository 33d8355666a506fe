"""Grades a batch of submissions: here, in several processes, or on several machines.

One result at a time is committed, so that a batch may be killed at any moment and started again.
"""

from __future__ import annotations

import atexit
import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from coursekit.catalogue import chapter
from coursekit.errors import CourseError
from coursekit.grading.grade import Graded, Settings, grade_submission, modules_of, nothing_for
from coursekit.grading.jail import Jail
from coursekit.grading.machine import require

Task = tuple[str, bytes, str]
"""A learner, the notebook, and why it cannot be graded."""


def grade_all(
    tasks: Iterator[Task],
    settings: Settings,
    commit: Callable[[Graded, bytes], None],
    workers: int = 1,
    scheduler: str = "",
) -> None:
    """Grade submissions and commit the results one by one, in whatever order they come.

    Args:
        tasks: drawn when their turn comes, so that memory does not grow with the class.
        commit: gets the result and the notebook that was graded.
        workers: how many processes on this machine.
        scheduler: address of a Dask scheduler whose workers do it instead.
    """
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
            commit(grade_submission(jail, student, notebook, problem, settings), notebook)


def _grade_with_processes(
    tasks: Iterator[Task], settings: Settings, commit: Callable[[Graded, bytes], None], workers: int
) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent) as pool:
        running: dict[Future[Graded], bytes] = {}
        try:
            for task in tasks:
                running[pool.submit(grade_task, task, settings)] = task[1]
                # No more in flight than keeps everybody busy, so that memory does not grow with the class.
                while len(running) >= 2 * workers:
                    _commit_finished(running, commit)
            while running:
                _commit_finished(running, commit)
        except BrokenProcessPool:
            raise CourseError(
                "A grading process died. What was graded is kept; start the same command again to go on."
            ) from None


def _end_with_parent() -> None:
    """Let a worker process end, and its jail with it, when the process that started it is gone without a word."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _commit_finished(running: dict[Future[Graded], bytes], commit: Callable[[Graded, bytes], None]) -> None:
    """Wait until something is finished, commit it and take it out of what is running."""
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        commit(future.result(), running.pop(future))


def _grade_with_dask(
    tasks: Iterator[Task], settings: Settings, commit: Callable[[Graded, bytes], None], scheduler: str
) -> None:
    try:
        from distributed import Client, as_completed
        from distributed.comm import CommClosedError
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
    # What it would log when the scheduler goes away, with a traceback, is said in a sentence.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
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
            except (CancelledError, CommClosedError):
                raise CourseError(
                    f"The Dask scheduler at {scheduler} is gone. What was graded is kept; start a scheduler and its "
                    "workers again, then the same command, to go on."
                ) from None
            commit(graded, task[1])
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
