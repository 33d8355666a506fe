"""What a learner's code may take and touch while it is checked: time, room for what it prints, and global state."""

from __future__ import annotations

import contextlib
import ctypes
import io
import itertools
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import numpy as np
import torch

from coursekit.checking.door import PACKAGE_DIRECTORIES

PRINTED_LIMIT = 2_000
# How long a loop that swallows one exception has until the next.
REPEAT_SECONDS = 0.02


class OutOfTime(BaseException):
    """The check's time is up. Not an Exception, so that a learner's `except Exception` does not swallow it."""


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
def silenced(printed: Printed) -> Iterator[None]:
    """Collect what is printed, on either stream, and drop warnings: a check shows its card and nothing else."""
    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield
