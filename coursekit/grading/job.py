"""A running job: its channel, the clock that kills it, what it may use, and how it can end."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from coursekit.checking.limits import OutOfTime
from coursekit.grading import wire

START_SECONDS = 120


class JobEnded(OutOfTime):
    """The job is over before its time; the message says why. Not an Exception, so that no check mistakes it for one."""


class JailLost(Exception):
    """The zygote is gone, through no fault of a job. The next job gets a new one."""


class Unreadable(Exception):
    """The submission is not a notebook of this course."""


@dataclass(frozen=True)
class Limits:
    """What a job may use: seconds (for one cell, and as a share of the exercise's own time), bytes."""

    cell_seconds: float = 20.0
    time_factor: float = 1.0
    memory: int = 2 << 30
    scratch: int = 64 << 20


class Job:
    """A running job: its channel, and the clock that kills it."""

    def __init__(self, channel: wire.Channel, kill: Callable[[], object]) -> None:
        self.channel = channel
        self.report: dict[str, Any] = {}
        self.timed_out = False
        self._kill = kill
        self._moment = math.inf
        self._changed = threading.Condition()
        self._over = False
        self._clock: threading.Thread | None = None

    def kill_at(self, moment: float) -> None:
        """Kill it then (of `time.monotonic()`), instead of whenever it was to be killed before.

        One thread watches, however often a job makes the moment move.
        """
        with self._changed:
            self._moment = moment
            self._changed.notify()
        if self._clock is None:
            self._clock = threading.Thread(target=self._watch, daemon=True)
            self._clock.start()

    def over(self) -> None:
        """Let the clock kill nothing from here on: the order to do so would meet the next job."""
        with self._changed:
            self._over = True
            self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while not self._over:
                left = self._moment - time.monotonic()
                if left <= 0:
                    self.timed_out = True
                    self._kill()
                    return
                self._changed.wait(min(left, 3600))


def described(limits: Limits) -> dict[str, Any]:
    """Return the limits as they are written into every result."""
    return asdict(limits)
