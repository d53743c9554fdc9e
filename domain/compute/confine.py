"""The kernel's walls around the child: what holds even if the guest breaks out of WebAssembly.

Each wall is put up if this system has it, and `Loaded.confined` names those that stand; WebAssembly and the
in-memory WASI are the first wall and are always there.

    nice, sched_idle, autogroup   the machine's owner comes first (nice alone still takes 45 % of a core from
                                  another session; with autogroup 19, 3 %)
    rlimits                       memory, addresses, stack, CPU, size and number of files, processes, core
    oom_first                     when memory runs out, the system ends this process and not the node
    no_capabilities               a node that runs as root gives none of it to a guest
    no_new_privs, landlock        no file can be opened, no TCP port, (ABI 6) no signal and no abstract socket
                                  to anybody outside
    seccomp                       see `calls`: a filter for compiling, a narrower one for running

And always: no variables, no open files, folder /, umask 077, a session of its own, death with the parent.

What must always hold: all files are opened before `forbid_files`, and that comes before the first byte that a
stranger wrote is looked at.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from domain.compute import calls

NICE_MIN: Final = -20
NICE_MAX: Final = 19
AUTOGROUP_PAUSE_S: Final = 0.1  # the kernel lets those who are not root set one in so many seconds
AUTOGROUP_TRIES: Final = 50  # as when as many children start together
OPEN_FILES_SPARE: Final = 32  # above the inputs: pipes, cache files, the interpreter's own
FILE_SIZE_MAX: Final = 1 << 30  # a compiled module
ADDRESSES_MAX: Final = 32 << 30
"""A guest takes 4 GiB of it. Page tables for more would be memory that RLIMIT_DATA does not count."""
STACK_MAX: Final = 8 << 20
CPU_S_SPARE: Final = 5  # between the signal that says why, and the one that cannot be ignored

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_PR_CAPBSET_DROP, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 24, 47, 4
_CAPABILITY_VERSION_3: Final = 0x20080522
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446
_FILE_RIGHTS_ALL: Final = 0x1FFF
_NET_RIGHTS_ALL: Final = 3  # TCP bind and connect, since ABI 4
_SCOPES_ALL: Final = 3  # abstract unix sockets and signals, since ABI 6

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
    """After SIGSTOP: the best priority that we may give, until `let_wait`.

    Stopping takes a turn on a core, and on a busy machine the lowest priority waits half a second for it.
    None of its own code runs in that turn, so it costs nobody anything.
    """
    if sys.platform == "linux":
        _be_ordinary(pid)
        if _set_autogroup(pid, NICE_MIN) is None:  # that takes root
            _set_autogroup(pid, 0)


def let_die(pid: int) -> None:
    """After SIGKILL: an ordinary priority, for the same reason; giving back its memory may take a while."""
    if sys.platform == "linux":
        _be_ordinary(pid)
        _set_autogroup(pid, 0)


def let_wait(pid: int) -> bool:
    """Before SIGCONT: take again what `let_stop` gave. False: not now, ask again in AUTOGROUP_PAUSE_S."""
    if sys.platform != "linux":
        return True
    with suppress(ProcessLookupError, PermissionError):
        os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
    return _set_autogroup(pid, NICE_MAX) is not False


def _be_ordinary(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))


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


def limit_cpu(seconds: int, *, hard: int | None = None) -> None:
    """CPU seconds from the start of the process; past it, SIGXCPU. May be raised again, up to `hard`."""
    _limit(resource.RLIMIT_CPU, seconds, hard)


def limit(*, data: int, open_files: int) -> list[str]:
    """Limits of the kernel, in bytes of private memory and in files. Never above what already holds."""
    for name, value in (
        ("RLIMIT_DATA", data),
        ("RLIMIT_AS", ADDRESSES_MAX),
        ("RLIMIT_STACK", STACK_MAX),
        ("RLIMIT_NOFILE", open_files),
        ("RLIMIT_FSIZE", FILE_SIZE_MAX),
        ("RLIMIT_NPROC", 0),
        ("RLIMIT_MEMLOCK", 0),
        ("RLIMIT_MSGQUEUE", 0),
        ("RLIMIT_CORE", 0),
    ):
        kind = getattr(resource, name, None)  # not every system has all of them
        if kind is not None:
            _limit(kind, value, value)
    return ["rlimits"]


def die_first() -> list[str]:
    """When the system must end a process to get memory back, it shall be this one."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError:
        return []
    return ["oom_first"]


def drop_privileges() -> list[str]:
    """No capability now and none later, whatever user this is."""
    if sys.platform != "linux" or _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return []
    capability = 0
    while _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:  # fails past the last, and unless root
        capability += 1
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header, nothing = struct.pack("@Ii", _CAPABILITY_VERSION_3, 0), bytes(24)
    _checked(_libc.capset(header, nothing), "capset")
    return ["no_new_privs", "no_capabilities"]


def forbid_files() -> list[str]:
    """From here on nothing can be opened, and nobody outside be reached. Needs no_new_privs."""
    version = _libc.syscall(_LANDLOCK_CREATE_RULESET, None, 0, 1) if sys.platform == "linux" else -1
    if version < 1:
        return []
    handled = [_landlock_rights(version)]
    if version >= 4:
        handled.append(_NET_RIGHTS_ALL)
    if version >= 6:
        handled.append(_SCOPES_ALL)
    ruleset = struct.pack(f"<{len(handled)}Q", *handled)
    fd = _checked(_libc.syscall(_LANDLOCK_CREATE_RULESET, ruleset, len(ruleset), 0), "landlock")
    _checked(_libc.syscall(_LANDLOCK_RESTRICT_SELF, fd, 0), "landlock")
    os.close(fd)
    return ["landlock"] if version < 6 else ["landlock", "landlock_scope"]


def forbid_calls(allowed: calls.Calls) -> list[str]:
    """From here on only these system calls. Needs no_new_privs."""
    if sys.platform != "linux" or not calls.known():
        return []
    program = calls.compiled(allowed)
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    if _libc.syscall(calls.number("seccomp"), calls.SECCOMP_SET_MODE_FILTER, 1, header) != 0:  # all threads
        return []
    return ["seccomp"]


def _landlock_rights(version: int) -> int:
    """All rights over files that this version of landlock knows: refer, truncate and ioctl came later."""
    later = {1: 0, 2: 1 << 13, 3: 3 << 13, 4: 3 << 13}
    return _FILE_RIGHTS_ALL | later.get(version, 7 << 13)


def _limit(kind: int, value: int, hard: int | None) -> None:
    """Never above the hard limit that already holds; without `hard`, that one stays."""
    standing = resource.getrlimit(kind)[1]
    ceiling = (
        standing if hard is None else hard if standing == resource.RLIM_INFINITY else min(hard, standing)
    )
    soft = value if ceiling == resource.RLIM_INFINITY else min(value, ceiling)
    resource.setrlimit(kind, (soft, ceiling))


def _checked(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result
