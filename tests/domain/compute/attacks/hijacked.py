"""A child whose guest has broken out: native code and Python in the guest's place, behind the real walls.

It starts as every child does and takes the same way through `domain.compute.child`; only what runs at its end
is another. An attack is a function that gets what a hostile insider would want to know (`Facts`) and returns
what it was told: the name of an errno for a "no", THROUGH if nothing stopped it. What the kernel ends the
process for, it cannot return from.

    WHILE_RUNNING   in place of the guest, after all walls
    WHILE_LOADING   in place of the compiler, while the module is read
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import resource
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from domain.compute import calls, child
from domain.compute.child import REPORT_FD
from domain.compute.task import LENGTH_SIZE, Failed, Ran, Task, frame

THROUGH: Final = "THROUGH"

_libc = ctypes.CDLL(None, use_errno=True)
_native: list[ctypes.CDLL] = []

O_READ, O_NEW = os.O_RDONLY, os.O_WRONLY | os.O_CREAT
AT_FDCWD: Final = -100
MIB: Final = 1 << 20
CLONE_VM, CLONE_FILES, CLONE_NEWUSER, CLONE_NEWNET = 0x100, 0x400, 0x10000000, 0x40000000


class Facts(msgspec.Struct):
    """What an insider would know: the node, a neighbour at work, and files that are none of its business."""

    node: int
    neighbour: int
    secret: str
    folder: str
    cache: str
    cached: str


Attack = Callable[[Facts], str]


def answer(result: int) -> str:
    return THROUGH if result >= 0 else errno.errorcode[ctypes.get_errno()]


def syscall(name: str, *arguments: object) -> str:
    return answer(_libc.syscall(calls.number(name), *arguments))


def opened(path: str | Path, flags: int = O_READ) -> str:
    return answer(_libc.open(os.fsencode(path), flags, 0o600))


def told(call: Callable[[], object]) -> str:
    """What Python is told."""
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    except MemoryError:
        return "MemoryError"
    return THROUGH


# -- files


def read_passwd(facts: Facts) -> str:
    return opened("/etc/passwd")


def read_the_nodes_key(facts: Facts) -> str:
    return opened(facts.secret)


def read_by_dots(facts: Facts) -> str:
    return opened(f"/proc/self/cwd/../../{facts.secret}")


def write_beside_the_inputs(facts: Facts) -> str:
    return opened(f"{facts.folder}/new", O_NEW)


def write_into_the_cache(facts: Facts) -> str:
    return opened(f"{facts.cache}/new.cwasm", O_NEW)


def poison_what_is_cached(facts: Facts) -> str:
    """Native code of another program, which the next child would run."""
    return opened(facts.cached, os.O_WRONLY)


def truncate_the_key(facts: Facts) -> str:
    return answer(_libc.truncate(facts.secret.encode(), 0))


def unlink_the_key(facts: Facts) -> str:
    return answer(_libc.unlink(facts.secret.encode()))


def rename_the_key(facts: Facts) -> str:
    return answer(_libc.rename(facts.secret.encode(), b"/tmp/mine"))


def link_to_the_key(facts: Facts) -> str:
    return answer(_libc.symlink(facts.secret.encode(), f"{facts.folder}/link".encode()))


def change_its_mode(facts: Facts) -> str:
    return answer(_libc.chmod(facts.secret.encode(), 0o777))


def list_a_folder(facts: Facts) -> str:
    return told(lambda: os.listdir("/"))


def open_by_handle(facts: Facts) -> str:
    """The way around paths that left containers once (CAP_DAC_READ_SEARCH)."""
    return syscall("open_by_handle_at", AT_FDCWD, bytes(64), 0)


def change_the_root(facts: Facts) -> str:
    return syscall("chroot", b"/")


def mount_a_disk(facts: Facts) -> str:
    return syscall("mount", b"none", b"/tmp", b"tmpfs", 0, None)


def use_what_was_left_open(facts: Facts) -> str:
    """Which descriptors does it have beside its three pipes?"""
    return " ".join(str(fd) for fd in range(256) if told(lambda fd=fd: os.lseek(fd, 0, 1)) != "EBADF")


def read_variables(facts: Facts) -> str:
    """The one there is was put there by Python itself."""
    return " ".join(os.environ) or "none"


# -- other processes


def read_the_nodes_memory(facts: Facts) -> str:
    return opened(f"/proc/{facts.node}/mem", os.O_RDWR)


def read_a_neighbours_variables(facts: Facts) -> str:
    return opened(f"/proc/{facts.neighbour}/environ")


def trace_the_node(facts: Facts) -> str:
    return syscall("ptrace", 16, facts.node, None, None)  # PTRACE_ATTACH


def trace_a_neighbour(facts: Facts) -> str:
    return syscall("ptrace", 0x4206, facts.neighbour, None, None)  # PTRACE_SEIZE


def copy_the_nodes_memory(facts: Facts) -> str:
    return syscall("process_vm_readv", facts.node, None, 0, None, 0, 0)


def take_the_nodes_files(facts: Facts) -> str:
    return syscall("pidfd_open", facts.node, 0)


def kill_the_node(facts: Facts) -> str:
    return answer(_libc.kill(facts.node, signal.SIGKILL))


def kill_a_neighbour(facts: Facts) -> str:
    return answer(_libc.kill(facts.neighbour, signal.SIGKILL))


def kill_everybody(facts: Facts) -> str:
    return answer(_libc.kill(-1, signal.SIGKILL))


def kill_one_thread(facts: Facts) -> str:
    """By the one call that abort() needs: its own process passes, no other does."""
    return syscall("tgkill", facts.node, facts.node, signal.SIGKILL)


def kill_by_descriptor(facts: Facts) -> str:
    return syscall("pidfd_send_signal", 0, signal.SIGKILL, None, 0)


def queue_a_signal(facts: Facts) -> str:
    return syscall("rt_sigqueueinfo", facts.node, signal.SIGTERM, bytes(128))


def signal_through_a_pipe(facts: Facts) -> str:
    """F_SETOWN: whoever owns a pipe gets SIGIO when it moves."""
    return answer(_libc.fcntl(0, 8, facts.node))


# -- more of itself


def fork_itself(facts: Facts) -> str:
    while True:
        os.fork()


def fork_raw(facts: Facts) -> str:
    return syscall("fork" if calls.number("fork") > 0 else "clone", signal.SIGCHLD, 0, 0, 0, 0)


def start_a_thread(facts: Facts) -> str:
    return syscall("clone", CLONE_VM | CLONE_FILES, None, None, None, 0)


def start_a_thread_anew(facts: Facts) -> str:
    return syscall("clone3", bytes(88), 88)


def run_a_shell(facts: Facts) -> str:
    return told(lambda: os.execve("/bin/sh", ["sh"], {}))


def run_from_memory(facts: Facts) -> str:
    return syscall("memfd_create", b"program", 0)


def run_by_descriptor(facts: Facts) -> str:
    return syscall("execveat", 0, b"", None, None, 0x1000)


# -- the network


def connect_by_tcp(facts: Facts) -> str:
    return told(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))


def send_by_udp(facts: Facts) -> str:
    return told(lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))


def call_a_service(facts: Facts) -> str:
    """Unix sockets, by path or abstract: D-Bus, a container engine, a display."""
    return told(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))


def talk_to_the_kernel(facts: Facts) -> str:
    """Netlink: addresses, routes, firewall."""
    return told(lambda: socket.socket(16, socket.SOCK_RAW, 0))


def sniff(facts: Facts) -> str:
    return told(lambda: socket.socket(17, socket.SOCK_RAW, 0))


def pair_of_sockets(facts: Facts) -> str:
    return told(socket.socketpair)


# -- rights and the kernel's larger doors


def own_namespace(facts: Facts) -> str:
    """Root in a user namespace reaches much more of the kernel."""
    return syscall("unshare", CLONE_NEWUSER | CLONE_NEWNET)


def join_the_nodes_namespace(facts: Facts) -> str:
    return syscall("setns", 0, 0)


def become_root(facts: Facts) -> str:
    return syscall("setuid", 0)


def io_uring(facts: Facts) -> str:
    """A ring does what its owner may not call."""
    return syscall("io_uring_setup", 8, bytes(120))


def bpf(facts: Facts) -> str:
    return syscall("bpf", 0, bytes(64), 64)


def keys(facts: Facts) -> str:
    """The user's keyring, which is inherited."""
    return syscall("keyctl", 0, -3, 0)


def performance_counters(facts: Facts) -> str:
    return syscall("perf_event_open", bytes(128), 0, -1, -1, 0)


def faults_in_user_space(facts: Facts) -> str:
    return syscall("userfaultfd", 0)


def load_a_module(facts: Facts) -> str:
    return syscall("init_module", bytes(16), 16, b"")


def restart_the_machine(facts: Facts) -> str:
    """Harmless even if it passed: it asks that Ctrl-Alt-Del does not."""
    return syscall("reboot", 0xFEE1DEAD, 672274793, 0, 0)


def old_calls(facts: Facts) -> str:
    """int 0x80: the table of 32-bit calls, whose numbers mean others. Here 20: getpid."""
    return str(_native[0].old_call(20))


def x32_calls(facts: Facts) -> str:
    """The same architecture, a second table."""
    return answer(_libc.syscall(0x40000000 | 39))


def no_more_privileges_back(facts: Facts) -> str:
    return answer(_libc.prctl(38, 0, 0, 0, 0))


def debugger_off(facts: Facts) -> str:
    return answer(_libc.prctl(4, 0, 0, 0, 0))  # PR_SET_DUMPABLE


# -- the owner's share


def priority_back(facts: Facts) -> str:
    return told(lambda: os.setpriority(os.PRIO_PROCESS, 0, 0))


def another_scheduler(facts: Facts) -> str:
    return told(lambda: os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0)))


def every_core(facts: Facts) -> str:
    return told(lambda: os.sched_setaffinity(0, range(os.cpu_count() or 1)))


def weight_of_the_session(facts: Facts) -> str:
    return opened("/proc/self/autogroup", os.O_WRONLY)


def limits_raised(facts: Facts) -> str:
    return syscall("prlimit64", 0, resource.RLIMIT_DATA, b"\xff" * 16, None)


def limits_of_the_node(facts: Facts) -> str:
    return syscall("prlimit64", facts.node, resource.RLIMIT_NOFILE, struct.pack("QQ", 3, 3), None)


def die_last(facts: Facts) -> str:
    return opened("/proc/self/oom_score_adj", os.O_WRONLY)


# -- memory, disk, time


def mapped(size: int, flags: int, protection: int = mmap.PROT_READ | mmap.PROT_WRITE) -> str:
    _libc.mmap.restype = ctypes.c_ssize_t
    return answer(_libc.mmap(None, ctypes.c_size_t(size), protection, flags, -1, ctypes.c_long(0)))


def much_memory(facts: Facts) -> str:
    """In pieces, until there are no more: promised memory is counted, touched or not."""
    answers = (mapped(64 * MIB, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) for _ in range(1000))
    return next((answer for answer in answers if answer != THROUGH), THROUGH)


def shared_memory(facts: Facts) -> str:
    """Which no limit on data counts."""
    return mapped(1 << 30, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)


def memory_called_a_stack(facts: Facts) -> str:
    """Which no limit on data counts either."""
    return mapped(1 << 30, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x100)


def huge_pages(facts: Facts) -> str:
    return mapped(1 << 30, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000)


def many_addresses(facts: Facts) -> str:
    """Reading them makes page tables, which nothing counts."""
    return mapped(1 << 40, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ)


def locked_memory(facts: Facts) -> str:
    return answer(_libc.mlockall(2))


def new_code(facts: Facts) -> str:
    return mapped(4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_EXEC)


def data_made_code(facts: Facts) -> str:
    at = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(at))
    return answer(_libc.mprotect(ctypes.c_void_p(address), 4096, mmap.PROT_READ | mmap.PROT_EXEC))


def fill_the_disk(facts: Facts) -> str:
    """Through whatever descriptor takes it, beside its own pipes."""
    answers = {told(lambda fd=fd: os.write(fd, bytes(MIB))) for fd in range(3, 64)}
    return " ".join(sorted(answers))


def sleep_for_ever(facts: Facts) -> str:
    return told(lambda: time.sleep(1e6))


def wait_for_ever(facts: Facts) -> str:
    return syscall("futex", bytes(4), 0, 0, None, None, 0)


def burn_for_ever(facts: Facts) -> str:
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    while True:
        pass


# -- what it says


def say(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(REPORT_FD, view) :]


def report(**changes: object) -> bytes:
    honest = Ran("", "ok", 1, 0, "", memoryview(b""), b"", [])
    return frame(msgspec.structs.replace(honest, **changes))


def said(data: bytes) -> str:
    say(data)
    return wait_for_ever(Facts(0, 0, "", "", "", ""))


def flood_of_noise(facts: Facts) -> str:
    while True:
        say(os.urandom(MIB))


def flood_of_complaints(facts: Facts) -> str:
    while True:
        os.write(2, b"x" * 65536)


def giant_report(facts: Facts) -> str:
    return said((0xFFFF_FFFF).to_bytes(LENGTH_SIZE, "big"))


def report_of_many_files(facts: Facts) -> str:
    """Sixty bytes of the node's memory for each byte said."""
    body = bytearray(report()[LENGTH_SIZE:])
    assert body.endswith(b"\x90")
    body[-1:] = b"\xdd" + (1_000_000).to_bytes(4, "big") + b"\x92\xa0\xc4\x00" * 1_000_000
    return said(len(body).to_bytes(LENGTH_SIZE, "big") + body)


def report_of_another_input(facts: Facts) -> str:
    return said(report(name="../../etc/cron.d/x"))


def report_with_much_output(facts: Facts) -> str:
    return said(report(stdout=bytes(2 * MIB)))


def report_with_a_path_out(facts: Facts) -> str:
    return said(report(files=[("../../escaped", b"x" * 600)]))


def report_with_much_fuel(facts: Facts) -> str:
    """It would be paid for."""
    return said(report(fuel=10**15))


def report_with_less_than_no_fuel(facts: Facts) -> str:
    return said(report().replace(b"\xa4fuel\x01", b"\xa4fuel\xff"))


def report_of_a_failure(facts: Facts) -> str:
    """With what would rewrite the lines of the operator's terminal."""
    return said(frame(Failed("host_memory", "\x1b[2J\x1b]0;owned\x07 all is well\nnext line")))


def report_in_pieces_and_no_end(facts: Facts) -> str:
    return said(report()[:-1])


def report_nothing(facts: Facts) -> str:
    os._exit(0)


def hang_up(facts: Facts) -> str:
    os.close(REPORT_FD)
    while True:
        pass


def crash(facts: Facts) -> str:
    return str(ctypes.string_at(8))


def abort(facts: Facts) -> str:
    os.abort()


# -- only while the module is read


def part_without_end(facts: Facts) -> str:
    """The one file that it may write: its own compiled module."""
    answers = set()
    for fd in range(3, 16):
        with_fd = lambda fd=fd: [os.lseek(fd, 1 << 30, 0), os.write(fd, b"x")]  # noqa: E731
        answers.add(told(with_fd))
    return " ".join(sorted(answers))


def more_processor_time(facts: Facts) -> str:
    return syscall("prlimit64", 0, resource.RLIMIT_CPU, b"\xff" * 16, None)


def load_seccomp_away(facts: Facts) -> str:
    """A filter that allows everything, put over the one that stands: the stricter of two counts."""
    allow_all = ctypes.create_string_buffer(b"\x06\0\0\0\0\0\xff\x7f", 8)
    header = ctypes.create_string_buffer(16)
    ctypes.memmove(header, (1).to_bytes(8, "little"), 8)
    ctypes.memmove(ctypes.addressof(header) + 8, ctypes.addressof(allow_all).to_bytes(8, "little"), 8)
    assert _libc.syscall(calls.number("seccomp"), 1, 0, header) == 0
    return told(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))


ATTACKS: Final[dict[str, Attack]] = {
    name: value for name, value in list(globals().items()) if callable(value) and not isinstance(value, type)
}


def main(name: str, native: str) -> None:
    """`while_running.fork_itself`: run the child's own way, with this attack at its end."""
    phase, _, attack = name.partition(".")
    _native.append(ctypes.CDLL(native))
    attempt = ATTACKS[attack]
    told_names: list[str] = []

    def in_place_of_the_guest(*given: object) -> Iterator[Ran]:
        task = next(value for value in given if isinstance(value, Task))
        yield Ran("", "ok", 1, 0, "", memoryview(attempt(_facts(task)).encode()), b"", [])

    def in_place_of_the_compiler(*given: object) -> object:
        told_names.append(attempt(_FACTS[0]))
        raise child.modules.BadModule(f"answer_{told_names[-1].lower()}".replace(" ", "_"))

    def remember(fd: int) -> Task | None:
        task = read_task(fd)
        if task is not None:
            _FACTS.append(_facts(task))
        return task

    read_task = child.read_task
    if phase == "while_running":
        child._runs = in_place_of_the_guest  # type: ignore[assignment]
    else:
        child.read_task = remember
        child._load = in_place_of_the_compiler  # type: ignore[assignment]
    child.main()


_FACTS: list[Facts] = []


def _facts(task: Task) -> Facts:
    return msgspec.json.decode(task.args[0], type=Facts)
