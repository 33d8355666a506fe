"""The door that leads into a jail. What comes through it is data (`wire.py`)."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from coursekit.checking.door import Handle, LearnerError, NotAttempted, Target
from coursekit.errors import CourseError
from coursekit.grading import confine, wire
from coursekit.grading.job import START_SECONDS, Job, JobEnded, Limits, Unreadable
from coursekit.grading.machine import LAYERS

MOST_CELLS = 1_000_000


class JailedLearner:
    """The door into a job: the same methods as `DirectLearner`, over a channel.

    Attributes:
        layers: what the job said confines it, before it had read a line of the learner's.
        cell: number of the cell that was loaded last, counted from 0.
        borrowed: the code uses other exercises.
        problem: what the code needs and could not be loaded.
        started: when it was locked up and its time began.
        verdict: why the job is over, if it is over before its time.
    """

    def __init__(
        self, job: Job, notebook: bytes, order: dict[str, Any], seconds: float, limits: Limits
    ) -> None:
        self._job = job
        self._order = (order, notebook)
        self._seconds = seconds
        self._limits = limits
        self._asked = 0
        self.layers: tuple[str, ...] = ()
        self.cell = -1
        self.borrowed = False
        self.problem = ""
        self.started = time.monotonic()
        self.loaded = False
        self.verdict = ""

    @property
    def timed_out(self) -> bool:
        return self._job.timed_out

    @property
    def report(self) -> dict[str, Any]:
        """How the job ended: exit code, what it was killed for, processor seconds, most memory."""
        return self._job.report

    def load(self) -> None:
        """Lock the job up and have it load the learner's code, cell by cell.

        Raises NotAttempted or LearnerError where the code does not load, Unreadable where it is no notebook, and
        JobEnded where the job died or was killed.
        """
        # Until it is locked up the job runs only the course's own code.
        self._job.kill_at(time.monotonic() + START_SECONDS)
        with self._fatal():
            self._job.channel.send(*self._order)
            message, _ = self._job.channel.receive()
            if "unconfined" in message:
                why = wire.plain_text(message["unconfined"], 500)
                raise CourseError(f"A job could not be locked up: {why}.")
            self.layers = tuple(layer for layer in LAYERS if layer in _texts(message["confined"]))
            # One budget, from the first line of the notebook that is read to the last answer.
            self.started = time.monotonic()
            self._job.kill_at(self.started + self._seconds)
            message, blob = self._job.channel.receive()
            while "loading" in message:
                if not wire.is_whole(message["loading"], -1, MOST_CELLS):
                    raise wire.Malformed
                self.cell, self.borrowed = message["loading"], message.get("borrowed") is True
                self._job.kill_at(self._end_of_cell())
                message, blob = self._job.channel.receive()
            problem = self._result(message, blob, 0)
            if not isinstance(problem, str):
                raise wire.Malformed
            self.problem = problem[:4_000]
        self.loaded = True
        self._job.kill_at(self.started + self._seconds)

    @property
    def cell_limit(self) -> float:
        """Return the seconds for one cell: its own limit, or what the exercise allows if that is less."""
        return min(self._seconds, self._limits.cell_seconds * self._limits.time_factor)

    def _end_of_cell(self) -> float:
        return min(self.started + self._seconds, time.monotonic() + self.cell_limit)

    def call(self, target: Target, *args: Any, **kwargs: Any) -> Any:
        return self._ask("call", target, *args, **kwargs)

    def gradients(
        self,
        target: Target,
        *args: Any,
        wrt: Sequence[int | str],
        cotangent: Tensor | None = None,
        field: int | None = None,
    ) -> tuple[Any, list[Tensor | None]]:
        answer = self._ask("gradients", target, *args, wrt=list(wrt), cotangent=cotangent, field=field)
        if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], list)):
            raise self._malformed()
        result, gradients = answer
        if len(gradients) != len(wrt) or not all(g is None or isinstance(g, Tensor) for g in gradients):
            raise self._malformed()
        return result, gradients

    def create(self, target: str, *args: Any, **kwargs: Any) -> Handle:
        handle = self._ask("create", target, *args, **kwargs)
        if not isinstance(handle, Handle):
            raise self._malformed()
        return handle

    def get(self, handle: Handle, attribute: str) -> Any:
        return self._ask("get", handle, attribute)

    def set(self, handle: Handle, **tensors: Tensor) -> None:
        self._ask("set", handle, **tensors)

    def _ask(self, action: str, *args: Any, **kwargs: Any) -> Any:
        self._asked += 1
        tree, blob = wire.encode((args, kwargs))
        with self._fatal():
            self._job.channel.send({"id": self._asked, "action": action, "arguments": tree}, blob)
            message, blob = self._job.channel.receive()
            return self._result(message, blob, self._asked)

    def _result(self, message: dict[str, Any], blob: bytes, number: int) -> Any:
        if not wire.is_whole(message.get("id"), number, number):
            raise wire.Malformed
        # The check collects what is printed here, as it does in a notebook.
        sys.stdout.write(wire.plain_text(message.get("printed"), 2_000))
        if "raised" in message:
            text = wire.plain_text(message.get("text"), 4_000)
            kind = message["raised"]
            if kind == "unreadable" and not self.loaded:
                raise Unreadable(text)
            raise NotAttempted(text) if kind == "not_attempted" else LearnerError(text)
        if "value" not in message:
            raise wire.Malformed
        return wire.decode(message["value"], blob)

    @contextlib.contextmanager
    def _fatal(self) -> Iterator[None]:
        """Turn the end of the channel, and anything that is not data, into the end of the job."""
        if self.verdict:
            raise JobEnded(self.verdict)
        try:
            yield
        except wire.Closed:
            self.verdict = "ended"
            raise JobEnded(self.verdict) from None
        except (NotAttempted, LearnerError, Unreadable, CourseError):
            raise
        except Exception:
            # Whatever a stranger's message does to the code that reads it is that stranger's own affair.
            raise self._malformed() from None

    def _malformed(self) -> JobEnded:
        self.verdict = "malformed"
        return JobEnded(self.verdict)


def explain_end(learner: JailedLearner, seconds: float) -> str:
    """Return a sentence for the learner on why the job was over before its time."""
    report = learner.report
    if learner.verdict == "malformed":
        return "Your code returned something that is not plain data of a reasonable size."
    where = "Your code" if learner.loaded or learner.cell < 0 else f"Cell {learner.cell + 1} of your notebook"
    killed = report.get("killed")
    if killed == "time":
        limit = seconds if learner.loaded or learner.cell < 0 else learner.cell_limit
        return f"{where} was stopped after {limit:g} seconds. Is there a loop that never ends?"
    if killed in ("threads", "files"):
        return f"{where} was stopped because it made too many {killed}."
    if killed == "memory":
        return f"{where} was stopped because it used too much memory."
    code = report.get("exit", 0)
    if code in (-9, -24) and report.get("seconds", 0) >= confine.processor_seconds(seconds) - 1:
        return f"{where} was stopped because it used more than {seconds:g} seconds of the processors."
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"{where} ended the Python process ({how})."


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
