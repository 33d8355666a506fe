"""What this machine has to jail learners' code with: the layers, the tiers made of them, bubblewrap's command."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

from coursekit.checking.door import PACKAGE_DIRECTORIES
from coursekit.errors import CourseError
from coursekit.grading import confine

TIERS = ("none", "reduced", "full")
SCRATCH = "/scratch"
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


@functools.cache
def available_layers() -> tuple[str, ...]:
    """Return which of the four layers this machine has, found out by trying."""
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
    """full: all four layers. reduced: all but namespaces. none: a process with a time limit.

    Without namespaces, which show files read-only, an old version of landlock is not enough.
    """
    if set(LAYERS) <= set(layers):
        return "full"
    is_enough = set(LAYERS) - {"namespaces"} <= set(layers)
    return "reduced" if is_enough and confine.landlock_version() >= confine.LANDLOCK_ALONE else "none"


def require(tier: str, layers: Sequence[str]) -> None:
    """Raise CourseError, with what to install, if the layers make less than the tier."""
    if tier not in TIERS:
        raise CourseError(f"There is no tier {tier!r}. The tiers are {', '.join(reversed(TIERS))}.")
    if TIERS.index(tier_of(layers)) < TIERS.index(tier):
        needed = LAYERS if tier == "full" else LAYERS[1:]
        missing = [layer for layer in needed if layer not in layers]
        if not missing:
            raise CourseError(
                f"This machine's landlock has version {confine.landlock_version()}; without namespaces, version "
                f"{confine.LANDLOCK_ALONE} (Linux 6.2) is the least for tier {tier!r}. {ADVICE['namespaces']}"
            )
        raise CourseError(
            f"This machine can jail learners' code only at tier {tier_of(layers)!r}, and {tier!r} is required: "
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing. "
            + " ".join(ADVICE[layer] for layer in missing)
            + " Or accept less with `--require`, for learners whom you trust."
        )


def _bubblewrap_works() -> bool:
    if shutil.which("bwrap") is None:
        return False
    command = [*bubblewrap(), "--", sys.executable, "-I", "-S", "-c", "pass"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(command, capture_output=True, timeout=20).returncode == 0
    return False


def readable() -> list[str]:
    """Return the folders that Python, its packages and the course need. No home, no submissions, no gradebook."""
    paths = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/etc/ld.so.cache", "/etc/alternatives"]
    paths += [sys.prefix, sys.base_prefix, *PACKAGE_DIRECTORIES]
    for path in sys.path:
        if "site-packages" in path or "dist-packages" in path:
            paths.append(path)
    # What the processor can do, and how many there are: without it torch computes many times slower.
    paths.append("/sys/devices/system/cpu")
    # Only folders of their own: a checkout's root would show the gradebook.
    return sorted({path for path in paths if os.path.exists(path)})


def bubblewrap(scratch: int = 1 << 20) -> list[str]:
    """Return a command that runs another one without network, with only these folders and a scratch of this size."""
    command = [
        "bwrap", "--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534", "--hostname", "jail",
        "--new-session", "--cap-drop", "ALL", "--proc", "/proc", "--dev", "/dev",
    ]  # fmt: skip
    for path in readable():
        if os.path.islink(path):
            command += ["--symlink", os.readlink(path), path]
        else:
            command += ["--ro-bind", path, path]
    return [*command, "--size", str(scratch), "--tmpfs", SCRATCH, "--chdir", SCRATCH, "--remount-ro", "/"]
