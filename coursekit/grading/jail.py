"""The checker's side of the jail: starts jobs, from a process that is ready to be forked or each on its own.

The checker never runs, imports or unpickles anything of a learner's. A notebook is handed to a job as bytes; what
comes back is data (`wire.py`).
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from coursekit.checking.door import PACKAGE_DIRECTORIES
from coursekit.errors import CourseError
from coursekit.grading import wire
from coursekit.grading.jailed_learner import JailedLearner
from coursekit.grading.job import START_SECONDS, JailLost, Job, Limits, Unreadable
from coursekit.grading.machine import (
    LAYERS,
    SCRATCH,
    available_layers,
    bubblewrap,
    readable,
    require,
    tier_of,
)


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
        self, notebook: bytes, name: str, exercise_id: str, seconds: float, own: bool = False
    ) -> Iterator[JailedLearner]:
        """Start a process that is ready to load the notebook, and is gone when the block ends.

        With `own`, code that uses other exercises gets the learner's solutions of them, otherwise the reference's.
        """
        start = self._from_zygote if self.tier != "none" else self._on_its_own
        with start(seconds) as process:
            order = {"exercise": exercise_id, "name": name, "own": own}
            yield JailedLearner(process, notebook, order, seconds, self.limits)

    def try_out(self) -> str:
        """Start a job and say how long that took. Raises CourseError if it does not start."""
        if self.tier == "none":
            return "runs in a process of its own, and nothing else protects this machine"
        self._zygote()
        start = time.perf_counter()
        with self.job(b"", "empty.ipynb", "0.1", 10) as learner, contextlib.suppress(Unreadable):
            learner.load()
        return f"starts in {1000 * (time.perf_counter() - start):.0f} ms, confined by {', '.join(learner.layers)}"

    def _options(self, seconds: float) -> dict[str, Any]:
        scratch = SCRATCH if "namespaces" in self.layers else ""
        return {
            "layers": list(self.layers) if self.tier != "none" else [],
            "readable": readable(),
            "modules": self._modules,
            "work": scratch or self._work.name,
            "scratch": scratch,
            "memory": self.limits.memory,
            "resident": self.limits.memory + (1 << 30),
            "file_size": self.limits.scratch if scratch else 0,
            "seconds": seconds,
        }

    @contextlib.contextmanager
    def _from_zygote(self, seconds: float) -> Iterator[Job]:
        control = self._zygote()
        ours, theirs = socket.socketpair()
        try:
            try:
                with theirs:
                    socket.send_fds(control, [json.dumps({"seconds": seconds}).encode()], [theirs.fileno()])
            except OSError:
                self._drop()
                raise JailLost from None
            job = Job(
                wire.Channel(ours.fileno(), ours.fileno(), wire.LARGEST_ANSWER),
                lambda: _ignoring(control.send, b"kill"),
            )
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

    def _report_of(self, job: Job) -> None:
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
        command = [*bubblewrap(self.limits.scratch), "--"] if "namespaces" in self.layers else []
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
    def _on_its_own(self, seconds: float) -> Iterator[Job]:
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
            job = Job(
                wire.Channel(process.stdout.fileno(), process.stdin.fileno(), wire.LARGEST_ANSWER),
                lambda: _kill_group(process),
            )
            try:
                yield job
            finally:
                job.over()
                _ignoring(process.stdin.close)
                try:
                    code = process.wait(0.2)
                except subprocess.TimeoutExpired:
                    _kill_group(process)
                    code = process.wait()
                process.stdout.close()
                job.report = {"exit": code, "killed": "time" if job.timed_out else ""}


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a job that is a process of its own, and what it has started."""
    if os.name == "posix":
        _ignoring(os.killpg, process.pid, 9)
    _ignoring(process.kill)


def _python() -> list[str]:
    return [sys.executable, "-s", "-P", "-m", "coursekit.grading.zygote"]


def _environment(home: str) -> dict[str, str]:
    """Nothing of the instructor's environment: it may hold keys."""
    path = os.environ.get("PATH", "/usr/bin:/bin")
    fixed = {"PATH": path, "HOME": home, "TMPDIR": home, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
    # Torch's compiler, which some operations load, makes a folder, and not everywhere may a job do that.
    fixed["TORCHINDUCTOR_CACHE_DIR"] = home
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
