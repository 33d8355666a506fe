"""Runs a check so that attempting is safe: nothing of the learner's, and nothing global, is changed by it."""

from __future__ import annotations

import contextlib
import inspect
import io
import random
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from part_utils.exercises.catalogue import Exercise, all_exercises, get_exercise
from part_utils.exercises.checking import Check, Mistake
from part_utils.exercises.learner import DirectLearner, Learner, LearnerError, NotAttempted
from part_utils.exercises.results import CheckResult, Status

DEFAULT_SEED = 0
PRINTED_LIMIT = 2_000


class OutOfTime(BaseException):
    """The check's time is up. Not an Exception, so that a learner's `except Exception` does not swallow it."""


def check(exercise_id: str, answer: Any = None) -> CheckResult:
    """Check an exercise in a notebook: run this under the exercise's cell.

    Args:
        exercise_id: for example "1.1".
        answer: the function or class to check; by default the one that the notebook defines under the
            exercise's name.

    Returns:
        The result, which shows itself as a card.
    """
    exercise = get_exercise(exercise_id)
    namespace = _callers_namespace() if answer is None else {exercise.cell_name: answer}
    return run_check(exercise, DirectLearner(namespace, cell_names()))


def run_check(exercise: Exercise, learner: Learner, seed: int = DEFAULT_SEED) -> CheckResult:
    """Run one exercise's check through the door `learner`. Never raises because of the learner's code."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + _stable_number(exercise.id))
    run = Check(learner, exercise.id, generator)
    status: Status = "passed"
    message = ""
    details: tuple[str, ...] = ()
    printed = io.StringIO()
    try:
        with undisturbed(seed), _silenced(printed), time_limit(exercise.seconds):
            exercise.check(run)
    except NotAttempted as error:
        status, message = "not_attempted", str(error)
    except Mistake as mistake:
        status, message, details = "failed", mistake.message, mistake.details
    except LearnerError as error:
        status, message = "error", f"Your code raised {error}"
    except OutOfTime:
        status = "error"
        message = (
            f"Your code was stopped after {exercise.seconds:g} seconds. Is there a loop that never ends?"
        )
    except (SystemExit, GeneratorExit) as error:
        status, message = "error", f"Your code raised {type(error).__name__}, which ends the program."
    return CheckResult(
        id=exercise.id,
        name=exercise.name,
        title=exercise.title,
        status=status,
        points=exercise.points if status == "passed" else 0,
        max_points=exercise.points,
        message=message,
        details=details,
        claims=tuple(run.claims),
        printed=printed.getvalue()[:PRINTED_LIMIT],
    )


def reference_learner() -> DirectLearner:
    """The door to the reference implementations, as if a learner had written them."""
    namespace = {exercise.cell_name: exercise.load_reference() for exercise in all_exercises()}
    return DirectLearner(namespace, cell_names())


def cell_names() -> Mapping[str, str]:
    """Which name each exercise's cell defines, by exercise id."""
    return {exercise.id: exercise.cell_name for exercise in all_exercises()}


@contextlib.contextmanager
def undisturbed(seed: int) -> Iterator[None]:
    """Seed all random numbers inside; put them, the default type and the gradient mode back afterwards."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    dtype, gradients = torch.get_default_dtype(), torch.is_grad_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
            torch.set_grad_enabled(gradients)
            np.random.set_state(numpy_state)
            random.setstate(python_state)


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise OutOfTime inside the block once the time is up, loops that swallow every Exception included."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        # Windows, or a thread: no alarm to be had. The learner can still interrupt the kernel.
        yield
        return

    def stop(*_: object) -> None:
        raise OutOfTime

    previous = signal.signal(signal.SIGALRM, stop)
    # Rings again every second, should the first one be swallowed by a bare `except`.
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@contextlib.contextmanager
def _silenced(printed: io.StringIO) -> Iterator[None]:
    """Collect what is printed, on either stream, and drop warnings: a check shows its card and nothing else."""
    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def _callers_namespace() -> Mapping[str, Any]:
    """The notebook's variables, or outside a notebook those of the module that called `check`."""
    if "IPython" in sys.modules:
        shell = sys.modules["IPython"].get_ipython()
        if shell is not None:
            return shell.user_ns
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    return {} if frame is None else {**frame.f_globals, **frame.f_locals}


def _stable_number(text: str) -> int:
    return sum(ord(letter) * 131**place for place, letter in enumerate(text)) % 1_000_000
