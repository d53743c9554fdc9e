"""Which system calls the child may make, and what happens to it when it makes another.

Two filters, each put up before the bytes that might break through what is inside of it:

    LOADING   before a stranger's module is parsed and compiled
    RUNNING   before it runs: as above, and nothing new becomes executable or lies outside of RLIMIT_DATA

A call that is not listed fails with EPERM: libraries ask for much that they can do without. Some calls no
library makes by accident: whoever makes one of HOSTILE has broken out, so the process ends there and then
(SIGSYS), and the parent can say why.

Numbers are from the kernel's headers; x86-64 and AArch64 are known here. Knows no files and no limits.
"""

from __future__ import annotations

import os
import platform
import signal
import struct
from collections.abc import Mapping
from typing import Final, NamedTuple

SECCOMP_SET_MODE_FILTER: Final = 1

_ALLOW, _EPERM, _KILL = 0x7FFF0000, 0x00050001, 0x80000000
_AUDIT_ARCHITECTURE: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_CALLS: Final = 0x40000000
"""On x86-64 the same architecture has a second table of calls from here on."""

_PROT_EXEC: Final = 4
_MAP_SHARED, _MAP_GROWSDOWN, _MAP_HUGETLB = 0x1, 0x100, 0x40000


class Condition(NamedTuple):
    """What must hold of an argument (its lower 32 bits): none of `mask` set, and `equal` if that is given."""

    argument: int
    mask: int = 0
    equal: int | None = None


class Calls(NamedTuple):
    """One filter: names of allowed calls, and what is asked of the arguments of some of them."""

    allowed: frozenset[str]
    conditions: Mapping[str, tuple[Condition, ...]]


NUMBERS: Final[dict[str, tuple[int, int]]] = {
    # name: (number on x86_64, number on aarch64); -1: does not exist there
    "accept": (43, 202),
    "accept4": (288, 242),
    "add_key": (248, 217),
    "bind": (49, 200),
    "bpf": (321, 280),
    "brk": (12, 214),
    "chroot": (161, 51),
    "clock_gettime": (228, 113),
    "clone": (56, 220),
    "clone3": (435, 435),
    "close": (3, 57),
    "connect": (42, 203),
    "delete_module": (176, 106),
    "execve": (59, 221),
    "execveat": (322, 281),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "finit_module": (313, 273),
    "fork": (57, -1),
    "fsopen": (430, 430),
    "fstat": (5, 80),
    "futex": (202, 98),
    "getpid": (39, 172),
    "getrandom": (318, 278),
    "gettid": (186, 178),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, -1),
    "iopl": (172, -1),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "kill": (62, 129),
    "listen": (50, 201),
    "lseek": (8, 62),
    "madvise": (28, 233),
    "membarrier": (324, 283),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "mmap": (9, 222),
    "modify_ldt": (154, -1),
    "mount": (165, 40),
    "move_mount": (429, 429),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "munmap": (11, 215),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pivot_root": (155, 41),
    "pread64": (17, 67),
    "prlimit64": (302, 261),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "read": (0, 63),
    "readv": (19, 65),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "rseq": (334, 293),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigqueueinfo": (129, 138),
    "rt_sigreturn": (15, 139),
    "rt_tgsigqueueinfo": (297, 240),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_yield": (24, 124),
    "seccomp": (317, 277),
    "sendmsg": (46, 211),
    "sendto": (44, 206),
    "setns": (308, 268),
    "setpriority": (141, 140),
    "setresuid": (117, 147),
    "setuid": (105, 146),
    "sigaltstack": (131, 132),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "swapon": (167, 224),
    "tgkill": (234, 131),
    "tkill": (200, 130),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vfork": (58, -1),
    "write": (1, 64),
    "writev": (20, 66),
}

_COMPUTE: Final = frozenset(
    [
        "brk",
        "clock_gettime",
        "close",
        "exit",
        "exit_group",
        "fstat",
        "futex",
        "getpid",
        "getrandom",
        "gettid",
        "lseek",
        "madvise",
        "mmap",
        "mprotect",
        "mremap",
        "munmap",
        "pread64",
        "read",
        "readv",
        "rseq",
        "rt_sigaction",
        "rt_sigprocmask",
        "rt_sigreturn",
        "sched_yield",
        "sigaltstack",
        "tgkill",
        "write",
        "writev",
    ]
)
_LOAD: Final = frozenset(("membarrier", "prlimit64", "seccomp"))

HOSTILE: Final = NUMBERS.keys() - _COMPUTE - _LOAD


def loading() -> Calls:
    """Compiling writes machine code and makes it executable; the last call is the next filter."""
    own = {
        "tgkill": (Condition(0, equal=os.getpid()), Condition(2, equal=signal.SIGABRT)),  # abort(), no more
        "prlimit64": (Condition(0, mask=0xFFFF_FFFF),),  # pid 0: its own limits, which only go down
    }
    return Calls(_COMPUTE | _LOAD, own)


def running() -> Calls:
    """A shared or a downward growing mapping is memory that RLIMIT_DATA does not count."""
    outside = _MAP_SHARED | _MAP_GROWSDOWN | _MAP_HUGETLB
    own = {
        "tgkill": (Condition(0, equal=os.getpid()), Condition(2, equal=signal.SIGABRT)),
        "mmap": (Condition(2, mask=_PROT_EXEC), Condition(3, mask=outside)),
        "mprotect": (Condition(2, mask=_PROT_EXEC),),
    }
    return Calls(_COMPUTE, own)


def known() -> bool:
    """Whether this processor's numbers are here."""
    return platform.machine() in _AUDIT_ARCHITECTURE


def number(name: str) -> int:
    """Of a call, on this processor."""
    return NUMBERS[name][list(_AUDIT_ARCHITECTURE).index(platform.machine())]


def compiled(calls: Calls) -> bytes:
    """The filter as classic BPF. Every test is followed by its own answer, so no jump is long."""
    load, jump_equal, jump_from, jump_set, answer = 0x20, 0x15, 0x35, 0x45, 0x06
    code = [
        (load, 0, 0, 4),
        (jump_equal, 1, 0, _AUDIT_ARCHITECTURE[platform.machine()]),
        (answer, 0, 0, _KILL),
        (load, 0, 0, 0),
        (jump_from, 0, 1, _X32_CALLS),
        (answer, 0, 0, _KILL),
    ]
    for name in sorted(calls.allowed):
        tests: list[tuple[int, int, int, int]] = []
        for condition in calls.conditions.get(name, ()):
            tests.append((load, 0, 0, 16 + 8 * condition.argument))
            if condition.equal is not None:
                tests += [(jump_equal, 1, 0, condition.equal), (answer, 0, 0, _EPERM)]
            if condition.mask:
                tests += [(jump_set, 0, 1, condition.mask), (answer, 0, 0, _EPERM)]
        code += [(jump_equal, 0, len(tests) + 1, number(name)), *tests, (answer, 0, 0, _ALLOW)]
    for name in sorted(HOSTILE):
        if number(name) >= 0:
            code += [(jump_equal, 0, 1, number(name)), (answer, 0, 0, _KILL)]
    code.append((answer, 0, 0, _EPERM))
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)
