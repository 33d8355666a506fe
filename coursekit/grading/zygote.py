"""The process that jobs are forked from, and what a job does. Started by `jail.py`, never imported by the checker.

A zygote has imported everything and computed nothing, so that a job starts in milliseconds instead of seconds. It
knows no secret: not where submissions lie, nor what a check expects. It forks one job at a time, hands it the socket
that it was given for it, and kills it when it is told to or when the job takes more than it may.

    python -m coursekit.grading.zygote fork FD OPTIONS    serves jobs on the socket FD
    python -m coursekit.grading.zygote once READ WRITE OPTIONS    is itself the one job
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import random
import select
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coursekit.grading import confine, wire

MOST_THREADS = 64
MOST_FILES = 5_000
PRINTED_LIMIT = 2_000
LOOKS_EVERY_MS = 50
# Of the job's own generators, so that two runs give the same grade. The inputs are drawn by the checker from another
# seed, which no job ever learns.
JOB_SEED = 0


def main(arguments: list[str]) -> None:
    """Serve jobs, or be one."""
    mode, *descriptors, text = arguments
    options = json.loads(text)
    _warm_up(options["modules"], is_forked=mode == "fork")
    if mode == "once":
        # Its standard streams will lead nowhere.
        run_job(wire.Channel(*(os.dup(int(descriptor)) for descriptor in descriptors)), options)
        os._exit(0)
    with socket.socket(fileno=int(descriptors[0])) as control:
        _serve(control, options)
    os._exit(0)


def _warm_up(modules: list[str], is_forked: bool) -> None:
    for module in [
        "torch",
        "einops",
        "jaxtyping",
        "safetensors.torch",
        "coursekit.notebooks.learners_code",
        *modules,
    ]:
        importlib.import_module(module)
    with contextlib.suppress(ImportError, OSError, RuntimeError):
        # It starts another program to find its library, which a job may not.
        importlib.import_module("pyseccomp")
    # What notebooks, checks and solutions load at their first use.
    for module in ("IPython.core.inputtransformer2", "coursekit.checking.fixtures", "scipy.optimize"):
        importlib.import_module(module)
    importlib.import_module("coursekit").all_exercises()
    # Finds out which instructions the processor has, as long as the files that say so can be read.
    torch = importlib.import_module("torch")
    torch.backends.cpu.get_cpu_capability()
    if is_forked:
        # On the device `meta` nothing is computed, but the first division there loads torch's compiler.
        torch.ones(2, device="meta") / 2
    gc.collect()
    gc.freeze()


def _serve(control: socket.socket, options: dict[str, Any]) -> None:
    control.send(json.dumps({"ready": True, "threads": _status(os.getpid(), "Threads")}).encode())
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, 4096, 1)
        if not request:
            return
        if not descriptors:
            # A late order to kill a job that has ended by itself.
            continue
        limits = options | json.loads(request)
        job = os.fork()
        if job == 0:
            control.close()
            try:
                run_job(wire.Channel(descriptors[0], descriptors[0]), limits)
            finally:
                os._exit(0)
        os.close(descriptors[0])
        report = _supervise(job, control, limits)
        # Where the scratch cannot be emptied, a fresh zygote starts with a fresh one.
        report["last"] = not _empty(options["scratch"])
        control.send(json.dumps(report).encode())
        if report["last"]:
            return


def _supervise(job: int, control: socket.socket, limits: dict[str, Any]) -> dict[str, Any]:
    """Wait for the job's end, kill it if need be, and say how it ended."""
    killed = ""
    ended = os.pidfd_open(job)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(control, select.POLLIN)
    while True:
        events = dict(poll.poll(LOOKS_EVERY_MS))
        if ended in events:
            break
        if not killed:
            if control.fileno() in events:
                order = control.recv(4096)
                if not order:
                    # The checker is gone.
                    os.kill(job, 9)
                    os._exit(1)
                killed = "time"
            elif _status(job, "Threads") > MOST_THREADS:
                killed = "threads"
            elif _status(job, "VmRSS") * 1024 > limits["resident"]:
                killed = "memory"
            elif limits["scratch"] and _files(limits["scratch"]) > MOST_FILES:
                killed = "files"
            if killed:
                os.kill(job, 9)
    os.close(ended)
    _, status, usage = os.wait4(job, 0)
    return {
        "exit": os.waitstatus_to_exitcode(status),
        "killed": killed,
        "seconds": usage.ru_utime + usage.ru_stime,
        "memory": usage.ru_maxrss * 1024,
    }


def _status(process: int, field: str) -> int:
    """A number from /proc: how many threads, or how many kilobytes."""
    try:
        text = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    return 0


def _files(folder: str) -> int:
    facts = os.statvfs(folder)
    return facts.f_files - facts.f_ffree


def _empty(folder: str) -> bool:
    """Remove what a job has left, however deep: what lies in a folder is first moved up, where paths are short."""
    if not folder:
        return True
    prefix, moved = f"{folder}/{os.urandom(8).hex()}", 0
    try:
        while entries := list(os.scandir(folder)):
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.path)
                    continue
                os.chmod(entry.path, 0o700)
                for inner in list(os.scandir(entry.path)):
                    os.rename(inner.path, f"{prefix}{moved}")
                    moved += 1
                os.rmdir(entry.path)
    except OSError:
        return False
    return True


# The job


class _Printed(io.TextIOBase):
    """Keeps the first so many characters of what is printed; the rest vanishes."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.room = PRINTED_LIMIT

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.room > 0:
            self.pieces.append(text[: self.room])
            self.room -= len(text)
        return len(text)

    def take(self) -> str:
        text = "".join(self.pieces)
        self.pieces.clear()
        return text


def run_job(channel: wire.Channel, options: dict[str, Any]) -> None:
    """Lock up, load the learner's code, then answer calls until the checker hangs up."""
    import torch

    from coursekit.catalogue import get_exercise
    from coursekit.checking.door import DirectLearner, LearnerError, NotAttempted, describe_exception
    from coursekit.checking.running import cell_names
    from coursekit.errors import CourseError
    from coursekit.notebooks.learners_code import Statement, read_notebook_code

    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    printed = _Printed()
    sys.stdout = sys.stderr = printed
    sys.stdin = io.StringIO()
    order, notebook = channel.receive()
    folder = Path(options["scratch"] or options["work"])
    os.chdir(folder)
    path = folder / Path(order["name"]).name
    path.write_bytes(notebook)
    try:
        layers = _confine(options)
    except Exception as error:
        channel.send({"unconfined": describe_exception(error)})
        return
    channel.send({"confined": layers})

    def answer(number: int, value: Any) -> None:
        tree, blob = wire.encode(value, answer=True)
        channel.send({"id": number, "value": tree, "printed": printed.take()}, blob)

    def complain(number: int, error: BaseException) -> None:
        kind = "not_attempted" if isinstance(error, NotAttempted) else "error"
        if isinstance(error, CourseError):
            kind = "unreadable"
        known = isinstance(error, NotAttempted | LearnerError | CourseError)
        text = str(error).replace(f"{folder}/", "") if known else describe_exception(error)
        if isinstance(error, wire.Malformed):
            text = f"a TypeError: its result cannot leave it: {error}"
        channel.send({"id": number, "raised": kind, "text": text[:4000], "printed": printed.take()})

    exercise = get_exercise(order["exercise"])
    torch.set_num_threads(1)
    try:
        code = read_notebook_code(path)
        channel.send({"id": 0, "loading": -1})
        _seed(JOB_SEED)

        def before(statement: Statement) -> None:
            borrowed = bool(code.borrowed.get(exercise.id))
            channel.send({"id": 0, "loading": statement.cell, "borrowed": borrowed})

        namespace = code.namespace_for(exercise, before, own=order["own"])
        learner = DirectLearner(namespace, cell_names())
        _seed(JOB_SEED)
        answer(0, code.unloadable.get(exercise.id) or "")
    except BaseException as error:
        complain(0, error)
        return
    actions: dict[str, Callable[..., Any]] = {
        "call": learner.call,
        "gradients": learner.gradients,
        "create": learner.create,
        "get": learner.get,
        "set": learner.set,
    }
    while True:
        try:
            request, blob = channel.receive()
        except wire.Closed:
            return
        try:
            args, kwargs = wire.decode(request["arguments"], blob, trusted=True)
            answer(request["id"], actions[request["action"]](*args, **kwargs))
        except wire.Closed:
            return
        except BaseException as error:
            complain(request["id"], error)


def _seed(seed: int) -> None:
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % (1 << 32))
    torch.manual_seed(seed)


def _confine(options: dict[str, Any]) -> list[str]:
    """Put on every layer that was asked for, and return their names. One that fails ends the job."""
    layers = options["layers"]
    applied = ["namespaces"] if "namespaces" in layers else []
    if "rlimits" in layers:
        # Should the machine run out of memory, this process goes first.
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="utf-8")
        confine.limit_resources(options["memory"], options["file_size"], options["seconds"])
        confine.drop_privileges()
        applied.append("rlimits")
    if "landlock" in layers:
        writable = [options["scratch"]] if options["scratch"] else []
        confine.landlock([*options["readable"], options["work"], "/proc/self"], [*writable, os.devnull])
        applied.append("landlock")
    if "seccomp" in layers:
        confine.seccomp()
        applied.append("seccomp")
    return applied


if __name__ == "__main__":
    main(sys.argv[1:])
