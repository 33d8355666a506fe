"""What a job does to itself before it runs a learner's code, and what this machine allows (Linux).

Four layers, each of which is enough against most: namespaces (made by bubblewrap, see `machine.py`) take the network,
other processes and other files out of sight; landlock refuses files by path; seccomp refuses system calls; resource
limits cap memory, files and processor time. What this cannot cap (threads, the number of files in the scratch) the
zygote watches from outside.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import struct
import sys
from collections.abc import Sequence
from typing import Any

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_READ_FILE, _READ_DIR, _EXECUTE, _IOCTL = 1 << 2, 1 << 3, 1 << 0, 1 << 15
_NO_NEW_PRIVILEGES, _DROP_BOUNDING, _PARENT_DEATH = 38, 24, 1
_THREAD = 0x00010000

# Everything that computing and talking over an open socket needs. Whatever else there is, or will be in a newer kernel,
# is refused with "not permitted". Left out on purpose although they are common: chmod, chown, utime, truncate by name,
# extended attributes and file locks, which landlock does not stop (or only in newer kernels), and new sockets.
_ALLOWED = """
access alarm arch_prctl brk chdir clock_getres clock_gettime clock_nanosleep close close_range copy_file_range dup
dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 exit exit_group
faccessat faccessat2 fadvise64 fallocate fchdir fdatasync fstat fstatfs fsync ftruncate futex futex_wait futex_waitv
futex_wake get_mempolicy get_robust_list getcpu getcwd getdents getdents64 getegid geteuid getgid getgroups getitimer
getpgid getpgrp getpid getppid getpriority getrandom getresgid getresuid getrlimit getrusage getsid getsockname
getsockopt gettid gettimeofday getuid link linkat lseek lstat madvise membarrier mincore mkdir mkdirat mlock mmap
mprotect mremap msync munlock munmap nanosleep newfstatat pause pipe pipe2 poll ppoll pread64 preadv preadv2
pselect6 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv rename renameat renameat2 restart_syscall
rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn rt_sigsuspend rt_sigtimedwait sched_get_priority_max
sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_yield select sendfile
set_robust_list set_tid_address setitimer setrlimit shutdown sigaltstack stat statfs statx symlink symlinkat sysinfo
time times umask uname unlink unlinkat wait4 waitid write writev
"""
# F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, F_GETPIPE_SZ: no locks, leases, signals to others.
_FCNTL = (0, 1, 2, 3, 4, 1030, 1032)
# TCGETS, FIONREAD, FIONBIO, FIOCLEX, FIONCLEX, TIOCGWINSZ: no typing into somebody's terminal.
_IOCTL_REQUESTS = (0x5401, 0x541B, 0x5421, 0x5451, 0x5450, 0x5413)
# PR_SET_NAME, PR_GET_NAME, and naming memory.
_PRCTL = (15, 16, 0x53564D41)
# Below this version landlock lets `open` cut files that may be read, so that it is not enough by itself.
LANDLOCK_ALONE = 3


def landlock_version() -> int:
    """Return the kernel's landlock version; 0 where there is none."""
    if sys.platform != "linux":
        return 0
    return max(0, _libc().syscall(_CREATE_RULESET, None, 0, 1))


def seccomp_available() -> bool:
    """libseccomp and its Python binding are installed."""
    if sys.platform != "linux":
        return False
    try:
        import pyseccomp
    except (ImportError, OSError, RuntimeError):
        return False
    return bool(pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, "execve") >= 0)


def limit_resources(memory: int, file_size: int, seconds: float) -> None:
    """Cap what this process may use: bytes of memory beyond what it has, of each file, processor seconds."""
    with open("/proc/self/statm") as file:
        present = int(file.read().split()[0]) * resource.getpagesize()
    for what, limit in (
        (resource.RLIMIT_AS, present + memory),
        (resource.RLIMIT_FSIZE, file_size),
        (resource.RLIMIT_CPU, processor_seconds(seconds)),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_NICE, 0),
        (resource.RLIMIT_RTPRIO, 0),
    ):
        resource.setrlimit(what, (limit, limit))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def processor_seconds(seconds: float) -> int:
    """Return how many seconds of all processors together a job may use that may run so long."""
    return int(seconds) + 5


def drop_privileges(parent_dies: bool = True) -> None:
    """Give up all capabilities, for good; die with the parent."""
    libc = _libc()
    if parent_dies:
        libc.prctl(_PARENT_DEATH, signal.SIGKILL, 0, 0, 0)
    for capability in range(64):
        libc.prctl(_DROP_BOUNDING, capability, 0, 0, 0)
    header = struct.pack("<II", 0x20080522, 0)
    libc.capset(header, bytes(24))
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs is refused")


def landlock(readable: Sequence[str], writable: Sequence[str]) -> None:
    """Allow this process to read below some paths, to write below others, and no other files.

    Needs no_new_privs. Raises OSError where the kernel refuses.
    """
    libc, version = _libc(), landlock_version()
    if not version:
        raise OSError(errno.ENOSYS, "this kernel has no landlock")
    bits = 13 + (version >= 2) + (version >= 3) + (version >= 5)
    everything = (1 << bits) - 1
    # No TCP at all (version 4), no signals and no abstract sockets to the outside (version 6).
    attributes = struct.pack("<QQQ", everything, 0b11, 0b11)[
        : 8 if version < 4 else 16 if version < 6 else 24
    ]
    ruleset = libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "landlock refuses a ruleset")
    read = (_READ_FILE | _READ_DIR | _EXECUTE) & everything
    write = everything & ~_EXECUTE & ~_IOCTL
    for paths, access in ((readable, read), (writable, write)):
        for path in paths:
            try:
                place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue
            allowed = access if os.path.isdir(path) else access & (0b111 | (everything & 1 << 14))
            libc.syscall(_ADD_RULE, ruleset, 1, struct.pack("<Qi", allowed, place), 0)
            os.close(place)
    if libc.syscall(_RESTRICT_SELF, ruleset, 0) != 0:
        raise OSError(ctypes.get_errno(), "landlock is refused")
    os.close(ruleset)


def seccomp() -> None:
    """Allow the system calls that a job needs and no others; new threads are among them, new processes are not."""
    import pyseccomp as sc

    rules = sc.SyscallFilter(defaction=sc.ERRNO(errno.EPERM))

    def allow(name: str, *conditions: Any) -> None:
        # Negative numbers stand for calls that this architecture does not have.
        if sc.resolve_syscall(sc.Arch.NATIVE, name) >= 0:
            rules.add_rule(sc.ALLOW, name, *conditions)

    for name in _ALLOWED.split():
        allow(name)
    # Opening a file for reading and cutting it at once: old versions of landlock ask for the right to read alone.
    for name, place in (("open", 1), ("openat", 2)):
        allow(name, sc.Arg(place, sc.MASKED_EQ, os.O_TRUNC, 0))
        for mode in (os.O_WRONLY, os.O_RDWR):
            cuts = os.O_TRUNC | 0b11
            allow(name, sc.Arg(place, sc.MASKED_EQ, cuts, os.O_TRUNC | mode))
    allow("clone", sc.Arg(0, sc.MASKED_EQ, _THREAD, _THREAD))
    # Its flags lie in memory, where a filter cannot look; the C library then uses clone.
    if sc.resolve_syscall(sc.Arch.NATIVE, "clone3") >= 0:
        rules.add_rule(sc.ERRNO(errno.ENOSYS), "clone3")
    # Its own threads and limits only.
    allow("tgkill", sc.Arg(0, sc.EQ, os.getpid()))
    allow("prlimit64", sc.Arg(0, sc.EQ, 0))
    for name, commands in (("fcntl", _FCNTL), ("ioctl", _IOCTL_REQUESTS)):
        for command in commands:
            allow(name, sc.Arg(1, sc.MASKED_EQ, 0xFFFFFFFF, command))
    for option in _PRCTL:
        allow("prctl", sc.Arg(0, sc.MASKED_EQ, 0xFFFFFFFF, option))
    rules.load()


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
