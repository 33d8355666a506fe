"""A running job: its channel, the clock that kills it, what it may use, and how it can end."""

from __future__ import annotations

import threading
import time
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

    def __init__(self, channel: wire.Channel, kill: Any) -> None:
        self.channel = channel
        self.report: dict[str, Any] = {}
        self.timed_out = False
        self._kill = kill
        self._clock: threading.Timer | None = None
        self._lock = threading.Lock()
        self._over = False

    def kill_at(self, moment: float) -> None:
        """Kill it then (of `time.monotonic()`), instead of whenever it was to be killed before."""
        if self._clock is not None:
            self._clock.cancel()
        self._clock = threading.Timer(max(0.0, moment - time.monotonic()), self._ring)
        self._clock.daemon = True
        self._clock.start()

    def over(self) -> None:
        """From here on the clock kills nothing: the order to do so would meet the next job."""
        with self._lock:
            self._over = True
        if self._clock is not None:
            self._clock.cancel()

    def _ring(self) -> None:
        with self._lock:
            if not self._over:
                self.timed_out = True
                self._kill()


def described(limits: Limits) -> dict[str, Any]:
    """Return the limits as they are written into every result."""
    return asdict(limits)
