"""The child as its parent sees it: a process with three pipes, which can always be ended.

Knows frames and signals. Does not know what a shard is.

What must always hold: after `close` the whole process group is dead and reaped; a pipe that breaks is a
`SandboxFailure`, never a hang; once it is ended, or known to have ended, no signal is sent any more, because
its number may be another's by then.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec
import trio

from domain.compute import confine
from domain.compute.task import LENGTH_SIZE, Report, Task, decode_report, frame
from domain.compute.usage import Meter
from ledger.errors import FogError

DIAGNOSTIC_SIZE_MAX: Final = 4096  # of what a dying child says

_DEATHS: Final[dict[int, str]] = {
    signal.SIGXCPU: "cpu_limit",
    signal.SIGKILL: "killed",
    signal.SIGSYS: "forbidden_call",  # one of `calls.HOSTILE`: the guest had broken out
}
"""Signal -> what `SandboxFailure.code` says of it."""

_PACKAGES: Final = str(Path(__file__).resolve().parents[2])
_START: Final = (
    # Tied to us before anything else: a stopped child does not see that its pipe was closed.
    "import sys; sys.path[:] = sys.argv[2:]; from domain.compute import confine;"
    " confine.die_with(int(sys.argv[1])); "
)


class SandboxFailure(FogError):
    """This machine did not finish the run; nothing is known about the job. `code` says what failed."""

    code = "sandbox_failed"


class Process(Protocol):
    """Of `subprocess.Popen`, what a child needs."""

    pid: int
    returncode: int | None

    def wait(self) -> int: ...


class Started(NamedTuple):
    """A process of ours, and our ends of its pipes."""

    process: Process
    tasks: int
    reports: int
    diagnostics: int


def start(entry: str, *, stdin: int, stdout: int) -> subprocess.Popen[bytes]:
    """A new interpreter with nothing of ours but this code, tied to us."""
    # Directly and not through a thread: the kernel ends the child with the *thread* that started it.
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _START + entry, str(os.getpid()), *_import_path()],
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={},
        cwd="/",
        umask=0o077,
        start_new_session=True,
    )


def _alone(entry: str) -> Started:
    process = start(entry, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdin as tasks, process.stdout as reports, process.stderr as diagnostics:
        return Started(process, *(os.dup(pipe.fileno()) for pipe in (tasks, reports, diagnostics)))


class Child:
    """One process. Started at once, given its task when there is one. `entry`: what it then does."""

    entry = "from domain.compute.child import main; main()"

    def __init__(self, started: Started | None = None) -> None:
        """`started`, if somebody else did that (`forking`)."""
        started = started or _alone(self.entry)
        self._process = started.process
        self.meter = Meter(self._process.pid)
        self._ending = False
        self._stops = 0  # how often it was suspended
        self._tasks = trio.lowlevel.FdStream(started.tasks)
        self._reports = trio.lowlevel.FdStream(started.reports)
        self._diagnostics = trio.lowlevel.FdStream(started.diagnostics)

    @property
    def alive(self) -> bool:
        """Without reaping it: until `close` its number is its own, and what it used can be read."""
        if self._process.returncode is not None:
            return False
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    @property
    def pid(self) -> int:
        return self._process.pid

    async def begin(self, task: Task) -> None:
        """Raises SandboxFailure if the child is already gone."""
        self.meter.begin()
        try:
            await self._tasks.send_all(frame(task))
        except trio.BrokenResourceError:
            raise await self._death() from None

    async def report(self, size_max: int) -> Report:
        """The next report, of at most so many bytes.

        Raises SandboxFailure if the child ends or breaks the framing instead.
        """
        size = int.from_bytes(await self._receive(LENGTH_SIZE), "big")
        if size > size_max:
            raise SandboxFailure(
                f"the child announced a report of {size} bytes, of at most {size_max}", code="child_broken"
            )
        body = await self._receive(size)
        self.meter.look()
        try:
            return decode_report(body)
        except msgspec.DecodeError as error:
            raise SandboxFailure(
                f"an unreadable report from the child: {error}", code="child_broken"
            ) from error

    def suspend(self) -> None:
        """Stop the whole group where it is, and let it get there at once. Safe to repeat."""
        self._stops += 1
        if self._may_be_told:
            _tell_group(self._process.pid, signal.SIGSTOP)
            confine.let_stop(self._process.pid)

    async def resume(self) -> None:
        """Go on as if nothing had been, at the lowest priority again; not if suspended anew meanwhile."""
        stops = self._stops
        while self._may_be_told and not confine.let_wait(self._process.pid):
            await trio.sleep(confine.AUTOGROUP_PAUSE_S)
            if self._stops != stops:
                return
        if self._may_be_told:
            _tell_group(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """The whole group, at once, also while suspended. Safe to repeat."""
        if self._may_be_told:
            _tell_group(self._process.pid, signal.SIGKILL)
            confine.let_die(self._process.pid)
        self._ending = True

    @property
    def _may_be_told(self) -> bool:
        """Whether the number is certainly still this group's: a thread may be reaping it from `kill` on."""
        return not self._ending and self._process.returncode is None

    async def close(self) -> None:
        """Kill and reap, also while being cancelled."""
        self.kill()
        with trio.CancelScope(shield=True):
            await self._reap()
            for pipe in (self._tasks, self._reports, self._diagnostics):
                await pipe.aclose()

    def __repr__(self) -> str:
        return f"<Child {self.pid} {'alive' if self.alive else f'ended {self._process.returncode}'}>"

    async def _receive(self, size: int) -> bytearray:
        data = bytearray()
        while len(data) < size:
            try:
                part = await self._reports.receive_some(min(size - len(data), 1 << 20))
            except trio.BrokenResourceError:  # a socket says so of an end that went with something unread
                part = b""
            if not part:
                raise await self._death()
            data += part
        return data

    async def _reap(self) -> int:
        """How it ended; what it used is read before its number is given back."""
        if self._process.returncode is None:
            await _until_ended(self.pid)
            self.meter.look()
        return self._process.wait()

    async def _death(self) -> SandboxFailure:
        """Why a child that should still be talking is not."""
        self.kill()
        with trio.CancelScope(shield=True):
            status = await self._reap()
            said = bytes(await self._diagnostics.receive_some(DIAGNOSTIC_SIZE_MAX))
        code = _DEATHS.get(-status, "child_died")
        if status == -signal.SIGABRT and b"memory allocation of" in said:
            code = "host_memory"
        name = f"exit {status}" if status >= 0 else signal.strsignal(-status) or f"signal {-status}"
        return SandboxFailure(f"the sandbox ended early ({name}): {printable(said)[-500:]}", code=code)


async def _until_ended(pid: int) -> None:
    """Wait for a child of ours, which is not reaped."""
    try:
        descriptor = os.pidfd_open(pid) if sys.platform == "linux" else -1
    except OSError:  # an old kernel, or no descriptor left
        descriptor = -1
    if descriptor < 0:
        await trio.to_thread.run_sync(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return
    try:
        await trio.lowlevel.wait_readable(descriptor)  # at once, if it has ended
    finally:
        os.close(descriptor)


def _tell_group(pid: int, word: signal.Signals) -> None:
    """Of a group in which all have ended, macOS says that it is not ours to tell: there is nobody to tell."""
    with contextlib.suppress(PermissionError):
        os.killpg(pid, word)


def printable(said: bytes | str) -> str:
    """What a child says, in one line and without what would steer a terminal."""
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    return "".join(character if character.isprintable() else " " for character in text).strip()


def _import_path() -> list[str]:
    """Where the child finds its modules: it starts without `site`, which would cost it half its time."""
    return [_PACKAGES, *(entry for entry in sys.path if os.path.isabs(entry) and entry != _PACKAGES)]
