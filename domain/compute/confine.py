"""The kernel's walls around the child: what holds even if the guest breaks out of WebAssembly.

Each wall is put up if this system has it, and `Loaded.confined` names those that stand; WebAssembly and the
in-memory WASI are the first wall and are always there.

    session, nice, SCHED_IDLE, autogroup   the machine's owner comes first (nice alone still takes 45 %
                                           of a core from another session; with autogroup 19, 3 %)
    parent-death signal                    no orphan burns on when the node is killed
    rlimits                                memory, CPU, file size, open files, no core dump
    no_new_privs, landlock                 no files but the module cache, no TCP
    seccomp                                after compiling: no open, no socket, no exec, no clone, no ptrace

Linux numbers are from the kernel's headers; x86-64 and AArch64 are known here.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

NICE_MAX: Final = 19
AUTOGROUP_PAUSE_S: Final = 0.1  # the kernel lets those who are not root set one in so many seconds
AUTOGROUP_TRIES: Final = 50  # as when as many children start together
OPEN_FILES_SPARE: Final = 32  # above the inputs: pipes, cache files, the interpreter's own
FILE_SIZE_MAX: Final = 1 << 30  # a compiled module
DATA_BASE: Final = 2 << 30  # interpreter, engine, compiling the largest module

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = 444, 445, 446
_READ_FILE, _FILE_RIGHTS_ALL = 1 << 2, 0x1FFF
_NET_RIGHTS_ALL: Final = 3  # TCP bind and connect, since ABI 4

_ALLOW, _ERRNO_EPERM, _KILL = 0x7FFF0000, 0x00050001, 0x80000000
_AUDIT_ARCHITECTURE: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SECCOMP: Final = {"x86_64": 317, "aarch64": 277}
_CALLS_ALLOWED: Final[dict[str, tuple[int, int]]] = {
    # name: (number on x86_64, number on aarch64)
    "brk": (12, 214),
    "clock_gettime": (228, 113),
    "close": (3, 57),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "fstat": (5, 80),
    "futex": (202, 98),
    "getpid": (39, 172),
    "getrandom": (318, 278),
    "gettid": (186, 178),
    "lseek": (8, 62),
    "madvise": (28, 233),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "munmap": (11, 215),
    "pread64": (17, 67),
    "read": (0, 63),
    "readv": (19, 65),
    "rseq": (334, 293),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sched_yield": (24, 124),
    "sigaltstack": (131, 132),
    "write": (1, 64),
    "writev": (20, 66),
}

_libc = ctypes.CDLL(None, use_errno=True)


def die_with(parent: int) -> None:
    """Be killed when the thread that started us ends. Exits at once if it already has."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def yield_to_everyone() -> list[str]:
    """Lowest priority, in every way that this system knows."""
    os.nice(NICE_MAX)
    standing = ["nice"]
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        standing.append("sched_idle")
        for _ in range(AUTOGROUP_TRIES):
            if (done := _set_autogroup(os.getpid(), NICE_MAX)) is not False:
                break
            time.sleep(AUTOGROUP_PAUSE_S)
        if done:
            standing.append("autogroup")
    return standing


def let_stop(pid: int) -> None:
    """After SIGSTOP or SIGKILL: give the session of `pid` the priority that `yield_to_everyone` took.

    Stopping takes a turn on a core, and on a busy machine the lowest priority waits half a second for it.
    None of its own code runs in that turn.
    """
    if sys.platform == "linux":
        with suppress(ProcessLookupError, PermissionError):
            os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))
        _set_autogroup(pid, 0)


def let_wait(pid: int) -> bool:
    """Before SIGCONT: take again what `let_stop` gave. False: not now, ask again in AUTOGROUP_PAUSE_S."""
    if sys.platform != "linux":
        return True
    with suppress(ProcessLookupError, PermissionError):
        os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
    return _set_autogroup(pid, NICE_MAX) is not False


def _set_autogroup(pid: int, nice: int) -> bool | None:
    """How the kernel weighs the whole session of `pid`. None: it has no such thing, or not for us.

    False: it was set for somebody else just now. Only root may do so more than ten times a second, in the
    whole system.
    """
    try:
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))
    except BlockingIOError:
        return False
    except OSError:  # not every kernel has it; nice still holds within the session
        return None
    return True


def limit_cpu(seconds: int) -> None:
    """CPU seconds from the start of the process; past it, SIGXCPU. May be raised again."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def limit(*, data: int, open_files: int) -> list[str]:
    """Limits of the kernel, in bytes of private memory and in files. Never above what already holds."""
    for kind, value in (
        (resource.RLIMIT_DATA, data),
        (resource.RLIMIT_NOFILE, open_files),
        (resource.RLIMIT_FSIZE, FILE_SIZE_MAX),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (allowed, allowed))
    return ["rlimits"]


def forbid_files(*, read: list[Path], change: list[Path]) -> list[str]:
    """From here on only `read` (files) and `change` (folders) can be opened, and no TCP port."""
    if sys.platform != "linux" or _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return []
    version = _libc.syscall(_LANDLOCK_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return ["no_new_privs"]
    rights = _landlock_rights(version)
    ruleset = struct.pack("<QQ", rights, _NET_RIGHTS_ALL) if version >= 4 else struct.pack("<Q", rights)
    fd = _checked(_libc.syscall(_LANDLOCK_CREATE_RULESET, ruleset, len(ruleset), 0), "landlock")
    for paths, allowed in ((read, _READ_FILE), (change, rights)):
        for path in paths:
            _allow_beneath(fd, path, allowed)
    _checked(_libc.syscall(_LANDLOCK_RESTRICT_SELF, fd, 0), "landlock")
    os.close(fd)
    return ["no_new_privs", "landlock"]


def forbid_calls() -> list[str]:
    """From here on only the system calls that computing and answering need. Needs no_new_privs or root."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _SECCOMP:
        return []
    column = list(_SECCOMP).index(machine)
    program = _filter(_AUDIT_ARCHITECTURE[machine], [numbers[column] for numbers in _CALLS_ALLOWED.values()])
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    if _libc.syscall(_SECCOMP[machine], 1, 1, header) != 0:  # SET_MODE_FILTER, for all threads
        return []
    return ["seccomp"]


def _landlock_rights(version: int) -> int:
    """All rights over files that this version of landlock knows: refer, truncate and ioctl came later."""
    later = {1: 0, 2: 1 << 13, 3: 3 << 13, 4: 3 << 13}
    return _FILE_RIGHTS_ALL | later.get(version, 7 << 13)


def _allow_beneath(ruleset: int, path: Path, rights: int) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    rule = struct.pack("<Qi", rights, fd)
    _checked(_libc.syscall(_LANDLOCK_ADD_RULE, ruleset, 1, rule, 0), f"landlock: {path}")
    os.close(fd)


def _filter(architecture: int, allowed: list[int]) -> bytes:
    """Classic BPF: wrong architecture dies, listed calls pass, all others get EPERM."""
    load, jump_equal, ret = 0x20, 0x15, 0x06
    count = len(allowed)
    code = [
        (load, 0, 0, 4),
        (jump_equal, 1, 0, architecture),
        (ret, 0, 0, _KILL),
        (load, 0, 0, 0),
        *((jump_equal, count - index, 0, number) for index, number in enumerate(allowed)),
        (ret, 0, 0, _ERRNO_EPERM),
        (ret, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def _checked(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result
