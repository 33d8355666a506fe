"""Stops a program at each of its writes in turn: by an error, or by killing its process."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopped(OSError):
    """The disk refuses."""


@contextmanager
def stopped_at(number: int, stop: Callable[[], None]) -> Iterator[list[int]]:
    """Call `stop` at the `number`-th write, flush to disk, rename or new file inside; yields the count so far."""
    count = [0]
    originals = {
        name: getattr(os, name) for name in ("replace", "rename", "fsync", "chmod", "mkdir", "unlink")
    }
    fdopen, mkstemp = os.fdopen, tempfile.mkstemp

    def step() -> None:
        count[0] += 1
        if count[0] == number:
            stop()

    def wrapped(function: Callable) -> Callable:
        def call(*args, **kwargs):
            step()
            return function(*args, **kwargs)

        return call

    def opened(*args, **kwargs):
        file = fdopen(*args, **kwargs)
        if "w" not in file.mode and "wb" not in args:
            return file
        write = file.write

        class Slow:
            """Writes the first half, then may be stopped, then the rest."""

            def __enter__(self):
                return self

            def __exit__(self, *error):
                file.close()

            def __getattr__(self, name):
                return getattr(file, name)

            def write(self, data):
                write(data[: len(data) // 2])
                file.flush()
                step()
                return write(data[len(data) // 2 :])

        return Slow()

    try:
        for name, function in originals.items():
            setattr(os, name, wrapped(function))
        os.fdopen, tempfile.mkstemp = opened, wrapped(mkstemp)
        yield count
    finally:
        for name, function in originals.items():
            setattr(os, name, function)
        os.fdopen, tempfile.mkstemp = fdopen, mkstemp


def refuse() -> None:
    raise Stopped(28, "No space left on device")


def interrupt() -> None:
    raise KeyboardInterrupt


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def in_another_process(action: Callable[[], object], number: int) -> bool:
    """Run the action in a forked process that is killed at its `number`-th write. True if it was killed."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with stopped_at(number, kill):
                action()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0
    return False
