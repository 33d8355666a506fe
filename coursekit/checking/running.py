"""Runs a check so that attempting is safe: nothing of the learner's, and nothing global, is changed by it."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import inspect
import io
import itertools
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

import numpy as np
import torch

from coursekit.catalogue import Exercise, all_exercises, get_exercise
from coursekit.checking.claims import Check, Mistake
from coursekit.checking.door import (
    PACKAGE_DIRECTORIES,
    DirectLearner,
    Learner,
    LearnerError,
    NotAttempted,
    describe_exception,
    learners_line,
)
from coursekit.checking.results import CheckResult, Status
from coursekit.progress.store import remember

DEFAULT_SEED = 0
PRINTED_LIMIT = 2_000
# How long a loop that swallows one exception has until the next.
REPEAT_SECONDS = 0.02


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
    namespace = _callers_namespace()
    if answer is not None:
        beside = {name: namespace[name] for name in exercise.also if name in namespace}
        return run_check(exercise, DirectLearner({**beside, exercise.cell_name: answer}, cell_names()))
    with _others_lent(exercise, namespace) as lent:
        result = run_check(exercise, DirectLearner(namespace, cell_names()))
    if lent and not result.passed:
        # It may rely on something that the learner's own version of another exercise does.
        with_own = run_check(exercise, DirectLearner(namespace, cell_names()))
        result = with_own if with_own.passed else result
    remember(result)
    return result


@contextlib.contextmanager
def _others_lent(exercise: Exercise, namespace: dict[str, Any]) -> Iterator[list[str]]:
    """While an exercise is checked, calls of another exercise's function reach the reference.

    So neither a mistake in an earlier exercise nor its stub fails a later one.
    """
    others = {
        name: other
        for other in all_exercises()
        if other.id != exercise.id and other.class_name is None
        for name in other.targets.values()
        if inspect.isfunction(namespace.get(name))
    }
    kept = {name: namespace[name] for name in others}
    namespace.update({name: other.load_reference(name) for name, other in others.items()})
    try:
        yield list(kept)
    finally:
        namespace.update(kept)


def run_check(exercise: Exercise, learner: Learner, seed: int = DEFAULT_SEED) -> CheckResult:
    """Run one exercise's check through the door `learner`. Never raises because of the learner's code."""
    load_needs(exercise)
    generator = torch.Generator().manual_seed(seed * 1_000_003 + _stable_number(exercise.id))
    run = Check(learner, exercise.id, generator, reference=exercise.load_reference)
    status: Status = "passed"
    message, picture = "", ""
    details: tuple[str, ...] = ()
    printed = Printed()
    try:
        with undisturbed(seed), _silenced(printed), time_limit(exercise.seconds), run.illustrated():
            exercise.check(run)
    except NotAttempted as error:
        status, message = "not_attempted", str(error)
    except Mistake as mistake:
        status, message, details = "failed", mistake.message, mistake.details
        picture = mistake.picture
    except LearnerError as error:
        status, message = "error", f"Your code raised {error}"
    except OutOfTime as error:
        status = "error"
        message = (
            f"Your code was stopped after {exercise.seconds:g} seconds. Is there a loop that never ends?"
        )
        if place := learners_line(error):
            message += f"\n{place}"
    except KeyboardInterrupt:
        # The learner has interrupted the kernel.
        raise
    except SystemExit:
        status, message = (
            "error",
            "Your code ends the program (SystemExit). Leave out `exit()`, or return a value.",
        )
    except Exception as error:
        # Something came back that no check foresaw. A learner is not to see the course's own traceback.
        status = "error"
        got = f", {run.last}," if run.last else ""
        message = f"The check could not make sense of your result{got} ({describe_exception(error)})."
    except BaseException as error:
        status, message = "error", f"Your code raised {describe_exception(error)}"
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
        printed=printed.text(),
        picture=picture,
    )


def load_needs(exercise: Exercise) -> None:
    """Import what the exercise's check uses and takes long to import, so that no clock runs meanwhile."""
    for module in exercise.needs:
        importlib.import_module(module)


def reference_learner() -> DirectLearner:
    """The door to the reference implementations, as if a learner had written them."""
    namespace = {
        name: exercise.load_reference(name)
        for exercise in all_exercises()
        for name in exercise.targets.values()
    }
    return DirectLearner(namespace, cell_names())


def cell_names() -> Mapping[str, str]:
    """Which name each exercise's cell defines, by what a check calls (`Exercise.targets`)."""
    return {target: name for exercise in all_exercises() for target, name in exercise.targets.items()}


@contextlib.contextmanager
def undisturbed(seed: int) -> Iterator[None]:
    """Seed all random numbers inside; put them, the defaults of torch and its gradient mode back afterwards."""
    python_state, numpy_state, torch_state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    dtype, gradients, device = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_default_device()
    # Not torch.manual_seed, which would reseed accelerators as well.
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    if device.type != "cpu":
        torch.set_default_device("cpu")
    try:
        yield
    finally:
        if torch.get_default_device() != device:
            torch.set_default_device(device)
        torch.set_grad_enabled(gradients)
        torch.set_default_dtype(dtype)
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)
        random.setstate(python_state)


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise OutOfTime inside the block once the time is up, again and again until the block is left.

    So a loop ends even if it swallows every exception.
    """
    has_alarm = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    stop = (_start_alarm if has_alarm else _start_watcher)(seconds)
    try:
        yield
    finally:
        # The time may be up at this very moment.
        while True:
            try:
                stop()
                break
            except OutOfTime:
                continue


def _start_alarm(seconds: float) -> Callable[[], None]:
    """Unix, in the main thread. Returns what calls it off."""
    rings = itertools.count()
    # Code of these files runs when the block is being left.
    leaving = (__file__, contextlib.__file__)

    def ring(_: int, frame: FrameType | None) -> None:
        if frame is None or frame.f_code.co_filename in leaving:
            return
        if next(rings) == 0:
            raise OutOfTime
        _raise_some_lines_later(frame)

    previous, previous_trace = signal.signal(signal.SIGALRM, ring), sys.gettrace()
    signal.setitimer(signal.ITIMER_REAL, seconds, REPEAT_SECONDS)

    def stop() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        if sys.gettrace() is not previous_trace:
            sys.settrace(previous_trace)

    return stop


def _raise_some_lines_later(frame: FrameType | None) -> None:
    """For code that has swallowed OutOfTime: an alarm always finds it inside its `try`, but some line is outside.

    Which function this line is in, and how far away, is tried out by chance.
    """
    frames = []
    while frame is not None and not frame.f_code.co_filename.startswith(PACKAGE_DIRECTORIES):
        frames.append(frame)
        frame = frame.f_back
    if not frames:
        return
    chance = random.Random()
    lines = chance.randrange(1, 10)

    def trace(_: FrameType, event: str, __: Any) -> Any:
        nonlocal lines
        lines -= event == "line"
        if lines <= 0:
            raise OutOfTime
        return trace

    # Functions that are called from now on are not traced.
    sys.settrace(lambda *_: None)
    chance.choice(frames).f_trace = trace


def _start_watcher(seconds: float) -> Callable[[], None]:
    """Windows, or another thread: a second thread raises the exception in this one. Returns what calls it off."""
    thread = ctypes.c_ulong(threading.get_ident())
    finished, lock = threading.Event(), threading.Lock()

    def watch() -> None:
        wait = seconds
        while not finished.wait(wait):
            with lock:
                if not finished.is_set():
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(OutOfTime))
            wait = REPEAT_SECONDS

    threading.Thread(target=watch, daemon=True).start()

    def stop() -> None:
        with lock:
            finished.set()
        # Takes back an exception that is on its way.
        ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, None)

    return stop


class Printed(io.TextIOBase):
    """Keeps the beginning of what is printed; the rest vanishes, however much it is."""

    def __init__(self, limit: int = PRINTED_LIMIT) -> None:
        self._pieces: list[str] = []
        self._room = limit
        self._cut = False

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self._room > 0:
            self._pieces.append(text[: self._room])
        self._cut |= len(text) > self._room
        self._room = max(0, self._room - len(text))
        return len(text)

    def text(self) -> str:
        return "".join(self._pieces) + ("\n…" if self._cut else "")


@contextlib.contextmanager
def _silenced(printed: Printed) -> Iterator[None]:
    """Collect what is printed, on either stream, and drop warnings: a check shows its card and nothing else."""
    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def _callers_namespace() -> dict[str, Any]:
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
