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

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_READ_FILE, _READ_DIR, _EXECUTE, _IOCTL = 1 << 2, 1 << 3, 1 << 0, 1 << 15
_NO_NEW_PRIVILEGES, _DROP_BOUNDING, _PARENT_DEATH = 38, 24, 1
_THREAD = 0x00010000

# Refused with "not permitted". A job needs none of these: it computes, and talks over a socket that is open already.
_REFUSED = """
accept accept4 acct add_key bind bpf chroot clock_adjtime clock_settime connect create_module delete_module execve
execveat fanotify_init fanotify_mark finit_module fork fsconfig fsmount fsopen fspick init_module inotify_init
inotify_init1 io_uring_enter io_uring_register io_uring_setup ioperm iopl ioprio_set kcmp kexec_file_load kexec_load
keyctl kill landlock_create_ruleset listen lookup_dcookie mbind memfd_create memfd_secret migrate_pages mount
mount_setattr move_mount move_pages mq_open msgctl msgget msgrcv msgsnd name_to_handle_at nfsservctl open_by_handle_at
open_tree perf_event_open personality pidfd_getfd pidfd_open pidfd_send_signal pivot_root process_madvise
process_mrelease process_vm_readv process_vm_writev ptrace quotactl quotactl_fd reboot recvmmsg recvmsg request_key
rt_sigqueueinfo rt_tgsigqueueinfo sched_setaffinity sched_setattr sched_setparam sched_setscheduler semctl semget
semop semtimedop sendmmsg sendmsg set_mempolicy setdomainname setgid setgroups sethostname setns setpriority setregid
setresgid setresuid setreuid settimeofday setuid shmat shmctl shmdt shmget socket socketpair stime swapoff swapon sync
syncfs syslog tkill umount umount2 unshare uselib userfaultfd ustat vfork vhangup
"""


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
        (resource.RLIMIT_CPU, int(seconds) + 5),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_NICE, 0),
        (resource.RLIMIT_RTPRIO, 0),
    ):
        resource.setrlimit(what, (limit, limit))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


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
    """Refuse the system calls that a job has no use for; threads are allowed, new processes are not."""
    import pyseccomp as sc

    refused = sc.ERRNO(errno.EPERM)
    rules = sc.SyscallFilter(defaction=sc.ALLOW)
    for name in _REFUSED.split():
        number = sc.resolve_syscall(sc.Arch.NATIVE, name)
        # Negative numbers stand for calls that this architecture does not have.
        if number >= 0:
            rules.add_rule(refused, name)
    rules.add_rule(refused, "clone", sc.Arg(0, sc.MASKED_EQ, _THREAD, 0))
    # Its flags lie in memory, where a filter cannot look; the C library then uses clone.
    rules.add_rule(sc.ERRNO(errno.ENOSYS), "clone3")
    # Its own threads and limits only.
    rules.add_rule(refused, "tgkill", sc.Arg(0, sc.NE, os.getpid()))
    rules.add_rule(refused, "prlimit64", sc.Arg(0, sc.NE, 0))
    # No typing into somebody's terminal (TIOCSTI, TIOCLINUX), no signals to a socket's owner (FIOSETOWN, SIOCSPGRP).
    for request in (0x5412, 0x541C, 0x8901, 0x8902):
        rules.add_rule(refused, "ioctl", sc.Arg(1, sc.MASKED_EQ, 0xFFFFFFFF, request))
    # F_SETOWN, F_SETSIG, F_SETOWN_EX: the same by another way.
    for command in (8, 10, 15):
        rules.add_rule(refused, "fcntl", sc.Arg(1, sc.MASKED_EQ, 0xFFFFFFFF, command))
    rules.load()


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
