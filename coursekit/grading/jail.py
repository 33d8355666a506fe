"""The checker's side of the jail: what this machine offers, starting jobs, and the door that leads into one.

The checker never runs, imports or unpickles anything of a learner's. A notebook is handed to a job as bytes; what
comes back is data (`wire.py`).
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor

from coursekit.checking.door import PACKAGE_DIRECTORIES, Handle, LearnerError, NotAttempted, Target
from coursekit.checking.limits import OutOfTime
from coursekit.errors import CourseError
from coursekit.grading import confine, wire

TIERS = ("none", "reduced", "full")
SCRATCH = "/scratch"
START_SECONDS = 120
LAYERS = ("namespaces", "landlock", "seccomp", "rlimits")

ADVICE = {
    "namespaces": "Install bubblewrap (Debian, Ubuntu: `apt-get install bubblewrap`; Fedora: `dnf install bubblewrap`) "
    "and allow it to make user namespaces; in a container, start that with `--security-opt seccomp=unconfined "
    "--security-opt apparmor=unconfined`.",
    "landlock": "Use Linux 5.13 or newer with landlock among its security modules (add `landlock` to the kernel "
    "option `lsm=`).",
    "seccomp": "Install libseccomp (Debian, Ubuntu: `apt-get install libseccomp2`) and "
    '`pip install "superposition-course[grading]"`.',
    "rlimits": "Grade on Linux: a virtual machine, or WSL 2 on Windows.",
}


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


@functools.cache
def available_layers() -> tuple[str, ...]:
    """Which of the four layers this machine has, found out by trying."""
    found = []
    if sys.platform == "linux":
        if _bubblewrap_works():
            found.append("namespaces")
        if confine.landlock_version():
            found.append("landlock")
        if confine.seccomp_available():
            found.append("seccomp")
        found.append("rlimits")
    return tuple(found)


def tier_of(layers: Sequence[str]) -> str:
    """full: all four layers. reduced: all but namespaces. none: a process with a time limit."""
    if set(LAYERS) <= set(layers):
        return "full"
    return "reduced" if set(LAYERS) - {"namespaces"} <= set(layers) else "none"


def require(tier: str, layers: Sequence[str]) -> None:
    """Raise CourseError, with what to install, if the layers make less than the tier."""
    if tier not in TIERS:
        raise CourseError(f"There is no tier {tier!r}. The tiers are {', '.join(reversed(TIERS))}.")
    if TIERS.index(tier_of(layers)) < TIERS.index(tier):
        needed = LAYERS if tier == "full" else LAYERS[1:]
        missing = [layer for layer in needed if layer not in layers]
        raise CourseError(
            f"This machine can jail learners' code only at tier {tier_of(layers)!r}, and {tier!r} is required: "
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing. "
            + " ".join(ADVICE[layer] for layer in missing)
            + " Or accept less with `--require`, for learners whom you trust."
        )


def _bubblewrap_works() -> bool:
    if shutil.which("bwrap") is None:
        return False
    command = [*_bubblewrap(), "--", sys.executable, "-I", "-S", "-c", "pass"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(command, capture_output=True, timeout=20).returncode == 0
    return False


def _readable() -> list[str]:
    """The folders that Python, its packages and the course need. No home, no submissions, no gradebook."""
    paths = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/etc/ld.so.cache", "/etc/alternatives"]
    paths += [sys.prefix, sys.base_prefix, *PACKAGE_DIRECTORIES]
    for path in sys.path:
        if "site-packages" in path or "dist-packages" in path:
            paths.append(path)
    # Only folders of their own: a checkout's root would show the gradebook.
    return sorted({path for path in paths if os.path.exists(path)})


def _bubblewrap(scratch: int = 1 << 20) -> list[str]:
    """A command that runs another one without network, with only the folders above and a scratch of this size."""
    command = [
        "bwrap", "--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534", "--hostname", "jail",
        "--new-session", "--cap-drop", "ALL", "--proc", "/proc", "--dev", "/dev",
    ]  # fmt: skip
    for path in _readable():
        if os.path.islink(path):
            command += ["--symlink", os.readlink(path), path]
        else:
            command += ["--ro-bind", path, path]
    return [*command, "--size", str(scratch), "--tmpfs", SCRATCH, "--chdir", SCRATCH, "--remount-ro", "/"]


class Jail:
    """Starts jobs, one at a time, each in a process of its own that ends with it.

    Args:
        require: the tier below which it refuses: full, reduced or none.
        limits: of each job.
        layers: use only these of the layers that the machine has.
        modules: what the jobs will import, loaded ahead of time.
    """

    def __init__(
        self,
        require_tier: str = "full",
        limits: Limits | None = None,
        layers: Sequence[str] = LAYERS,
        modules: Sequence[str] = ("part_utils.toy_model", "part_utils.autoencoder"),
    ) -> None:
        self.layers = tuple(layer for layer in LAYERS if layer in layers and layer in available_layers())
        require(require_tier, self.layers)
        self.tier = tier_of(self.layers)
        self.limits = limits or Limits()
        self._modules = [module for module in modules if importlib.util.find_spec(module)]
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._work = tempfile.TemporaryDirectory(prefix="course-jail-")

    def __enter__(self) -> Jail:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the zygote and whatever runs in it."""
        self._drop()
        shutil.rmtree(self._work.name, ignore_errors=True)

    @contextlib.contextmanager
    def job(
        self, notebook: bytes, name: str, exercise_id: str, seed: int, seconds: float, own: bool = False
    ) -> Iterator[JailedLearner]:
        """A process that is ready to load the notebook, and is gone when the block ends.

        With `own`, code that uses other exercises gets the learner's solutions of them, otherwise the reference's.
        """
        start = self._from_zygote if self.tier != "none" else self._on_its_own
        with start(seconds) as process:
            order = {"exercise": exercise_id, "seed": seed, "name": name, "own": own}
            yield JailedLearner(process, notebook, order, seconds, self.limits)

    def try_out(self) -> str:
        """Start a job and say how long that took. Raises CourseError if it does not start."""
        if self.tier == "none":
            return "runs in a process of its own, and nothing else protects this machine"
        self._zygote()
        start = time.perf_counter()
        with self.job(b"", "empty.ipynb", "0.1", 0, 10) as learner, contextlib.suppress(Unreadable):
            learner.load()
        return f"starts in {1000 * (time.perf_counter() - start):.0f} ms, confined by {', '.join(learner.layers)}"

    def _options(self, seconds: float) -> dict[str, Any]:
        scratch = SCRATCH if "namespaces" in self.layers else ""
        return {
            "layers": list(self.layers) if self.tier != "none" else [],
            "readable": _readable(),
            "modules": self._modules,
            "work": scratch or self._work.name,
            "scratch": scratch,
            "memory": self.limits.memory,
            "resident": self.limits.memory + (1 << 30),
            "file_size": self.limits.scratch if scratch else 0,
            "seconds": seconds,
        }

    @contextlib.contextmanager
    def _from_zygote(self, seconds: float) -> Iterator[_Job]:
        control = self._zygote()
        ours, theirs = socket.socketpair()
        try:
            try:
                with theirs:
                    socket.send_fds(control, [json.dumps({"seconds": seconds}).encode()], [theirs.fileno()])
            except OSError:
                self._drop()
                raise JailLost from None
            job = _Job(wire.Channel(ours.fileno(), ours.fileno()), lambda: _ignoring(control.send, b"kill"))
            try:
                yield job
            finally:
                job.over()
                _ignoring(ours.shutdown, socket.SHUT_RDWR)
                # A job that hangs after its last answer is not waited for.
                _ignoring(control.send, b"kill")
                self._report_of(job)
        finally:
            ours.close()

    def _report_of(self, job: _Job) -> None:
        """Read how the job ended. A zygote that does not say so is replaced."""
        if job.report:
            return
        assert self._control is not None
        self._control.settimeout(30)
        try:
            text = self._control.recv(4096)
            job.report = json.loads(text) if text else {}
        except (OSError, ValueError):
            job.report = {}
        if not job.report:
            self._drop()
            job.report = {"exit": -9, "killed": ""}
        if job.report.get("last"):
            self._drop()
        if job.timed_out or job.report["killed"] == "time":
            # Every job that has not hung up by itself is told to end; only the clock says that it was late.
            job.report["killed"] = "time" if job.timed_out else ""

    def _zygote(self) -> socket.socket:
        if self._control is not None and self._process is not None and self._process.poll() is None:
            return self._control
        self._drop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [*_bubblewrap(self.limits.scratch), "--"] if "namespaces" in self.layers else []
        command += [*_python(), "fork", str(theirs.fileno()), json.dumps(self._options(0))]
        with theirs:
            self._process = subprocess.Popen(
                command,
                env=_environment(SCRATCH if "namespaces" in self.layers else self._work.name),
                cwd=self._work.name,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._control = ours
        ours.settimeout(START_SECONDS)
        try:
            ready = json.loads(ours.recv(4096) or b"{}")
        except (OSError, ValueError):
            ready = {}
        if not ready.get("ready"):
            self._process.kill()
            said = self._process.communicate()[1].decode(errors="replace").strip().splitlines()
            self._drop()
            raise CourseError(
                f"The jail does not start: {said[-1] if said else 'no answer'}. Run `course doctor --grading`."
            )
        if ready["threads"] != 1:
            raise CourseError(
                "The jail's process has several threads and cannot be forked. This is a bug; please report it."
            )
        return ours

    def _drop(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            # Its socket is closed, so it ends by itself, and with it every process in its namespace.
            try:
                self._process.wait(2)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            if self._process.stderr:
                self._process.stderr.close()
        self._control = self._process = None

    @contextlib.contextmanager
    def _on_its_own(self, seconds: float) -> Iterator[_Job]:
        """Without a zygote: a new Python for every job, on pipes. Works everywhere, protects little."""
        posix = os.name == "posix"
        # Under Windows descriptors are not inherited by number, so the job talks over its standard streams.
        with tempfile.TemporaryDirectory(prefix="course-job-") as work:
            options = json.dumps(self._options(seconds) | {"work": work})
            process = subprocess.Popen(
                [*_python(), "once", "0", "1", options],
                env=_environment(work) if posix else None,
                cwd=work,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=posix,
            )
            assert process.stdin is not None
            assert process.stdout is not None
            job = _Job(wire.Channel(process.stdout.fileno(), process.stdin.fileno()), process.kill)
            try:
                yield job
            finally:
                job.over()
                _ignoring(process.stdin.close)
                try:
                    code = process.wait(0.2)
                except subprocess.TimeoutExpired:
                    process.kill()
                    code = process.wait()
                process.stdout.close()
                job.report = {"exit": code, "killed": "time" if job.timed_out else ""}


class _Job:
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


class JailedLearner:
    """The door into a job: the same methods as `DirectLearner`, over a channel.

    Attributes:
        layers: what the job said confines it, before it had read a line of the learner's.
        cell: number of the cell that was loaded last, counted from 0.
        borrowed: the code uses other exercises.
        problem: what the code needs and could not be loaded.
        verdict: why the job is over, if it is over before its time.
    """

    def __init__(
        self, job: _Job, notebook: bytes, order: dict[str, Any], seconds: float, limits: Limits
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
        # Until it has read the notebook the job runs only the course's own code.
        self._job.kill_at(time.monotonic() + START_SECONDS)
        with self._fatal():
            self._job.channel.send(*self._order)
            message, _ = self._job.channel.receive()
            if "unconfined" in message:
                raise CourseError(f"A job could not be locked up: {message['unconfined']}.")
            self.layers = tuple(layer for layer in LAYERS if layer in message["confined"])
            end = time.monotonic() + self._seconds
            message, blob = self._job.channel.receive()
            while isinstance(message.get("loading"), int):
                self.cell, self.borrowed = message["loading"], message.get("borrowed") is True
                self._job.kill_at(
                    min(end, time.monotonic() + self._limits.cell_seconds * self._limits.time_factor)
                )
                message, blob = self._job.channel.receive()
            self.problem = str(self._result(message, blob, 0))
        self.loaded = True
        self._job.kill_at(time.monotonic() + self._seconds)

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
        if message.get("id") != number:
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
        except (wire.Malformed, KeyError, TypeError, AttributeError):
            raise self._malformed() from None
        except wire.Closed:
            self.verdict = "ended"
            raise JobEnded(self.verdict) from None

    def _malformed(self) -> JobEnded:
        self.verdict = "malformed"
        return JobEnded(self.verdict)


def explain_end(learner: JailedLearner, seconds: float) -> str:
    """A sentence for the learner on why the job was over before its time."""
    report = learner.report
    if learner.verdict == "malformed":
        return "Your code returned something that is not plain data of a reasonable size."
    where = "Your code" if learner.loaded or learner.cell < 0 else f"Cell {learner.cell + 1} of your notebook"
    killed = report.get("killed")
    if killed == "time":
        limit = (
            seconds
            if learner.loaded
            else min(seconds, learner._limits.cell_seconds * learner._limits.time_factor)
        )
        return f"{where} was stopped after {limit:g} seconds. Is there a loop that never ends?"
    if killed in ("threads", "files"):
        return f"{where} was stopped because it made too many {killed}."
    if killed == "memory":
        return f"{where} was stopped because it used too much memory."
    code = report.get("exit", 0)
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"{where} ended the Python process ({how})."


def _python() -> list[str]:
    return [sys.executable, "-s", "-P", "-m", "coursekit.grading.zygote"]


def _environment(home: str) -> dict[str, str]:
    """Nothing of the instructor's environment: it may hold keys."""
    path = os.environ.get("PATH", "/usr/bin:/bin")
    fixed = {"PATH": path, "HOME": home, "TMPDIR": home, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
    # The very packages that the checker runs, wherever that was found.
    fixed["PYTHONPATH"] = os.pathsep.join(
        dict.fromkeys(str(Path(path).parent) for path in PACKAGE_DIRECTORIES)
    )
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    # pyarrow, which TransformerLens loads, starts a thread of its allocator otherwise, and the zygote must have one.
    threads["JE_ARROW_MALLOC_CONF"] = "background_thread:false"
    quiet = {"TQDM_DISABLE": "1", "COURSE_STATIC": "1", "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return fixed | threads | quiet


def _ignoring(function: Any, *args: Any) -> None:
    with contextlib.suppress(OSError):
        function(*args)


def described(limits: Limits) -> dict[str, Any]:
    """The limits as they are written into every result."""
    return asdict(limits)
